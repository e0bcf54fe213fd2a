"""The heartbeat: a thread with a connection of its own that keeps this process's leases alive."""

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from prometheus.db.database import Database
from prometheus.db.leases import heartbeat
from prometheus.domain.engine_run import Lease
from prometheus.foundation.errors import DatabaseError, RunCancelledError, StaleLeaseError
from prometheus.foundation.logging import Logger

_log = Logger(__name__)
#: Heartbeats in one lease; three may be missed before it runs out.
_BEATS_PER_LEASE: Final = 4
_LONGEST_PAUSE_SECONDS: Final = 60.0


def beat_pause(ttl: int) -> float:
    """Return the seconds between two heartbeats for a lease of ``ttl`` seconds; 0 or less: leases do not run out."""
    return min(ttl / _BEATS_PER_LEASE, _LONGEST_PAUSE_SECONDS) if ttl > 0 else _LONGEST_PAUSE_SECONDS


class LeaseKeeper:
    """Extends the leases it holds until they are dropped, and knows which were lost or cancelled.

    Args:
        open_database: Opens a database of its own, so that a busy pool cannot starve the heartbeat.
        ttl: Lease in seconds; 0 or less means that leases do not run out, and only cancel requests are looked for.
    """

    def __init__(self, open_database: Callable[[], Database], ttl: int) -> None:
        self._open_database = open_database
        self._ttl = ttl
        self._pause = beat_pause(ttl)
        self._lock = threading.Lock()
        self._leases: dict[int, Lease] = {}
        self._lost: set[int] = set()
        self._cancelled: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_stopped, name="lease-keeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def hold(self, leases: Sequence[Lease]) -> None:
        """Keep these leases alive from now on."""
        with self._lock:
            self._leases.update({lease.run_id: lease for lease in leases})

    def drop(self, lease: Lease) -> None:
        """Stop keeping a lease: its run ended or was given back."""
        with self._lock:
            self._leases.pop(lease.run_id, None)
            self._lost.discard(lease.run_id)
            self._cancelled.discard(lease.run_id)

    def check(self, lease: Lease) -> None:
        """Stop work on a run that is not ours any more.

        Raises:
            StaleLeaseError: The last heartbeat found another owner.
            RunCancelledError: An operator asked for it.
        """
        with self._lock:
            if lease.run_id in self._lost:
                raise StaleLeaseError(f"The lease on run {lease.run_id} of {lease.account_id} was lost.")
            if lease.run_id in self._cancelled:
                raise RunCancelledError(f"Run {lease.run_id} of {lease.account_id} was cancelled by an operator.")

    def beat(self, database: Database) -> None:
        """Extend every lease once."""
        with self._lock:
            leases = tuple(self._leases.values())
        with database.transaction() as connection:
            lost, cancelled = heartbeat(connection, leases, ttl=self._ttl)
        with self._lock:
            # A lease dropped meanwhile is nobody's concern any more.
            self._lost |= lost & self._leases.keys()
            self._cancelled |= cancelled & self._leases.keys()

    def _beat_until_stopped(self) -> None:
        database = self._open_database()
        try:
            while not self._stop.wait(self._pause):
                try:
                    self.beat(database)
                except DatabaseError as error:
                    # The leases may run out now; the fence at the commit decides, not this thread.
                    _log.warning("heartbeat failed", reason=error.message)
                except Exception:  # noqa: BLE001 -- logged, and the fence decides
                    # Whatever it was, a thread that ends would let every lease run out.
                    _log.exception("heartbeat failed")
        finally:
            database.close()
