"""Pools of an owner and of each sheltered account, with share counts by account beside them."""

from abc import ABC
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Final

from prometheus.accounting.acb import pool_id, pool_lots
from prometheus.accounting.basis import split_lot
from prometheus.accounting.household_ledger import HouseholdLedger, HouseholdSettings
from prometheus.accounting.journal import lot_change
from prometheus.accounting.security_events import LotEvent
from prometheus.accounting.share_holdings import Position
from prometheus.accounting.trade_window import TradeWindow
from prometheus.domain.accounts import AccountKind
from prometheus.domain.books import Transaction
from prometheus.domain.entries import Entry
from prometheus.domain.lots import TaxLot

#: The journal of the owner's taxable accounts together; the law knows no accounts, only what the owner holds.
OWNER: Final = "owner"

#: Details of an event that its rows keep when pools take the place of lots.
_KEPT: Final = ("new_shares", "old_shares", "former_ticker")


class PoolLedger(HouseholdLedger, ABC):
    """What a Canadian owner's ledger keeps.

    Attributes:
        pools: Pools by journal and ticker.
        held: Shares by account and ticker; none where all are gone.
        window: Losses and purchases that a window can still need.
    """

    def __init__(self, settings: HouseholdSettings, group_of: Mapping[str, str]) -> None:
        super().__init__(settings, group_of)
        self.pools: dict[str, dict[str, TaxLot]] = defaultdict(dict)
        self.held: dict[Position, Decimal] = defaultdict(Decimal)
        self.window = TradeWindow(lambda _: OWNER)

    def lots(self) -> dict[str, tuple[TaxLot, ...]]:
        """Return the pools held, of the owner and of each sheltered account."""
        return {book: tuple(pools.values()) for book, pools in self.pools.items() if pools}

    def holders(self, ticker: str) -> frozenset[str]:
        """Return the accounts that hold a security."""
        return frozenset(account for (account, held), shares in self.held.items() if held == ticker and shares)

    def positions(self) -> dict[Position, Decimal]:
        """Return the shares held, by account and ticker."""
        return {key: shares for key, shares in self.held.items() if shares}

    def book_of(self, account: str) -> str:
        """Return the journal, and with it the pools, that an account's entries belong to."""
        return account if self.settings.kind(account) is AccountKind.SHELTERED else OWNER

    def post(self, account: str, row: Transaction) -> None:
        """Append a row to the owner's journal, or to that of a sheltered account."""
        self.journals[self.book_of(account)].append(replace(row, details={"account": account, **row.details}))

    def set_pool(self, book: str, ticker: str, pool: TaxLot | None) -> None:
        """Put a pool in the place of what there was; None where nothing is left."""
        if pool is None:
            self.pools[book].pop(ticker, None)
        else:
            self.pools[book][ticker] = pool

    def holds(self, entry: Entry) -> bool:
        """Return whether the account holds shares; none held is refused but where a window reaches its trades."""
        held = self.held[entry.account, entry.ticker] > 0
        if not held and not self.window.knows(entry.account, entry.ticker, entry.day):
            raise self.not_held(entry)
        return held

    def slice_of(self, entry: Entry) -> tuple[TaxLot, TaxLot | None, Decimal]:
        """Return the account's part of the pool, what is left of the pool, and the account's shares."""
        shares = self.held[entry.account, entry.ticker]
        part, left = split_lot(self.pools[self.book_of(entry.account)][entry.ticker], shares)
        return part, left, shares

    def merge(self, entry: Entry, left: TaxLot | None, event: LotEvent) -> None:
        """Put what became of the account's part back into the pools, and write how each pool changed."""
        book = self.book_of(entry.account)
        changed: dict[str, list[TaxLot]] = defaultdict(list)
        changed[entry.ticker] += [left] if left is not None else []
        for lot in event.lots:
            changed[lot.ticker].append(replace(lot, lot_id=pool_id(lot.ticker)))
        details = event.rows[0].details
        for ticker, lots in changed.items():
            before = self.pools[book].get(ticker)
            if ticker != entry.ticker and before is not None:
                lots.append(before)
            after = pool_lots(lots)[0] if lots else None
            self.set_pool(book, ticker, after)
            kept = {name: details[name] for name in _KEPT if name in details}
            self.post(entry.account, lot_change(event.rows[0].txn_type, entry.day, before, after, details=kept))
