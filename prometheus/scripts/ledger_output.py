"""Lots and tax reports as tables, CSV, JSON or TXF; every one of them says that it is no advice."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from prometheus.domain.money import plain_text, to_cents
from prometheus.foundation.errors import RequestError
from prometheus.foundation.files import csv_text
from prometheus.ledger.files.book_file import FileBooks
from prometheus.ledger.reports.amounts import NOT_ADVICE, money_text
from prometheus.ledger.reports.form_rows import form_rows
from prometheus.ledger.reports.lines import Replacement
from prometheus.ledger.reports.lot_lines import LotLine, lot_lines, lot_totals
from prometheus.ledger.reports.request import HouseholdReport
from prometheus.ledger.reports.tables import (
    Table,
    comparison_table,
    income_short_table,
    report_json,
    report_tables,
    schedule_3_totals,
    schedule_d_table,
    shown_cells,
    table_csv,
)
from prometheus.ledger.reports.txf import txf_file
from prometheus.scripts.tables import print_table, say

if TYPE_CHECKING:
    from prometheus.domain.accounts import TaxRegime

_NUMBERS: Final = frozenset(
    {"quantity", "basis", "adjusted_basis", "proceeds", "gain", "disallowed_loss", "recognized_gain"}
)
_LOT_COLUMNS: Final = (
    "account", "ticker", "lot_id", "acquired_on", "holding_period_start", "quantity", "basis", "adjusted_basis",
    "sold_on", "proceeds", "gain", "disallowed_loss", "recognized_gain", "term", "provisional_until",
    "replacement_lots",
)  # fmt: skip
#: What a narrow terminal leaves out, the first to go first.
_OPTIONAL: Final = (
    "provisional_until", "holding_period_start", "adjusted_basis", "proceeds", "basis", "term", "disallowed_loss",
    "gain", "acquired_on", "account",
)  # fmt: skip
_OPTIONAL_IN_FORMS: Final = (
    "settled", "provisional_until", "note", "denied", "(g) adjustment", "(f) code", "(4) outlays", "(1) acquired",
    "(b) acquired", "account", "(e) basis", "(3) adjusted cost base", "effect on gain", "reason",
)  # fmt: skip
_ELSEWHERE: Final = "a wider terminal, a pipe, --format csv and json have them"
_PROGRAM: Final = "Prometheus"
Row = Mapping[str, str | None]


def show_lots(booked: FileBooks, output: Literal["table", "csv", "json"]) -> None:
    """Print every lot of a household with its sale, and what was disallowed and provisional."""
    books = booked.books
    lines = lot_lines(books)
    rows = [_lot_row(line) for line in lines]
    totals = lot_totals(lines)
    if output == "json":
        left_out = [
            {"row": one.row, "code": one.code, "message": one.message, "remedy": one.remedy} for one in booked.left_out
        ]
        document = {"notice": NOT_ADVICE, "as_of": books.as_of, "lots": rows, "totals": asdict(totals)}
        click.echo(json.dumps(_plain({**document, "left_out": left_out}), indent=2))
    elif output == "csv":
        header = [*_LOT_COLUMNS, "notice"]
        click.echo(csv_text(header, ({**row, "notice": NOT_ADVICE} for row in rows)), nl=False)
    else:
        _print_rows(rows, title=f"Lots as of {books.as_of}")
        say(
            f"realised {money_text(totals.realized_gain)}, disallowed {money_text(totals.disallowed_loss)} (for good "
            f"{money_text(totals.disallowed_for_good)}), recognised {money_text(totals.recognized_gain)}; "
            f"{totals.provisional_sales} sales provisional"
        )
        say(NOT_ADVICE)


def show_reports(
    reports: Sequence[HouseholdReport],
    regime: "TaxRegime",
    output: Literal["table", "csv", "json", "txf"],
    *,
    part: Literal["FORMS", "SCHEDULES", "COMPARISON"],
    return_name: str | None,
) -> None:
    """Print tax reports.

    Args:
        reports: One for each household.
        regime: Whose forms CSV has where there is no row.
        output: The form.
        part: Which part CSV has.
        return_name: Of TXF: the return.

    Raises:
        RequestError: TXF of several returns or years, or of a Canadian report; a comparison without a Form 1099-B.
    """
    if output == "json":
        click.echo(report_json({"reports": reports}), nl=False)
    elif output == "txf":
        _print_txf(reports, return_name)
    elif output == "csv":
        click.echo("".join(table_csv(table) for table in _csv_tables(reports, regime, part)), nl=False)
    else:
        for each in reports:
            _show_report(each)
        if not reports:
            say("Tax report: none")
        say(NOT_ADVICE)


def _show_report(each: HouseholdReport) -> None:
    report = each.report
    tables = report_tables(report)
    if not tables:
        say(f"Tax report {each.household}".rstrip() + ": none")
    for table in (*tables, *([] if each.comparison is None else [comparison_table(each.comparison)])):
        _show_table(table)
    lines = [line for filed in report.returns for line in filed.lines]
    provisional = [line for line in lines if line.provisional_until is not None]
    disallowed = sum((line.disallowed_loss for line in lines), Decimal(0))
    gone = sum((line.disallowed_for_good for line in lines), Decimal(0))
    text = f"disallowed {money_text(disallowed)}"
    text += f" (for good {money_text(gone)})" if gone else ""
    text += f"; {len(provisional)} lines provisional"
    if provisional:
        # A year that is netted above may still change after its end: say how much of it, and how long.
        loss = -sum((line.gain for line in provisional), Decimal(0))
        last = max(line.provisional_until for line in provisional if line.provisional_until is not None)
        text += f" (losses of {money_text(loss)}, the last until {last})"
    say(text)


def _csv_tables(
    reports: Sequence[HouseholdReport], regime: "TaxRegime", part: Literal["FORMS", "SCHEDULES", "COMPARISON"]
) -> list[Table]:
    if part == "FORMS":
        return [form_rows(reports, regime)]
    if part == "COMPARISON":
        compared = [comparison_table(each.comparison) for each in reports if each.comparison is not None]
        if not compared:
            raise RequestError("There is nothing to compare with; give a Form 1099-B with --form-1099b FILE.")
        return compared
    filed = [one for each in reports for one in each.report.returns]
    schedules = [schedule_d_table(one.schedules_d) for one in filed if one.schedules_d]
    totals = [schedule_3_totals(one.schedules_3) for one in filed if one.schedules_3]
    shorts = [income_short_table(one.schedules_3, one.filing.name) for one in filed]
    return [*schedules, *totals, *(table for table in shorts if table.rows)]


def _print_txf(reports: Sequence[HouseholdReport], return_name: str | None) -> None:
    filed = [
        one for each in reports for one in each.report.returns if return_name is None or one.filing.name == return_name
    ]
    if len(filed) != 1:
        names = ", ".join(one.filing.name or "the taxpayer" for each in reports for one in each.report.returns)
        raise RequestError(f"TXF is of one return; name it with --return. There are: {names or 'none'}.")
    if filed[0].schedules_3:
        raise RequestError("TXF is a format of US returns; use --format csv for a Canadian report.")
    years = [schedule.year for schedule in filed[0].schedules_d]
    if len(years) > 1:
        raise RequestError(f"TXF is of one tax year; choose one with --years. There are {years[0]} to {years[-1]}.")
    from datetime import UTC, datetime

    file = txf_file(filed[0].form_8949, program=_PROGRAM, exported_on=datetime.now(UTC).date())
    click.echo(file.text.encode(), nl=False)
    for sentence in file.by_hand:
        say(sentence, err=True)
    say(file.notice, err=True)


def _lot_row(line: LotLine) -> dict[str, str | None]:
    sale = line.sale
    return {
        "account": line.account,
        "ticker": line.ticker,
        "lot_id": line.lot_id,
        "acquired_on": line.acquired_on.isoformat(),
        "holding_period_start": line.holding_period_start.isoformat(),
        "quantity": plain_text(line.quantity),
        "basis": money_text(line.cost_basis),
        "adjusted_basis": money_text(line.adjusted_basis),
        "sold_on": None if sale is None else sale.sold_on.isoformat(),
        "proceeds": None if sale is None else money_text(sale.proceeds),
        "gain": None if sale is None else money_text(sale.realized_gain),
        "disallowed_loss": None if sale is None else money_text(sale.disallowed_loss),
        "recognized_gain": None if sale is None else money_text(sale.gain),
        "term": None if sale is None else sale.term.value,
        "provisional_until": None
        if sale is None or sale.provisional_until is None
        else sale.provisional_until.isoformat(),
        "replacement_lots": "" if sale is None else "; ".join(_replacement(part) for part in sale.replacements),
    }


def _replacement(part: Replacement) -> str:
    lot = f"{part.account} {part.lot_id}".strip() or "none"
    suffix = " for good" if part.is_permanent else ""
    return f"{lot}: {plain_text(part.shares)} sh, {money_text(part.amount)}{suffix}"


def _plain(value: Any) -> Any:
    """Return a value of JSON; decimals are text, because a JSON number would be read as a float."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Decimal):
        return money_text(to_cents(value))
    return value.isoformat() if isinstance(value, date) else value


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
        elsewhere=_ELSEWHERE,
    )


def _show_table(table: Table) -> None:
    cells, right = shown_cells(table)
    if not cells:
        say(f"{table.title}: none")
        return
    print_table(
        table.columns,
        cells,
        title=table.title,
        right=[name for name, flush in zip(table.columns, right, strict=True) if flush],
        optional=_OPTIONAL_IN_FORMS,
        below=("note", "explanation"),
        elsewhere=_ELSEWHERE,
    )
