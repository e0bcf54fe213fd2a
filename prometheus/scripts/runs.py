"""``prometheus runs``: what the engine decided, account by account."""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import click

from prometheus.scripts.boundary import DATE, Group
from prometheus.scripts.export_run import command as export

if TYPE_CHECKING:
    from prometheus.db.repositories.runs import RunSummary

_BPS: Final = 1e4


@click.group("runs", cls=Group)
def command() -> None:
    """List persisted runs, show one with its trades, lots and proof, write its problem file."""


command.add_command(export)


@command.command("list")
@click.argument("account_id", required=False)
@click.option("--as-of", type=DATE, help="Only runs of this day, YYYY-MM-DD.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The newest so many.")
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_(account_id: str | None, as_of: datetime | None, limit: int, output: Literal["table", "json"]) -> None:
    """List persisted runs by day and account, of one account where given.

    \b
    Example:
      prometheus runs list ACC-001
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of
    from prometheus.db.repositories.runs import list_persisted

    with open_database(load_settings()) as database, database.transaction() as connection:
        if account_id is not None:
            accounts_of(connection, account_ids=[account_id])
        found = list_persisted(
            connection, account_id=account_id, as_of=None if as_of is None else as_of.date(), limit=limit
        )
    rows = [summary_row(run) for run in found]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
    else:
        print_summaries(rows)


@command.command()
@click.argument("account_id")
@click.argument("run")
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show(account_id: str, run: str, output: Literal["table", "json"]) -> None:
    """Show one run: what was decided, every trade by lot with gain and tax, why, the proof, and flags.

    \b
    Example:
      prometheus runs show ACC-001 RUN-001
    """
    from prometheus.audit.recorded_run import readable_run
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of
    from prometheus.db.repositories.runs import load_run
    from prometheus.foundation.ids import parse_run_label

    with open_database(load_settings()) as database, database.transaction() as connection:
        accounts_of(connection, account_ids=[account_id])
        record, trades = load_run(connection, account_id, parse_run_label(run))
    if output == "json":
        click.echo(json.dumps(readable_run(record, trades), indent=2))
    else:
        _print_run(record, trades)


@command.command()
@click.argument("account_id")
@click.argument("as_of", type=DATE)
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def history(account_id: str, as_of: datetime, output: Literal["table", "json"]) -> None:
    """Show everything that ever happened to an account's day: claims, transitions, holds, failures, resets.

    \b
    Example:
      prometheus runs history ACC-001 2018-06-01
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.engine_events import list_events
    from prometheus.db.repositories.engine_runs import list_runs
    from prometheus.foundation.canonical import to_jsonable
    from prometheus.foundation.errors import RequestError
    from prometheus.scripts.tables import print_table

    with open_database(load_settings()) as database, database.transaction() as connection:
        found = list_runs(connection, as_of=as_of.date(), account_id=account_id)
        if not found:
            raise RequestError(
                f"Account {account_id} has no engine run for {as_of:%Y-%m-%d}. See 'show_engine_runs --account "
                f"{account_id}'.",
                code="NO_RUN",
            )
        events = [to_jsonable(event) for event in list_events(connection, found[0].run_id)]
    if output == "json":
        click.echo(json.dumps(events, indent=2))
        return
    header = ("recorded_at", "kind", "from_phase", "to_phase", "lease_token", "owner_instance", "details")
    rows = [
        [json.dumps(event[name]) if name == "details" and event[name] else event[name] or None for name in header]
        for event in events
    ]
    print_table(header, rows)


def summary_row(run: "RunSummary") -> dict[str, Any]:
    """Return what a list shows of a run, JSON types; risk in percent a year, turnover in percent of NAV."""
    from prometheus.foundation.ids import run_label

    # Of an archived run the columns are left.
    result = run.result or {}
    settled = result.get("settlement", {})
    return {
        "as_of": run.as_of_date.isoformat(),
        "account": run.account_id,
        "run": run_label(run.run_seq),
        "status": run.status,
        "te_before_pct": _percent(result.get("tracking_error_before")),
        "te_after_pct": _percent(result.get("tracking_error_after")),
        "turnover_pct": _percent(result.get("turnover")),
        "gain_short": settled.get("realized_gain_short"),
        "gain_long": settled.get("realized_gain_long"),
        "gain_ca": settled.get("realized_gain_other"),
        "tax": settled.get("tax"),
        "trades": settled.get("trades"),
        "gap_bps": _rounded(run.gap_bps, 4),
        "gap_rounded_bps": _rounded(run.rounded_gap_bps, 3),
        "flags": len(run.flags),
    }


