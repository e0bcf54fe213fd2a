"""Canada's superficial losses: which shares a denial is for, and what a denial makes of the pools' costs since.

What is denied of a loss depends on share counts alone: shares sold, acquired in the window and held at its end. Those
counts are complete only when the window has closed. So the costs of a group's pools are worked out anew, from the
earliest loss whose window is open, with the counts of the day: until day 30 the evening of the day stands for day 30.
The result is what somebody would have booked who had known the counts from the start.

Source: ITA ss. 40(2)(g)(i), 53(1)(f), 54 "superficial loss"; CRA IT-456R par. 12; CRA 2022-0940941C6.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Final

from prometheus.domain.money import allocate_cents, to_cents
from prometheus.ledger.shares import nearest_share, scaled
from prometheus.ledger.state import Denied, Loss, PoolEntry, PoolHistory, PoolKey, PoolSale, PoolShift, Purchase
from prometheus.ledger.window import WINDOW

_ZERO: Final = Decimal(0)
_NO_SHARES: Final = Fraction(0)

#: Taxpayer and plan, of which one is empty.
Holder = tuple[str, str]


def holder_of(pool: PoolKey) -> Holder:
    """Return whose pool it is."""
    return (pool.taxpayer, pool.plan)


def superficial_shares(*, sold: Decimal, acquired: Decimal, held: Decimal) -> Decimal:
    """Return how many of the shares sold at a loss are denied it.

    Args:
        sold: Shares disposed of at a loss.
        acquired: Identical shares acquired in the 61 days around the sale, by all affiliated persons together.
        held: Identical shares that they hold at the end of that period, those acquired before it included.

    Source: CRA IT-456R par. 12; CRA 2022-0940941C6, position 3.
    """
    return min(sold, acquired, held)


class Acquired:
    """Shares acquired by pool or plan, by day.

    Args:
        purchases: Purchases known so far.
        pool_of: Pool or plan of an account and ticker.
    """

    def __init__(self, purchases: Iterable[Purchase], pool_of: Callable[[str, str], PoolKey]) -> None:
        self._pool_of = pool_of
        #: By pool the days of purchases, ascending, and the shares bought up to each, after a zero.
        self._days: dict[PoolKey, list[date]] = {}
        self._sums: dict[PoolKey, list[Decimal]] = {}
        for purchase in sorted(purchases, key=lambda each: each.day):
            self.add(purchase)

    def add(self, purchase: Purchase) -> None:
        """Add a purchase; one of an earlier day than the last takes its place among them."""
        pool = self._pool_of(purchase.lot.account, purchase.ticker)
        days = self._days.setdefault(pool, [])
        sums = self._sums.setdefault(pool, [_ZERO])
        place = bisect_right(days, purchase.day)
        days.insert(place, purchase.day)
        sums.insert(place + 1, sums[place])
        for i in range(place + 1, len(sums)):
            sums[i] += purchase.quantity

    def around(self, loss: Loss) -> dict[PoolKey, Decimal]:
        """Return the shares acquired within thirty days of a loss, where there are any."""
        around: dict[PoolKey, Decimal] = {}
        for pool, days in self._days.items():
            first, last = bisect_left(days, loss.day - WINDOW), bisect_right(days, loss.day + WINDOW)
            if last > first:
                around[pool] = self._sums[pool][last] - self._sums[pool][first]
        return around


def denied_parts(
    loss: Loss, acquired: Mapping[PoolKey, Decimal], held: Mapping[PoolKey, Decimal]
) -> dict[PoolKey, Fraction]:
    """Return the shares of a loss that are denied, by who holds the substituted property at the end of the window.

    All affiliated persons count as one for the number of shares. The number is divided by the substituted property, the
    acquired shares, that each of them still holds. Where nobody holds any, nothing is denied.

    Args:
        loss: The loss.
        acquired: Shares of its group acquired in its window, by pool or plan.
        held: Shares of its group at the end of the window, in the same shares.

    Source: ITA s. 54 "superficial loss" (a), (b); CRA IT-456R par. 12; CRA 2022-0940941C6, question 1.
    """
    if not acquired:
        return {}
    denied = superficial_shares(
        sold=loss.quantity, acquired=sum(acquired.values(), _ZERO), held=sum(held.values(), _ZERO)
    )
    if denied <= 0:
        return {}
    if len(acquired) == 1 and held.keys() == acquired.keys():
        return dict.fromkeys(acquired, Fraction(denied))
    kept: dict[PoolKey, Fraction] = {}
    for holder in sorted({holder_of(pool) for pool in acquired}):
        bought = {pool: shares for pool, shares in acquired.items() if holder_of(pool) == holder}
        own = {pool: shares for pool, shares in held.items() if holder_of(pool) == holder and shares > 0}
        if own:
            substituted = Fraction(min(sum(bought.values(), _ZERO), sum(own.values(), _ZERO)))
            # Identical shares under another ticker stand in where none of the ticker acquired is left.
            weights = {pool: min(bought[pool], own[pool]) for pool in bought if pool in own} or own
            whole = Fraction(sum(weights.values(), _ZERO))
            for pool, weight in weights.items():
                kept[pool] = substituted * Fraction(weight) / whole
    total_kept = sum(kept.values(), _NO_SHARES)
    return {pool: Fraction(denied) * kept[pool] / total_kept for pool in sorted(kept)}


@dataclass(slots=True)
class Replay:
    """What a group's pools cost, and what became of each sale.

    Attributes:
        bases: Cost of each pool after the last entry.
        taken: Cost that each sale takes, by number of its entry.
        shifted: Cost that each shift takes, by number of its entry.
        denied: What is denied of each loss, by number of its entry.
        steps: Cost that pools gain at a look: number of the look's entry, of the loss's entry, pool, cents.
        starts: Cost of each pool before an entry, where asked for.
    """

    bases: dict[PoolKey, Decimal]
    taken: dict[int, Decimal] = field(default_factory=dict)
    shifted: dict[int, tuple[Decimal, ...]] = field(default_factory=dict)
    denied: dict[int, tuple[Denied, ...]] = field(default_factory=dict)
    steps: list[tuple[int, int, PoolKey, Decimal]] = field(default_factory=list)
    starts: dict[PoolKey, Decimal] = field(default_factory=dict)


def replay(
    history: PoolHistory,
    purchases: Iterable[Purchase],
    held: Mapping[PoolKey, Decimal],
    pool_of: Callable[[str, str], PoolKey],
    *,
    until: int = -1,
) -> Replay:
    """Work out the costs of a group's pools.

    A denial reaches a pool with the purchases that it is for: at the sale as far as they were made before it, else at
    each purchase. Amounts are worked out from the whole loss each time, so that they add up to the cent.

    Args:
        history: Pool costs at its start, and what happened since.
        purchases: Purchases of the group.
        held: Shares of the group by pool or plan, which stand for those at the end of every window in the history.
        pool_of: Pool or plan of an account and ticker.
        until: Number of the entry before which ``starts`` are taken.
    """
    result = Replay(dict(history.starts))
    bases = result.bases
    made = {entry.purchase for entry in history.entries if entry.purchase is not None}
    by_name = {purchase.lot: purchase for purchase in purchases}
    of_window = Acquired(by_name.values(), pool_of)
    known = Acquired((each for each in by_name.values() if each.lot not in made), pool_of)
    shifts = [(i, entry.shifts) for i, entry in enumerate(history.entries) if entry.shifts]
    waiting: list[_Denial] = []
    denials: list[_Denial] = []
    for i, entry in enumerate(history.entries):
        if i == until:
            result.starts = dict(bases)
        if entry.sale is not None:
            pool = entry.pool
            assert pool is not None  # a sale has one
            sale = entry.sale
            taken = part_of_cost(bases.get(pool, _ZERO), sale.sold, sale.shares)
            bases[pool] = bases.get(pool, _ZERO) - taken
            result.taken[i] = taken
            if taken > sale.proceeds:
                acquired = of_window.around(sale.loss)
                parts = denied_parts(sale.loss, acquired, held)
                if parts:
                    denials.append(_Denial(i, sale.loss, taken - sale.proceeds, parts, acquired))
                    waiting.append(denials[-1])
        elif entry.shifts:
            result.shifted[i] = _shift(bases, entry.shifts)
        elif entry.pool is not None:
            bases[entry.pool] = bases.get(entry.pool, _ZERO) + entry.basis
        if entry.purchase in by_name:
            known.add(by_name[entry.purchase])
        if entry.is_look and waiting:
            for denial in waiting:
                for pool, step in denial.due(known.around(denial.loss)):
                    if not pool.plan:
                        then = _then(pool, shifts, i) if shifts else pool
                        bases[then] = bases.get(then, _ZERO) + step
                        result.steps.append((i, denial.number, then, step))
            waiting = [denial for denial in waiting if not denial.is_complete]
    for denial in denials:
        result.denied[denial.number] = tuple(
            Denied(pool, nearest_share(denial.parts[pool]), cents) for pool, cents in denial.in_full.items()
        )
    return result


def part_of_cost(cost: Decimal, shares: Decimal, of_shares: Decimal) -> Decimal:
    """Return the cost of some shares of a pool in cents; all of it for all shares. Source: ITA s. 47(1)."""
    return cost if shares == of_shares else to_cents(cost * shares / of_shares)


def without_closed(history: PoolHistory, result: Replay, first_open: int) -> PoolHistory:
    """Return a history that begins with an entry; what earlier losses carried since has become a fixed change.

    Args:
        history: The history.
        result: What ``replay`` made of it, with ``starts`` before that entry.
        first_open: Number of the entry.
    """
    fixed: dict[int, list[PoolEntry]] = defaultdict(list)
    for i, number, pool, step in result.steps:
        if i >= first_open > number:
            entry = history.entries[i]
            fixed[i].append(PoolEntry(entry.day, entry.number, pool, step))
    entries: list[PoolEntry] = []
    for i in range(first_open, len(history.entries)):
        entries += [history.entries[i], *fixed[i]]
    return PoolHistory({pool: basis for pool, basis in result.starts.items() if basis}, tuple(entries))


def renamed_history(history: PoolHistory, new_tickers: Mapping[str, str], shift: PoolEntry) -> PoolHistory:
    """Return a history whose securities have new symbols from now on; ``shift`` moves their pools' costs."""
    entries = [
        entry if entry.sale is None else replace(entry, sale=_renamed(entry.sale, new_tickers))
        for entry in history.entries
    ]
    return PoolHistory(history.starts, (*entries, shift))


