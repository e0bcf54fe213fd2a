import subprocess
import sys
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prometheus.foundation.errors import ConfigurationError, NotASessionError, RequestError
from prometheus.foundation.trading_calendar import EXCHANGE_OF_REGION, FIRST_DAY, LAST_DAY, TradingCalendar

US = "US"
CA = "CA"
# the outermost sessions have no neighbour on one side
days_inside = st.dates(date(2000, 2, 1), date(2039, 11, 30))


def _calendar(region: str = US) -> TradingCalendar:
    return TradingCalendar.for_region(region)


@pytest.mark.parametrize(
    ("region", "day", "expected"),
    [
        (US, date(2025, 9, 3), True),
        (US, date(2025, 9, 6), False),  # Saturday
        (US, date(2025, 7, 4), False),  # Independence Day
        (CA, date(2025, 7, 4), True),
        (CA, date(2025, 7, 1), False),  # Canada Day
        (US, date(2025, 7, 1), True),
        (US, date(2025, 1, 9), False),  # national day of mourning
        (US, date(2012, 10, 29), False),  # hurricane
        (US, date(2021, 6, 18), True),
        (US, date(2022, 6, 20), False),  # Juneteenth, observed on Monday
        (CA, date(2024, 10, 14), False),  # Thanksgiving of Canada
        (US, date(2024, 10, 14), True),
        (US, date(2010, 1, 4), True),
    ],
)
def test_sessions_of_known_days(region, day, expected):
    """Known trading days, weekends, holidays and special closures are told apart by region."""
    assert _calendar(region).is_trading_day(day) is expected


@pytest.mark.parametrize(
    ("region", "day", "opens", "closes"),
    [
        (US, date(2025, 9, 3), (13, 30), (20, 0)),  # daylight saving time
        (US, date(2025, 1, 8), (14, 30), (21, 0)),  # standard time
        (US, date(2024, 11, 29), (14, 30), (18, 0)),  # day after Thanksgiving: 13:00 in New York
        (US, date(2025, 7, 3), (13, 30), (17, 0)),  # eve of Independence Day
        (CA, date(2024, 11, 29), (14, 30), (21, 0)),
        (CA, date(2024, 12, 24), (14, 30), (18, 0)),  # Christmas Eve: 13:00 in Toronto
    ],
)
def test_opening_and_closing_instants(region, day, opens, closes):
    """Opening and closing instants are UTC and follow daylight saving time and early closes."""
    expected_open = datetime(day.year, day.month, day.day, *opens, tzinfo=UTC)
    expected_close = datetime(day.year, day.month, day.day, *closes, tzinfo=UTC)
    assert _calendar(region).open_utc(day) == expected_open
    assert _calendar(region).close_utc(day) == expected_close
    assert _calendar(region).close_utc(day).tzinfo is UTC


def test_instants_are_plain_datetimes():
    """No pandas type leaves the _calendar."""
    assert type(_calendar().open_utc(date(2025, 9, 3))) is datetime
    assert {type(day) for day in _calendar().sessions_between(date(2025, 9, 1), date(2025, 9, 30))} == {date}


def test_neighbours_are_strict_and_step_over_a_long_weekend():
    """The previous and next trading day exclude the day itself, whether it is a session or not."""
    assert _calendar().previous_trading_day(date(2025, 9, 2)) == date(2025, 8, 29)
    assert _calendar().next_trading_day(date(2025, 8, 29)) == date(2025, 9, 2)
    assert _calendar().previous_trading_day(date(2025, 8, 31)) == date(2025, 8, 29)
    assert _calendar().next_trading_day(date(2025, 8, 31)) == date(2025, 9, 2)


def test_sessions_between_includes_both_ends():
    """A range of sessions has both its ends and leaves out the holiday inside."""
    expected = (date(2025, 8, 29), date(2025, 9, 2), date(2025, 9, 3))
    assert _calendar().sessions_between(date(2025, 8, 29), date(2025, 9, 3)) == expected


def test_sessions_between_of_a_reversed_range_is_empty():
    """A range that ends before it starts has no sessions."""
    assert _calendar().sessions_between(date(2025, 9, 3), date(2025, 9, 2)) == ()


