import random
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from prometheus.foundation.errors import FileRefusedError
from prometheus.ledger.events import Buy, Cancellation, Delisting, OpeningLot, Sell, ShortSale, Split
from prometheus.ledger.files.own_format import is_own_header, read_own_format
from prometheus.ledger.fold import fold
from prometheus.ledger.terms import Terms

COLUMNS = (
    "date,account,ticker,action,quantity,amount,lot_id,group,acquired_on,other_ticker,other_account,basis_fraction,"
    "entry_id,reverses,account_type"
)
GOOD = ("2019-01-02,A,X,OPEN,100,1000,L1", "2019-06-03,A,X,SELL,40,300,L1", "2019-06-10,B,X,BUY,10,90,L2")
PENSION = "2019-06-05,P,Q,BUY,1,5,L1,,,,,,,,RRSP"


def read(*rows: str, columns=COLUMNS):
    """Read rows below a header."""
    return read_own_format("\n".join((columns, *rows)) + "\n")


def booked(*rows: str):
    """Read rows and fold them; return all findings by row and the fold's result."""
    file = read(*rows)
    folded = fold(file.events, file.terms.added_to(Terms()))
    return [finding for finding in file.by_row(folded.findings) if finding.refused], folded


BAD = [
    # rows that cannot be read
    ("2019-13-01,A,X,BUY,1,5,L3", "BAD_DATE"),
    ("2019-06-04,A,X,BUY,1e3,5,L3", "BAD_NUMBER"),
    ("2019-06-04,A,X,BUY,NaN,5,L3", "BAD_NUMBER"),
    ("2019-06-04,A,X,BUY,10,1$0$0,L3", "BAD_NUMBER"),
    ("2019-06-04,A,X,GIFT,1,5,L3", "UNKNOWN_ACTION"),
    ("2019-06-04,A,X,SPLIT,1:2:3,,", "ZERO_RATIO"),
    ("2019-06-04,A,X,SPLIT,0,,", "ZERO_RATIO"),
    ("2019-06-04,A,X,SPLIT,1:0,,", "ZERO_RATIO"),
    ("2019-06-04,A,X,SPLIT,,,", "ZERO_RATIO"),
    ("2019-06-04,A,X,SPLIT,-2,,", "NEGATIVE_QUANTITY"),
    ("2019-06-04,A,X,SELL,2,5,L1=1;L2", "BAD_LOTS"),
    ("2019-06-04,A,X,BUY,1,5,L3,,,,,,,,PENSION", "UNKNOWN_TYPE"),
    ("2019-06-04,A,X,BUY,1,5,L3,,,,,,,,,more", "TOO_MANY_VALUES"),
    # rows that contradict themselves
    ("2019-06-04,,X,BUY,1,5,L3", "NO_ACCOUNT"),
    ("2019-06-04,A,,BUY,1,5,L3", "NO_TICKER"),
    ("2019-06-04,A,X,BUY,1,5,L3~W1", "BAD_LOT_ID"),
    ("2019-06-04,A,X,BUY,1,-5,L3", "NEGATIVE_AMOUNT"),
    ("2019-06-04,A,X,BUY,1,5.001,L3", "PART_OF_A_CENT"),
    ("2019-06-04,A,X,BUY,0.0000000001,5,L3", "TOO_FINE"),
    ("2019-06-04,A,X,BUY,1000000000001,5,L3", "TOO_LARGE"),
    ("2019-06-04,A,X,BUY,1,1000000000001,L3", "TOO_LARGE"),
    ("1899-06-04,Z,X,BUY,1,5,L3", "DATE_OUT_OF_RANGE"),
    ("2019-06-04,A,X,BUY,,5,L3", "NO_QUANTITY"),
    ("2019-06-04,A,X,BUY,0,5,L3", "NO_QUANTITY"),
    ("2019-06-04,A,X,BUY,-1,5,L3", "NEGATIVE_QUANTITY"),
    ("2019-06-04,A,X,BUY,1,,L3", "NO_AMOUNT"),
    ("2019-06-04,A,X,DIVIDEND,,,", "NO_AMOUNT"),
    ("2019-06-04,A,X,DELIST,,,", "NO_AMOUNT"),
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
    # values that the action has no use for
    ("2019-06-04,A,X,RENAME,0.5,,,,,NEW", "UNUSED_VALUE"),
    ("2019-06-04,A,X,BUY,1,5,L3,,2018-01-01", "UNUSED_VALUE"),
    ("2019-06-04,A,X,SELL,1,5,L1,,2018-01-01", "UNUSED_VALUE"),
    ("2019-06-04,A,X,DIVIDEND,100,5,", "UNUSED_VALUE"),
    ("2019-06-04,A,X,SPLIT,2,,,,,Y", "UNUSED_VALUE"),
    ("2019-06-04,A,X,TRANSFER_OUT,1,5,,,,,B", "UNUSED_VALUE"),
    ("2019-06-04,A,X,BUY,1,5,L3,,,,B", "UNUSED_VALUE"),
    ("2019-06-04,A,,TRANSFER_IN,5,5,", "UNUSED_VALUE"),
    ("2019-06-04,A,,TRANSFER_IN,,5,,G", "UNUSED_VALUE"),
    ("2019-06-04,A,X,BUY,1,5,L3,,,,,,,2", "UNUSED_VALUE"),
    # rows that contradict others
    ("2019-01-01,A,X,BUY,1,5,L3", "BEFORE_OPENING"),
    # corrections
    ("2019-06-04,A,,REVERSE,,,", "NO_TARGET"),
    ("2019-06-04,A,,REVERSE,,,,,,,,,,99", "UNKNOWN_ROW"),
    ("2019-06-04,A,,REVERSE,,,,,,,,,,nobody", "UNKNOWN_ROW"),
    ("2019-06-04,B,,REVERSE,,,,,,,,,,3", "OTHER_ACCOUNT"),
    ("2019-06-02,A,,REVERSE,,,,,,,,,,3", "CORRECTED_BEFORE"),
    # rows that the accounts cannot bear
    ("2019-06-04,A,X,SELL,61,500,", "OVERSOLD"),
    ("2019-06-04,A,X,SELL,1,500,L9", "UNKNOWN_LOT"),
    ("2019-06-04,A,X,BUY,1,5,L1", "LOT_EXISTS"),
    ("2019-06-04,A,Z,SPLIT,2,,", "NOT_HELD"),
]


