"""What the bench compares with: the same two stages written in CVXPY, and the true problem as a mixed-integer program.

The peers get the envelope, the choice of sides and the certificate for nothing; they are charged for stating and
solving the two programs only. Both are written as a competent user would: sparse data, no parameters, sums of squares
in factor form, the tracking error as one norm. Limits besides cash are stated too, where the problem has them.
"""

import time
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
from scipy.sparse import csr_matrix

from prometheus.optimizer.certificate import DualPoint
from prometheus.optimizer.dual.decisions import resting_places
from prometheus.optimizer.problem.envelope import arcs, convex_envelope


@dataclass
class PeerAnswer:
    """What a peer needed and how good its trades are."""

    seconds: float
    compile_seconds: float
    gap_bps: float
    objective: float


def cvxpy_two_stages(whole, *, dense=False):
    """Solve envelope and fixed sides through CVXPY and CLARABEL; ``dense`` uses an N x N factor covariance."""
    envelope = convex_envelope(whole.pieces, whole.cost, whole.cost_rate)
    began = time.perf_counter()
    trades, dual, compiling = _solve(whole, envelope, dense)
    seconds = time.perf_counter() - began
    bound = whole.bound(dual, whole.minima(dual))
    # sides as they rest; a group that must not buy beside a loss sale takes the cheaper of its two sides
    places = resting_places(envelope, whole.pieces, trades)
    no_purchase, no_loss = whole.group_values(whole.minima(dual))
    decided = whole.within(whole.limits.with_groups(no_purchase <= no_loss, whole.cost.order.loss_start))
    branch = places.branch
    grouped = whole.limits.group >= 0
    if grouped.any():
        minima = decided.minima(dual)
        reached = np.searchsorted(decided.pieces.branch, np.arange(int(decided.pieces.branch[-1]) + 2))
        owner = decided.pieces.asset[reached[:-1]]
        first = decided.pieces.branch[decided.pieces.first]
        order = np.lexsort((minima.branch_value, owner))
        head = np.searchsorted(owner[order], np.arange(len(branch)))
        branch = np.where(grouped, order[head] - first, branch)
    convex = decided.on_branches(branch)
    if not convex.can_meet_cash():
        return PeerAnswer(seconds, compiling, float("nan"), float("nan"))
    fixed = arcs(convex.pieces, convex.cost, convex.cost_rate)
    began = time.perf_counter()
    second = _solve(whole, fixed, dense)
    seconds += time.perf_counter() - began
    if second is None:
        return PeerAnswer(seconds, compiling, float("nan"), float("nan"))
    trades, dual, more = second
    bound = max(bound, whole.bound(dual, whole.minima(dual)))
    objective = convex.objective(trades)
    return PeerAnswer(seconds, compiling + more, 1e4 * (objective - bound), objective)


def _solve(whole, pieces, dense):
    g, active = whole.risk_aversion, whole.cost.active
    count = len(pieces.asset)
    owner = csr_matrix((np.ones(count), (pieces.asset, np.arange(count))), shape=(pieces.size, count))
    t = cp.Variable(count, bounds=[0, pieces.right - pieces.left])
    u = cp.Variable(pieces.size)
    base_cash = float((pieces.low + whole.cost_rate * np.abs(pieces.low)).sum())
    cash = base_cash + pieces.cash @ t
    own = pieces.slope @ t + cp.sum_squares(cp.multiply(np.sqrt(pieces.curvature), t))
    constraints = [u == pieces.low + owner @ t]
    if dense:
        sigma = whole.risk.loadings @ whole.risk.loadings.T
        risk_terms = whole.risk.loadings.T @ (active + u)
        risk = cp.quad_form(active + u, cp.psd_wrap(sigma))
    else:
        y = cp.Variable(whole.risk.loadings.shape[1])
        constraints.append(y == whole.risk.loadings.T @ (active + u))
        risk = cp.sum_squares(y)
    most, least = cash <= whole.cash.most, cash >= whole.cash.least
    constraints += [most, least]
    rows = _rows(whole, pieces, u, t)
    constraints += [row for row, _, _ in rows]
    limit = None
    if np.isfinite(whole.rows.te_max):
        exposures = risk_terms if dense else y
        specific = cp.multiply(np.sqrt(whole.risk.specific_variance), active + u)
        limit = cp.norm(cp.hstack([exposures, specific])) <= whole.rows.te_max
        constraints.append(limit)
    problem = cp.Problem(cp.Minimize(g * risk + own), constraints)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    if u.value is None:
        return None
    trades = np.clip(u.value, pieces.low, pieces.high)
    eta = _price(most) - _price(least)
    prices = np.zeros(whole.cost.rows)
    for row, r, sign in rows:
        prices[r] += sign * _price(row)
    risk_price = 0.0 if limit is None else _price(limit) / (2 * whole.rows.te_max)
    dual = DualPoint(whole.risk.exposures(active + trades), eta, prices, risk_price)
    return trades, dual, problem.compilation_time


def _rows(whole, pieces, u, t):
    """Return the limits besides cash and tracking error: constraint, row and sign of its price."""
    limits, stated = whole.rows, []
    if not whole.cost.rows:
        return stated
    at_low = whole.cost.row_use(pieces.low).sum(axis=1)
    for r in range(whole.cost.rows):
        linear = r < limits.linear
        use = whole.cost.row_buy[r] @ u if linear else at_low[r] + pieces.row_slope[r] @ t
        if np.isfinite(limits.most[r]):
            stated.append((use <= limits.most[r], r, 1.0))
        if np.isfinite(limits.least[r]):
            stated.append((use >= limits.least[r], r, -1.0))
    return stated


def _price(constraint):
    value = max(float(constraint.dual_value), 0.0)
    return value if value > 1e-9 else 0.0
