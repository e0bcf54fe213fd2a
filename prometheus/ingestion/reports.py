"""Options, progress and reports of a load."""

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final, Protocol

from prometheus.foundation.canonical import JsonObject
from prometheus.foundation.errors import RequestError
from prometheus.ingestion.columns import IDENTIFIER
from prometheus.ingestion.finding_table import FindingCollector, FindingTable
from prometheus.ingestion.kinds import FileKind
from prometheus.ledger.files.mapping import FileMapping

DEFAULT_BENCHMARK: Final = "SP500"


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """Options of a load.

    Attributes:
        today: Latest date of things that have happened; a later price or purchase is a finding.
        skip_bad_rows: Load the good rows of a file with bad ones, instead of none.
        benchmark_id: Benchmark of files without that column.
        allow_demo: Load a fleet into a demo database; for the demo itself.
        mappings: Layouts of brokers' files besides the shipped ones, for transactions.
        file_account: Account of a broker's file whose rows name none.
    """

    today: date
    skip_bad_rows: bool = False
    benchmark_id: str = DEFAULT_BENCHMARK
    allow_demo: bool = False
    mappings: tuple[FileMapping, ...] = ()
    file_account: str = ""

    def __post_init__(self) -> None:
        if re.fullmatch(IDENTIFIER, self.benchmark_id) is None:
            raise RequestError(f"'{self.benchmark_id}' is not a benchmark id; use A-Z, a-z, 0-9, '.', '_', ':', '-'.")


class FileStatus(StrEnum):
    """Result of a file."""

    LOADED = "LOADED"
    REFUSED = "REFUSED"
    NOT_ATTEMPTED = "NOT_ATTEMPTED"


@dataclass(frozen=True, slots=True)
class FileReport:
    """Result of one file; counts are rows.

    ``rows_read`` = ``inserted`` + updated + ``unchanged`` + ``skipped`` for a loaded file, where ``revised`` counts the
    updated rows and, for a benchmark, the members that vanished from a delivered date. A refused file has inserted,
    revised and unchanged nothing.
    """

    file: str
    kind: FileKind
    status: FileStatus
    findings: FindingTable
    rows_read: int = 0
    inserted: int = 0
    revised: int = 0
    unchanged: int = 0
    skipped: int = 0

    @property
    def loaded(self) -> bool:
        """Return whether the file's rows are in the database."""
        return self.status is FileStatus.LOADED

    def to_json(self) -> JsonObject:
        """Return the report with counts of findings, as JSON types."""
        return {
            "file": self.file,
            "kind": self.kind.value,
            "status": self.status.value,
            "rows_read": self.rows_read,
            "inserted": self.inserted,
            "revised": self.revised,
            "unchanged": self.unchanged,
            "skipped": self.skipped,
            "findings": self.findings.counts_by_code(),
            "fatal_findings": self.findings.fatal_count,
        }


class BadRowsError(Exception):
    """Ends the transaction of a file that is refused."""


def require_good_rows(findings: FindingCollector, options: IngestOptions) -> None:
    """Do nothing where a file may be loaded.

    Raises:
        BadRowsError: It has bad rows, and the options do not skip them.
    """
    if findings.table().fatal_count and not options.skip_bad_rows:
        raise BadRowsError


class Progress(Protocol):
    """Receives the progress of a load."""

    def step(self, file: str, step: str, done: int, total: int) -> None:
        """Receive that ``done`` of ``total`` parts of a step of a file are done."""
        ...


class NoProgress:
    """Progress that is not shown."""

    def step(self, file: str, step: str, done: int, total: int) -> None:
        """Do nothing."""
