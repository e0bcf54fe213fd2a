"""``prometheus ledger``: books proved and made anew, late corporate actions booked, lots and tax reports."""

import sys

import click

from prometheus.scripts.boundary import Group
from prometheus.scripts.ledger_reports import tax_report, wash_sales
from prometheus.scripts.tables import say


@click.group("ledger", cls=Group)
def command() -> None:
    """Prove the books, find wash sales in a broker's file, report realised gains.

    These are calculations, not tax advice.
    """


command.add_command(wash_sales)
command.add_command(tax_report)


@command.command()
@click.option("--account", "accounts", multiple=True, help="Only this account and its household; may be repeated.")
@click.option("--check", is_flag=True, help="Compare only, write nothing; exit code 1 where something differs.")
def rebuild(accounts: tuple[str, ...], *, check: bool) -> None:
    """Fold all events again, from the first one on, and compare postings and states with what comes out.

    With --check accounts are named as well whose books lack a corporate action that came or was corrected after they
    had passed its day. Without it states are made anew, and postings that come out otherwise are reversed and written
    again under a correction; nothing that is stored is altered.

    Exit codes: 0 postings and states are those that the events give (or are now); 1 with --check: they differ, the
    first difference is named; 1 a household cannot be folded.

    \b
    Example:
      prometheus ledger rebuild --check
    """
    from prometheus.bookkeeping import ledger_rebuild
    from prometheus.bookkeeping.ledger_checks import LedgerProof, rebuild_check
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.market_data import read_one_state
    from prometheus.scripts.progress import counting

    proofs: list[LedgerProof] = []
    late: list[ledger_rebuild.BooksChange] = []
    with open_database(load_settings()) as database:
        with database.transaction() as connection:
            households = ledger_rebuild.households_of_accounts(connection, accounts or None)
        with counting("folding households", len(households)) as done:
            for household in households:
                with database.transaction() as connection:
                    read_one_state(connection)
                    proofs.append(rebuild_check(connection, household))
                    if check and not proofs[-1].differences:
                        late += ledger_rebuild.refold(connection, household, write=False)
                if proofs[-1].differences and not check:
                    with database.transaction() as connection:
                        ledger_rebuild.rebuild(connection, household)
                done(1)
    wrong = [proof for proof in proofs if proof.differences]
    events, postings = sum(proof.events for proof in proofs), sum(proof.postings for proof in proofs)
    say(
        f"{len(proofs)} households, {events} events folded, {postings} postings, {sum(one.lots for one in proofs)} lots"
    )
    if not wrong and not late:
        say("Postings and states are those that the events give.")
        if check:
            say("No corporate action came or changed later than it was booked.")
        return
    if wrong:
        count = sum(len(proof.differences) for proof in wrong)
        first = str(wrong[0].differences[0]).rstrip(".")
        say(f"{count} differences in {len(wrong)} households; the first: account {first}.")
    for change in late:
        say(f"{change.account_id}: an action that came late would book: {change.effect}.")
    if check:
        remedies = ["'prometheus ledger rebuild' makes the books anew from the events."] if wrong else []
        remedies += ["'prometheus ledger refold' books what came late."] if late else []
        say(" ".join(remedies), err=True)
        sys.exit(1)
    say("The books were made anew from the events.")


@command.command()
@click.option("--account", "accounts", multiple=True, help="Only this account and its household; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Say what would change, write nothing; exit code 1 where anything would.")
def refold(accounts: tuple[str, ...], *, dry_run: bool) -> None:
    """Book corporate actions that came or were corrected after the books had passed their ex-date.

    The days concerned are folded again, over the whole household: postings that come out otherwise are reversed and
    written anew under a correction; nothing that is stored is altered. Each household is booked or left alone as a
    whole.

    Exit codes: 0 the books have every action (or do now); 1 with --dry-run: something would change; 1 a household
    cannot be booked again, and the reason is named; the others are.

    \b
    Examples:
      prometheus ledger refold --dry-run
      prometheus ledger refold --account ACC-001
    """
    from prometheus.bookkeeping import ledger_rebuild
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.foundation.errors import AccountingError
    from prometheus.scripts.progress import counting

    booked = refused = 0
    with open_database(load_settings()) as database:
        with database.transaction() as connection:
            households = ledger_rebuild.households_of_accounts(connection, accounts or None)
        with counting("folding households", len(households)) as done:
            for household in households:
                try:
                    with database.transaction() as connection:
                        changes = ledger_rebuild.refold(connection, household, write=not dry_run)
                except AccountingError as error:
                    refused += 1
                    say(f"{household}: left as it is; {error.message}", err=True)
                else:
                    booked += len(changes)
                    for change in changes:
                        say(f"{change.account_id}: {change.effect}; {change.postings} postings.")
                done(1)
    if not (booked or refused):
        say("The books have every corporate action.")
        return
    say(f"{booked} accounts {'would be' if dry_run else 'were'} booked again, {refused} households refused.")
    if refused or dry_run:
        sys.exit(1)
