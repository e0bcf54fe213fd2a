"""The dual of the whole true problem in K + (rows) + 1 prices, and every name's answer to them.

Prices are zeta = 2 (g + lambda) z of the K exposures, those of the linear rows, of cash, of the other rows
(coupling.py) and lambda of the tracking-error limit. At given prices every branch of every name (asset_functions.py)
answers alone: it remembers the piece on which it answered last and looks at the next one only where the answer has left
the piece. So one evaluation costs a few passes over the branches, however many lots there are.

The dual jumps in slope where two branches of a name cost the same. There a share t of the name rests on the right
branch and 1 - t on the left one, with the proximal term (1/2) epsilon (t - centre)^2: the dual is smooth, its value
with t free is that of the convex envelope, and where the centre is at rest the term is zero. Source:
docs/specs/optimizer.md.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.linked_risk import FreeNames, Link
from prometheus.optimizer.problem import BoolArray, FloatArray, IntArray
from prometheus.optimizer.semidefinite import solve_semidefinite
from prometheus.optimizer.trade_range import CASH_TOLERANCE

#: Jumps of a trade below this (fraction of NAV) take it as their width.
_LEAST_JUMP = 1e-9
#: Multiply-adds up to which a product of matrices runs on one thread, whatever the number of threads: half of
#: OpenBLAS's bound.
_ONE_THREAD = 1 << 17
#: A library may solve larger systems on several threads; these are solved here.
_LEAST_THREADED = 190
#: Rows of the table of pieces; the rates of the rows besides cash follow behind the one of cash, then their offsets.
_LEFT, _RIGHT, _SLOPE, _OFFSET, _RATE = range(5)
_NONE = np.zeros(0)
#: Added to the scaled Hessian: nearly dependent rows share a price instead of drifting apart.
_REGULARISATION = 1e-11


@dataclass(frozen=True, slots=True, eq=False)
class JointTerms:
    """What joins the names of one problem; the same for all its branches and ranges.

    Attributes:
        by_name: (K + linear rows, N) X~' above the linear rows' coefficients.
        links: What links specific returns, L exposures more; empty for none.
        factors: K + L.
        linear: How many rows are linear.
        at_rest: (K + L,) exposures of the active weights before trading.
        least: (R + 1,) least use: linear rows, cash, other rows.
        most: (R + 1,) greatest use.
        te_max: Largest tracking error; infinite for none.
    """

    by_name: FloatArray
    links: tuple[Link, ...]
    factors: int
    linear: int
    at_rest: FloatArray
    least: FloatArray
    most: FloatArray
    te_max: float

    @classmethod
    def of(cls, lagrangian: Lagrangian) -> "JointTerms":
        """Collect the terms of a problem."""
        rows, cash = lagrangian.rows, lagrangian.cash
        linear = rows.linear
        at_rest = lagrangian.risk.exposures(lagrangian.cost.active)
        return cls(
            by_name=np.concatenate([lagrangian.risk.loadings.T, lagrangian.cost.row_buy[:linear]]),
            links=lagrangian.risk.links,
            factors=len(at_rest),
            linear=linear,
            at_rest=at_rest,
            least=np.concatenate([rows.least[:linear], [cash.least], rows.least[linear:]]),
            most=np.concatenate([rows.most[:linear], [cash.most], rows.most[linear:]]),
            te_max=rows.te_max,
        )

    @property
    def has_te(self) -> bool:
        """Say whether there is a tracking-error limit."""
        return bool(np.isfinite(self.te_max))

    @property
    def size(self) -> int:
        """Return the number of prices."""
        return self.factors + len(self.most) + 1

    @property
    def cash(self) -> int:
        """Return where the price of cash stands."""
        return self.factors + self.linear

    def own(self, prices: FloatArray) -> FloatArray:
        """Return (N,) what the prices of exposures and linear rows charge for a unit of each name."""
        if not self.links:
            charged: FloatArray = np.einsum("kn,k->n", self.by_name, prices[: self.cash])
            return charged
        dense = len(self.by_name) - self.linear
        at = np.concatenate([prices[:dense], prices[self.factors : self.cash]])
        charged = np.einsum("kn,k->n", self.by_name, at)
        for link in self.links:
            charged[link.names] += np.einsum("ik,k->i", link.root, prices[dense:][link.exposures])
        return charged

    def sums(self, weights: FloatArray) -> FloatArray:
        """Return (K + L + linear rows,) exposures and linear rows' use of (N,) weights."""
        added: FloatArray = np.einsum("kn,n->k", self.by_name, weights)
        if not self.links:
            return added
        dense = len(self.by_name) - self.linear
        linked = [np.einsum("ik,i->k", link.root, weights[link.names]) for link in self.links]
        return np.concatenate([added[:dense], *linked, added[dense:]])

    def prices(self, dual: DualPoint, risk_aversion: float, rows: int) -> FloatArray:
        """Return the (size,) prices of a dual point, without those on sides that have no limit."""
        risk_price = dual.risk_price if self.has_te else 0.0
        at = dual.rows(rows)
        mu = np.concatenate([at[: self.linear], [dual.cash_price], at[self.linear :]])
        mu[((mu > 0) & ~np.isfinite(self.most)) | ((mu < 0) & ~np.isfinite(self.least))] = 0.0
        return np.concatenate([2 * (risk_aversion + risk_price) * dual.exposures, mu, [risk_price]])

    def dual_point(self, prices: FloatArray, risk_aversion: float) -> DualPoint:
        """Return the dual point of (size,) prices."""
        cash, risk_price = self.cash, float(prices[-1])
        exposures = prices[: self.factors] / (2 * (risk_aversion + risk_price))
        rows = np.concatenate([prices[self.factors : cash], prices[cash + 1 : -1]])
        return DualPoint(exposures, float(prices[cash]), rows, risk_price)


