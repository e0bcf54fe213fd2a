"""From target shares to the trade list by lots, exact in decimals. Pure: the same accounting that books real fills."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache

from prometheus.accounting.fills import apply_fills
from prometheus.accounting.lot_selection import order_lots, select_lots
from prometheus.accounting.sales import tax_on
from prometheus.decision.snapshot import Snapshot
from prometheus.domain.accounts import TaxRates
from prometheus.domain.books import Books, Fill, LotPick, Transaction, TransactionType
from prometheus.domain.lots import Side, TaxLot, Term
from prometheus.domain.money import CENT, floor_to_step, share_step, to_cents
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.errors import AccountingError

_BPS = Decimal("0.0001")
#: Part of itself by which a sum of floats may miss the exact number of shares.
_LAST_BITS = Decimal("4e-16")
_DISALLOWANCES = (TransactionType.WASH_SALE, TransactionType.SUPERFICIAL_LOSS)


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
    snapshot: Snapshot, shares: Mapping[str, str], *, locked_lots: Sequence[str] = ()
) -> tuple[Fill, ...]:
    """Return the fills that would carry out the target shares at the snapshot's prices, lots picked by the lot method.

    Args:
        snapshot: The frozen inputs.
        shares: Signed shares by ticker as exact decimal text, positive buys.
        locked_lots: Lots that must not be sold.

    Raises:
        OversoldError: More shares are to be sold than the lots that may be sold hold.
    """
    price_of = {name.ticker: name.price for name in snapshot.universe}
    lots: dict[str, list[TaxLot]] = defaultdict(list)
    for lot in snapshot.lots:
        lots[lot.ticker].append(lot)
    fills = []
    for ticker in sorted(shares):
        quantity, price = Decimal(shares[ticker]), price_of[ticker]
        picks: tuple[LotPick, ...] = ()
        if quantity < 0:
            ordered = order_lots(
                lots[ticker],
                method=snapshot.lot_method,
                rates=snapshot.rates,
                regime=snapshot.tax_regime,
                as_of=snapshot.as_of,
                price=price,
            )
            quantity = -_all_that_may_be_sold(ordered, -quantity, locked_lots, fractional=snapshot.fractional_shares)
            picks = tuple(
                LotPick(lot.lot_id, taken) for lot, taken in select_lots(ordered, -quantity, locked=locked_lots)
            )
        fills.append(planned_fill(snapshot.account_id, snapshot.as_of, ticker, quantity, price, picks))
    return tuple(fills)


def _all_that_may_be_sold(
    lots: Sequence[TaxLot], quantity: Decimal, locked: Sequence[str], *, fractional: bool
) -> Decimal:
    """Return the quantity of a sale; exactly what the lots hold where it is that as near as a float can say it.

    Only a position that is closed may end off the grid of shares; beside locked lots the sale stays on it.
    """
    free = [lot.quantity for lot in lots if lot.lot_id not in locked]
    held = sum(free, Decimal(0))
    if abs(held - quantity) > held * _LAST_BITS:
        return quantity
    return held if len(free) == len(lots) else min(quantity, floor_to_step(held, share_step(fractional=fractional)))


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

    Where the strategy allows short positions, what is sold beyond all lots of a name is a line of its own without a
    lot, after the others. The ledger keeps no short lots: such a list is an answer, not a booking.

    Raises:
        AccountingError: Trades would borrow (``refuse_borrowing``), or a loss would be washed although the policy
            forbids it; both mean that the answer breaks a rule it was solved under, and nothing is persisted.
    """
    forbid = params.loss_sale_policy == "forbid"
    locked = [lock.subject for lock in snapshot.loss_sale_locks] if forbid else []
    short = _beyond_lots(snapshot, shares) if params.long_max > 1 else {}
    own = {ticker: str(Decimal(count) + short.get(ticker, 0)) for ticker, count in shares.items()} if short else shares
    rate = Decimal(str(params.cost_bps)) * _BPS
    price_of = {name.ticker: name.price for name in snapshot.universe}
    short_lines = tuple(_short_line(ticker, count, price_of[ticker], rate) for ticker, count in short.items())
    fills = planned_fills(snapshot, {t: c for t, c in own.items() if Decimal(c)}, locked_lots=locked)
    books, rows = apply_fills(
        # what short sales raise pays for purchases, as any sale does
        Books(lots=snapshot.lots, cash=snapshot.cash + sum((line.amount for line in short_lines), Decimal(0))),
        fills,
        rates=snapshot.rates,
        regime=snapshot.tax_regime,
        recent_trades=snapshot.recent_trades,
        group_of={name.ticker: name.group for name in snapshot.universe},
        sheltered=("",) if snapshot.sheltered else (),
    )
    washed = _washed_by_line(rows)
    # Part of a lot that stands at its price may lose a cent in rounding alone; that is booked, not forbidden.
    deliberate = {line: loss for line, loss in washed.items() if loss > CENT}
    if forbid and deliberate:
        (lot_id, _), loss = next(iter(deliberate.items()))
        raise AccountingError(f"selling lot {lot_id} would wash a loss of {loss}, which the policy forbids.")
    lines = (
        tuple(
            _line(row, price_of[row.ticker], rate, snapshot.rates, washed)
            for row in rows
            if row.txn_type in {TransactionType.BUY, TransactionType.SELL}
        )
        + short_lines
    )
    cost = sum((line.cost for line in lines), Decimal(0))
    refuse_borrowing(snapshot.cash, books.cash - cost)
    return Settlement(
        lines=lines,
        cash_after=books.cash - cost,
        realized_gain_short=_gain(lines, Term.SHORT),
        realized_gain_long=_gain(lines, Term.LONG),
        realized_gain_other=_gain(lines, Term.NONE),
        disallowed_loss=sum((line.disallowed_loss or Decimal(0) for line in lines), Decimal(0)),
        tax=sum((line.tax or Decimal(0) for line in lines), Decimal(0)),
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


def _washed_by_line(rows: Sequence[Transaction]) -> dict[tuple[str, str], Decimal]:
    washed: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in rows:
        if row.txn_type in _DISALLOWANCES:
            washed[row.details["loss_lot_id"], row.details["loss_execution_id"]] += row.realized_gain
    return dict(washed)


def _line(
    row: Transaction,
    price: Decimal,
    cost_rate: Decimal,
    rates: TaxRates,
    washed: Mapping[tuple[str, str], Decimal],
) -> TradeLine:
    quantity, amount = abs(row.quantity), abs(row.amount)
    cost = to_cents(amount * cost_rate)
    if row.txn_type is TransactionType.BUY:
        return TradeLine(row.ticker, Side.BUY, row.lot_id, row.trade_date, quantity, price, amount, cost)
    assert row.lot_id is not None  # a sale always names its lot
    disallowed = washed.get((row.lot_id, row.details["execution_id"]), Decimal(0))
    return TradeLine(
        ticker=row.ticker,
        side=Side.SELL,
        lot_id=row.lot_id,
        acquired_on=date.fromisoformat(row.details["sold_acquired_on"]),
        quantity=quantity,
        price=price,
        amount=amount,
        cost=cost,
        basis=-row.basis,
        realized_gain=row.realized_gain,
        term=row.term,
        disallowed_loss=disallowed,
        tax=tax_on(row.realized_gain, disallowed, row.term, rates),
    )


def _gain(lines: Sequence[TradeLine], term: Term) -> Decimal:
    return sum((line.realized_gain or Decimal(0) for line in lines if line.term is term), Decimal(0))
