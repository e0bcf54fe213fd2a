"""Load files: read, check, then load each file completely or not at all in one transaction."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from prometheus.bookkeeping.bulk_session import BulkSession, bulk_session
from prometheus.db.bulk_load import FileIdentity, LoadCounts
from prometheus.db.database import Database
from prometheus.foundation.errors import FileRefusedError, RequestError
from prometheus.ingestion import account_rules, action_rules, adjusted_close, row_rules, staging
from prometheus.ingestion.columns import FieldType, check_column
from prometheus.ingestion.consequences import taken_along
from prometheus.ingestion.executions import load_executions
from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.formats import FORMATS, FileFormat
from prometheus.ingestion.json_lines import read_json_lines
from prometheus.ingestion.kinds import DEPENDS_ON, FLEET_KINDS, SUFFIXES, FileKind, list_directory, suffix_of
from prometheus.ingestion.parquet import read_parquet
from prometheus.ingestion.reading import LINE, TextTable, decompress, read_bytes, read_csv, refusal
from prometheus.ingestion.reports import FileReport, FileStatus, IngestOptions, NoProgress, Progress
from prometheus.ingestion.transactions import load_transactions

NO_PROGRESS: Final = NoProgress()
_TICKER_KINDS: Final = frozenset(FileKind) - {FileKind.SECURITIES, FileKind.ACCOUNTS}


def ingest_directory(
    database: Database, directory: Path, *, options: IngestOptions, progress: Progress = NO_PROGRESS
) -> tuple[FileReport, ...]:
    """Load the files of a directory that are recognised by name, each in its own transaction, in dependency order.

    A file whose rows refer to a file that was refused is not attempted.

    Args:
        database: Where to.
        directory: Holds files named securities, corporate_actions, prices, benchmark, borrow, accounts, lots, ... with
            one of ``kinds.SUFFIXES``; others are left alone.
        options: How.
        progress: Listens.

    Returns:
        One report for each recognised file, in load order.

    Raises:
        RequestError: Nothing to load, several files of one kind, or a fleet for a demo database; nothing was loaded.
    """
    files = list_directory(directory).files
    _refuse_fleet_in_demo(database, files, options)
    reports: dict[FileKind, FileReport] = {}
    for kind, path in files.items():
        missing = [other for other in DEPENDS_ON[kind] if other in reports and not reports[other].loaded]
        if missing:
            findings = FindingCollector(path.name)
            findings.add("NOT_ATTEMPTED", f"Its rows refer to {' and '.join(missing)}, which did not load.")
            reports[kind] = FileReport(path.name, kind, FileStatus.NOT_ATTEMPTED, findings.table())
        else:
            reports[kind] = ingest_file(database, path, kind, options=options, progress=progress, beside=files)
    return tuple(reports.values())


def ingest_file(
    database: Database,
    path: Path,
    kind: FileKind,
    *,
    options: IngestOptions,
    progress: Progress = NO_PROGRESS,
    beside: Mapping[FileKind, Path] | None = None,
) -> FileReport:
    """Load one file, completely or not at all.

    Args:
        database: Where to.
        path: The file; its name ends with one of ``kinds.SUFFIXES``.
        kind: What it holds.
        options: How.
        progress: Listens.
        beside: Files that are loaded together with it; what bad rows would take along is counted in them.

    Returns:
        What became of it. Bad rows and unreadable files are findings in it, not exceptions.

    Raises:
        RequestError: Another ending, or a fleet for a demo database.
        DatabaseUnavailableError: The database went away; nothing of the file is loaded.
    """
    if suffix_of(path) is None:
        raise RequestError(f"'{path}' must end with one of {', '.join(SUFFIXES)}.")
    _refuse_fleet_in_demo(database, {kind: path}, options)
    if kind is FileKind.TRANSACTIONS:
        return load_transactions(database, path, options=options, progress=progress)
    findings = FindingCollector(path.name)
    try:
        progress.step(path.name, "reading", 0, 1)
        raw = read_bytes(path)
        table = _read(path, raw, FORMATS[kind], findings)
        progress.step(path.name, "reading", 1, 1)
    except FileRefusedError as error:
        findings.add(error.code, error.message, line=error.line, value=error.value)
        return FileReport(path.name, kind, FileStatus.REFUSED, findings.table())
    sha256 = hashlib.sha256(raw).digest()
    if kind is FileKind.EXECUTIONS:
        return load_executions(
            database, path.name, sha256, table, options=options, progress=progress, findings=findings
        )
    return _Load(path.name, kind, sha256, table, options, progress, findings, beside or {}).run(database)


class _Load:
    """The checks and the transaction of one file that could be read."""

    def __init__(
        self,
        name: str,
        kind: FileKind,
        sha256: bytes,
        table: TextTable,
        options: IngestOptions,
        progress: Progress,
        findings: FindingCollector,
        beside: Mapping[FileKind, Path],
    ) -> None:
        self._name = name
        self._kind = kind
        self._format = FORMATS[kind]
        self._sha256 = sha256
        self._rows_read = table.rows_read
        self._frame = table.frame
        self._delivered = tuple(name for name in table.frame.columns if name in self._format.columns)
        self._options = options
        self._progress = progress
        self._findings = findings
        self._beside = beside

    def run(self, database: Database) -> FileReport:
        """Check and load."""
        frame = self._check_columns()
        with bulk_session(database) as session:
            frame = self._check_rows(frame, session)
            self._remark_consequences(session)
            if self._kind is FileKind.LOTS:
                return self._load_lots(frame, session)
            if self._is_refused():
                return self._refused()
            good = self._good(frame)
            columns = staging.staged_columns(self._kind, self._delivered)
            target = staging.merge_target(self._kind, self._delivered)
            chunks = staging.staged_chunks(good, self._kind, self._delivered)
            counts = session.merge(target, columns, chunks, self._identity(good.height), self._copied(good.height))
            if self._kind is FileKind.ACTIONS and (counts.inserted or counts.revised):
                self._remark_late_actions(session)
            self._step("merging", 1, 1)
        return self._report(counts, good.height)

    def _check_columns(self) -> pl.DataFrame:
        frame = self._frame
        if self._kind is FileKind.SECURITIES:
            frame = row_rules.fill_descriptions(frame, self._findings)
        if self._kind is FileKind.BENCHMARK:
            self._remark_benchmark_id(frame)
        for number, name in enumerate(self._delivered):
            self._step("checking", number, len(self._delivered) + 1)
            frame = check_column(frame, self._format.columns[name], self._options.today, self._findings)
        return staging.fill_defaults(frame, self._kind, self._options.benchmark_id)

    def _remark_benchmark_id(self, frame: pl.DataFrame) -> None:
        given = "benchmark_id" in frame.columns
        unnamed = frame["benchmark_id"].null_count() if given else frame.height
        if unnamed:
            rows = "The file names no benchmark" if unnamed == frame.height else f"{unnamed:,} rows name no benchmark"
            self._findings.add(
                "BENCHMARK_ID_TAKEN",
                f"{rows}; its constituents are loaded as those of {self._options.benchmark_id}. Accounts find them "
                "under that benchmark_id only; --benchmark-id gives another.",
                column="benchmark_id",
                value=self._options.benchmark_id,
                fatal=False,
            )

    def _remark_consequences(self, session: BulkSession) -> None:
        """Report which rows --skip-bad-rows would lose besides the bad ones."""
        bad = self._findings.bad_lines()
        if bad.is_empty():
            return
        known: list[str] = []
        if self._kind is FileKind.SECURITIES:
            known = [ticker for ticker, _ in session.security_ids()]
        elif self._kind is FileKind.ACCOUNTS:
            names = self._frame["account_id"].drop_nulls().unique().to_list()
            known = list(session.account_regions(names))
        said = taken_along(self._kind, self._frame, bad, known, self._read_beside)
        if said is not None:
            self._findings.add("TAKES_ALONG", said, fatal=False)

    def _read_beside(self, kind: FileKind, columns: tuple[str, ...]) -> pl.DataFrame | None:
        if kind not in self._beside or kind not in FORMATS:
            return None
        path = self._beside[kind]
        try:
            # What is wrong with that file is said when it is its turn.
            frame = _read(path, read_bytes(path), FORMATS[kind], FindingCollector(path.name)).frame
        except FileRefusedError:
            return None
        return frame.select(columns)

    def _check_rows(self, frame: pl.DataFrame, session: BulkSession) -> pl.DataFrame:
        findings = self._findings
        if self._kind in _TICKER_KINDS:
            frame = row_rules.resolve_tickers(frame, session.security_ids(), findings)
        frame = row_rules.check_duplicates(frame, self._format, findings)
        match self._kind:
            case FileKind.PRICES:
                row_rules.check_sessions(frame, findings, fatal=True)
                self._check_total_returns(self._good(frame), session)
            case FileKind.ACTIONS:
                row_rules.check_sessions(frame, findings, fatal=False)
                action_rules.check_actions(frame, [ticker for ticker, _ in session.security_ids()], findings)
            case FileKind.BORROW:
                row_rules.check_sessions(frame, findings, fatal=False)
            case FileKind.BENCHMARK:
                row_rules.check_weight_sums(self._good(frame), findings)
            case FileKind.ACCOUNTS:
                names = frame["account_id"].drop_nulls().unique().to_list()
                known = session.lock_accounts(names)
                account_rules.check_accounts(frame, known, session.strategy_ids(), session.benchmark_ids(), findings)
                if "household" in frame.columns:
                    members = session.other_members(frame["household"].drop_nulls().unique().to_list(), names)
                    account_rules.check_households(frame, members, findings)
            case FileKind.LOTS:
                known = session.lock_accounts(frame["account_id"].drop_nulls().unique().to_list())
                account_rules.check_lots(frame, known, findings)
            case FileKind.SECURITIES:
                pass
        self._step("checking", 1, 1)
        return frame

    def _check_total_returns(self, frame: pl.DataFrame, session: BulkSession) -> None:
        days = frame["date"].drop_nulls()
        if days.is_empty():
            return
        # The stubs do not have the column's type: its least and greatest value are dates.
        actions = session.stored_actions(days.min(), days.max())  # type: ignore[arg-type]
        adjusted_close.check_total_returns(frame, actions, self._findings)

    def _remark_late_actions(self, session: BulkSession) -> None:
        late = session.late_actions()
        if late:
            account_id, action = next(iter(late.items()))
            self._findings.add(
                "BOOKS_HAVE_PASSED",
                f"The books of {len(late)} account(s) have passed the day of actions that are new or corrected, first "
                f"{account_id}: {action}. 'prometheus ledger refold --dry-run' says what they change.",
                fatal=False,
            )

    def _load_lots(self, frame: pl.DataFrame, session: BulkSession) -> FileReport:
        """Lots are compared with those of before by the database; what it objects to are findings as well."""
        good = self._good(frame)
        staged = session.stage_lots(staging.staged_chunks(good, self._kind, self._delivered), self._copied(good.height))
        lines = []
        for line, before in session.differing_opening_lots():
            lines.append(line)
            self._findings.add(
                "OPENING_LOT_DIFFERS",
                f"This opening lot was handed over otherwise ({before}); no file rewrites what was handed over.",
                line=line,
                column="lot_id",
            )
        for line, books in session.lots_after_opening():
            lines.append(line)
            self._findings.add(
                "LOT_AFTER_OPENING",
                f"The account has books through {books}; a new opening lot cannot be added any more.",
                line=line,
                column="lot_id",
            )
        if self._is_refused():
            return self._refused()
        session.discard_staged_lots(lines)
        loaded = staged - len(lines)
        counts = session.load_staged_lots(self._identity(loaded), loaded)
        self._step("merging", 1, 1)
        return self._report(counts, loaded)

    def _good(self, frame: pl.DataFrame) -> pl.DataFrame:
        bad = self._findings.bad_lines()
        if bad.is_empty():
            return frame
        return frame.join(bad.to_frame(LINE), on=LINE, how="anti", maintain_order="left")

    def _is_refused(self) -> bool:
        return not self._options.skip_bad_rows and self._findings.table().fatal_count > 0

    def _identity(self, loaded: int) -> FileIdentity:
        return FileIdentity(self._name, self._sha256, self._rows_read, self._rows_read - loaded)

    def _refused(self) -> FileReport:
        return FileReport(self._name, self._kind, FileStatus.REFUSED, self._findings.table(), self._rows_read)

    def _report(self, counts: LoadCounts, loaded: int) -> FileReport:
        return FileReport(
            file=self._name,
            kind=self._kind,
            status=FileStatus.LOADED,
            findings=self._findings.table(),
            rows_read=self._rows_read,
            inserted=counts.inserted,
            revised=counts.revised,
            unchanged=counts.unchanged,
            skipped=self._rows_read - loaded,
        )

    def _step(self, step: str, done: int, total: int) -> None:
        self._progress.step(self._name, step, done, total)

    def _copied(self, total: int) -> "_Copied":
        return _Copied(self._progress, self._name, total)


class _Copied:
    """Tells the listener how many rows have been sent."""

    def __init__(self, progress: Progress, name: str, total: int) -> None:
        self._progress, self._name, self._total = progress, name, total

    def __call__(self, sent: int) -> None:
        self._progress.step(self._name, "copying", sent, self._total)


def _read(path: Path, raw: bytes, file_format: FileFormat, findings: FindingCollector) -> TextTable:
    suffix = suffix_of(path)
    if suffix == ".parquet":
        table = read_parquet(raw, file_format.columns, findings)
    else:
        content = decompress(raw) if suffix is not None and suffix.endswith(".gz") else raw
        table = (read_csv if suffix in {".csv", ".csv.gz"} else read_json_lines)(content, findings)
    columns = [name for name in table.frame.columns if name != LINE]
    _check_header(columns, file_format, findings)
    ignored = {name for name, column in file_format.columns.items() if column.field_type is FieldType.IGNORED}
    kept = [name for name in columns if name in file_format.columns and name not in ignored]
    return TextTable(table.frame.select(LINE, *kept), table.rows_read)


def _check_header(columns: list[str], file_format: FileFormat, findings: FindingCollector) -> None:
    missing = [name for name in file_format.required if name not in columns]
    if missing:
        others = [
            other.kind
            for other in FORMATS.values()
            if other.kind is not file_format.kind and set(other.required) <= set(columns)
        ]
        if others:
            raise refusal(
                "WRONG_KIND",
                f"A file of kind {file_format.kind} needs the columns {', '.join(missing)}; these columns are those of "
                f"kind {' or '.join(others)}. Load it with --kind {others[0]}.",
                line=1,
            )
        unknown = [name for name in columns if name not in file_format.columns]
        misnamed = f" None of its columns: {', '.join(unknown)}." if unknown else ""
        raise refusal(
            "MISSING_COLUMN",
            f"Missing from the columns: {', '.join(missing)}; a file of kind {file_format.kind} has "
            f"{', '.join(file_format.required)}.{misnamed}",
            line=1,
            value=", ".join(columns),
        )
    extra = [name for name in columns if name not in file_format.columns]
    if extra:
        findings.add(
            "EXTRA_COLUMNS",
            f"The columns {', '.join(extra)} are not used.",
            line=1,
            value=", ".join(extra),
            fatal=False,
        )


def _refuse_fleet_in_demo(database: Database, files: Mapping[FileKind, Path], options: IngestOptions) -> None:
    fleet = [path.name for kind, path in files.items() if kind in FLEET_KINDS]
    if not fleet or options.allow_demo:
        return
    with bulk_session(database) as session:
        if session.purpose():
            raise RequestError(
                f"This database holds a simulated fleet; {' and '.join(fleet)} would mix a real fleet into it. Set "
                "another PROMETHEUS_HOME (or PROMETHEUS_DATABASE_URL) and try again."
            )
