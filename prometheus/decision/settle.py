"""From target shares to the trade list by lots, exact in decimals. Pure: the fold of the ledger books the trades."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final

from prometheus.decision.day_books import lots_by_ticker, state_of, terms_of
from prometheus.decision.snapshot import Snapshot
from prometheus.decision.wash_locks import is_in_window
from prometheus.domain.accounts import TaxRates, TaxRegime
from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side, Term
from prometheus.domain.money import CENT, floor_to_step, plain_text, share_step, to_cents
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.errors import AccountingError, OversoldError
from prometheus.ledger.events import Buy, Event, Sell
from prometheus.ledger.fold import Folded, advance
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import DISALLOWANCES, Posting, PostingKind
from prometheus.ledger.regimes.pool_costs import PoolCosts
from prometheus.ledger.regimes.superficial import Acquired, denied_parts
from prometheus.ledger.selection import SaleTerms, Selection, Taking, order_lots, walk_lots
from prometheus.ledger.state import Lot, PoolKey, State
from prometheus.ledger.terms import Terms

_BPS: Final = Decimal("0.0001")
_ZERO: Final = Decimal(0)
#: Part of itself by which a sum of floats may miss the exact number of shares.
_LAST_BITS: Final = Decimal("4e-16")


@dataclass(frozen=True, slots=True)
class TradeLine:
    """One line of a run's trade list: a purchase, one lot's part in a sale, or what is sold short beyond all lots.

    Amounts are cents of the base currency. ``amount`` is shares times price; ``cost`` the estimated trading cost, which
    is no part of the gain; ``tax`` the rate times the gain that counts, negative for a usable loss. Basis, gain, term
    and tax are None for a purchase, and for a short sale the lot as well.
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


def planned_fills(
    snapshot: Snapshot,
    lots: Mapping[str, Sequence[Lot]],
    shares: Mapping[str, str],
    *,
    locked_lots: Collection[str] = (),
) -> tuple[Fill, ...]:
    """Return the fills that would carry out the target shares at the snapshot's prices, lots picked by the lot method.

    Args:
        snapshot: The frozen inputs.
        lots: Its lots by ticker, those of the names that trade at least.
        shares: Signed shares by ticker as exact decimal text, positive buys.
        locked_lots: Lots that must not be sold.

    Raises:
        OversoldError: More shares are to be sold than the lots that may be sold hold.
    """
    price_of = {name.ticker: name.price for name in snapshot.universe}
    fills = []
    for ticker in sorted(shares):
        quantity, price = Decimal(shares[ticker]), price_of[ticker]
        picks: tuple[LotPick, ...] = ()
        if quantity < 0:
            sale = SaleTerms(snapshot.as_of, price, snapshot.rates)
            ordered = order_lots(lots[ticker], snapshot.lot_method, sale)
            selection = _selected(snapshot, Taking(snapshot.account_id, ticker, -quantity), ordered, locked_lots)
            picks = tuple(LotPick(lot.lot_id, taken) for lot, taken in selection)
            quantity = -sum((pick.quantity for pick in picks), _ZERO)
        fills.append(planned_fill(snapshot.account_id, snapshot.as_of, ticker, quantity, price, picks))
    return tuple(fills)


def _selected(snapshot: Snapshot, taking: Taking, ordered: Sequence[Lot], locked: Collection[str]) -> Selection:
    """Return the lots that a sale takes; exactly what they hold where it is that as near as a float can say it.

    Only a position that is closed may end off the grid of shares; beside locked lots the sale stays on it.
    """
    free = [lot for lot in ordered if lot.lot_id not in locked]
    quantity, held = taking.quantity, sum((lot.quantity for lot in free), _ZERO)
    if abs(held - quantity) <= held * _LAST_BITS:
        step = share_step(fractional=snapshot.fractional_shares)
        quantity = held if len(free) == len(ordered) else min(quantity, floor_to_step(held, step))
    if quantity > held:
        kept = sum((lot.quantity for lot in ordered), _ZERO) - held
        raise OversoldError(
            f"{quantity} shares of {taking.ticker} are to be sold, but the lots that may be sold hold {held} "
            f"({kept} more are locked).",
            details={
                "ticker": taking.ticker,
                "requested": plain_text(quantity),
                "available": plain_text(held),
                "locked": plain_text(kept),
            },
        )
    return walk_lots(free, taking, quantity)


