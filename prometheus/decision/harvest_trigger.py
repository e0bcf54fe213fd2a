"""The harvest trigger: a loss counts for the tax only where it is deep enough to be worth realising now.

A shallow loss may deepen, and selling it locks the security for a month: its option is worth more than its tax. A
loss is therefore harvested only beyond the larger of a share of its basis and what the security moves by in the 31 days
of a lock.
"""

import math
from decimal import Decimal
from typing import Final

import numpy as np

from prometheus.domain.strategy import StrategyParams
from prometheus.optimizer.problem.rebalance_problem import FloatArray

#: A wash sale's lock in years: the volatility of an asset over it is its annual one times the root of this.
_LOCK_YEARS: Final = 31 / 365


def total_volatility(loadings: FloatArray, factor_covariance: FloatArray, specific_variance: FloatArray) -> FloatArray:
    """Return (N,) annualised volatilities of the assets, those of factors and assets together.

    Args:
        loadings: (N, K).
        factor_covariance: (K, K), annualised.
        specific_variance: (N,), annualised.
    """
    volatility: FloatArray = np.sqrt(
        np.einsum("ik,kl,il->i", loadings, factor_covariance, loadings) + specific_variance
    )
    return volatility


def harvest_triggers(params: StrategyParams, volatility: FloatArray) -> FloatArray:
    """Return (N,) the share of its basis that a lot of each asset must lose by more than for the loss to count.

    Zero, so that every loss counts, where both parameters are zero.

    Args:
        params: ``harvest_min_share`` and ``harvest_sigma``.
        volatility: (N,) annualised, of the risk model of the day.
    """
    moves = params.harvest_sigma * volatility * math.sqrt(_LOCK_YEARS)
    return np.maximum(params.harvest_min_share, moves)


def is_beyond(trigger: float, value: Decimal, basis: Decimal) -> bool:
    """Return whether a lot has lost a larger share of its basis than the trigger; a loss of exactly that has not.

    Args:
        trigger: Share of the basis, not negative.
        value: Of the lot at the day's price, base currency.
        basis: Adjusted basis of the lot, base currency.
    """
    return basis > value and (trigger == 0 or float(1 - value / basis) > trigger)
