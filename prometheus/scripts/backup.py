"""``prometheus backup``: the embedded database in one verified file."""

from pathlib import Path

import click

from prometheus.scripts.boundary import Command


@click.command("backup", cls=Command)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--no-trial", is_flag=True, help="Do not load the backup once to compare every table; half the time.")
def command(file: Path, no_trial: bool) -> None:  # noqa: FBT001 -- click passes options by keyword
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
