from typing import Any

import numpy as np

from prometheus.optimizer.problem.lot_order import lot_order
from tests.unit.optimizer.problems import changed
from tests.unit.optimizer.small import small_problem


def _problem(**changes: Any):
    lots = [(0, 10.0, -0.1), (0, 20.0, 0.0), (0, 30.0, 0.1), (1, 5.0, 0.2)]
    return small_problem([0.5, 0.5], lots, **changes)


def test_lots_are_taken_by_rank_and_not_by_position():
    """The account's lot order decides which lot is sold first, whatever order the lots are listed in."""
    order = lot_order(_problem(lot_rank=np.array([2, 0, 1, 0])))
    assert order.lot.tolist() == [1, 2, 0, 3]
    assert order.fill_shares(np.array([25.0, 0.0])).tolist() == [20.0, 5.0, 0.0, 0.0]


def test_locked_lots_are_skipped():
    """A locked lot is passed over and the next one of the order is sold instead."""
    order = lot_order(_problem(lot_locked=np.array([True, False, False, False])))
    assert order.lot.tolist() == [1, 2, 3]
    assert order.has_locked.tolist() == [True, False]
    assert np.isinf(order.loss_start).all()


def test_loss_start_is_what_can_be_sold_before_a_loss_behind_a_gain():
    """Under FIFO a loss lot may lie behind a gain lot: selling the gain alone touches no loss."""
    problem = _problem(lot_rank=np.array([2, 0, 1, 0]))
    order = lot_order(problem)
    assert order.loss_start[0] == problem.lot_weight[1] + problem.lot_weight[2]
    assert np.isinf(order.loss_start[1])


def test_whole_lots_give_exactly_what_they_hold():
    """Selling a fractional position out leaves not the last bit of a share."""
    problem = _problem(lot_shares=np.array([0.1, 0.2, 0.30000001, 5.0]))
    problem = changed(problem, lot_weight=problem.lot_shares * 10 / problem.nav)
    order = lot_order(problem)
    taken = order.fill_shares(np.array([0.1 + 0.2 + 0.30000001, 0.0]))
    assert taken[:3].tolist() == [0.1, 0.2, 0.30000001]


def test_rounding_residue_of_a_sum_is_no_sale():
    """What floating-point addition leaves over after two whole lots does not nibble at the third."""
    order = lot_order(_problem(lot_shares=np.array([0.1, 0.2, 3.0, 5.0])))
    assert order.fill_shares(np.array([0.1 + 0.2, 0.0])).tolist() == [0.1, 0.2, 0.0, 0.0]


def test_empty_lots_do_not_exist():
    """A lot without shares is in no order."""
    order = lot_order(_problem(lot_shares=np.array([0.0, 20.0, 30.0, 5.0])))
    assert 0 not in order.lot


def test_a_problem_without_lots_has_an_empty_order():
    """An account that holds only cash can be ordered too."""
    order = lot_order(small_problem([0.5, 0.5]))
    assert order.fill_shares(np.zeros(2)).tolist() == []
    assert order.sellable.tolist() == [0.0, 0.0]
