"""How good a risk forecast is, on the portfolios that matter: measure, test portfolios and textbook estimators."""
