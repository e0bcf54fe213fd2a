"""``prometheus engine``: the fleet's kill switch, the pause of an account, recurring work and the outbox."""

import click

from prometheus.scripts.boundary import Group
from prometheus.scripts.outbox import command as outbox
from prometheus.scripts.tables import print_table, say, short_time


@click.group("engine", cls=Group)
def command() -> None:
    """Freeze the fleet on every host at once, pause accounts, show recurring work and the outbox."""


command.add_command(outbox)


@command.command()
@click.option("--reason", required=True, help="Why; shown wherever the engine reports that it is frozen.")
def freeze(reason: str) -> None:
    """Stop the fleet: when this returns, no phase is committed any more, on any host.

    Nothing is rolled back; after unfreeze the next tick continues each run from its phase.

    \b
    Example:
      prometheus engine freeze --reason "bad price feed"
    """
    if not reason.strip():
        raise click.UsageError("--reason must say why: whoever finds the engine frozen will read it.")
    _set(frozen=True, reason=reason)


@command.command()
def unfreeze() -> None:
    """Let the fleet go on."""
    _set(frozen=False, reason=None)


@command.command()
def status() -> None:
    """Show whether the fleet is frozen, why and since when, and which accounts are paused."""
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.engine_flags import read_switch
    from prometheus.db.repositories.engine_runs import paused_accounts

    settings = load_settings()
    with open_database(settings) as database, database.transaction() as connection:
        switch = read_switch(connection)
        paused = paused_accounts(connection)
    state = f"FROZEN: {switch.reason}" if switch.frozen else "running"
    say(f"{state} (since {switch.changed_at.isoformat()})")
    if settings.runner_flag_frozen:
        say("RUNNER_FLAG_FROZEN is set here: processes that see it claim and commit nothing")
    for account_id, reason in paused:
        say(f"{account_id} is paused: {reason}")


@command.command()
@click.argument("account_id")
@click.option(
    "--reason", required=True, help="Why; shown by 'engine status' and in the history of the account's unfinished runs."
)
def pause(account_id: str, reason: str) -> None:
    """Claim no run of an account until it is resumed; a phase under way is finished.

    \b
    Example:
      prometheus engine pause ACC-007 --reason "client asked to wait"
    """
    if not reason.strip():
        raise click.UsageError("--reason must say why: whoever finds the account paused will read it.")
    _pause(account_id, paused=True, reason=reason)


@command.command()
@click.argument("account_id")
@click.option("--reason", default="", help="Why; recorded likewise.")
def resume(account_id: str, reason: str) -> None:
    """Let a paused account go on.

    \b
    Example:
      prometheus engine resume ACC-007
    """
    _pause(account_id, paused=False, reason=reason)


@command.command()
def tasks() -> None:
    """Show the recurring work: when each task is due next and how it ended last time."""
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.due_tasks import list_due_tasks

    with open_database(load_settings()) as database, database.transaction() as connection:
        rows = list_due_tasks(connection)
    print_table(
        ("task", "next_due_at", "finished_at", "attempt", "error"),
        [
            (
                row.name,
                short_time(row.next_due_at),
                short_time(row.finished_at),
                row.attempt,
                None if row.error is None else f"{row.error['code']}: {row.error['message']}",
            )
            for row in rows
        ],
        right=("attempt",),
        below=("error",),
    )
    if not rows:
        say("No tick has scheduled any yet; 'run_engine_state --advance-all' does.")


def _pause(account_id: str, *, paused: bool, reason: str) -> None:
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.pipeline.state import set_paused

    with open_database(load_settings()) as database:
        changed = set_paused(database, account_id, paused=paused, reason=reason)
    word = "paused" if paused else "running"
    click.echo(f"{account_id} is {'now' if changed else 'already'} {word}.")


def _set(*, frozen: bool, reason: str | None) -> None:
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.pipeline.kill_switch import throw_switch

    with open_database(load_settings()) as database:
        thrown = throw_switch(database, frozen=frozen, reason=reason)
    word = "frozen" if frozen else "running"
    click.echo(f"The engine is {'now' if thrown.changed else 'already'} {word}.")
    if thrown.ended:
        say(
            f"{len(thrown.ended)} database session(s) hung in the middle of a commit and were ended for it; what they "
            "had begun was rolled back.",
            err=True,
        )
