"""From a problem file to RESULT.json: the engine's own problem, solve and settlement, and a document of the answer."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Final

import numpy as np

from prometheus.decision.problem_file.reading import FileProblem
from prometheus.decision.run_record import library_versions, trade_row
from prometheus.decision.settle import Settlement, refuse_borrowing, settle
from prometheus.decision.snapshot import LockRecord
from prometheus.decision.solve import Solution, solve_day
from prometheus.decision.stored_result import explanation_json, failure_json, rebalancing_json
from prometheus.domain.money import to_cents
from prometheus.domain.phases import RunStatus
from prometheus.foundation.canonical import JsonObject, to_jsonable
from prometheus.foundation.errors import BackendUnavailableError, InvalidProblemError, RequestError
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem

RESULT_VERSION: Final = 1
#: Solvers that a problem file may ask for.
SOLVERS: Final = ("CLARABEL", "CUOPT", "CVXPY", "STRUCTURED")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a problem file; ``document`` has JSON types and fits result.schema.json."""

    status: RunStatus
    document: JsonObject


def answer_problem(file_problem: FileProblem, *, solver: str | None = None) -> Answer:
    """Solve a problem file the way the engine solves an account's day, and settle the trades by lots.

    Args:
        file_problem: The problem.
        solver: Back-end to use in place of ``params.solver``.

    Raises:
        RequestError: There is no such solver here, or the optimizer finds the data contradictory.
        AccountingError: The trades break a rule of the ledger, which the answer was to keep.
    """
    if solver is not None:
        file_problem = replace(file_problem, params=replace(file_problem.params, solver=solver))
    day = file_problem.day_problem()
    try:
        solution = solve_day(day, file_problem.params, file_problem.previous_targets)
    except BackendUnavailableError as error:
        raise RequestError(
            f"{error.message} Solvers here: {', '.join(available_solvers())}. Choose one with --solver or "
            "params.solver.",
            code=error.code,
        ) from error
    except InvalidProblemError as error:
        raise RequestError(f"{file_problem.name}: {error.message}", code=error.code) from error
    started = time.perf_counter()
    settlement = _settle(file_problem, solution.result.shares)
    seconds = time.perf_counter() - started
    return Answer(solution.status, _document(file_problem, day.whole, solution, settlement, seconds))


def available_solvers() -> tuple[str, ...]:
    """Return the solvers that can be used on this machine."""
    return tuple(name for name in SOLVERS if _is_available(name))


def _is_available(name: str) -> bool:
    try:
        backend_named(name)
    except BackendUnavailableError:
        return False
    return True


def _settle(file_problem: FileProblem, shares: Mapping[str, str]) -> Settlement:
    if not file_problem.cost_rates:
        return settle(file_problem.snapshot, file_problem.params, shares)
    # The engine estimates every cost at one rate; names with a rate of their own are charged here instead.
    free = settle(file_problem.snapshot, replace(file_problem.params, cost_bps=0.0), shares)
    common = Decimal(str(file_problem.params.cost_bps)) / 10_000
    lines = tuple(
        replace(line, cost=to_cents(line.amount * file_problem.cost_rates.get(line.ticker, common)))
        for line in free.lines
    )
    cost = sum((line.cost for line in lines), Decimal(0))
    refuse_borrowing(file_problem.snapshot.cash, free.cash_after - cost)
    return replace(free, lines=lines, cost=cost, cash_after=free.cash_after - cost)


def _document(
    file_problem: FileProblem,
    problem: RebalanceProblem,
    solution: Solution,
    settlement: Settlement,
    settle_seconds: float,
) -> JsonObject:
    snapshot, result = file_problem.snapshot, solution.result
    proof, solver = result.certificate, result.solver
    assert solver is not None  # an answer that was just found has it
    certificate = (
        dict.fromkeys(_CERTIFICATE) if proof is None else {name: getattr(proof, name) for name in _CERTIFICATE}
    )
    targets = result.target_weights
    if solution.answer is not None:
        weights = solution.answer.target_weights
        targets = {problem.tickers[i]: float(weights[i]) for i in np.flatnonzero(weights)}
    document: JsonObject = to_jsonable(
        {
            "version": RESULT_VERSION,
            "problem": {
                "sha256": file_problem.sha256,
                "account_id": snapshot.account_id,
                "as_of": snapshot.as_of,
                "base_currency": snapshot.base_currency,
                "nav": snapshot.nav(),
                "assets": len(snapshot.universe),
                "lots": len(snapshot.lots),
            },
            "status": solution.status,
            "rebalancing": None if result.rebalancing is None else rebalancing_json(result.rebalancing),
            "trades": [
                {"trade_no": number, **asdict(trade_row(line))} for number, line in enumerate(settlement.lines, start=1)
            ],
            "target_weights": targets,
            "rounded_weights": _weights_held(problem) if solution.answer is None else result.target_weights,
            "objective": result.terms,
            "objective_before_rounding": certificate["objective"],
            "lower_bound": certificate["lower_bound"],
            "rounded_lower_bound": certificate["rounded_lower_bound"],
            "gap_bps": certificate["gap_bps"],
            "rounded_gap_bps": certificate["rounded_gap_bps"],
            "rounding_allowance_bps": certificate["rounding_allowance_bps"],
            "rounding_reason": result.rounding_reason,
            "max_violation": certificate["max_violation"],
            "tracking_error_before": result.tracking_error_before,
            "tracking_error_after": result.tracking_error_after,
            "turnover": result.turnover,
            "realized_gains": {
                "short": settlement.realized_gain_short,
                "long": settlement.realized_gain_long,
                "without_term": settlement.realized_gain_other,
                "disallowed_loss": settlement.disallowed_loss,
            },
            "tax": settlement.tax,
            "cost": settlement.cost,
            "cash_after": settlement.cash_after,
            "locks": {
                "buy": [_lock("group", lock) for lock in snapshot.buy_locks],
                "loss_sale": [_lock("lot_id", lock) for lock in snapshot.loss_sale_locks],
            },
            "explanations": [explanation_json(one) for one in result.explanations or ()],
            "params": file_problem.params.as_dict(),
            "solver": {name: value for name, value in asdict(solver).items() if not name.endswith("_seconds")},
            "library_versions": library_versions(),
            "timings": {
                "solver_seconds": solver.solve_seconds,
                "solve_seconds": solver.total_seconds,
                "settle_seconds": settle_seconds,
            },
            "failures": [failure_json(failure) for failure in result.failures],
            "flags": [asdict(flag) for flag in snapshot.flags],
        }
    )
    return document


_CERTIFICATE: Final = (
    "objective",
    "lower_bound",
    "rounded_lower_bound",
    "gap_bps",
    "rounded_gap_bps",
    "rounding_allowance_bps",
    "max_violation",
)


def _weights_held(problem: RebalanceProblem) -> dict[str, float]:
    held = problem.holdings()
    return {problem.tickers[i]: float(held[i]) for i in np.flatnonzero(held)}


def _lock(subject: str, lock: LockRecord) -> JsonObject:
    return {subject: lock.subject, "until": lock.until.isoformat(), "cause": lock.cause}
