"""How old the data of a day is, read from a real database."""

from datetime import date
from decimal import Decimal

from prometheus.pipeline.data_ages import data_ages
from tests.integration.engine_fleet import FRIDAY, MONDAY, SATURDAY, TUESDAY, change_strategy


def ages(fleet, day=MONDAY):
    """Return the ages of a day by kind."""
    with fleet.database.transaction() as connection:
        return {age.kind: age for age in data_ages(connection, day, fleet.config())}


def test_ages_of_a_fleet_that_is_ready(fleet):
    """Prices, benchmark, risk model and calendar are read with their days; what was never loaded is not missed."""
    by_kind = ages(fleet)
    assert all(age.usable for age in by_kind.values())
    assert by_kind["prices"].newest == by_kind["risk_model"].newest == MONDAY
    assert (by_kind["benchmark"].name, by_kind["benchmark"].newest) == ("BM", date(2024, 6, 3))
    assert by_kind["borrow_curve"].newest is by_kind["actions"].newest is None
    assert 0 <= by_kind["risk_model"].age < 1


def test_closes_of_the_day_before_are_counted(fleet):
    """Half of the closes copied from the day before make the day's prices unusable; the next day's are."""
    fleet.sql(
        "UPDATE prices SET close = before.close FROM prices AS before WHERE before.security_id = prices.security_id "
        "AND prices.price_date = :day AND before.price_date = :earlier AND prices.security_id % 2 = 0",
        day=TUESDAY,
        earlier=MONDAY,
    )
    prices = ages(fleet, TUESDAY)["prices"]
    assert (prices.usable, prices.code) == (False, "STALE_PRICES")
    assert prices.reason.startswith(f"3 of 6 closes of {TUESDAY} (50%) are those of {MONDAY}")
    assert ages(fleet, FRIDAY)["prices"].usable
    assert ages(fleet, SATURDAY)["prices"].code == "NO_DATA"


def test_borrow_rates_matter_where_a_tag_of_the_newest_strategy_sells_short(fleet):
    """Old rates are nobody's concern until the strategy in use, or what a tag makes of it, goes short."""
    fleet.sql("INSERT INTO borrow_rates SELECT security_id, '2024-05-01', 0.01 FROM securities")
    assert ages(fleet)["borrow_curve"].usable
    with fleet.database.transaction() as connection:
        change_strategy(connection, long_max=1.3)
    assert ages(fleet)["borrow_curve"].code == "STALE_BORROW"
    assert not ages(fleet)["borrow_curve"].usable
    fleet.sql("UPDATE borrow_rates SET rate_date = :day", day=MONDAY)
    assert ages(fleet)["borrow_curve"].usable
    fleet.sql(
        "INSERT INTO strategies (strategy_id, version, params, tag_overrides) SELECT strategy_id, version + 1, "
        """params || '{"long_max": 1}', '{"short:yes": {"long_max": 1.2}}' FROM strategies """
        "ORDER BY version DESC LIMIT 1"
    )
    fleet.sql("UPDATE borrow_rates SET rate_date = '2024-05-01'")
    assert not ages(fleet)["borrow_curve"].usable


def test_actions_are_missed_where_a_file_of_them_came_once(fleet):
    """Actions alone say nothing; after a file of them was loaded, the silence counts from its day or newest date."""
    fleet.sql("INSERT INTO corporate_actions SELECT security_id, '2024-05-01', 'dividend', 1 FROM securities LIMIT 1")
    assert ages(fleet)["actions"].usable
    fleet.sql(
        "INSERT INTO ingest_files (kind, file_name, sha256, rows_read, rows_inserted, rows_revised, rows_unchanged, "
        "rows_skipped, loaded_at) VALUES ('actions', 'a', '', 1, 1, 0, 0, 0, '2024-06-01')"
    )
    actions = ages(fleet)["actions"]
    assert (actions.usable, actions.newest, actions.age) == (False, date(2024, 6, 1), Decimal(23))
    fleet.sql("UPDATE ingest_files SET loaded_at = '2024-06-17 23:00+00'")
    assert ages(fleet)["actions"].usable
