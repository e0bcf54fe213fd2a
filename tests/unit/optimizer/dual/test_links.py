"""Linked specific returns in the structured solver: against plain exposures, and against CLARABEL."""

from dataclasses import replace

import numpy as np
import pytest

from prometheus.optimizer import rebalance
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.dual import structured
from prometheus.optimizer.dual.climb import climb
from prometheus.optimizer.dual.coupled_dual import CoupledDual
from prometheus.optimizer.dual.joint_terms import JointTerms
from prometheus.optimizer.dual.kernels import spread_asset
from prometheus.optimizer.problem.active_risk import FactorRisk, factor_risk
from prometheus.optimizer.problem.asset_functions import separable_cost
from prometheus.optimizer.problem.envelope import convex_envelope
from prometheus.optimizer.problem.lot_order import lot_order
from prometheus.optimizer.problem.trade_range import trade_range
from prometheus.optimizer.search.assembly import assemble
from tests.unit.optimizer.limits import KINDS, binding
from tests.unit.optimizer.linked_blocks import linked
from tests.unit.optimizer.problems import random_problem


def _lagrangian(problem):
    order = lot_order(problem)
    return Lagrangian.of_problem(
        problem, factor_risk(problem), separable_cost(problem, order), trade_range(problem, order)
    )


def _whole(seed, blocks, limits=(), lot_method="LEAST_TAX_FIRST", lots=4.0):
    problem = random_problem(seed, names=40, group_share=0.0, lot_method=lot_method, lots_a_name=lots)
    problem = linked(problem, blocks, seed, twins=0.95)
    return _lagrangian(binding(problem, limits, 0.3, seed) if limits else problem)


def _with_plain_exposures(whole):
    """Return the same problem with every linked exposure a factor's."""
    roots = np.zeros((len(whole.cost.active), whole.risk.size - whole.risk.loadings.shape[1]))
    for link in whole.risk.links:
        roots[link.assets, link.first : link.first + len(link.assets)] = link.root
    loadings = np.concatenate([whole.risk.loadings, roots], axis=1)
    return replace(whole, risk=FactorRisk(loadings, whole.risk.specific_variance))


def _prices(dual, seed):
    """Return prices near the optimal ones, at which many assets answer."""
    random = np.random.default_rng(seed)
    prices = climb(dual, np.zeros(dual.joint.size)).response.prices
    prices = prices * (1 + 0.05 * random.normal(size=len(prices)))
    rows = prices[dual.joint.factors : -1]
    rows[(rows == 0) & np.isfinite(dual.joint.most)] = 1e-4
    return prices


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("limits", [(), ("tracking error",), ("factors",)])
def test_links_answer_and_step_as_as_many_factors_would(limits, blocks):
    """Value, conditions and Newton's step are those of the system of all prices, which is never set up with links."""
    whole = _whole(1, blocks, limits)
    dual, plain = (CoupledDual(one, JointTerms.of(one)) for one in (whole, _with_plain_exposures(whole)))
    assert not dual.is_crowded
    assert len(dual.several)
    prices = _prices(dual, 1)
    for strength in (1.0, 1e-3):
        start = dual.respond(prices)
        ours, theirs = (one.respond(prices, start.at, one.centre(start, strength)) for one in (dual, plain))
        assert ours.value == pytest.approx(theirs.value, rel=1e-12)
        assert ours.gradient == pytest.approx(theirs.gradient, abs=1e-13)
        assert ours.residual == pytest.approx(theirs.residual)
        step, reference = dual.newton_step(ours, 1e-11), plain.newton_step(theirs, 1e-11)
        assert step == pytest.approx(reference, rel=1e-5, abs=1e-6 * np.abs(reference).max())
        prices = prices + 0.1 * step


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("limits", [(), ("factors",)], ids=["cash", "factors"])
def test_what_moves_cost_together_is_what_it_would_be_with_as_many_factors(limits, blocks):
    """Moves of one and of two assets disturb each other through links, factors and cash as the whole system says."""
    whole = _whole(2, blocks, limits)
    dual, plain = (CoupledDual(one, JointTerms.of(one)) for one in (whole, _with_plain_exposures(whole)))
    ours, theirs = (one.respond(_prices(dual, 2), mixing=one.whole_branches(one.first_branch)) for one in (dual, plain))
    other = dual.several[:8]
    before, after = dual.first_branch[other], dual.first_branch[other] + 1
    jump = ours.trade[after] - ours.trade[before]
    # the first move takes the last asset along
    changes = (np.append(np.arange(8), 0), np.append(other, other[7]), np.append(jump, jump[7]))
    products = []
    for one, response in ((dual, ours), (plain, theirs)):
        disturbed = one.jumps(response, before, after)
        disturbed[:, 0] += disturbed[:, 7]
        products.append(one.products(response, disturbed, changes))
    assert np.abs(jump).max() > 0
    assert products[0] == pytest.approx(products[1], rel=1e-6, abs=1e-9 * np.abs(products[1]).max())


