"""What the database weighs."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

_SIZES: Final = text("""
    SELECT pg_database_size(current_database()) AS total,
           pg_total_relation_size('runs') + pg_total_relation_size('run_trades') + pg_total_relation_size('blobs')
               AS record,
           (SELECT count(*) FROM runs) AS runs
""")


@dataclass(frozen=True, slots=True)
class DatabaseBytes:
    """Bytes of the whole database, of the record of runs (runs, trades, blobs), and how many runs there are."""

    total: int
    record: int
    runs: int


def database_bytes(connection: Connection) -> DatabaseBytes:
    """Return what the database weighs, indexes and free space included."""
    row = connection.execute(_SIZES).one()
    return DatabaseBytes(int(row.total), int(row.record), int(row.runs))
