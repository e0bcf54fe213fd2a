"""The rows of the forms as one table for programs: plain names of columns, a row for each sale, all returns below."""

from collections.abc import Iterable
from typing import Final

from prometheus.domain.accounts import TaxRegime
from prometheus.domain.money import plain_text
from prometheus.ledger.reports.amounts import total
from prometheus.ledger.reports.form_8949 import Form8949Line
from prometheus.ledger.reports.request import HouseholdReport
from prometheus.ledger.reports.schedule_3 import Schedule3Line
from prometheus.ledger.reports.tables import Cell, Table

_FORM_8949: Final = (
    *("return", "tax_year", "part", "box", "account", "description", "acquired_on", "sold_on", "proceeds", "basis"),
    *("code", "adjustment", "gain", "disallowed_loss", "note", "provisional_until"),
)
_SCHEDULE_3: Final = (
    *("return", "tax_year", "account", "number", "name", "year_of_acquisition", "sold_on", "settled_on", "proceeds"),
    *("adjusted_cost_base", "outlays", "denied_loss", "added_to_cost", "denied_for_good", "gain", "provisional_until"),
)


def form_rows(reports: Iterable[HouseholdReport], regime: TaxRegime) -> Table:
    """Return all rows of Form 8949 (US) or of Schedule 3 (Canada).

    Args:
        reports: Reports of households of one country.
        regime: The country, which decides the columns also where there is no row.
    """
    rows: list[tuple[Cell, ...]] = []
    for each in reports:
        for filed in each.report.returns:
            name = filed.filing.name
            rows += (_american(name, row) for row in filed.form_8949)
            rows += (_canadian(name, schedule.year, line) for schedule in filed.schedules_3 for line in schedule.lines)
    if regime is TaxRegime.US:
        return Table("Form 8949", _FORM_8949, tuple(rows))
    return Table("Schedule 3", _SCHEDULE_3, tuple(rows))


def _american(name: str, row: Form8949Line) -> tuple[Cell, ...]:
    return (
        *(name, str(row.tax_year), row.part, row.box, row.account, row.description),
        *("VARIOUS" if row.acquired_on is None else row.acquired_on, row.sold_on, row.proceeds, row.basis),
        *(row.codes, row.adjustment, row.gain, row.disallowed_loss, "; ".join(row.notes), row.provisional_until),
    )


def _canadian(name: str, year: int, line: Schedule3Line) -> tuple[Cell, ...]:
    gone = total(part.amount for part in line.denied if part.is_permanent)
    return (
        *(name, str(year), line.account, plain_text(line.number), line.name, str(line.year_of_acquisition)),
        *(line.sold_on, line.settled_on, line.proceeds, line.adjusted_cost_base, line.outlays, line.denied_loss),
        *(line.denied_loss - gone, gone, line.gain, line.provisional_until),
    )
