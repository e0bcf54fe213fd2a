"""``prometheus ledger``: the journal proved, wash sales of a file, tax reports."""

import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from prometheus.scripts.boundary import DATE, Group, OneOf, format_option
from prometheus.scripts.tables import say

if TYPE_CHECKING:
    from prometheus.accounting.tie_rules import TieRules

_FORMAT = format_option("table", "csv", "json", default="table")


@click.group("ledger", cls=Group)
def command() -> None:
    """Prove the journal, find wash sales in a broker's file, report realised gains.

    These are calculations, not tax advice.
    """


@command.command()
@click.option("--account", "accounts", multiple=True, help="Only this account; may be repeated.")
@click.option("--check", is_flag=True, help="Compare only, write nothing; exit code 1 where something differs.")
def rebuild(accounts: tuple[str, ...], *, check: bool) -> None:
    """Replay the journal from its first row and hold lots and cash against it.

    With --check the wash sales (US) and superficial losses (CA) of the journal are derived anew as well, over whole
    households, from the purchases, sales and corporate actions alone, and accounts are named whose books lack an action
    that came or was corrected after they had passed its day. Without it the tables are written anew where they differ;
    rows of the journal are never altered.

    Exit codes: 0 the tables equal the journal replayed (or do now); 1 with --check: they differ, the first difference
    is named; 1 a journal cannot be replayed.

    \b
    Example:
      prometheus ledger rebuild --check
    """
    from prometheus.bookkeeping import journal
    from prometheus.bookkeeping.action_changes import UnbookedActions
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of

    chosen = list(accounts) or None
    with open_database(load_settings()) as database:
        with database.transaction() as connection:
            accounts_of(connection, account_ids=chosen)
        with database.transaction() as connection:
            prove = journal.prove_tables if check else journal.write_tables
            proofs = list(prove(connection, chosen))
    wrong = [proof for proof in proofs if proof.differences]
    rows = sum(proof.rows for proof in proofs)
    lots = sum(proof.lots for proof in proofs)
    say(f"{len(proofs)} accounts, {rows} journal rows replayed, {lots} lots")
    if not wrong:
        say("Lots and cash equal the journal replayed.")
        if check:
            say("Wash sales and superficial losses are those that the journal's other rows give.")
            say("No corporate action came or changed later than it was booked.")
        return
    first = wrong[0]
    found = sum(len(proof.differences) for proof in wrong)
    say(f"{found} differences in {len(wrong)} accounts; the first: account {first.account_id}, {first.differences[0]}.")
    if check:
        remedy = "'prometheus ledger rebuild' writes the tables anew from the journal."
        if any(isinstance(one, UnbookedActions) for proof in wrong for one in proof.differences):
            remedy += " 'prometheus ledger rebook --dry-run' lists what corporate actions would change."
        say(remedy, err=True)
        sys.exit(1)
    say("The tables were written anew from the journal.")


@command.command()
@click.option("--account", "accounts", multiple=True, help="Only this account and its household; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Say what would change, write nothing; exit code 1 where anything would.")
def rebook(accounts: tuple[str, ...], *, dry_run: bool) -> None:
    """Book corporate actions that came or were corrected after the books had passed their ex-date.

    The rows concerned are taken back by reversal and booked again with the actions as they are now, over the whole
    household; nothing in the journal is altered. Each household is booked or left alone as a whole.

    Exit codes: 0 the books have every action (or do now); 1 with --dry-run: something would change; 1 a household
    cannot be booked again, and the reason is named; the others are.

    \b
    Examples:
      prometheus ledger rebook --dry-run
      prometheus ledger rebook --account ACC-001
    """
    from prometheus.bookkeeping.action_changes import rebook_actions, unseen_actions
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of
    from prometheus.db.repositories.market_data import securities
    from prometheus.foundation.errors import AccountingError
    from prometheus.scripts.progress import counting

    chosen = list(accounts) or None
    booked = refused = 0
    with open_database(load_settings()) as database:
        with database.transaction() as connection:
            known = {account.account_id: account for account in accounts_of(connection, account_ids=chosen)}
            groups = {ticker: security.group for ticker, security in securities(connection).items()}
            concerned = sorted(unseen_actions(connection, chosen))
        # Accounts of one household are booked together, under the first of their names.
        households = {known[name].household or f"account {name}": name for name in reversed(concerned)}
        with counting("booking households", len(households)) as done:
            for name in sorted(households.values()):
                try:
                    with database.transaction() as connection:
                        found = rebook_actions(connection, name, groups, write=not dry_run)
                except AccountingError as error:
                    refused += 1
                    say(f"{name}: left as it is; {error.message}", err=True)
                else:
                    booked += len(found)
                    for difference in found:
                        say(f"{difference.account_id}: {difference.effect}; {difference.rows} journal rows.")
                done(1)
    if not concerned or not (booked or refused):
        say("The books have every corporate action.")
        return
    say(f"{booked} accounts {'would be' if dry_run else 'were'} booked again, {refused} households refused.")
    if refused or dry_run:
        sys.exit(1)


