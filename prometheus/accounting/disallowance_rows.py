"""Losses taken back, as journal rows: the loss in the account of the sale, the basis in that of the replacement."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Any

from prometheus.accounting.gains import term_of
from prometheus.accounting.joint_accounts import account_of
from prometheus.accounting.journal import lot_change
from prometheus.accounting.loss_disallowance import LossMatch
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Transaction, TransactionType
from prometheus.domain.lots import RecentTrade, Term
from prometheus.domain.money import plain_text


def disallowance_transactions(
    txn_type: TransactionType, trade_date: date, matches: Iterable[LossMatch]
) -> tuple[Transaction, ...]:
    """Return the rows of losses taken back: the split of the replacement lot where there is one, then the loss.

    The loss row is dated by the trade that washed the loss; ``loss_date`` in its details is that of the sale, which
    decides the tax year. Accounts are those that the lots' names carry.
    """
    rows: list[Transaction] = []
    for match in matches:
        seller, holder = account_of(match.loss.lot_id), account_of(match.after.lot_id)
        rows.extend(match_rows(txn_type, trade_date, match, seller=seller, holder=holder))
    return tuple(rows)


def match_rows(
    txn_type: TransactionType, trade_date: date, match: LossMatch, *, seller: str, holder: str
) -> tuple[Transaction, ...]:
    """Return the rows of one match, each with the account whose journal it belongs to.

    Where the replacement shares are another account's, the row of the loss names no lot, and a CARRIED_LOSS row raises
    the basis there. A loss that is gone for good leaves only its own row.

    Args:
        txn_type: WASH_SALE or SUPERFICIAL_LOSS.
        trade_date: Day of the trade that takes the loss back.
        match: What was matched.
        seller: Account of the loss.
        holder: Account of the replacement shares.
    """
    rows: list[Transaction] = []
    if match.split is not None:
        lot, left = match.split
        rows.append(_in(holder, lot_change(TransactionType.LOT_SPLIT, trade_date, lot, left)))
        rows.append(_in(holder, lot_change(TransactionType.LOT_SPLIT, trade_date, None, match.before)))
    term = _term_of_loss(match.loss, txn_type)
    details: dict[str, Any] = {
        "loss_execution_id": match.loss.execution_id,
        "loss_lot_id": match.loss.lot_id,
        "loss_ticker": match.loss.ticker,
        "loss_date": match.loss.trade_date.isoformat(),
        "purchase_lot_id": match.purchase_lot_id,
        "shares": plain_text(match.shares),
    }
    if seller == holder and not match.permanent:
        loss = lot_change(
            txn_type,
            trade_date,
            match.before,
            match.after,
            realized_gain=match.disallowed_loss,
            term=term,
            details=details,
        )
        return (*rows, _in(seller, loss))
    details |= {"loss_account": seller, "replacement_account": holder, "replacement_lot_id": match.after.lot_id}
    if match.permanent:
        details["permanent"] = True
    rows.append(
        Transaction(
            txn_type,
            trade_date,
            match.after.ticker,
            None,
            realized_gain=match.disallowed_loss,
            term=term,
            details=details,
            account=seller,
        )
    )
    if not match.permanent:
        carried = lot_change(TransactionType.CARRIED_LOSS, trade_date, match.before, match.after, details=details)
        rows.append(_in(holder, carried))
    return tuple(rows)


def _in(account: str, row: Transaction) -> Transaction:
    return replace(row, account=account) if account else row


def _term_of_loss(loss: RecentTrade, txn_type: TransactionType) -> Term:
    """Return the term of the loss taken back, so that short and long can be netted from the journal."""
    if txn_type is TransactionType.SUPERFICIAL_LOSS:
        return Term.NONE
    start = loss.holding_period_start or loss.acquired_on
    assert start is not None  # matching has refused it
    return term_of(start, loss.trade_date, TaxRegime.US)
