"""An event as JSON and back: what is stored of a fact, with nothing left out.

Equal events give equal texts. Numbers are texts without exponent or trailing zeros, dates ISO texts, ratios fractions
as texts, lots named pairs of name and shares. What an event does not say is left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import date
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import UnionType
from typing import Any, Final, NamedTuple, get_args, get_origin, get_type_hints

from prometheus.domain.books import LotPick
from prometheus.domain.money import plain_text
from prometheus.foundation.canonical import text_of_jsonable
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.events import EVENT_TYPES, Event

_KIND: Final = "type"


class _Field(NamedTuple):
    """One field of an event: its name, and how its value is written and read."""

    name: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def event_document(event: Event) -> dict[str, Any]:
    """Return an event as JSON types; the name of its class stands under ``type``."""
    document: dict[str, Any] = {_KIND: type(event).__name__}
    for name, write, _ in _FIELDS[type(event)]:
        value = getattr(event, name)
        if value is not None:
            document[name] = write(value)
    return document


def event_text(event: Event) -> str:
    """Return an event as canonical JSON; equal events give equal texts."""
    return text_of_jsonable(event_document(event))


def event_of(document: Mapping[str, Any]) -> Event:
    """Return the event that ``event_document`` wrote.

    Raises:
        AccountingError: A kind or a field that this program does not know.
    """
    kind = EVENT_TYPES.get(document.get(_KIND, ""))
    if kind is None:
        raise AccountingError(
            f"a stored event is of the kind {document.get(_KIND)!r}, which this program does not know; use a newer one."
        )
    try:
        return kind(**{name: read(document[name]) for name, _, read in _FIELDS[kind] if name in document})
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise AccountingError(f"a stored {kind.__name__} cannot be read: {error}.") from error


def same_text(value: Event) -> Event:
    """Return an event with its numbers as they come back from ``event_of``."""
    return event_of(event_document(value))


def _same(value: Any) -> Any:
    return value


def _write_picks(picks: tuple[LotPick, ...]) -> list[list[str]]:
    return [[pick.lot_id, plain_text(pick.quantity)] for pick in picks]


def _read_picks(rows: list[list[str]]) -> tuple[LotPick, ...]:
    return tuple(LotPick(lot_id, Decimal(quantity)) for lot_id, quantity in rows)


def _converters(hint: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    if isinstance(hint, UnionType):
        (inner,) = (each for each in get_args(hint) if each is not type(None))
        return _converters(inner)
    if get_origin(hint) is tuple:
        return _write_picks, _read_picks
    if hint is Event:
        return event_document, event_of
    if issubclass(hint, Enum):
        return (lambda value: value.value), hint
    return _SCALARS[hint]


_SCALARS: Final[Mapping[Any, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {
    str: (_same, _same),
    bool: (_same, _same),
    Decimal: (plain_text, Decimal),
    Fraction: (str, Fraction),
    date: (date.isoformat, date.fromisoformat),
}


def _fields_of(kind: type[Event]) -> tuple[_Field, ...]:
    hints = get_type_hints(kind)
    return tuple(_Field(each.name, *_converters(hints[each.name])) for each in fields(kind))


_FIELDS: Final[Mapping[type[Event], tuple[_Field, ...]]] = {kind: _fields_of(kind) for kind in EVENT_TYPES.values()}
