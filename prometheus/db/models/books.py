"""Accounts, and the lots that they handed over."""

from datetime import date

from sqlalchemy import ARRAY, Boolean, CheckConstraint, Date, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from prometheus.db.models.base import Base, Fraction, Money, Recorded, Shares


class AccountRow(Base):
    """One account: settings as loaded, cash as booked, and the counter behind RUN-001."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("tax_regime IN ('US', 'CA')", name="tax_regime"),
        CheckConstraint("lot_method IN ('HIFO', 'LEAST_TAX_FIRST', 'FIFO', 'ACB')", name="lot_method"),
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
    #: Cash as the file gave it; ``cash`` is what the ledger says once the books are open.
    opening_cash: Mapped[Money]
    cash: Mapped[Money]
    fractional_shares: Mapped[bool]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text))
    strategy_id: Mapped[str] = mapped_column(server_default="tax-managed-index")
    #: Corporate actions and fills are booked through this date; null before the first day.
    books_as_of: Mapped[date | None] = mapped_column(Date)
    last_run_seq: Mapped[int] = mapped_column(server_default="0")
    paused: Mapped[bool] = mapped_column(Boolean, server_default="false")
    pause_reason: Mapped[str | None]
    #: Accounts of one household wash each other's losses; null for an account by itself.
    household: Mapped[str | None] = mapped_column(index=True)
    account_type: Mapped[str] = mapped_column(server_default="TAXABLE")


class OpeningLotRow(Base):
    """A lot as it was handed over. Append-only; the ledger books it on the account's first day."""

    __tablename__ = "opening_lots"
    __table_args__ = (CheckConstraint("quantity > 0", name="quantity_positive"),)

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), primary_key=True)
    lot_id: Mapped[str] = mapped_column(primary_key=True)
    security_id: Mapped[int] = mapped_column(ForeignKey("securities.security_id"))
    acquired_on: Mapped[date]
    quantity: Mapped[Shares]
    cost_basis: Mapped[Money]
    recorded_at: Mapped[Recorded]
