"""An oracle for tiny problems: every combination of lots and sides, each a dense convex program of its own.

The oracle is written from the problem's definition, with none of the optimizer's code: a dense covariance matrix, one
box for each linear piece of each asset's tax, and the group rule as a filter on combinations.
"""

import itertools
from dataclasses import dataclass, replace

import clarabel
import numpy as np
from scipy.sparse import csc_matrix, triu

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer import rebalance
from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem


@dataclass(frozen=True)
class Box:
    """One linear piece of an asset's cost: u in [low, high] costs slope u + constant and takes cash_rate u of cash."""

    low: float
    high: float
    slope: float
    constant: float
    cash_rate: float
    buys: bool
    sells_loss: bool
    gain_slope: float = 0.0
    short: bool = False
    gain_constant: float = 0.0


def best_objective(problem: RebalanceProblem) -> float:
    """Return the least objective over all trades that obey the rules, before rounding; infinite where there is none."""
    sigma = problem.loadings @ problem.factor_covariance @ problem.loadings.T + np.diag(problem.specific_variance)
    for block in problem.specific_blocks:
        sigma[np.ix_(block.names, block.names)] += block.covariance - np.diag(problem.specific_variance[block.names])
    boxes = [_boxes(problem, i) for i in range(problem.size)]
    best = float("inf")
    for combination in itertools.product(*boxes):
        losing = {problem.group[i] for i, box in enumerate(combination) if box.sells_loss}
        buying = {problem.group[i] for i, box in enumerate(combination) if box.buys}
        if losing & buying:
            continue
        best = min(best, _solve(problem, sigma, combination))
    rates = problem.borrow_rate[problem.short_asset]
    return best - float(problem.tilt @ problem.holdings()) + float(rates @ problem.short_weight)


def _boxes(problem: RebalanceProblem, i: int) -> list[Box]:
    k, tilt = problem.cost_rate[i], problem.tilt[i]
    gain = problem.lot_gain if len(problem.lot_gain) else np.zeros(len(problem.lot_id))
    held = problem.holdings()[i]
    low, high = problem.lower[i] - held, problem.upper[i] - held
    boxes = []
    if low <= 1e-12 and high >= -1e-12:
        boxes.append(Box(0.0, 0.0, 0.0, 0.0, 1.0, buys=False, sells_loss=False, short=held < 0))
    bought, extra, covered = 0.0, 0.0, 0.0
    for s in np.flatnonzero(problem.short_asset == i):
        size, realised = problem.short_weight[s], problem.cover_gain[s] if len(problem.cover_gain) else 0.0
        more = problem.tax_weight * problem.cover_tax[s] - problem.borrow_rate[i]
        left, right = max(bought, low), min(bought + size, high)
        if problem.can_buy[i] and left <= right and right > 0:
            box = Box(
                left, right, k - tilt + more, extra - more * bought, 1 + k, buys=True, sells_loss=False, short=True
            )
            boxes.append(replace(box, gain_slope=realised, gain_constant=covered - realised * bought))
        bought, extra, covered = bought + size, extra + more * size, covered + realised * size
    if problem.can_buy[i] and high > bought:
        box = Box(max(low, bought), high, k - tilt, extra, 1 + k, buys=True, sells_loss=False)
        boxes.append(replace(box, gain_constant=covered))
    mine = [j for j in np.flatnonzero(problem.lot_asset == i) if not problem.lot_locked[j]]
    sold, paid, loss, realised = 0.0, 0.0, False, 0.0
    for j in sorted(mine, key=lambda j: problem.lot_rank[j]):
        rate = k + tilt + problem.tax_weight * problem.lot_tax[j]
        size = problem.lot_weight[j]
        loss = loss or bool(problem.lot_is_loss[j])
        left, right = max(-(sold + size), low), min(-sold, high)
        if problem.can_sell[i] and left <= right + 1e-15:
            boxes.append(
                Box(
                    left,
                    max(left, right),
                    -rate,
                    paid - rate * sold,
                    1 - k,
                    buys=False,
                    sells_loss=loss,
                    gain_slope=-gain[j],
                    gain_constant=realised - gain[j] * sold,
                )
            )
        paid += rate * size
        realised += gain[j] * size
        sold += size
    locked = any(problem.lot_asset[j] == i and problem.lot_locked[j] for j in range(len(problem.lot_id)))
    if problem.short_max > 0 and problem.can_sell[i] and not locked and low < -sold:
        rate = k + tilt + problem.borrow_rate[i]
        box = Box(low, -sold, -rate, paid - rate * sold, 1 - k, buys=False, sells_loss=loss, short=True)
        boxes.append(replace(box, gain_constant=realised))
    # every box but the point at no trade is an order
    return [
        box if box.low == box.high == 0 else replace(box, constant=box.constant + problem.order_cost) for box in boxes
    ]


