"""The outbox as rows: written in the transaction of their effect, claimed with lease and token, marked once delivered.

Every statement that acts for a deliverer carries message, lease token and owner: a deliverer that lost the lease marks
nothing.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, text

from prometheus.db.database import SqlValue
from prometheus.domain.outbox import ClaimedMessage, MessageKind, MessageState
from prometheus.foundation.canonical import canonical_json

_ADD: Final = text("""
    INSERT INTO outbox (kind, idempotency_key, payload) VALUES (:kind, :key, CAST(:payload AS jsonb))
    ON CONFLICT (idempotency_key) DO NOTHING RETURNING message_id
""")

# By alias of the table. A message that was never tried and is from the future, or that waits for longer than the
# longest delay of its attempt (jitter adds a quarter), was written before the clock stepped back: its due time is
# ignored.
_DUE: Final = """
    ({alias}.next_attempt_at <= engine_now() OR ({alias}.attempt = 0 AND {alias}.created_at > engine_now())
     OR {alias}.next_attempt_at > engine_now() + make_interval(
            secs => 1.25 * least(:base * power(2, least(greatest({alias}.attempt - 1, 0), 30)), :longest)))
"""

# A lease that ends later than two lengths from now was taken before the clock stepped back. Messages of an account are
# delivered in the order of writing: a later one waits for an earlier one that is put off or claimed.
_CLAIM: Final = text(f"""
    WITH due AS (
        SELECT message_id FROM outbox AS message
        WHERE delivered_at IS NULL AND given_up_at IS NULL AND {_DUE.format(alias="message")}
          AND (owner_instance IS NULL OR lease_expires_at <= engine_now()
               OR lease_expires_at > engine_now() + make_interval(secs => 2 * :lease_seconds))
          AND message_id <> ALL(:skip)
          AND NOT EXISTS (
              SELECT 1 FROM outbox AS earlier
              WHERE earlier.account_id = message.account_id AND earlier.message_id < message.message_id
                AND earlier.delivered_at IS NULL AND earlier.given_up_at IS NULL
                AND (NOT {_DUE.format(alias="earlier")} OR earlier.message_id = ANY(:skip)
                     OR (earlier.owner_instance IS NOT NULL AND earlier.lease_expires_at > engine_now()
                         AND earlier.lease_expires_at <= engine_now() + make_interval(secs => 2 * :lease_seconds))))
        ORDER BY message_id LIMIT :batch FOR UPDATE SKIP LOCKED
    )
    UPDATE outbox AS message
    SET lease_token = message.lease_token + 1, owner_instance = :owner, attempt = message.attempt + 1,
        lease_expires_at = engine_now() + make_interval(secs => :lease_seconds)
    FROM due WHERE message.message_id = due.message_id
    RETURNING message.message_id, message.kind, message.idempotency_key, message.payload, message.created_at,
              message.account_id, message.attempt, message.taken_by, message.lease_token
""")

_DELIVERED: Final = text("""
    UPDATE outbox
    SET delivered_at = engine_now(), taken_by = :taken_by, last_error = NULL, owner_instance = NULL,
        lease_expires_at = NULL
    WHERE message_id = :message_id AND lease_token = :token AND owner_instance = :owner AND delivered_at IS NULL
    RETURNING message_id
""")

_FAILED: Final = text("""
    WITH failed AS (
        UPDATE outbox
        SET taken_by = :taken_by, last_error = :error, owner_instance = NULL, lease_expires_at = NULL,
            given_up_at = CASE WHEN attempt >= :max_attempts THEN engine_now() END,
            next_attempt_at = engine_now() + make_interval(
                secs => least(:base * power(2, least(attempt - 1, 30)), :longest) * (0.75 + random() / 2))
        WHERE message_id = :message_id AND lease_token = :token AND owner_instance = :owner
        RETURNING message_id, given_up_at, attempt
    ), told AS (
        INSERT INTO outbox_events (message_id, kind, owner_instance, details)
        SELECT message_id, 'GIVEN_UP', :owner, jsonb_build_object('attempts', attempt, 'error', CAST(:error AS text))
        FROM failed WHERE given_up_at IS NOT NULL
    )
    SELECT given_up_at IS NOT NULL AS given_up FROM failed
""")

# Not charged: the receiver was not asked, or could not be asked because of another one's failure.
_PUT_OFF: Final = text("""
    UPDATE outbox
    SET attempt = greatest(attempt - 1, 0), taken_by = :taken_by, owner_instance = NULL, lease_expires_at = NULL,
        next_attempt_at = engine_now() + make_interval(secs => :seconds)
    WHERE message_id = :message_id AND lease_token = :token AND owner_instance = :owner
    RETURNING message_id
