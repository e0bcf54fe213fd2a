"""``prometheus explain``: why a run traded what it traded."""

import json
from typing import Literal

import click

from prometheus.scripts.boundary import Command, format_option
from prometheus.scripts.tables import say_markdown


@click.command("explain", cls=Command)
@click.argument("account_id")
@click.argument("run")
@click.option("--ticker", help="Only what concerns this security, traded or not.")
@format_option("markdown", "json", default="markdown")
def command(account_id: str, run: str, ticker: str | None, output: Literal["markdown", "json"]) -> None:
    """Say why each trade was made, which limits bound at what price, what was locked by which trade, and the risk.

    From the run's record alone, in words and numbers: reasons, shadow prices of the limits, wash-sale locks with the
    trade that caused each, flags, and the risk model's view before and after.

    Exit codes: 0 explained, 2 there is no such run or the security is not in it.

    \b
    Examples:
      prometheus explain ACC-001 RUN-001
      prometheus explain ACC-001 RUN-001 --ticker AAPL
    """
    from prometheus.audit.explanation import explain_run
    from prometheus.audit.explanation_text import as_markdown
    from prometheus.audit.recorded_run import load_recorded_run
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of
    from prometheus.foundation.ids import parse_run_label, run_label
    from prometheus.pipeline.shared_inputs import SharedInputs

    number = parse_run_label(run)
    with open_database(load_settings()) as database:
        with database.transaction() as connection:
            accounts_of(connection, account_ids=[account_id])
        recorded = load_recorded_run(database, account_id, number)
        explanation = explain_run(recorded, SharedInputs(database), label=run_label(number), ticker=ticker)
    if output == "json":
        click.echo(json.dumps(explanation.to_json(), indent=2))
    else:
        say_markdown(as_markdown(explanation))
