"""The file of a backup: a zip with the dump as pg_dump writes it, and a manifest of the tables it must restore.

The manifest is written last. A file that was cut off has none, and is refused.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from prometheus.foundation.errors import FileRefusedError, RequestError

#: Raised when older versions can no longer read the file.
FORMAT: Final = 1
_DUMP: Final = "database.dump"
_MANIFEST: Final = "manifest.json"
_CHUNK: Final = 1 << 20
#: A manifest is some kilobytes; a file that claims more is not a backup of ours.
_LONGEST_MANIFEST: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class TableDigest:
    """Digest of a table: its number of rows, and the sum of the hashes of their texts, independent of order."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Content of a backup.

    Attributes:
        made_at: When, ISO 8601 in UTC.
        product: Version of the package that made it.
        server: Version of the PostgreSQL server.
        schema: Newest migration of the database.
        tables: What each table held, by name.
        sequences: Last value of each sequence, by name; None where it gave none yet.
        dump_sha256: Digest of the dump.
        format: Version of this file's format.
    """

    made_at: str
    product: str
    server: str
    schema: str
    tables: Mapping[str, TableDigest]
    sequences: Mapping[str, int | None]
    dump_sha256: str = ""
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """Return the number of rows in all tables."""
        return sum(table.rows for table in self.tables.values())


@contextmanager
def new_backup(path: Path) -> Iterator["NewBackup"]:
    """Give a backup under a temporary name; it gets its own name when the block ends, complete and on the disk.

    Raises:
        RequestError: There is such a file already, or it cannot be written there.
    """
    if path.exists():
        raise RequestError(
            f"{path} exists, and a backup is never overwritten. Choose another name.", code="FILE_EXISTS"
        )
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w+b") as file:  # noqa: PTH123 -- an open file
            with zipfile.ZipFile(file, "w") as archive:
                yield NewBackup(archive, file, aside)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fsync(directory)
        os.close(directory)
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror or error}.", code="UNWRITABLE_FILE") from error
    finally:
        aside.unlink(missing_ok=True)


class NewBackup:
    """A backup that is being written."""

    def __init__(self, archive: zipfile.ZipFile, file: IO[bytes], aside: Path) -> None:
        self._archive = archive
        self._file = file
        self._aside = aside
        self._digest = ""

    def write_dump(self, source: IO[bytes]) -> int:
        """Copy the dump from a stream; return its bytes."""
        digest, size = hashlib.sha256(), 0
        with self._archive.open(_DUMP, "w", force_zip64=True) as target:
            while part := source.read(_CHUNK):
                target.write(part)
                digest.update(part)
                size += len(part)
        self._digest = digest.hexdigest()
        return size

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, which makes the file complete."""
        complete = {**asdict(manifest), "dump_sha256": self._digest}
        self._archive.writestr(_MANIFEST, json.dumps(complete, indent=1))
        self._archive.close()
        self._file.flush()

    def read_back(self) -> "Backup":
        """Return the backup as read from the disk again, checked."""
        return read_backup(self._aside)


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup whose digest has been checked."""

    path: Path
    manifest: Manifest

    def copy_dump(self, target: IO[bytes]) -> None:
        """Write the dump into a stream."""
        with zipfile.ZipFile(self.path) as archive, archive.open(_DUMP) as source:
            while part := source.read(_CHUNK):
                target.write(part)


def read_backup(path: Path) -> Backup:
    """Read a backup's manifest and check its dump against it.

    Raises:
        FileRefusedError: It cannot be read (UNREADABLE_FILE), is no backup (NOT_A_BACKUP), is incomplete or damaged
            (BACKUP_DAMAGED), or has a newer format (BACKUP_TOO_NEW).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(_MANIFEST).file_size > _LONGEST_MANIFEST:
                raise _no_backup(path)
            document = json.loads(archive.read(_MANIFEST))
            manifest = _manifest(path, document)
            digest = hashlib.sha256()
            with archive.open(_DUMP) as dump:
                while part := dump.read(_CHUNK):
                    digest.update(part)
    except OSError as error:
        raise FileRefusedError(f"{path} cannot be read: {error.strerror or error}.", code="UNREADABLE_FILE") from error
    except KeyError as error:
        raise _no_backup(path) from error
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise FileRefusedError(
            f"{path} is incomplete, damaged or no backup ({error}). Copy it again, or take another one.",
            code="BACKUP_DAMAGED",
        ) from error
    if digest.hexdigest() != manifest.dump_sha256:
        raise FileRefusedError(
            f"{path} is damaged: its dump is not the one that was written. Copy it again, or take another one.",
            code="BACKUP_DAMAGED",
        )
    return Backup(path, manifest)


def _manifest(path: Path, document: Any) -> Manifest:
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise _no_backup(path)
    if document["format"] > FORMAT:
        raise FileRefusedError(
            f"{path} was made by a newer version ({document.get('product')}); install that one to restore it.",
            code="BACKUP_TOO_NEW",
        )
    try:
        tables = {name: TableDigest(**table) for name, table in document["tables"].items()}
        return Manifest(**{**document, "tables": tables})
    except (TypeError, AttributeError) as error:
        raise _no_backup(path) from error


def _no_backup(path: Path) -> FileRefusedError:
    return FileRefusedError(f"{path} is no backup made by 'prometheus backup'.", code="NOT_A_BACKUP")
