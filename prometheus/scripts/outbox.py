"""``prometheus engine outbox``: what was told outside the database, and what reached nobody yet."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from prometheus.scripts.boundary import Command

if TYPE_CHECKING:
    from prometheus.domain.outbox import MessageState

COLUMNS: Final = (
    "message_id",
    "kind",
    "state",
    "account_id",
    "run_id",
    "attempt",
    "created_at",
    "next_attempt_at",
    "delivered_at",
    "given_up_at",
    "taken_by",
    "last_error",
    "idempotency_key",
    "payload",
)
_SHOWN: Final = ("message_id", "kind", "state", "account_id", "attempt", "created_at", "delivered_at", "last_error")


@click.command("outbox", cls=Command)
@click.option("--undelivered", is_flag=True, help="Only messages that not every receiver has.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The newest so many.")
@click.option("--format", "output", type=click.Choice(["csv", "table", "json"]), default="csv", show_default=True)
@click.option("--retry", is_flag=True, help="Have every given-up message tried anew; needs --reason.")
@click.option("--reason", default="", help="Why; recorded with --retry.")
def command(
    *, undelivered: bool, limit: int, output: Literal["csv", "table", "json"], retry: bool, reason: str
) -> None:
    """Show the messages of the outbox (alerts and audit anchors) and how far their delivery got.

    With --retry messages that were given up are due at the next heartbeat again; the message, its idempotency key and
    the record of the earlier attempts stay. 'engine_health' names what reached nobody.

    \b
    Examples:
      prometheus engine outbox --undelivered --format table
      prometheus engine outbox --retry --reason "the pager's address was mended"

    Exit codes: 0 shown or armed, 2 misuse.
    """
    if retry and not reason.strip():
        raise click.UsageError("--retry needs --reason: it is recorded with each message.")
    if reason and not retry:
        raise click.UsageError("--reason belongs to --retry; nothing else records it.")
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.outbox import list_messages, retry_given_up
    from prometheus.foundation.ids import owner_instance

    with open_database(load_settings()) as database, database.transaction() as connection:
        if retry:
            armed = retry_given_up(connection, owner=owner_instance(), reason=reason)
        else:
            rows = [_row(message) for message in list_messages(connection, undelivered=undelivered, limit=limit)]
    if retry:
        click.echo(f"{armed} message(s) will be tried again at the next heartbeat.")
    elif output == "json":
        click.echo(json.dumps(rows, indent=2))
    elif output == "csv":
        click.echo(_csv(rows), nl=False)
    else:
        from prometheus.scripts.tables import print_table

        print_table(_SHOWN, [[row[name] for name in _SHOWN] for row in rows], right=("message_id", "attempt"))


def _row(message: "MessageState") -> dict[str, Any]:
    found = {name: getattr(message, name) for name in COLUMNS}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in found.items()}


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return RFC 4180 text, header first; the payload as JSON, receivers parted by spaces."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "taken_by": " ".join(row["taken_by"]), "payload": json.dumps(row["payload"])})
    return text.getvalue()
