"""Test portfolios of the four classes, whose risk the estimators forecast.

Active weights, as fractions of NAV, summing to zero. Classes A and C depend on the month alone and are the same for
every estimator; class B is chosen by the estimator's own covariance from lists and universes that the month fixes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.risk.evaluation.history import Month
from prometheus.risk.evaluation.minimum_risk import greedy_cut, least_tracking_error

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

#: Classes in the order of every table.
CLASSES: Final = ("A", "B1", "B2", "C")
#: Assets of an optimised or random portfolio.
NAMES_HELD: Final = 100
_SUBSETS: Final = 200
_TILTS: Final = 200
_LISTS: Final = 20
#: Universes of the greedy cut that leave out a random share of the assets, beside the whole one and that without
#: losers.
_THINNED: Final = 4
_SHARE_LEFT_OUT: Final = 0.25
#: Standard deviation of a random tilt's log weights, and active weight of a sector tilt.
_TILT: Final = 0.5
_SECTOR_TILT: Final = 0.05
#: Sessions of a year, and of the month that momentum leaves out and reversal looks at.
_YEAR: Final = 252
_MONTH: Final = 21


@dataclass(frozen=True, slots=True, eq=False)
class MonthPortfolios:
    """The test portfolios of a month, or what chooses them.

    Attributes:
        random: Class A, (p, n) active weights.
        tilts: Class C, (q, n) active weights.
        lists: Positions of the assets of each class B1 portfolio, drawn with probabilities by benchmark weight.
        universes: Positions that each class B2 portfolio is cut from.
    """

    random: FloatArray
    tilts: FloatArray
    lists: tuple[IndexArray, ...]
    universes: tuple[IndexArray, ...]


def month_portfolios(month: Month) -> MonthPortfolios:
    """Return the portfolios of one month; the same month always gives the same ones."""
    rng = np.random.default_rng(month.as_of.toordinal())
    n = month.weights.size
    held = min(NAMES_HELD, max(n // 2, 1))
    subsets = np.tile(-month.weights, (_SUBSETS, 1))
    for active in subsets:
        chosen = rng.choice(n, held, replace=False)
        active[chosen] += month.weights[chosen] / month.weights[chosen].sum()
    tilted = month.weights * np.exp(_TILT * rng.standard_normal((_TILTS, n)))
    tilted = tilted / tilted.sum(axis=1, keepdims=True) - month.weights
    lists = tuple(np.sort(rng.choice(n, held, replace=False, p=month.weights)) for _ in range(_LISTS))
    kept = n - int(_SHARE_LEFT_OUT * n)
    winners = np.sort(np.argsort(-_past_return(month, _YEAR), kind="stable")[:kept])
    thinned = tuple(np.sort(rng.choice(n, kept, replace=False)) for _ in range(_THINNED))
    return MonthPortfolios(
        random=np.concatenate([subsets, tilted]),
        tilts=np.concatenate([_sector_tilts(month), _style_tilts(month)]),
        lists=lists,
        universes=(np.arange(n), winners, *thinned),
    )


def active_weights(month: Month, portfolios: MonthPortfolios, sigma: FloatArray) -> dict[str, FloatArray]:
    """Return the (p, n) active weights of each class, B1 and B2 as the covariance ``sigma`` (n, n) has them chosen."""
    held = min(NAMES_HELD, max(month.weights.size // 2, 1))
    return {
        "A": portfolios.random,
        "B1": _active(month, [least_tracking_error(sigma, month.weights, positions) for positions in portfolios.lists]),
        "B2": _active(month, [greedy_cut(sigma, month.weights, held, positions) for positions in portfolios.universes]),
        "C": portfolios.tilts,
    }


def _active(month: Month, weights: Sequence[FloatArray]) -> FloatArray:
    return np.array(weights) - month.weights


def _sector_tilts(month: Month) -> FloatArray:
    rows = []
    sectors = np.array(month.sectors)
    for sector in sorted(set(month.sectors)):
        inside = sectors == sector
        share = month.weights[inside].sum()
        if 0.0 < share < 1.0:
            active = np.where(inside, month.weights / share, -month.weights / (1.0 - share))
            rows += [_SECTOR_TILT * active, -_SECTOR_TILT * active]
    return np.array(rows).reshape(-1, month.weights.size)


def _style_tilts(month: Month) -> FloatArray:
    """Tilt the benchmark towards high ranks of a style, and towards equal weights."""
    returns = np.nan_to_num(month.returns[-_YEAR:])
    market = returns @ month.weights
    styles = (
        returns.T @ market / (market @ market),
        np.sqrt((returns**2).mean(axis=0)),
        _past_return(month, _YEAR) - _past_return(month, _MONTH),
        np.log(month.weights),
        -_past_return(month, _MONTH),
    )
    n = month.weights.size
    rows = [np.full(n, 1.0 / n) - month.weights]
    for style in styles:
        rank = np.argsort(np.argsort(style, kind="stable"), kind="stable") / max(n - 1, 1) - 0.5
        tilted = month.weights * (1.0 + rank)
        rows.append(tilted / tilted.sum() - month.weights)
    return np.array(rows)


def _past_return(month: Month, sessions: int) -> FloatArray:
    """Return (n,) log total returns of the last sessions."""
    past: FloatArray = np.log1p(np.maximum(np.nan_to_num(month.returns[-sessions:]), -0.99)).sum(axis=0)
    return past
