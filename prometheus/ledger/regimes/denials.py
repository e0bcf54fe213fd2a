"""What is denied of losses, and what it makes of pools and later sales, as rows: the differences to what is booked."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Final, Protocol

from prometheus.domain.money import allocate_cents
from prometheus.ledger.book import Book
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import LossLink, Posting, PostingKind
from prometheus.ledger.regimes.superficial import Replay
from prometheus.ledger.state import Denied, Loss, Lot, PoolHistory, PoolKey, PoolSale, PoolShift
from prometheus.ledger.window import WINDOW, loss_key

_ZERO: Final = Decimal(0)
_PREFIX: Final = "ACB-"


def pool_lot_id(ticker: str) -> str:
    """Return the name of the lot that is an account's part of a pool."""
    return f"{_PREFIX}{ticker}"


def is_pool_lot_id(lot_id: str) -> bool:
    """Return whether a lot_id is one that ``pool_lot_id`` gives."""
    return lot_id.startswith(_PREFIX)


class Pools(Protocol):
    """What is asked about a household's pools."""

    def pool_of(self, account: str, ticker: str) -> PoolKey:
        """Return whose pool an account's shares of a security belong to."""

    def lots_of(self, book: Book, pool: PoolKey) -> list[Lot]:
        """Return the parts of a pool, by account."""