@pytest.mark.parametrize(("row", "code"), BAD)
def test_a_bad_row_is_refused_and_the_rest_is_untouched(row, code):
    """A bad row is named with code, line and remedy, and the books are those of the file without it."""
    findings, folded = booked(*GOOD, PENSION, row)
    assert [(finding.code, finding.row) for finding in findings] == [(code, 6)]
    assert findings[0].remedy.endswith(".")
    assert str(findings[0]).startswith("row 6: ")
    _, without = booked(*GOOD, PENSION)
    assert folded.state == without.state


def test_a_quote_that_is_not_closed_is_a_finding_of_its_line():
    """The rows that the open quote swallows are named with the line where it opens."""
    file = read(*GOOD, '2019-06-11,A,X,BUY,1,5,"L3', "2019-06-12,A,X,BUY,1,5,L4")
    assert [(finding.code, finding.row) for finding in file.findings] == [("UNCLOSED_QUOTE", 6)]
    assert "from line 5 to line 6" in file.findings[0].message


def test_two_corrections_of_one_row():
    """A row is reversed once; the second correction is refused, the first counts."""
    correction = "2019-06-05,A,,REVERSE,,,,,,,,,,3"
    findings, folded = booked(*GOOD, correction, correction)
    assert [(finding.code, finding.row) for finding in findings] == [("REVERSED_TWICE", 6)]
    assert folded.state.quantity_of("A", "X") == 100


def test_a_correction_is_not_corrected():
    """To bring a row back it is entered again; a correction of a correction is refused."""
    findings, _ = booked(*GOOD, "2019-06-05,A,,REVERSE,,,,,,,,,,3", "2019-06-05,A,,REVERSE,,,,,,,,,,5")
    assert [(finding.code, finding.row) for finding in findings] == [("REVERSED_CORRECTION", 6)]


def test_a_row_can_be_corrected_by_its_name():
    """The entry_id of a row comes before a line number that reads the same."""
    rows = ("2019-06-04,A,X,BUY,5,50,L7,,,,,,2", "2019-06-05,A,,REVERSE,,,,,,,,,,2")
    findings, folded = booked(*GOOD, *rows)
    assert not findings
    assert folded.state.quantity_of("A", "X") == 60


