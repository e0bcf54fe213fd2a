"""Orders of a run: what they are called, and which of them are still open."""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from prometheus.domain.lots import Side
from prometheus.foundation.ids import run_label

_ORDER_NAME: Final = re.compile(r"(?P<account>.+):RUN-(?P<run>[0-9]{3,18}):(?P<line>[1-9][0-9]{0,8})")


class Settled(StrEnum):
    """How the unfilled rest of a run's orders ended."""

    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class OrderName:
    """Which order of which run is meant.

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
        """Return what a client order id says, None where it is none of ours."""
        found = _ORDER_NAME.fullmatch(text)
        if found is None:
            return None
        name = cls(found["account"], int(found["run"]), int(found["line"]))
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
