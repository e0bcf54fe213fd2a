"""Pieces and branches laid out for the structured solver, against plain arrays."""

import numpy as np
import pytest

from prometheus.optimizer.dual.branch_table import branch_table
from prometheus.optimizer.dual.kernels import FIRST, LAST, OWNER, RATE
from tests.unit.optimizer.lagrangians import lagrangian_of
from tests.unit.optimizer.limits import KINDS, binding
from tests.unit.optimizer.problems import random_problem


@pytest.mark.parametrize("lot_method", ["HIFO", "FIFO"])
@pytest.mark.parametrize("limits", [(), KINDS], ids=["cash", "every limit"])
def test_the_table_has_every_piece_and_branch_as_they_stand_in_their_own_arrays(limits, lot_method):
    """Ends, slopes, what a unit adds to cash and rows, and who owns what are those of the pieces' own arrays."""
    problem = random_problem(4, names=40, lot_method=lot_method, lots_a_name=6.0)
    whole = lagrangian_of(binding(problem, limits, 0.3, 4) if limits else problem)
    pieces, linear, random = whole.pieces, whole.rows.linear, np.random.default_rng(0)
    by_exposure = tuple(random.normal(size=(3, 40)))
    table, places, branches, bounds = branch_table(pieces, whole.cost_rate, linear, by_exposure)
    rate = np.where(pieces.right <= 0, 1 - whole.cost_rate[pieces.asset], 1 + whole.cost_rate[pieces.asset])
    plain = [pieces.left, pieces.right, pieces.slope, pieces.offset, rate]
    plain += [*pieces.row_slope[linear:], *pieces.row_offset[linear:]]
    assert np.array_equal(table, np.stack(plain, axis=1))
    assert table.shape[1] == RATE + 1 + 2 * (len(pieces.row_slope) - linear)
    numbers, first = np.unique(pieces.branch, return_index=True)
    assert places[FIRST].tolist() == first.tolist()
    assert places[LAST].tolist() == [int(np.flatnonzero(pieces.branch == number)[-1]) for number in numbers]
    assert places[OWNER].tolist() == pieces.asset[first].tolist()
    assert np.array_equal(branches, np.stack(by_exposure)[:, pieces.asset[first]])
    assert bounds.tolist() == np.searchsorted(pieces.asset[first], np.arange(41)).tolist()
    assert (np.diff(bounds) > 1).any()
