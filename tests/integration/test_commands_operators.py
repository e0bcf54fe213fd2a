"""``prometheus risk``, ``engine``, ``strategy`` and ``db`` as an operator calls them."""

import json
import re

import pytest
from sqlalchemy import text

from prometheus.db.database import Database
from prometheus.db.repositories.engine_flags import read_switch
from prometheus.db.repositories.risk_models import latest_risk_model
from tests.conftest import clone_of
from tests.integration.commands_fleet import AS_OF, GAPPY, NAMES, NEXT_DAY, YOUNG, call

STRATEGY = "tax-managed-index"


@pytest.fixture
def url(server, market_template):
    """URL of a database with prices and fleet but no risk model."""
    with clone_of(server, market_template) as clone:
        yield clone


def ask(url, read):
    """Return what a function reads from the database."""
    database = Database(url)
    try:
        with database.transaction() as connection:
            return read(connection)
    finally:
        database.close()


def one_error(done, exit_code):
    """Return the one line on standard error of a command that failed with nothing on standard output."""
    assert (done.exit_code, done.stdout) == (exit_code, "")
    (line,) = done.stderr.splitlines()
    return line


def test_risk_refresh_stores_a_model_and_names_fallbacks(url):
    """The model is stored under the id printed; a name with too few sessions is named, one with a gap is not."""
    done = call(url, "risk", "refresh", "--as-of", AS_OF)
    assert done.exit_code == 0, done.stderr
    stored = ask(url, lambda connection: latest_risk_model(connection, AS_OF))
    assert done.stdout.startswith(f"risk model {stored.risk_model_id} of {AS_OF}: 12 assets, ")
    assert stored.tickers == NAMES
    assert re.search(rf"fallback: {YOUNG} \(.+\)", done.stdout)
    assert f"fallback: {GAPPY}" not in done.stdout
    assert done.stdout.count("fallback:") == 1


def test_risk_refresh_on_a_sunday_uses_the_session_before(url):
    """A weekend's model is of that date but ends with Friday's closes, and holds the same numbers."""
    friday = call(url, "risk", "refresh", "--as-of", AS_OF)
    sunday = call(url, "risk", "refresh", "--as-of", "2024-06-30")
    assert "2024-06-28)" in sunday.stdout
    assert sunday.stdout.split(":", 1)[1] == friday.stdout.split(":", 1)[1]
    of_friday = ask(url, lambda connection: latest_risk_model(connection, AS_OF))
    of_sunday = ask(url, lambda connection: latest_risk_model(connection, AS_OF.replace(day=30)))
    assert of_sunday.as_of_date == AS_OF.replace(day=30)
    assert of_sunday.loadings_sha256 == of_friday.loadings_sha256
    assert of_sunday.specific_variance_sha256 == of_friday.specific_variance_sha256


def test_risk_refresh_asked_for_twice_stores_one_model(url):
    """The second call finds the model it would store, says so on standard error and names the same id."""
    first, second = (call(url, "risk", "refresh", "--as-of", AS_OF) for _ in range(2))
    assert (second.exit_code, second.stdout) == (0, first.stdout)
    assert "nothing was written" in second.stderr
    assert ask(url, lambda connection: connection.execute(text("SELECT count(*) FROM risk_models")).scalar_one()) == 1


def test_corrected_price_makes_a_new_model(url, tmp_path):
    """After a price was corrected the model of the same day is estimated anew and takes over."""
    first = call(url, "risk", "refresh", "--as-of", AS_OF)
    (tmp_path / "prices.csv").write_text(f"date,ticker,close\n{AS_OF},N00,30\n")
    loaded = call(url, "ingest", tmp_path / "prices.csv", "--kind", "prices")
    assert loaded.exit_code == 0, loaded.stdout
    second = call(url, "risk", "refresh", "--as-of", AS_OF)
    assert second.stdout.split(" ", 3)[2] != first.stdout.split(" ", 3)[2]
    assert second.stderr == ""


def test_long_list_of_fallbacks_is_cut_with_a_count(url):
    """Of more than ten names with fallback values ten are printed and the others counted."""
    database = Database(url)
    with database.transaction() as connection:
        connection.execute(
            text("""
                INSERT INTO securities (ticker, name, sector, group_id)
                SELECT 'Y' || number, 'Young', 'Energy', 'Y' || number FROM generate_series(10, 22) AS number
            """)
        )
        connection.execute(
            text("""
                INSERT INTO prices (security_id, price_date, close)
                SELECT young.security_id, price_date, close FROM securities AS young, prices
                JOIN securities USING (security_id)
                WHERE young.ticker LIKE 'Y%' AND securities.ticker = 'N00' AND price_date > '2024-06-20'
            """)
        )
    database.close()
    printed = call(url, "risk", "refresh", "--as-of", AS_OF).stdout
    assert "25 assets" in printed
    assert "14 assets with fallback values" in printed
    assert printed.count("  fallback: ") == 10
    assert printed.endswith("  and 4 more\n")


