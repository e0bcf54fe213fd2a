"""What `make test` leaves to `make test-long`: the same tests with more draws, and proofs that take many seconds."""

from collections.abc import Iterable
from typing import Any

import pytest


def short_form(values: Iterable[Any], short: int) -> list[Any]:
    """Return parameters of which all but the first ``short`` carry the marker ``long``."""
    return [
        value if number < short else pytest.param(*_parts(value), marks=pytest.mark.long)
        for number, value in enumerate(values)
    ]


def _parts(value: Any) -> tuple[Any, ...]:
    """Return what ``pytest.param`` is given: a tuple is the values of several arguments."""
    return value if isinstance(value, tuple) else (value,)
