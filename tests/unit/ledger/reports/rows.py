"""Postings written by hand, for reports to read."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

from prometheus.domain.accounts import AccountKind, TaxRegime
from prometheus.domain.lots import Term
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import LossLink, Posting, PostingKind
from prometheus.ledger.terms import AccountTerms, Terms

US = Terms()
CANADA = Terms(regime=TaxRegime.CA)
REPLACEMENT = LotKey("A", "L2")


def day(text):
    """Return a date."""
    return date.fromisoformat(text)


def terms_for(taxpayers, *, sheltered=(), regime=TaxRegime.US, **more: object):
    """Return terms whose accounts belong to taxpayers: ``{"A": "Ann"}``."""
    return Terms(
        regime=regime,
        accounts={
            account: AccountTerms(
                taxpayer=taxpayer, kind=AccountKind.SHELTERED if account in sheltered else AccountKind.TAXABLE
            )
            for account, taxpayer in taxpayers.items()
        },
        **more,
    )


def sale(
    sold,
    proceeds,
    basis,
    *,
    acquired="2020-01-02",
    start=None,
    account="A",
    ticker="XYZ",
    shares="100",
    lot="L1",
    event=None,
    term=Term.SHORT,
    kind=PostingKind.SELL,
    cost=None,
    fee="0",
    tax=None,
    settle=None,
):
    """Return the posting of one lot sold."""
    gain = Decimal(proceeds) - Decimal(basis)
    return Posting(
        kind=kind,
        day=day(sold),
        account=account,
        event=EventKey(account, event or f"sale-{sold}"),
        ticker=ticker,
        lot_id=lot,
        quantity=-Decimal(shares),
        cash=Decimal(proceeds),
        cost_basis=-Decimal(cost or basis),
        adjusted_basis=-Decimal(basis),
        realized_gain=gain,
        term=term,
        acquired_on=day(acquired),
        holding_period_start=day(start or acquired),
        fee=Decimal(fee),
        settle_date=day(settle) if settle else None,
        tax_date=day(tax or sold),
    )


def disallowance(loss, amount, *, shares="100", to=REPLACEMENT, on=None, permanent=False, kind=PostingKind.WASH_SALE):
    """Return the posting that disallows a part of the loss of a sale's posting."""
    return Posting(
        kind=kind,
        day=day(on) if on else loss.day,
        account=loss.account,
        event=EventKey("A", "bought"),
        ticker=loss.ticker,
        realized_gain=Decimal(amount),
        term=loss.term,
        tax_date=loss.tax_date,
        loss=LossLink(
            event=loss.event,
            lot=loss.lot,
            ticker=loss.ticker,
            day=loss.day,
            shares=Decimal(shares),
            amount=Decimal(amount),
            replacement=to,
            purchase=None if to is None else EventKey(to.account, "bought"),
            is_permanent=permanent,
        ),
    )


def reversal(row, number=1):
    """Return the posting that reverses another one."""
    return replace(
        row,
        quantity=-row.quantity,
        cash=-row.cash,
        cost_basis=-row.cost_basis,
        adjusted_basis=-row.adjusted_basis,
        realized_gain=-row.realized_gain,
        fee=-row.fee,
        reverses=number,
        correction_id="c1",
    )
