"""Specific risk that is linked within blocks of assets: the remainder of each block.

The specific covariance of a block is S = R + diag(D) with R positive semidefinite (specific_split.py). D becomes the
curvature of each asset's own cost. R = C C' joins the assets like further factors, C'(d + u) being their exposures.
Source: docs/specs/optimizer.md.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray, SpecificBlock


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """The remainder of one block.

    Attributes:
        assets: (n,) ascending indices.
        root: (n, n) C, lower triangular.
        remainder: (n, n) R = C C', annualised covariance.
        first: Position of its exposures among those of all blocks.
        place: (N,) position of each asset of the problem in the block, -1 outside.
    """

    assets: IntArray
    root: FloatArray
    remainder: FloatArray
    first: int
    place: IntArray


def block_of(assets: IntArray, covariance: FloatArray) -> SpecificBlock:
    """Return a block in ascending order of its assets, with read-only arrays.

    Args:
        assets: (n,) indices in any order.
        covariance: (n, n) annualised specific covariance in the same order.
    """
    by = np.argsort(assets, kind="stable")
    return SpecificBlock(np.ascontiguousarray(assets[by]), np.ascontiguousarray(covariance[np.ix_(by, by)]))
