"""One account's rebalancing problem in, certified trades out."""

import time

import numpy as np

from prometheus.foundation.errors import InfeasibleProblemError, InvalidProblemError, SolverFailedError
from prometheus.optimizer.backends.base import QuadraticBackend, QuadraticSolution, backend_named
from prometheus.optimizer.certificate import Lagrangian
from prometheus.optimizer.explain import explain
from prometheus.optimizer.problem.active_risk import FactorRisk, factor_risk
from prometheus.optimizer.problem.asset_functions import separable_cost
from prometheus.optimizer.problem.cover_order import cover_order
from prometheus.optimizer.problem.lot_order import SHARE_DECIMALS, LotOrder, lot_order
from prometheus.optimizer.problem.rebalance_problem import FloatArray, RebalanceProblem
from prometheus.optimizer.problem.share_grid import ShareGrid, share_grid
from prometheus.optimizer.problem.trade_range import trade_range
from prometheus.optimizer.result import Certificate, ObjectiveTerms, RebalanceResult, SolverFacts
from prometheus.optimizer.rounding.allowance import rounding_allowance
from prometheus.optimizer.rounding.whole_shares import WholeShares, whole_shares
from prometheus.optimizer.search.asset_limit import bound_with_assets, limit_assets
from prometheus.optimizer.search.branching import BestTrades, search
from prometheus.optimizer.search.infeasibility import conflicting_limits, no_sides
from prometheus.optimizer.search.row_reach import out_of_reach
from prometheus.optimizer.standstill import borrow_cost, no_trades
from prometheus.optimizer.verification import reject, violations_of_shares, violations_of_weights

#: How far the lots' weights may be from shares times price, and cash plus lots from one (fraction of NAV).
_CONSISTENCY = 1e-6
_BPS = 1e4


def rebalance(problem: RebalanceProblem, *, backend: str = "CLARABEL") -> RebalanceResult:
    """Find the trades that are worth most to one account and prove how good they are.

    Equal problems get equal results, bit for bit, in any process on one kind of machine; only the times in ``facts``
    differ. The caller compares ``certificate.gap_bps`` with the account's limit.

    Args:
        problem: The account's problem.
        backend: Name of the solver back-end.

    Returns:
        Trades before and after rounding to shares, the lots they sell, and a certificate from the problem data.

    Raises:
        InvalidProblemError: The problem data contradict each other.
        InfeasibleProblemError: No trade list meets every constraint; the message names the constraint in conflict.
        SolverFailedError: The solver stopped without an optimal answer.
        CertificateRejectedError: The answer breaks a rule when checked from the problem data.
        BackendUnavailableError: There is no such back-end.

    Source: docs/specs/optimizer.md.
    """
    began = time.perf_counter()
    solver = backend_named(backend)
    _check_consistency(problem)
    risk = factor_risk(problem)
    order = lot_order(problem)
    cost = separable_cost(problem, order)
    limits = trade_range(problem, order)
    grid = share_grid(problem, order, limits)

    lagrangian = Lagrangian.of_problem(problem, risk, cost, limits)
    answer, limited, proof = _best_trades(problem, lagrangian, solver)
    reject(problem, violations_of_weights(problem, answer.trades), "trades before rounding")
    bound, rounded_bound = _bounds(problem, answer, proof, grid)

    orders = None
    if problem.order_cost > 0:
        orders = limited.within(answer.limits).orders(answer.dual)
    parts = WholeShares(problem, order, risk, limited, limits, answer, solver, None if orders is None else orders[1])
    steps = whole_shares(parts, rounded_bound)
    shares, lot_shares_sold = _book(problem, order, steps)
    violation = reject(problem, violations_of_shares(problem, shares, lot_shares_sold), "rounded trades")

    held = problem.holdings()
    weights = _weights_after(problem, shares, lot_shares_sold)
    terms = _objective_terms(problem, risk, weights, weights - held, lot_shares_sold)
    constant = -float((problem.tilt * held).sum())
    if len(problem.short_id):
        constant += borrow_cost(problem, held)
    objective = answer.objective + constant
    bound, rounded_bound = bound + constant, rounded_bound + constant
    allowance = rounding_allowance(lagrangian, grid, answer.trades, answer.dual)
    trades = weights - held
    return RebalanceResult(
        trades=_frozen(answer.trades),
        target_weights=_frozen(held + answer.trades),
        shares=_frozen(shares),
        lot_shares_sold=_frozen(lot_shares_sold),
        rounded_weights=_frozen(weights),
        terms=terms,
        certificate=Certificate(
            lower_bound=bound,
            objective=objective,
            gap_bps=_BPS * (objective - bound),
            rounded_objective=terms.total,
            rounded_gap_bps=_BPS * (terms.total - rounded_bound),
            rounded_lower_bound=rounded_bound,
            max_violation=violation,
            rounding_allowance_bps=_BPS * allowance.total,
        ),
        coarse_names=tuple((problem.tickers[i], float(grid.step[i])) for i in allowance.coarsest),
        tracking_error_before=risk.variance(problem.active(held)) ** 0.5,
        tracking_error_after=risk.variance(problem.active(weights)) ** 0.5,
        turnover=float(np.abs(trades).sum()) / 2,
        cash_after=problem.cash
        - float(trades.sum())
        - float((problem.cost_rate * np.abs(trades)).sum())
        + problem.cash_flow,
        facts=SolverFacts(
            backend=solver.name,
            status=_status(answer.solution),
            iterations=answer.solution.iterations,
            tolerance=problem.tolerance,
            version=solver.version(),
            solve_seconds=answer.solution.seconds,
            total_seconds=time.perf_counter() - began,
        ),
        explanations=explain(problem, lagrangian, answer.trades, answer.dual, trades, lot_shares_sold, orders),
    )


