"""Orders that rounding made not worth their cost, and orders that it made worth it.

Where an order has a cost (``RebalanceProblem.order_cost``) a step more or less says nothing about the order as a whole.
After the steps of rounding.py whole orders are dropped, others are placed at the size they would have at the prices,
alone or beside one or two other changes, as long as the objective falls and every limit holds. Then single
steps follow.
"""

from dataclasses import replace

import numpy as np

from prometheus.optimizer.certificate import DualPoint
from prometheus.optimizer.lot_order import LotOrder
from prometheus.optimizer.problem import FloatArray
from prometheus.optimizer.rounding import RoundingModel, improved_steps, rounding_state
from prometheus.optimizer.rounding_limits import WORTHWHILE, AllLimits
from prometheus.optimizer.trade_range import TradeRange

#: Most rounds of changed orders and steps behind them.
_MAX_ROUNDS = 4
#: Most changes of orders in a round, as a part of the number of names, and at least.
_CHANGES_A_NAME, _LEAST_CHANGES = 0.25, 8
#: Most exchanges looked for in all: each costs a look at some ten thousand of them.
_MAX_EXCHANGES = 10


def without_new_names(limits: TradeRange, order: LotOrder, held: FloatArray, trades: FloatArray) -> TradeRange:
    """Return the range in which no name is held after trading that the trades do not hold.

    Args:
        limits: Range of each name's trade.
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
    exchanges = 0
    for _ in range(_MAX_ROUNDS):
        before = steps
        steps, exchanges = _changed_orders(model, steps, wishes, dual, exchanges)
        if np.array_equal(steps, before):
            return steps
        steps = improved_steps(model, steps, dual)
    return steps


def _changed_orders(
    model: RoundingModel, steps: FloatArray, wishes: FloatArray, dual: DualPoint, exchanges: int
) -> tuple[FloatArray, int]:
    """Drop and place orders as long as that improves; return the steps and how many exchanges were looked for."""
    limits, names, grid = AllLimits(model.cash, model.rows), len(steps), model.grid
    state = rounding_state(model, steps)
    placed = grid.nearest(wishes)
    for _ in range(max(int(_CHANGES_A_NAME * names), _LEAST_CHANGES)):
        traded = state.steps != 0
        droppable = traded & grid.may_rest
        open_ = ~traded & (wishes != 0) & (placed != 0)
        targets = np.concatenate(
            [
                np.stack([np.where(droppable, 0.0, np.nan), np.where(open_, placed, np.nan)]),
                state.neighbours(),
            ]
        )
        effects = state.effects(targets)
        cash, use, variance = state.position()
        after = limits.missed(cash + effects.cash, use[:, None] + effects.use, variance + effects.variance)
        change = np.where(after == 0, effects.change, np.inf)
        best = int(np.argmin(change[: 2 * names]))
        chosen: tuple[int, ...] = (best,)
        if not change[best] < -WORTHWHILE:
            if exchanges >= _MAX_EXCHANGES:
                break
            exchanges += 1
            exchange = model.exchange(limits, (cash, use, variance), effects, dual)
            if exchange is None:
                break
            chosen = exchange
        for one in chosen:
            state.move(one % names, float(targets.ravel()[one]))
    return state.steps, exchanges
