"""Executions booked into the tables that the engine's days still read, beside the ledger; goes with those tables."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date

from prometheus.bookkeeping.action_changes import actions_position, book_morning, mark_seen, unseen_actions
from prometheus.bookkeeping.fills import book_fills, close_windows
from prometheus.bookkeeping.ledger import Booking
from prometheus.db.database import Connection
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.market_data import securities
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side
from prometheus.ledger.keys import EventKey
from prometheus.ledger.postings import PostingKind


def book_in_old_tables(
    connection: Connection,
    account_id: str,
    fills: Sequence[Fill],
    booking: Booking,
    through: date,
    cancelled: Collection[str],
) -> None:
    """Book what the ledger has accepted of an account's executions, with the lots that it took."""
    groups = {ticker: security.group for ticker, security in securities(connection).items()}
    account = accounts_of(connection, account_ids=[account_id])[0]
    if account.books_as_of is not None and through > account.books_as_of:
        position = actions_position(connection)
        unseen = unseen_actions(connection, [account_id])
        if account.tax_regime is TaxRegime.CA:
            close_windows(connection, account_id, as_of=through, group_of=groups)
        book_morning(connection, account_id, as_of=through, group_of=groups)
        if not unseen:
            mark_seen(connection, [account_id], position)
    taken: dict[str, list[LotPick]] = defaultdict(list)
    for row in booking.postings:
        if row.kind is PostingKind.SELL and row.account == account_id and row.lot_id is not None:
            taken[row.event.event_id].append(LotPick(row.lot_id, -row.quantity))
    accepted = [
        replace(fill, lot_picks=tuple(taken[fill.execution_id])) if fill.side is Side.SELL else fill
        for fill in fills
        if EventKey(account_id, fill.execution_id) in {event.key for event in booking.events}
    ]
    book_fills(connection, account_id, accepted, as_of=through, group_of=groups, cancelled=cancelled)
