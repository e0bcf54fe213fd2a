"""Evaluation of risk forecasts: measure, test portfolios and textbook estimators."""
