"""``prometheus ingest``: load a directory or one file, and say what became of every row."""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from prometheus.scripts.boundary import Command
from prometheus.scripts.tables import print_table

if TYPE_CHECKING:
    from prometheus.db.database import Database
    from prometheus.ingestion.reports import FileReport, IngestOptions, Progress

#: Findings printed; all of them go to --findings-out.
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


@click.command("ingest", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--kind", type=click.Choice(_KINDS), help="What FILE holds; not for a directory.")
@click.option("--benchmark-id", default="SP500", show_default=True, help="Benchmark of files without that column.")
@click.option("--skip-bad-rows", is_flag=True, help="Load the good rows of a file with bad ones, instead of none.")
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--findings-out", type=click.Path(path_type=Path, dir_okay=False), help="CSV file for every finding.")
def command(
    path: Path,
    kind: str | None,
    benchmark_id: str,
    skip_bad_rows: bool,  # noqa: FBT001 -- click passes options by keyword
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

    Exit codes: 0 every file loaded, 2 a file was refused.
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.foundation.clock import SystemClock
    from prometheus.ingestion.finding_table import write_findings
    from prometheus.ingestion.reports import IngestOptions

    options = IngestOptions(today=SystemClock().now().date(), skip_bad_rows=skip_bad_rows, benchmark_id=benchmark_id)
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
    """Refuse before any work is done what could not be carried out at its end."""
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
        click.echo(f"Left alone: {', '.join(left_alone)}.", err=True)
    return ingest_directory(database, path, options=options, progress=progress)


@contextmanager
def ingest_progress() -> "Iterator[Progress]":
    """Give a progress bar on a terminal, plain lines otherwise; on standard error, so that output stays clean."""
    if not sys.stderr.isatty():
        yield _PlainProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<42}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        class RichProgress:
            """One bar that shows the step at work."""

            def step(self, file: str, step: str, done: int, total: int) -> None:
                """Show how far the step is."""
                bar.update(task, description=f"{file}: {step}", completed=done, total=total)

        yield RichProgress()


class _PlainProgress:
    """Says once when a step of a file begins."""

    def __init__(self) -> None:
        self._said: tuple[str, str] | None = None

    def step(self, file: str, step: str, done: int, total: int) -> None:
        """Print a line for a new step; how far it is would fill a log."""
        del done, total
        if self._said != (file, step):
            self._said = (file, step)
            click.echo(f"{file}: {step}", err=True)


def _print_reports(reports: "Sequence[FileReport]", seconds: float, findings_out: Path | None) -> None:
    numbers = ("read", "inserted", "revised", "unchanged", "skipped", "findings")
    rows = []
    for report in reports:
        counts = (report.rows_read, report.inserted, report.revised, report.unchanged, report.skipped)
        rows.append((report.file, report.status.value, *(f"{count:,}" for count in (*counts, len(report.findings)))))
    print_table(("file", "status", *numbers), rows, right=numbers)
    # not in the table, which a narrow terminal would cut
    for report in reports:
        if report.findings:
            codes = (f"{code} {count:,}" for code, count in report.findings.counts_by_code().items())
            click.echo(f"{report.file}: {', '.join(codes)}")
    _print_findings(reports, findings_out)
    status = Counter(report.status.value for report in reports)
    outcome = ", ".join(f"{count} {word.lower().replace('_', ' ')}" for word, count in sorted(status.items()))
    click.echo(f"{len(reports)} {'file' if len(reports) == 1 else 'files'}: {outcome}, in {seconds:.1f} s.")


def _print_findings(reports: "Sequence[FileReport]", findings_out: Path | None) -> None:
    total = sum(len(report.findings) for report in reports)
    left = _PRINTED
    for report in reports:
        for finding in report.findings.leading(left):
            place = finding.file if finding.line is None else f"{finding.file}:{finding.line}"
            about = "" if finding.column is None else f" {finding.column}"
            value = "" if finding.value is None else f" '{finding.value}'"
            word = "" if finding.fatal else " (remark)"
            click.echo(f"{place}{about}{value}: {finding.reason} {finding.code}{word}")
        left -= min(left, len(report.findings))
    if total > _PRINTED:
        where = f"all are in {findings_out}" if findings_out else "--findings-out FILE writes all"
        click.echo(f"... and {total - _PRINTED:,} more findings; {where}.")
