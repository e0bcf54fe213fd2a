"""What an account, a tax lot, a phase, a strategy IS: frozen values, Decimal, standard library only."""
