"""Envelope first, then the true problem with every side fixed, then the few assets that could not decide.

Stage 1 replaces each asset's cost by its convex envelope; at its optimum all but about K + 1 assets rest on a branch of
their true cost. Stage 2 keeps one branch for each asset, which makes the problem convex again. The assets in between
are decided by a quadratic model of how everything else answers, groups of substantially identical assets by their
priced cost, and then whatever the prices of stage 2 say could still be better is tried.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from prometheus.foundation.errors import SolverFailedError
from prometheus.optimizer.backends.base import QuadraticBackend, QuadraticSolution
from prometheus.optimizer.certificate import AssetMinima, DualPoint, Lagrangian, branch_of
from prometheus.optimizer.dual.coupled_dual import CoupledDual, MixingWeights, Response
from prometheus.optimizer.dual.decisions import Decision, RestingPlaces, resting_places
from prometheus.optimizer.dual.joint_terms import JointTerms
from prometheus.optimizer.dual.structured import STRUCTURED
from prometheus.optimizer.problem.envelope import arcs, convex_envelope
from prometheus.optimizer.problem.rebalance_problem import FloatArray
from prometheus.optimizer.search.fixed_sides import FixedSidesAnswer, solve_fixed_sides
from prometheus.optimizer.search.flips import Moves, moves_around
from prometheus.optimizer.search.relaxation import Relaxation

#: Back-ends that solve stage 2 themselves where the others leave it to Newton's method: the independent reference.
_BY_THEMSELVES = frozenset({"CVXPY"})
#: No further trials once the gap is below this (objective per unit of NAV: 0.005 bps).
_GOOD_ENOUGH = 5e-7
#: An improvement smaller than this (0.00001 bps) is not worth a trial.
_WORTHWHILE = 1e-9
#: Nor after a trial that has closed no more than this part of the gap that it left.
_DIMINISHING = 0.1
#: Most trials of several changes at once.
_MAX_TRIALS = 32
#: Most times stage 1 is solved again at the prices that stage 2 found for turnover, gains and tracking error.
_MAX_RECENTRINGS = 2
#: Trades of a part of the problem are improved where they are worse than the best known ones by at most this part of
#: the gap that is left.
_PROMISING = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class TwoStageAnswer:
    """The best trades found for one range of the trades, and what is known about it.

    Attributes:
        trades: (N,) u; those of stage 1 where no decision met every coupling limit.
        objective: Objective of the trades, without the tilt on the holdings; infinite where there are none.
        dual: Prices of stage 2 at the trades.
        lower_bound: Certified bound on the same objective over the whole range.
        duals: Dual points worth trying for another bound.
        best_dual: The one whose bound is the best.
        relaxed: (N,) trades of stage 1.
        places: Their positions on the envelope.
        solution: What the back-end said in stage 1.
        mixing: Mixing weights of the assets' branches in stage 1, where they are worth keeping for the parts of the
            range.
    """

    trades: FloatArray
    objective: float
    dual: DualPoint
    lower_bound: float
    duals: tuple[DualPoint, ...]
    best_dual: DualPoint
    relaxed: FloatArray
    places: RestingPlaces
    solution: QuadraticSolution
    mixing: MixingWeights | None


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    decision: Decision
    trades: FloatArray
    dual: DualPoint
    objective: float
    response: Response | None


@dataclass(frozen=True, slots=True, eq=False)
class _StageOne:
    relaxed: FloatArray
    dual: DualPoint
    places: RestingPlaces
    solution: QuadraticSolution
    #: The envelope is that of the optimal prices, so that solving it again at these would change nothing.
    is_exact: bool
    mixing: MixingWeights | None = None


def _is_bent(lagrangian: Lagrangian, dual: DualPoint) -> bool:
    """Say whether the prices change the envelopes: linear prices do not, those of the other rows and of risk do."""
    return dual.risk_price > 0 or bool(dual.rows(lagrangian.cost.rows)[lagrangian.rows.linear :].any())


class TwoStageSearch:
    """One search for the best trades over one range.

    Args:
        lagrangian: The true problem.
        backend: Solver of stage 1, and of stage 2 where Newton's method fails.
        tolerance: The solver's tolerance.
        centre: Prices of a problem around this one, at which stage 1 starts; None to start without any.
        mixing: Mixing weights of that problem's branches.
    """

    def __init__(
        self,
        lagrangian: Lagrangian,
        backend: QuadraticBackend,
        tolerance: float,
        centre: DualPoint | None = None,
        mixing: MixingWeights | None = None,
    ) -> None:
        self._whole = lagrangian
        self._backend = backend
        self._relaxation = Relaxation(backend, tolerance)
        self._joint = JointTerms.of(lagrangian)
        self._by_groups: dict[bytes, Lagrangian] = {}
        self._priced_by_groups: dict[bytes, CoupledDual] = {}
        self._minima_of: dict[DualPoint, AssetMinima] = {}
        self._bounds: dict[DualPoint, float] = {}
        self._start, self._mixing = centre, mixing
        self._centre = centre if centre is not None and _is_bent(lagrangian, centre) else None

    def run(self, known: float = float("inf")) -> TwoStageAnswer:
        """Return the best trades found and their certified bound.

        Args:
            known: Objective of trades that are known already. A range whose bound shows that it has none better is not
                searched for trades, and what one decision gives there is improved only where that comes near them.

        Raises:
            SolverFailedError: The back-end failed.
            CertificateRejectedError: Its answer breaks the program's own rows.
        """
        stage_one = self._stage_one(self._centre)
        duals = [stage_one.dual, *([] if self._start is None else [self._start])]
        hopeless = self._bound(duals) >= known - _WORTHWHILE
        best = None if hopeless else self._decide(stage_one, duals, known)
        for _ in range(0 if stage_one.is_exact or np.isfinite(known) else _MAX_RECENTRINGS):
            centre = duals[0] if best is None else best.dual
            if not _is_bent(self._whole, centre):
                break
            bound = self._bound(duals)
            if best is not None and best.objective - bound <= _GOOD_ENOUGH:
                break
            stage_one = self._stage_one(centre)
            duals.append(stage_one.dual)
            outcome = self._decide(stage_one, duals, known)
            improves = outcome is not None and (best is None or outcome.objective < best.objective - _GOOD_ENOUGH)
            if outcome is not None and (best is None or outcome.objective < best.objective):
                best = outcome
            if not improves and self._bound(duals) <= bound + _GOOD_ENOUGH:
                break
        return TwoStageAnswer(
            trades=stage_one.relaxed if best is None else best.trades,
            objective=float("inf") if best is None else best.objective,
            dual=stage_one.dual if best is None else best.dual,
            lower_bound=self._bound(duals),
            duals=tuple(duals),
            best_dual=max(duals, key=self._bound_of),
            relaxed=stage_one.relaxed,
            places=stage_one.places,
            solution=stage_one.solution,
            mixing=stage_one.mixing,
        )

    # ------------------------------------------------------------------ stage 1

    def _stage_one(self, centre: DualPoint | None) -> _StageOne:
        """Solve the envelope: on the dual of the problem itself, or as a program at known prices of what bends it."""
        whole, fallback = self._whole, ""
        if self._backend.name == STRUCTURED.name:
            nothing = DualPoint(np.zeros(self._joint.factors), 0.0)
            start = nothing if self._start is None else self._start
            answer = STRUCTURED.stage_one(whole, self._joint, start, self._mixing)
            fallback = answer.solution.fallback
            if not fallback:
                # without links few assets rest between branches; their mixing weights are not worth handing on
                mixing = answer.mixing if self._joint.links else None
                return _StageOne(
                    answer.relaxed, answer.dual, answer.places, answer.solution, is_exact=True, mixing=mixing
                )
        priced = whole if centre is None else whole.repriced(centre)
        envelope = convex_envelope(priced.pieces, priced.cost, priced.cost_rate)
        if self._backend.name in _BY_THEMSELVES:
            answered = self._relaxation.solve(envelope, priced)
        else:
            # prices that are part of the costs are not charged again
            near = self._start if centre is None else DualPoint(centre.exposures, centre.cash_price)
            answered = self._relaxation.solve_screened(envelope, priced, near)
        relaxed, dual, solution = answered.trades, answered.dual, answered.solution
        places = resting_places(envelope, priced.pieces, relaxed)
        if centre is not None:
            dual = replace(
                dual,
                row_prices=dual.row_prices + centre.rows(whole.cost.rows),
                risk_price=dual.risk_price + centre.risk_price,
            )
            at_prices = branch_of(whole.pieces, self._minima(dual).trade) - whole.pieces.branch[whole.pieces.first]
            places = places.relabelled(priced.pieces, whole.pieces, at_prices, relaxed)
        return _StageOne(relaxed, dual, places, replace(solution, fallback=fallback), is_exact=False)

    def _minima(self, dual: DualPoint) -> AssetMinima:
        if dual not in self._minima_of:
            self._minima_of[dual] = self._whole.minima(dual)
        return self._minima_of[dual]

    def _bound(self, duals: list[DualPoint]) -> float:
        return max(self._bound_of(dual) for dual in duals)

    def _bound_of(self, dual: DualPoint) -> float:
        if dual not in self._bounds:
            self._bounds[dual] = self._whole.bound(dual, self._minima(dual))
        return self._bounds[dual]

    # ------------------------------------------------------------------ stage 2

    def _decide(self, stage_one: _StageOne, duals: list[DualPoint], known: float) -> _Candidate | None:
        """Fix the sides, solve stage 2 and improve; None where no decision met every coupling limit."""
        whole, dual = self._whole, stage_one.dual
        no_purchase, no_loss = whole.group_values(self._minima(dual))
        base = self._place_groups(Decision(no_purchase <= no_loss, stage_one.places.branch), dual)
        decisions = [base]
        if len(stage_one.places.asset) or len(base.sells_losses):
            modelled = self._moves(base, dual, relaxed=stage_one.relaxed).together()
            decisions = [base] if modelled is None else [modelled, base]
        for decision in decisions:
            best = self._solve_decision(self._reachable(decision, dual), dual)
            if best is not None:
                duals.append(best.dual)
                near = known + _PROMISING * (known - self._bound(duals)) if np.isfinite(known) else known
                return self._improve(best, duals) if best.objective < near else best
        return None

    def _restricted(self, decision: Decision) -> Lagrangian:
        """Return the true problem after the groups' decisions, with every branch of each asset."""
        if not len(decision.sells_losses):
            return self._whole
        key = decision.sells_losses.tobytes()
        if key not in self._by_groups:
            whole = self._whole
            limits = whole.limits.with_groups(decision.sells_losses, whole.cost.order.loss_start)
            if (limits.low > limits.high).any():
                # a part of a branched search that contradicts the decision
                self._by_groups[key] = whole.within(limits)
            else:
                self._by_groups[key] = replace(whole, limits=limits, pieces=whole.pieces.cut(limits.low, limits.high))
        return self._by_groups[key]

    def _priced(self, decision: Decision) -> CoupledDual:
        """Return the dual of the restricted problem."""
        key = decision.sells_losses.tobytes()
        if key not in self._priced_by_groups:
            self._priced_by_groups[key] = CoupledDual(self._restricted(decision), self._joint)
        return self._priced_by_groups[key]

    def _prices(self, dual: DualPoint) -> FloatArray:
        return self._joint.prices(dual, self._whole.risk_aversion, self._whole.cost.rows)

    def _convex(self, decision: Decision) -> Lagrangian:
        return self._restricted(decision).on_branches(decision.branch)

    def _newton(self, decision: Decision, start: DualPoint) -> FixedSidesAnswer | None:
        priced = self._priced(decision)
        return solve_fixed_sides(self._restricted(decision), start, priced, priced.first_branch + decision.branch)

    def _solve_decision(self, decision: Decision, start: DualPoint) -> _Candidate | None:
        """Solve the problem of a decision: by Newton's method from known prices, else by the back-end.

        None where limits besides cash join the assets and the back-end finds no point in them, or where the groups'
        sides contradict the range or leave too little of it for the cash range.
        """
        if self._contradicts(decision) or not self._can_meet_cash(decision):
            return None
        by_itself = self._backend.name in _BY_THEMSELVES
        answer = None if by_itself else self._newton(decision, start)
        if answer is None:
            convex = self._convex(decision)
            try:
                relaxed = self._relaxation.solve(arcs(convex.pieces, convex.cost, convex.cost_rate), convex)
            except SolverFailedError:
                if not convex.rows.any:
                    raise
                return None
            answer = FixedSidesAnswer(convex.moved_into_cash(relaxed.trades), relaxed.dual)
            if not by_itself:
                answer = self._newton(decision, answer.dual) or answer
        return self._candidate(decision, answer)

    def _try_decision(self, decision: Decision, best: _Candidate) -> _Candidate | None:
        """Solve the problem of a decision by Newton's method from the best prices; None where it fails."""
        answer = self._newton(decision, best.dual)
        return None if answer is None else self._candidate(decision, answer)

    def _candidate(self, decision: Decision, answer: FixedSidesAnswer) -> _Candidate:
        return _Candidate(decision, answer.trades, answer.dual, self._whole.objective(answer.trades), answer.response)

    # ------------------------------------------------------------------ decisions

    def _place_groups(self, decision: Decision, dual: DualPoint) -> Decision:
        """Give the assets of decided groups the branch on which their priced cost is least."""
        if not len(decision.sells_losses):
            return decision
        priced = self._priced(decision)
        prices = self._prices(dual)
        best = priced.best_branch(priced.respond(prices)) - priced.first_branch
        return replace(decision, branch=np.where(self._whole.limits.group >= 0, best, decision.branch))

    def _reachable(self, decision: Decision, dual: DualPoint) -> Decision:
        """Move assets to another branch, and if need be groups to another side, until the cash range can be met."""
        for trial in self._ways(decision, dual):
            if self._contradicts(trial):
                continue
            stepped = self._stepped(trial, dual)
            if self._can_meet_cash(stepped):
                return stepped
        return decision

    def _ways(self, decision: Decision, dual: DualPoint) -> Iterator[Decision]:
        yield decision
        groups = len(decision.sells_losses)
        for sells in (True, False) if groups else ():
            yield self._place_groups(Decision(np.full(groups, sells), decision.branch), dual)

    def _contradicts(self, decision: Decision) -> bool:
        """Say whether a group's side leaves an asset without a trade in the range, as in parts of a branched search."""
        limits = self._restricted(decision).limits
        return bool((limits.low > limits.high).any())

    def _can_meet_cash(self, decision: Decision) -> bool:
        priced = self._priced(decision)
        return priced.can_meet_cash(priced.first_branch + decision.branch)

    def _stepped(self, decision: Decision, dual: DualPoint) -> Decision:
        """Move assets towards sales or purchases, the cheapest first, one branch at a time.

        Neighbouring branches share an end, so that a step never leaps over the cash range.
        """
        if self._can_meet_cash(decision):
            return decision
        convex = self._convex(decision)
        least, most = convex.cash_reach()
        step = -1 if least > convex.cash.most else 1 if most < convex.cash.least else 0
        if step == 0:
            return decision
        restricted = self._restricted(decision)
        values, first = restricted.minima(dual).branch_value, restricted.pieces.branch[restricted.pieces.first]
        target = np.zeros_like(decision.branch) if step < 0 else np.diff(np.append(first, len(values))) - 1
        loss = values[first + target] - values[first + decision.branch]
        for i in np.argsort(loss, kind="stable"):
            while decision.branch[i] != target[i]:
                if self._can_meet_cash(decision):
                    return decision
                decision = decision.with_branch(int(i), int(decision.branch[i]) + step)
        return decision

    def _moves(
        self, decision: Decision, dual: DualPoint, response: Response | None = None, relaxed: FloatArray | None = None
    ) -> Moves:
        priced = self._priced(decision)
        if response is None:
            prices = self._prices(dual)
            mixing = priced.whole_branches(priced.first_branch + decision.branch)
            response = priced.respond(prices, mixing=mixing)
        sells = decision.sells_losses
        other = self._priced(Decision(~sells, decision.branch)) if len(sells) else None
        return moves_around(priced, response, other, decision, dual, relaxed)

    def _improve(self, best: _Candidate, duals: list[DualPoint]) -> _Candidate:
        """Change sides of many assets at once as the model proposes, while the exact solve confirms an improvement.

        Single changes beside these were tried: of 25 on accounts of 500 assets none improved the trades.
        """
        seen = {best.decision.key()}
        for _ in range(_MAX_TRIALS):
            if best.objective - self._bound(duals) <= _GOOD_ENOUGH:
                break
            together = self._moves(best.decision, best.dual, best.response).together()
            if together is None or together.key() in seen:
                break
            seen.add(together.key())
            outcome = self._try_decision(together, best)
            if outcome is None or outcome.objective >= best.objective - _WORTHWHILE:
                break
            saved, best = best.objective - outcome.objective, outcome
            duals.append(best.dual)
            if saved <= _DIMINISHING * (best.objective - self._bound(duals)):
                break
        return best
