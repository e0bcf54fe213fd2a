"""The best exchange of two or three assets among candidate changes: one asset's step up pays for others' steps down.

What a change of an asset is worth is an input (``Effects.change``), worked out from the assets' own cost functions with
whatever kinks and jumps they have; here only what assets do to each other is added: risk that they share, and limits.
The work is bounded by the number of candidates that are looked at.
"""

import numpy as np

from prometheus.optimizer.compiled import compiled
from prometheus.optimizer.problem.active_risk import FactorRisk
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray
from prometheus.optimizer.rounding.limits import NEGLIGIBLE, WORTHWHILE, AllLimits, Effects

#: Candidates of which all pairs are looked at, and all triples.
IN_PAIRS = 240
IN_TRIPLES = 72


def improving_exchange(
    limits: AllLimits,
    at: tuple[float, FloatArray, float],
    effects: Effects,
    risk: FactorRisk,
    risk_aversion: float,
    rank: FloatArray,
) -> tuple[int, ...] | None:
    """Return the two, else the three candidates of different assets that together improve most; None where none do.

    Every limit is kept. Of many candidates those of the least ``rank`` are looked at.

    Args:
        limits: Cash range, coupling rows and tracking error.
        at: Cash used, (R,) uses and active variance now, which keep the limits.
        effects: M candidates.
        risk: Says what changes do to the variance together.
        risk_aversion: Weight of the variance in the objective.
        rank: (M,) what each candidate costs at the prices of the limits.
    """
    order = np.argsort(np.where(np.isfinite(effects.change), rank, np.inf), kind="stable")
    order = order[: int(np.isfinite(effects.change).sum())]
    for members, most in ((2, IN_PAIRS), (3, IN_TRIPLES)):
        few = order[:most]
        if len(few) < members:
            return None
        places = _least(limits, at, effects, few, risk, risk_aversion, members)
        if places[0] >= 0:
            return tuple(int(few[one]) for one in places if one >= 0)
    return None


def _least(
    limits: AllLimits,
    at: tuple[float, FloatArray, float],
    effects: Effects,
    few: IntArray,
    risk: FactorRisk,
    risk_aversion: float,
    members: int,
) -> tuple[int, int, int]:
    cash, use, variance = at
    rows = limits.rows
    moves = effects.delta[few]
    together = 2.0 * risk.shared_covariance(effects.asset[few]) * moves[:, None] * moves
    te_max = rows.te_max
    places: tuple[int, int, int] = _least_exchange(
        effects.change[few],
        np.ascontiguousarray(np.vstack([effects.cash[few], effects.use[:, few]])),
        effects.variance[few],
        effects.asset[few],
        np.ascontiguousarray(together),
        np.concatenate([[limits.cash.least - cash], rows.least - use]) - NEGLIGIBLE,
        np.concatenate([[limits.cash.most - cash], rows.most - use]) + NEGLIGIBLE,
        (te_max + NEGLIGIBLE) ** 2 - variance if np.isfinite(te_max) else np.inf,
        risk_aversion,
        -WORTHWHILE,
        members,
    )
    return places


@compiled("i i i <- F F2 F I F2 F F f f f i")
def _least_exchange(
    change: FloatArray,
    use: FloatArray,
    variance: FloatArray,
    asset: IntArray,
    together: FloatArray,
    least: FloatArray,
    most: FloatArray,
    most_variance: float,
    risk_aversion: float,
    enough: float,
    members: int,
) -> tuple[int, int, int]:  # pragma: no cover - machine code, which is not traced; trying all of them checks it
    """Return the changes of different assets that keep every limit and together improve most, -1 for none.

    Args:
        change: (M,) change of the objective.
        use: (R, M) change of cash used and of the coupling rows' use.
        variance: (M,) change of the active variance.
        asset: (M,) the asset that changes.
        together: (M, M) what two changes add to the variance.
        least: (R,) least total change of the use.
        most: (R,) greatest total change of the use.
        most_variance: Greatest total change of the variance.
        risk_aversion: Weight of the variance in the objective.
        enough: Change of the objective that the exchange must fall below.
        members: 2 or 3.
    """
    count, rows = len(change), len(least)
    first = second = third = -1
    best = enough
    for one in range(count):
        for two in range(one + 1, count):
            if asset[one] == asset[two]:
                continue
            pair = change[one] + change[two] + risk_aversion * together[one, two]
            begin, end = (two + 1, count) if members == 3 else (count - 1, count)
            for other in range(begin, end):
                total, shared = pair, together[one, two]
                if members == 3:
                    if asset[other] == asset[one] or asset[other] == asset[two]:
                        continue
                    added = together[one, other] + together[two, other]
                    total += change[other] + risk_aversion * added
                    shared += added
                if not total < best:
                    continue
                legal = True
                for r in range(rows):
                    used = use[r, one] + use[r, two]
                    if members == 3:
                        used += use[r, other]
                    if used > most[r] or used < least[r]:
                        legal = False
                        break
                if not legal:
                    continue
                moved = variance[one] + variance[two] + shared
                if members == 3:
                    moved += variance[other]
                if moved > most_variance:
                    continue
                best, first, second, third = total, one, two, other if members == 3 else -1
    return first, second, third
