"""Histories as a person would write them, booked by the fold for a test to look at."""

from collections import defaultdict
from datetime import date
from decimal import Decimal
from fractions import Fraction

from prometheus.domain.accounts import AccountKind, LotMethod, TaxRates, TaxRegime
from prometheus.domain.books import LotPick
from prometheus.ledger import events as ev
from prometheus.ledger.fold import fold
from prometheus.ledger.keys import EVERY_ACCOUNT
from prometheus.ledger.postings import DISALLOWANCES, DISPOSITIONS
from prometheus.ledger.shares import split_ratio
from prometheus.ledger.terms import AccountTerms, Terms
from prometheus.ledger.tie_rules import DEFAULT_TIES

_ZERO = Decimal(0)
NO_RATES = TaxRates(Decimal(0), Decimal(0))


def ratio_of(text):
    """Return a ratio told as ``2``, ``0.1`` or ``1:10``."""
    if ":" in text:
        new, old = text.split(":")
        return Fraction(Decimal(new)) / Fraction(Decimal(old))
    return split_ratio(Decimal(text))


def picks_of(text, quantity):
    """Return the lots that a text names: ``L1`` or ``L1=10;L2=5``."""
    if not text:
        return ()
    if "=" not in text:
        return (LotPick(text, quantity),)
    pairs = (pick.split("=") for pick in text.split(";"))
    return tuple(LotPick(name, Decimal(shares)) for name, shares in pairs)


def event_of(number, row):
    """Return the event of a line: date, account, ticker, action, quantity, amount, lot, other, more."""
    cells = [cell.strip() for cell in row.split(",")]
    cells += [""] * (10 - len(cells))
    day, account, ticker, action, quantity, amount, lot, other, more, event_id = cells[:10]
    base = {
        "account": EVERY_ACCOUNT if account == "*" else account,
        "event_id": event_id or f"e{number:03d}",
        "trade_date": date.fromisoformat(day),
    }
    shares = Decimal(quantity) if quantity and action not in {"SPLIT", "SPINOFF", "MERGER"} else None
    money = Decimal(amount) if amount else None
    match action:
        case "OPEN" | "TRANSFER_IN":
            if not ticker:
                kind = ev.OpeningCash if action == "OPEN" else ev.CashTransfer
                return kind(**base, amount=money)
            kind = ev.OpeningLot if action == "OPEN" else ev.TransferIn
            acquired = date.fromisoformat(other) if other else None
            replaced = Decimal(more) if more else Decimal(0)
            return kind(
                **base,
                ticker=ticker,
                quantity=shares,
                cost_basis=money,
                acquired_on=acquired,
                lot_id=lot or None,
                replaced_quantity=replaced,
            )
        case "BUY" | "REINVEST":
            kind = ev.Buy if action == "BUY" else ev.Reinvestment
            return kind(**base, ticker=ticker, quantity=shares, amount=money, lot_id=lot or None)
        case "SELL":
            return ev.Sell(**base, ticker=ticker, quantity=shares, amount=money, picks=picks_of(lot, shares))
        case "SHORT":
            return ev.ShortSale(**base, ticker=ticker, quantity=shares, amount=money, lot_id=lot or None)
        case "COVER":
            return ev.CoverShort(**base, ticker=ticker, quantity=shares, amount=money)
        case "DIVIDEND":
            return ev.Dividend(**base, ticker=ticker, amount=money, per_share=Decimal(more) if more else None)
        case "ROC":
            return ev.ReturnOfCapital(**base, ticker=ticker, amount=money, per_share=Decimal(more) if more else None)
        case "SPLIT":
            price = Decimal(more) if more else None
            return ev.Split(**base, ticker=ticker, ratio=ratio_of(quantity), cash_in_lieu=money, fraction_price=price)
        case "SPINOFF":
            return ev.SpinOff(
                **base,
                ticker=ticker,
                child=other,
                ratio=ratio_of(quantity),
                basis_fraction=Decimal(more),
                cash_in_lieu=money,
            )
        case "RENAME":
            return ev.SymbolChange(**base, ticker=ticker, new_ticker=other)
        case "DELIST":
            return ev.Delisting(**base, ticker=ticker, amount=money, quantity=shares)
        case "TRANSFER_OUT":
            if not ticker:
                return ev.CashTransfer(**base, amount=-money, other_account=other or None)
            return ev.TransferOut(
                **base, ticker=ticker, quantity=shares, picks=picks_of(lot, shares), other_account=other or None
            )
        case "FEE":
            return ev.Fee(**base, amount=money)
        case "INTEREST":
            return ev.Interest(**base, amount=money)
    raise ValueError(action)


