"""The parts of a predicted tracking error: they add up, and each is what it is called."""

from dataclasses import replace

import numpy as np
import pytest

from prometheus.decision.risk_split import PARTS, split_tracking_error
from prometheus.optimizer import tracking_error
from tests.unit.optimizer.linked_blocks import linked
from tests.unit.optimizer.problems import random_problem


@pytest.fixture
def problem():
    """Return a problem of fifty names whose specific returns are linked in four blocks."""
    return linked(random_problem(1, names=50), 4, twins=0.0)


@pytest.mark.parametrize("cash_flow", [0.0, 0.02])
def test_parts_add_up_to_the_tracking_error(problem, cash_flow):
    """Market, other factors, links and specific risk sum to the optimizer's own tracking error."""
    problem = replace(problem, cash_flow=cash_flow)
    weights = np.random.default_rng(2).dirichlet(np.ones(50))
    split = split_tracking_error(problem, weights)
    assert tuple(split) == PARTS
    assert sum(split.values()) == pytest.approx(tracking_error(problem, weights), rel=1e-10)


def test_each_part_needs_what_it_is_called(problem):
    """Without loadings there is no factor part, without blocks no linked part, and two names alone are specific."""
    weights = np.random.default_rng(2).dirichlet(np.ones(50))
    flat = split_tracking_error(replace(problem, loadings=np.zeros_like(problem.loadings)), weights)
    assert flat["market"] == flat["other_factors"] == 0.0
    assert flat["linked"] != 0.0
    alone = split_tracking_error(replace(problem, specific_blocks=()), weights)
    assert alone["linked"] == 0.0
    assert alone["specific"] > 0
    first = np.zeros_like(problem.loadings)
    first[:, 0] = 1.0
    market = split_tracking_error(replace(problem, loadings=first), 0.5 * problem.benchmark_weights)
    assert market["market"] > 0
    assert market["other_factors"] == pytest.approx(0.0, abs=1e-12)


def test_tracking_exactly_has_no_parts(problem):
    """Holding the benchmark there is nothing to divide."""
    assert set(split_tracking_error(problem, problem.benchmark_weights.copy()).values()) == {0.0}
