"""Blocks of correlated specific returns: what a model refuses, what its covariance is, and how blocks are stored."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from prometheus.foundation.errors import RiskModelError
from prometheus.risk.factor_model import estimate_factor_model
from prometheus.risk.model import covariance
from prometheus.risk.panel import ReturnPanel
from prometheus.risk.specific_correlation import SpecificCorrelation, packed_blocks, unpacked_blocks

LAST = date(2025, 9, 3)
NAMES = 12


def _block(names, seed=1):
    """Return a block with a random positive definite correlation."""
    draws = np.random.default_rng(seed).normal(size=(3 * len(names), len(names)))
    return SpecificCorrelation(np.array(names, dtype=np.int64), _exact(np.corrcoef(draws, rowvar=False)))


def _exact(matrix):
    lower = np.tril(matrix.astype(np.float32), -1)
    return lower + lower.T + np.eye(len(matrix), dtype=np.float32)


@pytest.fixture(scope="module")
def diagonal():
    """Return a model of twelve assets without correlated specific returns."""
    returns = np.random.default_rng(4).normal(0.0, 0.01, (150, NAMES))
    dates = tuple(LAST - timedelta(days=149 - at) for at in range(150))
    return estimate_factor_model(ReturnPanel(dates, tuple("ABCDEFGHIJKL"), returns), as_of=LAST)


def test_a_diagonal_model_has_no_blocks(diagonal):
    """Without blocks Sigma is the factor part with D added to its diagonal."""
    assert diagonal.specific_blocks == ()
    X, D = diagonal.loadings.astype(np.float64), diagonal.specific_variance.astype(np.float64)
    np.testing.assert_allclose(covariance(diagonal), X @ diagonal.factor_covariance @ X.T + np.diag(D), rtol=1e-12)


def test_covariance_includes_the_blocks(diagonal):
    """Sigma gains s_i C_ij s_j inside each block and nothing else; the diagonal stays, exactly symmetric."""
    blocks = (_block([1, 4, 9]), _block([0, 2, 3, 11], seed=2))
    linked = replace(diagonal, specific_blocks=blocks)
    C = np.eye(NAMES)
    for block in blocks:
        C[np.ix_(block.names, block.names)] = block.correlation
    s = np.sqrt(diagonal.specific_variance.astype(np.float64))
    sigma = covariance(linked)
    np.testing.assert_allclose(sigma, covariance(diagonal) + (C - np.eye(NAMES)) * np.outer(s, s), rtol=1e-12)
    np.testing.assert_array_equal(np.diag(sigma), np.diag(covariance(diagonal)))
    np.testing.assert_array_equal(sigma, sigma.T)
    for matrix in (sigma, sigma.astype(np.float32).astype(np.float64)):
        assert np.linalg.eigvalsh(matrix)[0] > 0


def test_blocks_are_read_only():
    """A block cannot be changed after it is made."""
    block = _block([0, 1, 2])
    with pytest.raises(ValueError, match="read-only"):
        block.names[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        block.correlation[0, 1] = 0


@pytest.mark.parametrize(
    ("names", "correlation", "message"),
    [
        ([1, 0], np.eye(2, dtype=np.float32), "ascending"),
        ([1, 1], np.eye(2, dtype=np.float32), "ascending"),
        ([-1, 1], np.eye(2, dtype=np.float32), "ascending"),
        ([1], np.eye(1, dtype=np.float32), "two or more"),
        ([0, 1], np.eye(2), "is float64"),
        ([0, 1], np.eye(3, dtype=np.float32), r"must be float32 \(2, 2\)"),
        ([0, 1], np.array([[1, 0.1], [0.2, 1]], np.float32), "symmetric"),
        ([0, 1], np.array([[1, np.nan], [np.nan, 1]], np.float32), "finite"),
        ([0, 1], np.array([[1, 0], [0, 0.9]], np.float32), "ones on the diagonal"),
        ([0, 1], np.array([[1, 1.5], [1.5, 1]], np.float32), "not positive definite"),
    ],
)
def test_a_broken_block_is_refused(names, correlation, message):
    """Positions out of order and matrices that are no correlation never become a block."""
    with pytest.raises(RiskModelError, match=message) as refused:
        SpecificCorrelation(np.array(names, dtype=np.int64), correlation)
    assert refused.value.code == "RISK_MODEL"


def test_blocks_that_overlap_or_leave_the_model_are_refused(diagonal):
    """Every asset is in one block at most, and every block inside the model."""
    with pytest.raises(RiskModelError, match="position 4 is in more than one"):
        replace(diagonal, specific_blocks=(_block([1, 4]), _block([4, 5])))
    with pytest.raises(RiskModelError, match="names position 12 of a model of 12"):
        replace(diagonal, specific_blocks=(_block([1, 12]),))


@pytest.mark.parametrize("blocks", [(), (_block([3, 5]),), (_block([0, 7, 8]), _block([1, 2, 3, 4, 5], seed=2))])
def test_blocks_survive_storage_exactly(blocks):
    """Unpacking gives the blocks that were packed, bit for bit."""
    packed = packed_blocks(blocks)
    assert packed.dtype == np.float32
    assert packed.ndim == 1
    back = unpacked_blocks(packed)
    assert len(back) == len(blocks)
    for ours, theirs in zip(blocks, back, strict=True):
        np.testing.assert_array_equal(ours.names, theirs.names)
        np.testing.assert_array_equal(ours.correlation, theirs.correlation)


@pytest.mark.parametrize("damage", [lambda packed: packed[:-1], lambda packed: np.r_[np.float32(1), packed]])
def test_damaged_storage_is_refused(damage):
    """A vector that is cut off or out of step is no set of blocks."""
    with pytest.raises(RiskModelError, match="damaged"):
        unpacked_blocks(damage(packed_blocks((_block([0, 7, 8]),))))


def test_a_position_that_float32_cannot_hold_is_refused():
    """Positions are stored as float32; beyond 2^24 they would be another asset's."""
    block = SpecificCorrelation(np.array([0, 2**24], dtype=np.int64), np.eye(2, dtype=np.float32))
    with pytest.raises(RiskModelError, match="cannot be stored"):
        packed_blocks((block,))
