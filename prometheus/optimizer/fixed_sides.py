"""The problem with one branch for each name, solved exactly in K + 1 unknowns.

With the sides fixed every name has a closed-form answer to given prices, so the optimality conditions are K factor
identities and one cash equation in (z, eta): piecewise linear, symmetric, solved by Newton's method from the prices of
an earlier solve. What it returns meets the conditions to rounding error; where it does not get there it says so, and
the caller asks a back-end instead.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.problem import FloatArray
from prometheus.optimizer.semidefinite import solve_semidefinite

#: Residual of the conditions at which the answer is exact for all purposes (fraction of NAV).
_CONVERGED = 1e-13
#: A residual below this that no longer falls is the floor of double precision.
_STALLED = 1e-11
#: The cash range and the sign of its price hold to this.
_EXACT = 1e-12
_MAX_STEPS = 40
_MAX_SEARCH = 40


@dataclass(frozen=True, slots=True, eq=False)
class FixedSidesAnswer:
    """Optimal trades of a problem with fixed sides.

    Attributes:
        trades: (N,) u.
        dual: The prices that support them.
    """

    trades: FloatArray
    dual: DualPoint


def solve_fixed_sides(lagrangian: Lagrangian, start: DualPoint) -> FixedSidesAnswer | None:
    """Solve the convex problem on the Lagrangian's pieces, one branch for each name.

    Args:
        lagrangian: The true problem restricted to one branch for each name.
        start: Prices to start from.

    Returns:
        The optimum, or None where Newton's method did not reach it.
    """
    cash = lagrangian.cash
    tried: set[float | None] = set()
    limit = None if start.cash_price == 0 else cash.most if start.cash_price > 0 else cash.least
    dual = start
    while limit not in tried:
        tried.add(limit)
        answer = _newton(lagrangian, dual if limit is not None else DualPoint(dual.exposures, 0.0), limit)
        if answer is None:
            return None
        used = _cash_used(lagrangian, answer.trades)
        eta = answer.dual.cash_price
        if used > cash.most + _EXACT:
            limit = cash.most
        elif used < cash.least - _EXACT:
            limit = cash.least
        elif cash.least < cash.most and (
            (limit == cash.most and eta < -_EXACT) or (limit == cash.least and eta > _EXACT)
        ):
            limit = None
        else:
            return answer
        dual = answer.dual
    return None


def _cash_used(lagrangian: Lagrangian, trades: FloatArray) -> float:
    return float((trades + lagrangian.cost_rate * np.abs(trades)).sum())


def _newton(lagrangian: Lagrangian, start: DualPoint, limit: float | None) -> FixedSidesAnswer | None:
    """Climb the concave dual to the prices at which the names' own answers meet every condition.

    The residuals of the conditions are the dual's gradient (the factor ones over 2 g), so along a step the slope only
    falls: a step that goes too far, over the kinks where names stop answering, is shortened to where it is small.
    """
    factors, g = len(start.exposures), lagrangian.risk_aversion
    scale = np.append(np.full(factors, 2 * g), 1.0)
    point = np.append(start.exposures, start.cash_price if limit is not None else 0.0)
    trades, residual = _respond(lagrangian, point, limit)
    for _ in range(_MAX_STEPS):
        if float(np.abs(residual).max()) <= _CONVERGED:
            break
        step = _newton_step(lagrangian, trades, residual, limit)
        rise = float((scale * residual * step).sum())
        length, low, high = 1.0, 0.0, np.inf
        for _ in range(_MAX_SEARCH):
            new_trades, new_residual = _respond(lagrangian, point + length * step, limit)
            slope = float((scale * new_residual * step).sum())
            if abs(slope) <= 0.5 * rise:
                break
            low, high = (length, high) if slope > 0 else (low, length)
            length = 2 * length if np.isinf(high) else 0.5 * (low + high)
        point, trades = point + length * step, new_trades
        if rise <= 0 or np.abs(new_residual).max() >= np.abs(residual).max() <= _STALLED:
            break
        residual = new_residual
    if float(np.abs(residual).max()) > _STALLED:
        return None
    return FixedSidesAnswer(trades, DualPoint(point[:-1], float(point[-1])))


def _respond(lagrangian: Lagrangian, point: FloatArray, limit: float | None) -> tuple[FloatArray, FloatArray]:
    """Return the names' answers to prices (z, eta) and what is missing in the factor identities and in cash."""
    trades = lagrangian.minima(DualPoint(point[:-1], float(point[-1]))).trade
    exposures = lagrangian.risk.exposures(lagrangian.cost.active + trades)
    missing = _cash_used(lagrangian, trades) - limit if limit is not None else 0.0
    return trades, np.append(exposures - point[:-1], missing)


def _newton_step(lagrangian: Lagrangian, trades: FloatArray, residual: FloatArray, limit: float | None) -> FloatArray:
    pieces, g, factors = lagrangian.pieces, lagrangian.risk_aversion, len(residual) - 1
    # a name answers to prices where its trade is strictly inside a piece
    inside = (trades[pieces.asset] > pieces.left) & (trades[pieces.asset] < pieces.right)
    free, side = pieces.asset[inside], np.where(pieces.right[inside] <= 0, -1.0, 1.0)
    softness = 1.0 / (2 * lagrangian.cost.curvature[free])
    cash = (1.0 + side * lagrangian.cost_rate[free]) if limit is not None else np.zeros(len(free))
    # factors along rows: the sums over names then run along contiguous memory
    rows = np.concatenate([2 * g * lagrangian.risk.loadings.T[:, free], cash[None, :]], axis=0)
    matrix = np.einsum("ki,li->kl", rows * softness, rows)
    matrix[np.arange(factors), np.arange(factors)] += 2 * g
    if limit is not None and matrix[factors, factors] == 0:
        # nothing answers to the price of cash here: step as if one typical name did
        matrix[factors, factors] = 1.0 / (2 * float(lagrangian.cost.curvature.mean()))
    right = residual.copy()
    right[:factors] *= 2 * g
    return solve_semidefinite(matrix, right)
