from datetime import UTC, datetime, timedelta, timezone

import pytest

from prometheus.foundation.clock import FixedClock, SystemClock


def test_the_system_clock_is_aware_and_in_utc():
    """The host's clock tells timezone-aware UTC, between two readings of the host itself."""
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC


def test_a_fixed_clock_stands_still_and_converts_to_utc():
    """A fixed clock shows its instant again and again, in UTC whatever zone it was given."""
    clock = FixedClock(datetime(2025, 9, 3, 14, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == clock.now() == datetime(2025, 9, 3, 12, tzinfo=UTC)
    assert clock.now().tzinfo is UTC


def test_a_naive_instant_is_refused():
    """A fixed clock cannot be built from an instant without a time zone."""
    with pytest.raises(ValueError, match="timezone-aware"):
        FixedClock(datetime(2025, 9, 3))  # noqa: DTZ001 - the naive time is the test
