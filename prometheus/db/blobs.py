"""Content-addressed matrices: equal content is stored once, and every read checks it against its address."""

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import lz4.block
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert as upsert

from prometheus.db.models import BlobRow
from prometheus.foundation.errors import DatabaseError

_ALLOWED = ("<f4", "<f8")
#: LZ4 expands a byte to at most this many.
_LZ4_RATIO = 255
#: The largest matrix expected: exposures of 20,000 assets to 3,000 factors.
_MOST_BYTES = 2**29


@dataclass(frozen=True, slots=True)
class Blob:
    """An array as it is stored: address (32 bytes), type, shape, and its little-endian bytes under LZ4."""

    address: bytes
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def put_array(connection: Connection, array: NDArray[Any]) -> bytes:
    """Store an array of float32 or float64 unless it is there already; return its address (32 bytes)."""
    blob = encoded(array)
    connection.execute(
        upsert(BlobRow)
        .values(sha256=blob.address, dtype=blob.dtype, shape=list(blob.shape), data=blob.data)
        .on_conflict_do_nothing()
    )
    return blob.address


def encoded(array: NDArray[Any]) -> Blob:
    """Return an array as it is stored."""
    dtype, raw = _raw(array)
    return Blob(_address(dtype, array.shape, raw), dtype, array.shape, lz4.block.compress(raw))


def blob_address(array: NDArray[Any]) -> bytes:
    """Return the address under which an array would be stored (32 bytes)."""
    dtype, raw = _raw(array)
    return _address(dtype, array.shape, raw)


def get_array(connection: Connection, address: bytes) -> NDArray[Any]:
    """Read an array, read-only, and check its content against its address.

    Raises:
        DatabaseError: There is no such blob (BLOB_MISSING), or its bytes were altered (BLOB_CORRUPT).
    """
    row = connection.execute(
        select(BlobRow.dtype, BlobRow.shape, BlobRow.data).where(BlobRow.sha256 == address)
    ).one_or_none()
    if row is None:
        raise DatabaseError(f"Blob {address.hex()} is missing.", code="BLOB_MISSING")
    return decoded(Blob(address, row.dtype, tuple(row.shape), bytes(row.data)))


def decoded(blob: Blob) -> NDArray[Any]:
    """Return the array of a stored blob, read-only, after checking its content against its address.

    Raises:
        DatabaseError: Its bytes were altered (BLOB_CORRUPT).
    """
    address, shape = blob.address, blob.shape
    # LZ4 writes the raw length in front. A wrong one could ask for gigabytes before anything is checked, so a length
    # that the data cannot have is refused.
    length = int.from_bytes(blob.data[:4], "little")
    if (
        blob.dtype not in _ALLOWED
        or length != _raw_bytes(blob.dtype, shape)
        or length > min(_MOST_BYTES, _LZ4_RATIO * len(blob.data))
    ):
        raise DatabaseError(f"Blob {address.hex()} does not hold what its shape says.", code="BLOB_CORRUPT")
    try:
        raw = lz4.block.decompress(blob.data)
    except lz4.block.LZ4BlockError as error:
        raise DatabaseError(f"Blob {address.hex()} cannot be decompressed: {error}.", code="BLOB_CORRUPT") from error
    if _address(blob.dtype, shape, raw) != address:
        raise DatabaseError(f"The content of blob {address.hex()} does not match its address.", code="BLOB_CORRUPT")
    array: NDArray[Any] = np.frombuffer(raw, dtype=blob.dtype).reshape(shape)
    return array


def _raw(array: NDArray[Any]) -> tuple[str, bytes]:
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    if little.dtype.str not in _ALLOWED:
        raise TypeError(f"blobs hold float32 or float64, not {array.dtype}")
    return little.dtype.str, little.tobytes()


def _raw_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize


def _address(dtype: str, shape: tuple[int, ...], raw: bytes) -> bytes:
    header = f"{dtype}:{','.join(str(size) for size in shape)}:".encode()
    return hashlib.sha256(header + raw).digest()
