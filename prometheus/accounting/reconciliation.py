"""Two states of the same books held against each other: the journal replayed, and the tables kept for speed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from prometheus.domain.books import Books
from prometheus.domain.lots import TaxLot
from prometheus.domain.money import plain_text

_NUMBERS: Final = ("quantity", "cost_basis", "adjusted_basis")
_OTHERS: Final = ("ticker", "acquired_on", "holding_period_start")


@dataclass(frozen=True, slots=True)
class BooksDifference:
    """One thing that the journal and the tables say differently.

    Attributes:
        subject: ``cash`` or the lot, by its identifier.
        field: What of it differs; empty where only one side has the lot.
        journal: What the replay gives.
        tables: What is stored.
    """

    subject: str
    field: str
    journal: str
    tables: str

    def __str__(self) -> str:
        what = f"{self.subject} {self.field}".rstrip()
        return f"{what}: the journal gives {self.journal}, the tables say {self.tables}"


def differences(journal: Books, tables: Books) -> Iterator[BooksDifference]:
    """Yield every difference between the replayed journal and the tables: cash first, then lots by identifier."""
    if journal.cash != tables.cash:
        yield BooksDifference("cash", "", plain_text(journal.cash), plain_text(tables.cash))
    ours = {lot.lot_id: lot for lot in journal.lots}
    theirs = {lot.lot_id: lot for lot in tables.lots}
    if ours == theirs:
        return
    for lot_id in sorted(ours.keys() | theirs.keys()):
        yield from _of_lot(lot_id, ours.get(lot_id), theirs.get(lot_id))


def _of_lot(lot_id: str, ours: TaxLot | None, theirs: TaxLot | None) -> Iterator[BooksDifference]:
    subject = f"lot {lot_id}"
    if ours is None or theirs is None:
        yield BooksDifference(subject, "", _shares(ours), _shares(theirs))
        return
    for name in _NUMBERS:
        left, right = getattr(ours, name), getattr(theirs, name)
        if left != right:
            yield BooksDifference(subject, name, plain_text(left), plain_text(right))
    for name in _OTHERS:
        left, right = getattr(ours, name), getattr(theirs, name)
        if left != right:
            yield BooksDifference(subject, name, str(left), str(right))


def _shares(lot: TaxLot | None) -> str:
    return "no such lot" if lot is None else f"{plain_text(lot.quantity)} shares of {lot.ticker}"
