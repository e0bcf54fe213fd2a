from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from prometheus.domain.accounts import LotMethod, TaxRegime
from prometheus.foundation.errors import RequestError
from prometheus.ledger.files.book_file import FileSettings, book_file
from prometheus.ledger.reports.dispositions import disposition_lines
from tests.unit.ledger.told_file import Told, positions

CA = {"regime": TaxRegime.CA}
_COLUMNS = "date,account,ticker,action,quantity,amount,lot_id,entry_id,acquired_on,reverses\n"


def test_chained_washes_carry_a_loss_through_three_lots():
    """Each replacement is sold at a loss and replaced again: the last lot carries all three losses, nothing counts."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,one
        2019-06-03,A,X,SELL,10,90,one
        2019-06-10,A,X,BUY,10,95,two
        2019-06-17,A,X,SELL,10,80,two
        2019-06-24,A,X,BUY,10,85,three
        2019-07-01,A,X,SELL,10,70,three
        2019-07-08,A,X,BUY,10,75,four
        """
    )
    # 10; then 95 + 10 - 80 = 25; then 85 + 25 - 70 = 40; the last lot costs 75 + 40
    assert [sale.disallowed_loss for sale in told.sales] == [10, 25, 40]
    assert (told.recognized, told.basis("four")) == (0, 115)
    days = (date(2019, 6, 3) - date(2018, 1, 2)).days + 7 + 7
    assert told.lots["A", "four"].holding_period_start == date(2019, 7, 8) - timedelta(days)


def test_a_washed_loss_makes_the_replacement_long_term():
    """The tacked days count: a replacement held for a month is sold long-term."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-06-03,A,X,SELL,10,90,old
        2019-06-10,A,X,BUY,10,95,new
        2019-07-12,A,X,SELL,10,200,new
        """
    )
    assert [sale.term for sale in told.sales] == ["LONG", "LONG"]


def test_a_sheltered_account_has_no_taxable_sale():
    """What an IRA sells is no line of the report, and its loss washes with nothing."""
    told = Told(
        """
        2018-01-02,R,X,BUY,10,100,in,,IRA
        2019-06-03,R,X,SELL,10,80,in
        2019-06-10,A,X,BUY,10,90,out
        """
    )
    assert not told.sales
    assert told.basis("out") == 90


def test_shares_bought_and_sold_by_an_ira_still_deny_the_loss():
    """An IRA's purchase denies for good whether or not it keeps the shares, for no lot has to carry the loss."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-06-03,R,X,BUY,10,90,in,,IRA
        2019-06-05,R,X,SELL,10,95,in
        2019-06-10,A,X,SELL,10,80,old
        """
    )
    assert (told.disallowed, told.sales[0].replacements[0].is_permanent) == (20, True)


def test_an_ira_share_denies_once():
    """Four shares bought by an IRA deny the loss of four of ten; the rest of the loss stands."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2018-01-03,A,X,BUY,10,100,old2
        2019-06-03,R,X,BUY,4,36,in,,IRA
        2019-06-10,A,X,SELL,10,80,old
        2019-06-11,A,X,SELL,10,80,old2
        """
    )
    assert [sale.disallowed_loss for sale in told.sales] == [8, 0]


def test_lots_of_one_name_in_two_accounts_are_two_lots():
    """Accounts name their lots by themselves; a sale takes that of its own account."""
    told = Told("2018-01-02,A,X,BUY,10,100,L\n2018-01-02,B,X,BUY,10,200,L\n2019-06-03,B,X,SELL,10,80,L")
    assert [(sale.account, sale.realized_gain) for sale in told.sales] == [("B", -120)]
    assert told.basis("L") == 100


def test_a_named_lot_includes_what_a_wash_sale_split_off_it():
    """Who sells lot 'new' sells its washed part as well, though the ledger keeps two lots of it."""
    told = Told(
        """
        2018-01-02,A,X,BUY,4,40,old
        2019-06-03,A,X,SELL,4,32,old
        2019-06-10,A,X,BUY,10,80,new
        2020-06-10,A,X,SELL,10,100,new
        """
    )
    assert sum(sale.basis for sale in told.sales if sale.sold_on.year == 2020) == 88
    assert not told.lots


