"""A broker's Form 1099-B beside our lines: what agrees, what differs and why, to the cent."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from prometheus.domain.lots import Term
from prometheus.domain.money import allocate_cents, plain_text
from prometheus.ledger.postings import LossLink, PostingKind
from prometheus.ledger.reports.amounts import NOT_ADVICE, money_text, total
from prometheus.ledger.reports.broker_view import BrokerFigures
from prometheus.ledger.reports.form_8949 import Reporting
from prometheus.ledger.reports.lines import DispositionLine, LineKey, natural_order

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Row1099B:
    """One sale as a Form 1099-B (or 1099-DA) shows it. Amounts are cents, USD.

    Attributes:
        account: The account, by our name.
        security: CUSIP number or ticker (box 1a, CUSIP).
        quantity: Shares, positive.
        acquired_on: Box 1b; None for VARIOUS or an empty box.
        sold_on: Box 1c.
        proceeds: Box 1d.
        basis: Box 1e; None where it is empty.
        disallowed: Box 1g, wash sale loss disallowed, positive.
        term: Box 2; NONE where it says nothing.
        is_covered: Whether box 12 says that the basis was reported to the IRS.
    """

    account: str
    security: str
    quantity: Decimal
    acquired_on: date | None
    sold_on: date
    proceeds: Decimal
    basis: Decimal | None
    disallowed: Decimal = _ZERO
    term: Term = Term.NONE
    is_covered: bool = True


class Outcome(StrEnum):
    """What became of a comparison. MISSING is not on the form; EXTRA is on the form alone."""

    MATCH = "MATCH"
    DIFFERS = "DIFFERS"
    MISSING = "MISSING"
    EXTRA = "EXTRA"


class Reason(StrEnum):
    """Why an amount differs.

    HOUSEHOLD_WASH: a wash sale that reaches over accounts or securities, which a broker does not look at.
    NOT_OURS: neither our figure nor the one that the broker's own account gives.
    """

    HOUSEHOLD_WASH = "HOUSEHOLD_WASH"
    NOT_OURS = "NOT_OURS"
    MISSING = "MISSING"
    EXTRA = "EXTRA"


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that differs.

    Attributes:
        what: proceeds, basis, disallowed, term, acquired or row.
        ours: Our figure, as text.
        theirs: That of the form, as text.
        effect: By how much the form's gain is larger for it, cents; zero for term and dates.
        reason: Why.
        explanation: The same as a sentence.
    """

    what: str
    ours: str
    theirs: str
    effect: Decimal
    reason: Reason
    explanation: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Rows of the form and our lines that are the same sale. Several of either where lots are split differently."""

    outcome: Outcome
    rows: tuple[Row1099B, ...]
    lines: tuple[DispositionLine, ...]
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """A form compared. ``their_gain`` = ``our_gain`` + the sum of ``effects``, to the cent.

    Attributes:
        compared: By account, sale, security and acquisition.
        our_gain: Gain of our lines, what is disallowed left out.
        their_gain: Proceeds less basis plus disallowed loss of the form; where it shows no basis, with ours.
        effects: What each reason makes of the difference.
        notice: That this is a calculation and no advice.
    """

    compared: tuple[Compared, ...]
    our_gain: Decimal
    their_gain: Decimal
    effects: Mapping[Reason, Decimal] = field(default_factory=dict)
    notice: str = NOT_ADVICE

    def count(self, outcome: Outcome) -> int:
        """Return how many comparisons came out so."""
        return sum(each.outcome is outcome for each in self.compared)


def compare_1099b(
    rows: Iterable[Row1099B],
    lines: Iterable[DispositionLine],
    figures: Mapping[LineKey, BrokerFigures],
    *,
    tickers: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare a broker's form with our lines.

    Rows and lines meet by account, security and date of sale; among these by quantity and acquisition, then by
    acquisition with the same shares in all, then by quantity, then with the same shares in all.

    Args:
        rows: The form's rows of one tax year.
        lines: Our lines of the same accounts and year.
        figures: What a broker that sees one account and one security would report (``broker_view``).
        tickers: CUSIP number to ticker; a security that is not listed is a ticker.

    Returns:
        All rows and all lines, each once.

    Source: Form 1099-B boxes 1a to 1g, 2 and 12; Treas. Reg. 1.6045-1(d)(6)(iii).
    """
    known = tickers or {}
    sales: dict[tuple[str, str, date], tuple[list[Row1099B], list[DispositionLine]]] = defaultdict(lambda: ([], []))
    for row in rows:
        sales[row.account, known.get(row.security, row.security), row.sold_on][0].append(row)
    days_of_rows = set(sales)
    for line in lines:
        if line.key.kind is PostingKind.RETURN_OF_CAPITAL:
            continue  # a Form 1099-DIV has it
        sale = (line.account, line.ticker, line.sold_on)
        if line.key.kind is PostingKind.COVER_SHORT and sale not in days_of_rows:
            # Brokers show the day of the purchase as often as that of the delivery.
            sale = (line.account, line.ticker, line.tax_date)
        sales[sale][1].append(line)
    compared: list[Compared] = []
    for each in sorted(sales, key=lambda sale: (natural_order(sale[0]), sale[2], natural_order(sale[1]))):
        for some_rows, some_lines in _paired(*sales[each]):
            compared.append(_compared(some_rows, some_lines, figures))
    effects: dict[Reason, Decimal] = {}
    for difference in (difference for pair in compared for difference in pair.differences):
        effects[difference.reason] = effects.get(difference.reason, _ZERO) + difference.effect
    our_gain = total(line.gain for pair in compared for line in pair.lines)
    return Comparison(tuple(compared), our_gain, our_gain + total(effects.values()), effects)


# ---------------------------------------------------------------- who meets whom

_Pair = tuple[tuple[Row1099B, ...], tuple[DispositionLine, ...]]


def _paired(rows: list[Row1099B], lines: list[DispositionLine]) -> list[_Pair]:
    """Pair the rows and lines of one security sold on one day in one account; what is alone stays alone."""
    pairs: list[_Pair] = []
    _meet_singly(
        pairs, rows, lines, lambda row: (row.quantity, row.acquired_on), lambda line: (line.quantity, line.acquired_on)
    )
    for acquired_on in sorted({row.acquired_on for row in rows if row.acquired_on is not None}):
        _meet_together(
            pairs,
            rows,
            lines,
            [row for row in rows if row.acquired_on == acquired_on],
            [line for line in lines if line.acquired_on == acquired_on],
        )
    _meet_singly(pairs, rows, lines, lambda row: row.quantity, lambda line: line.quantity)
    _meet_together(pairs, rows, lines, list(rows), list(lines))
    pairs += [((row,), ()) for row in rows]
    pairs += [((), (line,)) for line in lines]
    return pairs


def _meet_singly(
    pairs: list[_Pair],
    rows: list[Row1099B],
    lines: list[DispositionLine],
    of_row: Callable[[Row1099B], object],
    of_line: Callable[[DispositionLine], object],
) -> None:
    for row in list(rows):
        alike = [line for line in lines if of_line(line) == of_row(row)]
        if alike:
            line = min(alike, key=lambda each: (abs(each.proceeds - row.proceeds), _basis_gap(each, row)))
            rows.remove(row)
            lines.remove(line)
            pairs.append(((row,), (line,)))


def _basis_gap(line: DispositionLine, row: Row1099B) -> Decimal:
    return _ZERO if row.basis is None else abs(line.basis - row.basis)


def _meet_together(
    pairs: list[_Pair],
    rows: list[Row1099B],
    lines: list[DispositionLine],
    some_rows: list[Row1099B],
    some_lines: list[DispositionLine],
) -> None:
    if not some_rows or not some_lines:
        return
    if total(row.quantity for row in some_rows) != total(line.quantity for line in some_lines):
        return
    for row in some_rows:
        rows.remove(row)
    for line in some_lines:
        lines.remove(line)
    pairs.append((tuple(some_rows), tuple(some_lines)))


# ---------------------------------------------------------------- what differs


def _compared(
    rows: tuple[Row1099B, ...], lines: tuple[DispositionLine, ...], figures: Mapping[LineKey, BrokerFigures]
) -> Compared:
    if not lines:
        return Compared(Outcome.EXTRA, rows, lines, tuple(_extra(row) for row in rows))
    if not rows:
        return Compared(Outcome.MISSING, rows, lines, tuple(_missing(line) for line in lines))
    reported = [figures.get(line.key, BrokerFigures(line.basis, line.disallowed_loss, line.term)) for line in lines]
    unseen = tuple(dict.fromkeys(link for each in reported for link in each.unseen))
    expected_basis = total(
        each.basis if each.basis is not None else line.basis for each, line in zip(reported, lines, strict=True)
    )
    differences = [
        _amount("proceeds", lines, total(line.proceeds for line in lines), total(row.proceeds for row in rows), 1),
        _basis(rows, lines, expected_basis, unseen),
        _disallowed(rows, lines, total(each.disallowed for each in reported)),
        _term(rows, lines, {each.term for each in reported}, unseen),
        _acquired(rows, lines),
    ]
    kept = tuple(each for each in differences if each is not None)
    return Compared(Outcome.DIFFERS if kept else Outcome.MATCH, rows, lines, kept)


def _extra(row: Row1099B) -> Difference:
    gain = row.proceeds - (row.basis or _ZERO) + row.disallowed
    text = f"{plain_text(row.quantity)} {row.security}"
    return Difference(
        "row", "", text, gain, Reason.EXTRA, f"The form has a sale of {text} on {row.sold_on} that our books lack."
    )


def _missing(line: DispositionLine) -> Difference:
    return Difference(
        "row",
        line.description,
        "",
        -line.gain,
        Reason.MISSING,
        f"The form lacks our sale of {line.description} on {line.sold_on}.",
    )


def _amount(
    what: str, lines: Sequence[DispositionLine], ours: Decimal, theirs: Decimal, sign: int
) -> Difference | None:
    if ours == theirs:
        return None
    explanation = (
        f"The {what} of {lines[0].description} differ by {money_text(theirs - ours)} without a cause in our books."
    )
    return Difference(what, money_text(ours), money_text(theirs), sign * (theirs - ours), Reason.NOT_OURS, explanation)


def _basis(
    rows: Sequence[Row1099B], lines: Sequence[DispositionLine], expected: Decimal, unseen: Sequence[LossLink]
) -> Difference | None:
    shown = [row.basis for row in rows if row.basis is not None]
    if len(shown) < len(rows):
        return None  # an empty box contradicts nothing
    ours, theirs = total(line.basis for line in lines), total(shown)
    differing = _amount("basis", lines, ours, theirs, -1)
    if differing is None or theirs != expected:
        return differing
    losses = "; ".join(f"{link.ticker} sold in account {link.lot.account} on {link.day}" for link in unseen)
    amount = money_text(ours - theirs)
    explanation = f"{amount} of our basis is disallowed loss that the broker of {lines[0].account} does not see"
    explanation += f": {losses}." if losses else "."
    return replace(differing, reason=Reason.HOUSEHOLD_WASH, explanation=explanation)


def _disallowed(rows: Sequence[Row1099B], lines: Sequence[DispositionLine], expected: Decimal) -> Difference | None:
    ours, theirs = total(line.disallowed_loss for line in lines), total(row.disallowed for row in rows)
    differing = _amount("disallowed", lines, ours, theirs, 1)
    if differing is None or theirs != expected:
        return differing
    elsewhere = sorted(
        {each.account for line in lines for each in line.replacements if each.account != line.account},
        key=natural_order,
    )
    where = f" in {', '.join(elsewhere)}" if elsewhere else " of another security of its group"
    amount = money_text(ours - theirs)
    explanation = f"{amount} of the loss met purchases{where}, which the broker of {lines[0].account} does not look at."
    return replace(differing, reason=Reason.HOUSEHOLD_WASH, explanation=explanation)


def _term(
    rows: Sequence[Row1099B], lines: Sequence[DispositionLine], expected: set[Term], unseen: Sequence[LossLink]
) -> Difference | None:
    ours, theirs = {line.term for line in lines}, {row.term for row in rows} - {Term.NONE}
    if not theirs or ours == theirs:
        return None
    is_household = theirs == expected and bool(unseen)
    return Difference(
        "term",
        "/".join(sorted(term.value for term in ours)),
        "/".join(sorted(term.value for term in theirs)),
        _ZERO,
        Reason.HOUSEHOLD_WASH if is_household else Reason.NOT_OURS,
        "Our holding period has the days of shares sold at a loss elsewhere (26 U.S.C. 1223(3))."
        if is_household
        else f"The holding period of {lines[0].description} differs without a cause in our books.",
    )


def _acquired(rows: Sequence[Row1099B], lines: Sequence[DispositionLine]) -> Difference | None:
    ours = {line.acquired_on for line in lines}
    theirs = {row.acquired_on for row in rows if row.acquired_on is not None}
    if not theirs or theirs <= ours:
        return None
    return Difference(
        "acquired",
        ", ".join(day.isoformat() for day in sorted(ours)),
        ", ".join(day.isoformat() for day in sorted(theirs)),
        _ZERO,
        Reason.NOT_OURS,
        f"The form has another date of acquisition for {lines[0].description}.",
    )


# ---------------------------------------------------------------- what Form 8949 takes from it


def statement_figures(comparison: Comparison) -> Mapping[LineKey, BrokerFigures]:
    """Return what the form says of each of our lines, for column (e) and codes B, T and W of Form 8949.

    Amounts of rows that several lines share go to them by shares, to the cent.

    Source: Instructions for Form 8949, column (e), "Form 1099-B or Form 1099-DA".
    """
    figures: dict[LineKey, BrokerFigures] = {}
    for each in comparison.compared:
        if not each.rows or not each.lines:
            continue
        weights = [line.quantity or _ONE for line in each.lines]
        shown = [row.basis for row in each.rows if row.basis is not None]
        bases: Sequence[Decimal | None] = [None] * len(weights)
        if len(shown) == len(each.rows):
            bases = allocate_cents(total(shown), weights)
        washes = allocate_cents(total(row.disallowed for row in each.rows), weights)
        terms = {row.term for row in each.rows}
        term = terms.copy().pop() if len(terms) == 1 else Term.NONE
        for line, basis, washed in zip(each.lines, bases, washes, strict=True):
            figures[line.key] = BrokerFigures(basis, washed, term, is_statement=True)
    return figures


def statement_reporting(comparison: Comparison) -> Mapping[LineKey, Reporting]:
    """Return what the form reports of each of our lines to the IRS; lines that it lacks have NOTHING.

    Source: Form 1099-B box 12; Instructions for Form 8949 (2025), boxes A to L.
    """
    reporting: dict[LineKey, Reporting] = {}
    for each in comparison.compared:
        is_reported = bool(each.rows) and all(row.is_covered and row.basis is not None for row in each.rows)
        kind = Reporting.BASIS if is_reported else Reporting.PROCEEDS if each.rows else Reporting.NOTHING
        reporting.update({line.key: kind for line in each.lines})
    return reporting
