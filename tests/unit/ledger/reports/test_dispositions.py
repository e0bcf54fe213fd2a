"""Postings become the lines that a return asks for."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from prometheus.domain.books import LotPick
from prometheus.domain.lots import Term
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.events import CoverShort
from prometheus.ledger.keys import LotKey
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.reports.dispositions import disposition_lines, effective_postings
from prometheus.ledger.terms import AssetClass, Terms
from prometheus.ledger.tie_rules import DEFAULT_TIES, WashScope
from tests.unit.ledger.reports.rows import CANADA, US, disallowance, reversal, sale, terms_for
from tests.unit.ledger.told import Told


def test_a_sale_becomes_a_line_with_all_that_a_return_asks_for():
    """A lot sold is one line: 3,900 less 4,000 is a loss of 100, of which 60 are disallowed and 40 count."""
    row = sale("2024-06-21", "3900", "4000", acquired="2024-03-01", fee="5")
    (line,) = disposition_lines([row, disallowance(row, "60", shares="6")], US)
    assert (line.account, line.lot_id, line.ticker, line.description) == ("A", "L1", "XYZ", "100 sh. XYZ")
    assert (line.acquired_on, line.sold_on, line.year) == (date(2024, 3, 1), date(2024, 6, 21), 2024)
    assert (line.proceeds, line.basis, line.fee) == (3900, 4000, 5)
    assert (line.realized_gain, line.disallowed_loss, line.gain) == (-100, 60, -40)
    assert line.replacements[0].lot_id == "L2"
    assert line.disallowed_for_good == 0


def test_a_loss_that_nothing_carries_is_named():
    """A loss that an IRA's purchase washes is disallowed for good (Rev. Rul. 2008-5: 1,000 less 600 is 400)."""
    row = sale("2007-12-20", "600", "1000")
    wash = disallowance(row, "400", to=LotKey("IRA", "L9"), permanent=True)
    (line,) = disposition_lines([row, wash], terms_for({"A": "Ann", "IRA": "Ann"}, sheltered=("IRA",)))
    assert line.gain == 0
    assert line.disallowed_for_good == 400
    assert (line.replacements[0].account, line.replacements[0].taxpayer) == ("IRA", "Ann")


def test_sheltered_accounts_have_no_lines():
    """What an IRA sells is no taxable event."""
    row = sale("2024-06-21", "3900", "4000", account="IRA")
    assert disposition_lines([row], terms_for({"IRA": "Ann"}, sheltered=("IRA",))) == ()


def test_a_reversal_leaves_neither_row():
    """A reversed sale is in no report, and neither is what was disallowed of it; what was booked instead is."""
    wrong, right = sale("2024-06-21", "3900", "4000"), sale("2024-06-21", "3950", "4000")
    wash = disallowance(wrong, "100")
    rows = [wrong, wash, reversal(wrong), reversal(wash), right]
    assert effective_postings(rows) == (right,)
    assert [line.gain for line in disposition_lines(rows, US)] == [-50]


def test_a_row_can_be_reversed_and_written_again():
    """Written, reversed and written again, a row counts once."""
    row = sale("2024-06-21", "3900", "4000")
    assert effective_postings([row, reversal(row), row]) == (row,)


def test_a_reversal_takes_out_the_row_that_says_the_same():
    """A disallowance written again with other shares stays; the one before is reversed, of the same amount."""
    row = sale("2024-06-21", "3900", "4000")
    before, after = disallowance(row, "60", shares="6"), disallowance(row, "60", shares="12")
    assert effective_postings([row, before, reversal(before), after]) == (row, after)


def test_a_reversal_without_its_row_is_refused():
    """A reversal of a row that is not there means that rows are missing."""
    with pytest.raises(AccountingError, match="no posting is there that it reverses"):
        effective_postings([reversal(sale("2024-06-21", "3900", "4000"))])


def test_a_disallowance_without_its_loss_is_refused():
    """A disallowed loss whose sale is not there means that rows are missing."""
    row = sale("2024-06-21", "3900", "4000")
    with pytest.raises(AccountingError, match="no posting of it"):
        disposition_lines([disallowance(row, "60")], US)


