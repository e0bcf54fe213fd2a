from dataclasses import replace
from datetime import date

import pytest

from prometheus.db.repositories.data_dates import DataDates, PriceDates
from prometheus.foundation.trading_calendar import LAST_DAY
from prometheus.pipeline.data_ages import judge_ages
from prometheus.pipeline.engine_config import AgeLimits

MONDAY = date(2024, 6, 24)
FRESH = DataDates(
    prices=PriceDates(MONDAY, date(2024, 6, 21), 500, 499, 12),
    benchmarks={"BM": date(2024, 5, 31)},
    risk_model=MONDAY,
    risk_age_hours=2.5,
    borrow=None,
    sells_short=False,
    ex_date=date(2024, 6, 20),
    actions_loaded=date(2024, 6, 20),
    regions=("CA", "US"),
)


def judged(dates=FRESH, as_of=MONDAY, limits=None):
    """Return code and reason of everything that is not usable."""
    return {age.code: age.reason for age in judge_ages(dates, as_of, limits or AgeLimits(), 36) if not age.usable}


def test_a_day_within_every_age_has_one_line_for_each_kind_and_region():
    """What is fresh is usable and gives no reason; every kind is there, whatever its state."""
    ages = judge_ages(FRESH, MONDAY, AgeLimits(), 36)
    assert [(age.kind, age.name, age.age, age.limit) for age in ages] == [
        ("prices", "", 0, 0),
        ("actions", "", 4, 7),
        ("benchmark", "BM", 24, 45),
        ("borrow_curve", "", None, 7),
        ("risk_model", "", 2.5, 36),
        ("calendar", "CA", (LAST_DAY - MONDAY).days, 60),
        ("calendar", "US", (LAST_DAY - MONDAY).days, 60),
    ]
    assert all(age.usable and not age.reason and not age.remedy for age in ages)


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"prices": PriceDates(None, None, 0, 0, 0)}, "NO_DATA", "There is no price for 2024-06-24."),
        ({"prices": PriceDates(date(2024, 6, 20), None, 5, 0, 0)}, "NO_DATA", "the newest are of 2024-06-20"),
        ({"prices": PriceDates(MONDAY, date(2024, 6, 21), 500, 400, 101)}, "STALE_PRICES", "101 of 400 closes"),
        ({"benchmarks": {"BM": None}}, "NO_BENCHMARK", "Benchmark BM has no constituents"),
        ({"benchmarks": {"BM": date(2024, 5, 9)}}, "STALE_BENCHMARK", "46 days before 2024-06-24 (the limit is 45)"),
        ({"risk_model": None, "risk_age_hours": None}, "STALE_RISK", "There is no risk model for 2024-06-24"),
        ({"risk_age_hours": 36.5}, "STALE_RISK", "built 36.5 hours ago, the limit is 36"),
        ({"risk_model": date(2024, 6, 16)}, "STALE_RISK", "The newest risk model is of 2024-06-16"),
        ({"sells_short": True}, "STALE_BORROW", "There is no borrow rate on or before 2024-06-24"),
        ({"sells_short": True, "borrow": date(2024, 6, 16)}, "STALE_BORROW", "8 days before 2024-06-24"),
        ({"ex_date": None, "actions_loaded": date(2024, 6, 16)}, "STALE_ACTIONS", "is of 2024-06-16, 8 days before"),
    ],
)
def test_what_is_too_old_says_so_under_its_code(change, code, says):
    """Each kind that is missing or beyond its limit is unusable by itself, with its reason."""
    ((found, reason),) = judged(replace(FRESH, **change)).items()
    assert found == code
    assert says in reason


@pytest.mark.parametrize(
    "change",
    [
        {"prices": PriceDates(MONDAY, date(2024, 6, 21), 500, 400, 100)},
        {"prices": PriceDates(MONDAY, date(2024, 6, 21), 2, 2, 2)},
        {"prices": PriceDates(MONDAY, None, 6, 0, 0)},
        {"benchmarks": {"BM": date(2024, 5, 10)}},
        {"borrow": date(2020, 1, 1)},
        {"sells_short": True, "borrow": date(2024, 6, 17)},
        {"ex_date": date(2020, 1, 1), "actions_loaded": None},
        {"ex_date": date(2024, 9, 1), "actions_loaded": date(2024, 1, 1)},
        {"ex_date": None, "actions_loaded": date(2026, 1, 1)},
        {"risk_model": date(2024, 6, 17), "risk_age_hours": 36.0},
    ],
)
def test_what_stands_at_its_limit_or_does_not_matter_is_usable(change):
    """The limit itself is allowed; rates that nobody uses and actions that nobody loads are no reason to hold."""
    assert judged(replace(FRESH, **change)) == {}


def test_limits_can_be_switched_off():
    """Zero days and a share of one mean no limit."""
    old = replace(
        FRESH,
        prices=PriceDates(MONDAY, date(2024, 6, 21), 500, 500, 500),
        benchmarks={"BM": date(2001, 1, 2)},
        sells_short=True,
        borrow=date(2001, 1, 2),
        ex_date=date(2001, 1, 2),
        actions_loaded=date(2001, 1, 2),
    )
    assert set(judged(old)) == {"STALE_PRICES", "STALE_BENCHMARK", "STALE_BORROW", "STALE_ACTIONS"}
    assert judged(old, limits=AgeLimits(0, 1, 0, 0)) == {}


def test_prices_are_late_by_sessions_not_by_days():
    """From Thursday to Monday are two sessions."""
    late = replace(FRESH, prices=PriceDates(date(2024, 6, 20), None, 5, 0, 0))
    assert judge_ages(late, MONDAY, AgeLimits(), 36)[0].age == 2


def test_the_end_of_the_calendar_is_told_before_it_comes():
    """Days short of the calendar's end are traded, and the reason stands there early enough to install a newer one."""
    ages = judge_ages(FRESH, date(2039, 12, 1), AgeLimits(), 36)
    assert [(age.usable, age.age) for age in ages if age.kind == "calendar"] == [(True, 30)] * 2
    assert "ends on 2039-12-31" in ages[-1].reason
