"""Runs in a file: complete records with their matrices, readable and replayable without any database.

JSON lines, packed where the name ends with ``.gz``: a header, then matrices and runs, each matrix before the first run
that names it. Source: docs/specs/audit.md, "The run file".
"""

import base64
import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

from numpy.typing import NDArray

from prometheus.audit.recorded_run import RecordedRun, RunKey, load_recorded_run, recorded
from prometheus.audit.replay import Replayed, replay_run
from prometheus.audit.replay_range import unreadable
from prometheus.db.blobs import Blob, decoded, encoded
from prometheus.db.database import Database
from prometheus.db.run_digests import altered_part
from prometheus.domain.run_record import StoredRun, TradeRow
from prometheus.foundation.canonical import JsonObject, canonical_json
from prometheus.foundation.errors import DatabaseError, FileRefusedError, PrometheusError
from prometheus.foundation.files import lines_of
from prometheus.pipeline.shared_inputs import ArraySource, SharedInputs
from prometheus.pipeline.tasks import matrices

FORMAT: Final = "prometheus-runs"
VERSION: Final = 1
#: Written by the database, not part of what was decided.
_LEFT_OUT: Final = frozenset({"run_id", "recorded_at", "archive_id"})
_COLUMNS: Final = tuple(column.name for column in fields(StoredRun) if column.name not in _LEFT_OUT)
_HEXADECIMAL: Final = ("loadings_sha256", "specific_variance_sha256", "prev_hash", "run_hash")
_TRADE_NUMBERS: Final = (*("quantity", "price", "amount", "cost", "basis", "realized_gain", "disallowed_loss", "tax"),)


class FileArrays:
    """The matrices of a run file by content address."""

    def __init__(self) -> None:
        self._arrays: dict[bytes, NDArray[Any]] = {}

    def add(self, blob: Blob) -> None:
        """Take a matrix in, after checking it against its address."""
        self._arrays[blob.address] = decoded(blob)

    def array(self, address: bytes) -> NDArray[Any]:
        """Return a matrix, read-only.

        Raises:
            DatabaseError: The file has no such matrix (BLOB_MISSING).
        """
        array = self._arrays.get(address)
        if array is None:
            raise DatabaseError(f"Blob {address.hex()} is missing.", code="BLOB_MISSING")
        return array


class _Recording:
    """Passes matrices on and remembers which were asked for."""

    def __init__(self, arrays: ArraySource) -> None:
        self._arrays = arrays
        self.asked: list[bytes] = []

    def array(self, address: bytes) -> NDArray[Any]:
        self.asked.append(address)
        return self._arrays.array(address)


def write_runs(
    database: Database, keys: Iterable[RunKey], path: Path, on_run: Callable[[], None] = lambda: None
) -> None:
    """Write runs of the database into a file.

    Args:
        database: Where the records are.
        keys: Which runs; archived ones are not there to be written.
        path: Packed where it ends with ``.gz``; equal runs give equal bytes.
        on_run: Called after each run, for progress display.

    Raises:
        RequestError: There is no such run, or it was archived.
    """
    arrays = SharedInputs(database)
    written: set[bytes] = set()
    with _opened(path, "w") as stream:
        _line(stream, {"format": FORMAT, "version": VERSION})
        for key in keys:
            run = load_recorded_run(database, key.account_id, key.run_seq)
            recording = _Recording(arrays)
            matrices(recording, run.snapshot)
            for address in dict.fromkeys(recording.asked):
                if address not in written:
                    written.add(address)
                    _line(stream, _blob_line(encoded(arrays.array(address))))
            _line(stream, _run_line(run))
            on_run()


def read_runs(path: Path, arrays: FileArrays) -> Iterator[RecordedRun]:
    """Yield the runs of a file as they come, their matrices added to ``arrays`` before them.

    Raises:
        FileRefusedError: The file is none of ours, of a later version, or damaged; the message names the line.
    """
    with _opened(path, "r") as stream:
        number = 0
        try:
            for number, text in enumerate(lines_of(stream), start=1):
                line = json.loads(text)
                if number == 1:
                    _check_header(line, path)
                elif "blob" in line:
                    arrays.add(_blob(line["blob"]))
                else:
                    yield _run(line["run"])
        except (ValueError, KeyError, TypeError, EOFError, OSError, ArithmeticError, RecursionError) as error:
            raise FileRefusedError(f"{path}, line {number}: cannot be read as a run ({error}).") from error
    if number == 0:
        raise FileRefusedError(f"{path} is empty; a run file begins with its format.")


def replay_file(path: Path, *, solver: str | None = None) -> Iterator[Replayed]:
    """Replay every run of a file, each only if its contents still have the digests that were written with it.

    Raises:
        FileRefusedError: The file cannot be read.
    """
    arrays = FileArrays()
    for run in read_runs(path, arrays):
        try:
            altered = altered_part(run.record.digests, run.record, run.trades, archived=False)
        except PrometheusError as error:
            yield unreadable(run.key, error)
            continue
        if altered is not None:
            yield unreadable(run.key, DatabaseError(f"{altered}.", code="ALTERED"))
            continue
        yield replay_run(run, arrays, solver=solver)


def _run_line(run: RecordedRun) -> dict[str, Any]:
    columns = {name: getattr(run.record, name) for name in _COLUMNS}
    record = {name: value.hex() if isinstance(value, bytes) else value for name, value in columns.items()}
    trades = [asdict(trade) for trade in run.trades]
    return {"run": {**record, "trades": trades, "previous_targets": run.previous_targets}}


def _run(line: Mapping[str, Any]) -> RecordedRun:
    columns = {name: line[name] for name in _COLUMNS}
    for name in _HEXADECIMAL:
        columns[name] = None if columns[name] is None else bytes.fromhex(columns[name])
    columns["as_of_date"] = date.fromisoformat(columns["as_of_date"])
    trades = []
    for row in line["trades"]:
        trade = dict(row)
        for name in _TRADE_NUMBERS:
            trade[name] = None if trade[name] is None else Decimal(trade[name])
        trade["acquired_on"] = None if trade["acquired_on"] is None else date.fromisoformat(trade["acquired_on"])
        trades.append(TradeRow(**trade))
    return recorded(StoredRun(**columns), trades, line["previous_targets"])


def _blob_line(blob: Blob) -> JsonObject:
    data = base64.b64encode(blob.data).decode()
    return {"blob": {"sha256": blob.address.hex(), "dtype": blob.dtype, "shape": list(blob.shape), "data": data}}


def _blob(line: Mapping[str, Any]) -> Blob:
    return Blob(bytes.fromhex(line["sha256"]), line["dtype"], tuple(line["shape"]), base64.b64decode(line["data"]))


def _check_header(line: Any, path: Path) -> None:
    if not isinstance(line, dict) or line.get("format") != FORMAT:
        raise FileRefusedError(f"{path} is no run file; 'prometheus audit export' writes one.")
    if line.get("version") != VERSION:
        raise FileRefusedError(
            f"{path} has version {line.get('version')} of the run file, which is not known here; install a newer "
            "version of the engine."
        )


def _line(stream: IO[str], value: Mapping[str, Any]) -> None:
    stream.write(canonical_json(value) + "\n")


@contextmanager
def _opened(path: Path, how: str) -> Iterator[IO[str]]:
    if path.suffix != ".gz":
        with path.open(how, encoding="utf-8", newline="\n") as plain:
            yield plain
        return
    # The time of writing in the header would make equal content differ.
    with (
        path.open(f"{how}b") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode=f"{how}b", mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
    ):
        yield text
