"""US Form 8949: boxes, codes and columns (a) to (h), and the totals that go to Schedule D.

Source: Form 8949 and its Instructions (2025).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from prometheus.domain.lots import Term
from prometheus.domain.money import plain_text
from prometheus.ledger.keys import LotKey
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.reports.amounts import (
    DIGITAL_ASSET_COVERED_FROM,
    FIRST_YEAR_OF_1099_DA,
    FUND_COVERED_FROM,
    STOCK_COVERED_FROM,
    money_text,
    total,
)
from prometheus.ledger.reports.broker_view import BrokerFigures
from prometheus.ledger.reports.lines import DispositionLine, LineKey, natural_order
from prometheus.ledger.terms import AssetClass

_ZERO: Final = Decimal(0)


class Reporting(StrEnum):
    """What the broker's Form 1099-B or 1099-DA says of a sale to the IRS.

    BASIS: proceeds and basis. PROCEEDS: proceeds alone. NOTHING: there is no such form.
    """

    BASIS = "BASIS"
    PROCEEDS = "PROCEEDS"
    NOTHING = "NOTHING"


#: Box of Form 8949 by digital asset (from 2025), term and what the broker reports.
_BOXES: Final[Mapping[tuple[bool, Term, Reporting], str]] = {
    (False, Term.SHORT, Reporting.BASIS): "A",
    (False, Term.SHORT, Reporting.PROCEEDS): "B",
    (False, Term.SHORT, Reporting.NOTHING): "C",
    (False, Term.LONG, Reporting.BASIS): "D",
    (False, Term.LONG, Reporting.PROCEEDS): "E",
    (False, Term.LONG, Reporting.NOTHING): "F",
    (True, Term.SHORT, Reporting.BASIS): "G",
    (True, Term.SHORT, Reporting.PROCEEDS): "H",
    (True, Term.SHORT, Reporting.NOTHING): "I",
    (True, Term.LONG, Reporting.BASIS): "J",
    (True, Term.LONG, Reporting.PROCEEDS): "K",
    (True, Term.LONG, Reporting.NOTHING): "L",
}
#: Line of Schedule D that takes the totals of a box. Source: Schedule D (2025), lines 1b, 2, 3, 8b, 9, 10.
SCHEDULE_D_LINES: Final = {
    "A": "1b",
    "G": "1b",
    "B": "2",
    "H": "2",
    "C": "3",
    "I": "3",
    "D": "8b",
    "J": "8b",
    "E": "9",
    "K": "9",
    "F": "10",
    "L": "10",
}
#: Part of Form 8949 by term.
PARTS: Final = {Term.SHORT: "I", Term.LONG: "II"}
_INCORRECT_BASIS, _INCORRECT_TERM, _WASH_SALE = "B", "T", "W"


@dataclass(frozen=True, slots=True)
class BrokerReporting:
    """What brokers report. A line's setting comes first, then its lot's, then its account's; else the law decides.

    Attributes:
        lines: By line, as a Form 1099-B received says (``form_1099b.statement_reporting``).
        accounts: By account.
        lots: By lot.
        funds: Tickers of mutual funds and other regulated investment companies, which are covered a year later.
    """

    lines: Mapping[LineKey, Reporting] = field(default_factory=dict)
    accounts: Mapping[str, Reporting] = field(default_factory=dict)
    lots: Mapping[LotKey, Reporting] = field(default_factory=dict)
    funds: frozenset[str] = frozenset()

    def of(self, line: DispositionLine) -> Reporting:
        """Return what the broker reports of a line.

        Source: Instructions for Form 8949 (2025), column (e), "covered security", and "Nondividend distributions".
        """
        if line.key.kind is PostingKind.RETURN_OF_CAPITAL:
            return Reporting.NOTHING  # a Form 1099-DIV tells of it
        setting = self.lines.get(line.key) or self.lots.get(line.key.lot) or self.accounts.get(line.account)
        if setting is not None:
            return setting
        if line.asset_class is AssetClass.DIGITAL_ASSET:
            if line.year < FIRST_YEAR_OF_1099_DA:
                return Reporting.NOTHING
            covered_from = DIGITAL_ASSET_COVERED_FROM
        else:
            covered_from = FUND_COVERED_FROM if line.ticker in self.funds else STOCK_COVERED_FROM
        return Reporting.BASIS if line.acquired_on >= covered_from else Reporting.PROCEEDS


@dataclass(frozen=True, slots=True)
class Form8949Line:
    """One row of Form 8949. Amounts are cents, USD.

    Attributes:
        part: I (short-term) or II (long-term).
        box: A to L.
        keys: The dispositions in the row; several where lines are merged.
        taxpayer: Whose it is.
        account: Whose sale it was.
        ticker: The security.
        quantity: Shares.
        description: Column (a).
        acquired_on: Column (b); None prints as VARIOUS, in merged lines only.
        sold_on: Column (c).
        tax_year: The year of the return.
        proceeds: Column (d).
        basis: Column (e): as the broker reports it in boxes A, D, G, J, otherwise the correct one.
        codes: Column (f), in alphabetical order, without separator.
        adjustment: Column (g); zero where no code asks for an amount.
        disallowed_loss: The part of it that is a wash sale loss, positive.
        gain: Column (h): (d) less (e) plus (g).
        notes: What a preparer should know: a tacked holding period, losses inside the basis, a statement to attach.
        provisional_until: Last day on which a purchase can still change the line; None where none can.
    """

    part: str
    box: str
    keys: tuple[LineKey, ...]
    taxpayer: str
    account: str
    ticker: str
    quantity: Decimal
    description: str
    acquired_on: date | None
    sold_on: date
    tax_year: int
    proceeds: Decimal
    basis: Decimal
    codes: str
    adjustment: Decimal
    disallowed_loss: Decimal
    gain: Decimal
    notes: tuple[str, ...]
    provisional_until: date | None

    @property
    def acquired_text(self) -> str:
        """Return column (b) as the form prints it."""
        return "VARIOUS" if self.acquired_on is None else us_date(self.acquired_on)

    @property
    def sold_text(self) -> str:
        """Return column (c) as the form prints it."""
        return us_date(self.sold_on)


@dataclass(frozen=True, slots=True)
class BoxTotal:
    """Line 2 of the copies of Form 8949 with one box checked.

    Attributes:
        box: A to L.
        schedule_d_line: Where it goes.
        proceeds: Column (d).
        basis: Column (e).
        adjustment: Column (g).
        gain: Column (h).
        rows: How many rows there are.
    """

    box: str
    schedule_d_line: str
    proceeds: Decimal
    basis: Decimal
    adjustment: Decimal
    gain: Decimal
    rows: int


def us_date(day: date) -> str:
    """Return a date as MM/DD/YYYY."""
    return f"{day.month:02d}/{day.day:02d}/{day.year:04d}"


def form_8949(
    lines: Iterable[DispositionLine],
    figures: Mapping[LineKey, BrokerFigures],
    reporting: BrokerReporting,
) -> tuple[Form8949Line, ...]:
    """Lay US dispositions out as Form 8949 does.

    Args:
        lines: Dispositions of any years; those without a term are passed over.
        figures: What the broker says of each line; our own figures where it is not listed.
        reporting: What the brokers report to the IRS.

    Returns:
        Rows by part, box, date sold, ticker and date acquired.

    Source: Instructions for Form 8949 (2025), "How To Complete Form 8949, Columns (f) and (g)", codes B, T and W.
    """
    rows = [_row(line, figures.get(line.key), reporting.of(line)) for line in lines if line.term is not Term.NONE]
    return tuple(sorted(rows, key=_row_order))


def _row(line: DispositionLine, figures: BrokerFigures | None, reporting: Reporting) -> Form8949Line:
    is_digital = line.asset_class is AssetClass.DIGITAL_ASSET and line.year >= FIRST_YEAR_OF_1099_DA
    reported = figures or BrokerFigures(line.basis, line.disallowed_loss, line.term)
    codes, notes = set(), _notes(line)
    basis, adjustment = line.basis, line.disallowed_loss
    if line.disallowed_loss:
        codes.add(_WASH_SALE)
    if reporting is Reporting.BASIS and reported.basis is not None:
        basis = reported.basis
        adjustment += reported.basis - line.basis
    # A basis that is not reported to the IRS can be wrong on a statement only; (e) has the correct one.
    knows_basis = reporting is Reporting.BASIS or (reporting is Reporting.PROCEEDS and reported.is_statement)
    if knows_basis and reported.basis is not None and reported.basis != line.basis:
        codes.add(_INCORRECT_BASIS)
    if knows_basis and reported.term not in {Term.NONE, line.term}:
        codes.add(_INCORRECT_TERM)
    if knows_basis and reported.disallowed > line.disallowed_loss:
        codes.add(_WASH_SALE)
        notes.append(
            f"attach a statement: the form shows {money_text(reported.disallowed)} of wash sale loss disallowed"
        )
    return Form8949Line(
        part=PARTS[line.term],
        box=_BOXES[is_digital, line.term, reporting],
        keys=(line.key,),
        taxpayer=line.taxpayer,
        account=line.account,
        ticker=line.ticker,
        quantity=line.quantity,
        description=line.description,
        acquired_on=line.acquired_on,
        sold_on=line.sold_on,
        tax_year=line.year,
        proceeds=line.proceeds,
        basis=basis,
        codes="".join(sorted(codes)),
        adjustment=adjustment,
        disallowed_loss=line.disallowed_loss,
        gain=line.proceeds - basis + adjustment,
        notes=tuple(notes),
        provisional_until=line.provisional_until,
    )


def _notes(line: DispositionLine) -> list[str]:
    notes = []
    if line.is_tacked:
        notes.append(f"held from {us_date(line.holding_period_start)} (26 U.S.C. 1223)")
    elif line.holding_period_start > line.acquired_on:
        notes.append(f"held from {us_date(line.holding_period_start)} (26 U.S.C. 1233(b))")
    if line.basis > line.cost_basis:
        notes.append(
            f"basis includes {money_text(line.basis - line.cost_basis)} of disallowed losses (26 U.S.C. 1091(d))"
        )
    if line.disallowed_for_good:
        notes.append(f"{money_text(line.disallowed_for_good)} is disallowed for good (Rev. Rul. 2008-5)")
    return notes


def _row_order(row: Form8949Line) -> tuple[object, ...]:
    return (
        row.part,
        row.box,
        row.sold_on,
        natural_order(row.ticker),
        row.acquired_on or date.min,
        natural_order(row.account),
        natural_order(row.keys[0].lot.lot_id),
        row.keys,
    )


def merged(rows: Iterable[Form8949Line]) -> tuple[Form8949Line, ...]:
    """Merge the rows of one sale that are in one box; column (b) is VARIOUS where they were acquired on several days.

    Args:
        rows: Rows of single lots.

    Source: Instructions for Form 8949 (2025), column (b), "Stock or digital assets acquired on various dates".
    """
    groups: dict[object, list[Form8949Line]] = defaultdict(list)
    for row in rows:
        groups[row.box, row.keys[0].event, row.keys[0].kind, row.account, row.ticker, row.sold_on].append(row)
    return tuple(sorted((_one_row(group) for group in groups.values()), key=_row_order))


def _one_row(group: Sequence[Form8949Line]) -> Form8949Line:
    first = group[0]
    if len(group) == 1:
        return first
    days = {row.acquired_on for row in group}
    quantity = total(row.quantity for row in group)
    return Form8949Line(
        part=first.part,
        box=first.box,
        keys=tuple(key for row in group for key in row.keys),
        taxpayer=first.taxpayer,
        account=first.account,
        ticker=first.ticker,
        quantity=quantity,
        description=first.description.replace(plain_text(first.quantity), plain_text(quantity), 1),
        acquired_on=first.acquired_on if len(days) == 1 else None,
        sold_on=first.sold_on,
        tax_year=first.tax_year,
        proceeds=total(row.proceeds for row in group),
        basis=total(row.basis for row in group),
        codes="".join(sorted({code for row in group for code in row.codes})),
        adjustment=total(row.adjustment for row in group),
        disallowed_loss=total(row.disallowed_loss for row in group),
        gain=total(row.gain for row in group),
        notes=tuple(dict.fromkeys(note for row in group for note in row.notes)),
        provisional_until=max((row.provisional_until for row in group if row.provisional_until), default=None),
    )


def box_totals(rows: Iterable[Form8949Line]) -> tuple[BoxTotal, ...]:
    """Return the totals of each box that has rows, by box.

    Source: Form 8949 line 2; Schedule D lines 1b, 2, 3, 8b, 9 and 10.
    """
    boxes: dict[str, list[Form8949Line]] = defaultdict(list)
    for row in rows:
        boxes[row.box].append(row)
    return tuple(
        BoxTotal(
            box=box,
            schedule_d_line=SCHEDULE_D_LINES[box],
            proceeds=total(row.proceeds for row in boxes[box]),
            basis=total(row.basis for row in boxes[box]),
            adjustment=total(row.adjustment for row in boxes[box]),
            gain=total(row.gain for row in boxes[box]),
            rows=len(boxes[box]),
        )
        for box in sorted(boxes)
    )