def test_a_loss_is_provisional_for_thirty_days():
    """A loss of 20 December can still be washed through 19 January; a loss washed in full cannot."""
    row = sale("2023-12-20", "3900", "4000")
    (line,) = disposition_lines([row], US, as_of=date(2024, 1, 19))
    assert line.provisional_until == date(2024, 1, 19)
    (line,) = disposition_lines([row], US, as_of=date(2024, 1, 20))
    assert line.provisional_until is None
    (line,) = disposition_lines([row, disallowance(row, "100")], US)
    assert line.provisional_until is None


def test_a_loss_of_a_digital_asset_is_final_in_the_us():
    """26 U.S.C. 1091 covers no digital assets; Canada's rule covers any property."""
    row = sale("2023-12-20", "3900", "4000", ticker="BTC", shares="0.5")
    classes = {"BTC": AssetClass.DIGITAL_ASSET}
    (line,) = disposition_lines([row], Terms(asset_classes=classes))
    assert line.provisional_until is None
    assert line.description == "0.5 BTC"
    (line,) = disposition_lines([row], Terms(regime=CANADA.regime, asset_classes=classes))
    assert line.provisional_until == date(2024, 1, 19)


def test_every_canadian_loss_waits_for_day_thirty():
    """A denial depends on what is held on day 30, so that a loss denied in full is provisional too."""
    row = sale("2023-12-20", "3900", "4000", term=Term.NONE)
    denied = disallowance(row, "100", kind=PostingKind.SUPERFICIAL_LOSS)
    (line,) = disposition_lines([row, denied], CANADA)
    assert line.provisional_until == date(2024, 1, 19)


def test_a_short_sale_is_acquired_by_the_cover_and_sold_by_delivery():
    """Columns (b) and (c) of a short sale: the purchase of the shares delivered, and their delivery.

    Sold short for 5,000 on 10 January, covered for 4,600 on 8 March, delivered on 12 March: a gain of 400.
    """
    row = sale(
        "2024-03-08", "0", "0", kind=PostingKind.COVER_SHORT, lot="S1", settle="2024-03-12", acquired="2024-01-10"
    )
    row = replace(row, cash=Decimal(-4600), realized_gain=Decimal(400), quantity=Decimal(100))
    (line,) = disposition_lines([row], US)
    assert (line.acquired_on, line.sold_on, line.year) == (date(2024, 3, 8), date(2024, 3, 12), 2024)
    assert (line.proceeds, line.basis, line.gain) == (5000, 4600, 400)
    assert line.description == "100 sh. XYZ (short sale)"


def test_shares_held_that_close_a_short_sale_keep_their_dates():
    """Shares bought in 2020 for 3,000 close a short sale of 5,000: acquired in 2020, a gain of 2,000."""
    row = sale("2024-03-08", "0", "3000", kind=PostingKind.COVER_SHORT, acquired="2020-01-02", term=Term.LONG)
    row = replace(row, realized_gain=Decimal(2000))
    (line,) = disposition_lines([row], US)
    assert (line.acquired_on, line.sold_on) == (date(2020, 1, 2), date(2024, 3, 8))
    assert (line.proceeds, line.basis) == (5000, 3000)


def test_short_sales_of_the_fold_have_the_dates_of_the_form():
    """Ten sold short for 950 in May and bought for 900 on 10 June, delivered on 11 June: a gain of 50."""
    events = Told("2024-05-21,S,X,SHORT,10,950,P").events
    cover = CoverShort(
        account="S",
        event_id="c",
        trade_date=date(2024, 6, 10),
        settle_date=date(2024, 6, 11),
        ticker="X",
        quantity=Decimal(10),
        amount=Decimal(900),
    )
    told = Told([*events, cover])
    (line,) = disposition_lines(told.postings, told.terms)
    assert (line.acquired_on, line.sold_on, line.tax_date) == (date(2024, 6, 10), date(2024, 6, 11), date(2024, 6, 10))
    assert (line.proceeds, line.basis, line.gain, line.quantity) == (950, 900, 50, 10)


def test_a_canadian_short_sale_is_final_and_dated_by_its_cover():
    """Nothing is denied of a short sale, so its loss of 50 is final on the day; it is of the year of its settlement."""
    told = Told("2024-12-20,S,X,SHORT,10,950,P\n2024-12-31,S,X,COVER,10,1000", regime=CANADA.regime)
    (line,) = disposition_lines(told.postings, told.terms)
    assert (line.acquired_on, line.sold_on, line.tax_date) == (
        date(2024, 12, 31),
        date(2024, 12, 31),
        date(2025, 1, 2),
    )
    assert (line.proceeds, line.basis, line.gain, line.provisional_until) == (950, 1000, -50, None)


