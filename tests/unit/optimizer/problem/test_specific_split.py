import numpy as np
import pytest

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer.problem import specific_split
from prometheus.optimizer.problem.rebalance_problem import SpecificBlock
from prometheus.optimizer.problem.specific_split import split_specific
from tests.unit.optimizer.linked_blocks import linked
from tests.unit.optimizer.problems import changed, random_problem


def _forget():
    specific_split._kept.cache_clear()
    specific_split._kept_large.cache_clear()


def _same(one, other):
    own, links = one
    assert own.tobytes() == other[0].tobytes()
    for mine, theirs in zip(links, other[1], strict=True):
        assert mine.remainder.tobytes() == theirs.remainder.tobytes()
        assert mine.root.tobytes() == theirs.root.tobytes()
        assert (mine.place == theirs.place).all()


@pytest.mark.parametrize("blocks", [1, 3])
def test_a_kept_split_is_the_one_worked_out_anew(blocks):
    """Whatever was solved before, an account's split has the bits of a process that solves it first."""
    problems = [linked(random_problem(seed, names=120), blocks, seed) for seed in range(3)]
    fresh = []
    for problem in problems:
        _forget()
        fresh.append(split_specific(problem))
    for problem, expected in zip(reversed(problems), reversed(fresh), strict=True):
        _same(split_specific(problem), expected)
    for problem, expected in zip(problems, fresh, strict=True):
        _same(split_specific(problem), expected)


def test_accounts_with_equal_blocks_share_one_split():
    """The second account of a day works out the blocks that differ, and no others; an asset's place is its own."""
    first = linked(random_problem(1, names=60), 3)
    changed_block = SpecificBlock(first.specific_blocks[0].names, 0.5 * (_diagonal(first, 0) + _block(first, 0)))
    second = changed(first, specific_blocks=(changed_block, *first.specific_blocks[1:]))
    _forget()
    one, other = split_specific(first)[1], split_specific(second)[1]
    assert specific_split._kept.cache_info().misses == 4
    assert one[1].root is other[1].root
    assert one[0].root.tobytes() != other[0].root.tobytes()
    assert not one[1].root.flags.writeable


def test_a_refused_block_is_refused_again_with_the_name_of_the_account_that_has_it():
    """A refusal is not kept as an answer, and names the block by the account's own first ticker."""
    alike = SpecificBlock(np.array([1, 2]), np.full((2, 2), 0.04))
    problem = random_problem(1, names=4, specific_variance=np.full(4, 0.04))
    for _ in range(2):
        with pytest.raises(InvalidProblemError, match=rf"block of {problem.tickers[1]} is not positive definite"):
            split_specific(changed(problem, specific_blocks=(alike,)))


def _block(problem, b):
    return problem.specific_blocks[b].covariance


def _diagonal(problem, b):
    return np.diag(np.diag(_block(problem, b)))
