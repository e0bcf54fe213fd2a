"""A broker's history as CSV text, read into entries; a row that cannot be read is a finding."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from prometheus.domain.books import LotPick
from prometheus.domain.entries import Entry, EntryAction, EntryFinding
from prometheus.foundation.errors import FileRefusedError

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
)
#: Account types that are taxed when gains are realised, and those that are not.
_TAXABLE: Final = frozenset({"", "TAXABLE"})
_SHELTERED: Final = frozenset({"IRA", "ROTH", "401K", "RRSP", "TFSA", "SHELTERED"})
_ALIASES: Final = {"REINVESTMENT": "REINVEST", "SYMBOL_CHANGE": "RENAME", "DELISTING": "DELIST", "OPENING": "OPEN"}
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
#: Thousands as a broker prints them, in quotes: "5,000.00".
_THOUSANDS: Final = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class EntryFile:
    """What a file says.

    Attributes:
        entries: Its readable rows.
        sheltered: Accounts that a row marks as IRA or the like.
        findings: Its unreadable rows.
        rows: Number of rows, without the header.
    """

    entries: tuple[Entry, ...]
    sheltered: frozenset[str]
    findings: tuple[EntryFinding, ...]
    rows: int


class _UnreadableError(Exception):
    """A value that is not what its column needs; caught row by row."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.found = (code, message, remedy)


def read_entries(text: str) -> EntryFile:
    """Read CSV text with the columns date,account,ticker,action,quantity,amount and any of the optional ones.

    Rows are numbered as lines of the file. Empty lines are passed over, before the header too.

    Raises:
        FileRefusedError: The text has no header, or the header lacks a column or has one that is not known.

    Source: docs/specs/accounting.md, "Files".
    """
    lines = io.StringIO(text.removeprefix("\ufeff"), newline="")
    above = 0
    while (line := lines.readline()) and not line.strip():
        above += 1
    lines.seek(lines.tell() - len(line))
    reader = csv.DictReader(lines, restkey="", restval="")
    names = [name.strip().lower() for name in reader.fieldnames or ()]
    _check_header(names)
    reader.fieldnames = names
    entries: list[Entry] = []
    findings: list[EntryFinding] = []
    types: dict[str, str] = {}
    count = 0
    row = above + reader.line_num
    for record in reader:
        first, row = row + 1, above + reader.line_num
        if not any(_text(value) for value in record.values()):
            continue
        count += 1
        try:
            _check_text(record, first, row)
            values = _values(record)
            _note_type(values, types)
            entries.append(_entry(row, values))
        except _UnreadableError as error:
            findings.append(EntryFinding(row, *error.found))
    sheltered = frozenset(account for account, kind in types.items() if kind in _SHELTERED)
    return EntryFile(tuple(entries), sheltered, tuple(findings), count)


def _check_header(names: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in names]
    if missing and len(names) == 1 and any(sign in names[0] for sign in ";\t|"):
        raise FileRefusedError(
            "The values of the header are not separated by commas; save the file as CSV with commas, or with quotes "
            "around values that contain them.",
            code="NOT_COMMAS",
        )
    if missing:
        raise FileRefusedError(
            f"The header lacks {', '.join(missing)}; the columns are {','.join(REQUIRED)} and, where needed, "
            f"{', '.join(OPTIONAL)}.",
            code="MISSING_COLUMN",
        )
    unknown = sorted(set(names) - set(REQUIRED) - set(OPTIONAL))
    if unknown or len(set(names)) < len(names):
        what = f"the columns {', '.join(unknown)}" if unknown else "a column twice"
        raise FileRefusedError(
            f"The header has {what}; known are {', '.join((*REQUIRED, *OPTIONAL))}.", code="UNKNOWN_COLUMN"
        )


def _check_text(record: Mapping[str, str | list[str] | None], first: int, last: int) -> None:
    """Refuse a value that goes over lines (a quote is not closed) or holds what no name or number does."""
    texts = [part for value in record.values() for part in (value if isinstance(value, list) else [value or ""])]
    if any("\n" in text or "\r" in text for text in texts):
        raise _UnreadableError(
            "UNCLOSED_QUOTE",
            f"A value goes on from line {first} to line {last}, so that the rows between are not read.",
            f"Close the quote in line {first}, or remove it.",
        )
    if any(_CONTROL.search(text.strip()) for text in texts):
        raise _UnreadableError("BAD_TEXT", "A value has characters that cannot be printed.", "Remove them.")


