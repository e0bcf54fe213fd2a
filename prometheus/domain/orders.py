"""Orders of a run: their ids, and which of them are still open."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from prometheus.domain.books import LotPick
from prometheus.domain.lots import Side
from prometheus.domain.money import plain_text
from prometheus.foundation.ids import run_label

_ORDER_NAME: Final = re.compile(r"(?P<account>.+):RUN-(?P<run>[0-9]{3,18}):(?P<line>[1-9][0-9]{0,8})")
_SHARES: Final = re.compile(r"[0-9]{1,16}(\.[0-9]{1,8})?")


class Settled(StrEnum):
    """How the unfilled rest of a run's orders ended."""

    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class OrderName:
    """Identifies an order of a run.

    ``line`` is the order's line in the run's trade list: the first of its lines where a sale takes several lots.
    """

    account_id: str
    run_seq: int
    line: int

    def __str__(self) -> str:
        """Return the client order id, such as ``ACC-1:RUN-002:17``."""
        return f"{self.account_id}:{run_label(self.run_seq)}:{self.line}"

    @classmethod
    def parse(cls, text: str) -> "OrderName | None":
        """Return the order of a client order id, None where the id is not ours."""
        match = _ORDER_NAME.fullmatch(text)
        if match is None:
            return None
        name = cls(match["account"], int(match["run"]), int(match["line"]))
        return name if str(name) == text else None


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that is neither filled nor settled: one for each ticker and side of a run.

    Attributes:
        account_id: The account.
        run_seq: Number of the run that gave the order.
        as_of_date: Day of that run.
        ticker: The security.
        side: BUY or SELL.
        quantity: Shares ordered, positive.
        filled: Shares of it that the journal has, in shares of the run's day; less than ``quantity``.
        line: See ``OrderName``.
    """

    account_id: str
    run_seq: int
    as_of_date: date
    ticker: str
    side: Side
    quantity: Decimal
    filled: Decimal
    line: int

    @property
    def name(self) -> OrderName:
        """Return the order's name; as text it is the client order id."""
        return OrderName(self.account_id, self.run_seq, self.line)


@dataclass(frozen=True, slots=True)
class RunOrder:
    """An order as its run placed it.

    Attributes:
        name: What it is called.
        run_id: Its run.
        as_of_date: Day of the run.
        ticker: The security.
        side: BUY or SELL.
        quantity: Shares, positive.
        lots: Of a sale the lots that the run planned to take, in that order.
    """

    name: OrderName
    run_id: int
    as_of_date: date
    ticker: str
    side: Side
    quantity: Decimal
    lots: tuple[LotPick, ...]


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of an order as a broker's file reports it.

    Attributes:
        row: Line of the file.
        account_id: The account.
        order: The order it belongs to.
        execution_id: The broker's name of it, unique within the account.
        ticker: The security.
        side: BUY or SELL.
        trade_date: Day of the trade.
        executed_at: Instant of the trade, None where the broker does not say.
        quantity: Shares, positive.
        price: Base currency a share, positive.
        fee: Commission, cents of the base currency, not negative.
        lot_picks: Of a sale the lots it took; empty where the run's plan holds.
    """

    row: int
    account_id: str
    order: OrderName
    execution_id: str
    ticker: str
    side: Side
    trade_date: date
    executed_at: datetime | None
    quantity: Decimal
    price: Decimal
    fee: Decimal
    lot_picks: tuple[LotPick, ...]

    def content(self) -> dict[str, str]:
        """Return the execution's content without its row: equal executions have equal contents."""
        return {
            "order": str(self.order),
            "ticker": self.ticker,
            "side": self.side.value,
            "trade_date": self.trade_date.isoformat(),
            "quantity": plain_text(self.quantity),
            "price": plain_text(self.price),
            "fee": plain_text(self.fee),
            "lot_picks": picks_text(self.lot_picks),
        }


def picks_text(picks: Iterable[LotPick]) -> str:
    """Return lots as a file writes them: ``LOT=SHARES;LOT=SHARES``."""
    return ";".join(f"{pick.lot_id}={plain_text(pick.quantity)}" for pick in picks)


def parse_picks(text: str) -> tuple[LotPick, ...]:
    """Return the lots of ``LOT=SHARES;LOT=SHARES``.

    Raises:
        ValueError: Another text; a lot twice; shares that are not positive.
    """
    picks = []
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        lot_id, sign, shares = part.rpartition("=")
        if not sign or not lot_id.strip() or _SHARES.fullmatch(shares.strip()) is None:
            raise ValueError(f"'{part}' is not LOT=SHARES")
        picks.append(LotPick(lot_id.strip(), Decimal(shares.strip())))
    if any(pick.quantity <= 0 for pick in picks):
        raise ValueError("shares of a lot must be positive")
    if len({pick.lot_id for pick in picks}) < len(picks):
        raise ValueError("a lot is named twice")
    return tuple(picks)


@dataclass(frozen=True, slots=True)
class ExecutionFinding:
    """An execution that was left out: its row, the reason, and what to do."""

    row: int
    code: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.message} {self.remedy} [{self.code}]"
