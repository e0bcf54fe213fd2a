"""What the phases write, as values: runs of a batch that reach the same phase are written together.

Each kind of effect is written in the fenced transaction of its transitions, after the fence. What is raised there rolls
all of it back, and the runs are then committed one by one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol, Self

from prometheus.bookkeeping.ledger_work import Work
from prometheus.db.database import Connection
from prometheus.db.repositories import account_days
from prometheus.db.repositories import runs as run_rows
from prometheus.db.repositories.engine_events import raise_alert
from prometheus.db.repositories.runs import NewRun
from prometheus.db.repositories.staging import (
    NewSnapshot,
    NewSolution,
    clear_staging,
    stage_snapshots,
    stage_solutions,
)
from prometheus.domain.engine_run import Lease
from prometheus.foundation.errors import PhaseHeldError
from prometheus.pipeline.household_day import HouseholdDay, write_households
from prometheus.pipeline.shared_inputs import BenchmarkWeights, SharedInputs


class Effects(Protocol):
    """What one run's phase writes."""

    @property
    def lease(self) -> Lease:
        """Return the claim under which it was computed."""
        ...

    @classmethod
    def record(cls, connection: Connection, effects: Sequence[Self]) -> None:
        """Write the effects of several runs, given by account and day; may be called again after a rollback."""
        ...


@dataclass(frozen=True, slots=True)
class SnapshotEffects:
    """A frozen day: the staged snapshot, what the household's books have of the day, alerts of its flags.

    Attributes:
        lease: The claim.
        staged: The snapshot as it is stored.
        household: The household's books as they were read; if they have moved since, the snapshot is put off.
        work: What the day books.
        weights: The benchmark's weights.
        shared: Knows whether they are stored already.
        alerts: Code and message of what a person should see.
    """

    lease: Lease
    staged: NewSnapshot
    household: HouseholdDay
    work: Work
    weights: BenchmarkWeights
    shared: SharedInputs
    alerts: Mapping[str, str]

    @classmethod
    def record(cls, connection: Connection, effects: Sequence["SnapshotEffects"]) -> None:
        """Write several; see ``Effects``.

        Raises:
            PhaseHeldError: The books of one moved meanwhile (BOOKS_MOVED), or an earlier day was marked ready (ORDER).
        """
        account_days.lock_accounts(connection, {member for effect in effects for member in effect.household.members})
        days = {effect.lease.account_id: effect.lease.as_of_date for effect in effects}
        refuse_before_earlier_days(connection, days)
        write_households(connection, [(effect.household, effect.work) for effect in effects], days)
        for effect in {effect.weights.address: effect for effect in effects}.values():
            effect.shared.store(connection, effect.weights)
        stage_snapshots(connection, [effect.staged for effect in effects])
        for effect in effects:
            for code, message in effect.alerts.items():
                alert(connection, effect.lease, code, message)


def refuse_before_earlier_days(connection: Connection, days: Mapping[str, date]) -> None:
    """Refuse to book days that come after one that is ready; the accounts are locked in the transaction.

    Args:
        connection: The transaction.
        days: Account to the day that would be booked.

    Raises:
        PhaseHeldError: An earlier day was marked ready meanwhile (ORDER).
    """
    for own, day in account_days.earlier_active_days(connection, days).items():
        raise PhaseHeldError(f"{day} of {own} was marked ready meanwhile and comes first.", code="ORDER")


@dataclass(frozen=True, slots=True)
class SolutionEffects:
    """A staged answer."""

    lease: Lease
    staged: NewSolution

    @classmethod
    def record(cls, connection: Connection, effects: Sequence["SolutionEffects"]) -> None:
        """Write several; see ``Effects``."""
        stage_solutions(connection, [effect.staged for effect in effects])


@dataclass(frozen=True, slots=True)
class RunEffects:
    """The immutable record with its trades, and the alerts that go with it; staging is emptied.

    A run that stands already is never written again: the phase just catches up with it.
    """

    lease: Lease
    run: NewRun
    alerts: Mapping[str, str]

    @classmethod
    def record(cls, connection: Connection, effects: Sequence["RunEffects"]) -> None:
        """Write several; see ``Effects``."""
        run_rows.insert_runs(connection, [effect.run for effect in effects])
        for effect in effects:
            for code, message in effect.alerts.items():
                alert(connection, effect.lease, code, message)
        clear_staging(connection, [effect.lease.run_id for effect in effects])


def record_together(connection: Connection, effects: Iterable[Any]) -> None:
    """Write effects of whatever kinds, accounts in the order in which operators' commands lock them."""
    kinds: dict[type[Effects], list[Effects]] = {}
    for effect in sorted(effects, key=lambda one: (one.lease.account_id, one.lease.as_of_date)):
        kinds.setdefault(type(effect), []).append(effect)
    for kind, same_kind in kinds.items():
        kind.record(connection, same_kind)


def alert(connection: Connection, lease: Lease, code: str, message: str) -> None:
    """Raise an alert about a run, once for each code."""
    raise_alert(
        connection,
        run_id=lease.run_id,
        account_id=lease.account_id,
        as_of=lease.as_of_date,
        code=code,
        message=message,
    )
