"""Bulk loading: COPY into a temporary table, then one comparison with what is stored.

What differs from the stored row becomes an update with an entry in data_revisions (old and new value), what is new is
inserted, what is equal is not touched. The caller's transaction covers all of it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Numeric

from prometheus.db.database import driver_connection
from prometheus.db.models import Base

#: Loads run one after the other: two of the same file at once would both see every row as new.
_ADVISORY_LOCK: Final = 7_023_116_402
#: Enough to join a million rows in memory; for this transaction only.
_WORK_MEM: Final = "256MB"
#: From this number of rows on the planner needs fresh statistics before the next query.
_ANALYZE_ROWS: Final = 10_000

_STAGED: Final = sql.Identifier("staged_rows")
_REVISED: Final = sql.Identifier("revised_rows")

Cursor = psycopg.Cursor[Any]
#: Number of rows of a chunk and its CSV text; an unquoted empty field is null.
Chunks = Iterable[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class MergeTarget:
    """A table and how files are merged into it.

    Attributes:
        kind: Word written to ingest_files and data_revisions.
        table: Table name.
        key: Columns that identify a row.
        scope: Leading part of the key whose set of rows a file replaces as a whole: stored rows of a delivered scope
            that the file no longer has are deleted, with a revision to null. Empty: rows are never deleted.
        insert_only: Columns set for new rows and never compared.
        order: Columns new rows are inserted in order of; the key where empty. The order of the join is random, and a
            million rows in random order take twice as long to index.
    """

    kind: str
    table: str
    key: tuple[str, ...]
    scope: tuple[str, ...] = ()
    insert_only: tuple[str, ...] = ()
    order: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """The file that is being loaded.

    Attributes:
        name: File name without directories.
        sha256: Digest of its bytes as they are on disk.
        rows_read: Data rows in it.
        rows_skipped: Rows of it that are not loaded.
    """

    name: str
    sha256: bytes
    rows_read: int
    rows_skipped: int


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """Result of a load, in rows. ``revised`` counts deleted members of a replaced scope too."""

    inserted: int
    revised: int
    unchanged: int


def take_load_lock(connection: Connection) -> None:
    """Wait for other loads, and give this transaction memory for its joins."""
    raw = driver_connection(connection)
    raw.execute("SELECT pg_advisory_xact_lock(%s)", [_ADVISORY_LOCK])
    raw.execute("SELECT set_config('work_mem', %s, true)", [_WORK_MEM])


def stage_rows(
    connection: Connection,
    table: str,
    columns: tuple[str, ...],
    chunks: Chunks,
    on_rows: Callable[[int], None],
    *,
    extra: LiteralString = "",
) -> int:
    """COPY rows into the temporary table ``staged_rows``, whose columns have the types of ``table``.

    Args:
        connection: Open transaction; the temporary table lives as long as it.
        table: Table whose column types are taken, so that numbers are rounded to its scale here.
        columns: Columns in the order of the data.
        chunks: The rows.
        on_rows: Called with the number of rows sent after each chunk.
        extra: Further columns, as SQL, at the end of the data, which the table does not have.

    Returns:
        How many rows were copied.
    """
    cursor = driver_connection(connection).cursor()
    cursor.execute("DROP TABLE IF EXISTS pg_temp.staged_rows, pg_temp.revised_rows")
    cursor.execute(
        sql.SQL("CREATE TEMP TABLE {staged} ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA").format(
            staged=_STAGED, columns=_names(columns), table=sql.Identifier(table)
        )
    )
    if extra:
        cursor.execute(sql.SQL("ALTER TABLE {staged} ADD COLUMN {extra}").format(staged=_STAGED, extra=sql.SQL(extra)))
    sent = _copy(cursor, _STAGED, None, chunks, on_rows)
    # Temporary tables have no statistics; without them a join of a million rows may become a nested loop.
    cursor.execute(sql.SQL("ANALYZE {staged}").format(staged=_STAGED))
    return sent


def load_rows(
    connection: Connection,
    target: MergeTarget,
    columns: tuple[str, ...],
    chunks: Chunks,
    file: FileIdentity,
    on_rows: Callable[[int], None],
) -> LoadCounts:
    """Bring rows into a table: insert what is new, revise what differs, leave what is equal.

    Args:
        connection: Open transaction that holds the load lock.
        target: Where they go.
        columns: Columns in the order of the data, those of the key among them.
        chunks: The rows, no two with one key, in the target's order where there are many.
        file: The file they come from; recorded unless it was recorded before and changes nothing.
        on_rows: Called with the number of rows sent after each chunk.
    """
    cursor = driver_connection(connection).cursor()
    table = sql.Identifier(target.table)
    if cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(table)).fetchone() == (True,):
        staged = stage_rows(connection, target.table, columns, chunks, on_rows)
        return _merge_staged(connection, target, columns, file, staged)
    # The first load has nothing to compare with: straight into the table takes half the time.
    inserted = _copy(cursor, table, columns, chunks, on_rows)
    counts = LoadCounts(inserted, 0, 0)
    record_file(connection, target.kind, file, counts)
    _refresh_statistics(cursor, target, inserted)
    return counts


def _merge_staged(
    connection: Connection, target: MergeTarget, columns: tuple[str, ...], file: FileIdentity, staged: int
) -> LoadCounts:
    cursor = driver_connection(connection).cursor()
    compared = tuple(name for name in columns if name not in target.key and name not in target.insert_only)
    revised = _find_revised(cursor, target, compared)
    deleted = _find_vanished(cursor, target, compared) if target.scope else 0
    inserted = _insert_new(cursor, target, columns)
    counts = LoadCounts(inserted, revised + deleted, staged - inserted - revised)
    file_id = record_file(connection, target.kind, file, counts)
    if file_id is not None and counts.revised:
        _write_revisions(cursor, target, compared, file_id)
        _update_revised(cursor, target, compared)
        if deleted:
            _delete_vanished(cursor, target)
    _refresh_statistics(cursor, target, inserted)
    return counts


#: Kinds for which an unchanged file is news: it says that nothing is new (``pipeline.data_ages`` reads when).
_NEWS: Final = frozenset({"actions"})
_KNOWN: Final = """
    SELECT NOT EXISTS (SELECT 1 FROM ingest_files AS today
                       WHERE today.kind = known.kind AND today.loaded_at::date = engine_now()::date)
    FROM ingest_files AS known WHERE kind = %s AND sha256 = %s LIMIT 1