@dataclass(frozen=True, slots=True, eq=False)
class Centre:
    """The proximal terms: where names that lie between two branches are kept, and how strongly.

    Attributes:
        share: (B,) share of each branch.
        epsilon: (M,) strength for each name with more than one branch.
        open: (M,) True for names whose shares may leave the range from 0 to 1, to see where their conditions lead.
    """

    share: FloatArray
    epsilon: FloatArray
    open: BoolArray | None = None


@dataclass(slots=True, eq=False)
class Response:
    """The answers to one list of prices.

    Attributes:
        prices: (size,) of linear rows, cash and other rows behind those of the exposures, lambda last.
        at: (B,) piece on which each branch answers.
        trade: (B,) its answer.
        inside: (B,) True where that lies strictly inside the piece, so that it moves with the prices.
        worth: (B,) its least priced cost.
        share: (B,) share of each branch.
        rate: (1 + other rows, B) what a unit of trade adds to cash and to the other rows.
        use: (1 + other rows, B) what the answer adds to them.
        left: (M,) left and right branch of each name that has several, the two that cost least.
        right: (M,)
        epsilon: (M,) strength of their proximal term.
        looseness: What the shared answers cost above the best branch of each name: the duality gap where nothing is
            missing.
        value: The dual value with the proximal terms.
        gradient: (size,) what is missing in each condition.
        active: (size,) False for prices that rest at zero and for limits that are not there.
    """

    prices: FloatArray
    at: IntArray
    trade: FloatArray
    inside: BoolArray
    worth: FloatArray
    share: FloatArray
    rate: FloatArray
    use: FloatArray
    left: IntArray
    right: IntArray
    epsilon: FloatArray
    looseness: float
    value: float
    gradient: FloatArray
    active: BoolArray

    @property
    def residual(self) -> float:
        """Return the largest condition missed."""
        return float(np.abs(self.gradient[self.active]).max(initial=0.0))


