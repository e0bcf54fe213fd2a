"""Correlation of specific returns: blocks of assets whose specific parts move together, and their stored form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.foundation.errors import RiskModelError

FloatArray = NDArray[np.float64]

#: The stored form has positions as float32, in which whole numbers up to this are exact.
_MOST_ASSETS: Final = 2**24


@dataclass(frozen=True, slots=True, eq=False)
class SpecificCorrelation:
    """Correlation C of the specific returns of one block of n assets. Arrays are read-only.

    Attributes:
        names: (n,) int64 positions of the assets in the model, ascending, n at least 2.
        correlation: (n, n) float32, symmetric, ones on the diagonal, positive definite.

    Raises:
        RiskModelError: Shapes or types disagree, positions are not ascending, or the matrix is not a positive definite
            correlation; code ``RISK_MODEL``.
    """

    names: NDArray[np.int64]
    correlation: NDArray[np.float32]

    def __post_init__(self) -> None:
        names, correlation = self.names, self.correlation
        if names.dtype != np.int64 or names.ndim != 1 or names.size < 2 or names[0] < 0 or (np.diff(names) <= 0).any():
            raise RiskModelError("positions of a specific block must be two or more int64, ascending from 0 or above.")
        if correlation.dtype != np.float32 or correlation.shape != (names.size, names.size):
            raise RiskModelError(
                f"specific correlation is {correlation.dtype} {correlation.shape}, must be float32 "
                f"({names.size}, {names.size})."
            )
        # each comparison is false for NaN, so that a matrix with one is refused here
        if not (np.diag(correlation) == 1.0).all() or not (correlation == correlation.T).all():
            raise RiskModelError("specific correlation must be symmetric and finite with ones on the diagonal.")
        try:
            np.linalg.cholesky(correlation.astype(np.float64))
        except np.linalg.LinAlgError as error:
            raise RiskModelError("specific correlation is not positive definite.") from error
        names.flags.writeable = False
        correlation.flags.writeable = False


def require_blocks_of(blocks: Sequence[SpecificCorrelation], asset_count: int) -> None:
    """Refuse blocks that name a position beyond the model's assets, or one position twice.

    Args:
        blocks: The blocks.
        asset_count: Number of assets of the model.

    Raises:
        RiskModelError: Code ``RISK_MODEL``.
    """
    taken = np.zeros(asset_count, dtype=np.bool_)
    for block in blocks:
        if block.names[-1] >= asset_count:
            raise RiskModelError(
                f"a specific block names position {block.names[-1]} of a model of {asset_count} assets."
            )
        if taken[block.names].any():
            at = int(block.names[taken[block.names]][0])
            raise RiskModelError(f"position {at} is in more than one specific block; blocks must be disjoint.")
        taken[block.names] = True


def specific_covariance(specific_variance: FloatArray, blocks: Sequence[SpecificCorrelation]) -> FloatArray:
    """Return diag(s) C diag(s), (N, N), with s the specific volatilities; the diagonal is exactly D.

    Args:
        specific_variance: D, (N,), positive, annualised.
        blocks: Disjoint; assets outside every block are uncorrelated with all others.
    """
    matrix: FloatArray = np.diag(specific_variance)
    volatility = np.sqrt(specific_variance)
    for block in blocks:
        s = volatility[block.names]
        part = block.correlation.astype(np.float64) * s[:, None] * s[None, :]
        # the two products of a pair are rounded in different order: one triangle serves both
        part = np.tril(part, -1)
        matrix[np.ix_(block.names, block.names)] += part + part.T
    return matrix


def packed_blocks(blocks: Sequence[SpecificCorrelation]) -> NDArray[np.float32]:
    """Return the blocks as one float32 vector, which ``unpacked_blocks`` reads back exactly.

    For each block in turn: the number of assets, their positions, and the correlations below the diagonal row by row.
    """
    parts: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)]
    for block in blocks:
        if block.names[-1] >= _MOST_ASSETS:
            raise RiskModelError(f"position {block.names[-1]} of a specific block cannot be stored.")
        parts.append(np.array([block.names.size], dtype=np.float32))
        parts.append(block.names.astype(np.float32))
        parts.append(block.correlation[np.tril_indices(block.names.size, -1)])
    return np.concatenate(parts)


def unpacked_blocks(packed: NDArray[np.float32]) -> tuple[SpecificCorrelation, ...]:
    """Read back what ``packed_blocks`` wrote.

    Raises:
        RiskModelError: The vector does not hold blocks; code ``RISK_MODEL``.
    """
    blocks: list[SpecificCorrelation] = []
    at = 0
    while at < packed.size:
        count = int(packed[at])
        below = count * (count - 1) // 2
        end = at + 1 + count + below
        if count < 2 or end > packed.size:
            raise RiskModelError("stored specific blocks are cut off or damaged; refresh the risk model.")
        positions = packed[at + 1 : at + 1 + count].astype(np.int64)
        correlation = np.eye(count, dtype=np.float32)
        lower = np.tril_indices(count, -1)
        correlation[lower] = packed[at + 1 + count : end]
        correlation.T[lower] = correlation[lower]
        blocks.append(SpecificCorrelation(positions, correlation))
        at = end
    return tuple(blocks)
