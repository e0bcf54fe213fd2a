"""Load a file of accounts' own transactions: read, check and book each household's events, all or nothing of a file."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from prometheus.bookkeeping.account_entries import FileRow, book_file_events
from prometheus.bookkeeping.bulk_session import BulkSession, bulk_session
from prometheus.bookkeeping.entry_rules import place_refusal
from prometheus.db.bulk_load import FileIdentity, LoadCounts
from prometheus.db.database import Database
from prometheus.foundation.errors import FileRefusedError
from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.kinds import FileKind, suffix_of
from prometheus.ingestion.reading import decompress, read_bytes, refusal
from prometheus.ingestion.reports import (
    BadRowsError,
    FileReport,
    FileStatus,
    IngestOptions,
    Progress,
    require_good_rows,
)
from prometheus.ledger.files.event_file import EventFile
from prometheus.ledger.files.findings import RowFinding
from prometheus.ledger.files.own_format import LAYOUT
from prometheus.ledger.files.reader import read_events

KIND: Final = FileKind.TRANSACTIONS


def load_transactions(database: Database, path: Path, *, options: IngestOptions, progress: Progress) -> FileReport:
    """Load one file of accounts' own transactions, completely or not at all.

    Args:
        database: Where to.
        path: A file ending with ``.csv`` or ``.csv.gz``, in the ledger's own format, in a shipped layout or in one that
            ``options.mappings`` describe.
        options: With ``skip_bad_rows`` the rest is booked as if the bad rows were not there.
        progress: Listens.

    Returns:
        What became of it; bad rows are findings in it.

    Raises:
        DatabaseUnavailableError: The database went away; nothing of the file is booked.

    Source: docs/specs/ingestion.md, "An account's own transactions".
    """
    findings = FindingCollector(path.name)
    try:
        progress.step(path.name, "reading", 0, 1)
        raw = read_bytes(path)
        file = read_events(_text(path, raw), account=options.file_account, mappings=options.mappings)
        progress.step(path.name, "reading", 1, 1)
    except FileRefusedError as error:
        findings.add(error.code, error.message, line=error.line, value=error.value)
        return FileReport(path.name, KIND, FileStatus.REFUSED, findings.table())
    for remark in file.remarks:
        findings.add("LAYOUT", remark, fatal=False)
    _report(findings, file.findings)
    rows = _of_one_account(file, findings, options)
    counts = LoadCounts(0, 0, 0)
    try:
        with bulk_session(database) as session:
            known = _known_names(rows, session, findings)
            booked = unchanged = 0
            for household, of_household in sorted(_by_household(known, session).items()):
                result = book_file_events(
                    session.connection,
                    household,
                    of_household,
                    source_name=path.name,
                    on_rows=_Booked(progress, path.name, booked + unchanged, len(known)),
                )
                booked, unchanged = booked + result.booked, unchanged + result.unchanged
                _report(findings, result.findings)
            counts = LoadCounts(booked, 0, unchanged)
            require_good_rows(findings, options)
            skipped = file.rows - booked - unchanged
            session.record_file(KIND, FileIdentity(path.name, hashlib.sha256(raw).digest(), file.rows, skipped), counts)
    except BadRowsError:
        return FileReport(path.name, KIND, FileStatus.REFUSED, findings.table(), file.rows)
    return FileReport(
        file=path.name,
        kind=KIND,
        status=FileStatus.LOADED,
        findings=findings.table(),
        rows_read=file.rows,
        inserted=counts.inserted,
        unchanged=counts.unchanged,
        skipped=file.rows - counts.inserted - counts.unchanged,
    )


def _text(path: Path, raw: bytes) -> str:
    suffix = suffix_of(path)
    if suffix not in {".csv", ".csv.gz"}:
        raise refusal("UNREADABLE_FILE", "Transactions come as .csv or .csv.gz; write the file as one of them.")
    content = decompress(raw) if suffix == ".csv.gz" else raw
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise refusal("NOT_UTF8", "The file is no UTF-8 text; save it as UTF-8.", line=line) from error


def _of_one_account(file: EventFile, findings: FindingCollector, options: IngestOptions) -> list[FileRow]:
    """Return the rows that come from an account's file; brokers' rows have names made of what they say."""
    rows = []
    for event in file.events:
        row = file.row_of[event.key]
        refused = place_refusal(event)
        if refused is None and file.layout == LAYOUT and event.key in file.unnamed:
            refused = (
                "NO_ENTRY_ID",
                "The row has no entry_id, so that a correction could not name it.",
                "Fill in 'entry_id' with the broker's number of the transaction.",
            )
        if refused is not None:
            _report(findings, [RowFinding(row, *refused)])
        elif event.trade_date > options.today:
            day = event.trade_date
            reason = f"{day} lies after {options.today}, in the future; correct it or load the file on that day."
            findings.add("DATE_IN_FUTURE", reason, line=row, column="date", value=day.isoformat())
        else:
            rows.append(FileRow(row, event))
    return rows


def _known_names(rows: Sequence[FileRow], session: BulkSession, findings: FindingCollector) -> list[FileRow]:
    """Return the rows whose account and ticker exist."""
    tickers = {ticker for ticker, _ in session.security_ids()}
    accounts = {known.account_id for known in session.lock_accounts(sorted({one.event.account for one in rows}))}
    kept = []
    for one in rows:
        ticker = getattr(one.event, "ticker", "")
        if one.event.account not in accounts:
            reason = "The account is not known; load it with the accounts file or correct it."
            findings.add("UNKNOWN_ACCOUNT", reason, line=one.row, column="account", value=one.event.account)
        elif ticker and ticker not in tickers:
            reason = "The ticker is not among the securities; load it with the securities file or correct it."
            findings.add("UNKNOWN_TICKER", reason, line=one.row, column="ticker", value=ticker)
        else:
            kept.append(one)
    return kept


def _by_household(rows: Iterable[FileRow], session: BulkSession) -> Mapping[str, list[FileRow]]:
    rows = list(rows)
    households = session.households_of({one.event.account for one in rows})
    grouped: dict[str, list[FileRow]] = defaultdict(list)
    for one in rows:
        grouped[households[one.event.account]].append(one)
    return grouped


def _report(findings: FindingCollector, told: Iterable[RowFinding]) -> None:
    for finding in sorted(told, key=lambda finding: finding.row):
        reason = f"{finding.message} {finding.remedy}".strip()
        findings.add(finding.code, reason, line=finding.row, fatal=finding.refused)


class _Booked:
    """Tells the listener how many rows are dealt with."""

    def __init__(self, progress: Progress, name: str, before: int, total: int) -> None:
        self._progress, self._name, self._done, self._total = progress, name, before, total

    def __call__(self, more: int) -> None:
        self._done += more
        self._progress.step(self._name, "booking", self._done, self._total)