@command.command("wash-sales")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--regime", type=OneOf(["US", "CA"]), default="US", show_default=True, help="Whose rules apply.")
@click.option("--ira", "sheltered", multiple=True, metavar="ACCOUNT", help="A sheltered account; may be repeated.")
@click.option(
    "--method", type=OneOf(["FIFO", "HIFO"]), default="FIFO", show_default=True, help="Where no lot is named."
)
@click.option("--as-of", type=DATE, help="Day on which losses count as provisional; the file's last where not given.")
@click.option("--tie", "ties", multiple=True, metavar="RULE=CHOICE", help="A tie rule; may be repeated. See the specs.")
@_FORMAT
def wash_sales(
    file: Path,
    *,
    regime: Literal["US", "CA"],
    sheltered: tuple[str, ...],
    method: Literal["FIFO", "HIFO"],
    as_of: datetime | None,
    ties: tuple[str, ...],
    output: Literal["table", "csv", "json"],
) -> None:
    """Find the wash sales (US) or superficial losses (CA) of a broker's history in FILE; no database is needed.

    FILE is CSV with the columns date,account,ticker,action,quantity,amount and, where needed, lot_id, group,
    account_type, acquired_on, other_ticker, other_account, basis_fraction, entry_id, reverses. All accounts of the file
    count together. Every lot is printed with basis, adjusted basis, holding-period start, sale, disallowed loss and
    replacement lots. A calculation, not tax advice.

    Exit codes: 0 every row was booked; 1 some rows were left out, each named on standard error with its remedy, and
    the rest is as if they were not there; 2 the file cannot be read.

    \b
    Examples:
      prometheus ledger wash-sales trades.csv
      prometheus ledger wash-sales trades.csv --ira ROTH-1 --format csv
      prometheus ledger wash-sales trades.csv --tie scope=ACCOUNT
    """
    from prometheus.accounting.entry_file import read_entries
    from prometheus.accounting.household import book_entries
    from prometheus.accounting.household_ledger import HouseholdSettings
    from prometheus.accounting.lot_report import lot_lines
    from prometheus.domain.accounts import LotMethod, TaxRegime
    from prometheus.foundation.errors import FileRefusedError, RequestError
    from prometheus.foundation.files import TooLargeError, read_at_most
    from prometheus.scripts.ledger_output import show_lots
    from prometheus.scripts.progress import counting

    try:
        with file.open("rb") as stream:
            text = read_at_most(stream).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except TooLargeError as error:
        raise FileRefusedError(f"{file}: {error}; split it.") from error
    except UnicodeDecodeError as error:
        raise FileRefusedError(
            f"{file} is no UTF-8 text: {error.reason} at byte {error.start}. Save it as 'CSV UTF-8'."
        ) from error
    with counting("reading") as done:
        found = read_entries(text)
        done(found.rows)
    known = {name for entry in found.entries for name in (entry.account, entry.other_account) if name}
    if unknown := sorted(set(sheltered) - known):
        raise RequestError(f"--ira {unknown[0]}: {file} has no such account; it has {', '.join(sorted(known))}.")
    settings = HouseholdSettings(
        regime=TaxRegime(regime),
        sheltered=found.sheltered | frozenset(sheltered),
        method=LotMethod(method),
        ties=_tie_rules(ties),
        as_of=None if as_of is None else as_of.date(),
    )
    with counting("booking rows", len(found.entries)) as done:
        books = book_entries(found.entries, settings, on_entries=done)
    findings = sorted((*found.findings, *books.findings), key=lambda finding: finding.row)
    show_lots(books, lot_lines(books), findings, output)
    for finding in findings:
        say(str(finding), err=True)
    if findings:
        say(f"{len(findings)} of {found.rows} rows left out.", err=True)
        sys.exit(1)