class Denials:
    """The rows of one look at a group.

    Args:
        book: The book.
        costs: The pools.
        cause: The event that makes it necessary.
    """

    def __init__(self, book: Book, costs: Pools, cause: EventKey) -> None:
        self._book, self._costs, self._cause = book, costs, cause
        #: Purchases of the group by pool, by day; None until one is asked for.
        self._purchases: dict[PoolKey, list[tuple[date, LotKey, EventKey]]] | None = None
        #: Basis that rows have moved, by pool and account.
        self._moved: dict[PoolKey, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))

    def write(self, history: PoolHistory, result: Replay) -> PoolHistory:
        """Write what is denied now and what pools and later sales cost with it; return the history as it is booked."""
        entries = list(history.entries)
        for i, entry in enumerate(entries):
            if entry.sale is not None:
                sale = self._sale(entry.sale, result, i)
                entries[i] = entry if sale is entry.sale else replace(entry, sale=sale)
            elif entry.shifts:
                entries[i] = replace(entry, shifts=self._shifts(entry.shifts, result.shifted[i]))
        for pool in sorted({*result.bases, *self._moved}):
            self._lay_out(pool, result.bases.get(pool, _ZERO), self._moved[pool])
        return PoolHistory(history.starts, tuple(entries))

    def _sale(self, sale: PoolSale, result: Replay, number: int) -> PoolSale:
        taken, denied = result.taken[number], result.denied.get(number, ())
        if taken == sale.basis and denied == sale.denied:
            return sale
        loss = sale.loss
        change = taken - sale.basis
        if change:
            pool = self._costs.pool_of(loss.lot.account, loss.ticker)
            self._moved[pool][loss.lot.account] -= change
            self._book.note(
                Posting(
                    sale.kind,
                    self._book.day,
                    loss.lot.account,
                    loss.event,
                    ticker=loss.ticker,
                    lot_id=pool_lot_id(loss.ticker),
                    adjusted_basis=-change,
                    realized_gain=-change,
                    tax_date=loss.settle_date,
                )
            )
        before = {each.pool: each for each in sale.denied}
        now = {each.pool: each for each in denied}
        for pool in sorted({*before, *now}):
            self._denial(loss, _difference(pool, before, now))
        after = replace(
            loss,
            amount=max(taken - sale.proceeds, _ZERO),
            open_quantity=max(loss.quantity - sum((each.shares for each in denied), _ZERO), _ZERO),
            disallowed=sum((each.amount for each in denied), _ZERO),
            denied_for_good=sum((each.amount for each in denied if each.pool.plan), _ZERO),
        )
        if after.amount > 0:
            self._book.window.add_loss(after)
        elif loss_key(loss) in self._book.window.losses:
            self._book.window.drop_loss(loss_key(loss))
        return replace(sale, basis=taken, denied=denied, loss=after)

    def _denial(self, loss: Loss, change: Denied) -> None:
        if not change.amount:
            return
        pool = change.pool
        carrier = self._carrier(pool, loss)
        link = LossLink(
            event=loss.event,
            lot=loss.lot,
            ticker=loss.ticker_then,
            day=loss.day,
            shares=change.shares,
            amount=change.amount,
            replacement=LotKey(carrier[0], pool_lot_id(pool.ticker)),
            purchase=carrier[1],
            is_permanent=bool(pool.plan),
        )
        self._book.note(
            Posting(
                PostingKind.SUPERFICIAL_LOSS,
                self._book.day,
                loss.lot.account,
                self._cause,
                ticker=loss.ticker,
                realized_gain=change.amount,
                settle_date=loss.settle_date,
                tax_date=loss.settle_date,
                loss=link,
            )
        )
        if pool.plan:
            return
        self._moved[pool][carrier[0]] += change.amount
        self._book.note(
            Posting(
                PostingKind.CARRIED_LOSS,
                self._book.day,
                carrier[0],
                self._cause,
                ticker=pool.ticker,
                lot_id=pool_lot_id(pool.ticker),
                adjusted_basis=change.amount,
                loss=link,
            )
        )

    def _carrier(self, pool: PoolKey, loss: Loss) -> tuple[str, EventKey | None]:
        """Return the account in which a denied loss is carried, and the purchase it is for: the pool's earliest."""
        if self._purchases is None:
            self._purchases = defaultdict(list)
            for each in self._book.window.purchases_to_meet(loss):
                of_pool = self._purchases[self._costs.pool_of(each.lot.account, each.ticker)]
                of_pool.append((each.day, each.lot, each.event))
        purchases = self._purchases.get(pool, ())
        first = bisect_left(purchases, (loss.day - WINDOW,))
        if first < len(purchases) and purchases[first][0] <= loss.day + WINDOW:
            return purchases[first][1].account, purchases[first][2]
        lots = self._costs.lots_of(self._book, pool)
        return (lots[0].key.account if lots else loss.lot.account), None

    def _shifts(self, shifts: tuple[PoolShift, ...], taken: tuple[Decimal, ...]) -> tuple[PoolShift, ...]:
        """Write that shares which left the household took another cost with them."""
        for shift, basis in zip(shifts, taken, strict=True):
            change = basis - shift.basis
            if shift.target is not None or not change:
                continue
            assert shift.lot is not None  # shares leave an account by an event
            assert shift.event is not None
            self._moved[shift.source][shift.lot.account] -= change
            self._book.note(
                Posting(
                    PostingKind.TRANSFER_OUT,
                    self._book.day,
                    shift.lot.account,
                    shift.event,
                    ticker=shift.source.ticker,
                    lot_id=shift.lot.lot_id,
                    adjusted_basis=-change,
                )
            )
        return tuple(replace(shift, basis=basis) for shift, basis in zip(shifts, taken, strict=True))

    def _lay_out(self, pool: PoolKey, basis: Decimal, moved: Mapping[str, Decimal]) -> None:
        """Give each account its part of a pool's cost, and write what the postings so far have not moved there."""
        lots = self._costs.lots_of(self._book, pool)
        parts = allocate_cents(basis, [lot.quantity for lot in lots])
        due = {lot.key.account: part for lot, part in zip(lots, parts, strict=True)}
        booked = {lot.key.account: lot.adjusted_basis for lot in lots}
        for account in sorted({*due, *moved}):
            change = due.get(account, _ZERO) - booked.get(account, _ZERO) - moved.get(account, _ZERO)
            if change:
                self._book.note(
                    Posting(
                        PostingKind.POOL,
                        self._book.day,
                        account,
                        self._cause,
                        ticker=pool.ticker,
                        lot_id=pool_lot_id(pool.ticker),
                        adjusted_basis=change,
                    )
                )
        for lot in lots:
            if lot.adjusted_basis != due[lot.key.account]:
                self._book.put(replace(lot, adjusted_basis=due[lot.key.account]))


def _difference(pool: PoolKey, before: Mapping[PoolKey, Denied], now: Mapping[PoolKey, Denied]) -> Denied:
    nothing = Denied(pool, _ZERO, _ZERO)
    old, new = before.get(pool, nothing), now.get(pool, nothing)
    return Denied(pool, new.shares - old.shares, new.amount - old.amount)


def final_posting(loss: Loss, denied: Iterable[Denied], day: date) -> Posting:
    """Return the row that says that a loss's window has closed, and what is denied of it in the end."""
    parts = tuple(denied)
    link = LossLink(
        event=loss.event,
        lot=loss.lot,
        ticker=loss.ticker_then,
        day=loss.day,
        shares=sum((each.shares for each in parts), _ZERO),
        amount=sum((each.amount for each in parts), _ZERO),
        replacement=None,
        purchase=None,
    )
    return Posting(
        PostingKind.LOSS_FINAL,
        day,
        loss.lot.account,
        loss.event,
        ticker=loss.ticker,
        settle_date=loss.settle_date,
        tax_date=loss.settle_date,
        loss=link,
    )
