"""Entries of a household's accounts as a person or a broker records them, before any rule is applied."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from prometheus.domain.books import LotPick


class EntryAction(StrEnum):
    """Type of an entry, in the terms of a broker's statement."""

    OPEN = "OPEN"
    BUY = "BUY"
    SELL = "SELL"
    DIVIDEND = "DIVIDEND"
    REINVEST = "REINVEST"
    SPLIT = "SPLIT"
    SPINOFF = "SPINOFF"
    RENAME = "RENAME"
    DELIST = "DELIST"
    TRANSFER_IN = "TRANSFER_IN"
    TRANSFER_OUT = "TRANSFER_OUT"
    REVERSE = "REVERSE"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a household's history.

    Attributes:
        row: Line of the file, counted from 1; only findings use it.
        day: Trade date, ex-date, or the day an account opens.
        account: The account.
        action: What happened.
        ticker: The security; empty where cash alone moves.
        quantity: Shares, positive. For a SPLIT new shares for one old, for a SPINOFF shares of the child for one of
            the parent.
        amount: Money, not negative: what a purchase cost and a sale paid, both after commission; the basis of a lot
            that comes in; the cash in lieu of fractions of a SPLIT or SPINOFF (None: fractions are kept).
        picks: Lots named by a sale or transfer, with a quantity each; empty where the lot method chooses.
        lot_id: Id of the lot that a purchase or opening makes; None makes it from the date.
        group: Substantially identical group of the ticker; None says nothing about it.
        acquired_on: Acquisition date of a lot that is brought in; ``day`` where None.
        other_ticker: The child of a SPINOFF, the new symbol of a RENAME.
        other_account: Where a TRANSFER_OUT goes; None where it leaves the household.
        basis_fraction: Part of the parent's basis that a SPINOFF moves to the child, above 0 and below 1.
        entry_id: Id of the entry for a REVERSE; None where only its row identifies it.
        reverses: Of a REVERSE: id or row number of the entry that never happened.
    """

    row: int
    day: date
    account: str
    action: EntryAction
    ticker: str = ""
    quantity: Decimal | None = None
    amount: Decimal | None = None
    picks: tuple[LotPick, ...] = ()
    lot_id: str | None = None
    group: str | None = None
    acquired_on: date | None = None
    other_ticker: str | None = None
    other_account: str | None = None
    basis_fraction: Decimal | None = None
    entry_id: str | None = None
    reverses: str | None = None


@dataclass(frozen=True, slots=True)
class EntryFinding:
    """An entry that was left out: its row, the reason, and what to do."""

    row: int
    code: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.message} {self.remedy} [{self.code}]"
