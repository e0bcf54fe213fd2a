"""Limits that bind: each set a given part of the way from where trading would end without it."""

from typing import Any

import numpy as np

from prometheus.optimizer import rebalance, tracking_error
from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem
from tests.unit.optimizer.problems import LONG_RATE, SHORT_RATE, changed

KINDS = ("tracking error", "sectors", "factors", "turnover", "gain")


def with_gains(problem: RebalanceProblem, seed: int) -> RebalanceProblem:
    """Return the problem with the gain of each lot, at one of the two rates."""
    short = np.random.default_rng(seed).random(len(problem.lot_id)) < 0.5
    return changed(problem, lot_gain=problem.lot_tax / np.where(short, SHORT_RATE, LONG_RATE))


def binding(problem: RebalanceProblem, kinds: tuple[str, ...], tightness: float, seed: int = 0) -> RebalanceProblem:
    """Return the problem with limits that its unlimited answer breaks.

    Args:
        problem: A problem without limits that can be solved.
        kinds: Some of ``KINDS``.
        tightness: 0 leaves the limit where the unlimited answer ends, 1 asks for no trade at all (tracking error,
            sectors and factors: for none of what is left).
        seed: Of the sectors and the rates.
    """
    problem = with_gains(problem, seed)
    free = rebalance(problem)
    weights, part = free.target_weights, 1 - tightness
    active = weights - problem.benchmark_weights
    changes: dict[str, Any] = {}
    names, rows, bounds = [], [], []
    if "tracking error" in kinds:
        changes["te_max"] = max(tracking_error(problem, weights) * part, 1e-6)
    if "sectors" in kinds:
        sector = np.random.default_rng(seed).integers(0, 3, problem.size)
        matrix = (sector[None, :] == np.arange(3)[:, None]).astype(float)
        names += [f"sector:{s}" for s in range(3)]
        rows.append(matrix)
        bounds.append(np.full(3, np.abs(matrix @ active).max() * part))
    if "factors" in kinds:
        matrix = problem.loadings.T.copy()
        names += [f"factor:{k}" for k in range(len(matrix))]
        rows.append(matrix)
        bounds.append(np.full(len(matrix), np.abs(matrix @ active).max() * part))
    if rows:
        matrix, bound = np.vstack(rows), np.concatenate(bounds)
        centre = matrix @ problem.benchmark_weights
        changes |= {"row_names": tuple(names), "row_matrix": matrix}
        changes |= {"row_lower": centre - bound, "row_upper": centre + bound}
    if "turnover" in kinds:
        changes["turnover_max"] = float(np.abs(free.trades).sum()) / 2 * part
    if "gain" in kinds:
        gain = realised(problem, free.trades)
        # beside other limits, which all cost gains, there must be enough gain left
        changes["gain_max"] = gain + abs(gain) * (0.3 if len(kinds) > 1 else -tightness / 5)
    return changed(problem, **changes)


def realised(problem: RebalanceProblem, trades: np.ndarray) -> float:
    """Return the net gain of trades before rounding, lot by lot in selling order."""
    total = 0.0
    for i in np.flatnonzero(trades < 0):
        left = -trades[i]
        mine = [j for j in np.flatnonzero(problem.lot_asset == i) if not problem.lot_locked[j]]
        for j in sorted(mine, key=lambda j: problem.lot_rank[j]):
            taken = min(left, problem.lot_weight[j])
            total += taken * problem.lot_gain[j]
            left -= taken
    return float(total)
