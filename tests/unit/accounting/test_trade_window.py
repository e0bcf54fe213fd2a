"""What the window still needs while securities split, change their symbol, arrive late or share names of executions."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from prometheus.accounting.entry_file import read_entries
from prometheus.accounting.household import book_entries
from prometheus.accounting.household_ledger import HouseholdSettings
from prometheus.accounting.lot_report import sale_lines_of
from prometheus.domain.accounts import TaxRegime
from tests.unit.accounting.told import Told

CA = {"regime": TaxRegime.CA}
_COLUMNS = "date,account,ticker,action,quantity,amount,lot_id,entry_id,acquired_on,reverses\n"


def _booked(text, regime=TaxRegime.US):
    found = read_entries(_COLUMNS + "\n".join(line.strip() for line in text.strip().splitlines()) + "\n")
    assert not found.findings
    return book_entries(found.entries, HouseholdSettings(regime=regime))


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
    (lot,) = books.lots["A"]
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
    (lot,) = (lot for lots in books.lots.values() for lot in lots)
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
    assert books.positions == {("A", "X"): 100}


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
    assert books.positions == {("A", "X"): Decimal(10) ** 12 - 1}
