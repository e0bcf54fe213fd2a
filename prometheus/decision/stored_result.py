"""The stored form of an answer (version 2): why each name is traded stands by column, slopes with seven decimals."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from prometheus.decision.columns import packed, unpacked
from prometheus.foundation.canonical import to_jsonable

RESULT_VERSION: Final = 2
#: Decimals of a slope, bps of NAV for one unit of weight: far below what anybody can act upon.
_SLOPE_DECIMALS: Final = 7
#: Decimals of a trade, fraction of NAV.
_TRADE_DECIMALS: Final = 12
_SLOPES: Final = ("active_risk", "tax", "trading_cost", "tilt", "cash", "bound", "borrow")


def stored_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer as it is staged and stored, JSON types only.

    Args:
        result: ``Solution.result``, or what was stored of it before.

    Raises:
        TypeError: A number that is not finite.
    """
    explanations = result["explanations"]
    stored: dict[str, Any] = to_jsonable({name: value for name, value in result.items() if name != "explanations"})
    stored["explanations"] = explanations if isinstance(explanations, Mapping) else explanation_columns(explanations)
    return stored


def explanation_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return explanations by column; a limit's column has nothing where it does not bind."""
    limits = sorted({limit for row in rows for limit in row["limits"]})
    return {
        "ticker": packed([row["ticker"] for row in rows]),
        "trade": packed([_number(row["trade"], _TRADE_DECIMALS) for row in rows]),
        **{
            name: packed([_number(row.get(name, 0.0), _SLOPE_DECIMALS) for row in rows], repeats=True)
            for name in _SLOPES
        },
        "limits": {
            limit: packed(
                [_number(row["limits"][limit], _SLOPE_DECIMALS) if limit in row["limits"] else "" for row in rows],
                repeats=True,
            )
            for limit in limits
        },
        "reason": [row["reason"] for row in rows],
    }


def explanation_rows(stored: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return explanations as rows, the largest form that any version ever had."""
    columns = {name: unpacked(stored[name]) for name in ("ticker", "trade", *_SLOPES)}
    limits = {limit: unpacked(prices) for limit, prices in stored["limits"].items()}
    return [
        {
            "ticker": ticker,
            "trade": float(columns["trade"][i]),
            **{name: float(columns[name][i]) for name in _SLOPES},
            "limits": {limit: float(prices[i]) for limit, prices in limits.items() if prices[i]},
            "reason": stored["reason"][i],
        }
        for i, ticker in enumerate(columns["ticker"])
    ]


def _number(value: float, decimals: int) -> str:
    # Adding zero turns a negative zero into a plain one.
    return repr(round(value, decimals) + 0.0)
