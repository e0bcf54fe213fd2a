import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prometheus.foundation.canonical import (
    CanonicalText,
    canonical_json,
    canonical_object,
    sha256_of,
    to_jsonable,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


class _Colour(StrEnum):
    RED = "red"


class _Number(Enum):
    PRICE = Decimal("1.50")


@dataclass
class _Opaque:
    value: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.10"), '"1.10"'),
        (Decimal("1E+3"), '"1000"'),
        (Decimal("0.0000001"), '"0.0000001"'),
        (date(2025, 9, 3), '"2025-09-03"'),
        (datetime(2025, 9, 3, 12, tzinfo=UTC), '"2025-09-03T12:00:00+00:00"'),
        (_Colour.RED, '"red"'),
        (_Number.PRICE, '"1.50"'),
        ((1, 2), "[1,2]"),
        ({"b", "a"}, '["a","b"]'),
        (frozenset({3, 1}), "[1,3]"),
        ({"b": 1, "a": None}, '{"a":null,"b":1}'),
        ({1: True}, '{"1":true}'),
        ("é", '"é"'),
        (0.1, "0.1"),
    ],
)
def test_values_have_one_text(value, text):
    """Each supported type has one documented canonical form."""
    assert canonical_json(value) == text


@given(json_values)
def test_canonical_json_reads_back(value):
    """Canonical JSON is JSON: reading it gives the value back."""
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(max_size=5), st.integers(), min_size=2, max_size=6))
def test_the_order_of_keys_does_not_matter(mapping):
    """Mappings with equal content have one text and one hash, however they were filled."""
    reverse = dict(reversed(list(mapping.items())))
    assert canonical_json(reverse) == canonical_json(mapping)
    assert sha256_of(reverse) == sha256_of(mapping)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -float("inf"), datetime(2025, 9, 3), b"bytes", object(), _Opaque(1)],  # noqa: DTZ001 - naive on purpose
    ids=["nan", "inf", "minus-inf", "naive-datetime", "bytes", "object", "dataclass"],
)
def test_values_without_a_canonical_form_are_refused(value):
    """NaN, infinities, naive datetimes and unknown types are refused, at any depth."""
    with pytest.raises(TypeError, match="no canonical JSON form"):
        to_jsonable({"deep": [value]})


def test_equal_instants_in_two_zones_keep_their_zone():
    """A datetime's text shows its own offset: what was stored is what is hashed."""
    paris = datetime(2025, 9, 3, 14, tzinfo=timezone(timedelta(hours=2)))
    assert to_jsonable(paris) == "2025-09-03T14:00:00+02:00"


def test_the_hash_is_that_of_the_utf8_text():
    """The hash can be checked with any SHA-256 tool on the canonical text."""
    assert sha256_of({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


def test_text_written_once_stands_for_its_value():
    """Canonical text in the place of a value gives the same object text and hash, and reads back as the value."""
    value = {"b": [1, 2.5, None], "a": "\u00e9"}
    text = CanonicalText(canonical_json(value))
    whole, abridged = {"z": 1, "snapshot": value}, {"z": 1, "snapshot": text}
    assert canonical_object(abridged) == canonical_object(whole) == canonical_json(whole)
    assert to_jsonable(text) == value
