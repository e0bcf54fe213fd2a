"""Executions of orders booked into the books of their account: each once, in the place of its day."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, text
from sqlalchemy.exc import IntegrityError

from prometheus.accounting.account_entries import LotPicker
from prometheus.accounting.share_counts import split_ratio
from prometheus.bookkeeping.action_changes import actions_position, book_morning, mark_seen, unseen_actions
from prometheus.bookkeeping.fills import book_fills, close_windows
from prometheus.bookkeeping.open_orders import filled_shares
from prometheus.db.models import OrderExecutionRow
from prometheus.db.repositories.accounts import accounts_of, load_books
from prometheus.db.repositories.market_data import corporate_actions
from prometheus.db.repositories.orders import run_orders
from prometheus.domain.accounts import Account, TaxRegime
from prometheus.domain.books import Fill, LotPick
from prometheus.domain.entries import Entry, EntryAction, EntryFinding
from prometheus.domain.lots import Side
from prometheus.domain.money import nearest_step, plain_text
from prometheus.domain.orders import Execution, OrderName, RunOrder, parse_picks, picks_text
from prometheus.domain.securities import ActionType
from prometheus.foundation.errors import AccountingError

#: Last decimal of a stored number of shares.
_STORED_STEP: Final = Decimal("0.00000001")

_OVERDRAWN: Final = "Load the day's sales with it, or book cash that came in as a TRANSFER_IN without ticker."
_STORED: Final = text("""
    SELECT execution_id, run_seq, order_executions.run_id, line, order_executions.ticker, order_executions.side,
           trade_date, quantity, price, fee, lot_picks ->> 'given' AS picks, lot_picks ->> 'taken' AS taken
    FROM order_executions JOIN runs USING (run_id, account_id) WHERE account_id = :account
      AND (execution_id = ANY(:executions) OR order_executions.run_id = ANY(:runs))
""")
_KNOWN: Final = text("""
    SELECT details ->> 'execution_id' FROM transactions
    WHERE account_id = :account AND trade_date >= :since AND txn_type IN ('BUY', 'SELL', 'REINVESTMENT')
      AND details ->> 'execution_id' = ANY(:executions)
""")


@dataclass(slots=True)
class ExecutionBooking:
    """What became of an account's executions: booked now, booked before with the same words, and left out."""

    booked: int = 0
    unchanged: int = 0
    findings: list[EntryFinding] = field(default_factory=list)


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
    group_of: Mapping[str, str],
    on_executions: Callable[[int], None],
) -> ExecutionBooking:
    """Book executions of one account in the caller's transaction, by day and execution id.

    The books move to the day of an execution that lies after them: corporate actions of that morning come first. Each
    execution is booked or left out by itself.

    Args:
        connection: The transaction; the account's row is locked in it.
        account_id: An account that exists.
        executions: Its executions, each execution id once.
        group_of: Ticker to substantially identical group, of every security there is.
        on_executions: Called with how many more executions are dealt with.
    """
    return _Booking(connection, account_id, group_of, on_executions).book(executions)


