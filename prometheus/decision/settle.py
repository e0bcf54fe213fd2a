"""From target shares to the trade list by lots, exact in decimals. Pure: the fold of the ledger books the trades."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

from prometheus.decision.day_books import lots_by_ticker, state_of, terms_of
from prometheus.decision.planned_trades import planned_fills, short_fills, sided_shares, trade_events
from prometheus.decision.snapshot import Snapshot
from prometheus.decision.wash_locks import is_in_window
from prometheus.domain.accounts import TaxRates, TaxRegime
from prometheus.domain.books import Fill
from prometheus.domain.lots import Side, Term
from prometheus.domain.money import CENT, to_cents
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.events import Buy, CoverShort, Event, ShortSale
from prometheus.ledger.fold import Folded, advance
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import DISALLOWANCES, Posting, PostingKind
from prometheus.ledger.regimes.pool_costs import PoolCosts
from prometheus.ledger.regimes.superficial import Acquired, denied_parts
from prometheus.ledger.state import PoolKey, State
from prometheus.ledger.terms import Terms

_BPS: Final = Decimal("0.0001")
_ZERO: Final = Decimal(0)
#: Part of itself by which a sum of floats may miss the exact number of shares.
_LAST_BITS: Final = Decimal("4e-16")


@dataclass(frozen=True, slots=True)
class TradeLine:
    """One line of a run's trade list: a purchase, a lot's part in a sale, a short sale, a short lot's part in a cover.

    Amounts are cents of the base currency. ``amount`` is shares times price; ``cost`` the estimated trading cost, which
    is no part of the gain; ``tax`` the rate times the gain that counts, negative for a usable loss. Basis, gain, term
    and tax are None for a purchase and a short sale. The amount of a cover of several positions is shared out over its
    lines, to the cent; the basis of a line is what the short sale brought for its shares, the gain that less
    ``amount``, and the lot and its day are those of the short sale.
    """

    ticker: str
    side: Side
    lot_id: str | None
    acquired_on: date | None
    quantity: Decimal
    price: Decimal
    amount: Decimal
    cost: Decimal
    basis: Decimal | None = None
    realized_gain: Decimal | None = None
    term: Term | None = None
    disallowed_loss: Decimal | None = None
    tax: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """The trade list and what it adds up to, cents of the base currency; ``cash_after`` is net of estimated costs."""

    lines: tuple[TradeLine, ...]
    cash_after: Decimal
    realized_gain_short: Decimal
    realized_gain_long: Decimal
    realized_gain_other: Decimal
    disallowed_loss: Decimal
    tax: Decimal
    cost: Decimal


def settle(snapshot: Snapshot, params: StrategyParams, shares: Mapping[str, str]) -> Settlement:
    """Book the target shares against the snapshot's lots and return the trade list.

    Purchases cover short positions first. Where the strategy allows short positions, what is sold beyond all lots of a
    security is sold short. Both are lines of their own, after the others. Under rules that settle no
    short positions a short sale is a line without a lot: such a list is an answer, not a booking.

    Raises:
        AccountingError: Trades would borrow (``refuse_borrowing``), or a loss would be washed although the policy
            forbids it; both mean that the answer breaks a rule it was solved under, and nothing is persisted.
    """
    forbid = params.loss_sale_policy == "forbid"
    locked = {lock.subject for lock in snapshot.loss_sale_locks} if forbid else frozenset()
    sided = sided_shares(snapshot, shares, may_short=params.long_max > 1)
    is_booked = snapshot.tax_regime.settles_shorts
    rate = Decimal(str(params.cost_bps)) * _BPS
    price_of = {name.ticker: name.price for name in snapshot.universe}
    unbooked = {} if is_booked else sided.short
    short_lines = tuple(_short_line(ticker, count, price_of[ticker], rate) for ticker, count in unbooked.items())
    traded = {ticker: count for ticker, count in sided.own.items() if Decimal(count)}
    lots = lots_by_ticker(snapshot, {*traded, *sided.short, *sided.cover})
    fills = planned_fills(snapshot, lots, traded, locked_lots=locked)
    if is_booked:
        fills += short_fills(snapshot, sided)
    booked = _Booked(snapshot, state_of(snapshot, lots), fills)
    # what short sales raise pays for purchases, as any sale does
    cash = booked.cash + sum((line.amount for line in short_lines), _ZERO)
    # Part of a lot that stands at its price may lose a cent in rounding alone; that is booked, not forbidden.
    deliberate = {sold: loss for sold, loss in booked.disallowed.items() if loss > CENT}
    if forbid and deliberate:
        (_, lot), loss = next(iter(deliberate.items()))
        raise AccountingError(f"selling lot {lot.lot_id} would wash a loss of {loss}, which the policy forbids.")
    lines = (*booked.lines(price_of, rate, snapshot.rates), *short_lines)
    cost = sum((line.cost for line in lines), _ZERO)
    refuse_borrowing(snapshot.cash, cash - cost)
    return Settlement(
        lines=lines,
        cash_after=cash - cost,
        realized_gain_short=_gain(lines, Term.SHORT),
        realized_gain_long=_gain(lines, Term.LONG),
        realized_gain_other=_gain(lines, Term.NONE),
        disallowed_loss=sum((line.disallowed_loss or _ZERO for line in lines), _ZERO),
        tax=sum((line.tax or _ZERO for line in lines), _ZERO),
        cost=cost,
    )


def refuse_borrowing(before: Decimal, after: Decimal) -> None:
    """Refuse trades that borrow; an account that is overdrawn already may stay so, but no trade may take it further.

    Args:
        before: Cash before the trades, base currency.
        after: Cash after them and their estimated costs.

    Raises:
        AccountingError: The trades leave less than nothing, and less than there was.
    """
    if after < 0 and after < before:
        raise AccountingError(f"the trades leave cash of {after} after estimated costs; an account may not borrow.")


def _short_line(ticker: str, quantity: Decimal, price: Decimal, cost_rate: Decimal) -> TradeLine:
    amount = to_cents(quantity * price)
    return TradeLine(ticker, Side.SELL_SHORT, None, None, quantity, price, amount, to_cents(amount * cost_rate))


class _Booked:
    """A day's trades in the ledger.

    Every lot of a sale is an event of its own, so that each line's amount is its own shares times the price, in cents.

    Args:
        snapshot: The frozen inputs.
        state: The books before, as far as the trades concern them.
        fills: The trades.

    Attributes:
        cash: Of the account after the trades.
        disallowed: What is disallowed of each loss, by the event of the sale and the lot.

    Raises:
        AccountingError: The ledger refuses a trade.
    """

    def __init__(self, snapshot: Snapshot, state: State, fills: Sequence[Fill]) -> None:
        account = snapshot.account_id
        events = tuple(trade_events(account, fills))
        terms = terms_of(snapshot)
        folded = advance(state, events, terms)
        refused = next((finding for finding in folded.findings if finding.refused), None)
        if refused is not None:
            raise AccountingError(refused.message, code=refused.code)
        self.cash = folded.state.cash[account]
        self.disallowed = {**_disallowed(folded), **_denied_of_the_past(folded.state, terms, events)}
        self._events = events
        self._postings = {
            posting.event: posting
            for posting in folded.postings
            if posting.kind in _TRADES and posting.quantity and posting.account == account
        }
        self._shorts = [
            posting for posting in folded.postings if posting.kind in _SHORTS and posting.account == account
        ]

    def lines(self, price_of: Mapping[str, Decimal], cost_rate: Decimal, rates: TaxRates) -> Iterator[TradeLine]:
        """Yield the trade list: sales by the names of their executions, purchases, short sales, covers."""
        for event in self._events:
            if isinstance(event, ShortSale | CoverShort):
                for posting in self._shorts:
                    if posting.event == event.key:
                        yield _line(posting, price_of[posting.ticker], cost_rate, rates, _ZERO)
                continue
            posting = self._postings[event.key]
            disallowed = _ZERO
            if posting.kind is PostingKind.SELL:
                assert posting.lot is not None  # a sale always names its lot
                disallowed = self.disallowed.get((event.key, posting.lot), _ZERO)
            yield _line(posting, price_of[posting.ticker], cost_rate, rates, disallowed)


_TRADES: Final = frozenset({PostingKind.BUY, PostingKind.SELL})
_SHORTS: Final = frozenset({PostingKind.SHORT_SALE, PostingKind.COVER_SHORT})
#: What a posting of a trade is called, and whether its basis is counted down.
_SIDES: Final[Mapping[PostingKind, tuple[Side, int]]] = {
    PostingKind.BUY: (Side.BUY, 0),
    PostingKind.SHORT_SALE: (Side.SELL_SHORT, 0),
    PostingKind.SELL: (Side.SELL, -1),
    PostingKind.COVER_SHORT: (Side.BUY_TO_COVER, 1),
}


def _disallowed(folded: Folded) -> dict[tuple[EventKey, LotKey], Decimal]:
    disallowed: dict[tuple[EventKey, LotKey], Decimal] = defaultdict(Decimal)
    for posting in folded.postings:
        if posting.kind in DISALLOWANCES and posting.loss is not None:
            disallowed[posting.loss.event, posting.loss.lot] += posting.realized_gain
    return dict(disallowed)


def _denied_of_the_past(state: State, terms: Terms, events: Sequence[Event]) -> dict[tuple[EventKey, LotKey], Decimal]:
    """Return what the day's purchases deny of earlier Canadian losses.

    A snapshot has no history of pools, without which the fold leaves earlier losses as they are. So they are looked at
    here, by the ledger's rule.
    """
    if terms.regime is not TaxRegime.CA:
        return {}
    bought = {terms.group_of(event.ticker) for event in events if isinstance(event, Buy)}
    pool_of = PoolCosts(terms).pool_of
    denied: dict[tuple[EventKey, LotKey], Decimal] = {}
    day = state.through
    assert day is not None  # the day's trades are booked
    for loss in state.losses:
        group = terms.group_of(loss.ticker)
        if group not in bought or loss.day == day or not is_in_window(loss.day, day):
            continue
        held: dict[PoolKey, Decimal] = defaultdict(Decimal)
        for lot in state.lots.values():
            if terms.group_of(lot.ticker) == group:
                held[pool_of(lot.account, lot.ticker)] += lot.quantity
        purchases = (purchase for purchase in state.purchases if terms.group_of(purchase.ticker) == group)
        parts = denied_parts(loss, Acquired(purchases, pool_of).around(loss), held)
        shares = sum(parts.values(), Fraction(0))
        amount = to_cents(loss.amount * shares.numerator / (shares.denominator * loss.quantity))
        denied[loss.event, loss.lot] = max(amount - loss.disallowed, _ZERO)
    return denied


def _line(posting: Posting, price: Decimal, cost_rate: Decimal, rates: TaxRates, disallowed: Decimal) -> TradeLine:
    quantity, amount = abs(posting.quantity), abs(posting.cash)
    cost = to_cents(amount * cost_rate)
    side, sign = _SIDES[posting.kind]
    if not sign:
        return TradeLine(posting.ticker, side, posting.lot_id, posting.day, quantity, price, amount, cost)
    return TradeLine(
        ticker=posting.ticker,
        side=side,
        lot_id=posting.lot_id,
        acquired_on=posting.acquired_on,
        quantity=quantity,
        price=price,
        amount=amount,
        cost=cost,
        basis=sign * posting.adjusted_basis,
        realized_gain=posting.realized_gain,
        term=posting.term,
        disallowed_loss=disallowed,
        tax=to_cents(rates.of(posting.term) * (posting.realized_gain + disallowed)),
    )


def _gain(lines: Sequence[TradeLine], term: Term) -> Decimal:
    return sum((line.realized_gain or Decimal(0) for line in lines if line.term is term), Decimal(0))
