"""One round of deliveries: claim due messages, deliver them outside of any transaction, record who has them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from prometheus.db.database import Database
from prometheus.db.repositories.outbox import claim_messages, mark_delivered, mark_failed, put_off
from prometheus.domain.outbox import ClaimedMessage
from prometheus.foundation.logging import Logger
from prometheus.orchestration.outbox.courier import Courier
from prometheus.orchestration.outbox.receivers import DeliveryError, LogReceiver, Receiver, outgoing_message

_log = Logger(__name__)
#: Refusals in a row after which a receiver is not asked again in this round.
_PATIENCE: Final = 3
#: Seconds by which a lease is longer than the longest round.
_SPARE_SECONDS: Final = 60.0
_LONGEST_ERROR: Final = 2000


@dataclass(frozen=True, slots=True)
class OutboxConfig:
    """Receivers of messages, and limits of their delivery.

    Attributes:
        receivers: Each of them must take a message; with several, one that has it already is not asked again.
        timeout_seconds: Longest that a receiver may take for one message.
        round_seconds: Begin with no further message once a round has lasted this long.
        retry_base_seconds: First delay after a failure; doubled with every attempt.
        longest_retry_seconds: Longest delay.
        max_attempts: Failures after which a message is given up.
        batch: Most messages claimed at a time.
    """

    receivers: tuple[Receiver, ...] = (LogReceiver(),)
    timeout_seconds: float = 10.0
    round_seconds: float = 30.0
    retry_base_seconds: float = 30.0
    longest_retry_seconds: float = 3600.0
    max_attempts: int = 20
    batch: int = 50

    @property
    def lease_seconds(self) -> float:
        """Return the length of a message's lease: longer than any round can last."""
        return self.round_seconds + (self.timeout_seconds + 1) * len(self.receivers) + _SPARE_SECONDS


@dataclass(slots=True)
class Round:
    """Result of a round: messages delivered and failed, and a sentence for each that was given up."""

    delivered: int = 0
    failed: int = 0
    given_up: list[str] = field(default_factory=list)


def deliver_due(
    database: Database,
    config: OutboxConfig,
    owner: str,
    *,
    must_stop: Callable[[], bool] = lambda: False,
    seconds: float | None = None,
) -> Round:
    """Deliver due messages in the order of writing; what fails is tried again in a later round.

    Nothing of it is done inside a transaction. A message counts as delivered only after every receiver answered; if the
    deliverer dies in between, the message is delivered again under the same idempotency key.

    Args:
        database: The database.
        config: Receivers and limits.
        owner: Name of this process, unique to its start.
        must_stop: True once the process was told to end.
        seconds: Limit in place of ``config.round_seconds`` where it is smaller.

    Raises:
        DatabaseUnavailableError: The database is gone.
    """
    limit = config.round_seconds if seconds is None else min(seconds, config.round_seconds)
    deliverer = _Deliverer(database, config, owner, must_stop, time.monotonic() + limit)
    try:
        deliverer.work()
    finally:
        for state in deliverer.states:
            state.courier.close()
    return deliverer.done


@dataclass(slots=True)
class _ReceiverState:
    """State of a receiver in this round; it is closed after a timeout or several refusals in a row."""

    courier: Courier
    refusals: int = 0
    closed: bool = False

    @property
    def name(self) -> str:
        return self.courier.receiver.name

    def note(self, error: DeliveryError) -> str:
        self.refusals += 1
        self.closed = error.code == "TIMEOUT" or self.refusals >= _PATIENCE
        return f"{self.name}: {error.message}"


class _Deliverer:
    """One round."""

    def __init__(
        self, database: Database, config: OutboxConfig, owner: str, must_stop: Callable[[], bool], deadline: float
    ) -> None:
        self.done = Round()
        self.states = [
            _ReceiverState(Courier(receiver, config.timeout_seconds, must_stop)) for receiver in config.receivers
        ]
        self._database, self._config, self._owner = database, config, owner
        self._must_stop, self._deadline = must_stop, deadline

    def work(self) -> None:
        tried: list[int] = []
        while not self._over(self._deadline):
            claimed = time.monotonic()
            with self._database.transaction() as connection:
                messages = claim_messages(
                    connection,
                    owner=self._owner,
                    lease_seconds=self._config.lease_seconds,
                    batch=self._config.batch,
                    base_seconds=self._config.retry_base_seconds,
                    longest_seconds=self._config.longest_retry_seconds,
                    skip=tried,
                )
            if not messages:
                return
            tried += [message.message_id for message in messages]
            # A process that was suspended for longer than its lease delivers nothing that another one may have claimed.
            until = min(self._deadline, claimed + self._config.lease_seconds)
            behind: set[str | None] = set()
            for message in messages:
                if self._over(until) or message.account_id in behind:
                    self._give_back(message, message.taken_by, seconds=0.0)
                elif not self._deliver(message) and message.account_id is not None:
                    behind.add(message.account_id)

    def _over(self, deadline: float) -> bool:
        return self._must_stop() or time.monotonic() >= deadline or all(state.closed for state in self.states)

    def _deliver(self, message: ClaimedMessage) -> bool:
        """Deliver a message to every receiver that lacks it; return whether all have it now."""
        if message.attempt > self._config.max_attempts:
            # Every attempt ended with its deliverer, which could not report it.
            self._fail(message, message.taken_by, f"{self._config.max_attempts} attempts ended without an answer.")
            return False
        outgoing = outgoing_message(message)
        taken, refusals, left_out, stopped = set(message.taken_by), [], False, False
        for state in self.states:
            if state.name in taken:
                continue
            if state.closed or stopped:
                left_out = True
                continue
            try:
                state.courier.take(outgoing)
            except DeliveryError as error:
                if error.code == "STOPPED":
                    left_out = stopped = True
                else:
                    refusals.append(state.note(error))
            else:
                state.refusals = 0
                taken.add(state.name)
        if refusals:
            self._fail(message, frozenset(taken), " ".join(refusals))
        elif left_out:
            wait = min(self._config.retry_base_seconds, self._config.longest_retry_seconds)
            self._give_back(message, frozenset(taken), seconds=0.0 if stopped else wait)
        else:
            self._mark(message, frozenset(taken))
        return not refusals and not left_out

    def _mark(self, message: ClaimedMessage, taken: frozenset[str]) -> None:
        with self._database.transaction() as connection:
            ours = mark_delivered(connection, message, taken)
        if ours:
            self.done.delivered += 1
        else:
            _log.warning("message was taken over", message_id=message.message_id, lease_token=message.token)

    def _fail(self, message: ClaimedMessage, taken: frozenset[str], error: str) -> None:
        with self._database.transaction() as connection:
            given_up = mark_failed(
                connection,
                message,
                taken,
                error=error[:_LONGEST_ERROR],
                base_seconds=self._config.retry_base_seconds,
                longest_seconds=self._config.longest_retry_seconds,
                max_attempts=self._config.max_attempts,
            )
        self.done.failed += 1
        _log.warning(
            "message not delivered",
            message_id=message.message_id,
            idempotency_key=message.idempotency_key,
            attempt=message.attempt,
            given_up=given_up,
            reason=error,
        )
        if given_up:
            self.done.given_up.append(f"{message.idempotency_key} was given up: {error}")

    def _give_back(self, message: ClaimedMessage, taken: frozenset[str], *, seconds: float) -> None:
        with self._database.transaction() as connection:
            put_off(connection, message, taken, seconds=seconds)
