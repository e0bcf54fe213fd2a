"""Errors of forecasts of active risk: bias, QLIKE, and the realised risk.

For a portfolio-month let x be realised over predicted variance of daily active returns. The bias of a class is the root
of the mean of x: 1.2 means that risk was 20 % larger than said. QLIKE is the mean of x - ln x - 1: zero for a perfect
forecast of what is then realised, about 1 / 21 = 0.048 for a perfect forecast of the true variance of Gaussian returns.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from prometheus.risk.evaluation.estimators import covariance_estimator
from prometheus.risk.evaluation.history import MarketHistory, Month, month, months
from prometheus.risk.evaluation.portfolios import CLASSES, active_weights, month_portfolios
from prometheus.risk.settings import SESSIONS_PER_YEAR

FloatArray = NDArray[np.float64]

#: As-of dates whose month no estimator could know from the past.
CRISIS: Final = (date(2020, 1, 1), date(2020, 4, 30))
#: Last day of the months on which the estimators' settings were chosen.
TUNED_THROUGH: Final = date(2017, 12, 31)
#: Probability inside the band of a Gaussian forecast.
_BAND: Final = 0.95
#: Least realised variance, as a part of the predicted one, for a portfolio that did not move at all.
_LEAST_RATIO: Final = 1e-6


@dataclass(frozen=True, slots=True)
class ClassMonth:
    """One estimator's forecasts for one class of portfolios in one month.

    Attributes:
        estimator: Name.
        as_of: Last session known.
        portfolio_class: A, B1, B2 or C.
        portfolios: How many.
        ratio: Mean of realised over predicted variance.
        qlike: Mean QLIKE.
        realised_variance: Mean daily realised variance of active returns.
        predicted_variance: Mean daily predicted variance.
        in_band: Share of portfolios whose realised volatility lies in the 95 % band of Gaussian returns.
    """

    estimator: str
    as_of: date
    portfolio_class: str
    portfolios: int
    ratio: float
    qlike: float
    realised_variance: float
    predicted_variance: float
    in_band: float


@dataclass(frozen=True, slots=True)
class ClassScore:
    """The same over the months of a period; bias is the root of the mean ratio, tracking error is annualised."""

    estimator: str
    period: str
    portfolio_class: str
    months: int
    bias: float
    qlike: float
    realised_tracking_error: float
    in_band: float


def _in_crisis(day: date) -> bool:
    return CRISIS[0] <= day <= CRISIS[1]


#: Periods of the report and which months they hold.
PERIODS: Final[dict[str, Callable[[date], bool]]] = {
    "calm": lambda day: not _in_crisis(day),
    "all": lambda _: True,
    "calm to 2017 (tuned)": lambda day: not _in_crisis(day) and day <= TUNED_THROUGH,
    "calm from 2018": lambda day: not _in_crisis(day) and day > TUNED_THROUGH,
    "crisis": _in_crisis,
}


def evaluate(
    history: MarketHistory,
    estimators: Sequence[str],
    first: date,
    last: date,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[ClassMonth, ...]:
    """Score estimators over the months from ``first`` through ``last``.

    Args:
        history: Returns and benchmark weights.
        estimators: Names, ours or from the textbook.
        first: First as-of date.
        last: Last as-of date.
        progress: Told after each pair of month and estimator.

    Returns:
        Scores by month, estimator and class.

    Raises:
        RiskModelError: An estimator is unknown, or no month has enough data.
    """
    chosen = {name: covariance_estimator(name) for name in estimators}
    scores: list[ClassMonth] = []
    for as_of in months(history, first, last):
        slice_ = month(history, as_of)
        portfolios = month_portfolios(slice_)
        for name, estimate in chosen.items():
            sigma = estimate(slice_)
            active = active_weights(slice_, portfolios, sigma)
            scores += [_score(name, slice_, kind, active[kind], sigma) for kind in CLASSES]
            progress(1)
    return tuple(scores)


def summarise(scores: Iterable[ClassMonth]) -> tuple[ClassScore, ...]:
    """Return each estimator's score by period and class, periods without months left out."""
    grouped: dict[tuple[str, str], list[ClassMonth]] = {}
    for score in scores:
        grouped.setdefault((score.estimator, score.portfolio_class), []).append(score)
    summaries = []
    for period, holds in PERIODS.items():
        for (estimator, portfolio_class), of_class in grouped.items():
            inside = [score for score in of_class if holds(score.as_of)]
            if not inside:
                continue
            weight = np.array([score.portfolios for score in inside], dtype=np.float64)
            ratio, qlike, variance, in_band = (
                float(np.average([getattr(score, name) for score in inside], weights=weight))
                for name in ("ratio", "qlike", "realised_variance", "in_band")
            )
            summaries.append(
                ClassScore(
                    estimator=estimator,
                    period=period,
                    portfolio_class=portfolio_class,
                    months=len(inside),
                    bias=float(np.sqrt(ratio)),
                    qlike=qlike,
                    realised_tracking_error=float(np.sqrt(SESSIONS_PER_YEAR * variance)),
                    in_band=in_band,
                )
            )
    return tuple(summaries)


def _score(estimator: str, slice_: Month, portfolio_class: str, active: FloatArray, sigma: FloatArray) -> ClassMonth:
    predicted = ((active @ sigma) * active).sum(axis=1) / SESSIONS_PER_YEAR
    realised = ((slice_.future @ active.T) ** 2).mean(axis=0)
    # a benchmark of no more assets than a test portfolio may hold is tracked exactly
    ratio = np.maximum(realised, np.finfo(np.float64).tiny) / np.maximum(predicted, np.finfo(np.float64).tiny)
    ratio = np.maximum(ratio, _LEAST_RATIO)
    sessions = len(slice_.future)
    low, high = (scipy.stats.chi2.ppf(0.5 + side * _BAND / 2, sessions) / sessions for side in (-1, 1))
    return ClassMonth(
        estimator=estimator,
        as_of=slice_.as_of,
        portfolio_class=portfolio_class,
        portfolios=len(active),
        ratio=float(ratio.mean()),
        qlike=float((ratio - np.log(ratio) - 1.0).mean()),
        realised_variance=float(realised.mean()),
        predicted_variance=float(predicted.mean()),
        in_band=float(((ratio >= low) & (ratio <= high)).mean()),
    )
