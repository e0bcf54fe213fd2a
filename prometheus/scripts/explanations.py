"""The reasons of trades, as the commands print them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import click

from prometheus.scripts.tables import print_table, say

if TYPE_CHECKING:
    from prometheus.optimizer.result import Explanation

#: Prices nearer to zero than this (bps of NAV per unit of weight) are left out of the list of limits.
_SHOWN_PRICE: Final = 0.005
_PARTS: Final = ("active_risk", "tax", "trading_cost", "tilt", "cash")


def print_explanations(explanations: Iterable["Explanation"]) -> None:
    """Print why each security is traded, the largest trade first; nothing where nothing is traded.

    Args:
        explanations: Of a run, or of a problem file.
    """
    largest_first = sorted(explanations, key=lambda item: (-abs(item.trade), item.ticker))
    if not largest_first:
        return
    click.echo()
    say("Why: slopes at the optimum, bps of NAV for one unit of weight bought; with the bound they add to zero.")
    parts = (*_PARTS, "borrow") if any(item.borrow for item in largest_first) else _PARTS
    header = ("ticker", "trade %", *(name.replace("_", " ") for name in parts), "limits", "bound", "reason")
    print_table(
        header,
        [
            [
                item.ticker,
                f"{100 * item.trade:+.3f}",
                *(_price(getattr(item, name)) for name in parts),
                _limits(item.limits),
                _price(item.bound),
                item.reason,
            ]
            for item in largest_first
        ],
        right=(*header[1 : 2 + len(parts)], "bound"),
        optional=("cash", "tilt", "borrow", "trading cost", "bound", "active risk", "tax"),
        below=("limits", "reason"),
    )


def _price(value: float) -> str:
    # Adding zero turns a negative zero into a plain one.
    return f"{round(value, 2) + 0.0:.2f}"


def _limits(prices: Iterable[tuple[str, float]]) -> str:
    told = (f"{name} {_price(price)}" for name, price in prices if abs(price) >= _SHOWN_PRICE)
    return ", ".join(told)
