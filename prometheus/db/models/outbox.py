"""The outbox's rows: messages to the outside, the state of their delivery, and what people did about it."""

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from prometheus.db.models.base import Base, BigKey, Instant, Json, Recorded


class OutboxRow(Base):
    """One message, written in the transaction of its effect; only the columns of its delivery may change."""

    __tablename__ = "outbox"
    __table_args__ = (
        CheckConstraint("kind IN ('ALERT', 'ANCHOR')", name="kind"),
        CheckConstraint("delivered_at IS NULL OR given_up_at IS NULL", name="one_end"),
        Index("ix_outbox_undelivered", "account_id", "message_id", postgresql_where=text("delivered_at IS NULL")),
    )

    message_id: Mapped[BigKey]
    kind: Mapped[str]
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    payload: Mapped[Json]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("engine_runs.run_id"))
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.account_id"))
    created_at: Mapped[Recorded]
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    next_attempt_at: Mapped[Recorded]
    #: Names of the receivers that have it already.
    taken_by: Mapped[list[str]] = mapped_column(ARRAY(Text()), server_default="{}")
    delivered_at: Mapped[Instant | None]
    given_up_at: Mapped[Instant | None]
    last_error: Mapped[str | None]
    lease_token: Mapped[int] = mapped_column(server_default="0")
    owner_instance: Mapped[str | None]
    lease_expires_at: Mapped[Instant | None]


class OutboxEventRow(Base):
    """Append-only: a message was given up, or somebody had it tried anew, with the reason."""

    __tablename__ = "outbox_events"
    __table_args__ = (CheckConstraint("kind IN ('GIVEN_UP', 'RETRY')", name="kind"),)

    event_id: Mapped[BigKey]
    message_id: Mapped[int] = mapped_column(ForeignKey("outbox.message_id"), index=True)
    kind: Mapped[str]
    owner_instance: Mapped[str]
    details: Mapped[Json]
    recorded_at: Mapped[Recorded]
