"""The problem as values: lots and trade ranges, costs of each asset, risk, limits, the grid of shares."""
