"""A state as bytes and back: canonical JSON, compressed, with a version.

Equal states give equal bytes, so that a digest of them means something. Numbers are texts without exponent or trailing
zeros, dates ISO texts, exact share counts fractions as texts.
"""

import json
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import lz4.frame

from prometheus.domain.lots import Term
from prometheus.foundation.canonical import text_of_jsonable
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.state import (
    Denied,
    Loss,
    Lot,
    PoolEntry,
    PoolHistory,
    PoolKey,
    PoolSale,
    PoolShift,
    Purchase,
    ShortLot,
    SoldShares,
    State,
    UnlistedAction,
)

#: Version of the layout below; a reader refuses every other.
VERSION: Final = 2


def to_bytes(state: State) -> bytes:
    """Return a state as bytes; equal states give equal bytes."""
    document = {
        "version": VERSION,
        "through": _day_text(state.through),
        "lots": [_lot_row(lot) for _, lot in sorted(state.lots.items())],
        "cash": {account: _text(amount) for account, amount in state.cash.items()},
        "purchases": [_purchase_row(purchase) for purchase in state.purchases],
        "losses": [_loss_row(loss) for loss in state.losses],
        "shorts": [_short_row(short) for _, short in sorted(state.shorts.items())],
        "groups": dict(state.groups),
        "unlisted": [_unlisted_row(action) for action in state.unlisted],
        "histories": {group: _history_row(history) for group, history in state.histories.items()},
    }
    return bytes(lz4.frame.compress(text_of_jsonable(document).encode(), compression_level=0, content_checksum=True))


def from_bytes(data: bytes) -> State:
    """Return the state that ``to_bytes`` wrote.

    Raises:
        AccountingError: Bytes of another version, or none of a state.
    """
    try:
        document = json.loads(lz4.frame.decompress(data))
        version = document["version"]
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise AccountingError("a stored ledger state cannot be read; rebuild it from the events.") from error
    if version != VERSION:
        raise AccountingError(
            f"a stored ledger state has version {version}, this program reads {VERSION}; rebuild it from the events.",
            details={"version": version},
        )
    lots = [_lot(row) for row in document["lots"]]
    shorts = [_short(row) for row in document["shorts"]]
    return State(
        through=_day(document["through"]),
        lots={lot.key: lot for lot in lots},
        cash={account: Decimal(amount) for account, amount in document["cash"].items()},
        purchases=tuple(_purchase(row) for row in document["purchases"]),
        losses=tuple(_loss(row) for row in document["losses"]),
        shorts={short.key: short for short in shorts},
        groups=document["groups"],
        unlisted=tuple(_unlisted(row) for row in document["unlisted"]),
        histories={group: _history(row) for group, row in document["histories"].items()},
    )


# ---------------------------------------------------------------- values


def _text(value: Decimal) -> str:
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def _day_text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _exact_text(exact: Fraction | None) -> str | None:
    return None if exact is None else str(exact)


def _exact(text: str | None) -> Fraction | None:
    return None if text is None else Fraction(text)


# ---------------------------------------------------------------- rows


def _lot_row(lot: Lot) -> list[Any]:
    return [
        *lot.key,
        *lot.origin,
        lot.root_id,
        lot.ticker,
        lot.acquired_on.isoformat(),
        _text(lot.quantity),
        _text(lot.cost_basis),
        _text(lot.adjusted_basis),
        lot.holding_period_start.isoformat(),
        _exact_text(lot.exact),
        lot.is_unseen,
    ]


def _lot(row: Sequence[Any]) -> Lot:
    account, lot_id, origin_account, origin_id, root_id, ticker, acquired, quantity, cost, adjusted, start, *more = row
    return Lot(
        LotKey(account, lot_id),
        EventKey(origin_account, origin_id),
        root_id,
        ticker,
        date.fromisoformat(acquired),
        Decimal(quantity),
        Decimal(cost),
        Decimal(adjusted),
        date.fromisoformat(start),
        _exact(more[0]),
        more[1],
    )


def _purchase_row(purchase: Purchase) -> list[Any]:
    return [
        *purchase.event,
        *purchase.lot,
        purchase.ticker,
        purchase.day.isoformat(),
        _text(purchase.quantity),
        _text(purchase.unreplaced),
        _exact_text(purchase.exact),
        _exact_text(purchase.exact_unreplaced),
        [
            [*sold.event, *sold.lot, sold.day.isoformat(), sold.term.value, _text(sold.quantity)]
            for sold in purchase.sold
        ],
    ]


def _purchase(row: Sequence[Any]) -> Purchase:
    event_account, event_id, account, lot_id, ticker, day, quantity, unreplaced, exact, exact_unreplaced, sold = row
    return Purchase(
        EventKey(event_account, event_id),
        LotKey(account, lot_id),
        ticker,
        date.fromisoformat(day),
        Decimal(quantity),
        Decimal(unreplaced),
        _exact(exact),
        _exact(exact_unreplaced),
        tuple(
            SoldShares(
                EventKey(each[0], each[1]),
                LotKey(each[2], each[3]),
                date.fromisoformat(each[4]),
                Term(each[5]),
                Decimal(each[6]),
            )
            for each in sold
        ),
    )


