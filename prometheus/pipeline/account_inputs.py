"""What belongs to each account on its day, read for all runs of a batch in one state of the database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from prometheus.bookkeeping.late_actions import action_words, unbooked_actions
from prometheus.bookkeeping.ledger_days import LoadedDay, load_day
from prometheus.bookkeeping.ledger_market import event_name
from prometheus.bookkeeping.ledger_sources import opening_events
from prometheus.bookkeeping.ledger_terms import LedgerHousehold, terms_of
from prometheus.bookkeeping.open_orders import open_orders
from prometheus.db.database import Connection, Database
from prometheus.db.repositories import account_days, ledger_inputs, market_data
from prometheus.db.repositories.account_books import books_to_open
from prometheus.db.repositories.account_days import PreviousRun
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.ledger_postings import gains_of_year, market_events_posted
from prometheus.db.repositories.strategies import StrategyRecord, latest_strategy
from prometheus.decision.build_snapshot import AccountInputs, DayInputs, require_bought_by
from prometheus.domain.accounts import Account, AccountKind
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
from prometheus.ledger.events import Event
from prometheus.pipeline.day_holds import unfilled_in_words
from prometheus.pipeline.household_day import HouseholdDay
from prometheus.pipeline.shared_inputs import SharedInputs

_ONE_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class AccountDay:
    """What one account's day is made of.

    ``household`` has the books of its household, ``targets`` are those of its run before, None on its first day.
    ``open_orders`` are those of its run before that are neither filled nor settled.
    """

    inputs: AccountInputs
    params: StrategyParams
    household: HouseholdDay
    targets: Mapping[str, float] | None
    open_orders: tuple[OpenOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows as read, before anything is asked of them: what is wrong with one account concerns no other.

    ``opening`` are the books with which it begins, None where they have begun; ``late`` the actions that came or
    changed after the books had passed them; ``gains`` what the books realised this year so far; ``posted`` the names of
    the market's events that are booked since the account's last day.
    """

    account: Account
    strategy: StrategyRecord | None
    previous: PreviousRun | None
    household: HouseholdDay
    position: int
    opening: Books | None
    late: tuple[CorporateAction, ...]
    gains: Decimal
    posted: frozenset[str]
    open_orders: tuple[OpenOrder, ...]


class AccountReader:
    """Reads accounts for the runs that a batch is about to work on, all at once when the first is asked for."""

    def __init__(self) -> None:
        self._expected: dict[int, Lease] = {}
        self._rows: dict[int, _Rows] = {}

    def expect(self, leases: Iterable[Lease]) -> None:
        """Hear which runs will be asked for; what was read for others is dropped."""
        self._expected = {lease.run_id: lease for lease in leases}
        self._rows = {}

    def take(self, database: Database, shared: SharedInputs, lease: Lease, day: DayInputs) -> AccountDay:
        """Return what a run's account is made of on its day; asked for again, it is read again.

        Raises:
            ConfigurationError: The account's strategy is not in the database.
            EngineError: Its books are past the day (SUPERSEDED).
            PhaseHeldError: Its books lack actions that move shares (ACTIONS_NOT_BOOKED), an action needs a close
                (NO_PRICE), or its books begin with a lot bought later (LOT_AFTER_DAY).
            AccountingError: Its books cannot be opened, or an action cannot be booked.
            UnknownAccountError: There is no such account.
        """
        self._expected.pop(lease.run_id, None)
        if lease.run_id not in self._rows:
            together = [other for other in self._expected.values() if other.as_of_date == lease.as_of_date]
            for other in together:
                del self._expected[other.run_id]
            self._rows.update(self._together(database, lease, together, day))
        return _account_day(database, shared, self._rows.pop(lease.run_id), day)

    def _together(self, database: Database, lease: Lease, others: Sequence[Lease], day: DayInputs) -> dict[int, _Rows]:
        try:
            return _read(database, (lease, *others), day)
        except DatabaseUnavailableError:
            raise
        except Exception:
            # Rows of any of them may be what cannot be read: then each is read by itself.
            if not others:
                raise
            return _read(database, (lease,), day)


