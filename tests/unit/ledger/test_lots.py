"""Lots taken apart, and holding periods."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from prometheus.domain.lots import Term
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.lots import (
    is_part,
    long_term_from,
    shared_out,
    split_lot,
    take_shares,
    term_of,
    without_shares,
)
from prometheus.ledger.state import Lot

DAY = date(2018, 1, 2)
LOT = Lot(LotKey("A", "L"), EventKey("A", "b"), "L", "X", DAY, Decimal(3), Decimal(100), Decimal("110.01"), DAY)


def test_parts_add_up_to_the_lot():
    """One of three shares takes a third of each basis, rounded; what is left keeps the rest."""
    taken, left = take_shares(LOT, Decimal(1))
    assert left is not None
    assert (taken.cost_basis, taken.adjusted_basis) == (Decimal("33.33"), Decimal("36.67"))
    assert (left.cost_basis, left.adjusted_basis) == (Decimal("66.67"), Decimal("73.34"))
    assert left == without_shares(LOT, Decimal(1))
    assert (taken, left) == split_lot(LOT, Decimal(1), Decimal("33.33"), Decimal("36.67"))


@pytest.mark.parametrize(("cost", "part"), [("0.05", "0.02"), ("0.07", "0.04")])
def test_half_a_cent_goes_to_the_even_cent(cost, part):
    """One of two shares for 0.05 or 0.07 has exactly half a cent beside its cents."""
    lot = replace(LOT, quantity=Decimal(2), cost_basis=Decimal(cost), adjusted_basis=Decimal(cost))
    taken, _ = take_shares(lot, Decimal(1))
    assert (taken.cost_basis, taken.adjusted_basis) == (Decimal(part), Decimal(part))


def test_each_basis_has_its_own_cents():
    """A third of 100.00 and of 100.03 is 33.33 and 33.34; 66.67 and 66.69 stay."""
    taken, left = take_shares(replace(LOT, adjusted_basis=Decimal("100.03")), Decimal(1))
    assert left is not None
    assert (taken.cost_basis, taken.adjusted_basis) == (Decimal("33.33"), Decimal("33.34"))
    assert (left.cost_basis, left.adjusted_basis) == (Decimal("66.67"), Decimal("66.69"))


def test_a_lot_taken_whole_leaves_nothing():
    """All shares give the basis as it is."""
    assert take_shares(LOT, Decimal(3)) == (LOT, None)


def test_what_stays_keeps_the_rest_of_the_fraction():
    """Of ten thirds of a share one is taken: seven thirds stay."""
    thirds = Lot(*(getattr(LOT, name) for name in LOT.__slots__[:5]), Decimal("3.333333333"), *[Decimal(0)] * 2, DAY)
    lot = Lot(*(getattr(thirds, name) for name in LOT.__slots__[:9]), Fraction(10, 3))
    assert without_shares(lot, Decimal(1)).exact == Fraction(7, 3)


@pytest.mark.parametrize(
    ("start", "first"),
    [
        ("2012-09-19", "2013-09-20"),
        ("2011-02-28", "2012-03-01"),
        ("2012-02-29", "2013-03-01"),
        ("2012-02-28", "2013-03-01"),
        # 29 February inside the year: the 366th day is still short-term.
        ("2011-09-19", "2012-09-20"),
        ("2019-06-03", "2020-06-04"),
        # The last day of a year and of a month.
        ("2015-12-31", "2017-01-01"),
        ("2015-06-30", "2016-07-01"),
    ],
)
def test_long_term_begins_after_a_year(start, first):
    """26 U.S.C. 1222(3); Rev. Rul. 66-7: the anniversary of the day after the purchase."""
    bought, sold = date.fromisoformat(start), date.fromisoformat(first)
    assert long_term_from(bought) == sold
    assert (term_of(bought, sold), term_of(bought, sold - timedelta(days=1))) == (Term.LONG, Term.SHORT)


def test_cents_are_shared_out_exactly():
    """100.00 over three equal parts is 33.33, 33.34 and 33.33."""
    parts = shared_out(Decimal(100), [Decimal(1)] * 3)
    assert (sum(parts), parts) == (100, (Decimal("33.33"), Decimal("33.34"), Decimal("33.33")))


def test_parts_are_told_by_their_names():
    """A name that the ledger makes cannot be given to a purchase."""
    assert [is_part(name) for name in ("L", "L~W1-x", "L~T1", "L~S-C", "L~M1")] == [False, True, True, True, True]