@given(day=days_inside, region=st.sampled_from(sorted(EXCHANGE_OF_REGION)))
@settings(max_examples=60, deadline=None)
def test_next_and_previous_undo_each_other(day, region):
    """Stepping forwards and back from any day lands on the last session on or before that day."""
    exchange = _calendar(region)
    back = exchange.previous_trading_day(exchange.next_trading_day(day))
    assert back <= day
    assert exchange.is_trading_day(back)
    assert not exchange.sessions_between(back, day)[1:]


@given(day=days_inside)
@settings(max_examples=60, deadline=None)
def test_a_session_opens_before_it_closes_on_its_own_day(day):
    """The open of a session lies before its close and both fall on the session's date in UTC."""
    if _calendar().is_trading_day(day):
        assert _calendar().open_utc(day) < _calendar().close_utc(day)
        assert _calendar().open_utc(day).date() == _calendar().close_utc(day).date() == day
    else:
        with pytest.raises(NotASessionError):
            _calendar().open_utc(day)


def test_a_holiday_is_refused_with_the_nearest_sessions():
    """A request for a holiday names the exchange, the weekday and the sessions on both sides."""
    with pytest.raises(NotASessionError) as refused:
        _calendar().require_session(date(2025, 9, 1))
    assert refused.value.message == (
        "2025-09-01 (Monday) is not a trading session of XNYS; nearest: 2025-08-29 and 2025-09-02."
    )
    assert refused.value.details["nearest"] == ["2025-08-29", "2025-09-02"]
    assert refused.value.code == "NOT_A_SESSION"


def test_a_session_is_accepted():
    """A trading day passes the check without an answer."""
    assert _calendar().require_session(date(2025, 9, 2)) is None


def test_the_first_day_of_the_span_names_only_the_session_after():
    """At the edge of the calendar the message names the one neighbour there is."""
    with pytest.raises(NotASessionError) as refused:
        _calendar().close_utc(FIRST_DAY)
    assert refused.value.details["nearest"] == ["2000-01-03"]


@pytest.mark.parametrize("day", [date(1999, 12, 31), date(2040, 1, 1)])
@pytest.mark.parametrize(
    "method", ["is_trading_day", "require_session", "previous_trading_day", "next_trading_day", "open_utc", "close_utc"]
)
def test_a_day_outside_the_span_is_refused(day, method):
    """Every question about a day outside the calendar's span gets an error that names the span."""
    with pytest.raises(RequestError, match=f"{day} lies outside .*{FIRST_DAY} to {LAST_DAY}") as refused:
        getattr(_calendar(), method)(day)
    assert refused.value.code == "CALENDAR_BOUNDS"


def test_a_range_that_leaves_the_span_is_refused():
    """A range is not cut silently at the calendar's edge."""
    with pytest.raises(RequestError, match="2040-06-01 lies outside"):
        _calendar().sessions_between(date(2039, 1, 1), date(2040, 6, 1))


def test_there_is_no_session_before_the_first_and_after_the_last():
    """Stepping off either end of the calendar is an error, not a wrong answer."""
    with pytest.raises(RequestError, match="session before"):
        _calendar().previous_trading_day(date(2000, 1, 3))
    with pytest.raises(RequestError, match="session after"):
        _calendar().next_trading_day(LAST_DAY)


def test_a_datetime_is_refused():
    """An instant is no session date: the day it means depends on a time zone."""
    with pytest.raises(TypeError, match="depends on the zone"):
        _calendar().is_trading_day(datetime(2025, 9, 3, 1, tzinfo=UTC))


def test_a_region_has_one_calendar_object():
    """The calendar of a region is built once for each process."""
    assert TradingCalendar.for_region(US) is TradingCalendar.for_region(US)
    assert TradingCalendar.for_region(US).exchange == "XNYS"
    assert TradingCalendar.for_region(CA).exchange == "XTSE"


def test_an_unknown_region_is_refused():
    """A region without a calendar is a configuration error that lists the known ones."""
    with pytest.raises(ConfigurationError, match=r"region 'EU'.*US, CA"):
        TradingCalendar.for_region("EU")


def test_an_unknown_exchange_is_refused():
    """An exchange that the library does not know is a configuration error."""
    with pytest.raises(ConfigurationError, match="'XNOWHERE' is unknown"):
        TradingCalendar("XNOWHERE")


def test_importing_the_module_does_not_import_pandas():
    """Commands that need no calendar do not pay for pandas."""
    code = "import sys, prometheus.foundation.trading_calendar; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
