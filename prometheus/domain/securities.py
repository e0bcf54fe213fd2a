"""Securities, prices, corporate actions and benchmark constituents."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum


class ActionType(StrEnum):
    """What a corporate action does; the values are those of the input files.

    SPLIT and SPINOFF_PRICE_FACTOR have a factor for value; the others USD a share. Only SPLIT changes share counts:
    the price factor is how some sources code a spin-off.
    """

    DIVIDEND = "dividend"
    SPECIAL_DIVIDEND = "special_dividend"
    SPLIT = "split"
    SPINOFF_VALUE = "spinoff_value"
    SPINOFF_PRICE_FACTOR = "spinoff_price_factor"
    STOCK_DISTRIBUTION_VALUE = "stock_distribution_value"


@dataclass(frozen=True, slots=True)
class Security:
    """A listed share.

    ``group`` names the set of substantially identical securities it belongs to (policy input); its own ticker where
    nobody said otherwise.
    """

    ticker: str
    name: str
    sector: str
    sub_industry: str
    group: str


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """An event on its ex-date; the meaning of ``value`` depends on ``action_type``."""

    ticker: str
    ex_date: date
    action_type: ActionType
    value: Decimal
