"""Active risk in factor form: ||chol(F)' X' (w - w_bm)||^2 + sum D (w - w_bm)^2, never a dense N x N matrix.

Where specific returns are linked within blocks, D is what of the specific covariance belongs to assets alone, and the
rest adds exposures of its own: ||C' (w - w_bm)||^2 of each block (linked_risk.py).
"""

import math
from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.problem.linked_exposures import PackedLinks
from prometheus.optimizer.problem.linked_risk import Link
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray, RebalanceProblem
from prometheus.optimizer.problem.semidefinite import semidefinite_root
from prometheus.optimizer.problem.specific_split import split_specific


@dataclass(frozen=True, slots=True, eq=False)
class FactorRisk:
    """Factor risk with the factor covariance's Cholesky factor folded into the loadings.

    Attributes:
        loadings: (N, K) X chol(F); the factor variance of active weights a is ||loadings' a||^2, annualised.
        specific_variance: (N,) D, annualised; less than the assets' own where they are linked.
        links: What links the specific returns of blocks of assets, L exposures in all; empty for none.
        packed: The same in flat arrays; None for none.
    """

    loadings: FloatArray
    specific_variance: FloatArray
    links: tuple[Link, ...] = ()
    packed: PackedLinks | None = None

    @property
    def size(self) -> int:
        """Return K + L, the number of exposures."""
        linked = 0 if self.packed is None else len(self.packed.assets)
        return int(self.loadings.shape[1]) + linked

    @property
    def exposures_per_asset(self) -> int:
        """Return how many exposures a typical asset has: K, and those of its own block where assets are linked."""
        sizes = np.zeros(0, dtype=np.int64) if self.packed is None else self.packed.sizes
        return int(self.loadings.shape[1]) + int((sizes * sizes).sum()) // len(self.loadings)

    def exposures(self, active: FloatArray) -> FloatArray:
        """Return y, (K + L,): the exposures of (N,) active weights in units of annualised volatility."""
        # einsum, not a matrix product: a BLAS may split the sum by its number of threads, and with it the last bits
        y: FloatArray = np.einsum("ik,i->k", self.loadings, active)
        return y if self.packed is None else np.concatenate([y, self.packed.exposures(active)])

    def price(self, exposures: FloatArray) -> FloatArray:
        """Return (N,) loadings times (K + L,) exposures."""
        factors = self.loadings.shape[1]
        each: FloatArray = np.einsum("ik,k->i", self.loadings, exposures[:factors])
        if self.packed is not None:
            each[self.packed.assets] += self.packed.charges(exposures[factors:])
        return each

    def shared_variance(self) -> FloatArray:
        """Return (N,) the variance of each asset that its exposures carry: all but D."""
        shared: FloatArray = (self.loadings * self.loadings).sum(axis=1)
        for link in self.links:
            shared[link.assets] += np.diag(link.remainder)
        return shared

    def exposures_of(self, asset: int, weight: float) -> FloatArray:
        """Return (K + L,) the exposures of a weight of one asset."""
        moved: FloatArray = self.loadings[asset] * weight
        if self.packed is None:
            return moved
        whole = np.zeros(self.size)
        whole[: len(moved)] = moved
        place = int(self.packed.place[asset])
        if place >= 0:
            first, root = self.packed.root_of(place)
            whole[len(moved) + first : len(moved) + first + len(root)] = root * weight
        return whole

    def shared_covariance(self, asset: IntArray) -> FloatArray:
        """Return (M, M) covariances of M assets as far as exposures carry them."""
        part = self.loadings[asset]
        shared: FloatArray = np.einsum("ik,jk->ij", part, part)
        return shared if self.packed is None else shared + self.packed.covariances(asset)

    def variance(self, active: FloatArray) -> float:
        """Return the annualised variance of (N,) active weights."""
        y = self.exposures(active)
        return float((y * y).sum() + (self.specific_variance * active * active).sum())


def factor_risk(problem: RebalanceProblem) -> FactorRisk:
    """Fold the factor covariance into the loadings and split the specific covariance.

    Raises:
        InvalidProblemError: The factor covariance is not symmetric positive semidefinite, or a specific block is not
            positive definite.
    """
    root = semidefinite_root(problem.factor_covariance)
    loadings = np.einsum("ik,kl->il", problem.loadings, root)
    if not problem.specific_blocks:
        return FactorRisk(loadings, problem.specific_variance)
    own, links = split_specific(problem)
    return FactorRisk(loadings, own, links, PackedLinks.of(links))


def tracking_error(problem: RebalanceProblem, weights: FloatArray) -> float:
    """Return the ex ante tracking error of ``weights`` against the benchmark.

    Args:
        problem: Gives the benchmark, the loadings and the variances.
        weights: (N,) fractions of NAV; cash is what is missing to one and carries no risk of its own.

    Returns:
        Annualised standard deviation of the active return, as a fraction (0.01 is 1 % a year).
    """
    return math.sqrt(factor_risk(problem).variance(problem.active(weights)))