""")

_LIST: Final = text("""
    SELECT message_id, kind, idempotency_key, account_id, run_id, attempt, created_at, next_attempt_at, delivered_at,
           given_up_at, taken_by, last_error, payload,
           CASE WHEN delivered_at IS NOT NULL THEN 'DELIVERED' WHEN given_up_at IS NOT NULL THEN 'GIVEN_UP'
                WHEN owner_instance IS NOT NULL THEN 'UNDER_WAY' ELSE 'WAITING' END AS state
    FROM (SELECT * FROM outbox WHERE delivered_at IS NULL OR NOT :undelivered
          ORDER BY message_id DESC LIMIT :limit) AS newest
    ORDER BY message_id
""")

_RETRY: Final = text("""
    WITH given_up AS (
        SELECT message_id, attempt, last_error, given_up_at FROM outbox
        WHERE given_up_at IS NOT NULL ORDER BY message_id FOR UPDATE
    ), armed AS (
        UPDATE outbox SET given_up_at = NULL, attempt = 0, next_attempt_at = engine_now()
        FROM given_up WHERE outbox.message_id = given_up.message_id
    )
    INSERT INTO outbox_events (message_id, kind, owner_instance, details)
    SELECT message_id, 'RETRY', :owner, jsonb_build_object(
               'reason', CAST(:reason AS text), 'attempts', attempt, 'error', last_error, 'given_up_at', given_up_at)
    FROM given_up ORDER BY message_id RETURNING message_id
""")


def add_message(connection: Connection, kind: MessageKind, key: str, payload: object) -> bool:
    """Write a message that concerns no account; return False where one with this idempotency key exists already."""
    values = {"kind": kind.value, "key": key, "payload": canonical_json(payload)}
    return connection.execute(_ADD, values).one_or_none() is not None


def claim_messages(
    connection: Connection,
    *,
    owner: str,
    lease_seconds: float,
    batch: int,
    base_seconds: float,
    longest_seconds: float,
    skip: Sequence[int] = (),
) -> tuple[ClaimedMessage, ...]:
    """Claim up to ``batch`` messages that are due, in the order in which they were written.

    Args:
        connection: An open transaction.
        owner: Name of this process, unique to its start.
        lease_seconds: Until another deliverer may take them over.
        batch: Most messages to claim.
        base_seconds: First delay after a failure, and the longest that :func:`put_off` is called with.
        longest_seconds: Longest delay.
        skip: Messages that this caller will not try again now; later ones of the same account wait for them.
    """
    rows = connection.execute(
        _CLAIM,
        {
            "owner": owner,
            "lease_seconds": lease_seconds,
            "batch": batch,
            "base": base_seconds,
            "longest": longest_seconds,
            "skip": list(skip),
        },
    )
    claimed = (
        ClaimedMessage(
            message_id=row.message_id,
            kind=MessageKind(row.kind),
            idempotency_key=row.idempotency_key,
            payload=row.payload,
            created_at=row.created_at,
            account_id=row.account_id,
            attempt=row.attempt,
            taken_by=frozenset(row.taken_by),
            token=row.lease_token,
            owner=owner,
        )
        for row in rows
    )
    return tuple(sorted(claimed, key=lambda message: message.message_id))


def mark_delivered(connection: Connection, message: ClaimedMessage, taken_by: frozenset[str]) -> bool:
    """Record that every receiver has a message; return False where the lease was lost meanwhile."""
    return connection.execute(_DELIVERED, _held(message, taken_by)).one_or_none() is not None


def mark_failed(
    connection: Connection,
    message: ClaimedMessage,
    taken_by: frozenset[str],
    *,
    error: str,
    base_seconds: float,
    longest_seconds: float,
    max_attempts: int,
) -> bool:
    """Have a message tried again after base * 2^n with jitter, or give it up; return True where it was given up."""
    row = connection.execute(
        _FAILED,
        {
            **_held(message, taken_by),
            "error": error.replace("\x00", "?"),
            "base": base_seconds,
            "longest": longest_seconds,
            "max_attempts": max_attempts,
        },
    ).one_or_none()
    return row is not None and bool(row.given_up)


def put_off(connection: Connection, message: ClaimedMessage, taken_by: frozenset[str], *, seconds: float) -> None:
    """Give a message back without charging the attempt; it is due again after ``seconds``."""
    connection.execute(_PUT_OFF, {**_held(message, taken_by), "seconds": seconds})


def list_messages(connection: Connection, *, undelivered: bool, limit: int) -> tuple[MessageState, ...]:
    """Return the newest messages, oldest of them first; with ``undelivered`` only those not delivered yet."""
    rows = connection.execute(_LIST, {"undelivered": undelivered, "limit": limit}).mappings()
    return tuple(MessageState(**{**row, "taken_by": tuple(row["taken_by"])}) for row in rows)


def retry_given_up(connection: Connection, *, owner: str, reason: str) -> int:
    """Have every given-up message tried anew from its first attempt, recording who and why; return how many."""
    return len(connection.execute(_RETRY, {"owner": owner, "reason": reason}).all())


def _held(message: ClaimedMessage, taken_by: frozenset[str]) -> dict[str, SqlValue]:
    return {
        "message_id": message.message_id,
        "token": message.token,
        "owner": message.owner,
        "taken_by": sorted(taken_by),
    }
