"""``prometheus risk calibrate`` and ``risk show`` on a fleet's own runs."""

import itertools
import json
from datetime import date

import numpy as np
import pytest
from sqlalchemy import text

from prometheus.db.database import Database
from prometheus.db.repositories.runs import risk_forecasts
from tests.conftest import clone_of
from tests.integration.commands_fleet import AS_OF, NEXT_DAY, call, copy_of

ACCOUNTS = {"ACC-1": 2, "ACC-2": 2, "ACC-3": 1, "ACC-4": 2}


@pytest.fixture(scope="module")
def traded(server, traded_template):
    """A database with two days of the fleet and the month of prices that followed."""
    with clone_of(server, traded_template) as url:
        _change(
            url,
            "INSERT INTO prices (security_id, price_date, close) "
            "SELECT security_id, day, "
            "round(close * (1 + 0.01 * sin(security_id * extract(day FROM day)::int))::numeric, 4) "
            f"FROM prices, generate_series(date '{NEXT_DAY}' + 1, date '2024-08-09', '1 day') AS day "
            f"WHERE price_date = '{NEXT_DAY}' AND extract(isodow FROM day) < 6 AND day <> '2024-07-04'",
        )
        yield url


@pytest.fixture
def url(server, traded):
    """URL of a copy."""
    with copy_of(server, traded) as clone:
        yield clone


def _change(url, statement):
    return _asked(url, lambda connection: connection.execute(text(statement)))


def _asked(url, read):
    database = Database(url)
    try:
        with database.transaction() as connection:
            return read(connection)
    finally:
        database.close()


def _rows(done):
    return {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[2:]}


def test_table_holds_every_account_and_all_together(url):
    """Each account's forecasts answer until its next run, the last for 21 sessions; the bias fits the two columns."""
    done = call(url, "risk", "calibrate", PROMETHEUS_RISK_BIAS_HIGH="1000")
    rows = _rows(done)
    assert done.exit_code == 0, done.stderr
    assert {name: int(values[0]) for name, values in rows.items()} == {**ACCOUNTS, "all": 7}
    assert rows["ACC-1"][1] == "23"  # two sessions to the next run, then 21
    assert rows["ACC-3"][1] == "21"
    assert int(rows["all"][1]) == sum(int(rows[name][1]) for name in ACCOUNTS)
    forecast, realised, bias = map(float, rows["ACC-3"][2:])
    assert bias == pytest.approx(realised / forecast, rel=0.02)


def test_realised_risk_is_that_of_the_target_weights(url):
    """The realised tracking error of an account is what its target weights and the prices' moves give by hand."""
    rows = _rows(call(url, "risk", "calibrate", PROMETHEUS_RISK_BIAS_HIGH="1000"))

    def by_hand(connection):
        (run,) = [
            forecast
            for forecast in risk_forecasts(connection, first=AS_OF, last=AS_OF)
            if forecast.account_id == "ACC-3"
        ]
        closes = connection.execute(
            text(
                "SELECT ticker, price_date, close FROM prices JOIN securities USING (security_id) "
                f"WHERE price_date >= '{AS_OF}'"
            )
        ).all()
        benchmark = connection.execute(
            text(
                "SELECT ticker, weight FROM benchmark_constituents JOIN securities USING (security_id) "
                "WHERE benchmark_id = :id AND effective_date = :day"
            ),
            {"id": run.benchmark_id, "day": run.benchmark_date},
        ).all()
        return run, closes, {row.ticker: float(row.weight) for row in benchmark}

    run, closes, benchmark = _asked(url, by_hand)
    days = sorted({row.price_date for row in closes})
    price = {(row.ticker, row.price_date): float(row.close) for row in closes}
    names = {row.ticker for row in closes}
    active = []
    for before, day in itertools.pairwise(days[:22]):
        active.append(
            sum(
                (run.target_weights.get(name, 0.0) - benchmark.get(name, 0.0))
                * (price[name, day] / price[name, before] - 1)
                for name in names
                if (name, day) in price and (name, before) in price
            )
        )
    expected = 100 * np.sqrt(252 * np.mean(np.square(active)))
    assert float(rows["ACC-3"][3]) == pytest.approx(expected, rel=0.01)


def test_bias_outside_the_range_raises_one_alert(url):
    """The command ends with exit code 1 and a sentence; asked again it records no second alert."""
    for _ in range(2):
        done = call(url, "risk", "calibrate", PROMETHEUS_RISK_BIAS_HIGH="0.81")
        assert done.exit_code == 1
        assert "alert: In the quarter to 2024-08-09 active risk was larger than forecast: bias" in done.stderr
    recorded = _asked(
        url,
        lambda connection: connection.execute(text("SELECT code, message FROM alerts WHERE code = 'RISK_BIAS'")).all(),
    )
    assert len(recorded) == 1
    done = call(url, "risk", "calibrate", PROMETHEUS_RISK_BIAS_LOW="1000", PROMETHEUS_RISK_BIAS_HIGH="2000")
    assert "active risk was smaller than forecast" in done.stderr


def test_few_sessions_say_nothing(url):
    """Two days after the first runs the numbers are shown, without an alert; before them there are none."""
    done = call(url, "risk", "calibrate", "--to", NEXT_DAY, PROMETHEUS_RISK_BIAS_HIGH="0.001")
    assert (done.exit_code, "too few to judge" in done.stderr) == (0, True)
    before = call(url, "risk", "calibrate", "--to", AS_OF)
    assert (before.exit_code, before.stdout[:14]) == (0, "No run's forec")


def test_calibration_without_prices_is_refused(database_url):
    """On an empty database the exit code is 1 with one sentence."""
    done = call(database_url, "risk", "calibrate")
    assert done.exit_code == 1
    assert "prometheus ingest" in done.stderr


@pytest.mark.parametrize("estimator", ["ewma_pca", "linked", "linked_sectors"])
def test_show_describes_the_model_in_force(url, estimator):
    """Factors come with their largest names, volatilities by quantile, links with the closest pair, and the age."""
    assert call(url, "risk", "refresh", "--as-of", AS_OF, "--estimator", estimator).exit_code == 0
    done = call(url, "risk", "show", "--as-of", AS_OF, "--names", 2, "--format", "json")
    description = json.loads(done.stdout)
    assert description["estimator"].split("/")[0] == estimator
    assert (description["as_of"], description["names"]) == (str(AS_OF), 12)
    assert 0 <= description["age_hours"] < 1
    assert sum(factor["share"] for factor in description["factors"]) == pytest.approx(1.0)
    for factor in description["factors"]:
        highest, lowest = ([float(entry.split()[1]) for entry in factor[end]] for end in ("highest", "lowest"))
        assert highest == sorted(highest, reverse=True)
        assert lowest == sorted(lowest)
        assert len(highest) == 2
    volatilities = list(description["specific_volatility"].values())
    assert volatilities == sorted(volatilities)
    assert bool(description["links"]) == (estimator != "ewma_pca")
    printed = call(url, "risk", "show", "--as-of", AS_OF).stdout
    assert f"risk model {description['risk_model_id']} of {AS_OF}, {description['estimator']}" in printed
    assert ("mean_correlation" in printed) == (estimator != "ewma_pca")


def test_show_without_a_model_says_what_to_do(url):
    """Before the first model's day there is none to show."""
    done = call(url, "risk", "show", "--as-of", date(2020, 1, 1))
    assert done.exit_code == 1
    assert "prometheus risk refresh" in done.stderr
