"""Lots and tax reports as tables, CSV or JSON; every one of them says that it is no advice."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import date
from decimal import Decimal
from typing import Any, Final

import click

from prometheus.accounting.household import HouseholdBooks
from prometheus.accounting.lot_report import LotLine
from prometheus.accounting.tax_forms import NOT_ADVICE, Form8949Line, Schedule3Line
from prometheus.accounting.tax_lines import Replacement
from prometheus.accounting.tax_report import TaxReport
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.entries import EntryFinding
from prometheus.domain.money import plain_text, to_cents
from prometheus.foundation.csv_text import csv_text
from prometheus.scripts.tables import print_table, say

_NUMBERS: Final = frozenset(
    {"quantity", "basis", "adjusted_basis", "proceeds", "gain", "disallowed_loss", "recognized_gain", "adjustment"}
    | {"number", "adjusted_cost_base", "outlays", "denied_loss", "added_to_cost", "denied_for_good"}
)
_LOT_COLUMNS: Final = (
    "account", "ticker", "lot_id", "acquired_on", "holding_period_start", "quantity", "basis", "adjusted_basis",
    "sold_on", "proceeds", "gain", "disallowed_loss", "recognized_gain", "term", "provisional_until",
    "replacement_lots",
)  # fmt: skip
#: What a narrow terminal leaves out, the first to go first.
_OPTIONAL: Final = (
    "provisional_until", "holding_period_start", "adjusted_basis", "proceeds", "basis", "term", "disallowed_loss",
    "gain", "adjusted_cost_base", "outlays", "acquired_on", "account",
)  # fmt: skip
Row = Mapping[str, Any]


def show_lots(books: HouseholdBooks, lines: Sequence[LotLine], findings: Sequence[EntryFinding], output: str) -> None:
    """Print every lot of a household with its sale, and what was disallowed and provisional."""
    rows = [_lot_row(line) for line in lines]
    sales = [line.sale for line in lines if line.sale is not None]
    totals: dict[str, Any] = {
        "realized_gain": sum((sale.realized_gain for sale in sales), Decimal(0)),
        "disallowed_loss": sum((sale.disallowed_loss for sale in sales), Decimal(0)),
        "disallowed_for_good": sum((sale.disallowed_for_good for sale in sales), Decimal(0)),
        "recognized_gain": sum((sale.recognized_gain for sale in sales), Decimal(0)),
        "provisional_sales": sum(sale.provisional_until is not None for sale in sales),
    }
    if output == "json":
        left_out = [asdict(finding) for finding in findings]
        _print_json({"notice": NOT_ADVICE, "as_of": books.as_of, "lots": rows, "totals": totals, "left_out": left_out})
    elif output == "csv":
        _print_csv(rows, _LOT_COLUMNS)
    else:
        _print_rows(rows, title=f"Lots as of {books.as_of}")
        say(
            f"realised {_money(totals['realized_gain'])}, disallowed {_money(totals['disallowed_loss'])} (for good "
            f"{_money(totals['disallowed_for_good'])}), recognised {_money(totals['recognized_gain'])}; "
            f"{totals['provisional_sales']} sales provisional"
        )
        say(NOT_ADVICE)


def show_tax_report(account_id: str, report: TaxReport, output: str) -> None:
    """Print a tax report: the form's lines, then the totals of each year."""
    form: Sequence[Form8949Line | Schedule3Line] = report.form_8949 or report.schedule_3
    american = report.regime is TaxRegime.US
    name, kind = ("Form 8949", Form8949Line) if american else ("Schedule 3, section 3", Schedule3Line)
    # A number of shares is no money, which always has its cents.
    rows = [
        {key: plain_text(value) if key == "number" else _cell(value) for key, value in asdict(line).items()}
        for line in form
    ]
    if output == "json":
        _print_json(
            {
                "notice": NOT_ADVICE,
                "account_id": account_id,
                "form": name,
                "from": report.first,
                "to": report.last,
                "lines": rows,
                "years": [asdict(year) for year in report.years] + [asdict(gains) for gains in report.taxable_gains],
                "disallowed_loss": report.disallowed_loss,
                "disallowed_for_good": report.disallowed_for_good,
                "provisional_lines": report.provisional,
                "provisional_loss": report.provisional_loss,
                "provisional_until": report.provisional_until,
            }
        )
        return
    if output == "csv":
        _print_csv(rows, [field.name for field in fields(kind)])
        return
    _print_rows(rows, title=f"{name}, {account_id}, sales from {report.first} to {report.last}")
    for year in report.years:
        say(
            f"{year.year}: short-term {_money(year.short_term)}, long-term {_money(year.long_term)}; carried in "
            f"{_money(year.carried_in.short_term)} short, {_money(year.carried_in.long_term)} long; net "
            f"{_money(year.total)}; against ordinary income {_money(year.against_income)}; carried on "
            f"{_money(year.carried_out.short_term)} short, {_money(year.carried_out.long_term)} long"
        )
    for gains in report.taxable_gains:
        say(
            f"{gains.year}: line 13199 {_money(gains.proceeds)}, line 13200 {_money(gains.gain)}, taxable at "
            f"{plain_text(gains.inclusion_rate)}: {_money(gains.taxable_gain)}"
        )
    open_lines = f"{report.provisional} lines provisional"
    if report.provisional_until is not None:
        # A year that is netted above may still change after its end: say how much of it, and how long.
        open_lines += f" (losses of {_money(report.provisional_loss)}, the last until {report.provisional_until})"
    gone = f" (for good {_money(report.disallowed_for_good)})" if report.disallowed_for_good else ""
    say(f"disallowed {_money(report.disallowed_loss)}{gone}; {open_lines}")
    say(NOT_ADVICE)


