"""Errors, clock, identifiers, structured logging, the trading calendar. It imports no other package of the project."""