def _renamed(sale: PoolSale, new_tickers: Mapping[str, str]) -> PoolSale:
    loss = replace(sale.loss, ticker=new_tickers.get(sale.loss.ticker, sale.loss.ticker))
    denied = tuple(
        replace(each, pool=each.pool._replace(ticker=new_tickers.get(each.pool.ticker, each.pool.ticker)))
        for each in sale.denied
    )
    return replace(sale, loss=loss, denied=denied)


def scaled_history(history: PoolHistory, ticker: str, ratio: Fraction) -> PoolHistory:
    """Return a history whose sales of a security are in the shares of after a split."""
    entries = [
        entry if entry.sale is None else replace(entry, sale=_scaled(entry.sale, ticker, ratio))
        for entry in history.entries
    ]
    return PoolHistory(history.starts, tuple(entries))


def _scaled(sale: PoolSale, ticker: str, ratio: Fraction) -> PoolSale:
    loss = sale.loss
    if loss.ticker == ticker:
        quantity, exact = scaled(loss.quantity, loss.exact, ratio)
        loss = replace(loss, quantity=quantity, exact=exact)
    denied = tuple(
        replace(each, shares=nearest_share(Fraction(each.shares) * ratio)) if each.pool.ticker == ticker else each
        for each in sale.denied
    )
    return replace(sale, loss=loss, denied=denied)


