"""Rounding: from trade weights to whole shares within every limit."""
