"""Files in the layouts of brokers: columns and words as in the public samples, the numbers our own."""

import random
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from prometheus.foundation.errors import FileRefusedError
from prometheus.ledger.events import (
    Buy,
    CashTransfer,
    CoverShort,
    Dividend,
    DividendKind,
    Fee,
    Interest,
    Reinvestment,
    ReturnOfCapital,
    Sell,
    ShortSale,
    Split,
)
from prometheus.ledger.files.own_format import read_own_format
from prometheus.ledger.files.reader import presets, read_events
from prometheus.ledger.files.writer import write_own_format
from prometheus.ledger.fold import fold
from prometheus.ledger.terms import Terms

SAMPLES = (
    "schwab.csv",
    "fidelity.csv",
    "fidelity_all_accounts.csv",
    "questrade.csv",
    "rbc.csv",
    "ib_activity.csv",
    "ib_flex.csv",
    "ib_flex.xml",
)
FOLDER = Path(__file__).parent / "samples"
RATES = {("USD", date(2025, 6, 23)): Decimal("1.36")}


def read(name):
    """Read a sample; the rows of Fidelity's file of one account are of F-1."""
    account = "F-1" if name == "fidelity.csv" else ""
    return read_events((FOLDER / name).read_text(encoding="utf-8"), account=account, rates=RATES)


def of_kind(file, kind):
    """Return the events of exactly one kind, by date."""
    return sorted((each for each in file.events if type(each) is kind), key=lambda each: each.trade_date)


def refused(file):
    """Return line and code of the rows that were left out."""
    return [(finding.row, finding.code) for finding in file.findings if finding.refused]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_row_is_an_event_a_finding_or_skipped_for_a_reason(name):
    """No row of a broker's file is lost: the layout is said first, and what is skipped is counted."""
    file = read(name)
    skipped = [int(remark.split()[0]) for remark in file.remarks if " skipped: " in remark]
    assert file.remarks[0].startswith("Read as ")
    assert len(file.events) + len(refused(file)) + sum(skipped) == file.rows
    assert not any("Columns" in remark for remark in file.remarks)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_same_file_written_in_the_own_format_says_the_same(name):
    """A broker's file goes through the own format into the same events, and the fold books them."""
    file = read(name)
    again = read_own_format(write_own_format(file.events, file.terms))
    assert set(again.events) == set(file.events)
    assert again.terms.sheltered == file.terms.sheltered
    long = [each for each in file.events if type(each) not in {ShortSale, CoverShort}]
    folded = fold(long, file.terms.added_to(Terms()))
    assert [finding for finding in folded.findings if finding.refused] == []


def test_schwab():
    """Buys and sells with commissions, reinvestments on their effective day, cash; what says too little is refused."""
    file = read("schwab.csv")
    buy, sell, again = of_kind(file, Buy)[0], of_kind(file, Sell)[0], of_kind(file, Reinvestment)[0]
    assert (buy.account, buy.quantity, buy.amount, buy.fee) == (
        "Individual XXXX-1234",
        100,
        Decimal("2004.95"),
        Decimal("4.95"),
    )
    assert (sell.quantity, sell.amount, sell.fee) == (50, Decimal("1248.95"), Decimal("1.05"))
    assert (str(again.trade_date), again.quantity, again.amount) == ("2024-06-14", Decimal("0.4321"), 44)
    assert [each.kind for each in of_kind(file, Dividend)] == [
        DividendKind.SPECIAL,
        DividendKind.ORDINARY,
        DividendKind.ORDINARY,
    ]
    assert [each.amount for each in of_kind(file, Fee)] == [Decimal("1.30"), Decimal("19.67")]
    assert [each.amount for each in of_kind(file, Interest)] == [Decimal("1.63")]
    assert [each.amount for each in of_kind(file, CashTransfer)] == [-300]
    assert refused(file) == [(10, "NOT_BOOKABLE"), (12, "NOT_BOOKABLE"), (14, "UNKNOWN_ACTION")]


def test_an_account_that_only_the_lines_above_name_can_be_called_otherwise():
    """The name that the caller gives counts for rows without one; rows of RBC keep theirs, and its plan."""
    schwab = read_events((FOLDER / "schwab.csv").read_text(encoding="utf-8"), account="ME")
    assert {each.account for each in schwab.events} == {"ME"}
    rbc = read_events((FOLDER / "rbc.csv").read_text(encoding="utf-8"), account="ME")
    assert ({each.account for each in rbc.events}, rbc.terms.sheltered) == ({"57000002"}, frozenset({"57000002"}))


def test_fidelity():
    """Trades, short sales and their covers, funds; options, bonds and mergers are refused and the core fund skipped."""
    file = read("fidelity.csv")
    sell = of_kind(file, Sell)[0]
    assert (sell.account, sell.quantity, sell.amount, sell.fee) == ("F-1", 40, Decimal("1195.01"), Decimal("4.99"))
    assert str(sell.settle_date) == "2024-03-12"
    assert [(each.ticker, each.quantity, each.amount) for each in of_kind(file, ShortSale)] == [
        ("ABC", 20, Decimal("199.99"))
    ]
    assert [(each.ticker, each.quantity, each.amount) for each in of_kind(file, CoverShort)] == [("ABC", 20, 180)]
    assert [each.amount for each in of_kind(file, Dividend)] == [Decimal("9.9")]
    assert [each.amount for each in of_kind(file, CashTransfer)] == [5000]
    assert [code for _, code in refused(file)] == ["NOT_BOOKABLE"] * 3
    assert any(remark.startswith("1 row was skipped: cash moved") for remark in file.remarks)


