"""What a row of the own format must say and what it must not, before its event is built; symbols that look alike."""

import re
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Final

from prometheus.ledger.files.columns import (
    NUMBER_COLUMNS,
    REMEDIES,
    ROW_COLUMNS,
    Action,
    allowed_columns,
    use_of,
)
from prometheus.ledger.files.findings import RefusedRowError, RowFinding
from prometheus.ledger.files.values import read_number
from prometheus.ledger.shares import MOST_SHARES

#: A row by column; columns without a value are left out.
Values = Mapping[str, str]
#: The amounts of a row by column.
Money = Mapping[str, Decimal]
_SEPARATORS: Final = re.compile(r"[./ -]")
_RATIOS: Final = frozenset({Action.SPLIT, Action.SPINOFF, Action.MERGER})
#: Actions whose amount may be negative: a refund, interest paid.
_SIGNED: Final = frozenset({Action.FEE, Action.INTEREST})
_MONEY: Final = ("amount", "fee", "cost_basis", "per_share", "price", "fraction_price")


def check_columns(action: Action, values: Values) -> None:
    """Refuse a row that lacks a name it needs, or has a value that its action has no use for.

    Raises:
        RefusedRowError: NO_ACCOUNT, NO_TICKER, NO_TARGET or UNUSED_VALUE.
    """
    if not _is_sound(action, tuple(values)):
        ticker = values.get("ticker", "").upper()
        _check_names(action, ticker, values)
        _check_uses(action, ticker, values)


@lru_cache(maxsize=1024)
def _is_sound(action: Action, columns: tuple[str, ...]) -> bool:
    """Return whether every row with values in these columns has what its action needs, and nothing else.

    A file has few such shapes. False where the values themselves decide.
    """
    values = dict.fromkeys(columns, "x")
    if "other_ticker" in values:
        return False
    ticker = values.get("ticker", "")
    try:
        _check_names(action, ticker, values)
        _check_uses(action, ticker, values)
        if action is not Action.REVERSE:
            _check_complete(action, ticker, values)
    except RefusedRowError:
        return False
    return True


def _check_names(action: Action, ticker: str, values: Values) -> None:
    if not values.get("account"):
        raise RefusedRowError("NO_ACCOUNT", "The row names no account.", "Fill in the account.")
    if action is Action.REVERSE:
        if not values.get("reverses"):
            raise RefusedRowError(
                "NO_TARGET", "The correction does not say which row it reverses.", "Name the row in 'reverses'."
            )
        return
    if not ticker and "ticker" in use_of(action, ticker).needs:
        raise RefusedRowError("NO_TICKER", f"A {action} names no security.", "Fill in the ticker.")
    if values.get("corrected_on") and not values.get("corrects"):
        raise RefusedRowError("NO_TARGET", "A correction names no row.", "Name the row in 'corrects'.")


def _check_uses(action: Action, ticker: str, values: Values) -> None:
    """Refuse a value that is not read. A zero in a column of numbers says nothing."""
    allowed = allowed_columns(action, ticker)
    for column, text in values.items():
        if column in allowed or not text or (column in NUMBER_COLUMNS and _is_zero(text)):
            continue
        what = f"A {action}" if ticker or column in ROW_COLUMNS else f"A {action} of cash"
        remedy = REMEDIES.get((action, column), "Leave it empty, or correct the action.")
        raise RefusedRowError("UNUSED_VALUE", f"{what} has no use for '{text}' in {column}.", remedy)


def _is_zero(text: str) -> bool:
    try:
        return not read_number(text, "")
    except RefusedRowError:
        return False


def read_money(action: Action, values: Values) -> Money:
    """Return the amounts of a row, and refuse one whose numbers are impossible or missing.

    Raises:
        RefusedRowError: TOO_LARGE, NEGATIVE_AMOUNT, and what says which value is missing.
    """
    money: dict[str, Decimal] = {}
    for column in _MONEY:
        number = read_number(values[column], column) if column in values else None
        if number is None:
            continue
        money[column] = number
        if 0 <= number <= MOST_SHARES:
            continue
        if abs(number) > MOST_SHARES:
            raise RefusedRowError(
                "TOO_LARGE", f"The {column} {number} is larger than {MOST_SHARES:,}.", f"Correct the {column}."
            )
        if not (column == "amount" and (action in _SIGNED or (action is Action.OPEN and "ticker" not in values))):
            raise RefusedRowError(
                "NEGATIVE_AMOUNT",
                f"The {column} {number} is negative.",
                "Give money as a positive number; the action says which way it goes.",
            )
    if not _is_sound(action, tuple(values)):
        _check_complete(action, values.get("ticker", "").upper(), values)
    return money


def _check_complete(action: Action, ticker: str, values: Values) -> None:
    needs = use_of(action, ticker).needs
    if "quantity" in needs and not values.get("quantity"):
        if action in _RATIOS:
            raise RefusedRowError(
                "ZERO_RATIO",
                f"A {action} without a ratio is impossible.",
                "Give new shares for one old as the quantity: 2 for 2:1, 0.1 for 1:10.",
            )
        raise RefusedRowError("NO_QUANTITY", f"A {action} needs shares, this one has none.", "Fill in the quantity.")
    if "amount" in needs and not values.get("amount"):
        raise RefusedRowError(
            "NO_AMOUNT", f"A {action} needs an amount, this one has none.", "Fill in the amount; 0 for nothing."
        )
    is_payment = {"amount", "per_share"} <= set(use_of(action, ticker).may) and action is not Action.MERGER
    if is_payment and bool(values.get("amount")) is bool(values.get("per_share")):
        raise RefusedRowError(
            "NO_AMOUNT",
            f"A {action} needs either an amount or a value per share.",
            "Fill in the amount, 0 for nothing, or 'per_share'.",
        )
    if "other_ticker" in needs and values.get("other_ticker", "").upper() in {"", ticker}:
        raise RefusedRowError("NO_OTHER_TICKER", f"A {action} needs another security.", "Fill in 'other_ticker'.")
    if "basis_fraction" in needs and not values.get("basis_fraction"):
        raise RefusedRowError(
            "BAD_BASIS_FRACTION",
            "A spin-off moves a part of the basis between 0 and 1, this one says none.",
            "Fill in 'basis_fraction' from the company's Form 8937.",
        )
    for column in ("per_share", "price"):
        if column in needs and not values.get(column):
            raise RefusedRowError("NO_PRICE", f"A {action} needs '{column}'.", f"Fill in '{column}'.")


def separator_hints(tickers: Mapping[str, int]) -> list[RowFinding]:
    """Return a hint for each symbol that differs from another one by the separator only, such as BRK.B and BRK/B.

    Brokers write the class of a share behind a point, a slash, a hyphen or a blank.
    The rows are booked as two securities: the ledger does not guess that they are one.

    Args:
        tickers: Symbol to the first line that names it.
    """
    spellings: dict[str, list[str]] = defaultdict(list)
    for ticker in tickers:
        spellings[_SEPARATORS.sub("", ticker)].append(ticker)
    hints = []
    for names in spellings.values():
        first, *others = sorted(names, key=lambda name: (tickers[name], name))
        hints += [
            RowFinding(
                tickers[other],
                "SIMILAR_SYMBOLS",
                f"{other} and {first} differ by the separator only, and are booked as two securities.",
                "Write one symbol throughout where they are one, or enter a RENAME.",
                refused=False,
            )
            for other in others
        ]
    return hints
