"""The daily state machine: transitions, phase tasks, snapshot, solve, persist."""
