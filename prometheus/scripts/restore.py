"""``prometheus restore``: the embedded database from a backup."""

from pathlib import Path

import click

from prometheus.scripts.boundary import Command


@click.command("restore", cls=Command)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--replace", is_flag=True, help="Put a database that is there aside; its directory is renamed and kept.")
def command(file: Path, replace: bool) -> None:  # noqa: FBT001 -- click passes options by keyword
    """Put the database of FILE, made by 'prometheus backup', into PROMETHEUS_HOME.

    It is loaded aside and compared with the backup's manifest before the existing database is changed. A backup of an
    older version is upgraded, one of a newer version refused. Stop the timer first: other commands must not use the
    database.

    \b
    Example:
      systemctl stop prometheus-engine.timer
      prometheus restore /backup/prometheus-2018-06-01.zip --replace

    Exit codes: 0 restored, 1 it cannot be loaded, 2 the request cannot be met; then nothing is changed.
    """
    from prometheus.bootstrap.backups import restore
    from prometheus.bootstrap.settings import load_settings

    settings = load_settings()
    manifest = restore(settings, file, replace=replace, say=lambda step: click.echo(step, err=True))
    click.echo(
        f"{settings.home}: {manifest.rows:,} rows of {len(manifest.tables)} tables as of {manifest.made_at}, every one "
        "compared with the backup"
    )
    if replace:
        click.echo("The old database is kept as data.replaced-* beside it; remove that when you are sure.")
    click.echo("Check what it proves with: prometheus verify-audit")
    click.echo("What was traded and booked after the backup is not in it: compare with the orders that left.")