def test_a_transfer_keeps_basis_dates_and_the_purchase():
    """A lot that moves is the same purchase in its new account: it carries a loss, and does not replace itself."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-06-03,A,X,BUY,10,90,new
        2019-06-05,A,X,TRANSFER_OUT,10,,new,,,,,B
        2019-06-10,A,X,SELL,10,80,old
        2019-06-12,B,X,SELL,5,30,new
        """
    )
    assert told.sales[0].replacements[0].account == "B"
    # 90 + 20 carried; half of it sold for 30 loses 25, which its own purchase does not wash
    assert (told.sales[1].realized_gain, told.sales[1].disallowed_loss) == (-25, 0)
    assert told.basis("new", "B") == 55


def test_a_part_that_is_transferred_can_still_serve():
    """Of a purchase of ten, six move to another account: both parts replace shares sold, in the order of lots."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-06-03,A,X,BUY,10,90,new
        2019-06-05,A,X,TRANSFER_OUT,6,,new,,,,,B
        2019-06-10,A,X,SELL,10,80,old
        """
    )
    assert {(found.account, found.shares) for found in told.sales[0].replacements} == {("A", 4), ("B", 6)}
    assert told.basis("new") == 44
    assert told.basis("new~T1", "B") == 66


def test_shares_that_leave_the_household_take_their_basis_along():
    """A transfer without a destination takes lots out, by FIFO where none is named, without a gain."""
    told = Told("2018-01-02,A,X,BUY,10,100,a\n2018-01-03,A,X,BUY,10,200,b\n2019-06-03,A,X,TRANSFER_OUT,15,")
    assert not told.sales
    assert {name: (lot.quantity, lot.adjusted_basis) for (_, name), lot in told.lots.items()} == {"b": (5, 100)}


def test_cash_comes_in_moves_and_leaves():
    """Rows without a security are cash: an opening, a dividend, a transfer between accounts and one out."""
    told = Told(
        """
        2018-01-02,A,,OPEN,,1000
        2018-01-03,A,X,BUY,10,100,a
        2018-02-03,A,X,DIVIDEND,,7.50
        2018-03-03,A,,TRANSFER_OUT,,200,,,,,,B
        2018-03-04,B,,TRANSFER_OUT,,50
        """
    )
    assert dict(told.books.state.cash) == {
        "A": Decimal("707.50"),
        "B": 150,
    }


def test_a_symbol_change_is_no_sale_and_keeps_the_window():
    """X is called N from 5 June: buying N washes the loss in X, and the lot keeps basis and dates."""
    told = Told(
        """
        2018-01-02,A,X,BUY,20,200,old
        2019-06-03,A,X,SELL,10,80,old
        2019-06-05,A,X,RENAME,,,,,,N
        2019-06-10,A,N,BUY,10,90,new
        """
    )
    assert (told.disallowed, told.basis("new")) == (20, 110)
    old = told.lots["A", "old"]
    assert (old.ticker, old.quantity, old.adjusted_basis, old.acquired_on) == ("N", 10, 100, date(2018, 1, 2))


def test_a_split_between_loss_and_purchase_counts_in_new_shares():
    """Ten shares sold before a 2:1 split are twenty after it: of thirty bought then, twenty replace them."""
    told = Told(
        """
        2018-01-02,A,X,BUY,20,200,old
        2019-06-03,A,X,SELL,10,80,old
        2019-06-05,A,X,SPLIT,2:1,
        2019-06-10,A,X,BUY,30,120,new
        """
    )
    assert sorted((lot.quantity, lot.adjusted_basis) for lot in told.lots.values()) == [(10, 40), (20, 100), (20, 100)]


def test_a_spin_off_moves_a_part_of_the_basis_into_the_child():
    """Ten shares of basis 100 give five of the child with a quarter of it and the parent's dates; no purchase."""
    told = Told(
        """
        2018-01-02,A,P,BUY,10,100,L
        2019-06-03,A,P,SPINOFF,0.5,,,,,C,0.25
        2019-06-04,A,C,SELL,2,6,L~S-C
        """
    )
    child = told.lots["A", "L~S-C"]
    assert (child.ticker, child.quantity, child.adjusted_basis) == ("C", 3, 15)
    assert (child.acquired_on, told.basis("L")) == (date(2018, 1, 2), 75)
    # 2/5 of 25 is 10, sold for 6
    assert (told.sales[0].realized_gain, told.sales[0].term, told.disallowed) == (-4, "LONG", 0)


