"""The answer of a day: what is traded, how good it provably is, which attempts failed and why each asset is traded."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from prometheus.domain.rebalancing import Rebalancing, Scope
from prometheus.foundation.canonical import JsonObject
from prometheus.optimizer.result import Certificate, Explanation, SolverFacts


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A solver that found no answer, or none that is good enough.

    Attributes:
        solver: The back-end.
        tolerance: Residual that was asked for.
        code: Stable word for the kind of failure.
        message: What went wrong.
        details: What else the error told, JSON types; empty where nothing.
    """

    solver: str
    tolerance: float
    code: str
    message: str
    details: JsonObject


@dataclass(frozen=True, slots=True)
class RebalancingNote:
    """What could trade on a day, and why.

    Attributes:
        kind: Kind of the day.
        scope: What could trade in the problem that was answered in the end.
        reasons: Code of each reason to trade, then the tickers that it is about.
        last_whole: Day of the last whole rebalancing before the run; None where there was none.
        whole_on: The same once the run stands.
    """

    kind: Rebalancing
    scope: Scope
    reasons: tuple[tuple[str, ...], ...]
    last_whole: date | None
    whole_on: date | None


@dataclass(frozen=True, slots=True)
class DayResult:
    """The answer of a day.

    Attributes:
        target_weights: Weights after the trades by ticker, fractions of NAV.
        shares: Signed shares to trade by ticker as exact decimal text, positive buys.
        terms: Parts of the objective and their sum, fractions of NAV a year; None without an answer.
        certificate: Proof of quality; None without an answer.
        tracking_error_before: Annualised, ex ante.
        tracking_error_after: The same after the trades.
        tracking_error_split: What each part of the risk model adds to it (``risk_split.PARTS``); None where a run was
            recorded before that was kept.
        turnover: One way, fraction of NAV.
        cash_after: Fraction of NAV.
        solver: What the back-end said of itself; None in a run's record, which has it in columns of its own.
        failures: Attempts without an answer, in order.
        explanations: Why each asset is traded; None where a run was recorded before that was kept.
        rounding_reason: Why the gap after rounding is wide; None where it is not.
        rebalancing: What could trade; None where a run was recorded when every day was a whole rebalancing.
    """

    target_weights: Mapping[str, float]
    shares: Mapping[str, str]
    terms: Mapping[str, float] | None
    certificate: Certificate | None
    tracking_error_before: float
    tracking_error_after: float
    tracking_error_split: Mapping[str, float] | None
    turnover: float
    cash_after: float
    solver: SolverFacts | None
    failures: tuple[FailedAttempt, ...]
    explanations: tuple[Explanation, ...] | None
    rounding_reason: str | None = None
    rebalancing: RebalancingNote | None = None
