"""``prometheus ingest``: load a directory or one file, and report the result of every row."""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from prometheus.scripts.boundary import Command, OneOf, format_option
from prometheus.scripts.progress import ProgressLine, progress_line
from prometheus.scripts.tables import print_table, say, width_of

if TYPE_CHECKING:
    from prometheus.db.database import Database
    from prometheus.ingestion.finding_table import FindingGroup
    from prometheus.ingestion.reports import FileReport, IngestOptions, Progress

#: Lines of findings printed; all findings go to --findings-out.
_PRINTED: Final = 50
_KINDS: Final = (
    "securities",
    "actions",
    "prices",
    "benchmark",
    "borrow",
    "accounts",
    "lots",
    "transactions",
    "executions",
)


@click.command(
    "ingest",
    cls=Command,
    context_settings={"help_option_names": ["-h", "--help"]},
    interrupted="Interrupted: finished files stay loaded, nothing of the file under way is. Load again to go on.",
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--kind", type=OneOf(_KINDS), help="What FILE holds; not for a directory.")
@click.option("--benchmark-id", default="SP500", show_default=True, help="Benchmark of files without that column.")
@click.option("--skip-bad-rows", is_flag=True, help="Load the good rows of a file with bad ones, instead of none.")
@click.option(
    "--mapping",
    "mappings",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Layout of a broker's transactions in TOML; may be repeated.",
)
@click.option("--file-account", default="", metavar="ACCOUNT", help="Account of transactions whose rows name none.")
@format_option("table", "json", default="table")
@click.option("--findings-out", type=click.Path(path_type=Path, dir_okay=False), help="CSV file for every finding.")
def command(
    path: Path,
    kind: str | None,
    benchmark_id: str,
    skip_bad_rows: bool,  # noqa: FBT001 -- click passes options by keyword
    mappings: tuple[Path, ...],
    file_account: str,
    output: Literal["table", "json"],
    findings_out: Path | None,
) -> None:
    """Load market data or a fleet from PATH: a directory, or one FILE with --kind.

    A directory may hold securities, corporate_actions, prices, benchmark, borrow, accounts, lots, transactions and
    executions, each as .csv or .csv.gz, all but transactions as .jsonl, .jsonl.gz and .parquet too. Each file loads
    completely or not at all. Loading it again changes nothing; a corrected value is updated and the old one kept.

    \b
    Examples:
      prometheus ingest data/
      prometheus ingest prices.csv --kind prices --skip-bad-rows
      prometheus ingest schwab.csv --kind transactions --file-account ACC-001

    What is wrong with a row is an error and keeps it, or the file, from loading; a remark stops nothing.

    Exit codes: 0 every file loaded, 2 a file was refused, 130 ended by Ctrl-C.
    """
    from datetime import UTC, datetime

    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.ingestion.finding_table import write_findings
    from prometheus.ingestion.reports import IngestOptions
    from prometheus.scripts.ledger_reports import read_mappings

    options = IngestOptions(
        today=datetime.now(UTC).date(),
        skip_bad_rows=skip_bad_rows,
        benchmark_id=benchmark_id,
        mappings=read_mappings(mappings),
        file_account=file_account,
    )
    _check_request(path, kind, findings_out)
    started = time.monotonic()
    with open_database(load_settings()) as database, ingest_progress() as progress:
        reports = _run(database, path, kind, options, progress)
    if findings_out is not None:
        write_findings(findings_out, [report.findings for report in reports])
    if output == "json":
        click.echo(json.dumps([report.to_json() for report in reports], indent=2))
    else:
        _print_reports(reports, time.monotonic() - started, findings_out)
    if not all(report.loaded for report in reports):
        sys.exit(2)


def _check_request(path: Path, kind: str | None, findings_out: Path | None) -> None:
    """Refuse a request that could not be carried out, before any work is done."""
    from prometheus.foundation.errors import RequestError
    from prometheus.ingestion.kinds import SUFFIXES

    if not path.exists():
        raise RequestError(f"'{path}' does not exist.")
    if path.is_dir() and kind is not None:
        raise RequestError("--kind is for one file; the files of a directory are recognised by their names.")
    if path.is_file() and kind is None:
        raise RequestError(f"Say what '{path}' holds with --kind: {', '.join(_KINDS)}.")
    if path.is_file() and not path.name.lower().endswith(SUFFIXES):
        raise RequestError(f"'{path}' must end with one of {', '.join(SUFFIXES)}.")
    if findings_out is not None and not findings_out.absolute().parent.is_dir():
        raise RequestError(f"--findings-out: the directory '{findings_out.absolute().parent}' does not exist.")


def _run(
    database: "Database", path: Path, kind: str | None, options: "IngestOptions", progress: "Progress"
) -> "tuple[FileReport, ...]":
    from prometheus.ingestion.ingest import ingest_directory, ingest_file
    from prometheus.ingestion.kinds import FileKind, list_directory

    if kind is not None:
        return (ingest_file(database, path, FileKind(kind), options=options, progress=progress),)
    left_alone = list_directory(path).left_alone
    if left_alone:
        say(f"Left alone: {', '.join(left_alone)}.", err=True)
    return ingest_directory(database, path, options=options, progress=progress)


@contextmanager
def ingest_progress() -> "Iterator[Progress]":
    """Give a line of progress on a terminal, plain lines otherwise; on standard error, apart from the output."""
    if width_of(sys.stderr) is None:
        yield _PlainProgress()
        return
    with progress_line() as line:
        yield _TerminalProgress(line)


class _TerminalProgress:
    """One line that shows the step at work and how far it is.

    Args:
        line: Where to show it.
    """

    def __init__(self, line: ProgressLine) -> None:
        self._line = line

    def step(self, file: str, step: str, done: int, total: int) -> None:
        """Show how far the step is."""
        share = f"  {done / total:.0%}" if total else ""
        self._line.show(f"{file}: {step}{share}")


class _PlainProgress:
    """Says once when a step of a file begins."""

    def __init__(self) -> None:
        self._said: tuple[str, str] | None = None

    def step(self, file: str, step: str, done: int, total: int) -> None:
        """Print a line for a new step; its progress would fill a log."""
        del done, total
        if self._said != (file, step):
            self._said = (file, step)
            click.echo(f"{file}: {step}", err=True)


def _print_reports(reports: "Sequence[FileReport]", seconds: float, findings_out: Path | None) -> None:
    numbers = ("read", "inserted", "revised", "unchanged", "skipped", "errors", "remarks")
    rows = []
    for report in reports:
        errors = report.findings.fatal_count
        counts = (report.rows_read, report.inserted, report.revised, report.unchanged, report.skipped)
        rows.append(
            (report.file, report.status.value, *(f"{n:,}" for n in (*counts, errors, len(report.findings) - errors)))
        )
    print_table(("file", "status", *numbers), rows, right=numbers, optional=("unchanged", "revised"))
    for report in reports:
        if report.findings:
            codes = (f"{code} {count:,}" for code, count in report.findings.counts_by_code().items())
            say(f"{report.file}: {', '.join(codes)}")
    _print_findings(reports, findings_out)
    status = Counter(report.status.value for report in reports)
    outcome = ", ".join(f"{count} {word.lower().replace('_', ' ')}" for word, count in sorted(status.items()))
    say(f"{len(reports)} {'file' if len(reports) == 1 else 'files'}: {outcome}, in {seconds:.1f} s.")


def _print_findings(reports: "Sequence[FileReport]", findings_out: Path | None) -> None:
    """Print the findings: equal findings of many rows once, with their numbers of rows and values."""
    total = sum(len(report.findings) for report in reports)
    left, told = _PRINTED, 0
    for report in reports:
        for group in report.findings.grouped():
            if left == 0:
                break
            left -= 1
            told += group.rows
            say(f"{group.first.file}{_where(group)}: {group.first.reason} {group.first.code}{_remark(group)}")
    if told < total:
        where = f"all are in {findings_out}" if findings_out else "--findings-out FILE writes all"
        say(f"... and {total - told:,} more findings; {where}.")


def _where(group: "FindingGroup") -> str:
    """Return where a finding applies: lines and values of a few rows, else the numbers of values and rows."""
    first = group.first
    examples = ", ".join(f"'{value}'" for value in group.examples)
    if group.rows <= len(group.lines):
        place = "" if first.line is None else ":" + ",".join(str(line) for line in group.lines)
        column = "" if first.column is None else f" {first.column}"
        return place + column + (f" {examples}" if examples else "")
    rows = f"{group.rows:,} rows from line {first.line}"
    if not examples:
        return f": {rows}"
    name = f"{first.column or 'value'}{'' if group.values == 1 else 's'}"
    more = ", ..." if group.values > len(group.examples) else ""
    return f": {group.values:,} {name}, {rows} ({examples}{more})"


def _remark(group: "FindingGroup") -> str:
    return "" if group.first.fatal else " (remark)"
