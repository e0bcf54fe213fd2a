from itertools import combinations

import numpy as np
import pytest

from prometheus.optimizer.problem.active_risk import FactorRisk
from prometheus.optimizer.problem.coupling import RowLimits
from prometheus.optimizer.problem.trade_range import CashRange
from prometheus.optimizer.rounding.exchanges import _least, improving_exchange
from prometheus.optimizer.rounding.limits import AllLimits, Effects
from prometheus.optimizer.search.quadratic_model import least_pattern

AVERSION = 10.0


def _candidates(seed):
    """Return a risk, 24 candidates of 12 assets, limits on cash, a row and tracking error, and where trades stand."""
    random = np.random.default_rng(seed)
    risk = FactorRisk(random.normal(0, 0.1, (12, 3)), np.full(12, 0.04))
    asset, delta = np.tile(np.arange(12), 2), random.normal(0, 1e-3, 24)
    change = np.where(random.random(24) < 0.15, np.inf, random.normal(5e-5 * (seed == 5), 1e-6, 24))
    use, variance = random.normal(0, 1e-3, (1, 24)), random.normal(0, 1e-6, 24)
    effects = Effects(change, delta, use, variance, asset, delta)
    rows = RowLimits(("row",), np.array([-8e-4]), np.array([8e-4]), np.zeros(1), 1, te_max=0.0300)
    return risk, effects, AllLimits(CashRange(-3e-4, 3e-4), rows), (1e-4, np.array([2e-4]), 0.03**2 - 5e-7)


def _best_of_all(risk, effects, limits, at, names):
    cash, use, variance = at
    best, chosen = -1e-9, None
    usable = np.flatnonzero(np.isfinite(effects.change))
    for some in combinations(usable, names):
        if len({effects.asset[one] for one in some}) < names:
            continue
        many = list(some)
        moved = risk.loadings[effects.asset[many]] * effects.delta[many][:, None]
        shared = moved @ moved.T
        together = shared.sum() - np.trace(shared)
        worth = effects.change[many].sum() + AVERSION * together
        missed = limits.missed(
            np.array([cash + effects.cash[many].sum()]),
            (use + effects.use[:, many].sum(axis=1))[:, None],
            np.array([variance + effects.variance[many].sum() + together]),
        )
        if missed[0] == 0 and worth < best:
            best, chosen = worth, set(many)
    return chosen


@pytest.mark.parametrize("names", [2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_the_best_exchange_is_the_best_of_all(seed, names):
    """The compiled search picks the pair, and the triple, that trying all of them picks, or none."""
    risk, effects, limits, at = _candidates(seed)
    few = np.flatnonzero(np.isfinite(effects.change))
    places = _least(limits, at, effects, few, risk, AVERSION, names)
    chosen = {int(few[one]) for one in places if one >= 0} or None
    assert chosen == _best_of_all(risk, effects, limits, at, names)
    assert (chosen is None) == (seed == 5)


def test_triples_are_tried_where_no_pair_improves():
    """Two assets' steps down pay for a third one's step up that either alone does not pay for."""
    risk = FactorRisk(np.zeros((3, 1)), np.full(3, 0.04))
    effects = Effects(
        change=np.array([-5e-6, 1e-6, 1e-6]), cash=np.array([2e-3, -1e-3, -1e-3]), use=np.zeros((0, 3)),
        variance=np.zeros(3), asset=np.arange(3), delta=np.array([2e-3, -1e-3, -1e-3]),
    )  # fmt: skip
    limits = AllLimits(CashRange(-1e-4, 1e-4), RowLimits())
    exchange = improving_exchange(limits, (0.0, np.zeros(0), 0.0), effects, risk, AVERSION, effects.change)
    assert set(exchange or ()) == {0, 1, 2}


def test_a_search_over_numbers_that_round_off_rules_ends():
    """Where the last bit of a cost is more than what counts as better, the search of changes ends all the same."""
    random = np.random.default_rng(1)
    root = random.normal(0, 1e9, (30, 30))
    pattern = least_pattern(random.normal(0, 1e20, 30), root @ root.T)
    assert pattern.shape == (30,)
