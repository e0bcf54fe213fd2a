"""What names an event, a lot and a position, and how the ledger's values are made cheap.

Keys are values; no text is put together to make one.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar, dataclass_transform

_Class = TypeVar("_Class")

#: Account of an action that concerns every account of the household which holds the security.
EVERY_ACCOUNT: Final = ""


class EventKey(NamedTuple):
    """An event: the account it belongs to, and the name that the account's broker gives it."""

    account: str
    event_id: str


class LotKey(NamedTuple):
    """A lot: the account that holds it, and its name in that account."""

    account: str
    lot_id: str


class Position(NamedTuple):
    """All shares that one account holds of one security."""

    account: str
    ticker: str


@dataclass_transform(frozen_default=True)
def value(cls: type[_Class]) -> type[_Class]:
    """Make a class of typed fields a value: slots, a constructor, equality and hash by content.

    The type checker takes it for frozen. At run time it is not: the constructor of a frozen dataclass takes seven times
    as long, and a fold makes several such values an event.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def fact(cls: type[_Class]) -> type[_Class]:
    """Make a class of typed fields a value whose fields are given by name; see ``value``."""
    return dataclass(slots=True, unsafe_hash=True, kw_only=True)(cls)
