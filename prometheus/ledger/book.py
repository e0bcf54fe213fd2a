"""The books while a fold changes them: lots by position, cash, the window, and the postings written so far."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Final, TypeVar

from prometheus.domain.lots import Term
from prometheus.ledger.events import Event
from prometheus.ledger.findings import Finding
from prometheus.ledger.keys import EventKey, LotKey, Position
from prometheus.ledger.lots import is_like
from prometheus.ledger.postings import LossLink, Posting, PostingKind
from prometheus.ledger.state import Lot, PoolHistory, ShortLot, State, UnlistedAction
from prometheus.ledger.terms import Terms
from prometheus.ledger.window import WINDOW, Window

_ZERO: Final = Decimal(0)
_Name = TypeVar("_Name")
_Value = TypeVar("_Value")
_LotOrder = list[tuple[date, LotKey]]
_Rank = tuple[Decimal, date, LotKey]
#: Account and name of the lot that a purchase opened; a plain pair, which is made faster than a key.
_Root = tuple[str, str]
#: What parts that can be one lot have in common: account and name of their purchase's lot, start of the holding period
#: and whole units of currency in the basis of a share.
_Likeness = tuple[_Root, date, Decimal]


def rank_by_basis(lot: Lot) -> _Rank:
    """Return a sort key that puts the highest adjusted basis a share first, then the earliest purchase."""
    return (-lot.adjusted_basis / lot.quantity, lot.acquired_on, lot.key)


def _likeness(lot: Lot) -> _Likeness:
    return ((lot.key.account, lot.root_id), lot.holding_period_start, lot.adjusted_basis // lot.quantity)


class Book:
    """One household between two frozen states. Values in it are frozen; the collections change.

    Args:
        state: Where it begins; it is not changed.
        terms: Under what terms it is kept.
        window: An empty window in the order of the regime; filled from the state.

    Attributes:
        terms: Under what terms it is kept.
        day: The day that is being booked.
        lots: Lots held.
        cash: Cash by account.
        window: Purchases and losses that can still meet.
        shorts: Short positions.
        groups: Groups that new symbols took over.
        unlisted: Actions booked for accounts that have not listed them yet.
        histories: Canada: pool costs by group, as in ``State``.
        postings: Rows written, in the order of booking.
        findings: Remarks on events.
    """

    __slots__ = (
        "_holdings",
        "_like",
        "_parts",
        "_ranked",
        "cash",
        "day",
        "findings",
        "groups",
        "histories",
        "lots",
        "postings",
        "shorts",
        "terms",
        "unlisted",
        "window",
    )

    def __init__(self, state: State, terms: Terms, window: Callable[["Book"], Window]) -> None:
        self.terms = terms
        self.day = state.through or date.min
        self.lots: dict[LotKey, Lot] = dict(state.lots)
        self.cash: dict[str, Decimal] = dict(state.cash)
        self.shorts: dict[LotKey, ShortLot] = dict(state.shorts)
        self.groups: dict[str, str] = dict(state.groups)
        self.unlisted: list[UnlistedAction] = list(state.unlisted)
        self.histories: dict[str, PoolHistory] = dict(state.histories)
        self.postings: list[Posting] = []
        self.findings: list[Finding] = []
        self._holdings: dict[str, dict[str, _LotOrder]] = {}
        #: Lots of a position by basis, for positions that were asked for it.
        self._ranked: dict[Position, list[_Rank]] = {}
        #: Lots by the account that holds them and the purchase they come from, where their name is another.
        self._parts: dict[_Root, set[LotKey]] = defaultdict(set)
        #: The same parts by what those have in common that can be one lot.
        self._like: dict[_Likeness, set[LotKey]] = defaultdict(set)
        for lot in self.lots.values():
            if lot.root_id != lot.key.lot_id:
                self._add_part(lot)
            self._holdings.setdefault(lot.ticker, {}).setdefault(lot.key.account, []).append((lot.acquired_on, lot.key))
        for accounts in self._holdings.values():
            for order in accounts.values():
                order.sort()
        self.window = window(self)
        for purchase in state.purchases:
            self.window.add_purchase(purchase)
        for loss in state.losses:
            self.window.add_loss(loss)

    # ------------------------------------------------------------ what it holds

    def walk(self, account: str, ticker: str) -> Iterator[Lot]:
        """Yield the lots of one position, earliest first, then by name; nothing may change meanwhile."""
        lots = self.lots
        for _, key in self._holdings.get(ticker, {}).get(account, ()):
            yield lots[key]

    def walk_by_basis(self, account: str, ticker: str) -> Iterator[Lot]:
        """Yield the lots of one position, highest adjusted basis a share first; nothing may change meanwhile."""
        position = Position(account, ticker)
        ranks = self._ranked.get(position)
        if ranks is None:
            ranks = self._ranked[position] = sorted(rank_by_basis(lot) for lot in self.walk(account, ticker))
        for *_, key in ranks:
            yield self.lots[key]

    def lots_of(self, account: str, ticker: str) -> list[Lot]:
        """Return the lots of one position, earliest first, then by name."""
        return list(self.walk(account, ticker))

    def parts_of(self, key: LotKey, ticker: str) -> list[Lot]:
        """Return the lot of a name and all parts of it that the account holds of a security.

        Where lots of two purchases go by one name, because one came from another account, the account's own counts.
        """
        keys = (key, *sorted(self._parts[key])) if key in self._parts else (key,)
        parts = [lot for each in keys if (lot := self.lots.get(each)) is not None and lot.ticker == ticker]
        own = [lot for lot in parts if lot.origin.account == key.account]
        return own or parts

    def like(self, lot: Lot) -> Lot | None:
        """Return a part of a lot's purchase that differs from it in nothing but name and shares, None if there is none.

        It has replaced shares already, and costs the same a share to the cent. Of several the first by name.
        """
        if (lot.key.account, lot.root_id) not in self._parts:
            return None
        root, start, units = _likeness(lot)
        keys: list[LotKey] = []
        for near in (units - 1, units, units + 1):
            keys += self._like.get((root, start, near), ())
        for key in sorted(keys):
            if key == lot.key:
                continue
            other, purchase = self.lots[key], self.window.purchases.get(key)
            if (
                other.origin == lot.origin
                and other.ticker == lot.ticker
                and (purchase is None or purchase.unreplaced <= 0)
                and is_like(other, lot)
            ):
                return other
        return None

    def quantity_of(self, account: str, ticker: str) -> Decimal:
        """Return the shares that an account holds of a security."""
        return sum((lot.quantity for lot in self.walk(account, ticker)), _ZERO)

    def holders(self, ticker: str) -> list[str]:
        """Return the accounts that hold a security, in alphabetical order."""
        return sorted(self._holdings.get(ticker, ()))

    def owes(self, account: str, ticker: str) -> bool:
        """Return whether an account has a short position in a security."""
        return any(short.ticker == ticker and key.account == account for key, short in self.shorts.items())

    def group_of(self, ticker: str) -> str:
        """Return the substantially identical group of a security; its ticker where nobody said otherwise."""
        groups = self.terms.groups
        if groups and ticker in groups:
            return groups[ticker]
        return self.groups.get(ticker, ticker) if self.groups else ticker

    def free_lot_id(self, account: str, stem: str) -> str:
        """Return a name for a part of a lot that no lot or trade of the account has."""
        number = 1
        while self.is_taken(LotKey(account, name := f"{stem}{number}")):
            number += 1
        return name

    def is_taken(self, key: LotKey) -> bool:
        """Return whether a lot or short position of that name is held, or its purchase is still in the window."""
        if key in self.lots or key in self.shorts:
            return True
        purchase = self.window.purchases.get(key)
        return purchase is not None and purchase.day >= self.day - WINDOW

    # ------------------------------------------------------------ what changes it

    def put(self, lot: Lot) -> None:
        """Add a lot, or put it in the place of the one with its key."""
        key, ticker = lot.key, lot.ticker
        account, lot_id = key
        before = self.lots.get(key)
        if before is not None:
            if before.acquired_on == lot.acquired_on and before.ticker == ticker:
                self.lots[key] = lot
                if lot.root_id != lot_id:
                    self._move_part(before, lot)
                if self._ranked:
                    self._rank(before, lot)
                return
            self.remove(before)
        self.lots[key] = lot
        if self._ranked:
            self._rank(None, lot)
        if lot.root_id != lot_id:
            self._add_part(lot)
        accounts = self._holdings.get(ticker)
        if accounts is None:
            accounts = self._holdings[ticker] = {}
        place = (lot.acquired_on, key)
        order = accounts.get(account)
        if order is None:
            accounts[account] = [place]
        elif order[-1] < place:
            order.append(place)
        else:
            insort(order, place)

    def remove(self, lot: Lot) -> None:
        """Take a lot out."""
        del self.lots[lot.key]
        if self._ranked:
            self._rank(lot, None)
        if lot.root_id != lot.key.lot_id:
            self._drop_part(lot)
        accounts = self._holdings[lot.ticker]
        order = accounts[lot.key.account]
        del order[bisect_left(order, (lot.acquired_on, lot.key))]
        if not order:
            del accounts[lot.key.account]
            if not accounts:
                del self._holdings[lot.ticker]

    def _add_part(self, lot: Lot) -> None:
        likeness = _likeness(lot)
        self._parts[likeness[0]].add(lot.key)
        self._like[likeness].add(lot.key)

    def _drop_part(self, lot: Lot) -> None:
        likeness = _likeness(lot)
        _discard(self._parts, likeness[0], lot.key)
        _discard(self._like, likeness, lot.key)

    def _move_part(self, before: Lot, after: Lot) -> None:
        former, likeness = _likeness(before), _likeness(after)
        if former == likeness:
            return
        if former[0] != likeness[0]:
            _discard(self._parts, former[0], before.key)
            self._parts[likeness[0]].add(after.key)
        _discard(self._like, former, before.key)
        self._like[likeness].add(after.key)

    def _rank(self, before: Lot | None, after: Lot | None) -> None:
        """Keep the order by basis of a position that was asked for it."""
        lot = before or after
        assert lot is not None
        ranks = self._ranked.get(Position(lot.key.account, lot.ticker))
        if ranks is None:
            return
        if before is not None:
            del ranks[bisect_left(ranks, rank_by_basis(before))]
        if after is not None:
            insort(ranks, rank_by_basis(after))

    def change(
        self,
        kind: PostingKind,
        cause: EventKey,
        before: Lot | None,
        after: Lot | None,
        *,
        settle_date: date | None = None,
        cash: Decimal = _ZERO,
        gain: Decimal = _ZERO,
        term: Term = Term.NONE,
        fee: Decimal = _ZERO,
        tax_date: date | None = None,
        loss: LossLink | None = None,
        former: LotKey | None = None,
        is_passing: bool = False,
    ) -> None:
        """Put a lot in the place of another and write the difference.

        Args:
            kind: What is recorded.
            cause: The event that causes it.
            before: The lot as it was; None for a new one.
            after: The lot as it is now, under the same key; None where nothing is left.
            settle_date: Of the event, where known.
            cash: Change of the account's cash.
            gain: As in ``Posting``.
            term: As in ``Posting``.
            fee: As in ``Posting``.
            tax_date: As in ``Posting``.
            loss: As in ``Posting``.
            former: As in ``Posting``.
            is_passing: Whether the next change begins with ``after``; it is written and not put in its place.
        """
        if after is None:
            assert before is not None
            self.remove(before)
            lot = before
            quantity, cost, adjusted = -before.quantity, -before.cost_basis, -before.adjusted_basis
        else:
            if not is_passing:
                self.put(after)
            lot = after
            if before is None:
                quantity, cost, adjusted = after.quantity, after.cost_basis, after.adjusted_basis
            else:
                quantity = after.quantity - before.quantity
                cost = after.cost_basis - before.cost_basis
                adjusted = after.adjusted_basis - before.adjusted_basis
        account = lot.key.account
        if cash:
            self.cash[account] = self.cash.get(account, _ZERO) + cash
        self.postings.append(
            Posting(
                kind,
                self.day,
                account,
                cause,
                lot.ticker,
                lot.key.lot_id,
                quantity,
                cash,
                cost,
                adjusted,
                gain,
                term,
                lot.acquired_on,
                lot.holding_period_start,
                fee,
                settle_date,
                tax_date,
                loss,
                former,
            )
        )

    def move_cash(self, kind: PostingKind, event: Event, account: str, amount: Decimal, ticker: str = "") -> None:
        """Add an amount to an account's cash and write it."""
        self.cash[account] = self.cash.get(account, _ZERO) + amount
        self.note(
            Posting(kind, self.day, account, event.key, ticker=ticker, cash=amount, settle_date=event.settle_date)
        )

    def note(self, posting: Posting) -> None:
        """Write a posting that changes no lot; its cash is booked already."""
        self.postings.append(posting)

    def remark(self, event: EventKey, code: str, message: str, remedy: str) -> None:
        """Write a finding about an event that is booked nevertheless."""
        self.findings.append(Finding(event, code, message, remedy, refused=False))

    # ------------------------------------------------------------ the end

    def freeze(self) -> State:
        """Return the state at the end of the day that was booked last."""
        if self.day > date.min:
            self.window.forget(self.day)
        return State(
            through=None if self.day == date.min else self.day,
            lots=dict(self.lots),
            cash=_ordered(self.cash),
            purchases=tuple(sorted(self.window.purchases.values(), key=lambda each: (each.day, each.lot))),
            losses=tuple(sorted(self.window.losses.values(), key=lambda each: (each.day, each.lot, each.event))),
            shorts=dict(self.shorts),
            groups=_ordered(self.groups),
            unlisted=tuple(self.unlisted),
            histories=_ordered(self.histories),
        )


def _discard(index: dict[_Name, set[LotKey]], name: _Name, key: LotKey) -> None:
    keys = index[name]
    keys.discard(key)
    if not keys:
        del index[name]


def _ordered(values: Mapping[str, _Value]) -> dict[str, _Value]:
    return {name: values[name] for name in sorted(values)}
