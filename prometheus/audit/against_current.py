"""A run's day rebuilt from today's tables: which inputs are others now, and what they would have traded."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from prometheus.audit.recorded_run import RecordedRun, load_recorded_run
from prometheus.audit.replay import decide
from prometheus.db.database import Database
from prometheus.db.repositories import accounts as account_rows
from prometheus.db.repositories import market_data
from prometheus.db.repositories.runs import day_of_run
from prometheus.db.repositories.strategies import latest_strategy
from prometheus.decision.build_snapshot import AccountInputs, build_snapshot
from prometheus.decision.locks import day_locks
from prometheus.decision.snapshot import Snapshot
from prometheus.domain.books import Books
from prometheus.domain.rebalancing import kind_of_day
from prometheus.domain.securities import CorporateAction
from prometheus.domain.strategy import StrategyParams, merge_tag_overrides
from prometheus.foundation.canonical import JsonObject
from prometheus.foundation.errors import RequestError
from prometheus.pipeline.shared_inputs import SharedInputs

_SETTINGS: Final = ("tags", "rates", "lot_method", "fractional_shares", "base_currency", "tax_regime", "benchmark_id")
_NAME_FIELDS: Final = ("price", "price_date", "sector", "sub_industry", "group")
#: Weights are stored with twelve decimals; less is no revision.
_SAME_WEIGHT: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that was one thing and is another now, both as text; empty where there is none."""

    kind: str
    subject: str
    recorded: str
    today: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What today's tables would change.

    Attributes:
        inputs: Inputs that differ.
        trades: Names whose trade would differ: signed shares as recorded, and as decided from today's inputs.
        status: Status of the answer from today's inputs.
        weight_difference: Largest difference of a target weight, fraction of NAV.
    """

    inputs: tuple[Difference, ...]
    trades: tuple[Difference, ...]
    status: str
    weight_difference: float

    def input_lines(self) -> Iterator[str]:
        """Yield a line for each input that differs."""
        for one in self.inputs:
            yield f"{one.kind} {one.subject}: {one.recorded or 'none'} -> {one.today or 'none'}"

    def trade_lines(self) -> Iterator[str]:
        """Yield a line for each asset whose trade would differ."""
        for one in self.trades:
            yield f"{one.subject}: {_trade_words(one.recorded)} recorded, {_trade_words(one.today)} from today's inputs"

    def to_json(self) -> JsonObject:
        """Return JSON types."""
        return asdict(self)


def compare_with_today(database: Database, account_id: str, run_seq: int) -> Comparison:
    """Rebuild a run's snapshot from today's tables and decide it again; nothing is written.

    Prices, securities, benchmark, risk model, borrow rates, settings and parameters are today's. Lots, cash and recent
    trades are those of the record: they are what the account held on that day.

    Args:
        database: The database.
        account_id: The account.
        run_seq: Number of the run.

    Raises:
        RequestError: There is no such run, or today's tables have no benchmark or risk model for its day any more.
        PhaseHeldError: Today's tables could not make a snapshot of the day at all.
    """
    run = load_recorded_run(database, account_id, run_seq)
    recorded = run.snapshot
    shared = SharedInputs(database)
    today, params, actions, arrays = _rebuilt(database, run, recorded, shared)
    inputs = (
        *_setting_differences(recorded, today),
        *_name_differences(recorded, today),
        *_benchmark_differences(recorded, today, arrays),
        *_risk_differences(recorded, today),
        *_action_differences(recorded, actions),
        *_parameter_differences(run.record.document("params_snapshot"), params.as_dict()),
    )
    rebuilt = replace(run, record=replace(run.record, snapshot=today.to_json(), params_snapshot=params.as_dict()))
    result = decide(rebuilt, arrays).solution
    before, after = run.result.target_weights, result.result.target_weights
    return Comparison(
        inputs=inputs,
        trades=tuple(_trade_differences(run.result.shares, result.result.shares)),
        status=result.status.value,
        weight_difference=max(
            (abs(before.get(name, 0.0) - after.get(name, 0.0)) for name in {*before, *after}), default=0.0
        ),
    )


class _Arrays:
    """The database's matrices, and benchmark weights of today that no run has stored."""

    def __init__(self, shared: SharedInputs, address: bytes, weights: NDArray[Any]) -> None:
        self._shared, self._address, self._weights = shared, address, weights

    def array(self, address: bytes) -> NDArray[Any]:
        return self._weights if address == self._address else self._shared.array(address)


