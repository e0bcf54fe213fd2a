"""Whatever the account and its limits look like, the trade list is legal, its certificate holds, or a refusal says why.

The long profile runs 2,000 examples of each test here: make prove-optimizer.
"""

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer import rebalance
from tests.unit.optimizer.legality import broken_rules
from tests.unit.optimizer.limits import KINDS, binding
from tests.unit.optimizer.linked_blocks import linked
from tests.unit.optimizer.problems import changed, random_problem
from tests.unit.optimizer.round_off import negligible_gap


@st.composite
def problems(draw):
    """Draw the knobs of the problem generator, and what is laid upon the problem."""
    seed = draw(st.integers(0, 10**6))
    random = np.random.default_rng(seed)
    floor = draw(st.sampled_from([0.0, 0.002, 0.01]))
    names = draw(st.integers(2, 40))
    problem = random_problem(
        seed,
        names=names,
        factors=draw(st.integers(1, 5)),
        lots_a_name=draw(st.sampled_from([1.0, 3.0, 6.0])),
        lot_method=draw(st.sampled_from(["LEAST_TAX_FIRST", "HIFO", "FIFO"])),
        fractional=draw(st.booleans()),
        nav=draw(st.sampled_from([2e4, 2e5, 1e6, 5e7])),
        group_share=draw(st.sampled_from([0.0, 0.1, 0.5])),
        lock_share=draw(st.sampled_from([0.0, 0.05, 0.4])),
        cash_share=draw(st.sampled_from([0.0, 0.02, 0.1])),
        min_trade=draw(st.sampled_from([0.0, 1.0, 100.0])),
        cash_range=(floor, floor + draw(st.sampled_from([0.005, 0.02, 0.02, 0.2]))),
        cost_bps=draw(st.sampled_from([0.0, 5.0, 50.0])),
        loss_share=draw(st.sampled_from([0.0, 0.4, 0.9])),
        risk_aversion=draw(st.sampled_from([0.1, 10.0, 1000.0])),
        tax_weight=draw(st.sampled_from([0.0, 0.05, 1.0, 5.0])),
        tilt=random.normal(0, 0.002, names) if draw(st.booleans()) else np.zeros(names),
        cash_flow=draw(st.sampled_from([0.0, 0.0, -0.1, 0.05])),
    )
    if draw(st.integers(0, 3)) == 0:
        # bounds that force some names to trade
        held = problem.holdings()
        lower = np.where(random.random(names) < 0.05, held + 0.002, problem.lower)
        upper = np.where(random.random(names) < 0.05, 0.8 * held + 0.003, problem.upper + 0.003)
        problem = changed(problem, lower=np.minimum(lower, upper), upper=upper)
    blocks = draw(st.sampled_from([0, 0, 1, 3]))
    if blocks:
        problem = linked(problem, blocks, seed, twins=draw(st.sampled_from([0.0, 0.999])))
    kinds = tuple(draw(st.lists(st.sampled_from(KINDS), max_size=5, unique=True)))
    if kinds:
        try:
            problem = binding(problem, kinds, draw(st.sampled_from([0.005, 0.05, 0.3])), seed)
        except InfeasibleProblemError:
            kinds = ()
    problem = changed(problem, order_cost=draw(st.sampled_from([0.0, 0.0, 1e-6, 1e-5, 1e-4, 2e-3])))
    if draw(st.booleans()) and draw(st.booleans()):
        problem = changed(problem, max_names=draw(st.integers(1, names)))
    return problem, kinds


@pytest.mark.parametrize("backend", ["CLARABEL", "STRUCTURED"])
@given(drawn=problems())
def test_every_answer_is_legal_and_certified_or_refused_by_name(backend, drawn):
    """No rule is broken and no bound lies above its objective; what has no answer is refused with the limit's name."""
    problem, kinds = drawn
    try:
        result = rebalance(problem, backend=backend)
    except InfeasibleProblemError as error:
        refusal, result = error, None
    event(f"limits: {len(kinds)}, {'answer' if result else 'refusal'}")
    if result is None:
        assert refusal.details["constraint"]
        assert refusal.details["violation"] >= 0
        assert all(item["violation"] > 0 for item in refusal.details.get("conflicts", ()))
        return
    assert broken_rules(problem, result) == []
    assert result.terms.orders == pytest.approx(problem.order_cost * np.count_nonzero(result.shares), abs=1e-15)
    certificate = result.certificate
    noise = negligible_gap(result)
    assert certificate.gap_bps >= -noise
    assert certificate.rounded_gap_bps >= -noise
    assert certificate.rounded_lower_bound >= certificate.lower_bound
    assert certificate.max_violation <= 1e-9
