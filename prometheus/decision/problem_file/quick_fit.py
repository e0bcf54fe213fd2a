"""Whether a document fits a schema, answered by closures made of the schema once.

The full validator says what is wrong and where, and costs a hundred times as much: it is asked only about documents
that do not fit. Only the keywords of this package's schemas are known; another one is refused when the closures are
made, so that a schema cannot come to mean less here than there.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

_Check = Callable[[Any], bool]

#: What numbers of a document are; true and false are no numbers although Python counts with them.
_NUMBERS: Final = frozenset({int, float, Decimal})
_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "number": lambda value: type(value) in _NUMBERS,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "null": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "boolean": lambda value: isinstance(value, bool),
}
#: Keywords that check nothing.
_SILENT: Final = frozenset({"$schema", "$id", "title", "description", "minItems", "items", "required"})


def matches_somewhere(pattern: str, text: str) -> bool:
    """Say whether a schema's pattern fits; its ``$`` is the end of the text and not a line feed before it."""
    return re.search(pattern.replace("$", r"\Z"), text) is not None


def fit_check(schema: Mapping[str, Any]) -> _Check:
    """Return a function that says whether a value fits a schema without references.

    Raises:
        NotImplementedError: The schema has a keyword that is not known here.
    """
    checks: list[_Check] = []
    if "type" in schema:
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        checks.append(_any_of([_TYPES[kind] for kind in kinds]))
    for keyword, value in schema.items():
        if keyword in {"type", "properties", "additionalProperties"} | _SILENT:
            continue
        make = _KEYWORDS.get(keyword)
        if make is None:
            raise NotImplementedError(f"the keyword {keyword} of a schema is not known here")
        checks.append(make(value))
    if "items" in schema:
        checks.append(_list_check(schema["items"], schema.get("minItems", 0)))
    if {"properties", "additionalProperties", "required"} & schema.keys():
        checks.append(_object_check(schema))
    return _all_of(checks)


def _any_of(checks: list[_Check]) -> _Check:
    if len(checks) == 1:
        return checks[0]
    first, second = checks[0], _any_of(checks[1:])
    return lambda value: first(value) or second(value)


def _all_of(checks: list[_Check]) -> _Check:
    if not checks:
        return lambda _: True
    if len(checks) == 1:
        return checks[0]
    # a chain of two and two costs less than a generator over all
    first, second = checks[0], _all_of(checks[1:])
    return lambda value: first(value) and second(value)


def _list_check(items: Mapping[str, Any], least: int) -> _Check:
    low, high = items.get("minimum"), items.get("maximum")
    plain = items.get("type") == "number" and not items.keys() - {"type", "minimum", "maximum", "description"}
    check = fit_check(items)

    def fits(value: Any) -> bool:
        if not isinstance(value, list):
            return True
        if len(value) < least:
            return False
        if plain and value and _NUMBERS.issuperset(map(type, value)):
            # rows of numbers are most of a large file
            return (low is None or min(value) >= low) and (high is None or max(value) <= high)
        return all(map(check, value))

    return fits


def _object_check(schema: Mapping[str, Any]) -> _Check:
    known = {name: fit_check(part) for name, part in schema.get("properties", {}).items()}
    required = frozenset(schema.get("required", ()))
    others = schema.get("additionalProperties", True)
    find = known.get
    other: _Check = fit_check(others) if isinstance(others, Mapping) else lambda _: bool(others)

    def fits(value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        if not required <= value.keys():
            return False
        for name, item in value.items():  # noqa: SIM110 -- a generator costs twice as much
            if not find(name, other)(item):
                return False
        return True

    return fits


def _bound(holds: Callable[[Any, Any], bool]) -> Callable[[Any], _Check]:
    return lambda bound: lambda value: type(value) not in _NUMBERS or holds(value, bound)


def _pattern(pattern: str) -> _Check:
    search = re.compile(pattern.replace("$", r"\Z")).search
    return lambda value: not isinstance(value, str) or search(value) is not None


def _is_date(kind: str) -> _Check:
    if kind != "date":
        raise NotImplementedError(f"the format {kind} of a schema is not known here")

    def fits(value: Any) -> bool:
        if not isinstance(value, str):
            return True
        try:
            date.fromisoformat(value)
        except ValueError:
            return False
        return True

    return fits


_KEYWORDS: Final[Mapping[str, Callable[[Any], _Check]]] = {
    "const": lambda constant: lambda value: value == constant and type(value) is type(constant),
    "enum": lambda values: lambda value: any(value == one and type(value) is type(one) for one in values),
    "minimum": _bound(lambda value, bound: value >= bound),
    "maximum": _bound(lambda value, bound: value <= bound),
    "exclusiveMinimum": _bound(lambda value, bound: value > bound),
    "maxLength": lambda most: lambda value: not isinstance(value, str) or len(value) <= most,
    "uniqueItems": lambda _: lambda value: not isinstance(value, list) or len({*map(repr, value)}) == len(value),
    "pattern": _pattern,
    "format": _is_date,
}
