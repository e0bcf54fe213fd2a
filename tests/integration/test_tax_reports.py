"""``prometheus ledger tax-report``: the database and a file that tells the same history give the same report."""

import csv
import io
import json
from datetime import date

import pytest
from click.testing import CliRunner

from prometheus.bookkeeping.tax_reports import account_tax_report, household_history, household_tax_reports
from prometheus.domain.accounts import TaxRegime
from prometheus.foundation.errors import RequestError
from prometheus.ingestion.ingest import IngestOptions, ingest_directory, ingest_file
from prometheus.ingestion.kinds import FileKind
from prometheus.ledger.files.book_file import FileSettings, book_file
from prometheus.ledger.reports.form_rows import form_rows
from prometheus.ledger.reports.request import BrokerView, ReportRequest, household_report
from prometheus.ledger.reports.tables import report_json, table_csv
from prometheus.scripts.main import main

TODAY = date(2019, 12, 31)
HEADER = (
    "account_id,name,region,base_currency,tax_regime,lot_method,benchmark_id,st_rate,lt_rate,niit_rate,cash,"
    "fractional_shares,tags,household,account_type\n"
)
FLEET = {
    "securities.csv": "ticker,name,sector,sub_industry,group\nAAA,Alpha,Energy,,TWINS\nAAB,Alpha B,Energy,,TWINS\n"
    "BBB,Beta,Energy,,\n",
    "prices.csv": "date,ticker,close\n2018-05-31,AAA,10\n2018-05-31,BBB,10\n",
    "benchmark.csv": "date,ticker,weight\n2018-05-31,AAA,0.5\n2018-05-31,BBB,0.5\n",
    "accounts.csv": HEADER
    + "A,One,US,USD,US,FIFO,SP500,0.37,0.2,0,100000,true,,SMITH,\n"
    + "B,Two,US,USD,US,FIFO,SP500,0.37,0.2,0,100000,true,,SMITH,\n"
    + "IRA,Three,US,USD,US,FIFO,SP500,0,0,0,100000,true,,SMITH,IRA\n"
    + "X,Four,US,USD,US,HIFO,SP500,0.37,0.2,0,10000,true,,,\n"
    + "Y,Six,CA,CAD,CA,ACB,SP500,0.25,0.25,0,10000,true,,,\n"
    + "CA,Five,CA,CAD,CA,ACB,SP500,0.25,0.25,0,100000,true,,ROY,\n",
}
COLUMNS = "entry_id,date,account,ticker,action,quantity,amount,lot_id,group,account_type,fee\n"
SMITH = COLUMNS + (
    "b1,2018-01-03,A,AAA,BUY,100,2000,L1,TWINS,,\n"
    "b2,2018-02-05,B,AAB,BUY,40,700,M1,TWINS,,\n"
    "s1,2018-12-20,A,AAA,SELL,80,1100,,TWINS,,5\n"  # a loss of 500
    "b3,2019-01-10,B,AAB,BUY,32,400,M2,TWINS,,\n"  # washes 32 of the 80 shares: 200
    "b4,2019-01-15,IRA,AAA,BUY,16,200,N1,TWINS,IRA,\n"  # and 16 for good: 100
    "s2,2019-03-01,B,AAB,SELL,50,900,,TWINS,,\n"
    "b5,2019-06-03,A,BBB,BUY,10,500,K1,,,\n"
    "s3,2019-07-01,A,BBB,SELL,10,450,,,,\n"
)
ROY = COLUMNS + (
    "b1,2018-01-03,CA,AAA,BUY,100,2000,,TWINS,,\n"
    "s1,2018-12-20,CA,AAA,SELL,40,600,,TWINS,,\n"  # a loss of 200
    "b2,2019-01-10,CA,AAA,BUY,20,300,,TWINS,,\n"  # half of it is superficial
    "b3,2019-03-01,CA,BBB,BUY,1,20,,,,\n"
)


@pytest.fixture
def fleet(database, database_url, tmp_path, monkeypatch):
    """Two households whose whole histories came in files."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    for name, content in FLEET.items():
        (folder / name).write_text(content)
    options = IngestOptions(today=TODAY)
    assert all(report.loaded for report in ingest_directory(database, folder, options=options))
    for name, content in {"smith": SMITH, "roy": ROY}.items():
        (tmp_path / f"{name}.csv").write_text(content)
        report = ingest_file(database, tmp_path / f"{name}.csv", FileKind.TRANSACTIONS, options=options)
        assert (report.loaded, list(report.findings)) == (True, [])
    monkeypatch.setenv("PROMETHEUS_DATABASE_URL", database_url)
    return database


@pytest.fixture
def tell(fleet, tmp_path):
    """Load rows of an account by itself, and return its report as rows of CSV, as JSON and as text."""

    def load(account, *rows: str, year=2018):
        path = tmp_path / f"{account}.csv"
        path.write_text(COLUMNS + "".join(f"{row}\n" for row in rows))
        assert ingest_file(fleet, path, FileKind.TRANSACTIONS, options=IngestOptions(today=TODAY)).inserted == len(rows)
        report = json.loads(run(account, "--years", year, "--format", "json").stdout)["reports"][0]["report"]
        return rows_of(account, "--years", year), report["returns"][0], run(account, "--years", year).stdout

    return load


def run(*arguments: object):
    """Call the command."""
    return CliRunner().invoke(main, ["ledger", "tax-report", *map(str, arguments)])


def rows_of(*arguments: object):
    """Return the rows of a report's CSV."""
    result = run(*arguments, "--format", "csv")
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


