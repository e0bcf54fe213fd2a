"""What calls and watches the state machine: advance_all, worker processes, recurring work, the risk model, health."""
