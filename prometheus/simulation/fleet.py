"""Twenty synthetic accounts as a broker would deliver them before their first session."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.domain.accounts import Account, LotMethod, Region, TaxRates, TaxRegime
from prometheus.domain.lots import TaxLot
from prometheus.domain.money import share_step, to_cents
from prometheus.domain.securities import ActionType
from prometheus.simulation.corporate_events import DEMO_SESSIONS, PAYER_RANK, SPLITS, UNPRICED_RANK
from prometheus.simulation.market import BENCHMARK_ID, Market

FloatArray = NDArray[np.float64]

_HIFO, _FIFO, _LEAST, _ACB = LotMethod.HIFO, LotMethod.FIFO, LotMethod.LEAST_TAX_FIRST, LotMethod.ACB
#: (st, lt, niit)
_TOP, _UPPER, _MIDDLE, _LOW = (
    TaxRates(Decimal("0.37"), Decimal("0.2"), Decimal("0.038")),
    TaxRates(Decimal("0.35"), Decimal("0.15"), Decimal("0.038")),
    TaxRates(Decimal("0.24"), Decimal("0.15"), Decimal("0.0")),
    TaxRates(Decimal("0.12"), Decimal("0.0"), Decimal("0.0")),
)
_CANADA: Final = TaxRates(Decimal("0.2676"), Decimal("0.2676"), Decimal("0.0"))


@dataclass(frozen=True, slots=True)
class _Plan:
    """One account before its lots: NAV in thousands, cash in percent of NAV, number of assets."""

    method: LotMethod
    rates: TaxRates
    fractional: bool
    nav: int
    cash: float
    assets: int
    tags: tuple[str, ...] = ()


#: ``{0}`` and ``{1}`` in a tag are replaced by two of the largest tickers.
_PLANS: Final[tuple[_Plan, ...]] = (
    _Plan(_HIFO, _TOP, False, 4_200, 3.2, 110),
    _Plan(_HIFO, _MIDDLE, True, 310, 1.1, 150, ("esg:no-tobacco",)),
    _Plan(_HIFO, _MIDDLE, False, 2_600, 1.8, 170, ("restrict:employer-{0}", "tilt:low-vol")),
    _Plan(_HIFO, _TOP, True, 940, 0.9, 95, ("esg:no-tobacco", "tilt:low-vol")),
    _Plan(_LEAST, _MIDDLE, True, 1_500, 2.1, 140, ("esg:no-tobacco",)),
    _Plan(_HIFO, _UPPER, False, 88, 1.4, 42, ("harvest:aggressive", "tilt:low-vol")),
    _Plan(_ACB, _CANADA, True, 420, 0.7, 120, ("esg:no-tobacco", "esg:no-weapons")),
    _Plan(_HIFO, _TOP, False, 1_150, 0.6, 130, ("restrict:employer-{0}", "restrict:employer-{1}")),
    _Plan(_LEAST, _MIDDLE, True, 640, 2.4, 100, ("restrict:employer-{1}", "te:tight")),
    _Plan(_HIFO, _TOP, False, 20_000, 1.7, 185, ("te:tight", "tilt:low-vol")),
    _Plan(_FIFO, _UPPER, True, 260, 1.3, 90, ("restrict:employer-{0}",)),
    _Plan(_FIFO, _TOP, False, 180, 4.0, 60, ("tilt:low-vol",)),
    _Plan(_FIFO, _UPPER, False, 730, 2.0, 105),
    _Plan(_ACB, _CANADA, False, 2_900, 1.1, 160),
    _Plan(_HIFO, _UPPER, False, 96, 2.8, 55, ("harvest:aggressive",)),
    _Plan(_LEAST, _TOP, True, 5_400, 0.4, 175, ("esg:no-weapons", "restrict:employer-{1}")),
    _Plan(_HIFO, _UPPER, True, 7_800, 1.2, 150, ("esg:no-tobacco", "te:tight")),
    _Plan(_HIFO, _LOW, False, 62, 0.2, 35, ("tilt:low-vol",)),
    _Plan(_ACB, _CANADA, False, 11_500, 1.4, 80, ("esg:no-tobacco",)),
    _Plan(_HIFO, _UPPER, True, 125, 2.5, 70, ("harvest:aggressive", "te:tight")),
)
_EMPLOYER_RANKS: Final = (1, 5)
#: Every third account holds the assets of the demo's events.
_EVENT_RANKS: Final = (SPLITS[0][0], PAYER_RANK, UNPRICED_RANK)
_EVENT_HOLDERS: Final = 3

_UNDER_WATER_SHARE: Final = 0.31
_RECENT_SHARE: Final = 0.06
_RECENT_DAYS: Final = 30
_MEAN_LOTS: Final = 3.5
_MAX_LOTS: Final = 12
#: A lot is worth at least about this much, so small positions have few lots.
_SMALLEST_LOT: Final = 400.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """Accounts, and their lots as (account_id, lot) in the order of account, ticker and purchase."""

    accounts: tuple[Account, ...]
    lots: tuple[tuple[str, TaxLot], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Prices:
    """Closes in shares of the fleet's first day: (R, N) for the R sessions before it, and their dates."""

    sessions: tuple[date, ...]
    closes: FloatArray
    per_share_then: FloatArray  # (R, N) shares today for one share then


