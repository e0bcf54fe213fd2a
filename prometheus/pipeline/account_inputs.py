"""What belongs to each account on its day, read for all runs of a batch in one state of the database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from prometheus.accounting.corporate_actions import actions_concerning
from prometheus.bookkeeping import households
from prometheus.bookkeeping.action_changes import (
    action_words,
    actions_position,
    unbooked_actions,
    unseen_actions,
)
from prometheus.bookkeeping.open_orders import open_orders
from prometheus.db.database import Connection, Database
from prometheus.db.repositories import account_days, market_data
from prometheus.db.repositories.account_days import AccountRows
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.strategies import StrategyRecord, latest_strategy
from prometheus.decision.build_snapshot import AccountInputs
from prometheus.decision.day_inputs import DayInputs, HouseholdDay
from prometheus.domain.accounts import Account
from prometheus.domain.books import Books
from prometheus.domain.engine_run import Lease
from prometheus.domain.orders import OpenOrder
from prometheus.domain.securities import CorporateAction
from prometheus.domain.strategy import StrategyParams, merge_tag_overrides
from prometheus.foundation.errors import (
    AccountingError,
    ConfigurationError,
    DatabaseUnavailableError,
    EngineError,
    PhaseHeldError,
)
from prometheus.pipeline.day_holds import unfilled_in_words
from prometheus.pipeline.shared_inputs import ActionSpan, SharedInputs

#: Both sides of the wash-sale window: what may still matter is at most this old.
JOURNAL_AGE: Final = timedelta(days=61)


@dataclass(frozen=True, slots=True)
class AccountDay:
    """What one account's day is made of.

    ``position`` is that of its journal and household when it was read; ``targets`` are those of its run before, None on
    its first day. ``open_orders`` are those of its run before that are neither filled nor settled.
    """

    inputs: AccountInputs
    params: StrategyParams
    position: int
    targets: Mapping[str, float] | None
    open_orders: tuple[OpenOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """Rows as read, before anything is asked of them: what is wrong with one account concerns no other."""

    account: Account
    strategy: StrategyRecord | None
    rows: AccountRows
    members: tuple[str, ...]
    position: int
    household: HouseholdDay | None
    seen: int
    unseen: tuple[CorporateAction, ...]
    open_orders: tuple[OpenOrder, ...]


class AccountReader:
    """Reads accounts for the runs that a batch is about to work on, all at once when the first is asked for."""

    def __init__(self) -> None:
        self._expected: dict[int, Lease] = {}
        self._found: dict[int, _Found] = {}

    def expect(self, leases: Iterable[Lease]) -> None:
        """Hear which runs will be asked for; what was read for others is dropped."""
        self._expected = {lease.run_id: lease for lease in leases}
        self._found = {}

    def take(self, database: Database, shared: SharedInputs, lease: Lease, day: DayInputs) -> AccountDay:
        """Return what a run's account is made of on its day; asked for again, it is read again.

        Raises:
            ConfigurationError: The account's strategy is not in the database.
            EngineError: Its books are past the day (SUPERSEDED).
            UnknownAccountError: There is no such account.
        """
        self._expected.pop(lease.run_id, None)
        if lease.run_id not in self._found:
            together = [other for other in self._expected.values() if other.as_of_date == lease.as_of_date]
            for other in together:
                del self._expected[other.run_id]
            self._found.update(self._together(database, lease, together))
        return _account_day(database, shared, self._found.pop(lease.run_id), day)

    def _together(self, database: Database, lease: Lease, others: Sequence[Lease]) -> dict[int, _Found]:
        try:
            return _read(database, (lease, *others))
        except DatabaseUnavailableError:
            raise
        except Exception:
            # Rows of any of them may be what cannot be read: then each is read by itself.
            if not others:
                raise
            return _read(database, (lease,))


def _read(database: Database, leases: Iterable[Lease]) -> dict[int, _Found]:
    """Read the rows of accounts on one day."""
    by_account = {lease.account_id: lease for lease in leases}
    as_of = next(iter(by_account.values())).as_of_date
    since = as_of - JOURNAL_AGE
    with database.transaction() as connection:
        market_data.read_one_state(connection)
        accounts = accounts_of(connection, account_ids=list(by_account))
        strategies = {name: latest_strategy(connection, name) for name in {one.strategy_id for one in accounts}}
        seen = actions_position(connection)
        unseen = unseen_actions(connection, list(by_account))
        rows = account_days.read_accounts(
            connection, list(by_account), as_of=as_of, since=since, gains_since=date(as_of.year, 1, 1)
        )
        orders: dict[str, list[OpenOrder]] = {}
        for order in open_orders(connection, through=as_of - timedelta(days=1), account_ids=list(by_account)):
            orders.setdefault(order.account_id, []).append(order)
        return {
            by_account[account.account_id].run_id: _Found(
                account,
                strategies[account.strategy_id],
                rows[account.account_id],
                *_household(connection, account, rows[account.account_id], since),
                seen,
                unseen.get(account.account_id, ()),
                tuple(orders.get(account.account_id, ())),
            )
            for account in accounts
        }


def _household(
    connection: Connection, account: Account, rows: AccountRows, since: date
) -> tuple[tuple[str, ...], int, HouseholdDay | None]:
    """Return members, position and day of an account's household; one by itself needs no further query."""
    own = account.account_id
    if account.household is None:
        return (own,), rows.position, None
    household = households.household_of_account(connection, account)
    members = tuple(member.account_id for member in household.accounts.values())
    return (
        members,
        households.household_position(connection, own, members),
        households.household_day(connection, household, own, since),
    )


