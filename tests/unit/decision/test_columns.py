"""Packed columns of stored documents give back exactly what was packed."""

from hypothesis import given
from hypothesis import strategies as st

from prometheus.decision.columns import (
    packed,
    packed_names,
    packed_positions,
    unpacked,
    unpacked_names,
    unpacked_positions,
)

TEXTS = st.lists(st.text("ab *=.1", max_size=3), max_size=8)


@given(TEXTS, st.booleans())
def test_texts_come_back_as_they_were(values, repeats):
    """Texts of any kind, empty ones and such with spaces and asterisks among them, survive packing."""
    assert unpacked(packed(values, repeats=repeats)) == values


@given(st.lists(st.integers(-1, 12), max_size=20))
def test_positions_come_back_as_they_were(positions):
    """Positions, rising by one or not, survive packing."""
    assert unpacked_positions(packed_positions(positions)) == positions


@given(TEXTS)
def test_names_come_back_as_they_were(names):
    """A column of names survives packing, whatever they are made of."""
    assert unpacked_names(packed_names(names)) == names


def test_packed_columns_are_short_and_readable():
    """What repeats is counted, what rises is a stretch, and each of few names is written once."""
    assert packed(["3.50", "7", "7", "7"], repeats=True) == "3.50 7*3"
    assert packed(["BRK B", "A"]) == ["BRK B", "A"]
    assert packed_positions([0, 1, 2, -1, -1, 3, 5]) == "0..2 -1*2 3 5"
    assert packed_names(["Energy", "Health Care", "Energy"]) == {"names": ["Energy", "Health Care"], "index": "0 1 0"}


def test_columns_that_were_never_packed_are_read():
    """Lists of texts, names and numbers, as earlier versions stored them, are read as they are."""
    assert unpacked(["a", "b"]) == ["a", "b"]
    assert unpacked_names(["Energy", "Energy"]) == ["Energy", "Energy"]
    assert unpacked_positions([4, -1, 5]) == [4, -1, 5]
