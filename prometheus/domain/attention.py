"""Every code that needs a person: holds of runs, alerts, flags of a day, findings of monitoring.

docs/runbook.md has a section for each with cause, check and remedy; tests compare the two and check that the package
raises no other code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Tells(StrEnum):
    """The way in which a code reaches a person.

    HOLD: a run's phase cannot go on, the next tick tries it again. FLAG: something unusual about a day that was decided
    all the same. ALERT: a message of the outbox. FINDING: a line of engine_health. Holds, flags and findings raise an
    alert as well; a pause, which a person made, does not.
    """

    HOLD = "HOLD"
    FLAG = "FLAG"
    ALERT = "ALERT"
    FINDING = "FINDING"


@dataclass(frozen=True, slots=True)
class Attention:
    """A code that needs a person.

    Attributes:
        code: The code.
        tells: How it reaches a person.
        command: Command that ends a hold, with ``{account}`` and ``{as_of}`` to fill in; empty where no command does.
        passing: The hold passes by itself and alerts nobody.
    """

    code: str
    tells: frozenset[Tells]
    command: str = ""
    passing: bool = False


def _of(code: str, *tells: Tells, command: str = "", passing: bool = False) -> Attention:
    return Attention(code, frozenset(tells), command, passing)


_INGEST: Final = "prometheus ingest DIR"
_HOLDS: Final = (
    _of("ACTION_ON_SHORT", Tells.HOLD, command="prometheus ingest FILE --kind transactions"),
    _of("ACTIONS_NOT_BOOKED", Tells.HOLD, Tells.FLAG, Tells.FINDING, command="prometheus ledger refold"),
    _of("BOOKS_MOVED", Tells.HOLD, passing=True),
    _of("LOT_AFTER_DAY", Tells.HOLD, command="run_engine_state --as-of {as_of} --account {account} --cancel"),
    _of("LOTS_BESIDE_SHORT", Tells.HOLD, command="prometheus ingest FILE --kind transactions"),
    _of("MISSING_PRICES", Tells.HOLD, command=_INGEST),
    _of("NO_DATA", Tells.HOLD, command=_INGEST),
    _of("NO_ASSETS", Tells.HOLD, command=_INGEST),
    _of("NO_BENCHMARK", Tells.HOLD, Tells.FINDING, command=_INGEST),
    _of("NO_PRICE", Tells.HOLD, command=_INGEST),
    _of("ORDER", Tells.HOLD, passing=True),
    _of("SHORTS_IN_REGIME", Tells.HOLD, command="prometheus strategy load FILE"),
    _of("STALE_ACTIONS", Tells.HOLD, Tells.FLAG, Tells.FINDING, command="prometheus ingest FILE --kind actions"),
    _of("STALE_BENCHMARK", Tells.HOLD, Tells.FLAG, Tells.FINDING, command="prometheus ingest FILE --kind benchmark"),
    _of("STALE_BORROW", Tells.HOLD, Tells.FLAG, Tells.FINDING, command="prometheus ingest FILE --kind borrow"),
    _of("STALE_PRICES", Tells.HOLD, Tells.FLAG, Tells.FINDING, command="prometheus ingest FILE --kind prices"),
    _of("STALE_RISK", Tells.HOLD, Tells.FINDING, command="prometheus risk refresh --as-of {as_of}"),
    _of("UNSETTLED_ORDERS", Tells.HOLD, Tells.FINDING, command="prometheus ingest FILE --kind executions"),
)
_FLAGS: Final = (
    _of("MISSING_PRICE", Tells.FLAG),
    _of("NO_RISK_DATA", Tells.FLAG),
    _of("UNFILLED_TRADES", Tells.FLAG),
    _of("UNKNOWN_TAG", Tells.FLAG),
    _of("UNPRICED_CONSTITUENT", Tells.FLAG),
)
_ALERTS: Final = (
    _of("NON_OPTIMAL", Tells.ALERT),
    _of("PHASE_DEADLINE", Tells.ALERT),
    _of("RISK_BIAS", Tells.ALERT),
    _of("RUN_FAILED", Tells.ALERT),
    _of("WORKER_LOST", Tells.ALERT),
)
#: Findings of engine_health in the order in which they are judged.
_FINDINGS: Final = (
    _of("EMPTY_DATABASE", Tells.FINDING),
    _of("FROZEN", Tells.FINDING),
    _of("NO_HEARTBEAT", Tells.FINDING),
    _of("EXPIRED_LEASES", Tells.FINDING),
    _of("STUCK_RUNS", Tells.FINDING),
    _of("FAILURE_RATE", Tells.FINDING),
    _of("NO_RUN_OF_THE_DAY", Tells.FINDING),
    _of("PAUSED_ACCOUNTS", Tells.FINDING),
    _of("UNDELIVERED_ALERTS", Tells.FINDING),
    _of("OUTBOX_STUCK", Tells.FINDING),
    _of("DUE_TASK_FAILED", Tells.FINDING, Tells.ALERT),
    _of("DUE_TASK_LATE", Tells.FINDING),
    _of("CALENDAR_ENDS", Tells.FINDING),
)

ATTENTION: Final[Mapping[str, Attention]] = {one.code: one for one in (*_HOLDS, *_FLAGS, *_ALERTS, *_FINDINGS)}
#: Codes of engine_health, as its help lists them.
FINDING_CODES: Final = tuple(sorted(code for code, one in ATTENTION.items() if Tells.FINDING in one.tells))
#: Holds that end by themselves with another transaction: no alert, nothing for a person to do.
PASSING_HOLDS: Final = frozenset(code for code, one in ATTENTION.items() if one.passing)


def remedy_of_hold(code: str | None, *, account_id: str, as_of: str) -> str | None:
    """Return the command that ends a hold; None where the code has none or is unknown."""
    known = ATTENTION.get(code or "")
    return known.command.format(account=account_id, as_of=as_of) if known is not None and known.command else None
