"""Dispositions laid out as the tax forms lay them out: Form 8949 in the US, Schedule 3 in Canada."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.accounting.tax_lines import TaxLine
from prometheus.accounting.tax_settings import COVERED_FROM
from prometheus.domain.books import TransactionType
from prometheus.domain.lots import Term
from prometheus.domain.money import plain_text

#: What every output of a tax figure says.
NOT_ADVICE: Final = "This is a calculation, not tax advice."
_CODE_WASH: Final = "W"
#: Form 8949 box by term and by whether the broker reports the basis; C and F (no Form 1099-B) are for the filer to say.
_BOXES: Final = {
    (Term.SHORT, True): "A",
    (Term.SHORT, False): "B",
    (Term.LONG, True): "D",
    (Term.LONG, False): "E",
}
_PARTS: Final = {Term.SHORT: "I", Term.LONG: "II"}


@dataclass(frozen=True, slots=True)
class Form8949Line:
    """One line of Form 8949; columns (a) to (h). ``adjustment`` is positive for a disallowed loss (code W).

    ``gain`` = ``proceeds`` - ``basis`` + ``adjustment``.
    """

    part: str
    box: str
    account: str
    description: str
    acquired_on: date
    sold_on: date
    proceeds: Decimal
    basis: Decimal
    code: str
    adjustment: Decimal
    gain: Decimal
    provisional_until: date | None


@dataclass(frozen=True, slots=True)
class Schedule3Line:
    """One line of section 3 of Schedule 3 (publicly traded shares).

    ``gain`` = ``proceeds`` - ``adjusted_cost_base`` - ``outlays`` + ``denied_loss``; proceeds are before commission.
    ``denied_loss`` = ``added_to_cost``, which the pool of what is still held carries, + ``denied_for_good``, which is
    lost because a registered plan holds the shares.
    """

    account: str
    number: Decimal
    name: str
    year_of_acquisition: int
    sold_on: date
    proceeds: Decimal
    adjusted_cost_base: Decimal
    outlays: Decimal
    denied_loss: Decimal
    added_to_cost: Decimal
    denied_for_good: Decimal
    gain: Decimal
    provisional_until: date | None


def form_8949(lines: Iterable[TaxLine]) -> tuple[Form8949Line, ...]:
    """Lay US dispositions out as Form 8949 does: part, box, then by sale date.

    The box follows from the acquisition date: stock bought since 2011 is covered, its basis reported to the IRS.

    Source: Instructions for Form 8949, columns (a) to (h), code W; Treas. Reg. 1.6045-1(a)(15).
    """
    found = [_form_8949_line(line) for line in lines if line.term is not Term.NONE]
    return tuple(sorted(found, key=lambda line: (line.part, line.box, line.sold_on, line.account, line.description)))


def _form_8949_line(line: TaxLine) -> Form8949Line:
    return Form8949Line(
        part=_PARTS[line.term],
        box=_BOXES[line.term, line.acquired_on >= COVERED_FROM],
        account=line.account,
        description=_description(line),
        acquired_on=line.acquired_on,
        sold_on=line.sold_on,
        proceeds=line.proceeds,
        basis=line.basis,
        code=_CODE_WASH if line.disallowed_loss else "",
        adjustment=line.disallowed_loss,
        gain=line.recognized_gain,
        provisional_until=line.provisional_until,
    )


def schedule_3(lines: Iterable[TaxLine]) -> tuple[Schedule3Line, ...]:
    """Lay Canadian dispositions out as section 3 of Schedule 3 does, by sale date.

    Source: CRA Schedule 3 (5000-S3), section 3, columns 1 to 5, lines 13199 and 13200; Guide T4037.
    """
    return tuple(
        Schedule3Line(
            account=line.account,
            number=line.quantity,
            name=_description(line),
            year_of_acquisition=line.acquired_on.year,
            sold_on=line.sold_on,
            proceeds=line.proceeds + line.fee,
            adjusted_cost_base=line.basis,
            outlays=line.fee,
            denied_loss=line.disallowed_loss,
            added_to_cost=line.disallowed_loss - line.disallowed_for_good,
            denied_for_good=line.disallowed_for_good,
            gain=line.recognized_gain,
            provisional_until=line.provisional_until,
        )
        for line in sorted(lines, key=lambda line: (line.sold_on, line.account, line.ticker))
        if line.term is Term.NONE
    )


def _description(line: TaxLine) -> str:
    if line.kind in {TransactionType.SPINOFF, TransactionType.STOCK_DISTRIBUTION}:
        return f"shares distributed by {line.ticker}"
    suffix = {TransactionType.CASH_IN_LIEU: " (cash in lieu)", TransactionType.DELISTING: " (delisted)"}
    return f"{plain_text(line.quantity)} sh {line.ticker}{suffix.get(line.kind, '')}"
