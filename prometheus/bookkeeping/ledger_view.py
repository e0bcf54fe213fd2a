"""What a decision sees of a household's books: an account's lots and cash, and the trades that lock names."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from prometheus.bookkeeping.ledger_sources import OPENING
from prometheus.db.database import Connection
from prometheus.db.repositories.ledger_inputs import household_accounts
from prometheus.db.repositories.ledger_postings import newest_posting
from prometheus.db.repositories.ledger_states import newest_state
from prometheus.domain.books import Books
from prometheus.domain.lots import RecentTrade, ShortPosition, Side, TaxLot
from prometheus.domain.money import to_cents
from prometheus.ledger.keys import LotKey
from prometheus.ledger.state import EMPTY, Loss, Lot, Purchase, State
from prometheus.ledger.terms import Terms
from prometheus.ledger.window import WINDOW

_ZERO: Final = Decimal(0)
_NO_DAYS: Final = timedelta(0)


@dataclass(frozen=True, slots=True)
class HouseholdBooks:
    """The books of a household as they were read.

    Attributes:
        state: The books; empty where nothing was ever booked.
        through: Day through which they are; None where nothing was ever booked.
        newest_posting: Number of the household's latest posting; while it stays, the books do.
    """

    state: State
    through: date | None
    newest_posting: int


def read_books(connection: Connection, household: str, *, lock: bool = False) -> HouseholdBooks:
    """Return a household's books as they are stored.

    Args:
        connection: A transaction.
        household: The household.
        lock: Whether its accounts are locked first, in the order of their names, so that the books stay as they are
            until the transaction ends.

    Raises:
        UnknownAccountError: There is no such household.
    """
    accounts = [account.account_id for account in household_accounts(connection, household, lock=lock)]
    number = newest_posting(connection, accounts)
    stored = newest_state(connection, household, accounts)
    if stored is None:
        return HouseholdBooks(EMPTY, None, number)
    return HouseholdBooks(stored.state, stored.day, number)


def books_of(state: State, account: str) -> Books:
    """Return lots, short positions and cash of one account of a household, money with two decimals."""
    lots = sorted(
        (lot for lot in state.lots.values() if lot.key.account == account),
        key=lambda lot: (lot.ticker, lot.acquired_on, lot.key.lot_id),
    )
    return Books(
        tuple(
            TaxLot(
                lot.key.lot_id,
                lot.ticker,
                lot.acquired_on,
                lot.quantity,
                to_cents(lot.cost_basis),
                to_cents(lot.adjusted_basis),
                lot.holding_period_start,
            )
            for lot in lots
        ),
        to_cents(state.cash.get(account, _ZERO)),
        tuple(
            ShortPosition(
                short.key.lot_id,
                short.ticker,
                short.sold_on,
                short.quantity,
                to_cents(short.proceeds),
                short.was_held,
                short.was_held_long,
            )
            for short in state.shorts.values()
            if short.key.account == account
        ),
    )


def recent_trades_of(state: State, account: str, as_of: date, terms: Terms) -> tuple[RecentTrade, ...]:
    """Return the trades of a household that may lock names of one account: its own first.

    Purchases have what has replaced nothing yet, losses what is washed of them so far, in today's shares. A trade of
    another account names that account and no lot of this one. A purchase there can replace as many shares as are held
    there still; one in a sheltered account all it bought.

    Args:
        state: The household.
        account: The account that looks.
        as_of: The day; only trades of its window count.
        terms: Which accounts are sheltered.
    """
    purchases = [one for one in state.purchases if _NO_DAYS <= as_of - one.day <= WINDOW]
    losses = [one for one in state.losses if _NO_DAYS <= as_of - one.day <= WINDOW]
    trades = [
        *(_purchase(one, account, _left_there(state, one, terms)) for one in purchases),
        *(_loss(one, account) for one in losses),
    ]
    return tuple(sorted(trades, key=lambda trade: (trade.account != "", trade.account)))


def _left_there(state: State, purchase: Purchase, terms: Terms) -> Decimal:
    if terms.is_sheltered(purchase.lot.account):
        return purchase.unreplaced
    held = sum((lot.quantity for lot in _parts(state, purchase)), _ZERO)
    return min(purchase.unreplaced, held)


def _parts(state: State, purchase: Purchase) -> Iterator[Lot]:
    root = purchase.lot.lot_id
    for lot in state.lots.values():
        if lot.key == purchase.lot or (lot.key.account == purchase.lot.account and lot.root_id == root):
            yield lot


def _purchase(purchase: Purchase, account: str, left_there: Decimal) -> RecentTrade:
    is_own = purchase.lot.account == account
    return RecentTrade(
        ticker=purchase.ticker,
        trade_date=purchase.day,
        side=Side.BUY,
        quantity=purchase.quantity,
        # Under a pool the purchase has no lot of its own but the event's id; an opening lot keeps its name.
        lot_id=purchase.lot.lot_id.removeprefix(OPENING) if is_own else None,
        unreplaced=purchase.unreplaced if is_own else left_there,
        execution_id=purchase.event.event_id,
        account="" if is_own else purchase.lot.account,
    )


def _loss(loss: Loss, account: str) -> RecentTrade:
    is_own = loss.lot.account == account
    return RecentTrade(
        ticker=loss.ticker,
        trade_date=loss.day,
        side=Side.SELL,
        quantity=loss.quantity,
        realized_gain=-to_cents(loss.amount),
        lot_id=loss.lot.lot_id if is_own else _name_elsewhere(loss.lot),
        washed_quantity=loss.quantity - loss.open_quantity,
        disallowed_loss=to_cents(loss.disallowed),
        acquired_on=loss.acquired_on,
        holding_period_start=loss.holding_period_start,
        execution_id=loss.event.event_id,
        account="" if is_own else loss.lot.account,
        denied_for_good=to_cents(loss.denied_for_good),
    )


def _name_elsewhere(lot: LotKey) -> str:
    """Return a name by which losses of other accounts are told apart; no lot of the account that looks has it."""
    return f"{lot.account}:{lot.lot_id}"
