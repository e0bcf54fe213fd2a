"""Synthetic fleets and markets, and the fills that carry a day into the next."""