@pytest.mark.parametrize("view", BrokerView)
@pytest.mark.parametrize(
    ("household", "text", "regime"), [("SMITH", SMITH, "US"), ("ROY", ROY, "CA")], ids=["US", "CA"]
)
def test_a_file_and_the_database_give_the_same_report(fleet, household, text, regime, view):
    """The same history told as a file and booked in a database gives the same report to the byte."""
    request = ReportRequest(broker_view=view)
    told = book_file(text, FileSettings(regime=TaxRegime(regime)))
    assert told.findings == ()
    from_file = household_report(told.books, request, household)
    with fleet.transaction() as connection:
        (booked,) = household_tax_reports(connection, [household], request)
        assert household_history(connection, household).state.lots == told.books.state.lots
    assert report_json(booked) == report_json(from_file)
    assert table_csv(form_rows([booked], TaxRegime(regime))) == table_csv(form_rows([from_file], TaxRegime(regime)))


def test_the_command_prints_the_same_of_both(fleet, tmp_path):
    """Form 8949 of the database and of the file are one CSV where the return has one name."""
    returns = tmp_path / "returns.toml"
    returns.write_text('[[returns]]\nname = "Smith"\ntaxpayers = [""]\n')
    of_file = run("--file", tmp_path / "smith.csv", "--returns", returns, "--format", "csv")
    of_database = run("--household", "SMITH", "--returns", returns, "--format", "csv")
    assert (of_file.exit_code, of_database.exit_code) == (0, 0)
    assert of_file.stdout == of_database.stdout
    assert "Smith,2018,I,A,A,80 sh. AAA,2018-01-03,2018-12-20,1100.00,1600.00,W,300.00,-200.00,300.00" in of_file.stdout


def test_a_household_year_by_year(fleet):
    """Losses are netted over the accounts and carried from year to year; a later wash changes the year of the loss."""
    rows = rows_of("--household", "SMITH")
    assert [(r["return"], r["tax_year"], r["account"], r["code"], r["gain"]) for r in rows] == [
        ("SMITH", "2018", "A", "W", "-200.00"),
        ("SMITH", "2019", "A", "", "-50.00"),
        ("SMITH", "2019", "B", "", "20.00"),  # M1: 720 less 700
        (
            "SMITH",
            "2019",
            "B",
            "BT",
            "-7.50",
        ),  # ten of M2: 180 less 125 and 62.50 carried, held long with the days of L1
    ]
    assert "against other income" in run("--household", "SMITH").stdout
    report = json.loads(run("--household", "SMITH", "--format", "json").stdout)["reports"][0]["report"]
    years = report["returns"][0]["schedules_d"]
    assert [(year["year"], year["line_16"], year["line_21"]) for year in years] == [
        (2018, "-200.00", "200.00"),
        (2019, "-37.50", "37.50"),
    ]


def test_one_account_of_a_household(fleet):
    """An account's own sales alone are reported; purchases of the household wash them all the same."""
    rows = rows_of("A", "--years", "2018")
    assert [(row["account"], row["adjustment"], row["gain"]) for row in rows] == [("A", "300.00", "-200.00")]
    refused = run("IRA")
    assert (refused.exit_code, "IRA is IRA: what it sells is no taxable event" in refused.stderr) == (2, True)


def test_all_households(fleet):
    """--all reports every household with books, each under its own forms."""
    output = run("--all").stdout
    assert "Form 8949, SMITH, 2018" in output
    assert "Schedule 3, ROY" in output
    assert output.endswith("This is a calculation, not tax advice.\n")
    assert len(json.loads(run("--all", "--format", "json").stdout)["reports"]) == 2


def test_schedule_3_of_the_database(fleet):
    """A Canadian account reports number, proceeds, cost, what is denied and what the pool carries of it."""
    (row,) = rows_of("CA", "--years", "2018")
    assert (row["number"], row["proceeds"], row["adjusted_cost_base"], row["denied_loss"], row["gain"]) == (
        "40", "600.00", "800.00", "100.00", "-100.00",
    )  # fmt: skip
    assert (row["added_to_cost"], row["denied_for_good"]) == ("100.00", "0.00")


