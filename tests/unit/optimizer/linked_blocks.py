"""Links between specific returns for any problem: random blocks with three common causes each."""

import numpy as np

from prometheus.optimizer.problem.linked_risk import block_of
from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem
from tests.unit.optimizer.problems import changed


def linked(problem: RebalanceProblem, blocks: int, seed: int = 0, *, twins: float = 0.0) -> RebalanceProblem:
    """Return the problem with its assets dealt out to blocks; with one block the specific covariance is dense.

    Args:
        problem: The problem.
        blocks: Number of blocks; with more than one every fifth asset or so stays outside.
        seed: Of the dealing and the correlations.
        twins: Correlation of the first two assets of each block beyond what their causes give; 0 for no more.
    """
    random = np.random.default_rng(seed)
    label = random.integers(0, blocks + (blocks > 1), problem.size)
    blocks_of_assets = []
    for b in range(blocks):
        names = np.flatnonzero(label == b)
        if not len(names):
            continue
        causes = random.normal(0.3, 0.3, (len(names), 3))
        covariance = causes @ causes.T + 0.6 * np.eye(len(names))
        if twins and len(names) > 1:
            covariance[1] = covariance[0]
            covariance[:, 1] = covariance[:, 0]
            covariance[0, 1] = covariance[1, 0] = twins * covariance[0, 0]
            covariance[1, 1] = covariance[0, 0]
        scale = np.sqrt(problem.specific_variance[names] / np.diag(covariance))
        covariance = covariance * scale[:, None] * scale
        covariance = 0.5 * (covariance + covariance.T)
        covariance[np.diag_indices(len(names))] = problem.specific_variance[names]
        blocks_of_assets.append(block_of(names, covariance))
    return changed(problem, specific_blocks=tuple(blocks_of_assets))


def dense_covariance(problem: RebalanceProblem) -> np.ndarray:
    """Return Sigma, (N, N), from the definition."""
    sigma = problem.loadings @ problem.factor_covariance @ problem.loadings.T + np.diag(problem.specific_variance)
    for block in problem.specific_blocks:
        sigma[np.ix_(block.names, block.names)] += block.covariance - np.diag(np.diag(block.covariance))
    return sigma
