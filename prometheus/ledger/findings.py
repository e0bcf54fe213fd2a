"""What cannot be booked, or was booked by a choice that somebody should know of."""

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus.ledger.keys import EventKey


@dataclass(frozen=True, slots=True)
class Finding:
    """A remark on one event.

    Attributes:
        event: The event.
        code: Stable word for the kind of defect, such as ``OVERSOLD``.
        message: One sentence: what is wrong.
        remedy: One sentence: what to do.
        refused: Whether the event was left out. False: it is booked, and the message says by which reading.
    """

    event: EventKey
    code: str
    message: str
    remedy: str
    refused: bool = True

    def __str__(self) -> str:
        return f"{self.event.account} {self.event.event_id}: {self.message} {self.remedy} [{self.code}]"


class RefusedError(Exception):
    """An event cannot be booked. Raised before anything is changed, caught by the fold, never seen outside."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code, self.message, self.remedy = code, message, remedy


def ordered_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by event, each once."""
    return tuple(sorted(set(findings), key=lambda finding: (finding.event, finding.code, finding.message)))
