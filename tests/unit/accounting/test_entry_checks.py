import pytest

from prometheus.accounting.entry_file import read_entries
from prometheus.accounting.household import book_entries
from prometheus.accounting.household_ledger import HouseholdSettings
from prometheus.domain.accounts import TaxRegime
from prometheus.foundation.errors import FileRefusedError

COLUMNS = (
    "date,account,ticker,action,quantity,amount,lot_id,group,acquired_on,other_ticker,other_account,basis_fraction,"
    "entry_id,reverses,account_type"
)
GOOD = ("2019-01-02,A,X,OPEN,100,1000,L1", "2019-06-03,A,X,SELL,40,300,L1", "2019-06-10,B,X,BUY,10,90,L2")


def booked(*rows: str, regime=TaxRegime.US):
    """Book rows and return all findings and the books."""
    found = read_entries("\n".join((COLUMNS, *rows)) + "\n")
    books = book_entries(found.entries, HouseholdSettings(regime=regime, sheltered=found.sheltered))
    return sorted((*found.findings, *books.findings), key=lambda finding: finding.row), books


BAD = [
    # what the issue names
    ("2019-06-04,A,X,SELL,61,500,", "OVERSOLD"),
    ("2019-06-04,A,X,SELL,1,500,L9", "UNKNOWN_LOT"),
    ("2019-06-04,A,X,SELL,-1,500,L1", "NEGATIVE_QUANTITY"),
    ("2019-06-04,A,X,SPLIT,0,,", "ZERO_RATIO"),
    ("2019-06-04,A,X,SPLIT,1:0,,", "ZERO_RATIO"),
    ("2019-06-04,A,X,SPLIT,,,", "ZERO_RATIO"),
    ("2019-01-01,A,X,BUY,1,5,L3", "BEFORE_OPENING"),
    # rows that cannot be read
    ("2019-13-01,A,X,BUY,1,5,L3", "BAD_DATE"),
    ("2019-06-04,A,X,BUY,1e3,5,L3", "BAD_NUMBER"),
    ("2019-06-04,A,X,BUY,NaN,5,L3", "BAD_NUMBER"),
    ("2019-06-04,A,X,GIFT,1,5,L3", "UNKNOWN_ACTION"),
    ("2019-06-04,A,X,SPLIT,1:2:3,,", "ZERO_RATIO"),
    ("2019-06-04,A,X,SELL,2,5,L1=1;L2", "BAD_LOTS"),
    ("2019-06-04,A,X,BUY,1,5,L3,,,,,,,,PENSION", "UNKNOWN_TYPE"),
    ("2019-06-04,A,X,BUY,1,5,L3,,,,,,,,,more", "TOO_MANY_VALUES"),
    # rows that contradict themselves
    ("2019-06-04,,X,BUY,1,5,L3", "NO_ACCOUNT"),
    ("2019-06-04,A,,BUY,1,5,L3", "NO_TICKER"),
    ("2019-06-04,A,X,BUY,1,5,L3~W1", "BAD_LOT_ID"),
    ("2019-06-04,A,X,BUY,1,-5,L3", "NEGATIVE_AMOUNT"),
    ("2019-06-04,A,X,BUY,1,5.001,L3", "PART_OF_A_CENT"),
    ("2019-06-04,A,X,BUY,0.00001,5,L3", "TOO_FINE"),
    ("2019-06-04,A,X,BUY,,5,L3", "NO_QUANTITY"),
    ("2019-06-04,A,X,BUY,0,5,L3", "NO_QUANTITY"),
    ("2019-06-04,A,X,BUY,1,,L3", "NO_AMOUNT"),
    ("2019-06-04,A,,TRANSFER_IN,,,", "NO_AMOUNT"),
    ("2019-06-04,A,X,RENAME,,,", "NO_OTHER_TICKER"),
    ("2019-06-04,A,X,RENAME,,,,,,X", "NO_OTHER_TICKER"),
    ("2019-06-04,A,X,SPINOFF,0.5,,,,,Y,,1", "BAD_BASIS_FRACTION"),
    ("2019-06-04,A,X,SPINOFF,0.5,,,,,Y,,", "BAD_BASIS_FRACTION"),
    ("2019-06-04,A,X,TRANSFER_OUT,1,,,,,,A", "SAME_ACCOUNT"),
    ("2019-06-04,A,X,TRANSFER_IN,1,5,L3,,2019-06-05", "ACQUIRED_LATER"),
    ("2019-06-04,A,X,SELL,3,5,L1=1;L1=2", "LOT_NAMED_TWICE"),
    ("2019-06-04,A,X,SELL,3,5,L1=1;L2=1", "PICKS_DIFFER"),
    ("2019-06-04,A,X,SELL,1,5,L1=-1;L2=2", "NEGATIVE_QUANTITY"),
    # rows that the accounts cannot bear
    ("2019-06-04,A,X,BUY,1,5,L1", "LOT_EXISTS"),
    ("2019-06-04,A,Z,SPLIT,2,,", "NOT_HELD"),
    ("2019-06-04,A,Z,SPINOFF,2,,,,,Y,,0.5", "NOT_HELD"),
    ("2019-06-04,A,Z,RENAME,,,,,,Y", "NOT_HELD"),
    ("2019-06-04,A,Z,DELIST,,0,", "NOT_HELD"),
    ("2019-06-04,A,X,SPLIT,0.0000001,,", "VANISHING_LOT"),
    ("2019-06-04,A,X,TRANSFER_OUT,500,,,,,,B", "OVERSOLD"),
    ("2019-06-04,A,X,TRANSFER_OUT,1,,,,,,P", "TRANSFER_ACROSS_SHELTER"),
    # corrections
    ("2019-06-04,A,,REVERSE,,,", "NO_TARGET"),
    ("2019-06-04,A,,REVERSE,,,,,,,,,,99", "UNKNOWN_ROW"),
    ("2019-06-04,B,,REVERSE,,,,,,,,,,3", "OTHER_ACCOUNT"),
    ("2019-06-02,A,,REVERSE,,,,,,,,,,3", "CORRECTED_BEFORE"),
]
PENSION = "2019-06-05,P,Q,BUY,1,5,L1,,,,,,,,RRSP"


