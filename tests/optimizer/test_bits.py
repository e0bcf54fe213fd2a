"""Equal problems get equal bits, whatever else the machine is doing."""

import pytest

from prometheus.optimizer import rebalance
from tests.unit.optimizer.bits import busy_threads, digests, digests_in_a_process
from tests.unit.optimizer.limits import KINDS, binding
from tests.unit.optimizer.problems import random_problem


@pytest.mark.long
def test_equal_problems_get_equal_bits_wherever_they_are_solved():
    """With and without limits and links: here again, and beside busy threads in processes with one and four threads."""
    here = digests()
    assert len(set(here.values())) == len(here), "every kind of answer has bits of its own"
    assert digests() == here
    assert digests_in_a_process(threads=1) == here
    assert digests_in_a_process(threads=4) == here


@pytest.mark.parametrize("backend", ["CLARABEL", "STRUCTURED"])
def test_twenty_runs_beside_busy_threads_return_the_same_bits(backend):
    """An answer with every limit on does not depend on what was solved before it."""
    problem = binding(random_problem(3, names=40, lot_method="FIFO"), KINDS, 0.02, 3)
    with busy_threads():
        results = [rebalance(problem, backend=backend) for _ in range(20)]
    assert len({repr((r.certificate, r.trades.tobytes(), r.lot_shares_sold.tobytes())) for r in results}) == 1