def joined(one: PoolHistory, other: PoolHistory) -> PoolHistory:
    """Return the history of two groups that have become one."""
    entries = sorted((*one.entries, *other.entries), key=lambda entry: (entry.day, entry.number))
    return PoolHistory({**one.starts, **other.starts}, tuple(entries))


# ---------------------------------------------------------------- within a replay


class _Denial:
    """What is denied of one loss, and how much of it the pools have so far.

    Args:
        number: Of the loss's entry.
        loss: The loss.
        amount: Of the loss, as it comes out.
        parts: Shares that are denied, by pool or plan.
        acquired: Shares acquired in the whole window, by pool or plan.
    """

    __slots__ = ("_amount", "_carried", "_shares", "in_full", "loss", "number", "parts")

    def __init__(
        self,
        number: int,
        loss: Loss,
        amount: Decimal,
        parts: dict[PoolKey, Fraction],
        acquired: Mapping[PoolKey, Decimal],
    ) -> None:
        self.number, self.loss, self.parts, self._amount = number, loss, parts, amount
        if len(parts) == 1:
            self.in_full = {pool: _cents(amount, part, loss.quantity) for pool, part in parts.items()}
        else:
            total = _cents(amount, sum(parts.values(), _NO_SHARES), loss.quantity)
            scale = lcm(*(part.denominator for part in parts.values()))
            weights = [Decimal((part * scale).numerator) for part in parts.values()]
            self.in_full = dict(zip(parts, allocate_cents(total, weights), strict=True))
        self._carried = dict.fromkeys(parts, _ZERO)
        self._shares: dict[Holder, Fraction] = defaultdict(Fraction)
        for pool, part in parts.items():
            self._shares[holder_of(pool)] += part
        # Acquired shares can be fewer than what is denied for them: a share then stands for more than one of the loss.
        for holder, bought in _by_holder(acquired).items():
            if holder in self._shares:
                self._shares[holder] = min(self._shares[holder], Fraction(bought))

    @property
    def is_complete(self) -> bool:
        """Return whether the pools have all of it."""
        return self._carried == self.in_full

    def due(self, acquired: Mapping[PoolKey, Decimal]) -> list[tuple[PoolKey, Decimal]]:
        """Return what pools and plans get now that so many shares are acquired, and count it as theirs."""
        by_holder = _by_holder(acquired)
        steps: list[tuple[PoolKey, Decimal]] = []
        for pool, part in self.parts.items():
            so_far, whole = by_holder.get(holder_of(pool), _ZERO), self._shares[holder_of(pool)]
            cents = self.in_full[pool]
            if so_far < whole:
                cents = min(_cents(self._amount, part * Fraction(so_far) / whole, self.loss.quantity), cents)
            if cents != self._carried[pool]:
                steps.append((pool, cents - self._carried[pool]))
                self._carried[pool] = cents
        return steps


