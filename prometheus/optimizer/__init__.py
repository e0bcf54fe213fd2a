"""Problem value in, certified result value out."""

from prometheus.optimizer.problem.active_risk import tracking_error
from prometheus.optimizer.solve import rebalance

__all__ = ["rebalance", "tracking_error"]
