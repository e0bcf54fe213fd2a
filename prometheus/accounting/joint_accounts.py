"""The accounts of a household as one set of books: names that carry their account, put on and taken off again.

Inside, a lot or execution of a household is called ``<account><joint><name>``, so that the rules, which know lots and
nothing of accounts, can match across accounts. In the journal of each account names are its own. An account by itself
is called by the empty name and its names stay as they are.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from prometheus.domain.books import Books, Fill, LotPick, Transaction
from prometheus.domain.lots import RecentTrade, Side, TaxLot

#: Sorts before every character that a name can have.
JOINT: Final = "\x1f"

#: Details that name something of the row's account, of that of the loss, and of that of the replacement shares.
_OWN: Final = ("execution_id",)
_OF_LOSS: Final = ("loss_execution_id", "loss_lot_id")
_OF_REPLACEMENT: Final = ("purchase_lot_id", "replacement_lot_id")


def joint_name(account: str, name: str) -> str:
    """Return the name that a lot or execution of an account has within its household."""
    return f"{account}{JOINT}{name}" if account else name


def account_of(name: str | None) -> str:
    """Return the account that a joint name carries; empty for that of an account by itself."""
    account, joint, _ = (name or "").partition(JOINT)
    return account if joint else ""


def own_name(name: str) -> str:
    """Return the name without its account."""
    return name.rpartition(JOINT)[2]


def joint_lots(account: str, lots: Iterable[TaxLot]) -> tuple[TaxLot, ...]:
    """Return an account's lots under their joint names."""
    if not account:
        return tuple(lots)
    return tuple(replace(lot, lot_id=joint_name(account, lot.lot_id)) for lot in lots)


def own_lots(lots: Iterable[TaxLot]) -> tuple[TaxLot, ...]:
    """Return lots under the names of their accounts."""
    return tuple(replace(lot, lot_id=own_name(lot.lot_id)) if JOINT in lot.lot_id else lot for lot in lots)


def joint_row(account: str, row: Transaction) -> Transaction:
    """Return a row of an account's journal under joint names."""
    if not account:
        return row
    details: dict[str, Any] = dict(row.details)
    _rename(details, _OWN, account)
    _rename(details, _OF_LOSS, details.get("loss_account", account))
    _rename(details, _OF_REPLACEMENT, details.get("replacement_account", account))
    lot_id = None if row.lot_id is None else joint_name(account, row.lot_id)
    return replace(row, account=account, lot_id=lot_id, details=details)


def own_row(row: Transaction) -> Transaction:
    """Return a row under the names of its account."""
    if not row.account:
        return row
    named = (*_OWN, *_OF_LOSS, *_OF_REPLACEMENT)
    details = {
        name: own_name(value) if name in named and isinstance(value, str) else value
        for name, value in row.details.items()
    }
    return replace(row, lot_id=None if row.lot_id is None else own_name(row.lot_id), details=details)


def joint_fill(account: str, fill: Fill) -> Fill:
    """Return an execution of an account under joint names."""
    if not account:
        return fill
    return replace(
        fill,
        execution_id=joint_name(account, fill.execution_id),
        lot_picks=tuple(LotPick(joint_name(account, pick.lot_id), pick.quantity) for pick in fill.lot_picks),
        new_lot_id=None if fill.new_lot_id is None else joint_name(account, fill.new_lot_id),
    )


def seen_from(
    account: str, trades: Iterable[RecentTrade], held: Mapping[str, TaxLot], sheltered: Collection[str] = ()
) -> tuple[RecentTrade, ...]:
    """Return a household's recent trades as one of its accounts sees them.

    Its own come first, under their own names. Those of the others name their account and no lot of this one: a
    purchase elsewhere can replace as many shares as are still held there, one in a sheltered account all it bought.

    Args:
        account: The account that looks.
        trades: Trades of the household under joint names.
        held: Lots of the household, by joint name.
        sheltered: Accounts that are not taxed.
    """
    own: list[RecentTrade] = []
    others: list[RecentTrade] = []
    for trade in trades:
        where = account_of(trade.lot_id)
        if where == account:
            own.append(_own_trade(trade))
            continue
        unreplaced = trade.unreplaced
        if trade.side is Side.BUY and trade.lot_id is not None and where not in sheltered:
            lot = held.get(trade.lot_id)
            left = trade.quantity if unreplaced is None else unreplaced
            unreplaced = min(left, lot.quantity) if lot is not None else Decimal(0)
        # A sale keeps a name for its lot, by which losses are told apart; none of this account's lots is called so.
        lot_id = f"{where}:{own_name(trade.lot_id or '')}" if trade.side is Side.SELL else None
        others.append(replace(_own_trade(trade), account=where, unreplaced=unreplaced, lot_id=lot_id))
    return (*own, *others)


def joint_books(accounts: Mapping[str, Books]) -> Books:
    """Return the lots of all accounts under joint names, and their cash together."""
    lots = tuple(lot for account, books in accounts.items() for lot in joint_lots(account, books.lots))
    return Books(lots, sum((books.cash for books in accounts.values()), Decimal(0)))


def _rename(details: dict[str, Any], names: Iterable[str], account: str) -> None:
    for name in names:
        if details.get(name):
            details[name] = joint_name(account, details[name])


def _own_trade(trade: RecentTrade) -> RecentTrade:
    return replace(
        trade,
        lot_id=None if trade.lot_id is None else own_name(trade.lot_id),
        execution_id=None if trade.execution_id is None else own_name(trade.execution_id),
    )
