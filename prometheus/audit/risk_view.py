"""What the risk model said of an account on a day: before its trades and after them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from prometheus.optimizer.problem.active_risk import FactorRisk, factor_risk
from prometheus.optimizer.problem.rebalance_problem import FloatArray, RebalanceProblem

#: Names and factors that a view shows.
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class NameRisk:
    """A name's active weight (fraction of NAV) and its share of the active variance (fraction; negative lowers it)."""

    ticker: str
    active_weight: float
    share_of_variance: float


@dataclass(frozen=True, slots=True)
class RiskView:
    """Active risk against the benchmark at one set of weights.

    Attributes:
        tracking_error: Annualised, ex ante, fraction of NAV.
        factor: Part of it from factors, annualised; factor^2 + specific^2 = tracking_error^2.
        specific: Part of it from single assets and linked groups of assets.
        exposures: Active exposures to the factors, number of the factor (from 1) to exposure, the largest first.
        names: Assets that carry most of the variance, the largest share first.
    """

    tracking_error: float
    factor: float
    specific: float
    exposures: tuple[tuple[int, float], ...]
    names: tuple[NameRisk, ...]


def risk_view(problem: RebalanceProblem, weights: Mapping[str, float]) -> RiskView:
    """Return the view of the problem's own risk model at some weights.

    Args:
        problem: Gives names, benchmark and risk model.
        weights: Fractions of NAV by ticker; names that are not there weigh nothing.
    """
    risk = factor_risk(problem)
    held = np.array([weights.get(ticker, 0.0) for ticker in problem.tickers])
    active = problem.active(held)
    return _view(problem, risk, active)


def _view(problem: RebalanceProblem, risk: FactorRisk, active: FloatArray) -> RiskView:
    variance = risk.variance(active)
    priced = risk.exposures(active)
    factors = problem.loadings.shape[1]
    systematic = float((priced[:factors] ** 2).sum())
    shares = active * (risk.price(priced) + risk.specific_variance * active) / variance if variance > 0 else active * 0
    raw = np.einsum("ik,i->k", problem.loadings, active)
    return RiskView(
        tracking_error=variance**0.5,
        factor=systematic**0.5,
        specific=max(variance - systematic, 0.0) ** 0.5,
        exposures=tuple((int(k) + 1, float(raw[k])) for k in np.argsort(-np.abs(raw), kind="stable")[:_SHOWN]),
        names=tuple(
            NameRisk(problem.tickers[i], float(active[i]), float(shares[i]))
            for i in np.argsort(-shares, kind="stable")[:_SHOWN]
        ),
    )
