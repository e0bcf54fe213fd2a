"""Proof that nobody altered the record: chains walked, matrices recomputed, archives and anchors held beside them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, Final

from prometheus.audit.archive import digest_of_runs
from prometheus.db.blobs import get_array
from prometheus.db.database import Connection, Database
from prometheus.db.repositories import audit_trail
from prometheus.db.repositories.audit_trail import Anchor, ChainLink
from prometheus.db.run_digests import altered_part, run_digests, run_hash
from prometheus.domain.run_record import StoredRun
from prometheus.foundation.errors import DatabaseError, UnknownAccountError
from prometheus.foundation.ids import run_label
from prometheus.orchestration.anchors import anchor_digest, current_heads

_ADDRESS: Final = "_sha256"


class FindingKind(StrEnum):
    """What is wrong with a record."""

    ALTERED = "ALTERED"
    MISSING = "MISSING"
    REORDERED = "REORDERED"
    BLOB = "BLOB"
    ARCHIVE = "ARCHIVE"
    ANCHOR = "ANCHOR"


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One broken record. ``account_id`` and ``run_seq`` are None where none can be named."""

    kind: FindingKind
    account_id: str | None
    run_seq: int | None
    message: str

    @property
    def where(self) -> str:
        """Return account and run as people write them."""
        if self.account_id is None:
            return "the database"
        return self.account_id if self.run_seq is None else f"{self.account_id} {run_label(self.run_seq)}"


@dataclass(slots=True)
class AuditReport:
    """What was looked at, and every finding: of each chain the first, of matrices, archives and anchors all.

    ``codes`` counts runs by the code that decided them.
    """

    accounts: int = 0
    runs: int = 0
    archived: int = 0
    blobs: int = 0
    anchors: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    findings: list[AuditFinding] = field(default_factory=list)


def verify_audit(
    database: Database,
    *,
    account_id: str | None = None,
    published: Sequence[tuple[date, str]] = (),
    on_run: Callable[[], None] = lambda: None,
) -> AuditReport:
    """Check every record, or one account's.

    Args:
        database: Where the records are; only read.
        account_id: Only this account's chain.
        published: Days and digests (hexadecimal) of anchors kept outside the database.
        on_run: Called after each run, for progress display.

    Raises:
        UnknownAccountError: No such account.
    """
    report = AuditReport()
    with database.transaction() as connection:
        lengths = audit_trail.chain_lengths(connection)
        if account_id is not None:
            if account_id not in lengths:
                raise UnknownAccountError(f"There is no account {account_id}. See 'prometheus runs list'.")
            lengths = {account_id: lengths[account_id]}
        users: dict[bytes, tuple[str, int]] = {}
        for account, length in lengths.items():
            report.accounts += 1
            finding = _walk(connection, account, length, report, users, on_run)
            if finding is not None:
                report.findings.append(finding)
        _check_blobs(connection, report, users, every=account_id is None)
        if account_id is None:
            report.findings.extend(_archive_findings(connection))
        stored = audit_trail.anchors(connection)
        for anchor in stored:
            report.anchors += 1
            report.findings.extend(_anchor_findings(connection, anchor, account_id))
        for as_of, digest in published:
            report.anchors += 1
            report.findings.extend(_published_findings(connection, as_of, digest.lower(), stored))
    return report


def _walk(
    connection: Connection,
    account: str,
    length: int,
    report: AuditReport,
    users: dict[bytes, tuple[str, int]],
    on_run: Callable[[], None],
) -> AuditFinding | None:
    """Return the first finding of a chain; the whole chain is read all the same, for the matrices it names."""
    first: AuditFinding | None = None
    previous: bytes | None = None
    expected = 1
    for rank, (link, following) in enumerate(_with_next(audit_trail.chain_of(connection, account)), start=1):
        record = link.record
        report.runs += 1
        report.archived += record.archive_id is not None
        report.codes[record.code_version] += 1
        for address in _addresses(record):
            users.setdefault(address, (account, record.run_seq))
        if first is None:
            first = _missing(link, expected, previous, account) or _broken(link, following, previous, rank)
        previous, expected = bytes(record.run_hash), record.run_seq + 1
        on_run()
    if first is not None:
        return first
    if expected <= length:
        return AuditFinding(
            FindingKind.MISSING,
            account,
            expected,
            f"is missing; the account counts {length} runs, the last ones are gone",
        )
    if expected - 1 > length:
        return AuditFinding(
            FindingKind.ALTERED,
            account,
            None,
            f"counts {length} runs, but {expected - 1} stand there: the count was altered",
        )
    day = audit_trail.persisted_without_record(connection, account)
    if day is not None:
        return AuditFinding(
            FindingKind.MISSING, account, None, f"has no record of {day}, which the engine persisted: a run is missing"
        )
    return None


def _missing(link: ChainLink, expected: int, previous: bytes | None, account: str) -> AuditFinding | None:
    number = link.record.run_seq
    if number == expected:
        return None
    if number < 1 or _matches(link, expected, previous):
        return _reordered(link, expected)
    return AuditFinding(FindingKind.MISSING, account, expected, "is missing")


