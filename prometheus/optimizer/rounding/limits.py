"""Rounding when limits besides cash join the assets: every limit together, as one amount by which the trades miss them.

Each step of the repair takes the change of one asset that costs least for the progress it makes; where no single change
makes any, a pair. What cannot be repaired is refused with the names of the limits that stay missed.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer.problem.active_risk import FactorRisk
from prometheus.optimizer.problem.coupling import TRACKING_ERROR, RowLimits
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray
from prometheus.optimizer.problem.trade_range import CashRange

#: A difference below this is rounding of a sum and no reason to buy a share.
NEGLIGIBLE = 1e-12
#: Changes that improve the objective by less (0.00001 bps of NAV) are not worth the search.
WORTHWHILE = 1e-9
#: Candidates of which all pairs are looked at.
_IN_PAIRS = 120


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """Effects of M candidate changes of a single asset each.

    Attributes:
        change: (M,) change of the objective; infinite where there is no such change.
        cash: (M,) change of the cash used.
        use: (R, M) change of the coupling rows' use.
        variance: (M,) change of the active variance.
        asset: (M,) the asset that changes.
        delta: (M,) change of its trade.
    """

    change: FloatArray
    cash: FloatArray
    use: FloatArray
    variance: FloatArray
    asset: IntArray
    delta: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class AllLimits:
    """Cash range, coupling rows and tracking error as one distance."""

    cash: CashRange
    rows: RowLimits

    def missed(self, cash: FloatArray, use: FloatArray, variance: FloatArray) -> FloatArray:
        """Return the sum of the amounts by which (M,) cash, (R, M) uses and (M,) variances miss their limits."""
        total: FloatArray = _rest(np.maximum(cash - self.cash.most, self.cash.least - cash))
        if len(self.rows.names):
            total = total + _rest(np.abs(self.rows.missed(use))).sum(axis=0)
        if np.isfinite(self.rows.te_max):
            total = total + _rest(np.sqrt(np.maximum(variance, 0.0)) - self.rows.te_max)
        return total

    def refuse(self, cash: float, use: FloatArray, variance: float) -> InfeasibleProblemError:
        """Return the error that names the limits which whole steps miss."""
        conflicts: list[dict[str, str | float]] = []

        def add(name: str, value: float, low: float, high: float) -> None:
            missed = max(value - high, low - value)
            if missed > NEGLIGIBLE:
                required = high if value > high else low
                conflicts.append(
                    {"constraint": name, "required": required, "reachable": value, "violation": float(missed)}
                )

        add("cash range", cash, self.cash.least, self.cash.most)
        for r, name in enumerate(self.rows.names):
            base = float(self.rows.base[r])
            add(name, float(use[r]) + base, float(self.rows.least[r]) + base, float(self.rows.most[r]) + base)
        add(TRACKING_ERROR, max(variance, 0.0) ** 0.5, 0.0, self.rows.te_max)
        if not conflicts:
            # each limit is missed by less than the last bits of a sum, all of them together by more
            conflicts.append({"constraint": "all limits together", "required": 0.0, "reachable": 0.0, "violation": 0.0})
        listed = "; ".join(f"{item['constraint']} is missed by {item['violation']:.6%}" for item in conflicts)
        worst = max(conflicts, key=lambda item: item["violation"])
        return InfeasibleProblemError(
            f"the limits can be met before rounding, but not in whole steps of shares: {listed}. Widen them by what "
            "one share is worth, or trade in fractions.",
            details={**worst, "constraint": f"{worst['constraint']} in whole steps", "conflicts": conflicts},
            missed=tuple((str(item["constraint"]), float(item["violation"])) for item in conflicts),
        )

    def best_pair(
        self, at: tuple[float, FloatArray, float], effects: Effects, risk: FactorRisk
    ) -> tuple[int, int] | None:
        """Return the two candidates of different assets that together come nearest to the limits, if nearer than now.

        Args:
            at: Cash used, (R,) uses and active variance now.
            effects: Candidates.
            risk: Says what two changes do to the variance together.
        """
        cash, use, variance = at
        now = float(self.missed(np.array([cash]), use[:, None], np.array([variance]))[0])
        alone = self.missed(cash + effects.cash, use[:, None] + effects.use, variance + effects.variance)
        one, two, _, missed = self._pairs(at, effects, risk, alone)
        least = float(missed.min(initial=np.inf))
        if not least < now - NEGLIGIBLE:
            return None
        ties = np.flatnonzero(missed <= least + NEGLIGIBLE)
        best = ties[np.argmin((effects.change[one] + effects.change[two])[ties])]
        return int(one[best]), int(two[best])

    def _pairs(
        self, at: tuple[float, FloatArray, float], effects: Effects, risk: FactorRisk, rank: FloatArray
    ) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
        """Return pairs of the first candidates: both numbers, what they add to the variance, what is missed then."""
        cash, use, variance = at
        few = _first(np.where(np.isfinite(effects.change), rank, np.inf))
        one, two = (index.ravel() for index in np.meshgrid(few, few, indexing="ij"))
        apart = effects.asset[one] < effects.asset[two]
        one, two = one[apart], two[apart]
        position = np.full(len(effects.change), -1)
        position[few] = np.arange(len(few))
        moves = effects.delta[few]
        covariance = risk.shared_covariance(effects.asset[few]) * moves[:, None] * moves
        together = 2 * covariance[position[one], position[two]]
        missed = self.missed(
            cash + effects.cash[one] + effects.cash[two],
            use[:, None] + effects.use[:, one] + effects.use[:, two],
            variance + effects.variance[one] + effects.variance[two] + together,
        )
        return one, two, together, missed


def _rest(excess: FloatArray) -> FloatArray:
    return np.where(excess > NEGLIGIBLE, excess, 0.0)


def _first(rank: FloatArray) -> IntArray:
    """Return the candidates that come first, those of infinite rank left out."""
    few = np.argsort(rank, kind="stable")[:_IN_PAIRS]
    return few[np.isfinite(rank[few])]
