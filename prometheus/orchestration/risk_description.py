"""A stored risk model in words and numbers: factors by their largest assets, specific volatilities, links, age."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from prometheus.db.blobs import get_array
from prometheus.db.database import Database
from prometheus.db.repositories.risk_models import latest_risk_model
from prometheus.foundation.errors import RiskModelError
from prometheus.risk.specific_correlation import unpacked_blocks


@dataclass(frozen=True, slots=True)
class FactorDescription:
    """One factor of a model.

    Attributes:
        factor: Its number, from 1.
        volatility: Of its return, a year, as a fraction.
        share: Of the factors' variance, 0 to 1.
        highest: Assets with the largest loadings, each with its loading.
        lowest: Assets with the smallest.
    """

    factor: int
    volatility: float
    share: float
    highest: tuple[str, ...]
    lowest: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinkDescription:
    """One group of assets whose specific returns are correlated: its size and the correlation of its pairs."""

    names: int
    pairs: int
    mean: float
    largest: float
    between: tuple[str, str]


@dataclass(frozen=True, slots=True)
class RiskDescription:
    """A stored model in numbers; the names of the fields are those of its JSON form.

    Attributes:
        risk_model_id: The model.
        as_of: Its day.
        estimator: What estimated it.
        built_at: When, with seconds.
        age_hours: By the database's clock.
        names: Number of assets.
        sessions: Number of sessions used.
        variance_explained: Share of variance that the factors explain, 0 to 1.
        fallback: Assets with fallback values, each with the reason.
        floored: Assets whose specific variance is at its floor.
        factors: Those with a variance, in order.
        specific_volatility: A year, as a fraction, by quantile of assets.
        links: Groups of assets with correlated specific returns.
    """

    risk_model_id: int
    as_of: str
    estimator: str
    built_at: str
    age_hours: float
    names: int
    sessions: int
    variance_explained: float
    fallback: Mapping[str, str]
    floored: tuple[str, ...]
    factors: tuple[FactorDescription, ...]
    specific_volatility: Mapping[str, float]
    links: tuple[LinkDescription, ...]


def describe_risk_model(database: Database, *, as_of: date, names: int, quantiles: Sequence[float]) -> RiskDescription:
    """Return the description of the newest model whose date is not after ``as_of``.

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
            FactorDescription(
                factor=int(at) + 1,
                volatility=float(np.sqrt(variance[at])),
                share=float(variance[at] / variance.sum()),
                highest=tuple(f"{tickers[i]} {X[i, at]:+.2f}" for i in order[:names]),
                lowest=tuple(f"{tickers[i]} {X[i, at]:+.2f}" for i in order[::-1][:names]),
            )
        )
    links = []
    for block in blocks:
        lower = np.tril_indices(block.names.size, -1)
        pairs = block.correlation[lower].astype(np.float64)
        top = int(pairs.argmax())
        links.append(
            LinkDescription(
                names=int(block.names.size),
                pairs=int(pairs.size),
                mean=float(pairs.mean()),
                largest=float(pairs[top]),
                between=(str(tickers[block.names[lower[1][top]]]), str(tickers[block.names[lower[0][top]]])),
            )
        )
    return RiskDescription(
        risk_model_id=stored.risk_model_id,
        as_of=stored.as_of_date.isoformat(),
        estimator=stored.estimator,
        built_at=stored.built_at.isoformat(timespec="seconds"),
        age_hours=stored.age_hours,
        names=len(stored.tickers),
        sessions=stored.sessions,
        variance_explained=stored.diagnostics.variance_explained,
        fallback=dict(stored.diagnostics.fallback),
        floored=stored.diagnostics.floored,
        factors=tuple(factors),
        specific_volatility={f"{quantile:.0%}": float(np.quantile(np.sqrt(D), quantile)) for quantile in quantiles},
        links=tuple(links),
    )