def _tie_rules(choices: tuple[str, ...]) -> "TieRules":
    from prometheus.accounting.tie_rules import tie_rules
    from prometheus.foundation.errors import ConfigurationError

    parts = [choice.partition("=") for choice in choices]
    if any(not equals for _, equals, _ in parts):
        raise ConfigurationError("--tie needs RULE=CHOICE, such as --tie scope=ACCOUNT.")
    return tie_rules({name.strip(): choice.strip() for name, _, choice in parts})


@command.command("tax-report")
@click.argument("account_id")
@click.option("--from", "first", type=DATE, required=True, help="First sale date.")
@click.option("--to", "last", type=DATE, required=True, help="Last sale date, included.")
@click.option("--filing-separately", is_flag=True, help="Half the limit against ordinary income (US).")
@click.option("--carried-short", default="0", help="Short-term loss carried in, USD (US).")
@click.option("--carried-long", default="0", help="Long-term loss carried in, USD (US).")
@_FORMAT
def tax_report(
    account_id: str,
    *,
    first: datetime,
    last: datetime,
    filing_separately: bool,
    carried_short: str,
    carried_long: str,
    output: Literal["table", "csv", "json"],
) -> None:
    """Report an account's realised gains of a period, as Form 8949 (US) or Schedule 3 (CA) lays them out.

    Later purchases count: a loss that one of them washed is reported with code W. Lines that a purchase can still
    change carry the date until which it can. Years are netted as far as the period covers them. A calculation, not
    tax advice.

    Exit codes: 0; 2 the account, the period or a carried loss cannot be used.

    \b
    Example:
      prometheus ledger tax-report ACC-001 --from 2018-01-01 --to 2018-12-31
    """
    from prometheus.accounting.netting import CarriedLoss
    from prometheus.accounting.tax_lines import tax_lines
    from prometheus.accounting.tax_report import tax_report as report_of
    from prometheus.accounting.tax_settings import FilingStatus
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of, journal_since
    from prometheus.domain.accounts import AccountKind
    from prometheus.foundation.errors import RequestError
    from prometheus.scripts.ledger_output import show_tax_report

    if first > last:
        raise RequestError(f"The period from {first.date()} to {last.date()} ends before it begins.")
    carried = CarriedLoss(_loss("--carried-short", carried_short), _loss("--carried-long", carried_long))
    with open_database(load_settings()) as database, database.transaction() as connection:
        account = accounts_of(connection, account_ids=[account_id])[0]
        if account.kind is AccountKind.SHELTERED:
            raise RequestError(f"{account_id} is {account.account_type}: what it sells is no taxable event.")
        rows = journal_since(connection, account_id, date.min)
    as_of = account.books_as_of or max((row.trade_date for row in rows), default=last.date())
    report = report_of(
        tax_lines({account_id: rows}, as_of=as_of),
        regime=account.tax_regime,
        first=first.date(),
        last=last.date(),
        status=FilingStatus.SEPARATE if filing_separately else FilingStatus.JOINT_OR_SINGLE,
        carried_in=carried,
    )
    show_tax_report(account_id, report, output)


def _loss(option: str, text: str) -> Decimal:
    from prometheus.foundation.errors import RequestError

    try:
        found = Decimal(text)
    except ArithmeticError:
        found = Decimal("NaN")
    if not found.is_finite() or found < 0:
        raise RequestError(f"{option} {text} is no amount of money; give a loss as a positive number.")
    return found