def _loss_row(loss: Loss) -> list[Any]:
    return [
        *loss.event,
        *loss.lot,
        *loss.origin,
        loss.ticker,
        loss.day.isoformat(),
        loss.acquired_on.isoformat(),
        loss.holding_period_start.isoformat(),
        loss.term.value,
        _text(loss.quantity),
        _text(loss.amount),
        _text(loss.open_quantity),
        _text(loss.disallowed),
        _text(loss.denied_for_good),
        loss.ticker_then,
        _day_text(loss.settle_date),
        _exact_text(loss.exact),
        _exact_text(loss.exact_open),
        loss.is_unseen,
    ]


def _loss(row: Sequence[Any]) -> Loss:
    return Loss(
        EventKey(row[0], row[1]),
        LotKey(row[2], row[3]),
        EventKey(row[4], row[5]),
        row[6],
        date.fromisoformat(row[7]),
        date.fromisoformat(row[8]),
        date.fromisoformat(row[9]),
        Term(row[10]),
        Decimal(row[11]),
        Decimal(row[12]),
        Decimal(row[13]),
        Decimal(row[14]),
        Decimal(row[15]),
        row[16],
        _day(row[17]),
        _exact(row[18]),
        _exact(row[19]),
        row[20],
    )


def _short_row(short: ShortLot) -> list[Any]:
    return [
        *short.key,
        short.ticker,
        short.sold_on.isoformat(),
        _text(short.quantity),
        _text(short.proceeds),
        short.was_held,
        short.was_held_long,
        _exact_text(short.exact),
    ]


def _short(row: Sequence[Any]) -> ShortLot:
    return ShortLot(
        LotKey(row[0], row[1]),
        row[2],
        date.fromisoformat(row[3]),
        Decimal(row[4]),
        Decimal(row[5]),
        row[6],
        row[7],
        _exact(row[8]),
    )


def _unlisted_row(action: UnlistedAction) -> list[Any]:
    return [
        action.account,
        action.kind,
        action.ticker,
        action.new_ticker,
        str(action.ratio),
        action.day.isoformat(),
    ]


def _unlisted(row: Sequence[Any]) -> UnlistedAction:
    return UnlistedAction(row[0], row[1], row[2], row[3], Fraction(row[4]), date.fromisoformat(row[5]))


# ---------------------------------------------------------------- Canada's pools


def _history_row(history: PoolHistory) -> list[Any]:
    starts = [[*pool, _text(basis)] for pool, basis in sorted(history.starts.items())]
    return [starts, [_entry_row(entry) for entry in history.entries]]


def _history(row: Sequence[Any]) -> PoolHistory:
    starts, entries = row
    return PoolHistory(
        {PoolKey(*pool): Decimal(basis) for *pool, basis in starts}, tuple(_entry(entry) for entry in entries)
    )


def _entry_row(entry: PoolEntry) -> list[Any]:
    return [
        entry.day.isoformat(),
        entry.number,
        entry.pool,
        _text(entry.basis),
        None if entry.sale is None else _sale_row(entry.sale),
        [_shift_row(shift) for shift in entry.shifts],
        entry.purchase,
        entry.is_look,
    ]


def _entry(row: Sequence[Any]) -> PoolEntry:
    day, number, pool, basis, sale, shifts, purchase, is_look = row
    return PoolEntry(
        date.fromisoformat(day),
        number,
        None if pool is None else PoolKey(*pool),
        Decimal(basis),
        None if sale is None else _sale(sale),
        tuple(_shift(shift) for shift in shifts),
        None if purchase is None else LotKey(*purchase),
        is_look,
    )


def _sale_row(sale: PoolSale) -> list[Any]:
    return [
        sale.kind.value,
        _loss_row(sale.loss),
        _text(sale.sold),
        _text(sale.shares),
        _text(sale.proceeds),
        _text(sale.basis),
        [[*each.pool, _text(each.shares), _text(each.amount)] for each in sale.denied],
    ]


def _sale(row: Sequence[Any]) -> PoolSale:
    kind, loss, sold, shares, proceeds, basis, denied = row
    return PoolSale(
        PostingKind(kind),
        _loss(loss),
        Decimal(sold),
        Decimal(shares),
        Decimal(proceeds),
        Decimal(basis),
        tuple(Denied(PoolKey(*pool), Decimal(count), Decimal(amount)) for *pool, count, amount in denied),
    )


def _shift_row(shift: PoolShift) -> list[Any]:
    return [
        shift.source,
        shift.target,
        _text(shift.moved),
        _text(shift.shares),
        _text(shift.basis),
        shift.lot,
        shift.event,
    ]


def _shift(row: Sequence[Any]) -> PoolShift:
    source, target, moved, shares, basis, lot, event = row
    return PoolShift(
        PoolKey(*source),
        None if target is None else PoolKey(*target),
        Decimal(moved),
        Decimal(shares),
        Decimal(basis),
        None if lot is None else LotKey(*lot),
        None if event is None else EventKey(*event),
    )
