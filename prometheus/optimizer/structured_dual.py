"""Separable cost plus rank K: the dual in K + (rows) unknowns, climbed by a semismooth Newton method.

The primal is  min g ||y||^2 + sum_j (slope_j t_j + q_j t_j^2)  over 0 <= t_j <= length_j, with y = base + X~' (sum of
each name's t) and rows least_r <= use_r + sum_j rate_rj t_j <= most_r. Given prices zeta of the exposures and mu of the
rows every piece answers alone, by one clipped division, so one evaluation of the dual is a few passes over the pieces.

Flat pieces (tangents of the envelope, and the rows' own slack) would jump from one end to the other at a single price.
They carry a proximal term (1/2) epsilon (t - centre)^2 that makes the answer Lipschitz; the centre then moves to the
answer, and epsilon shrinks. This is the proximal point method: it ends at the exact optimum, not at a smoothed one.
Source: docs/specs/optimizer.md; Li, Sun and Toh, "A highly efficient semismooth Newton augmented Lagrangian method for
solving Lasso problems", SIAM J. Optim. 28 (2018), for the combination of the two methods.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.problem import BoolArray, FloatArray, IntArray
from prometheus.optimizer.semidefinite import solve_semidefinite

#: Duality gap (objective per unit of NAV) and residual (fraction of NAV) at which the answer is exact for all purposes.
_GAP = 1e-12
_RESIDUAL = 1e-12
#: Proximal weight on flat pieces, relative to the name's own curvature: the first, the factor of each step, the last.
_FIRST_EPSILON = 1.0
_SHRINK = 0.1
_LAST_EPSILON = 1e-5
_MAX_CENTRES = 40
_MAX_STEPS = 60
_MAX_SEARCH = 30
#: A step of the line search is taken where the slope along it has fallen to this part of what it was.
_SLOPE_LEFT = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class SeparableProgram:
    """Independent pieces joined by K exposures and R rows.

    Attributes:
        loadings: (K, N) X~', contiguous.
        base: (K,) exposures with no piece used.
        risk_aversion: g; a tracking-error multiplier is added to it.
        asset: (P,) name of each piece.
        slope: (P,) marginal cost at t = 0.
        curvature: (P,) q, zero on flat pieces.
        length: (P,) positive.
        stiffness: (N,) second derivative of the name's own cost, the scale of its proximal term.
        rates: (R, P) what a unit of the piece adds to each row.
        use: (R,) use of the rows with no piece used.
        least: (R,) least use; minus infinity for none.
        most: (R,) greatest use; infinity for none.
    """

    loadings: FloatArray
    base: FloatArray
    risk_aversion: float
    asset: IntArray
    slope: FloatArray
    curvature: FloatArray
    length: FloatArray
    stiffness: FloatArray
    rates: FloatArray
    use: FloatArray
    least: FloatArray
    most: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class DualAnswer:
    """Where the climb ended.

    Attributes:
        amounts: (P,) t.
        exposure_prices: (K,) zeta; equal to 2 g y at the optimum.
        row_prices: (R,) mu, positive at the greatest use, negative at the least, zero between.
        gap: Primal objective of ``amounts`` minus the dual value at the prices; never negative but for rounding.
        residual: Largest violation of a row by ``amounts``.
        steps: Newton steps.
    """

    amounts: FloatArray
    exposure_prices: FloatArray
    row_prices: FloatArray
    gap: float
    residual: float
    steps: int


def climb_dual(program: SeparableProgram, exposures: FloatArray, row_prices: FloatArray) -> DualAnswer:
    """Maximise the dual from given prices; the caller judges the answer by its gap and residual.

    Args:
        program: The program.
        exposures: (K,) a guess of the optimal exposures.
        row_prices: (R,) a guess of the optimal row prices.
    """
    climb = _Climb(program, np.concatenate([2 * program.risk_aversion * exposures, row_prices]))
    epsilon = _FIRST_EPSILON
    best = None
    for _ in range(_MAX_CENTRES):
        climb.recentre(epsilon)
        # a loose answer is enough to move the centre; the tight one comes with the last epsilon
        settled = climb.settle(max(_RESIDUAL, 1e-4 * epsilon * epsilon))
        answer = climb.answer()
        if best is None or max(answer.gap, answer.residual) < max(best.gap, best.residual):
            best = answer
        if answer.gap <= _GAP and answer.residual <= _RESIDUAL:
            break
        if not settled and epsilon <= _LAST_EPSILON:
            break
        epsilon = max(_SHRINK * epsilon, _LAST_EPSILON)
    assert best is not None
    return best


class _Climb:
    """Prices, the answers to them, and the generalised Hessian kept up to date name by name."""

    def __init__(self, program: SeparableProgram, prices: FloatArray) -> None:
        p = program
        self._p = p
        self._factors = len(p.base)
        self._prices = prices
        self._flat = np.flatnonzero(p.curvature == 0)
        curved = np.where(p.curvature > 0, p.curvature, 1.0)
        self._soft = np.where(p.curvature > 0, 0.5 / curved, 0.0)
        self._flat_stiffness = p.stiffness[p.asset[self._flat]]
        # a row's slack counts as stiff as all names together
        self._row_stiffness = 1.0 / float((1.0 / p.stiffness).sum())
        self._amounts = np.zeros(len(p.asset))
        self._amounts[self._flat] = 0.5 * p.length[self._flat]
        self._slack = np.clip(p.use, p.least, p.most)
        self._matrix = np.zeros((self._factors, self._factors))
        self._matrix_softness = np.zeros(len(p.stiffness))
        self.steps = 0

    def recentre(self, epsilon: float) -> None:
        """Put the proximal terms' centres where the flat pieces are now."""
        p = self._p
        self._soft[self._flat] = 1.0 / (epsilon * self._flat_stiffness)
        self._shift = -p.slope * self._soft
        self._shift[self._flat] += self._amounts[self._flat]
        self._row_soft = 1.0 / (epsilon * self._row_stiffness)
        self._row_shift = self._slack
        self._gradient = self._respond(self._prices)

    def settle(self, tolerance: float) -> bool:
        """Climb until the gradient vanishes; say whether it did."""
        # exposures' gradient is in units of exposures, rows' in units of weight
        for _ in range(_MAX_STEPS):
            size = float(np.abs(self._gradient).max())
            if size <= tolerance:
                return True
            step = self._newton_step()
            rise = float((self._gradient * step).sum())
            if not rise > 0:
                return size <= _RESIDUAL * 1e2
            self._search(step, rise)
            self.steps += 1
            if size <= _RESIDUAL * 1e2 and float(np.abs(self._gradient).max()) >= size:
                return True
        return False

    def _search(self, step: FloatArray, rise: float) -> None:
        """Move along ``step`` to where the slope, which only falls, is small."""
        start = self._prices
        length, low, high = 1.0, 0.0, np.inf
        slope_low, slope_high = rise, 0.0
        for _ in range(_MAX_SEARCH):
            self._prices = start + length * step
            self._gradient = self._respond(self._prices)
            slope = float((self._gradient * step).sum())
            if abs(slope) <= _SLOPE_LEFT * rise:
                return
            if slope > 0:
                low, slope_low = length, slope
            else:
                high, slope_high = length, slope
            if np.isinf(high):
                length *= 2
            else:
                secant = low + (high - low) * slope_low / (slope_low - slope_high)
                margin = 0.1 * (high - low)
                length = min(max(secant, low + margin), high - margin)

    def _respond(self, prices: FloatArray) -> FloatArray:
        """Let every piece answer to the prices; return the gradient of the (proximal) dual."""
        p, factors = self._p, self._factors
        zeta, mu = prices[:factors], prices[factors:]
        price = self._piece_prices(prices)
        self._amounts = np.minimum(np.maximum(self._shift - price * self._soft, 0.0), p.length)
        self._slack = np.minimum(np.maximum(self._row_shift + mu * self._row_soft, p.least), p.most)
        moved = np.bincount(p.asset, weights=self._amounts, minlength=len(p.stiffness))
        exposures = p.base + np.einsum("kn,n->k", p.loadings, moved)
        used = p.use + np.einsum("rp,p->r", p.rates, self._amounts)
        return np.concatenate([exposures - zeta / (2 * p.risk_aversion), used - self._slack])

    def _piece_prices(self, prices: FloatArray) -> FloatArray:
        p, factors = self._p, self._factors
        price: FloatArray = np.einsum("kn,k->n", p.loadings, prices[:factors])[p.asset]
        for r in range(len(p.use)):
            price += prices[factors + r] * p.rates[r]
        return price

    def _newton_step(self) -> FloatArray:
        p, factors, rows = self._p, self._factors, len(self._p.use)
        names = len(p.stiffness)
        inside: BoolArray = (self._amounts > 0) & (self._amounts < p.length)
        soft = np.where(inside, self._soft, 0.0)
        by_name = np.bincount(p.asset, weights=soft, minlength=names).astype(np.float64)
        matrix = np.zeros((factors + rows, factors + rows))
        matrix[:factors, :factors] = self._factor_matrix(by_name)
        diagonal = np.arange(factors)
        matrix[diagonal, diagonal] += 1.0 / (2 * p.risk_aversion)
        for r in range(rows):
            rated = soft * p.rates[r]
            cross = np.einsum("kn,n->k", p.loadings, np.bincount(p.asset, weights=rated, minlength=names))
            matrix[:factors, factors + r] = cross
            matrix[factors + r, :factors] = cross
            matrix[factors + r, factors : factors + rows] = np.einsum("rp,p->r", p.rates, rated)
            if p.least[r] < self._slack[r] < p.most[r]:
                matrix[factors + r, factors + r] += self._row_soft
            elif matrix[factors + r, factors + r] == 0:
                # nothing answers to this row here: step as if every name did
                matrix[factors + r, factors + r] = 1.0 / self._row_stiffness
        return solve_semidefinite(matrix, self._gradient)

    def _factor_matrix(self, by_name: FloatArray) -> FloatArray:
        """Return X~' diag(by_name) X~, from the last one where few names have changed."""
        change = by_name - self._matrix_softness
        at = np.flatnonzero(change)
        largest = float(np.abs(self._matrix_softness[at]).max(initial=0.0))
        if 2 * len(at) < len(by_name) and largest <= 1e3 * float(by_name.max(initial=0.0)):
            part = self._p.loadings[:, at]
            self._matrix = self._matrix + np.einsum("kn,ln->kl", part * change[at], part)
        else:
            at = np.flatnonzero(by_name)
            part = self._p.loadings[:, at]
            self._matrix = np.einsum("kn,ln->kl", part * by_name[at], part)
        self._matrix_softness = by_name
        return self._matrix

    def answer(self) -> DualAnswer:
        """Return the present point, with its gap and residual in the program without proximal terms."""
        p, factors = self._p, self._factors
        t, prices = self._amounts, self._prices.copy()
        used = p.use + np.einsum("rp,p->r", p.rates, t)
        residual = float(np.maximum(np.maximum(used - p.most, p.least - used), 0.0).max(initial=0.0))
        # a row that is not at its limit has no price
        mu = prices[factors:]
        mu[((mu > 0) & ~np.isfinite(p.most)) | ((mu < 0) & ~np.isfinite(p.least))] = 0.0
        inside = (self._slack > p.least) & (self._slack < p.most)
        mu[inside] = 0.0
        marginal = p.slope + self._piece_prices(prices)
        curved = p.curvature > 0
        best = np.where(
            curved, -marginal * 0.5 / np.where(curved, p.curvature, 1.0), np.where(marginal > 0, 0.0, p.length)
        )
        best = np.minimum(np.maximum(best, 0.0), p.length)
        # (marginal + q (t + best)) (t - best) keeps the digits that the difference of two values would lose
        excess = float(((marginal + p.curvature * (t + best)) * (t - best)).sum())
        limit = np.where(mu > 0, p.most, np.where(mu < 0, p.least, used))
        excess += float((mu * (limit - used)).sum())
        moved = np.bincount(p.asset, weights=t, minlength=len(p.stiffness))
        off = p.base + np.einsum("kn,n->k", p.loadings, moved) - prices[:factors] / (2 * p.risk_aversion)
        excess += p.risk_aversion * float((off * off).sum())
        return DualAnswer(t, prices[:factors], mu, excess, residual, self.steps)
