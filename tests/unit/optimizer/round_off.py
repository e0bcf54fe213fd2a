"""By how much a certified gap may be negative: what stage 2 leaves undone at its price, and last digits of sums."""

from prometheus.optimizer.dual.climb import STALLED
from prometheus.optimizer.result import RebalanceResult

#: Digits that a sum of some dozen terms of the objective's size keeps.
_DIGITS = 1e-13


def negligible_gap(result: RebalanceResult) -> float:
    """Return the bps by which the bound may lie above the objective of trades that miss conditions by last digits.

    The trades meet cash and every other limit to ``STALLED`` at worst, and what they miss is worth its price: trades
    that spend 1e-12 of NAV too little at a price of 100 look better than any legal ones by 1e-10.
    """
    prices = max(
        (abs(one.cash) + sum(abs(price) for _, price in one.limits) for one in result.explanations), default=1e4
    )
    return STALLED * prices + 1e4 * _DIGITS * max(1.0, abs(result.certificate.objective))
