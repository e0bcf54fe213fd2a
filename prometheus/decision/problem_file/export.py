"""A persisted run as a problem file: everything its solve read, from the record alone."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from prometheus.decision.locks import buy_lock_record
from prometheus.decision.partial_day import problem_of_day
from prometheus.decision.problem_file.reading import read_problem
from prometheus.decision.problem_from_snapshot import Matrices, build_problem, universe_correlation
from prometheus.decision.snapshot import Snapshot, UniverseName
from prometheus.decision.wash_locks import buy_locks
from prometheus.domain.lots import RecentTrade, ShortPosition, Side
from prometheus.domain.money import plain_text
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.canonical import JsonObject
from prometheus.foundation.errors import PrometheusError
from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem, SpecificBlock


def export_problem(
    snapshot: Snapshot,
    params: JsonObject,
    matrices: Matrices,
    previous_targets: Mapping[str, float] | None,
) -> str:
    """Return the problem file of a run; read back, it gives the optimizer the same problem bit for bit.

    Args:
        snapshot: The run's frozen inputs.
        params: The run's merged strategy parameters.
        matrices: What the snapshot names.
        previous_targets: Target weights of the account's run before; None on its first day.

    Raises:
        PrometheusError: The file, read back, would state another problem (EXPORT_DIFFERS).

    Source: docs/specs/problem_file.md.
    """
    problem = build_problem(snapshot, StrategyParams.from_dict(params), matrices)
    document = {
        "description": f"{snapshot.account_id} on {snapshot.as_of}",
        "version": 1,
        "account_id": snapshot.account_id,
        "as_of": snapshot.as_of.isoformat(),
        "base_currency": snapshot.base_currency,
        "nav": plain_text(snapshot.nav()),
        "cash": _money(snapshot.cash),
        **({"last_whole": snapshot.last_whole.isoformat()} if snapshot.last_whole else {}),
        **({"realized_this_year": _money(snapshot.realized_this_year)} if snapshot.realized_this_year else {}),
        "fractional_shares": snapshot.fractional_shares,
        **({"sheltered": True} if snapshot.sheltered else {}),
        "lot_method": snapshot.lot_method.value,
        "tax_regime": snapshot.tax_regime.value,
        "tax_rates": {
            "st": plain_text(snapshot.rates.st),
            "lt": plain_text(snapshot.rates.lt),
            "niit": plain_text(snapshot.rates.niit),
        },
        "params": dict(params),
        **({} if previous_targets is None else {"previous_targets": dict(previous_targets)}),
        "factor_covariance": [list(row) for row in snapshot.factor_covariance],
        **_blocks(snapshot, matrices),
        "assets": [_asset(snapshot, matrices, problem, i) for i in range(len(snapshot.universe))],
        "lots": [
            {
                "lot_id": lot.lot_id,
                "ticker": lot.ticker,
                "acquired_on": lot.acquired_on.isoformat(),
                "quantity": plain_text(lot.quantity),
                "adjusted_basis": _money(lot.adjusted_basis),
                **({} if lot.cost_basis == lot.adjusted_basis else {"cost_basis": _money(lot.cost_basis)}),
                **_unless(lot.acquired_on, holding_period_start=lot.holding_period_start),
            }
            for lot in snapshot.lots
        ],
        **({"shorts": [_short(short) for short in snapshot.shorts]} if snapshot.shorts else {}),
        "recent_trades": [_trade(trade, group) for trade, group in _with_groups(snapshot)],
    }
    text = _written(document)
    back = read_problem(text.encode(), f"the file of {snapshot.account_id} on {snapshot.as_of}")
    day = problem_of_day(problem, snapshot)
    differing = differing_fields(day.problem, back.day_problem().problem)
    if differing:
        raise PrometheusError(
            f"The run of {snapshot.account_id} on {snapshot.as_of} cannot be written as a problem file: read back, it "
            f"differs in {', '.join(differing)}.",
            code="EXPORT_DIFFERS",
        )
    return text


def _blocks(snapshot: Snapshot, matrices: Matrices) -> JsonObject:
    """Return the correlations between names of the universe, nothing where there are none."""
    blocks = [block for whole in matrices.specific_correlation if (block := universe_correlation(snapshot, whole))]
    if not blocks:
        return {}
    return {
        "specific_correlation_blocks": [
            {
                "tickers": [snapshot.universe[i].ticker for i in block.names],
                "matrix": block.correlation.astype(float).tolist(),
            }
            for block in blocks
        ]
    }


def _asset(snapshot: Snapshot, matrices: Matrices, problem: RebalanceProblem, position: int) -> JsonObject:
    name = snapshot.universe[position]
    return {
        "ticker": name.ticker,
        "price": plain_text(name.price),
        **_unless(snapshot.as_of, price_date=name.price_date),
        # As stored, not as scaled by the problem: scaling twice would change the last bit.
        "benchmark_weight": _stored_weight(name, matrices),
        "sector": name.sector,
        "sub_industry": name.sub_industry,
        **({} if name.group == name.ticker else {"group": name.group}),
        "loadings": problem.loadings[position].tolist(),
        "specific_variance": float(problem.specific_variance[position]),
        **(
            {"borrow_rate": plain_text(snapshot.borrow_rates[name.ticker])}
            if name.ticker in snapshot.borrow_rates
            else {}
        ),
    }


def _stored_weight(name: UniverseName, matrices: Matrices) -> float:
    return float(matrices.benchmark_weights[name.benchmark_index]) if name.benchmark_index >= 0 else 0.0


def _short(short: ShortPosition) -> JsonObject:
    return {
        "lot_id": short.lot_id,
        "ticker": short.ticker,
        "sold_on": short.sold_on.isoformat(),
        "quantity": plain_text(short.quantity),
        "proceeds": _money(short.proceeds),
        **({"was_held": True} if short.was_held else {}),
        **({"was_held_long": True} if short.was_held_long else {}),
    }


def _trade(trade: RecentTrade, group: str | None) -> JsonObject:
    row: JsonObject = {
        "ticker": trade.ticker,
        "group": group,
        "date": trade.trade_date.isoformat(),
        "side": trade.side.value,
        "quantity": plain_text(trade.quantity),
        "realized_gain": _money(trade.realized_gain) if trade.side is Side.SELL else None,
        "lot_id": trade.lot_id,
        "unreplaced": None if trade.unreplaced is None else plain_text(trade.unreplaced),
        "washed_quantity": plain_text(trade.washed_quantity) if trade.washed_quantity else None,
        "disallowed_loss": _money(trade.disallowed_loss) if trade.disallowed_loss else None,
        "acquired_on": None if trade.acquired_on is None else trade.acquired_on.isoformat(),
        "holding_period_start": None if trade.holding_period_start is None else trade.holding_period_start.isoformat(),
        "execution_id": trade.execution_id,
        "account": trade.account or None,
        "denied_for_good": _money(trade.denied_for_good) if trade.denied_for_good else None,
    }
    return {name: value for name, value in row.items() if value is not None}


def _with_groups(snapshot: Snapshot) -> list[tuple[RecentTrade, str | None]]:
    """Return the recent trades, each with its group where the name has left the universe and its lock tells the group.

    The record keeps groups of the universe only; a name sold out of it still locks its group, and that lock is
    recorded with its cause.
    """
    inside = {name.ticker for name in snapshot.universe}
    purchases: list[tuple[RecentTrade, str | None]] = []
    for trade in snapshot.recent_trades:
        group = None
        if trade.ticker not in inside:
            for lock in snapshot.buy_locks:
                alone = buy_locks([trade], snapshot.as_of, {trade.ticker: lock.subject})
                if lock.subject in alone and buy_lock_record(alone[lock.subject]) == lock:
                    group = lock.subject
        purchases.append((trade, group))
    return purchases


def _unless(usual: date, **dates: date) -> dict[str, str]:
    return {name: day.isoformat() for name, day in dates.items() if day != usual}


def _money(amount: Decimal) -> str:
    """Return an amount with the zeros of its cents: the words of a lock repeat it as it stands."""
    return format(amount, "f")


def _written(document: JsonObject) -> str:
    """Return JSON with a line for each entry, and for each element of a list: a file that can be read and compared."""
    lines = [
        f"  {json.dumps(name)}: "
        + (
            "[\n    " + ",\n    ".join(_compact(item) for item in value) + "\n  ]"
            if isinstance(value, list) and value
            else _compact(value)
        )
        for name, value in document.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def differing_fields(one: RebalanceProblem, other: RebalanceProblem) -> tuple[str, ...]:
    """Return the names of the fields in which two problems differ, in the order of the class; none where equal."""
    return tuple(
        field.name
        for field in fields(RebalanceProblem)
        if not _same(getattr(one, field.name), getattr(other, field.name))
    )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, SpecificBlock):
        return _same(one.names, other.names) and _same(one.covariance, other.covariance)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(_same(*pair) for pair in zip(one, other, strict=True))
    return np.array_equal(one, other)
