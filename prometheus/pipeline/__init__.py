"""The state machine of a run: transitions, phase tasks, retries, holds, and what operators may do to runs."""
