"""``prometheus ledger``: the journal proved, wash sales of a file, tax reports."""

import sys

import click

from prometheus.scripts.boundary import Group


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

    Without --check the tables are written anew where they differ.

    \b
    Exit codes: 0 the tables equal the journal replayed (or do now); 1 with --check: they differ, the first difference
    is named; 1 a journal cannot be replayed.

    \b
    Example:
      prometheus ledger rebuild --check
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories import journal
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
    click.echo(f"{len(proofs)} accounts, {rows} journal rows replayed, {lots} lots")
    if not wrong:
        click.echo("Lots and cash equal the journal replayed.")
        return
    first = wrong[0]
    found = sum(len(proof.differences) for proof in wrong)
    click.echo(f"{found} differences in {len(wrong)} accounts; the first: account {first.account_id}, ", nl=False)
    click.echo(f"{first.differences[0]}.")
    if check:
        click.echo("'prometheus ledger rebuild' writes the tables anew from the journal.", err=True)
        sys.exit(1)
    click.echo("The tables were written anew from the journal.")
