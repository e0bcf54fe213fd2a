"""No trade at all as an answer: legal more often than a search finds anything, and then never to be refused."""

import numpy as np

from prometheus.optimizer.backends.base import QuadraticSolution
from prometheus.optimizer.branching import BestTrades, Leaf, settled_groups
from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.problem import RebalanceProblem
from prometheus.optimizer.rounding_limits import AllLimits

#: Weights below this are not held.
_HELD = 1e-9


def no_trades(problem: RebalanceProblem, lagrangian: Lagrangian) -> BestTrades | None:
    """Return the answer without any trade, bounded at the prices of no limit; None where a rule asks for trades."""
    limits, trades = lagrangian.limits, np.zeros(problem.size)
    if (limits.low > 0).any() or (limits.high < 0).any():
        return None
    if problem.max_names is not None and int((problem.holdings() > _HELD).sum()) > problem.max_names:
        return None
    active = lagrangian.cost.active
    variance, use = lagrangian.risk.variance(active), np.zeros((len(lagrangian.rows.names), 1))
    if AllLimits(lagrangian.cash, lagrangian.rows).missed(np.zeros(1), use, np.array([variance]))[0] > 0:
        return None
    dual = DualPoint(lagrangian.risk.exposures(active), 0.0)
    bound = lagrangian.bound(dual, lagrangian.minima(dual))
    none = np.zeros(0)
    return BestTrades(
        trades=trades,
        limits=settled_groups(lagrangian, trades),
        objective=lagrangian.objective(trades),
        dual=dual,
        leaves=(Leaf(lagrangian, (dual,), bound),),
        solution=QuadraticSolution(none, none, "no trades: the search found none", 0, 0.0),
        nodes=0,
    )
