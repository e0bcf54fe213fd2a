"""Corporate actions that came or changed after books had passed them: which, and what booking them would change.

Every insert and every correction of an action has a number, and the books of a household remember up to which number
they have looked. What is beyond it, and of a day that they have passed, may be missing from them. Whether it is, only
folding those days again can tell; that is done without writing anything, until somebody asks for it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from prometheus.bookkeeping.ledger_work import Booking
from prometheus.domain.money import plain_text, to_cents
from prometheus.domain.securities import ActionType, CorporateAction

_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class UnbookedActions:
    """What an account's books would be with corporate actions that came or changed after they had passed them.

    Attributes:
        account_id: The account.
        actions: The actions.
        shares: Ticker, shares as booked, shares as they should be; where the two differ.
        cash: What cash would change by, cents.
        postings: Postings that booking them takes, reversals among them.
    """

    account_id: str
    actions: tuple[CorporateAction, ...]
    shares: tuple[tuple[str, Decimal, Decimal], ...]
    cash: Decimal
    postings: int

    @property
    def effect(self) -> str:
        """Return the actions and what they change, in words."""
        named = ", ".join(action_words(action) for action in self.actions[:_NAMED])
        more = f" and {len(self.actions) - _NAMED} more" if len(self.actions) > _NAMED else ""
        moved = "; ".join(
            f"{plain_text(booked)} shares of {ticker} are booked, {plain_text(due)} are due"
            for ticker, booked, due in self.shares[:_NAMED]
        )
        return f"{named}{more}: {moved or self._effect_on_money()}"

    def _effect_on_money(self) -> str:
        return f"cash changes by {to_cents(self.cash):f}" if self.cash else "bases or gains change"

    def __str__(self) -> str:
        return (
            f"corporate actions that came or changed after the books had passed their day are not in them: "
            f"{self.effect}. Run 'prometheus ledger refold --account {self.account_id}'"
        )


def action_words(action: CorporateAction) -> str:
    """Return an action in words."""
    other = f" into {action.other_ticker}" if action.other_ticker else ""
    value = "" if action.action_type is ActionType.SYMBOL_CHANGE else f" of {plain_text(action.value)}"
    return f"{action.action_type}{value} of {action.ticker}{other} on {action.ex_date}"


def unbooked_actions(
    booking: Booking, account_id: str, actions: Sequence[CorporateAction] = ()
) -> UnbookedActions | None:
    """Return what a booking of late actions changes for one account, None where nothing.

    Args:
        booking: What ``preview`` or ``ex_date_processing`` returned.
        account_id: The account.
        actions: The actions, to be named.
    """
    rows = [row for row in (*booking.reversals, *booking.postings) if row.account == account_id]
    if not rows:
        return None
    moved: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if row.lot_id is not None:
            moved[row.ticker] += row.quantity
    due = {ticker: booking.state.quantity_of(account_id, ticker) for ticker, shares in moved.items() if shares}
    return UnbookedActions(
        account_id,
        tuple(actions),
        tuple((ticker, due[ticker] - moved[ticker], due[ticker]) for ticker in sorted(due)),
        sum((row.cash for row in rows), Decimal(0)),
        len(rows),
    )
