"""The input of every risk estimator: daily total returns by session and asset."""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from prometheus.foundation.errors import RiskModelError
from prometheus.risk.returns import total_returns

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ReturnPanel:
    """T sessions of N assets.

    Attributes:
        dates: T sessions, ascending; the return of a session runs from the close before to its own close.
        tickers: N assets, unique.
        returns: (T, N) simple daily total returns as fractions, at least -1; NaN where unknown. Read-only copy.

    Raises:
        RiskModelError: Shapes disagree, dates are not ascending, tickers repeat, or a return is infinite or below -1;
            code ``RISK_INPUT``.
    """

    dates: tuple[date, ...]
    tickers: tuple[str, ...]
    returns: FloatArray

    def __post_init__(self) -> None:
        returns = np.array(self.returns, dtype=np.float64)
        returns.flags.writeable = False
        object.__setattr__(self, "returns", returns)
        expected = (len(self.dates), len(self.tickers))
        if returns.shape != expected:
            raise _refused(
                f"returns have shape {returns.shape}, but there are {expected[0]} dates, {expected[1]} tickers"
            )
        if any(later <= earlier for earlier, later in zip(self.dates, self.dates[1:], strict=False)):
            raise _refused("the dates are not strictly ascending")
        if len(set(self.tickers)) != len(self.tickers):
            repeated = next(ticker for ticker in self.tickers if self.tickers.count(ticker) > 1)
            raise _refused(f"ticker {repeated} is in the panel more than once")
        bad = np.isinf(returns) | (returns < -1.0)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise _refused(
                f"the return of {self.tickers[column]} on {self.dates[row]} is {returns[row, column]}; check its prices"
            )

    @classmethod
    def from_closes(
        cls,
        dates: tuple[date, ...],
        tickers: tuple[str, ...],
        closes: FloatArray,
        split_factor: FloatArray,
        distributions: FloatArray,
    ) -> "ReturnPanel":
        """Build the panel of T - 1 returns from T sessions of raw closes; arguments as in ``total_returns``."""
        return cls(dates[1:], tickers, total_returns(closes, split_factor, distributions))

    def until(self, as_of: date, sessions: int) -> "ReturnPanel":
        """Return the last ``sessions`` rows dated on or before ``as_of`` (fewer where the panel holds fewer)."""
        end = sum(day <= as_of for day in self.dates)
        start = max(end - sessions, 0)
        return ReturnPanel(self.dates[start:end], self.tickers, self.returns[start:end])


def _refused(what: str) -> RiskModelError:
    return RiskModelError(f"return panel refused: {what}.", code="RISK_INPUT")
