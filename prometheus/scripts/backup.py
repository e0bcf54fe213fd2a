"""``prometheus backup`` and ``prometheus restore``: the embedded database in one verified file, and back."""

from pathlib import Path

import click

from prometheus.scripts.boundary import Command


@click.command("backup", cls=Command)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--no-trial", is_flag=True, help="Do not load the backup once to compare every table; half the time.")
def backup_command(file: Path, no_trial: bool) -> None:  # noqa: FBT001 -- click passes options by keyword
    """Write the embedded database into FILE, which must not exist yet; the engine may work meanwhile.

    FILE appears when it is complete: written, read back, and loaded once into a database of its own, in which every
    table is compared row for row by digest. It holds everything, so it is readable for you alone.

    \b
    Example:
      prometheus backup /backup/prometheus-2018-06-01.zip

    Exit codes: 0 the backup is good, 1 the database is damaged or gone, 2 the request cannot be met; no file is left.
    """
    from prometheus.bootstrap.backups import back_up
    from prometheus.bootstrap.settings import load_settings

    manifest = back_up(load_settings(), file, say=lambda step: click.echo(step, err=True), trial=not no_trial)
    click.echo(
        f"{file}: {manifest.rows:,} rows of {len(manifest.tables)} tables, {file.stat().st_size:,} bytes, "
        + ("not tried" if no_trial else "tried and complete")
    )
    click.echo(f"Restore it with: prometheus restore {file}")


@click.command("restore", cls=Command)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--replace", is_flag=True, help="Put a database that is there aside; its directory is renamed and kept.")
def restore_command(file: Path, replace: bool) -> None:  # noqa: FBT001 -- click passes options by keyword
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
