"""The specific covariance of a block of assets, split into a part for each asset alone and a remainder that joins them.

S = R + diag(D) with R positive semidefinite. D becomes the curvature of each asset's own cost, on which the envelopes
rest: the more of the variance it takes, the tighter they are. A split depends on its block only, and the accounts of a
day mostly share their blocks: it is kept by the block's content, so that it cannot matter whether it was worked out
now or before. Source: docs/specs/optimizer.md.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer.problem.linked_risk import Link
from prometheus.optimizer.problem.rebalance_problem import FloatArray, RebalanceProblem, read_only
from prometheus.optimizer.problem.semidefinite import semidefinite_root

#: Least eigenvalue of a block's correlations: assets that are more alike than that cannot be told apart.
LEAST_EIGENVALUE = 1e-6
#: Blocks up to this size get the best split that a few steps find, larger ones a quicker one.
_POLISHED = 96
_POLISHING_STEPS = 8
#: What is split off stays below the largest possible amount by this part, so that R is safely semidefinite.
_MARGIN = 1e-3
#: Bits kept of each asset's fraction: the last ones may depend on the number of threads of a linear-algebra library.
_BITS = 12
#: How many splits are kept of blocks that are polished (at most 0.3 MiB each), and of larger ones.
_KEPT, _KEPT_LARGE = 128, 2


@dataclass(frozen=True, slots=True, eq=False)
class _BlockSplit:
    """The split of one block: D (n,), R and its lower triangular root C (n, n)."""

    own: FloatArray
    remainder: FloatArray
    root: FloatArray


class _NotDefiniteError(Exception):
    """The least eigenvalue of a block's correlations is too small."""


def split_specific(problem: RebalanceProblem) -> tuple[FloatArray, tuple[Link, ...]]:
    """Split the specific covariance of a problem.

    Returns:
        (N,) D, the specific variance of assets outside of all blocks; and the remainder of each block.

    Raises:
        InvalidProblemError: A block is not positive definite.
    """
    own = problem.specific_variance.copy()
    links: list[Link] = []
    first = 0
    for block in problem.specific_blocks:
        assets, size = block.names, len(block.names)
        variance = np.ascontiguousarray(problem.specific_variance[assets])
        split = _kept if size <= _POLISHED else _kept_large
        try:
            parts = split(np.ascontiguousarray(block.covariance).tobytes(), variance.tobytes())
        except _NotDefiniteError as error:
            raise InvalidProblemError(
                f"the specific block of {problem.tickers[assets[0]]} is not positive definite: the least "
                f"eigenvalue of its correlations is {error.args[0]:.3g}, it must be at least {LEAST_EIGENVALUE:g}. "
                "Give assets that are the same security a correlation of 0.999."
            ) from None
        own[assets] = parts.own
        place = np.full(problem.size, -1, dtype=np.int64)
        place[assets] = np.arange(size)
        links.append(Link(assets, parts.root, parts.remainder, first, place))
        first += size
    return own, tuple(links)


def _split(covariance_bytes: bytes, variance_bytes: bytes) -> _BlockSplit:
    variance = np.frombuffer(variance_bytes)
    covariance = np.frombuffer(covariance_bytes).reshape(len(variance), len(variance))
    scale = np.sqrt(variance)
    correlation = covariance / (scale[:, None] * scale)
    least = float(np.linalg.eigvalsh(correlation)[0])
    if not least >= LEAST_EIGENVALUE:
        raise _NotDefiniteError(least)
    own = variance * _rounded_down(_separable_fraction(correlation, least))
    remainder = covariance - np.diag(own)
    root = semidefinite_root(remainder, "specific remainder")
    return _BlockSplit(read_only(own), read_only(remainder), read_only(root))


_kept = lru_cache(_KEPT)(_split)
_kept_large = lru_cache(_KEPT_LARGE)(_split)


def _separable_fraction(correlation: FloatArray, least: float) -> FloatArray:
    """Return (n,) how much of each asset's variance can be split off: large in sum, C - diag positive semidefinite."""
    size = len(correlation)
    uniform = np.full(size, (1 - _MARGIN) * least)
    # what each asset could give if it were alone; assets that are alike can give little
    alone = 1.0 / np.diag(np.linalg.inv(correlation))
    scale = 1.0 / np.sqrt(alone)
    common = float(np.linalg.eigvalsh(correlation * scale[:, None] * scale)[0])
    fraction = (1 - _MARGIN) * common * alone
    if fraction.sum() < uniform.sum():
        fraction = uniform
    return _polished(correlation, fraction) if size <= _POLISHED else fraction


def _polished(correlation: FloatArray, fraction: FloatArray) -> FloatArray:
    """Raise the sum of the fractions by Newton steps on  sum + mu log det(C - diag(fraction))  with falling mu."""
    mu = 0.2
    for _ in range(_POLISHING_STEPS):
        inverse = np.linalg.inv(correlation - np.diag(fraction))
        step = np.linalg.solve(mu * inverse * inverse, 1.0 - mu * np.diag(inverse))
        length = 1.0
        while not _is_split(correlation, fraction + length * step):
            length *= 0.6
            if length < _MARGIN:
                return fraction
        fraction = fraction + length * step
        mu *= 0.5
    return fraction


def _is_split(correlation: FloatArray, fraction: FloatArray) -> bool:
    """Say whether every fraction is positive and the remainder is safely positive definite (has a root)."""
    if not (fraction > 0).all():
        return False
    left = correlation - np.diag(fraction + _MARGIN * LEAST_EIGENVALUE)
    try:
        np.linalg.cholesky(left)
    except np.linalg.LinAlgError:
        return False
    return True


def _rounded_down(fraction: FloatArray) -> FloatArray:
    mantissa, exponent = np.frexp(fraction)
    rounded: FloatArray = np.ldexp(np.floor(np.ldexp(mantissa, _BITS)), exponent - _BITS)
    return rounded
