"""Active risk in factor form: ||chol(F)' X' (w - w_bm)||^2 + sum D (w - w_bm)^2, never a dense N x N matrix."""

import math
from dataclasses import dataclass

import numpy as np

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer.problem import FloatArray, RebalanceProblem

#: A pivot below this share of the largest variance is a direction without variance, not a negative one.
_PIVOT_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class FactorRisk:
    """Factor risk with the factor covariance's Cholesky factor folded into the loadings.

    Attributes:
        loadings: (N, K) X chol(F); the factor variance of active weights a is ||loadings' a||^2, annualised.
        specific_variance: (N,) D, annualised.
    """

    loadings: FloatArray
    specific_variance: FloatArray

    def exposures(self, active: FloatArray) -> FloatArray:
        """Return y, (K,): the factor exposures of (N,) active weights in units of annualised volatility."""
        # einsum, not a matrix product: a BLAS may split the sum by its number of threads, and with it the last bits
        y: FloatArray = np.einsum("ik,i->k", self.loadings, active)
        return y

    def price(self, exposures: FloatArray) -> FloatArray:
        """Return (N,) loadings times (K,) exposures."""
        each: FloatArray = np.einsum("ik,k->i", self.loadings, exposures)
        return each

    def variance(self, active: FloatArray) -> float:
        """Return the annualised variance of (N,) active weights."""
        y = self.exposures(active)
        return float((y * y).sum() + (self.specific_variance * active * active).sum())


def factor_risk(problem: RebalanceProblem) -> FactorRisk:
    """Fold the factor covariance into the loadings.

    Raises:
        InvalidProblemError: The factor covariance is not symmetric positive semidefinite.
    """
    root = semidefinite_root(problem.factor_covariance)
    return FactorRisk(np.einsum("ik,kl->il", problem.loadings, root), problem.specific_variance)


def semidefinite_root(covariance: FloatArray) -> FloatArray:
    """Return the lower-triangular L with L L' = ``covariance``, zero columns where a direction has no variance.

    Args:
        covariance: (K, K) symmetric positive semidefinite.

    Raises:
        InvalidProblemError: Not symmetric, or some combination of factors has negative variance.
    """
    size = covariance.shape[0]
    scale = float(np.abs(covariance).max(initial=0.0))
    if not np.allclose(covariance, covariance.T, rtol=0.0, atol=1e-9 * scale):
        raise InvalidProblemError("factor_covariance is not symmetric.")
    root = np.zeros((size, size))
    for k in range(size):
        rest = covariance[k:, k] - (root[k:, :k] * root[k, :k]).sum(axis=1)
        if rest[0] < -1e-9 * scale or (rest[0] <= _PIVOT_TOLERANCE * scale and np.abs(rest).max() > 1e-6 * scale):
            raise InvalidProblemError(
                f"factor_covariance is not positive semidefinite: factor {k} has variance {rest[0]:.3g} given the "
                "factors before it."
            )
        if rest[0] > _PIVOT_TOLERANCE * scale:
            root[k:, k] = rest / math.sqrt(rest[0])
    return root


def tracking_error(problem: RebalanceProblem, weights: FloatArray) -> float:
    """Return the ex ante tracking error of ``weights`` against the benchmark.

    Args:
        problem: Gives the benchmark, the loadings and the variances.
        weights: (N,) fractions of NAV; cash is what is missing to one and carries no risk of its own.

    Returns:
        Annualised standard deviation of the active return, as a fraction (0.01 is 1 % a year).
    """
    return math.sqrt(factor_risk(problem).variance(problem.active(weights)))
