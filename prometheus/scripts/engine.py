"""``prometheus engine``: the fleet's kill switch."""

import click

from prometheus.scripts.boundary import Group


@click.group("engine", cls=Group)
def command() -> None:
    """Freeze and unfreeze the fleet, on every host at once."""


@command.command()
@click.option("--reason", required=True, help="Why; shown wherever the engine says that it is frozen.")
def freeze(reason: str) -> None:
    """Stop the fleet: when this returns, no phase is committed any more, on any host.

    Nothing is rolled back; unfreeze and the next heartbeat continues where each run stands.

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
    """Say whether the fleet is frozen, why and since when."""
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.engine_flags import read_switch

    with open_database(load_settings()) as database, database.transaction() as connection:
        switch = read_switch(connection)
    state = f"FROZEN: {switch.reason}" if switch.frozen else "running"
    click.echo(f"{state} (since {switch.changed_at.isoformat()})")


def _set(*, frozen: bool, reason: str | None) -> None:
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.engine_flags import set_switch

    with open_database(load_settings()) as database, database.transaction() as connection:
        changed = set_switch(connection, frozen=frozen, reason=reason)
    word = "frozen" if frozen else "running"
    click.echo(f"The engine is {'now' if changed else 'already'} {word}.")
