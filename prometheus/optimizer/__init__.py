"""Problem value in, certified result value out."""
