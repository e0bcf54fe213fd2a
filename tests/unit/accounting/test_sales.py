from datetime import date
from decimal import Decimal

import pytest

from prometheus.accounting.basis import carry_loss, split_lot
from prometheus.accounting.lot_selection import select_lots
from prometheus.accounting.sales import book_sale
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.lots import Term
from prometheus.domain.money import allocate_cents, nearest_step, plain_text
from prometheus.foundation.errors import AccountingError, OversoldError


@pytest.fixture
def sell(us_rates):
    """Book a sale of the first lots of a sequence on 2018-06-01."""

    def book(lots, quantity, price, *, fee="0", regime=TaxRegime.US, sale_date=date(2018, 6, 1)):
        return book_sale(
            lots,
            select_lots(lots, Decimal(str(quantity))),
            price=Decimal(str(price)),
            sale_date=sale_date,
            rates=us_rates,
            regime=regime,
            fee=Decimal(fee),
        )

    return book


def test_splitting_a_lot_conserves_every_cent(make_lot):
    """The part taken has its share of each basis in cents, half to even, and the rest keeps what is left."""
    lot = make_lot("L1", "2017-01-03", 3, "100.00", adjusted="100.03")
    taken, left = split_lot(lot, Decimal(1))
    assert (taken.quantity, taken.cost_basis, taken.adjusted_basis) == (1, Decimal("33.33"), Decimal("33.34"))
    assert (left.quantity, left.cost_basis, left.adjusted_basis) == (2, Decimal("66.67"), Decimal("66.69"))


def test_half_cents_round_to_even(make_lot):
    """A share of exactly half a cent goes to the even cent."""
    assert split_lot(make_lot("L1", "2017-01-03", 2, "0.05"), Decimal(1))[0].cost_basis == Decimal("0.02")
    assert split_lot(make_lot("L1", "2017-01-03", 2, "0.07"), Decimal(1))[0].cost_basis == Decimal("0.04")


def test_a_lot_taken_whole_leaves_nothing(make_lot):
    """Taking all shares gives the lot as it stands and no remainder."""
    lot = make_lot("L1", "2017-01-03", "0.3334", "10.01")
    assert split_lot(lot, Decimal("0.3334")) == (lot, None)


@pytest.mark.parametrize(("quantity", "error"), [("3.0001", OversoldError), ("0", AccountingError)])
def test_impossible_splits_are_refused(make_lot, quantity, error):
    """More than the lot holds, or nothing, cannot be taken."""
    with pytest.raises(error, match="L1"):
        split_lot(make_lot("L1", "2017-01-03", 3, "100"), Decimal(quantity))


def test_a_carried_loss_touches_basis_and_period_only(make_lot):
    """A disallowed loss raises the adjusted basis and moves the holding period, the cost stays."""
    lot = carry_loss(make_lot("L1", "2017-01-03", 3, "100"), Decimal("12.34"), date(2016, 1, 4))
    assert (lot.cost_basis, lot.adjusted_basis) == (100, Decimal("112.34"))
    assert (lot.acquired_on, lot.holding_period_start) == (date(2017, 1, 3), date(2016, 1, 4))


def test_a_sale_is_booked_lot_by_lot(sell, make_lot):
    """Each lot has its own line with proceeds, basis, gain, term and tax in cents, and the rest stays."""
    lots = (
        make_lot("long", "2015-01-05", 10, "100"),
        make_lot("short", "2018-01-02", 3, "100"),
        make_lot("kept", "2018-01-03", 5, "100"),
    )
    booking = sell(lots, 11, "20.005")
    first, second = booking.lines
    assert (first.lot_id, first.quantity, first.proceeds, first.basis) == ("long", 10, Decimal("200.05"), 100)
    assert (first.realized_gain, first.term, first.tax) == (Decimal("100.05"), Term.LONG, Decimal("23.81"))
    # 1 * 20.005 = 20.00 (half to even), basis 33.33
    assert (second.proceeds, second.basis, second.term) == (Decimal("20.00"), Decimal("33.33"), Term.SHORT)
    assert (second.realized_gain, second.tax) == (Decimal("-13.33"), Decimal("-5.44"))
    assert [(lot.lot_id, lot.quantity, lot.adjusted_basis) for lot in booking.remaining] == [
        ("short", 2, Decimal("66.67")),
        ("kept", 5, 100),
    ]
    assert (booking.quantity, booking.proceeds, booking.basis) == (11, Decimal("220.05"), Decimal("133.33"))
    assert booking.realized_gain() == Decimal("86.72")
    assert booking.realized_gain(Term.SHORT) == Decimal("-13.33")
    assert (booking.tax, booking.disallowed_loss) == (Decimal("18.37"), 0)