class _Booking:
    """One account's executions while they are booked."""

    def __init__(
        self,
        connection: Connection,
        account_id: str,
        group_of: Mapping[str, str],
        on_executions: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._account: Account = accounts_of(connection, account_ids=[account_id])[0]
        self._group_of = group_of
        self._on_executions = on_executions
        self._result = ExecutionBooking()
        self._progress: dict[tuple[int, int], _Progress] = defaultdict(_Progress)
        self._ratios: dict[tuple[str, date, date], Decimal] = {}

    def book(self, executions: Sequence[Execution]) -> ExecutionBooking:
        orders = run_orders(self._connection, [(one.order.account_id, one.order.run_seq) for one in executions])
        new = self._new(executions, orders)
        ordered = sorted(new, key=lambda one: (one.trade_date, one.execution_id))
        for day, of_day in groupby(ordered, key=lambda one: one.trade_date):
            self._book_day(day, list(of_day), orders)
        return self._result

    # ------------------------------------------------------------ what the file says against what is known

    def _new(self, executions: Sequence[Execution], orders: Mapping[OrderName, RunOrder]) -> list[Execution]:
        runs = sorted({order.run_id for order in orders.values()})
        names = [one.execution_id for one in executions]
        wanted = {"account": self._account.account_id, "executions": names, "runs": runs}
        stored = {row.execution_id: row for row in self._connection.execute(_STORED, wanted)}
        since = min(one.trade_date for one in executions)
        known = set(
            self._connection.execute(
                _KNOWN, {"account": self._account.account_id, "executions": names, "since": since}
            ).scalars()
        )
        filled = filled_shares(self._connection, runs)
        for order in orders.values():
            self._progress[order.run_id, order.name.line].filled = filled.get(
                (order.run_id, order.ticker, order.side.value), Decimal(0)
            )
        for row in stored.values():
            self._note((row.run_id, row.line), parse_picks(row.taken))
        new = []
        for one in executions:
            before = stored.get(one.execution_id)
            if before is not None:
                self._repeated(one, before)
            elif one.execution_id in known:
                message = f"{one.account_id} has booked an execution '{one.execution_id}' that names no order."
                self._refuse(one, "EXECUTION_DIFFERS", message, "Give this one an execution_id of its own.")
            elif self._fits(one, orders):
                new.append(one)
        return new

    def _repeated(self, one: Execution, before: Row[Any]) -> None:
        content = {
            "order": str(OrderName(one.account_id, before.run_seq, before.line)),
            "ticker": before.ticker,
            "side": before.side,
            "trade_date": before.trade_date.isoformat(),
            "quantity": plain_text(before.quantity),
            "price": plain_text(before.price),
            "fee": plain_text(before.fee),
            "lot_picks": before.picks or "",
        }
        if content == one.content():
            self._result.unchanged += 1
            self._on_executions(1)
            return
        words = ", ".join(f"{name} {value}" for name, value in content.items() if value != one.content()[name])
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
        if one.lot_picks and (one.side is Side.BUY or picked != one.quantity):
            message = f"lot_picks name {plain_text(picked)} shares for {one.side.value} {plain_text(one.quantity)}."
            self._refuse(one, "BAD_LOT_PICKS", message, "A sale's lots add up to its quantity; a purchase names none.")
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
        account_id, books = self._account.account_id, self._account.books_as_of
        if books is None:
            for one in executions:
                message = f"{account_id} has no books yet; they open with its first day."
                self._refuse(one, "BOOKS_NOT_OPEN", message, "Load the row after that day.")
            return
        allowed = [one for one in executions if self._within(one, orders[one.order])]
        if not allowed:
            return
        if day > books:
            self._book_morning(day)
            self._account = accounts_of(self._connection, account_ids=[account_id])[0]
        if not self._attempt(allowed, orders) and len(allowed) > 1:
            # One by one, to find out which cannot be; purchases may need what sales of the day bring in.
            for one in sorted(allowed, key=lambda one: one.side is Side.BUY):
                self._attempt([one], orders)

    def _within(self, one: Execution, order: RunOrder) -> bool:
        """Return whether an order has so many shares left, and take them."""
        shares = self._then(one.quantity, order.ticker, order.as_of_date, one.trade_date)
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
        """Book executions of one day together, or leave them out; one alone that cannot be booked is a finding."""
        account_id = self._account.account_id
        try:
            with self._connection.begin_nested():
                fills = self._fills(executions, orders)
                as_of = max(executions[0].trade_date, self._account.books_as_of or date.min)
                book_fills(self._connection, account_id, fills, as_of=as_of, group_of=self._group_of)
                self._remember(executions, fills, orders)
        except (AccountingError, IntegrityError) as error:
            if len(executions) > 1:
                return False
            (one,) = executions
            order = orders[one.order]
            shares = self._then(one.quantity, order.ticker, order.as_of_date, one.trade_date)
            self._progress[order.run_id, order.name.line].filled -= shares
            code, message = (
                ("LOT_EXISTS", "a lot of that name exists")
                if isinstance(error, IntegrityError)
                else (error.code, error.message)
            )
            remedy = _OVERDRAWN if code == "OVERDRAWN" else "Correct the row, or what was booked before it."
            self._refuse(one, code, f"{message.rstrip('.')}.", remedy)
            return False
        for one, fill in zip(executions, fills, strict=True):
            self._note((orders[one.order].run_id, one.order.line), fill.lot_picks)
        self._result.booked += len(executions)
        self._on_executions(len(executions))
        return True

    def _fills(self, executions: Sequence[Execution], orders: Mapping[OrderName, RunOrder]) -> list[Fill]:
        lots = load_books(self._connection, self._account.account_id).lots
        picker = LotPicker(lots, self._account)
        used: dict[tuple[int, int], dict[str, Decimal]] = {}
        fills = []
        for one in executions:
            order = orders[one.order]
            picks: tuple[LotPick, ...] = ()
            if one.side is Side.SELL and self._account.tax_regime is TaxRegime.US:
                key = (order.run_id, order.name.line)
                taken = used.setdefault(key, dict(self._progress[key].used))
                picks = self._picks(one, order, picker, taken)
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
                    new_lot_id=_lot_of(one) if one.side is Side.BUY else None,
                )
            )
        return fills

    def _picks(
        self, one: Execution, order: RunOrder, picker: LotPicker, used: Mapping[str, Decimal]
    ) -> tuple[LotPick, ...]:
        """Return the lots of a sale: those it names, else those the run planned, else by the account's method."""
        planned = () if one.lot_picks else self._planned(one, order, picker, used)
        if planned:
            picker.take_these(planned)
            return planned
        sale = Entry(
            row=one.row,
            day=one.trade_date,
            account=one.account_id,
            action=EntryAction.SELL,
            ticker=one.ticker,
            quantity=one.quantity,
            amount=one.quantity * one.price,
            picks=one.lot_picks,
        )
        return picker.take(sale)

    def _planned(
        self, one: Execution, order: RunOrder, picker: LotPicker, used: Mapping[str, Decimal]
    ) -> tuple[LotPick, ...]:
        """Return what the run planned to take for so many shares; nothing where the books cannot give it any more."""
        ratio = self._ratio(order.ticker, order.as_of_date, one.trade_date)
        left, picks = one.quantity, []
        for planned in order.lots:
            given = nearest_step(planned.quantity * ratio, _STORED_STEP) - used.get(planned.lot_id, Decimal(0))
            shares = min(given, left, picker.left_of(planned.lot_id))
            if shares > 0:
                picks.append(LotPick(planned.lot_id, shares))
                left -= shares
        return () if left else tuple(picks)

    def _remember(
        self, executions: Sequence[Execution], fills: Sequence[Fill], orders: Mapping[OrderName, RunOrder]
    ) -> None:
        self._connection.execute(
            insert(OrderExecutionRow),
            [
                {
                    "account_id": one.account_id,
                    "execution_id": one.execution_id,
                    "run_id": orders[one.order].run_id,
                    "line": one.order.line,
                    "ticker": one.ticker,
                    "side": one.side.value,
                    "trade_date": one.trade_date,
                    "executed_at": one.executed_at,
                    "quantity": one.quantity,
                    "price": one.price,
                    "fee": one.fee,
                    "lot_picks": {"given": one.content()["lot_picks"], "taken": picks_text(fill.lot_picks)},
                }
                for one, fill in zip(executions, fills, strict=True)
            ],
        )

    def _book_morning(self, day: date) -> None:
        """Move the books to a later day: windows that closed, then corporate actions of every morning until then."""
        account_id = self._account.account_id
        position = actions_position(self._connection)
        unseen = unseen_actions(self._connection, [account_id])
        if self._account.tax_regime is TaxRegime.CA:
            close_windows(self._connection, account_id, as_of=day, group_of=self._group_of)
        book_morning(self._connection, account_id, as_of=day, group_of=self._group_of)
        if not unseen:
            mark_seen(self._connection, [account_id], position)

    # ------------------------------------------------------------ small things

    def _note(self, order: tuple[int, int], picks: Sequence[LotPick]) -> None:
        for pick in picks:
            self._progress[order].used[pick.lot_id] += pick.quantity

    def _then(self, shares: Decimal, ticker: str, ordered: date, traded: date) -> Decimal:
        """Return shares of the day of a trade in shares of the day of its order."""
        return nearest_step(shares / self._ratio(ticker, ordered, traded), _STORED_STEP)

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

    def _refuse(self, one: Execution, code: str, message: str, remedy: str) -> None:
        self._result.findings.append(EntryFinding(one.row, code, message, remedy))
        self._on_executions(1)


def _lot_of(one: Execution) -> str:
    """Return what the lot of a purchase is called: the run's own way of naming it, and the execution."""
    return f"{one.account_id}-{one.trade_date:%Y%m%d}-{one.ticker}-{one.execution_id}"
