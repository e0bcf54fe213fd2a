"""The state machine's rows: runs in work, their staged results, the immutable record, events, alerts, switches."""

from datetime import date

from sqlalchemy import CheckConstraint, Double, ForeignKey, Index, Integer, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from prometheus.db.models.base import Base, BigKey, Instant, Json, Money, Price, Recorded, Shares

#: Constraint names, matched to raise our own errors.
UQ_ENGINE_RUN = "uq_engine_runs_as_of_date_account_id"
UQ_RUN_DAY = "uq_runs_account_id_as_of_date"
UQ_RUN_SEQ = "uq_runs_account_id_run_seq"

_PHASES = "('WAITING_FOR_DATA', 'DATA_READY', 'SNAPSHOT_BUILT', 'SOLVED', 'PERSISTED', 'FAILED')"


class EngineRunRow(Base):
    """One account's day and its phase. Exactly one row for each (as_of_date, account)."""

    __tablename__ = "engine_runs"
    __table_args__ = (
        UniqueConstraint("as_of_date", "account_id", name=UQ_ENGINE_RUN),
        CheckConstraint(f"phase IN {_PHASES}", name="phase"),
        CheckConstraint(
            "(phase = 'FAILED') = (error IS NOT NULL) OR phase NOT IN ('FAILED', 'PERSISTED')", name="error"
        ),
        # For the query of a tick: a handful of rows among years of finished ones.
        Index(
            "ix_engine_runs_active",
            "account_id",
            "as_of_date",
            postgresql_where=text("phase NOT IN ('PERSISTED', 'FAILED')"),
        ),
        Index(
            "ix_engine_runs_in_work",
            "as_of_date",
            "next_attempt_at",
            "account_id",
            postgresql_where=text("phase IN ('DATA_READY', 'SNAPSHOT_BUILT', 'SOLVED')"),
        ),
        # For the query of the reaper.
        Index(
            "ix_engine_runs_claimed",
            "run_id",
            postgresql_where=text("owner_instance IS NOT NULL OR cancel_requested_at IS NOT NULL"),
        ),
    )

    run_id: Mapped[BigKey]
    as_of_date: Mapped[date]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"))
    region: Mapped[str]
    phase: Mapped[str]
    phase_entered_at: Mapped[Recorded]
    phase_started_at: Mapped[Instant | None]
    phase_completed_at: Mapped[Instant | None]
    created_at: Mapped[Recorded]
    updated_at: Mapped[Recorded]
    error: Mapped[Json | None]
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    max_attempts: Mapped[int] = mapped_column(Integer, server_default="5")
    next_attempt_at: Mapped[Recorded]
    lease_token: Mapped[int] = mapped_column(server_default="0")
    owner_instance: Mapped[str | None]
    lease_expires_at: Mapped[Instant | None]
    heartbeat_at: Mapped[Instant | None]
    cancel_requested_at: Mapped[Instant | None]
    config: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    code_version: Mapped[str]


class EngineRunEventRow(Base):
    """Append-only history of a run: transitions, claims, take-overs, holds, alerts, resets."""

    __tablename__ = "engine_run_events"

    event_id: Mapped[BigKey]
    run_id: Mapped[int] = mapped_column(ForeignKey("engine_runs.run_id"), index=True)
    kind: Mapped[str]
    from_phase: Mapped[str | None]
    to_phase: Mapped[str | None]
    lease_token: Mapped[int]
    owner_instance: Mapped[str | None]
    details: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    recorded_at: Mapped[Recorded]


class EngineFlagRow(Base):
    """The kill switch: one row, locked FOR SHARE by every commit of a phase and FOR UPDATE where it is set."""

    __tablename__ = "engine_flags"
    __table_args__ = (CheckConstraint("flag_id = 1", name="one_row"),)

    flag_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    frozen: Mapped[bool] = mapped_column(server_default="false")
    reason: Mapped[str | None]
    changed_at: Mapped[Recorded]
    #: Purpose of this database: '' or 'demo', so that demo data and a real fleet never mix.
    purpose: Mapped[str] = mapped_column(server_default="")


class EngineHostRow(Base):
    """A host that runs ticks, and when the last one began."""

    __tablename__ = "engine_hosts"

    host: Mapped[str] = mapped_column(primary_key=True)
    owner_instance: Mapped[str]
    last_seen_at: Mapped[Recorded]


class DueTaskRow(Base):
    """Recurring work of the fleet: next due time, lease, and the end of the last run."""

    __tablename__ = "due_tasks"

    name: Mapped[str] = mapped_column(primary_key=True)
    next_due_at: Mapped[Instant]
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    lease_token: Mapped[int] = mapped_column(server_default="0")
    owner_instance: Mapped[str | None]
    lease_expires_at: Mapped[Instant | None]
    finished_at: Mapped[Instant | None]
    error: Mapped[Json | None]
    result: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))


class StrategyRow(Base):
    """One immutable version of a strategy: default parameters and what each account tag overrides."""

    __tablename__ = "strategies"

    strategy_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    params: Mapped[Json]
    tag_overrides: Mapped[Json]
    created_at: Mapped[Recorded]


