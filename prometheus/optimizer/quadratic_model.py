"""The best set of moves in a quadratic model: least of  -gain'x + x'Q x / 2  over x of zeros and ones."""

import numpy as np

from prometheus.optimizer.problem import BoolArray, FloatArray

#: Steps without a better pattern after which the search ends, for each move and in all.
_STEPS_A_MOVE = 1
_MOST_IDLE_STEPS = 40
#: For how many steps a move is not taken back.
_BLOCKED_STEPS = 7
#: Improvements smaller than this (0.00001 bps) are noise.
WORTHWHILE = 1e-9


def least_pattern(gain: FloatArray, disturbance: FloatArray, start: BoolArray | None = None) -> BoolArray:
    """Return (M,) the moves whose modelled cost is least, by a tabu search: the best move, and for a while not back.

    Single moves, even where none improves, cross from one local optimum to the next; nothing in it is random.

    Args:
        gain: (M,) what each move saves.
        disturbance: (M, M) Q, positive semidefinite.
        start: (M,) moves taken at the start; none where it is None.
    """
    count = len(gain)
    own = 0.5 * disturbance.diagonal()
    taken = np.zeros(count) if start is None else start.astype(np.float64)
    # +1 where a move would add the name, -1 where it would take it back; load = disturbance times the moves taken
    sign = 1.0 - 2.0 * taken
    load = np.einsum("ij,j->i", disturbance, taken) - gain
    blocked = np.zeros(count, dtype=np.int64)
    value, least, pattern = 0.0, 0.0, sign.copy()
    idle, allowed = 0, min(_STEPS_A_MOVE * count + 4, _MOST_IDLE_STEPS)
    step = 0
    while idle < allowed:
        change = sign * load
        change += own
        best = int(change.argmin())
        if blocked[best] > step and value + change[best] >= least - WORTHWHILE:
            # a blocked move is free again where it leads to the best pattern yet
            change[blocked > step] = np.inf
            best = int(change.argmin())
            if change[best] == np.inf:
                break
        value += float(change[best])
        load += sign[best] * disturbance[best]
        sign[best] = -sign[best]
        blocked[best] = step + 1 + min(_BLOCKED_STEPS, count - 1)
        step, idle = step + 1, idle + 1
        if value < least - WORTHWHILE:
            least, pattern, idle = value, sign.copy(), 0
    return pattern < 0