def events_of(text):
    """Return the events of lines; see ``event_of``."""
    rows = [line.strip() for line in text.splitlines() if line.strip()]
    return [event_of(number, row) for number, row in enumerate(rows, 1)]


def terms_of(
    *,
    sheltered=(),
    method=LotMethod.FIFO,
    rates=NO_RATES,
    groups=None,
    ties=DEFAULT_TIES,
    regime=TaxRegime.US,
    taxpayers=None,
    **more: object,
):
    """Return terms with the accounts that a test cares about."""
    taxable = AccountTerms(method=method, rates=rates)
    accounts = {account: AccountTerms(kind=AccountKind.SHELTERED, method=method, rates=rates) for account in sheltered}
    for account, taxpayer in (taxpayers or {}).items():
        accounts[account] = AccountTerms(taxpayer=taxpayer, method=method, rates=rates)
    return Terms(regime=regime, accounts=accounts, default=taxable, groups=groups or {}, ties=ties, **more)


def sums_of(postings):
    """Return what postings add up to: shares and bases by lot, cash by account."""
    lots, cash = defaultdict(lambda: [_ZERO, _ZERO, _ZERO]), defaultdict(Decimal)
    for row in postings:
        if row.lot is not None:
            for i, change in enumerate((row.quantity, row.cost_basis, row.adjusted_basis)):
                lots[row.lot][i] += change
        cash[row.account] += row.cash
    return {key: tuple(sums) for key, sums in lots.items() if any(sums)}, {k: v for k, v in cash.items() if v}


def sums_of_state(state):
    """Return the same of a state."""
    lots = {key: (lot.quantity, lot.cost_basis, lot.adjusted_basis) for key, lot in state.lots.items()}
    lots |= {key: (-short.quantity, -short.proceeds, -short.proceeds) for key, short in state.shorts.items()}
    return lots, {account: amount for account, amount in state.cash.items() if amount}


class Line:
    """One lot's part in a disposition, as a tax return reads it."""

    def __init__(self, posting, disallowances, carried_away) -> None:
        self.posting = posting
        self.lot_id = posting.lot_id
        self.account = posting.account
        self.realized_gain = posting.realized_gain
        self.term = posting.term
        self.disallowances = disallowances
        self.disallowed_loss = sum((each.realized_gain for each in disallowances), Decimal(0))
        self.recognized_gain = self.realized_gain + self.disallowed_loss + carried_away


class Told:
    """A history booked: sales by lot, lots held by name."""

    def __init__(self, told, *, sound=True, **settings: object) -> None:
        self.terms = settings.pop("terms", None) or terms_of(**settings)
        self.events = events_of(told) if isinstance(told, str) else list(told)
        self.state, self.postings, self.findings = fold(self.events, self.terms)
        assert sums_of(self.postings) == sums_of_state(self.state)
        if sound:
            assert not self.findings, [str(found) for found in self.findings]
        washed = defaultdict(list)
        for row in self.postings:
            if row.kind in DISALLOWANCES:
                washed[row.loss.event, row.loss.lot].append(row)
        self.sales = [
            Line(row, washed[row.event, row.lot], Decimal(0)) for row in self.postings if row.kind in DISPOSITIONS
        ]
        self.lots = self.state.lots

    def lot(self, lot_id, account="A"):
        """Return a lot that is held."""
        return self.lots[account, lot_id]

    def basis(self, lot_id, account="A"):
        """Return the adjusted basis of a lot that is held."""
        return self.lot(lot_id, account).adjusted_basis

    @property
    def codes(self):
        """Return the codes of the findings."""
        return [found.code for found in self.findings]

    @property
    def disallowed(self):
        """Return what is disallowed of all sales."""
        return sum(sale.disallowed_loss for sale in self.sales)

    @property
    def recognized(self):
        """Return what counts of all sales, of taxable accounts."""
        return sum(sale.recognized_gain for sale in self.sales if not self.terms.is_sheltered(sale.account))
