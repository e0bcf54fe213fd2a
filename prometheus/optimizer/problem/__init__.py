"""The question as values: the problem, lots and trade ranges, costs of each asset, risk, limits, the grid of shares."""
