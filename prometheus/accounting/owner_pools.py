"""A Canadian owner's pools: one average cost over all taxable accounts, kept account by account.

A share of one account costs what a share of another does. The part of each account is its share of the whole in cents,
spread anew whenever something is bought or a denied loss is added; a sale takes from the part of its account.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date

from prometheus.accounting.joint_accounts import account_of, joint_name, own_lots, own_name
from prometheus.accounting.journal import lot_change, pooling_transactions
from prometheus.domain.books import Transaction, TransactionType
from prometheus.domain.lots import TaxLot
from prometheus.domain.money import allocate_cents


def pool_by_account(lots: Iterable[TaxLot], on: date) -> tuple[tuple[TaxLot, ...], tuple[Transaction, ...]]:
    """Pool lots by account and security, and return the pools with the rows that say so."""
    by_account: dict[str, list[TaxLot]] = {}
    for lot in lots:
        by_account.setdefault(account_of(lot.lot_id), []).append(lot)
    pools: list[TaxLot] = []
    rows: list[Transaction] = []
    for account in sorted(by_account):
        found, changed = pooling_transactions(own_lots(by_account[account]), on)
        pools += [replace(lot, lot_id=joint_name(account, lot.lot_id)) for lot in found]
        rows += [_of_account(account, row) for row in changed]
    return tuple(pools), tuple(rows)


def spread_cost(
    lots: Mapping[str, TaxLot], tickers: Iterable[str], sheltered: Iterable[str], on: date
) -> tuple[tuple[TaxLot, ...], tuple[Transaction, ...]]:
    """Give every share of the owner's taxable accounts the same cost, and return the pools that change, with rows.

    Args:
        lots: Pools of all accounts by joint name.
        tickers: Securities to look at.
        sheltered: Accounts with pools of their own.
        on: Date of the rows.

    Source: Income Tax Act (Canada) s. 47(1): identical properties of a taxpayer have one average cost.
    """
    apart = frozenset(sheltered)
    changed: list[TaxLot] = []
    rows: list[Transaction] = []
    for ticker in sorted(set(tickers)):
        pools = sorted(
            (lot for lot in lots.values() if lot.ticker == ticker and account_of(lot.lot_id) not in apart),
            key=lambda lot: lot.lot_id,
        )
        if len(pools) < 2:
            continue
        shares = [lot.quantity for lot in pools]
        costs = allocate_cents(sum((lot.cost_basis for lot in pools), start=pools[0].cost_basis * 0), shares)
        bases = allocate_cents(sum((lot.adjusted_basis for lot in pools), start=pools[0].cost_basis * 0), shares)
        for lot, cost, basis in zip(pools, costs, bases, strict=True):
            if (lot.cost_basis, lot.adjusted_basis) != (cost, basis):
                after = replace(lot, cost_basis=cost, adjusted_basis=basis)
                changed.append(after)
                row = lot_change(TransactionType.POOL, on, lot, after)
                rows.append(replace(row, account=account_of(lot.lot_id)))
    return tuple(changed), tuple(rows)


def _of_account(account: str, row: Transaction) -> Transaction:
    if not account:
        return row
    return replace(row, account=account, lot_id=joint_name(account, own_name(row.lot_id or "")))