def test_a_spin_off_pays_the_fraction_in_cash():
    """Seven shares at 1 for 2 are 3.5 of the child; half a share of basis 2.50 is paid with 4."""
    told = Told("2018-01-02,A,P,BUY,7,70,L\n2019-06-03,A,P,SPINOFF,0.5,4,,,,C,0.25")
    assert (told.lots["A", "L~S-C"].quantity, told.lots["A", "L~S-C"].adjusted_basis) == (3, 15)
    assert [(sale.key.kind, sale.ticker, sale.realized_gain) for sale in told.sales] == [
        ("CASH_IN_LIEU", "C", Decimal("1.50"))
    ]


def test_a_lot_too_small_for_the_child_keeps_its_basis():
    """Where a lot is due less than the smallest share nothing of its basis moves."""
    told = Told("2018-01-02,A,P,BUY,0.00000001,70,L\n2019-06-03,A,P,SPINOFF,0.01,,,,,C,0.25")
    assert told.basis("L") == 70


@pytest.mark.parametrize(("amount", "gain"), [("0", -100), ("130", 30)])
def test_a_delisting_closes_every_lot(amount, gain):
    """A security that ends is sold whole, for the cash there is or for nothing."""
    told = Told(f"2018-01-02,A,X,BUY,4,40,a\n2018-01-03,A,X,BUY,6,60,b\n2019-06-03,A,X,DELIST,,{amount}")
    assert sum(sale.realized_gain for sale in told.sales) == gain
    assert {sale.key.kind for sale in told.sales} == {"DELISTING"}
    assert not told.lots


def test_a_reversed_row_never_happened():
    """A purchase that is taken back washes nothing; what it had washed counts again."""
    text = """
        2018-01-02,A,X,BUY,10,100,old
        2019-06-03,A,X,SELL,10,80,old
        2019-06-10,A,X,BUY,10,90,new
    """
    assert Told(text).disallowed == 20
    header = "date,account,ticker,action,quantity,amount,lot_id,reverses\n"
    rows = "\n".join(line.strip() + "," for line in text.strip().splitlines())
    booked = book_file(f"{header}{rows}\n2019-06-12,A,,REVERSE,,,,4\n", FileSettings())
    assert sum(sale.disallowed_loss for sale in sale_lines_of(booked)) == 0
    assert not booked.books.state.lots


def test_hifo_sells_the_highest_basis():
    """Where no lot is named the method chooses: here the dearest lot."""
    told = Told(
        "2018-01-02,A,X,BUY,10,100,a\n2018-01-03,A,X,BUY,10,200,b\n2019-06-03,A,X,SELL,10,80", method=LotMethod.HIFO
    )
    assert [sale.lot_id for sale in told.sales] == ["b"]


# ---------------------------------------------------------------- Canada


def test_accounts_of_one_owner_share_the_cost_of_a_spin_off():
    """Two accounts with 10 and 30 shares of a pool of 600 give up a quarter of it, whichever is booked first."""
    told = Told(
        """
        2019-01-02,A,P,BUY,10,100
        2019-03-04,B,P,BUY,30,500
        2019-06-03,A,P,SPINOFF,1,,,,,C,0.25
        2019-06-03,B,P,SPINOFF,1,,,,,C,0.25
        """,
        **CA,
    )
    # 10/40 of 600 is 150, a quarter 37.50; 30/40 is 450, a quarter 112.50
    assert (told.basis("ACB-C", "owner"), told.basis("ACB-P", "owner")) == (150, 450)
    assert told.positions["B", "C"] == 30


def test_fractions_are_paid_when_all_accounts_are_split():
    """Cash in lieu of one account does not mix the cost of old shares and new ones."""
    told = Told(
        """
        2019-01-02,A,X,BUY,15,150
        2019-01-02,B,X,BUY,25,250
        2019-06-03,A,X,SPLIT,1:10,6
        2019-06-03,B,X,SPLIT,1:10,6
        """,
        **CA,
    )
    # 4 new shares for 400: half a share costs 50 in each account
    assert [(sale.account, sale.basis, sale.realized_gain) for sale in told.sales] == [("A", 50, -44), ("B", 50, -44)]
    assert (told.lots["owner", "ACB-X"].quantity, told.basis("ACB-X", "owner")) == (3, 300)


