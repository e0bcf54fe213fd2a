"""The declarative base: naming of constraints, and the column types of the ledger."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from sqlalchemy import BigInteger, DateTime, Identity, MetaData, Numeric, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

# Exact, and wide enough for a price of 1e12 with eight decimals.
Price = Annotated[Decimal, mapped_column(Numeric(20, 8))]
Shares = Annotated[Decimal, mapped_column(Numeric(24, 8))]
#: Shares of the ledger have nine decimals, and so has an amount of an event, which may be in any currency.
LedgerShares = Annotated[Decimal, mapped_column(Numeric(28, 9))]
EventAmount = Annotated[Decimal, mapped_column(Numeric(28, 9))]
#: Cents.
Money = Annotated[Decimal, mapped_column(Numeric(20, 2))]
#: A rate, a weight or a share of basis: 0.05 is five percent.
Fraction = Annotated[Decimal, mapped_column(Numeric(16, 12))]
Json = Annotated[Any, mapped_column(JSONB)]
Instant = Annotated[datetime, mapped_column(DateTime(timezone=True))]
#: Set by the database's clock, the only clock that counts.
Recorded = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=text("engine_now()"))]
BigKey = Annotated[int, mapped_column(BigInteger, Identity(always=True), primary_key=True)]


class Base(DeclarativeBase):
    """Base of every model."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {str: Text(), int: BigInteger()}  # noqa: RUF012 -- SQLAlchemy reads it from the class
