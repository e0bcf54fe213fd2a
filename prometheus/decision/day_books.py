"""The books of a snapshot as a state of the ledger, and the terms under which its trades are booked. Pure.

A snapshot has the lots of one account and the trades of its household that the window rules still need. Purchases of
other accounts come with the shares that can still replace others; these stand here as lots without cost in the account
that bought, so that they carry what they wash and this account's lots stay as they are.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from prometheus.decision.snapshot import Snapshot
from prometheus.decision.wash_locks import known_purchases, unreplaced_shares
from prometheus.domain.accounts import AccountKind, TaxRegime
from prometheus.domain.lots import RecentTrade, ShortPosition, Side, TaxLot, Term
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.lots import purchased_lot_id, term_of
from prometheus.ledger.regimes.canada import merged
from prometheus.ledger.regimes.denials import pool_lot_id
from prometheus.ledger.state import Loss, Lot, Purchase, ShortLot, State
from prometheus.ledger.terms import AccountTerms, Terms

_ZERO: Final = Decimal(0)
_ONE_DAY: Final = timedelta(days=1)


def terms_of(snapshot: Snapshot) -> Terms:
    """Return the terms under which the trades of a snapshot's day are booked.

    Other accounts of the household are taxpayers of their own: in Canada their shares are no part of this account's
    pools, whose cost the snapshot has already.
    """
    kind = AccountKind.SHELTERED if snapshot.sheltered else AccountKind.TAXABLE
    own = AccountTerms(
        kind=kind, method=snapshot.lot_method, rates=snapshot.rates, is_fractional=snapshot.fractional_shares
    )
    others = {trade.account for trade in snapshot.recent_trades if trade.account}
    return Terms(
        regime=snapshot.tax_regime,
        accounts={**{name: AccountTerms(taxpayer=name) for name in others}, snapshot.account_id: own},
        groups={name.ticker: name.group for name in snapshot.universe if name.group != name.ticker},
    )


def state_of(snapshot: Snapshot, lots: Mapping[str, Sequence[Lot]]) -> State:
    """Return the state that the day's trades change, as far as some securities go.

    Every lot stands for itself: a sale that names it does not take parts that were split off it.

    Args:
        snapshot: The frozen inputs.
        lots: Lots by ticker, from ``lots_by_ticker``; whatever else trades of these securities can meet is added.
    """
    account, regime = snapshot.account_id, snapshot.tax_regime
    held = {lot.key: lot for of_ticker in lots.values() for lot in of_ticker}
    trades = [trade for trade in snapshot.recent_trades if trade.ticker in lots]
    own = [lot for lot in snapshot.lots if lot.ticker in lots]
    purchases: list[Purchase] = []
    for number, trade in enumerate(known_purchases(trades, own, snapshot.as_of)):
        purchase = _purchase(trade, account, number, regime)
        purchases.append(purchase)
        # A pool of this account has all its shares; who bought some of them elsewhere is not said.
        if trade.account or (trade.lot_id is None and regime is TaxRegime.US):
            _hold_elsewhere(held, purchase, unreplaced_shares(trade), regime)
    losses = (trade for trade in trades if trade.side is Side.SELL and trade.realized_gain < 0)
    return State(
        through=snapshot.as_of - _ONE_DAY,
        lots=held,
        cash={account: snapshot.cash},
        purchases=tuple(purchases),
        losses=tuple(_loss(trade, account, number, regime) for number, trade in enumerate(losses)),
        shorts={short.key: short for short in shorts_of(account, snapshot.shorts) if short.ticker in lots},
    )


def lots_by_ticker(snapshot: Snapshot, traded: Collection[str] | None = None) -> Mapping[str, list[Lot]]:
    """Return the snapshot's lots as the ledger's, by security; one without lots has an empty list.

    Args:
        snapshot: The frozen inputs.
        traded: Names that trade; only names of their groups are returned. All where None.
    """
    names = snapshot.universe
    groups = None if traded is None else {name.group for name in names if name.ticker in traded}
    by_ticker: dict[str, list[Lot]] = {name.ticker: [] for name in names if groups is None or name.group in groups}
    for lot in lots_of(snapshot.account_id, (lot for lot in snapshot.lots if lot.ticker in by_ticker)):
        by_ticker[lot.ticker].append(lot)
    return by_ticker


def lots_of(account: str, lots: Iterable[TaxLot]) -> Iterator[Lot]:
    """Yield an account's lots as the ledger's, in the order given."""
    for lot in lots:
        yield Lot(
            LotKey(account, lot.lot_id),
            EventKey(account, purchased_lot_id(lot.lot_id)),
            lot.lot_id,
            lot.ticker,
            lot.acquired_on,
            lot.quantity,
            lot.cost_basis,
            lot.adjusted_basis,
            lot.holding_period_start,
        )


def shorts_of(account: str, shorts: Iterable[ShortPosition]) -> Iterator[ShortLot]:
    """Yield an account's short positions as the ledger's, in the order given."""
    for short in shorts:
        yield ShortLot(
            LotKey(account, short.lot_id),
            short.ticker,
            short.sold_on,
            short.quantity,
            short.proceeds,
            short.was_held,
            short.was_held_long,
        )


def pool_lots(lots: Iterable[TaxLot]) -> tuple[TaxLot, ...]:
    """Merge the lots of each security into one pooled lot, as Canada asks for; nothing is rounded.

    Returns:
        One lot for each ticker, in the order of tickers, called ``ACB-<ticker>``.

    Source: ITA s. 47(1).
    """
    pools: dict[str, Lot] = {}
    for lot in lots_of("", lots):
        pool = pools.get(lot.ticker)
        pools[lot.ticker] = merged(lot, None) if pool is None else merged(pool, lot)
    return tuple(
        TaxLot(
            pool.lot_id,
            ticker,
            pool.acquired_on,
            pool.quantity,
            pool.cost_basis,
            pool.adjusted_basis,
            pool.holding_period_start,
        )
        for ticker, pool in sorted(pools.items())
    )


def term_on(day: date, holding_period_start: date, regime: TaxRegime) -> Term:
    """Return the holding period of a lot sold on a day; NONE in Canada, which knows no terms."""
    return Term.NONE if regime is TaxRegime.CA else term_of(holding_period_start, day)


def _purchase(trade: RecentTrade, own: str, number: int, regime: TaxRegime) -> Purchase:
    """Return a purchase as the window has it; it is told by the lot that it opened, as the lots are."""
    account = trade.account or own
    name = trade.lot_id
    if name is None or regime is TaxRegime.CA:
        # Lots that are pools, and lots of other accounts, tell no purchases apart.
        name = f"{trade.execution_id or trade.trade_date.isoformat()}#{number}"
    # In Canada nothing uses a purchase up.
    unreplaced = trade.quantity if regime is TaxRegime.CA else unreplaced_shares(trade)
    return Purchase(
        EventKey(account, name), LotKey(account, name), trade.ticker, trade.trade_date, trade.quantity, unreplaced
    )


def _hold_elsewhere(lots: dict[LotKey, Lot], purchase: Purchase, shares: Decimal, regime: TaxRegime) -> None:
    """Add the shares of a purchase elsewhere that are still held there and have replaced nothing yet."""
    if shares <= 0:
        return
    key, ticker, day = purchase.lot, purchase.ticker, purchase.day
    if regime is TaxRegime.CA:
        key = LotKey(key.account, pool_lot_id(ticker))
        shares += lots[key].quantity if key in lots else _ZERO
    lots[key] = Lot(key, purchase.event, key.lot_id, ticker, day, shares, _ZERO, _ZERO, day)


def _loss(trade: RecentTrade, own: str, number: int, regime: TaxRegime) -> Loss:
    account = trade.account or own
    name = trade.lot_id or f"{trade.trade_date.isoformat()}#{number}"
    acquired_on = trade.acquired_on or trade.trade_date
    start = trade.holding_period_start or acquired_on
    return Loss(
        event=EventKey(account, trade.execution_id or f"{trade.trade_date.isoformat()}#{number}"),
        lot=LotKey(account, name),
        origin=EventKey(account, purchased_lot_id(name)),
        ticker=trade.ticker,
        day=trade.trade_date,
        acquired_on=acquired_on,
        holding_period_start=start,
        term=term_on(trade.trade_date, start, regime),
        quantity=trade.quantity,
        amount=-trade.realized_gain,
        open_quantity=max(trade.quantity - trade.washed_quantity, _ZERO),
        disallowed=trade.disallowed_loss,
        denied_for_good=trade.denied_for_good,
        ticker_then=trade.ticker,
    )
