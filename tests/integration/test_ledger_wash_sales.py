"""``prometheus ledger wash-sales``: a file in, lots out, and no database."""

import csv
import io
import json

import pytest
from click.testing import CliRunner

from prometheus.scripts.main import main

HEADER = "date,account,ticker,action,quantity,amount,lot_id\n"
VECTOR_2 = (
    HEADER + "2013-09-26,A,X,BUY,100,5000,L1\n2013-12-19,A,X,BUY,50,2750,L2\n2013-12-27,B,X,BUY,25,1125,L3\n"
    "2014-01-09,A,X,SELL,100,4000,L1\n"
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command over a file; a database anywhere would be an error."""
    monkeypatch.setenv("PROMETHEUS_DATABASE_URL", "postgresql://nobody@nowhere.invalid/none")

    def call(content, *arguments: str):
        file = tmp_path / "trades.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return CliRunner().invoke(main, ["ledger", "wash-sales", str(file), *arguments])

    return call


def test_every_lot_is_printed_with_what_became_of_it(run):
    """CSV has a line for each lot with both bases, holding-period start, sale, disallowed loss and replacements."""
    result = run(VECTOR_2, "--format", "csv")
    assert result.exit_code == 0
    rows = {row["lot_id"]: row for row in csv.DictReader(io.StringIO(result.stdout))}
    sold = rows["L1"]
    assert (sold["sold_on"], sold["gain"], sold["disallowed_loss"], sold["recognized_gain"], sold["term"]) == (
        "2014-01-09", "-1000.00", "750.00", "-250.00", "SHORT",
    )  # fmt: skip
    assert sold["replacement_lots"] == "A L2: 50 sh, 500.00; B L3: 25 sh, 250.00"
    assert sold["provisional_until"] == "2014-02-08"
    assert (rows["L2"]["basis"], rows["L2"]["adjusted_basis"]) == ("2750.00", "3250.00")
    assert (rows["L3"]["adjusted_basis"], rows["L3"]["holding_period_start"]) == ("1375.00", "2013-09-13")
    assert rows["L3"]["notice"] == "This is a calculation, not tax advice."


def test_an_ira_can_be_named_on_the_command_line(run):
    """--ira makes an account sheltered: its purchase denies 250 for good and carries nothing."""
    found = json.loads(run(VECTOR_2, "--format", "json", "--ira", "B").stdout)
    assert (found["totals"]["disallowed_loss"], found["totals"]["disallowed_for_good"]) == ("750.00", "250.00")
    assert found["notice"] == "This is a calculation, not tax advice."
    assert found["left_out"] == []


def test_the_table_says_what_it_is(run):
    """The table ends with totals and the notice."""
    output = run(VECTOR_2, "--tie", "scope=ACCOUNT", "--as-of", "2014-12-31").stdout
    assert "realised -1000.00, disallowed 500.00 (for good 0.00), recognised -500.00; 0 sales provisional" in output
    assert output.endswith("This is a calculation, not tax advice.\n")


def test_a_canadian_file(run):
    """--regime CA pools the owner's accounts and looks at what is held on day 30."""
    text = HEADER + "2019-01-02,A,X,BUY,50,500,\n2019-06-03,A,X,SELL,20,100,\n2019-06-10,B,X,BUY,15,90,\n"
    rows = list(csv.DictReader(io.StringIO(run(text, "--regime", "CA", "--format", "csv").stdout)))
    assert [(row["account"], row["lot_id"], row["disallowed_loss"]) for row in rows] == [
        ("A", "ACB-X", "75.00"), ("owner", "ACB-X", ""),
    ]  # fmt: skip


def test_bad_rows_are_named_and_the_rest_is_booked(run):
    """With a bad row the command ends with 1, names row, code and remedy, and prints what it prints without it."""
    good = run(VECTOR_2, "--format", "csv")
    bad = run(VECTOR_2 + "2014-01-09,A,X,SELL,-5,10,L2\n2014-01-09,A,X,SELL,60,10,L2\n", "--format", "csv")
    assert bad.exit_code == 1
    assert bad.stdout == good.stdout
    assert "row 6: The quantity -5 is negative. Give shares as a positive number" in bad.stderr
    assert "row 7: A gives up 60 shares of X on 2014-01-09; it holds 50." in bad.stderr
    assert "2 of 6 rows left out." in bad.stderr


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        ("date,account\n", (), "The header lacks ticker, action, quantity, amount"),
        (b"\xff\xfe\x00", (), "is no UTF-8 text"),
        (VECTOR_2, ("--tie", "scope"), "--tie needs RULE=CHOICE"),
        (VECTOR_2, ("--tie", "scope=moon"), "'moon' is no choice for scope"),
    ],
)
def test_what_cannot_be_read_ends_with_2(run, content, arguments, said):
    """A file or tie rule that cannot be used ends with 2 and one sentence."""
    result = run(content, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_file_without_rows(run):
    """A header alone is a household without lots."""
    assert "none" in run(HEADER).stdout
