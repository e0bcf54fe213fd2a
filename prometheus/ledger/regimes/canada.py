"""Canada: one pool for each taxpayer and security, and superficial losses over a household.

A lot is an account's part of its taxpayer's pool; all shares of a pool cost the same, and the parts add up to the
pool's cost in cents. A registered plan (RRSP, TFSA) has pools of its own, which are not taxed. All taxpayers and plans
of a household are affiliated.

Source: ITA ss. 40(2)(g)(i), 47(1), 53(1)(f), 54, 251.1; docs/specs/ledger_canada.md.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

from prometheus.domain.lots import Term
from prometheus.domain.money import allocate_cents
from prometheus.ledger.book import Book
from prometheus.ledger.events import Buy, CoverShort, Event, Sell, ShortSale
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.lots import shared_out, split_lot, take_shares
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.regimes import Selection, Taking
from prometheus.ledger.regimes.denials import pool_lot_id
from prometheus.ledger.regimes.pool_costs import PoolCosts
from prometheus.ledger.regimes.pool_window import PoolWindow
from prometheus.ledger.regimes.settlement import settlement_date
from prometheus.ledger.regimes.superficial import part_of_cost
from prometheus.ledger.selection import oversold
from prometheus.ledger.state import Loss, Lot, PoolKey, PoolSale, PoolShift, Purchase
from prometheus.ledger.terms import Terms
from prometheus.ledger.window import Window

_ZERO: Final = Decimal(0)
_TRADES: Final = (Buy, Sell, ShortSale, CoverShort)


class CanadaRegime:
    """The rules of Canada.

    Args:
        terms: The household's terms.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._costs = PoolCosts(terms)
        #: Fractions of a share that are paid when the day's actions are booked in every account.
        self._fractions: list[tuple[Event, LotKey, Decimal, Decimal]] = []

    # ------------------------------------------------------------ orders and dates

    def window(self, book: Book) -> Window:
        """Return an empty window: groups over the household; purchases are never used up."""
        return PoolWindow(book, self._costs, self._pay_fractions)

    def tax_date(self, event: Event) -> date:
        """Return the settlement date, which is when shares are disposed of; other events happen on their day.

        Source: CRA 2012-0468931C6; ITA s. 248(1) "disposition".
        """
        if event.settle_date is not None:
            return event.settle_date
        return settlement_date(event.trade_date) if isinstance(event, _TRADES) else event.trade_date

    def term(self, lot: Lot, day: date) -> Term:  # noqa: ARG002 - the protocol's signature
        """Return NONE: Canada knows no holding periods."""
        return Term.NONE

    def purchase_rank(self, account: str) -> int:  # noqa: ARG002 - the protocol's signature
        """Return 0: the order of a day's purchases makes no difference."""
        return 0

    def begin_day(self, book: Book, day: date) -> None:
        """Settle the losses whose day 30 lies before a day."""
        self._costs.begin(book, day)

    def end_day(self, book: Book) -> None:
        """Let the evening's share counts decide what is denied of the losses whose window is open."""
        self._costs.end(book)

    # ------------------------------------------------------------ shares taken

    def select(self, book: Book, taking: Taking) -> Selection:
        """Return the account's part of the pool; lots named make no difference, because all shares cost the same.

        Raises:
            RefusedError: OVERSOLD.

        Source: ITA s. 47(1).
        """
        selection: Selection = []
        missing = taking.quantity
        for lot in book.walk(taking.account, taking.ticker):
            selection.append((lot, min(lot.quantity, missing)))
            missing -= selection[-1][1]
            if missing <= 0:
                return selection
        raise oversold(taking, taking.quantity - missing)

    def take(self, book: Book, lot: Lot, quantity: Decimal) -> tuple[Lot, Lot | None]:
        """Take shares out of an account's part of a pool, with their part of its cost."""
        pool = self._costs.pool_of(lot.key.account, lot.ticker)
        self._costs.touch(book, lot.ticker)
        if not pool.plan:
            shares = sum((each.quantity for each in self._costs.lots_of(book, pool)), _ZERO)
            self._costs.leave(book, PoolShift(pool, None, quantity, shares, lot=lot.key))
        return take_shares(lot, quantity)

    # ------------------------------------------------------------ shares that come in

    def bring_in(
        self,
        book: Book,
        kind: PostingKind,
        event: Event,
        lot: Lot,
        *,
        cash: Decimal = _ZERO,
        purchase: Purchase | None = None,
        former: LotKey | None = None,
    ) -> None:
        """Add shares to the account's part of the pool, and spread the pool's cost anew over the taxpayer's accounts.

        Source: ITA ss. 47(1), 53(1)(f); commissions are part of the cost.
        """
        costs = self._costs
        pool = costs.pool_of(lot.key.account, lot.ticker)
        source = former if kind is PostingKind.TRANSFER_IN else None
        comes_along = source is not None and costs.arrive(book, event.key, pool, source.account)
        if not comes_along:
            costs.sync(book, lot.ticker)
        before = book.lots.get(LotKey(lot.key.account, pool_lot_id(lot.ticker)))
        after = merged(lot if before is None else before, None if before is None else lot)
        book.change(kind, event.key, before, after, settle_date=event.settle_date, cash=cash, former=former)
        if source is not None:
            purchase = self._acquired_from(book, event, lot, source)
        if purchase is not None:
            # Lots are pools here, so an event names its purchase; nothing uses it up.
            bought, exact = purchase.quantity, purchase.exact
            name = LotKey(lot.key.account, event.event_id)
            purchase = Purchase(purchase.event, name, lot.ticker, purchase.day, bought, bought, exact, exact)
            book.window.add_purchase(purchase)
        if not comes_along or purchase is not None:
            costs.enter(book, pool, _ZERO if comes_along else lot.adjusted_basis, purchase)
        costs.touch(book, lot.ticker)
        costs.spread(book, pool, event.key)

    def _acquired_from(self, book: Book, event: Event, lot: Lot, former: LotKey) -> Purchase | None:
        """Return what a person acquires by a transfer from another one of the household.

        Source: ITA s. 54 "superficial loss" (a), an affiliated person "acquires"; s. 73(1) between spouses.
        """
        source = self._costs.pool_of(former.account, lot.ticker)
        if source == self._costs.pool_of(lot.key.account, lot.ticker):
            return None
        return Purchase(event.key, lot.key, lot.ticker, book.day, lot.quantity, lot.quantity, lot.exact, lot.exact)

    def exchange(self, book: Book, kind: PostingKind, cause: EventKey, before: Lot, after: Lot) -> None:
        """Move an account's part of a pool into the pool of another security.

        A pool of that name which is held keeps its lot until the day's symbols have all changed, for it may be about to
        change its own.
        """
        self._pay_fractions(book, before.ticker)
        if kind is PostingKind.MERGER:
            self._costs.sync(book, before.ticker)
        account = before.key.account
        name = pool_lot_id(after.ticker)
        if LotKey(account, name) in book.lots:
            name = book.free_lot_id(account, f"{name}~")
        book.change(kind, cause, before, None)
        book.change(kind, cause, None, replace(after, key=LotKey(account, name), root_id=name), former=before.key)
        self._costs.touch(book, after.ticker)

    def settle_positions(self, book: Book, event: EventKey, tickers: Iterable[str]) -> None:
        """Make one lot of each position again, and spread each pool's cost over the taxpayer's accounts."""
        for ticker in tickers:
            for account in book.holders(ticker):
                _pool_position(book, account, ticker, event)
        self._pay_fractions(book)
        for ticker in tickers:
            for pool in sorted({self._costs.pool_of(account, ticker) for account in book.holders(ticker)}):
                self._costs.spread(book, pool, event)
            self._costs.sync(book, ticker)
            self._costs.touch(book, ticker)

    # ------------------------------------------------------------ dispositions

    def realise(
        self,
        book: Book,
        kind: PostingKind,
        event: Event,
        selection: Selection,
        proceeds: Decimal,
        *,
        fee: Decimal = _ZERO,
    ) -> None:
        """Dispose of shares at the pool's average cost, which stays the cost of a share.

        Fractions that an action leaves wait until it is booked in every account, for the accounts share a pool.

        Source: ITA ss. 40(1), 47(1).
        """
        if kind is not PostingKind.CASH_IN_LIEU and selection:
            self._pay_fractions(book, selection[0][0].ticker)
        quantities = [quantity for _, quantity in selection]
        amounts = shared_out(proceeds, quantities)
        fees = shared_out(fee, quantities) if fee else (_ZERO,) * len(quantities)
        for (lot, quantity), amount, line_fee in zip(selection, amounts, fees, strict=True):
            if kind is PostingKind.CASH_IN_LIEU:
                if any(key == lot.key for _, key, _, _ in self._fractions):
                    self._pay_fractions(book, lot.ticker)
                self._fractions.append((event, lot.key, quantity, amount))
            else:
                self._dispose(book, kind, event, book.lots[lot.key], quantity, amount, line_fee)

    def _pay_fractions(self, book: Book, ticker: str | None = None) -> None:
        """Sell the fractions that wait: of one security, or all."""
        waiting, self._fractions = self._fractions, []
        for event, key, quantity, amount in waiting:
            lot = book.lots.get(key)
            if lot is None:
                # The position has become one lot since.
                name = key.lot_id.partition("~")[0]
                lot = book.lots[LotKey(key.account, name)]
            if ticker is None or lot.ticker == ticker:
                # Two fractions of one day are parts of one position.
                shares = min(quantity, lot.quantity)
                self._dispose(book, PostingKind.CASH_IN_LIEU, event, lot, shares, amount, _ZERO)
            else:
                self._fractions.append((event, key, quantity, amount))

    def _dispose(
        self, book: Book, kind: PostingKind, event: Event, lot: Lot, quantity: Decimal, amount: Decimal, fee: Decimal
    ) -> None:
        costs = self._costs
        pool = costs.pool_of(lot.key.account, lot.ticker)
        tax_date = self.tax_date(event)
        costs.touch(book, lot.ticker)
        if pool.plan:
            taken, left = take_shares(lot, quantity)
        else:
            costs.sync(book, lot.ticker)
            lot, taken, left = self._take_of_pool(book, pool, lot, quantity, event.key)
        gain = amount - taken.adjusted_basis
        starts = None if pool.plan or gain >= 0 else costs.bases(book, book.group_of(lot.ticker))
        shares = sum((each.quantity for each in costs.lots_of(book, pool)), _ZERO)
        book.change(
            kind,
            event.key,
            lot,
            left,
            settle_date=event.settle_date,
            cash=amount,
            gain=gain,
            fee=fee,
            tax_date=tax_date,
        )
        if not pool.plan:
            loss = Loss(
                event=event.key,
                lot=lot.key,
                origin=lot.origin,
                ticker=lot.ticker,
                day=book.day,
                acquired_on=lot.acquired_on,
                holding_period_start=lot.holding_period_start,
                term=Term.NONE,
                quantity=quantity,
                amount=max(-gain, _ZERO),
                open_quantity=quantity,
                disallowed=_ZERO,
                denied_for_good=_ZERO,
                ticker_then=lot.ticker,
                settle_date=tax_date,
            )
            sale = PoolSale(kind, loss, quantity, shares, amount, taken.adjusted_basis)
            costs.sell(book, pool, sale, starts)

    def _take_of_pool(
        self, book: Book, pool: PoolKey, lot: Lot, quantity: Decimal, cause: EventKey
    ) -> tuple[Lot, Lot, Lot | None]:
        """Return the lot, the part taken and the part left, after the pool's cost is laid out for the sale.

        The part taken has its share of the whole pool's cost, and every account is left with its share of the rest,
        which can move cents between accounts.
        """
        lots = self._costs.lots_of(book, pool)
        if len(lots) == 1:
            return lot, *take_shares(lot, quantity)
        shares = sum((each.quantity for each in lots), _ZERO)
        cost = sum((each.cost_basis for each in lots), _ZERO)
        adjusted = sum((each.adjusted_basis for each in lots), _ZERO)
        cost_taken = part_of_cost(cost, quantity, shares)
        adjusted_taken = part_of_cost(adjusted, quantity, shares)
        counts = {each.key: each.quantity - (quantity if each.key == lot.key else _ZERO) for each in lots}
        left = {key: count for key, count in counts.items() if count > 0}
        costs_left = dict(zip(left, allocate_cents(cost - cost_taken, tuple(left.values())), strict=True))
        bases_left = dict(zip(left, allocate_cents(adjusted - adjusted_taken, tuple(left.values())), strict=True))
        for each in lots:
            own = each.key == lot.key
            after = replace(
                each,
                cost_basis=costs_left.get(each.key, _ZERO) + (cost_taken if own else _ZERO),
                adjusted_basis=bases_left.get(each.key, _ZERO) + (adjusted_taken if own else _ZERO),
            )
            if after != each:
                book.change(PostingKind.POOL, cause, each, after)
        lot = book.lots[lot.key]
        if quantity == lot.quantity:
            return lot, lot, None
        return lot, *split_lot(lot, quantity, cost_taken, adjusted_taken)

    def meet_losses(self, book: Book) -> None:
        """Let the losses realised since the last call look for the purchases already made."""
        self._costs.look(book)