def test_canadian_short_sales_of_a_file(tmp_path):
    """Income in a table of their own; with the election those of a Canadian security are on Schedule 3."""
    path = tmp_path / "shorts.csv"
    path.write_text(
        "date,account,ticker,action,quantity,amount,taxpayer\n2024-05-21,M,RY,SHORT,10,1300,Ann\n"
        "2024-06-10,M,RY,COVER,10,1240,Ann\n2024-05-22,M,AAPL,SHORT,5,900,Ann\n2024-06-11,M,AAPL,COVER,5,980,Ann\n"
    )
    file = ("--file", path, "--regime", "CA")
    election = ("--capital-election", "Ann=2024", "--canadian-security", "ry")
    assert rows_of(*file) == []
    plain = run(*file).stdout
    assert "Short sales on income account, Ann" in plain
    assert "2024          total" in plain
    (row,) = rows_of(*file, *election)
    assert (row["name"], row["proceeds"], row["gain"]) == ("10 sh. RY (short sale)", "1300.00", "60.00")
    schedules = run(*file, *election, "--format", "csv", "--part", "schedules").stdout
    assert "13200 gains of shares,60.00" in schedules
    assert "short sales that are income,-80.00" in schedules
    assert "2024,5,5 sh. AAPL (short sale),2024-06-11,2024-06-12,900.00,980.00,-80.00,M" in schedules
    for wrong, said in [
        (election[:2], "given together"),
        ((*election, "--capital-election", "Ann=2025"), "made once"),
        (("--capital-election", "Ann", *election[2:]), "give the first year"),
        (("--capital-election", "Bob=2024", *election[2:]), "no taxpayer 'Bob'"),
        ((*election, "--regime", "US"), "give --regime CA"),
    ]:
        refused = run(*file, *wrong)
        assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr


def test_a_year_without_sales(fleet):
    """A report of nothing says so; as CSV it is the header alone, so that a program finds its columns."""
    assert "Form 8949, A, 2017: none" in run("A", "--years", "2017").stdout
    assert run("A", "--years", "2017", "--format", "csv").stdout.startswith("return,tax_year,part,box,account,")
    assert rows_of("CA", "--years", "2017") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Z",), "There is no account Z"),
        (("--household", "Z"), "There is no household and no account Z"),
        ((), "Say whose gains"),
        (("A", "--all"), "Say whose gains"),
        (("A", "--years", "2019-2018"), "ends before it begins"),
        (("A", "--years", "18"), "give a year or two"),
        (("A", "--carried-short", "-1"), "--carried-short -1"),
        (("A", "--carried-long", "x"), "--carried-long x"),
        (("A", "--years", "1970"), "No limit on capital losses is recorded for 1970"),
        (("CA", "--years", "1990"), "No inclusion rate is recorded for 1990"),
        (("A", "--format", "txf"), "TXF is of one tax year; choose one with --years. There are 2018 to 2019."),
        (("--all", "--format", "txf"), "TXF is of one return; name it with --return. There are: "),
        (("CA", "--format", "txf"), "TXF is a format of US returns"),
        (("A", "--format", "csv", "--part", "comparison"), "give a Form 1099-B with --form-1099b FILE"),
    ],
)
def test_a_report_that_cannot_be_made(fleet, arguments, said):
    """An account, year or amount that makes no sense ends with 2 and one sentence."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_a_statement_is_compared_with_the_database(fleet, tmp_path):
    """A Form 1099-B of one account knows nothing of the household: the difference is named with its reason."""
    form = tmp_path / "form.csv"
    form.write_text(
        "account,security,quantity,acquired_on,sold_on,proceeds,basis,term\n"
        "A,AAA,80,01/03/2018,12/20/2018,1100,1600,SHORT\n"
    )
    rows = rows_of("A", "--years", "2018", "--form-1099b", form, "--part", "comparison")
    assert [(row["outcome"], row["what"], row["effect on gain"], row["reason"]) for row in rows] == [
        ("DIFFERS", "disallowed", "-300.00", "HOUSEHOLD_WASH")
    ]
    assert "Form 1099-B compared" in run("A", "--years", "2018", "--form-1099b", form).stdout
    with pytest.raises(RequestError, match="US form"), fleet.transaction() as connection:
        account_tax_report(connection, "CA", ReportRequest(statement=(object(),)))


def test_losses_carried_in_and_the_status(fleet):
    """Losses of before the database count on top, and who files separately takes half the limit against income."""
    options = ("A", "--years", "2018", "--status", "separate", "--carried-short", "4000", "--format", "json")
    (year,) = json.loads(run(*options).stdout)["reports"][0]["report"]["returns"][0]["schedules_d"]
    assert (year["line_7"], year["line_21"], year["carried_out"]["short_term"]) == ("-4200.00", "1500.00", "2700.00")


def test_a_report_as_form_8949(tell):
    """A washed loss is a row with code W, in the part and box of its lot; the year is netted below."""
    rows, filed, table = tell(
        "X",
        "b0,2017-01-03,X,AAA,BUY,100,2000,L1,,,",
        "e1,2018-06-04,X,AAA,SELL,40,600,L1,,,",
        "b1,2018-06-04,X,AAA,BUY,10,160,N1,,,",
        "e2,2018-06-08,X,AAA,SELL,10,300,L1,,,",
    )
    assert [(r["part"], r["box"], r["description"], r["code"], r["adjustment"], r["gain"]) for r in rows] == [
        ("II", "D", "40 sh. AAA", "W", "50.00", "-150.00"),
        ("II", "D", "10 sh. AAA", "", "0.00", "100.00"),
    ]
    assert {row["notice"] for row in rows} == {"This is a calculation, not tax advice."}
    (year,) = filed["schedules_d"]
    assert (year["line_16"], year["line_21"]) == ("-50.00", "50.00")
    assert "not tax advice" in table


def test_a_report_as_schedule_3(tell):
    """A Canadian account reports proceeds, adjusted cost base, outlays and gain, and half of it as taxable."""
    (row,), _, table = tell("Y", "b0,2017-01-03,Y,AAA,BUY,100,2000,,,,", "e1,2018-06-04,Y,AAA,SELL,40,995,,,,5")
    assert (row["proceeds"], row["adjusted_cost_base"], row["outlays"], row["gain"]) == (
        "1000.00", "800.00", "5.00", "195.00",
    )  # fmt: skip
    assert "13199 proceeds of shares         1000.00" in table
    assert "12700 taxable capital gains        97.50" in table


def test_a_loss_of_december_is_provisional_into_january(tell):
    """Every layout of the old year shows until when its loss can change, what a purchase takes, and then the end."""
    rows, filed, table = tell(
        "X", "b0,2017-01-03,X,AAA,BUY,100,2000,L1,,,", "e1,2018-12-20,X,AAA,SELL,40,600,L1,,,"
    )  # a loss of 40 x (20 - 15) = 200
    assert [(r["code"], r["gain"], r["provisional_until"]) for r in rows] == [("", "-200.00", "2019-01-19")]
    assert filed["form_8949"][0]["provisional_until"] == "2019-01-19"
    assert "provisional_until" in table
    assert "1 lines provisional (losses of 200.00, the last until 2019-01-19)" in table

    rows, filed, table = tell("X", "b1,2019-01-10,X,AAA,BUY,10,160,N1,,,")  # a quarter: 50 of the loss go to 2019's lot
    assert [(r["code"], r["adjustment"], r["gain"], r["provisional_until"]) for r in rows] == [
        ("W", "50.00", "-150.00", "2019-01-19")
    ]
    assert filed["schedules_d"][0]["line_16"] == "-150.00"
    assert "disallowed 50.00; 1 lines provisional (losses of 150.00, the last until 2019-01-19)" in table

    rows, _, table = tell("X", "b2,2019-01-20,X,AAA,BUY,30,480,N2,,,")  # day 31: too late to change anything
    assert [(r["gain"], r["provisional_until"]) for r in rows] == [("-150.00", "")]
    assert "disallowed 50.00; 0 lines provisional\n" in table


def test_a_canadian_loss_of_december_is_provisional_until_day_30(tell):
    """Schedule 3 of the old year shows day 30 for a loss, denied or not, because what is held then decides."""
    rows, _, table = tell("Y", "b0,2017-01-03,Y,AAA,BUY,100,2000,,,,", "e1,2018-12-20,Y,AAA,SELL,40,600,,,,")
    assert [(r["denied_loss"], r["gain"], r["provisional_until"]) for r in rows] == [("0.00", "-200.00", "2019-01-19")]
    assert "1 lines provisional (losses of 200.00, the last until 2019-01-19)" in table

    rows, _, table = tell("Y", "b1,2019-01-10,Y,AAA,BUY,40,640,,,,")
    assert [(r["denied_loss"], r["gain"], r["provisional_until"]) for r in rows] == [("200.00", "0.00", "2019-01-19")]
    assert "disallowed 200.00; 1 lines provisional (losses of 0.00, the last until 2019-01-19)" in table

    rows, _, table = tell("Y", "b2,2019-01-21,Y,BBB,BUY,1,16,,,,")
    assert [(r["denied_loss"], r["provisional_until"]) for r in rows] == [("200.00", "")]
    assert "0 lines provisional\n" in table
