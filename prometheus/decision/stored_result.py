"""The stored form of an answer (version 2): the reasons of each trade by column, slopes with seven decimals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import date
from typing import Any, Final

from prometheus.decision.columns import packed, unpacked
from prometheus.decision.day_result import DayResult, FailedAttempt, RebalancingNote
from prometheus.domain.rebalancing import Rebalancing, Scope
from prometheus.foundation.canonical import JsonObject, to_jsonable
from prometheus.foundation.errors import PrometheusError
from prometheus.optimizer.result import Certificate, Explanation, SolverFacts

RESULT_VERSION: Final = 2
#: Decimals of a slope, bps of NAV for one unit of weight: far below what anybody can act upon.
_SLOPE_DECIMALS: Final = 7
#: Decimals of a trade, fraction of NAV.
_TRADE_DECIMALS: Final = 12
_SLOPES: Final = ("active_risk", "tax", "trading_cost", "tilt", "cash", "bound", "borrow")
#: ``asdict`` would copy each of a hundred explanations deeply.
_EXPLAINED: Final = tuple(field.name for field in fields(Explanation))


def stored_result(result: DayResult) -> JsonObject:
    """Return an answer as it is staged and stored, JSON types only.

    Raises:
        TypeError: A number that is not finite.
    """
    stored: JsonObject = to_jsonable(
        {
            "target_weights": result.target_weights,
            "shares": result.shares,
            "terms": result.terms,
            "certificate": None if result.certificate is None else asdict(result.certificate),
            **({} if result.rounding_reason is None else {"rounding_reason": result.rounding_reason}),
            "tracking_error_before": result.tracking_error_before,
            "tracking_error_after": result.tracking_error_after,
            "tracking_error_split": result.tracking_error_split,
            "turnover": result.turnover,
            "cash_after": result.cash_after,
            "solver": None if result.solver is None else asdict(result.solver),
            "failures": [failure_json(failure) for failure in result.failures],
            **({} if result.rebalancing is None else {"rebalancing": rebalancing_json(result.rebalancing)}),
        }
    )
    return {**stored, "explanations": explanation_columns(result.explanations or ())}


def failure_json(failure: FailedAttempt) -> JsonObject:
    """Return the stored form of a failed attempt."""
    told: JsonObject = {
        "solver": failure.solver,
        "tolerance": failure.tolerance,
        "code": failure.code,
        "message": failure.message,
    }
    return {**told, **({"details": failure.details} if failure.details else {})}


def rebalancing_json(note: RebalancingNote) -> JsonObject:
    """Return the stored form of what could trade."""
    return {
        "kind": note.kind.value,
        "scope": note.scope.value,
        "reasons": [list(reason) for reason in note.reasons],
        "last_whole": None if note.last_whole is None else note.last_whole.isoformat(),
        "whole_on": None if note.whole_on is None else note.whole_on.isoformat(),
    }


def explanation_json(explanation: Explanation) -> JsonObject:
    """Return why one asset is traded as a row: ``Explanation``'s fields, the limits' prices by name."""
    return {**{name: getattr(explanation, name) for name in _EXPLAINED}, "limits": dict(explanation.limits)}


def explanation_columns(rows: Sequence[Explanation]) -> JsonObject:
    """Return explanations by column; a limit's column has nothing where it does not bind."""
    prices = [dict(row.limits) for row in rows]
    limits = sorted({limit for of_row in prices for limit in of_row})
    return {
        "ticker": packed([row.ticker for row in rows]),
        "trade": packed([_number(row.trade, _TRADE_DECIMALS) for row in rows]),
        **{
            name: packed([_number(getattr(row, name), _SLOPE_DECIMALS) for row in rows], repeats=True)
            for name in _SLOPES
        },
        "limits": {
            limit: packed(
                [_number(of_row[limit], _SLOPE_DECIMALS) if limit in of_row else "" for of_row in prices],
                repeats=True,
            )
            for limit in limits
        },
        "reason": [row.reason for row in rows],
    }


def read_result(stored: Mapping[str, Any]) -> DayResult:
    """Return a stored answer of whichever version ever written.

    Raises:
        PrometheusError: A version this code has no reader for (RESULT_VERSION).
    """
    explanations, told = stored_explanations(stored), stored.get("rebalancing")
    certificate, solver = stored["certificate"], stored.get("solver")
    return DayResult(
        target_weights=stored["target_weights"],
        shares=stored["shares"],
        terms=stored["terms"],
        certificate=None if certificate is None else Certificate(**certificate),
        tracking_error_before=stored["tracking_error_before"],
        tracking_error_after=stored["tracking_error_after"],
        tracking_error_split=stored.get("tracking_error_split"),
        turnover=stored["turnover"],
        cash_after=stored["cash_after"],
        solver=None if solver is None else SolverFacts(**solver),
        failures=tuple(
            FailedAttempt(one["solver"], one["tolerance"], one["code"], one["message"], one.get("details", {}))
            for one in stored["failures"]
        ),
        explanations=explanations,
        rounding_reason=stored.get("rounding_reason"),
        rebalancing=None if told is None else _note(told),
    )


def read_staged(stored: Mapping[str, Any]) -> DayResult:
    """Return an answer that was staged; what is staged names no version, it is of the newest."""
    return read_result({**stored, "version": RESULT_VERSION})


def stored_explanations(stored: Mapping[str, Any]) -> tuple[Explanation, ...] | None:
    """Return why the names of a stored answer are traded; None where it was written before that was kept.

    Raises:
        PrometheusError: A version this code has no reader for (RESULT_VERSION).
    """
    version = stored.get("version", 0)
    if version not in _EXPLANATION_READERS:
        raise PrometheusError(
            f"Result version {version} is not known here; install a newer version of the engine.",
            code="RESULT_VERSION",
        )
    explanations = stored.get("explanations")
    return None if explanations is None else _EXPLANATION_READERS[version](explanations)


def explanations_from_rows(rows: Sequence[Mapping[str, Any]]) -> tuple[Explanation, ...]:
    """Return explanations that were written as rows (``explanation_json``)."""
    return tuple(Explanation(**{**row, "limits": tuple(row["limits"].items())}) for row in rows)


def _from_columns(stored: Mapping[str, Any]) -> tuple[Explanation, ...]:
    columns = {name: unpacked(stored[name]) for name in ("ticker", "trade", *_SLOPES)}
    limits = {limit: unpacked(prices) for limit, prices in stored["limits"].items()}
    return tuple(
        Explanation(
            ticker=ticker,
            trade=float(columns["trade"][i]),
            **{name: float(columns[name][i]) for name in _SLOPES},
            limits=tuple((limit, float(prices[i])) for limit, prices in limits.items() if prices[i]),
            reason=stored["reason"][i],
        )
        for i, ticker in enumerate(columns["ticker"])
    )


#: How each version keeps its explanations.
_EXPLANATION_READERS: Final[Mapping[int, Callable[[Any], tuple[Explanation, ...]]]] = {
    1: explanations_from_rows,
    RESULT_VERSION: _from_columns,
}


def _note(told: Mapping[str, Any]) -> RebalancingNote:
    return RebalancingNote(
        kind=Rebalancing(told["kind"]),
        scope=Scope(told["scope"]),
        reasons=tuple(tuple(reason) for reason in told["reasons"]),
        last_whole=_day(told["last_whole"]),
        whole_on=_day(told["whole_on"]),
    )


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _number(value: float, decimals: int) -> str:
    # Adding zero turns a negative zero into a plain one.
    return repr(round(value, decimals) + 0.0)