def planned_fill(
    account_id: str, as_of: date, ticker: str, quantity: Decimal, price: Decimal, picks: tuple[LotPick, ...]
) -> Fill:
    """Return the one fill that carries out a run's trade in one name; its identifiers are the same wherever it is made.

    Args:
        account_id: The account.
        as_of: The run's day, which is the trade date.
        ticker: The name.
        quantity: Signed shares, positive buys.
        price: Base currency a share.
        picks: Lots of a sale.
    """
    side = Side.SELL if quantity < 0 else Side.BUY
    day, digits = _day_texts(as_of)
    return Fill(
        execution_id=f"{account_id}:{day}:{ticker}:{side}",
        ticker=ticker,
        side=side,
        trade_date=as_of,
        quantity=abs(quantity),
        price=price,
        lot_picks=picks,
        new_lot_id=f"{account_id}-{digits}-{ticker}" if side is Side.BUY else None,
    )


@lru_cache(maxsize=16)
def _day_texts(day: date) -> tuple[str, str]:
    return day.isoformat(), f"{day:%Y%m%d}"


def settle(snapshot: Snapshot, params: StrategyParams, shares: Mapping[str, str]) -> Settlement:
    """Book the target shares against the snapshot's lots and return the trade list.

    Where the strategy allows short positions, what is sold beyond all lots of a security is a line of its own without a
    lot, after the others. The ledger keeps no short lots: such a list is an answer, not a booking.

    Raises:
        AccountingError: Trades would borrow (``refuse_borrowing``), or a loss would be washed although the policy
            forbids it; both mean that the answer breaks a rule it was solved under, and nothing is persisted.
    """
    forbid = params.loss_sale_policy == "forbid"
    locked = {lock.subject for lock in snapshot.loss_sale_locks} if forbid else frozenset()
    short = _beyond_lots(snapshot, shares) if params.long_max > 1 else {}
    own = {ticker: str(Decimal(count) + short.get(ticker, 0)) for ticker, count in shares.items()} if short else shares
    rate = Decimal(str(params.cost_bps)) * _BPS
    price_of = {name.ticker: name.price for name in snapshot.universe}
    short_lines = tuple(_short_line(ticker, count, price_of[ticker], rate) for ticker, count in short.items())
    traded = {ticker: count for ticker, count in own.items() if Decimal(count)}
    lots = lots_by_ticker(snapshot, traded)
    fills = planned_fills(snapshot, lots, traded, locked_lots=locked)
    # what short sales raise pays for purchases, as any sale does
    raised = sum((line.amount for line in short_lines), _ZERO)
    booked = _Booked(snapshot, state_of(snapshot, lots), fills, raised)
    # Part of a lot that stands at its price may lose a cent in rounding alone; that is booked, not forbidden.
    deliberate = {sold: loss for sold, loss in booked.disallowed.items() if loss > CENT}
    if forbid and deliberate:
        (_, lot), loss = next(iter(deliberate.items()))
        raise AccountingError(f"selling lot {lot.lot_id} would wash a loss of {loss}, which the policy forbids.")
    lines = (*booked.lines(price_of, rate, snapshot.rates), *short_lines)
    cost = sum((line.cost for line in lines), _ZERO)
    refuse_borrowing(snapshot.cash, booked.cash - cost)
    return Settlement(
        lines=lines,
        cash_after=booked.cash - cost,
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


def _beyond_lots(snapshot: Snapshot, shares: Mapping[str, str]) -> dict[str, Decimal]:
    """Return how many shares of each name are sold beyond its lots."""
    held: dict[str, Decimal] = defaultdict(Decimal)
    for lot in snapshot.lots:
        held[lot.ticker] += lot.quantity
    beyond = {ticker: -Decimal(shares[ticker]) - held[ticker] for ticker in sorted(shares)}
    return {ticker: count for ticker, count in beyond.items() if count > 0}


def _short_line(ticker: str, quantity: Decimal, price: Decimal, cost_rate: Decimal) -> TradeLine:
    amount = to_cents(quantity * price)
    return TradeLine(ticker, Side.SELL, None, None, quantity, price, amount, to_cents(amount * cost_rate))


class _Booked:
    """A day's trades in the ledger.

    Every lot of a sale is an event of its own, so that each line's amount is its own shares times the price, in cents.

    Args:
        snapshot: The frozen inputs.
        state: The books before, as far as the trades concern them.
        fills: The trades.
        raised: Cash that other sales of the day raise.

    Attributes:
        cash: Of the account after the trades.
        disallowed: What is disallowed of each loss, by the event of the sale and the lot.

    Raises:
        AccountingError: The ledger refuses a trade.
    """

    def __init__(self, snapshot: Snapshot, state: State, fills: Sequence[Fill], raised: Decimal) -> None:
        account = snapshot.account_id
        state = replace(state, cash={account: snapshot.cash + raised})
        events = tuple(_events(account, fills))
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

    def lines(self, price_of: Mapping[str, Decimal], cost_rate: Decimal, rates: TaxRates) -> Iterator[TradeLine]:
        """Yield the trade list: sales by the names of their executions, then purchases."""
        for event in self._events:
            posting = self._postings[event.key]
            disallowed = _ZERO
            if posting.kind is PostingKind.SELL:
                assert posting.lot is not None  # a sale always names its lot
                disallowed = self.disallowed.get((event.key, posting.lot), _ZERO)
            yield _line(posting, price_of[posting.ticker], cost_rate, rates, disallowed)


_TRADES: Final = frozenset({PostingKind.BUY, PostingKind.SELL})


def _events(account: str, fills: Sequence[Fill]) -> Iterator[Event]:
    """Yield the trades as events of the ledger: each lot of a sale, then purchases, by the names of executions."""
    ordered = sorted(fills, key=lambda fill: fill.execution_id)
    for fill in ordered:
        for number, pick in enumerate(fill.lot_picks, start=1):
            yield Sell(
                account=account,
                event_id=f"{fill.execution_id}:{number}",
                trade_date=fill.trade_date,
                ticker=fill.ticker,
                quantity=pick.quantity,
                amount=to_cents(pick.quantity * fill.price),
                picks=(pick,),
            )
    for fill in ordered:
        if fill.side is Side.BUY:
            yield Buy(
                account=account,
                event_id=fill.execution_id,
                trade_date=fill.trade_date,
                ticker=fill.ticker,
                quantity=fill.quantity,
                amount=to_cents(fill.quantity * fill.price),
                lot_id=fill.new_lot_id,
            )


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
    if posting.kind is PostingKind.BUY:
        return TradeLine(posting.ticker, Side.BUY, posting.lot_id, posting.day, quantity, price, amount, cost)
    return TradeLine(
        ticker=posting.ticker,
        side=Side.SELL,
        lot_id=posting.lot_id,
        acquired_on=posting.acquired_on,
        quantity=quantity,
        price=price,
        amount=amount,
        cost=cost,
        basis=-posting.adjusted_basis,
        realized_gain=posting.realized_gain,
        term=posting.term,
        disallowed_loss=disallowed,
        tax=to_cents(rates.of(posting.term) * (posting.realized_gain + disallowed)),
    )


def _gain(lines: Sequence[TradeLine], term: Term) -> Decimal:
    return sum((line.realized_gain or Decimal(0) for line in lines if line.term is term), Decimal(0))
