"""Remove one guard of the engine at a time, in a copy of the code, and see that the test that guards it fails.

    python -m tests.chaos.guards [--only NAME] [--draw N]

A guard whose removal no test notices is an untested promise: the command then ends with exit code 1.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_COPIED = ("prometheus", "migrations", "tests", "deploy", "docs", "examples", "pyproject.toml", "README.md")
_LEASES = "prometheus/db/leases.py"
_CLAIMING = "prometheus/db/claims.py"
_REAPER = "prometheus/db/reaper.py"
_SWITCH = "prometheus/db/kill_switch.py"
_CLAIMS = "tests/integration/test_engine_claims.py::"
_STATES = "tests/integration/test_engine_states.py::"
_GUARANTEES = "tests/integration/test_engine_guarantees.py::"
_WORKERS = "tests/integration/test_engine_workers.py::"
_PAUSES = "tests/chaos/test_pauses.py::"
_SWITCHES = "tests/chaos/test_switches.py::"
_HELD = "tests/chaos/test_held_rows.py::"
_CLOCKS = "tests/chaos/test_clocks.py::"
_REFUSING = "tests/chaos/test_refusing_servers.py::"
_RUNS = "prometheus/db/repositories/engine_runs.py"
_FLAGS = "prometheus/db/repositories/engine_flags.py"
_MESSAGES = "prometheus/db/repositories/outbox.py"
_ALERTS = "prometheus/db/repositories/engine_events.py"
_OUTBOX = "tests/integration/test_engine_outbox.py::"
_DELIVERERS = "tests/chaos/test_outbox.py::"


#: In the place of a line's number: guards of what leaves the database.
OUTBOX = 0


@dataclass(frozen=True)
class Guard:
    """A guard: its place, what the code is without it, and the test that must notice.

    ``line`` is the promise that it protects, as numbered in the engine's specification.
    """

    line: int
    name: str
    file: str
    guarded: str
    unguarded: str
    test: str


GUARDS = (
    Guard(
        2,
        "fence of the commit",
        _LEASES,
        "WHERE run.phase = wanted.from_phase AND run.lease_token = wanted.token AND run.owner_instance = :owner\n",
        "WHERE run.phase = wanted.from_phase\n",
        f"{_PAUSES}test_a_stale_worker_neither_commits_nor_fails_its_successors_run",
    ),
    Guard(
        2,
        "fence of the failure report",
        _LEASES,
        "WHERE run_id = :run_id AND lease_token = :token AND owner_instance = :owner\n    RETURNING next_attempt_at",
        "WHERE run_id = :run_id AND coalesce(:token, length(:owner)) IS NOT NULL\n    RETURNING next_attempt_at",
        f"{_PAUSES}test_a_stale_worker_neither_commits_nor_fails_its_successors_run",
    ),
    Guard(
        2,
        "fence of the heartbeat",
        _LEASES,
        "WHERE run.lease_token = held.token AND run.owner_instance = :owner\n    ), free AS",
        "WHERE true\n    ), free AS",
        f"{_CLAIMS}test_stale_worker_can_write_nothing",
    ),
    Guard(
        3,
        "heartbeat during a phase",
        "prometheus/pipeline/lease_keeper.py",
        "lost, cancelled = heartbeat(connection, leases, ttl=self._ttl)",
        "lost, cancelled = heartbeat(connection, (), ttl=self._ttl)",
        f"{_PAUSES}test_a_phase_longer_than_the_lease_is_not_taken_over_while_its_worker_lives",
    ),
    Guard(
        6,
        "a lease from a clock that stepped back is dead",
        _CLAIMING,
        "OR run.lease_expires_at > engine_now() + make_interval(secs => 2 * :ttl)",
        "OR false",
        "tests/chaos/test_clocks.py::test_a_database_clock_that_steps_back_after_an_owners_death_still_recovers",
    ),
    Guard(
        4,
        "the last attempt ends the run",
        _REAPER,
        "WHEN unowned AND attempt >= max_attempts THEN",
        "WHEN false THEN",
        f"{_PAUSES}test_a_run_that_kills_its_worker_every_time_stops_and_blocks_nobody",
    ),
    Guard(
        4,
        "a run that was tried before is claimed alone",
        _CLAIMING,
        "AND (run.attempt > 0) = :suspect",
        "AND (:suspect OR true)",
        f"{_PAUSES}test_a_run_that_kills_its_worker_every_time_stops_and_blocks_nobody",
    ),
    Guard(
        10,
        "earlier days come first",
        _CLAIMING,
        "AND earlier.as_of_date < run.as_of_date\n",
        "AND earlier.as_of_date < run.as_of_date AND false\n",
        f"{_CLAIMS}test_an_earlier_day_in_work_blocks_the_later_ones",
    ),
    Guard(
        10,
        "claims skip what another claim has locked",
        _CLAIMING,
        "LIMIT :batch\n        FOR UPDATE OF run SKIP LOCKED",
        "LIMIT :batch\n        FOR UPDATE OF run",
        f"{_CLAIMS}test_runs_locked_by_another_claim_are_skipped",
    ),
    Guard(
        8,
        "commits hold the switch's row",
        _SWITCH,
        "WHERE flag_id = 1 FOR SHARE",
        "WHERE flag_id = 1",
        f"{_STATES}test_freeze_waits_for_a_commit_in_flight",
    ),
    Guard(
        8,
        "commits look at the switch",
        _LEASES,
        "if switch.frozen:\n        raise",
        "if False:\n        raise",
        f"{_STATES}test_frozen_fleet_stands_still_and_goes_on",
    ),
    Guard(
        8,
        "claims look at the switch",
        _CLAIMING,
        "AND NOT (SELECT frozen FROM engine_flags WHERE flag_id = 1)\n",
        "\n",
        f"{_CLAIMS}test_what_is_not_eligible_is_not_claimed",
    ),
    Guard(
        8,
        "the environment's switch",
        "prometheus/orchestration/advance_all.py",
        "if config.frozen_by_environment else None",
        "if False else None",
        f"{_SWITCHES}test_the_environment_freezes_its_own_process_alone",
    ),
    Guard(
        9,
        "commits look for a cancel request",
        _LEASES,
        "AND run.cancel_requested_at IS NULL\n        ORDER BY run.run_id FOR UPDATE OF run",
        "ORDER BY run.run_id FOR UPDATE OF run",
        f"{_STATES}test_cancel_during_a_phase_does_not_wait_for_it",
    ),
    Guard(
        4,
        "phases have a deadline",
        _REAPER,
        "WHEN NOT unowned AND :deadline > 0",
        "WHEN false AND :deadline > 0",
        f"{_CLAIMS}test_reaper_fails_a_worker_that_hangs",
    ),
    Guard(
        1,
        "a snapshot's books have not moved",
        "prometheus/pipeline/household_day.py",
        "    raise _moved(day)\n\n\ndef _moved",
        "    return False\n\n\ndef _moved",
        f"{_GUARANTEES}test_books_that_move_meanwhile_put_the_snapshot_off",
    ),
    Guard(
        5,
        "an unknown COMMIT is looked up",
        "prometheus/pipeline/advance.py",
        "moved = {lease.run_id for lease, work in ready if _reread(context, lease) is work.to_phase}",
        "moved = set()",
        f"{_GUARANTEES}test_commit_whose_answer_was_lost_is_looked_up",
    ),
    Guard(
        1,
        "a stopped worker's attempt is not charged",
        _LEASES,
        "attempt = greatest(attempt - 1, 0)",
        "attempt = attempt",
        f"{_WORKERS}test_stop_gives_runs_back_uncharged",
    ),
    Guard(
        10,
        "one row for each account's day",
        "prometheus/db/repositories/engine_runs.py",
        "ON CONFLICT ON CONSTRAINT uq_engine_runs_as_of_date_account_id DO NOTHING",
        "",
        f"{_SWITCHES}test_fifty_ensure_calls_at_once_make_one_row",
    ),
    Guard(
        OUTBOX,
        "an alert has its message",
        _ALERTS,
        "FROM told RETURNING message_id",
        "FROM told WHERE false RETURNING message_id",
        f"{_OUTBOX}test_alert_and_message_are_one",
    ),
    Guard(
        OUTBOX,
        "alert and message are of the effect's transaction",
        _ALERTS,
        'connection.execute(_RAISE, {**none, "code": code, "message": message, "details": "{}"})',
        'connection.execute(_RAISE, {**none, "code": code, "message": message, "details": "{}"})\n'
        "    connection.connection.commit()",
        f"{_OUTBOX}test_message_of_a_transaction_that_fails_is_not_there",
    ),
    Guard(
        OUTBOX,
        "messages are fixed",
        "migrations/versions/0001_first_tables.py",
        "AND to_jsonb(NEW) - delivery = to_jsonb(OLD) - delivery THEN",
        "THEN",
        f"{_OUTBOX}test_messages_are_not_altered",
    ),
    Guard(
        OUTBOX,
        "delivered is marked after the receiver answered",
        _MESSAGES,
        "SET lease_token = message.lease_token + 1,",
        "SET delivered_at = engine_now(), lease_token = message.lease_token + 1,",
        f"{_DELIVERERS}test_a_deliverer_killed_before_it_marks_delivers_twice_and_marks_once",
    ),
    Guard(
        OUTBOX,
        "a receiver's refusal is no delivery",
        "prometheus/orchestration/outbox/delivery.py",
        "refusals.append(state.note(error))",
        "state.note(error)",
        f"{_OUTBOX}test_what_fails_is_tried_again_later_and_later",
    ),
    Guard(
        OUTBOX,
        "the lease of a deliverer",
        _MESSAGES,
        "AND (owner_instance IS NULL OR lease_expires_at <= engine_now()",
        "AND (true OR lease_expires_at <= engine_now()",
        f"{_OUTBOX}test_claimed_messages_are_somebody_elses",
    ),
    Guard(
        OUTBOX,
        "the fence of a deliverer's mark",
        _MESSAGES,
        "AND lease_token = :token AND owner_instance = :owner AND delivered_at IS NULL",
        "AND coalesce(:token, length(:owner)) IS NOT NULL AND delivered_at IS NULL",
        f"{_OUTBOX}test_claimed_messages_are_somebody_elses",
    ),
    Guard(
        OUTBOX,
        "deliverers skip what another one is claiming",
        _MESSAGES,
        "LIMIT :batch FOR UPDATE SKIP LOCKED",
        "LIMIT :batch FOR UPDATE",
        f"{_OUTBOX}test_messages_locked_by_another_claim_are_skipped",
    ),
    Guard(
        OUTBOX,
        "an account's messages keep their order",
        _MESSAGES,
        "WHERE earlier.account_id = message.account_id AND",
        "WHERE false AND",
        f"{_OUTBOX}test_order_holds_within_a_batch_and_while_the_first_is_put_off",
    ),
    Guard(
        OUTBOX,
        "couriers have a time limit",
        "prometheus/orchestration/outbox/courier.py",
        "if time.monotonic() >= deadline:",
        "if False:",
        f"{_DELIVERERS}test_a_receiver_that_answers_a_byte_at_a_time_meets_the_limit",
    ),
    Guard(
        1,
        "effects and transition are one transaction",
        "prometheus/pipeline/advance.py",
        "        moved = commit_phases(connection, steps, ttl=context.config.lease_ttl)\n",
        "        with context.database.transaction() as first:\n"
        "            moved = commit_phases(first, steps, ttl=context.config.lease_ttl)\n",
        "tests/chaos/test_crash_points.py::test_a_worker_killed_at_any_statement_costs_nothing",
    ),
    Guard(
        3,
        "leases are kept before anything is recovered",
        "prometheus/orchestration/worker_pool.py",
        "        self._keep_leases(database)\n        try:\n            ended",
        "        try:\n            ended",
        f"{_HELD}test_a_held_switch_starves_no_heartbeat",
    ),
    Guard(
        5,
        "a silent server is waited for a limited time",
        "prometheus/db/patience.py",
        "elif time.monotonic() - silent_since > patience:",
        "elif False:",
        "tests/chaos/test_server_faults.py::test_a_network_that_swallows_everything_ends_the_call_by_itself",
    ),
    Guard(
        6,
        "due times of before a step back mean nothing",
        _CLAIMING,
        "(run.next_attempt_at <= engine_now() OR run.updated_at > engine_now())",
        "(run.next_attempt_at <= engine_now())",
        f"{_CLOCKS}test_a_database_clock_that_steps_back_puts_nothing_off",
    ),
    Guard(
        6,
        "a clock put forward is no time of a phase",
        _LEASES,
        "run.phase_started_at + greatest(",
        "run.phase_started_at + 0 * greatest(",
        f"{_CLAIMS}test_clock_put_forward_is_no_time_that_a_phase_took",
    ),
    Guard(
        7,
        "a reaper's look and its update are one",
        _REAPER,
        "        FOR UPDATE SKIP LOCKED\n    ), stale",
        "    ), stale",
        f"{_SWITCHES}test_a_run_that_moves_between_the_reapers_look_and_its_update_is_left_alone",
    ),
    Guard(
        8,
        "later commits queue behind the switch",
        _FLAGS,
        "LOCK TABLE engine_flags IN EXCLUSIVE MODE",
        "SELECT 1 FROM engine_flags WHERE flag_id = 1 FOR UPDATE",
        f"{_HELD}test_commits_queue_behind_the_kill_switch",
    ),
    Guard(
        8,
        "sessions of another database are let be",
        _FLAGS,
        "      AND activity.datname = current_database()\n",
        "",
        f"{_HELD}test_the_switch_of_another_database_is_left_alone",
    ),
    Guard(
        9,
        "a cancel looks at the run under its lock",
        _RUNS,
        "FROM engine_runs WHERE run_id = :run_id FOR UPDATE\n",
        "FROM engine_runs WHERE run_id = :run_id\n",
        f"{_HELD}test_a_cancel_reports_what_a_transaction_under_way_left_behind",
    ),
    Guard(
        10,
        "an account has so many unfinished runs and no more",
        _RUNS,
        "HAVING count(*) >= :cap",
        "HAVING count(*) >= :cap AND false",
        f"{_STATES}test_refusal_by_the_cap_changes_nothing",
    ),
    Guard(
        11,
        "a schema that does not fit is refused",
        "prometheus/bootstrap/wiring.py",
        "        require_current_schema(database)\n        yield database",
        "        yield database",
        f"{_REFUSING}test_a_migration_under_way_is_waited_for_and_then_respected",
    ),
    Guard(
        11,
        "a read-only server is told in a sentence",
        "prometheus/db/foreign_errors.py",
        "sql_errors.ReadOnlySqlTransaction,",
        "sql_errors.DatatypeMismatch,",
        f"{_REFUSING}test_a_hot_standby_serves_monitoring_and_refuses_the_rest",
    ),
    Guard(
        11,
        "a full disk is told in a sentence",
        "prometheus/db/foreign_errors.py",
        "(sql_errors.DiskFull,",
        "(sql_errors.DatatypeMismatch,",
        f"{_REFUSING}test_a_full_disk_leaves_the_phase_where_it_was",
    ),
    Guard(
        12,
        "expired leases are named",
        "prometheus/orchestration/health.py",
        "    if facts.expired:\n",
        "    if False:\n",
        "tests/integration/test_engine_health.py::test_trouble_is_named",
    ),
    Guard(
        12,
        "a finding is an exit code",
        "prometheus/scripts/engine_health.py",
        "    if findings:\n        sys.exit(1)",
        "    if False:\n        sys.exit(1)",
        "tests/integration/test_engine_health.py::test_trouble_is_named",
    ),
    Guard(
        13,
        "monitoring locks nothing",
        _FLAGS,
        'engine_now() AS seen_at FROM engine_flags WHERE flag_id = 1")',
        'engine_now() AS seen_at FROM engine_flags WHERE flag_id = 1 FOR SHARE")',
        f"{_HELD}test_readers_wait_for_neither_writers_nor_the_kill_switch",
    ),
)


def main() -> int:
    """Remove the guards one by one; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="names that contain this")
    parser.add_argument("--draw", type=int, help="so many of them, drawn anew each time: the short form")
    options = parser.parse_args()
    survivors = []
    named = [guard for guard in GUARDS if not options.only or options.only in guard.name]
    drawn = named if options.draw is None else random.SystemRandom().sample(named, min(options.draw, len(named)))
    guards = sorted(drawn, key=lambda guard: guard.line or 99)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for guard, noticed in zip(guards, pool.map(_noticed, guards), strict=True):
            word = "noticed" if noticed else "NOT NOTICED"
            line = f"line {guard.line:>2}" if guard.line else "outbox "
            print(f"{word:<12} {line}  {guard.name:<52} {guard.test}", flush=True)
            if not noticed:
                survivors.append(guard.name)
    print(f"{len(guards) - len(survivors)} of {len(guards)} removed guards were noticed by their test")
    return 1 if survivors else 0