def _rebuilt(
    database: Database, run: RecordedRun, recorded: Snapshot, shared: SharedInputs
) -> tuple[Snapshot, StrategyParams, tuple[CorporateAction, ...], _Arrays]:
    as_of = recorded.as_of
    with database.transaction() as connection:
        market_data.read_one_state(connection)
        account = account_rows.accounts_of(connection, account_ids=[recorded.account_id])[0]
        strategy = latest_strategy(connection, account.strategy_id)
        day_before = day_of_run(connection, recorded.account_id, run.key.run_seq - 1)
        actions: tuple[CorporateAction, ...] = ()
        if day_before is not None:
            actions = market_data.corporate_actions(connection, after=day_before, through=as_of)
    day = shared.day(as_of)
    benchmark = shared.benchmark(account.benchmark_id, as_of)
    if strategy is None or benchmark is None or day.risk_model is None:
        absent = "strategy" if strategy is None else "benchmark" if benchmark is None else "risk model"
        raise RequestError(f"Today's tables have no {absent} for {account.account_id} on {as_of}.", code="NO_DATA")
    params, unmatched = merge_tag_overrides(
        StrategyParams.from_dict(strategy.params), strategy.tag_overrides, account.tags
    )
    books = Books(recorded.lots, recorded.cash, recorded.shorts)
    held = sorted(books.tickers())
    with database.transaction() as connection:
        older = market_data.last_prices_of(connection, as_of, [name for name in held if name not in day.prices])
    weights = shared.weights(benchmark)
    built = build_snapshot(
        AccountInputs(
            account=account,
            books=books,
            older_prices=older,
            strategy_version=strategy.version,
            max_missing_price_share=1.0,
            unmatched_tags=unmatched,
        ),
        day,
        benchmark,
        weights.address,
        day.risk_model,
    )
    locks = day_locks(
        built.universe,
        recorded.lots,
        recorded.recent_trades,
        as_of=as_of,
        regime=account.tax_regime,
        group_outside={ticker: security.group for ticker, security in day.securities.items()},
    )
    today = replace(
        recorded,
        **{name: getattr(built, name) for name in _FROM_TODAY},
        buy_locks=locks.buy,
        loss_sale_locks=locks.loss_sale,
        # another calendar may make another kind of the day
        rebalancing=kind_of_day(params.rebalance, recorded.last_whole, as_of),
    )
    return today, params, actions, _Arrays(shared, weights.address, weights.array)


#: What a snapshot takes from tables that may have changed since; everything else is the account's own past.
_FROM_TODAY: Final = (
    *("base_currency", "tax_regime", "lot_method", "fractional_shares", "tags", "strategy_id", "strategy_version"),
    *("rates", "benchmark_id", "benchmark_effective_date", "benchmark_weights_sha256", "risk_model_id"),
    *("risk_model_as_of", "loadings_sha256", "specific_variance_sha256", "specific_correlation_sha256"),
    *("factor_covariance", "universe", "borrow_rates"),
)


def _setting_differences(recorded: Snapshot, today: Snapshot) -> Iterator[Difference]:
    for name in _SETTINGS:
        before, after = getattr(recorded, name), getattr(today, name)
        if before != after:
            yield Difference("setting", name, _text(before), _text(after))
    for ticker in sorted({*recorded.borrow_rates, *today.borrow_rates}):
        before, after = recorded.borrow_rates.get(ticker), today.borrow_rates.get(ticker)
        if before != after:
            yield Difference("borrow rate", ticker, _text(before), _text(after))


