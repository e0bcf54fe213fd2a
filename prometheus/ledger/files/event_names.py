"""Names of events that their source does not name: from what they say, so that the same row has the same name again."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from prometheus.domain.accounts import LotMethod
from prometheus.domain.money import plain_text
from prometheus.ledger.events import DividendKind, Event

#: Hexadecimal digits of a name: equal ones of different rows of one account, day, kind and ticker are not to be met.
_DIGITS: Final = 10


def with_names(events: Iterable[Event]) -> list[Event]:
    """Return the events in their order, those without a name under one made of their content.

    Events of one account with the same content are counted: the second is called ``...-2``. So a file that is read
    again, alone or within a longer one, gives the same events, and none of them is booked twice.

    Args:
        events: Of any accounts; ``event_id`` is empty where the source names none.
    """
    counts: Counter[tuple[str, str]] = Counter()
    named = []
    for event in events:
        if event.event_id:
            named.append(event)
            continue
        stem = content_name(event)
        counts[event.account, stem] += 1
        number = counts[event.account, stem]
        named.append(replace(event, event_id=stem if number == 1 else f"{stem}-{number}"))
    return named


def content_name(event: Event) -> str:
    """Return a name made of what an event says: date, kind, ticker and a digest.

    It does not depend on what event and account are called: lots that rank alike are sold in the order of their names,
    and an account by another name must not sell others.
    """
    digest = hashlib.sha256(_content(event, is_named=False).encode()).hexdigest()[:_DIGITS]
    kind, ticker = type(event).__name__, getattr(event, "ticker", "")
    stem = f"{event.trade_date:%Y%m%d}-{kind}"
    return f"{stem}-{ticker}-{digest}" if ticker else f"{stem}-{digest}"


def _content(value: Any, *, is_named: bool = True) -> str:
    """Return kind and fields of a dataclass in one text.

    Fields at their defaults are left out, so that a field that is added later changes no name.
    """
    parts = []
    for name, default in _fields_of(type(value)):
        told = getattr(value, name)
        if told != default and name != "account" and (is_named or name != "event_id"):
            parts.append(f"{name}={_TEXTS.get(type(told), _content)(told)!r}")
    return f"{type(value).__name__}({';'.join(parts)})"


def _fields_of(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    known = _FIELDS.get(kind)
    if known is None:
        known = _FIELDS[kind] = tuple((each.name, each.default) for each in fields(kind))
    return known


#: Names and defaults of the fields of each kind that was met; reading them anew takes longer than all the rest.
_FIELDS: Final[dict[type[Any], tuple[tuple[str, Any], ...]]] = {}


#: The one text of a value by its type: equal numbers have equal texts. Values of other types are dataclasses.
_TEXTS: Final[Mapping[type[Any], Callable[[Any], str]]] = {
    str: str,
    Decimal: plain_text,
    date: date.isoformat,
    Fraction: lambda ratio: f"{ratio.numerator}:{ratio.denominator}",
    bool: str,
    type(None): str,
    tuple: lambda values: ",".join(_content(each) for each in values),
    LotMethod: str,
    DividendKind: str,
}
