"""Accounts, tax lots, phases, strategies: frozen values, Decimal, standard library only."""
