"""An oracle for small problems: every pattern of sides, each a dense convex program over purchases and lots sold.

For lot orders of rising marginal tax, where a sale is one convex side: seven assets have 128 patterns, whatever their
lots. Written from the problem's definition, with none of the optimizer's code.
"""

import itertools

import clarabel
import numpy as np
from scipy.sparse import csc_matrix, triu

from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem


def best_over_sides(problem: RebalanceProblem) -> float:
    """Return the least objective over all trades that obey the rules, before rounding; infinite where there is none."""
    n, lots = problem.size, _lots(problem)
    sigma = problem.loadings @ problem.factor_covariance @ problem.loadings.T + np.diag(problem.specific_variance)
    owner = np.array([i for i, _ in lots], dtype=np.int64)
    # columns: a purchase of each asset, then each lot that may be sold
    moves = np.hstack([np.eye(n), -(owner[None, :] == np.arange(n)[:, None]).astype(float)])
    held, k = problem.holdings(), problem.cost_rate
    away = held - problem.benchmark_weights
    tax = np.array([problem.lot_tax[j] for _, j in lots])
    P = csc_matrix(triu(2 * problem.risk_aversion * moves.T @ sigma @ moves))
    q = 2 * problem.risk_aversion * moves.T @ sigma @ away - moves.T @ problem.tilt
    q += np.concatenate([k, k[owner] + problem.tax_weight * tax])
    constant = problem.risk_aversion * away @ sigma @ away - problem.tilt @ held
    cash = np.concatenate([1 + k, -(1 - k[owner])])
    columns = np.eye(n + len(lots))
    A = csc_matrix(np.vstack([columns, -columns, cash, -cash, moves, -moves]))
    slack = np.where(problem.can_buy, np.maximum(problem.upper - held, 0.0), 0.0)
    size = np.array([problem.lot_weight[j] for _, j in lots])
    others = [
        problem.cash - problem.cash_min,
        problem.cash_max - problem.cash,
        *(problem.upper - held),
        *(held - problem.lower),
    ]
    harmful = _harmful(problem, lots)
    best = float("inf")
    for pattern in itertools.product((False, True), repeat=n):
        buying = np.array(pattern)
        group_buys = np.isin(problem.group, problem.group[buying])
        sellable = np.where(buying[owner] | (harmful & group_buys[owner]), 0.0, size)
        b = np.concatenate([np.where(buying, slack, 0.0), sellable, np.zeros(n + len(lots)), others])
        answer = clarabel.DefaultSolver(P, q, A, b, [clarabel.NonnegativeConeT(len(b))], _SETTINGS).solve()
        if str(answer.status) in {"Solved", "AlmostSolved"}:
            best = min(best, answer.obj_val + constant)
    return best


def _lots(problem: RebalanceProblem) -> list[tuple[int, int]]:
    lots = []
    for i in np.flatnonzero(problem.can_sell).tolist():
        mine = [j for j in np.flatnonzero(problem.lot_asset == i).tolist() if not problem.lot_locked[j]]
        mine.sort(key=lambda j: problem.lot_rank[j])
        assert (np.diff(problem.lot_tax[mine]) >= 0).all(), "the marginal tax must rise in selling order"
        lots += [(i, j) for j in mine]
    return lots


def _harmful(problem: RebalanceProblem, lots: list[tuple[int, int]]) -> np.ndarray:
    """Return which lots are losses or stand behind one of their asset in the selling order."""
    seen: set[int] = set()
    harmful = []
    for i, j in lots:
        if problem.lot_is_loss[j]:
            seen.add(i)
        harmful.append(i in seen)
    return np.array(harmful, dtype=bool)


_SETTINGS = clarabel.DefaultSettings()
_SETTINGS.verbose = False
_SETTINGS.tol_gap_abs = _SETTINGS.tol_gap_rel = _SETTINGS.tol_feas = 1e-10