def _read(database: Database, leases: Iterable[Lease], day: DayInputs) -> dict[int, _Rows]:
    """Read the rows of accounts on one day."""
    by_account = {lease.account_id: lease for lease in leases}
    names, as_of = list(by_account), day.as_of
    with database.transaction() as connection:
        market_data.read_one_state(connection)
        accounts = accounts_of(connection, account_ids=names)
        strategies = {name: latest_strategy(connection, name) for name in {one.strategy_id for one in accounts}}
        position = ledger_inputs.actions_position(connection)
        households = _households(connection, accounts, day)
        members = {account_id for household in households for account_id in household.account_ids}
        opening = _opening(connection, names, members, as_of)
        late = ledger_inputs.late_actions(connection, members)
        loaded = load_day(
            connection,
            households,
            as_of,
            opening=_events_by_household(households, opening, as_of),
            late=frozenset(household.name for household in households if late.keys() & set(household.account_ids)),
            position=position,
        )
        household_of = {
            account_id: one
            for household in households
            for one in [HouseholdDay(loaded[household.name], position)]
            for account_id in household.account_ids
        }
        gains = gains_of_year(
            connection, [one.account_id for one in accounts if one.kind is AccountKind.TAXABLE], as_of
        )
        posted = _posted(connection, accounts, loaded, as_of)
        previous = account_days.previous_runs(connection, names, as_of)
        orders: dict[str, list[OpenOrder]] = {}
        for order in open_orders(connection, through=as_of - _ONE_DAY, account_ids=names):
            orders.setdefault(order.account_id, []).append(order)
    return {
        by_account[account.account_id].run_id: _Rows(
            account=account,
            strategy=strategies[account.strategy_id],
            previous=previous.get(account.account_id),
            household=household_of[account.account_id],
            position=position,
            opening=opening.get(account.account_id),
            late=late.get(account.account_id, ()),
            gains=gains.get(account.account_id, Decimal(0)),
            posted=frozenset(posted.get(account.account_id, ())),
            open_orders=tuple(orders.get(account.account_id, ())),
        )
        for account in accounts
    }


def _household_name(account: Account) -> str:
    return account.household or account.account_id


def _households(connection: Connection, accounts: Sequence[Account], day: DayInputs) -> list[LedgerHousehold]:
    """Return the households of accounts with all of their accounts."""
    alone = [one.account_id for one in accounts if one.household is None]
    names = {one.household for one in accounts if one.household is not None}
    others = ledger_inputs.accounts_by_household(connection, alone, names)
    members: dict[str, list[Account]] = {}
    for account in (*(one for one in accounts if one.household is None), *others):
        members.setdefault(_household_name(account), []).append(account)
    groups = {ticker: one.group for ticker, one in day.securities.items() if one.group != ticker}
    return [LedgerHousehold(name, tuple(of_name), terms_of(of_name, groups)) for name, of_name in members.items()]


def _opening(connection: Connection, own: Sequence[str], members: set[str], as_of: date) -> dict[str, Books]:
    """Return the books that begin on the day: of accounts whose run it is, and of their households' that have one."""
    others = members - set(own)
    with_run = account_days.accounts_with_run(connection, others, as_of) if others else []
    return books_to_open(connection, [*own, *with_run])


def _events_by_household(
    households: Iterable[LedgerHousehold], opening: Mapping[str, Books], as_of: date
) -> dict[str, list[Event]]:
    """Return the opening events; an account with a lot from the future stays closed, and its own run says so."""
    events: dict[str, list[Event]] = {}
    for household in households:
        for account_id in household.account_ids:
            books = opening.get(account_id)
            if books is not None and all(lot.acquired_on <= as_of for lot in books.lots):
                events.setdefault(household.name, []).extend(opening_events(account_id, books, as_of))
    return events


