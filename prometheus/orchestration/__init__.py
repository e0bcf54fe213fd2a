"""What triggers the state machine: advance_all and its heartbeat."""