def _noticed(guard: Guard) -> bool:
    with tempfile.TemporaryDirectory(prefix="prometheus-guards-") as name:
        copy = Path(name)
        # The embedded server's account must be able to read what it is given.
        copy.chmod(0o755)
        for part in _COPIED:
            source = ROOT / part
            if source.is_dir():
                # With what was compiled from it: Python and Numba compile anew what is changed below.
                shutil.copytree(source, copy / part)
            else:
                shutil.copy2(source, copy / part)
        file = copy / guard.file
        text = file.read_text()
        if text.count(guard.guarded) != 1:
            raise SystemExit(
                f"{guard.name}: the guard is there {text.count(guard.guarded)} times in {guard.file}, not once"
            )
        file.write_text(text.replace(guard.guarded, guard.unguarded))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider", guard.test],
            cwd=copy,
            # A test notices some removals by waiting in vain.
            env={"CHAOS_DEADLINE": "60", **os.environ, "PYTHONPATH": name},
            capture_output=True,
            text=True,
            check=False,
        )
        # 1: tests failed. Anything else (collection errors, nothing found) would prove nothing.
        if done.returncode not in {0, 1} or " error" in done.stdout.splitlines()[-1]:
            raise SystemExit(f"{guard.name}: pytest ended with {done.returncode}\n{done.stdout[-3000:]}")
        return done.returncode == 1


if __name__ == "__main__":
    sys.exit(main())
