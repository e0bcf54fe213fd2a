"""Tax reports of the accounts in the database: the same answer as from a file that tells the same history."""

from collections.abc import Sequence
from dataclasses import replace

from prometheus.bookkeeping.ledger_rebuild import households_of_accounts
from prometheus.bookkeeping.ledger_terms import open_household
from prometheus.db.database import Connection
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.ledger_events import events_after
from prometheus.db.repositories.ledger_inputs import household_accounts, households_of
from prometheus.db.repositories.ledger_postings import postings_after
from prometheus.db.repositories.ledger_states import newest_state, stored_mark
from prometheus.domain.accounts import AccountKind, TaxRegime
from prometheus.foundation.errors import RequestError
from prometheus.ledger.booked import BookedEvents, last_day
from prometheus.ledger.facts import effective_events
from prometheus.ledger.fold import fold
from prometheus.ledger.reports.request import HouseholdReport, ReportRequest, household_report


def account_tax_report(connection: Connection, account_id: str, request: ReportRequest) -> HouseholdReport:
    """Report the sales of one account; purchases of its whole household count.

    Args:
        connection: A transaction; at REPEATABLE READ, so that all of it is as of one moment.
        account_id: The account.
        request: What is asked for; its ``accounts`` are this one.

    Raises:
        UnknownAccountError: There is no such account.
        RequestError: The account is sheltered, or as for ``household_report``.
        ConfigurationError: As for ``household_report``.
        AccountingError: As for ``household_report``; or two countries tax the household.
    """
    account = accounts_of(connection, account_ids=[account_id])[0]
    if account.kind is AccountKind.SHELTERED:
        raise RequestError(f"{account_id} is {account.account_type}: what it sells is no taxable event.")
    household = households_of(connection, [account_id])[account_id]
    books = household_history(connection, household)
    return household_report(books, replace(request, accounts=frozenset({account_id})), account_id)


def household_tax_reports(
    connection: Connection, households: Sequence[str] | None, request: ReportRequest
) -> tuple[HouseholdReport, ...]:
    """Report households; all of those with books where None.

    Args:
        connection: As for ``account_tax_report``.
        households: Their names; an account by itself is a household of its own name.
        request: What is asked for.

    Raises:
        UnknownAccountError: There is no such household.
        RequestError: As for ``household_report``.
        ConfigurationError: As for ``household_report``.
        AccountingError: As for ``account_tax_report``.
    """
    names = households_of_accounts(connection, None) if households is None else list(households)
    opened = [name for name in names if households is not None or stored_mark(connection, name) is not None]
    return tuple(household_report(household_history(connection, name), request, name) for name in opened)


def household_history(connection: Connection, household: str) -> BookedEvents:
    """Return the whole history of a household with its books as they are stored.

    Args:
        connection: A transaction; at REPEATABLE READ, so that all of it is as of one moment.
        household: The household.

    Raises:
        UnknownAccountError: There is no such household.
        AccountingError: Two countries tax it.
    """
    opened = open_household(connection, household)
    accounts = opened.account_ids
    events = tuple(events_after(connection, household, accounts, None))
    postings = tuple(one.posting for one in postings_after(connection, accounts, None))
    stored = newest_state(connection, household, accounts)
    mark = stored_mark(connection, household)
    through = last_day(events) if mark is None else mark[0]
    if stored is not None and stored.day == through:
        state = stored.state
    else:
        # The state is of another version or of other accounts; postings are as they were written.
        state = fold(effective_events(events)[0], opened.terms).state
    return BookedEvents(opened.terms, events, postings, state, through)


def regime_of(connection: Connection, household: str) -> TaxRegime:
    """Return whose rules apply to a household.

    Raises:
        UnknownAccountError: There is no such household.
    """
    return household_accounts(connection, household)[0].tax_regime