@pytest.mark.parametrize(
    ("lot_method", "limits"),
    [("HIFO", ()), ("FIFO", ()), ("FIFO", ("tracking error",)), ("HIFO", ("turnover",)), ("HIFO", KINDS[:1])],
)
@pytest.mark.parametrize("seed", range(2))
def test_a_short_step_removes_its_part_of_what_is_missing(seed, limits, lot_method):
    """Along Newton's step every condition falls as fast as it is missed, assets of three and more branches included."""
    dual = CoupledDual(whole := _whole(seed, 2, limits, lot_method=lot_method, lots=8.0), JointTerms.of(whole))
    state = dual.respond(_prices(dual, seed))
    for strength in (3.0, 0.3):
        centre = dual.centre(state, strength)
        state = dual.respond(state.prices, state.at, centre)
        step = dual.newton_step(state, 1e-11)
        after = dual.respond(state.prices + 1e-6 * step, state.at, centre)
        before = dual.respond(state.prices - 1e-6 * step, state.at, centre)
        fallen = (before.gradient - after.gradient) / 2e-6
        missing = np.where(state.active, state.gradient, 0.0)
        assert fallen[state.active] == pytest.approx(missing[state.active], abs=2e-4 * np.abs(missing).max())
        rise = (after.value - before.value) / 2e-6
        assert rise == pytest.approx(float((missing * step).sum()), rel=1e-4)
        state = dual.respond(state.prices + 0.05 * step, state.at, centre)


def test_a_name_is_spread_over_its_branches_as_the_nearest_point_of_the_simplex():
    """Of all shares that add to one those found cost least, the distance from the centre included."""
    random = np.random.default_rng(0)
    for _ in range(40):
        count, epsilon = int(random.integers(3, 7)), float(random.uniform(0.05, 2.0))
        worth, centre, mixing = random.normal(size=count), random.dirichlet(np.ones(count)), np.zeros(count)
        proximal, looseness = spread_asset(worth, centre, epsilon, 0, 0, count, mixing)
        assert mixing.sum() == pytest.approx(1.0)
        assert (mixing >= 0).all()
        assert looseness == pytest.approx(float(mixing @ (worth - worth.min())))
        cost = float(mixing @ worth) + proximal
        for trial in random.dirichlet(np.ones(count), 300):
            assert float(trial @ worth) + 0.25 * epsilon * float(((trial - centre) ** 2).sum()) >= cost - 1e-12
        centre[0], used = 0.0, centre[1:].sum()
        centre /= used
        spread_asset(worth, centre, epsilon, 1, 0, count, mixing)
        slope = worth[1:] + 0.5 * epsilon * (mixing[1:] - centre[1:])
        assert mixing[0] == 0.0
        assert mixing.sum() == pytest.approx(1.0)
        assert slope == pytest.approx(np.full(count - 1, slope.mean()))


_KINDS = {
    "plain": {},
    "fifo": {"lot_method": "FIFO", "lots_a_name": 8.0},
    "groups and locks": {"group_share": 0.5, "lock_share": 0.3},
    "no cash to spare": {"cash_range": (0.0, 1e-6)},
    "cash must be raised": {"cash_range": (0.05, 0.06)},
    "losses everywhere": {"loss_share": 0.95},
    "no cost": {"cost_bps": 0.0},
}


@pytest.mark.parametrize("blocks", [1, 4])
@pytest.mark.parametrize("kind", _KINDS)
def test_stage_one_with_links_is_clarabels(kind, blocks):
    """The bound of stage 1 is that of the interior-point solver's envelope, whatever assets are linked."""
    for seed in range(2):
        problem = linked(random_problem(60 + seed, names=70, **_KINDS[kind]), blocks, seed, twins=0.99)
        whole = _lagrangian(problem)
        envelope = convex_envelope(whole.pieces, whole.cost, whole.cost_rate)
        assembled = assemble(envelope, whole.risk, whole.cost.active, whole.cost_rate, whole.risk_aversion, whole.cash)
        reference = backend_named("CLARABEL").solve(assembled.program, 1e-11)
        price = assembled.cash_price(reference.z)
        dual = DualPoint(
            whole.risk.exposures(whole.cost.active + assembled.trades(reference.x)), price * (abs(price) > 1e-9)
        )
        theirs = float(whole.bound(dual, whole.minima(dual)))
        joint = JointTerms.of(whole)
        answer = structured.STRUCTURED.stage_one(whole, joint, DualPoint(np.zeros(joint.factors), 0.0))
        assert answer.solution.fallback == ""
        ours = float(whole.bound(answer.dual, whole.minima(answer.dual)))
        assert ours == pytest.approx(theirs, abs=2e-7)
        # from its own answer's prices it is found again
        again = structured.STRUCTURED.stage_one(whole, joint, answer.dual)
        assert again.solution.fallback == ""
        assert float(whole.bound(again.dual, whole.minima(again.dual))) == pytest.approx(ours, abs=2e-7)


