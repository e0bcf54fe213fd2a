"""What the engine reads and writes of many accounts at once: a few statements for a batch, whatever its size."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import Connection

from prometheus.db.database import driver_connection
from prometheus.domain.phases import RunStatus
from prometheus.foundation.ids import run_label

# Of each account its latest run before the day: targets to keep, whether any of its trades was booked, and what it says
# of whole rebalancings.
_PREVIOUS: Final = """
    SELECT previous.account_id, run_seq, as_of_date, targets,
           EXISTS (SELECT 1 FROM run_trades WHERE run_trades.run_id = previous.run_id)
           AND NOT EXISTS (SELECT 1 FROM ledger_events AS event
                           WHERE event.account_id = previous.account_id AND event.trade_date >= previous.as_of_date
                             AND event.kind IN ('Buy', 'Sell')),
           status, rebalancing
    FROM unnest(%s::text[]) AS wanted(account_id)
    CROSS JOIN LATERAL (
        SELECT runs.account_id, run_id, run_seq, as_of_date, status, result -> 'target_weights' AS targets,
               result -> 'rebalancing' AS rebalancing
        FROM runs WHERE runs.account_id = wanted.account_id AND as_of_date < %s
        ORDER BY as_of_date DESC LIMIT 1) AS previous
"""

_LOCK: Final = "SELECT account_id FROM accounts WHERE account_id = ANY(%s) ORDER BY account_id FOR NO KEY UPDATE"

_EARLIER: Final = """
    SELECT wanted.account_id, max(run.as_of_date)
    FROM unnest(%s::text[], %s::date[]) AS wanted(account_id, as_of_date)
    JOIN engine_runs AS run ON run.account_id = wanted.account_id AND run.as_of_date < wanted.as_of_date
    WHERE run.phase NOT IN ('PERSISTED', 'FAILED') AND run.phase <> 'WAITING_FOR_DATA'
    GROUP BY wanted.account_id ORDER BY wanted.account_id
"""

_WITH_RUN: Final = """
    SELECT account_id FROM engine_runs
    WHERE account_id = ANY(%s) AND as_of_date = %s AND phase <> 'FAILED' ORDER BY account_id
"""


@dataclass(frozen=True, slots=True)
class PreviousRun:
    """An account's latest run before a day.

    ``target_weights`` by ticker, None where the run was archived. ``unfilled`` names number and day of the run where it
    has trades and none is booked as a fill. ``whole_on`` is the day of the account's last whole rebalancing, None where
    there was none: a run without a certified answer is none, nor is one of whose trades none was filled.
    """

    target_weights: Mapping[str, float] | None
    unfilled: str | None
    whole_on: date | None


def previous_runs(connection: Connection, account_ids: Sequence[str], as_of: date) -> dict[str, PreviousRun]:
    """Return of accounts their latest run before a day; one without any is absent."""
    return {
        row[0]: PreviousRun(
            target_weights=row[3],
            unfilled=f"{run_label(row[1])} of {row[2]}" if row[4] else None,
            whole_on=_whole_on(row[2], row[5], row[6], unfilled=row[4]),
        )
        for row in driver_connection(connection).execute(_PREVIOUS, [list(account_ids), as_of])
    }


def _whole_on(as_of: date, status: str, rebalancing: Mapping[str, str | None] | None, *, unfilled: bool) -> date | None:
    """Return the day of the last whole rebalancing, from what the latest run says of it.

    Args:
        as_of: Day of the run.
        status: Of the run.
        rebalancing: What its result says; None of one recorded when every day was whole.
        unfilled: Whether it has trades and none of them was filled.
    """
    told = {"whole_on": as_of.isoformat(), "last_whole": None} if rebalancing is None else rebalancing
    whole_on = told["last_whole"] if unfilled or status != RunStatus.OPTIMAL.value else told["whole_on"]
    return None if whole_on is None else date.fromisoformat(whole_on)


def lock_accounts(connection: Connection, account_ids: Iterable[str]) -> None:
    """Lock accounts in the order of their names, so that nothing is booked in them until the transaction ends."""
    driver_connection(connection).execute(_LOCK, [sorted(account_ids)])


def earlier_active_days(connection: Connection, days: Mapping[str, date]) -> dict[str, date]:
    """Return the latest earlier day that is being worked on, of the accounts that have one.

    Args:
        connection: The transaction.
        days: Account to the day before which to look.
    """
    rows = driver_connection(connection).execute(_EARLIER, [list(days), list(days.values())])
    return dict(rows.fetchall())


def accounts_with_run(connection: Connection, account_ids: Iterable[str], as_of: date) -> list[str]:
    """Return those of the accounts that have a run of a day which has not failed."""
    return [row[0] for row in driver_connection(connection).execute(_WITH_RUN, [sorted(account_ids), as_of])]
