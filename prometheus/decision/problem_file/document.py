"""The bytes of a problem file as a document: JSON read exactly, nothing guessed."""

import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from prometheus.decision.problem_file.defects import Defect, Location, json_path, refuse
from prometheus.foundation.errors import FileRefusedError

#: Integers below this are finite as floats.
_LARGE = 10**300
#: Levels of lists and objects in one another that no problem file needs.
_DEEPEST = 20


class _DuplicateKeyError(Exception):
    pass


def exact(value: Decimal | int | str) -> Decimal:
    """Return a decimal of the document, written as a number or as text."""
    return Decimal(value)


def parse_document(raw: bytes, name: str) -> dict[str, Any]:
    """Read JSON with every number exact: integers as int, the others as Decimal.

    Args:
        raw: Content of the file, UTF-8.
        name: Name of the file, for messages.

    Raises:
        FileRefusedError: Not UTF-8, not JSON, not an object, a key twice in one object, NaN or an infinity.
    """
    try:
        document = json.loads(
            raw.decode("utf-8-sig"), parse_float=Decimal, parse_constant=Decimal, object_pairs_hook=_unique
        )
    except UnicodeDecodeError as error:
        raise _refused(name, f"byte {error.start} is not UTF-8; save the file as UTF-8.") from error
    except json.JSONDecodeError as error:
        raise _refused(
            name, f"line {error.lineno}, column {error.colno} is not JSON: {error.msg}; correct it there."
        ) from error
    except _DuplicateKeyError as error:
        raise _refused(name, f"the key {error} stands twice in one object; keep one of the two.") from error
    except (ValueError, ArithmeticError) as error:
        raise _refused(name, "it holds a number that is too long to be meant; correct it.") from error
    except RecursionError as error:
        raise _refused(name, "the JSON is nested too deeply for a problem file.") from error
    if not isinstance(document, dict):
        raise _refused(name, f"a problem file holds one JSON object, not a {type(document).__name__}.")
    refuse(name, _unfit(document, ()))
    return document


def _refused(name: str, what: str) -> FileRefusedError:
    return FileRefusedError(f"{name} cannot be read: {what}", code="PROBLEM_REFUSED")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKeyError(repr(next(key for i, key in enumerate(keys) if key in keys[:i])))
    return members


def _unfit(value: Any, location: Location) -> Iterator[Defect]:
    """Return the values that no file of this kind can hold: no finite number, no text, nesting without end."""
    if len(location) > _DEEPEST:
        yield Defect(json_path(location), None, "is nested too deeply for a problem file; take it out.")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not _is_text(key):
                yield Defect(json_path(location), repr(key)[:40], "is a key with half a character; correct it.")
            else:
                yield from _unfit(item, (*location, key))
    elif isinstance(value, list):
        # rows of numbers are most of a large file
        for position, item in enumerate(value):
            if type(item) is not int or not -_LARGE < item < _LARGE:
                yield from _unfit(item, (*location, position))
    elif isinstance(value, str):
        if not _is_text(value):
            yield Defect(json_path(location), repr(value)[:40], "holds half a character; write all of it.")
    elif isinstance(value, int | Decimal) and not _fits_a_float(value):
        yield Defect(json_path(location), str(value)[:40], "is not a finite number; write one that is.")


def _is_text(value: str) -> bool:
    """Say whether a text can be written to a file: JSON can name half a character (a lone surrogate)."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _fits_a_float(value: Decimal | int) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
