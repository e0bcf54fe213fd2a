"""Whatever limits join the names, the trade list keeps every one of them and the certificate holds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer import rebalance
from tests.unit.optimizer.limits import KINDS, binding
from tests.unit.optimizer.linked_blocks import linked
from tests.unit.optimizer.problems import random_problem


@st.composite
def limited_problems(draw):
    """Draw a problem and the limits that its free answer breaks; None where it has no free answer."""
    seed = draw(st.integers(0, 10**6))
    problem = random_problem(
        seed,
        names=draw(st.integers(3, 30)),
        factors=draw(st.integers(1, 4)),
        lot_method=draw(st.sampled_from(["LEAST_TAX_FIRST", "HIFO", "FIFO"])),
        fractional=draw(st.booleans()),
        nav=draw(st.sampled_from([2e5, 1e6, 5e7])),
        group_share=draw(st.sampled_from([0.0, 0.3])),
        lock_share=draw(st.sampled_from([0.0, 0.1])),
        min_trade=draw(st.sampled_from([0.0, 100.0])),
        tax_weight=draw(st.sampled_from([0.05, 1.0])),
    )
    blocks = draw(st.sampled_from([0, 0, 1, 4]))
    problem = linked(problem, blocks, seed) if blocks else problem
    kinds = tuple(draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5, unique=True)))
    try:
        return binding(problem, kinds, draw(st.sampled_from([0.005, 0.05, 0.3])), seed)
    except InfeasibleProblemError:
        return None


@settings(max_examples=25, deadline=None)
@given(problem=limited_problems())
def test_every_limit_is_kept_or_refused_by_name(problem):
    """Every limit holds after rounding and no bound lies above its objective; a refusal names limits and distances."""
    if problem is None:
        return
    try:
        result = rebalance(problem)
    except InfeasibleProblemError as error:
        refusal, result = error, None
    if result is None:
        assert refusal.details["constraint"]
        assert all(item["violation"] > 0 for item in refusal.details["conflicts"])
        return
    weights = result.rounded_weights
    assert result.tracking_error_after <= problem.te_max + 1e-9
    assert result.turnover <= problem.turnover_max + 1e-9
    if problem.row_names:
        value = problem.row_matrix @ weights
        assert (value <= problem.row_upper + 1e-9).all()
        assert (value >= problem.row_lower - 1e-9).all()
    sold = result.lot_shares_sold * problem.prices[problem.lot_asset] / problem.nav
    assert sold @ problem.lot_gain <= problem.gain_max + 1e-9
    losing = np.unique(problem.group[problem.lot_asset[(sold > 0) & problem.lot_is_loss]])
    assert not np.isin(problem.group[result.shares > 0], losing).any()
    assert problem.cash_min - 1e-9 <= result.cash_after <= problem.cash_max + 1e-9
    assert result.certificate.gap_bps >= -1e-3
    assert result.certificate.rounded_gap_bps >= -1e-3
    assert result.certificate.max_violation <= 1e-9
