"""STRUCTURED against CLARABEL, and its fallback."""

from dataclasses import replace

import numpy as np
import pytest

from prometheus.foundation.errors import CertificateRejectedError
from prometheus.optimizer import rebalance
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.certificate import DualPoint
from prometheus.optimizer.dual import structured
from prometheus.optimizer.dual.climb import climb
from prometheus.optimizer.dual.coupled_dual import CoupledDual
from prometheus.optimizer.dual.joint_terms import JointTerms
from prometheus.optimizer.dual.structured import TIGHT_GAP, TIGHT_RESIDUAL
from prometheus.optimizer.problem.envelope import convex_envelope
from prometheus.optimizer.search.assembly import assemble
from prometheus.optimizer.search.quadratic_model import least_pattern
from prometheus.optimizer.search.two_stage import TwoStageSearch
from tests.unit.optimizer.backends.test_base import _program
from tests.unit.optimizer.lagrangians import lagrangian_of
from tests.unit.optimizer.limits import KINDS as LIMITS
from tests.unit.optimizer.limits import binding
from tests.unit.optimizer.problems import random_problem

KINDS = {
    "plain": {},
    "hifo": {"lot_method": "HIFO"},
    "fifo": {"lot_method": "FIFO"},
    "many factors": {"factors": 25, "lots_a_name": 8.0},
    "one factor": {"factors": 1},
    "groups and locks": {"group_share": 0.5, "lock_share": 0.3},
    "no cash to spare": {"cash_range": (0.0, 1e-6)},
    "cash must be raised": {"cash_range": (0.05, 0.06)},
    "losses everywhere": {"loss_share": 0.95},
    "no cost": {"cost_bps": 0.0},
}


def _structured(whole):
    nothing = DualPoint(np.zeros(whole.risk.loadings.shape[1]), 0.0)
    return structured.STRUCTURED.stage_one(whole, JointTerms.of(whole), nothing)