def test_the_commission_of_a_cover_is_no_part_of_the_proceeds():
    """Bought to cover for 4,600 with a commission of 10 in it: the line has no commission, proceeds stay 5,000."""
    row = sale("2024-03-08", "0", "0", kind=PostingKind.COVER_SHORT, fee="10")
    row = replace(row, cash=Decimal(-4600), realized_gain=Decimal(400), quantity=Decimal(100))
    (line,) = disposition_lines([row], US)
    assert (line.proceeds, line.fee, line.basis) == (5000, 0, 4600)


def test_lots_of_the_fold_that_close_a_short_sale_are_lines():
    """Ten held at 800 since 2022 are delivered for a short sale of 1,000: proceeds 1,000, a long-term gain of 200."""
    events = Told("2022-01-03,A,X,BUY,10,800,L\n2024-06-03,A,X,SHORT,10,1000,P", sound=False).events
    cover = CoverShort(
        account="A",
        event_id="c",
        trade_date=date(2024, 6, 20),
        ticker="X",
        quantity=Decimal(10),
        picks=(LotPick("L", Decimal(10)),),
    )
    told = Told([*events, cover], sound=False)
    (line,) = disposition_lines(told.postings, told.terms)
    assert (line.lot_id, line.acquired_on, line.sold_on) == ("L", date(2022, 1, 3), date(2024, 6, 20))
    assert (line.proceeds, line.basis, line.gain, line.term) == (1000, 800, 200, Term.LONG)


def test_shares_sold_before_the_loss_that_they_carry_have_it_in_their_basis():
    """A form's reading: 10 bought and sold again inside the window carry the loss of 100 of the ten sold after them.

    Bought for 1,000 and 950; the second ten sold for 980 (a gain of 30), then the first for 900 (a loss of 100, which
    the second ten replace): the loss is disallowed and the gain of 30 becomes a loss of 70.
    """
    told = Told(
        """
        2024-01-02,A,X,BUY,10,1000,L1
        2024-06-03,A,X,BUY,10,950,L2
        2024-06-10,A,X,SELL,10,980,L2
        2024-06-12,A,X,SELL,10,900,L1
        """,
        ties=replace(DEFAULT_TIES, scope=WashScope.FORM_1099B),
    )
    lines = {line.lot_id: line for line in disposition_lines(told.postings, told.terms)}
    assert (lines["L1"].gain, lines["L1"].disallowed_loss) == (0, 100)
    assert (lines["L2"].basis, lines["L2"].cost_basis, lines["L2"].gain) == (1050, 950, -70)
    with pytest.raises(AccountingError, match="no posting of that sale"):
        disposition_lines([row for row in told.postings if row.lot_id != "L2"], told.terms)


def test_only_the_gain_of_a_return_of_capital_is_a_line():
    """8949 instructions, nondividend distributions: of 150 paid on a basis of 100, 50 are proceeds without a basis."""
    told = Told("""
        2024-01-02,A,XYZ,BUY,10,100
        2024-05-01,A,XYZ,ROC,,60
        2024-06-01,A,XYZ,ROC,,90
    """)
    (line,) = disposition_lines(told.postings, told.terms)
    assert (line.proceeds, line.basis, line.gain, line.quantity) == (50, 0, 50, 0)
    assert line.description == "XYZ (nondividend distribution)"


def test_exchanges_are_no_dispositions():
    """A merger for shares alone realises nothing and has no line."""
    row = replace(sale("2024-06-21", "0", "0", kind=PostingKind.MERGER), tax_date=None)
    assert disposition_lines([row], US) == ()


def test_the_loss_of_an_event_that_sells_a_lot_twice_goes_to_the_loss():
    """Of a merger with a gain and a fraction sold at a loss of 3, the disallowance belongs to the fraction."""
    gain = sale("2024-06-21", "10", "4", kind=PostingKind.MERGER, event="m")
    loss = sale("2024-06-21", "1", "4", kind=PostingKind.CASH_IN_LIEU, event="m", shares="0.5")
    lines = disposition_lines([gain, loss, disallowance(loss, "3", shares="0.5")], US)
    assert {line.key.kind: line.gain for line in lines} == {PostingKind.MERGER: 6, PostingKind.CASH_IN_LIEU: 0}


