"""The audit's benchmark fleet: twenty synthetic accounts through a year of sessions."""

from datetime import date
from typing import Final

from prometheus.foundation.errors import RequestError
from prometheus.simulation.corporate_events import DEMO_SESSIONS
from prometheus.simulation.market import FIRST_SESSION
from prometheus.simulation.sessions import common_sessions

PURPOSE: Final = "audit"
ACCOUNTS: Final = 20
SESSIONS: Final = 252
#: The risk model looks back 504 sessions; what is left of the market's history can be traded.
LONGEST: Final = 300


def audit_sessions(count: int = SESSIONS) -> tuple[date, ...]:
    """Return the last so many sessions of the synthetic market on which both exchanges are open.

    Raises:
        RequestError: More than the market's history allows.
    """
    if not 1 <= count <= LONGEST:
        raise RequestError(f"The synthetic market has between 1 and {LONGEST} sessions to trade, not {count}.")
    return common_sessions(FIRST_SESSION, DEMO_SESSIONS[-1])[-count:]


def audit_accounts(count: int = ACCOUNTS) -> tuple[str, ...]:
    """Return the first so many accounts of the synthetic fleet.

    Raises:
        RequestError: More than the fleet has.
    """
    if not 1 <= count <= ACCOUNTS:
        raise RequestError(f"The synthetic fleet has between 1 and {ACCOUNTS} accounts, not {count}.")
    return tuple(f"ACC-{number:03d}" for number in range(1, count + 1))
