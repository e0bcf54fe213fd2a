"""Canada's superficial losses: which shares a denial is for, and what a denial makes of the pools' costs since.

What is denied of a loss depends on share counts alone: shares sold, acquired in the window and held at its end. Those
counts are complete only when the window has closed. So the costs of a group's pools are worked out anew, from the
earliest loss whose window is open, with the counts of the day: until day 30 the evening of the day stands for day 30.
The result is what somebody would have booked who had known the counts from the start.

Source: ITA ss. 40(2)(g)(i), 53(1)(f), 54 "superficial loss"; CRA IT-456R par. 12; CRA 2022-0940941C6.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Final

from prometheus.domain.money import allocate_cents, to_cents
from prometheus.ledger.shares import nearest_share, scaled
from prometheus.ledger.state import Denied, Loss, PoolEntry, PoolHistory, PoolKey, PoolSale, PoolShift, Purchase
from prometheus.ledger.window import WINDOW_DAYS

_ZERO: Final = Decimal(0)
_NO_SHARES: Final = Fraction(0)

#: Taxpayer and plan, of which one is empty.
Holder = tuple[str, str]
#: Shares whose loss is denied, by the pool or plan that they are denied for.
Parts = Mapping[PoolKey, Fraction]


def holder_of(pool: PoolKey) -> Holder:
    """Return whose pool it is."""
    return (pool.taxpayer, pool.plan)


def is_in_window(loss: Loss, purchase: Purchase) -> bool:
    """Return whether a purchase lies within thirty days of a loss, on either side."""
    return abs((purchase.day - loss.day).days) <= WINDOW_DAYS


def superficial_shares(*, sold: Decimal, acquired: Decimal, held: Decimal) -> Decimal:
    """Return how many of the shares sold at a loss are denied it.

    Args:
        sold: Shares disposed of at a loss.
        acquired: Identical shares acquired in the 61 days around the sale, by all affiliated persons together.
        held: Identical shares that they hold at the end of that period, those acquired before it included.

    Source: CRA IT-456R par. 12; CRA 2022-0940941C6, position 3.
    """
    return min(sold, acquired, held)


def denied_parts(
    loss: Loss,
    purchases: Iterable[Purchase],
    held: Mapping[PoolKey, Decimal],
    pool_of: Callable[[str, str], PoolKey],
) -> dict[PoolKey, Fraction]:
    """Return the shares of a loss that are denied, by who holds the substituted property at the end of the window.

    All affiliated persons count as one for the number of shares. The number is divided by the substituted property, the
    acquired shares, that each of them still holds. Where nobody holds any, nothing is denied.

    Args:
        loss: The loss.
        purchases: Purchases of its group, of all accounts.
        held: Shares of its group at the end of the window, in the same shares as loss and purchases.
        pool_of: Pool or plan of an account and ticker.

    Source: ITA s. 54 "superficial loss" (a), (b); CRA IT-456R par. 12; CRA 2022-0940941C6, question 1.
    """
    acquired: dict[Holder, dict[PoolKey, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    total = _ZERO
    for purchase in purchases:
        if is_in_window(loss, purchase):
            pool = pool_of(purchase.lot.account, purchase.ticker)
            acquired[holder_of(pool)][pool] += purchase.quantity
            total += purchase.quantity
    denied = superficial_shares(sold=loss.quantity, acquired=total, held=sum(held.values(), _ZERO))
    if denied <= 0:
        return {}
    kept: dict[PoolKey, Fraction] = {}
    for holder, bought in acquired.items():
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
    """What a group's pools cost, and what became of each sale, under given denials.

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
    parts: Mapping[int, Parts],
    purchases: Iterable[Purchase],
    pool_of: Callable[[str, str], PoolKey],
    *,
    until: int = -1,
) -> Replay:
    """Work out the costs of a group's pools.

    A denial reaches a pool with the purchases that it is for: at the sale as far as they were made before it, else at
    each purchase. Amounts are worked out from the whole loss each time, so that they add up to the cent.

    Args:
        history: Pool costs at its start, and what happened since.
        parts: By number of a sale's entry the shares that are denied if it is a loss.
        purchases: Purchases of the group.
        pool_of: Pool or plan of an account and ticker.
        until: Number of the entry before which ``starts`` are taken.
    """
    result = Replay(dict(history.starts))
    bases = result.bases
    made = {entry.purchase: i for i, entry in enumerate(history.entries) if entry.purchase is not None}
    known = [(made.get(purchase.lot, -1), purchase) for purchase in purchases]
    amounts: dict[int, Decimal] = {}
    carried: dict[int, dict[PoolKey, Decimal]] = {}
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
                amounts[i] = taken - sale.proceeds
                carried[i] = {}
        elif entry.shifts:
            result.shifted[i] = _shift(bases, entry.shifts)
        elif entry.pool is not None:
            bases[entry.pool] = bases.get(entry.pool, _ZERO) + entry.basis
        if not entry.is_look:
            continue
        for number, amount in amounts.items():
            if not parts.get(number):
                continue
            loss = _loss_of(history.entries[number])
            due = _due(loss, amount, parts[number], [each for at, each in known if at <= i], pool_of)
            for pool, cents in due.items():
                step = cents - carried[number].get(pool, _ZERO)
                if not step:
                    continue
                carried[number][pool] = cents
                if not pool.plan:
                    then = _then(pool, history.entries[i + 1 :])
                    bases[then] = bases.get(then, _ZERO) + step
                    result.steps.append((i, number, then, step))
    for number, amount in amounts.items():
        if parts.get(number):
            by_pool = _in_full(amount, parts[number], _loss_of(history.entries[number]))
            result.denied[number] = tuple(
                Denied(pool, nearest_share(parts[number][pool]), cents) for pool, cents in by_pool.items()
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


def _loss_of(entry: PoolEntry) -> Loss:
    assert entry.sale is not None  # numbers of losses are those of sales
    return entry.sale.loss


def _shift(bases: dict[PoolKey, Decimal], shifts: tuple[PoolShift, ...]) -> tuple[Decimal, ...]:
    """Move cost between pools, all at once, so that two securities may swap their symbols."""
    taken = [part_of_cost(bases.get(shift.source, _ZERO), shift.moved, shift.shares) for shift in shifts]
    for shift, basis in zip(shifts, taken, strict=True):
        bases[shift.source] = bases.get(shift.source, _ZERO) - basis
    for shift, basis in zip(shifts, taken, strict=True):
        if shift.target is not None:
            bases[shift.target] = bases.get(shift.target, _ZERO) + basis
    return tuple(taken)


def _then(pool: PoolKey, later: tuple[PoolEntry, ...]) -> PoolKey:
    """Return what a pool was called before the symbols that changed later."""
    for entry in reversed(later):
        for shift in entry.shifts:
            if shift.target == pool and holder_of(shift.source) == holder_of(pool):
                pool = shift.source
                break
    return pool


def _in_full(amount: Decimal, parts: Parts, loss: Loss) -> dict[PoolKey, Decimal]:
    """Return the denied amounts by pool when all purchases are made; they add up to the denied loss in cents."""
    denied = sum(parts.values(), _NO_SHARES)
    total = _cents(amount, denied, loss.quantity)
    scale = lcm(*(part.denominator for part in parts.values()))
    weights = [Decimal((part * scale).numerator) for part in parts.values()]
    return dict(zip(parts, allocate_cents(total, weights), strict=True))


def _due(
    loss: Loss, amount: Decimal, parts: Parts, known: Iterable[Purchase], pool_of: Callable[[str, str], PoolKey]
) -> dict[PoolKey, Decimal]:
    """Return the denied amounts by pool that the purchases known so far account for."""
    acquired: dict[Holder, Fraction] = defaultdict(Fraction)
    for purchase in known:
        if is_in_window(loss, purchase):
            acquired[holder_of(pool_of(purchase.lot.account, purchase.ticker))] += Fraction(purchase.quantity)
    in_full = _in_full(amount, parts, loss)
    shares: dict[Holder, Fraction] = defaultdict(Fraction)
    for pool, part in parts.items():
        shares[holder_of(pool)] += part
    due: dict[PoolKey, Decimal] = {}
    for pool, part in parts.items():
        so_far, whole = acquired[holder_of(pool)], shares[holder_of(pool)]
        if so_far >= whole:
            due[pool] = in_full[pool]
        elif so_far > 0:
            due[pool] = min(_cents(amount, part * so_far / whole, loss.quantity), in_full[pool])
    return due


def _cents(amount: Decimal, shares: Fraction, of_shares: Decimal) -> Decimal:
    return to_cents(amount * shares.numerator / (shares.denominator * of_shares))