@pytest.mark.parametrize(("row", "code"), BAD)
def test_a_bad_row_is_refused_and_the_rest_is_untouched(row, code):
    """A bad row is named with code, line and remedy, and the books are those of the file without it."""
    findings, books = booked(*GOOD, PENSION, row)
    assert [(finding.code, finding.row) for finding in findings] == [(code, 6)]
    assert findings[0].remedy.endswith(".")
    assert str(findings[0]).startswith("row 6: ")
    _, without = booked(*GOOD, PENSION)
    assert (books.journals, books.lots) == (without.journals, without.lots)


@pytest.mark.parametrize(
    ("row", "code"), [case for case in BAD if case[1] in {"OVERSOLD", "NOT_HELD", "VANISHING_LOT", "ZERO_RATIO"}]
)
def test_canada_refuses_what_an_account_does_not_hold(row, code):
    """In Canada the pool may hold enough, the account does not: the row is refused as in the US."""
    findings, _ = booked(*GOOD, PENSION, row, regime=TaxRegime.CA)
    assert [finding.code for finding in findings] == [code]


def test_canada_refuses_shares_that_pass_into_a_plan():
    """A transfer into an RRSP is a disposition and a contribution, which one row cannot say."""
    findings, _ = booked(*GOOD, PENSION, "2019-06-04,A,X,TRANSFER_OUT,1,,,,,,P", regime=TaxRegime.CA)
    assert [finding.code for finding in findings] == ["TRANSFER_ACROSS_SHELTER"]


def test_two_corrections_of_one_row():
    """A row is taken back once; the second correction is refused, the first stands."""
    correction = "2019-06-05,A,,REVERSE,,,,,,,,,,3"
    findings, books = booked(*GOOD, correction, correction)
    assert [(finding.code, finding.row) for finding in findings] == [("REVERSED_TWICE", 6)]
    assert books.positions["A", "X"] == 100


def test_a_correction_is_not_corrected():
    """To bring a row back it is entered again; a correction of a correction is refused."""
    findings, _ = booked(*GOOD, "2019-06-05,A,,REVERSE,,,,,,,,,,3", "2019-06-05,A,,REVERSE,,,,,,,,,,5")
    assert [(finding.code, finding.row) for finding in findings] == [("REVERSED_CORRECTION", 6)]


def test_a_row_can_be_corrected_by_its_name():
    """The entry_id of a row comes before a line number that reads the same."""
    rows = ("2019-06-04,A,X,BUY,5,50,L7,,,,,,2", "2019-06-05,A,,REVERSE,,,,,,,,,,2")
    findings, books = booked(*GOOD, *rows)
    assert not findings
    assert books.positions["A", "X"] == 60


def test_a_security_has_one_group():
    """A row that puts a security into a second group is refused."""
    findings, _ = booked("2019-01-02,A,X,BUY,1,5,L1,G", "2019-01-03,A,X,BUY,1,5,L2,H")
    assert [(finding.code, finding.row) for finding in findings] == [("GROUP_CONFLICT", 3)]


def test_an_account_has_one_type():
    """An account cannot be an IRA in one row and taxable in another."""
    findings, _ = booked("2019-01-02,A,X,BUY,1,5,L1,,,,,,,,IRA", "2019-01-03,A,X,BUY,1,5,L2,,,,,,,,TAXABLE")
    assert [(finding.code, finding.row) for finding in findings] == [("TYPE_CONFLICT", 3)]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "MISSING_COLUMN"),
        ("date,account,ticker,action,quantity", "MISSING_COLUMN"),
        ("date,account,ticker,action,quantity,amount,price", "UNKNOWN_COLUMN"),
        ("date,account,ticker,action,quantity,amount,lot_id,lot_id", "UNKNOWN_COLUMN"),
    ],
)
def test_a_file_without_its_columns_is_refused(header, code):
    """A header that lacks a column, or has one that nobody knows, refuses the file with the columns there are."""
    with pytest.raises(FileRefusedError) as refused:
        read_entries(f"{header}\n2019-01-02,A,X,BUY,1,5\n")
    assert refused.value.code == code


def test_a_file_is_read_with_its_liberties():
    """A byte-order mark, empty lines, blanks, small letters and dollar signs are understood."""
    text = "\ufeffDate,Account,Ticker,Action,Quantity,Amount\n\n 2019-01-02 ,A, x ,buy,1,$5.10\n,,,,,\n"
    found = read_entries(text)
    assert (found.rows, found.findings) == (1, ())
    assert (found.entries[0].ticker, str(found.entries[0].amount), found.entries[0].row) == ("X", "5.10", 3)