def _values(record: Mapping[str, str | list[str] | None]) -> dict[str, str]:
    if _text(record.get("")):
        raise _UnreadableError("TOO_MANY_VALUES", "The row has more values than columns.", "Quote values with commas.")
    return {name: _text(value) for name, value in record.items()}


def _text(value: str | list[str] | None) -> str:
    if isinstance(value, list):
        return "".join(value).strip()
    return (value or "").strip()


def _note_type(values: Mapping[str, str], types: dict[str, str]) -> None:
    kind = values.get("account_type", "").upper()
    if kind not in _TAXABLE | _SHELTERED:
        known = ", ".join(sorted(_SHELTERED | {"TAXABLE"}))
        raise _UnreadableError("UNKNOWN_TYPE", f"'{kind}' is no type of account.", f"Use one of {known}.")
    account = values["account"]
    if kind and (types.setdefault(account, kind) in _SHELTERED) is not (kind in _SHELTERED):
        raise _UnreadableError(
            "TYPE_CONFLICT",
            f"{account} is {kind} here and {types[account]} further up.",
            "Give an account one type throughout.",
        )


def _entry(row: int, values: Mapping[str, str]) -> Entry:
    action = _action(values["action"])
    quantity = _quantity(values["quantity"], ratio=action in {EntryAction.SPLIT, EntryAction.SPINOFF})
    names = values.get("lot_id", "")
    gives = action in {EntryAction.SELL, EntryAction.TRANSFER_OUT}
    return Entry(
        row=row,
        day=_day(values["date"], "date"),
        account=values["account"],
        action=action,
        ticker=values["ticker"].upper(),
        quantity=quantity,
        amount=_number(values["amount"], "amount"),
        picks=_picks(names, quantity) if gives else (),
        lot_id=None if gives else names or None,
        group=values.get("group") or None,
        acquired_on=_day(values["acquired_on"], "acquired_on") if values.get("acquired_on") else None,
        other_ticker=values.get("other_ticker", "").upper() or None,
        other_account=values.get("other_account") or None,
        basis_fraction=_number(values.get("basis_fraction", ""), "basis_fraction"),
        entry_id=values.get("entry_id") or None,
        reverses=values.get("reverses") or None,
    )


def _action(text: str) -> EntryAction:
    name = text.upper().replace(" ", "_").replace("-", "_")
    try:
        return EntryAction(_ALIASES.get(name, name))
    except ValueError:
        known = ", ".join(EntryAction)
        raise _UnreadableError("UNKNOWN_ACTION", f"'{text}' is no action.", f"Use one of {known}.") from None


def _day(text: str, column: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _UnreadableError("BAD_DATE", f"'{text}' in {column} is no date.", "Write dates as YYYY-MM-DD.") from None


def _number(text: str, column: str) -> Decimal | None:
    if not text:
        return None
    plain = text.replace("$", "")
    if _THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    if not _NUMBER.fullmatch(plain):
        raise _UnreadableError("BAD_NUMBER", f"'{text}' in {column} is no number.", "Write digits and a point only.")
    try:
        return Decimal(plain)
    except InvalidOperation:  # pragma: no cover -- the pattern has refused it
        raise _UnreadableError("BAD_NUMBER", f"'{text}' in {column} is no number.", "Write digits only.") from None


def _quantity(text: str, *, ratio: bool) -> Decimal | None:
    """Read shares, or a ratio, which may be written as new:old or new/old."""
    parts = re.split(r"[:/]", text)
    if not ratio or len(parts) == 1:
        return _number(text, "quantity")
    numbers = [_number(part.strip(), "quantity") for part in parts]
    if len(numbers) != 2 or None in numbers or not numbers[1]:
        raise _UnreadableError("ZERO_RATIO", f"'{text}' is no ratio.", "Write new:old, such as 2:1 or 1:10.")
    found = Fraction(numbers[0] or 0) / Fraction(numbers[1])
    return Decimal(found.numerator) / Decimal(found.denominator)


def _picks(names: str, quantity: Decimal | None) -> tuple[LotPick, ...]:
    """Read the lots of a sale: one name, or several as name=shares with semicolons between."""
    if not names or quantity is None:
        return ()
    if "=" not in names and ";" not in names:
        return (LotPick(names, quantity),)
    picks = []
    for part in names.split(";"):
        name, _, shares = part.rpartition("=")
        found = _number(shares.strip(), "lot_id") if name else None
        if found is None:
            raise _UnreadableError(
                "BAD_LOTS", f"'{names}' does not say how many shares of each lot.", "Write LOT=SHARES;LOT=SHARES."
            )
        picks.append(LotPick(name.strip(), found))
    return tuple(picks)
