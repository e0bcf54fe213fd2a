"""The books of an account: one order of lots, one name for each."""

from datetime import date
from decimal import Decimal

import pytest

from prometheus.domain.books import Books
from prometheus.domain.lots import TaxLot


def lot(lot_id, acquired_on, quantity):
    """Return a lot of XYZ that cost 1."""
    acquired = date.fromisoformat(acquired_on)
    return TaxLot(lot_id, "XYZ", acquired, Decimal(quantity), Decimal(1), Decimal(1), acquired)


def test_books_keep_their_lots_in_one_order():
    """Books with the same lots are equal whatever the order they come in, and refuse two lots of one name."""
    first, second = lot("b", "2017-01-03", 1), lot("a", "2017-01-04", 2)
    books = Books((second, first))
    assert books == Books((first, second))
    assert books.lots_of("XYZ") == (first, second)
    assert (books.quantity_of("XYZ"), books.quantity_of("ABC")) == (3, 0)
    with pytest.raises(ValueError, match="two lots are called b"):
        Books((first, first))


def test_a_lot_holds_shares():
    """A lot without shares is refused by name."""
    with pytest.raises(ValueError, match="lot a: quantity 0 is not positive"):
        lot("a", "2017-01-03", 0)
