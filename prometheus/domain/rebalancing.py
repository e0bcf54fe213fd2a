"""The rebalancing calendar: days that rebalance the whole account, and days that trade only what cannot wait."""

from datetime import date
from enum import StrEnum
from typing import Final


class Rebalancing(StrEnum):
    """Kind of an account's day: every asset may be traded, or only what has a reason of its own."""

    WHOLE = "WHOLE"
    PARTIAL = "PARTIAL"


class Scope(StrEnum):
    """Assets that may trade on a day: all, those of the reasons and their replacements, or none."""

    ALL = "ALL"
    REASONS = "REASONS"
    NOTHING = "NOTHING"


class ReasonCode(StrEnum):
    """Why a partial day trades."""

    RESTRICTED = "RESTRICTED"
    LIMIT = "LIMIT"
    CASH_LOW = "CASH_LOW"
    CASH_HIGH = "CASH_HIGH"
    HARVEST = "HARVEST"


#: Values of the strategy parameter ``rebalance``.
DAILY: Final = "daily"
WEEKLY: Final = "weekly"
MONTHLY: Final = "monthly"
CALENDARS: Final = (DAILY, WEEKLY, MONTHLY)


def kind_of_day(calendar: str, last_whole: date | None, as_of: date) -> Rebalancing:
    """Return whether a day is a whole rebalancing: the first one of its week or month that gets that far.

    Weeks begin on Monday. Holidays, sessions that were missed and runs that failed need no rule of their own: the day
    is whole as long as the week or month has had no whole rebalancing yet.

    Args:
        calendar: ``daily``, ``weekly`` or ``monthly``.
        last_whole: Day of the account's last whole rebalancing; None where it had none.
        as_of: The day.
    """
    if calendar == DAILY or last_whole is None or _period(calendar, last_whole) < _period(calendar, as_of):
        return Rebalancing.WHOLE
    return Rebalancing.PARTIAL


def _period(calendar: str, day: date) -> tuple[int, int]:
    if calendar == WEEKLY:
        week = day.isocalendar()
        return week.year, week.week
    return day.year, day.month
