import numpy as np
import pytest

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer.problem.rebalance_problem import read_only
from tests.unit.optimizer.problems import changed
from tests.unit.optimizer.small import small_problem

LOTS = [(0, 4000.0, 0.1), (1, 5000.0, 0.1)]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"tilt": np.zeros(3)}, r"tilt has shape \(3,\), expected \(2,\)"),
        ({"lot_tax": np.zeros(1)}, "lot_tax has shape"),
        ({"prices": np.array([10.0, np.nan])}, r"prices\[1\] is NaN"),
        ({"prices": np.array([10.0, 0.0])}, r"prices of B \(0.0\) is not positive"),
        ({"specific_variance": np.array([0.0, 0.1])}, "specific_variance of A"),
        ({"cost_rate": np.array([0.0, -0.1])}, "cost_rate of B"),
        ({"lower": np.array([0.0, 2.0])}, "lower of B .* exceeds upper"),
        ({"risk_aversion": 0.0}, "risk_aversion 0.0 must be positive"),
        ({"cash_min": 0.2}, "cash_min 0.2 at most cash_max 0.05"),
        ({"lot_asset": np.array([1, 0])}, "lot_asset must be ascending"),
        ({"lot_shares": np.array([-1.0, 0.0])}, "must be non-negative"),
    ],
)
def test_impossible_data_are_refused_with_name_and_value(changes, complaint):
    """A problem that cannot be meant is refused when it is built, naming the array, the ticker and the value."""
    problem = small_problem([0.5, 0.5], LOTS)
    with pytest.raises(InvalidProblemError, match=complaint):
        changed(problem, **changes)


def test_arrays_of_a_problem_cannot_be_changed():
    """The arrays of a problem are read-only, and a read-only copy leaves its source alone."""
    problem = small_problem([0.5, 0.5], LOTS)
    with pytest.raises(ValueError, match="read-only"):
        problem.prices[0] = 1.0
    source = np.ones(2)
    assert not read_only(source).flags.writeable
    assert source.flags.writeable
