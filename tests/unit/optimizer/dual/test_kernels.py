"""The compiled loops against plain formulas, grids and differences."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prometheus.optimizer.dual.coupled_dual import CoupledDual
from prometheus.optimizer.dual.joint_terms import JointTerms
from prometheus.optimizer.dual.kernels import charge, total
from prometheus.optimizer.dual.steps import all_within, along, moved, solve_scaled, step_towards
from tests.unit.optimizer.lagrangians import lagrangian_of
from tests.unit.optimizer.limits import KINDS, binding
from tests.unit.optimizer.problems import random_problem

REPOSITORY = Path(__file__).parents[4]
METHODS = ("HIFO", "FIFO")


def _dual(seed, lot_method, limits=KINDS):
    problem = random_problem(seed, names=30, lot_method=lot_method, group_share=0.0)
    problem = binding(problem, limits, 0.3, seed) if limits else problem
    whole = lagrangian_of(problem)
    return CoupledDual(whole, JointTerms.of(whole))


def _prices(dual, seed):
    """Return prices of the size that an optimum has, all of them different from zero and lambda positive."""
    random = np.random.default_rng(seed)
    joint = dual.joint
    scale = 2 * dual.lagrangian.risk_aversion * 0.02
    prices = np.concatenate([random.normal(0, scale, joint.factors), random.normal(0, 1e-3, len(joint.most)), [0.0]])
    unlimited = np.where(prices[joint.factors : -1] > 0, joint.most, joint.least)
    prices[joint.factors : -1][~np.isfinite(unlimited)] *= -1
    prices[-1] = 0.5 * dual.lagrangian.risk_aversion if joint.has_te else 0.0
    return prices


@pytest.mark.parametrize("lot_method", METHODS)
@pytest.mark.parametrize("limits", [(), KINDS], ids=["cash", "every limit"])
@pytest.mark.parametrize("seed", range(3))
def test_the_dual_value_is_the_certificates_bound(seed, limits, lot_method):
    """At any prices the value of the best branches is the bound that the certificate computes by its own formulas."""
    dual = _dual(seed, lot_method, limits)
    prices = _prices(dual, seed)
    point = dual.joint.dual_point(prices, dual.lagrangian.risk_aversion)
    bound = dual.lagrangian.bound(point, dual.lagrangian.minima(point))
    assert dual.respond(prices).value == pytest.approx(bound, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("lot_method", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_no_trade_on_a_branch_costs_less_than_its_answer(seed, lot_method):
    """Answers are least on a grid of every branch's range, priced by the cost of the lots and not of the pieces."""
    dual = _dual(seed, lot_method)
    whole, joint, prices = dual.lagrangian, dual.joint, _prices(dual, seed)
    response = dual.respond(prices)
    own = joint.by_asset @ prices[: joint.cash]
    stretch = prices[-1] / whole.risk_aversion
    pieces = whole.pieces
    for b, (name, first) in enumerate(zip(dual.owner, np.unique(pieces.branch, return_index=True)[1], strict=True)):
        on_it = np.flatnonzero(pieces.branch == pieces.branch[first])
        grid = np.append(np.linspace(pieces.left[on_it[0]], pieces.right[on_it[-1]], 40), response.trade[b])
        costs = []
        for u in grid:
            moved = whole.cost.active[name] + u
            rows = np.append(u + whole.cost_rate[name] * abs(u), whole.cost.row_use_of_asset(name, u)[joint.linear :])
            priced = own[name] * u + float((prices[joint.cash : -1] * rows).sum())
            costs.append(whole.cost.of_asset(name, u) + stretch * whole.cost.curvature[name] * moved**2 + priced)
        assert response.worth[b] == pytest.approx(costs[-1], abs=1e-13)
        assert costs[-1] <= min(costs) + 1e-13


