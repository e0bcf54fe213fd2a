"""Canada's pools in a book: what each costs, what is denied of open losses, and the rows that say so.

While a group has a loss whose window is open, every change of its pools' costs is kept as an entry. At the end of each
day that changed something the costs are worked out anew (``superficial.replay``), and the differences to what is booked
are written: of what is denied, of what later sales took out of the pools, and of the pools themselves.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

from prometheus.domain.money import allocate_cents
from prometheus.ledger.book import Book
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.regimes.denials import Denials, final_posting
from prometheus.ledger.regimes.superficial import (
    Replay,
    joined,
    renamed_history,
    replay,
    scaled_history,
    without_closed,
)
from prometheus.ledger.state import Lot, PoolEntry, PoolHistory, PoolKey, PoolSale, PoolShift, Purchase
from prometheus.ledger.terms import Terms
from prometheus.ledger.window import WINDOW, loss_key

_ZERO: Final = Decimal(0)


class PoolCosts:
    """The costs of a household's pools while days are booked.

    Args:
        terms: The household's terms.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._pools: dict[tuple[str, str], PoolKey] = {}
        #: Tickers by group, of groups that are named; None until they are asked for.
        self._members: dict[str, list[str]] | None = None
        #: By group with a history: cost of each pool after the last entry.
        self._known: dict[str, dict[PoolKey, Decimal]] = {}
        #: Groups that changed today.
        self._touched: set[str] = set()
        #: Groups with sales since losses last looked for purchases.
        self._sold: set[str] = set()
        #: Groups whose accounts' parts of a pool shares have left.
        self._uneven: set[str] = set()
        #: Shares on their way out of a pool.
        self._leaving: PoolShift | None = None
        self._number = 0

    # ------------------------------------------------------------ what there is

    def pool_of(self, account: str, ticker: str) -> PoolKey:
        """Return whose pool an account's shares of a security belong to."""
        key = (account, ticker)
        pool = self._pools.get(key)
        if pool is None:
            if self._terms.is_sheltered(account):
                pool = PoolKey("", account, ticker)
            else:
                pool = PoolKey(self._terms.taxpayer_of(account), "", ticker)
            self._pools[key] = pool
        return pool

    def lots_of(self, book: Book, pool: PoolKey) -> list[Lot]:
        """Return the parts of a pool, by account."""
        return [
            lot
            for account in book.holders(pool.ticker)
            if self.pool_of(account, pool.ticker) == pool
            for lot in book.walk(account, pool.ticker)
        ]

    def bases(self, book: Book, group: str) -> dict[PoolKey, Decimal]:
        """Return the cost of each taxpayer's pools of a group."""
        bases: dict[PoolKey, Decimal] = {}
        for pool, lot in self._lots_of_group(book, group):
            if not pool.plan:
                bases[pool] = bases.get(pool, _ZERO) + lot.adjusted_basis
        return bases

    def _lots_of_group(self, book: Book, group: str) -> Iterable[tuple[PoolKey, Lot]]:
        for ticker in self._tickers_of(book, group):
            for account in book.holders(ticker):
                pool = self.pool_of(account, ticker)
                for lot in book.walk(account, ticker):
                    yield pool, lot

    def _tickers_of(self, book: Book, group: str) -> list[str]:
        """Return the tickers of a group, in alphabetical order; a ticker without group is one of its own."""
        if self._members is None:
            self._members = defaultdict(list)
            for ticker in sorted({*book.terms.groups, *book.groups}):
                self._members[book.group_of(ticker)].append(ticker)
        return self._members.get(group) or [group]

    # ------------------------------------------------------------ entries

    def touch(self, book: Book, ticker: str) -> None:
        """Have the group of a security looked at when the day ends."""
        self._touched.add(book.group_of(ticker))

    def sync(self, book: Book, ticker: str) -> None:
        """Enter what has changed since the last entry: corporate actions and shares that left."""
        group = book.group_of(ticker)
        leaving = self._leaving
        if leaving is not None and book.group_of(leaving.source.ticker) == group:
            self._leaving = None
        else:
            leaving = None
        if group not in book.histories:
            return
        known, current = self._known[group], self.bases(book, group)
        if leaving is not None:
            source = leaving.source
            basis = known.get(source, _ZERO) - current.get(source, _ZERO)
            known[source] = current.get(source, _ZERO)
            event = next(row.event for row in reversed(book.postings) if row.kind is PostingKind.TRANSFER_OUT)
            self._append(book, group, shifts=(replace(leaving, basis=basis, event=event),))
        for pool in sorted({*known, *current}):
            change = current.get(pool, _ZERO) - known.get(pool, _ZERO)
            if change:
                self._append(book, group, pool=pool, basis=change)
        self._known[group] = current

    def enter(self, book: Book, pool: PoolKey, basis: Decimal, purchase: Purchase | None) -> None:
        """Enter shares that came in; a purchase has losses look at it."""
        group = book.group_of(pool.ticker)
        if group not in book.histories:
            return
        name = None if purchase is None else purchase.lot
        if pool.plan:
            self._append(book, group, purchase=name, is_look=name is not None)
            return
        known = self._known[group]
        known[pool] = known.get(pool, _ZERO) + basis
        self._append(book, group, pool=pool, basis=basis, purchase=name, is_look=name is not None)

    def sell(self, book: Book, pool: PoolKey, sale: PoolSale, starts: Mapping[PoolKey, Decimal] | None) -> None:
        """Enter a disposition; the first loss of a group begins its history.

        Args:
            book: The book, after it.
            pool: The pool.
            sale: The disposition.
            starts: Costs of the group's pools before it; None for a gain.
        """
        group = book.group_of(pool.ticker)
        if group not in book.histories:
            if starts is None:
                return
            book.histories[group] = PoolHistory({key: basis for key, basis in starts.items() if basis})
            self._known[group] = dict(starts)
        self._known[group][pool] -= sale.basis
        self._append(book, group, pool=pool, sale=sale)
        self._sold.add(group)
        if sale.loss.amount > 0:
            book.window.add_loss(sale.loss)

    def leave(self, book: Book, shift: PoolShift) -> None:
        """Note shares that are about to leave a pool without a disposition."""
        self.sync(book, shift.source.ticker)
        self._uneven.add(book.group_of(shift.source.ticker))
        self._leaving = shift

    def arrive(self, book: Book, cause: EventKey, pool: PoolKey, source_account: str) -> bool:
        """Enter shares that come from a taxpayer's pool of the household, and return whether they do.

        They take their part of the cost with them (ITA s. 73(1) between spouses); within a pool nothing changes.
        """
        group = book.group_of(pool.ticker)
        leaving = self._leaving
        if leaving is None or leaving.source != self.pool_of(source_account, pool.ticker):
            return False
        self._leaving = None
        if leaving.source != pool and group in book.histories:
            known = self._known[group]
            source = leaving.source
            basis = known.get(source, _ZERO) - self.bases(book, group).get(source, _ZERO)
            known[source] = known.get(source, _ZERO) - basis
            known[pool] = known.get(pool, _ZERO) + basis
            self._append(book, group, shifts=(replace(leaving, target=pool, basis=basis, event=cause),))
        return True

    def look(self, book: Book) -> None:
        """Have the losses realised since the last call look for the purchases already made."""
        for group in sorted(self._sold):
            self._append(book, group, is_look=True)
        self._sold.clear()

    def _append(
        self,
        book: Book,
        group: str,
        *,
        pool: PoolKey | None = None,
        basis: Decimal = _ZERO,
        sale: PoolSale | None = None,
        shifts: tuple[PoolShift, ...] = (),
        purchase: LotKey | None = None,
        is_look: bool = False,
    ) -> None:
        self._number += 1
        entry = PoolEntry(book.day, self._number, pool, basis, sale, shifts, purchase, is_look)
        history = book.histories[group]
        book.histories[group] = PoolHistory(history.starts, (*history.entries, entry))

    def spread(self, book: Book, pool: PoolKey, cause: EventKey) -> None:
        """Give every share of a taxpayer's pool the same cost; the accounts' parts add up to it in cents.

        Source: ITA s. 47(1).
        """
        if pool.plan:
            return
        lots = self.lots_of(book, pool)
        if len(lots) < 2:
            return
        shares = [lot.quantity for lot in lots]
        costs = allocate_cents(sum((lot.cost_basis for lot in lots), _ZERO), shares)
        bases = allocate_cents(sum((lot.adjusted_basis for lot in lots), _ZERO), shares)
        for lot, cost, basis in zip(lots, costs, bases, strict=True):
            if (lot.cost_basis, lot.adjusted_basis) != (cost, basis):
                after = replace(lot, cost_basis=cost, adjusted_basis=basis)
                book.change(PostingKind.POOL, cause, lot, after)

    # ------------------------------------------------------------ splits and symbols

    def scale(self, book: Book, ticker: str, ratio: Fraction) -> None:
        """Put the sales of a security into the shares of after a split."""
        for group, history in book.histories.items():
            book.histories[group] = scaled_history(history, ticker, ratio)

    def rename(self, book: Book, new_tickers: Mapping[str, str], former_groups: Mapping[str, str]) -> None:
        """Move the costs of pools to those of new symbols, all at once, and their histories to new groups.

        Args:
            book: The book, with the lots and groups of after.
            new_tickers: Former to new ticker.
            former_groups: Groups of the former tickers before.
        """
        self._members = None
        new_groups: dict[str, str] = {}
        for former in sorted(new_tickers):
            new_groups.setdefault(former_groups[former], book.group_of(new_tickers[former]))
        for group, target in sorted(new_groups.items()):
            if group != target and group in book.histories and _has_others(book.histories[group], new_tickers):
                self._settle_early(book, group)
        before, known_before = dict(book.histories), dict(self._known)
        book.histories.clear()
        self._known.clear()
        concerned: dict[str, dict[PoolKey, Decimal]] = {}
        for group, of_group in before.items():
            history, known, target = of_group, known_before[group], group
            moved = {
                pool: pool._replace(ticker=new_tickers[pool.ticker])
                for pool in sorted({*known, *history.starts})
                if pool.ticker in new_tickers
            }
            if group in new_groups:
                target = new_groups[group]
                if target != group:  # pools of other tickers stay behind
                    starts = {pool: basis for pool, basis in history.starts.items() if pool in moved}
                    history = PoolHistory(starts, history.entries)
                    known = {pool: basis for pool, basis in known.items() if pool in moved}
                self._number += 1
                one = Decimal(1)
                shifts = tuple(PoolShift(source, pool, one, one) for source, pool in moved.items())
                history = renamed_history(history, new_tickers, PoolEntry(book.day, self._number, shifts=shifts))
                known = _summed((moved.get(pool, pool), basis) for pool, basis in known.items())
                left = concerned.setdefault(target, {})
                for source, pool in moved.items():
                    still = sum((lot.adjusted_basis for lot in self.lots_of(book, source)), _ZERO)
                    left[pool] = left.get(pool, _ZERO) + (still if source not in moved.values() else _ZERO)
            if target in book.histories:
                history = joined(book.histories[target], history)
                known = _summed((*self._known[target].items(), *known.items()))
            book.histories[target], self._known[target] = history, known
        for group, left in concerned.items():
            self._begin_pools(book, group, left)

    def _settle_early(self, book: Book, group: str) -> None:
        """Settle the open losses of a group that falls apart: what is denied tonight stays denied.

        An exchange makes shares of one ticker those of a company that is in no group, or in another one.
        """
        for entry in book.histories[group].entries:
            if entry.sale is not None and entry.sale.loss.amount > 0:
                self._settle(book, entry.sale, book.day)
        del book.histories[group], self._known[group]

    def _begin_pools(self, book: Book, group: str, left: Mapping[PoolKey, Decimal]) -> None:
        """Add what pools cost that were held before others came into them by a new symbol."""
        known = self._known[group]
        history = book.histories[group]
        starts = dict(history.starts)
        for pool, basis in self.bases(book, group).items():
            own = basis + left.get(pool, _ZERO) - known.get(pool, _ZERO)
            if own:
                starts[pool] = starts.get(pool, _ZERO) + own
                known[pool] = known.get(pool, _ZERO) + own
        book.histories[group] = PoolHistory(starts, history.entries)

    # ------------------------------------------------------------ days

    def begin(self, book: Book, day: date) -> None:
        """Settle the losses whose window closed before a day."""
        self._number = 0
        for group in sorted(book.histories):
            if group not in self._known:
                self._known[group] = self.bases(book, group)
            first = next(entry.day for entry in book.histories[group].entries)
            if first + WINDOW < day:
                self._close(book, group, day)

    def _close(self, book: Book, group: str, day: date) -> None:
        history = book.histories[group]
        first_open: int | None = None
        for i, entry in enumerate(history.entries):
            sale = entry.sale
            if sale is None or sale.loss.amount <= 0:
                continue
            if sale.loss.day + WINDOW >= day:
                first_open = i
                break
            self._settle(book, sale, day)
        if first_open is None:
            del book.histories[group], self._known[group]
            return
        result = self._replay(book, group, until=first_open)
        book.histories[group] = without_closed(history, result, first_open)

    def _settle(self, book: Book, sale: PoolSale, day: date) -> None:
        book.note(final_posting(sale.loss, sale.denied, day))
        if loss_key(sale.loss) in book.window.losses:
            book.window.drop_loss(loss_key(sale.loss))

    def end(self, book: Book) -> None:
        """Work out anew what is denied and what pools cost, for the groups that changed today."""
        touched, self._touched = self._touched, set()
        if not touched:
            return
        last = _last_events(book)
        for group in sorted(touched):
            tickers = self._tickers_of(book, group)
            of_group = [last[ticker] for ticker in tickers if ticker in last]
            if not of_group:
                continue
            cause = max(of_group)[1]
            if group in self._uneven:
                for pool in sorted({pool for pool, _ in self._lots_of_group(book, group)}):
                    self.spread(book, pool, cause)
            if group in book.histories:
                self.sync(book, tickers[0])
                self._update(book, group, cause)
        self._uneven.clear()
        self._leaving = None

    # ------------------------------------------------------------ what is denied

    def _replay(self, book: Book, group: str, until: int = -1) -> Replay:
        """Return the costs and denials that tonight's share counts make."""
        held: dict[PoolKey, Decimal] = defaultdict(Decimal)
        for pool, lot in self._lots_of_group(book, group):
            held[pool] += lot.quantity
        history = book.histories[group]
        loss = next(entry.sale.loss for entry in history.entries if entry.sale is not None)
        return replay(history, book.window.purchases_to_meet(loss), held, self.pool_of, until=until)

    def _update(self, book: Book, group: str, cause: EventKey) -> None:
        """Write the differences between what is booked and what tonight's share counts make."""
        history = book.histories[group]
        sales = [entry.sale for entry in history.entries if entry.sale is not None]
        first = sales[0].loss
        is_bought = any(each.day >= first.day - WINDOW for each in book.window.purchases_to_meet(first))
        if not is_bought and not any(sale.denied for sale in sales):
            return  # nothing is denied, as before
        result = self._replay(book, group)
        # What an exchange has left behind is of another group by now: its cost is in no entry here.
        result.bases = {pool: basis for pool, basis in result.bases.items() if book.group_of(pool.ticker) == group}
        book.histories[group] = Denials(book, self, cause).write(history, result)
        self._known[group] = self.bases(book, group)


def _summed(costs: Iterable[tuple[PoolKey, Decimal]]) -> dict[PoolKey, Decimal]:
    """Return the cost of each pool; pools that have become one add up."""
    sums: dict[PoolKey, Decimal] = {}
    for pool, basis in costs:
        sums[pool] = sums.get(pool, _ZERO) + basis
    return sums


def _has_others(history: PoolHistory, tickers: Mapping[str, str]) -> bool:
    """Return whether a history has steps of securities that are not among some."""
    return any(
        (entry.pool is not None and entry.pool.ticker not in tickers)
        or any(shift.source.ticker not in tickers for shift in entry.shifts)
        or (entry.sale is not None and any(each.pool.ticker not in tickers for each in entry.sale.denied))
        for entry in history.entries
    )


def _last_events(book: Book) -> dict[str, tuple[int, EventKey]]:
    """Return the event of the day that changed each security last, after its place in the order of booking."""
    last: dict[str, tuple[int, EventKey]] = {}
    for i in reversed(range(len(book.postings))):
        posting = book.postings[i]
        if posting.day != book.day:
            break
        if posting.kind is not PostingKind.LOSS_FINAL:
            last.setdefault(posting.ticker, (i, posting.event))
    return last
