"""Load a file of accounts' own transactions: read, check and book each account's entries, all or nothing of a file."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from prometheus.accounting.account_entries import check_account_entries
from prometheus.accounting.entry_file import read_entries
from prometheus.bookkeeping.bulk_session import BulkSession, bulk_session
from prometheus.db.bulk_load import FileIdentity, LoadCounts
from prometheus.db.database import Database
from prometheus.domain.entries import Entry, EntryFinding
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

KIND: Final = FileKind.TRANSACTIONS


def load_transactions(database: Database, path: Path, *, options: IngestOptions, progress: Progress) -> FileReport:
    """Load one file of accounts' own transactions, completely or not at all.

    Args:
        database: Where to.
        path: A file ending with ``.csv`` or ``.csv.gz``, with the columns of ``accounting.entry_file``.
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
        file = read_entries(_text(path, raw))
        progress.step(path.name, "reading", 1, 1)
    except FileRefusedError as error:
        findings.add(error.code, error.message, line=error.details.get("line"), value=error.details.get("value"))
        return FileReport(path.name, KIND, FileStatus.REFUSED, findings.table())
    sound, refused = check_account_entries(file.entries)
    _report(findings, (*file.findings, *refused))
    late = [entry for entry in sound if entry.day > options.today]
    for entry in late:
        reason = f"{entry.day} lies after {options.today}, in the future; correct it or load the file on that day."
        findings.add("DATE_IN_FUTURE", reason, line=entry.row, column="date", value=entry.day.isoformat())
    entries = [entry for entry in sound if entry not in late]
    counts = LoadCounts(0, 0, 0)
    try:
        with bulk_session(database) as session:
            known = _known_names(entries, session, findings)
            booked = unchanged = 0
            for account_id, of_account in sorted(_by_account(known).items()):
                result = session.book_account_entries(
                    account_id,
                    of_account,
                    _Booked(progress, path.name, booked + unchanged, len(known)),
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


def _known_names(entries: Sequence[Entry], session: BulkSession, findings: FindingCollector) -> list[Entry]:
    """Return the entries whose account and ticker exist."""
    tickers = {ticker for ticker, _ in session.security_ids()}
    accounts = {known.account_id for known in session.lock_accounts(sorted({entry.account for entry in entries}))}
    kept = []
    for entry in entries:
        if entry.account not in accounts:
            reason = "The account is not known; load it with the accounts file or correct it."
            findings.add("UNKNOWN_ACCOUNT", reason, line=entry.row, column="account", value=entry.account)
        elif entry.ticker and entry.ticker not in tickers:
            reason = "The ticker is not among the securities; load it with the securities file or correct it."
            findings.add("UNKNOWN_TICKER", reason, line=entry.row, column="ticker", value=entry.ticker)
        else:
            kept.append(entry)
    return kept


def _by_account(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry.account].append(entry)
    return found


def _report(findings: FindingCollector, found: Iterable[EntryFinding]) -> None:
    for finding in sorted(found, key=lambda finding: finding.row):
        findings.add(finding.code, f"{finding.message} {finding.remedy}".strip(), line=finding.row)


class _Booked:
    """Tells the listener how many entries are dealt with."""

    def __init__(self, progress: Progress, name: str, before: int, total: int) -> None:
        self._progress, self._name, self._done, self._total = progress, name, before, total

    def __call__(self, more: int) -> None:
        self._done += more
        self._progress.step(self._name, "booking", self._done, self._total)
