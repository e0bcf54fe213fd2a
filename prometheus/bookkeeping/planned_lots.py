"""Which lots a sale takes of those that its run planned: as many as nothing has used, while they are held. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from prometheus.domain.books import LotPick
from prometheus.domain.money import nearest_step
from prometheus.domain.orders import RunOrder
from prometheus.ledger.state import State

_ZERO: Final = Decimal(0)
#: Last decimal of a stored number of shares.
STORED_STEP: Final = Decimal("0.00000001")


class LotsLeft:
    """Shares of an account's lots that a day's sales have not taken yet."""

    def __init__(self, state: State, account: str) -> None:
        self._left: dict[str, Decimal] = {}
        self._parts: dict[str, list[str]] = defaultdict(list)
        for lot in state.lots.values():
            if lot.key.account == account:
                self._left[lot.key.lot_id] = lot.quantity
                if lot.root_id != lot.key.lot_id and lot.origin.account == account:
                    self._parts[lot.root_id].append(lot.key.lot_id)

    def left_of(self, lot_id: str) -> Decimal:
        """Return the shares left of a lot, those of its parts among them; zero for one that is not held."""
        return sum((self._left.get(name, _ZERO) for name in (lot_id, *self._parts.get(lot_id, ()))), _ZERO)

    def take(self, pick: LotPick) -> None:
        """Take shares of a lot, its own first."""
        missing = pick.quantity
        for name in (pick.lot_id, *self._parts.get(pick.lot_id, ())):
            taken = min(self._left.get(name, _ZERO), missing)
            if taken > 0:
                self._left[name] -= taken
                missing -= taken


def planned_picks(
    order: RunOrder, quantity: Decimal, *, ratio: Decimal, used: Mapping[str, Decimal], left: LotsLeft
) -> tuple[LotPick, ...]:
    """Return what the run planned to take for so many shares; nothing where the books cannot give it any more.

    Args:
        order: A sale.
        quantity: Shares of the execution.
        ratio: Shares of the day of the execution for one of the day of the order.
        used: Shares of each lot that executions of the order have taken.
        left: The lots; what is returned is taken out of them.
    """
    missing, picks = quantity, []
    for planned in order.lots:
        given = nearest_step(planned.quantity * ratio, STORED_STEP) - used.get(planned.lot_id, _ZERO)
        shares = min(given, missing, left.left_of(planned.lot_id))
        if shares > 0:
            picks.append(LotPick(planned.lot_id, shares))
            missing -= shares
    if missing:
        return ()
    for pick in picks:
        left.take(pick)
    return tuple(picks)
