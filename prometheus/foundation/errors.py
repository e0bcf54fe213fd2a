"""One tree of errors for the whole package.

Every error carries a ``code`` (a stable word that is persisted and shown) and says whether trying again can help.
Bad rows in a file are findings (``ingestion.finding_table``), not errors; a request that cannot be met is an error.

PrometheusError
+-- RequestError             a person asked for something that cannot be done; exit code 2
|   +-- UnknownAccountError, NotASessionError, NoDataError, ConfigurationError, ActiveRunCapError, FileRefusedError
+-- DatabaseError            exit code 1
|   +-- SchemaError
|   +-- DatabaseUnavailableError (retryable)
|       +-- CollisionError (retryable)
+-- EngineError
|   +-- StaleLeaseError, IllegalTransitionError, RunCancelledError, EngineFrozenError, PhaseHeldError (retryable)
+-- RiskModelError
+-- AccountingError
|   +-- OversoldError
+-- OptimizerError
    +-- InvalidProblemError, InfeasibleProblemError, SolverFailedError, CertificateRejectedError,
        BackendUnavailableError
"""

from typing import ClassVar

from prometheus.foundation.canonical import JsonObject


class PrometheusError(Exception):
    """Base of every error raised on purpose by this package.

    Args:
        message: One sentence for a person: what is wrong, where, and what to do.
        code: Stable word persisted with the failure; the class's own ``default_code`` where not given.
        details: Values that belong to the failure (JSON types), persisted beside the code.
    """

    default_code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, code: str | None = None, details: JsonObject | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.details: JsonObject = details or {}


class RequestError(PrometheusError):
    """The request cannot be met; nothing was written."""

    default_code = "BAD_REQUEST"
    exit_code = 2


class UnknownAccountError(RequestError):
    """The account is not in the database."""

    default_code = "UNKNOWN_ACCOUNT"


class NotASessionError(RequestError):
    """The date is a weekend or a holiday of the region's exchange."""

    default_code = "NOT_A_SESSION"


class NoDataError(RequestError):
    """There is no market data at all for the date."""

    default_code = "NO_DATA"


class ConfigurationError(RequestError):
    """A setting, a strategy parameter or a tag mapping is not usable."""

    default_code = "CONFIGURATION"


class ActiveRunCapError(RequestError):
    """The account already has as many unfinished runs as allowed."""

    default_code = "ACTIVE_RUN_CAP"


class FileRefusedError(RequestError):
    """A file as a whole cannot be read (missing, truncated, wrong columns)."""

    default_code = "FILE_REFUSED"

    @property
    def line(self) -> int | None:
        """Return the line of the file that the error is about, from 1; None where it is about none."""
        line = self.details.get("line")
        return line if isinstance(line, int) else None

    @property
    def value(self) -> str | None:
        """Return the value that the error is about; None where it is about none."""
        value = self.details.get("value")
        return value if isinstance(value, str) else None


class DatabaseError(PrometheusError):
    """The database cannot serve the request."""

    default_code = "DATABASE"


class DatabaseUnavailableError(DatabaseError):
    """The server cannot be reached; the next tick continues."""

    default_code = "DATABASE_UNAVAILABLE"
    retryable = True


class CollisionError(DatabaseUnavailableError):
    """Another transaction was in the way (a lock, a deadlock); this one wrote nothing."""

    default_code = "COLLISION"


class SchemaError(DatabaseError):
    """The database is not migrated, or newer than this code."""

    default_code = "SCHEMA"


class EngineError(PrometheusError):
    """The state machine refuses a step."""

    default_code = "ENGINE"


class StaleLeaseError(EngineError):
    """The lease was lost: another worker owns the run now, and this work is discarded."""

    default_code = "STALE_LEASE"


class IllegalTransitionError(EngineError):
    """The phase edge is not in the table of legal edges."""

    default_code = "ILLEGAL_TRANSITION"


class RunCancelledError(EngineError):
    """An operator cancelled the run while it was being worked on."""

    default_code = "CANCELLED"


class EngineFrozenError(EngineError):
    """The kill switch is on: nothing is claimed and nothing is committed."""

    default_code = "FROZEN"


class PhaseHeldError(EngineError):
    """The phase cannot go on yet (stale risk model, too many missing prices); the next tick tries it again."""

    default_code = "HELD"
    retryable = True


class RiskModelError(PrometheusError):
    """The risk model cannot be built or used."""

    default_code = "RISK_MODEL"


class AccountingError(PrometheusError):
    """A ledger rule would be broken."""

    default_code = "ACCOUNTING"


class OversoldError(AccountingError):
    """More shares would be sold than the lots hold."""

    default_code = "OVERSOLD"


class OptimizerError(PrometheusError):
    """The optimizer cannot answer."""

    default_code = "OPTIMIZER"


class InvalidProblemError(OptimizerError):
    """The problem data contradict each other (shapes, NaN, negative variance)."""

    default_code = "INVALID_PROBLEM"


class InfeasibleProblemError(OptimizerError):
    """No portfolio meets every constraint; the message names the constraints in conflict.

    Args:
        message: One sentence for a person.
        missed: Name of each limit in conflict, and by how much it is missed, in units of the limit; None where no
            limit is to blame.
        code: As for every error.
        details: As for every error.
    """

    default_code = "INFEASIBLE"

    def __init__(
        self,
        message: str,
        *,
        missed: tuple[tuple[str, float], ...] | None = None,
        code: str | None = None,
        details: JsonObject | None = None,
    ) -> None:
        super().__init__(message, code=code, details=details)
        self.missed = missed


class SolverFailedError(OptimizerError):
    """The solver stopped without an optimal answer."""

    default_code = "SOLVER_FAILED"


class CertificateRejectedError(OptimizerError):
    """The answer fails its own check from the problem data, or its gap exceeds the limit."""

    default_code = "CERTIFICATE_REJECTED"


class BackendUnavailableError(OptimizerError):
    """The solver is not installed or has no device here."""

    default_code = "BACKEND_UNAVAILABLE"
