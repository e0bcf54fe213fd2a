import numpy as np
import pytest

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer import tracking_error
from prometheus.optimizer.problem.active_risk import factor_risk
from prometheus.optimizer.problem.semidefinite import semidefinite_root
from tests.unit.optimizer.problems import random_problem


def test_tracking_error_equals_the_dense_covariance():
    """The factor form gives the tracking error of the dense covariance matrix."""
    problem = random_problem(1, names=40)
    weights = problem.holdings()
    sigma = problem.loadings @ problem.factor_covariance @ problem.loadings.T + np.diag(problem.specific_variance)
    active = weights - problem.benchmark_weights
    assert tracking_error(problem, weights) == pytest.approx(np.sqrt(active @ sigma @ active), rel=1e-12)


def test_tracking_error_of_the_benchmark_is_zero():
    """Holding the benchmark has no active risk."""
    problem = random_problem(2, names=10)
    assert tracking_error(problem, problem.benchmark_weights) == 0.0


def test_root_of_a_singular_covariance_reproduces_it():
    """A factor that copies another one is no error: its direction simply has no variance of its own."""
    half = np.random.default_rng(3).normal(size=(4, 2))
    covariance = half @ half.T
    root = semidefinite_root(covariance)
    assert np.allclose(root @ root.T, covariance, atol=1e-12)
    assert np.allclose(root, np.tril(root))


@pytest.mark.parametrize(
    ("covariance", "complaint"),
    [
        ([[1.0, 0.5], [0.4, 1.0]], "not symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], "not positive semidefinite: factor 1"),
        ([[0.0, 0.5], [0.5, 1.0]], "not positive semidefinite: factor 0"),
    ],
)
def test_a_matrix_that_is_no_covariance_is_refused(covariance, complaint):
    """An asymmetric or indefinite factor covariance is refused by name."""
    problem = random_problem(4, names=5, factors=2, factor_covariance=np.array(covariance))
    with pytest.raises(InvalidProblemError, match=complaint):
        factor_risk(problem)