class StagedSnapshotRow(Base):
    """The frozen inputs of a run in work; moved into ``runs`` when it is persisted."""

    __tablename__ = "staged_snapshots"

    run_id: Mapped[int] = mapped_column(ForeignKey("engine_runs.run_id"), primary_key=True)
    snapshot: Mapped[Json]
    params: Mapped[Json]
    risk_model_id: Mapped[int | None] = mapped_column(ForeignKey("risk_models.risk_model_id"))
    recorded_at: Mapped[Recorded]


class StagedSolutionRow(Base):
    """The answer of a run in work; moved into ``runs`` when it is persisted."""

    __tablename__ = "staged_solutions"

    run_id: Mapped[int] = mapped_column(ForeignKey("engine_runs.run_id"), primary_key=True)
    status: Mapped[str]
    result: Mapped[Json]
    recorded_at: Mapped[Recorded]


class RunRow(Base):
    """The immutable record of one account's day. The database refuses UPDATE and DELETE.

    Archiving takes the three documents and the trades out and leaves every other column, the digests among them.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("account_id", "run_seq", name=UQ_RUN_SEQ),
        UniqueConstraint("account_id", "as_of_date", name=UQ_RUN_DAY),
        CheckConstraint("status IN ('OPTIMAL', 'NON_OPTIMAL')", name="status"),
        CheckConstraint(
            "(archive_id IS NOT NULL) = (snapshot IS NULL) AND (archive_id IS NOT NULL) = (params_snapshot IS NULL) "
            "AND (archive_id IS NOT NULL) = (result IS NULL)",
            name="archived",
        ),
    )

    run_id: Mapped[int] = mapped_column(ForeignKey("engine_runs.run_id"), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"))
    run_seq: Mapped[int]
    as_of_date: Mapped[date]
    status: Mapped[str]
    solver: Mapped[str]
    solver_tolerance: Mapped[float] = mapped_column(Double)
    solver_status: Mapped[str]
    iterations: Mapped[int]
    objective: Mapped[float | None] = mapped_column(Double)
    lower_bound: Mapped[float | None] = mapped_column(Double)
    gap_bps: Mapped[float | None] = mapped_column(Double)
    rounded_gap_bps: Mapped[float | None] = mapped_column(Double)
    code_version: Mapped[str]
    library_versions: Mapped[Json]
    timings: Mapped[Json]
    strategy_id: Mapped[str]
    strategy_version: Mapped[int] = mapped_column(Integer)
    risk_model_id: Mapped[int] = mapped_column(ForeignKey("risk_models.risk_model_id"))
    loadings_sha256: Mapped[bytes] = mapped_column(ForeignKey("blobs.sha256"))
    specific_variance_sha256: Mapped[bytes] = mapped_column(ForeignKey("blobs.sha256"))
    snapshot: Mapped[Json | None]
    params_snapshot: Mapped[Json | None]
    result: Mapped[Json | None]
    flags: Mapped[Json]
    #: Content of ``run_hash``: see prometheus.db.run_digests.
    digests: Mapped[Json]
    archive_id: Mapped[int | None] = mapped_column(ForeignKey("archives.archive_id"))
    prev_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    run_hash: Mapped[bytes] = mapped_column(LargeBinary)
    recorded_at: Mapped[Recorded]


class RunTradeRow(Base):
    """One trade of a run, amounts in cents of the base currency; a sale and a cover have one row for each lot."""

    __tablename__ = "run_trades"
    __table_args__ = (
        CheckConstraint("side IN ('BUY', 'SELL', 'SELL_SHORT', 'BUY_TO_COVER')", name="side"),
        CheckConstraint("quantity > 0", name="quantity_positive"),
    )

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"), primary_key=True)
    trade_no: Mapped[int] = mapped_column(Integer, primary_key=True)
    ticker: Mapped[str]
    side: Mapped[str]
    lot_id: Mapped[str | None]
    acquired_on: Mapped[date | None]
    quantity: Mapped[Shares]
    price: Mapped[Price]
    amount: Mapped[Money]
    cost: Mapped[Money]
    basis: Mapped[Money | None]
    realized_gain: Mapped[Money | None]
    term: Mapped[str | None]
    disallowed_loss: Mapped[Money | None]
    tax: Mapped[Money | None]


class ArchiveRow(Base):
    """One act of archiving: which runs left the database for which file, and why. Append-only."""

    __tablename__ = "archives"

    archive_id: Mapped[BigKey]
    before_date: Mapped[date]
    reason: Mapped[str]
    file_name: Mapped[str]
    file_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    runs: Mapped[int]
    #: Over account, number and hash of every run of the archive, in order.
    runs_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    recorded_at: Mapped[Recorded]


class AuditAnchorRow(Base):
    """The heads of all chains through a day in one digest; a copy is kept outside this database. Append-only."""

    __tablename__ = "audit_anchors"
    __table_args__ = (UniqueConstraint("as_of_date", "digest"),)

    anchor_id: Mapped[BigKey]
    as_of_date: Mapped[date]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    #: Account to number and hash of its last run through the day.
    heads: Mapped[Json]
    recorded_at: Mapped[Recorded]


class AlertRow(Base):
    """Something that a person should see, once for each run and code."""

    __tablename__ = "alerts"
    __table_args__ = (UniqueConstraint("run_id", "code"),)

    alert_id: Mapped[BigKey]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("engine_runs.run_id"))
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.account_id"))
    as_of_date: Mapped[date | None]
    code: Mapped[str]
    message: Mapped[str]
    details: Mapped[Json]
    recorded_at: Mapped[Recorded]
