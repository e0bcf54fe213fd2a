"""Whatever the account looks like, the trade list obeys every rule and the certificate holds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer import rebalance
from tests.unit.optimizer.linked_blocks import linked
from tests.unit.optimizer.problems import random_problem


@st.composite
def problems(draw):
    """Draw the knobs of the problem generator."""
    floor = draw(st.sampled_from([0.0, 0.002, 0.01]))
    seed = draw(st.integers(0, 10**6))
    problem = random_problem(
        seed,
        names=draw(st.integers(2, 50)),
        factors=draw(st.integers(1, 5)),
        lots_a_name=draw(st.sampled_from([1.0, 3.0, 6.0])),
        lot_method=draw(st.sampled_from(["LEAST_TAX_FIRST", "HIFO", "FIFO"])),
        fractional=draw(st.booleans()),
        nav=draw(st.sampled_from([2e4, 2e5, 1e6, 5e7])),
        group_share=draw(st.sampled_from([0.0, 0.1, 0.5])),
        lock_share=draw(st.sampled_from([0.0, 0.05, 0.4])),
        cash_share=draw(st.sampled_from([0.0, 0.02, 0.1])),
        min_trade=draw(st.sampled_from([0.0, 1.0, 100.0])),
        cash_range=(floor, floor + draw(st.sampled_from([0.005, 0.02, 0.2]))),
        cost_bps=draw(st.sampled_from([0.0, 5.0, 50.0])),
        loss_share=draw(st.sampled_from([0.0, 0.4, 0.9])),
    )
    blocks = draw(st.sampled_from([0, 0, 0, 1, 4]))
    return linked(problem, blocks, seed) if blocks else problem


@settings(max_examples=120, deadline=None)
@given(problem=problems())
def test_every_answer_obeys_the_rules_and_its_own_certificate(problem):
    """No purchase beside a loss sale of the group, no oversold lot, cash, bounds and locks kept, no negative gap."""
    try:
        result = rebalance(problem)
    except InfeasibleProblemError as error:
        refusal, result = error, None
    if result is None:
        assert refusal.details["constraint"]
        assert refusal.details["violation"] > 0
        return
    sold = result.lot_shares_sold
    by_name = np.bincount(problem.lot_asset, weights=sold, minlength=problem.size)
    assert not ((by_name > 0) & (result.shares > 0)).any()
    losing = np.unique(problem.group[problem.lot_asset[(sold > 0) & problem.lot_is_loss]])
    assert not np.isin(problem.group[result.shares > 0], losing).any()
    assert ((sold >= 0) & (sold <= problem.lot_shares)).all()
    assert not sold[problem.lot_locked].any()
    assert problem.cash_min - 1e-9 <= result.cash_after <= problem.cash_max + 1e-9
    assert (result.rounded_weights >= problem.lower - 1e-9).all()
    assert (result.rounded_weights <= problem.upper + 1e-9).all()
    assert not (result.shares[~problem.can_buy] > 0).any()
    assert not (result.shares[~problem.can_sell] < 0).any()
    liquidated = (result.rounded_weights == 0) & (result.shares < 0)
    steps = result.shares / problem.share_step
    assert (np.abs(steps - np.round(steps))[~liquidated] < 1e-4).all()
    certificate = result.certificate
    # The gap is a difference of two numbers of the objective's size: nine of its digits are held.
    noise = 1e4 * 1e-9 * max(1.0, abs(certificate.objective))
    assert certificate.gap_bps >= -noise
    assert certificate.rounded_gap_bps >= -noise
    assert certificate.max_violation <= 1e-9
