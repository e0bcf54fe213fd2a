"""What comes in and goes without a trade: opening lots and cash, transfers."""

from dataclasses import replace

from prometheus.ledger.book import Book
from prometheus.ledger.events import CashTransfer, OpeningCash, OpeningLot, TransferIn, TransferOut
from prometheus.ledger.findings import RefusedError
from prometheus.ledger.keys import LotKey
from prometheus.ledger.lots import TRANSFERRED_MARK
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.regimes import Regime
from prometheus.ledger.selection import Taking
from prometheus.ledger.state import Lot, Purchase


def book_opening_cash(book: Book, regime: Regime, event: OpeningCash) -> None:  # noqa: ARG001 - one signature for the table
    """Put the cash that an account has when its books open into them."""
    book.move_cash(PostingKind.OPENING, event, event.account, event.in_base(event.amount))


def book_arrival(book: Book, regime: Regime, event: OpeningLot) -> None:
    """Put a lot that comes in into the books; it counts as the purchase it was, less what has replaced before.

    Raises:
        RefusedError: LOT_EXISTS.

    Source: Treas. Reg. 1.1091-1(a), (e).
    """
    key = LotKey(event.account, event.lot_id or event.event_id)
    cost = event.in_base(event.cost_basis)
    adjusted = cost if event.adjusted_basis is None else event.in_base(event.adjusted_basis)
    acquired = event.acquired_on or event.trade_date
    start = event.holding_period_start or acquired
    lot = Lot(key, event.key, key.lot_id, event.ticker, acquired, event.quantity, cost, adjusted, start)
    unreplaced = event.quantity - event.replaced_quantity
    purchase = Purchase(event.key, key, event.ticker, acquired, event.quantity, unreplaced)
    kind = PostingKind.TRANSFER_IN if isinstance(event, TransferIn) else PostingKind.OPENING
    regime.bring_in(book, kind, event, lot, purchase=purchase)


def book_cash_transfer(book: Book, regime: Regime, event: CashTransfer) -> None:  # noqa: ARG001 - one signature for the table
    """Move cash into an account, out of it, or to another one of the household."""
    amount = event.in_base(event.amount)
    kind = PostingKind.TRANSFER_IN if amount >= 0 else PostingKind.TRANSFER_OUT
    book.move_cash(kind, event, event.account, amount)
    if event.other_account is not None:
        back = PostingKind.TRANSFER_OUT if amount >= 0 else PostingKind.TRANSFER_IN
        book.move_cash(back, event, event.other_account, -amount)


def book_transfer_out(book: Book, regime: Regime, event: TransferOut) -> None:
    """Move lots with basis and dates to another account, or out of the household.

    Raises:
        RefusedError: TRANSFER_ACROSS_SHELTER, or as for a sale.
    """
    target = event.other_account
    if target is not None and book.terms.is_sheltered(target) is not book.terms.is_sheltered(event.account):
        raise RefusedError(
            "TRANSFER_ACROSS_SHELTER",
            f"{event.account} and {target} are taxed differently; shares do not pass between them untaxed.",
            "Enter a sale in one account and a purchase in the other.",
        )
    selection = regime.select(book, Taking(event.account, event.ticker, event.quantity, event.picks))
    for lot, quantity in selection:
        moved, left = regime.take(book, lot, quantity)
        book.change(PostingKind.TRANSFER_OUT, event.key, lot, left, settle_date=event.settle_date)
        if target is None:
            continue
        moved = replace(moved, key=_key_there(book, target, moved, is_whole=left is None))
        regime.bring_in(book, PostingKind.TRANSFER_IN, event, moved, former=lot.key)
        book.window.move(lot.key, moved.key, quantity, whole=left is None)


def _key_there(book: Book, target: str, lot: Lot, *, is_whole: bool) -> LotKey:
    """Return the key of a lot that comes into another account: its name where that is free."""
    name = lot.key.lot_id
    if not is_whole:
        number = 1
        while book.is_taken(LotKey(target, f"{name}{TRANSFERRED_MARK}{number}")):
            number += 1
        name = f"{name}{TRANSFERRED_MARK}{number}"
    if not book.is_taken(LotKey(target, name)):
        return LotKey(target, name)
    return LotKey(target, book.free_lot_id(target, f"{name}@{lot.key.account}-"))
