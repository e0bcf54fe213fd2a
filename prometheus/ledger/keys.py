"""What names an event, a lot and a position. Keys are values; no text is put together to make one."""

from typing import Final, NamedTuple

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
