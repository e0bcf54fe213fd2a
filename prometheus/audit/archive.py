"""Retention: old runs leave the database for a file, by an explicit and recorded act that leaves their hashes."""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from prometheus.audit.recorded_run import RunKey
from prometheus.audit.run_file import write_runs
from prometheus.db.database import Database
from prometheus.db.repositories.audit_trail import add_archive, hash_of_run
from prometheus.db.repositories.runs import runs_between
from prometheus.foundation.canonical import sha256_of
from prometheus.foundation.errors import RequestError

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Archived:
    """What an archiving did: its number, how many runs, and the SHA-256 of the file (hexadecimal)."""

    archive_id: int
    runs: int
    file_sha256: str


def archivable(database: Database, before: date) -> tuple[RunKey, ...]:
    """Return the runs before a day that may leave, by account and number.

    Of each account the newest run before the day stays, and its newest run of all: where no answer can be certified the
    next run keeps their targets.
    """
    with database.transaction() as connection:
        keys = [RunKey(*row) for row in runs_between(connection)]
    older = [key for key in keys if key.as_of < before]
    newest = {key.account_id: key.run_seq for key in older}
    return tuple(key for key in older if key.run_seq != newest[key.account_id])


def archive_runs(
    database: Database, *, before: date, path: Path, reason: str, on_run: Callable[[], None] = lambda: None
) -> Archived:
    """Write the runs before a day into a file, then take their documents and trades out of the database.

    Columns, digests and hashes stay, so the chains can still be walked; the act itself is a row of ``archives``. The
    file is complete on the disk before anything is taken out.

    Args:
        database: Opened as the owner of the tables: the engine's own role may not do this.
        before: Only runs of earlier days.
        path: New file, packed where it ends with ``.gz``.
        reason: Why; recorded.
        on_run: Called after each run, for progress display.

    Raises:
        RequestError: There is nothing to archive, the file exists, or no reason is given; nothing was changed.
    """
    if not reason.strip():
        raise RequestError("An archive needs a reason: whoever misses the runs will read it.")
    if path.exists():
        raise RequestError(f"'{path}' exists; an archive is a file of its own.")
    keys = archivable(database, before)
    if not keys:
        raise RequestError(f"There is no run before {before} that could leave.", code="NO_RUNS")
    building = path.with_name(f"{path.stem}.building{path.suffix}")
    try:
        write_runs(database, keys, building, on_run)
        digest = _durable(building)
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)
    with database.transaction() as connection:
        runs = [(key.account_id, key.run_seq, hash_of_run(connection, key.account_id, key.run_seq)) for key in keys]
        archive_id = add_archive(
            connection,
            before=before,
            reason=reason,
            file_name=path.name,
            file_sha256=bytes.fromhex(digest),
            runs_sha256=bytes.fromhex(
                digest_of_runs((account, number, hashed or b"") for account, number, hashed in runs)
            ),
            runs=[(key.account_id, key.run_seq) for key in keys],
        )
    return Archived(archive_id, len(keys), digest)


def digest_of_runs(runs: Iterable[tuple[str, int, bytes]]) -> str:
    """Return the digest of account, number and hash of runs in order, 64 hexadecimal digits."""
    return sha256_of([[account, number, digest.hex()] for account, number, digest in runs])


def _durable(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
        os.fsync(stream.fileno())
    return digest.hexdigest()
