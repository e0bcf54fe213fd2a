"""When an exchange trades: sessions, opening and closing instants, early closes.

The facts come from exchange_calendars, whose types (pandas) stay inside this module. It is imported on first use,
because pandas takes most of a second. The span is fixed, so that no answer depends on the day the program runs.
"""

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, Final

from prometheus.foundation.errors import ConfigurationError, NotASessionError, RequestError

#: Exchange whose sessions an account of the region follows.
EXCHANGE_OF_REGION: Final[dict[str, str]] = {"US": "XNYS", "CA": "XTSE"}
FIRST_DAY: Final = date(2000, 1, 1)
LAST_DAY: Final = date(2039, 12, 31)


class TradingCalendar:
    """The sessions of one exchange from ``FIRST_DAY`` through ``LAST_DAY``.

    Every argument is a ``date`` (a day at the exchange, without time zone); a ``datetime`` is refused, because the day
    it means depends on a zone. Holidays that are not yet announced are computed from today's rules.

    Args:
        exchange: ISO 10383 market identifier known to exchange_calendars, such as ``XNYS``.

    Raises:
        ConfigurationError: The exchange is unknown.

    Source: docs/specs/012_calendars_and_scheduling.md.
    """

    def __init__(self, exchange: str) -> None:
        calendar = _load(exchange)
        self.exchange = exchange
        self._sessions: tuple[date, ...] = tuple(day.date() for day in calendar.sessions.to_pydatetime())
        self._opens = _instants(calendar.opens)
        self._closes = _instants(calendar.closes)

    @classmethod
    def for_region(cls, region: str) -> "TradingCalendar":
        """Return the calendar of a region (``US`` or ``CA``); built once for each process.

        Raises:
            ConfigurationError: The region has no calendar.
        """
        if region not in EXCHANGE_OF_REGION:
            raise ConfigurationError(
                f"region '{region}' has no trading calendar; known are {', '.join(EXCHANGE_OF_REGION)}."
            )
        return _of_exchange(EXCHANGE_OF_REGION[region])

    def is_trading_day(self, day: date) -> bool:
        """Return whether ``day`` is a session; a day with an early close is one.

        Raises:
            RequestError: The day lies outside the calendar (code ``CALENDAR_BOUNDS``).
        """
        return self._index(day) is not None

    def require_session(self, day: date) -> None:
        """Do nothing if ``day`` is a session.

        Raises:
            NotASessionError: It is not; the message names the nearest sessions, ``details`` has them as ISO dates.
            RequestError: The day lies outside the calendar.
        """
        self._session_index(day)

    def previous_trading_day(self, day: date) -> date:
        """Return the last session strictly before ``day``, which need not be a session itself.

        Raises:
            RequestError: The day, or the answer, lies outside the calendar.
        """
        self._check_bounds(day)
        at = bisect_left(self._sessions, day)
        if at == 0:
            raise self._outside(day, "the session before")
        return self._sessions[at - 1]

    def next_trading_day(self, day: date) -> date:
        """Return the first session strictly after ``day``, which need not be a session itself.

        Raises:
            RequestError: The day, or the answer, lies outside the calendar.
        """
        self._check_bounds(day)
        at = bisect_right(self._sessions, day)
        if at == len(self._sessions):
            raise self._outside(day, "the session after")
        return self._sessions[at]

    def sessions_between(self, start: date, end: date) -> tuple[date, ...]:
        """Return the sessions from ``start`` through ``end``, both included; empty if ``start`` is after ``end``.

        Raises:
            RequestError: One of the days lies outside the calendar.
        """
        self._check_bounds(start)
        self._check_bounds(end)
        return self._sessions[bisect_left(self._sessions, start) : bisect_right(self._sessions, end)]

    def open_utc(self, day: date) -> datetime:
        """Return the instant at which the session opens, in UTC.

        Raises:
            NotASessionError: The day is no session.
            RequestError: The day lies outside the calendar.
        """
        return self._opens[self._session_index(day)]

    def close_utc(self, day: date) -> datetime:
        """Return the instant at which the session closes, in UTC; early closes are taken into account.

        Raises:
            NotASessionError: The day is no session.
            RequestError: The day lies outside the calendar.
        """
        return self._closes[self._session_index(day)]

    def _session_index(self, day: date) -> int:
        at = self._index(day)
        if at is not None:
            return at
        after = bisect_left(self._sessions, day)
        # slices, not indices: on the first and last days of the span one neighbour is missing
        nearest = [session.isoformat() for session in self._sessions[max(after - 1, 0) : after + 1]]
        raise NotASessionError(
            f"{day} ({day:%A}) is not a trading session of {self.exchange}; nearest: {' and '.join(nearest)}.",
            details={"exchange": self.exchange, "date": day.isoformat(), "nearest": nearest},
        )

    def _index(self, day: date) -> int | None:
        self._check_bounds(day)
        at = bisect_left(self._sessions, day)
        return at if at < len(self._sessions) and self._sessions[at] == day else None

    def _check_bounds(self, day: date) -> None:
        if isinstance(day, datetime):
            raise TypeError(f"{day!r}: a session is a date, and which date an instant falls on depends on the zone")
        if not FIRST_DAY <= day <= LAST_DAY:
            raise self._outside(day, "the day")

    def _outside(self, day: date, what: str) -> RequestError:
        return RequestError(
            f"{what} {day} lies outside the calendar of {self.exchange} ({FIRST_DAY} to {LAST_DAY}); check the date.",
            code="CALENDAR_BOUNDS",
        )


@cache
def _of_exchange(exchange: str) -> TradingCalendar:
    return TradingCalendar(exchange)


def _load(exchange: str) -> Any:
    import exchange_calendars  # noqa: PLC0415 (pulls in pandas: paid only by those who ask for a calendar)

    try:
        return exchange_calendars.get_calendar(exchange, start=FIRST_DAY.isoformat(), end=LAST_DAY.isoformat())
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise ConfigurationError(f"exchange '{exchange}' is unknown; use an ISO 10383 code such as XNYS.") from error


def _instants(times: Any) -> tuple[datetime, ...]:
    return tuple(time.to_pydatetime().astimezone(UTC) for time in times)
