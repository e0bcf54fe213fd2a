"""Whether the data of a day is recent enough to trade upon: the one judgement for tasks, commands and monitoring."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from prometheus.db.database import Connection
from prometheus.db.repositories.data_dates import DataDates, PriceDates, data_dates
from prometheus.foundation.trading_calendar import EXCHANGE_OF_REGION, LAST_DAY, TradingCalendar
from prometheus.pipeline.engine_config import AgeLimits, EngineConfig

Kind = Literal["prices", "benchmark", "risk_model", "borrow_curve", "actions", "calendar"]

#: A model built today from data this old is stale all the same.
MODEL_DATE_LAG: Final = timedelta(days=7)
#: Fewer names than this may stand still on any day: a small market says nothing by its share.
_FEW_NAMES: Final = 3
#: How long before its end the calendar is worth a word.
_CALENDAR_DAYS: Final = 60


@dataclass(frozen=True, slots=True)
class DataAge:
    """How old one kind of data is on a day, and whether the day can be traded upon it.

    Attributes:
        kind: What it is.
        name: Which of its kind: benchmark id or region; empty where there is but one.
        newest: Day of the newest data on or before the day; None where there is none.
        age: In ``unit``; None without data. Of prices whole sessions; of the calendar what is left of it.
        unit: What ``age`` and ``limit`` count.
        limit: Largest age, smallest rest of the calendar; None where there is no limit.
        usable: Whether the day can be traded upon it.
        code: Under which code a day is held and monitoring has a finding where it is not usable.
        reason: What is wrong, one sentence; empty where nothing is.
        remedy: What to do; empty where nothing is to be done.
    """

    kind: Kind
    name: str
    newest: date | None
    age: float | None
    unit: Literal["sessions", "days", "hours"]
    limit: float | None
    usable: bool
    code: str
    reason: str = ""
    remedy: str = ""


def data_ages(
    connection: Connection, as_of: date, config: EngineConfig, *, region: str | None = None
) -> tuple[DataAge, ...]:
    """Return the age of everything that the accounts of a day are traded upon, in the order of its delivery.

    Args:
        connection: A transaction.
        as_of: The day.
        config: Its limits.
        region: Only what the accounts of this region are traded upon; of all regions where None.
    """
    return judge_ages(data_dates(connection, as_of, region=region), as_of, config.ages, config.risk_model_max_age_hours)


def judge_ages(dates: DataDates, as_of: date, limits: AgeLimits, risk_hours: float) -> tuple[DataAge, ...]:
    """Return what ``data_ages`` does from dates that were read."""
    return (
        price_age(dates.prices, as_of, limits, dates.regions),
        actions_age(dates, as_of, limits),
        *(benchmark_age(name, newest, as_of, limits) for name, newest in dates.benchmarks.items()),
        borrow_age(dates.borrow, as_of, limits, needed=dates.sells_short),
        risk_age(dates.risk_model, dates.risk_age_hours, as_of, risk_hours),
        *(_calendar_age(region, as_of) for region in dates.regions if region in EXCHANGE_OF_REGION),
    )


def price_age(prices: PriceDates, as_of: date, limits: AgeLimits, regions: Sequence[str] = ()) -> DataAge:
    """Judge the closes of a day: there must be some, and not too many may be those of the day before."""
    load = "Load the day's prices with 'prometheus ingest FILE --kind prices'."
    if prices.newest != as_of:
        reason = f"There is no price for {as_of}" + (f"; the newest are of {prices.newest}." if prices.newest else ".")
        age = None if prices.newest is None else _sessions(prices.newest, as_of, regions)
        return DataAge("prices", "", prices.newest, age, "sessions", 0, False, "NO_DATA", reason, load)
    reason = ""
    if _stands_still(prices, limits.unchanged_prices):
        share = prices.unchanged / prices.both
        reason = (
            f"{prices.unchanged} of {prices.both} closes of {as_of} ({share:.0%}) are those of {prices.previous} (the "
            f"limit is {limits.unchanged_prices:.0%}): the file may be that of the day before."
        )
    remedy = f"{load} If they are right, raise PROMETHEUS_UNCHANGED_PRICES_MAX_SHARE." if reason else ""
    return DataAge("prices", "", prices.newest, 0, "sessions", 0, not reason, "STALE_PRICES", reason, remedy)


def benchmark_age(name: str, newest: date | None, as_of: date, limits: AgeLimits) -> DataAge:
    """Judge the constituents of a benchmark by the day on which they took effect."""
    limit = limits.benchmark_days
    load = f"Load them with 'prometheus ingest FILE --kind benchmark --benchmark-id {name}'"
    if newest is None:
        reason = f"Benchmark {name} has no constituents on or before {as_of}."
        remedy = f"{load}, or under that name in the file's column benchmark_id."
        return DataAge("benchmark", name, None, None, "days", _or_none(limit), False, "NO_BENCHMARK", reason, remedy)
    days, reason, remedy = (as_of - newest).days, "", ""
    if 0 < limit < days:
        reason = (
            f"The newest constituents of benchmark {name} are of {newest}, {days} days before {as_of} (the limit is "
            f"{limit:g})."
        )
        remedy = f"{load}. If they are still right, raise PROMETHEUS_BENCHMARK_MAX_AGE_DAYS."
    code = "STALE_BENCHMARK"
    return DataAge("benchmark", name, newest, days, "days", _or_none(limit), not reason, code, reason, remedy)


def borrow_age(newest: date | None, as_of: date, limits: AgeLimits, *, needed: bool) -> DataAge:
    """Judge the borrow rates; old ones matter only where a strategy sells short (``long_max`` above 1)."""
    limit, code, reason = limits.borrow_days, "STALE_BORROW", ""
    days = None if newest is None else (as_of - newest).days
    if needed and newest is None:
        reason = f"There is no borrow rate on or before {as_of}, and a strategy sells short."
    elif needed and days is not None and 0 < limit < days:
        reason = f"The newest borrow rates are of {newest}, {days} days before {as_of} (the limit is {limit:g})."
    remedy = ""
    if reason:
        remedy = (
            "Load the curve with 'prometheus ingest FILE --kind borrow'. If it is still right, raise "
            "PROMETHEUS_BORROW_MAX_AGE_DAYS."
        )
    return DataAge("borrow_curve", "", newest, days, "days", _or_none(limit), not reason, code, reason, remedy)


def risk_age(newest: date | None, age_hours: float | None, as_of: date, limit: float) -> DataAge:
    """Judge a risk model by when it was built and by the day whose data it knows."""
    remedy, reason = f"Run 'prometheus risk refresh --as-of {as_of}'.", ""
    if newest is None or age_hours is None:
        reason = f"There is no risk model for {as_of} or before."
    elif age_hours > limit:
        reason = f"The risk model was built {age_hours:.1f} hours ago, the limit is {limit:g}."
    elif as_of - newest > MODEL_DATE_LAG:
        reason = f"The newest risk model is of {newest}."
    return DataAge(
        "risk_model", "", newest, age_hours, "hours", limit, not reason, "STALE_RISK", reason, remedy if reason else ""
    )


def actions_age(dates: DataDates, as_of: date, limits: AgeLimits) -> DataAge:
    """Judge the corporate actions: a file that comes no more is noticed, one that never came is not missed."""
    known = [day for day in (dates.ex_date, dates.actions_loaded) if day is not None]
    newest, limit, reason, remedy = (max(known) if known else None), limits.actions_days, "", ""
    days = None if newest is None else max((as_of - newest).days, 0)
    if dates.actions_loaded is not None and days is not None and 0 < limit < days:
        reason = (
            f"The newest corporate action or file of them is of {newest}, {days} days before {as_of} (the limit is "
            f"{limit:g}): splits since then would be missing."
        )
        remedy = (
            "Load the actions with 'prometheus ingest FILE --kind actions'; a file without news counts. For no limit "
            "set PROMETHEUS_ACTIONS_MAX_AGE_DAYS=0."
        )
    return DataAge("actions", "", newest, days, "days", _or_none(limit), not reason, "STALE_ACTIONS", reason, remedy)


def _calendar_age(region: str, as_of: date) -> DataAge:
    left, reason, remedy = (LAST_DAY - as_of).days, "", ""
    if left < _CALENDAR_DAYS:
        reason = f"The trading calendar of {region} ends on {LAST_DAY}."
        remedy = "Install a newer version of prometheus before that day."
    # The rest is counted, not an age: a day within the calendar can be traded to its end.
    return DataAge(
        "calendar", region, LAST_DAY, left, "days", _CALENDAR_DAYS, left >= 0, "CALENDAR_ENDS", reason, remedy
    )


def _stands_still(prices: PriceDates, limit: float) -> bool:
    return prices.unchanged >= _FEW_NAMES and prices.unchanged > limit * prices.both


def _sessions(newest: date, as_of: date, regions: Sequence[str]) -> int:
    known = [region for region in regions if region in EXCHANGE_OF_REGION]
    calendar = TradingCalendar.for_region(known[0] if known else "US")
    return len(calendar.sessions_between(newest + timedelta(days=1), as_of))


def _or_none(limit: float) -> float | None:
    return limit if limit > 0 else None
