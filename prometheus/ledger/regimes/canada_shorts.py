"""Short positions of Canada: sold first, bought later; gain or loss on the cover, in the tax year of its settlement.

A short position is outside the pools: its cover neither adds shares to one nor takes any out, so it makes no other
loss superficial, and its own loss is never superficial. Whether the gain is income or a capital gain changes no
amount here; the report decides it.

Source: ITA ss. 9, 39(4)-(6), 261; IT-479R pars. 2 to 6 and 18; docs/specs/ledger_canada.md, "Short sales".
"""

from prometheus.ledger.book import Book
from prometheus.ledger.events import CoverShort, ShortSale
from prometheus.ledger.findings import RefusedError
from prometheus.ledger.keys import LotKey
from prometheus.ledger.regimes import Regime
from prometheus.ledger.regimes.denials import is_pool_lot_id
from prometheus.ledger.regimes.shorts import costs_to_cover, open_short, positions_to_cover, post_cover, reduce_short
from prometheus.ledger.state import Lot


def book_short_sale(book: Book, regime: Regime, event: ShortSale) -> None:  # noqa: ARG001 - one signature for the table
    """Open a short position; nothing is realised.

    A short sale beside identical shares of the taxpayer is remarked: it may be a hedge on capital account, whose cost
    is averaged with theirs, or a synthetic disposition of them.

    Raises:
        RefusedError: LOT_EXISTS, also for the lot_id of a pool.

    Source: CRA 2001-006904, 2021-0899681C6 (hedges, averaging); ITA s. 14.1.
    """
    key = LotKey(event.account, event.lot_id or event.event_id)
    if is_pool_lot_id(key.lot_id):
        raise RefusedError(
            "LOT_EXISTS", f"{key.lot_id} is the lot_id of a pool.", "Give the short position another lot_id."
        )
    open_short(book, event)
    held = _identical(book, event)
    if held is not None:
        book.remark(
            event.key,
            "SHORT_BESIDE_SHARES",
            f"{event.account} sells {event.ticker} short on {book.day} while {held.key.account} holds {held.ticker}; "
            "it is booked apart from the pool.",
            "Where it is on capital account, ITA s. 47(1) averages its cost with that of the shares held (CRA "
            "2001-006904); where it takes their risk for more than a year, s. 14.1 may be a sale of them.",
        )


def book_cover(book: Book, regime: Regime, event: CoverShort) -> None:
    """Close short positions, the earliest first, with shares bought for it.

    Raises:
        RefusedError: NO_SHORT_POSITION; SHARES_DELIVERED, where lots held are named.
    """
    if event.picks:
        raise RefusedError(
            "SHARES_DELIVERED",
            f"{event.account} delivers shares of {event.ticker} that it holds on {book.day}; their value decides what "
            "is a gain of the shares and what of the short sale.",
            "Enter a sale of the shares and a cover, both at the value of the day.",
        )
    tax_date = regime.tax_date(event)
    for short, quantity, cost, fee in costs_to_cover(event, positions_to_cover(book, event)):
        proceeds = reduce_short(book, short, quantity)
        gain = proceeds - cost
        post_cover(book, event, short, quantity, proceeds, cost=cost, gain=gain, fee=fee, tax_date=tax_date)


def _identical(book: Book, event: ShortSale) -> Lot | None:
    """Return the earliest lot of the security's group that the seller's taxpayer holds; None where there is none."""
    terms, group = book.terms, book.group_of(event.ticker)
    lots = (
        lot
        for lot in book.lots.values()
        if book.group_of(lot.ticker) == group
        and not terms.is_sheltered(lot.key.account)
        and terms.taxpayer_of(lot.key.account) == terms.taxpayer_of(event.account)
    )
    return min(lots, key=lambda lot: (lot.acquired_on, lot.key), default=None)