def test_a_row_can_be_replaced_by_another():
    """A row that corrects another has its values, and the day on which that was told."""
    file = read(
        "2019-01-02,A,X,BUY,10,100,L1,,",
        "2019-01-02,A,X,BUY,20,100,L1,2,2019-02-01",
        columns="date,account,ticker,action,quantity,amount,lot_id,corrects,corrected_on",
    )
    folded = fold(file.events, Terms())
    assert (file.findings, folded.findings, folded.state.quantity_of("A", "X")) == ((), (), 20)


def test_an_entry_id_names_one_row_of_an_account():
    """Two accounts may use one name; within an account the later date is refused, in whatever order they come."""
    one, two = "2019-01-02,A,X,BUY,1,5,L1,,,,,,N1", "2019-01-03,A,X,BUY,1,6,L2,,,,,,N1"
    other = "2019-01-03,B,X,BUY,1,6,L2,,,,,,N1"
    assert [(each.row, each.code) for each in read(one, two, other).findings] == [(3, "ENTRY_ID_TWICE")]
    assert [(each.row, each.code) for each in read(two, one, other).findings] == [(2, "ENTRY_ID_TWICE")]


def test_rows_of_a_second_group_or_type_are_refused():
    """A security has one group and an account one type; the row that says another is left out."""
    groups = read("2019-01-02,A,X,BUY,1,5,L1,G", "2019-01-03,A,X,BUY,1,5,L2,H")
    types = read("2019-01-02,A,X,BUY,1,5,L1,,,,,,,,IRA", "2019-01-03,A,X,BUY,1,5,L2,,,,,,,,TAXABLE")
    assert [(each.row, each.code) for each in groups.findings] == [(3, "GROUP_CONFLICT")]
    assert [(each.row, each.code) for each in types.findings] == [(3, "TYPE_CONFLICT")]
    assert (len(groups.events), len(types.events)) == (1, 1)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "MISSING_COLUMN"),
        ("date,account,ticker,action,quantity", "MISSING_COLUMN"),
        ("date,account,ticker,action,quantity,amount,price_paid", "UNKNOWN_COLUMN"),
        ("date,account,ticker,action,quantity,amount,lot_id,lot_id", "UNKNOWN_COLUMN"),
        ("date;account;ticker;action;quantity;amount", "NOT_COMMAS"),
    ],
)
def test_a_file_without_its_columns_is_refused(header, code):
    """A header that lacks a column, or has one that nobody knows, refuses the file with the columns there are."""
    with pytest.raises(FileRefusedError) as refused:
        read_own_format(f"{header}\n2019-01-02,A,X,BUY,1,5\n")
    assert refused.value.code == code


def test_a_file_is_read_with_its_liberties():
    """A byte-order mark, empty lines, blanks, small letters and dollar signs are understood."""
    text = '\ufeffDate,Account,Ticker,Action,Quantity,Amount\r\n\r\n 2019-01-02 ,A, x ,buy,1,"$5,000.10"\r\n,,,,,\r\n'
    file = read_own_format(text)
    event = file.events[0]
    assert (file.rows, file.findings, file.row_of[event.key]) == (1, (), 3)
    assert isinstance(event, Buy)
    assert (event.ticker, event.amount) == ("X", Decimal("5000.10"))


def test_the_order_of_rows_does_not_matter():
    """The same rows in any order are the same events under the same names."""
    rows = [
        *GOOD,
        GOOD[2],
        PENSION,
        "2019-06-11,A,X,DIVIDEND,,5,",
        "2019-06-12,A,,REVERSE,,,,,,,,,,N",
        "2019-06-04,A,X,BUY,5,50,L7,,,,,,N",
    ]
    expected = set(read(*rows).events)
    draw = random.Random(5)
    for _ in range(10):
        draw.shuffle(rows)
        assert set(read(*rows).events) == expected


def test_a_file_that_is_read_again_within_a_longer_one_gives_the_same_names():
    """Rows before and between the others change no name, so that nothing is booked twice."""
    short, long = read(*GOOD), read(PENSION, GOOD[0], "2019-05-05,B,X,BUY,3,30,", *GOOD[1:])
    assert set(short.events) < set(long.events)


