"""Accounts, their lots, and the append-only journal behind the lots."""

from datetime import date

from sqlalchemy import ARRAY, Boolean, CheckConstraint, Date, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from prometheus.db.models.base import Base, BigKey, Fraction, Json, Money, Recorded, Shares


class AccountRow(Base):
    """One account: settings as loaded, cash as booked, and the counter behind RUN-001."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("tax_regime IN ('US', 'CA')", name="tax_regime"),
        CheckConstraint("lot_method IN ('HIFO', 'LEAST_TAX_FIRST', 'FIFO', 'ACB')", name="lot_method"),
        CheckConstraint("cash >= 0", name="cash_not_negative"),
        CheckConstraint("account_type IN ('TAXABLE', 'IRA', 'ROTH', '401K', 'RRSP', 'TFSA')", name="account_type"),
    )

    account_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    region: Mapped[str] = mapped_column(index=True)
    base_currency: Mapped[str]
    tax_regime: Mapped[str]
    lot_method: Mapped[str]
    benchmark_id: Mapped[str]
    st_rate: Mapped[Fraction]
    lt_rate: Mapped[Fraction]
    niit_rate: Mapped[Fraction]
    #: Cash as the file gave it; ``cash`` moves with the books.
    opening_cash: Mapped[Money]
    cash: Mapped[Money]
    fractional_shares: Mapped[bool]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text))
    strategy_id: Mapped[str] = mapped_column(server_default="tax-managed-index")
    #: Corporate actions and fills are booked through this date; null before the first day.
    books_as_of: Mapped[date | None] = mapped_column(Date)
    #: The first of those days, as of which the opening lots are.
    books_opened_on: Mapped[date | None] = mapped_column(Date)
    #: ``corporate_actions.change_id`` through which the books have read changes of past days.
    actions_seen: Mapped[int] = mapped_column(server_default="0")
    last_run_seq: Mapped[int] = mapped_column(server_default="0")
    paused: Mapped[bool] = mapped_column(Boolean, server_default="false")
    pause_reason: Mapped[str | None]
    #: Accounts of one household wash each other's losses; null for an account by itself.
    household: Mapped[str | None] = mapped_column(index=True)
    account_type: Mapped[str] = mapped_column(server_default="TAXABLE")


class TaxLotRow(Base):
    """A lot as it is now; a pure function of the journal, kept for speed. Closed lots are deleted."""

    __tablename__ = "tax_lots"
    __table_args__ = (CheckConstraint("quantity > 0", name="quantity_positive"),)

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), primary_key=True)
    lot_id: Mapped[str] = mapped_column(primary_key=True)
    security_id: Mapped[int] = mapped_column(ForeignKey("securities.security_id"), index=True)
    acquired_on: Mapped[date]
    holding_period_start: Mapped[date]
    quantity: Mapped[Shares]
    cost_basis: Mapped[Money]
    adjusted_basis: Mapped[Money]


class AccountEntryRow(Base):
    """A line of an account's own transaction file, as it was booked. Append-only.

    ``entry_id`` makes it happen once. ``reverses`` names the entry that it reverses, which is reversed at most once.
    """

    __tablename__ = "account_entries"
    __table_args__ = (UniqueConstraint("account_id", "reverses"),)

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), primary_key=True)
    entry_id: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[Json]
    executions: Mapped[list[str]] = mapped_column(ARRAY(Text))
    reverses: Mapped[str | None]
    recorded_at: Mapped[Recorded]


class TransactionRow(Base):
    """One entry of an account's journal. Append-only.

    ``amount`` is the signed movement of cash; ``quantity`` the signed movement of shares. ``external_id`` makes an
    entry that comes from outside (an opening lot, a fill) happen once.
    """

    __tablename__ = "transactions"
    __table_args__ = (
        UniqueConstraint("account_id", "external_id"),
        Index("ix_transactions_account_id_trade_date", "account_id", "trade_date"),
    )

    txn_id: Mapped[BigKey]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"))
    txn_type: Mapped[str]
    trade_date: Mapped[date]
    security_id: Mapped[int | None] = mapped_column(ForeignKey("securities.security_id"))
    lot_id: Mapped[str | None]
    quantity: Mapped[Shares]
    amount: Mapped[Money]
    basis: Mapped[Money]
    realized_gain: Mapped[Money]
    term: Mapped[str]
    external_id: Mapped[str | None]
    details: Mapped[Json]
    recorded_at: Mapped[Recorded]
