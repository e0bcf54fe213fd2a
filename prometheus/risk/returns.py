"""Total returns from raw closes and corporate actions."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.errors import RiskModelError

FloatArray = NDArray[np.float64]

#: Actions whose value multiplies the price relation.
_FACTOR_ACTIONS: Final = frozenset({ActionType.SPLIT, ActionType.SPINOFF_PRICE_FACTOR})
#: Actions whose value is an amount of money a share.
_MONEY_ACTIONS: Final = frozenset(
    {
        ActionType.DIVIDEND,
        ActionType.SPECIAL_DIVIDEND,
        ActionType.SPINOFF_VALUE,
        ActionType.STOCK_DISTRIBUTION_VALUE,
    }
)


def total_returns(closes: FloatArray, split_factor: FloatArray, distributions: FloatArray) -> FloatArray:
    """Return simple total returns, session over session.

    The return of a day is ``split_factor * (close + distribution) / previous close - 1``. Where closes are missing
    the return runs from the last close seen: factors of the gap multiply, money paid inside the gap is kept as cash
    (there is no price to reinvest it at) and counts with the shares held on its day.

    Args:
        closes: (T, N) raw traded closes, positive, not adjusted for anything; NaN where there is no price.
        split_factor: (T, N) shares after for one share before, effective before the day's trading; 1 for none. A price
            factor of a spin-off belongs here too: for a return it acts like a split.
        distributions: (T, N) money paid a share held after the day's split, on its ex-date; 0 for none.

    Returns:
        (T - 1, N); row t belongs to session t + 1 of the input. NaN where the session has no close or no close came
        before it.

    Raises:
        RiskModelError: Shapes differ, a close or factor is not positive and finite, or a distribution is negative or
            not finite; code ``RISK_INPUT``.

    Source: shared convention of the input files, docs/specs/risk.md.
    """
    closes = np.asarray(closes, dtype=np.float64)
    _check(closes, split_factor, distributions)
    sessions, assets = closes.shape
    returns = np.full((max(sessions - 1, 0), assets), np.nan)
    if sessions == 0:
        return returns
    seen = ~np.isnan(closes)
    base = closes[0].copy()  # last close seen; NaN until the first
    shares = np.ones(assets)  # held today for one share bought at ``base``
    cash = np.zeros(assets)  # paid on those shares since
    for t in range(1, sessions):
        shares *= split_factor[t]
        cash += shares * distributions[t]
        with np.errstate(invalid="ignore"):
            returns[t - 1] = (shares * closes[t] + cash) / base - 1.0
        today = seen[t]
        base[today] = closes[t, today]
        shares[today] = 1.0
        cash[today] = 0.0
    return returns


def action_panels(
    actions: Iterable[CorporateAction], dates: Sequence[date], tickers: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """Lay corporate actions out as the panels that ``total_returns`` takes.

    Several actions of one asset on one day combine: factors multiply, amounts add. New symbols and delistings change no
    return, spin-offs into a child only once ``spin_offs_at_value`` has given them one. An action whose ex-date is not
    among the dates takes effect on the next one. Actions before the first date, after the last one, or of other assets
    are left out.

    Args:
        actions: In any order.
        dates: T sessions, ascending.
        tickers: N assets, unique.

    Returns:
        (T, N) split factors and (T, N) distributions.
    """
    split_factor = np.ones((len(dates), len(tickers)))
    distributions = np.zeros((len(dates), len(tickers)))
    if not len(dates):
        return split_factor, distributions
    days = np.array(dates, dtype="datetime64[D]")
    column = {ticker: at for at, ticker in enumerate(tickers)}
    for action in actions:
        at = column.get(action.ticker)
        if at is None or not dates[0] <= action.ex_date <= dates[-1]:
            continue
        row = int(np.searchsorted(days, np.datetime64(action.ex_date)))
        if action.action_type in _FACTOR_ACTIONS:
            split_factor[row, at] *= float(action.value)
        elif action.action_type in _MONEY_ACTIONS:
            distributions[row, at] += float(action.value)
    return split_factor, distributions


def spin_offs_at_value(
    actions: Iterable[CorporateAction], dates: Sequence[date], tickers: Sequence[str], closes: FloatArray
) -> tuple[CorporateAction, ...]:
    """Return the actions with spin-offs into a named child turned into the money that the child's shares are worth.

    The child counts at its first close on or after the ex-date. A spin-off of a child without one stays as it is, and
    ``action_panels`` leaves it out: the parent's return of that day is too low by the child's value.

    Args:
        actions: In any order.
        dates: T sessions, ascending.
        tickers: N assets, unique.
        closes: (T, N) raw closes, NaN where there is no price.
    """
    days = np.array(dates, dtype="datetime64[D]")
    column = {ticker: at for at, ticker in enumerate(tickers)}
    spin_offs: list[CorporateAction] = []
    for action in actions:
        at = column.get(action.other_ticker)
        if action.action_type is ActionType.SPINOFF and at is not None:
            row = int(np.searchsorted(days, np.datetime64(action.ex_date)))
            later = closes[row:, at]
            priced = later[~np.isnan(later)]
            if priced.size:
                value = action.value * Decimal(repr(float(priced[0])))
                action = CorporateAction(action.ticker, action.ex_date, ActionType.SPINOFF_VALUE, value)  # noqa: PLW2901 -- the same event, told in money
        spin_offs.append(action)
    return tuple(spin_offs)


def _check(closes: FloatArray, split_factor: FloatArray, distributions: FloatArray) -> None:
    if closes.ndim != 2 or split_factor.shape != closes.shape or distributions.shape != closes.shape:
        raise RiskModelError(
            f"closes {closes.shape}, split_factor {split_factor.shape} and distributions {distributions.shape} must "
            "have one (sessions, assets) shape.",
            code="RISK_INPUT",
        )
    for name, values, good in (
        ("closes", closes, np.isnan(closes) | ((closes > 0) & np.isfinite(closes))),
        ("split_factor", split_factor, (split_factor > 0) & np.isfinite(split_factor)),
        ("distributions", distributions, (distributions >= 0) & np.isfinite(distributions)),
    ):
        if not good.all():
            row, column = (int(at) for at in np.argwhere(~good)[0])
            raise RiskModelError(
                f"{name}[{row}, {column}] is {values[row, column]}; correct the input.", code="RISK_INPUT"
            )
