"""Documents checked against the published schemas, each violation said as a sentence."""

import json
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from prometheus.decision.problem_file.defects import Defect, Location, defect, json_path, shown
from prometheus.decision.problem_file.quick_fit import fit_check, matches_somewhere

PROBLEM_SCHEMA: Final = "problem.schema.json"
RESULT_SCHEMA: Final = "result.schema.json"


@cache
def schema_named(name: str) -> Mapping[str, Any]:
    """Return a schema that is shipped in this package."""
    text = (resources.files(__package__ or "") / name).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _resolved(name: str) -> Mapping[str, Any]:
    """Return a schema with every reference replaced by what it refers to: looking one up costs more than a check."""
    schema = schema_named(name)
    resolved: dict[str, Any] = _without_references(
        {key: value for key, value in schema.items() if key != "$defs"}, schema["$defs"]
    )
    return resolved


def _without_references(part: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(part, list):
        return [_without_references(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("$ref"), str):
        # What stands beside a reference says more about the place than the type does.
        part = {**definitions[part["$ref"].rsplit("/", 1)[1]], **part}
        del part["$ref"]
    return {key: _without_references(value, definitions) for key, value in part.items()}


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Check a text; without this a line feed at its end would pass, and a text that is no date fails twice."""
    if not validator.is_type(instance, "string") or matches_somewhere(pattern, instance):
        return
    if "format" in schema and not validator.format_checker.conforms(instance, schema["format"]):
        return
    yield ValidationError(f"{instance!r} does not match {pattern!r}")


# The stubs leave these functions untyped.
_Validator: Final[Any] = extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


@cache
def _fits(name: str) -> Callable[[Any], bool]:
    return fit_check(_resolved(name))


def schema_defects(document: Any, name: str) -> tuple[Defect, ...]:
    """Return every violation of a schema, in the order of the document.

    Args:
        document: JSON types; numbers may be Decimals, finite ones.
        name: File name of the schema.
    """
    if _fits(name)(document):
        return ()
    root = _resolved(name)
    validator = _Validator(root, format_checker=Draft202012Validator.FORMAT_CHECKER)
    errors = sorted(validator.iter_errors(document), key=lambda error: [_rank(part) for part in error.absolute_path])
    defects: dict[Defect, None] = {}
    for error in errors:
        defects.update(dict.fromkeys(_defects_of(error, root)))
    return tuple(defects)


def _rank(part: str | int) -> tuple[int, str]:
    return (part, "") if isinstance(part, int) else (-1, part)


def _defects_of(error: ValidationError, root: Mapping[str, Any]) -> Iterator[Defect]:
    location = list(error.absolute_path)
    # Its type allows for an error about nothing in particular; those of a validator name all of these.
    schema: Any = error.schema
    value: Any = error.instance
    if error.validator == "required":
        for name in schema["required"]:
            if name not in value:
                meaning = _meaning([*location, name], root)
                yield Defect(json_path([*location, name]), None, f"is missing; add it: {meaning}.")
    elif error.validator == "additionalProperties":
        known = list(schema["properties"])
        for name in value:
            if name not in known:
                yield defect([*location, name], value[name], f"is not known here; {advice(name, known)}")
    else:
        yield defect(location, value, f"{_why(error)}; it is: {_meaning(location, root)}.")


def advice(name: str, known: list[str]) -> str:
    """Return what to do about an unknown name: the known one that is meant, or all there are."""
    close = get_close_matches(name, known, n=1)
    return f"is {close[0]} meant?" if close else f"remove it; known are {', '.join(sorted(known))}."


def _why(error: ValidationError) -> str:
    say = _REASONS.get(str(error.validator))
    return say(error.validator_value) if say is not None else error.message


def _words(kinds: Any) -> str:
    names = {
        "number": "a number",
        "string": "text",
        "array": "a list",
        "object": "an object",
        "boolean": "true or false",
    }
    return " or ".join(names[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds))


#: What each kind of violation means, in words; the argument is the schema's own value.
_REASONS: Final[Mapping[str, Callable[[Any], str]]] = {
    "type": lambda kinds: f"must be {_words(kinds)}",
    "enum": lambda values: f"must be one of {', '.join(values)}",
    "const": lambda value: f"must be {shown(value)}",
    "minimum": lambda bound: f"must be at least {bound}",
    "exclusiveMinimum": lambda bound: f"must be more than {bound}",
    "maximum": lambda bound: f"must be at most {bound}",
    "minItems": lambda count: f"must have at least {count} entries" if count > 1 else "must not be empty",
    "maxLength": lambda count: f"must have at most {count} characters",
    "uniqueItems": lambda _: "must not name anything twice",
    "format": lambda _: "must be a date of the calendar such as 2026-01-31",
    "pattern": lambda pattern: _PATTERNS[pattern],
}

#: The schema's patterns in words.
_PATTERNS: Final[Mapping[str, str]] = {
    r"^-?[0-9]{1,15}(\.[0-9]{1,18})?$": "must be a plain decimal such as -12.50",
    r"^[0-9]{1,15}(\.[0-9]{1,18})?$": "must be a plain decimal such as 12.50, not negative",
    r"^(?=.*[1-9])[0-9]{1,15}(\.[0-9]{1,18})?$": "must be a plain decimal such as 12.50, more than 0",
    r"^(0(\.[0-9]{1,18})?|1(\.0{1,18})?)$": "must be a fraction between 0 and 1 such as 0.238",
    r"^(19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}$": "must be a day of the years 1900 to 2199 such as 2026-01-31",
    r"^\S+$": "must be text without spaces",
    r"^[A-Z]{3}$": "must be a currency code of three capitals A to Z",
}


def _meaning(location: Location, root: Mapping[str, Any]) -> str:
    """Return what belongs at a location: the nearest description on the way down to it."""
    schema, nearest = root, str(root["description"])
    for part in location:
        if isinstance(part, int):
            schema = schema["items"]
        else:
            schema = schema.get("properties", {}).get(part) or schema["additionalProperties"]
        nearest = str(schema.get("description", nearest))
    return nearest
