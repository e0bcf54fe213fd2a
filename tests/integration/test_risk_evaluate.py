"""``prometheus risk evaluate``: the table, the files it writes, and what it refuses."""

import csv
from datetime import date

import numpy as np
import pytest
from sqlalchemy import text

from prometheus.foundation.errors import RiskModelError
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.orchestration.risk_inputs import market_history
from prometheus.risk.evaluation.history import month, months
from tests.integration.commands_fleet import call
from tests.unit.risk.market_past import BENCHMARK_DATES, DAYS, write_files

SPAN = ("--from", DAYS[0], "--to", DAYS[-1])


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Return a directory of market files."""
    directory = tmp_path_factory.mktemp("market")
    write_files(directory)
    return directory


def test_table_csv_and_plot_agree_on_what_was_judged(market, tmp_path):
    """Each estimator has a row in every period's table and four rows a month in the CSV; the plot is a picture."""
    table, picture = tmp_path / "scores.csv", tmp_path / "scores.png"
    done = call(
        "unused:", "risk", "evaluate", *SPAN, "--directory", market, "--no-textbook", "--estimator", "linked",
        "--estimator", "qis", "--csv", table, "--plot", picture,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "calm: 2 months" in done.stdout
    rows = list(csv.DictReader(table.open()))
    assert [row["estimator"] for row in rows[::4]] == ["ewma_pca", "linked", "qis"] * 2
    assert {row["portfolio_class"] for row in rows} == {"A", "B1", "B2", "C"}
    assert {row["as_of"] for row in rows} == {str(day) for day in BENCHMARK_DATES[1:3]}
    linked = [line for line in done.stdout.splitlines() if line.startswith("linked ")]
    ratio = np.mean(
        [float(row["ratio"]) for row in rows if (row["estimator"], row["portfolio_class"]) == ("linked", "A")]
    )
    assert f"{ratio**0.5:.2f} / " in linked[0]
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "exit_code", "message"),
    [
        (("--estimator", "crystal"), 1, "'crystal' is unknown"),
        (("--csv", "/nowhere/scores.csv"), 2, "the directory does not exist"),
        (("--plot", "/nowhere/scores.png"), 2, "the directory does not exist"),
        (("--plot", "scores.walrus"), 2, "cannot be drawn"),
        (("--to", "2018-02-01"), 1, "No benchmark date between"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(market, tmp_path, monkeypatch, options, exit_code, message):
    """An unknown estimator, a file that cannot be written and a span without months end with one sentence."""
    monkeypatch.chdir(tmp_path)
    done = call(
        "unused:",
        "risk",
        "evaluate",
        *SPAN,
        "--directory",
        market,
        "--no-textbook",
        "--estimator",
        "ewma_pca",
        *options,
    )
    assert done.exit_code == exit_code
    assert message in done.stderr


def test_history_comes_from_the_database(database):
    """Returns, weights by date and sectors of ingested data make the months that the files would."""
    sessions = TradingCalendar.for_region("US").sessions_between(date(2022, 1, 3), date(2024, 6, 28))[-530:]
    closes = 50 * np.exp(np.cumsum(np.random.default_rng(3).normal(0.0, 0.01, (len(sessions), 3)), axis=0))
    effective = sessions[510]
    with database.transaction() as connection:
        with pytest.raises(RiskModelError, match="no prices in the database"):
            market_history(connection, effective, effective, region="US", benchmark_id=None)
        connection.execute(
            text("INSERT INTO securities (ticker, name, sector, group_id) VALUES (:name, :name, 'Energy', :name)"),
            [{"name": name} for name in "ABC"],
        )
        connection.execute(
            text(
                "INSERT INTO prices (security_id, price_date, close) SELECT security_id, day, close "
                "FROM unnest(CAST(:names AS text[]), CAST(:days AS date[]), CAST(:closes AS numeric[])) "
                "AS loaded(ticker, day, close) "
                "JOIN securities USING (ticker)"
            ),
            {
                "names": [name for _ in sessions for name in "ABC"],
                "days": [session for session in sessions for _ in "ABC"],
                "closes": [round(float(close), 4) for close in closes.ravel()],
            },
        )
        connection.execute(
            text(
                "INSERT INTO benchmark_constituents (benchmark_id, effective_date, security_id, weight) "
                "SELECT 'BM', :day, security_id, CASE ticker WHEN 'A' THEN 0.75 ELSE 0.25 END FROM securities "
                "WHERE ticker <> 'C'"
            ),
            {"day": effective},
        )
    with database.transaction() as connection:
        history = market_history(connection, sessions[0], sessions[-1], region="US", benchmark_id=None)
        with pytest.raises(RiskModelError, match="Benchmark XX has no weights"):
            market_history(connection, sessions[0], sessions[-1], region="US", benchmark_id="XX")
    assert months(history, sessions[0], sessions[-1]) == (effective,)
    slice_ = month(history, effective)
    assert (slice_.tickers, slice_.weights.tolist(), slice_.sectors) == (("A", "B"), [0.75, 0.25], ("Energy",) * 2)
    np.testing.assert_allclose(slice_.returns[-1], closes[510, :2] / closes[509, :2] - 1, atol=1e-5)
