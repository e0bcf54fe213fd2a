"""Reports as tables for people, as CSV and as JSON. Nothing is calculated here; every output says that it is no advice.

A table shows dates as the form of its country does. CSV and JSON have ISO dates and plain numbers; JSON has decimals as
text, because a JSON number would be read as a float.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from prometheus.domain.accounts import TaxRegime
from prometheus.domain.money import plain_text
from prometheus.foundation.files import csv_text
from prometheus.ledger.reports.amounts import NOT_ADVICE, money_text
from prometheus.ledger.reports.form_1099b import Compared, Comparison
from prometheus.ledger.reports.form_8949 import BoxTotal, Form8949Line, us_date
from prometheus.ledger.reports.lines import DispositionLine
from prometheus.ledger.reports.report import TaxReport
from prometheus.ledger.reports.schedule_3 import NetCapitalLosses, Schedule3
from prometheus.ledger.reports.schedule_d import ScheduleD

#: A cell. Decimals are money; a number of shares comes as text.
Cell = str | int | Decimal | date | None
_GAP: Final = "  "
_SHARES: Final = frozenset({"quantity", "number", "shares", "inclusion_rate"})


@dataclass(frozen=True, slots=True)
class Table:
    """A table before it is printed.

    Attributes:
        title: A line above.
        columns: Names of the columns.
        rows: One cell for each column.
        has_us_dates: Whether people read its dates as MM/DD/YYYY; otherwise as ISO dates.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    has_us_dates: bool = False


def table_text(table: Table) -> str:
    """Return a table for people: columns aligned, numbers flush right, the notice below."""
    cells, right = shown_cells(table)
    if not cells:
        return f"{table.title}: none\n{NOT_ADVICE}\n"
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(table.columns)]
    lines = [table.title]
    for row in [list(table.columns), *cells]:
        padded = [
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(row, widths, right, strict=True)
        ]
        lines.append(_GAP.join(padded).rstrip())
    return "\n".join([*lines, NOT_ADVICE, ""])


def shown_cells(table: Table) -> tuple[list[list[str]], list[bool]]:
    """Return the cells of a table as people read them, and for each column whether it holds numbers."""
    cells = [[_shown(cell, us_dates=table.has_us_dates) for cell in row] for row in table.rows]
    right = [_is_numeric([row[i] for row in table.rows], [row[i] for row in cells]) for i in range(len(table.columns))]
    return cells, right


def table_csv(table: Table) -> str:
    """Return a table as CSV: ISO dates, plain numbers; the notice is a column, not a comment to stumble over."""
    header = [*table.columns, "notice"]
    rows = (
        {
            **{name: _shown(cell, us_dates=False) for name, cell in zip(table.columns, row, strict=True)},
            "notice": NOT_ADVICE,
        }
        for row in table.rows
    )
    return csv_text(header, rows)


def report_json(report: object) -> str:
    """Return a report, or any of its values, as JSON with the notice."""
    value = _plain(report, "")
    if not isinstance(value, dict):
        value = {"values": value}
    return json.dumps({"notice": NOT_ADVICE, **value}, indent=2) + "\n"


def _shown(cell: Cell, *, us_dates: bool) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Decimal):
        return money_text(cell)
    if isinstance(cell, date):
        return us_date(cell) if us_dates else cell.isoformat()
    return str(cell)


def _is_numeric(cells: Iterable[Cell], texts: Iterable[str]) -> bool:
    """Return whether a column has numbers: money, or texts that are a number of shares."""
    filled = [(cell, text) for cell, text in zip(cells, texts, strict=True) if text]
    return bool(filled) and all(
        isinstance(cell, Decimal) or text.replace(".", "", 1).isdecimal() for cell, text in filled
    )


