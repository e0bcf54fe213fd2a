"""Queries by subject. Each function takes an open connection: the caller decides what is one transaction."""
