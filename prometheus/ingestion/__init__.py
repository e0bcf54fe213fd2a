"""Files to validated rows; bad rows become findings."""
