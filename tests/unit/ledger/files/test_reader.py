from datetime import date

import pytest

from prometheus.foundation.errors import FileRefusedError
from prometheus.ledger.files.mapping import read_mapping
from prometheus.ledger.files.reader import read_events
from prometheus.ledger.fold import fold
from prometheus.ledger.terms import Terms

OWN = "date,account,ticker,action,quantity,amount"
MAPPING = """
name = "mine"
base_currency = "USD"
[[tables]]
needs = ["Date", "Action", "Symbol", "Quantity", "Amount", "Fees & Comm"]
unused = ["Description", "Price", "Fees & Comm"]
[tables.read]
date = "Date"
ticker = "Symbol"
quantity = "Quantity"
amount = "Amount"
[dates]
formats = ["%m/%d/%Y"]
[[tables.rules]]
event = "BUY"
"""
SCHWAB = (
    "Date,Action,Symbol,Description,Quantity,Price,Fees & Comm,Amount\n"
    "01/03/2024,Buy,XYZ,XYZ CORP,100,$20.00,$4.95,-$2004.95\n"
)


def booked(header, *rows: str):
    """Read rows of the own format and fold them; return positions, and codes of refusals."""
    file = read_events("\n".join((header, *rows)) + "\n")
    folded = fold(file.events, file.terms.added_to(Terms()))
    shares = {(lot.account, lot.ticker): lot.quantity for lot in folded.state.lots.values()}
    return shares, [finding.code for finding in file.by_row(folded.findings) if finding.refused], folded


def test_the_layout_is_recognised_and_said():
    """The own format needs no remark; a broker's layout is named first."""
    assert read_events(f"{OWN}\n2024-01-02,A,X,BUY,1,5\n").layout == "own format"
    assert read_events(SCHWAB, account="A").remarks[0].startswith("Read as 'Schwab")


def test_a_mapping_of_the_user_comes_before_those_that_are_shipped():
    """Who describes a layout means it."""
    assert read_events(SCHWAB, account="A", mappings=[read_mapping(MAPPING, "m.toml")]).layout == "mine"
    assert read_events(f"{OWN}\n", mappings=[read_mapping(MAPPING, "m.toml")]).layout == "own format"


def test_a_file_that_names_no_account_needs_one():
    """Schwab's file of one account does not say which; the caller does."""
    with pytest.raises(FileRefusedError) as refused:
        read_events(SCHWAB)
    assert refused.value.code == "NO_ACCOUNT"
    assert read_events(SCHWAB, account="A").events[0].account == "A"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a,b,c,d\n1,2,3,4\n", "UNKNOWN_LAYOUT"),
        ("<R/>", "UNKNOWN_LAYOUT"),
        ("<R>", "BAD_XML"),
        ("", "MISSING_COLUMN"),
        ("date;account;ticker;action\n", "NOT_COMMAS"),
        ("date,account,ticker,action,quantity\n", "MISSING_COLUMN"),
    ],
)
def test_a_layout_that_nobody_knows_is_refused(text, code):
    """The refusal says what is missing, or which layouts there are and how to describe another."""
    with pytest.raises(FileRefusedError) as refused:
        read_events(text)
    assert refused.value.code == code


def test_columns_that_a_layout_does_not_know_are_said():
    """A new column of a broker is not read in silence."""
    text = SCHWAB.replace("Amount\n", "Amount,Lot Method\n").replace("2004.95\n", "2004.95,FIFO\n")
    assert any("Lot Method" in remark for remark in read_events(text, account="A").remarks)


# ---------------------------------------------------------------- inputs that once gave a wrong answer


def test_a_rename_with_a_ratio_is_refused_by_name():
    """Half a new share for one old is no rename: nothing of the row is dropped in silence."""
    shares, codes, _ = booked(
        f"{OWN},other_ticker", "2024-01-02,A,OLD,BUY,100,1000,", "2024-06-03,A,OLD,RENAME,0.5,,NEW"
    )
    assert (shares, codes) == ({("A", "OLD"): 100}, ["UNUSED_VALUE"])


def test_a_delisting_of_a_part_is_refused():
    """Five of ten shares cannot be delisted; all ten stay."""
    shares, codes, _ = booked(OWN, "2024-01-02,A,XYZ,BUY,10,1000", "2024-06-03,A,XYZ,DELIST,5,550")
    assert (shares, len(codes)) == ({("A", "XYZ"): 10}, 1)


def test_cash_of_a_split_does_not_vanish():
    """Cash for a fraction of which there is none is booked or refused, and in no case lost."""
    _, codes, folded = booked(OWN, "2024-01-02,A,XYZ,BUY,10,1000", "2024-06-03,A,XYZ,SPLIT,2:1,50")
    assert codes or folded.state.cash["A"] == -950


def test_a_split_is_of_the_security():
    """Listed for one account, it reaches the other that holds the shares: ten sold of twenty."""
    shares, codes, _ = booked(
        OWN,
        "2024-01-02,A,XYZ,BUY,10,1000",
        "2024-01-02,B,XYZ,BUY,10,1000",
        "2024-06-03,A,XYZ,SPLIT,2:1,",
        "2024-06-10,B,XYZ,SELL,10,600",
    )
    assert (shares, codes) == ({("A", "XYZ"): 20, ("B", "XYZ"): 10}, [])


def test_a_lot_that_has_replaced_others_does_so_no_more():
    """What an opening lot has replaced before the books open is said, and the loss is allowed."""
    rows = (
        "2025-01-01,A,XYZ,OPEN,100,10000,L0,2023-05-01,",
        "2025-01-01,A,XYZ,OPEN,100,10100,L2,2024-12-20,100",
        "2025-01-10,A,XYZ,SELL,100,8000,L0,,",
    )
    _, codes, folded = booked(f"{OWN},lot_id,acquired_on,replaced_quantity", *rows)
    assert codes == []
    assert sum(posting.realized_gain for posting in folded.postings) == -2000


def test_a_purchase_has_no_acquisition_date_of_its_own():
    """A BUY with acquired_on contradicts itself; a lot from elsewhere comes in by OPEN or TRANSFER_IN."""
    rows = ("2025-01-01,A,XYZ,BUY,100,10000,L0,2023-05-01", "2025-02-01,A,XYZ,SELL,100,12000,L0,2020-01-01")
    shares, codes, _ = booked(f"{OWN},lot_id,acquired_on", *rows, "2025-03-01,B,XYZ,BUY,1,100,L1,")
    assert (shares, codes) == ({("B", "XYZ"): 1}, ["UNUSED_VALUE", "UNUSED_VALUE"])


def test_ten_shares_split_by_a_third_and_back_are_ten():
    """1:3 and then 3:1 leave ten shares that can be sold."""
    shares, codes, _ = booked(
        OWN,
        "2024-01-02,A,XYZ,BUY,10,1000",
        "2024-06-03,A,XYZ,SPLIT,1:3,",
        "2024-07-03,A,XYZ,SPLIT,3:1,",
        "2024-08-05,A,XYZ,SELL,10,1600",
    )
    assert (shares, codes) == ({}, [])


def test_days_of_the_file_reach_the_events():
    """A settlement date is read, for Canada's tax year goes by it."""
    file = read_events(f"{OWN},settle_date\n2024-12-31,A,X,SELL,1,5,2025-01-02\n")
    assert file.events[0].settle_date == date(2025, 1, 2)
