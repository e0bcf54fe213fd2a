"""Stored risk models."""

from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert, text

from prometheus.db.blobs import put_array
from prometheus.db.models import RiskModelRow
from prometheus.risk.model import ModelDiagnostics, StoredDiagnostics, StoredRiskModel

_LATEST: Final = text("""
    SELECT risk_model_id, as_of_date, built_at, estimator, sessions, tickers, loadings_sha256, specific_variance_sha256,
           specific_correlation_sha256, factor_covariance, diagnostics,
           extract(epoch FROM engine_now() - built_at) / 3600 AS age_hours
    FROM risk_models WHERE as_of_date <= :as_of ORDER BY as_of_date DESC, built_at DESC LIMIT 1
""")


def add_risk_model(
    connection: Connection,
    *,
    as_of: date,
    estimator: str,
    sessions: int,
    tickers: tuple[str, ...],
    loadings: NDArray[np.float32],
    specific_variance: NDArray[np.float32],
    factor_covariance: NDArray[np.float64],
    diagnostics: ModelDiagnostics,
    specific_correlation: NDArray[np.float32] | None = None,
) -> int:
    """Store a model and its matrices; return its id.

    ``specific_correlation`` holds the packed blocks of correlated names, None where there are none.
    """
    row = connection.execute(
        insert(RiskModelRow)
        .values(
            as_of_date=as_of,
            estimator=estimator,
            sessions=sessions,
            tickers=list(tickers),
            loadings_sha256=put_array(connection, loadings),
            specific_variance_sha256=put_array(connection, specific_variance),
            specific_correlation_sha256=(
                None if specific_correlation is None else put_array(connection, specific_correlation)
            ),
            factor_covariance=factor_covariance.tolist(),
            diagnostics=diagnostics.as_dict(),
        )
        .returning(RiskModelRow.risk_model_id)
    )
    return int(row.scalar_one())


def latest_risk_model(connection: Connection, as_of: date) -> StoredRiskModel | None:
    """Return the newest model whose date is not after ``as_of``, or None."""
    row = connection.execute(_LATEST, {"as_of": as_of}).one_or_none()
    if row is None:
        return None
    return StoredRiskModel(
        risk_model_id=row.risk_model_id,
        as_of_date=row.as_of_date,
        built_at=row.built_at,
        estimator=row.estimator,
        sessions=row.sessions,
        tickers=tuple(row.tickers),
        loadings_sha256=bytes(row.loadings_sha256),
        specific_variance_sha256=bytes(row.specific_variance_sha256),
        factor_covariance=np.array(row.factor_covariance, dtype=np.float64),
        diagnostics=StoredDiagnostics(
            fallback=tuple(row.diagnostics["fallback"].items()),
            floored=tuple(row.diagnostics["floored"]),
            variance_explained=float(row.diagnostics["variance_explained"]),
        ),
        age_hours=float(row.age_hours),
        specific_correlation_sha256=(
            None if row.specific_correlation_sha256 is None else bytes(row.specific_correlation_sha256)
        ),
    )
