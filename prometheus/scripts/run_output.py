"""Persisted runs as people read them: a list, a summary first, details on request."""

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, overload

import click

from prometheus.foundation.canonical import JsonObject
from prometheus.foundation.ids import run_label
from prometheus.scripts.tables import print_facts, print_table, say, short_time

if TYPE_CHECKING:
    from prometheus.db.repositories.engine_events import RecordedEvent
    from prometheus.db.repositories.runs import RunSummary
    from prometheus.domain.run_record import StoredRun, TradeRow

#: Securities that a summary shows; the rest with --details.
_SECURITIES_SHOWN: Final = 10
#: Flags of one kind that a summary shows.
_FLAGS_SHOWN: Final = 3


def summary_row(run: "RunSummary") -> JsonObject:
    """Return a run's line of a list, JSON types; risk in percent a year, turnover in percent of NAV."""
    # Of an archived run the columns are left.
    settled = run.settled
    return {
        "as_of": run.as_of_date.isoformat(),
        "account": run.account_id,
        "run": run_label(run.run_seq),
        "status": run.status,
        "te_before_pct": _percent(run.tracking_error_before),
        "te_after_pct": _percent(run.tracking_error_after),
        "turnover_pct": _percent(run.turnover),
        "gain_short": None if settled is None else f"{settled.gain_short:f}",
        "gain_long": None if settled is None else f"{settled.gain_long:f}",
        "gain_ca": None if settled is None else f"{settled.gain_other:f}",
        "tax": None if settled is None else f"{settled.tax:f}",
        "trades": None if settled is None else settled.trades,
        "gap_bps": _rounded(run.gap_bps, 4),
        "gap_rounded_bps": _rounded(run.rounded_gap_bps, 3),
        "flags": len(run.flags),
    }


def print_summaries(rows: Sequence[JsonObject]) -> None:
    """Print run summaries as a table."""
    header = (
        "as_of", "account", "run", "status", "te_before_pct", "te_after_pct", "turnover_pct", "gain_short", "gain_long",
        "gain_ca", "tax", "trades", "gap_bps", "gap_rounded_bps", "flags",
    )  # fmt: skip
    print_table(
        header,
        [[row[name] for name in header] for row in rows],
        right=header[4:],
        optional=(
            "gap_rounded_bps", "gap_bps", "te_before_pct", "gain_ca", "gain_short", "gain_long", "turnover_pct", "tax",
        ),
        elsewhere="a wider terminal, a pipe and --format json have them",
    )  # fmt: skip


def print_run(record: "StoredRun", trades: Sequence["TradeRow"], *, details: bool) -> None:
    """Print a run: facts and its largest trades by ticker, or with ``details`` every trade by lot, why, every flag."""
    from prometheus.decision.stored_result import stored_explanations
    from prometheus.scripts.explanations import print_explanations

    print_facts(_facts(record, details=details))
    click.echo()
    if not trades:
        click.echo("No trades.")
        return
    if details:
        _print_trades(trades)
        print_explanations(stored_explanations(record.document("result")) or ())
        return
    _print_securities(trades)
    label = f"{record.account_id} {run_label(record.run_seq)}"
    say(f"Every trade by lot, and why: 'prometheus runs show {label} --details'.")


def print_events(events: Sequence["RecordedEvent"]) -> None:
    """Print the history of a run."""
    header = ("recorded_at", "kind", "from_phase", "to_phase", "lease_token", "owner_instance", "details")
    print_table(
        header,
        [
            (
                short_time(event.recorded_at),
                *(getattr(event, name) or None for name in header[1:-1]),
                _event_text(event.details),
            )
            for event in events
        ],
        right=("lease_token",),
        optional=("owner_instance", "lease_token", "from_phase"),
        below=("details",),
        elsewhere="--format json has them",
    )


def _event_text(details: JsonObject) -> str | None:
    """Return the text of an event: code and sentence, then the rest."""
    if not details:
        return None
    rest = {name: value for name, value in details.items() if name not in {"code", "message"}}
    told = ": ".join(str(details[name]) for name in ("code", "message") if details.get(name))
    return " ".join(part for part in (told, json.dumps(rest) if rest else "") if part)


