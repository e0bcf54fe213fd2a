from datetime import date
from decimal import Decimal

import pytest

from prometheus.accounting.lot_selection import LOT_ORDERS, order_lots, select_lots
from prometheus.domain.accounts import LotMethod, TaxRegime
from prometheus.foundation.errors import AccountingError, OversoldError


@pytest.fixture
def lots(make_lot):
    """Three lots: old and cheap, old and dear, young and dearest, on the way to different orders."""
    return (
        make_lot("old-cheap", "2010-01-04", 10, "100"),
        make_lot("old-dear", "2011-01-04", 10, "400"),
        make_lot("young-dearer", "2018-05-01", 10, "410"),
    )


@pytest.fixture
def ordered(lots, us_rates):
    """Identifiers of the lots in the order of a method, at a price."""

    def order(method, price="450", regime=TaxRegime.US, found=lots):
        result = order_lots(
            found, method=method, rates=us_rates, regime=regime, as_of=date(2018, 6, 1), price=Decimal(price)
        )
        return [lot.lot_id for lot in result]

    return order


def test_every_lot_method_has_an_order():
    """The table of orders covers every lot method there is."""
    assert set(LOT_ORDERS) == set(LotMethod)


def test_hifo_sells_the_highest_basis_per_share_first(ordered):
    """HIFO goes by adjusted basis per share, descending, whatever the price."""
    assert ordered(LotMethod.HIFO) == ["young-dearer", "old-dear", "old-cheap"]


def test_hifo_looks_at_the_adjusted_basis(ordered, make_lot):
    """A disallowed loss in the basis moves a lot forward in HIFO, though its cost is lower."""
    found = (make_lot("a", "2017-01-03", 10, "100", adjusted="300"), make_lot("b", "2017-01-03", 10, "200"))
    assert ordered(LotMethod.HIFO, found=found) == ["a", "b"]


def test_fifo_sells_the_earliest_purchase_first(ordered):
    """FIFO goes by purchase date (Treas. Reg. 1.1012-1(c)(1))."""
    assert ordered(LotMethod.FIFO) == ["old-cheap", "old-dear", "young-dearer"]


def test_least_tax_first_weighs_gain_with_its_rate(ordered):
    """With two rates the least tax per share may be a lower basis held long rather than a higher one held short."""
    # price 45: short gain 4.0 at 0.408 = 1.63; long gain 5.0 at 0.238 = 1.19
    assert ordered(LotMethod.LEAST_TAX_FIRST, price="45") == ["old-dear", "young-dearer", "old-cheap"]
    # price 30: the short loss of 11 at 0.408 saves more than the long loss of 10 at 0.238
    assert ordered(LotMethod.LEAST_TAX_FIRST, price="30") == ["young-dearer", "old-dear", "old-cheap"]


@pytest.mark.parametrize("method", [LotMethod.HIFO, LotMethod.FIFO, LotMethod.LEAST_TAX_FIRST])
def test_ties_go_to_the_earlier_purchase_then_the_lesser_name(ordered, make_lot, method):
    """Equal lots are ordered by acquired_on, then lot_id, so that no order depends on the input's."""
    found = [
        make_lot("b", "2017-01-03", 3, "10"),
        make_lot("a", "2017-01-03", 6, "20"),
        make_lot("c", "2016-01-04", 3, "10"),
    ]
    assert ordered(method, found=found) == ordered(method, found=found[::-1]) == ["c", "a", "b"]


def test_acb_takes_one_pool_only(ordered, lots):
    """ACB orders a single pool, and refuses several lots with the advice to pool them."""
    assert ordered(LotMethod.ACB, regime=TaxRegime.CA, found=lots[:1]) == ["old-cheap"]
    with pytest.raises(AccountingError, match="pool_lots"):
        ordered(LotMethod.ACB, regime=TaxRegime.CA)


def test_two_securities_are_not_ordered_together(ordered, lots, make_lot):
    """Lots of two tickers are refused by name; no lots have an empty order."""
    with pytest.raises(AccountingError, match="ABC, XYZ"):
        ordered(LotMethod.FIFO, found=(*lots, make_lot("x", "2017-01-03", 1, "1", ticker="ABC")))
    assert ordered(LotMethod.FIFO, found=()) == []


def test_selection_walks_the_order_and_splits_the_last_lot(lots):
    """Whole lots are taken in order and the last one in part, adding up exactly."""
    picks = select_lots(lots, Decimal("12.5"))
    assert picks == ((lots[0], Decimal(10)), (lots[1], Decimal("2.5")))


def test_locked_lots_are_skipped(lots):
    """A locked lot is passed over and the next in the order is sold."""
    picks = select_lots(lots, Decimal(15), locked={"old-dear"})
    assert [(lot.lot_id, quantity) for lot, quantity in picks] == [("old-cheap", 10), ("young-dearer", 5)]


def test_overselling_is_refused_with_its_facts(lots):
    """Asking for more than the unlocked lots hold is an OVERSOLD error that says what is held and locked."""
    with pytest.raises(OversoldError) as caught:
        select_lots(lots, Decimal("20.0001"), locked={"old-dear"})
    assert caught.value.details == {"ticker": "XYZ", "requested": "20.0001", "available": "20", "locked": "10"}
    with pytest.raises(OversoldError, match="hold 0 "):
        select_lots((), Decimal(1))


def test_rounding_never_sells_more_than_a_lot_holds(make_lot):
    """Section 13: a sale rounded up to a whole share of 33.3334 is refused instead of leaving a tiny short position."""
    lot = make_lot("a", "2017-01-03", "33.3334", "100")
    with pytest.raises(OversoldError):
        select_lots((lot,), Decimal(34))


@pytest.mark.parametrize("quantity", ["0", "-1"])
def test_a_sale_needs_a_positive_quantity(lots, quantity):
    """A sale of nothing or less is refused."""
    with pytest.raises(AccountingError, match="must be positive"):
        select_lots(lots, Decimal(quantity))
