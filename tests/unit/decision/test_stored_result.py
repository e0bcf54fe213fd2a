"""The stored form of an answer: by column, read back as it was; answers of earlier versions likewise."""

from dataclasses import replace
from datetime import date

import pytest

from prometheus.decision.day_result import DayResult, FailedAttempt, RebalancingNote
from prometheus.decision.stored_result import (
    RESULT_VERSION,
    explanation_json,
    explanations_from_rows,
    read_result,
    read_staged,
    stored_result,
)
from prometheus.domain.rebalancing import Rebalancing, Scope
from prometheus.foundation.errors import PrometheusError
from prometheus.optimizer.result import Certificate, Explanation, SolverFacts

WHY = (
    Explanation(
        ticker="AAA",
        trade=0.0123456789012,
        active_risk=6.40776807742337,
        tax=0.0,
        trading_cost=5.0,
        tilt=-0.0,
        cash=-11.40776807742337,
        limits=(("tracking_error", -1.5),),
        bound=-1.0977e-12,
        reason="invest cash, active risk cost 0.01 bps",
    ),
    Explanation(
        ticker="BBB",
        trade=-0.5,
        active_risk=-2.0,
        tax=-3.25,
        trading_cost=-5.0,
        tilt=0.0,
        cash=-11.40776807742337,
        limits=(("sector:Energy", 2.0),),
        bound=0.0,
        reason="raise cash, active risk gain 0.02 bps",
    ),
)
RESULT = DayResult(
    target_weights={"AAA": 0.25, "BBB": 0.5},
    shares={"AAA": "7", "BBB": "-12.5"},
    terms={"active_risk": 1e-5, "total": 2e-5},
    certificate=Certificate(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0, 0.7),
    tracking_error_before=0.02,
    tracking_error_after=0.01,
    tracking_error_split={"market": 0.004, "specific": 0.006},
    turnover=0.03,
    cash_after=0.01,
    solver=SolverFacts("CLARABEL", "Solved", 12, 1e-10, "0.9", 0.01, 0.02),
    failures=(
        FailedAttempt("STRUCTURED", 1e-8, "SOLVER_FAILED", "stopped", {"status": "MaxIterations"}),
        FailedAttempt("CUOPT", 1e-8, "SOLVER_FAILED", "stopped", {}),
    ),
    explanations=WHY,
    rounding_reason="Single steps of shares are large.",
    rebalancing=RebalancingNote(
        Rebalancing.PARTIAL, Scope.REASONS, (("HARVEST", "BBB"),), date(2024, 5, 28), date(2024, 5, 28)
    ),
)


def test_explanations_are_stored_by_column():
    """Slopes keep seven decimals, limits stand with the names they bind, and a negative zero is none."""
    stored = stored_result(RESULT)
    assert stored["shares"] == {"AAA": "7", "BBB": "-12.5"}
    assert stored["explanations"]["trading_cost"] == "5.0 -5.0"
    assert stored["explanations"]["cash"] == "-11.4077681*2"
    assert "-0.0" not in str(stored["explanations"])


def test_stored_answer_is_read_back():
    """Every field is what it was, slopes as they were rounded; written again it is the same document."""
    stored = stored_result(RESULT)
    read = read_staged(stored)
    assert replace(read, explanations=WHY) == RESULT
    assert stored_result(read) == stored
    first, second = read.explanations or ()
    assert (first.ticker, first.cash, first.bound, first.limits) == (
        "AAA",
        -11.4077681,
        0.0,
        (("tracking_error", -1.5),),
    )
    assert second == replace(WHY[1], cash=-11.4077681)


def test_answer_without_certificate_and_trades_is_read_back():
    """A day without an answer has neither proof nor terms, and nothing to explain."""
    unchanged = replace(
        RESULT, shares={}, terms=None, certificate=None, explanations=(), rounding_reason=None, rebalancing=None
    )
    assert read_staged(stored_result(unchanged)) == unchanged


def test_first_version_had_explanations_as_rows_or_none():
    """Rows of the first version are read; a run from before reasons were kept has none, which is not an empty list."""
    stored = stored_result(RESULT)
    rows = [explanation_json(item) for item in WHY]
    assert explanations_from_rows(rows) == WHY
    assert read_result({**stored, "version": 1, "explanations": rows}).explanations == WHY
    del stored["explanations"]
    assert read_result({**stored, "version": 1}).explanations is None


def test_unknown_version_is_refused():
    """An answer of a later version is not guessed at."""
    with pytest.raises(PrometheusError, match="newer version") as refused:
        read_result({**stored_result(RESULT), "version": RESULT_VERSION + 1})
    assert refused.value.code == "RESULT_VERSION"