def _name_differences(recorded: Snapshot, today: Snapshot) -> Iterator[Difference]:
    before = {name.ticker: name for name in recorded.universe}
    after = {name.ticker: name for name in today.universe}
    for ticker in sorted({*before, *after}):
        if ticker not in after:
            yield Difference("name", ticker, "in the universe", "")
        elif ticker not in before:
            yield Difference("name", ticker, "", "in the universe")
        else:
            for name in _NAME_FIELDS:
                was, now = getattr(before[ticker], name), getattr(after[ticker], name)
                if was != now:
                    yield Difference(name.replace("_", " "), ticker, _text(was), _text(now))


def _benchmark_differences(recorded: Snapshot, today: Snapshot, arrays: _Arrays) -> Iterator[Difference]:
    if recorded.benchmark_effective_date != today.benchmark_effective_date:
        yield Difference(
            "benchmark",
            "effective date",
            _text(recorded.benchmark_effective_date),
            _text(today.benchmark_effective_date),
        )
    if recorded.benchmark_weights_sha256 == today.benchmark_weights_sha256 and recorded.universe == today.universe:
        return
    before, after = _weights(recorded, arrays), _weights(today, arrays)
    for ticker in sorted({*before, *after}):
        was, now = before.get(ticker, 0.0), after.get(ticker, 0.0)
        if abs(was - now) > _SAME_WEIGHT:
            yield Difference("benchmark weight", ticker, f"{was:.8%}", f"{now:.8%}")


def _weights(snapshot: Snapshot, arrays: _Arrays) -> dict[str, float]:
    weights = arrays.array(bytes.fromhex(snapshot.benchmark_weights_sha256))
    return {
        name.ticker: float(weights[name.benchmark_index]) for name in snapshot.universe if name.benchmark_index >= 0
    }


def _risk_differences(recorded: Snapshot, today: Snapshot) -> Iterator[Difference]:
    same = (
        recorded.loadings_sha256 == today.loadings_sha256
        and recorded.specific_variance_sha256 == today.specific_variance_sha256
        and recorded.specific_correlation_sha256 == today.specific_correlation_sha256
        and np.array_equal(recorded.factor_covariance, today.factor_covariance)
    )
    if not same:
        yield Difference(
            "risk model",
            "covariance",
            f"model {recorded.risk_model_id} of {recorded.risk_model_as_of}",
            f"model {today.risk_model_id} of {today.risk_model_as_of}",
        )


def _action_differences(recorded: Snapshot, actions: tuple[CorporateAction, ...]) -> Iterator[Difference]:
    books = Books(recorded.lots, recorded.cash, recorded.shorts)
    held = books.tickers() | {action.ticker for action in recorded.corporate_actions}
    before = {(one.ticker, one.ex_date, one.action_type): one.value for one in recorded.corporate_actions}
    after = {(one.ticker, one.ex_date, one.action_type): one.value for one in actions if one.ticker in held}
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            ticker, day, kind = key
            yield Difference(
                "corporate action", f"{ticker} {kind} of {day}", _text(before.get(key)), _text(after.get(key))
            )


def _parameter_differences(recorded: JsonObject, today: JsonObject) -> Iterator[Difference]:
    # A parameter that came later than the record had its default then.
    before = StrategyParams.from_dict(recorded).as_dict()
    for name in sorted(today):
        if before[name] != today[name]:
            yield Difference("parameter", name, _text(before[name]), _text(today[name]))


def _trade_differences(recorded: Mapping[str, str], today: Mapping[str, str]) -> Iterator[Difference]:
    for ticker in sorted({*recorded, *today}):
        before, after = recorded.get(ticker, ""), today.get(ticker, "")
        if before != after:
            yield Difference("trade", ticker, before, after)


def _trade_words(shares: str) -> str:
    if not shares:
        return "no trade"
    return f"SELL {shares[1:]}" if shares.startswith("-") else f"BUY {shares}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value)) or "none"
    return str(value)
