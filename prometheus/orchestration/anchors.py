"""Anchors: one digest over the heads of all chains through a day; a copy outside the database proves earlier runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from prometheus.db.database import Connection, Database
from prometheus.db.repositories.audit_trail import add_anchor, heads_through, newest_run_day
from prometheus.db.repositories.outbox import add_message
from prometheus.domain.outbox import MessageKind
from prometheus.foundation.canonical import sha256_of
from prometheus.foundation.errors import RequestError

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class AnchorTaken:
    """An anchor: its digest (hexadecimal), number of accounts, and whether this call stored it."""

    as_of: date
    digest: str
    accounts: int
    added: bool


def take_anchor(database: Database, as_of: date) -> AnchorTaken:
    """Store the digest of all chains' heads through a day and return it; the same heads are stored and sent once.

    Its message in the outbox is written in the same transaction.

    Raises:
        RequestError: There is no run on or before the day (NO_RUNS).
    """
    with database.transaction() as connection:
        heads = current_heads(connection, as_of)
        if not heads:
            raise RequestError(f"There is no run on or before {as_of}: nothing to anchor.", code="NO_RUNS")
        digest = anchor_digest(as_of, heads)
        added = add_anchor(connection, as_of=as_of, digest=bytes.fromhex(digest), heads=heads)
        payload = {"as_of": as_of, "digest": digest, "accounts": len(heads)}
        add_message(connection, MessageKind.ANCHOR, f"anchor-{as_of}-{digest}", payload)
    return AnchorTaken(as_of, digest, len(heads), added)


def newest_day(database: Database) -> date | None:
    """Return the newest day with a run, or None where there is none."""
    with database.transaction() as connection:
        return newest_run_day(connection)


def current_heads(connection: Connection, as_of: date) -> dict[str, list[Any]]:
    """Return number and hash (hexadecimal) of each account's last run through a day."""
    return {account: [number, digest.hex()] for account, (number, digest) in heads_through(connection, as_of).items()}


def anchor_digest(as_of: date, heads: Mapping[str, Sequence[Any]]) -> str:
    """Return the digest of the heads of a day, 64 hexadecimal digits."""
    return sha256_of({"format": _FORMAT, "as_of": as_of, "heads": heads})
