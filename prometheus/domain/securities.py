"""Securities, prices, corporate actions and benchmark constituents."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum


class ActionType(StrEnum):
    """Type of a corporate action; the values are those of the input files.

    SPLIT and SPINOFF_PRICE_FACTOR have a factor for value, SPINOFF the shares of the child for one of the parent, a
    SYMBOL_CHANGE has 1; the others money a share. Only SPLIT changes share counts: the price factor is how some sources
    code a spin-off. SPINOFF_VALUE is a spin-off without a named child, SPINOFF one into a named child.
    """

    DIVIDEND = "dividend"
    SPECIAL_DIVIDEND = "special_dividend"
    SPLIT = "split"
    SPINOFF_VALUE = "spinoff_value"
    SPINOFF_PRICE_FACTOR = "spinoff_price_factor"
    STOCK_DISTRIBUTION_VALUE = "stock_distribution_value"
    SPINOFF = "spinoff"
    SYMBOL_CHANGE = "symbol_change"
    DELISTING = "delisting"


@dataclass(frozen=True, slots=True)
class Security:
    """A listed share.

    ``group`` is the set of substantially identical securities it belongs to (policy input); by default its own ticker.
    """

    ticker: str
    name: str
    sector: str
    sub_industry: str
    group: str


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """An event on its ex-date, the first day on which it is in force before trading.

    Attributes:
        ticker: The security, by the symbol it has before the day.
        ex_date: The day.
        action_type: What happens.
        value: See ``ActionType``.
        other_ticker: The child of a SPINOFF, the new symbol of a SYMBOL_CHANGE; empty for every other type.
        basis_fraction: Part of the parent's basis that a SPINOFF moves to the child, above 0 and below 1.
    """

    ticker: str
    ex_date: date
    action_type: ActionType
    value: Decimal
    other_ticker: str = ""
    basis_fraction: Decimal | None = None

    @property
    def securities(self) -> tuple[str, ...]:
        """Return the securities that the action concerns: its own, and the other one where it names one."""
        return (self.ticker, self.other_ticker) if self.other_ticker else (self.ticker,)


@dataclass(frozen=True, slots=True)
class LastPrice:
    """The latest close on or before a day, and the day it is from."""

    price_date: date
    close: Decimal


@dataclass(frozen=True, slots=True, eq=False)
class BenchmarkDay:
    """Constituents in force on a day: tickers ascending, weights as stored (they sum to about one)."""

    benchmark_id: str
    effective_date: date
    tickers: tuple[str, ...]
    weights: tuple[Decimal, ...]
