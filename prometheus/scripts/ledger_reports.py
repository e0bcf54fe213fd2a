"""``prometheus ledger wash-sales`` and ``tax-report``: lots and tax forms, from a file or from the database."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from prometheus.scripts.boundary import DATE, Command, OneOf, format_option
from prometheus.scripts.tables import say

if TYPE_CHECKING:
    from prometheus.domain.accounts import TaxRegime
    from prometheus.ledger.files.book_file import FileBooks, FileSettings
    from prometheus.ledger.files.mapping import FileMapping
    from prometheus.ledger.reports.request import HouseholdReport, ReportRequest
    from prometheus.ledger.tie_rules import TieRules

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def _file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options by which a broker's file is read and booked."""
    options = [
        click.option("--regime", type=OneOf(["US", "CA"]), default="US", show_default=True, help="Whose rules apply."),
        click.option("--ira", "sheltered", multiple=True, metavar="ACCOUNT", help="A sheltered account; repeatable."),
        click.option(
            "--method", type=OneOf(["FIFO", "HIFO"]), default="FIFO", show_default=True, help="Where no lot is named."
        ),
        click.option("--as-of", type=DATE, help="Day on which losses count as provisional."),
        click.option("--tie", "ties", multiple=True, metavar="RULE=CHOICE", help="A tie rule; repeatable."),
        click.option("--mapping", "mappings", multiple=True, type=_FILE, help="A layout in TOML; repeatable."),
        click.option("--file-account", default="", metavar="ACCOUNT", help="Account of a file whose rows name none."),
        click.option("--base-currency", default="", metavar="CODE", help="Currency of amounts whose rows say none."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command("wash-sales", cls=Command)
@click.argument("file", type=_FILE)
@_file_options
@format_option("table", "csv", "json", default="table")
def wash_sales(file: Path, *, output: Literal["table", "csv", "json"], **options: Any) -> None:
    """Find the wash sales (US) or superficial losses (CA) of a broker's history in FILE; no database is needed.

    FILE is CSV with the columns date,account,ticker,action,quantity,amount and, where needed, others (see the
    specs), or an export of a broker whose layout is known; the layout is recognised and said on standard error. For any
    other layout a draft of a mapping is written beside FILE, to be completed and given with --mapping. All accounts
    of the file count together. Every lot is printed with basis, adjusted basis, holding-period start, sale, disallowed
    loss and replacement lots. A calculation, not tax advice.

    Exit codes: 0 every row was booked; 1 some rows were left out, each named on standard error with its remedy, and
    the rest is as if they were not there; 2 the file cannot be read.

    \b
    Examples:
      prometheus ledger wash-sales trades.csv
      prometheus ledger wash-sales trades.csv --ira ROTH-1 --format csv
      prometheus ledger wash-sales trades.csv --tie scope=ACCOUNT
    """
    from prometheus.scripts.ledger_output import show_lots

    booked = _booked_file(file, _file_settings(**options))
    show_lots(booked, output)
    _say_findings(booked)


@click.command("tax-report", cls=Command)
@click.argument("account_id", required=False)
@click.option("--household", help="All accounts of a household of the database.")
@click.option("--all", "everybody", is_flag=True, help="All households of the database.")
@click.option("--file", type=_FILE, help="A broker's history instead of the database.")
@click.option("--years", metavar="YEAR[-YEAR]", help="Tax years; all with something to report by default.")
@click.option("--status", type=OneOf(["SINGLE", "JOINT", "SEPARATE"]), default="SINGLE", show_default=True,
              help="How everybody files (US); JOINT is one return of all taxpayers of a file.")  # fmt: skip
@click.option("--carried-short", help="Short-term loss carried into the first year, USD (US).")
@click.option("--carried-long", help="Long-term loss carried into the first year, USD (US).")
@click.option("--returns", "returns_file", type=_FILE, help="Who files together, and what they carry in: TOML.")
@click.option("--broker-view", type=OneOf(["DERIVED", "FOLD"]), default="DERIVED", show_default=True,
              help="How the broker's own figures are known (US).")  # fmt: skip
@click.option("--form-1099b", "statements", multiple=True, type=_FILE, help="A Form 1099-B received, CSV; repeatable.")
@click.option("--part", type=OneOf(["FORMS", "SCHEDULES", "COMPARISON"]), default="FORMS", show_default=True,
              help="Which part CSV has.")  # fmt: skip
@click.option("--capital-election", "elections", multiple=True, metavar="[TAXPAYER=]YEAR",
              help="First year of the election of ITA s. 39(4) (CA); repeatable.")  # fmt: skip
@click.option("--canadian-security", "canadian_securities", multiple=True, metavar="TICKER",
              help="A Canadian security, to which the election applies (CA); repeatable.")  # fmt: skip
@click.option("--return", "return_name", help="TXF: the return, where there are several.")
@_file_options
@format_option("table", "csv", "json", "txf", default="table")
def tax_report(
    account_id: str | None,
    *,
    household: str | None,
    everybody: bool,
    file: Path | None,
    years: str | None,
    status: str,
    carried_short: str | None,
    carried_long: str | None,
    returns_file: Path | None,
    broker_view: str,
    statements: tuple[Path, ...],
    part: Literal["FORMS", "SCHEDULES", "COMPARISON"],
    elections: tuple[str, ...],
    canadian_securities: tuple[str, ...],
    return_name: str | None,
    output: Literal["table", "csv", "json", "txf"],
    **options: Any,
) -> None:
    """Report realised gains by return and tax year: Form 8949 and Schedule D (US), or Schedule 3 (CA).

    Of ACCOUNT_ID, a household, or all of the database, or of a broker's history with --file. Later purchases count: a
    loss that one of them washed is reported with code W. Lines that a purchase can still change carry the date until
    which it can. Losses are carried from year to year. A Form 1099-B is compared line by line, and what it says is
    what columns (e) to (g) adjust. Canadian short sales are income, in a table of their own; those of a
    --canadian-security are capital gains from the year of a --capital-election. --format txf is for tax programs: one
    return and one year. A calculation, not tax advice.

    Exit codes: 0; 1 rows of the file were left out, each named on standard error; 2 the account, the years, a carried
    loss or a file cannot be used.

    \b
    Examples:
      prometheus ledger tax-report ACC-001 --years 2018
      prometheus ledger tax-report --file trades.csv --years 2018 --format txf
      prometheus ledger tax-report --household SMITH --form-1099b broker.csv
    """
    from prometheus.foundation.errors import RequestError
    from prometheus.scripts.ledger_output import show_reports

    elected = _elections(elections, canadian_securities)
    if (elections or canadian_securities) and (file is None or options["regime"] != "CA"):
        raise RequestError("--capital-election and --canadian-security are of a Canadian FILE: give --regime CA.")
    if sum(bool(one) for one in (account_id, household, everybody, file)) != 1:
        raise RequestError("Say whose gains: an ACCOUNT_ID, --household NAME, --all, or --file FILE; one of them.")
    request = _request(years, status, carried_short, carried_long, returns_file, broker_view, statements)
    booked = None
    if file is not None:
        settings = replace(
            _file_settings(**options),
            capital_elections=elected,
            canadian_securities=frozenset(ticker.upper() for ticker in canadian_securities),
        )
        booked, reports, regime = _of_file(file, settings, request)
    else:
        reports, regime = _of_database(account_id, household, request)
    show_reports(reports, regime, output, part=part, return_name=return_name)
    if booked is not None:
        _say_findings(booked)


def _of_file(
    file: Path, settings: "FileSettings", request: "ReportRequest"
) -> "tuple[FileBooks, tuple[HouseholdReport, ...], TaxRegime]":
    from prometheus.ledger.reports.request import household_report

    booked = _booked_file(file, settings)
    return booked, (household_report(booked.books, request),), settings.regime


def _of_database(
    account_id: str | None, household: str | None, request: "ReportRequest"
) -> "tuple[tuple[HouseholdReport, ...], TaxRegime]":
    from prometheus.bookkeeping.tax_reports import account_tax_report, household_tax_reports, regime_of
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.ledger_inputs import households_of
    from prometheus.db.repositories.market_data import read_one_state
    from prometheus.domain.accounts import TaxRegime

    with open_database(load_settings()) as database, database.transaction() as connection:
        read_one_state(connection)
        if account_id is not None:
            report = account_tax_report(connection, account_id, request)
            return (report,), regime_of(connection, households_of(connection, [account_id])[account_id])
        reports = household_tax_reports(connection, None if household is None else [household], request)
    return reports, reports[0].report.regime if reports else TaxRegime.US


def _request(
    years: str | None,
    status: str,
    carried_short: str | None,
    carried_long: str | None,
    returns_file: Path | None,
    broker_view: str,
    statements: tuple[Path, ...],
) -> "ReportRequest":
    from prometheus.ledger.files.form_1099b_file import read_form_1099b
    from prometheus.ledger.files.returns_file import ReturnsFile, read_returns
    from prometheus.ledger.reports.amounts import FilingStatus
    from prometheus.ledger.reports.request import BrokerView, ReportRequest
    from prometheus.ledger.reports.returns import Carryover

    told = ReturnsFile(()) if returns_file is None else read_returns(_text(returns_file), returns_file.name)
    opening = None
    if carried_short is not None or carried_long is not None:
        opening = Carryover(_loss("--carried-short", carried_short), _loss("--carried-long", carried_long))
    return ReportRequest(
        years=_years(years),
        returns=told.returns,
        status=FilingStatus(status),
        opening=opening,
        reporting=told.reporting,
        broker_view=BrokerView(broker_view),
        statement=tuple(row for path in statements for row in read_form_1099b(_text(path))),
        tickers=told.tickers,
    )


def _years(text: str | None) -> tuple[int, ...]:
    from prometheus.foundation.errors import RequestError

    if text is None:
        return ()
    parts = text.split("-")
    if len(parts) > 2 or not all(len(part) == 4 and part.isdecimal() for part in parts):
        raise RequestError(f"--years {text}: give a year or two, such as 2018 or 2018-2020.")
    first, last = int(parts[0]), int(parts[-1])
    if first > last:
        raise RequestError(f"The period from {first} to {last} ends before it begins.")
    return tuple(range(first, last + 1))


def _elections(texts: tuple[str, ...], canadian_securities: tuple[str, ...]) -> dict[str, int]:
    from prometheus.foundation.errors import RequestError

    elected: dict[str, int] = {}
    for text in texts:
        taxpayer, _, year = text.rpartition("=")
        if not (len(year) == 4 and year.isdecimal()):
            raise RequestError(f"--capital-election {text}: give the first year, such as 2024 or Ann=2024.")
        if taxpayer.strip() in elected:
            raise RequestError(f"--capital-election {text}: an election is made once; give its first year only.")
        elected[taxpayer.strip()] = int(year)
    if bool(elected) is not bool(canadian_securities):
        raise RequestError("--capital-election and --canadian-security are given together: who elects, and of what.")
    return elected


def _loss(option: str, text: str | None) -> Decimal:
    from prometheus.foundation.errors import ConfigurationError, RequestError
    from prometheus.ledger.files.returns_file import read_money

    try:
        amount = read_money(text or "0", option)
    except ConfigurationError:
        amount = Decimal(-1)
    if amount < 0:
        raise RequestError(f"{option} {text} is no amount of money; give a loss as a positive number.")
    return amount


# ---------------------------------------------------------------- files


def _file_settings(
    *,
    regime: str,
    sheltered: tuple[str, ...],
    method: str,
    as_of: datetime | None,
    ties: tuple[str, ...],
    mappings: tuple[Path, ...],
    file_account: str,
    base_currency: str,
) -> "FileSettings":
    from prometheus.domain.accounts import LotMethod, TaxRegime
    from prometheus.ledger.files.book_file import FileSettings

    day: date | None = None if as_of is None else as_of.date()
    return FileSettings(
        regime=TaxRegime(regime),
        sheltered=frozenset(sheltered),
        method=LotMethod(method),
        ties=_tie_rules(ties),
        as_of=day,
        account=file_account,
        mappings=read_mappings(mappings),
        base_currency=base_currency,
    )


def read_mappings(paths: tuple[Path, ...]) -> "tuple[FileMapping, ...]":
    """Return the layouts that files describe.

    Raises:
        ConfigurationError: One of them cannot be used; the message says where.
    """
    from prometheus.ledger.files.mapping import read_mapping

    return tuple(read_mapping(_text(path), path.name) for path in paths)


def _tie_rules(choices: tuple[str, ...]) -> "TieRules":
    from prometheus.foundation.errors import ConfigurationError
    from prometheus.ledger.tie_rules import tie_rules

    parts = [choice.partition("=") for choice in choices]
    if any(not equals for _, equals, _ in parts):
        raise ConfigurationError("--tie needs RULE=CHOICE, such as --tie scope=ACCOUNT.")
    return tie_rules({name.strip(): choice.strip() for name, _, choice in parts})


def _booked_file(file: Path, settings: "FileSettings") -> "FileBooks":
    """Read and book a file; the layout is said on standard error."""
    from prometheus.foundation.errors import FileRefusedError
    from prometheus.ledger.files.book_file import book_file
    from prometheus.scripts.progress import counting

    text = _text(file)
    try:
        with counting("reading and booking") as done:
            booked = book_file(text, settings, on_day=done)
    except FileRefusedError as error:
        if error.code != "UNKNOWN_LAYOUT":
            raise
        raise FileRefusedError(f"{error.message} {_draft(file, text)}", code=error.code) from error
    for remark in booked.file.remarks:
        say(remark, err=True)
    return booked


def _draft(file: Path, text: str) -> str:
    """Write a draft of a mapping beside a file whose layout is not known, and say what to do with it."""
    from prometheus.foundation.errors import FileRefusedError
    from prometheus.ledger.files.draft import draft_mapping

    path = file.with_name(f"{file.name.partition('.')[0]}.mapping.toml")
    try:
        draft = draft_mapping(text, path.name.partition(".")[0])
        with path.open("x", encoding="utf-8") as stream:
            stream.write(draft)
    except FileRefusedError as error:
        return error.message
    except FileExistsError:
        return f"{path} is there already and was left alone; complete it and give it with --mapping {path}."
    except OSError as error:
        return f"A draft could not be written to {path}: {error.strerror}."
    return f"A draft was written to {path}: decide every '?' in it, and give it with --mapping {path}."


def _text(file: Path) -> str:
    from prometheus.foundation.errors import FileRefusedError
    from prometheus.foundation.files import TooLargeError, read_at_most

    try:
        with file.open("rb") as stream:
            return read_at_most(stream).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except TooLargeError as error:
        raise FileRefusedError(f"{file}: {error}; split it.") from error
    except UnicodeDecodeError as error:
        raise FileRefusedError(
            f"{file} is no UTF-8 text: {error.reason} at byte {error.start}. Save it as 'CSV UTF-8'."
        ) from error


def _say_findings(booked: "FileBooks") -> None:
    """Name the rows that were left out, and hints; the process ends with 1 where any was left out."""
    for finding in booked.findings:
        say(str(finding), err=True)
    if booked.left_out:
        rows = {finding.row for finding in booked.left_out}
        say(f"{len(rows)} of {booked.file.rows} rows left out.", err=True)
        sys.exit(1)
