"""Back-ends against each other and against oracles that share no code; ``make prove-optimizer`` runs many more."""

import numpy as np
import pytest

from prometheus.optimizer import rebalance
from tests.unit.optimizer.agreement import LAID_ON, answers, solvable_problems
from tests.unit.optimizer.problems import changed, random_problem
from tests.unit.optimizer.side_patterns import best_over_sides


@pytest.mark.parametrize("first", range(0, 2 * len(LAID_ON), 4))
def test_on_the_same_sides_every_solver_has_the_same_optimum(first):
    """With limits of every kind, back-ends and reference agree on the objective to 1e-7 and on weights to 1e-6."""
    for _, problem in solvable_problems(4, first):
        (_, objective, trades), *others = answers(problem)
        assert {"CLARABEL", "CVXPY"} <= {name for name, _, _ in others}
        for _, theirs, moved in others:
            assert theirs == pytest.approx(objective, rel=1e-7)
            assert moved == pytest.approx(trades, abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_no_pattern_of_sides_is_better(seed):
    """Of the 128 side patterns of seven assets none beats the answer, and no bound lies above the best of them."""
    problem = random_problem(
        seed, names=7, factors=1 + seed % 3, group_share=0.3, lock_share=0.1, fractional=True, min_trade=0.0
    )
    slack = np.random.default_rng(seed).uniform(0.1, 1.0, 7)
    problem = changed(problem, lower=np.zeros(7), upper=problem.holdings() + slack)
    best = best_over_sides(problem)
    certificate = rebalance(problem).certificate
    assert certificate.lower_bound <= best + 1e-8
    assert certificate.objective == pytest.approx(best, abs=1e-8)
