"""The problem with one branch for each name and any coupling rows, solved exactly on its dual.

Unknowns are the factor prices nu = 2 (g + lambda) z, the prices of cash and of the coupling rows, and the price lambda
of the tracking-error limit. Every name answers to them in closed form, and the dual

    - nu'nu / 4(g + lambda) + nu' X~'d + sum_i min [ f_i + (prices)'use_i + lambda D_i (d_i + u_i)^2 ] - limits

is concave with a continuous, piecewise smooth gradient: what is missing in each condition. Prices of one-sided limits
keep their sign: Newton's method on the dual, projected on the signs, with a line search on its value.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.certificate import DualPoint, Lagrangian, NameMinima
from prometheus.optimizer.fixed_sides import FixedSidesAnswer
from prometheus.optimizer.linked_risk import FreeNames
from prometheus.optimizer.problem import BoolArray, FloatArray
from prometheus.optimizer.semidefinite import solve_semidefinite

#: Residual of the conditions at which the answer is exact for all purposes (fraction of NAV; for the tracking error
#: of its square).
_CONVERGED = 1e-13
#: A residual below this that no longer falls is the floor of double precision.
_STALLED = 2e-11
_MAX_STEPS = 60
#: Prices beyond this (per unit of NAV) are on their way to infinity: no trades of these sides meet the limits.
_RUNAWAY = 1e6
_MAX_HALVINGS = 30
#: Share of the predicted rise that a step must bring.
_ENOUGH = 1e-4
#: Added to the scaled Newton matrix: nearly dependent rows share a price instead of drifting apart.
_REGULARISATION = 1e-11


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    point: FloatArray
    minima: NameMinima
    value: float
    gradient: FloatArray
    active: BoolArray

    @property
    def residual(self) -> float:
        return float(np.abs(np.where(self.active, self.gradient, 0.0)).max())


class _Dual:
    """The dual function at points (nu, cash price, row prices, lambda)."""

    def __init__(self, lagrangian: Lagrangian) -> None:
        self.lagrangian = lagrangian
        self.factors = lagrangian.risk.size
        rows = lagrangian.rows
        self.least = np.append(lagrangian.cash.least, rows.least)
        self.most = np.append(lagrangian.cash.most, rows.most)
        self.te_max = rows.te_max
        self.size = self.factors + len(self.most) + 1
        self.exact = self.least == self.most

    def start(self, dual: DualPoint) -> FloatArray:
        lagrangian = self.lagrangian
        prices = np.append(dual.cash_price, lagrangian.rows.legal(dual.rows(lagrangian.cost.rows)))
        risk_price = dual.risk_price if np.isfinite(self.te_max) else 0.0
        exposures = 2 * (lagrangian.risk_aversion + risk_price) * dual.exposures
        return np.concatenate([exposures, prices, [risk_price]])

    def dual_point(self, point: FloatArray) -> DualPoint:
        k = self.factors
        g = self.lagrangian.risk_aversion + float(point[-1])
        return DualPoint(point[:k] / (2 * g), float(point[k]), point[k + 1 : -1], float(point[-1]))

    def at(self, point: FloatArray) -> _State:
        lagrangian, k = self.lagrangian, self.factors
        dual = self.dual_point(point)
        minima = lagrangian.minima(dual)
        moved = lagrangian.cost.active + minima.trade
        exposures, z, prices = lagrangian.risk.exposures(moved), dual.exposures, point[k:-1]
        use = np.append(
            float((minima.trade + lagrangian.cost_rate * np.abs(minima.trade)).sum()),
            lagrangian.cost.row_use(minima.trade).sum(axis=1),
        )
        over, short = use - self.most, use - self.least
        at_rest = np.where(over > 0, over, np.where(short < 0, short, 0.0))
        missing = np.where(self.exact | (prices > 0), over, np.where(prices < 0, short, at_rest))
        limit = np.where(prices > 0, self.most, self.least)
        on = prices != 0
        g = lagrangian.risk_aversion + float(point[-1])
        active_zero = lagrangian.risk.exposures(lagrangian.cost.active)
        value = (
            g * float((2 * z * active_zero - z * z).sum())
            + float(minima.value.sum())
            - float((prices[on] * limit[on]).sum())
        )
        risk = 0.0
        if np.isfinite(self.te_max):
            risk = float((z * z).sum() + (lagrangian.risk.specific_variance * moved * moved).sum()) - self.te_max**2
            value -= float(point[-1]) * self.te_max**2
        active = np.ones(self.size, dtype=bool)
        active[k:-1] = self.exact | on | (at_rest != 0)
        active[-1] = np.isfinite(self.te_max) and (point[-1] > 0 or risk > 0)
        return _State(point, minima, value, np.concatenate([exposures - z, missing, [risk]]), active)

    def step(self, state: _State) -> FloatArray:
        """Return the Newton step of the active prices."""
        if self.lagrangian.risk.links:
            return self._linked_step(state)
        lagrangian, k = self.lagrangian, self.factors
        pieces, trades = lagrangian.pieces, state.minima.trade
        g = lagrangian.risk_aversion + float(state.point[-1])
        # a name answers to prices where its trade is strictly inside a piece
        inside = (trades[pieces.asset] > pieces.left) & (trades[pieces.asset] < pieces.right)
        free, side = pieces.asset[inside], np.where(pieces.right[inside] <= 0, -1.0, 1.0)
        specific = lagrangian.risk.specific_variance[free]
        curvature = lagrangian.cost.curvature[free] * (g / lagrangian.risk_aversion)
        moved = lagrangian.cost.active[free] + trades[free]
        columns = np.concatenate(
            [
                lagrangian.risk.loadings[free],
                (1.0 + side * lagrangian.cost_rate[free])[:, None],
                pieces.row_slope[:, inside].T,
                (2 * specific * moved)[:, None],
            ],
            axis=1,
        )
        matrix = np.einsum("ik,il->kl", columns / (2 * curvature)[:, None], columns)
        nu = state.point[:k]
        matrix[np.arange(k), np.arange(k)] += 1.0 / (2 * g)
        matrix[:k, -1] -= nu / (2 * g * g)
        matrix[-1, :k] -= nu / (2 * g * g)
        matrix[-1, -1] += float((nu * nu).sum()) / (2 * g**3)
        at = np.flatnonzero(state.active)
        matrix = matrix[np.ix_(at, at)]
        step = np.zeros(self.size)
        step[at] = self._solved(matrix, state.gradient[at])
        return step

    def _linked_step(self, state: _State) -> FloatArray:
        """Return the Newton step where specific returns are linked: the links' prices are eliminated block by block.

        Of the dual's Hessian the part of the links is inverted through M, by which the free names answer to prices
        (FreeNames).
        """
        lagrangian, all_exposures = self.lagrangian, self.factors
        risk, pieces, trades = lagrangian.risk, lagrangian.pieces, state.minima.trade
        k = risk.loadings.shape[1]
        g = lagrangian.risk_aversion + float(state.point[-1])
        inside = (trades[pieces.asset] > pieces.left) & (trades[pieces.asset] < pieces.right)
        names, side = pieces.asset[inside], np.where(pieces.right[inside] <= 0, -1.0, 1.0)
        curvature = lagrangian.cost.curvature[names] * (g / lagrangian.risk_aversion)
        free = FreeNames(names, curvature, g, risk.links)
        moved = lagrangian.cost.active[names] + trades[names]
        nu = state.point[:all_exposures]
        none = np.zeros(k)
        columns = np.concatenate(
            [
                risk.loadings[names],
                (1.0 + side * lagrangian.cost_rate[names])[:, None],
                pieces.row_slope[:, inside].T,
                (2 * risk.specific_variance[names] * moved)[:, None],
            ],
            axis=1,
        )
        # what the links add to the slope of the active variance, and what their own gradient does to the free names
        slope = columns.copy()
        slope[:, -1] += risk.price(np.concatenate([none, nu[k:]]))[names] / g
        missing = state.gradient[k:all_exposures]
        pulled = 2 * g * risk.price(np.concatenate([none, missing]))[names]
        answered = free.answer(np.concatenate([slope, pulled[:, None]], axis=1))
        matrix = np.einsum("ik,il->kl", slope, answered[:, :-1])
        matrix[np.arange(k), np.arange(k)] += 1.0 / (2 * g)
        matrix[:k, -1] -= nu[:k] / (2 * g * g)
        matrix[-1, :k] -= nu[:k] / (2 * g * g)
        matrix[-1, -1] += float((nu[:k] * nu[:k]).sum()) / (2 * g**3)
        right = np.concatenate([state.gradient[:k], state.gradient[all_exposures:]])
        right -= np.einsum("ik,i->k", slope, answered[:, -1])
        right[-1] += float((nu[k:] * missing).sum()) / g
        at = np.flatnonzero(np.concatenate([state.active[:k], state.active[all_exposures:]]))
        rest = np.zeros(len(right))
        rest[at] = self._solved(matrix[np.ix_(at, at)], right[at])
        links = missing + nu[k:] / (2 * g * g) * rest[-1]
        back = np.zeros(len(trades))
        # the free names' answer to all of these prices together
        back[names] = answered[:, -1] + np.einsum("ik,k->i", answered[:, :-1], rest)
        links = 2 * g * (links - risk.exposures(back)[k:])
        return np.concatenate([rest[:k], links, rest[k:]])

    def _solved(self, matrix: FloatArray, right: FloatArray) -> FloatArray:
        """Return the solution of a small system that is scaled and, where nearly singular, regularised."""
        diagonal = np.diag(matrix).copy()
        # nothing answers to this price here: step as if one typical name did
        diagonal[diagonal <= 0] = 1.0 / (2 * float(self.lagrangian.cost.curvature.mean()))
        scale = 1.0 / np.sqrt(diagonal)
        scaled = matrix * scale[:, None] * scale[None, :]
        scaled[np.arange(len(right)), np.arange(len(right))] = 1.0 + _REGULARISATION
        return scale * solve_semidefinite(scaled, scale * right)

    def moved(self, state: _State, step: FloatArray, length: float) -> FloatArray:
        """Return the point after a step, with the prices of one-sided limits kept from changing their sign."""
        k = self.factors
        point = state.point + length * step
        old, new = state.point[k:-1], point[k:-1]
        sign = np.where(old != 0, np.sign(old), np.sign(state.gradient[k:-1]))
        point[k:-1] = np.where(self.exact | (new * sign >= 0), new, 0.0)
        point[-1] = max(point[-1], 0.0)
        return point


def solve_coupled_sides(lagrangian: Lagrangian, start: DualPoint) -> FixedSidesAnswer | None:
    """Solve the convex problem on the Lagrangian's pieces, one branch for each name, with every coupling limit.

    Args:
        lagrangian: The true problem restricted to one branch for each name.
        start: Prices to start from.

    Returns:
        The optimum, or None where Newton's method did not reach it (as where there is none).
    """
    dual = _Dual(lagrangian)
    state = dual.at(dual.start(start))
    for _ in range(_MAX_STEPS):
        if state.residual <= _CONVERGED:
            break
        following = _line_search(dual, state)
        if following is None:
            break
        state = following
        if not np.abs(state.point).max() <= _RUNAWAY:
            return None
    if not state.residual <= _STALLED:
        return None
    return FixedSidesAnswer(state.minima.trade, dual.dual_point(state.point))


def _line_search(dual: _Dual, state: _State) -> _State | None:
    """Return the state after the longest halved step that raises the dual, None where no step does."""
    step = dual.step(state)
    length = 1.0
    for _ in range(_MAX_HALVINGS):
        trial = dual.at(dual.moved(state, step, length))
        promised = float((np.where(state.active, state.gradient, 0.0) * (trial.point - state.point)).sum())
        if trial.value >= state.value + _ENOUGH * promised and promised > 0:
            return trial
        # at the floor of double precision the value no longer tells, the residual does
        if abs(trial.value - state.value) <= 1e-14 and trial.residual < 0.5 * state.residual:
            return trial
        length *= 0.5
    return None
