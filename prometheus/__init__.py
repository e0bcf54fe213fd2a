"""Prometheus rebalances a fleet of tax-managed portfolios every day and can prove every trade a year later."""

__version__ = "0.1.0"