def _unbooked(database: Database, found: _Found, day: DayInputs) -> str | None:
    """Return in words what the books lack of actions that came or changed after they had passed them.

    Raises:
        PhaseHeldError: Shares would be others (ACTIONS_NOT_BOOKED): nothing may be traded upon them.
    """
    if not found.unseen:
        return None
    account_id = found.account.account_id
    groups = {ticker: security.group for ticker, security in day.securities.items()}
    try:
        with database.transaction() as connection:
            market_data.read_one_state(connection)
            lacking = unbooked_actions(connection, account_id, groups, found.unseen)
    except AccountingError as error:
        raise PhaseHeldError(
            f"{account_id}: {action_words(found.unseen[0])} came or changed after the books had passed the day, and "
            f"they cannot be booked again: {error.message}",
            code="ACTIONS_NOT_BOOKED",
            details={"account_id": account_id},
        ) from error
    if lacking is not None and lacking.shares:
        raise PhaseHeldError(f"{account_id}: {lacking}.", code="ACTIONS_NOT_BOOKED", details={"account_id": account_id})
    return None if lacking is None else f"{lacking}."


def _account_day(database: Database, shared: SharedInputs, found: _Found, day: DayInputs) -> AccountDay:
    account, strategy, rows, as_of = found.account, found.strategy, found.rows, day.as_of
    if strategy is None:
        raise ConfigurationError(
            f"Account {account.account_id} uses strategy '{account.strategy_id}', which is not in the database."
        )
    params, unmatched = merge_tag_overrides(
        StrategyParams.from_dict(strategy.params), strategy.tag_overrides, account.tags
    )
    if account.books_as_of is not None and account.books_as_of > as_of:
        raise EngineError(
            f"The books of {account.account_id} are those of {account.books_as_of}; {as_of} can no longer be traded.",
            code="SUPERSEDED",
        )
    unbooked = _unbooked(database, found, day)
    # Opening lots are handed over as of the account's first day: nothing before it is applied to them.
    span = ActionSpan()
    if account.books_as_of is not None:
        span = shared.actions(after=account.books_as_of, through=as_of, seen=found.seen)
    # Spin-offs and new symbols bring securities that were not held when the books were written.
    held = {lot.ticker for lot in rows.lots}
    held |= {action.other_ticker for action in actions_concerning(held, span.actions) if action.other_ticker}
    inputs = AccountInputs(
        account=account,
        books=Books(lots=rows.lots, cash=account.cash),
        journal=rows.journal,
        actions=span.actions,
        action_closes=span.closes,
        older_prices={},
        strategy_version=strategy.version,
        max_missing_price_share=params.max_missing_price_share,
        unmatched_tags=unmatched,
        year_rows=rows.year_rows,
        unfilled=unfilled_in_words(found.open_orders),
        members=found.members,
        household=found.household,
        actions_seen=found.seen if unbooked is None else None,
        unbooked_actions=unbooked,
        rebalance=params.rebalance,
        last_whole=None if rows.previous is None else rows.previous.whole_on,
    )
    unpriced = sorted(held - day.prices.keys())
    if unpriced:
        with database.transaction() as connection:
            inputs = replace(inputs, older_prices=market_data.last_prices_of(connection, as_of, unpriced))
    # No earlier day of the account is in work any more, so these targets are what the solve will find, too.
    targets = None if rows.previous is None else rows.previous.target_weights
    return AccountDay(inputs, params, found.position, targets, found.open_orders)
