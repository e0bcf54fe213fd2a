"""Which names and groups should change sides together: a quadratic model of stage 2 around its optimum.

At the optimal prices of a decision, moving name i to another branch changes the priced cost by -gain_i and disturbs the
exposures and cash by r_i; so does turning a group round. When everything else has answered, the objective of a set of
moves is about

    objective - sum of gains + (1/2) r' M^-1 r,      r = sum of the r_i,

with M the dual's Hessian. The best set is searched on the model alone, so that one exact solve of stage 2 does for what
would else be a solve for each move. Without the last term it is a bound, hence some gain must be positive.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.certificate import DualPoint, Lagrangian, branch_of
from prometheus.optimizer.decisions import Decision
from prometheus.optimizer.linked_risk import FreeNames
from prometheus.optimizer.problem import BoolArray, FloatArray, IntArray
from prometheus.optimizer.semidefinite import solve_semidefinite

#: Most names, and most groups, that the model considers.
_MAX_NAMES = 64
_MAX_GROUPS = 16
#: Moves of the search on the model for each name considered, and for how many of them a move is not taken back.
_STEPS_A_MOVE = 4
_BLOCKED_STEPS = 7
#: Improvements smaller than this (0.00001 bps) are noise.
_WORTHWHILE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class _Moves:
    """Candidates: single names first, then groups.

    Attributes:
        gain: (M,) what each move saves at the present prices.
        move: (E,) the move to which each changed name belongs.
        asset: (E,) the changed name.
        branch: (E,) its branch after the move.
        trade: (E,) its trade after the move.
        group: (M,) the group that turns, -1 for a single name.
    """

    gain: FloatArray
    move: IntArray
    asset: IntArray
    branch: IntArray
    trade: FloatArray
    group: IntArray


def flipped_together(
    whole: Lagrangian, restricted: Lagrangian, decision: Decision, trades: FloatArray, dual: DualPoint
) -> Decision | None:
    """Return the decision that the model finds best, or None where it finds none better than the present one.

    Args:
        whole: The true problem with its groups undecided.
        restricted: The true problem after the groups' decisions, with every branch of each name.
        decision: The present decision.
        trades: (N,) its optimal trades.
        dual: Its optimal prices.
    """
    moves = _moves(whole, restricted, decision, dual)
    if not (moves.gain > _WORTHWHILE).any():
        return None
    disturbance = _disturbance(restricted, decision, trades, dual, moves)
    chosen = _least_pattern(moves.gain, disturbance)
    if not chosen.any():
        return None
    branch, sells = decision.branch.copy(), decision.sells_losses.copy()
    changed = chosen[moves.move]
    branch[moves.asset[changed]] = moves.branch[changed]
    turned = moves.group[chosen & (moves.group >= 0)]
    sells[turned] = ~sells[turned]
    return Decision(sells, branch)


def _moves(whole: Lagrangian, restricted: Lagrangian, decision: Decision, dual: DualPoint) -> _Moves:
    label = whole.limits.group
    groups, group_gain = _groups(whole, decision, dual)
    turning = np.isin(label, groups) & (label >= 0)

    pieces = restricted.pieces
    values = restricted.minima(dual).branch_value
    first = pieces.branch[pieces.first]
    owner = pieces.asset[np.flatnonzero(np.append(True, np.diff(pieces.branch) > 0))]
    current = first + decision.branch
    gain = values[current][owner] - values
    gain[current] = -np.inf
    gain[turning[owner]] = -np.inf
    # the likeliest branch of each name, the names that lose least first
    by = np.argsort(-gain, kind="stable")
    # a move that loses more than all others together could save is never worth it
    hope = float(np.maximum(gain[by], 0.0).sum()) + float(np.maximum(group_gain, 0.0).sum())
    by = by[gain[by] > -hope]
    by = by[np.sort(np.unique(owner[by], return_index=True)[1])][:_MAX_NAMES]
    single = owner[by]
    branch = decision.branch.copy()
    branch[single] = by - first[single]
    trade = restricted.on_branches(branch).minima(dual).trade

    member = np.flatnonzero(turning)
    if len(groups):
        sells = decision.sells_losses.copy()
        sells[groups] = ~sells[groups]
        other = whole.within(whole.limits.with_groups(sells, whole.cost.order.loss_start))
        turned = other.minima(dual).trade
        branch[member] = (branch_of(other.pieces, turned) - other.pieces.branch[other.pieces.first])[member]
        trade[member] = turned[member]
    order = np.argsort(groups, kind="stable")
    place = order[np.searchsorted(groups[order], label[member])] if len(groups) else member
    asset = np.concatenate([single, member])
    return _Moves(
        gain=np.concatenate([gain[by], group_gain]),
        move=np.concatenate([np.arange(len(by)), len(by) + place]),
        asset=asset,
        branch=branch[asset],
        trade=trade[asset],
        group=np.concatenate([np.full(len(by), -1, dtype=np.int64), groups]),
    )


def _groups(whole: Lagrangian, decision: Decision, dual: DualPoint) -> tuple[IntArray, FloatArray]:
    """Return the groups whose other side is the likeliest to be better, and what it saves at the prices."""
    if not len(decision.sells_losses):
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    no_purchase, no_loss = whole.group_values(whole.minima(dual))
    saving = np.where(decision.sells_losses, no_purchase - no_loss, no_loss - no_purchase)
    groups = np.argsort(-saving, kind="stable")[:_MAX_GROUPS]
    groups = groups[np.isfinite(saving[groups])]
    return groups, saving[groups]


def _least_pattern(gain: FloatArray, disturbance: FloatArray) -> BoolArray:
    """Return (M,) the moves whose modelled cost is least, by a tabu search: the best move, and for a while not back.

    Single moves, even where none improves, cross from one local optimum to the next; nothing in it is random.
    """
    count = len(gain)
    own = 0.5 * np.diag(disturbance)
    # +1 where a move would add the name, -1 where it would take it back; load = disturbance times the moves taken
    sign, load = np.ones(count), np.zeros(count)
    blocked = np.zeros(count, dtype=np.int64)
    value, least, pattern = 0.0, 0.0, sign.copy()
    for step in range(_STEPS_A_MOVE * count):
        change = sign * (load - gain) + own
        # a blocked move is free again where it leads to the best pattern yet
        change[(blocked > step) & (value + change >= least - _WORTHWHILE)] = np.inf
        best = int(np.argmin(change))
        if not np.isfinite(change[best]):
            break
        value += float(change[best])
        load += sign[best] * disturbance[best]
        sign[best] = -sign[best]
        blocked[best] = step + 1 + min(_BLOCKED_STEPS, count - 1)
        if value < least - _WORTHWHILE:
            least, pattern = value, sign.copy()
    return pattern < 0


def _disturbance(
    restricted: Lagrangian,
    decision: Decision,
    trades: FloatArray,
    dual: DualPoint,
    moves: _Moves,
) -> FloatArray:
    """Return (M, M) r_i' M^-1 r_j of the moves."""
    convex = restricted.on_branches(decision.branch)
    pieces = convex.pieces
    inside = (trades[pieces.asset] > pieces.left) & (trades[pieces.asset] < pieces.right)
    free, side = pieces.asset[inside], np.where(pieces.right[inside] <= 0, -1.0, 1.0)
    softness = 0.5 / restricted.cost.curvature[free]
    priced = 1.0 if dual.cash_price != 0 else 0.0
    rate = restricted.cost_rate
    rows = np.concatenate([restricted.risk.loadings.T[:, free], priced * (1.0 + side * rate[free])[None, :]])
    matrix = np.einsum("ki,li->kl", rows * softness, rows)
    factors = np.arange(len(rows) - 1)
    matrix[factors, factors] += 0.5 / restricted.risk_aversion
    asset, before = moves.asset, trades[moves.asset]
    step = moves.trade - before
    cash = step + rate[asset] * (np.abs(moves.trade) - np.abs(before))
    each = np.concatenate([restricted.risk.loadings.T[:, asset] * step, priced * cash[None, :]])
    r = np.zeros((len(each), len(moves.gain)))
    for k in range(len(each)):
        r[k] = np.bincount(moves.move, weights=each[k], minlength=len(moves.gain))
    if restricted.risk.links:
        own = np.zeros_like(matrix)
        own[factors, factors] = 0.5 / restricted.risk_aversion
        jumps = np.zeros((len(asset), len(moves.gain)))
        jumps[np.arange(len(asset)), moves.move] = step
        answers = FreeNames(free, restricted.cost.curvature[free], restricted.risk_aversion, restricted.risk.links)
        return answers.disturbances(rows.T, own, r, jumps, asset)
    products: FloatArray = np.einsum("ki,kj->ij", r, solve_semidefinite(matrix, r))
    return products
