"""From the snapshot to the optimizer's problem: one of the two places where Decimals become floats."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from prometheus.decision.day_books import lots_by_ticker, term_on
from prometheus.decision.harvest_trigger import harvest_triggers, is_beyond, total_volatility
from prometheus.decision.short_problem import borrow_rates, short_bounds, short_columns
from prometheus.decision.snapshot import Snapshot
from prometheus.domain.money import CENT, share_step
from prometheus.domain.strategy import StrategyParams
from prometheus.ledger.selection import SaleTerms, order_lots
from prometheus.optimizer.problem.rebalance_problem import FloatArray, RebalanceProblem, SpecificBlock, read_only
from prometheus.optimizer.problem.trade_range import WEIGHT_TOLERANCE

_BPS: Final = 1e-4
#: Specific variance of an asset the risk model does not know: this quantile of those it knows.
_UNKNOWN_NAME_QUANTILE: Final = 0.9
#: Marginal tax may fall by no more than this from lot to lot and still count as rising (rounding of rates).
_ORDER_TOLERANCE: Final = 1e-15


@dataclass(frozen=True, slots=True, eq=False)
class CorrelationBlock:
    """Names of the risk model whose specific returns are correlated.

    Attributes:
        names: (n,) ascending positions in the risk model.
        correlation: (n, n) symmetric, ones on the diagonal.
    """

    names: NDArray[np.int64]
    correlation: NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Matrices:
    """What the snapshot names by content address, as decoded.

    Attributes:
        loadings: (N, K) float32.
        specific_variance: (N,) float32.
        benchmark_weights: (M,) float64.
        specific_correlation: Disjoint blocks of correlated specific returns, float32; empty for none.
    """

    loadings: NDArray[Any]
    specific_variance: NDArray[Any]
    benchmark_weights: NDArray[Any]
    specific_correlation: tuple[CorrelationBlock, ...] = ()


def build_problem(snapshot: Snapshot, params: StrategyParams, matrices: Matrices) -> RebalanceProblem:
    """Return the problem of a whole rebalancing of a snapshot under merged strategy parameters.

    What a partial day leaves of it: ``partial_day.day_problem``. The matrices must be the decoded blobs, never the
    originals they were rounded from: that is what makes a replay agree. Weights are fractions of the snapshot's NAV.

    Args:
        snapshot: The account's day.
        params: Merged strategy parameters.
        matrices: The decoded risk model and benchmark.
    """
    names = snapshot.universe
    n = len(names)
    nav = float(snapshot.nav())
    prices = np.array([float(name.price) for name in names])
    loadings, specific = _risk(snapshot, matrices)
    weights = _benchmark_weights(snapshot, matrices)
    volatility = np.zeros(n)
    if params.low_volatility_tilt or params.harvest_sigma:
        volatility = total_volatility(loadings, np.array(snapshot.factor_covariance), specific)
    lots = _lots(snapshot, params, nav, harvest_triggers(params, volatility))
    held = np.bincount(lots.asset, weights=lots.weight, minlength=n).astype(np.float64)
    shorts = short_columns(snapshot, nav)
    owed = shorts.owed(n)
    limits = _limits(snapshot, params, weights, held - owed, lots, owed)
    may_be_short = limits.short_max > 0 or len(shorts.ids) > 0
    groups = {group: i for i, group in enumerate(dict.fromkeys(name.group for name in names))}
    cash = float(snapshot.cash) / nav
    steps = np.full(n, float(share_step(fractional=snapshot.fractional_shares)))
    after = _cash_range(
        params, cash, lines=n + len(lots.ids) + len(shorts.ids), nav=nav, step_values=steps * prices / nav
    )
    rows = _rows(snapshot, params, weights, loadings)
    gain_max = min(
        params.limit("tax_budget"), params.limit("tax_budget_ytd") - float(snapshot.realized_this_year) / nav
    )
    return RebalanceProblem(
        as_of=snapshot.as_of,
        nav=nav,
        tickers=tuple(name.ticker for name in names),
        prices=read_only(prices),
        benchmark_weights=read_only(weights),
        loadings=read_only(loadings),
        factor_covariance=read_only(snapshot.factor_covariance),
        specific_variance=read_only(specific),
        cost_rate=read_only(np.full(n, params.cost_bps * _BPS)),
        tilt=read_only(_low_volatility_tilt(volatility, params)),
        cash=cash,
        cash_min=after.least,
        cash_max=after.most,
        rounded_cash_min=after.rounded_least,
        rounded_cash_max=after.rounded_most,
        lower=read_only(limits.lower),
        upper=read_only(limits.upper),
        can_buy=read_only(limits.can_buy, np.bool_),
        can_sell=read_only(limits.can_sell, np.bool_),
        group=read_only([groups[name.group] for name in names], np.int64),
        lot_asset=read_only(lots.asset, np.int64),
        lot_id=tuple(lots.ids),
        lot_shares=read_only(lots.shares),
        lot_weight=read_only(lots.weight),
        lot_tax=read_only(lots.tax),
        lot_is_loss=read_only(lots.is_loss, np.bool_),
        lot_locked=read_only(lots.locked, np.bool_),
        lot_rank=read_only(lots.rank, np.int64),
        lot_order_is_convex=lots.is_convex,
        risk_aversion=params.risk_aversion,
        tax_weight=params.tax_weight,
        min_trade=params.min_trade / nav,
        share_step=read_only(steps),
        tolerance=params.solver_tolerance,
        te_max=params.limit("te_max"),
        row_names=rows.names,
        row_matrix=read_only(rows.matrix),
        row_lower=read_only(rows.lower),
        row_upper=read_only(rows.upper),
        turnover_max=params.limit("turnover_max"),
        gain_max=gain_max,
        lot_gain=read_only(lots.gain if np.isfinite(gain_max) else ()),
        # short positions that another strategy left behind cannot be counted; they are covered first
        max_names=None if params.limit("max_names") == float("inf") or shorts.ids else int(params.max_names),
        short_max=limits.short_max,
        long_max=params.long_max if params.long_max > 1 else float("inf"),
        borrow_rate=read_only(borrow_rates(snapshot) if may_be_short else ()),
        specific_blocks=tuple(_specific_blocks(snapshot, matrices, specific)),
        order_cost=max(params.order_cost / nav, params.order_cost_bps * _BPS),
        short_asset=read_only(shorts.asset, np.int64),
        short_id=shorts.ids,
        short_shares=read_only(shorts.shares),
        short_weight=read_only(shorts.weight),
        cover_tax=read_only(shorts.tax),
        cover_gain=read_only(shorts.gain if np.isfinite(gain_max) else ()),
    )


def universe_correlation(snapshot: Snapshot, block: CorrelationBlock) -> CorrelationBlock | None:
    """Return the part of a block that is in the universe, by position there; None where that is one asset or none.

    Names that the risk model does not know are in no block.
    """
    return _block_of(np.array([name.risk_index for name in snapshot.universe], dtype=np.int64), block)


def _block_of(rows: NDArray[np.int64], block: CorrelationBlock) -> CorrelationBlock | None:
    names = np.flatnonzero(np.isin(rows, block.names))
    if len(names) < 2:
        return None
    at = np.searchsorted(block.names, rows[names])
    return CorrelationBlock(names, block.correlation[np.ix_(at, at)])


def _specific_blocks(snapshot: Snapshot, matrices: Matrices, specific: FloatArray) -> Iterator[SpecificBlock]:
    rows = np.array([name.risk_index for name in snapshot.universe], dtype=np.int64)
    for whole in matrices.specific_correlation:
        block = _block_of(rows, whole)
        if block is None:
            continue
        volatility = np.sqrt(specific[block.names])
        # one triangle serves both: the two products of a pair may differ in their last bit
        below = np.tril(block.correlation.astype(np.float64) * volatility[:, None] * volatility, -1)
        yield SpecificBlock(block.names, below + below.T + np.diag(specific[block.names]))


@dataclass(frozen=True, slots=True)
class _CashRange:
    """Cash after trading, fractions of NAV: what any trades may leave, and what rounded trades keep clear of."""

    least: float
    most: float
    rounded_least: float
    rounded_most: float


def _cash_range(params: StrategyParams, cash: float, *, lines: int, nav: float, step_values: FloatArray) -> _CashRange:
    """Return the range of cash after trading that the ledger and whole shares can meet, fractions of NAV."""
    # Each line of the ledger is rounded to a cent: keep what that can add up to, so that cash is never short. An
    # account that stands between the minimum and that reserve is not made to sell for it; if it trades, it keeps it.
    reserve = float(CENT) * lines / nav
    reserved = params.cash_min + reserve
    least = min(reserved, cash) if cash >= params.cash_min else reserved
    # A range narrower than a share or two of the cheapest asset cannot be hit by a small account in whole shares.
    cheapest = 2 * float(step_values.min()) if len(step_values) else 0.0
    most = max(params.cash_max, reserved + cheapest)
    # What a comparison of sums forgives is more than a cent in a large account.
    rounded_least = reserved + 2 * WEIGHT_TOLERANCE
    return _CashRange(least, most, rounded_least, min(most, max(params.cash_max - reserve, rounded_least + cheapest)))


@dataclass(frozen=True, slots=True, eq=False)
class _Lots:
    ids: list[str]
    asset: NDArray[np.int64]
    shares: FloatArray
    weight: FloatArray
    tax: FloatArray
    is_loss: NDArray[np.bool_]
    locked: NDArray[np.bool_]
    rank: NDArray[np.int64]
    is_convex: bool
    gain: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Limits:
    lower: FloatArray
    upper: FloatArray
    can_buy: NDArray[np.bool_]
    can_sell: NDArray[np.bool_]
    short_max: float


def _risk(snapshot: Snapshot, matrices: Matrices) -> tuple[FloatArray, FloatArray]:
    known = matrices.loadings.astype(np.float64)
    variance = matrices.specific_variance.astype(np.float64)
    # One row more, for assets the model does not know: the market's exposure and a cautious variance.
    loadings = np.vstack([known, known.mean(axis=0)])
    specific = np.append(variance, np.quantile(variance, _UNKNOWN_NAME_QUANTILE))
    rows = np.array([name.risk_index for name in snapshot.universe], dtype=np.int64)
    return loadings[rows], specific[rows]


def _benchmark_weights(snapshot: Snapshot, matrices: Matrices) -> FloatArray:
    rows = np.array([name.benchmark_index for name in snapshot.universe], dtype=np.int64)
    weights = np.where(rows >= 0, matrices.benchmark_weights[rows], 0.0)
    # Constituents without any price were left out, and files round: the rest stands for the whole.
    total = weights.sum()
    return np.asarray(weights / total if total > 0 else weights, dtype=np.float64)


def _lots(snapshot: Snapshot, params: StrategyParams, nav: float, triggers: FloatArray) -> _Lots:
    by_ticker = lots_by_ticker(snapshot)
    locks = {lock.subject for lock in snapshot.loss_sale_locks}
    forbid = params.loss_sale_policy == "forbid"
    rates: dict[date, Decimal] = {}
    rows: list[tuple[Any, ...]] = []
    is_convex = True
    for i, name in enumerate(snapshot.universe):
        held = by_ticker[name.ticker]
        if not held:
            continue
        price = name.price
        ordered = order_lots(held, snapshot.lot_method, SaleTerms(snapshot.as_of, price, snapshot.rates))
        last = -np.inf
        for position, lot in enumerate(ordered):
            start = lot.holding_period_start
            rate = rates.get(start)
            if rate is None:
                rate = rates[start] = snapshot.rates.of(term_on(snapshot.as_of, start, snapshot.tax_regime))
            washed = lot.lot_id in locks
            value = lot.quantity * price
            is_loss = lot.adjusted_basis > value
            # Under "allow" a washed loss may be realised, but it saves no tax now; neither does one that is too
            # shallow to be harvested, which may still be sold for the sake of risk.
            worthless = (washed and not forbid) or (is_loss and not is_beyond(triggers[i], value, lot.adjusted_basis))
            slope = 0.0 if worthless else float(rate * (price - lot.adjusted_basis / lot.quantity) / price)
            blocked = washed and forbid
            if not blocked:
                is_convex = is_convex and slope >= last - _ORDER_TOLERANCE
                last = slope
            # a washed loss is disallowed: selling the lot realises nothing
            realised = 1 - lot.adjusted_basis / value if value else Decimal(0)
            gain = 0.0 if washed and realised < 0 else float(realised)
            rows.append(
                (lot.lot_id, i, float(lot.quantity), float(value) / nav, slope, is_loss, blocked, position, gain)
            )
    columns = tuple(zip(*rows, strict=True)) or ((),) * 9
    return _Lots(
        list(columns[0]),
        np.array(columns[1], dtype=np.int64),
        np.array(columns[2], dtype=np.float64),
        np.array(columns[3], dtype=np.float64),
        np.array(columns[4], dtype=np.float64),
        np.array(columns[5], dtype=np.bool_),
        np.array(columns[6], dtype=np.bool_),
        np.array(columns[7], dtype=np.int64),
        is_convex,
        np.array(columns[8], dtype=np.float64),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    names: tuple[str, ...]
    matrix: FloatArray
    lower: FloatArray
    upper: FloatArray


def _rows(snapshot: Snapshot, params: StrategyParams, weights: FloatArray, loadings: FloatArray) -> _Rows:
    """Return the linear limits: active weights of sectors, active exposures to factors."""
    names: list[str] = []
    matrix: list[FloatArray] = []
    bound: list[float] = []
    sector_max, factor_max = params.limit("sector_active_max"), params.limit("factor_active_max")
    if np.isfinite(sector_max):
        sectors = [name.sector for name in snapshot.universe]
        for sector in sorted(set(sectors)):
            names.append(f"sector:{sector}")
            matrix.append(np.array([float(one == sector) for one in sectors]))
            bound.append(sector_max)
    if np.isfinite(factor_max):
        for k in range(loadings.shape[1]):
            names.append(f"factor:{k + 1}")
            matrix.append(loadings[:, k])
            bound.append(factor_max)
    rows = np.array(matrix).reshape(len(names), len(weights) if names else 0)
    centre = np.einsum("rn,n->r", rows, weights) if names else np.zeros(0)
    return _Rows(tuple(names), rows, centre - np.array(bound), centre + np.array(bound))


def _limits(
    snapshot: Snapshot,
    params: StrategyParams,
    weights: FloatArray,
    held: FloatArray,
    lots: _Lots,
    owed: FloatArray,
) -> _Limits:
    names = snapshot.universe
    buy_locked = {lock.subject for lock in snapshot.buy_locks}
    never = _never_held(snapshot, params)
    missing = set(snapshot.missing_prices())
    no_buy, no_sell = set(params.no_buy), set(params.no_sell)
    can_buy = np.array(
        [
            name.group not in buy_locked
            and name.ticker not in no_buy
            and name.ticker not in never
            and name.ticker not in missing
            for name in names
        ]
    )
    # A security that did not trade today cannot be sold at a price anybody paid today.
    can_sell = np.array([name.ticker not in no_sell and name.ticker not in missing for name in names])
    cap = np.minimum(params.max_weight, weights + params.max_active_weight)
    upper = np.maximum(cap, held)
    floor = np.zeros(len(names))
    if params.long_max > 1:
        floor[np.isfinite(borrow_rates(snapshot))] = -(params.long_max - 1)
    lower = np.minimum(np.maximum(weights - params.max_active_weight, floor), held)
    unsellable = np.bincount(lots.asset, weights=np.where(lots.locked, lots.weight, 0.0), minlength=len(names))
    for i, name in enumerate(names):
        if name.ticker in never:
            # Sell what may be sold; locked lots stay until their lock ends.
            upper[i] = held[i] if not can_sell[i] else unsellable[i]
            lower[i] = min(max(lower[i], 0.0), upper[i])
    shorts = short_bounds(snapshot, params, owed, never, (lower, upper), can_buy)
    return _Limits(shorts.lower, shorts.upper, shorts.can_buy, can_sell, shorts.short_max)


def _never_held(snapshot: Snapshot, params: StrategyParams) -> set[str]:
    barred = set(params.never_hold_sub_industries)
    return {
        name.ticker for name in snapshot.universe if name.ticker in params.never_hold or name.sub_industry in barred
    }


def _low_volatility_tilt(volatility: FloatArray, params: StrategyParams) -> FloatArray:
    spread = volatility.std()
    if params.low_volatility_tilt == 0 or spread == 0:
        return np.zeros(len(volatility))
    return np.asarray(-params.low_volatility_tilt * _BPS * (volatility - volatility.mean()) / spread, dtype=np.float64)
