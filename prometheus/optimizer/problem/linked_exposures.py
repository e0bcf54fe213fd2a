"""Compiled loops of the links alone: exposures of weights, what their prices charge, covariances (compiled.py).

All blocks in one call: at a dozen blocks of some dozen assets the calls would cost more than the sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.compiled import compiled
from prometheus.optimizer.problem.linked_risk import Link
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class PackedLinks:
    """All links in flat arrays, one after the other.

    Attributes:
        sizes: (links,) how many assets each link joins.
        assets: (L,) these assets.
        place: (N,) position of each asset among them, -1 for an asset of no link.
        roots: (entries,) the lower triangular square roots C, row after row.
        columns: (entries,) the same, column after column.
        remainders: (entries,) C C', row after row.
    """

    sizes: IntArray
    assets: IntArray
    place: IntArray
    roots: FloatArray
    columns: FloatArray
    remainders: FloatArray

    @classmethod
    def of(cls, links: Sequence[Link]) -> "PackedLinks":
        """Pack at least one link."""
        assets = np.concatenate([link.assets for link in links])
        place = np.full(len(links[0].place), -1, dtype=np.int64)
        place[assets] = np.arange(len(assets))
        return cls(
            sizes=np.array([len(link.assets) for link in links], dtype=np.int64),
            assets=assets,
            place=place,
            roots=np.concatenate([link.root.ravel() for link in links]),
            columns=np.concatenate([link.root.T.ravel() for link in links]),
            remainders=np.concatenate([link.remainder.ravel() for link in links]),
        )

    def exposures(self, weights: FloatArray) -> FloatArray:
        """Return (L,) linked exposures of (N,) weights."""
        return _exposures(self.sizes, self.assets, self.roots, np.ascontiguousarray(weights))

    def charges(self, prices: FloatArray) -> FloatArray:
        """Return (L,) what (L,) prices of linked exposures charge for a unit of each linked asset."""
        return _charges(self.sizes, self.columns, np.ascontiguousarray(prices))

    def root_of(self, place: int) -> tuple[int, FloatArray]:
        """Return the first exposure and (n,) exposures of a unit of the asset at a place."""
        begin = entry = 0
        for size in self.sizes.tolist():
            if place < begin + size:
                row = entry + (place - begin) * size
                return begin, self.roots[row : row + size]
            begin, entry = begin + size, entry + size * size
        raise IndexError(place)

    def covariances(self, asset: IntArray) -> FloatArray:
        """Return (M, M) what the links add to the covariances of M assets."""
        return _covariances(self.sizes, self.remainders, self.place[asset])


_NOBODY, _NOTHING = np.zeros(0, dtype=np.int64), np.zeros(0)
#: The value for no links.
NO_LINKS = PackedLinks(_NOBODY, _NOBODY, _NOBODY, _NOTHING, _NOTHING, _NOTHING)


@compiled("F <- I I F F")
def _exposures(
    sizes: IntArray, assets: IntArray, roots: FloatArray, weights: FloatArray
) -> FloatArray:  # pragma: no cover - machine code, which is not traced
    exposures = np.zeros(len(assets))
    begin = entry = 0
    for size in sizes:
        for i in range(size):
            weight = weights[assets[begin + i]]
            for j in range(i + 1):
                exposures[begin + j] += roots[entry + j] * weight
            entry += size
        begin += size
    return exposures


@compiled("F <- I F F")
def _charges(
    sizes: IntArray, columns: FloatArray, prices: FloatArray
) -> FloatArray:  # pragma: no cover - machine code, which is not traced
    charges = np.zeros(len(prices))
    begin = entry = 0
    for size in sizes:
        for j in range(size):
            price = prices[begin + j]
            for i in range(j, size):
                charges[begin + i] += columns[entry + i] * price
            entry += size
        begin += size
    return charges


@compiled("F2 <- I F I")
def _covariances(
    sizes: IntArray, remainders: FloatArray, place: IntArray
) -> FloatArray:  # pragma: no cover - machine code, which is not traced
    count = len(place)
    covariances = np.zeros((count, count))
    begin = entry = 0
    inside = np.empty(count, dtype=np.int64)
    for size in sizes:
        members = 0
        for m in range(count):
            if begin <= place[m] < begin + size:
                inside[members] = m
                members += 1
        for a in range(members):
            row = entry + (place[inside[a]] - begin) * size - begin
            for b in range(members):
                covariances[inside[a], inside[b]] = remainders[row + place[inside[b]]]
        begin, entry = begin + size, entry + size * size
    return covariances
