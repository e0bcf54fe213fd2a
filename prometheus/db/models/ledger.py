"""The ledger: events as facts, postings that explain the books, corrections of postings, and states kept for speed."""

from datetime import date

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from prometheus.db.models.base import Base, BigKey, EventAmount, Json, LedgerShares, Money, Recorded


class LedgerEventRow(Base):
    """One fact. Append-only.

    An event of the market names the household whose books it reached, every other one its account. So an event and its
    household are told by the account, whichever household that belongs to.
    """

    __tablename__ = "ledger_events"
    __table_args__ = (
        CheckConstraint("(account_id IS NULL) <> (household IS NULL)", name="one_owner"),
        CheckConstraint("source IN ('OPENING', 'FILE', 'EXECUTION', 'MARKET', 'PERSON')", name="source"),
        CheckConstraint("(source = 'MARKET') = (household IS NOT NULL)", name="market"),
        UniqueConstraint("account_id", "event_id"),
        UniqueConstraint("household", "event_id"),
        Index("ix_ledger_events_account_id_trade_date", "account_id", "trade_date"),
        Index("ix_ledger_events_household_trade_date", "household", "trade_date"),
        Index("ix_ledger_events_targets", "account_id", "household", postgresql_where=text("target_id IS NOT NULL")),
    )

    event_no: Mapped[BigKey]
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.account_id"))
    household: Mapped[str | None]
    event_id: Mapped[str]
    trade_date: Mapped[date]
    kind: Mapped[str]
    ticker: Mapped[str]
    quantity: Mapped[LedgerShares | None]
    #: In ``currency`` of the content; the ledger books cents of the base currency.
    amount: Mapped[EventAmount | None]
    #: The event that a correction replaces or a cancellation removes.
    target_id: Mapped[str | None]
    #: Of a market's action: its ``corporate_actions.change_id``.
    change_id: Mapped[int | None]
    content: Mapped[Json]
    source: Mapped[str]
    source_name: Mapped[str]
    recorded_at: Mapped[Recorded]


class LedgerCorrectionRow(Base):
    """Why postings were reversed. Append-only; the postings name it."""

    __tablename__ = "ledger_corrections"

    correction_id: Mapped[BigKey]
    household: Mapped[str] = mapped_column(index=True)
    #: First day that was folded again.
    first_day: Mapped[date]
    reason: Mapped[str]
    told_by: Mapped[str]
    reversed: Mapped[int]
    posted: Mapped[int]
    recorded_at: Mapped[Recorded]


class LedgerPostingRow(Base):
    """One change of a lot, of cash, or of a realised gain. Append-only.

    The household is that of the account. Event keys have the empty account for an action of the market.
    """

    __tablename__ = "ledger_postings"
    __table_args__ = (
        UniqueConstraint("reverses"),
        CheckConstraint("reverses IS NULL OR correction_id IS NOT NULL", name="reversal_has_correction"),
        CheckConstraint("fold_day >= day", name="fold_day"),
        CheckConstraint("term IN ('SHORT', 'LONG', 'NONE')", name="term"),
        Index("ix_ledger_postings_account_id_day", "account_id", "day"),
        Index("ix_ledger_postings_account_id_fold_day", "account_id", "fold_day"),
        Index("ix_ledger_postings_account_id_ticker", "account_id", "ticker"),
        Index(
            "ix_ledger_postings_account_id_tax_date",
            "account_id",
            "tax_date",
            postgresql_where=text("tax_date IS NOT NULL"),
        ),
    )

    posting_no: Mapped[BigKey]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"))
    kind: Mapped[str]
    day: Mapped[date]
    #: Day whose fold wrote the row. Later than ``day`` where the end of a window is settled.
    fold_day: Mapped[date]
    event_account: Mapped[str]
    event_id: Mapped[str]
    ticker: Mapped[str]
    lot_id: Mapped[str | None]
    quantity: Mapped[LedgerShares]
    cash: Mapped[Money]
    cost_basis: Mapped[Money]
    adjusted_basis: Mapped[Money]
    realized_gain: Mapped[Money]
    term: Mapped[str]
    acquired_on: Mapped[date | None]
    holding_period_start: Mapped[date | None]
    fee: Mapped[Money]
    settle_date: Mapped[date | None]
    tax_date: Mapped[date | None]
    loss_event_account: Mapped[str | None]
    loss_event_id: Mapped[str | None]
    loss_account: Mapped[str | None]
    loss_lot_id: Mapped[str | None]
    loss_ticker: Mapped[str | None]
    loss_day: Mapped[date | None]
    loss_shares: Mapped[LedgerShares | None]
    loss_amount: Mapped[Money | None]
    replacement_account: Mapped[str | None]
    replacement_lot_id: Mapped[str | None]
    purchase_account: Mapped[str | None]
    purchase_event_id: Mapped[str | None]
    loss_is_permanent: Mapped[bool | None]
    former_account: Mapped[str | None]
    former_lot_id: Mapped[str | None]
    reverses: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("ledger_postings.posting_no"))
    correction_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("ledger_corrections.correction_id"))
    recorded_at: Mapped[Recorded]


class LedgerStateRow(Base):
    """The books of a household at the end of a day, as bytes; a pure function of the events, kept for speed.

    The newest two are kept, and the newest of each month.
    """

    __tablename__ = "ledger_states"

    household: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    format_version: Mapped[int] = mapped_column(Integer)
    #: Accounts of the household then; with others the state says nothing.
    accounts: Mapped[list[str]] = mapped_column(ARRAY(Text))
    #: ``corporate_actions.change_id`` through which changes of past days have been looked at.
    actions_seen: Mapped[int]
    state: Mapped[bytes] = mapped_column(LargeBinary)
    recorded_at: Mapped[Recorded]