"""


def record_file(connection: Connection, kind: str, file: FileIdentity, counts: LoadCounts) -> int | None:
    """Add the row of ``ingest_files``, or return None where the same file is known and changes nothing.

    For the kinds for which an unchanged file is news, one row a day is added all the same.
    """
    raw = driver_connection(connection)
    if counts.inserted == 0 and counts.revised == 0:
        known = raw.execute(_KNOWN, [kind, file.sha256]).fetchone()
        if known is not None and not (kind in _NEWS and known == (True,)):
            return None
    row = raw.execute(
        "INSERT INTO ingest_files (kind, file_name, sha256, rows_read, rows_inserted, rows_revised, rows_unchanged, "
        "rows_skipped) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING file_id",
        [
            kind, file.name, file.sha256, file.rows_read, counts.inserted, counts.revised, counts.unchanged,
            file.rows_skipped,
        ],
    ).fetchone()  # fmt: skip
    assert row is not None
    return int(row[0])


def _copy(
    cursor: Cursor,
    table: sql.Identifier,
    columns: tuple[str, ...] | None,
    chunks: Chunks,
    on_rows: Callable[[int], None],
) -> int:
    into = table if columns is None else sql.SQL("{} ({})").format(table, _names(columns))
    sent = 0
    with cursor.copy(sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(into)) as copy:
        for rows, chunk in chunks:
            copy.write(chunk)
            sent += rows
            on_rows(sent)
    return sent


def _refresh_statistics(cursor: Cursor, target: MergeTarget, inserted: int) -> None:
    if inserted >= _ANALYZE_ROWS:
        cursor.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(target.table)))


# ---------------------------------------------------------------- the statements, in the order in which they run
# revised_rows: one row for each stored row that a file corrects (new values beside old ones) or drops.


def _find_revised(cursor: Cursor, target: MergeTarget, compared: tuple[str, ...]) -> int:
    cursor.execute(
        sql.SQL(
            "CREATE TEMP TABLE {revised} ON COMMIT DROP AS "
            "SELECT {key}, {new}, {old}, false AS vanished "
            "FROM {staged} s JOIN {table} t ON {same_key} "
            "WHERE ({stored}) IS DISTINCT FROM ({given})"
        ).format(
            revised=_REVISED,
            key=_names(target.key, "s"),
            new=sql.SQL(", ").join(sql.SQL("s.{} AS {}").format(sql.Identifier(c), _new(c)) for c in compared),
            old=sql.SQL(", ").join(sql.SQL("t.{} AS {}").format(sql.Identifier(c), _old(c)) for c in compared),
            staged=_STAGED,
            table=sql.Identifier(target.table),
            same_key=_same_key(target.key),
            stored=_row(compared, "t"),
            given=_row(compared, "s"),
        )
    )
    return cursor.rowcount


def _find_vanished(cursor: Cursor, target: MergeTarget, compared: tuple[str, ...]) -> int:
    cursor.execute(
        sql.SQL(
            "INSERT INTO {revised} ({key}, {old_names}, vanished) "
            "SELECT {stored_key}, {old}, true FROM {table} t "
            "WHERE ({scope}) IN (SELECT DISTINCT {staged_scope} FROM {staged} s) "
            "AND NOT EXISTS (SELECT FROM {staged} s WHERE {same_key})"
        ).format(
            revised=_REVISED,
            key=_names(target.key),
            old_names=sql.SQL(", ").join(_old(c) for c in compared),
            stored_key=_names(target.key, "t"),
            old=_names(compared, "t"),
            table=sql.Identifier(target.table),
            scope=_names(target.scope, "t"),
            staged_scope=_names(target.scope, "s"),
            staged=_STAGED,
            same_key=_same_key(target.key),
        )
    )
    return cursor.rowcount


def _insert_new(cursor: Cursor, target: MergeTarget, columns: tuple[str, ...]) -> int:
    cursor.execute(
        sql.SQL(
            "INSERT INTO {table} ({columns}) SELECT {given} FROM {staged} s "
            "WHERE NOT EXISTS (SELECT FROM {table} t WHERE {same_key}) ORDER BY {order}"
        ).format(
            table=sql.Identifier(target.table),
            columns=_names(columns),
            given=_names(columns, "s"),
            staged=_STAGED,
            same_key=_same_key(target.key),
            order=_names(target.order or target.key, "s"),
        )
    )
    return cursor.rowcount


def _write_revisions(cursor: Cursor, target: MergeTarget, compared: tuple[str, ...], file_id: int) -> None:
    columns = Base.metadata.tables[target.table].c
    numeric = {c for c in compared if isinstance(columns[c].type, Numeric)}

    def values(name: Callable[[str], sql.Identifier]) -> sql.Composed:
        # Only what changed, numbers as text: a JSON number would go through a float in most readers.
        parts = (
            sql.SQL(
                "CASE WHEN vanished OR r.{old} IS DISTINCT FROM r.{new} THEN jsonb_build_object({key}, {value}) "
                "ELSE '{{}}' END"
            ).format(
                old=_old(c),
                new=_new(c),
                key=sql.Literal(c),
                value=sql.SQL("trim_scale(r.{})::text" if c in numeric else "r.{}").format(name(c)),
            )
            for c in compared
        )
        return sql.SQL(" || ").join(parts)

    # People know tickers, not security ids.
    key_parts = [
        sql.SQL("'ticker', (SELECT ticker FROM securities WHERE security_id = r.security_id)")
        if c == "security_id"
        else sql.SQL("{}, r.{}").format(sql.Literal(c), sql.Identifier(c))
        for c in target.key
    ]
    cursor.execute(
        sql.SQL(
            "INSERT INTO data_revisions (file_id, kind, key, old_value, new_value) "
            "SELECT {file_id}, {kind}, jsonb_build_object({key}), {old}, "
            "CASE WHEN vanished THEN 'null'::jsonb ELSE {new} END FROM {revised} r ORDER BY {order}"
        ).format(
            file_id=sql.Literal(file_id),
            kind=sql.Literal(target.kind),
            key=sql.SQL(", ").join(key_parts),
            old=values(_old),
            new=values(_new),
            revised=_REVISED,
            order=_names(target.key, "r"),
        )
    )


def _update_revised(cursor: Cursor, target: MergeTarget, compared: tuple[str, ...]) -> None:
    cursor.execute(
        sql.SQL("UPDATE {table} t SET {settings} FROM {revised} s WHERE {same_key} AND NOT s.vanished").format(
            table=sql.Identifier(target.table),
            settings=sql.SQL(", ").join(sql.SQL("{} = s.{}").format(sql.Identifier(c), _new(c)) for c in compared),
            revised=_REVISED,
            same_key=_same_key(target.key),
        )
    )


def _delete_vanished(cursor: Cursor, target: MergeTarget) -> None:
    cursor.execute(
        sql.SQL("DELETE FROM {table} t USING {revised} s WHERE {same_key} AND s.vanished").format(
            table=sql.Identifier(target.table), revised=_REVISED, same_key=_same_key(target.key)
        )
    )


def _names(columns: tuple[str, ...], alias: str | None = None) -> sql.Composed:
    parts = (sql.Identifier(alias, c) if alias else sql.Identifier(c) for c in columns)
    return sql.SQL(", ").join(parts)


def _row(columns: tuple[str, ...], alias: str) -> sql.Composed:
    return sql.SQL("ROW({})").format(_names(columns, alias))


def _same_key(key: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(" AND ").join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(c)) for c in key)


def _old(column: str) -> sql.Identifier:
    return sql.Identifier(f"old_{column}")


def _new(column: str) -> sql.Identifier:
    return sql.Identifier(f"new_{column}")