def test_a_zero_in_a_column_that_is_not_used_says_nothing():
    """Exports fill columns with zeros; these are no values that would be lost."""
    assert read("2019-06-04,A,X,DIVIDEND,0.00,5,").findings == ()


def test_an_opening_says_what_has_happened_to_it():
    """Shares that have replaced others, the tacked start of the holding period and the original cost are read."""
    file = read(
        "2025-01-01,A,X,OPEN,100,10100,L2,2024-12-20,2023-05-01,40,10000",
        columns="date,account,ticker,action,quantity,amount,lot_id,acquired_on,holding_period_start,replaced_quantity,"
        "cost_basis",
    )
    event = file.events[0]
    assert isinstance(event, OpeningLot)
    assert (event.replaced_quantity, event.cost_basis, event.adjusted_basis) == (40, 10000, 10100)
    assert str(event.holding_period_start) == "2023-05-01"


def test_shares_have_nine_decimals_and_splits_are_exact():
    """The ninth decimal of a share counts, and 1:3 is a third."""
    file = read("2019-06-04,A,X,BUY,0.123456789,5,", "2019-06-05,A,X,SPLIT,1:3,,")
    assert [getattr(event, "quantity", None) or event.ratio for event in file.events] == [
        Decimal("0.123456789"),
        Fraction(1, 3),
    ]


def test_short_sales_delistings_and_splits_say_all_they_can():
    """SHORT opens a short position; the shares of a DELIST and the cash of a SPLIT reach the fold."""
    file = read("2019-06-04,S,X,SHORT,10,950,", "2019-06-05,A,Y,DELIST,5,550,", "2019-06-05,A,Z,SPLIT,2:1,50,")
    short, delisting, split = sorted(file.events, key=lambda event: event.ticker)
    assert isinstance(short, ShortSale)
    assert isinstance(delisting, Delisting)
    assert isinstance(split, Split)
    assert (delisting.quantity, split.cash_in_lieu) == (5, 50)


def test_a_currency_needs_a_rate_and_a_rate_a_currency():
    """An amount in another currency without a rate would count as base currency; it is refused."""
    columns = "date,account,ticker,action,quantity,amount,currency,rate,settle_date"
    file = read(
        "2019-06-04,A,X,SELL,1,5.005,usd,1.35,2019-06-06",
        "2019-06-04,A,X,BUY,1,5,USD,,",
        "2019-06-04,A,X,BUY,1,5,,1.35,",
        "2019-06-04,A,X,BUY,1,5,USD,0,",
        columns=columns,
    )
    event = file.events[0]
    assert isinstance(event, Sell)
    assert (event.currency, event.rate, str(event.settle_date)) == ("USD", Decimal("1.35"), "2019-06-06")
    assert [finding.code for finding in file.findings] == ["NO_RATE", "NO_RATE", "BAD_RATE"]


def test_similar_symbols_are_hinted_at_and_read():
    """BRK.B and BRK/B are two securities to the ledger, with a hint that is no refusal."""
    file = read("2019-06-04,A,BRK.B,BUY,1,5,", "2019-06-05,A,BRK/B,BUY,1,5,")
    assert (len(file.events), file.is_complete, [each.code for each in file.findings]) == (2, True, ["SIMILAR_SYMBOLS"])


def test_a_cancellation_may_name_an_event_of_another_file():
    """A name that no row has is left to the fold, which sees the events of all files."""
    file = read("2019-06-05,A,,REVERSE,,,,,,,,,,exec-7")
    event = file.events[0]
    assert isinstance(event, Cancellation)
    assert event.target_id == "exec-7"
    opened = replace(read(GOOD[0]).events[0], event_id="exec-7")
    bought = read(GOOD[2]).events[0]
    assert [lot.lot_id for lot in fold([opened, bought, event], Terms()).state.lots.values()] == ["L2"]


def test_a_header_is_recognised_although_a_column_is_missing():
    """A file meant for the ledger is told which column it lacks, and not that its layout is unknown."""
    assert is_own_header(("Date", "Account", "Ticker", "Action", "Quantity"))
    assert not is_own_header(("Date", "Action", "Symbol", "Quantity", "Price"))
