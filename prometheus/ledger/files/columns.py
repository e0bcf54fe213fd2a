"""The ledger's own CSV format: its columns, its actions, and which action uses which columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

REQUIRED: Final = ("date", "account", "ticker", "action", "quantity", "amount")
OPTIONAL: Final = (
    "lot_id",
    "group",
    "account_type",
    "acquired_on",
    "other_ticker",
    "other_account",
    "basis_fraction",
    "entry_id",
    "reverses",
    "settle_date",
    "currency",
    "rate",
    "fee",
    "per_share",
    "price",
    "fraction_price",
    "taxable",
    "method",
    "cost_basis",
    "replaced_quantity",
    "holding_period_start",
    "taxpayer",
    "asset_class",
    "corrects",
    "corrected_on",
)
COLUMNS: Final = REQUIRED + OPTIONAL
#: Columns that say something about the account, in any row.
ACCOUNT_COLUMNS: Final = frozenset({"account_type", "taxpayer"})
#: Columns that say something about the security, in any row that names it.
TICKER_COLUMNS: Final = frozenset({"group", "asset_class"})
#: Columns that every event has.
EVENT_COLUMNS: Final = frozenset({"settle_date", "currency", "rate", "corrects", "corrected_on"})
#: Columns that every row has.
ROW_COLUMNS: Final = frozenset({"date", "account", "action", "entry_id"})
#: Columns in which a zero says nothing where the action has no use for them.
NUMBER_COLUMNS: Final = frozenset({"quantity", "amount", "fee", "per_share", "replaced_quantity"})


class Action(StrEnum):
    """What a row says has happened."""

    OPEN = "OPEN"
    BUY = "BUY"
    SELL = "SELL"
    SHORT = "SHORT"
    COVER = "COVER"
    REINVEST = "REINVEST"
    DIVIDEND = "DIVIDEND"
    SPECIAL_DIVIDEND = "SPECIAL_DIVIDEND"
    CAPITAL_GAIN_DIVIDEND = "CAPITAL_GAIN_DIVIDEND"
    NOTIONAL_DISTRIBUTION = "NOTIONAL_DISTRIBUTION"
    RETURN_OF_CAPITAL = "RETURN_OF_CAPITAL"
    INTEREST = "INTEREST"
    FEE = "FEE"
    SPLIT = "SPLIT"
    CASH_IN_LIEU = "CASH_IN_LIEU"
    SPINOFF = "SPINOFF"
    STOCK_DISTRIBUTION = "STOCK_DISTRIBUTION"
    RENAME = "RENAME"
    MERGER = "MERGER"
    DELIST = "DELIST"
    TRANSFER_IN = "TRANSFER_IN"
    TRANSFER_OUT = "TRANSFER_OUT"
    REVERSE = "REVERSE"


ALIASES: Final[Mapping[str, Action]] = {
    "REINVESTMENT": Action.REINVEST,
    "SYMBOL_CHANGE": Action.RENAME,
    "DELISTING": Action.DELIST,
    "OPENING": Action.OPEN,
    "SHORT_SALE": Action.SHORT,
    "SELL_SHORT": Action.SHORT,
    "BUY_TO_COVER": Action.COVER,
    "SPIN_OFF": Action.SPINOFF,
    "ROC": Action.RETURN_OF_CAPITAL,
}


@dataclass(frozen=True, slots=True)
class Use:
    """Which columns an action uses besides those of every row.

    Attributes:
        needs: Columns that must be filled in.
        may: Columns that may be.
    """

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()

    @property
    def columns(self) -> frozenset[str]:
        """Return all of them."""
        return frozenset(self.needs + self.may)


_LOT_IN: Final = Use(
    ("ticker", "quantity", "amount"),
    ("lot_id", "acquired_on", "cost_basis", "replaced_quantity", "holding_period_start"),
)
_PURCHASE: Final = Use(("ticker", "quantity", "amount"), ("fee", "lot_id"))
_PAYMENT: Final = Use(("ticker",), ("amount", "per_share"))
#: What each action uses where it concerns a security.
USES: Final[Mapping[Action, Use]] = {
    Action.OPEN: _LOT_IN,
    Action.TRANSFER_IN: _LOT_IN,
    Action.TRANSFER_OUT: Use(("ticker", "quantity"), ("lot_id", "other_account")),
    Action.BUY: _PURCHASE,
    Action.REINVEST: _PURCHASE,
    Action.SHORT: _PURCHASE,
    Action.SELL: Use(("ticker", "quantity", "amount"), ("fee", "lot_id", "method")),
    Action.COVER: Use(("ticker", "quantity"), ("amount", "fee", "lot_id")),
    Action.DIVIDEND: _PAYMENT,
    Action.SPECIAL_DIVIDEND: _PAYMENT,
    Action.CAPITAL_GAIN_DIVIDEND: _PAYMENT,
    Action.NOTIONAL_DISTRIBUTION: _PAYMENT,
    Action.RETURN_OF_CAPITAL: _PAYMENT,
    Action.INTEREST: Use(("amount",)),
    Action.FEE: Use(("amount",)),
    Action.SPLIT: Use(("ticker", "quantity"), ("amount", "fraction_price")),
    Action.CASH_IN_LIEU: Use(("ticker", "quantity", "amount")),
    Action.SPINOFF: Use(
        ("ticker", "quantity", "other_ticker", "basis_fraction"),
        ("amount", "fraction_price"),
    ),
    Action.STOCK_DISTRIBUTION: Use(("ticker", "per_share", "price")),
    Action.RENAME: Use(("ticker", "other_ticker")),
    Action.MERGER: Use(
        ("ticker",), ("quantity", "other_ticker", "per_share", "price", "taxable", "amount", "fraction_price")
    ),
    Action.DELIST: Use(("ticker",), ("amount", "per_share", "quantity")),
    Action.REVERSE: Use(("reverses",)),
}
#: What the actions use that can concern cash alone, where the row names no ticker.
CASH_USES: Final[Mapping[Action, Use]] = {
    Action.OPEN: Use(("amount",)),
    Action.TRANSFER_IN: Use(("amount",)),
    Action.TRANSFER_OUT: Use(("amount",), ("other_account",)),
}
#: What to do about a value that an action has no use for.
REMEDIES: Final[Mapping[tuple[Action, str], str]] = {
    (Action.RENAME, "quantity"): "Leave it empty; enter a SPLIT or a MERGER where the number of shares changes.",
    (Action.BUY, "acquired_on"): "Leave it empty; a lot from elsewhere comes in by OPEN or TRANSFER_IN.",
    (Action.SELL, "acquired_on"): "Leave it empty; name the lot in 'lot_id'.",
    (Action.DIVIDEND, "quantity"): "Leave it empty; what was paid for a share goes into 'per_share'.",
}


def use_of(action: Action, ticker: str) -> Use:
    """Return which columns a row uses.

    Args:
        action: The row's action.
        ticker: The row's ticker; empty where it names none.
    """
    if not ticker and action in CASH_USES:
        return CASH_USES[action]
    return USES[action]


def allowed_columns(action: Action, ticker: str) -> frozenset[str]:
    """Return all columns that a row may fill in."""
    if action is Action.REVERSE:
        return ROW_COLUMNS | ACCOUNT_COLUMNS | USES[action].columns
    allowed = ROW_COLUMNS | ACCOUNT_COLUMNS | EVENT_COLUMNS | use_of(action, ticker).columns
    return allowed | TICKER_COLUMNS if ticker else allowed
