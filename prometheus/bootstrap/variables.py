"""Environment variables as the fields of a frozen dataclass: read, converted, refused with their name.

A library for this takes longer to load than a whole tick of the engine may take.
"""

import dataclasses
import math
import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, Self, Union, get_args, get_origin, get_type_hints

from prometheus.foundation.errors import ConfigurationError

_BOOLEANS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "1", "yes", "y", "on", "t"), True),
    **dict.fromkeys(("false", "0", "no", "n", "off", "f"), False),
}


@dataclass(frozen=True, slots=True)
class Variable:
    """Properties of a variable besides its type and default.

    Attributes:
        validation_alias: Its name in the environment.
        ge: Least value that is accepted.
        gt: Value that it must exceed.
        le: Largest value that is accepted.
        check: Called with the converted value; returns what to keep, or raises ValueError with the reason.
        secret: Whether its value may hold a password, and so is not repeated when it is refused.
    """

    validation_alias: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    check: Callable[[Any], Any] | None = None
    secret: bool = False

    def converted(self, kind: Any, text: Any) -> Any:
        """Return the value of a text.

        Args:
            kind: Type of the field, or its union with None.
            text: Content of the variable; a value of another type is returned as it is.

        Raises:
            ConfigurationError: It cannot be used; the message names the variable.
        """
        try:
            value = _converted(kind, text) if isinstance(text, str) else text
            if isinstance(value, int | float):
                self._within_limits(value)
            return value if self.check is None or value is None else self.check(value)
        except ValueError as error:
            shown = "" if self.secret else f"={text!r}"
            raise ConfigurationError(f"{self.validation_alias}{shown}: {error}.") from error

    def _within_limits(self, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError("Input should be a finite number")
        for limit, breaks, words in (
            (self.ge, operator.lt, "greater than or equal to"),
            (self.gt, operator.le, "greater than"),
            (self.le, operator.gt, "less than or equal to"),
        ):
            if limit is not None and breaks(value, limit):
                raise ValueError(f"Input should be {words} {limit:g}")


def Field(  # noqa: N802 -- reads like the classes of the fields it describes
    default: Any = dataclasses.MISSING,
    *,
    validation_alias: str,
    default_factory: Any = dataclasses.MISSING,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    check: Callable[[Any], Any] | None = None,
    secret: bool = False,
) -> Any:
    """Return a dataclass field that is read from an environment variable; arguments as of ``Variable``."""
    variable = Variable(validation_alias, ge=ge, gt=gt, le=le, check=check, secret=secret)
    metadata = {"variable": variable}
    if default is dataclasses.MISSING:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class _Variables(type):
    """Gives a class of variables the table of its variables."""

    @property
    def model_fields(cls) -> dict[str, Variable]:
        """Return the variable of each field, by the field's name."""
        return {field.name: field.metadata["variable"] for field in dataclasses.fields(cls)}  # type: ignore[arg-type]


class FromEnvironment(metaclass=_Variables):
    """Base of a frozen dataclass whose fields are made by ``Field``; an empty variable counts as not set."""

    def __new__(cls, **given: Any) -> Self:
        """Read the environment; what is given, by the variable's name, comes before it.

        Raises:
            ConfigurationError: A value cannot be used, or there is no such variable.
        """
        made = super().__new__(cls)
        kinds = _kinds(cls)
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            variable: Variable = field.metadata["variable"]
            name = variable.validation_alias
            if name in given:
                value = variable.converted(kinds[field.name], given.pop(name))
            elif text := os.environ.get(name):
                value = variable.converted(kinds[field.name], text)
            elif field.default_factory is not dataclasses.MISSING:
                value = variable.converted(kinds[field.name], field.default_factory())
            else:
                value = field.default
            object.__setattr__(made, field.name, value)
        if given:
            raise ConfigurationError(f"There is no setting {next(iter(given))}.")
        return made


@cache
def _kinds(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _converted(kind: Any, text: str) -> Any:
    if get_origin(kind) in {Union, UnionType}:
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is Literal:
        words = get_args(kind)
        if text not in words:
            raise ValueError(f"Input should be {', '.join(map(repr, words[:-1]))} or {words[-1]!r}")
        return text
    if kind is bool:
        if text.strip().lower() not in _BOOLEANS:
            raise ValueError("Input should be a valid boolean, such as true or false")
        return _BOOLEANS[text.strip().lower()]
    if kind in {int, float}:
        word = "integer" if kind is int else "number"
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"Input should be a valid {word}, unable to read it as one") from None
    return Path(text) if kind is Path else text
