"""The dual of the whole true problem in K + (rows) + 1 prices, and every asset's answer to them.

The prices are those of joint_terms.py. At given prices every branch of every asset (problem/asset_functions.py) answers
alone: it remembers the piece on which it answered last and looks at the next one only where the answer has left the
piece. So one evaluation costs a few passes over the branches, however many lots there are; kernels.py makes them.

The dual jumps in slope where two branches of an asset cost the same. There the asset rests with mixing weight t on the
right branch and 1 - t on the left one, with the proximal term (1/2) epsilon (t - centre)^2: the dual is smooth, its
value with t free is that of the convex envelope, and where the centre is at rest the term is zero. Source:
docs/specs/optimizer.md.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.certificate import Lagrangian
from prometheus.optimizer.dual.branch_table import branch_table
from prometheus.optimizer.dual.joint_terms import JointTerms
from prometheus.optimizer.dual.kernels import (
    ACTIVE,
    BEST,
    CENTRED,
    CURVATURE,
    FIRST,
    GIVEN,
    LAST,
    LEFT,
    OWNER,
    RIGHT,
    SPREAD,
    VARIANCE,
    evaluate,
)
from prometheus.optimizer.dual.linked_products import linked_products
from prometheus.optimizer.dual.links import answers_of_assets, eliminate, linked_step
from prometheus.optimizer.dual.steps import hessian, proximal_strengths, solve_scaled, step_towards
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray
from prometheus.optimizer.problem.trade_range import CASH_TOLERANCE

#: Jumps of a trade below this (fraction of NAV) take it as their width.
_LEAST_JUMP = 1e-9
_NONE = np.zeros(0)
_NOWHERE = np.zeros(0, dtype=np.bool_)
#: Added to the scaled Hessian: nearly dependent rows share a price instead of drifting apart.
_REGULARISATION = 1e-11


@dataclass(frozen=True, slots=True, eq=False)
class Centre:
    """The proximal terms: where assets that lie between two branches are kept, and how strongly.

    Attributes:
        mixing: (B,) mixing weight of each branch.
        epsilon: (M,) strength for each asset with more than one branch.
        open: (M,) True for assets whose mixing weights may leave the range from 0 to 1, to see where their conditions
            lead.
    """

    mixing: FloatArray
    epsilon: FloatArray
    open: BoolArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MixingWeights:
    """Mixing weights of the branches of a problem, from which those of a part of it start.

    Attributes:
        bounds: (N + 1,) first branch of each asset, and how many branches there are.
        mixing: (B,)
    """

    bounds: IntArray
    mixing: FloatArray


@dataclass(slots=True, eq=False)
class Response:
    """The answers to one list of prices.

    Attributes:
        prices: (size,) of linear rows, cash and other rows behind those of the exposures, lambda last.
        at: (B,) piece on which each branch answers.
        trade: (B,) its answer.
        inside: (B,) True where that lies strictly inside the piece, so that it moves with the prices.
        worth: (B,) its least priced cost.
        mixing: (B,) mixing weight of each branch.
        rate: (1 + other rows, B) what a unit of trade adds to cash and to the other rows.
        use: (1 + other rows, B) what the answer adds to them.
        left: (M,) left and right branch of each asset that has several, the two that cost least.
        right: (M,)
        epsilon: (M,) strength of their proximal term.
        looseness: What the mixed answers cost above the best branch of each asset: the duality gap where nothing is
            missing.
        value: The dual value with the proximal terms.
        gradient: (size,) what is missing in each condition.
        active: (size,) False for prices that rest at zero and for limits that are not there.
        residual: The largest active condition missed.
    """

    prices: FloatArray
    at: IntArray
    trade: FloatArray
    inside: BoolArray
    worth: FloatArray
    mixing: FloatArray
    rate: FloatArray
    use: FloatArray
    left: IntArray
    right: IntArray
    epsilon: FloatArray
    looseness: float
    value: float
    gradient: FloatArray
    active: BoolArray
    residual: float


class CoupledDual:
    """The dual of a problem on its branches: all of them, or one for each asset.

    Args:
        lagrangian: The problem.
        joint: ``JointTerms.of`` the same problem over any range.
    """

    def __init__(self, lagrangian: Lagrangian, joint: JointTerms) -> None:
        pieces, cost = lagrangian.pieces, lagrangian.cost
        self.joint, self.lagrangian = joint, lagrangian
        self._g = lagrangian.risk_aversion
        self._rates, self.asset_count = 1 + len(pieces.row_slope) - joint.linear, len(pieces.first)
        variance = lagrangian.risk.specific_variance if joint.has_te else np.zeros(self.asset_count)
        self._table, self._places, self._branches, self._bounds = branch_table(
            pieces, lagrangian.cost_rate, joint.linear, (cost.active, cost.curvature, variance)
        )
        self.owner = self._places[OWNER]
        self.exact = joint.least == joint.most
        # assets with several branches: their branches one after the other
        count = np.diff(self._bounds)
        self.several = (count > 1).nonzero()[0]
        self.first_branch = self._bounds[:-1]
        self._ends = np.stack([self.first_branch[self.several], self.first_branch[self.several] + 1])
        self.is_crowded = bool((count > 2).any())
        # where many assets have three branches, or links make assets alike, a third one often overtakes
        self._mode = SPREAD if joint.links or cost.order_cost > 0 else CENTRED
        self.typical_softness = float((0.5 / self._branches[CURVATURE]).mean())

    # ------------------------------------------------------------------ answers

    def respond(
        self,
        prices: FloatArray,
        at: IntArray | None = None,
        centre: Centre | None = None,
        mixing: FloatArray | None = None,
    ) -> Response:
        """Let every branch answer to the prices.

        Args:
            prices: (size,) prices.
            at: (B,) pieces on which the branches answered to nearby prices; None to look from the first ones on.
            centre: Proximal terms; None to let every asset take its best branch.
            mixing: (B,) the branches' mixing weights where they are given.
        """
        joint, count, rates = self.joint, len(self.owner), self._rates
        at = (self._places[FIRST] if at is None else at).copy()
        mode, ends = GIVEN, self._ends
        if mixing is None:
            mode, mixing, ends = BEST, np.empty(count), np.empty_like(ends)
        kept, epsilon, opened = _NONE, _NONE, _NOWHERE
        if centre is not None and len(self.several):
            mode, kept, epsilon = self._mode, centre.mixing, centre.epsilon
            opened = _NOWHERE if centre.open is None else centre.open
        answers, rows, inside = np.empty((2, count)), np.empty((2 * rates, count)), np.empty(count, dtype=np.bool_)
        gradient, active = np.empty(joint.size), np.empty(joint.size, dtype=np.bool_)
        value, looseness, residual = evaluate(
            prices, self._g, joint.te_max,
            joint.by_exposure, joint.by_asset, joint.sizes, joint.assets, joint.roots, joint.columns, joint.linear,
            joint.at_rest, joint.least, joint.most,
            self._table, self._places, self._branches, self._bounds, self.several,
            mode, kept, epsilon, opened,
            at, mixing, answers, rows, inside, ends, gradient, active,
        )  # fmt: skip
        return Response(
            prices, at, answers[0], inside, answers[1], mixing, rows[:rates], rows[rates:], ends[0], ends[1], epsilon,
            looseness, value, gradient, active, residual,
        )  # fmt: skip

    def centre(self, response: Response, strength: float) -> Centre:
        """Return proximal terms around the present mixing weights, their strength relative to each curvature."""
        epsilon = proximal_strengths(
            response.trade, response.left, response.right, self._branches[CURVATURE], strength, _LEAST_JUMP
        )
        return Centre(response.mixing, epsilon)

    def mixing_weights(self, response: Response) -> MixingWeights:
        """Return a response's mixing weights in a form that other parts of the same problem can read."""
        return MixingWeights(self._bounds, response.mixing)

    def mixing_like(self, known: MixingWeights, response: Response) -> FloatArray:
        """Return (B,) known mixing weights for assets of as many branches as before, the response's for the others."""
        same = (np.diff(known.bounds) == np.diff(self._bounds))[self.owner].nonzero()[0]
        owner = self.owner[same]
        mixing = response.mixing.copy()
        mixing[same] = known.mixing[known.bounds[owner] + same - self.first_branch[owner]]
        return mixing

    # ------------------------------------------------------------------ second order

    @staticmethod
    def tied(response: Response) -> BoolArray:
        """Return (M,) the assets whose mixing weight lies strictly between two branches."""
        t = response.mixing[response.right]
        return (t > 0) & (t < 1)

    def hessian(self, response: Response, opened: BoolArray | None = None) -> FloatArray:
        """Return the (size, size) generalised Hessian of the negative dual at a response.

        Args:
            response: The response.
            opened: (M,) assets that count as between their branches whatever their mixing weight.
        """
        joint = self.joint
        return hessian(
            response.prices, self._g, joint.te_max, joint.factors, joint.by_asset, self._places, self._branches,
            response.inside, response.mixing, response.trade, response.rate, response.use,
            self.several, response.left, response.right, response.epsilon, _NOWHERE if opened is None else opened,
        )  # fmt: skip

    def newton_step(self, response: Response, damping: float, opened: BoolArray | None = None) -> FloatArray:
        """Return the (size,) step of the active prices, the scaled Hessian damped."""
        if self.joint.links:
            return self._linked_step(response, damping, opened)
        matrix = self.hessian(response, opened)
        return step_towards(matrix, response.gradient, response.active, damping, self.typical_softness)

    def _linked_step(self, response: Response, damping: float, opened: BoolArray | None) -> FloatArray:
        """Return the step with the links' prices eliminated block by block (links.py)."""
        joint, prices, gradient = self.joint, response.prices, response.gradient
        dense, linked = joint.dense, len(joint.assets)
        softness, columns, matrix = self._answers_of_assets(response, opened)
        missing, right = gradient[dense : joint.factors], joint.besides_links(gradient)
        lower, pull = np.empty(len(joint.roots)), np.zeros(linked)
        solved, free = np.empty((linked, len(right) + 1)), np.empty(linked, dtype=np.int64)
        eliminate(
            prices, self._g, joint.te_max, dense, joint.sizes, joint.assets, joint.remainders, joint.columns,
            missing, softness, columns, matrix, right, lower, pull, solved, free,
        )  # fmt: skip
        rest = step_towards(matrix, right, joint.besides_links(response.active), damping, self.typical_softness)
        return linked_step(
            prices, self._g, dense, joint.sizes, joint.assets, joint.roots, missing, lower, solved, free, rest
        )

    def _answers_of_assets(
        self, response: Response, opened: BoolArray | None = None
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return (N,) softness of each asset, (N, C) what its answer adds to C conditions, (C, C) what else answers."""
        width = self.joint.size - len(self.joint.assets)
        softness, columns, own = (
            np.zeros(self.asset_count),
            np.zeros((self.asset_count, width)),
            np.zeros((width, width)),
        )
        answers_of_assets(
            response.prices, self._g, self.joint.by_asset, self._places, self._branches,
            response.inside, response.mixing, response.trade, response.rate, response.use,
            self._bounds, self.several, response.left, response.right, response.epsilon,
            _NOWHERE if opened is None else opened, softness, columns, own,
        )  # fmt: skip
        return softness, columns, own

    def products(
        self, response: Response, disturbed: FloatArray, changes: tuple[IntArray, IntArray, FloatArray]
    ) -> FloatArray:
        """Return (M, M) r_i' M^-1 r_j: what changes cost once everything that is free has answered to them.

        Args:
            response: Answers at the present prices, with the mixing weights that answer to them.
            disturbed: (size, M) r, what each move adds to the conditions.
            changes: The E changes of trades: (E,) the move to which each belongs, (E,) the changed assets, (E,) by how
                much each trade changes.
        """
        priced = response.prices != 0
        priced[: self.joint.factors] = True
        priced[self.joint.factors : -1] |= self.exact
        if self.joint.links:
            return self._linked_products(response, disturbed, changes, priced)
        at = priced.nonzero()[0]
        matrix, part = self.hessian(response)[at[:, None], at], np.ascontiguousarray(disturbed[at])
        answered = solve_scaled(matrix, part, _REGULARISATION, self.typical_softness)
        products: FloatArray = np.einsum("ki,kj->ij", part, answered)
        return products

    def _linked_products(
        self,
        response: Response,
        disturbed: FloatArray,
        changes: tuple[IntArray, IntArray, FloatArray],
        priced: BoolArray,
    ) -> FloatArray:
        """The same where specific returns are linked; what a tracking-error limit adds is left out of the model."""
        joint = self.joint
        dense, g = joint.dense, self._g + float(response.prices[-1])
        branch = (response.inside & (response.mixing > 0)).nonzero()[0]
        assets = self.owner[branch]
        rows = np.concatenate([joint.by_exposure[:, assets], response.rate[:, branch]])
        keep = np.concatenate([np.ones(dense, dtype=bool), priced[joint.factors : -1]])
        own = np.zeros((int(keep.sum()), int(keep.sum())))
        own[np.arange(dense), np.arange(dense)] = 0.5 / g
        moved = np.concatenate([disturbed[:dense], disturbed[joint.factors : -1]])
        packed = self.lagrangian.risk.packed
        assert packed is not None
        free = (assets, self._branches[CURVATURE, branch] * (g / self._g), rows[keep].T)
        return linked_products(packed, g, free, own, moved[keep], changes)

    def conditions(self, response: Response, branches: IntArray) -> FloatArray:
        """Return (size, branches) what the answers of branches add to every condition."""
        u, owner = response.trade[branches], self.owner[branches]
        joint = self.joint
        added = np.zeros((joint.size, len(branches)))
        dense = joint.dense
        each = joint.by_exposure[:, owner] * u
        # the products add what links contribute
        added[:dense], added[joint.factors : joint.cash] = each[:dense], each[dense:]
        added[joint.cash : -1] = response.use[:, branches]
        if joint.has_te:
            moved = self._branches[ACTIVE, branches] + u
            added[-1] = self._branches[VARIANCE, branches] * moved * moved
        return added

    def best_branch(self, response: Response) -> IntArray:
        """Return (N,) the branch that costs each asset least; of two equal ones the left one."""
        best = self.first_branch.copy()
        left, right = response.left, response.right
        best[self.several] = np.where(response.worth[right] < response.worth[left], right, left)
        return best

    def whole_branches(self, branch: IntArray) -> FloatArray:
        """Return (B,) mixing weights that give every asset wholly to its (N,) branch."""
        mixing = np.zeros(len(self.owner))
        mixing[branch] = 1.0
        return mixing

    def can_meet_cash(self, branch: IntArray) -> bool:
        """Say whether some trades on the (N,) branches meet the cash range."""
        low, high = self._table[self._places[FIRST, branch], LEFT], self._table[self._places[LAST, branch], RIGHT]
        rate, cash = self.lagrangian.cost_rate, self.lagrangian.cash
        least, most = float((low + rate * np.abs(low)).sum()), float((high + rate * np.abs(high)).sum())
        return least <= cash.most + CASH_TOLERANCE and most >= cash.least - CASH_TOLERANCE

    def jumps(self, response: Response, before: IntArray, after: IntArray) -> FloatArray:
        """Return (size, M) what every condition changes by when assets go from one branch to another."""
        return self.conditions(response, after) - self.conditions(response, before)