def simulate_fleet(market: Market, seed: int, *, first: date = DEMO_SESSIONS[0]) -> Fleet:
    """Return the accounts and lots of a seed, as they are before the session ``first``.

    Lots were bought at the closes of sessions before it and are split-adjusted to it. About three in ten are below
    their cost at the last close before it; the exact number depends on the market's path.
    """
    prices = _adjusted_prices(market, first)
    streams = np.random.default_rng([seed, len(_PLANS)]).spawn(len(_PLANS))
    employers = [market.securities[market.by_rank[rank]].ticker for rank in _EMPLOYER_RANKS]
    accounts: list[Account] = []
    lots: list[tuple[str, TaxLot]] = []
    for number, (plan, rng) in enumerate(zip(_PLANS, streams, strict=True), start=1):
        account = _account(number, plan, employers)
        accounts.append(account)
        weights = _weights(market, prices, plan, with_events=number % _EVENT_HOLDERS == 1, rng=rng)
        bought = _buy(prices, plan, weights, first, rng)
        for lot_number, (column, row, quantity) in enumerate(bought, start=1):
            lot_id = f"{account.account_id}-L{lot_number:05d}"
            lots.append((account.account_id, _lot(lot_id, market, prices, column, row, quantity)))
    return Fleet(tuple(accounts), tuple(lots))


def _adjusted_prices(market: Market, first: date) -> _Prices:
    rows = market.sessions.index(first)
    column = {ticker: at for at, ticker in enumerate(market.tickers)}
    held = np.ones((rows, len(column)))
    for action in market.actions:
        # a purchase on the ex-date or later already buys new shares
        if action.action_type is ActionType.SPLIT and action.ex_date <= first:
            held[: market.sessions.index(action.ex_date), column[action.ticker]] *= float(action.value)
    return _Prices(market.sessions[:rows], market.closes[:rows] / held, held)


def _account(number: int, plan: _Plan, employers: list[str]) -> Account:
    canadian = plan.method is LotMethod.ACB
    return Account(
        account_id=f"ACC-{number:03d}",
        name=f"Household {number:02d}",
        region=Region.CA if canadian else Region.US,
        base_currency="CAD" if canadian else "USD",
        tax_regime=TaxRegime.CA if canadian else TaxRegime.US,
        lot_method=plan.method,
        benchmark_id=BENCHMARK_ID,
        rates=plan.rates,
        cash=to_cents(Decimal(plan.nav * 1000) * Decimal(str(plan.cash)) / 100),
        fractional_shares=plan.fractional,
        tags=tuple(tag.format(*employers) for tag in plan.tags),
    )


