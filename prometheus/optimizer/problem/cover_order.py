"""The short positions that a purchase covers before it opens a long one, as a sale takes lots.

An asset that begins short has no lots. What is bought of it goes to its short lots first, in the order of the problem
(the ledger's: the earliest first), and only then is anything held long.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray, RebalanceProblem


@dataclass(frozen=True, slots=True, eq=False)
class CoverOrder:
    """The S short lots of a problem, by asset and within an asset in the order in which they are covered.

    Attributes:
        asset: (S,) index of the asset.
        first: (S,) position of the asset's first short lot.
        size: (S,) market value of the shares owed, as a positive weight.
        start: (S,) weight of the asset bought before this lot is touched.
        owed: (N,) weight owed of each asset; zero for none.
        bounds: (N + 1,) where each asset's short lots begin, and where the last one's end.
    """

    asset: IntArray
    first: IntArray
    size: FloatArray
    start: FloatArray
    owed: FloatArray
    bounds: IntArray

    def of_name(self, asset: int) -> slice:
        """Return the positions of an asset's short lots."""
        return slice(int(self.bounds[asset]), int(self.bounds[asset + 1]))

    def fill(self, bought: FloatArray) -> FloatArray:
        """Return (S,) the weight covered of each short lot when (N,) non-negative weights are bought."""
        covered: FloatArray = np.minimum(np.maximum(bought[self.asset] - self.start, 0.0), self.size)
        return covered

    def last_touched(self, asset: int, bought: float) -> int | None:
        """Return the short lot on which the next unit would be bought or not; None where more is bought than is owed.

        Args:
            asset: The asset.
            bought: Weight bought of it; zero for a purchase that only begins.
        """
        lots = self.of_name(asset)
        if lots.start == lots.stop or bought > self.owed[asset]:
            return None
        touched = int(np.count_nonzero(self.start[lots] < bought))
        return int(self.bounds[asset]) + max(touched - 1, 0)


def cover_order(problem: RebalanceProblem) -> CoverOrder | None:
    """Return the order in which purchases cover short positions; None where the account has none."""
    if not len(problem.short_id):
        return None
    counts = np.bincount(problem.short_asset, minlength=problem.size)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    first = np.repeat(bounds[:-1], counts)
    return CoverOrder(
        asset=problem.short_asset,
        first=first,
        size=problem.short_weight,
        start=_running_sum(problem.short_weight, first),
        owed=problem.owed(),
        bounds=bounds,
    )


def _running_sum(size: FloatArray, first: IntArray) -> FloatArray:
    """Return the sum of an asset's earlier short lots, exactly zero for its first one."""
    start = np.zeros_like(size)
    for s in range(len(size)):
        start[s] = 0.0 if s == first[s] else start[s - 1] + size[s - 1]
    return start
