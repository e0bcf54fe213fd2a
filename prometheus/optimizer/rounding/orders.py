"""Orders that rounding made not worth their cost, and orders that it made worth it.

Where an order has a cost (``RebalanceProblem.order_cost``) a step more or less says nothing about the order as a whole.
After the steps of round_trades.py whole orders are dropped, others are placed at the size they would have at the
prices, alone or beside one or two other changes, as long as the objective falls and every limit holds. Then single
steps follow.
"""

from dataclasses import replace

import numpy as np

from prometheus.optimizer.certificate import DualPoint
from prometheus.optimizer.problem.lot_order import LotOrder
from prometheus.optimizer.problem.rebalance_problem import FloatArray
from prometheus.optimizer.problem.trade_range import TradeRange
from prometheus.optimizer.rounding.round_trades import improved_steps, take_improving
from prometheus.optimizer.rounding.state import RoundingModel, RoundingState

#: Most rounds of changed orders, each followed by steps.
_MAX_ROUNDS = 4
#: Most changes of orders in a round, as a part of the number of assets, and at least.
_CHANGES_PER_ASSET, _LEAST_CHANGES = 0.25, 8
#: Most exchanges looked for in all: each costs a look at some ten thousand of them.
_MAX_EXCHANGES = 10


def without_new_assets(limits: TradeRange, order: LotOrder, held: FloatArray, trades: FloatArray) -> TradeRange:
    """Return the range in which no asset is held after trading that the trades do not hold.

    Args:
        limits: Range of each asset's trade.
        order: The sellable lots.
        held: (N,) weights before trading.
        trades: (N,) trades before rounding.
    """
    empty = (held == 0) & (trades == 0)
    gone = (order.lots > 0) & (trades <= -order.lots * (1 - 1e-9)) & ~order.has_locked
    low, high = np.where(empty, 0.0, limits.low), np.where(empty, 0.0, limits.high)
    return replace(limits, low=np.where(gone, -order.lots, low), high=np.where(gone, -order.lots, high))


def settled_orders(model: RoundingModel, steps: FloatArray, wishes: FloatArray, dual: DualPoint) -> FloatArray:
    """Return (N,) steps at which dropping or placing an order, alone or with another change, improves nothing.

    Args:
        model: The problem, on the sides that rounding allows.
        steps: (N,) rounded trades that keep every limit.
        wishes: (N,) trades that orders would have at the prices; zero for none.
        dual: The prices.
    """
    grid, placed, left = model.grid, model.grid.nearest(wishes), _MAX_EXCHANGES

    def orders(now: RoundingState) -> FloatArray:
        """Return no trade for the assets that have one, an order for those that have none, then single steps."""
        traded = now.steps != 0
        dropped = np.where(traded & grid.may_rest, 0.0, np.nan)
        added = np.where(~traded & (wishes != 0) & (placed != 0), placed, np.nan)
        return np.concatenate([np.stack([dropped, added]), now.neighbours()])

    for _ in range(_MAX_ROUNDS):
        state = RoundingState(model, steps)
        moves = max(int(_CHANGES_PER_ASSET * len(steps)), _LEAST_CHANGES)
        left -= take_improving(model, state, dual, orders, moves=moves, exchanges=left, alone=2)
        if np.array_equal(state.steps, steps):
            return steps
        steps = improved_steps(model, state.steps, dual)
    return steps
