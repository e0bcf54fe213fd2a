"""Opening lots: facts as they were handed over, from which an account's books open on its first day.

A file of lots is compared with the lots that were handed over before, never with those of today's books.
"""

from typing import Final

from sqlalchemy import Connection

from prometheus.db.bulk_load import FileIdentity, LoadCounts, record_file
from prometheus.db.database import driver_connection

KIND: Final = "lots"
TABLE: Final = "opening_lots"
STAGED_COLUMNS: Final = ("account_id", "lot_id", "security_id", "acquired_on", "quantity", "cost_basis")

# The staged rows are a temporary table that bulk_load.stage_rows made, with a further column line_number.
_DIFFERING: Final = """
SELECT s.line_number,
       concat_ws('; ',
           CASE WHEN x.security_id <> s.security_id THEN 'another security' END,
           CASE WHEN x.acquired_on <> s.acquired_on THEN 'acquired ' || x.acquired_on END,
           CASE WHEN x.quantity <> s.quantity THEN 'quantity ' || trim_scale(x.quantity) END,
           CASE WHEN x.cost_basis <> s.cost_basis THEN 'cost basis ' || x.cost_basis END)
FROM staged_rows s
JOIN opening_lots x USING (account_id, lot_id)
WHERE (x.security_id, x.acquired_on, x.quantity, x.cost_basis)
      IS DISTINCT FROM (s.security_id, s.acquired_on, s.quantity, s.cost_basis)
ORDER BY s.line_number
"""

# Books open with the first day, or with the first row of a file of transactions.
_AFTER_OPENING: Final = """
SELECT s.line_number, coalesce(a.books_as_of, opened.trade_date)::text
FROM staged_rows s
JOIN accounts a USING (account_id)
LEFT JOIN ledger_events opened ON opened.account_id = s.account_id AND opened.event_id = 'opening:cash'
WHERE coalesce(a.books_as_of, opened.trade_date) IS NOT NULL
  AND NOT EXISTS (SELECT FROM opening_lots x WHERE x.account_id = s.account_id AND x.lot_id = s.lot_id)
ORDER BY s.line_number
"""

_NEW: Final = """
INSERT INTO opening_lots (account_id, lot_id, security_id, acquired_on, quantity, cost_basis)
SELECT account_id, lot_id, security_id, acquired_on, quantity, cost_basis
FROM staged_rows
ORDER BY line_number
ON CONFLICT (account_id, lot_id) DO NOTHING
"""


def differing_opening_lots(connection: Connection) -> list[tuple[int, str]]:
    """Return the line of each staged lot that was handed over otherwise, with what was said then."""
    return [(int(line), str(what)) for line, what in driver_connection(connection).execute(_DIFFERING)]


def lots_after_opening(connection: Connection) -> list[tuple[int, str]]:
    """Return the line of each staged lot that is new to an account with books, and the date of those books."""
    return [(int(line), str(books)) for line, books in driver_connection(connection).execute(_AFTER_OPENING)]


def discard_staged(connection: Connection, lines: list[int]) -> None:
    """Take staged lots out again."""
    driver_connection(connection).execute("DELETE FROM staged_rows WHERE line_number = ANY(%s)", [lines])


def load_staged_lots(connection: Connection, file: FileIdentity, staged: int) -> LoadCounts:
    """Store the staged lots that are new, and record the file."""
    inserted = driver_connection(connection).execute(_NEW).rowcount
    counts = LoadCounts(inserted, 0, staged - inserted)
    record_file(connection, KIND, file, counts)
    return counts
