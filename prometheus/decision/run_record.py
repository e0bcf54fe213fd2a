"""The immutable record of a run, column by column."""

import importlib.metadata
import platform
from collections.abc import Mapping
from functools import cache
from typing import Final

from prometheus.decision.day_result import DayResult
from prometheus.decision.settle import Settlement, TradeLine
from prometheus.decision.snapshot import Snapshot
from prometheus.decision.stored_result import RESULT_VERSION
from prometheus.domain.phases import RunStatus
from prometheus.domain.run_record import RunRecord, TradeRow
from prometheus.foundation.canonical import CanonicalText, JsonObject, canonical_document, to_jsonable

#: What an auditor needs to know to build the same numbers again.
_LIBRARIES: Final = ("clarabel", "cvxpy", "llvmlite", "lz4", "numba", "numpy", "scipy")


def run_record(
    snapshot: Snapshot,
    stored_snapshot: CanonicalText,
    params: JsonObject,
    status: RunStatus,
    result: DayResult,
    stored_solution: Mapping[str, str],
    settlement: Settlement,
    *,
    code_version: str,
    timings: Mapping[str, float],
) -> RunRecord:
    """Return what a run records.

    ``stored_snapshot`` is the stored form of ``snapshot``, ``stored_solution`` has the text of each member of
    ``result`` as it was staged.
    """
    certificate, solver = result.certificate, result.solver
    assert solver is not None  # an answer that is to be recorded has it
    return RunRecord(
        account_id=snapshot.account_id,
        as_of_date=snapshot.as_of,
        status=status.value,
        solver=solver.backend,
        solver_tolerance=solver.tolerance,
        solver_status=solver.status,
        iterations=solver.iterations,
        objective=None if certificate is None else certificate.rounded_objective,
        lower_bound=None if certificate is None else certificate.lower_bound,
        gap_bps=None if certificate is None else certificate.gap_bps,
        rounded_gap_bps=None if certificate is None else certificate.rounded_gap_bps,
        code_version=code_version,
        timings=timings,
        library_versions=library_versions(),
        strategy_id=snapshot.strategy_id,
        strategy_version=snapshot.strategy_version,
        risk_model_id=snapshot.risk_model_id,
        loadings_sha256=bytes.fromhex(snapshot.loadings_sha256),
        specific_variance_sha256=bytes.fromhex(snapshot.specific_variance_sha256),
        snapshot=stored_snapshot,
        params_snapshot=dict(params),
        result=canonical_document(
            {
                **{name: CanonicalText(text) for name, text in stored_solution.items() if name != "solver"},
                **to_jsonable(
                    {
                        "version": RESULT_VERSION,
                        "nav": snapshot.nav(),
                        "settlement": {
                            "cash_after": settlement.cash_after,
                            "realized_gain_short": settlement.realized_gain_short,
                            "realized_gain_long": settlement.realized_gain_long,
                            "realized_gain_other": settlement.realized_gain_other,
                            "disallowed_loss": settlement.disallowed_loss,
                            "tax": settlement.tax,
                            "cost": settlement.cost,
                            "trades": len({(line.ticker, line.side) for line in settlement.lines}),
                        },
                    }
                ),
            }
        ),
        flags=[[flag.code, flag.message] for flag in snapshot.flags],
    )


def trade_row(line: TradeLine) -> TradeRow:
    """Return a trade as the record has it."""
    return TradeRow(
        ticker=line.ticker,
        side=line.side.value,
        lot_id=line.lot_id,
        acquired_on=line.acquired_on,
        quantity=line.quantity,
        price=line.price,
        amount=line.amount,
        cost=line.cost,
        basis=line.basis,
        realized_gain=line.realized_gain,
        term=None if line.term is None else line.term.value,
        disallowed_loss=line.disallowed_loss,
        tax=line.tax,
    )


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that produce numbers."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
    }