def _best_trades(
    problem: RebalanceProblem, lagrangian: Lagrangian, solver: QuadraticBackend
) -> tuple[BestTrades, Lagrangian, BestTrades]:
    """Return the trades before rounding, the problem over the range of their search, and the proof of them.

    Where the search has no answer although trading nothing is legal, trading nothing is the answer; its gap says how
    good it is.
    """
    try:
        _refuse_out_of_reach(problem, lagrangian, solver)
        proof = _search(problem, lagrangian, solver)
        if problem.max_names is None:
            return proof, lagrangian, proof
        answer, limited = limit_assets(problem, lagrangian, proof, lambda part: _search(problem, part, solver))
    except (InfeasibleProblemError, SolverFailedError):
        resting = no_trades(problem, lagrangian)
        if resting is None:
            raise
        return resting, lagrangian, resting
    return answer, limited, proof


def _bounds(problem: RebalanceProblem, answer: BestTrades, proof: BestTrades, grid: ShareGrid) -> tuple[float, float]:
    """Return the bounds over any trades and over trades in whole steps, the tilt on the holdings left out."""
    if problem.max_names is None:
        return proof.lower_bound(), proof.rounded_lower_bound(grid)
    prices = (answer.dual,)
    bound = bound_with_assets(proof.leaves, prices, problem.max_names, None)
    return bound, max(bound_with_assets(proof.leaves, prices, problem.max_names, grid), bound)


def _refuse_out_of_reach(problem: RebalanceProblem, lagrangian: Lagrangian, solver: QuadraticBackend) -> None:
    """Refuse limits that no legal trades meet before looking for any, naming all that conflict where that is known."""
    unreachable = out_of_reach(problem, lagrangian)
    if unreachable is not None:
        raise conflicting_limits(problem, lagrangian, solver) or unreachable


def _search(problem: RebalanceProblem, lagrangian: Lagrangian, solver: QuadraticBackend) -> BestTrades:
    """Search; where no trades meet every limit, raise the error that names the limits in conflict."""
    try:
        answer = search(lagrangian, solver, problem.tolerance)
    except SolverFailedError:
        conflict = conflicting_limits(problem, lagrangian, solver) if lagrangian.rows.any else None
        if conflict is None:
            raise
        raise conflict from None
    if not np.isfinite(answer.objective):
        raise conflicting_limits(problem, lagrangian, solver) or no_sides(problem, lagrangian)
    return answer