def _lot_row(line: LotLine) -> dict[str, Any]:
    sale = line.sale
    return {
        "account": line.account,
        "ticker": line.ticker,
        "lot_id": line.lot_id,
        "acquired_on": line.acquired_on.isoformat(),
        "holding_period_start": line.holding_period_start.isoformat(),
        "quantity": plain_text(line.quantity),
        "basis": _money(line.cost_basis),
        "adjusted_basis": _money(line.adjusted_basis),
        "sold_on": None if sale is None else sale.sold_on.isoformat(),
        "proceeds": None if sale is None else _money(sale.proceeds),
        "gain": None if sale is None else _money(sale.realized_gain),
        "disallowed_loss": None if sale is None else _money(sale.disallowed_loss),
        "recognized_gain": None if sale is None else _money(sale.recognized_gain),
        "term": None if sale is None else sale.term.value,
        "provisional_until": None
        if sale is None or sale.provisional_until is None
        else sale.provisional_until.isoformat(),
        "replacement_lots": "" if sale is None else "; ".join(_replacement(found) for found in sale.replacements),
    }


def _replacement(found: Replacement) -> str:
    lot = f"{found.account} {found.lot_id}".strip() or "none"
    suffix = " for good" if found.permanent else ""
    return f"{lot}: {plain_text(found.shares)} sh, {_money(found.amount)}{suffix}"


def _money(amount: Decimal | int) -> str:
    return format(to_cents(Decimal(amount)), "f")


def _cell(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain_text(value) if value != to_cents(value) else _money(value)
    return value.isoformat() if isinstance(value, date) else value


def _plain(value: Any) -> Any:
    """Return a value of JSON; decimals are text, because a JSON number would be read as a float."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return _cell(value)


def _print_json(value: dict[str, Any]) -> None:
    click.echo(json.dumps(_plain(value), indent=2))


def _print_csv(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print rows as CSV, the header also where there is none; the notice is a column, not a comment to stumble over."""
    header = [*columns, "notice"]
    click.echo(csv_text(header, ({**row, "notice": NOT_ADVICE} for row in rows)), nl=False)


def _print_rows(rows: Sequence[Row], *, title: str) -> None:
    if not rows:
        say(f"{title}: none")
        return
    header = list(rows[0])
    print_table(
        header,
        [list(row.values()) for row in rows],
        title=title,
        right=[name for name in header if name in _NUMBERS],
        optional=_OPTIONAL,
        below=("replacement_lots",),
        elsewhere="a wider terminal, a pipe, --format csv and json have them",
    )