def test_what_is_held_on_day_30_is_counted_in_the_shares_of_the_sale():
    """Twenty sold, fifteen bought, then a 2:1 split: ninety held on day 30 are forty-five, so 15/20 is denied."""
    told = Told(
        """
        2019-01-02,A,X,BUY,50,500
        2019-06-03,A,X,SELL,20,100
        2019-06-10,A,X,BUY,15,90
        2019-06-12,A,X,SPLIT,2,
        """,
        **CA,
    )
    assert told.disallowed == 75


def test_a_transfer_between_accounts_of_the_owner_changes_no_pool():
    """The owner's accounts are one pool: shares that move write no row and still limit what each account can sell."""
    told = Told("2019-01-02,A,X,BUY,10,100\n2019-06-03,A,X,TRANSFER_OUT,4,,,,,,,B\n2019-06-04,B,X,SELL,4,60", **CA)
    assert (told.sales[0].basis, told.sales[0].account) == (40, "B")
    assert told.positions == {("A", "X"): 6}


def test_canadian_events_keep_the_pool():
    """A new symbol, shares that leave the owner, and an end for cash are booked from the pool's average cost."""
    told = Told(
        """
        2019-01-02,A,X,BUY,10,100
        2019-02-04,A,X,RENAME,,,,,,N
        2019-03-04,A,N,TRANSFER_OUT,4,
        2019-04-04,A,N,DIVIDEND,,3
        2019-05-06,A,N,DELIST,,90
        """,
        **CA,
    )
    assert [(sale.ticker, sale.quantity, sale.basis, sale.realized_gain) for sale in told.sales] == [("N", 6, 60, 30)]
    assert told.books.state.lots == {}


def test_a_loss_waits_for_the_shares_that_will_carry_it():
    """All is sold at a loss after a purchase, and bought again before day 30: the new pool carries what is denied."""
    told = Told(
        """
        2019-01-02,A,X,BUY,40,400
        2019-05-27,A,X,BUY,10,100
        2019-06-03,A,X,SELL,50,400
        2019-06-20,A,X,BUY,20,150
        """,
        **CA,
    )
    # loss 100 on 50; bought in the window 30, held on day 30: 20; 100 x 20/50 = 40
    assert (told.disallowed, told.basis("ACB-X", "owner")) == (40, 190)


def test_shares_held_by_owner_and_plan_share_a_denied_loss():
    """Held on day 30: 4 by the owner, 6 by the plan; of 10 denied shares 4 go to the owner's cost, 6 are lost."""
    told = Told(
        """
        2019-01-02,A,X,BUY,10,100
        2019-06-03,A,X,SELL,10,80
        2019-06-10,A,X,BUY,4,40
        2019-06-11,P,X,BUY,6,60,,,TFSA
        """,
        **CA,
    )
    assert (told.disallowed, told.basis("ACB-X", "owner")) == (20, 48)
    assert sum(found.amount for found in told.sales[0].replacements if found.is_permanent) == 12


# ---------------------------------------------------------------- what the window still needs


def _booked(text, regime=TaxRegime.US):
    return book_file(
        _COLUMNS + "\n".join(line.strip() for line in text.strip().splitlines()) + "\n", FileSettings(regime=regime)
    )


def test_an_election_needs_a_taxpayer_of_the_file():
    """ITA s. 39(4): the election and its securities are terms of the books; nobody else may elect."""
    rows = _COLUMNS + "2019-06-03,A,RY,SHORT,10,80,,,,\n"
    ry = frozenset({"RY"})
    elected = FileSettings(capital_elections={"": 2019}, canadian_securities=ry, **CA)
    terms = book_file(rows, elected).books.terms
    assert [
        terms.is_capital_short("", ticker, year) for ticker, year in (("RY", 2019), ("RY", 2018), ("TD", 2019))
    ] == [
        True,
        False,
        False,
    ]
    with pytest.raises(RequestError, match="no taxpayer 'Ann'"):
        book_file(rows, replace(elected, capital_elections={"Ann": 2019}))


