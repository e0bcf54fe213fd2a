"""Small symmetric positive semidefinite systems, worked out row by row without a linear-algebra library.

A library might split the work by its number of threads, and with it the last bits.
"""

import math

import numpy as np

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer.problem.rebalance_problem import FloatArray

#: A pivot below this fraction of the largest variance counts as zero variance, not as a negative one.
_PIVOT_TOLERANCE = 1e-12
#: A pivot below this fraction of the largest entry is a direction to which nothing answers.
_NO_PIVOT = 1e-13


def semidefinite_root(covariance: FloatArray, what: str = "factor_covariance") -> FloatArray:
    """Return the lower-triangular L with L L' = ``covariance``, zero columns where a direction has no variance.

    Args:
        covariance: (K, K) symmetric positive semidefinite.
        what: What it is, for the message.

    Raises:
        InvalidProblemError: Not symmetric, or some combination of factors has negative variance.
    """
    size = covariance.shape[0]
    scale = float(np.abs(covariance).max(initial=0.0))
    if not np.allclose(covariance, covariance.T, rtol=0.0, atol=1e-9 * scale):
        raise InvalidProblemError(f"{what} is not symmetric.")
    root = np.zeros((size, size))
    for k in range(size):
        rest = covariance[k:, k] - (root[k:, :k] * root[k, :k]).sum(axis=1)
        if rest[0] < -1e-9 * scale or (rest[0] <= _PIVOT_TOLERANCE * scale and np.abs(rest).max() > 1e-6 * scale):
            raise InvalidProblemError(
                f"{what} is not positive semidefinite: factor {k} has variance {rest[0]:.3g} given the factors before "
                "it."
            )
        if rest[0] > _PIVOT_TOLERANCE * scale:
            root[k:, k] = rest / math.sqrt(rest[0])
    return root


def solve_semidefinite(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """Return x with matrix x = right for a small symmetric positive semidefinite matrix; zero along null directions.

    ``right`` is (n,) or (n, m), and so is the answer.
    """
    size = len(right)
    rows = np.concatenate([matrix, right.reshape(size, -1)], axis=1)
    least = _NO_PIVOT * float(np.abs(matrix).max(initial=0.0))
    for k in range(size):
        pivot = rows[k, k]
        if pivot <= least:
            rows[k, k:] = 0.0
            rows[:, k] = 0.0
            continue
        eliminated = rows[k, k:] / pivot
        rows[:, k:] -= rows[:, k, None] * eliminated
        rows[k, k:] = eliminated
    return rows[:, size:].reshape(right.shape)
