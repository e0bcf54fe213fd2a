"""Executions of orders booked into the ledger: each once, in the place of its day, by the lots that its run planned."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Final

from prometheus.bookkeeping.ledger import book_events, book_executed
from prometheus.bookkeeping.ledger_work import Booking
from prometheus.bookkeeping.open_orders import filled_shares
from prometheus.bookkeeping.planned_lots import STORED_STEP, LotsLeft, planned_picks
from prometheus.db.database import Connection
from prometheus.db.repositories.account_books import write_columns
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.ledger_events import EventSource, events_named
from prometheus.db.repositories.ledger_inputs import households_of
from prometheus.db.repositories.market_data import corporate_actions
from prometheus.db.repositories.order_executions import StoredExecution, record_executions, stored_executions
from prometheus.db.repositories.orders import run_orders
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side
from prometheus.domain.money import nearest_step, plain_text
from prometheus.domain.orders import Execution, ExecutionFinding, OrderName, RunOrder
from prometheus.domain.securities import ActionType
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.findings import Finding
from prometheus.ledger.keys import EventKey
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.shares import split_ratio
from prometheus.ledger.state import EMPTY

#: Sides that cash pays for, and sides that open a lot.
_PAYING: Final = frozenset({Side.BUY, Side.BUY_TO_COVER})
_OPENING: Final = frozenset({Side.BUY, Side.SELL_SHORT})
_OVERDRAWN: Final = "Load the day's sales with it, or book cash that came in as a TRANSFER_IN without ticker."
_OTHERWISE: Final = "Correct the row, or what was booked before it."


@dataclass(slots=True)
class ExecutionBooking:
    """What became of an account's executions: booked now, booked before with the same words, and left out."""

    booked: int = 0
    unchanged: int = 0
    findings: list[ExecutionFinding] = field(default_factory=list)


@dataclass(slots=True)
class _Progress:
    """What is known of an order's executions: shares in those of the run's day, and what of each lot is used."""

    filled: Decimal = Decimal(0)
    used: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


def book_executions(
    connection: Connection,
    account_id: str,
    executions: Sequence[Execution],
    *,
    on_executions: Callable[[int], None],
) -> ExecutionBooking:
    """Book executions of one account in the caller's transaction, by day and execution id.

    The books move to the day of an execution that lies after them: corporate actions of that day come first. Each
    execution is booked or left out by itself.

    Args:
        connection: The transaction; the accounts of the household are locked in it.
        account_id: An account that exists.
        executions: Its executions, each execution id once.
        on_executions: Called with how many more executions are dealt with.
    """
    return _Booking(connection, account_id, on_executions).book(executions)


