"""Splits, payments and listings of the synthetic shares: splits and one-off events by a table, dividends by a rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.domain.securities import ActionType

FloatArray = NDArray[np.float64]

#: Sessions of the demo: the last three of the history.
DEMO_SESSIONS: Final = (date(2025, 9, 3), date(2025, 9, 4), date(2025, 9, 5))

# Ranks are those in market value at the start, share classes left out: 0 is the largest.
#: (rank, ex-date, shares after for one before)
SPLITS: Final[tuple[tuple[int, date, float], ...]] = (
    (3, DEMO_SESSIONS[1], 3.0),
    (10, date(2023, 7, 17), 2.0),
    (25, date(2024, 6, 10), 10.0),
    (40, date(2023, 3, 13), 1.5),
    (60, date(2024, 2, 20), 2.0),
    (90, date(2025, 3, 17), 2.0),
    (170, date(2024, 10, 1), 0.1),
    (185, date(2023, 11, 6), 0.125),
)
#: (rank, ex-date, type, value as a fraction of the price before; a price factor as it is)
ONE_OFF: Final[tuple[tuple[int, date, ActionType, float], ...]] = (
    (55, date(2024, 12, 13), ActionType.SPECIAL_DIVIDEND, 0.05),
    (75, date(2024, 4, 1), ActionType.SPINOFF_VALUE, 0.08),
    (110, date(2023, 10, 2), ActionType.SPINOFF_PRICE_FACTOR, 1.153),
)
#: (rank, first session): listed after the history begins.
LISTINGS: Final[tuple[tuple[int, date], ...]] = (
    (140, date(2024, 2, 14)),
    (160, date(2025, 2, 3)),
    (190, date(2025, 7, 21)),
)
#: Ranks of assets with some sessions without a price.
GAPPY_RANKS: Final = (100, 125, 150, 180)
#: Rank of the asset that has no price on the second demo session, and of the one that pays a dividend on the third.
UNPRICED_RANK: Final = 20
PAYER_RANK: Final = 6

#: Annual dividend yield of a typical asset of the sector.
_YIELDS: Final[dict[str, float]] = {
    "Information Technology": 0.009,
    "Health Care": 0.016,
    "Financials": 0.027,
    "Consumer Discretionary": 0.014,
    "Industrials": 0.016,
    "Consumer Staples": 0.028,
    "Energy": 0.038,
    "Materials": 0.021,
    "Real Estate": 0.040,
    "Utilities": 0.036,
    "Communication Services": 0.011,
}
_PAYING_SHARE: Final = 0.78
_PAYER_YIELD: Final = 0.02
#: Days of the month on which dividends go ex; the demo's own days have only the planned one.
_FIRST_EX_DAY: Final = 8
_LAST_EX_DAY: Final = 27


@dataclass(frozen=True, slots=True, eq=False)
class EventPlan:
    """Events on the grid of T sessions and N assets.

    Attributes:
        split_factor: (T, N) shares after for one before; 1 for none.
        price_factor: (T, N) price factor of a spin-off; 1 for none.
        payout: (T, N) money paid as a fraction of the close before; 0 for none.
        payout_type: (row, column) to the type of the payment; every other payment is a plain dividend.
        listed_from: (N,) row of the first session.
    """

    split_factor: FloatArray
    price_factor: FloatArray
    payout: FloatArray
    payout_type: dict[tuple[int, int], ActionType]
    listed_from: NDArray[np.int64]


def plan_events(
    sessions: Sequence[date], sectors: Sequence[str], by_rank: Sequence[int], rng: np.random.Generator
) -> EventPlan:
    """Plan the events.

    Args:
        sessions: T sessions, ascending, the demo's last.
        sectors: Sector of each of the N assets.
        by_rank: Column of each rank; may leave assets out (share classes have no events of their own).
        rng: Draws dividends: payers, amounts and days.
    """
    days = np.array(sessions, dtype="datetime64[D]")
    shape = (len(sessions), len(sectors))
    plan = EventPlan(
        split_factor=np.ones(shape),
        price_factor=np.ones(shape),
        payout=np.zeros(shape),
        payout_type={},
        listed_from=np.zeros(len(sectors), dtype=np.int64),
    )
    for rank, first in LISTINGS:
        plan.listed_from[by_rank[rank]] = _row(days, first)
    _dividends(plan, days, sectors, by_rank, rng)
    for rank, ex_date, factor in SPLITS:
        plan.split_factor[_row(days, ex_date), by_rank[rank]] = factor
    for rank, ex_date, action_type, value in ONE_OFF:
        at = (_row(days, ex_date), by_rank[rank])
        if action_type is ActionType.SPINOFF_PRICE_FACTOR:
            plan.price_factor[at] = value
        else:
            plan.payout[at] = value
            plan.payout_type[at] = action_type
    return plan


def _dividends(
    plan: EventPlan,
    days: NDArray[np.datetime64],
    sectors: Sequence[str],
    by_rank: Sequence[int],
    rng: np.random.Generator,
) -> None:
    months = np.unique(days.astype("datetime64[M]"))
    pays = rng.random(len(sectors)) < _PAYING_SHARE
    level = np.exp(rng.normal(0.0, 0.3, len(sectors)))
    cycle = rng.integers(0, 3, len(sectors))
    ex_day = rng.integers(_FIRST_EX_DAY, _LAST_EX_DAY + 1, len(sectors))
    payer = by_rank[PAYER_RANK]
    # March, June, September, December, on the day of the month of the third demo session
    pays[payer], cycle[payer], ex_day[payer] = True, 2, DEMO_SESSIONS[2].day
    yields = np.array([_YIELDS[sector] for sector in sectors]) * level
    yields[payer] = _PAYER_YIELD
    for column in np.flatnonzero(pays):
        for month in months[(months.astype(np.int64) % 3) == cycle[column]]:
            row = int(np.searchsorted(days, month.astype("datetime64[D]") + (ex_day[column] - 1)))
            if plan.listed_from[column] < row < len(days):
                plan.payout[row, column] = yields[column] / 4.0


def _row(days: NDArray[np.datetime64], day: date) -> int:
    return int(np.searchsorted(days, np.datetime64(day)))
