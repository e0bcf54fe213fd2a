"""Synthetic fleets and markets, and the fills that book a day's trades for the next."""
