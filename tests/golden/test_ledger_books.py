"""Histories that were recorded give the same books to the cent, row by row, today."""

import pytest

from tests.golden.ledger_books import TERMS, books, recorded


@pytest.mark.parametrize("name", TERMS)
def test_recorded_histories_give_the_books_they_gave(name):
    """Every row and every remark of every recorded history is as it was when it was written down."""
    count = 0
    for events, rows, findings in recorded(name):
        assert books(events, TERMS[name]) == (rows, findings)
        count += 1
    assert count > 20