def _broken(link: ChainLink, following: ChainLink | None, previous: bytes | None, rank: int) -> AuditFinding | None:
    """Return what is wrong with one run that stands where its number says, or None."""
    record = link.record
    account, number, stored = record.account_id, record.run_seq, bytes(record.run_hash)
    linked_to = None if record.prev_hash is None else bytes(record.prev_hash)

    def altered(message: str) -> AuditFinding:
        return AuditFinding(FindingKind.ALTERED, account, number, message)

    try:
        part = altered_part(record.digests, record, link.trades, archived=record.archive_id is not None)
        if part is not None:
            now = run_digests(record, link.trades, digest_format=int(str(record.digests["format"])))
            if run_hash(now, run_seq=number, previous_hash=previous) == stored:
                return altered("the stored digests were altered; the contents are those of the hash")
            return altered(part)
    except (DatabaseError, KeyError, TypeError, ValueError) as error:
        return altered(f"the stored digests cannot be read ({error})")
    if run_hash(record.digests, run_seq=number, previous_hash=linked_to) == stored:
        if linked_to == previous:
            return None
        return AuditFinding(
            FindingKind.MISSING,
            account,
            number,
            "does not follow the run before it: one between them is missing or another",
        )
    true_hash = run_hash(record.digests, run_seq=number, previous_hash=previous)
    if true_hash == stored:
        return altered("prev_hash was altered")
    # Another number that the hash fits tells where the run stood.
    for other in range(1, number + rank + 2):
        if run_hash(record.digests, run_seq=other, previous_hash=linked_to) == stored:
            return _reordered(link, other)
    if following is not None and bytes(following.record.prev_hash or b"") == true_hash:
        return altered("run_hash was altered; the next run still carries the true one")
    return altered("run_hash does not fit its digests: the one or the others were altered")


def _matches(link: ChainLink, number: int, previous: bytes | None) -> bool:
    return run_hash(link.record.digests, run_seq=number, previous_hash=previous) == bytes(link.record.run_hash)


def _reordered(link: ChainLink, recorded_as: int) -> AuditFinding:
    record = link.record
    return AuditFinding(
        FindingKind.REORDERED,
        record.account_id,
        record.run_seq,
        f"was recorded as {run_label(recorded_as)}, on {record.as_of_date}",
    )


def _with_next(links: Iterator[ChainLink]) -> Iterator[tuple[ChainLink, ChainLink | None]]:
    current = next(links, None)
    while current is not None:
        following = next(links, None)
        yield current, following
        current = following


def _addresses(record: StoredRun) -> Iterator[bytes]:
    """Yield the content addresses that a run's columns and snapshot name."""
    yield record.loadings_sha256
    yield record.specific_variance_sha256
    yield from _addresses_within(record.snapshot)


def _addresses_within(value: Any) -> Iterator[bytes]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name.endswith(_ADDRESS) and isinstance(item, str) and len(item) == 64:
                yield bytes.fromhex(item)
            elif isinstance(item, Mapping):
                yield from _addresses_within(item)


def _check_blobs(
    connection: Connection, report: AuditReport, users: Mapping[bytes, tuple[str, int]], *, every: bool
) -> None:
    stored = set(audit_trail.blob_addresses(connection)) if every else set()
    for address in sorted({*users, *stored}):
        report.blobs += 1
        try:
            get_array(connection, address)
        except DatabaseError as error:
            account, number = users.get(address, (None, None))
            report.findings.append(AuditFinding(FindingKind.BLOB, account, number, error.message))


def _archive_findings(connection: Connection) -> Iterator[AuditFinding]:
    for archive in audit_trail.archives(connection):
        runs = audit_trail.runs_of_archive(connection, archive.archive_id)
        if bytes.fromhex(digest_of_runs(runs)) != archive.runs_sha256:
            yield AuditFinding(
                FindingKind.ARCHIVE,
                None,
                None,
                f"archive {archive.archive_id} of {archive.runs} runs does not fit the {len(runs)} runs that name it",
            )


def _anchor_findings(connection: Connection, anchor: Anchor, account_id: str | None) -> Iterator[AuditFinding]:
    if anchor_digest(anchor.as_of, anchor.heads) != anchor.digest.hex():
        yield AuditFinding(FindingKind.ANCHOR, None, None, f"the anchor of {anchor.as_of} was altered")
        return
    for account, (number, digest) in anchor.heads.items():
        if account_id is not None and account != account_id:
            continue
        stored = audit_trail.hash_of_run(connection, account, number)
        if stored is None:
            yield AuditFinding(
                FindingKind.ANCHOR,
                account,
                number,
                f"is missing; the anchor of {anchor.as_of} knows it as the last run",
            )
        elif stored.hex() != digest:
            yield AuditFinding(
                FindingKind.ANCHOR, account, number, f"has another hash than the anchor of {anchor.as_of} knows"
            )


def _published_findings(
    connection: Connection, as_of: date, digest: str, stored: Sequence[Anchor]
) -> Iterator[AuditFinding]:
    # A stored anchor of that digest has been held beside the runs already, account by account.
    if any(anchor.as_of == as_of and anchor.digest.hex() == digest for anchor in stored):
        return
    now = anchor_digest(as_of, current_heads(connection, as_of))
    if now != digest:
        yield AuditFinding(
            FindingKind.ANCHOR,
            None,
            None,
            f"the chains through {as_of} have the digest {now}, the published one is {digest}",
        )
