"""The problem with one branch for each name, solved exactly in K + 1 unknowns.

With the sides fixed every name has a closed-form answer to given prices, so the optimality conditions are K factor
identities and one cash equation in (z, eta): piecewise linear, symmetric, solved by Newton's method from the prices of
an earlier solve. What it returns meets the conditions to rounding error; where it does not get there it says so, and
the caller asks a back-end instead.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.active_risk import semidefinite_root
from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.problem import FloatArray

#: Residual of the conditions at which the answer is exact for all purposes (fraction of NAV).
_CONVERGED = 1e-13
#: A residual below this that no longer falls is the floor of double precision.
_STALLED = 1e-11
#: The cash range and the sign of its price hold to this.
_EXACT = 1e-12
_MAX_STEPS = 25
_MAX_HALVINGS = 4


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
    """Find prices at which the names' own answers meet the factor identities and, if priced, the cash limit."""
    dual = start
    trades, residual = _respond(lagrangian, dual, limit)
    norm = float(np.abs(residual).max())
    for _ in range(_MAX_STEPS):
        if norm <= _CONVERGED:
            break
        step = _newton_step(lagrangian, dual, trades, residual, limit)
        shrink = 1.0
        for _ in range(_MAX_HALVINGS):
            trial = DualPoint(
                dual.exposures + shrink * step[:-1],
                dual.cash_price + (shrink * float(step[-1]) if limit is not None else 0.0),
            )
            new_trades, new_residual = _respond(lagrangian, trial, limit)
            new_norm = float(np.abs(new_residual).max())
            if new_norm < norm:
                break
            shrink *= 0.5
        else:
            break
        dual, trades, residual, norm = trial, new_trades, new_residual, new_norm
    return FixedSidesAnswer(trades, dual) if norm <= _STALLED else None


def _respond(lagrangian: Lagrangian, dual: DualPoint, limit: float | None) -> tuple[FloatArray, FloatArray]:
    trades = lagrangian.minima(dual).trade
    exposures = lagrangian.risk.exposures(lagrangian.cost.active + trades)
    missing = _cash_used(lagrangian, trades) - limit if limit is not None else 0.0
    return trades, np.append(exposures - dual.exposures, missing)


def _newton_step(
    lagrangian: Lagrangian, dual: DualPoint, trades: FloatArray, residual: FloatArray, limit: float | None
) -> FloatArray:
    pieces, g = lagrangian.pieces, lagrangian.risk_aversion
    # a name answers to prices where its trade is strictly inside a piece
    inside = (trades[pieces.asset] > pieces.left) & (trades[pieces.asset] < pieces.right)
    free, side = pieces.asset[inside], np.where(pieces.right[inside] <= 0, -1.0, 1.0)
    softness = 1.0 / (2 * lagrangian.cost.curvature[free])
    cash = (1.0 + side * lagrangian.cost_rate[free]) if limit is not None else np.zeros(len(free))
    columns = np.concatenate([2 * g * lagrangian.risk.loadings[free], cash[:, None]], axis=1)
    matrix = np.einsum("ik,il->kl", columns * softness[:, None], columns)
    factors = len(dual.exposures)
    matrix[np.arange(factors), np.arange(factors)] += 2 * g
    right = residual.copy()
    right[:factors] *= 2 * g
    return solve_semidefinite(matrix, right)


def solve_semidefinite(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """Return x with matrix x = right for a small symmetric positive semidefinite matrix; zero along null directions."""
    root = semidefinite_root(matrix)
    size = len(right)
    x = np.zeros(size)
    for k in range(size):
        if root[k, k] > 0:
            x[k] = (right[k] - float((root[k, :k] * x[:k]).sum())) / root[k, k]
    for k in reversed(range(size)):
        if root[k, k] > 0:
            x[k] = (x[k] - float((root[k + 1 :, k] * x[k + 1 :]).sum())) / root[k, k]
        else:
            x[k] = 0.0
    return x