def _limits(problem: RebalanceProblem, boxes: tuple[Box, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and right-hand sides of linear limits, turnover and realised gain on the boxes."""
    held = problem.holdings()
    A, b = [np.zeros((0, problem.size))], [np.zeros(0)]
    for row, lower, upper in zip(problem.row_matrix, problem.row_lower, problem.row_upper, strict=True):
        if np.isfinite(upper):
            A.append(row[None, :])
            b.append(np.array([upper - row @ held]))
        if np.isfinite(lower):
            A.append(-row[None, :])
            b.append(np.array([row @ held - lower]))
    if np.isfinite(problem.turnover_max):
        A.append(np.array([[0.5 if box.buys else -0.5 for box in boxes]]))
        b.append(np.array([problem.turnover_max]))
    if np.isfinite(problem.gain_max):
        A.append(np.array([[box.gain_slope for box in boxes]]))
        b.append(np.array([problem.gain_max - sum(box.gain_constant for box in boxes)]))
    if problem.may_be_short:
        short = np.array([box.short for box in boxes])
        A += [-1.0 * short[None, :], 1.0 * ~short[None, :]]
        b += [np.array([problem.short_max + held[short].sum()]), np.array([problem.long_max - held[~short].sum()])]
    return np.vstack(A), np.concatenate(b)


def _solve(problem: RebalanceProblem, sigma: np.ndarray, boxes: tuple[Box, ...]) -> float:
    n, g = problem.size, problem.risk_aversion
    d = problem.holdings() - problem.benchmark_weights
    slope = np.array([box.slope for box in boxes])
    cash = np.array([box.cash_rate for box in boxes])
    low, high = np.array([box.low for box in boxes]), np.array([box.high for box in boxes])
    most, least = problem.cash - problem.cash_min, problem.cash - problem.cash_max
    if np.minimum(cash * low, cash * high).sum() > most + 1e-12:
        return float("inf")
    if np.maximum(cash * low, cash * high).sum() < least - 1e-12:
        return float("inf")
    A = np.vstack([np.eye(n), -np.eye(n), cash, -cash])
    b = np.concatenate([high, -low, [most, -least]])
    cones = [clarabel.NonnegativeConeT(len(b))]
    limits = (problem.row_names, problem.turnover_max, problem.gain_max, problem.te_max, problem.may_be_short)
    if limits != ((), np.inf, np.inf, np.inf, False):
        extra, limit = _limits(problem, boxes)
        A, b = np.vstack([A, extra]), np.concatenate([b, limit])
        cones = [clarabel.NonnegativeConeT(len(b))]
        if np.isfinite(problem.te_max):
            root = np.linalg.cholesky(sigma).T
            A = np.vstack([A, np.zeros(n), -root])
            b = np.concatenate([b, [problem.te_max], root @ d])
            cones.append(clarabel.SecondOrderConeT(n + 1))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    answer = clarabel.DefaultSolver(
        csc_matrix(triu(2 * g * sigma)),
        2 * g * sigma @ d + slope,
        csc_matrix(A),
        b,
        cones,
        settings,
    ).solve()
    if str(answer.status) not in {"Solved", "AlmostSolved"}:
        return float("inf")
    u = np.clip(np.array(answer.x), low, high)
    return float(g * (d + u) @ sigma @ (d + u) + slope @ u + sum(box.constant for box in boxes))


def judged(
    problem: RebalanceProblem, best: float, *, slack: float, reached: float, backend: str = "CLARABEL"
) -> bool | None:
    """Assert that nothing beats the certified bound of a problem's answer, and say whether the answer is the best.

    Args:
        problem: The problem.
        best: Its least objective by enumeration; infinite where no combination is possible.
        slack: By which bound and objective may miss the best.
        reached: Within which an answer counts as the best.
        backend: Which back-end answers.

    Returns:
        None where the optimizer refused the problem, which is right only without any possible combination.
    """
    try:
        certificate = rebalance(problem, backend=backend).certificate
    except InfeasibleProblemError:
        assert not np.isfinite(best)
        return None
    assert certificate.lower_bound <= best + slack
    assert certificate.objective >= best - slack
    return certificate.objective <= best + reached
