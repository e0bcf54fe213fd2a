"""What calls the state machine and watches it: advance_all, worker processes, recurring work, the risk model, health."""
