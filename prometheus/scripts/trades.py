"""``prometheus trades``: export the orders of runs, list and settle open ones."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from prometheus.foundation.canonical import JsonObject
from prometheus.scripts.boundary import DATE, Group, format_option
from prometheus.scripts.tables import print_table, say

if TYPE_CHECKING:
    from prometheus.domain.orders import OpenOrder


@click.group("trades", cls=Group)
def command() -> None:
    """Write a run's orders for the broker, list open ones, settle what is left of them.

    \b
    From a day to the next:
      prometheus trades export --output orders.csv
      prometheus ingest executions.csv --kind executions
      prometheus trades list
      prometheus trades settle ACC-001 RUN-001 --expired --reason WHY
    """


@command.command("list")
@click.argument("account_id", required=False)
@click.option("--as-of", type=DATE, help="Only orders of this day's runs, YYYY-MM-DD.")
@format_option("table", "json", default="table")
def list_(account_id: str | None, as_of: datetime | None, output: Literal["table", "json"]) -> None:
    """List the orders that are neither filled nor settled, of one account where given.

    \b
    Example:
      prometheus trades list ACC-001
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.execution.trade_orders import list_open

    with open_database(load_settings()) as database:
        orders = list_open(database, as_of=_day(as_of), account_id=account_id)
    rows = [_row(order) for order in orders]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("No order is open.")
        return
    header = ("as_of", "client_order_id", "side", "ticker", "quantity", "filled")
    print_table(header, [[row[name] for name in header] for row in rows], right=header[4:])


@command.command()
@click.option("--as-of", type=DATE, help="Only orders of this day's runs, YYYY-MM-DD.")
@click.option("--account", "account_id", help="Only orders of this account.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write; standard output if not."
)
def export(as_of: datetime | None, account_id: str | None, output: Path | None) -> None:
    """Write open orders as CSV, in the format that comes back with 'prometheus ingest FILE --kind executions'.

    A row is an order: one ticker and side of a run, with what is left of it and, for a sale, its lots. Fill in
    execution_id, trade_date, price and, where there is one, fee; repeat the row for several executions, each with its
    own quantity and lots. Rows that are left as they are stay open.

    \b
    Example:
      prometheus trades export --as-of 2018-06-01 --output orders.csv
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.execution.trade_orders import export_orders, list_open
    from prometheus.foundation.errors import RequestError

    if output is not None and not output.absolute().parent.is_dir():
        raise RequestError(f"--output: the directory '{output.absolute().parent}' does not exist.")
    with open_database(load_settings()) as database:
        orders = list_open(database, as_of=_day(as_of), account_id=account_id)
        text = export_orders(database, orders)
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)
    where = "" if output is None else f" in {output}"
    say(f"{len(orders)} open order(s) of {len({one.account_id for one in orders})} account(s){where}.", err=True)


@command.command()
@click.argument("account_id", required=False)
@click.argument("run", required=False)
@click.option("--as-of", type=DATE, help="Instead of ACCOUNT_ID and RUN: every run of this day with open orders.")
@click.option("--expired", "status", flag_value="EXPIRED", help="The rest expired unfilled.")
@click.option("--cancelled", "status", flag_value="CANCELLED", help="The rest was cancelled.")
@click.option("--reason", required=True, help="Why; stored with who said so and when.")
def settle(account_id: str | None, run: str | None, as_of: datetime | None, status: str | None, reason: str) -> None:
    """Settle a run's open orders that will not be filled any more, so that the account's next day goes on.

    What was executed stays executed, and executions that come later are booked all the same.

    \b
    Examples:
      prometheus trades settle ACC-001 RUN-001 --expired --reason WHY
      prometheus trades settle --as-of 2018-06-01 --cancelled --reason WHY
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.domain.orders import Settled
    from prometheus.execution.trade_orders import list_open, settle_orders
    from prometheus.foundation.errors import RequestError
    from prometheus.foundation.ids import login_name, parse_run_label

    if status is None:
        raise RequestError("Say how the orders ended: --expired or --cancelled.")
    if (as_of is None) is (run is None) or (as_of is not None and account_id is not None):
        raise RequestError("Name an account and a run, such as ACC-001 RUN-001, or a day with --as-of; not both.")
    with open_database(load_settings()) as database:
        if account_id is not None and run is not None:
            runs = [(account_id, parse_run_label(run))]
        else:
            runs = sorted({(order.account_id, order.run_seq) for order in list_open(database, as_of=_day(as_of))})
        for account, run_seq in runs:
            done = settle_orders(database, account, run_seq, Settled(status), reason=reason, settled_by=login_name())
            say(done.said)
    if not runs:
        click.echo(f"No run of {_day(as_of)} has open orders.")


def _day(as_of: datetime | None) -> date | None:
    return None if as_of is None else as_of.date()


def _row(order: "OpenOrder") -> JsonObject:
    from prometheus.domain.money import plain_text
    from prometheus.foundation.ids import run_label

    return {
        "as_of": order.as_of_date.isoformat(),
        "account": order.account_id,
        "run": run_label(order.run_seq),
        "client_order_id": str(order.name),
        "ticker": order.ticker,
        "side": order.side.value,
        "quantity": plain_text(order.quantity),
        "filled": plain_text(order.filled),
    }


def _write(path: Path, text: str) -> None:
    """Write a file completely or not at all; an existing one is replaced."""
    from prometheus.foundation.errors import RequestError

    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_text(text, encoding="utf-8", newline="")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RequestError(f"'{path}' cannot be written ({error.strerror}).") from error