def _by_holder(shares: Mapping[PoolKey, Decimal]) -> dict[Holder, Decimal]:
    of_holder: dict[Holder, Decimal] = defaultdict(Decimal)
    for pool, count in shares.items():
        of_holder[holder_of(pool)] += count
    return of_holder


def _shift(bases: dict[PoolKey, Decimal], shifts: tuple[PoolShift, ...]) -> tuple[Decimal, ...]:
    """Move cost between pools, all at once, so that two securities may swap their symbols."""
    taken = [part_of_cost(bases.get(shift.source, _ZERO), shift.moved, shift.shares) for shift in shifts]
    for shift, basis in zip(shifts, taken, strict=True):
        bases[shift.source] = bases.get(shift.source, _ZERO) - basis
    for shift, basis in zip(shifts, taken, strict=True):
        if shift.target is not None:
            bases[shift.target] = bases.get(shift.target, _ZERO) + basis
    return tuple(taken)


def _then(pool: PoolKey, shifts: list[tuple[int, tuple[PoolShift, ...]]], i: int) -> PoolKey:
    """Return what a pool was called at an entry, before the symbols that changed later."""
    for number, together in reversed(shifts):
        if number <= i:
            break
        for shift in together:
            if shift.target == pool and holder_of(shift.source) == holder_of(pool):
                pool = shift.source
                break
    return pool


def _cents(amount: Decimal, shares: Fraction, of_shares: Decimal) -> Decimal:
    return to_cents(amount * shares.numerator / (shares.denominator * of_shares))