def test_the_commission_lowers_proceeds_and_is_shared_exactly(sell, make_lot):
    """The lines' parts of the fee follow the shares and add up to it."""
    lots = tuple(make_lot(f"L{i}", "2017-01-03", 1, "10") for i in range(3))
    booking = sell(lots, 3, 12, fee="1.00")
    assert [line.fee for line in booking.lines] == [Decimal("0.33"), Decimal("0.34"), Decimal("0.33")]
    assert booking.proceeds == Decimal("35.00")


def test_canadian_sales_leave_the_cost_of_a_share_unchanged(sell, make_lot):
    """Selling part of the pool leaves ACB per share as it was (rule 14, ITA s. 47(1)), with no term."""
    pool = make_lot("ACB-XYZ", "2017-01-03", 100, "302")
    booking = sell((pool,), 50, 5, regime=TaxRegime.CA)
    assert booking.lines[0].term is Term.NONE
    assert booking.remaining[0].adjusted_basis_per_share() == pool.adjusted_basis_per_share()


def test_selling_everything_recent_leaves_no_residue(sell, make_lot):
    """Section 13: fractional lots sold by exact decimals leave no 0.0008 shares behind."""
    lots = (
        make_lot("a", "2018-05-20", "33.3334", "1000"),
        make_lot("b", "2018-05-21", "66.6674", "2000"),
        make_lot("c", "2018-05-22", "0.0008", "0.02"),
    )
    assert sell(lots, sum(lot.quantity for lot in lots), 20).remaining == ()


def test_sales_that_cannot_be_are_refused(sell, make_lot, us_rates):
    """Negative prices and fees, a lot sold before it was bought, picked twice or not held are refused."""
    lot = make_lot("L1", "2018-06-02", 3, "100")
    with pytest.raises(AccountingError, match="neither may be negative"):
        sell((lot,), 1, -1)
    with pytest.raises(AccountingError, match="neither may be negative"):
        sell((lot,), 1, 1, fee="-0.01")
    with pytest.raises(AccountingError, match="bought on 2018-06-02"):
        sell((lot,), 1, 10)
    terms = {"price": Decimal(1), "sale_date": date(2019, 1, 2), "rates": us_rates, "regime": TaxRegime.US}
    for quantity in (Decimal(1), Decimal(3)):
        with pytest.raises(AccountingError, match="selected twice"):
            book_sale((lot,), [(lot, quantity), (lot, Decimal(1))], **terms)
    with pytest.raises(OversoldError, match="is not held"):
        book_sale((), [(lot, Decimal(1))], **terms)
    with pytest.raises(OversoldError, match="it holds 3"):
        book_sale((lot,), [(lot, Decimal(4))], **terms)


def test_cents_are_shared_out_exactly():
    """Parts follow the weights and add up to the amount, also for a negative one."""
    assert allocate_cents(Decimal("0.05"), [Decimal(1)] * 3) == (Decimal("0.02"), Decimal("0.02"), Decimal("0.01"))
    assert sum(allocate_cents(Decimal("-10.01"), [Decimal(3), Decimal("0.7"), Decimal(11)])) == Decimal("-10.01")
    assert allocate_cents(Decimal(0), []) == ()


def test_nearest_step_rounds_halves_to_even():
    """A quantity between two steps goes to the nearer, a half to the even one."""
    assert nearest_step(Decimal("33.33335"), Decimal("0.0001")) == Decimal("33.3334")
    assert nearest_step(Decimal("33.33325"), Decimal("0.0001")) == Decimal("33.3332")


@pytest.mark.parametrize(
    ("value", "text"),
    [("0.6710", "0.671"), ("100", "100"), ("1E+2", "100"), ("0.00", "0"), ("-0", "0"), ("-2.50", "-2.5")],
)
def test_equal_numbers_have_one_text(value, text):
    """A number's text in the journal has no exponent and no trailing zeros, so that hashes mean something."""
    assert plain_text(Decimal(value)) == text
