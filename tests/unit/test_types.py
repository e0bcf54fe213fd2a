"""Values that cross packages have types: where a mapping of anything is left, and how often."""

import re
from typing import Final

from tests.conftest import REPOSITORY

CODE = REPOSITORY / "prometheus"
_ANYTHING: Final = re.compile(r"\b(?:dict|Mapping)\[str, (?:Any|object)\]")
#: Modules that read or write JSON, CSV, rows of the database or a library's own mappings: the edges. The numbers may
#: only become smaller.
AT_AN_EDGE = {
    "audit/recorded_run.py": 2,
    "audit/run_file.py": 5,
    "bootstrap/variables.py": 1,
    "db/database.py": 1,
    "db/embedded/cluster.py": 1,
    "db/repositories/accounts.py": 1,
    "db/repositories/audit_trail.py": 1,
    "db/repositories/engine_events.py": 4,
    "db/repositories/engine_runs.py": 2,
    "db/repositories/orders.py": 1,
    "db/repositories/outbox.py": 1,
    "db/repositories/risk_models.py": 1,
    "db/repositories/runs.py": 7,
    "db/repositories/staging.py": 4,
    "db/repositories/strategies.py": 4,
    "db/run_digests.py": 4,
    "decision/day_result.py": 1,
    "decision/problem_file/answer.py": 4,
    "decision/problem_file/document.py": 2,
    "decision/problem_file/export.py": 6,
    "decision/problem_file/magnitudes.py": 6,
    "decision/problem_file/quick_fit.py": 3,
    "decision/problem_file/reading.py": 10,
    "decision/problem_file/schema.py": 7,
    "decision/problem_file/sense.py": 15,
    "decision/snapshot.py": 12,
    "decision/stored_result.py": 12,
    "decision/trade_columns.py": 3,
    "domain/run_record.py": 3,
    "foundation/canonical.py": 2,
    "foundation/csv_text.py": 2,
    "ingestion/json_lines.py": 2,
    "ingestion/reports.py": 1,
    "ledger/event_json.py": 3,
    "ledger/files/builders.py": 16,
    "ledger/files/mapping.py": 1,
    "ledger/files/returns_file.py": 2,
    "ledger/tie_rules.py": 1,
    "optimizer/backends/cuopt.py": 1,
    "optimizer/backends/cuopt_worker.py": 2,
    "pipeline/engine_config.py": 1,
    "scripts/ledger_output.py": 2,
    "scripts/optimize.py": 2,
    "scripts/outbox.py": 2,
    "scripts/replay.py": 1,
    "scripts/risk_show.py": 1,
    "scripts/run_daily.py": 1,
    "scripts/run_output.py": 4,
    "scripts/show_engine_runs.py": 2,
    "scripts/strategy.py": 2,
    "scripts/today.py": 2,
    "scripts/trades.py": 1,
    "scripts/verify_audit.py": 1,
}
#: Modules whose mappings are to become values with types. The numbers may only become smaller.
TO_BE_TYPED = {
    "audit/against_current.py": 3,
    "audit/explanation.py": 1,
    "bookkeeping/ledger_market.py": 2,
    "db/claims.py": 1,
    "db/leases.py": 4,
    "db/reaper.py": 1,
    "db/repositories/day_status.py": 1,
    "db/repositories/due_tasks.py": 8,
    "decision/run_record.py": 1,
    "domain/engine_run.py": 1,
    "domain/outbox.py": 2,
    "domain/strategy.py": 7,
    "foundation/errors.py": 2,
    "ingestion/executions.py": 1,
    "ledger/actions.py": 2,
    "ledger/book.py": 2,
    "orchestration/due_tasks.py": 2,
    "orchestration/risk_description.py": 1,
    "pipeline/advance.py": 2,
    "pipeline/tasks.py": 1,
    "risk/model.py": 2,
    "simulation/fills.py": 1,
}
ALLOWED = {**AT_AN_EDGE, **TO_BE_TYPED}


def test_mappings_of_anything_become_fewer():
    """No module has more of them than it is allowed, and none is allowed more than it has."""
    counts = {
        path.relative_to(CODE).as_posix(): len(_ANYTHING.findall(path.read_text(encoding="utf-8")))
        for path in CODE.rglob("*.py")
    }
    assert {name: count for name, count in counts.items() if count > ALLOWED.get(name, 0)} == {}
    assert {name: count for name, count in ALLOWED.items() if count > counts.get(name, 0)} == {}
