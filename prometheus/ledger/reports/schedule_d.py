"""US Schedule D: gains netted by term, the limit against other income, and the Capital Loss Carryover Worksheet.

Source: Schedule D (Form 1040) and its Instructions (2025); 26 U.S.C. 1211(b), 1212(b), 1222.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from prometheus.ledger.reports.amounts import FilingStatus, loss_limit, total
from prometheus.ledger.reports.form_8949 import BoxTotal, Form8949Line, box_totals
from prometheus.ledger.reports.returns import NO_INPUT, Carryover, Return, YearInput

_ZERO: Final = Decimal(0)
_SHORT_TERM_BOXES: Final = frozenset("ABCGHI")


@dataclass(frozen=True, slots=True)
class CarryoverWorksheet:
    """The Capital Loss Carryover Worksheet, its lines by number; None for a line that is skipped. USD.

    Source: Instructions for Schedule D, "Capital Loss Carryover Worksheet - Lines 6 and 14".
    """

    lines: tuple[Decimal | None, ...]

    def line(self, number: int) -> Decimal | None:
        """Return a line from 1 to 13."""
        return self.lines[number - 1]

    @property
    def carried_out(self) -> Carryover:
        """Return lines 8 and 13: what goes to lines 6 and 14 of the next Schedule D."""
        return Carryover(self.line(8) or _ZERO, self.line(13) or _ZERO)


@dataclass(frozen=True, slots=True)
class ScheduleD:
    """Schedule D of one return and year. USD, losses negative but for what is named a carryover or a deduction.

    Attributes:
        return_name: The return.
        year: The tax year.
        status: How it is filed.
        boxes: Lines 1b, 2, 3, 8b, 9 and 10, by box of Form 8949.
        short_term_elsewhere: Lines 4 and 5.
        carried_in: Lines 6 and 14, positive.
        line_7: Net short-term gain or loss.
        long_term_elsewhere: Lines 11 and 12.
        line_13: Capital gain distributions.
        line_15: Net long-term gain or loss.
        line_16: Both together.
        line_21: Loss taken against other income, positive; zero where line 16 is no loss.
        worksheet: How the carryover is calculated; None where there is none.
        carried_out: What goes into the next year, positive.
    """

    return_name: str
    year: int
    status: FilingStatus
    boxes: tuple[BoxTotal, ...]
    short_term_elsewhere: Decimal
    carried_in: Carryover
    line_7: Decimal
    long_term_elsewhere: Decimal
    line_13: Decimal
    line_15: Decimal
    line_16: Decimal
    line_21: Decimal
    worksheet: CarryoverWorksheet | None
    carried_out: Carryover

    @property
    def gain_of_year(self) -> Decimal:
        """Return the gain of all rows of Form 8949, without what is carried in and what is reported elsewhere."""
        return total(box.gain for box in self.boxes)


def carryover_worksheet(
    *, taxable_income: Decimal | None, line_7: Decimal, line_15: Decimal, line_21: Decimal
) -> CarryoverWorksheet:
    """Fill in the Capital Loss Carryover Worksheet.

    Args:
        taxable_income: Form 1040 line 15, negative where it would be so if it could. None is taken for zero: any income
            of zero or more gives the same result.
        line_7: Of Schedule D, negative for a loss.
        line_15: The same for the long term.
        line_21: Loss taken against other income, positive.

    Source: Instructions for Schedule D, Capital Loss Carryover Worksheet, lines 1 to 13; 26 U.S.C. 1212(b)(2).
    """
    one = taxable_income or _ZERO
    two = line_21
    three = max(one + two, _ZERO)
    four = min(two, three)
    five, six, seven, eight = _ZERO, None, None, None
    if line_7 < 0:
        five = -line_7
        six = max(line_15, _ZERO)
        seven = four + six
        eight = max(five - seven, _ZERO)
    nine = ten = eleven = twelve = thirteen = None
    if line_15 < 0:
        nine = -line_15
        ten = max(line_7, _ZERO)
        eleven = max(four - five, _ZERO)
        twelve = ten + eleven
        thirteen = max(nine - twelve, _ZERO)
    return CarryoverWorksheet((one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen))


def schedule_d(
    filing: Return, year: int, rows: Iterable[Form8949Line], carried_in: Carryover, inputs: YearInput = NO_INPUT
) -> ScheduleD:
    """Fill in Schedule D of one year.

    Args:
        filing: Whose return it is.
        year: The tax year.
        rows: Rows of Form 8949 of the year and the return.
        carried_in: Losses of earlier years.
        inputs: What else is on the return.

    Raises:
        ConfigurationError: No limit is recorded for the year.

    Source: Schedule D lines 1b to 16 and 21; 26 U.S.C. 1222(5)-(8), 1211(b).
    """
    boxes = box_totals(rows)
    short_term = total(box.gain for box in boxes if box.box in _SHORT_TERM_BOXES)
    long_term = total(box.gain for box in boxes if box.box not in _SHORT_TERM_BOXES)
    line_7 = short_term + inputs.short_term_elsewhere - carried_in.short_term
    line_15 = long_term + inputs.long_term_elsewhere + inputs.capital_gain_distributions - carried_in.long_term
    line_16 = line_7 + line_15
    line_21 = min(max(-line_16, _ZERO), loss_limit(year, filing.status))
    worksheet = None
    # The worksheet is for a loss larger than what line 21 takes, or for a year whose income could not use that.
    if line_21 and (line_21 < -line_16 or (inputs.taxable_income or _ZERO) < 0):
        worksheet = carryover_worksheet(
            taxable_income=inputs.taxable_income, line_7=line_7, line_15=line_15, line_21=line_21
        )
    return ScheduleD(
        return_name=filing.name,
        year=year,
        status=filing.status,
        boxes=boxes,
        short_term_elsewhere=inputs.short_term_elsewhere,
        carried_in=carried_in,
        line_7=line_7,
        long_term_elsewhere=inputs.long_term_elsewhere,
        line_13=inputs.capital_gain_distributions,
        line_15=line_15,
        line_16=line_16,
        line_21=line_21,
        worksheet=worksheet,
        carried_out=Carryover() if worksheet is None else worksheet.carried_out,
    )


def schedules_d(filing: Return, rows: Sequence[Form8949Line], years: Sequence[int]) -> tuple[ScheduleD, ...]:
    """Fill in Schedule D year by year, each carrying its losses into the next.

    Where the return gives no opening carryover, netting begins with the first year of the rows, so that losses of
    earlier years reach the years asked for. Where it does, earlier rows are passed over.

    Args:
        filing: Whose return it is.
        rows: Rows of Form 8949 of the return, of all years.
        years: Tax years asked for; years between them are netted too.

    Returns:
        The years from the first to the last one asked for.

    Raises:
        ConfigurationError: No limit is recorded for a year.

    Source: 26 U.S.C. 1212(b)(1).
    """
    if not years:
        return ()
    first, last = min(years), max(years)
    by_year: dict[int, list[Form8949Line]] = {}
    for row in rows:
        by_year.setdefault(row.tax_year, []).append(row)
    start = first if filing.opening is not None else min((first, *by_year))
    carried = filing.opening or Carryover()
    schedules = []
    for year in range(start, last + 1):
        schedule = schedule_d(filing, year, by_year.get(year, ()), carried, filing.inputs.get(year, NO_INPUT))
        carried = schedule.carried_out
        schedules.append(schedule)
    return tuple(each for each in schedules if each.year >= first)
