"""Shares that an event wants of a position, and the lots that give them."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from prometheus.domain.accounts import LotMethod
from prometheus.domain.books import LotPick
from prometheus.ledger.state import Lot

_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Taking:
    """Shares that a sale, a transfer or the like wants.

    Attributes:
        account: Who gives them.
        ticker: The security.
        quantity: How many, positive.
        picks: Lots named, adding up to ``quantity``; empty where a method chooses.
        method: Lot method; that of the account where None.
        price: Proceeds of one share; only LEAST_TAX_FIRST looks at it.
    """

    account: str
    ticker: str
    quantity: Decimal
    picks: tuple[LotPick, ...] = ()
    method: LotMethod | None = None
    price: Decimal = _ZERO


#: Lots and the shares taken of each, each lot once, in the order in which they are booked.
Selection = list[tuple[Lot, Decimal]]
