"""The rebalancing calendar: which days are whole, over holidays, missed sessions, years and first days."""

from datetime import date

import pytest

from prometheus.domain.rebalancing import Rebalancing, kind_of_day
from prometheus.foundation.trading_calendar import TradingCalendar

WHOLE, PARTIAL = Rebalancing.WHOLE, Rebalancing.PARTIAL


@pytest.mark.parametrize(
    ("calendar", "last_whole", "as_of", "kind"),
    [
        ("daily", date(2024, 6, 24), date(2024, 6, 25), WHOLE),
        ("weekly", None, date(2024, 6, 26), WHOLE),
        ("monthly", None, date(2024, 6, 26), WHOLE),
        # Monday to Friday of one week, and the Monday after
        ("weekly", date(2024, 6, 24), date(2024, 6, 25), PARTIAL),
        ("weekly", date(2024, 6, 24), date(2024, 6, 28), PARTIAL),
        ("weekly", date(2024, 6, 24), date(2024, 7, 1), WHOLE),
        # whole on a Friday, because the days before were missed: Monday is a new week all the same
        ("weekly", date(2024, 6, 28), date(2024, 7, 1), WHOLE),
        # the same weekday a year later, and the same number of week of another year
        ("weekly", date(2023, 6, 26), date(2024, 6, 24), WHOLE),
        # 30 December 2024 is in the first week of 2025
        ("weekly", date(2024, 12, 30), date(2025, 1, 2), PARTIAL),
        ("weekly", date(2024, 12, 27), date(2024, 12, 30), WHOLE),
        ("monthly", date(2024, 6, 3), date(2024, 6, 28), PARTIAL),
        ("monthly", date(2024, 6, 28), date(2024, 7, 1), WHOLE),
        ("monthly", date(2023, 6, 28), date(2024, 6, 3), WHOLE),
    ],
)
def test_first_day_of_a_period_is_whole(calendar, last_whole, as_of, kind):
    """A day is whole as long as its week or month has had no whole rebalancing."""
    assert kind_of_day(calendar, last_whole, as_of) is kind


@pytest.mark.parametrize(
    ("calendar", "missed", "whole"),
    [
        # New Year's Day 2024 is a Monday, Martin Luther King's is the 15th: the Tuesdays are whole
        ("weekly", (), (2, 8, 16, 22, 29)),
        # the first two sessions of a week were missed: its third one is whole
        ("weekly", (8, 9), (2, 10, 16, 22, 29)),
        # a whole week was missed
        ("weekly", (8, 9, 10, 11, 12), (2, 16, 22, 29)),
        ("monthly", (), (2,)),
        ("monthly", (2, 3), (4,)),
    ],
)
def test_a_month_of_sessions(calendar, missed, whole):
    """Over a month of real sessions, holidays and missed days included, exactly the first of each period are whole."""
    sessions = TradingCalendar.for_region("US").sessions_between(date(2024, 1, 1), date(2024, 1, 31))
    last, whole_days = date(2023, 12, 26), []
    for day in sessions:
        if day.day not in missed and kind_of_day(calendar, last, day) is WHOLE:
            last = day
            whole_days.append(day.day)
    assert tuple(whole_days) == whole


def test_a_whole_day_that_failed_is_repeated_until_one_is_done():
    """Where Monday's run has no answer, the last whole day stays that of the week before, and Tuesday is whole."""
    before = date(2024, 6, 17)
    assert kind_of_day("weekly", before, date(2024, 6, 24)) is WHOLE
    assert kind_of_day("weekly", before, date(2024, 6, 25)) is WHOLE
    assert kind_of_day("weekly", date(2024, 6, 25), date(2024, 6, 26)) is PARTIAL
