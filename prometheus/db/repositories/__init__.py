"""Queries by subject. Each function takes an open connection, so that the caller defines the transaction."""
