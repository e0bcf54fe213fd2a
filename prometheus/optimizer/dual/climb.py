"""The dual of coupled_dual.py climbed by a semismooth Newton method inside a proximal point method.

Prices of one-sided limits keep their sign: Newton's method projected on the signs, with a line search on the dual
value. Where assets lie between two branches the proximal terms' centre moves to the answer and their strength shrinks.
Around the last centres that is an active-set method: a handful of assets have a mixing weight strictly between 0 and 1,
and their conditions are met exactly. Source: docs/specs/optimizer.md; Li, Sun and Toh, "A highly efficient semismooth
Newton augmented Lagrangian method for solving Lasso problems", SIAM J. Optim. 28 (2018), for combining the two methods.
"""

from dataclasses import dataclass, replace

import numpy as np

from prometheus.optimizer.dual.coupled_dual import Centre, CoupledDual, MixingWeights, Response
from prometheus.optimizer.dual.steps import all_within, along, moved
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray

#: Strength of the proximal terms relative to the asset's own curvature: the first, the factor of each centre, the last.
_FIRST_STRENGTH = 10.0
#: The first strength where mixing weights are known at the start.
_KNOWN_STRENGTH = 0.1
_SHRINK = 0.1
_LAST_STRENGTH = 1e-5
_MAX_CENTRES = 25
_MAX_STEPS = 60
_MAX_SEARCH = 20
#: Part of the promised rise that a step must bring.
_ENOUGH = 1e-4
#: A step of the line search is taken where the slope along it has fallen to this part of what it was.
_SLOPE_LEFT = 0.5
#: Duality gap (objective per unit of NAV) and residual below which a better answer of stage 1 brings nothing.
GAP = 5e-8
#: The same where specific returns are linked: more assets stay between branches, and what is left of each adds up in
#: the bounds of branching.
GAP_WITH_LINKS = 1e-9
RESIDUAL = 1e-9
#: A residual below this that no longer falls is the floor of double precision.
STALLED = 2e-11
#: Residual at which an answer without assets between branches is exact for all purposes.
EXACT = 1e-12
#: Added to the scaled Hessian, whose diagonal is one: at least, for each unit of what is missing, and where that brings
#: nothing because rows are nearly dependent while few assets answer.
_LEAST_DAMPING = 1e-11
_DAMPING = 1e-4
_MORE_DAMPING = (1e-6, 1e-3, 1e-1)
#: A step to the next centre may lower the dual value by this part of it.
_ASTRAY = 3e-4
#: Prices beyond this (per unit of NAV) grow to infinity: no trades meet the limits.
_RUNAWAY = 1e6
#: A climb around one centre that ends with more missing than this ends for good, and so do that many in a row that end
#: too early.
_HOPELESS = 1e-3
_MOST_FAILURES = 2


@dataclass(frozen=True, slots=True, eq=False)
class ClimbAnswer:
    """The end of a climb.

    Attributes:
        response: The answers to the last prices.
        steps: Newton steps.
    """

    response: Response
    steps: int

    @property
    def gap(self) -> float:
        """Return what the mixed answers cost above the dual value, without the residual."""
        return self.response.looseness


