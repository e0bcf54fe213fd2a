"""What must hold whatever happened: safety at every moment, liveness once the faults have stopped."""

import itertools
from collections import defaultdict

from prometheus.audit.verification import verify_audit
from prometheus.domain.phases import LEGAL_EDGES, TERMINAL_PHASES, Phase


def check_safety(fleet) -> None:
    """Assert that nothing was lost, doubled or done out of order so far."""
    _tokens_rise(fleet)
    _edges_are_legal_and_once(fleet)
    _one_record_a_day_without_gaps(fleet)
    _days_in_order(fleet)
    _chains_hold(fleet)
    _alerts_are_told(fleet)


def check_all_told(fleet) -> None:
    """Assert that every message reached its receiver; to be called where every lease has run out."""
    assert not fleet.sql("SELECT idempotency_key, attempt, last_error FROM outbox WHERE delivered_at IS NULL")


def check_liveness(fleet, ticks: int = 12) -> None:
    """Assert that everything becomes terminal within some ticks after the faults have stopped."""
    for _ in range(ticks):
        fleet.advance()
        open_runs = {key: phase for key, phase in fleet.phases().items() if phase not in set(TERMINAL_PHASES)}
        if not any(phase != Phase.WAITING_FOR_DATA for phase in open_runs.values()):
            break
    assert not [key for key, phase in open_runs.items() if phase != Phase.WAITING_FOR_DATA], open_runs
    leases = fleet.sql("SELECT run_id FROM engine_runs WHERE owner_instance IS NOT NULL")
    assert not leases, "terminal runs hold no lease"
    for staged in ("staged_snapshots", "staged_solutions"):
        # What a failed run had reached is kept for whoever looks into it, and for a reset.
        left = fleet.sql(f"SELECT run_id FROM {staged} JOIN engine_runs USING (run_id) WHERE phase <> 'FAILED'")
        assert not left, f"{staged} of persisted runs are cleared"


def check_all_persisted(fleet) -> None:
    """Assert that the faults cost no run: each one is PERSISTED, none failed."""
    assert set(fleet.phases().values()) == {"PERSISTED"}, fleet.sql(
        "SELECT account_id, as_of_date, phase, error FROM engine_runs WHERE phase <> 'PERSISTED'"
    )


def _tokens_rise(fleet) -> None:
    # What operators do carries no lease: token 0.
    rows = fleet.sql("SELECT run_id, kind, lease_token FROM engine_run_events WHERE lease_token > 0 ORDER BY event_id")
    tokens, claims = defaultdict(list), defaultdict(list)
    for row in rows:
        tokens[row.run_id].append(row.lease_token)
        if row.kind in {"CLAIM", "TAKE_OVER"}:
            claims[row.run_id].append(row.lease_token)
    for run_id, seen in tokens.items():
        assert seen == sorted(seen), f"lease tokens of run {run_id} went back: {seen}"
    for run_id, seen in claims.items():
        assert len(seen) == len(set(seen)), f"one token of run {run_id} was given out twice: {seen}"


def _edges_are_legal_and_once(fleet) -> None:
    rows = fleet.sql("""
        SELECT run_id, kind, from_phase, to_phase FROM engine_run_events WHERE to_phase IS NOT NULL ORDER BY event_id
    """)
    paths = defaultdict(list)
    for row in rows:
        paths[row.run_id].append((row.kind, row.from_phase, row.to_phase))
    for run_id, path in paths.items():
        edges = [(Phase(old), Phase(new)) for _, old, new in path if old is not None]
        assert set(edges) <= set(LEGAL_EDGES), f"run {run_id} went an illegal way: {edges}"
        for before, after in itertools.pairwise(edges):
            assert before[1] == after[0], f"run {run_id} jumped from {before} to {after}"
        resets = sum(old == Phase.FAILED for old, _ in edges)
        for edge in set(edges):
            assert edges.count(edge) <= 1 + resets, f"run {run_id} made {edge} more than once: {edges}"
    phases = dict(fleet.sql("SELECT run_id, phase FROM engine_runs"))
    for run_id, path in paths.items():
        assert phases[run_id] == path[-1][2], f"the row of run {run_id} disagrees with its history"


def _one_record_a_day_without_gaps(fleet) -> None:
    doubled = fleet.sql("SELECT account_id, as_of_date FROM runs GROUP BY 1, 2 HAVING count(*) > 1")
    assert not doubled, doubled
    rows = fleet.sql("SELECT account_id, array_agg(run_seq ORDER BY run_seq) AS numbers FROM runs GROUP BY 1")
    for row in rows:
        assert list(row.numbers) == list(range(1, len(row.numbers) + 1)), f"{row.account_id}: {row.numbers}"
    counters = fleet.sql("""
        SELECT account_id, last_run_seq, (SELECT count(*) FROM runs WHERE runs.account_id = accounts.account_id) AS runs
        FROM accounts
    """)
    assert all(row.last_run_seq == row.runs for row in counters), counters
    unequal = fleet.sql("""
        SELECT run_id FROM engine_runs FULL JOIN runs USING (run_id)
        WHERE (engine_runs.phase = 'PERSISTED') IS DISTINCT FROM (runs.run_id IS NOT NULL)
    """)
    assert not unequal, "a run is PERSISTED exactly where it has a record"


def _days_in_order(fleet) -> None:
    for row in fleet.sql("SELECT account_id, array_agg(as_of_date ORDER BY run_seq) AS days FROM runs GROUP BY 1"):
        assert list(row.days) == sorted(row.days), f"{row.account_id} was traded out of order: {row.days}"


def _chains_hold(fleet) -> None:
    assert verify_audit(fleet.database).findings == []


def _alerts_are_told(fleet) -> None:
    # Of a reset run the alert is gone and its message stays; every stored alert has exactly one.
    rows = fleet.sql("""
        SELECT alert_id, code, (SELECT count(*) FROM outbox WHERE (payload ->> 'alert_id')::bigint = alert_id) AS times
        FROM alerts
    """)
    assert all(row.times == 1 for row in rows), [row for row in rows if row.times != 1]
    held = fleet.sql("SELECT message_id FROM outbox WHERE delivered_at IS NOT NULL AND owner_instance IS NOT NULL")
    assert not held, "a delivered message is under no lease"