class CoupledDual:
    """The dual of a problem on its branches: all of them, or one for each name.

    Args:
        lagrangian: The problem.
        joint: ``JointTerms.of`` the same problem over any range.
    """

    def __init__(self, lagrangian: Lagrangian, joint: JointTerms) -> None:
        pieces, cost = lagrangian.pieces, lagrangian.cost
        self.joint, self.lagrangian = joint, lagrangian
        self._g = lagrangian.risk_aversion
        starts = np.ones(len(pieces.branch), dtype=bool)
        np.not_equal(pieces.branch[1:], pieces.branch[:-1], out=starts[1:])
        self.first = starts.nonzero()[0]
        self.last = np.append(self.first[1:], len(starts)) - 1
        self.owner = pieces.asset[self.first]
        self.names = len(pieces.first)
        # all that an answer needs of a piece, gathered at once: ends, slope, offset, what a unit adds to cash and to
        # the other rows, and these rows' offsets
        side = np.where(pieces.right <= 0, -1.0, 1.0)
        cash = 1.0 + side * lagrangian.cost_rate[pieces.asset]
        columns = [np.stack([pieces.left, pieces.right, pieces.slope, pieces.offset, cash])]
        self._rates = 1 + len(pieces.row_slope) - joint.linear
        if self._rates > 1:
            columns += [pieces.row_slope[joint.linear :], pieces.row_offset[joint.linear :]]
        self._table = columns[0] if self._rates == 1 else np.concatenate(columns)
        self._ones = np.ones(len(self.owner))
        self._active = cost.active[self.owner]
        self._curvature = cost.curvature[self.owner]
        self._softness = 0.5 / self._curvature
        self._variance = lagrangian.risk.specific_variance[self.owner] if joint.has_te else None
        self.exact = joint.least == joint.most
        self.is_exact = bool(self.exact.all())
        # names with several branches: their branches one after the other
        count = np.bincount(self.owner, minlength=self.names)
        self.several = (count > 1).nonzero()[0]
        first_branch = np.cumsum(count) - count
        self.first_branch = first_branch
        self._left = first_branch[self.several]
        self._right = self._left + 1
        self.is_crowded = bool((count > 2).any())
        if self.is_crowded:
            counts = count[self.several]
            self._heads = np.cumsum(counts) - counts
            self._member = np.repeat(np.arange(len(counts)), counts)
            self._crowd = np.arange(int(counts.sum())) - self._heads[self._member] + self._left[self._member]
        self.typical_softness = float(self._softness.mean())

    # ------------------------------------------------------------------ answers

    def located(self, prices: FloatArray) -> IntArray:
        """Return (B,) the piece on which every branch answers, found from all pieces at once."""
        pieces, joint = self.lagrangian.pieces, self.joint
        owner = pieces.asset
        own = joint.own(prices)
        softness = 0.5 / self.lagrangian.cost.curvature
        if prices[-1]:
            softness /= 1.0 + prices[-1] / self._g
        slope = pieces.slope + own[owner]
        for r, rate in enumerate(self._table[_RATE : _RATE + self._rates]):
            slope += prices[joint.cash + r] * rate
        passed = -slope * softness[owner] > self.lagrangian.cost.active[owner] + pieces.right
        at: IntArray = np.minimum(self.first + np.add.reduceat(passed, self.first, dtype=np.int64), self.last)
        return at

    def respond(
        self, prices: FloatArray, at: IntArray, centre: Centre | None = None, share: FloatArray | None = None
    ) -> Response:
        """Let every branch answer to the prices.

        Args:
            prices: (size,) prices.
            at: (B,) pieces on which the branches answered to nearby prices.
            centre: Proximal terms; None to let every name take its best branch.
            share: (B,) the branches' shares where they are given.
        """
        joint, table = self.joint, self._table
        risk_price = float(prices[-1])
        softness, curvature = self._softness, self._curvature
        if risk_price:
            stretch = 1.0 + risk_price / self._g
            softness, curvature = softness / stretch, curvature * stretch
        own = joint.own(prices).take(self.owner)
        charged = [(r, float(prices[joint.cash + r])) for r in range(self._rates) if prices[joint.cash + r]]
        rows = table.take(at, axis=1)
        slope = _charged(rows, charged) + own
        u = slope * softness
        np.negative(u, out=u)
        u -= self._active
        low, high = rows[_LEFT], rows[_RIGHT]
        moving = (((u > high) & (at < self.last)) | ((u < low) & (at > self.first))).nonzero()[0]
        if len(moving):
            at = at.copy()
        while len(moving):
            up = u[moving] > high[moving]
            following = at[moving] + np.where(up, 1, -1)
            part = table.take(following, axis=1)
            next_slope = _charged(part, charged) + own[moving]
            wish = -self._active[moving] - next_slope * softness[moving]
            goes = np.where(up, wish > part[_LEFT], wish < part[_RIGHT])
            moving, following, wish, up, part = moving[goes], following[goes], wish[goes], up[goes], part[:, goes]
            at[moving], slope[moving], u[moving], rows[:, moving] = following, next_slope[goes], wish, part
            further = np.where(
                up,
                (wish > part[_RIGHT]) & (following < self.last[moving]),
                (wish < part[_LEFT]) & (following > self.first[moving]),
            )
            moving = moving[further]
        inside = (u > low) & (u < high)
        np.maximum(u, low, out=u)
        np.minimum(u, high, out=u)
        moved = self._active + u
        worth = curvature * moved
        worth *= moved
        worth += slope * u
        worth += rows[_OFFSET]
        rate = rows[_RATE : _RATE + self._rates]
        use = rate * u
        if self._rates > 1:
            level = rows[_RATE + self._rates :]
            use[1:] += level
            for r, price in charged:
                if r:
                    worth += price * level[r - 1]
        return self._joined(prices, at, u, inside, worth, rate, use, moved, centre, share)

    def _joined(
        self,
        prices: FloatArray,
        at: IntArray,
        u: FloatArray,
        inside: BoolArray,
        worth: FloatArray,
        rate: FloatArray,
        use: FloatArray,
        moved: FloatArray,
        centre: Centre | None,
        given: FloatArray | None,
    ) -> Response:
        """Put the branches' answers together: shares, dual value and gradient."""
        joint, k, risk_price = self.joint, self.joint.factors, float(prices[-1])
        share, near, far, epsilon = self._ones, self._left, self._right, _NONE
        looseness = value = 0.0
        if given is not None:
            share = given
        elif len(self.several):
            share = share.copy()
            if self.is_crowded:
                share[self._crowd] = 0.0
                near, far = self._two_best(worth)
            dearer = worth.take(far) - worth.take(near)
            if centre is None:
                t = (dearer < 0).astype(np.float64)
            else:
                epsilon, kept = centre.epsilon, centre.share.take(far)
                if self.is_crowded:
                    both = centre.share[near] + kept
                    kept = np.where(both > 0, kept / np.where(both > 0, both, 1.0), dearer < 0)
                t = kept - dearer / epsilon
                bounded = np.minimum(np.maximum(t, 0.0), 1.0)
                t = bounded if centre.open is None else np.where(centre.open, t, bounded)
                kept = t - kept
                kept *= kept
                kept *= epsilon
                value = 0.5 * float(kept.sum())
            looseness = float((t * dearer - np.minimum(dearer, 0.0)).sum())
            share[near], share[far] = 1 - t, t
        net = np.bincount(self.owner, weights=share * u, minlength=self.names).astype(np.float64, copy=False)
        by_name = joint.sums(net)
        total = 2 * (self._g + risk_price)
        z = prices[:k] / total
        gradient = np.zeros(joint.size)
        gradient[:k] = joint.at_rest + by_name[:k] - z
        active = np.ones(joint.size, dtype=bool)
        active[-1] = False
        value += 0.5 * total * float(((2 * joint.at_rest - z) * z).sum()) + float((share * worth).sum())
        if len(joint.most) == 1:
            value -= self._cash_condition(float(prices[k]), float((share * use[0]).sum()), gradient, active)
        else:
            mu = prices[k:-1]
            used = np.concatenate([by_name[k:], (share * use).sum(axis=1)])
            over, short = used - joint.most, used - joint.least
            at_rest = np.where(over > 0, over, np.where(short < 0, short, 0.0))
            gradient[k:-1] = np.where(self.exact | (mu > 0), over, np.where(mu < 0, short, at_rest))
            on = mu != 0
            limit = np.where(mu > 0, joint.most, joint.least)
            value -= float((mu[on] * limit[on]).sum())
            active[k:-1] = self.exact | on | (at_rest != 0)
        if self._variance is not None:
            te = joint.te_max * joint.te_max
            gradient[-1] = float((z * z).sum() + (share * self._variance * moved * moved).sum()) - te
            value -= risk_price * te
            active[-1] = risk_price > 0 or gradient[-1] > 0
        return Response(
            prices, at, u, inside, worth, share, rate, use, near, far, epsilon, looseness, value, gradient, active
        )

    def _cash_condition(self, price: float, used: float, gradient: FloatArray, active: BoolArray) -> float:
        """Fill in what is missing in the cash row, the only one there is; return price times limit."""
        joint = self.joint
        least, most, at = float(joint.least[0]), float(joint.most[0]), joint.factors
        if price == 0 and least < most:
            gradient[at] = max(used - most, 0.0) + min(used - least, 0.0)
            active[at] = gradient[at] != 0
            return 0.0
        limit = most if price > 0 else least
        gradient[at] = used - limit
        return price * limit

    def _two_best(self, worth: FloatArray) -> tuple[IntArray, IntArray]:
        """Return the two branches of each name that cost least, the left one first."""
        values = worth[self._crowd]
        count = len(values)
        best = self._first_least(values, count)
        values = values.copy()
        values[best] = np.inf
        second = self._first_least(values, count)
        return self._crowd[np.minimum(best, second)], self._crowd[np.maximum(best, second)]

    def _first_least(self, values: FloatArray, count: int) -> IntArray:
        least = np.minimum.reduceat(values, self._heads)
        place = np.where(values <= least[self._member], np.arange(count), count)
        return np.minimum.reduceat(place, self._heads)

    def centre(self, response: Response, strength: float) -> Centre:
        """Return proximal terms around the present shares, of a strength relative to each name's own curvature."""
        jump = np.abs(response.trade[response.right] - response.trade[response.left])
        jump = np.maximum(jump, _LEAST_JUMP)
        return Centre(response.share, 2 * strength * self._curvature[response.left] * jump * jump)

    # ------------------------------------------------------------------ second order

    @staticmethod
    def tied(response: Response, opened: BoolArray | None = None) -> BoolArray:
        """Return (M,) the names whose share lies strictly between two branches, and those that are open."""
        t = response.share[response.right]
        between = (t > 0) & (t < 1)
        return between if opened is None else between | opened

    def curvature(self, response: Response, opened: BoolArray | None = None) -> FloatArray:
        """Return the (size, size) generalised Hessian of the negative dual at a response."""
        joint, k, cash = self.joint, self.joint.factors, self.joint.cash
        risk_price = float(response.prices[-1])
        total = 2 * (self._g + risk_price)
        soft = response.share * self._softness * response.inside
        if risk_price:
            soft /= 1.0 + risk_price / self._g
        by_name = np.bincount(self.owner, weights=soft, minlength=self.names).astype(np.float64)
        rates = response.rate
        if self._variance is not None:
            moved = self._active + response.trade
            rates = np.concatenate([rates, (2 * self._variance * moved)[None, :]])
        matrix = np.empty((joint.size, joint.size))
        last = matrix[cash:, cash:]
        matrix[:cash, :cash] = gram(joint.by_name, by_name)
        rated = rates * soft
        if len(rates) < joint.size - cash:
            matrix[-1] = matrix[:, -1] = 0.0
            last = last[:-1, :-1]
        last[...] = np.einsum("ri,si->rs", rated, rates)
        for r, weights in enumerate(rated):
            cross = np.einsum("kn,n->k", joint.by_name, np.bincount(self.owner, weights=weights, minlength=self.names))
            matrix[:cash, cash + r] = cross
            matrix[cash + r, :cash] = cross
        diagonal = np.arange(k)
        matrix[diagonal, diagonal] += 1.0 / total
        if risk_price or self._variance is not None:
            z = response.prices[:k] / total
            matrix[:k, -1] -= 2 * z / total
            matrix[-1, :k] -= 2 * z / total
            matrix[-1, -1] += 4 * float((z * z).sum()) / total
        if len(response.epsilon):
            tied = self.tied(response, opened).nonzero()[0]
            if len(tied):
                jump = self.jumps(response, response.left[tied], response.right[tied])
                matrix += np.einsum("km,lm->kl", jump / response.epsilon[tied], jump)
        return matrix

    def products(self, response: Response, disturbed: FloatArray, jumps: FloatArray, asset: IntArray) -> FloatArray:
        """Return (M, M) r_i' M^-1 r_j: what changes cost once everything that is free has answered to them.

        Args:
            response: Answers at the present prices, with the shares that answer to them.
            disturbed: (size, M) r, what each change adds to the conditions.
            jumps: (E, M) what each change adds to the trade of each changed name.
            asset: (E,) the changed names.
        """
        priced = response.prices != 0
        priced[: self.joint.factors] = True
        priced[self.joint.factors : -1] |= self.exact
        if self.joint.links:
            return self._linked_products(response, disturbed, jumps, asset, priced)
        at = priced.nonzero()[0]
        matrix = self.curvature(response)
        part = disturbed[at]
        products: FloatArray = np.einsum("ki,kj->ij", part, self.solved(matrix[at[:, None], at], part))
        return products

    def _linked_products(
        self,
        response: Response,
        disturbed: FloatArray,
        jumps: FloatArray,
        asset: IntArray,
        priced: BoolArray,
    ) -> FloatArray:
        """The same where specific returns are linked; what a tracking-error limit adds is left out of the model."""
        joint = self.joint
        dense, g = len(joint.by_name) - joint.linear, self._g + float(response.prices[-1])
        branch = (response.inside & (response.share > 0)).nonzero()[0]
        names = self.owner[branch]
        rows = np.concatenate([joint.by_name[:, names], response.rate[:, branch]])
        keep = np.concatenate([np.ones(dense, dtype=bool), priced[joint.factors : -1]])
        own = np.zeros((int(keep.sum()), int(keep.sum())))
        own[np.arange(dense), np.arange(dense)] = 0.5 / g
        moved = np.concatenate([disturbed[:dense], disturbed[joint.factors : -1]])
        free = FreeNames(names, self._curvature[branch] * (g / self._g), g, joint.links)
        return free.disturbances(rows[keep].T, own, moved[keep], jumps, asset)

    def solved(self, matrix: FloatArray, right: FloatArray, damping: float = _REGULARISATION) -> FloatArray:
        """Return the solution of a small system of the Hessian, scaled and regularised by ``damping``."""
        diagonal = matrix.diagonal().copy()
        # nothing answers to this price here: step as if one typical name did
        diagonal[diagonal <= 0] = self.typical_softness
        scale = 1.0 / np.sqrt(diagonal)
        matrix = matrix * scale[:, None] * scale
        matrix.flat[:: len(right) + 1] = 1.0 + damping
        if right.ndim > 1:
            scale = scale[:, None]
        solve = np.linalg.solve if len(right) < _LEAST_THREADED else solve_semidefinite
        step: FloatArray = scale * solve(matrix, scale * right)
        return step

    def conditions(self, response: Response, branches: IntArray) -> FloatArray:
        """Return (size, branches) what the answers of branches add to every condition."""
        u, owner = response.trade[branches], self.owner[branches]
        joint = self.joint
        added = np.zeros((joint.size, len(branches)))
        dense = len(joint.by_name) - joint.linear
        each = joint.by_name[:, owner] * u
        # what links add is left to the products
        added[:dense], added[joint.factors : joint.cash] = each[:dense], each[dense:]
        added[joint.cash : -1] = response.use[:, branches]
        if self._variance is not None:
            moved = self._active[branches] + u
            added[-1] = self._variance[branches] * moved * moved
        return added

    def best_branch(self, response: Response) -> IntArray:
        """Return (N,) the branch that costs each name least; of two equal ones the left one."""
        best = self.first_branch.copy()
        if self.is_crowded:
            near, far = self._two_best(response.worth)
        else:
            near, far = self._left, self._right
        best[self.several] = np.where(response.worth[far] < response.worth[near], far, near)
        return best

    def shares(self, branch: IntArray) -> FloatArray:
        """Return (B,) shares that give every name wholly to its (N,) branch."""
        share = np.zeros(len(self.owner))
        share[branch] = 1.0
        return share

    def can_meet_cash(self, branch: IntArray) -> bool:
        """Say whether some trades on the (N,) branches meet the cash range."""
        low, high = self._table[_LEFT].take(self.first[branch]), self._table[_RIGHT].take(self.last[branch])
        rate, cash = self.lagrangian.cost_rate, self.lagrangian.cash
        least, most = float((low + rate * np.abs(low)).sum()), float((high + rate * np.abs(high)).sum())
        return least <= cash.most + CASH_TOLERANCE and most >= cash.least - CASH_TOLERANCE

    def jumps(self, response: Response, before: IntArray, after: IntArray) -> FloatArray:
        """Return (size, M) what every condition changes by when names go from one branch to another."""
        return self.conditions(response, after) - self.conditions(response, before)


def _charged(rows: FloatArray, charged: list[tuple[int, float]]) -> FloatArray:
    """Return the slopes of pieces given by their columns of the table, with what rows charge at their prices."""
    slope: FloatArray = rows[_SLOPE]
    for r, price in charged:
        slope = slope + price * rows[_RATE + r]
    return slope


def gram(rows: FloatArray, weights: FloatArray) -> FloatArray:
    """Return rows diag(weights) rows' of (m, N) rows, with the same bits for any number of threads."""
    at = weights.nonzero()[0]
    part = rows[:, at]
    scaled = part * weights[at]
    size = len(rows)
    step = max(_ONE_THREAD // max(size * size, 1), 1)
    total = np.zeros((size, size))
    for begin in range(0, len(at), step):
        total += scaled[:, begin : begin + step] @ part[:, begin : begin + step].T
    return total