@pytest.mark.parametrize("lot_method", METHODS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("strength", [1.0, 1e-3])
def test_gradient_and_hessian_are_differences_of_value_and_gradient(strength, seed, lot_method):
    """Around shared names the gradient is the slope of the value, and the Hessian that of the gradient."""
    dual = _dual(seed, lot_method)
    prices = _prices(dual, seed)
    start = dual.respond(prices)
    centre = dual.centre(start, strength)
    state = dual.respond(prices, start.at, centre)
    matrix, compared = dual.hessian(state), 0
    assert np.array_equal(matrix, matrix.T)
    for i in range(dual.joint.size):
        step = np.zeros(len(prices))
        step[i] = 1e-9
        after, before = (dual.respond(prices + sign * step, state.at, centre) for sign in (1, -1))
        same = all(
            np.array_equal(getattr(after, name), getattr(before, name)) for name in ("at", "inside", "left", "right")
        )
        if not same or not np.array_equal(dual.tied(after), dual.tied(before)):
            continue
        column = -(after.gradient - before.gradient) / 2e-9
        assert column == pytest.approx(matrix[i], rel=1e-4, abs=1e-5 * np.abs(matrix).max())
        higher, lower = (dual.respond(prices + sign * 100 * step, state.at, centre).value for sign in (1, -1))
        assert (higher - lower) / 2e-7 == pytest.approx(state.gradient[i], abs=1e-5)
        compared += 1
    assert compared >= dual.joint.size // 2


@pytest.mark.parametrize("lot_method", METHODS)
def test_answers_do_not_depend_on_where_they_were_looked_for(lot_method):
    """From the first pieces, the last ones, or those of other prices, every branch finds the same answer."""
    dual = _dual(7, lot_method)
    prices = _prices(dual, 7)
    first = dual.respond(prices)
    for other in (_prices(dual, 8), 3 * prices, -prices):
        elsewhere = dual.respond(other).at
        again = dual.respond(prices, elsewhere)
        assert again.trade == pytest.approx(first.trade, abs=1e-15)
        assert again.value == pytest.approx(first.value, abs=1e-14)


def test_a_name_rests_between_its_two_best_branches_and_costs_what_the_centre_says():
    """Of three and more branches the two cheapest share the asset, wholly the better one without a centre."""
    dual = _dual(3, "FIFO")
    assert dual.is_crowded
    response = dual.respond(_prices(dual, 3))
    for m, name in enumerate(dual.several):
        branches = np.flatnonzero(dual.owner == name)
        two = branches[np.sort(np.argsort(response.worth[branches], kind="stable")[:2])]
        assert [response.left[m], response.right[m]] == two.tolist()
        best = branches[np.argmin(response.worth[branches])]
        assert response.mixing[branches].tolist() == (branches == best).astype(float).tolist()
    assert response.looseness == 0.0


@pytest.mark.parametrize("lot_method", METHODS)
def test_the_certificates_least_costs_are_those_of_every_piece_alone(lot_method):
    """Least values of assets, sides and branches are those of plain formulas, on all branches and on one of each."""
    dual = _dual(5, lot_method, ())
    point = dual.joint.dual_point(_prices(dual, 5), dual.lagrangian.risk_aversion)
    last = np.append(dual.first_branch[1:], len(dual.owner)) - 1 - dual.first_branch
    for whole in (dual.lagrangian, dual.lagrangian.on_branches(last)):
        pieces, minima = whole.pieces, whole.minima(point)
        curvature, slope, offset = whole._priced(point)
        q, d = curvature[pieces.asset], whole.cost.active[pieces.asset]
        trade = np.clip(-d - slope / (2 * q), pieces.left, pieces.right)
        value = q * (d + trade) ** 2 + slope * trade + offset
        at_zero = whole._at_zero(curvature)
        for name in range(dual.asset_count):
            own = np.flatnonzero(pieces.asset == name)
            assert minima.value[name] == pytest.approx(value[own].min(), abs=1e-15)
            assert minima.trade[name] == pytest.approx(trade[own[np.argmin(value[own])]], abs=1e-12)
            for least, allowed in ((minima.no_purchase, pieces.right <= 0), (minima.no_loss, ~pieces.loses)):
                assert least[name] == pytest.approx(min([at_zero[name], *value[own][allowed[own]]]), abs=1e-15)
        each = [value[pieces.branch == branch].min() for branch in np.unique(pieces.branch)]
        assert minima.branch_value == pytest.approx(each, abs=1e-15)


def test_systems_are_solved_as_a_library_solves_them():
    """Solutions of scaled systems, and of parts of them agree with plain linear algebra."""
    random = np.random.default_rng(1)
    half = random.normal(size=(40, 60)) * 10.0 ** random.uniform(-3, 3, 40)[:, None]
    matrix, right = half @ half.T, random.normal(size=(40, 5))
    assert matrix @ solve_scaled(matrix, right, 0.0, 1.0) == pytest.approx(right, abs=1e-8)
    active = random.random(40) < 0.5
    step = step_towards(matrix, right[:, 0].copy(), active, 0.0, 1.0)
    assert step[~active].tolist() == [0.0] * int((~active).sum())
    assert (matrix @ step)[active] == pytest.approx(right[active, 0], abs=1e-8)


def test_exposures_and_their_prices_are_products_links_included():
    """Charges and sums are those of one matrix with the links' roots between the exposures and the linear rows."""
    random = np.random.default_rng(2)
    exposures, rows, roots = random.normal(size=(3, 9)), random.normal(size=(2, 9)), random.normal(size=(2, 2, 2))
    roots[:, 0, 1] = 0.0
    names = np.array([1, 4, 2, 8])
    linked = np.zeros((4, 9))
    linked[:2, [1, 4]], linked[2:, [2, 8]] = roots[0].T, roots[1].T
    prices, weights = random.normal(size=9), np.where(random.random(9) < 0.5, random.normal(size=9), 0.0)
    by_exposure, sizes = np.concatenate([exposures, rows]), np.array([2, 2])
    every = np.concatenate([exposures, linked, rows])
    columns = np.concatenate([root.T.ravel() for root in roots])
    assert charge(by_exposure, sizes, names, columns, 2, prices) == pytest.approx(every.T @ prices)
    by_asset = np.ascontiguousarray(by_exposure.T)
    assert total(by_asset, sizes, names, roots.ravel(), 2, weights) == pytest.approx(every @ weights)


def test_a_price_to_which_nothing_answers_steps_as_if_one_name_did():
    """A zero on the diagonal takes the typical softness, and a direction without any curvature stays where it is."""
    assert solve_scaled(np.zeros((1, 1)), np.ones((1, 1)), 0.0, 0.25)[0, 0] == pytest.approx(4.0)
    flat = solve_scaled(np.ones((2, 2)), np.ones((2, 1)), 0.0, 1.0)
    assert flat[:, 0].tolist() == [1.0, 0.0]


def test_what_a_change_promises_is_the_slope_times_it_and_prices_that_run_away_are_seen():
    """Sums of any length agree with plain ones, and one price too large, infinite or not a number is enough."""
    random = np.random.default_rng(3)
    for size in (1, 7, 8, 9, 31, 128, 129, 440):
        slope, after, before = random.normal(size=(3, size))
        assert along(slope, after, before) == pytest.approx(float(slope @ (after - before)), rel=1e-12)
        assert all_within(after, 10.0)
        for wrong in (-10.5, np.inf, np.nan):
            after[-1] = wrong
            assert not all_within(after, 10.0)


def test_a_step_keeps_the_signs_of_one_sided_prices():
    """Prices of one-sided limits stop at zero, start to the side of what is missing, and lambda is never negative."""
    prices = np.array([1.0, 0.5, 0.5, -0.5, 0.0, 0.0, 0.2])
    gradient = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    exact = np.array([True, False, False, False, False])
    step = np.array([-4.0, -2.0, -2.0, -2.0, 2.0, -2.0, -2.0])
    assert moved(prices, step, 0.5, gradient, exact).tolist() == [-1.0, -0.5, 0.0, -1.5, 1.0, 0.0, 0.0]


_LOOP = """
from prometheus.optimizer.compiled import compiled

@compiled("f <- F")
def total(values):
    found = 0.0
    for value in values:
        found += value
    return found
"""


def test_a_loop_whose_cache_has_no_place_is_compiled_all_the_same(tmp_path):
    """Where neither the module's directory nor the user's cache can be written, a process compiles for itself."""
    module, home = tmp_path / "loops" / "loop.py", tmp_path / "home"
    module.parent.mkdir()
    module.write_text(_LOOP)
    (module.parent / "__pycache__").write_text("a file, in which no directory can be made")
    home.write_text("nor here")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(module.parent), str(REPOSITORY)])}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home), "IPYTHONDIR": str(home)}
    program = "import loop, numpy; print(loop.total(numpy.ones(3)), loop.total.stats.cache_path)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("3.0 None\n", 0), done.stderr
