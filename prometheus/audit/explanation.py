"""Why a run traded what it traded: reasons, limits with their prices, locks, flags and the risk model's view."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from prometheus.audit.recorded_run import RecordedRun
from prometheus.audit.replay import decide
from prometheus.audit.risk_view import RiskView, risk_view
from prometheus.decision.problem_from_snapshot import build_problem
from prometheus.decision.rebalancing_words import rebalancing_words
from prometheus.decision.snapshot import LockRecord, Snapshot
from prometheus.domain.phases import RunStatus
from prometheus.domain.run_record import TradeRow
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.canonical import to_jsonable
from prometheus.foundation.errors import RequestError
from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem
from prometheus.optimizer.result import Explanation
from prometheus.pipeline.shared_inputs import ArraySource
from prometheus.pipeline.tasks import matrices

#: A weight this near its bound stands at it (fraction of NAV): a step of shares is larger.
_AT_BOUND: Final = 1e-7
#: Prices below this (bps of NAV per unit of weight) bind nothing.
_NO_PRICE: Final = 1e-6
_OWN: Final = "own bound"
_CASH: Final = "cash range"


@dataclass(frozen=True, slots=True)
class BindingLimit:
    """A limit that held trades back.

    ``price_low`` and ``price_high`` are its shadow prices at the assets traded: what one more unit of weight would have
    paid or cost through it, bps of NAV. ``names`` are the tickers traded under it.
    """

    name: str
    price_low: float
    price_high: float
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NameAtBound:
    """An asset that is at a bound of its own after trading: its weight and the bound, fractions of NAV, and which."""

    ticker: str
    weight: float
    bound: str


@dataclass(frozen=True, slots=True)
class Slopes:
    """What one unit of weight more would have cost, bps of NAV, part by part (``optimizer.result.Explanation``)."""

    active_risk: float = 0.0
    tax: float = 0.0
    trading_cost: float = 0.0
    tilt: float = 0.0
    cash: float = 0.0
    limits: Mapping[str, float] = field(default_factory=dict)
    bound: float = 0.0
    borrow: float = 0.0


@dataclass(frozen=True, slots=True)
class ExplainedTrade:
    """One asset's trade: signed shares, the lines by lot, and why; ``reason`` has the numbers behind it in ``slopes``.

    ``slopes`` are bps of NAV for one unit of weight bought, at the trades before rounding; with ``bound`` they add to
    zero.
    """

    ticker: str
    side: str
    shares: str
    trade: float
    reason: str
    slopes: Slopes
    lines: tuple[TradeRow, ...]


@dataclass(frozen=True, slots=True)
class RunExplanation:
    """Everything a person may ask about one run, JSON types once through ``to_json``."""

    account_id: str
    run: str
    as_of: str
    status: str
    currency: str
    nav: str
    ticker: str | None
    weight_before: float | None
    weight_after: float | None
    benchmark_weight: float | None
    trades: tuple[ExplainedTrade, ...]
    held_back: tuple[tuple[str, str], ...]
    limits: tuple[BindingLimit, ...]
    at_bound: tuple[NameAtBound, ...]
    buy_locks: tuple[LockRecord, ...]
    loss_sale_locks: tuple[LockRecord, ...]
    restrictions: tuple[str, ...]
    flags: tuple[tuple[str, str], ...]
    failures: tuple[str, ...]
    rebalancing: str
    gap_bps: float | None
    solver: str
    code: str
    risk_model: str
    risk_before: RiskView
    risk_after: RiskView

    def to_json(self) -> Any:
        """Return JSON types, decimals and dates as text."""
        return to_jsonable(asdict(self))


def explain_run(run: RecordedRun, arrays: ArraySource, *, label: str, ticker: str | None = None) -> RunExplanation:
    """Explain a run from its record.

    Reasons are those stored with the run; a run written before they were is decided again for them.

    Args:
        run: The record.
        arrays: Where its matrices are.
        label: How people call the run.
        ticker: Only what concerns this asset; risk and flags are shown all the same.

    Raises:
        RequestError: The ticker is not in the run's universe.
    """
    snapshot, params, result = run.snapshot, run.params, run.result
    problem = build_problem(snapshot, params, matrices(arrays, snapshot))
    position = None if ticker is None else _position(problem, ticker, label)
    held = problem.holdings()
    before = {problem.tickers[i]: float(held[i]) for i in np.flatnonzero(held)}
    # Where nothing could be certified nothing was traded, whatever the targets kept.
    after = result.target_weights if run.record.status == RunStatus.OPTIMAL.value else before
    explanations = result.explanations
    if explanations is None:
        explanations = decide(run, arrays).solution.result.explanations or ()
    trades = _trades(run, explanations)
    shown = tuple(trade for trade in trades if ticker is None or trade.ticker == ticker)
    group = None if position is None else snapshot.universe[position].group
    lots = {lot.lot_id: lot.ticker for lot in snapshot.lots}
    return RunExplanation(
        account_id=run.key.account_id,
        run=label,
        as_of=run.key.as_of.isoformat(),
        status=run.record.status,
        currency=snapshot.base_currency,
        nav=run.nav,
        ticker=ticker,
        weight_before=None if ticker is None else before.get(ticker, 0.0),
        weight_after=None if ticker is None else after.get(ticker, 0.0),
        benchmark_weight=None if position is None else float(problem.benchmark_weights[position]),
        trades=shown,
        held_back=tuple(pair for pair in _held_back(run, explanations) if ticker is None or pair[0] == ticker),
        limits=tuple(_limits(shown)),
        at_bound=tuple(bound for bound in _at_bound(problem, after) if ticker is None or bound.ticker == ticker),
        buy_locks=tuple(lock for lock in snapshot.buy_locks if group is None or lock.subject == group),
        loss_sale_locks=tuple(
            lock for lock in snapshot.loss_sale_locks if ticker is None or lots.get(lock.subject) == ticker
        ),
        restrictions=tuple(_restrictions(snapshot, params, ticker)),
        flags=tuple((code, message) for code, message in run.record.flags),
        failures=tuple(f"{failure.code}: {failure.message}" for failure in result.failures),
        rebalancing=rebalancing_words(result.rebalancing),
        gap_bps=run.record.gap_bps,
        solver=f"{run.record.solver} ({run.record.solver_status})",
        code=run.record.code_version,
        risk_model=f"model {snapshot.risk_model_id} of {snapshot.risk_model_as_of}",
        risk_before=risk_view(problem, before),
        risk_after=risk_view(problem, after),
    )


def _position(problem: RebalanceProblem, ticker: str, label: str) -> int:
    try:
        return problem.tickers.index(ticker)
    except ValueError:
        raise RequestError(
            f"{ticker} is not among the {problem.size} assets of {label}: neither held nor in the benchmark.",
            code="UNKNOWN_TICKER",
        ) from None


def _held_back(run: RecordedRun, explanations: Sequence[Explanation]) -> Iterator[tuple[str, str]]:
    """Yield the assets that the cost of an order kept from being traded, and the sentence."""
    shares = run.result.shares
    for item in explanations:
        if item.ticker not in shares:
            yield item.ticker, item.reason


def _trades(run: RecordedRun, explanations: Sequence[Explanation]) -> tuple[ExplainedTrade, ...]:
    why = {item.ticker: item for item in explanations}
    shares = run.result.shares
    trades = []
    for ticker in shares:
        lines = tuple(line for line in run.trades if line.ticker == ticker)
        item = why.get(ticker)
        side = "SELL" if shares[ticker].startswith("-") else "BUY"
        trades.append(
            ExplainedTrade(
                ticker,
                side,
                shares[ticker],
                trade=0.0 if item is None else item.trade,
                reason="not explained" if item is None else item.reason,
                slopes=Slopes() if item is None else _slopes(item),
                lines=lines,
            )
        )
    return tuple(sorted(trades, key=lambda trade: (-abs(trade.trade), trade.ticker)))


def _slopes(item: Explanation) -> Slopes:
    return Slopes(
        active_risk=item.active_risk,
        tax=item.tax,
        trading_cost=item.trading_cost,
        tilt=item.tilt,
        cash=item.cash,
        limits=dict(item.limits),
        bound=item.bound,
        borrow=item.borrow,
    )


def _limits(trades: Sequence[ExplainedTrade]) -> Iterator[BindingLimit]:
    prices: dict[str, list[tuple[float, str]]] = {}
    for trade in trades:
        of_trade = {
            **trade.slopes.limits,
            _CASH: trade.slopes.cash,
            _OWN: trade.slopes.bound,
        }
        for name, price in of_trade.items():
            if abs(price) > _NO_PRICE:
                prices.setdefault(name, []).append((price, trade.ticker))
    for name in sorted(prices, key=lambda one: -max(abs(price) for price, _ in prices[one])):
        values = [price for price, _ in prices[name]]
        yield BindingLimit(name, min(values), max(values), tuple(sorted(ticker for _, ticker in prices[name])))


def _at_bound(problem: RebalanceProblem, weights: Mapping[str, float]) -> Iterator[NameAtBound]:
    held = problem.holdings()
    for i, ticker in enumerate(problem.tickers):
        weight = weights.get(ticker, 0.0)
        step = float(problem.share_step[i] * problem.prices[i]) / problem.nav
        if weight > _AT_BOUND and weight >= problem.upper[i] - max(step, _AT_BOUND):
            yield NameAtBound(ticker, weight, f"greatest weight {problem.upper[i]:.4%}")
        elif problem.lower[i] > _AT_BOUND and weight <= problem.lower[i] + max(step, _AT_BOUND):
            yield NameAtBound(ticker, weight, f"least weight {problem.lower[i]:.4%}")
        elif held[i] > _AT_BOUND and not problem.can_sell[i]:
            yield NameAtBound(ticker, weight, "may not be sold")


def _restrictions(snapshot: Snapshot, params: StrategyParams, ticker: str | None) -> Iterator[str]:
    for tickers, words in (
        (params.no_buy, "may not be bought"),
        (params.no_sell, "may not be sold"),
        (params.never_hold, "is never held"),
    ):
        for restricted in tickers:
            if ticker in {None, restricted}:
                yield f"{restricted} {words}"
    barred = set(params.never_hold_sub_industries)
    for one in snapshot.universe:
        if one.sub_industry in barred and ticker in {None, one.ticker}:
            yield f"{one.ticker} is never held ({one.sub_industry})"
    for missing in snapshot.missing_prices():
        if ticker in {None, missing}:
            yield f"{missing} has no price of the day and is not traded"
