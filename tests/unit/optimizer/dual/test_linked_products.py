import numpy as np
import pytest

from prometheus.optimizer.dual.linked_products import linked_products
from prometheus.optimizer.problem.active_risk import factor_risk
from tests.unit.optimizer.linked_blocks import linked
from tests.unit.optimizer.problems import random_problem


@pytest.mark.parametrize("blocks", [1, 4])
def test_changes_cost_what_the_dense_inverse_of_all_prices_says(blocks):
    """With every price of the links written out, r' H^-1 r over the whole Hessian is the same for all moves."""
    random, g = np.random.default_rng(blocks), 7.0
    risk = factor_risk(linked(random_problem(1, names=60), blocks))
    names = np.sort(random.choice(60, 35, replace=False))
    curvature = g * risk.specific_variance[names]
    # K exposures and cash: what a unit of each asset adds
    by_exposure = np.concatenate([risk.loadings, 1.0 + 0.001 * random.normal(size=(60, 1))], axis=1)
    move, asset = np.array([0, 1, 1, 2, 2, 3]), np.array([4, 9, 31, 9, 9, 50])
    jump = random.normal(size=6)
    moved = np.zeros((by_exposure.shape[1], 4))
    np.add.at(moved.T, move, jump[:, None] * by_exposure[asset])
    own = np.zeros((by_exposure.shape[1],) * 2)
    own[: risk.loadings.shape[1], : risk.loadings.shape[1]] = 0.5 / g * np.eye(risk.loadings.shape[1])

    roots = np.concatenate([_root(link, 60) for link in risk.links], axis=1)
    whole = np.concatenate([by_exposure, roots], axis=1)
    hessian = whole[names].T @ (whole[names] / (2 * curvature)[:, None])
    hessian[: len(own), : len(own)] += own
    hessian[len(own) :, len(own) :] += 0.5 / g * np.eye(roots.shape[1])
    added = np.zeros((whole.shape[1], 4))
    np.add.at(added.T, move, jump[:, None] * whole[asset])
    expected = added.T @ np.linalg.solve(hessian, added)

    products = linked_products(risk.packed, g, (names, curvature, by_exposure[names]), own, moved, (move, asset, jump))
    assert products == pytest.approx(expected, rel=1e-8)


def _root(link, size):
    root = np.zeros((size, len(link.assets)))
    root[link.assets] = link.root
    return root