def _plain(value: Any, name: str) -> Any:
    """Return a value of JSON; ``name`` is the field that it comes from."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name), each.name) for each in fields(value)}
    if isinstance(value, Decimal):
        return plain_text(value) if name in _SHARES else money_text(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, name) for key, inner in value.items()}
    if hasattr(value, "_asdict"):
        return {key: _plain(inner, key) for key, inner in value._asdict().items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(inner, name) for inner in value]
    return value


# ---------------------------------------------------------------- both countries


def report_tables(report: TaxReport) -> tuple[Table, ...]:
    """Return the tables of a whole report, return by return."""
    tables: list[Table] = []
    for each in report.returns:
        name = each.filing.name or "the taxpayer"
        if report.regime is TaxRegime.US:
            for schedule in each.schedules_d:
                title = f"Form 8949, {name}, {schedule.year}"
                tables.append(form_8949_table(each.form_8949_of(schedule.year), title=title))
                if schedule.boxes:
                    tables.append(box_total_table(schedule.boxes, title=f"{title}, totals by box"))
            tables.append(schedule_d_table(each.schedules_d))
            continue
        tables += [schedule_3_table(each.schedules_3, name), schedule_3_totals(each.schedules_3)]
        if any(schedule.income_lines for schedule in each.schedules_3):
            tables.append(income_short_table(each.schedules_3, name))
        if each.net_capital_losses is not None:
            tables.append(net_capital_loss_table(each.net_capital_losses))
    return tuple(tables)


def disposition_table(lines: Iterable[DispositionLine], *, has_us_dates: bool = True) -> Table:
    """Lay lines out with their lots, whatever the country."""
    columns = (
        *("taxpayer", "account", "ticker", "lot", "quantity", "acquired", "sold", "proceeds", "basis", "disallowed"),
        *("gain", "term", "provisional_until"),
    )
    rows = tuple(
        (
            *(line.taxpayer, line.account, line.ticker, line.lot_id, plain_text(line.quantity)),
            *(line.acquired_on, line.sold_on, line.proceeds, line.basis, line.disallowed_loss, line.gain),
            *(line.term.value, line.provisional_until),
        )
        for line in lines
    )
    return Table("Dispositions", columns, rows, has_us_dates)


# ---------------------------------------------------------------- United States


def form_8949_table(rows: Iterable[Form8949Line], *, title: str = "Form 8949") -> Table:
    """Lay rows out with the columns (a) to (h) of Form 8949."""
    columns = (
        *("part", "box", "(a) description", "(b) acquired", "(c) sold", "(d) proceeds", "(e) basis", "(f) code"),
        *("(g) adjustment", "(h) gain", "account", "note", "provisional_until"),
    )
    return Table(
        title,
        columns,
        tuple(
            (
                *(row.part, row.box, row.description),
                *("VARIOUS" if row.acquired_on is None else row.acquired_on, row.sold_on),
                *(row.proceeds, row.basis, row.codes, row.adjustment if row.codes else None, row.gain),
                *(row.account, "; ".join(row.notes), row.provisional_until),
            )
            for row in rows
        ),
        has_us_dates=True,
    )


def box_total_table(totals: Iterable[BoxTotal], *, title: str = "Form 8949, totals by box") -> Table:
    """Lay out line 2 of each copy of Form 8949 with the line of Schedule D that it goes to."""
    columns = ("Schedule D line", "box", "(d) proceeds", "(e) basis", "(g) adjustment", "(h) gain", "rows")
    rows = tuple(
        (each.schedule_d_line, each.box, each.proceeds, each.basis, each.adjustment, each.gain, str(each.rows))
        for each in totals
    )
    return Table(title, columns, rows)


def schedule_d_table(schedules: Sequence[ScheduleD]) -> Table:
    """Lay Schedule D out line by line, a column for each year; the carryover worksheet where any year has one."""
    title = f"Schedule D, {schedules[0].return_name or 'the taxpayer'}" if schedules else "Schedule D"
    labels = [label for label, _ in _schedule_d_lines(schedules[0])] if schedules else []
    columns = [dict(_schedule_d_lines(each)) for each in schedules]
    rows = tuple(
        (label, *(column[label] for column in columns))
        for label in labels
        if any(column[label] is not None for column in columns)
    )
    return Table(title, ("line", *(str(each.year) for each in schedules)), rows)


def _schedule_d_lines(schedule: ScheduleD) -> list[tuple[str, Decimal | None]]:
    def of_line(number: str) -> Decimal:
        return sum((box.gain for box in schedule.boxes if box.schedule_d_line == number), Decimal(0))

    worksheet = schedule.worksheet
    return [
        *((f"{number} (h)", of_line(number)) for number in ("1b", "2", "3")),
        ("4-5 elsewhere", schedule.short_term_elsewhere),
        ("6 short-term carryover", -schedule.carried_in.short_term),
        ("7 net short-term", schedule.line_7),
        *((f"{number} (h)", of_line(number)) for number in ("8b", "9", "10")),
        ("11-12 elsewhere", schedule.long_term_elsewhere),
        ("13 distributions", schedule.line_13),
        ("14 long-term carryover", -schedule.carried_in.long_term),
        ("15 net long-term", schedule.line_15),
        ("16 net", schedule.line_16),
        ("21 against other income", schedule.line_21),
        *((f"worksheet {i}", None if worksheet is None else worksheet.line(i)) for i in range(1, 14)),
        ("carried out, short-term", schedule.carried_out.short_term),
        ("carried out, long-term", schedule.carried_out.long_term),
    ]


def comparison_table(comparison: Comparison) -> Table:
    """Lay a comparison with Form 1099-B out, one row for each difference and one for each sale that agrees."""
    columns = ("outcome", "account", "sale", "sold", "what", "ours", "form", "effect on gain", "reason", "explanation")
    rows: list[tuple[Cell, ...]] = []
    for each in comparison.compared:
        account, sale, sold = _sale_of(each)
        if not each.differences:
            rows.append((each.outcome.value, account, sale, sold, None, None, None, None, None, None))
        rows += [
            (
                *(each.outcome.value, account, sale, sold, difference.what, difference.ours, difference.theirs),
                *(difference.effect, difference.reason.value, difference.explanation),
            )
            for difference in each.differences
        ]
    return Table("Form 1099-B compared", columns, tuple(rows), has_us_dates=True)


def _sale_of(compared: Compared) -> tuple[str, str, date]:
    if compared.lines:
        line = compared.lines[0]
        return line.account, line.description, line.sold_on
    row = compared.rows[0]
    return row.account, f"{plain_text(row.quantity)} {row.security}", row.sold_on


# ---------------------------------------------------------------- Canada


def schedule_3_table(schedules: Iterable[Schedule3], name: str) -> Table:
    """Lay the lines of Schedule 3 out, with what is denied of each loss and where it went."""
    columns = (
        *("year", "number", "name", "(1) acquired", "sold", "settled", "(2) proceeds", "(3) adjusted cost base"),
        *("(4) outlays", "denied loss", "(5) gain", "account", "denied", "provisional_until"),
    )
    rows = tuple(
        (
            *(str(each.year), plain_text(line.number), line.name, str(line.year_of_acquisition)),
            *(line.sold_on, line.settled_on, line.proceeds, line.adjusted_cost_base, line.outlays),
            *(line.denied_loss, line.gain, line.account, "; ".join(str(denied) for denied in line.denied)),
            line.provisional_until,
        )
        for each in schedules
        for line in each.lines
    )
    return Table(f"Schedule 3, {name}", columns, rows)


def income_short_table(schedules: Iterable[Schedule3], name: str) -> Table:
    """Lay out the short sales that are income, with a total for each year."""
    columns = ("year", "number", "name", "covered", "settled", "proceeds", "cost", "gain", "account")
    rows: list[tuple[Cell, ...]] = []
    for each in schedules:
        rows += [
            (
                *(str(each.year), plain_text(line.number), line.name, line.sold_on, line.settled_on),
                *(line.proceeds, line.adjusted_cost_base, line.gain, line.account),
            )
            for line in each.income_lines
        ]
        if each.income_lines:
            rows.append((str(each.year), "", "total", None, None, None, None, each.income_shorts, ""))
    return Table(f"Short sales on income account, {name}", columns, tuple(rows))


def schedule_3_totals(schedules: Sequence[Schedule3]) -> Table:
    """Lay the totals of Schedule 3 out, a column for each year."""
    labels: tuple[tuple[str, str], ...] = (
        ("13199 proceeds of shares", "line_13199"),
        ("13200 gains of shares", "line_13200"),
        ("15199 proceeds of crypto-assets", "line_15199"),
        ("15300 gains of crypto-assets", "line_15300"),
        ("17400 capital gains dividends", "line_17400"),
        ("gains less losses", "gain"),
        ("12700 taxable capital gains", "line_12700"),
        ("net capital loss", "net_capital_loss"),
        ("short sales that are income", "income_shorts"),
    )
    rows = tuple((label, *(getattr(each, name) for each in schedules)) for label, name in labels)
    return Table("Schedule 3, totals", ("line", *(str(each.year) for each in schedules)), rows if schedules else ())


def net_capital_loss_table(losses: NetCapitalLosses) -> Table:
    """Lay out what is claimed of net capital losses, what could go back, and what is left."""
    rows: list[tuple[Cell, ...]] = [
        (str(use.loss_year), "claimed", str(use.used_in), use.amount) for use in losses.uses
    ]
    for loss_year, before in losses.can_go_back.items():
        rows += [(str(loss_year), "can go back to", str(year), amount) for year, amount in before.items()]
    rows += [(str(year), "left", "", amount) for year, amount in losses.balances.items()]
    return Table("Net capital losses", ("loss of", "what", "year", "amount"), tuple(rows))
