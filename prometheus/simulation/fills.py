"""Simulated execution: a day's trades filled at its close, without commission, and carried into the books once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from prometheus.bookkeeping.ledger import book_executed
from prometheus.db.database import Database
from prometheus.db.repositories.runs import trades_of_day
from prometheus.decision.planned_trades import planned_fill
from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side
from prometheus.domain.run_record import TradeRow
from prometheus.foundation.errors import AccountingError


def fill_day(database: Database, as_of: date) -> int:
    """Book every persisted trade of a day at its price; return how many fills were booked now.

    Fills already booked are left alone, so the call may be repeated. Each account's fills are one transaction.

    Raises:
        AccountingError: A fill cannot be booked; those of the accounts before it are.
    """
    with database.transaction() as connection:
        trades = trades_of_day(connection, as_of)
    booked = 0
    for account_id, lines in trades.items():
        with database.transaction() as connection:
            fills = _fills(account_id, as_of, lines)
            booking = book_executed(connection, account_id, fills, through=as_of)
            for finding in booking.findings:
                if finding.refused:
                    raise AccountingError(str(finding), code=finding.code)
            booked += len(fills) - booking.known
    return booked


def _fills(account_id: str, as_of: date, lines: Sequence[TradeRow]) -> tuple[Fill, ...]:
    """Return an execution for each line, so that what is booked is what was planned to the cent.

    What covers several short lots is one execution, which the ledger shares out over them as it did for the plan.
    """
    number: Counter[str] = Counter()
    fills: list[Fill] = []
    covers: dict[str, Fill] = {}
    for line in lines:
        ticker, quantity, price, side = line.ticker, line.quantity, line.price, Side(line.side)
        if side is Side.SELL:
            number[ticker] += 1
            picks = () if line.lot_id is None else (LotPick(line.lot_id, quantity),)
            fill = planned_fill(account_id, as_of, ticker, side, quantity, price, picks)
            fills.append(replace(fill, execution_id=f"{fill.execution_id}:{number[ticker]}"))
        elif side is Side.BUY_TO_COVER:
            before = covers[ticker].quantity if ticker in covers else 0
            covers[ticker] = planned_fill(account_id, as_of, ticker, side, before + quantity, price)
        else:
            fills.append(planned_fill(account_id, as_of, ticker, side, quantity, price))
    return (*fills, *covers.values())
