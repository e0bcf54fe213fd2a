"""The risk model's refresh: asked for twice it writes once, and what is no longer fresh is stored again."""

from datetime import date

import numpy as np
import pytest
from sqlalchemy import text

from prometheus.db.blobs import get_array
from prometheus.db.repositories.risk_models import add_risk_model, latest_risk_model
from prometheus.foundation.errors import RiskModelError
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.orchestration.risk_refresh import refresh_risk_model
from prometheus.pipeline.shared_inputs import SharedInputs
from prometheus.risk.settings import RiskSettings
from prometheus.risk.specific_correlation import SpecificCorrelation, packed_blocks, unpacked_blocks

AS_OF = date(2024, 6, 28)
NAMES = tuple("ABCDEFG")
#: Needs no benchmark, of which this market has none.
DIAGONAL = RiskSettings(estimator="ewma_pca")


@pytest.fixture
def market(database):
    """A database with 140 sessions of seven names."""
    sessions = TradingCalendar.for_region("US").sessions_between(date(2023, 10, 2), AS_OF)[-140:]
    draws = np.random.default_rng(3).normal(0.0, 0.01, (len(sessions), len(NAMES)))
    closes = 50 * np.exp(np.cumsum(draws, axis=0))
    with database.transaction() as connection:
        connection.execute(
            text("INSERT INTO securities (ticker, name, sector, group_id) VALUES (:name, :name, 'Energy', :name)"),
            [{"name": name} for name in NAMES],
        )
        connection.execute(
            text(
                "INSERT INTO prices (security_id, price_date, close) "
                "SELECT security_id, :day, :close FROM securities WHERE ticker = :name"
            ),
            [
                {"day": session, "name": name, "close": round(float(closes[i, j]), 4)}
                for i, session in enumerate(sessions)
                for j, name in enumerate(NAMES)
            ],
        )
    return database


def _change(database, statement):
    with database.transaction() as connection:
        connection.execute(text(statement))


def _stored(database):
    with database.transaction() as connection:
        return connection.execute(text("SELECT count(*) FROM risk_models")).scalar_one()


def test_same_model_is_not_stored_twice_while_it_is_fresh(market):
    """Asked for twice in a row the refresh gives the first model's id and writes no row."""
    first = refresh_risk_model(market, as_of=AS_OF, settings=DIAGONAL, reuse_within_hours=12)
    second = refresh_risk_model(market, as_of=AS_OF, settings=DIAGONAL, reuse_within_hours=12)
    assert (first.reused, second.reused) == (False, True)
    assert second.risk_model_id == first.risk_model_id
    assert _stored(market) == 1


def test_same_model_is_stored_again_when_it_is_no_longer_fresh(market):
    """The engine counts from when a model was built, so equal numbers become a new model after a while."""
    first = refresh_risk_model(market, as_of=AS_OF, settings=DIAGONAL, reuse_within_hours=12)
    _change(
        market,
        "CREATE OR REPLACE FUNCTION engine_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
        "$$SELECT clock_timestamp() + interval '13 hours'$$",
    )
    second = refresh_risk_model(market, as_of=AS_OF, settings=DIAGONAL, reuse_within_hours=12)
    assert second.risk_model_id > first.risk_model_id


@pytest.mark.parametrize("days", [0, 1])
def test_other_prices_or_another_date_make_another_model(market, days):
    """A corrected price makes a new model at once, and so does another date."""
    refresh_risk_model(market, as_of=AS_OF, settings=DIAGONAL, reuse_within_hours=12)
    if days == 0:
        _change(market, "UPDATE prices SET close = close * 1.02 WHERE price_date = '2024-06-20' AND security_id = 1")
    day = AS_OF.replace(day=AS_OF.day + days)
    assert not refresh_risk_model(market, as_of=day, settings=DIAGONAL, reuse_within_hours=12).reused
    assert _stored(market) == 2


def _store_linked(connection, model, blocks):
    """Store a model's numbers once more, with correlations."""
    add_risk_model(
        connection,
        as_of=AS_OF,
        estimator="linked/1",
        sessions=139,
        tickers=NAMES,
        loadings=model.loadings,
        specific_variance=model.specific_variance,
        factor_covariance=model.factor_covariance,
        diagnostics=model.diagnostics,
        specific_correlation=packed_blocks(blocks),
    )


