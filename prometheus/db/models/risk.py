"""Content-addressed blobs and the risk models that point to them."""

from datetime import date

from sqlalchemy import ARRAY, CheckConstraint, Float, ForeignKey, Index, Integer, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from prometheus.db.models.base import Base, BigKey, Json, Recorded


class BlobRow(Base):
    """A matrix: raw little-endian bytes under LZ4, addressed by the SHA-256 of the raw bytes, shape and type."""

    __tablename__ = "blobs"
    __table_args__ = (CheckConstraint("length(sha256) = 32", name="sha256_length"),)

    sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    dtype: Mapped[str]
    shape: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    data: Mapped[bytes] = mapped_column(LargeBinary)
    recorded_at: Mapped[Recorded]


class RiskModelRow(Base):
    """One nightly model: Sigma = X F X' + diag(s) C diag(s), annualised, s = sqrt(D), with X, D and C as float32 blobs.

    The blob of C holds its blocks in the packed form of the risk package; NULL where C is the identity.
    """

    __tablename__ = "risk_models"
    __table_args__ = (Index("ix_risk_models_as_of_date_built_at", "as_of_date", "built_at"),)

    risk_model_id: Mapped[BigKey]
    as_of_date: Mapped[date]
    built_at: Mapped[Recorded]
    estimator: Mapped[str]
    sessions: Mapped[int]
    tickers: Mapped[list[str]] = mapped_column(ARRAY(Text))
    loadings_sha256: Mapped[bytes] = mapped_column(ForeignKey("blobs.sha256"))
    specific_variance_sha256: Mapped[bytes] = mapped_column(ForeignKey("blobs.sha256"))
    specific_correlation_sha256: Mapped[bytes | None] = mapped_column(ForeignKey("blobs.sha256"))
    factor_covariance: Mapped[list[list[float]]] = mapped_column(ARRAY(Float(53), dimensions=2))
    diagnostics: Mapped[Json]
