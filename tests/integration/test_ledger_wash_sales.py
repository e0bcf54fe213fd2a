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


def test_an_ira_that_the_file_does_not_have_is_refused(run):
    """A slip in --ira would leave an IRA's purchase raising a basis; it is named with the accounts there are."""
    result = run(VECTOR_2, "--ira", "BB")
    assert result.exit_code == 2
    assert "no account BB" in result.stderr
    assert "it has A, B." in result.stderr


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
    assert "row 7: A gives up 60 shares of X; it holds 50 of what it may take." in bad.stderr
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


@pytest.mark.parametrize(
    "content",
    [
        VECTOR_2.replace("\n", "\r\n").encode("utf-8-sig"),
        "\n\n" + VECTOR_2.replace("\n", "\n\n") + ",,,,,,\n",
        VECTOR_2.replace(",5000,", ',"5,000.00",').replace(",4000,", ',"$4,000",'),
        HEADER + "".join(reversed(VECTOR_2.splitlines(keepends=True)[1:])),
        VECTOR_2.replace(HEADER, "Date, Account ,TICKER,action,quantity,amount,lot_id\n").replace("BUY", "buy"),
    ],
    ids=["Windows, byte order mark", "empty lines", "thousands in quotes", "newest first", "spaces and cases"],
)
def test_odd_but_legal_files_say_the_same(run, content):
    """Line ends, byte order mark, empty lines, quoted thousands, order and case change nothing of the lots."""
    plain, odd = run(VECTOR_2, "--format", "csv"), run(content, "--format", "csv")
    assert (odd.exit_code, odd.stderr) == (0, "")
    assert odd.stdout == plain.stdout


def test_fractional_shares_and_groups(run):
    """Half shares of two classes of one group: 50.5 of the 100.5 sold are replaced by the other class."""
    text = (
        "date,account,ticker,action,quantity,amount,group\n2013-09-26,A,GOOG,BUY,100.5,5025,G\n"
        "2014-01-08,A,GOOGL,BUY,50.5,2525,G\n2014-01-09,A,GOOG,SELL,100.5,4020,G\n"
    )
    found = json.loads(run(text, "--format", "json").stdout)
    assert (found["totals"]["realized_gain"], found["totals"]["disallowed_loss"]) == ("-1005.00", "505.00")


def test_a_file_without_rows_has_a_header_all_the_same(run):
    """CSV of nothing is the header alone, so that a program finds its columns."""
    full, empty = run(VECTOR_2, "--format", "csv"), run(HEADER, "--format", "csv")
    assert (empty.exit_code, empty.stdout) == (0, full.stdout.splitlines(keepends=True)[0])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (VECTOR_2.replace(",", ";"), "not separated by commas"),
        (VECTOR_2.replace(",", "\t"), "not separated by commas"),
        (VECTOR_2.encode("utf-16"), "Save it as 'CSV UTF-8'"),
        ("", "The header lacks date, account"),
    ],
)
def test_files_of_another_form_say_what_to_do(run, content, words):
    """Semicolons, tabs, another encoding or no header end with 2 and one sentence."""
    result = run(content)
    assert result.exit_code == 2
    assert words in result.stderr


def test_an_open_quote_is_found_where_it_opens(run):
    """A quote that swallows rows, and characters that cannot be printed, are findings of their line."""
    result = run(VECTOR_2 + '2014-02-03,A,"X,BUY,1,1,\n2014-02-04,A,X,BUY,1,1,\n')
    assert result.exit_code == 1
    assert "row 7: A value goes on from line 6 to line 7" in result.stderr
    assert "[UNCLOSED_QUOTE]" in result.stderr
    assert (
        "row 6: A value has characters that cannot be printed." in run(VECTOR_2 + "2014-02-03,A,X\0,BUY,1,1,\n").stderr
    )


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("2014-01-10,A,X,SELL,76,1,", "OVERSOLD"),
        ("2014-01-10,A,X,SELL,51,1,L2", "OVERSOLD"),
        ("2014-01-10,A,X,SELL,1,1,L9", "UNKNOWN_LOT"),
        ("2014-01-10,A,X,SELL,-1,1,L2", "NEGATIVE_QUANTITY"),
        ("2014-01-10,A,X,SPLIT,0,,", "ZERO_RATIO"),
        ("2014-01-10,A,X,SPLIT,0:1,,", "ZERO_RATIO"),
        ("2012-01-10,C,X,BUY,1,1,", "BEFORE_OPENING"),
        ("2014-01-10,A,,REVERSE,,,,2", "REVERSED_TWICE"),
    ],
)
def test_bad_journals_are_refused_by_row(run, row, code):
    """Each bad row ends the command with 1, row, code and remedy, and the lots are those of the file without it."""
    good = (
        VECTOR_2.replace("lot_id\n", "lot_id,reverses\n")
        + "2013-01-02,C,X,OPEN,5,50,\n2014-01-02,A,X,BUY,1,1,\n2014-01-03,A,,REVERSE,,,,7\n"
    )
    plain = run(good, "--format", "csv")
    assert plain.exit_code == 0, plain.stderr
    result = run(good + row.replace(",,2", ",,7") + "\n", "--format", "csv")
    assert result.exit_code == 1
    assert result.stdout == plain.stdout
    assert "row 9: " in result.stderr
    assert f"[{code}]" in result.stderr


def test_a_known_layout_is_recognised_and_said(run):
    """A broker's export is read as it is; standard error says as what, and standard output has the lots alone."""
    text = (
        "Date,Action,Symbol,Description,Quantity,Price,Fees & Comm,Amount\n"
        '06/05/2018,Buy,AAA,ALPHA,10,$20.00,$1.00,"-$201.00"\n06/06/2018,Sell,AAA,ALPHA,4,$30.00,,$120.00\n'
    )
    result = run(text, "--file-account", "S-1", "--format", "csv")
    assert (result.exit_code, "Read as 'Schwab" in result.stderr) == (0, True)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["account"], row["quantity"], row["basis"]) for row in rows] == [
        ("S-1", "4", "80.40"),
        ("S-1", "6", "120.60"),
    ]


def test_an_unknown_layout_gives_a_draft(run, tmp_path):
    """A draft of a mapping is written beside the file; completed and given it reads the file, and it is never lost."""
    text = "Day;Who;What;Paper;Pieces;Money\n2018-06-05;M-1;bought;AAA;10;-200.00\n"
    refused = run(text)
    draft = tmp_path / "trades.mapping.toml"
    assert refused.exit_code == 2
    assert f"A draft was written to {draft}: decide every '?' in it" in refused.stderr
    assert '"?"' in draft.read_text()
    assert "is there already and was left alone" in run(text).stderr
    draft.write_text(
        'name = "Mine"\nformat = "csv"\ndelimiter = ";"\nbase_currency = "USD"\n[dates]\nformats = ["%Y-%m-%d"]\n'
        '[[tables]]\nname = "t"\nneeds = ["Day", "Who", "What", "Paper", "Pieces", "Money"]\namount_sign = "cash"\n'
        '[tables.read]\ndate = "Day"\naccount = "Who"\nticker = "Paper"\nquantity = "Pieces"\namount = "Money"\n'
        '[[tables.rules]]\nwhen = { What = "bought" }\nevent = "BUY"\n'
    )
    result = run(text, "--mapping", str(draft), "--format", "json")
    assert (result.exit_code, json.loads(result.stdout)["lots"][0]["basis"]) == (0, "200.00")
    assert "Read as 'Mine'" in result.stderr
