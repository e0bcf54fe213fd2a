"""Holes in a return panel: closes that are missing while an asset is listed."""

from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.foundation.errors import RiskModelError
from prometheus.risk.panel import ReturnPanel

#: Assets listed in a refusal.
_NAMED: Final = 5


def longest_holes(panel: ReturnPanel, members: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each asset the longest run of sessions without a return since its first one.

    A run that lasts to the end of the panel is a hole only for ``members``: any other asset may have left the market.

    Args:
        panel: T sessions of N assets.
        members: (N,) assets that must still trade, such as the benchmark's constituents.

    Returns:
        (N,) sessions; 0 for an asset without returns.
    """
    seen = ~np.isnan(panel.returns)
    longest = np.zeros(len(panel.tickers), dtype=np.int64)
    for at in range(len(panel.tickers)):
        rows = np.flatnonzero(seen[:, at])
        if rows.size:
            inside = int(np.diff(rows).max(initial=1)) - 1
            behind = len(seen) - 1 - int(rows[-1]) if members[at] else 0
            longest[at] = max(inside, behind)
    return longest


def refuse_holes(
    panel: ReturnPanel, members: NDArray[np.bool_], *, as_of: date, most_sessions: int, most_names: float
) -> None:
    """Refuse a panel in which too many assets have long holes.

    Args:
        panel: The window of the model.
        members: As in ``longest_holes``.
        as_of: Date of the model, for the message.
        most_sessions: Longest run of missing sessions that is no hole.
        most_names: Largest share of assets with holes, 0 to 1.

    Raises:
        RiskModelError: Names the share, the bound and the first names; code ``HOLES``.
    """
    holes = longest_holes(panel, members)
    bad = np.flatnonzero(holes > most_sessions)
    if bad.size > most_names * len(panel.tickers):
        worst = ", ".join(f"{panel.tickers[at]} ({holes[at]} sessions)" for at in bad[:_NAMED])
        raise RiskModelError(
            f"risk model of {as_of}: {bad.size} of {len(panel.tickers)} assets lack closes for more than "
            f"{most_sessions} sessions in a row, at most {most_names:.0%} may: {worst}"
            f"{' and others' if bad.size > _NAMED else ''}. Load the missing prices with 'prometheus ingest'.",
            code="HOLES",
        )