def _bound(whole, trades, cash_price):
    price = cash_price if abs(cash_price) > 1e-9 else 0.0
    dual = DualPoint(whole.risk.exposures(whole.cost.active + trades), price)
    return float(whole.bound(dual, whole.minima(dual)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_stage_one_is_clarabels(kind, seed):
    """The bound of stage 1 is the one of the interior-point solver's envelope, and so is the cash it uses."""
    whole = lagrangian_of(random_problem(40 + seed, names=70, **KINDS[kind]))
    envelope = convex_envelope(whole.pieces, whole.cost, whole.cost_rate)
    assembled = assemble(envelope, whole.risk, whole.cost.active, whole.cost_rate, whole.risk_aversion, whole.cash)
    reference = backend_named("CLARABEL").solve(assembled.program, 1e-11)
    theirs = _bound(whole, assembled.trades(reference.x), assembled.cash_price(reference.z))
    answer = _structured(whole)
    assert answer.solution.fallback == ""
    ours = float(whole.bound(answer.dual, whole.minima(answer.dual)))
    assert ours == pytest.approx(theirs, abs=2e-7)
    used = float((answer.relaxed + whole.cost_rate * np.abs(answer.relaxed)).sum())
    # the two ends of an undecided asset pay their costs each
    assert whole.cash.least - 2e-5 <= used <= whole.cash.most + 2e-5


@pytest.mark.parametrize("kinds", [*((kind,) for kind in LIMITS), LIMITS])
@pytest.mark.parametrize("lot_method", ["HIFO", "FIFO"])
def test_every_limit_is_priced_at_least_as_well_as_by_clarabel(kinds, lot_method):
    """Rows and cone are climbed natively, to a bound that the envelope's program at its best centre does not exceed."""
    tightness = 0.02 if "gain" in kinds else 0.3
    problem = binding(random_problem(3, names=60, lot_method=lot_method), kinds, tightness, 3)
    whole = lagrangian_of(problem)
    ours, theirs = (TwoStageSearch(whole, backend_named(name), 1e-10).run() for name in ("STRUCTURED", "CLARABEL"))
    assert ours.solution.fallback == ""
    assert ours.lower_bound <= theirs.objective + 1e-9
    assert theirs.lower_bound <= ours.objective + 1e-9
    assert ours.lower_bound >= theirs.lower_bound - 1e-6
    assert ours.objective <= theirs.objective + 2e-6


def test_a_name_is_left_between_two_branches_only_where_they_cost_the_same():
    """At the optimum every undecided asset's two ends have the same priced cost."""
    whole = lagrangian_of(random_problem(45, names=70, factors=25, lots_a_name=8.0))
    answer = _structured(whole)
    values = whole.minima(answer.dual).branch_value
    first = whole.pieces.branch[whole.pieces.first[answer.places.asset]]
    assert len(first)
    at_ends = values[first[:, None] + answer.places.ends]
    assert at_ends[:, 0] == pytest.approx(at_ends[:, 1], abs=TIGHT_GAP)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_certified_and_agree_with_clarabels_within_the_gaps(kind):
    """The whole run reports STRUCTURED, breaks no rule, and neither objective lies below the other's bound."""
    problem = random_problem(50, names=60, **KINDS[kind])
    ours, theirs = (rebalance(problem, backend=name).certificate for name in ("STRUCTURED", "CLARABEL"))
    assert ours.max_violation <= 1e-9
    assert ours.gap_bps >= -1e-7
    assert ours.lower_bound <= theirs.objective + 1e-9
    assert theirs.lower_bound <= ours.objective + 1e-9


def test_a_tight_answer_is_reported_as_its_own():
    """The facts name the method, its steps and a status without a fallback."""
    facts = rebalance(random_problem(51), backend="STRUCTURED").facts
    assert facts.backend == "STRUCTURED"
    assert facts.status == "Solved"
    assert facts.iterations > 0
    assert "CLARABEL" in facts.version


def test_an_answer_that_is_not_tight_is_not_used_and_the_facts_say_so(monkeypatch):
    """A poor dual point goes to CLARABEL, whose answer is the same as if it had been asked."""

    def lazy(dual, prices, _known=None):
        honest = climb(dual, prices)
        return replace(honest, response=replace(honest.response, looseness=1e-6))

    monkeypatch.setattr(structured, "climb", lazy)
    problem = random_problem(52)
    ours, theirs = rebalance(problem, backend="STRUCTURED"), rebalance(problem, backend="CLARABEL")
    assert "fallback to CLARABEL: STRUCTURED left a gap of 0.01 bps" in ours.facts.status
    assert ours.trades.tobytes() == theirs.trades.tobytes()


def test_a_residual_is_reason_enough_for_the_fallback(monkeypatch):
    """An answer that misses a condition is not used, however small its gap."""

    def lazy(dual, prices, _known=None):
        honest = climb(dual, prices)
        return replace(honest, response=replace(honest.response, residual=1e-6))

    monkeypatch.setattr(structured, "climb", lazy)
    assert "residual of 1e-06" in rebalance(random_problem(53), backend="STRUCTURED").facts.status


def test_answers_that_are_not_finite_are_refused(monkeypatch):
    """A forged answer that calls itself tight meets the same check of form as every other solver's."""

    def forged(dual, prices, _known=None):
        honest = climb(dual, prices)
        trade = honest.response.trade.copy()
        trade[3] = np.nan
        return replace(honest, response=replace(honest.response, trade=trade))

    monkeypatch.setattr(structured, "climb", forged)
    with pytest.raises(CertificateRejectedError) as refused:
        rebalance(random_problem(53), backend="STRUCTURED")
    assert refused.value.code == "ANSWER_NOT_FINITE"


def test_general_programs_go_to_clarabel_and_say_so():
    """A program that is not made of pieces is solved, and marked as solved by another solver."""
    solution = backend_named("STRUCTURED").solve(_program([[1.0, 1.0], [-1.0, 0.0]], [1.0, 0.0], equalities=1), 1e-10)
    assert solution.x == pytest.approx([0.75, 0.25], abs=1e-8)
    assert solution.fallback == "not a program of pieces"


def test_contradictory_rows_are_never_called_tight():
    """Where no trades meet the rows the residual says so."""
    problem = binding(random_problem(3, names=60), ("sectors",), 0.3, 3)
    out_of_reach = problem.row_lower + 0.9
    whole = lagrangian_of(replace(problem, row_lower=out_of_reach, row_upper=out_of_reach + 0.01))
    answer = _structured(whole)
    assert "residual" in answer.solution.fallback
    joint = JointTerms.of(whole)
    start = joint.prices(DualPoint(np.zeros(6), 0.0), whole.risk_aversion, whole.cost.rows)
    assert climb(CoupledDual(whole, joint), start).response.residual > TIGHT_RESIDUAL


def test_cut_pieces_are_those_of_the_narrower_range():
    """Deciding a group by cutting the pieces that are there gives the pieces worked out anew."""
    whole = lagrangian_of(random_problem(5, names=60, group_share=0.6, lock_share=0.2, lot_method="FIFO"))
    groups = int(whole.limits.group.max()) + 1
    for seed in range(4):
        sells = np.random.default_rng(seed).random(groups) < 0.5
        limits = whole.limits.with_groups(sells, whole.cost.order.loss_start)
        anew, cut = whole.within(limits).pieces, whole.pieces.cut(limits.low, limits.high)
        for name in ("asset", "left", "right", "branch", "first"):
            assert getattr(cut, name).tolist() == getattr(anew, name).tolist(), name
        wide = cut.right > cut.left
        assert cut.slope[wide] == pytest.approx(anew.slope[wide], abs=1e-15)
        assert cut.offset[wide] == pytest.approx(anew.offset[wide], abs=1e-15)


@pytest.mark.parametrize("seed", range(6))
def test_the_model_of_changes_finds_the_best_pattern(seed):
    """On ten moves the search without exhaustion ends at the pattern that enumeration finds."""
    random = np.random.default_rng(seed)
    half = random.normal(size=(10, 6)) * 1e-2
    gain, disturbance = random.normal(0, 1e-4, 10), half @ half.T
    patterns = (np.arange(1024)[:, None] >> np.arange(10)) & 1
    costs = -patterns @ gain + 0.5 * np.einsum("pi,ij,pj->p", patterns, disturbance, patterns)
    pattern = least_pattern(gain, disturbance).astype(float)
    assert -pattern @ gain + 0.5 * pattern @ disturbance @ pattern == pytest.approx(costs.min(), abs=1e-12)
    from_there = least_pattern(gain, disturbance, patterns[int(np.argmin(costs))] == 1)
    assert from_there.tolist() == (patterns[int(np.argmin(costs))] == 1).tolist()


@pytest.mark.parametrize(("name", "programs"), [("CVXPY", 2), ("CLARABEL", 1)])
def test_the_reference_solves_both_stages_itself(name, programs):
    """CVXPY is asked for stage 1 and for stage 2; CLARABEL's stage 2 is left to Newton's method."""
    asked = []

    class Counting:
        def __init__(self, backend) -> None:
            self.name, self._backend = backend.name, backend

        def version(self):
            return self._backend.version()

        def solve(self, program, tolerance):
            asked.append(program)
            return self._backend.solve(program, tolerance)

    whole = lagrangian_of(random_problem(41, names=40, group_share=0.0))
    answer = TwoStageSearch(whole, Counting(backend_named(name)), 1e-9).run()
    assert len(asked) == programs
    assert answer.objective == pytest.approx(TwoStageSearch(whole, backend_named("STRUCTURED"), 1e-9).run().objective)
