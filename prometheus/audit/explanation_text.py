"""The explanation of a run as Markdown: words and numbers for a person."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from prometheus.audit.explanation import ExplainedTrade, RunExplanation, Slopes
from prometheus.audit.risk_view import RiskView
from prometheus.decision.snapshot import LockRecord
from prometheus.domain.lots import Side
from prometheus.domain.run_record import TradeRow

#: Slopes in the order in which they are told, and what they are called.
_SLOPES: Final[Mapping[str, str]] = {
    "active_risk": "active risk",
    "tax": "tax",
    "trading_cost": "trading cost",
    "tilt": "tilt",
    "borrow": "borrowing",
    "cash": "cash",
    "bound": "own bound",
}
_TOLD: Final = 0.005
_NAMED: Final = 8


def as_markdown(explanation: RunExplanation) -> str:
    """Return the explanation as Markdown."""
    about = "" if explanation.ticker is None else f", {explanation.ticker}"
    lines = [f"# {explanation.account_id} {explanation.run} of {explanation.as_of}{about}", ""]
    lines += [f"{explanation.status}, net asset value {Decimal(explanation.nav):,.2f} {explanation.currency}."]
    if explanation.gap_bps is not None:
        gap = f"{round(explanation.gap_bps, 4) + 0.0:.4f} bps"
        lines += [f"Solved by {explanation.solver}; proved to be within {gap} of the best answer."]
    if explanation.rebalancing:
        lines += [f"Rebalancing: {explanation.rebalancing}."]
    lines += [f"Decided by code {explanation.code}."]
    lines += [f"No certified answer: {failure}" for failure in explanation.failures]
    if explanation.ticker is not None:
        before, after = explanation.weight_before or 0.0, explanation.weight_after or 0.0
        held = f"{before:.3%} of NAV before, {after:.3%} after"
        lines += [f"{explanation.ticker}: {held}; in the benchmark {explanation.benchmark_weight or 0.0:.3%}."]
    lines += ["", "## Why these trades", "", *_trades(explanation)]
    lines += ["", "## What limits applied", "", *_limits(explanation)]
    lines += ["", "## Wash-sale locks", "", *_locks(explanation)]
    lines += ["", "## What the risk model said", "", *_risk(explanation)]
    if explanation.flags:
        lines += ["", "## Flags", "", *(f"- {code}: {message}" for code, message in explanation.flags)]
    return "\n".join(lines) + "\n"


def _trades(explanation: RunExplanation) -> Iterator[str]:
    if not explanation.trades:
        yield "Nothing was traded." if explanation.ticker is None else f"{explanation.ticker} was not traded."
    yield from (f"- {ticker} {reason}." for ticker, reason in explanation.held_back)
    for trade in explanation.trades:
        yield f"- **{_deal(trade)}**: {trade.reason}."
        yield from (f"  - {_line(line, explanation.currency)}" for line in trade.lines)
        slopes = ", ".join(_slopes(trade.slopes))
        if slopes:
            yield f"  - at the margin, bps of NAV per unit of weight bought: {slopes}"


def _deal(trade: ExplainedTrade) -> str:
    return f"{trade.side} {trade.shares.removeprefix('-')} {trade.ticker} ({trade.trade:+.3%} of NAV)"


#: Sides of lines that open a lot, and what it is called.
_OPENS: Final = {Side.BUY.value: "new lot", Side.SELL_SHORT.value: "new short position"}


def _line(line: TradeRow, currency: str) -> str:
    amount = f"{line.quantity.normalize():f} at {line.price.normalize():f}, {line.amount} {currency}"
    if line.side in _OPENS:
        return f"{_OPENS[line.side]} {line.lot_id}: {amount}"
    term = "" if line.term in {None, "NONE"} else f" {str(line.term).lower()}-term"
    gain = line.realized_gain or Decimal(0)
    word = "loss" if gain < 0 else "gain"
    washed = f", {line.disallowed_loss} of it disallowed" if line.disallowed_loss else ""
    return f"lot {line.lot_id} of {line.acquired_on}: {amount},{term} {word} of {abs(gain)}{washed}, tax {line.tax}"


def _slopes(slopes: Slopes) -> Iterator[str]:
    for name, words in _SLOPES.items():
        slope = getattr(slopes, name)
        if abs(slope) >= _TOLD:
            yield f"{words} {slope:+.2f}"
    for name, price in slopes.limits.items():
        if abs(price) >= _TOLD:
            yield f"{name} {price:+.2f}"


def _limits(explanation: RunExplanation) -> Iterator[str]:
    if not (explanation.limits or explanation.at_bound or explanation.restrictions):
        yield "None was binding."
    for limit in explanation.limits:
        low, high = limit.price_low, limit.price_high
        price = f"{low:+.2f}" if low == high else f"{low:+.2f} to {high:+.2f}"
        yield f"- {limit.name}: shadow price {price} bps of NAV per unit of weight, on {_some(limit.names)}"
        if limit.name == _SLOPES["bound"]:
            yield "  - that is a name's greatest or least weight, the edge of the lots sold, or the step at no trade"
    for bound in explanation.at_bound:
        yield f"- {bound.ticker} stands at {bound.weight:.4%}: {bound.bound}"
    for restriction in explanation.restrictions:
        yield f"- {restriction}"


def _locks(explanation: RunExplanation) -> Iterator[str]:
    if not (explanation.buy_locks or explanation.loss_sale_locks):
        yield "None."
    for lock in explanation.buy_locks:
        yield f"- {lock.subject} may not be bought{_cause(lock)}"
    for lock in explanation.loss_sale_locks:
        yield f"- lot {lock.subject} may not be sold at a loss{_cause(lock)}"


def _cause(lock: LockRecord) -> str:
    return f" through {lock.until}: {lock.cause}"


def _risk(explanation: RunExplanation) -> Iterator[str]:
    before, after = explanation.risk_before, explanation.risk_after
    yield f"By {explanation.risk_model}, annualised, against the benchmark:"
    yield ""
    yield "| | before | after |"
    yield "|---|---|---|"
    for words, name in (("tracking error", "tracking_error"), ("from factors", "factor"), ("from names", "specific")):
        yield f"| {words} | {getattr(before, name):.3%} | {getattr(after, name):.3%} |"
    for factor, _ in before.exposures:
        now = dict(after.exposures).get(factor)
        shown = "smaller than the largest five" if now is None else f"{now:+.4f}"
        yield f"| active exposure to factor {factor} | {dict(before.exposures)[factor]:+.4f} | {shown} |"
    yield ""
    yield f"Most of the active variance before: {_names(before)}."
    yield f"Most of it after: {_names(after)}."


def _names(view: RiskView) -> str:
    parts: Iterable[str] = (
        f"{name.ticker} ({name.active_weight:+.3%} active, {name.share_of_variance:.0%})" for name in view.names
    )
    return ", ".join(parts)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
