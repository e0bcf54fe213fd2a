"""What a broker knows of each line: the wash sales of one account and one security, and nothing of the others.

A broker's form adjusts basis and term for wash sales within one account and one CUSIP number (Treas. Reg.
1.6045-1(d)(6)(iii), (d)(7)(ii)); a loss that another account, another security of the group or an IRA washed is the
taxpayer's to report. The view is derived from the postings; ``figures_of_fold`` takes it from a second fold of the same
events with the tie rule ``scope`` at FORM_1099B instead, which also has the washes that only the broker sees.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Final

from prometheus.domain.lots import Term
from prometheus.domain.money import allocate_cents, to_cents
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.lots import term_of
from prometheus.ledger.postings import LossLink, Posting, PostingKind
from prometheus.ledger.reports.amounts import total
from prometheus.ledger.reports.dispositions import effective_postings, is_disposition
from prometheus.ledger.reports.lines import DispositionLine, LineKey
from prometheus.ledger.terms import Terms
from prometheus.ledger.tie_rules import Tacking, WashScope

_ZERO: Final = Decimal(0)
#: Kinds that take shares out of one lot and bring them in as another one.
_MOVES: Final = frozenset({PostingKind.LOT_SPLIT, PostingKind.TRANSFER_OUT, PostingKind.SPINOFF})
#: Kinds that open a lot of their own.
_OPENINGS: Final = frozenset(
    {
        PostingKind.OPENING,
        PostingKind.BUY,
        PostingKind.REINVESTMENT,
        PostingKind.TRANSFER_IN,
        PostingKind.SHORT_SALE,
    }
)


@dataclass(frozen=True, slots=True)
class BrokerFigures:
    """What the broker reports of a line.

    Attributes:
        basis: Cents; None where the statement shows none.
        disallowed: Wash-sale loss disallowed, positive cents.
        term: SHORT or LONG; NONE where the statement says nothing.
        unseen: Losses of other accounts or securities whose disallowed part is in our basis, not in the broker's.
        is_statement: Whether this is what a Form 1099-B says; False where it is derived.
    """

    basis: Decimal | None
    disallowed: Decimal
    term: Term
    unseen: tuple[LossLink, ...] = ()
    is_statement: bool = False


@dataclass(slots=True)
class _Lot:
    """A lot as the broker sees it, while postings are read."""

    start: date
    carried: Decimal = _ZERO
    unseen: Decimal = _ZERO
    links: tuple[LossLink, ...] = ()
    #: Whether shares have joined it whose carried loss comes next, so that it begins when the lot begins already.
    is_joined: bool = False


@dataclass(slots=True)
class _Sold:
    """A disposition as the broker sees it."""

    loss: Decimal
    broker_loss: Decimal
    unseen: Decimal
    start: date
    links: tuple[LossLink, ...]
    disallowed: Decimal = _ZERO


def broker_figures(
    lines: Iterable[DispositionLine], postings: Iterable[Posting], terms: Terms
) -> Mapping[LineKey, BrokerFigures]:
    """Derive from the postings what the broker of each account reports.

    Books that are kept under the scope ACCOUNT or FORM_1099B are the broker's view already.

    Args:
        lines: Our lines.
        postings: All postings of the household, reversals included.
        terms: Under what terms they were booked.

    Source: Treas. Reg. 1.6045-1(d)(6)(iii)(A): same account, same CUSIP number.
    """
    if terms.ties.scope is not WashScope.HOUSEHOLD:
        return {line.key: BrokerFigures(line.basis, line.disallowed_loss, line.term) for line in lines}
    reader = _Reader(terms)
    # New rows of a correction are stored after the rows that it left alone, those of later days included.
    rows = sorted((row for row in effective_postings(postings) if row.lot is not None), key=lambda row: row.day)
    for _, of_day in groupby(rows, key=lambda row: row.day):
        reader.read_day(list(of_day))
    figures = {}
    for line in lines:
        sold = reader.sold.get(line.key)
        if sold is None or line.key.kind is PostingKind.COVER_SHORT:
            figures[line.key] = BrokerFigures(line.basis, line.disallowed_loss, line.term)
            continue
        term = term_of(sold.start, line.sold_on) if sold.start != line.holding_period_start else line.term
        figures[line.key] = BrokerFigures(line.basis - sold.unseen, sold.disallowed, term, sold.links)
    return figures


class _Reader:
    """Follows the part of each lot's basis that the broker does not know of."""

    def __init__(self, terms: Terms) -> None:
        self._adds_days = terms.ties.tacking is Tacking.DAYS_HELD
        self._lots: dict[LotKey, _Lot] = {}
        self._moving: dict[LotKey, _Lot] = {}
        self._losses: dict[tuple[EventKey, LotKey], _Sold] = {}
        self.sold: dict[LineKey, _Sold] = {}

    def read_day(self, rows: list[Posting]) -> None:
        """Take in the postings of a day, each as soon as what it builds on is there."""
        while rows:
            waiting = []
            for row in rows:
                if self._is_ready(row):
                    self._read(row)
                else:
                    waiting.append(row)
            if len(waiting) == len(rows):
                # What they build on is not among the postings.
                for row in waiting:
                    self._read(row)
                return
            rows = waiting

    def _is_ready(self, row: Posting) -> bool:
        if row.former is not None and row.former != row.lot:
            return row.former in self._moving or row.kind is PostingKind.MERGER
        if row.kind in _OPENINGS:
            return True
        if row.kind is PostingKind.CARRIED_LOSS and row.loss is not None:
            return row.lot in self._lots and (row.loss.event, row.loss.lot) in self._losses
        return row.lot in self._lots

    def _read(self, row: Posting) -> None:
        key = row.lot
        assert key is not None  # the caller looks
        lot = self._lots.get(key)
        is_part = row.former is not None and row.former != key
        if lot is not None and is_part and row.kind is PostingKind.LOT_SPLIT:
            self._join(lot, row)
            return
        if lot is None or is_part or row.kind in _OPENINGS:
            self._lots[key] = self._opened(row, is_part=is_part)
            return
        if row.kind is PostingKind.CARRIED_LOSS:
            self._carry(row, lot)
            return
        if row.kind is PostingKind.HOLDING_PERIOD:
            # A short sale in another account is nothing that the broker of this one sees.
            if row.event.account == row.account and row.holding_period_start is not None:
                lot.start = row.holding_period_start
            return
        departed = self._take(lot, row)
        if row.kind in _MOVES:
            self._moving[key] = departed
        if is_disposition(row):
            self._sell(row, key, lot, departed)

    def _opened(self, row: Posting, *, is_part: bool) -> _Lot:
        """Return a lot that comes in: with what its shares carried where they come from another lot."""
        moved = self._moving.pop(row.former, None) if is_part and row.former is not None else None
        if moved is not None:
            return moved
        start = row.holding_period_start or row.acquired_on or row.day
        return _Lot(start, carried=row.adjusted_basis - row.cost_basis)

    def _join(self, lot: _Lot, row: Posting) -> None:
        """Add shares to another part of their purchase; the broker sees all that either of the two carries."""
        moved = self._opened(row, is_part=True)
        lot.carried += moved.carried
        lot.is_joined = True

    def _take(self, lot: _Lot, row: Posting) -> _Lot:
        """Take a part of what the lot carries out of it, in proportion."""
        change = row.adjusted_basis - row.cost_basis
        departed = _Lot(lot.start, links=lot.links)
        if change < 0 < lot.carried:
            departed.carried = min(-change, lot.carried)
            is_whole = departed.carried == lot.carried
            departed.unseen = lot.unseen if is_whole else to_cents(lot.unseen * departed.carried / lot.carried)
        lot.carried += change
        lot.unseen -= departed.unseen
        return departed

    def _sell(self, row: Posting, key: LotKey, lot: _Lot, departed: _Lot) -> None:
        sold = self.sold[LineKey(row.event, key, row.kind)] = _Sold(
            loss=max(-row.realized_gain, _ZERO),
            broker_loss=max(-row.realized_gain - departed.unseen, _ZERO),
            unseen=departed.unseen,
            start=lot.start,
            links=lot.links if departed.unseen or lot.start != row.holding_period_start else (),
        )
        if sold.loss:
            self._losses.setdefault((row.event, key), sold)

    def _carry(self, row: Posting, lot: _Lot) -> None:
        """Add a disallowed loss: what the broker knows of it, and what it does not."""
        link = row.loss
        assert link is not None  # a carried loss names its loss
        lot.carried += link.amount
        sold = self._losses.get((link.event, link.lot))
        is_own = link.lot.account == row.account and link.ticker == row.ticker
        known = link.amount if is_own else _ZERO
        if known and sold is not None:
            # Where the basis sold had an unseen loss in it, the broker's loss is smaller, and so is what it disallows.
            known = to_cents(link.amount * sold.broker_loss / sold.loss)
            sold.disallowed += known
            if known and not lot.is_joined:
                lot.start = lot.start - (link.day - sold.start) if self._adds_days else min(lot.start, sold.start)
        lot.is_joined = False
        if known != link.amount:
            lot.unseen += link.amount - known
            lot.links = (*lot.links, link)


