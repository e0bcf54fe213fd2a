"""``prometheus engine outbox``: messages to the outside, and those not delivered yet."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import click

from prometheus.foundation.canonical import JsonObject
from prometheus.foundation.files import csv_text
from prometheus.scripts.boundary import Command, format_option, say_more_rows

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
_TIMES: Final = ("created_at", "delivered_at")
_SHOWN: Final = ("message_id", "kind", "state", "account_id", "attempt", "created_at", "delivered_at", "last_error")


@click.command("outbox", cls=Command)
@click.option("--undelivered", is_flag=True, help="Only messages that not every receiver has.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The newest so many.")
@format_option("csv", "table", "json", default="csv")
@click.option("--retry", is_flag=True, help="Have every given-up message tried anew; needs --reason.")
@click.option("--reason", default="", help="Why; recorded with --retry.")
def command(
    *, undelivered: bool, limit: int, output: Literal["csv", "table", "json"], retry: bool, reason: str
) -> None:
    """Show the messages of the outbox (alerts and audit anchors) and how far their delivery got.

    With --retry messages that were given up are due at the next tick again; the message, its idempotency key and the
    record of the earlier attempts stay. 'engine_health' reports undelivered messages.

    \b
    Examples:
      prometheus engine outbox --undelivered --format table
      prometheus engine outbox --retry --reason "its address was corrected"

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
            messages = list_messages(connection, undelivered=undelivered, limit=limit + 1)
            shown = messages[-limit:]
    if not retry and len(messages) > limit:
        say_more_rows(limit, "messages")
    if retry:
        click.echo(f"{armed} message(s) will be tried again at the next tick.")
    elif output == "json":
        click.echo(json.dumps([_row(message) for message in shown], indent=2))
    elif output == "csv":
        click.echo(_csv(shown), nl=False)
    else:
        from prometheus.scripts.tables import print_table, say, short_time

        print_table(
            _SHOWN,
            [
                [short_time(getattr(one, name)) if name in _TIMES else getattr(one, name) for name in _SHOWN]
                for one in shown
            ],
            right=("message_id", "attempt"),
            optional=("delivered_at", "attempt", "account_id"),
            below=("last_error",),
            elsewhere="--format csv has them",
        )
        if not shown:
            say("No messages: " + ("every one has reached its receivers." if undelivered else "none was ever written."))


def _row(message: "MessageState") -> JsonObject:
    values = {name: getattr(message, name) for name in COLUMNS}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _csv(messages: Sequence["MessageState"]) -> str:
    """Return the messages as CSV; the payload as JSON, receivers parted by spaces."""
    return csv_text(
        COLUMNS,
        ({**_row(one), "taken_by": " ".join(one.taken_by), "payload": json.dumps(one.payload)} for one in messages),
    )
