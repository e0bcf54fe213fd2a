"""The best set of moves in a quadratic model: least of  -gain'x + x'Q x / 2  over x of zeros and ones."""

import numpy as np

from prometheus.optimizer.compiled import compiled
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray

#: Steps without a better pattern after which the search ends, for each move and in all.
_STEPS_A_MOVE = 1
_MOST_IDLE_STEPS = 40
#: For how many steps a move is not undone.
_BLOCKED_STEPS = 7
#: Better patterns that a search may find beyond one for each move.
_ROUNDS = 10
#: Improvements smaller than this (0.00001 bps) are noise.
WORTHWHILE = 1e-9


def least_pattern(gain: FloatArray, disturbance: FloatArray, start: BoolArray | None = None) -> BoolArray:
    """Return (M,) the moves whose modelled cost is least, by a tabu search.

    Each step makes the best move, even where it does not improve, and does not undo it for some steps; so the search
    crosses from one local optimum to the next. Nothing in it is random.

    Args:
        gain: (M,) what each move saves.
        disturbance: (M, M) Q, positive semidefinite.
        start: (M,) moves taken at the start; none where it is None.
    """
    count = len(gain)
    taken = np.zeros(count) if start is None else start.astype(np.float64)
    idle = min(_STEPS_A_MOVE * count + 4, _MOST_IDLE_STEPS)
    signs = _least_signs(
        np.ascontiguousarray(gain),
        np.ascontiguousarray(disturbance),
        1.0 - 2.0 * taken,
        idle,
        min(_BLOCKED_STEPS, count - 1),
        WORTHWHILE,
    )
    return signs < 0


@compiled("F <- F F2 F i i f")
def _least_signs(
    gain: FloatArray, disturbance: FloatArray, start: FloatArray, allowed: int, blocked_steps: int, worthwhile: float
) -> FloatArray:  # pragma: no cover - machine code, which is not traced; enumeration checks it
    """Return (M,) the best pattern of a tabu search, -1 for moves that are taken and 1 for the others.

    Args:
        gain: (M,) what each move saves.
        disturbance: (M, M) Q.
        start: (M,) pattern at the start.
        allowed: Steps without a better pattern after which the search ends.
        blocked_steps: For how many steps a move is not undone.
        worthwhile: Improvements smaller than this are noise.
    """
    count = len(gain)
    sign, pattern = start.copy(), start.copy()
    # what one more unit of each move costs beside its own half
    load = -gain
    for i in range(count):
        if sign[i] < 0:
            for j in range(count):
                load[j] += disturbance[i, j]
    blocked = np.zeros(count, dtype=np.int64)
    value = least = 0.0
    idle = 0
    # each move may lead to a better pattern once and again; the bound is for numbers so large that round-off does
    for step in range(allowed * (count + _ROUNDS)):
        if idle >= allowed:
            break
        best = free = -1
        change = change_free = np.inf
        for i in range(count):
            cost = sign[i] * load[i] + 0.5 * disturbance[i, i]
            if cost < change:
                best, change = i, cost
            if blocked[i] <= step and cost < change_free:
                free, change_free = i, cost
        # a blocked move is free again where it leads to the best pattern yet
        if best != free and value + change >= least - worthwhile:
            best, change = free, change_free
        if best < 0:
            break
        value += change
        for j in range(count):
            load[j] += sign[best] * disturbance[best, j]
        sign[best] = -sign[best]
        blocked[best] = step + 1 + blocked_steps
        idle += 1
        if value < least - worthwhile:
            least, idle = value, 0
            pattern[:] = sign
    return pattern
