"""Opening lots: entries of the journal, with the lots of today that follow from them.

A file of lots is compared with the journal, never with today's lots: those have moved on since.
"""

from typing import Final

from sqlalchemy import Connection

from prometheus.db.bulk_load import FileIdentity, LoadCounts, record_file
from prometheus.db.database import driver_connection
from prometheus.domain.books import TransactionType

KIND: Final = "lots"
STAGED_COLUMNS: Final = ("account_id", "lot_id", "security_id", "acquired_on", "quantity", "cost_basis")

# The staged rows are a temporary table that bulk_load.stage_rows made, with a further column line_number.
_DIFFERING: Final = """
SELECT s.line_number,
       concat_ws('; ',
           CASE WHEN x.security_id <> s.security_id THEN 'another security' END,
           CASE WHEN x.trade_date <> s.acquired_on THEN 'acquired ' || x.trade_date END,
           CASE WHEN x.quantity <> s.quantity THEN 'quantity ' || trim_scale(x.quantity) END,
           CASE WHEN x.basis <> s.cost_basis THEN 'cost basis ' || x.basis END)
FROM staged_rows s
JOIN transactions x ON x.account_id = s.account_id AND x.external_id = 'opening:' || s.lot_id
WHERE (x.security_id, x.trade_date, x.quantity, x.basis)
      IS DISTINCT FROM (s.security_id, s.acquired_on, s.quantity, s.cost_basis)
ORDER BY s.line_number
"""

_AFTER_OPENING: Final = """
SELECT s.line_number, a.books_as_of::text
FROM staged_rows s
JOIN accounts a USING (account_id)
WHERE a.books_as_of IS NOT NULL
  AND NOT EXISTS (SELECT FROM transactions x
                  WHERE x.account_id = s.account_id AND x.external_id = 'opening:' || s.lot_id)
ORDER BY s.line_number
"""

_NEW_ENTRIES: Final = """
INSERT INTO transactions (account_id, txn_type, trade_date, security_id, lot_id, quantity, amount, basis,
                          realized_gain, term, external_id, details)
SELECT s.account_id, %s, s.acquired_on, s.security_id, s.lot_id, s.quantity, 0, s.cost_basis, 0, 'NONE',
       'opening:' || s.lot_id, jsonb_build_object('acquired_on', s.acquired_on, 'holding_period_start', s.acquired_on)
FROM staged_rows s
WHERE NOT EXISTS (SELECT FROM transactions x
                  WHERE x.account_id = s.account_id AND x.external_id = 'opening:' || s.lot_id)
ORDER BY s.line_number
"""

# Before the first day the lots of an account are exactly its opening lots; afterwards none is new (refused above).
_NEW_LOTS: Final = """
INSERT INTO tax_lots (account_id, lot_id, security_id, acquired_on, holding_period_start, quantity, cost_basis,
                      adjusted_basis)
SELECT s.account_id, s.lot_id, s.security_id, s.acquired_on, s.acquired_on, s.quantity, s.cost_basis, s.cost_basis
FROM staged_rows s
JOIN accounts a USING (account_id)
WHERE a.books_as_of IS NULL
  AND NOT EXISTS (SELECT FROM tax_lots l WHERE l.account_id = s.account_id AND l.lot_id = s.lot_id)
ORDER BY s.account_id, s.lot_id
"""


def differing_opening_lots(connection: Connection) -> list[tuple[int, str]]:
    """Return the line of each staged lot that the journal knows otherwise, with what the journal says."""
    return [(int(line), str(what)) for line, what in driver_connection(connection).execute(_DIFFERING)]


def lots_after_opening(connection: Connection) -> list[tuple[int, str]]:
    """Return the line of each staged lot that is new to an account with books, and the date of those books."""
    return [(int(line), str(books)) for line, books in driver_connection(connection).execute(_AFTER_OPENING)]


def discard_staged(connection: Connection, lines: list[int]) -> None:
    """Take staged lots out again."""
    driver_connection(connection).execute("DELETE FROM staged_rows WHERE line_number = ANY(%s)", [lines])


def load_staged_lots(connection: Connection, file: FileIdentity, staged: int) -> LoadCounts:
    """Write the staged lots that are new to the journal and to today's lots, and record the file."""
    raw = driver_connection(connection)
    lots = raw.execute(_NEW_LOTS).rowcount
    inserted = raw.execute(_NEW_ENTRIES, [TransactionType.OPENING.value]).rowcount
    assert lots == inserted, "journal and lots disagree"
    counts = LoadCounts(inserted, 0, staged - inserted)
    record_file(connection, KIND, file, counts)
    return counts
