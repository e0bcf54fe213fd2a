"""When a Canadian trade settles, where the broker does not say: business days without a market's calendar."""

from datetime import date, timedelta
from functools import lru_cache
from typing import Final

_SATURDAY: Final = 5
_ONE_DAY: Final = timedelta(days=1)
#: First trade date of each settlement cycle and its business days; newest first.
#: Sources: Canadian Capital Markets Association: T+2 from 5 September 2017, T+1 from 27 May 2024.
_CYCLES: Final = ((date(2024, 5, 27), 1), (date(2017, 9, 5), 2), (date.min, 3))


@lru_cache(maxsize=4096)
def settlement_date(trade_date: date) -> date:
    """Return the day on which a Canadian trade settles.

    Business days are Monday to Friday without the holidays around the end of the year: New Year's Day, Christmas Day
    and Boxing Day, each with the weekday on which it is observed. Other holidays never decide a tax year, so they are
    left out, and a date in the middle of a year can be one day early. An event with a settlement date of its own is
    taken at its word.
    """
    days = next(days for first, days in _CYCLES if trade_date >= first)
    day = trade_date
    while days:
        day += _ONE_DAY
        days -= _is_business_day(day)
    return day


def _is_business_day(day: date) -> bool:
    return day.weekday() < _SATURDAY and day not in _year_end_holidays(day.year)


@lru_cache(maxsize=512)
def _year_end_holidays(year: int) -> frozenset[date]:
    """Return the weekdays of a year on which its year-end holidays are observed."""
    new_year = _observed(date(year, 1, 1))
    christmas = _observed(date(year, 12, 25))
    boxing_day = _observed(date(year, 12, 26))
    if boxing_day == christmas:
        boxing_day += _ONE_DAY
    return frozenset({new_year, christmas, boxing_day})


def _observed(holiday: date) -> date:
    """Return the holiday, or the Monday after it where it falls on a weekend."""
    return holiday + timedelta(days=max(7 - holiday.weekday(), 0) if holiday.weekday() >= _SATURDAY else 0)