def _check_consistency(problem: RebalanceProblem) -> None:
    """Refuse data that contradict each other and that the optimizer does not check elsewhere."""
    if problem.size == 0 or problem.loadings.shape[1] == 0:
        raise InvalidProblemError(
            f"the problem has {problem.size} assets and {problem.loadings.shape[1]} factors; one of each is the least."
        )
    if (problem.share_step <= 0).any():
        i = int(np.argmax(problem.share_step <= 0))
        raise InvalidProblemError(f"share_step of {problem.tickers[i]} ({problem.share_step[i]}) is not positive.")
    if problem.min_trade < 0:
        raise InvalidProblemError(f"min_trade {problem.min_trade} is negative.")
    if len(problem.lot_asset) and (problem.lot_asset[0] < 0 or problem.lot_asset[-1] >= problem.size):
        raise InvalidProblemError(
            f"lot_asset names asset {problem.lot_asset[-1]}, but there are {problem.size} assets."
        )
    expected = problem.lot_shares * problem.prices[problem.lot_asset] / problem.nav
    off = np.abs(problem.lot_weight - expected)
    if off.size and off.max() > _CONSISTENCY:
        j = int(np.argmax(off))
        raise InvalidProblemError(
            f"lot {problem.lot_id[j]} has weight {problem.lot_weight[j]:.8f}, but {problem.lot_shares[j]:g} shares at "
            f"{problem.prices[problem.lot_asset[j]]:g} are {expected[j]:.8f} of NAV."
        )
    owed = problem.short_shares * problem.prices[problem.short_asset] / problem.nav
    off = np.abs(problem.short_weight - owed)
    if off.size and off.max() > _CONSISTENCY:
        s = int(np.argmax(off))
        raise InvalidProblemError(
            f"short lot {problem.short_id[s]} has weight {problem.short_weight[s]:.8f}, but its "
            f"{problem.short_shares[s]:g} shares are worth {owed[s]:.8f} of NAV."
        )
    total = problem.cash + float(problem.lot_weight.sum()) - float(problem.short_weight.sum())
    if abs(total - 1) > _CONSISTENCY:
        raise InvalidProblemError(f"cash and lots, less what is short, add to {total:.8f} of NAV, not to one.")


def _status(solution: QuadraticSolution) -> str:
    return f"{solution.status} (fallback to CLARABEL: {solution.fallback})" if solution.fallback else solution.status


def _book(problem: RebalanceProblem, order: LotOrder, steps: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the shares of each asset and what each lot gives to its sale."""
    whole = np.isneginf(steps)
    own = ~order.short
    held = np.bincount(order.asset[own], weights=order.shares[own], minlength=problem.size)
    shares = np.where(whole, -held, np.round(np.where(whole, 0.0, steps) * problem.share_step, SHARE_DECIMALS))
    lot_shares_sold = np.zeros(len(problem.lot_id))
    lot_shares_sold[order.lot[own]] = order.fill_shares(np.maximum(-shares, 0.0))[own]
    sold_out = whole[order.asset] & own
    lot_shares_sold[order.lot[sold_out]] = order.shares[sold_out]
    return shares + 0.0, lot_shares_sold


def _weights_after(problem: RebalanceProblem, shares: FloatArray, lot_shares_sold: FloatArray) -> FloatArray:
    kept = np.ones(len(problem.lot_id))
    held = problem.lot_shares > 0
    kept[held] = 1 - lot_shares_sold[held] / problem.lot_shares[held]
    left = np.bincount(problem.lot_asset, weights=problem.lot_weight * kept, minlength=problem.size)
    bought = np.maximum(shares, 0.0)
    if len(problem.short_id):
        owed, weight = np.bincount(problem.short_asset, problem.short_shares, problem.size), problem.owed()
        covered = np.minimum(bought, owed)
        left = left - weight * (1 - np.divide(covered, owed, out=np.zeros(problem.size), where=owed > 0))
        bought = bought - covered
    weights: FloatArray = left + bought * problem.prices / problem.nav
    if problem.may_be_short:
        sold = np.bincount(problem.lot_asset, weights=lot_shares_sold, minlength=problem.size)
        short = np.round(np.maximum(-shares - sold, 0.0), SHARE_DECIMALS)
        weights = weights - short * problem.prices / problem.nav
    return weights


def _objective_terms(
    problem: RebalanceProblem, risk: FactorRisk, weights: FloatArray, trades: FloatArray, lot_shares_sold: FloatArray
) -> ObjectiveTerms:
    held = problem.lot_shares > 0
    part = np.zeros(len(problem.lot_id))
    part[held] = lot_shares_sold[held] / problem.lot_shares[held]
    tax = float((problem.lot_tax * problem.lot_weight * part).sum())
    cover = cover_order(problem)
    if cover is not None:
        tax += float((problem.cover_tax * cover.fill(np.maximum(trades, 0.0))).sum())
    return ObjectiveTerms(
        active_risk=problem.risk_aversion * risk.variance(problem.active(weights)),
        trading_cost=float((problem.cost_rate * np.abs(trades)).sum()),
        tax=problem.tax_weight * tax,
        tilt=-float((problem.tilt * weights).sum()),
        borrow=borrow_cost(problem, weights),
        orders=problem.order_cost * int(np.count_nonzero(trades)),
    )


def _frozen(values: FloatArray) -> FloatArray:
    values.flags.writeable = False
    return values