def _posted(
    connection: Connection, accounts: Iterable[Account], loaded: Mapping[str, LoadedDay], as_of: date
) -> dict[str, set[str]]:
    """Return the market's events that are booked since an account's last day, where its books went on without it."""
    after: dict[str, date] = {}
    for account in accounts:
        books = loaded[_household_name(account)].books
        if account.books_as_of is not None and books.passed is not None and books.passed > account.books_as_of:
            after[account.account_id] = account.books_as_of
    return market_events_posted(connection, after, as_of) if after else {}


def _unbooked(database: Database, rows: _Rows) -> str | None:
    """Return in words what the books lack of actions that came or changed after they had passed them.

    Raises:
        PhaseHeldError: Shares would be others (ACTIONS_NOT_BOOKED): nothing may be traded upon them.
    """
    if not rows.late:
        return None
    account_id = rows.account.account_id
    try:
        lacking = unbooked_actions(rows.household.late_booking(database), account_id, rows.late)
    except AccountingError as error:
        raise PhaseHeldError(
            f"{account_id}: {action_words(rows.late[0])} came or changed after the books had passed the day, and "
            f"they cannot be booked again: {error.message}",
            code="ACTIONS_NOT_BOOKED",
            details={"account_id": account_id},
        ) from error
    if lacking is not None and lacking.shares:
        raise PhaseHeldError(f"{account_id}: {lacking}.", code="ACTIONS_NOT_BOOKED", details={"account_id": account_id})
    return None if lacking is None else f"{lacking}."


def _corporate_actions(shared: SharedInputs, rows: _Rows, as_of: date) -> tuple[CorporateAction, ...]:
    """Return the actions since the account's last day that its books have, or get by the day."""
    after = rows.household.first_day_of_actions(rows.account.books_as_of)
    if after is None or after >= as_of:
        return ()
    names = rows.posted | rows.household.actions_posted(shared, rows.account.account_id)
    if not names:
        return ()
    span = shared.actions(after=after, through=as_of, seen=rows.position)
    return tuple(one.action for one in span.actions if event_name(one.action) in names)


def _account_day(database: Database, shared: SharedInputs, rows: _Rows, day: DayInputs) -> AccountDay:
    account, strategy, household, as_of = rows.account, rows.strategy, rows.household, day.as_of
    account_id = account.account_id
    if strategy is None:
        raise ConfigurationError(
            f"Account {account_id} uses strategy '{account.strategy_id}', which is not in the database."
        )
    params, unmatched = merge_tag_overrides(
        StrategyParams.from_dict(strategy.params), strategy.tag_overrides, account.tags
    )
    if account.books_as_of is not None and account.books_as_of > as_of:
        raise EngineError(
            f"The books of {account_id} are those of {account.books_as_of}; {as_of} can no longer be traded.",
            code="SUPERSEDED",
        )
    if rows.opening is not None:
        require_bought_by(rows.opening, as_of, account_id)
    unbooked = _unbooked(database, rows)
    household.require_plain_actions(shared, account_id)
    is_taxed = account.kind is AccountKind.TAXABLE
    inputs = AccountInputs(
        account=account,
        books=household.books(shared, account_id),
        trades=household.trades(shared, account_id, as_of),
        corporate_actions=_corporate_actions(shared, rows, as_of),
        realized_this_year=rows.gains + household.gains(shared, account_id, as_of) if is_taxed else Decimal(0),
        older_prices={},
        strategy_version=strategy.version,
        max_missing_price_share=params.max_missing_price_share,
        unmatched_tags=unmatched,
        unfilled=unfilled_in_words(rows.open_orders),
        unbooked_actions=unbooked,
        rebalance=params.rebalance,
        last_whole=None if rows.previous is None else rows.previous.whole_on,
    )
    unpriced = sorted(inputs.books.tickers() - day.prices.keys())
    if unpriced:
        with database.transaction() as connection:
            inputs = replace(inputs, older_prices=market_data.last_prices_of(connection, as_of, unpriced))
    # No earlier day of the account is in work any more, so these targets are what the solve will find, too.
    targets = None if rows.previous is None else rows.previous.target_weights
    return AccountDay(inputs, params, household, targets, rows.open_orders)
