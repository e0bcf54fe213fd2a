"""Canonical JSON: one byte string for one value, so that hashes mean something."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeAlias

#: A value of JSON types. Tuples stand for lists.
JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
#: An object of JSON, as it was read or as it is going to be written.
JsonObject: TypeAlias = Mapping[str, JsonValue]

#: JSON has these as they are.
_PLAIN: Final = frozenset({str, int, bool, type(None)})


@dataclass(frozen=True, slots=True)
class CanonicalText:
    """Canonical JSON that was written already; it replaces its value wherever that is stored or hashed.

    A snapshot of 400 securities is written once and not once for each table and hash that holds it. ``members`` has the
    text of each member of an object where the writer kept them; None where it did not.
    """

    text: str
    members: Mapping[str, str] | None = field(default=None, compare=False, repr=False)


def to_jsonable(value: Any) -> Any:
    """Return ``value`` made of JSON types only.

    Decimals become strings (a float would lose digits), dates ISO strings, enums their value, tuples and sets lists.

    Raises:
        TypeError: A type with no canonical form, a naive datetime or a float that is not finite.
    """
    # The most frequent types of a snapshot come first: in another order this takes a third of a day's work.
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list or kind is tuple:
        return [item if type(item) in _PLAIN else to_jsonable(item) for item in value]
    if kind is dict:
        return {
            key if type(key) is str else str(key): item if type(item) in _PLAIN else to_jsonable(item)
            for key, item in value.items()
        }
    if kind is float and math.isfinite(value):
        return value + 0.0
    if kind is Decimal:
        return format(value, "f")
    if kind is date:
        return value.isoformat()
    if isinstance(value, Enum):
        return to_jsonable(value.value)
    if isinstance(value, int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{value} has no canonical JSON form")
        # PostgreSQL's jsonb has no negative zero.
        return value + 0.0
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"naive datetime {value} has no canonical JSON form")
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(to_jsonable(item) for item in value)
    if isinstance(value, list | tuple):
        return [to_jsonable(item) for item in value]
    if isinstance(value, CanonicalText):
        return json.loads(value.text)
    raise TypeError(f"{type(value).__name__} has no canonical JSON form")


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces, equal for equal values."""
    if isinstance(value, CanonicalText):
        return value.text
    return text_of_jsonable(to_jsonable(value))


def text_of_jsonable(value: Any) -> str:
    """Return the canonical JSON of what ``to_jsonable`` returned, without checking every value again."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_document(members: Mapping[str, Any]) -> CanonicalText:
    """Return the canonical JSON of an object made of JSON types, with the text of each member kept beside it.

    A member may be CanonicalText; it is not parsed.
    """
    texts = {name: _text_of(members[name]) for name in sorted(members)}
    return CanonicalText(f"{{{','.join(f'{_name_text(name)}:{text}' for name, text in texts.items())}}}", texts)


def _text_of(value: Any) -> str:
    return value.text if isinstance(value, CanonicalText) else text_of_jsonable(value)


def _name_text(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def canonical_object(members: Mapping[str, Any]) -> str:
    """Return the canonical JSON of an object some of whose members may be CanonicalText; they are not parsed."""
    written = (f"{json.dumps(name, ensure_ascii=False)}:{canonical_json(members[name])}" for name in sorted(members))
    return f"{{{','.join(written)}}}"


def sha256_of(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of ``value`` as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
