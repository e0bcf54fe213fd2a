"""The interface of receivers, and the one that needs no setting: the structured log."""

import json
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus.domain.outbox import ClaimedMessage, MessageKind
from prometheus.foundation.canonical import canonical_json
from prometheus.foundation.errors import PrometheusError
from prometheus.foundation.logging import Logger

MESSAGE_FORMAT: Final = 1


class DeliveryError(PrometheusError):
    """A receiver did not take a message."""

    default_code = "NOT_DELIVERED"
    retryable = True


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message as it is delivered: byte for byte the same however often.

    Attributes:
        kind: Its subject.
        key: Its idempotency key.
        text: One line of canonical JSON: format, idempotency_key, kind, created_at, payload.
        attempt: Which attempt this is; not part of the text.
    """

    kind: MessageKind
    key: str
    text: str
    attempt: int


class Receiver(Protocol):
    """A receiver outside; it may get a message twice.

    ``name`` is stored in the outbox with the messages that it took; ``may_hang`` is True where taking one may last
    longer than its time limit, so that a process that can be killed asks it.
    """

    @property
    def name(self) -> str:
        """Return the name."""
        ...

    @property
    def may_hang(self) -> bool:
        """Return whether a process of its own must ask it."""
        ...

    def take(self, message: OutgoingMessage) -> None:
        """Take a message, or raise DeliveryError; after a return the message cannot be lost."""


def outgoing_message(message: ClaimedMessage) -> OutgoingMessage:
    """Return a claimed message as it is delivered."""
    text = canonical_json(
        {
            "format": MESSAGE_FORMAT,
            "idempotency_key": message.idempotency_key,
            "kind": message.kind,
            "created_at": message.created_at,
            "payload": message.payload,
        }
    )
    return OutgoingMessage(message.kind, message.idempotency_key, text, message.attempt)


class LogReceiver:
    """The structured log of this process, on standard error: the default receiver."""

    name = "log"
    may_hang = False

    def take(self, message: OutgoingMessage) -> None:
        """Write the message as one line; it counts as taken even where the log's level hides it."""
        said = {name: value for name, value in json.loads(message.text)["payload"].items() if value not in (None, {})}
        log = Logger(__name__)
        tell = log.warning if message.kind is MessageKind.ALERT else log.info
        try:
            tell(message.kind.value.lower(), idempotency_key=message.key, **said)
        except (OSError, ValueError) as error:
            raise DeliveryError(f"The log cannot be written: {error}.") from error