class _Climb:
    def __init__(self, dual: CoupledDual, mixing: FloatArray | None = None) -> None:
        self.dual, self.mixing = dual, mixing
        self.steps = 0

    def settle(self, state: Response, centre: Centre | None, tolerance: float) -> Response:
        """Climb until no active condition is missed by more than the tolerance, or no step helps."""
        for _ in range(_MAX_STEPS):
            if state.residual <= tolerance:
                break
            following = self._search(state, centre)
            if following is None:
                break
            state = following
            self.steps += 1
            if not all_within(state.prices, _RUNAWAY):
                break
        return state

    def _search(self, state: Response, centre: Centre | None) -> Response | None:
        """Return the answer to a step that raises the dual, None where none does."""
        for damping in (max(_LEAST_DAMPING, min(_DAMPING, _DAMPING * state.residual)), *_MORE_DAMPING):
            next_point = self._line_search(state, centre, self.dual.newton_step(state, damping))
            if next_point is not None:
                return next_point
            if state.residual <= STALLED:
                break
        return None

    def _line_search(self, state: Response, centre: Centre | None, step: FloatArray) -> Response | None:
        length, low, high, rise_low, rise_high = 1.0, 0.0, np.inf, 1.0, 0.0
        # an end of the bracket that stays for a second time counts half: assets that links make alike bend the line so
        # sharply that the secant alone creeps
        stays = 0.5 if self.dual.joint.links else 1.0
        slope = state.gradient * state.active
        kept: Response | None = None
        for _ in range(_MAX_SEARCH):
            prices = self._moved(state, step, length)
            promised = along(slope, prices, state.prices)
            trial = self.dual.respond(prices, state.at, centre, self.mixing)
            # at the floor of double precision the value no longer tells, the residual does
            if abs(trial.value - state.value) <= 1e-14 and trial.residual < 0.5 * state.residual:
                return trial
            rise = along(trial.gradient, prices, state.prices)
            if promised > 0 and trial.value >= state.value + _ENOUGH * promised:
                if kept is None or trial.value > kept.value:
                    kept = trial
                if abs(rise) <= _SLOPE_LEFT * promised:
                    return kept
            left = rise / promised if promised > 0 else -1.0
            if left > 0:
                rise_high *= stays if low > 0 else 1.0
                low, rise_low = length, left
            else:
                rise_low *= stays if np.isfinite(high) else 1.0
                high, rise_high = length, left
            if np.isinf(high):
                length *= 2
                continue
            secant = low + (high - low) * rise_low / (rise_low - rise_high)
            margin = 0.1 * (high - low)
            length = min(max(secant, low + margin), high - margin)
            if kept is not None and high - low < 0.05 * high:
                return kept
        return kept

    def predicted(self, state: Response, centre: Centre) -> Response:
        """Return the answer at the new centre after one step in which the assets between branches stay between them.

        With weaker proximal terms the same prices would push them to an end, and Newton's method would lose them.
        """
        tied = self.dual.tied(state)
        if not tied.any() or not len(state.epsilon):
            return self.dual.respond(state.prices, state.at, centre)
        opened = replace(centre, open=tied)
        here = self.dual.respond(state.prices, state.at, opened)
        self.steps += 1
        there = self.dual.respond(
            self._moved(here, self.dual.newton_step(here, _LEAST_DAMPING, tied), 1.0), state.at, centre
        )
        if there.value >= state.value - _ASTRAY * abs(state.value):
            return there
        # the step failed, as it may where rows become active on the way
        here = self.dual.respond(state.prices, state.at, centre)
        return there if there.value > here.value else here

    def _moved(self, state: Response, step: FloatArray, length: float) -> FloatArray:
        """Return the prices after a step, those of one-sided limits kept from changing their sign."""
        return moved(state.prices, step, length, state.gradient, self.dual.exact)


def climb(dual: CoupledDual, prices: FloatArray, known: MixingWeights | None = None) -> ClimbAnswer:
    """Maximise the dual from given prices; the caller judges the answer by its gap and residual.

    Args:
        dual: The dual, of all branches or of one for each asset.
        prices: (size,) a guess.
        known: Mixing weights that go with them, of a problem that this is a part of; they are the first centre.
    """
    run = _Climb(dual)
    state = dual.respond(prices)
    if not len(dual.several):
        return ClimbAnswer(run.settle(state, None, RESIDUAL), run.steps)
    best, strength, failed = None, _FIRST_STRENGTH, 0
    if known is not None:
        state.mixing, strength = dual.mixing_like(known, state), _KNOWN_STRENGTH
    close = GAP_WITH_LINKS if dual.joint.links else GAP
    for _ in range(_MAX_CENTRES):
        centre = dual.centre(state, strength)
        state = run.predicted(state, centre)
        # a loose answer is enough to move the centre; the tight one comes with the last strength
        enough = max(RESIDUAL, 1e-4 * strength * strength)
        state = run.settle(state, centre, enough)
        if best is None or max(state.looseness, state.residual) < max(best.looseness, best.residual):
            best = state
        if state.looseness <= close and state.residual <= RESIDUAL:
            break
        failed = failed + 1 if state.residual > enough else 0
        if failed > _MOST_FAILURES or (failed and state.residual > _HOPELESS) or not all_within(state.prices, _RUNAWAY):
            break
        strength = max(_SHRINK * strength, _LAST_STRENGTH)
    assert best is not None
    return ClimbAnswer(best, run.steps)


def climb_with_sides(dual: CoupledDual, branch: IntArray, prices: FloatArray) -> Response:
    """Maximise the dual of the problem with one branch for each asset, to rounding error where it can be reached.

    Args:
        dual: The dual of any of the assets' branches.
        branch: (N,) the branch of each asset.
        prices: (size,) a guess.
    """
    mixing = dual.whole_branches(branch)
    state = dual.respond(prices, mixing=mixing)
    return _Climb(dual, mixing).settle(state, None, EXACT)