def sale_lines_of(booked):
    """Return the dispositions of a history."""
    return disposition_lines(booked.books.postings, booked.books.terms, as_of=booked.books.as_of)


def test_a_split_after_the_last_share_is_sold_counts_for_the_window():
    """Half of the loss on shares sold before a split is disallowed where half of them, in new shares, come back."""
    told = Told(
        """
        2023-01-02,A,X,BUY,100,1000,old
        2024-06-10,A,X,SELL,100,600,old
        2024-06-15,A,X,SPLIT,2,
        2024-06-20,A,X,BUY,100,320,new
        """
    )
    # 100 sold are 200 new shares, a loss of 400; 100 come back: 400 * 100 / 200 = 200, and 320 + 200 = 520
    assert (told.disallowed, told.recognized, told.basis("new")) == (200, -200, 520)


def test_canada_counts_a_split_after_the_last_share_is_sold():
    """The denied fraction is of shares sold in the shares of after the split, which the owner holds at the end."""
    told = Told(
        """
        2023-01-02,A,X,BUY,100,1000
        2024-06-10,A,X,SELL,100,600
        2024-06-15,A,X,SPLIT,2,
        2024-06-20,A,X,BUY,50,160
        """,
        **CA,
    )
    # min(200 sold, 50 acquired, 50 held) / 200 of 400 = 100; the pool: 160 + 100
    assert (told.disallowed, told.recognized, told.basis("ACB-X", "owner")) == (100, -300, 260)


@pytest.mark.parametrize("settings", [{}, CA])
def test_a_new_symbol_after_the_last_share_is_sold_counts_for_the_window(settings):
    """A loss under the old symbol is taken back by a purchase under the new one, with no share held between."""
    told = Told(
        """
        2023-01-02,A,OLD,BUY,10,100
        2024-06-10,A,OLD,SELL,10,60
        2024-06-15,A,OLD,RENAME,,,,,,NEW
        2024-06-20,A,NEW,BUY,10,70
        """,
        **settings,
    )
    assert (told.disallowed, told.recognized) == (40, 0)


def test_an_event_of_a_security_never_held_is_still_refused():
    """Only earlier trades excuse a split without shares, neither another account's nor those of its own day."""
    books = _booked(
        """
        2024-06-10,A,X,BUY,10,100
        2024-06-15,B,X,SPLIT,2,
        2024-08-15,A,Y,SPLIT,2,
        2024-08-20,C,Z,OPEN,10,100
        2024-08-20,C,Z,SPLIT,2,
        """
    )
    assert [(finding.row, finding.code) for finding in books.findings] == [
        (3, "NOT_HELD"),
        (4, "NOT_HELD"),
        (6, "ON_OPENING_DAY"),
    ]


def test_a_group_follows_its_security_into_a_new_symbol():
    """Another class of the group, bought after the change of symbol, replaces what was sold before it."""
    told = Told(
        """
        2023-01-02,A,OLD,BUY,100,1000,old,G
        2023-01-02,A,TWIN,BUY,1,10,twin,G
        2024-06-10,A,OLD,SELL,50,300,old
        2024-06-15,A,OLD,RENAME,,,,,,NEW
        2024-06-20,A,TWIN,BUY,50,320,new
        """
    )
    # 50 of 100 cost 500 and brought 300: 200, all on the 50 of the twin, 320 + 200
    assert (told.disallowed, told.basis("new")) == (200, 520)


def test_a_lot_that_arrives_late_is_the_purchase_it_was():
    """Shares bought elsewhere nineteen days after a loss wash it, though they come in on day 50."""
    books = _booked(
        """
        2023-01-02,A,X,BUY,100,1000,old,,,
        2024-03-01,A,X,SELL,100,700,old,,,
        2024-04-20,A,X,TRANSFER_IN,100,750,late,,2024-03-20,
        """
    )
    (sale,) = sale_lines_of(books)
    (lot,) = books.books.state.lots.values()
    assert (sale.disallowed_loss, lot.adjusted_basis) == (300, 1050)
    assert lot.holding_period_start == date(2024, 3, 20) - timedelta((date(2024, 3, 1) - date(2023, 1, 2)).days)


