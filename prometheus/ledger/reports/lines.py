"""A line of a return: one lot's part in a disposition, and the order in which people read lines."""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from prometheus.domain.lots import Term
from prometheus.domain.money import plain_text
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.reports.amounts import total
from prometheus.ledger.terms import AssetClass

_ZERO: Final = Decimal(0)
_DIGITS: Final = re.compile(r"([0-9]+)")
_TERM_RANKS: Final = {Term.SHORT: 0, Term.LONG: 1, Term.NONE: 2}
_SUFFIXES: Final = {
    PostingKind.CASH_IN_LIEU: " (cash in lieu)",
    PostingKind.DELISTING: " (delisted)",
    PostingKind.MERGER: " (merger)",
    PostingKind.COVER_SHORT: " (short sale)",
}


class LineKey(NamedTuple):
    """What names a line: the event, the lot it disposed of, and how."""

    event: EventKey
    lot: LotKey
    kind: PostingKind


@dataclass(frozen=True, slots=True)
class Replacement:
    """Where a disallowed loss went.

    Attributes:
        account: Account of the replacement shares; empty where there are none.
        taxpayer: Whose account that is.
        lot_id: Their lot; empty where nothing carries the loss.
        shares: Replacement shares.
        amount: Loss that went there, positive cents.
        is_permanent: Whether no lot and no pool carries it.
        day: Day on which it was booked last.
    """

    account: str
    taxpayer: str
    lot_id: str
    shares: Decimal
    amount: Decimal
    is_permanent: bool
    day: date


@dataclass(frozen=True, slots=True)
class DispositionLine:
    """One lot's part in a disposition. Amounts are cents of the base currency.

    Attributes:
        key: What names the line.
        taxpayer: Whose return it belongs to.
        ticker: The security.
        asset_class: What the security is in the law of wash sales.
        quantity: Shares, positive; zero for value received without giving up shares.
        acquired_on: Trade date of the purchase; of a covered short sale, of the shares delivered.
        holding_period_start: The date used in its place when the holding period is counted.
        sold_on: Trade date of the sale; of a covered short sale the day of delivery (US), trade date of the cover (CA).
        tax_date: Day whose calendar year taxes the gain.
        proceeds: After commission.
        fee: Commission within the proceeds, positive.
        cost_basis: Of the shares sold, without carried losses.
        basis: With them.
        realized_gain: ``proceeds`` less ``basis`` before anything is disallowed; negative for a loss.
        term: SHORT, LONG, or NONE in Canada.
        disallowed_loss: What is disallowed of a loss, positive.
        replacements: Where it went.
        provisional_until: Last day on which a purchase can still change the line; None where none can.
    """

    key: LineKey
    taxpayer: str
    ticker: str
    asset_class: AssetClass
    quantity: Decimal
    acquired_on: date
    holding_period_start: date
    sold_on: date
    tax_date: date
    proceeds: Decimal
    fee: Decimal
    cost_basis: Decimal
    basis: Decimal
    realized_gain: Decimal
    term: Term
    disallowed_loss: Decimal = _ZERO
    replacements: tuple[Replacement, ...] = ()
    provisional_until: date | None = None

    @property
    def account(self) -> str:
        """Return the account that sold."""
        return self.key.lot.account

    @property
    def lot_id(self) -> str:
        """Return the lot sold."""
        return self.key.lot.lot_id

    @property
    def year(self) -> int:
        """Return the tax year."""
        return self.tax_date.year

    @property
    def gain(self) -> Decimal:
        """Return the gain that counts: what was realised, less the part of a loss that does not."""
        return self.realized_gain + self.disallowed_loss

    @property
    def disallowed_for_good(self) -> Decimal:
        """Return the part of the disallowed loss that no lot and no pool carries, positive."""
        return total(each.amount for each in self.replacements if each.is_permanent)

    @property
    def is_tacked(self) -> bool:
        """Return whether the holding period has days of other shares in it (26 U.S.C. 1223)."""
        return self.holding_period_start < self.acquired_on

    @property
    def description(self) -> str:
        """Return quantity and ticker, as Form 8949 column (a) asks for them."""
        if self.key.kind is PostingKind.RETURN_OF_CAPITAL:
            return f"{self.ticker} (nondividend distribution)"
        if not self.quantity:
            return f"shares distributed by {self.ticker}"
        unit = "sh. " if self.asset_class is AssetClass.SECURITY else ""
        return f"{plain_text(self.quantity)} {unit}{self.ticker}{_SUFFIXES.get(self.key.kind, '')}"


def line_order(line: DispositionLine) -> tuple[object, ...]:
    """Return the sort key of a line: term, sale, ticker, acquisition; numbers inside names by their value."""
    return (
        _TERM_RANKS[line.term],
        line.sold_on,
        natural_order(line.ticker),
        line.acquired_on,
        natural_order(line.account),
        natural_order(line.lot_id),
        line.key.event,
    )


@lru_cache(maxsize=65_536)
def natural_order(name: str) -> tuple[object, ...]:
    """Return a sort key of a name under which lot 2 comes before lot 10, and small letters with large ones."""
    parts: list[object] = list(_DIGITS.split(name.casefold()))
    parts[1::2] = [int(str(digits)) for digits in parts[1::2]]
    return (tuple(parts), name)