class _Booking:
    """One account's executions while they are booked."""

    def __init__(self, connection: Connection, account_id: str, on_executions: Callable[[int], None]) -> None:
        self._connection = connection
        self._account = accounts_of(connection, account_ids=[account_id])[0]
        self._household = households_of(connection, [account_id])[account_id]
        self._on_executions = on_executions
        self._result = ExecutionBooking()
        self._progress: dict[tuple[int, int], _Progress] = defaultdict(_Progress)
        self._ratios: dict[tuple[str, date, date], Decimal] = {}
        #: The household's books after what was booked so far.
        self._state = EMPTY

    def book(self, executions: Sequence[Execution]) -> ExecutionBooking:
        orders = run_orders(self._connection, [(one.order.account_id, one.order.run_seq) for one in executions])
        new = self._new(executions, orders)
        ordered = sorted(new, key=lambda one: (one.trade_date, one.execution_id))
        for day, of_day in groupby(ordered, key=lambda one: one.trade_date):
            self._book_day(day, list(of_day), orders)
        return self._result

    # ------------------------------------------------------------ what the file says against what is known

    def _new(self, executions: Sequence[Execution], orders: Mapping[OrderName, RunOrder]) -> list[Execution]:
        account_id, runs = self._account.account_id, {order.run_id for order in orders.values()}
        names = [one.execution_id for one in executions]
        stored = {one.execution_id: one for one in stored_executions(self._connection, account_id, names, runs)}
        known = events_named(self._connection, [EventKey(account_id, name) for name in names])
        filled = filled_shares(self._connection, runs)
        for order in orders.values():
            progress = self._progress[order.run_id, order.name.line]
            progress.filled = filled.get((order.run_id, order.ticker, order.side), Decimal(0))
        for before in stored.values():
            self._note((before.run_id, before.order.line), before.taken)
        new = []
        for one in executions:
            if one.execution_id in stored:
                self._repeated(one, stored[one.execution_id])
            elif EventKey(account_id, one.execution_id) in known:
                message = f"{account_id} has booked an execution '{one.execution_id}' that names no order."
                self._refuse(one, "EXECUTION_DIFFERS", message, "Give this one an execution_id of its own.")
            elif self._fits(one, orders):
                new.append(one)
        return new

    def _repeated(self, one: Execution, before: StoredExecution) -> None:
        content, said = before.content(), one.content()
        if content == said:
            self._result.unchanged += 1
            self._on_executions(1)
            return
        words = ", ".join(f"{name} {value}" for name, value in content.items() if value != said[name])
        message = f"{one.account_id} has booked the execution '{one.execution_id}' otherwise: {words}."
        self._refuse(one, "EXECUTION_DIFFERS", message, "Correct the row, or give it an execution_id of its own.")

    def _fits(self, one: Execution, orders: Mapping[OrderName, RunOrder]) -> bool:
        order = orders.get(one.order)
        if order is None:
            self._refuse(
                one,
                "UNKNOWN_ORDER",
                f"There is no order '{one.order}', or its run was archived.",
                "Take client_order_id from 'prometheus trades export'.",
            )
            return False
        if one.side is not order.side or not self._is_of(one, order):
            self._refuse(
                one,
                "ORDER_DIFFERS",
                f"The order '{one.order}' is to {order.side.value} {order.ticker}, not to {one.side.value} "
                f"{one.ticker}.",
                "Correct client_order_id, ticker or side.",
            )
            return False
        picked = sum((pick.quantity for pick in one.lot_picks), Decimal(0))
        if one.lot_picks and (one.side is not Side.SELL or picked != one.quantity):
            message = f"lot_picks name {plain_text(picked)} shares for {one.side.value} {plain_text(one.quantity)}."
            self._refuse(one, "BAD_LOT_PICKS", message, "A sale's lots add up to its quantity; other trades name none.")
            return False
        if one.trade_date < order.as_of_date:
            message = f"The order '{one.order}' was given on {order.as_of_date}, after {one.trade_date}."
            self._refuse(one, "BEFORE_ORDER", message, "Correct the trade_date or the client_order_id.")
            return False
        return True

    def _is_of(self, one: Execution, order: RunOrder) -> bool:
        """Return whether the security is the order's, under its symbol of the run's day or a newer one."""
        if one.ticker == order.ticker:
            return True
        actions = corporate_actions(self._connection, after=order.as_of_date, through=one.trade_date)
        symbol = order.ticker
        for action in actions:
            if action.action_type is ActionType.SYMBOL_CHANGE and action.ticker == symbol:
                symbol = action.other_ticker
        return one.ticker == symbol

    # ------------------------------------------------------------ booking

    def _book_day(self, day: date, executions: Sequence[Execution], orders: Mapping[OrderName, RunOrder]) -> None:
        allowed = [one for one in executions if self._within(one, orders[one.order])]
        if not allowed:
            return
        try:
            with self._connection.begin_nested():
                # The market's actions of the day come first: lots and shares are then those that the orders meet.
                moved = book_events(self._connection, self._household, (), day, source=EventSource.EXECUTION)
                # A payment in lieu of a dividend may overdraw the account; that is not the executions' doing.
                write_columns(self._connection, moved.state.cash, {})
        except AccountingError as error:
            for one in allowed:
                self._leave_out(one, orders, error.code, error.message, _OTHERWISE)
            return
        self._state = moved.state
        if not self._attempt(allowed, orders) and len(allowed) > 1:
            # One by one, to find out which cannot be; purchases may need what sales of the day bring in.
            for one in sorted(allowed, key=lambda one: one.side in _PAYING):
                self._attempt([one], orders)

    def _within(self, one: Execution, order: RunOrder) -> bool:
        """Return whether an order has so many shares left, and take them."""
        shares = self._then(one, order)
        filled = self._progress[order.run_id, order.name.line].filled
        if filled + shares > order.quantity:
            self._refuse(
                one,
                "MORE_THAN_ORDERED",
                f"The order '{one.order}' is for {plain_text(order.quantity)} shares, of which {plain_text(filled)} "
                f"are executed; {plain_text(one.quantity)} more are too many.",
                "Correct the quantity; what was traded beyond the order belongs into a file of kind transactions.",
            )
            return False
        self._progress[order.run_id, order.name.line].filled += shares
        return True

    def _attempt(self, executions: Sequence[Execution], orders: Mapping[OrderName, RunOrder]) -> bool:
        """Book executions of one day together; those that are refused are findings, and the others are booked.

        Returns:
            Whether that worked; False where several together overdraw the account or undo what was booked.
        """
        account_id = self._account.account_id
        try:
            with self._connection.begin_nested():
                fills = self._fills(executions, orders)
                booking = book_executed(self._connection, account_id, fills, through=executions[0].trade_date)
                refused = _refusals(booking, account_id)
                taken = _lots_taken(booking, account_id)
                booked = [one for one in executions if one.execution_id not in refused]
                rows = [(one, orders[one.order].run_id, taken.get(one.execution_id, ())) for one in booked]
                record_executions(self._connection, rows)
        except AccountingError as error:
            if len(executions) > 1:
                return False
            remedy = _OVERDRAWN if error.code == "OVERDRAWN" else _OTHERWISE
            self._leave_out(executions[0], orders, error.code, error.message, remedy)
            return False
        self._state = booking.state
        for one, run_id, picks in rows:
            self._note((run_id, one.order.line), picks)
        for one in executions:
            if one.execution_id in refused:
                finding = refused[one.execution_id]
                self._leave_out(one, orders, finding.code, finding.message, finding.remedy)
        self._result.booked += len(booked)
        self._on_executions(len(booked))
        return True

    def _fills(self, executions: Sequence[Execution], orders: Mapping[OrderName, RunOrder]) -> list[Fill]:
        left = LotsLeft(self._state, self._account.account_id)
        used: dict[tuple[int, int], dict[str, Decimal]] = {}
        fills = []
        for one in executions:
            order = orders[one.order]
            picks: tuple[LotPick, ...] = ()
            if one.side is Side.SELL and self._account.tax_regime is TaxRegime.US:
                key = (order.run_id, order.name.line)
                taken = used.setdefault(key, dict(self._progress[key].used))
                ratio = self._ratio(order.ticker, order.as_of_date, one.trade_date)
                # Lots that neither the row nor the plan can name are left to the account's method.
                picks = one.lot_picks or planned_picks(order, one.quantity, ratio=ratio, used=taken, left=left)
                for pick in picks:
                    taken[pick.lot_id] = taken.get(pick.lot_id, Decimal(0)) + pick.quantity
            fills.append(
                Fill(
                    execution_id=one.execution_id,
                    ticker=one.ticker,
                    side=one.side,
                    trade_date=one.trade_date,
                    quantity=one.quantity,
                    price=one.price,
                    fee=one.fee,
                    lot_picks=picks,
                    new_lot_id=_lot_of(one) if one.side in _OPENING else None,
                )
            )
        return fills

    # ------------------------------------------------------------ small things

    def _note(self, order: tuple[int, int], picks: Iterable[LotPick]) -> None:
        for pick in picks:
            self._progress[order].used[pick.lot_id] += pick.quantity

    def _then(self, one: Execution, order: RunOrder) -> Decimal:
        """Return an execution's shares in shares of the day of its order."""
        return nearest_step(one.quantity / self._ratio(order.ticker, order.as_of_date, one.trade_date), STORED_STEP)

    def _ratio(self, ticker: str, ordered: date, traded: date) -> Decimal:
        key = (ticker, ordered, traded)
        if key not in self._ratios:
            ratio = Decimal(1)
            if traded > ordered:
                for action in corporate_actions(self._connection, after=ordered, through=traded):
                    if action.ticker == ticker and action.action_type is ActionType.SPLIT:
                        factor = split_ratio(action.value)
                        ratio = ratio * factor.numerator / factor.denominator
            self._ratios[key] = ratio
        return self._ratios[key]

    def _leave_out(
        self, one: Execution, orders: Mapping[OrderName, RunOrder], code: str, message: str, remedy: str
    ) -> None:
        """Refuse an execution that its order had shares for, and give them back to the order."""
        order = orders[one.order]
        self._progress[order.run_id, order.name.line].filled -= self._then(one, order)
        self._refuse(one, code, f"{message.rstrip('.')}.", remedy)

    def _refuse(self, one: Execution, code: str, message: str, remedy: str) -> None:
        self._result.findings.append(ExecutionFinding(one.row, code, message, remedy))
        self._on_executions(1)


def _refusals(booking: Booking, account_id: str) -> dict[str, Finding]:
    """Return by execution why it was refused."""
    return {
        finding.event.event_id: finding
        for finding in booking.findings
        if finding.refused and finding.event.account == account_id
    }


def _lots_taken(booking: Booking, account_id: str) -> dict[str, tuple[LotPick, ...]]:
    """Return by execution the lots that a sale took."""
    taken: dict[str, list[LotPick]] = defaultdict(list)
    for row in booking.postings:
        if row.kind is PostingKind.SELL and row.account == account_id and row.lot_id is not None:
            taken[row.event.event_id].append(LotPick(row.lot_id, -row.quantity))
    return {name: tuple(picks) for name, picks in taken.items()}


def _lot_of(one: Execution) -> str:
    """Return what the lot of a purchase or short sale is called: the run's own way of naming it, and the execution."""
    return f"{one.account_id}-{one.trade_date:%Y%m%d}-{one.ticker}-{one.execution_id}"
