"""HTTP and the operations page (a later issue fills this room)."""