def print_summaries(rows: list[dict[str, Any]]) -> None:
    """Print run summaries as a table."""
    from prometheus.scripts.tables import print_table

    header = (
        "as_of", "account", "run", "status", "te_before_pct", "te_after_pct", "turnover_pct", "gain_short", "gain_long",
        "gain_ca", "tax", "trades", "gap_bps", "gap_rounded_bps", "flags",
    )  # fmt: skip
    print_table(header, [[row[name] for name in header] for row in rows], right=header[4:])


def _print_run(record: dict[str, Any], trades: list[dict[str, Any]]) -> None:
    from prometheus.audit.recorded_run import read_result
    from prometheus.foundation.ids import run_label
    from prometheus.pipeline.code_version import told_apart
    from prometheus.pipeline.rebalancing_words import rebalancing_words
    from prometheus.pipeline.snapshot import opened
    from prometheus.scripts.explanations import print_explanations
    from prometheus.scripts.tables import print_table

    same = told_apart(record["code_version"]) is None
    result, settled, certificate = record["result"], record["result"]["settlement"], record["result"]["certificate"]
    snapshot = opened(record["snapshot"])
    currency = snapshot["base_currency"]
    rebalancing = rebalancing_words(result.get("rebalancing"))
    facts: list[tuple[str, Any]] = [
        ("account", f"{record['account_id']} ({snapshot['tax_regime']}, lots by {snapshot['lot_method']})"),
        ("run", f"{run_label(record['run_seq'])} of {record['as_of_date']}, {record['status']}"),
        ("net asset value", f"{_money(result['nav'])} {currency}"),
        ("strategy", f"{record['strategy_id']} version {record['strategy_version']}; tags: {_words(snapshot['tags'])}"),
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
            f"{_percent(result['tracking_error_before'])} % before, {_percent(result['tracking_error_after'])} % after",
        ),
        *_risk_parts(result.get("tracking_error_split")),
        ("turnover", f"{_percent(result['turnover'])} % of NAV, one way"),
        (
            "realised gains",
            (
                f"short-term {_money(settled['realized_gain_short'])}, "
                f"long-term {_money(settled['realized_gain_long'])}, "
                f"without term {_money(settled['realized_gain_other'])}, "
                f"disallowed {_money(settled['disallowed_loss'])}"
            ),
        ),
        ("tax", f"{_money(settled['tax'])} {currency} (negative: losses that reduce other tax)"),
        ("cash after", f"{_money(settled['cash_after'])} {currency}, estimated costs {_money(settled['cost'])}"),
        (
            "wash-sale locks",
            f"{len(snapshot['buy_locks'])} names not to buy, {len(snapshot['loss_sale_locks'])} lots not to sell",
        ),
        ("solver", f"{record['solver']} {record['solver_status']}, {record['iterations']} iterations"),
        ("decided by", f"code {record['code_version']}{'' if same else ' (other code than this)'}"),
    ]
    if certificate is not None:
        facts.append(
            (
                "proof",
                (
                    f"within {_rounded(certificate['gap_bps'], 4):.4f} bps of NAV of the best possible, "
                    f"{_rounded(certificate['rounded_gap_bps'], 3):.3f} after rounding to shares"
                ),
            )
        )
    facts.extend(("attempt failed", f"{failure['code']}: {failure['message']}") for failure in result["failures"])
    facts.extend(("flag", f"{code}: {message}") for code, message in record["flags"])
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{name:<{width}}  {value}")
    click.echo()
    header = ("no", "side", "ticker", "lot", "acquired", "quantity", "price", "amount", "basis", "gain", "term", "tax")
    print_table(
        header,
        [
            [
                trade["trade_no"],
                trade["side"],
                trade["ticker"],
                trade["lot_id"],
                trade["acquired_on"],
                f"{trade['quantity'].normalize():f}",
                f"{trade['price'].normalize():f}",
                _money(trade["amount"]),
                _money(trade["basis"]),
                _money(trade["realized_gain"]),
                trade["term"],
                _money(trade["tax"]),
            ]
            for trade in trades
        ],
        right=("no", "quantity", "price", "amount", "basis", "gain", "tax"),
    )
    print_explanations(read_result(result)["explanations"] or ())


def _risk_parts(split: Mapping[str, float] | None) -> list[tuple[str, str]]:
    """Return the line on where the predicted tracking error comes from; none for runs recorded before it was kept."""
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
