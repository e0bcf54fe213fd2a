"""HTTP and the operations page (of a later issue)."""
