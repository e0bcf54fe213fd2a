"""The commands' little fleet through three days with fills: every account's chain has something to check."""

from datetime import date

import psycopg

from prometheus.db.database import Database
from prometheus.simulation.fills import fill_day
from tests.integration.commands_fleet import AS_OF, NEXT_DAY, call

#: Canada's exchange is closed on the second one; the Canadian account has one run.
DAYS = (AS_OF, date(2024, 7, 1), NEXT_DAY)
RUNS = 10


def trade_and_fill(url):
    """Take a database with a risk model through ten runs: three each of ACC-1, ACC-2 and ACC-4, one of ACC-3."""
    for day in DAYS:
        for region in ("US", "CA") if day == AS_OF else ("US",):
            done = call(url, "run-engine-state", "--as-of", day, "--region", region, "--ensure", "--data-ready")
            assert done.exit_code == 0, done.stderr
        done = call(url, "run-engine-state", "--advance-all", "--workers", 0)
        assert done.exit_code == 0, done.stdout + done.stderr
        database = Database(url)
        fill_day(database, day)
        database.close()


def as_superuser(url, server, *statements: str):
    """Run statements with every right and every trigger and foreign key switched off; each must change something."""
    name = url.split("?")[0].rsplit("/", 1)[1]
    with psycopg.connect(host=str(server.socket_dir), user="postgres", dbname=name) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement
