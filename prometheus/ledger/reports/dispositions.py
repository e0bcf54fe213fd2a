"""Postings read as a tax return reads them: one line for each lot sold, with what was disallowed of its loss."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.domain.accounts import TaxRegime
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import DISALLOWANCES, DISPOSITIONS, LossLink, Posting, PostingKind
from prometheus.ledger.reports.amounts import total
from prometheus.ledger.reports.lines import DispositionLine, LineKey, Replacement, line_order, natural_order
from prometheus.ledger.terms import AssetClass, Terms
from prometheus.ledger.window import WINDOW

_ZERO: Final = Decimal(0)


# ---------------------------------------------------------------- postings that count


def effective_postings(postings: Iterable[Posting]) -> tuple[Posting, ...]:
    """Return the postings that count: a reversal and the posting that it reverses are both left out.

    A reversal repeats the posting with opposite signs, so it finds it by content; rows need no numbers.

    Args:
        postings: All postings, in the order in which they were written.

    Raises:
        AccountingError: A reversal of a posting that is not there.
    """
    rows = tuple(postings)
    if all(row.reverses is None for row in rows):
        return rows
    # Contents are compared only where an event and a kind have a reversal; most have none.
    touched = {(row.event, row.kind) for row in rows if row.reverses is not None}
    reversed_rows = Counter(_content(row, -1) for row in rows if row.reverses is not None)
    counting = []
    for row in reversed(rows):
        # Backwards: a row written again after its reversal is the one that stays.
        if row.reverses is not None:
            continue
        if (row.event, row.kind) not in touched:
            counting.append(row)
            continue
        content = _content(row, 1)
        if reversed_rows[content] > 0:
            reversed_rows[content] -= 1
        else:
            counting.append(row)
    missing = next((content for content, number in reversed_rows.items() if number > 0), None)
    if missing is not None:
        raise AccountingError(
            f"A {missing.kind} of {missing.account} on {missing.day} is reversed, but no posting is there that it "
            "reverses. Give all postings, in the order in which they were written.",
            details={"account": missing.account, "event_id": missing.event.event_id},
        )
    return tuple(reversed(counting))


def _content(row: Posting, sign: int) -> Posting:
    """Return what a row says, with the signs of the row that it reverses (-1) or its own (1)."""
    loss = row.loss
    return replace(
        row,
        quantity=sign * row.quantity,
        cash=sign * row.cash,
        cost_basis=sign * row.cost_basis,
        adjusted_basis=sign * row.adjusted_basis,
        realized_gain=sign * row.realized_gain,
        fee=sign * row.fee,
        loss=loss and replace(loss, amount=abs(loss.amount), shares=abs(loss.shares)),
        reverses=None,
        correction_id="",
    )


def is_disposition(row: Posting) -> bool:
    """Return whether a posting realises a gain or loss; exchanges and plain returns of capital do not."""
    return row.kind in DISPOSITIONS and row.tax_date is not None


# ---------------------------------------------------------------- lines


def disposition_lines(
    postings: Iterable[Posting], terms: Terms, *, as_of: date | None = None
) -> tuple[DispositionLine, ...]:
    """Read the dispositions of taxable accounts out of postings.

    Args:
        postings: All postings of a household in the order in which they were written, reversals included.
        terms: Under what terms they were booked.
        as_of: Day on which losses count as provisional; the day of the last posting where None.

    Returns:
        Lines of all years, as ``line_order`` sorts them.

    Raises:
        AccountingError: A reversal or a disallowance without the posting that it belongs to.

    Source: the postings; Treas. Reg. 1.1091-1(a) and ITA s. 54 for the thirty days of ``provisional_until``.
    """
    rows = effective_postings(postings)
    today = as_of or max((row.day for row in rows), default=date.min)
    lines = _lines((row for row in rows if is_disposition(row) and not terms.is_sheltered(row.account)), terms)
    lines = _with_resold(lines, [row for row in rows if row.kind is PostingKind.CARRIED_LOSS and row.realized_gain])
    with_losses = _with_disallowances(lines, [row for row in rows if row.kind in DISALLOWANCES], terms)
    return tuple(sorted((_provisional(line, terms, today) for line in with_losses), key=line_order))


def _lines(rows: Iterable[Posting], terms: Terms) -> list[DispositionLine]:
    """Return a line for each lot that an event disposed of.

    Canada writes a sale again where the end of a window changes the cost of the pool that it took shares from: that row
    has no shares, no proceeds and no dates of its own, and becomes part of the line of the sale.
    """
    lines: dict[LineKey, DispositionLine] = {}
    for row in rows:
        line = _line(row, terms)
        first = lines.get(line.key)
        lines[line.key] = line if first is None else _joined(first, line, is_dated=row.acquired_on is not None)
    return list(lines.values())


def _joined(first: DispositionLine, other: DispositionLine, *, is_dated: bool) -> DispositionLine:
    dated = other if is_dated and not first.quantity else first
    return replace(
        dated,
        quantity=first.quantity + other.quantity,
        proceeds=first.proceeds + other.proceeds,
        fee=first.fee + other.fee,
        cost_basis=first.cost_basis + other.cost_basis,
        basis=first.basis + other.basis,
        realized_gain=first.realized_gain + other.realized_gain,
    )


def _line(row: Posting, terms: Terms) -> DispositionLine:
    tax_date, lot = row.tax_date, row.lot
    assert tax_date is not None  # the caller looks
    assert lot is not None  # a disposition names its lot
    acquired_on = row.acquired_on or row.day
    start = row.holding_period_start or acquired_on
    sold_on = row.day
    basis, cost, fee = -row.adjusted_basis, -row.cost_basis, row.fee
    match row.kind:
        case PostingKind.COVER_SHORT:
            # Shares bought to cover were acquired on that day and are delivered when the purchase settles; shares held
            # keep their dates. Source: Instructions for Form 8949, columns (b) and (c), "short sale".
            if terms.regime is TaxRegime.US:
                sold_on = row.settle_date or row.day
            if row.quantity > 0:
                # The commission of the purchase is part of its cost; that of the short sale is off its proceeds.
                basis = cost = -row.cash
                fee = _ZERO
                acquired_on = start = row.day
        case PostingKind.RETURN_OF_CAPITAL:
            # The part that lowers the basis is no proceeds. Source: Instructions for Form 8949, "Nondividend
            # distributions".
            basis = cost = _ZERO
    return DispositionLine(
        key=LineKey(row.event, lot, row.kind),
        taxpayer=terms.taxpayer_of(row.account),
        ticker=row.ticker,
        asset_class=terms.asset_class_of(row.ticker),
        quantity=abs(row.quantity),
        acquired_on=acquired_on,
        holding_period_start=start,
        sold_on=sold_on,
        tax_date=tax_date,
        proceeds=row.realized_gain + basis,
        fee=fee,
        cost_basis=cost,
        basis=basis,
        realized_gain=row.realized_gain,
        term=row.term,
    )


def _with_resold(lines: list[DispositionLine], rows: Iterable[Posting]) -> list[DispositionLine]:
    """Raise the basis of shares that were sold before the loss that they carry, as a broker's form does.

    Only books under the tie rule FORM_1099B have such rows. Source: 26 U.S.C. 1091(d).
    """
    carried: dict[tuple[EventKey | None, LotKey | None], Decimal] = defaultdict(Decimal)
    for row in rows:
        assert row.loss is not None  # a carried loss names its loss
        carried[row.loss.resold, row.loss.replacement] -= row.realized_gain
    raised = []
    for line in lines:
        amount = carried.pop((line.key.event, line.key.lot), _ZERO)
        raised.append(replace(line, basis=line.basis + amount, realized_gain=line.realized_gain - amount))
    if carried:
        event, lot = next(iter(carried))
        raise AccountingError(f"A loss is carried by the sale {event} of {lot}, but no posting of that sale is there.")
    return raised


def _with_disallowances(
    lines: Sequence[DispositionLine], rows: Iterable[Posting], terms: Terms
) -> list[DispositionLine]:
    """Give each line what was disallowed of its loss."""
    sold: dict[tuple[EventKey, LotKey], list[int]] = defaultdict(list)
    for i, line in enumerate(lines):
        sold[line.key.event, line.key.lot].append(i)
    disallowed: dict[int, list[Replacement]] = defaultdict(list)
    left = {i: -line.realized_gain for i, line in enumerate(lines)}
    for row in rows:
        link = row.loss
        assert link is not None  # a disallowance names its loss
        at = sold.get((link.event, link.lot))
        if not at:
            raise AccountingError(
                f"A loss of {link.ticker} on {link.day} is disallowed, but {link.lot.account} has no posting of it.",
                details={"account": link.lot.account, "event_id": link.event.event_id, "lot_id": link.lot.lot_id},
            )
        # One event seldom sells a lot twice (a merger and its fraction); the first loss takes what it can. In Canada a
        # line can be a gain in the end, when what was denied of its loss is written back.
        i = next((i for i in at if left[i] > 0), at[-1])
        left[i] -= row.realized_gain
        disallowed[i].append(_replacement(link, row, terms))
    return [
        replace(
            line,
            disallowed_loss=total(each.amount for each in disallowed[i]),
            replacements=_netted(disallowed[i]),
        )
        if i in disallowed
        else line
        for i, line in enumerate(lines)
    ]


def _netted(parts: Iterable[Replacement]) -> tuple[Replacement, ...]:
    """Return where a loss went in the end; in Canada day 30 can let a part of it go again."""
    sums: dict[tuple[str, str, bool], Replacement] = {}
    for part in parts:
        place = (part.account, part.lot_id, part.is_permanent)
        before = sums.get(place)
        sums[place] = (
            part
            if before is None
            else replace(
                part,
                shares=before.shares + part.shares,
                amount=before.amount + part.amount,
                day=max(before.day, part.day),
            )
        )
    return tuple(
        sorted(
            (part for part in sums.values() if part.amount),
            key=lambda part: (part.day, natural_order(part.account), natural_order(part.lot_id), part.is_permanent),
        )
    )


def _replacement(link: LossLink, row: Posting, terms: Terms) -> Replacement:
    where = link.replacement
    return Replacement(
        account="" if where is None else where.account,
        taxpayer="" if where is None else terms.taxpayer_of(where.account),
        lot_id="" if where is None else where.lot_id,
        shares=link.shares if row.realized_gain >= 0 else -abs(link.shares),
        amount=row.realized_gain,
        is_permanent=link.is_permanent,
        day=row.day,
    )


def _provisional(line: DispositionLine, terms: Terms, as_of: date) -> DispositionLine:
    """Mark a loss that a purchase can still change.

    In Canada a denial depends on what is held on day 30, so every loss can change but that of a short sale, of which
    nothing is denied; in the US only what is still allowed can change.
    """
    is_us = terms.regime is TaxRegime.US
    if not is_us and line.key.kind is PostingKind.COVER_SHORT:
        return line
    # The window runs from the trade date, which taxes in the US; a covered short sale is delivered later.
    last_day = (line.tax_date if is_us else line.sold_on) + WINDOW
    if line.realized_gain >= 0 or as_of > last_day:
        return line
    if is_us and (line.gain >= 0 or line.asset_class is not AssetClass.SECURITY):
        return line
    return replace(line, provisional_until=last_day)