def test_a_lot_that_arrives_late_washes_nothing_outside_its_window():
    """A lot bought 31 days after the loss washes nothing, whenever it comes in."""
    books = _booked(
        """
        2023-01-02,A,X,BUY,100,1000,old,,,
        2024-03-01,A,X,SELL,100,700,old,,,
        2024-04-20,A,X,TRANSFER_IN,100,750,late,,2024-04-01,
        """
    )
    assert sale_lines_of(books)[0].disallowed_loss == 0


@pytest.mark.parametrize("regime", [TaxRegime.US, TaxRegime.CA])
def test_accounts_may_use_the_same_execution_names(regime):
    """Two accounts with a sale called T9 on one day each get their own loss back, and no other."""
    books = _booked(
        """
        2023-01-02,A,X,BUY,100,1000,,1,,
        2023-01-02,B,X,BUY,100,1000,,1,,
        2024-03-01,A,X,SELL,100,700,,T9,,
        2024-03-01,B,X,SELL,100,700,,T9,,
        2024-03-11,B,X,BUY,100,750,,3,,
        """,
        regime,
    )
    # each loses 300; 100 shares come back for 200 sold: US the first of the two in full, Canada 100 / 100 of each
    expected = [300, 0] if regime is TaxRegime.US else [300, 300]
    assert [sale.disallowed_loss for sale in sale_lines_of(books)] == expected
    (lot,) = books.books.state.lots.values()
    assert lot.adjusted_basis == 750 + sum(expected)


def test_a_name_used_twice_in_an_account_is_refused():
    """A second row of one entry_id is left out: two sales of a name would each claim the loss of both."""
    books = _booked(
        """
        2023-01-02,A,X,BUY,100,1000,a,1,,
        2024-03-01,A,X,SELL,50,350,a,O1,,
        2024-03-01,A,X,SELL,50,350,a,O1,,
        2024-03-10,A,X,BUY,100,750,b,3,,
        """
    )
    assert [(finding.row, finding.code) for finding in books.findings] == [(4, "ENTRY_ID_TWICE")]
    # 50 of 100 cost 500 and brought 350
    assert [(sale.realized_gain, sale.disallowed_loss) for sale in sale_lines_of(books)] == [(-150, 150)]


def test_a_correction_takes_back_the_row_of_its_own_account():
    """A name that two accounts use is that of the account in which the correction stands."""
    books = _booked(
        """
        2023-01-02,A,X,BUY,100,1000,a,1,,
        2023-01-02,B,X,BUY,50,500,b,1,,
        2023-01-03,B,,REVERSE,,,,,,1
        """
    )
    assert not books.findings
    assert positions(books.books) == {("A", "X"): 100}


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("2024-01-02,A,X,BUY,99999999999999999999999999999999,1", "TOO_LARGE"),
        ("2024-01-02,A,X,BUY,1,99999999999999999999999999999999", "TOO_LARGE"),
        ("9999-12-31,A,X,BUY,1,1", "DATE_OUT_OF_RANGE"),
        ("0024-01-02,A,X,BUY,1,1", "DATE_OUT_OF_RANGE"),
        ("2024-01-02,A,X,OPEN,1,1,,,0204-01-02", "DATE_OUT_OF_RANGE"),
    ],
)
def test_slips_of_the_pen_are_findings(row, code):
    """Numbers and years beyond all reason are refused by row, and never end the booking."""
    assert [finding.code for finding in _booked(row).findings] == [code]


@pytest.mark.parametrize("regime", [TaxRegime.US, TaxRegime.CA])
def test_splits_that_multiply_beyond_all_digits_are_findings(regime):
    """A ratio that leaves more shares than can be counted exactly is refused, and the lot stays as it is."""
    rows = ["2024-01-02,A,X,BUY,1000000000000,1000000000000"]
    rows += ["2024-01-03,A,X,SPLIT,2,", "2024-02-02,A,X,SELL,1,1"]
    books = _booked("\n".join(rows), regime)
    assert [(finding.row, finding.code) for finding in books.findings] == [(3, "TOO_LARGE")]
    assert positions(books.books) == {("A", "X"): Decimal(10) ** 12 - 1}
