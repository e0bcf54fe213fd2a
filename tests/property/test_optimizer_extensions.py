"""Linked specific returns and short positions, begun or opened, beside limits: legal, certified, or refused."""

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer import rebalance, tracking_error
from tests.unit.optimizer.legality import broken_rules
from tests.unit.optimizer.limits import KINDS, binding
from tests.unit.optimizer.linked_blocks import linked
from tests.unit.optimizer.problems import random_problem
from tests.unit.optimizer.round_off import negligible_gap
from tests.unit.optimizer.short_accounts import begun_short, extended


@st.composite
def extended_problems(draw):
    """Draw a problem with links, short positions or both, and perhaps with limits that its free answer breaks."""
    seed = draw(st.integers(0, 10**6))
    names = draw(st.integers(2, 40))
    problem = random_problem(
        seed,
        names=names,
        factors=draw(st.integers(1, 5)),
        lot_method=draw(st.sampled_from(["LEAST_TAX_FIRST", "HIFO", "FIFO"])),
        fractional=draw(st.booleans()),
        nav=draw(st.sampled_from([2e5, 1e6, 5e7])),
        group_share=draw(st.sampled_from([0.0, 0.3])),
        lock_share=draw(st.sampled_from([0.0, 0.1])),
        min_trade=draw(st.sampled_from([0.0, 100.0])),
        cash_range=(0.002, draw(st.sampled_from([0.02, 0.2]))),
        tax_weight=draw(st.sampled_from([0.05, 1.0])),
        risk_aversion=draw(st.sampled_from([0.5, 10.0])),
    )
    blocks = draw(st.sampled_from([0, 1, 4]))
    if blocks:
        problem = linked(problem, blocks, seed, twins=draw(st.sampled_from([0.0, 0.99])))
    if not blocks or draw(st.booleans()):
        problem = extended(problem, draw(st.sampled_from([1.001, 1.05, 1.3])), seed)
        count = draw(st.integers(0, min(3, names)))
        if count:
            problem = begun_short(problem, seed, count=count, depth=draw(st.sampled_from([0.005, 0.03])))
    kinds = tuple(draw(st.lists(st.sampled_from(KINDS), max_size=2, unique=True)))
    try:
        return binding(problem, kinds, draw(st.sampled_from([0.005, 0.05])), seed) if kinds else problem
    except InfeasibleProblemError:
        return problem


@pytest.mark.parametrize("backend", ["CLARABEL", "STRUCTURED"])
@settings(max_examples=25, deadline=None)
@given(problem=extended_problems())
def test_every_answer_is_legal_and_certified_or_refused_by_name(backend, problem):
    """No rule is broken, no bound lies above its objective, only shorts pay borrow; a refusal names its limit."""
    try:
        result = rebalance(problem, backend=backend)
    except InfeasibleProblemError as error:
        refusal, result = error, None
    event("answer" if result else "refusal")
    if result is None:
        assert refusal.details["constraint"]
        return
    assert broken_rules(problem, result) == []
    weights, certificate = result.rounded_weights, result.certificate
    noise = negligible_gap(result)
    assert certificate.gap_bps >= -noise
    assert certificate.rounded_gap_bps >= -noise
    assert result.tracking_error_after == pytest.approx(tracking_error(problem, weights), rel=1e-12)
    short = np.flatnonzero(weights < 0)
    borrow = problem.borrow_rate[short] @ -weights[short] if problem.may_be_short else 0.0
    assert result.terms.borrow == pytest.approx(borrow, abs=1e-15)
