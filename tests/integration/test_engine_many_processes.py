"""Eight ticks at once: every run is done once, numbered without gaps, with one event for each edge."""

import itertools
import os
import subprocess
import sys

import pytest

from prometheus.domain.phases import TASK_PHASES, Phase
from tests.integration.embedded_processes import DEADLINE_SECONDS
from tests.integration.engine_fleet import MONDAY, TUESDAY, add_account

PROCESSES = 8
DAYS = (MONDAY, TUESDAY)
#: Each run's transitions: through the phases that have a task, in order.
PATH = [Phase.WAITING_FOR_DATA, *TASK_PHASES, Phase.PERSISTED]

#: Whole commands, each of which writes to the one output and ends with its own exit code. They are forked after the
#: imports, which would otherwise take longer than everything that is tested.
COMMANDS = f"""
import os, sys, traceback
import prometheus.bootstrap.engine
from prometheus.scripts.run_engine_state import command
children = []
for _ in range({PROCESSES}):
    if (child := os.fork()) == 0:
        try:
            command.main(["--advance-all"])
        except SystemExit as ended:
            os._exit(ended.code or 0)
        except BaseException:
            traceback.print_exc()
        os._exit(70)
    children.append(child)
sys.exit(sorted({{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}})[-1])
"""


@pytest.mark.long
@pytest.mark.parametrize("count", [100])
def test_eight_processes_share_the_runs_of_two_days(fleet, count):
    """Eight processes over 200 runs: each run PERSISTED once, numbers gap-free, one transition for each edge."""
    accounts = [f"P-{number:03d}" for number in range(count)]
    with fleet.database.transaction() as connection:
        for account in accounts:
            add_account(connection, account, lots=())
    # Only the accounts of this test take part.
    fleet.sql("UPDATE accounts SET region = 'ELSEWHERE' WHERE account_id LIKE 'ACC-%'")
    for day in DAYS:
        fleet.ready(day)
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        env={**os.environ, "PROMETHEUS_DATABASE_URL": fleet.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    # A process that finds the last days blocked by a rival's work is done; one more tick ends what is left.
    fleet.advance()

    assert (done.returncode, done.stdout.count("advanced")) == (0, PROCESSES), done.stderr
    assert set(fleet.phases().values()) == {"PERSISTED"}
    assert len(fleet.phases()) == count * len(DAYS)
    runs = fleet.sql("SELECT account_id, run_seq, as_of_date FROM runs ORDER BY account_id, run_seq")
    assert [tuple(run) for run in runs] == [
        (account, seq, day) for account in accounts for seq, day in enumerate(DAYS, start=1)
    ]
    assert fleet.sql("SELECT DISTINCT last_run_seq FROM accounts WHERE account_id LIKE 'P-%'") == [(len(DAYS),)]
    edges = fleet.sql("""
        SELECT run_id, array_agg(from_phase || '>' || to_phase ORDER BY event_id) AS path
        FROM engine_run_events WHERE kind = 'TRANSITION' GROUP BY run_id
    """)
    expected = [f"{old}>{new}" for old, new in itertools.pairwise(PATH)]
    assert [row.path for row in edges] == [expected] * (count * len(DAYS))
    workers = fleet.sql("SELECT DISTINCT owner_instance FROM engine_run_events WHERE to_phase = 'PERSISTED'")
    assert len(workers) > 1
    assert fleet.one("SELECT count(*) FROM engine_run_events WHERE kind IN ('RETRY', 'REAPED')") == 0
    # Nobody fills the first day's trades here, so the second day says so once for each account.
    assert fleet.alerts() == [(account, "UNFILLED_TRADES") for account in accounts]