def _weights(
    market: Market, prices: _Prices, plan: _Plan, *, with_events: bool, rng: np.random.Generator
) -> FloatArray:
    """Return (N,) weights of the invested money: larger benchmark members are likelier to be held, at other weights."""
    last = [day for day in market.benchmark if day.date <= prices.sessions[-1]][-1]
    benchmark = np.zeros(len(market.securities))
    benchmark[list(last.columns)] = last.weight_steps
    priced = ~np.isnan(prices.closes[-1]) & (benchmark > 0)
    attraction = np.where(priced, 0.7 * np.log(np.maximum(benchmark, 1.0)) + rng.gumbel(size=benchmark.size), -np.inf)
    if with_events:
        attraction[[market.by_rank[rank] for rank in _EVENT_RANKS]] = np.inf
    held = np.argsort(-attraction, kind="stable")[: plan.assets]
    weights: FloatArray = np.zeros(benchmark.size)
    weights[held] = benchmark[held] ** 0.85 * np.exp(rng.normal(0.0, 0.35, held.size))
    weights /= weights.sum()
    return weights


def _buy(
    prices: _Prices, plan: _Plan, weights: FloatArray, first: date, rng: np.random.Generator
) -> list[tuple[int, int, Decimal]]:
    """Return (column, row of purchase, shares today) of each lot, by ticker and then by date."""
    invested = plan.nav * 1000 * (1.0 - plan.cash / 100.0)
    step = share_step(fractional=plan.fractional)
    recent_from = first - timedelta(days=_RECENT_DAYS)
    recent = np.array([day >= recent_from for day in prices.sessions])
    bought: list[tuple[int, int, Decimal]] = []
    for column in np.flatnonzero(weights):
        value = invested * weights[column]
        count = int(np.clip(min(1 + rng.poisson(_MEAN_LOTS), value // _SMALLEST_LOT), 1, _MAX_LOTS))
        parts = rng.dirichlet(np.full(count, 2.0)) * value / prices.closes[-1, column]
        rows = sorted(_purchase_row(prices.closes[:, column], recent, rng) for _ in range(count))
        left = Decimal(0)
        for row, part in zip(rows, parts, strict=True):
            left += Decimal(f"{part:.6f}")
            # an amount below one step goes to the next lot; a lot has at least one step
            quantity = max((left / step).to_integral_value() * step, step)
            left -= quantity
            bought.append((int(column), row, quantity))
    return bought


def _purchase_row(closes: FloatArray, recent: NDArray[np.bool_], rng: np.random.Generator) -> int:
    """Choose a session with a price; first decide, where the history allows, whether the lot is below its cost."""
    possible = ~np.isnan(closes)
    in_window = possible & (recent if rng.random() < _RECENT_SHARE else ~recent)
    if in_window.any():
        possible = in_window
    under_water = rng.random() < _UNDER_WATER_SHARE
    wanted = possible & ((closes > closes[-1]) if under_water else (closes <= closes[-1]))
    rows = np.flatnonzero(wanted if wanted.any() else possible)
    return int(rng.choice(rows))


def _lot(lot_id: str, market: Market, prices: _Prices, column: int, row: int, quantity: Decimal) -> TaxLot:
    shares_then = quantity / Decimal(f"{prices.per_share_then[row, column]:g}")
    cost = to_cents(shares_then * Decimal(f"{market.closes[row, column]:.2f}"))
    acquired_on = prices.sessions[row]
    return TaxLot(
        lot_id=lot_id,
        ticker=market.securities[column].ticker,
        acquired_on=acquired_on,
        quantity=quantity,
        cost_basis=cost,
        adjusted_basis=cost,
        holding_period_start=acquired_on,
    )
