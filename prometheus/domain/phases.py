"""Phases of an engine run and the legal edges between them, as data."""

from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """Phase of a run."""

    WAITING_FOR_DATA = "WAITING_FOR_DATA"
    DATA_READY = "DATA_READY"
    SNAPSHOT_BUILT = "SNAPSHOT_BUILT"
    SOLVED = "SOLVED"
    PERSISTED = "PERSISTED"
    FAILED = "FAILED"


TERMINAL_PHASES: Final = frozenset({Phase.PERSISTED, Phase.FAILED})
#: Phases that have a task; advance_all claims runs in them.
TASK_PHASES: Final = (Phase.DATA_READY, Phase.SNAPSHOT_BUILT, Phase.SOLVED)

#: The database's trigger has the same edges; a test compares the two.
LEGAL_EDGES: Final = frozenset(
    {
        (Phase.WAITING_FOR_DATA, Phase.DATA_READY),
        (Phase.DATA_READY, Phase.SNAPSHOT_BUILT),
        (Phase.SNAPSHOT_BUILT, Phase.SOLVED),
        (Phase.SOLVED, Phase.PERSISTED),
        (Phase.WAITING_FOR_DATA, Phase.FAILED),
        (Phase.DATA_READY, Phase.FAILED),
        (Phase.SNAPSHOT_BUILT, Phase.FAILED),
        (Phase.SOLVED, Phase.FAILED),
        # only by an explicit, audited reset
        (Phase.FAILED, Phase.WAITING_FOR_DATA),
        (Phase.FAILED, Phase.DATA_READY),
    }
)


class RunStatus(StrEnum):
    """How the solve of a persisted run ended."""

    OPTIMAL = "OPTIMAL"
    NON_OPTIMAL = "NON_OPTIMAL"