def test_correlated_specific_returns_are_stored_and_read_back(market):
    """A model's blocks are one blob that its row points to; a diagonal model's row points to none."""
    correlation = np.array([[1, 0.4], [0.4, 1]], np.float32)
    blocks = (SpecificCorrelation(np.array([1, 5], dtype=np.int64), correlation),)
    diagonal = refresh_risk_model(market, as_of=AS_OF, settings=DIAGONAL).model
    with market.transaction() as connection:
        assert latest_risk_model(connection, AS_OF).specific_correlation_sha256 is None
        _store_linked(connection, diagonal, blocks)
    with market.transaction() as connection:
        stored = latest_risk_model(connection, AS_OF)
        (block,) = unpacked_blocks(get_array(connection, stored.specific_correlation_sha256))
    assert block.names.tolist() == [1, 5]
    np.testing.assert_array_equal(block.correlation, correlation)


def _with_benchmark(database, names=NAMES, day="2024-06-03"):
    for name in names:
        _change(
            database,
            "INSERT INTO benchmark_constituents (benchmark_id, effective_date, security_id, weight) "
            f"SELECT 'BM', '{day}', security_id, {round(1 / len(names), 6)} FROM securities WHERE ticker = '{name}'",
        )


def test_linked_model_is_refreshed_with_the_benchmark_in_force(market):
    """With constituents in force the linked estimator stores a model with its links, under its own name."""
    _with_benchmark(market)
    done = refresh_risk_model(market, as_of=AS_OF, settings=RiskSettings(estimator="linked"))
    assert [block.names.size for block in done.model.specific_blocks] == [7]
    with market.transaction() as connection:
        stored = latest_risk_model(connection, AS_OF)
        (block,) = unpacked_blocks(get_array(connection, stored.specific_correlation_sha256))
    assert stored.estimator.startswith("linked/")
    np.testing.assert_array_equal(block.correlation, done.model.specific_blocks[0].correlation)
    again = refresh_risk_model(
        market, as_of=AS_OF, settings=RiskSettings(estimator="linked"), benchmark_id="BM", reuse_within_hours=12
    )
    assert again.reused


@pytest.mark.parametrize("benchmark_id", [None, "BM"])
def test_a_benchmark_without_weights_by_the_day_is_refused(market, benchmark_id):
    """Constituents that come into force later are none on the day: no model is made and the last one stays."""
    refresh_risk_model(market, as_of=AS_OF, settings=DIAGONAL)
    _with_benchmark(market, day="2024-07-01")
    with pytest.raises(RiskModelError, match="in force on 2024-06-28") as refused:
        refresh_risk_model(market, as_of=AS_OF, settings=RiskSettings(estimator="linked"), benchmark_id=benchmark_id)
    assert refused.value.code == "NO_BENCHMARK"
    assert _stored(market) == 1


@pytest.mark.parametrize(
    ("hole", "refused"),
    [
        ("'2024-05-06' AND '2024-05-10'", False),
        ("'2024-05-06' AND '2024-05-13'", True),
        ("'2024-06-21' AND '2024-06-28'", True),
    ],
)
def test_a_hole_in_more_than_two_percent_of_names_is_refused(market, hole, refused):
    """Five missing sessions pass, six in the middle or at the end of a constituent's history do not."""
    _with_benchmark(market)
    settings = RiskSettings(estimator="linked")
    refresh_risk_model(market, as_of=AS_OF, settings=settings)
    _change(market, f"DELETE FROM prices WHERE security_id = 2 AND price_date BETWEEN {hole}")
    if refused:
        with pytest.raises(RiskModelError, match=r"1 of 7 assets lack closes .* B \(6 sessions\)") as error:
            refresh_risk_model(market, as_of=AS_OF, settings=settings)
        assert error.value.code == "HOLES"
        assert _stored(market) == 1
    else:
        refresh_risk_model(market, as_of=AS_OF, settings=settings)
        assert _stored(market) == 2


def test_a_name_that_left_the_market_is_no_hole(market):
    """A name outside the benchmark whose closes end is gone, not missing."""
    _with_benchmark(market, NAMES[:-1])
    _change(market, "DELETE FROM prices WHERE security_id = 7 AND price_date > '2024-05-01'")
    done = refresh_risk_model(market, as_of=AS_OF, settings=RiskSettings(estimator="linked"))
    assert done.model.tickers == NAMES


def test_what_a_days_accounts_share_includes_the_correlations(market):
    """Read ahead once, the model's three matrices are there without the database."""
    blocks = (SpecificCorrelation(np.array([0, 2], dtype=np.int64), np.array([[1, 0.3], [0.3, 1]], np.float32)),)
    model = refresh_risk_model(market, as_of=AS_OF, settings=DIAGONAL).model
    with market.transaction() as connection:
        _store_linked(connection, model, blocks)
    shared = SharedInputs(market)
    shared.load(AS_OF, ())
    stored = shared.day(AS_OF).risk_model
    shared.use(None)
    (block,) = unpacked_blocks(shared.array(stored.specific_correlation_sha256))
    assert block.names.tolist() == [0, 2]
    assert shared.array(stored.loadings_sha256).shape == model.loadings.shape
