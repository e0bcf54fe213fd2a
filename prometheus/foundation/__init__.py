"""Errors, clock, identifiers, structured logging, the trading calendar. Imports nothing of ours."""
