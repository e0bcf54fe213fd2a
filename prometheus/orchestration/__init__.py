"""Callers and monitoring of the state machine: advance_all, worker processes, recurring work, risk model, health."""