def test_a_cost_that_changes_later_joins_the_line_of_its_sale():
    """Canada: 20 of 50 shares with a cost of 1,600 sold for 100; day 30 lowers the pool by 400, their cost by 160.

    The sale is one line: cost 640 - 160 = 480, a loss of 380.
    """
    row = sale("2024-02-20", "100", "640", term=Term.NONE, shares="20", acquired="2024-02-10", fee="1", event="s")
    later = replace(
        sale("2024-02-20", "0", "-160", term=Term.NONE, shares="0", event="s"),
        acquired_on=None,
        holding_period_start=None,
    )
    for rows in ([row, later], [later, row]):
        (line,) = disposition_lines(rows, CANADA)
        assert (line.quantity, line.proceeds, line.basis, line.realized_gain, line.fee) == (20, 100, 480, -380, 1)
        assert line.acquired_on == date(2024, 2, 10)


def test_a_loss_that_becomes_a_gain_has_nothing_denied():
    """Canada: a denied loss of 4.20 becomes a gain of 10.44 when day 30 lowers its cost by 14.64: no denial stays."""
    row = sale("2023-02-08", "285", "289.20", term=Term.NONE, event="s")
    later = sale("2023-02-08", "0", "-14.64", term=Term.NONE, shares="0", event="s")
    denied = {"kind": PostingKind.SUPERFICIAL_LOSS, "to": LotKey("A", "XYZ")}
    rows = [row, disallowance(row, "4.20", **denied), later, disallowance(row, "-4.20", **denied)]
    (line,) = disposition_lines(rows, CANADA)
    assert (line.gain, line.disallowed_loss, line.replacements) == (Decimal("10.44"), 0, ())


def test_a_denial_that_day_thirty_takes_less_of_is_one_amount():
    """Canada: 1,000 denied by a purchase of 50 shares, of which 20 are sold before day 30: 600 and 30 shares stay."""
    row = sale("2024-02-05", "1000", "3000", term=Term.NONE)
    denied = {"kind": PostingKind.SUPERFICIAL_LOSS, "to": LotKey("A", "XYZ")}
    rows = [
        row,
        disallowance(row, "1000", shares="50", **denied),
        disallowance(row, "-400", shares="20", on="2024-02-20", **denied),
    ]
    (line,) = disposition_lines(rows, CANADA)
    assert (line.disallowed_loss, line.gain) == (600, -1400)
    assert [(part.amount, part.shares) for part in line.replacements] == [(600, 30)]
    (line,) = disposition_lines([*rows, disallowance(row, "-600", shares="30", on="2024-02-21", **denied)], CANADA)
    assert (line.disallowed_loss, line.replacements) == (0, ())


def test_lines_of_the_fold_add_up_to_its_postings():
    """Case 07: A loses 100, B's purchase takes the loss over and B gains 4,500 - 4,200 = 300."""
    told = Told("""
        2024-03-01,A,XYZ,BUY,10,4000
        2024-06-21,A,XYZ,SELL,10,3900
        2024-06-25,B,XYZ,BUY,10,4100
        2024-09-03,B,XYZ,SELL,10,4500
    """)
    first, second = disposition_lines(told.postings, told.terms)
    assert (first.account, first.gain, first.disallowed_loss) == ("A", 0, 100)
    assert (second.account, second.gain, second.basis, second.cost_basis) == ("B", 300, 4200, 4100)
    assert sum(row.realized_gain for row in told.postings) == first.gain + second.gain


def test_rows_of_one_lot_and_event_are_one_line():
    """A sale written in two rows is one line with the sums: 50 and 50 shares, and costs beside the bases."""
    row = sale("2024-06-21", "1900", "2000", shares="50", cost="1500")
    (line,) = disposition_lines([row, row], US)
    assert (line.quantity, line.proceeds, line.cost_basis, line.basis, line.gain) == (100, 3800, 3000, 4000, -200)


def test_two_lines_of_one_lot_and_event_share_what_is_disallowed():
    """A merger loses 100 and its fraction 60: what is disallowed first is of the merger, the rest of the fraction."""
    merger = sale("2024-06-21", "3900", "4000", event="m", kind=PostingKind.MERGER)
    fraction = sale("2024-06-21", "40", "100", event="m", kind=PostingKind.CASH_IN_LIEU)
    lines = disposition_lines([merger, fraction, disallowance(merger, "100"), disallowance(merger, "50")], US)
    assert sorted((line.realized_gain, line.disallowed_loss) for line in lines) == [(-100, 100), (-60, 50)]
