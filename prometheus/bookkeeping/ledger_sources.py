"""What the engine's other parts tell as events of the ledger: opening books and executions. Pure."""

from collections.abc import Collection, Iterable
from datetime import date
from typing import Final

from prometheus.domain.books import Books, Fill
from prometheus.ledger.events import Cancellation, Event, OpeningCash, OpeningLot
from prometheus.ledger.fills import event_of_fill

#: Names of opening events; a broker's execution id does not begin so.
OPENING: Final = "opening:"


def opening_events(account: str, books: Books, day: date) -> list[Event]:
    """Return the lots and cash with which an account's books open.

    Args:
        account: The account.
        books: Lots and cash as they were handed over, as of the day.
        day: The account's first day; its actions have happened to the lots already.
    """
    events: list[Event] = [
        OpeningLot(
            account=account,
            event_id=f"{OPENING}{lot.lot_id}",
            trade_date=day,
            ticker=lot.ticker,
            quantity=lot.quantity,
            cost_basis=lot.cost_basis,
            adjusted_basis=lot.adjusted_basis,
            acquired_on=lot.acquired_on,
            holding_period_start=lot.holding_period_start,
            lot_id=lot.lot_id,
        )
        for lot in books.lots
    ]
    return [*events, OpeningCash(account=account, event_id=f"{OPENING}cash", trade_date=day, amount=books.cash)]


def execution_events(
    account: str, fills: Iterable[Fill], cancelled: Collection[str] = (), *, told_on: date
) -> list[Event]:
    """Return executions and cancellations of executions as events.

    Args:
        account: The account.
        fills: Executions as the broker reports them.
        cancelled: Executions that the broker has cancelled.
        told_on: Day of the cancellations.
    """
    return [
        *(event_of_fill(account, fill) for fill in fills),
        *(
            Cancellation(account=account, event_id=cancellation_id(name), trade_date=told_on, target_id=name)
            for name in cancelled
        ),
    ]


def cancellation_id(execution_id: str) -> str:
    """Return the name of the event by which a broker takes an execution back."""
    return f"{execution_id} cancelled"
