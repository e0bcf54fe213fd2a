"""Daily growth of synthetic shares: a market with calm and turbulent times, industries, and each asset's own moves."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.domain.securities import Security

FloatArray = NDArray[np.float64]

_DAY: Final = 1.0 / 252.0
#: Annual volatility of the market in calm and in turbulent times, and the chance to leave each on a day.
_MARKET_VOLATILITY: Final = (0.105, 0.26)
_LEAVE: Final = (1.0 / 120.0, 1.0 / 35.0)
#: In turbulent times everything else moves this much more as well.
_TURBULENT_SCALE: Final = 1.4
#: Log growth of the market a year.
_MARKET_DRIFT: Final = 0.10
_SECTOR_VOLATILITY: Final = 0.08
_INDUSTRY_VOLATILITY: Final = 0.07
_STYLE_VOLATILITY: Final = 0.04
_STYLES: Final = 2
#: Spread of the assets' own annual drifts.
_DRIFT_SPREAD: Final = 0.09
_TAIL_DEGREES: Final = 5.0
#: Fraction of days with news, and how much larger a move then is.
_NEWS_DAYS: Final = 4.0 / 252.0
_NEWS_SCALE: Final = 3.0
#: Two share classes of one company differ by this much a year.
_CLASS_VOLATILITY: Final = 0.015


def simulate_growth(securities: Sequence[Security], sessions: int, rng: np.random.Generator) -> FloatArray:
    """Return (sessions, N) total growth of each asset over each session, positive; row 0 is 1.

    Assets of one group (two share classes) move almost together.
    """
    market, scale = _market(sessions, rng)
    assets = len(securities)
    beta = np.clip(rng.normal(1.0, 0.25, assets), 0.35, 1.8)
    logs = market[:, None] * beta + _DAY * rng.normal(0.0, _DRIFT_SPREAD, assets)
    for labels, volatility in (
        ([security.sector for security in securities], _SECTOR_VOLATILITY),
        ([security.sub_industry for security in securities], _INDUSTRY_VOLATILITY),
    ):
        _, member = np.unique(labels, return_inverse=True)
        common = rng.normal(size=(sessions, int(member.max()) + 1)) * volatility * np.sqrt(_DAY)
        logs += scale[:, None] * common[:, member]
    styles = rng.normal(size=(sessions, _STYLES)) * _STYLE_VOLATILITY * np.sqrt(_DAY)
    logs += scale[:, None] * (styles @ rng.normal(size=(_STYLES, assets)))

    own = np.exp(rng.normal(np.log(0.20), 0.30, assets))
    shocks = rng.standard_t(_TAIL_DEGREES, size=(sessions, assets)) / np.sqrt(_TAIL_DEGREES / (_TAIL_DEGREES - 2.0))
    shocks = np.where(rng.random((sessions, assets)) < _NEWS_DAYS, _NEWS_SCALE * shocks, shocks)
    logs += scale[:, None] * shocks * own * np.sqrt(_DAY) - 0.5 * own**2 * _DAY

    apart = rng.normal(size=(sessions, assets)) * _CLASS_VOLATILITY * np.sqrt(_DAY)
    first_of_group: dict[str, int] = {}
    for at, security in enumerate(securities):
        leader = first_of_group.setdefault(security.group, at)
        if leader != at:
            logs[:, at] = logs[:, leader] + apart[:, at]
    logs[0] = 0.0
    # no asset loses or gains more than about 40 % in a session, as under an exchange's limits
    growth: FloatArray = np.exp(np.clip(logs, -0.5, 0.35))
    return growth


def _market(sessions: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return (sessions,) log returns of the market and how much livelier than in calm times each session is."""
    leave = rng.random(sessions)
    turbulent = np.zeros(sessions, dtype=np.int64)
    for t in range(1, sessions):
        turbulent[t] = turbulent[t - 1] ^ int(leave[t] < _LEAVE[turbulent[t - 1]])
    volatility = np.array(_MARKET_VOLATILITY)[turbulent]
    moves = volatility * np.sqrt(_DAY) * rng.normal(size=sessions)
    # every seed has the same growth over the whole span; else a fleet could have no gains, or no losses, to manage
    moves += _MARKET_DRIFT * _DAY - moves.mean()
    return moves, np.where(turbulent, _TURBULENT_SCALE, 1.0)
