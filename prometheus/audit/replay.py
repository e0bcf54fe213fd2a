"""The replay of one run: solved and settled again from nothing but its record, and held beside it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from prometheus.audit.recorded_run import RecordedRun, RunKey
from prometheus.decision.code_version import told_apart
from prometheus.decision.run_record import library_versions, trade_row
from prometheus.decision.settle import Settlement, settle
from prometheus.decision.solve import Solution
from prometheus.domain.lots import Side
from prometheus.domain.phases import RunStatus
from prometheus.domain.run_record import TradeRow
from prometheus.foundation.errors import PrometheusError
from prometheus.pipeline.shared_inputs import ArraySource
from prometheus.pipeline.tasks import solve_snapshot

#: Largest difference of a weight, fraction of NAV, that counts as the same answer.
WEIGHT_TOLERANCE: Final = 1e-8
#: A GPU's sums come in no fixed order: its answers are compared by what they are worth.
_NOT_BIT_STABLE: Final = frozenset({"CUOPT"})
_BPS: Final = 1e4
#: Trade lines named in a report of differences.
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Replayed:
    """How a replay stands to its record.

    Attributes:
        key: Which run.
        agrees: True where the replay reproduces the decision.
        exact: True where weights and trades were compared; False where only what the answers are worth was, because
            another solver was asked for or the solver is not bit-stable.
        recorded_status: Status of the record.
        status: Status of the replay; empty where it ended with an error.
        solver: Back-end of the replay.
        weight_difference: Largest difference of a target weight, fraction of NAV.
        trades_differing: Trade lines that the one has and the other has not.
        objective_difference: Objective of the replayed trades less that of the recorded ones, bps of NAV; None where
            either has no answer.
        gap_bps: Certified gap of the replay; None where it has no answer.
        seconds: Time of the replay.
        differences: What differs, in words.
        code: Which code decided, as the record says.
    """

    key: RunKey
    agrees: bool
    exact: bool
    recorded_status: str
    status: str
    solver: str
    weight_difference: float
    trades_differing: int
    objective_difference: float | None
    gap_bps: float | None
    seconds: float
    differences: tuple[str, ...]
    code: str = ""

    @property
    def same_code(self) -> bool:
        """Return whether the code that decided is the one that replayed."""
        return told_apart(self.code) is None


@dataclass(frozen=True, slots=True)
class Decision:
    """A day decided again: the solution and its trade list."""

    solution: Solution
    settlement: Settlement


def decide(run: RecordedRun, arrays: ArraySource, *, solver: str | None = None) -> Decision:
    """Solve and settle a run's day again from its record alone.

    Args:
        run: The record.
        arrays: Where its matrices are.
        solver: Back-end in place of the recorded one.
    """
    snapshot, params = run.snapshot, run.params
    if solver is not None:
        params = replace(params, solver=solver)
    solution = solve_snapshot(snapshot, params, arrays, run.previous_targets)
    return Decision(solution, settle(snapshot, params, solution.result.shares))


def replay_run(run: RecordedRun, arrays: ArraySource, *, solver: str | None = None) -> Replayed:
    """Replay a run and compare; a replay that ends with an error is one that does not agree.

    Weights agree to 1e-8 and trades exactly. Where another solver is asked for, or the solver is not bit-stable, both
    answers must be certified and may differ by the account's largest accepted gap in what they are worth.

    Args:
        run: The record.
        arrays: Where its matrices are.
        solver: Back-end in place of the recorded one.
    """
    began = time.perf_counter()
    recorded_solver = run.params.solver
    wanted = solver or recorded_solver
    exact = wanted == recorded_solver and wanted not in _NOT_BIT_STABLE
    try:
        decision = decide(run, arrays, solver=solver)
    except PrometheusError as error:
        return Replayed(
            key=run.key,
            agrees=False,
            exact=exact,
            recorded_status=run.record.status,
            status="",
            solver=wanted,
            weight_difference=float("nan"),
            trades_differing=0,
            objective_difference=None,
            gap_bps=None,
            seconds=time.perf_counter() - began,
            differences=(f"{error.code}: {error.message}",),
            code=run.record.code_version,
        )
    return _compared(run, decision, wanted, exact=exact, seconds=time.perf_counter() - began)


def _compared(run: RecordedRun, decision: Decision, solver: str, *, exact: bool, seconds: float) -> Replayed:
    recorded, now = run.result, decision.solution.result
    weight = _largest_difference(recorded.target_weights, now.target_weights)
    lines = [trade_row(line) for line in decision.settlement.lines]
    missing, added = _only_in(run.trades, lines), _only_in(lines, run.trades)
    status = decision.solution.status.value
    objective = None
    if recorded.certificate is not None and now.certificate is not None:
        objective = _BPS * (now.certificate.rounded_objective - recorded.certificate.rounded_objective)
    differences = []
    if status != run.record.status:
        differences.append(f"status {status}, recorded {run.record.status}")
    if exact:
        if not weight <= WEIGHT_TOLERANCE:
            differences.append(f"a target weight differs by {weight:.2e}")
        differences.extend(f"not made again: {text}" for text in missing[:_NAMED])
        differences.extend(f"not recorded: {text}" for text in added[:_NAMED])
        if not (missing or added) and list(run.trades) != lines:
            differences.append("the trades come in another order")
    elif status == run.record.status == RunStatus.OPTIMAL.value and (
        objective is None or abs(objective) > run.params.max_gap_bps
    ):
        differences.append(f"the objective differs by {objective} bps of NAV, more than the accepted gap")
    if differences:
        differences.extend(_other_versions(run))
    return Replayed(
        key=run.key,
        agrees=not differences,
        exact=exact,
        recorded_status=run.record.status,
        status=status,
        solver=solver,
        weight_difference=weight,
        trades_differing=len(missing) + len(added),
        objective_difference=objective,
        gap_bps=None if now.certificate is None else now.certificate.gap_bps,
        seconds=seconds,
        differences=tuple(differences),
        code=run.record.code_version,
    )


def _largest_difference(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    return max((abs(before.get(name, 0.0) - after.get(name, 0.0)) for name in {*before, *after}), default=0.0)


def _only_in(lines: Sequence[TradeRow], others: Sequence[TradeRow]) -> list[str]:
    left = list(others)
    absent = []
    for line in lines:
        if line in left:
            left.remove(line)
        else:
            lot = f" of lot {line.lot_id}" if line.side == Side.SELL else ""
            absent.append(f"{line.side} {line.quantity.normalize():f} {line.ticker}{lot} at {line.amount}")
    return absent


def _other_versions(run: RecordedRun) -> list[str]:
    """Say whether code and libraries differ from those of the record: what a reader of a mismatch asks first."""
    before, here = run.record.library_versions, library_versions()
    code = told_apart(run.record.code_version)
    return ([] if code is None else [code]) + [
        f"{name} is {here.get(name, 'absent')} here, the record was made with {version}"
        for name, version in sorted(before.items())
        if here.get(name) != version
    ]
