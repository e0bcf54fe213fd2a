"""Remarks on the rows of a file: what cannot be read, and what was read by a choice that somebody should know of."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowFinding:
    """A remark on one row.

    Attributes:
        row: Line of the file, counted from 1.
        code: Stable word for the kind of defect, such as ``BAD_DATE``.
        message: One sentence: what is wrong.
        remedy: One sentence: what to do.
        refused: Whether the row was left out. False: it was read, and the message says by which reading.
    """

    row: int
    code: str
    message: str
    remedy: str
    refused: bool = True

    def __str__(self) -> str:
        return f"row {self.row}: {self.message} {self.remedy} [{self.code}]"


class RefusedRowError(Exception):
    """A row cannot be read. Caught row by row, never seen outside the package."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code, self.message, self.remedy = code, message, remedy

    def in_row(self, row: int) -> RowFinding:
        """Return the finding about a row."""
        return RowFinding(row, self.code, self.message, self.remedy)


def ordered_rows(findings: Iterable[RowFinding]) -> tuple[RowFinding, ...]:
    """Return findings by row, each once."""
    return tuple(sorted(set(findings), key=lambda each: (each.row, each.code, each.message)))
