"""Dates of the data for a day: newest dates, the risk model's age, and the number of unchanged closes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import Connection, text

_PRICES: Final = text("""
    WITH newest AS (SELECT max(price_date) AS day FROM prices WHERE price_date <= :as_of),
         previous AS (SELECT max(price_date) AS day FROM prices, newest WHERE price_date < newest.day)
    SELECT newest.day AS newest, previous.day AS previous, count(now.security_id) AS priced,
           count(before.security_id) AS both, count(*) FILTER (WHERE now.close = before.close) AS unchanged
    FROM newest CROSS JOIN previous
    LEFT JOIN prices AS now ON now.price_date = newest.day
    LEFT JOIN prices AS before ON before.price_date = previous.day AND before.security_id = now.security_id
    GROUP BY newest.day, previous.day
""")
_BENCHMARKS: Final = text("""
    SELECT benchmark_id, (SELECT max(effective_date) FROM benchmark_constituents AS one
                          WHERE one.benchmark_id = used.benchmark_id AND effective_date <= :as_of) AS newest
    FROM (SELECT DISTINCT benchmark_id FROM accounts WHERE region = coalesce(:region, region)) AS used
    ORDER BY benchmark_id
""")
_OTHERS: Final = text("""
    SELECT (SELECT max(rate_date) FROM borrow_rates WHERE rate_date <= :as_of) AS borrow,
           (SELECT max(ex_date) FROM corporate_actions) AS ex_date,
           (SELECT max(loaded_at)::date FROM ingest_files WHERE kind = 'actions') AS actions_loaded,
           (SELECT array_agg(DISTINCT region ORDER BY region) FROM accounts) AS regions
""")
_RISK: Final = text("""
    SELECT as_of_date, extract(epoch FROM engine_now() - built_at) / 3600 AS age_hours
    FROM risk_models WHERE as_of_date <= :as_of ORDER BY as_of_date DESC, built_at DESC LIMIT 1
""")
# Strategies in use, each in its newest version; a tag may override the strategy's own value.
_SELLS_SHORT: Final = text("""
    SELECT EXISTS (
        SELECT 1 FROM (SELECT DISTINCT strategy_id FROM accounts WHERE region = coalesce(:region, region)) AS used
        CROSS JOIN LATERAL (SELECT params, tag_overrides FROM strategies
                            WHERE strategies.strategy_id = used.strategy_id ORDER BY version DESC LIMIT 1) AS newest
        WHERE (newest.params ->> 'long_max')::float8 > 1
           OR EXISTS (SELECT 1 FROM jsonb_each(newest.tag_overrides) AS tag
                      WHERE (tag.value ->> 'long_max')::float8 > 1))
""")


@dataclass(frozen=True, slots=True)
class PriceDates:
    """The newest day with prices, the one before it, and how many securities have closes on them.

    ``priced`` securities have a close on the newest day, ``both`` on both, ``unchanged`` the same on both.
    """

    newest: date | None
    previous: date | None
    priced: int
    both: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class DataDates:
    """Dates of the data known for a day.

    Attributes:
        prices: See ``PriceDates``.
        benchmarks: Benchmark of an account to the day on which its newest constituents took effect; None where it has
            none by the day.
        risk_model: Day of the newest risk model, None without one.
        risk_age_hours: Since that was built, by the database's clock.
        borrow: Day of the newest borrow rate, None without one.
        sells_short: Whether a strategy in use lets accounts go short.
        ex_date: Newest ex-date of any corporate action, later ones among them.
        actions_loaded: Day on which a file of corporate actions was last loaded, None where none ever was.
        regions: Regions of the accounts.
    """

    prices: PriceDates
    benchmarks: Mapping[str, date | None]
    risk_model: date | None
    risk_age_hours: float | None
    borrow: date | None
    sells_short: bool
    ex_date: date | None
    actions_loaded: date | None
    regions: tuple[str, ...]


def price_dates(connection: Connection, as_of: date) -> PriceDates:
    """Return the newest day with prices on or before a day, and how many closes of it are those of the day before."""
    row = connection.execute(_PRICES, {"as_of": as_of}).one()
    return PriceDates(row.newest, row.previous, row.priced, row.both, row.unchanged)


def data_dates(connection: Connection, as_of: date, *, region: str | None = None) -> DataDates:
    """Return the dates of the data for a day.

    Args:
        connection: A transaction.
        as_of: The day.
        region: Only benchmarks and strategies of this region's accounts; all of them where None.
    """
    others = connection.execute(_OTHERS, {"as_of": as_of}).one()
    risk = connection.execute(_RISK, {"as_of": as_of}).one_or_none()
    return DataDates(
        prices=price_dates(connection, as_of),
        benchmarks={
            row.benchmark_id: row.newest for row in connection.execute(_BENCHMARKS, {"as_of": as_of, "region": region})
        },
        risk_model=None if risk is None else risk.as_of_date,
        risk_age_hours=None if risk is None else float(risk.age_hours),
        borrow=others.borrow,
        sells_short=connection.execute(_SELLS_SHORT, {"region": region}).scalar_one(),
        ex_date=others.ex_date,
        actions_loaded=others.actions_loaded,
        regions=tuple(others.regions or ()),
    )


def newest_day(connection: Connection) -> date | None:
    """Return the newest day of any run, None where there is none."""
    day: date | None = connection.execute(text("SELECT max(as_of_date) FROM engine_runs")).scalar_one()
    return day
