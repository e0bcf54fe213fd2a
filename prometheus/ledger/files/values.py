"""Texts as numbers, dates and ratios: strict, so that a slip of the pen is refused and never guessed at."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final

from prometheus.domain.books import LotPick
from prometheus.domain.money import plain_text
from prometheus.ledger.files.findings import RefusedRowError
from prometheus.ledger.shares import split_ratio

#: A sign and a currency sign in front, in either order, each once at most.
_FRONT: Final = re.compile(r"(?P<sign>[+-]?)\$?(?P<inner>[+-]?)(?P<digits>[0-9.,' \u00a0].*)")
_DIGITS: Final = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
#: Numbers beyond this length are no amounts and no shares.
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How a file writes numbers.

    Attributes:
        decimal: Sign between units and parts.
        thousands: Sign between groups of three digits.
        has_parentheses: Whether ``(5.00)`` is minus five.
    """

    decimal: str = "."
    thousands: str = ","
    has_parentheses: bool = False


PLAIN: Final = NumberFormat()


def read_number(text: str, column: str, form: NumberFormat = PLAIN) -> Decimal | None:
    """Return the number that a text stands for, None for an empty text.

    A dollar sign is allowed once, in front. Thousands are allowed in groups of three.

    Args:
        text: Such as ``1234.5``, ``$1,234.50`` or ``-$5``.
        column: Where it comes from, for the message.
        form: How the file writes numbers.

    Raises:
        RefusedRowError: BAD_NUMBER.
    """
    if not text:
        return None
    if form is PLAIN and len(text) <= _LONGEST and text.isascii() and text.replace(".", "", 1).isdigit():
        return Decimal(text)  # as nearly every number is written
    body = text
    is_negative = False
    if form.has_parentheses and body.startswith("(") and body.endswith(")"):
        body, is_negative = body[1:-1], True
    front = _FRONT.fullmatch(body) if len(body) <= _LONGEST else None
    if front is None or (front["sign"] and front["inner"]) or (is_negative and (front["sign"] or front["inner"])):
        raise _bad_number(text, column)
    digits = _without_thousands(front["digits"], form)
    if digits is None:
        raise _bad_number(text, column)
    number = Decimal(digits)
    return -number if is_negative or "-" in front["sign"] + front["inner"] else number


def _without_thousands(text: str, form: NumberFormat) -> str | None:
    units, mark, parts = text.partition(form.decimal)
    groups = units.split(form.thousands)
    if len(groups) > 1:
        if not 1 <= len(groups[0]) <= 3 or any(len(group) != 3 for group in groups[1:]):
            return None
        units = "".join(groups)
    plain = f"{units}.{parts}" if mark else units
    return plain if _DIGITS.fullmatch(plain) else None


def _bad_number(text: str, column: str) -> RefusedRowError:
    return RefusedRowError("BAD_NUMBER", f"'{text}' in {column} is no number.", "Write digits and a point only.")


def read_day(text: str, column: str, formats: Iterable[str] = ()) -> date:
    """Return the date that a text stands for.

    Args:
        text: The text.
        column: Where it comes from, for the message.
        formats: Formats of ``datetime.strptime`` in the order in which they are tried; ISO where none is given.

    Raises:
        RefusedRowError: BAD_DATE.
    """
    formats = tuple(formats)
    for form in formats:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 -- a date on paper has no zone
        except ValueError:
            continue
    if not formats:
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    remedy = f"Write dates as {' or '.join(formats)}." if formats else "Write dates as YYYY-MM-DD."
    raise RefusedRowError("BAD_DATE", f"'{text}' in {column} is no date.", remedy)


def read_ratio(text: str, column: str = "quantity", *, is_quoted: bool = False) -> Fraction | None:
    """Return the exact ratio that a text stands for, None for an empty text.

    Args:
        text: ``new:old`` or ``new/old``, such as ``1:3``, or a decimal such as ``0.1``.
        column: Where it comes from, for the message.
        is_quoted: Whether a decimal may be a ratio of small whole numbers rounded to six places, as factors of splits
            are: ``0.333333`` is 1 for 3.

    Raises:
        RefusedRowError: BAD_NUMBER, ZERO_RATIO or NEGATIVE_QUANTITY.
    """
    if not text:
        return None
    parts = re.split(r"[:/]", text)
    numbers = [read_number(part.strip(), column) for part in parts]
    if len(numbers) > 2 or any(number is None for number in numbers) or not all(numbers):
        raise RefusedRowError("ZERO_RATIO", f"'{text}' is no ratio.", "Write new:old, such as 2:1 or 1:10.")
    if any(number < 0 for number in numbers if number is not None):
        raise RefusedRowError(
            "NEGATIVE_QUANTITY", f"The ratio {text} is negative.", "Write new:old, such as 2:1 or 1:10."
        )
    if len(numbers) == 1:
        factor = numbers[0] or Decimal(0)
        return split_ratio(factor) if is_quoted else Fraction(factor)
    return Fraction(numbers[0] or 0) / Fraction(numbers[1] or 1)


def ratio_text(ratio: Fraction) -> str:
    """Return a ratio as ``read_ratio`` reads it exactly."""
    return f"{ratio.numerator}:{ratio.denominator}"


def read_picks(names: str, quantity: Decimal | None) -> tuple[LotPick, ...]:
    """Return the lots that a sale names: one name, or several as ``name=shares`` with semicolons between.

    Raises:
        RefusedRowError: BAD_LOTS or BAD_NUMBER.
    """
    if not names or quantity is None:
        return ()
    if "=" not in names and ";" not in names:
        return (LotPick(names, quantity),)
    picks = []
    for part in names.split(";"):
        name, _, shares = part.rpartition("=")
        count = read_number(shares.strip(), "lot_id") if name.strip() else None
        if count is None:
            raise RefusedRowError(
                "BAD_LOTS", f"'{names}' does not say how many shares of each lot.", "Write LOT=SHARES;LOT=SHARES."
            )
        picks.append(LotPick(name.strip(), count))
    return tuple(picks)


def picks_text(picks: Iterable[LotPick]) -> str:
    """Return lots as ``read_picks`` reads them."""
    return ";".join(f"{pick.lot_id}={plain_text(pick.quantity)}" for pick in picks)


def read_yes(text: str, column: str) -> bool:
    """Return whether a text says yes; an empty one says no.

    Raises:
        RefusedRowError: BAD_ANSWER.
    """
    answer = text.lower()
    if answer in {"yes", "true", "1"}:
        return True
    if answer in {"", "no", "false", "0"}:
        return False
    raise RefusedRowError("BAD_ANSWER", f"'{text}' in {column} is neither yes nor no.", "Write yes or no.")
