"""A stored risk model in words and numbers: factors by their largest assets, specific volatilities, links, age."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np

from prometheus.db.blobs import get_array
from prometheus.db.database import Database
from prometheus.db.repositories.risk_models import latest_risk_model
from prometheus.foundation.errors import RiskModelError
from prometheus.risk.specific_correlation import unpacked_blocks


def describe_risk_model(database: Database, *, as_of: date, names: int, quantiles: Sequence[float]) -> dict[str, Any]:
    """Return the description of the newest model whose date is not after ``as_of``, in JSON types.

    Args:
        database: The database.
        as_of: Day on which the model is in force.
        names: Number of assets to list at each end of a factor.
        quantiles: Of the specific volatilities, 0 to 1.

    Raises:
        RiskModelError: There is no such model; code ``NO_RISK_MODEL``.
    """
    with database.transaction() as connection:
        stored = latest_risk_model(connection, as_of)
        if stored is None:
            raise RiskModelError(
                "There is no risk model"
                + ("" if as_of == date.max else f" of {as_of} or before")
                + ". Make one with 'prometheus risk refresh'.",
                code="NO_RISK_MODEL",
            )
        X = get_array(connection, stored.loadings_sha256).astype(np.float64)
        D = get_array(connection, stored.specific_variance_sha256).astype(np.float64)
        address = stored.specific_correlation_sha256
        blocks = () if address is None else unpacked_blocks(get_array(connection, address))
    tickers = np.array(stored.tickers)
    F = stored.factor_covariance
    # loadings have unit root mean square: a factor's variance is its contribution to the average asset
    variance = np.diag(F) * (X**2).mean(axis=0)
    factors = []
    for at in np.flatnonzero(variance > 0):
        order = np.argsort(-X[:, at], kind="stable")
        factors.append(
            {
                "factor": int(at) + 1,
                "volatility": float(np.sqrt(variance[at])),
                "share": float(variance[at] / variance.sum()),
                "highest": [f"{tickers[i]} {X[i, at]:+.2f}" for i in order[:names]],
                "lowest": [f"{tickers[i]} {X[i, at]:+.2f}" for i in order[::-1][:names]],
            }
        )
    links = []
    for block in blocks:
        lower = np.tril_indices(block.names.size, -1)
        pairs = block.correlation[lower].astype(np.float64)
        top = int(pairs.argmax())
        links.append(
            {
                "names": int(block.names.size),
                "pairs": int(pairs.size),
                "mean": float(pairs.mean()),
                "largest": float(pairs[top]),
                "between": [str(tickers[block.names[side[top]]]) for side in (lower[1], lower[0])],
            }
        )
    return {
        "risk_model_id": stored.risk_model_id,
        "as_of": stored.as_of_date.isoformat(),
        "estimator": stored.estimator,
        "built_at": stored.built_at.isoformat(timespec="seconds"),
        "age_hours": stored.age_hours,
        "names": len(stored.tickers),
        "sessions": stored.sessions,
        "variance_explained": float(stored.diagnostics["variance_explained"]),
        "fallback": dict(stored.diagnostics["fallback"]),
        "floored": list(stored.diagnostics["floored"]),
        "factors": factors,
        "specific_volatility": {f"{quantile:.0%}": float(np.quantile(np.sqrt(D), quantile)) for quantile in quantiles},
        "links": links,
    }
