"""``prometheus runs export``: a persisted run as a problem file."""

import click

from prometheus.scripts.boundary import Command


@click.command("export", cls=Command)
@click.argument("account_id")
@click.argument("run")
@click.option("--out", type=click.Path(dir_okay=False), help="Write to this file; standard output where absent.")
def command(account_id: str, run: str, out: str | None) -> None:
    """Write the problem file of a persisted run: everything its solve read, to be solved anywhere.

    \b
    Example:
      prometheus runs export ACC-001 RUN-001 --out problem.json
      prometheus optimize problem.json

    Exit codes: 0 written, 1 the record cannot be stated as a file, 2 there is no such run.
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of
    from prometheus.db.repositories.runs import load_run, previous_targets
    from prometheus.decision.problem_file.export import export_problem
    from prometheus.decision.snapshot import Snapshot
    from prometheus.foundation.ids import parse_run_label
    from prometheus.pipeline.shared_inputs import SharedInputs
    from prometheus.pipeline.tasks import matrices
    from prometheus.scripts.optimize import write_text

    with open_database(load_settings()) as database:
        with database.transaction() as connection:
            accounts_of(connection, account_ids=[account_id])
            record, _ = load_run(connection, account_id, parse_run_label(run))
            targets = previous_targets(connection, account_id, record.as_of_date)
        snapshot = Snapshot.from_json(record.document("snapshot"))
        text = export_problem(
            snapshot, record.document("params_snapshot"), matrices(SharedInputs(database), snapshot), targets
        )
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
        click.echo(f"wrote {out}")
