"""What a receiver is, and the one that needs no setting: the structured log."""

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
class Letter:
    """A message as it is handed over: byte for byte the same however often.

    Attributes:
        kind: What it tells of.
        key: Its idempotency key.
        text: One line of canonical JSON: format, idempotency_key, kind, created_at, payload.
        attempt: Which attempt this is; not part of the text.
    """

    kind: MessageKind
    key: str
    text: str
    attempt: int


class Receiver(Protocol):
    """Somebody outside who takes messages, perhaps the same one twice.

    ``name`` stands in the outbox beside the messages it took; ``may_hang`` is True where taking one may last longer
    than its time limit, so that it is asked by a process that can be ended.
    """

    @property
    def name(self) -> str:
        """Return the name."""
        ...

    @property
    def may_hang(self) -> bool:
        """Return whether a process of its own must ask it."""
        ...

    def take(self, letter: Letter) -> None:
        """Take a message, or raise DeliveryError; returning means that it will not be lost any more."""


def letter_of(message: ClaimedMessage) -> Letter:
    """Return what is handed over of a message."""
    text = canonical_json(
        {
            "format": MESSAGE_FORMAT,
            "idempotency_key": message.idempotency_key,
            "kind": message.kind,
            "created_at": message.created_at,
            "payload": message.payload,
        }
    )
    return Letter(message.kind, message.idempotency_key, text, message.attempt)


class LogReceiver:
    """The structured log of this process, on standard error: the receiver where no other is set."""

    name = "log"
    may_hang = False

    def take(self, letter: Letter) -> None:
        """Write one line with what the message says; it counts as taken even where the log's level hides it."""
        said = {name: value for name, value in json.loads(letter.text)["payload"].items() if value not in (None, {})}
        log = Logger(__name__)
        tell = log.warning if letter.kind is MessageKind.ALERT else log.info
        try:
            tell(letter.kind.value.lower(), idempotency_key=letter.key, **said)
        except (OSError, ValueError) as error:
            raise DeliveryError(f"The log cannot be written: {error}.") from error
