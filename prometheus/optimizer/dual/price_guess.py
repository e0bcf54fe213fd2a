"""A guess of stage 1's prices: a few steps of Newton's method on its smoothed dual.

The dual of  min g ||y||^2 + sum of the pieces' costs  over the cash range has K + 1 unknowns: the exposures z and the
cash price eta. At given prices every piece is used by a closed form. Tangents are given a little curvature, so that the
response has no jumps. The guess affects only the time, not the answer: see search/screening.py. Limits besides cash,
and links of specific returns, are not part of it: where they bind the guess is off, and what it left out may have to be
restored.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.problem.envelope import ConvexPieces
from prometheus.optimizer.problem.rebalance_problem import FloatArray
from prometheus.optimizer.problem.semidefinite import solve_semidefinite

#: Curvature of a tangent as a part of the asset's own.
_TANGENT_CURVATURE = 0.1
_MAX_STEPS = 25
_MAX_HALVINGS = 8
#: A step that promises to raise the dual by less (objective per unit of NAV: 0.001 bps) ends the search.
_CLOSE = 1e-7
#: Part of the promised rise that a step must bring.
_BROUGHT = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """The smoothed dual at some prices.

    Attributes:
        z: (K,) exposures at which risk is linearised.
        eta: Cash price.
        value: Of the dual.
        gradient: (K + 1,) with the cash price last; what is missing in each condition.
        softness: (P,) change of each piece's use for a unit of price; zero at its ends.
    """

    z: FloatArray
    eta: float
    value: float
    gradient: FloatArray
    softness: FloatArray


class _SmoothedDual:
    """The dual of stage 1 without limits other than cash."""

    def __init__(self, pieces: ConvexPieces, priced: Lagrangian) -> None:
        self._pieces, self._g, self._cash = pieces, priced.risk_aversion, priced.cash
        self._loadings = priced.risk.loadings
        self._length = pieces.right - pieces.left
        own = priced.cost.curvature[pieces.asset]
        self._bend = np.where(pieces.curvature > 0, pieces.curvature, _TANGENT_CURVATURE * own)
        # the bend of a tangent lies around its slope
        self._slope = pieces.slope - np.where(pieces.curvature > 0, 0.0, self._bend * self._length)
        # nothing used: every asset at its least trade
        self._exposures = priced.risk.exposures(priced.cost.active + pieces.low)
        self._spent = float((pieces.low + priced.cost_rate * np.abs(pieces.low)).sum())

    def at(self, z: FloatArray, eta: float) -> _Point:
        """Evaluate."""
        pieces, g = self._pieces, self._g
        charged = 2 * g * np.einsum("ik,k->i", self._loadings, z)
        slope = self._slope + charged[pieces.asset] + eta * pieces.cash
        wish = slope / (-2 * self._bend)
        used = np.minimum(np.maximum(wish, 0.0), self._length)
        moved = np.bincount(pieces.asset, weights=used, minlength=pieces.size)
        y = self._exposures + np.einsum("ik,i->k", self._loadings, moved)
        spent = self._spent + float((pieces.cash * used).sum())
        limit = self._cash.most if eta > 0 or (eta == 0 and spent > self._cash.most) else self._cash.least
        missed = spent - limit if eta != 0 or spent > self._cash.most or spent < self._cash.least else 0.0
        value = g * float((2 * z * self._exposures - z * z).sum()) + float(((slope + self._bend * used) * used).sum())
        return _Point(
            z=z,
            eta=eta,
            value=value + (eta * (self._spent - limit) if eta != 0 else 0.0),
            gradient=np.append(2 * g * (y - z), missed),
            softness=np.where(used == wish, 0.5 / self._bend, 0.0),
        )

    def step(self, point: _Point) -> FloatArray:
        """Return the (K + 1,) Newton step of the prices."""
        pieces, g, factors = self._pieces, self._g, len(point.z)
        weight = np.bincount(pieces.asset, weights=point.softness, minlength=pieces.size)
        by_cash = np.bincount(pieces.asset, weights=point.softness * pieces.cash, minlength=pieces.size)
        at = np.flatnonzero(weight > 0)
        part = 2 * g * self._loadings[at]
        hessian = np.empty((factors + 1, factors + 1))
        hessian[:factors, :factors] = np.einsum("ik,il->kl", part * weight[at][:, None], part)
        hessian[np.arange(factors), np.arange(factors)] += 2 * g
        hessian[:factors, factors] = hessian[factors, :factors] = np.einsum("ik,i->k", part, by_cash[at])
        hessian[factors, factors] = float((point.softness * pieces.cash * pieces.cash).sum())
        # where few assets answer to the cash price, its step is limited
        hessian[factors, factors] += float((0.5 / self._bend).sum()) * 1e-3
        if point.gradient[factors] == 0.0 and point.eta == 0.0:
            step = np.zeros(factors + 1)
            step[:factors] = solve_semidefinite(hessian[:factors, :factors], point.gradient[:factors])
            return step
        return solve_semidefinite(hessian, point.gradient)


def guessed_prices(pieces: ConvexPieces, priced: Lagrangian) -> DualPoint:
    """Return prices near those of stage 1.

    Args:
        pieces: The envelopes' pieces.
        priced: The problem; its links and coupling rows are passed over.
    """
    dual = _SmoothedDual(pieces, priced)
    point = dual.at(np.zeros(priced.risk.loadings.shape[1]), 0.0)
    for _ in range(_MAX_STEPS):
        step = dual.step(point)
        promised = float((step * point.gradient).sum())
        if promised <= 2 * _CLOSE:
            break
        following = _searched(dual, point, step, promised)
        if following is None:
            break
        point = following
    return DualPoint(point.z, point.eta)


def _searched(dual: _SmoothedDual, point: _Point, step: FloatArray, promised: float) -> _Point | None:
    """Return the first point along the step, halved as often as need be, that brings enough; None where none does."""
    length = 1.0
    for _ in range(_MAX_HALVINGS):
        eta = point.eta + length * float(step[-1])
        # at a price of zero the cash limit changes sides
        eta = 0.0 if eta * point.eta < 0 else eta
        trial = dual.at(point.z + length * step[:-1], eta)
        if trial.value >= point.value + _BROUGHT * length * promised or eta == 0.0 != point.eta:
            return trial
        length *= 0.5
    return None
