"""Corporate actions that name another security or end one: files of them, and the books that they change."""

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import text

from prometheus.db.repositories.market_data import corporate_actions
from prometheus.domain.securities import ActionType
from prometheus.ingestion.ingest import IngestOptions, ingest_file
from prometheus.ingestion.kinds import FileKind

HEADER = "date,ticker,type,value,other_ticker,basis_fraction\n"
GOOD = (
    "2018-06-05,PAR,spinoff,0.25,KID,0.2\n"
    "2018-06-05,PAR,spinoff,1,SIS,0.3\n"
    "2018-06-06,OLD,symbol_change,,NEW,\n"
    "2018-06-07,END,delisting,12.5,,\n"
    "2018-06-07,BAD,delisting,0,,\n"
    "2018-06-07,PAR,split,2,,\n"
)
DAY = date(2018, 6, 4)


@pytest.fixture
def load(database, tmp_path):
    """Load a file of actions into a database that knows the securities; return the report."""
    securities = "".join(f"{name},{name},Energy\n" for name in ("PAR", "KID", "SIS", "OLD", "NEW", "END", "BAD"))
    (tmp_path / "securities.csv").write_text("ticker,name,sector\n" + securities)
    ingest_file(database, tmp_path / "securities.csv", FileKind.SECURITIES, options=IngestOptions(today=DAY))

    def run(content, *, skip_bad_rows=False):
        path = tmp_path / "corporate_actions.csv"
        path.write_text(content)
        options = IngestOptions(today=DAY, skip_bad_rows=skip_bad_rows)
        return ingest_file(database, path, FileKind.ACTIONS, options=options)

    return run


def stored(database):
    """Return what the engine reads back."""
    with database.transaction() as connection:
        actions = corporate_actions(connection, after=DAY, through=date(2018, 6, 30))
    return [(a.ticker, a.action_type, a.value, a.other_ticker, a.basis_fraction) for a in actions]


def test_actions_with_another_security_load(database, load):
    """Two children of a day, a new symbol without a value, and delistings for cash and at zero are stored."""
    report = load(HEADER + GOOD)
    assert (report.loaded, report.inserted, list(report.findings)) == (True, 6, [])
    assert stored(database) == [
        ("PAR", ActionType.SPINOFF, Decimal("0.25"), "KID", Decimal("0.2")),
        ("PAR", ActionType.SPINOFF, Decimal(1), "SIS", Decimal("0.3")),
        ("OLD", ActionType.SYMBOL_CHANGE, Decimal(1), "NEW", None),
        ("BAD", ActionType.DELISTING, Decimal(0), "", None),
        ("END", ActionType.DELISTING, Decimal("12.5"), "", None),
        ("PAR", ActionType.SPLIT, Decimal(2), "", None),
    ]


def test_the_same_file_again_changes_nothing(database, load):
    """A file that is loaded twice writes no row; a corrected fraction is a revision of one row."""
    load(HEADER + GOOD)
    again = load(HEADER + GOOD)
    assert (again.inserted, again.revised, again.unchanged) == (0, 0, 6)
    corrected = load(HEADER + GOOD.replace("KID,0.2", "KID,0.25"))
    assert (corrected.inserted, corrected.revised, corrected.unchanged) == (0, 1, 5)
    with database.transaction() as connection:
        (revision,) = connection.execute(text("SELECT key, old_value, new_value FROM data_revisions"))
    assert revision.key["other_ticker"] == "KID"
    assert (revision.old_value, revision.new_value) == ({"basis_fraction": "0.2"}, {"basis_fraction": "0.25"})


def test_a_file_without_the_new_columns_loads_as_before(database, load):
    """Splits and dividends need neither another security nor a fraction, and keep what is stored."""
    load(HEADER + "2018-06-07,PAR,split,2,,\n")
    report = load("date,ticker,type,value\n2018-06-07,PAR,split,2\n2018-06-08,PAR,dividend,0.1\n")
    assert (report.inserted, report.unchanged, len(report.findings)) == (1, 1, 0)


@pytest.mark.parametrize(
    ("row", "code", "column"),
    [
        ("2018-06-08,PAR,spinoff,1,,0.2", "NO_OTHER_TICKER", "other_ticker"),
        ("2018-06-08,PAR,spinoff,1,PAR,0.2", "NO_OTHER_TICKER", "other_ticker"),
        ("2018-06-08,PAR,spinoff,1,XXX,0.2", "UNKNOWN_TICKER", "other_ticker"),
        ("2018-06-08,PAR,spinoff,1,KID,", "BAD_BASIS_FRACTION", "basis_fraction"),
        ("2018-06-08,PAR,spinoff,1,KID,1", "BAD_BASIS_FRACTION", "basis_fraction"),
        ("2018-06-08,PAR,spinoff,0,KID,0.2", "NOT_POSITIVE", "value"),
        ("2018-06-05,PAR,split,0,,", "NOT_POSITIVE", "value"),
        ("2018-06-05,PAR,split,-2,,", "NOT_POSITIVE", "value"),
        ("2018-06-05,PAR,split,,,", "EMPTY_FIELD", "value"),
        ("2018-06-05,END,delisting,,,", "EMPTY_FIELD", "value"),
        ("2018-06-05,END,delisting,-1,,", "NOT_POSITIVE", "value"),
        ("2018-06-05,OLD,symbol_change,2,NEW,", "VALUE_NOT_ONE", "value"),
        ("2018-06-05,OLD,symbol_change,,,", "NO_OTHER_TICKER", "other_ticker"),
        ("2018-06-05,PAR,split,2,KID,", "NOT_OF_THIS_TYPE", "other_ticker"),
        ("2018-06-05,PAR,split,2,,0.2", "NOT_OF_THIS_TYPE", "basis_fraction"),
        ("2018-06-05,PAR,merger,2,,", "UNKNOWN_ACTION", "type"),
    ],
)
def test_bad_actions_are_refused_by_row(database, load, row, code, column):
    """Each is one fatal finding with its line and column; with --skip-bad-rows the rest of the file loads."""
    report = load(HEADER + GOOD + row + "\n")
    assert not report.loaded
    assert stored(database) == []
    (finding,) = [one for one in report.findings if one.fatal]
    assert (finding.code, finding.line, finding.column) == (code, 8, column)
    assert load(HEADER + GOOD + row + "\n", skip_bad_rows=True).inserted == 6


def test_actions_that_contradict_each_other_are_refused(load):
    """Two new symbols for one security on a day, and children that take the whole basis, are refused on both rows."""
    report = load(HEADER + "2018-06-06,OLD,symbol_change,,NEW,\n2018-06-06,OLD,symbol_change,,KID,\n")
    assert [(finding.line, finding.code) for finding in report.findings if finding.fatal] == [
        (2, "CONFLICTING_ROWS"), (3, "CONFLICTING_ROWS")
    ]  # fmt: skip
    report = load(HEADER + "2018-06-05,PAR,spinoff,1,KID,0.6\n2018-06-05,PAR,spinoff,1,SIS,0.4\n")
    assert [(finding.line, finding.code) for finding in report.findings if finding.fatal] == [
        (2, "BAD_BASIS_FRACTION"), (3, "BAD_BASIS_FRACTION")
    ]  # fmt: skip
