"""Messages to the outside of the database, as deliverers and operators read them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from prometheus.foundation.canonical import JsonObject


class MessageKind(StrEnum):
    """Subject of a message."""

    ALERT = "ALERT"
    ANCHOR = "ANCHOR"


@dataclass(frozen=True, slots=True)
class ClaimedMessage:
    """A message, and the right to deliver it: valid while token and owner are those of the row.

    Attributes:
        message_id: Its number, in the order in which messages were written.
        kind: Its subject.
        idempotency_key: The same however often it is delivered; no two messages share one.
        payload: Its content, JSON types.
        created_at: When it was written, the database's clock.
        account_id: The account it concerns, or None.
        attempt: Which attempt this is, from 1.
        taken_by: Receivers that have it already.
        token: The lease's.
        owner: The lease's.
    """

    message_id: int
    kind: MessageKind
    idempotency_key: str
    payload: JsonObject
    created_at: datetime
    account_id: str | None
    attempt: int
    taken_by: frozenset[str]
    token: int
    owner: str


@dataclass(frozen=True, slots=True)
class MessageState:
    """One row of the outbox, for people; instants are the database's."""

    message_id: int
    kind: str
    idempotency_key: str
    account_id: str | None
    run_id: int | None
    state: str
    attempt: int
    created_at: datetime
    next_attempt_at: datetime
    delivered_at: datetime | None
    given_up_at: datetime | None
    taken_by: tuple[str, ...]
    last_error: str | None
    payload: JsonObject