def test_fidelity_of_several_accounts():
    """Each row belongs to the account whose number it has."""
    file = read("fidelity_all_accounts.csv")
    assert {each.account for each in file.events} == {"333", "444"}
    assert [(each.quantity, each.amount, each.fee) for each in of_kind(file, Sell)] == [
        (10, Decimal("299.98"), Decimal("0.02"))
    ]


def test_questrade():
    """Amounts are net of commission, splits come from the shares added, and plans are known by their type."""
    file = read("questrade.csv")
    buy, abroad = of_kind(file, Buy)
    assert (buy.amount, buy.fee, str(buy.settle_date)) == (Decimal("1009.95"), Decimal("9.95"), "2025-01-16")
    assert (abroad.currency, abroad.rate, abroad.in_base(abroad.amount)) == ("USD", Decimal("1.36"), Decimal("137.36"))
    assert [each.ratio for each in of_kind(file, Split)] == [2]
    assert [each.amount for each in of_kind(file, Fee)] == [Decimal("2.10")]
    assert (file.terms.sheltered, file.terms.taxable) == (frozenset({"222"}), frozenset({"111"}))
    assert refused(file) == [(9, "NOT_BOOKABLE"), (11, "NOT_BOOKABLE")]
    assert [each.code for each in file.findings if not each.refused] == ["RATIO_WORKED_OUT"]


def test_rbc():
    """The lines above the header name account and plan; a 3:1 split adds two shares for one."""
    file = read("rbc.csv")
    assert file.terms.sheltered == frozenset({"57000002"})
    assert [each.ratio for each in of_kind(file, Split)] == [3]
    assert [each.amount for each in of_kind(file, Buy)] == [Decimal("1009.95")]
    assert [each.amount for each in of_kind(file, CashTransfer)] == [2000]
    assert [each.amount for each in of_kind(file, Fee)] == [Decimal("3.75")]
    assert [code for _, code in refused(file)] == ["NOT_BOOKABLE"]


def test_ib_activity():
    """Sections have tables of their own; opening and closing codes tell short sales; totals are no rows."""
    file = read("ib_activity.csv")
    assert {each.account for each in file.events} == {"U1234567"}
    assert [(each.amount, each.fee) for each in of_kind(file, Buy)] == [(2026, 1)]
    assert [each.amount for each in of_kind(file, Sell)] == [Decimal("998.98")]
    assert [each.amount for each in of_kind(file, ShortSale)] == [499]
    assert [each.amount for each in of_kind(file, CoverShort)] == [451]
    assert [(each.ticker, each.amount) for each in of_kind(file, Dividend)] == [("XYZ", 24)]
    assert [each.amount for each in of_kind(file, ReturnOfCapital)] == [10]
    assert [each.amount for each in of_kind(file, Interest)] == [Decimal("-1.15")]
    assert [(each.ratio, str(each.trade_date)) for each in of_kind(file, Split)] == [(2, "2025-05-05")]
    assert [code for _, code in refused(file)] == ["NOT_BOOKABLE", "WRONG_SIGN", "NOT_BOOKABLE"]
    assert any("rounded to cents" in remark for remark in file.remarks)
    assert any("Net Asset Value" in remark for remark in file.remarks)


def test_ib_flex_csv():
    """Executions keep their names; another currency is booked at the rate of the row; lots and totals are skipped."""
    file = read("ib_flex.csv")
    bought, abroad = of_kind(file, Buy)
    assert (bought.event_id, bought.amount, bought.currency) == ("0001.01", 2026, "")
    assert (abroad.amount, abroad.fee, abroad.currency, abroad.rate) == (
        Decimal("201.5"),
        Decimal("1.5"),
        "EUR",
        Decimal("1.08"),
    )
    assert [each.amount for each in of_kind(file, CashTransfer)] == [5000]
    assert [code for _, code in refused(file)] == ["NOT_BOOKABLE", "VALUES_DIFFER"]
    assert any("of a table with ReportDate" in remark for remark in file.remarks)


def test_ib_flex_xml():
    """The same query as XML gives the same trades."""
    file, as_csv = read("ib_flex.xml"), read("ib_flex.csv")
    assert of_kind(file, Buy)[0] == of_kind(as_csv, Buy)[0]
    assert of_kind(file, Sell) == of_kind(as_csv, Sell)
    assert [(each.ratio, str(each.trade_date)) for each in of_kind(file, Split)] == [(2, "2025-05-05")]
    assert [code for _, code in refused(file)] == ["NOT_BOOKABLE", "NOT_BOOKABLE"]


def test_a_file_read_twice_books_nothing_twice():
    """Rows without a name of their own have the same name when the file is read again."""
    for name in SAMPLES:
        assert read(name).events == read(name).events


def test_every_preset_names_the_sample_it_rests_on():
    """A layout without a public source is not shipped."""
    assert len(presets()) == 7
    assert all("/" in each.source for each in presets())


ODD_SIGNS = "0123456789.,;\"'$-+()/: \n\tABCxyz=~#%\u00e9\u0663\x00\ufeff<>&"


@pytest.mark.parametrize("name", SAMPLES)
def test_a_damaged_file_is_read_or_refused_and_what_is_read_survives(name):
    """Signs lost, doubled and exchanged never break the reader, and never give events that no row can tell."""
    text, draw = (FOLDER / name).read_text(encoding="utf-8"), random.Random(name)
    for _ in range(60):
        damaged = text
        for _ in range(draw.randint(1, 6)):
            start = draw.randrange(len(damaged))
            end = start + draw.choice((0, 1, 1, 20))
            between = draw.choice((draw.choice(ODD_SIGNS), damaged[start : start + 40], ""))
            damaged = damaged[:start] + between + damaged[end:]
        try:
            file = read_events(damaged, account="F-1", rates=RATES)
        except FileRefusedError:
            continue
        again = read_own_format(write_own_format(file.events, file.terms))
        assert set(again.events) == set(file.events)