@pytest.mark.parametrize("kinds", [*((kind,) for kind in KINDS), KINDS])
def test_limits_beside_links_agree_with_clarabel_within_the_gaps(kinds):
    """Neither solver's objective lies below the other's bound, and no limit sends links back to CLARABEL."""
    problem = binding(linked(random_problem(4, names=50, lot_method="FIFO"), 3, 4), kinds, 0.1, 4)
    ours, theirs = (rebalance(problem, backend=name) for name in ("STRUCTURED", "CLARABEL"))
    assert ours.facts.status == "Solved"
    assert ours.certificate.max_violation <= 1e-9
    assert ours.certificate.lower_bound <= theirs.certificate.objective + 1e-9
    assert theirs.certificate.lower_bound <= ours.certificate.objective + 1e-9
    assert ours.certificate.objective <= theirs.certificate.objective + 5e-6


def test_linked_answers_that_are_not_tight_go_to_clarabel_and_say_so(monkeypatch):
    """A poor dual point of a linked problem is not used: the bound is CLARABEL's, the status has the reason."""

    def lazy(dual, prices, _known=None):
        honest = climb(dual, prices)
        return replace(honest, response=replace(honest.response, looseness=1e-6))

    monkeypatch.setattr(structured, "climb", lazy)
    problem = linked(random_problem(52), 3)
    ours, theirs = rebalance(problem, backend="STRUCTURED"), rebalance(problem, backend="CLARABEL")
    assert "fallback to CLARABEL: STRUCTURED left a gap of 0.01 bps" in ours.facts.status
    assert ours.trades.tobytes() == theirs.trades.tobytes()


@pytest.mark.parametrize("seed", [4, 5, 8])
def test_a_part_of_a_problem_starts_from_the_mixing_of_the_whole(seed):
    """One asset's range cut where it rested between sides: the same stage 1 as without a start, in fewer steps."""
    whole = _whole(seed, 3, lots=6.0)
    joint, nothing = JointTerms.of(whole), DualPoint(np.zeros(whole.risk.size), 0.0)
    first = structured.STRUCTURED.stage_one(whole, joint, nothing)
    cold_steps = warm_steps = 0
    for name in first.places.asset[:4]:
        part = whole.within(whole.limits.split_asset(int(name), 0.0)[0])
        joint = JointTerms.of(part)
        cold = structured.STRUCTURED.stage_one(part, joint, first.dual)
        warm = structured.STRUCTURED.stage_one(part, joint, first.dual, first.mixing)
        assert cold.solution.fallback == warm.solution.fallback == ""
        assert warm.relaxed == pytest.approx(cold.relaxed, abs=1e-6)
        bounds = [part.bound(answer.dual, part.minima(answer.dual)) for answer in (cold, warm)]
        assert bounds[1] == pytest.approx(bounds[0], abs=3e-9)
        cold_steps, warm_steps = cold_steps + cold.solution.iterations, warm_steps + warm.solution.iterations
    assert warm_steps < 0.8 * cold_steps


def test_a_start_that_leads_nowhere_is_given_up_for_none(monkeypatch):
    """Where known shares do not end in a tight answer the climb begins again without them."""
    whole = _whole(1, 3, lots=6.0)
    joint, nothing = JointTerms.of(whole), DualPoint(np.zeros(whole.risk.size), 0.0)
    plain = structured.STRUCTURED.stage_one(whole, joint, nothing)
    starts = []

    def lazy(dual, prices, known=None):
        starts.append(known)
        honest = climb(dual, prices, known)
        return honest if known is None else replace(honest, response=replace(honest.response, looseness=1e-6))

    monkeypatch.setattr(structured, "climb", lazy)
    again = structured.STRUCTURED.stage_one(whole, joint, nothing, plain.mixing)
    assert starts == [plain.mixing, None]
    assert again.solution.fallback == ""
    assert again.relaxed.tobytes() == plain.relaxed.tobytes()