def figures_of_fold(
    lines: Sequence[DispositionLine], broker_lines: Iterable[DispositionLine]
) -> Mapping[LineKey, BrokerFigures]:
    """Take the broker's view from lines of a second fold, whose terms have the scope FORM_1099B or ACCOUNT.

    The two folds split lots differently, so lines meet by event, account, security and acquisition date. Where they
    have the same shares together, the broker's amounts are shared out over ours by shares, to the cent.

    Args:
        lines: Our lines.
        broker_lines: Lines of the second fold.

    Source: Treas. Reg. 1.6045-1(d)(6)(iii).
    """
    ours, theirs = _by_purchase(lines), _by_purchase(broker_lines)
    figures: dict[LineKey, BrokerFigures] = {}
    for purchase, group in ours.items():
        others = theirs.get(purchase, [])
        if total(line.quantity for line in group) != total(line.quantity for line in others):
            continue
        figures.update(shared_figures(group, others))
    return figures


def shared_figures(group: Sequence[DispositionLine], others: Sequence[DispositionLine]) -> dict[LineKey, BrokerFigures]:
    """Share the amounts of a broker's lines out over ours by shares; both have the same shares together."""
    weights = [line.quantity or Decimal(1) for line in group]
    bases = allocate_cents(total(line.basis for line in others), weights)
    washes = allocate_cents(total(line.disallowed_loss for line in others), weights)
    terms = {line.term for line in others}
    return {
        line.key: BrokerFigures(basis, washed, terms.copy().pop() if len(terms) == 1 else line.term)
        for line, basis, washed in zip(group, bases, washes, strict=True)
    }


def _by_purchase(lines: Iterable[DispositionLine]) -> Mapping[object, list[DispositionLine]]:
    groups: dict[object, list[DispositionLine]] = defaultdict(list)
    for line in lines:
        groups[line.key.event, line.key.kind, line.account, line.ticker, line.acquired_on].append(line)
    return groups
