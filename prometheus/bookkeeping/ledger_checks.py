"""The ledger compared with itself: everything folded from the events, and what is stored held beside it.

``accounts.cash``, which follows from the ledger, is compared by itself (``cash_differences``).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from prometheus.bookkeeping.ledger_terms import open_household
from prometheus.bookkeeping.ledger_work import PartialFold, changes_of, fold_in_parts
from prometheus.db.database import Connection
from prometheus.db.repositories.account_books import stored_cash
from prometheus.db.repositories.ledger_events import events_after
from prometheus.db.repositories.ledger_postings import StoredPosting, postings_after
from prometheus.db.repositories.ledger_states import state_days, state_of_day, stored_mark
from prometheus.domain.money import plain_text
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.facts import effective_events
from prometheus.ledger.keys import EVERY_ACCOUNT, EventKey, LotKey
from prometheus.ledger.postings import Posting
from prometheus.ledger.state import EMPTY, State

_ZERO: Final = Decimal(0)
_Sums = tuple[Decimal, Decimal, Decimal]
_NOTHING: Final[_Sums] = (_ZERO, _ZERO, _ZERO)


class Compared(StrEnum):
    """What was compared with the fold of all events."""

    EVENT = "EVENT"
    POSTING = "POSTING"
    SUM = "SUM"
    STATE = "STATE"
    TABLE = "TABLE"


@dataclass(frozen=True, slots=True)
class LedgerDifference:
    """One difference: what was compared, whose it is, and both sides in words."""

    compared: Compared
    account: str
    message: str

    def __str__(self) -> str:
        return f"{self.account}: {self.message}"


@dataclass(frozen=True, slots=True)
class LedgerProof:
    """What folding all events of a household showed.

    Attributes:
        household: The household.
        events: Events folded.
        postings: Stored postings compared, reversals among them.
        lots: Lots that the fold leaves.
        differences: Where what is stored says otherwise; empty where all agree.
    """

    household: str
    events: int
    postings: int
    lots: int
    differences: tuple[LedgerDifference, ...]


def rebuild_check(connection: Connection, household: str, *, with_cash: bool = False) -> LedgerProof:
    """Fold all events of a household and compare postings and states with what comes out.

    Args:
        connection: A transaction; at REPEATABLE READ, so that all of it is as of one moment.
        household: The household.
        with_cash: Whether ``accounts.cash`` is compared, too.

    Raises:
        UnknownAccountError: There is no such household.
        AccountingError: Its accounts are taxed by two countries.
    """
    opened = open_household(connection, household)
    accounts = opened.account_ids
    events = events_after(connection, household, accounts, None)
    mark = stored_mark(connection, household)
    stored = postings_after(connection, accounts, None)
    if mark is None:
        # Books that were never opened have neither; where states were lost the next booking folds everything.
        lost = [LedgerDifference(Compared.STATE, household, "there are events or postings, and no state")]
        return LedgerProof(household, len(events), len(stored), 0, tuple(lost if stored or events else ()))
    counting, _ = effective_events(events)
    days = state_days(connection, household, accounts)
    parts = fold_in_parts([event for event in counting if event.trade_date <= mark[0]], opened.terms, EMPTY, days)
    state = parts[-1].state if parts else EMPTY
    differences = [
        *_missing_events(stored, {event.key for event in events}),
        *_posting_differences(stored, parts),
        *_sum_differences([one.posting for one in stored], state, accounts),
        *_state_differences(connection, household, days, parts),
    ]
    if with_cash:
        differences += cash_differences(connection, accounts, state)
    return LedgerProof(household, len(events), len(stored), len(state.lots), tuple(differences))


def cash_differences(connection: Connection, accounts: Collection[str], state: State) -> Iterator[LedgerDifference]:
    """Yield where ``accounts.cash`` says otherwise than a state, of the accounts that have cash in it."""
    for account, cash in sorted(stored_cash(connection, accounts).items()):
        folded = state.cash.get(account, cash)
        if cash != folded:
            message = f"the table has cash of {plain_text(cash)}, the events give {plain_text(folded)}"
            yield LedgerDifference(Compared.TABLE, account, message)


# ---------------------------------------------------------------- events and postings


def _missing_events(stored: Iterable[StoredPosting], known: set[EventKey]) -> Iterator[LedgerDifference]:
    told: dict[EventKey, StoredPosting] = {}
    for one in stored:
        told.setdefault(one.posting.event, one)
    for key in sorted(told.keys() - known):
        account = key.account if key.account != EVERY_ACCOUNT else told[key].posting.account
        message = f"posting {told[key].number} comes from the event '{key.event_id}', which is not stored"
        yield LedgerDifference(Compared.EVENT, account, message)


def _posting_differences(stored: Sequence[StoredPosting], parts: Iterable[PartialFold]) -> Iterator[LedgerDifference]:
    reversals, missing = changes_of(stored, [one for part in parts for one in part.postings])
    for one in reversals:
        row = one.posting
        message = f"the events do not give posting {row.reverses}, a {_words(row)}"
        yield LedgerDifference(Compared.POSTING, row.account, message)
    for one in missing:
        message = f"no posting is stored for a {_words(one.posting)}"
        yield LedgerDifference(Compared.POSTING, one.posting.account, message)
    by_number = {one.number: one.posting for one in stored}
    for number, row in by_number.items():
        if row.reverses is None:
            continue
        reversed_row = by_number.get(row.reverses)
        if reversed_row is None or not _cancel_out(row, reversed_row):
            message = f"posting {number} does not reverse posting {row.reverses} exactly"
            yield LedgerDifference(Compared.POSTING, row.account, message)


def _words(row: Posting) -> str:
    lot = f" of lot {row.lot_id}" if row.lot_id is not None else ""
    return f"{row.kind} of {row.ticker or 'cash'}{lot} on {row.day} by the event '{row.event.event_id}'"


def _cancel_out(one: Posting, other: Posting) -> bool:
    amounts = ("quantity", "cash", "cost_basis", "adjusted_basis", "realized_gain", "fee")
    return (one.account, one.lot_id, one.event, one.day) == (
        other.account, other.lot_id, other.event, other.day,
    ) and all(getattr(one, name) == -getattr(other, name) for name in amounts)  # fmt: skip


# ---------------------------------------------------------------- sums and states


def _sum_differences(stored: Iterable[Posting], state: State, accounts: Sequence[str]) -> Iterator[LedgerDifference]:
    lots: dict[LotKey, _Sums] = defaultdict(lambda: _NOTHING)
    cash: dict[str, Decimal] = defaultdict(Decimal)
    for row in stored:
        cash[row.account] += row.cash
        if row.lot is not None:
            shares, cost, adjusted = lots[row.lot]
            lots[row.lot] = (shares + row.quantity, cost + row.cost_basis, adjusted + row.adjusted_basis)
    for account in accounts:
        folded = state.cash.get(account, _ZERO)
        if cash[account] != folded:
            message = (
                f"its postings add up to cash of {plain_text(cash[account])}, the events give {plain_text(folded)}"
            )
            yield LedgerDifference(Compared.SUM, account, message)
    held = {key: sums for key, sums in lots.items() if any(sums)}
    yield from _unequal(Compared.SUM, "the sum of its postings", held, _sums_of(state))


def _state_differences(
    connection: Connection, household: str, days: Iterable[date], parts: Sequence[PartialFold]
) -> Iterator[LedgerDifference]:
    for day in days:
        folded = EMPTY
        for part in parts:
            if part.last_day > day:
                break
            folded = part.state
        try:
            stored = state_of_day(connection, household, day).state
        except AccountingError as error:
            yield LedgerDifference(Compared.STATE, household, f"the state of {day}: {error.message}")
            continue
        if stored == folded:
            continue
        unequal = list(_unequal(Compared.STATE, f"the state of {day}", _sums_of(stored), _sums_of(folded)))
        if stored.cash != folded.cash:
            unequal.append(LedgerDifference(Compared.STATE, household, f"the state of {day} has other cash"))
        # Lots and cash agree, and what windows still need does not.
        yield from unequal or [LedgerDifference(Compared.STATE, household, f"the state of {day} has other open trades")]


def _sums_of(state: State) -> dict[LotKey, _Sums]:
    """Return what postings add up to by lot; a short position counts as negative shares and proceeds."""
    lots = {key: (lot.quantity, lot.cost_basis, lot.adjusted_basis) for key, lot in state.lots.items()}
    shorts = {key: (-short.quantity, -short.proceeds, -short.proceeds) for key, short in state.shorts.items()}
    return lots | shorts


def _unequal(
    compared: Compared, where: str, stored: Mapping[LotKey, _Sums], folded: Mapping[LotKey, _Sums]
) -> Iterator[LedgerDifference]:
    for key in sorted(stored.keys() | folded.keys()):
        here, there = stored.get(key, _NOTHING), folded.get(key, _NOTHING)
        if here != there:
            message = f"lot {key.lot_id}: {where} has {_sums_words(here)}, the events give {_sums_words(there)}"
            yield LedgerDifference(compared, key.account, message)


def _sums_words(sums: _Sums) -> str:
    shares, cost, adjusted = (plain_text(one) for one in sums)
    return f"{shares} shares at {cost} (for tax {adjusted})"
