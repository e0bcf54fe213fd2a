"""Waiting runs and their reasons in words: the end of a tick's line."""

from collections.abc import Mapping
from typing import Final

from prometheus.db.repositories.unfinished_runs import UnfinishedCount, Wait
from prometheus.scripts.tables import short_time

#: In the order of the line: what a person can change comes first.
_ORDER: Final = (Wait.HELD, Wait.PAUSED, Wait.DUE, Wait.RETRY, Wait.BEHIND, Wait.WORKED_ON, Wait.DATA)


def waiting_in_words(counts: Mapping[Wait, UnfinishedCount], *, out_of_time: float | None) -> str | None:
    """Return how many unfinished runs wait and for what; None where there are none.

    Args:
        counts: Unfinished runs by the reason for which they wait.
        out_of_time: The time budget in seconds where it was spent, else None.
    """
    if not counts:
        return None
    parts = [_part(counts[wait], out_of_time) for wait in _ORDER if wait in counts]
    total = sum(count.runs for count in counts.values())
    return f"{total} {'waits' if total == 1 else 'wait'}: {', '.join(parts)}"


def _part(count: UnfinishedCount, out_of_time: float | None) -> str:
    match count.wait:
        case Wait.HELD:
            return f"{count.runs} held ({', '.join(count.codes)})"
        case Wait.PAUSED:
            others = "" if count.accounts == 1 else f" and {count.accounts - 1} more"
            return f"{count.runs} paused ({count.first}{others}: {count.pause_reason or 'no reason given'})"
        case Wait.DUE if out_of_time is not None:
            return f"{count.runs} for time (the budget of {out_of_time:g} s was spent)"
        case Wait.DUE:
            return f"{count.runs} for the next tick"
        case Wait.RETRY:
            return f"{count.runs} to be tried again at {short_time(count.next_attempt_at)}"
        case Wait.BEHIND:
            return f"{count.runs} behind an unfinished {count.behind}"
        case Wait.WORKED_ON:
            return f"{count.runs} worked on elsewhere"
        case Wait.DATA:
            return f"{count.runs} for data (--data-ready)"