def test_too_little_data_keeps_the_last_model(url):
    """With too few sessions the exit code is 1 with one sentence, and the model in force stays in force."""
    assert call(url, "risk", "refresh", "--as-of", AS_OF).exit_code == 0
    before = ask(url, lambda connection: latest_risk_model(connection, NEXT_DAY))
    error = one_error(call(url, "risk", "refresh", "--as-of", "2024-02-01", "--estimator", "ewma_pca"), 1)
    assert error.startswith("error: ")
    assert error.endswith("[TOO_FEW_SESSIONS]")
    after = ask(url, lambda connection: latest_risk_model(connection, NEXT_DAY))
    assert after.risk_model_id == before.risk_model_id
    assert ask(url, lambda connection: latest_risk_model(connection, AS_OF.replace(month=2))) is None


def test_risk_refresh_without_prices_says_what_to_load(database_url):
    """On an empty database the exit code is 1 and the sentence names the command that loads prices."""
    error = one_error(call(database_url, "risk", "refresh", "--as-of", AS_OF), 1)
    assert "prometheus ingest" in error


@pytest.mark.parametrize("arguments", [("--as-of", "2024-06-28", "--region", "MOON"), ("--as-of", "1850-01-02")])
def test_risk_refresh_refuses_what_no_calendar_knows(database_url, arguments):
    """An unknown region and a day before any exchange are one sentence each, not a traceback."""
    done = call(database_url, "risk", "refresh", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert re.fullmatch(r"error: [^\n]+ \[[A-Z_]+\]\n", done.stderr)


def test_engine_is_frozen_and_unfrozen(database_url):
    """Freeze, status, unfreeze: each shows the state of the engine, and a second call that it was so already."""
    assert call(database_url, "engine", "status").stdout.startswith("running (since ")
    assert call(database_url, "engine", "freeze", "--reason", "bad feed").stdout == "The engine is now frozen.\n"
    assert call(database_url, "engine", "freeze", "--reason", "again").stdout == "The engine is already frozen.\n"
    assert call(database_url, "engine", "status").stdout.startswith("FROZEN: bad feed (since ")
    assert ask(database_url, read_switch).frozen
    assert call(database_url, "engine", "unfreeze").stdout == "The engine is now running.\n"
    assert call(database_url, "engine", "unfreeze").stdout == "The engine is already running.\n"
    assert not ask(database_url, read_switch).frozen


@pytest.mark.parametrize("arguments", [(), ("--reason", "   ")])
def test_freezing_needs_a_reason(database_url, arguments):
    """Without a reason, or with a blank one, nothing is frozen."""
    done = call(database_url, "engine", "freeze", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--reason" in done.stderr
    assert not ask(database_url, read_switch).frozen


def test_frozen_engine_holds_the_heartbeat(url):
    """While the database's switch is on a tick claims nothing, ends with exit code 0 and gives the reason."""
    call(url, "engine", "freeze", "--reason", "bad feed")
    done = call(url, "run-engine-state", "--advance-all")
    assert done.exit_code == 0
    assert "bad feed" in done.stdout


def shown(url):
    """Return the strategy as printed."""
    return json.loads(call(url, "strategy", "show").stdout)


def versions(url):
    """Return how many versions are stored."""
    return ask(url, lambda connection: connection.execute(text("SELECT count(*) FROM strategies")).scalar_one())


def test_what_show_prints_load_takes(database_url, tmp_path):
    """Equal content is the same version; a changed parameter is the next one, and shown from then on."""
    file = tmp_path / "strategy.json"
    file.write_text(call(database_url, "strategy", "show").stdout)
    same = call(database_url, "strategy", "load", file)
    assert (same.exit_code, same.stdout) == (0, f"strategy {STRATEGY}: version 1\n")
    changed = shown(database_url)
    changed["params"]["tax_weight"] = 1.25
    file.write_text(json.dumps(changed))
    for _ in range(2):
        assert call(database_url, "strategy", "load", file).stdout == f"strategy {STRATEGY}: version 2\n"
    assert shown(database_url)["params"]["tax_weight"] == 1.25
    assert shown(database_url)["version"] == 2


def test_unknown_strategy_is_one_sentence(database_url):
    """A strategy that is not there ends with exit code 2 and its code."""
    error = one_error(call(database_url, "strategy", "show", "momentum"), 2)
    assert error == "error: There is no strategy 'momentum'. [UNKNOWN_STRATEGY]"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must be a JSON object"),
        (b"\xff\xfe{}", "must be a JSON object"),
        (b"[1, 2]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"strategy_id": "s", "params": {}}', "has no tag_overrides"),
        (b'{"strategy_id": 5, "params": {}, "tag_overrides": {}}', "strategy_id must be a name"),
        (
            b'{"strategy_id": "s", "params": {"solver": "GUROBI"}, "tag_overrides": {}}',
            "there is no solver 'GUROBI'; known are CLARABEL, CUOPT, CVXPY, STRUCTURED.",
        ),
        (
            b'{"strategy_id": "s", "params": {}, "tag_overrides": {"t": {"solver": "clarabel"}}}',
            "tag 't': there is no solver 'clarabel'",
        ),
        (b'{"strategy_id": " ", "params": {}, "tag_overrides": {}}', "strategy_id must be a name"),
        (b'{"strategy_id": "s", "params": null, "tag_overrides": {}}', "params must be a JSON object"),
        (b'{"strategy_id": "s", "params": [], "tag_overrides": {}}', "params must be a JSON object"),
        (b'{"strategy_id": "s", "params": {}, "tag_overrides": ["a"]}', "tag_overrides must be a JSON object"),
        (b'{"strategy_id": "s", "params": {}, "tag_overrides": {"a": 1}}', "tag_overrides 'a' must be a JSON object"),
        (b'{"strategy_id": "s", "params": {"speed": 1}, "tag_overrides": {}}', "unknown strategy parameter 'speed'"),
        (b'{"strategy_id": "s", "params": {"max_weight": 1.5}, "tag_overrides": {}}', "max_weight = 1.5"),
        (b'{"strategy_id": "s", "params": {"max_weight": NaN}, "tag_overrides": {}}', "max_weight = nan"),
        (b'{"strategy_id": "s", "params": {"no_buy": "AAA"}, "tag_overrides": {}}', "takes a list"),
        (
            b'{"strategy_id": "s", "params": {"cash_min": 0.5, "cash_max": 0.1}, "tag_overrides": {}}',
            "cash_min 0.5 exceeds cash_max 0.1",
        ),
        (
            b'{"strategy_id": "s", "params": {}, "tag_overrides": {"calm": {"tax_weight": -1}}}',
            "tag 'calm': strategy parameter tax_weight = -1",
        ),
    ],
)
def test_unusable_strategy_is_refused_and_not_stored(database_url, tmp_path, content, said):
    """A file that is no strategy ends with exit code 2 and a sentence with file and fault; nothing is stored."""
    file = tmp_path / "strategy.json"
    file.write_bytes(content)
    before = versions(database_url)
    error = one_error(call(database_url, "strategy", "load", file), 2)
    assert str(file) in error
    assert said in error
    assert error.endswith("[CONFIGURATION]")
    assert versions(database_url) == before


def test_strategy_file_that_is_not_there_is_a_usage_error(database_url, tmp_path):
    """A path that does not exist ends with exit code 2 and the path."""
    done = call(database_url, "strategy", "load", tmp_path / "none.json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "none.json" in done.stderr


def test_database_status_and_upgrade_agree(database_url):
    """A migrated database has what this version needs, and upgrading it again changes nothing."""
    status = call(database_url, "db", "status")
    assert status.exit_code == 0
    current, needed = re.search(r"at (\S+), this version needs (\S+)", status.stdout).groups()
    assert current == needed
    again = call(database_url, "db", "upgrade")
    assert (again.exit_code, again.stdout.rstrip().endswith(f"already at {needed}")) == (0, True)


def test_database_without_the_schema_is_said_and_refused(database_url):
    """With an older schema status ends with exit code 1, and every other command with one sentence."""
    ask(database_url, lambda connection: connection.execute(text("DELETE FROM alembic_version")))
    status = call(database_url, "db", "status")
    assert status.exit_code == 1
    assert "at no migration, this version needs" in status.stdout
    assert one_error(call(database_url, "show-engine-runs"), 1).endswith("[SCHEMA]")


@pytest.mark.parametrize(
    ("options", "code"),
    [(("--benchmark", "NONE"), "NO_BENCHMARK"), (("--estimator", "crystal_ball"), "RISK_SETTINGS")],
)
def test_risk_refresh_refuses_what_it_does_not_know(url, options, code):
    """An unknown benchmark or estimator ends with exit code 1, one sentence, and nothing stored."""
    error = one_error(call(url, "risk", "refresh", "--as-of", AS_OF, *options), 1)
    assert error.endswith(f"[{code}]")
    assert ask(url, lambda connection: latest_risk_model(connection, AS_OF)) is None


@pytest.mark.parametrize("chosen", [("--estimator", "linked"), ()])
def test_risk_refresh_takes_the_estimator_asked_for(url, chosen, monkeypatch):
    """The option, or without it PROMETHEUS_RISK_ESTIMATOR, names the estimator of the stored model."""
    monkeypatch.setenv("PROMETHEUS_RISK_ESTIMATOR", "linked_sectors")
    assert call(url, "risk", "refresh", "--as-of", AS_OF, *chosen).exit_code == 0
    stored = ask(url, lambda connection: latest_risk_model(connection, AS_OF))
    assert stored.estimator.split("/")[0] == (chosen[1] if chosen else "linked_sectors")
    assert stored.specific_correlation_sha256 is not None