def merged(lot: Lot, other: Lot | None) -> Lot:
    """Return one pooled lot of one or two: sums of shares and costs, the earliest date.

    Source: ITA s. 47(1).
    """
    name = pool_lot_id(lot.ticker)
    key = LotKey(lot.key.account, name)
    if other is None:
        return replace(lot, key=key, root_id=name, holding_period_start=lot.acquired_on)
    exact = None
    if lot.exact is not None or other.exact is not None:
        exact = (lot.exact or Fraction(lot.quantity)) + (other.exact or Fraction(other.quantity))
    quantity = lot.quantity + other.quantity
    acquired = min(lot.acquired_on, other.acquired_on)
    return replace(
        lot,
        key=key,
        root_id=name,
        acquired_on=acquired,
        holding_period_start=acquired,
        quantity=quantity,
        exact=None if exact == Fraction(quantity) else exact,
        cost_basis=lot.cost_basis + other.cost_basis,
        adjusted_basis=lot.adjusted_basis + other.adjusted_basis,
    )


def _pool_position(book: Book, account: str, ticker: str, cause: EventKey) -> None:
    """Make one lot of a position that symbol changes or mergers have left with several."""
    lots = book.lots_of(account, ticker)
    key = LotKey(account, pool_lot_id(ticker))
    if len(lots) == 1 and lots[0].key == key:
        return
    after: Lot | None = None
    for lot in lots:
        after = merged(lot if after is None else after, None if after is None else lot)
    assert after is not None  # the account holds the security
    for lot in lots:
        if lot.key != key:
            book.change(PostingKind.POOL, cause, lot, None, former=None)
    book.change(PostingKind.POOL, cause, book.lots.get(key), after)
