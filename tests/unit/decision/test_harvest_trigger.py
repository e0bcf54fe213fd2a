"""The harvest trigger: which losses count for the tax, lot by lot."""

import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from prometheus.decision.harvest_trigger import harvest_triggers, is_beyond, total_volatility
from prometheus.domain.accounts import LotMethod, TaxRegime
from prometheus.optimizer import rebalance
from tests.unit.decision.small_day import MATRICES, PARAMS, SNAPSHOT, lot, problem_of

SHARE = replace(PARAMS, harvest_min_share=0.10)
MONTH = math.sqrt(31 / 365)


def taxes(problem):
    """Return the tax of each lot by its identifier."""
    return dict(zip(problem.lot_id, problem.lot_tax.tolist(), strict=True))


def test_the_larger_of_share_and_volatility_is_the_trigger():
    """A name's trigger is the share, or its annual volatility over 31 days where that is more."""
    params = replace(PARAMS, harvest_min_share=0.05, harvest_sigma=0.5)
    found = harvest_triggers(params, np.array([0.2, 0.4]))
    assert found.tolist() == [0.05, pytest.approx(0.5 * 0.4 * MONTH)]
    assert harvest_triggers(PARAMS, np.array([0.2, 0.4])).tolist() == [0.0, 0.0]


def test_volatility_is_that_of_factors_and_name_together():
    """AAA: 0.04 for a loading of one, 0.01 for one of a half, and 0.04 of its own."""
    found = total_volatility(
        MATRICES.loadings.astype(float), np.array(SNAPSHOT.factor_covariance), MATRICES.specific_variance.astype(float)
    )
    assert found[0] == pytest.approx(math.sqrt(0.04 + 0.25 * 0.01 + 0.04))


@pytest.mark.parametrize(
    ("trigger", "value", "basis", "beyond"),
    [
        (0.02, "98.00", "100.00", False),
        (0.02, "97.99", "100.00", True),
        (0.02, "98.01", "100.00", False),
        (0.0, "99.99", "100.00", True),
        (0.0, "100.00", "100.00", False),
        (0.0, "0.9999999999999999999999999999", "1", True),
        (0.0, "101.00", "100.00", False),
        (0.02, "101.00", "100.00", False),
        (0.02, "5.00", "0.00", False),
        (0.999, "0.00", "100.00", True),
    ],
)
def test_a_loss_is_beyond_only_where_it_is_more(trigger, value, basis, beyond):
    """A loss of exactly the trigger is not beyond it; gains, even from no basis, never are."""
    assert is_beyond(trigger, Decimal(value), Decimal(basis)) is beyond


def test_a_shallow_loss_saves_no_tax_and_stays_a_loss():
    """A1 has lost 9.1 % of its basis, C1 16.7 %: beyond 10 % only C1 counts; A1 may be sold and is a loss sale."""
    off, on = problem_of(), problem_of(params=SHARE)
    assert taxes(on) == {**taxes(off), "A1": 0.0}
    for name in ("lot_is_loss", "lot_locked", "lot_rank", "can_sell", "lot_weight"):
        assert getattr(on, name).tolist() == getattr(off, name).tolist()


def test_losses_are_judged_by_the_volatility_of_their_name():
    """At 1.2 sigma AAA (28.7 % a year) needs 10.0 % and CCC (31.6 %) 11.1 %; at 1.9 sigma CCC needs 17.5 %."""
    assert taxes(problem_of(params=replace(PARAMS, harvest_sigma=1.2))) == {**taxes(problem_of()), "A1": 0.0}
    assert taxes(problem_of(params=replace(PARAMS, harvest_sigma=1.0))) == taxes(problem_of())
    deep = taxes(problem_of(params=replace(PARAMS, harvest_sigma=1.9)))
    assert deep == {**taxes(problem_of()), "A1": 0.0, "C1": 0.0}


def test_each_lot_is_judged_by_itself():
    """Of two loss lots of one name the deep one counts and the shallow one does not; gains are taxed as before."""
    lots = (*SNAPSHOT.lots, lot("A3", "AAA", "100", "6000"))
    on = taxes(problem_of(params=SHARE, lots=lots))
    assert on["A1"] == 0.0
    assert on["A3"] == pytest.approx(0.238 * (40 - 60) / 40)
    assert on["A2"] > 0


def test_a_gain_budget_counts_the_shallow_loss_that_is_sold():
    """The loss is realised whether it is harvested or not: a limit on gains knows it."""
    on = problem_of(params=replace(SHARE, tax_budget=0.0))
    assert dict(zip(on.lot_id, on.lot_gain.tolist(), strict=True))["A1"] == pytest.approx(1 - 8800 / 8000)


def test_pooled_cost_is_judged_as_one_lot():
    """Under the Canadian regime the pool's average cost decides."""
    pooled = (lot("A", "AAA", "500", "22500"), *SNAPSHOT.lots[2:])
    changes = {"tax_regime": TaxRegime.CA, "lot_method": LotMethod.ACB, "lots": pooled}
    assert taxes(problem_of(params=SHARE, **changes))["A"] < 0
    assert taxes(problem_of(params=replace(SHARE, harvest_min_share=0.12), **changes))["A"] == 0.0


@pytest.mark.parametrize("method", [LotMethod.HIFO, LotMethod.FIFO, LotMethod.LEAST_TAX_FIRST])
def test_the_certificate_is_exact_with_a_trigger(method):
    """A shallow loss before a deep one makes selling non-convex: every back-end's bound holds for every answer."""
    lots = (lot("A1", "AAA", "300", "12600"), lot("A3", "AAA", "200", "12000"), *SNAPSHOT.lots[2:])
    problem = problem_of(params=SHARE, lots=lots, lot_method=method)
    proofs = [rebalance(problem, backend=backend).certificate for backend in ("CLARABEL", "STRUCTURED", "CVXPY")]
    assert max(proof.lower_bound for proof in proofs) <= min(proof.objective for proof in proofs) + 1e-9
    assert max(proof.gap_bps for proof in proofs) <= 0.01