def _facts(record: "StoredRun", *, details: bool) -> list[tuple[str, Any]]:
    from prometheus.decision.code_version import told_apart
    from prometheus.decision.rebalancing_words import rebalancing_words
    from prometheus.decision.snapshot import opened
    from prometheus.decision.stored_result import read_result
    from prometheus.domain.run_record import SettledTotals

    result = read_result(record.document("result"))
    rebalancing = rebalancing_words(result.rebalancing)
    same = told_apart(record.code_version) is None
    certificate, settled = result.certificate, SettledTotals.from_json(record.document("result")["settlement"])
    snapshot = opened(record.document("snapshot"))
    currency = snapshot["base_currency"]
    facts: list[tuple[str, Any]] = [
        ("account", f"{record.account_id} ({snapshot['tax_regime']}, lots by {snapshot['lot_method']})"),
        ("run", f"{run_label(record.run_seq)} of {record.as_of_date}, {record.status}"),
        ("net asset value", f"{_money(record.document('result')['nav'])} {currency}"),
        ("strategy", f"{record.strategy_id} version {record.strategy_version}; tags: {_words(snapshot['tags'])}"),
        (
            "benchmark",
            (
                f"{snapshot['benchmark']['id']}, constituents of {snapshot['benchmark']['effective_date']}; "
                f"risk model of {snapshot['risk_model']['as_of']}"
            ),
        ),
        *([("rebalancing", rebalancing)] if rebalancing else []),
        (
            "tracking error",
            f"{_percent(result.tracking_error_before)} % before, {_percent(result.tracking_error_after)} % after",
        ),
        *_risk_parts(result.tracking_error_split),
        ("turnover", f"{_percent(result.turnover)} % of NAV, one way"),
        (
            "realised gains",
            (
                f"short-term {_money(settled.gain_short)}, "
                f"long-term {_money(settled.gain_long)}, "
                f"without term {_money(settled.gain_other)}, "
                f"disallowed {_money(settled.disallowed_loss)}"
            ),
        ),
        ("tax", f"{_money(settled.tax)} {currency} (negative: losses that reduce other tax)"),
        ("cash after", f"{_money(settled.cash_after)} {currency}, estimated costs {_money(settled.cost)}"),
        (
            "wash-sale locks",
            f"{len(snapshot['buy_locks'])} securities not to buy, {len(snapshot['loss_sale_locks'])} lots not to sell",
        ),
        ("solver", f"{record.solver} {record.solver_status}, {record.iterations} iterations"),
        ("decided by", f"code {record.code_version}{'' if same else ' (other code than this)'}"),
    ]
    if certificate is not None:
        facts.append(
            (
                "proof",
                (
                    f"within {_rounded(certificate.gap_bps, 4):.4f} bps of NAV of the best possible, "
                    f"{_rounded(certificate.rounded_gap_bps, 3):.3f} after rounding to shares"
                ),
            )
        )
    facts.extend(("attempt failed", f"{failure.code}: {failure.message}") for failure in result.failures)
    facts.extend(("flag", told) for told in _flags(record.flags, details=details))
    return facts


def _flags(flags: Iterable[Sequence[str]], *, details: bool) -> list[str]:
    """Return the flags; of each kind a few, and how many more."""
    by_code: dict[str, list[str]] = {}
    for code, message in flags:
        by_code.setdefault(code, []).append(message)
    told = []
    for code, messages in by_code.items():
        shown = messages if details else messages[:_FLAGS_SHOWN]
        told += [f"{code}: {message}" for message in shown]
        if len(shown) < len(messages):
            told.append(f"{code}: and {len(messages) - len(shown):,} more; --details shows them")
    return told


def _print_securities(trades: Sequence["TradeRow"]) -> None:
    """Print the trades by ticker, the largest first."""
    lines_of: dict[tuple[str, str], list[TradeRow]] = {}
    for trade in trades:
        lines_of.setdefault((trade.ticker, trade.side), []).append(trade)

    def total(lines: Sequence["TradeRow"], column: str) -> Decimal | None:
        known = [value for line in lines if (value := getattr(line, column)) is not None]
        return sum(known, Decimal(0)) if known else None

    def amount(lines: Sequence["TradeRow"]) -> Decimal:
        return total(lines, "amount") or Decimal(0)

    largest = sorted(lines_of.items(), key=lambda item: (-abs(amount(item[1])), item[0]))
    header = ("side", "ticker", "lots", "quantity", "amount", "gain", "tax")
    print_table(
        header,
        [
            (
                side,
                ticker,
                len(lines),
                f"{(total(lines, 'quantity') or Decimal(0)).normalize():f}",
                *(_money(total(lines, column)) for column in ("amount", "realized_gain", "tax")),
            )
            for (ticker, side), lines in largest[:_SECURITIES_SHOWN]
        ],
        title=f"Trades: {len(trades)} in {len(lines_of)} securities"
        + (f", the {_SECURITIES_SHOWN} largest" if len(lines_of) > _SECURITIES_SHOWN else ""),
        right=header[2:],
    )


def _print_trades(trades: Sequence["TradeRow"]) -> None:
    header = ("no", "side", "ticker", "lot", "acquired", "quantity", "price", "amount", "basis", "gain", "term", "tax")
    print_table(
        header,
        [
            [
                number,
                trade.side,
                trade.ticker,
                trade.lot_id,
                trade.acquired_on,
                f"{trade.quantity.normalize():f}",
                f"{trade.price.normalize():f}",
                _money(trade.amount),
                _money(trade.basis),
                _money(trade.realized_gain),
                trade.term,
                _money(trade.tax),
            ]
            for number, trade in enumerate(trades, start=1)
        ],
        right=("no", "quantity", "price", "amount", "basis", "gain", "tax"),
        optional=("no", "basis", "price", "acquired", "tax"),
        elsewhere="a wider terminal, a pipe and --format json have them",
    )


def _risk_parts(split: Mapping[str, float] | None) -> list[tuple[str, str]]:
    """Return the line on the sources of the predicted tracking error; none for runs recorded before it was stored."""
    if split is None:
        return []
    return [("of it", ", ".join(f"{name.replace('_', ' ')} {_percent(part)} %" for name, part in split.items()))]


@overload
def _percent(fraction: float) -> float: ...
@overload
def _percent(fraction: None) -> None: ...
def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 3)


def _rounded(value: float | None, digits: int) -> float | None:
    # Adding zero turns a negative zero into a plain one.
    return None if value is None else round(value, digits) + 0.0


def _money(amount: Any) -> str:
    return "" if amount is None else f"{Decimal(amount):,.2f}"


def _words(items: list[str]) -> str:
    return ", ".join(items) or "none"
