"""Results of the orders of runs: executions, and settlements of what was not filled."""

from datetime import date

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Integer
from sqlalchemy.orm import Mapped, mapped_column

from prometheus.db.models.base import Base, Instant, Json, Money, Price, Recorded, Shares


class OrderExecutionRow(Base):
    """One execution of an order of a run, as the broker reported it. Append-only; the journal holds its booking.

    ``line`` is the order's line in the run's trade list: the first of its lines where a sale takes several lots.
    """

    __tablename__ = "order_executions"
    __table_args__ = (
        CheckConstraint("side IN ('BUY', 'SELL', 'SELL_SHORT', 'BUY_TO_COVER')", name="side"),
        CheckConstraint("quantity > 0", name="quantity_positive"),
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), primary_key=True)
    execution_id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"), index=True)
    line: Mapped[int] = mapped_column(Integer)
    ticker: Mapped[str]
    side: Mapped[str]
    trade_date: Mapped[date]
    executed_at: Mapped[Instant | None]
    quantity: Mapped[Shares]
    price: Mapped[Price]
    fee: Mapped[Money]
    lot_picks: Mapped[Json]
    recorded_at: Mapped[Recorded]


class OrderSettlementRow(Base):
    """Settlement of the unfilled rest of a run's orders: how, why, by whom. Append-only, one for each run."""

    __tablename__ = "order_settlements"
    __table_args__ = (CheckConstraint("status IN ('EXPIRED', 'CANCELLED')", name="status"),)

    run_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("runs.run_id"), primary_key=True, autoincrement=False)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"))
    status: Mapped[str]
    reason: Mapped[str]
    settled_by: Mapped[str]
    orders: Mapped[Json]
    recorded_at: Mapped[Recorded]
