"""Market data: securities, prices, corporate actions, benchmarks, borrow rates, and what was loaded when."""

from datetime import date

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Integer, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from prometheus.db.models.base import Base, BigKey, Fraction, Json, Price, Recorded


class SecurityRow(Base):
    """A listed share. ``group_id`` names its set of substantially identical securities; its own ticker by default."""

    __tablename__ = "securities"

    security_id: Mapped[int] = mapped_column(Integer, Identity(always=True), primary_key=True)
    ticker: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    sector: Mapped[str]
    sub_industry: Mapped[str] = mapped_column(server_default="")
    group_id: Mapped[str]
    first_date: Mapped[date | None]
    last_date: Mapped[date | None]


class PriceRow(Base):
    """Raw traded close of one security on one day; the latest revision. Earlier values are in data_revisions.

    No foreign key: a check for each of a million bulk rows costs more than the load itself, and the load resolves each
    ticker by a join with securities, which are never deleted.
    """

    __tablename__ = "prices"
    __table_args__ = (
        CheckConstraint("close > 0", name="close_positive"),
        Index("ix_prices_price_date", "price_date"),
    )

    security_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    price_date: Mapped[date] = mapped_column(primary_key=True)
    close: Mapped[Price]
    adj_close: Mapped[Price | None]
    volume: Mapped[int | None]


class CorporateActionRow(Base):
    """An event on its ex-date; several of one type on one day are one row with the combined value.

    ``other_ticker`` is the child of a spin-off or the new symbol of a symbol change, empty for every other type.
    """

    __tablename__ = "corporate_actions"

    security_id: Mapped[int] = mapped_column(ForeignKey("securities.security_id"), primary_key=True)
    ex_date: Mapped[date] = mapped_column(primary_key=True, index=True)
    action_type: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Price]
    other_ticker: Mapped[str] = mapped_column(primary_key=True, server_default="")
    basis_fraction: Mapped[Fraction | None]
    #: A new number with every insert and every correction (a trigger); accounts store the last one that they have read.
    change_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), index=True)


class BenchmarkConstituentRow(Base):
    """Weight of a security in a benchmark from ``effective_date`` until the next one; point in time."""

    __tablename__ = "benchmark_constituents"
    __table_args__ = (CheckConstraint("weight >= 0 AND weight <= 1", name="weight_fraction"),)

    benchmark_id: Mapped[str] = mapped_column(primary_key=True)
    effective_date: Mapped[date] = mapped_column(primary_key=True)
    security_id: Mapped[int] = mapped_column(ForeignKey("securities.security_id"), primary_key=True)
    weight: Mapped[Fraction]


class BorrowRateRow(Base):
    """Annual rate for borrowing a security from ``rate_date`` on."""

    __tablename__ = "borrow_rates"

    security_id: Mapped[int] = mapped_column(ForeignKey("securities.security_id"), primary_key=True)
    rate_date: Mapped[date] = mapped_column(primary_key=True)
    annual_rate: Mapped[Fraction]


class IngestFileRow(Base):
    """One load of one file: what it was and what it did."""

    __tablename__ = "ingest_files"

    file_id: Mapped[BigKey]
    kind: Mapped[str]
    file_name: Mapped[str]
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    rows_read: Mapped[int]
    rows_inserted: Mapped[int]
    rows_revised: Mapped[int]
    rows_unchanged: Mapped[int]
    rows_skipped: Mapped[int]
    loaded_at: Mapped[Recorded]


class DataRevisionRow(Base):
    """A value that a later file corrected: the old and the new one. Append-only."""

    __tablename__ = "data_revisions"
    __table_args__ = (Index("ix_data_revisions_kind_key", "kind", "key"),)

    revision_id: Mapped[BigKey]
    file_id: Mapped[int] = mapped_column(ForeignKey("ingest_files.file_id"))
    kind: Mapped[str]
    key: Mapped[Json]
    old_value: Mapped[Json]
    new_value: Mapped[Json]
    recorded_at: Mapped[Recorded]
