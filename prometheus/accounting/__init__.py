"""Pure rules over lots and trades: lot selection, gains, wash sales, corporate actions."""
