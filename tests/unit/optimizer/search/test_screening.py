import numpy as np
import pytest

from prometheus.foundation.errors import SolverFailedError
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.certificate import DualPoint
from prometheus.optimizer.dual.price_guess import guessed_prices
from prometheus.optimizer.problem.envelope import convex_envelope
from prometheus.optimizer.search.relaxation import Relaxation
from prometheus.optimizer.search.screening import KeptPieces, priced_ends
from tests.unit.optimizer.lagrangians import lagrangian_of
from tests.unit.optimizer.limits import binding
from tests.unit.optimizer.linked_blocks import linked
from tests.unit.optimizer.problems import random_problem

#: Cost per unit of weight: prices of an answer at 1e-11 are known that well.
_PRICE = 1e-6


def _stage_one(problem):
    whole = lagrangian_of(problem)
    return whole, convex_envelope(whole.pieces, whole.cost, whole.cost_rate)


def _cost(pieces, whole, trades):
    """Return the objective of stage 1, each piece filled from the left."""
    used = np.clip(trades[pieces.asset] - pieces.left, 0.0, pieces.right - pieces.left)
    y = whole.risk.exposures(whole.cost.active + trades)
    return whole.risk_aversion * float(y @ y) + float(((pieces.slope + pieces.curvature * used) * used).sum())


class _Counting:
    """A real back-end that remembers how many columns each program had, and fails on small programs if told to."""

    def __init__(self, fails_below: int = 0) -> None:
        self._backend, self._fails_below = backend_named("CLARABEL"), fails_below
        self.name, self.columns = "CLARABEL", []

    def version(self):
        return self._backend.version()

    def solve(self, program, tolerance):
        self.columns.append(len(program.q))
        if len(program.q) < self._fails_below:
            raise SolverFailedError("no point on these pieces")
        return self._backend.solve(program, tolerance)


@pytest.mark.parametrize("lot_method", ["LEAST_TAX_FIRST", "FIFO"])
@pytest.mark.parametrize("cash_range", [(0.002, 0.02), (0.05, 0.05), (0.0, 1.0)])
def test_pieces_left_out_do_not_change_the_optimum(lot_method, cash_range):
    """One program of far fewer pieces, those near the guessed prices, has the optimum of the whole program."""
    problem = random_problem(5, names=150, lots_a_name=5, lot_method=lot_method, cash_range=cash_range)
    whole, pieces = _stage_one(problem)
    backend = _Counting()
    screened = Relaxation(backend, 1e-11).solve_screened(pieces, whole, None)
    full = Relaxation(backend_named("CLARABEL"), 1e-11).solve(pieces, whole)
    assert _cost(pieces, whole, screened.trades) == pytest.approx(_cost(pieces, whole, full.trades), abs=1e-10)
    assert screened.dual.exposures == pytest.approx(full.dual.exposures, abs=1e-7)
    assert whole.bound(screened.dual, whole.minima(screened.dual)) == pytest.approx(
        whole.bound(full.dual, whole.minima(full.dual)), abs=1e-9
    )
    assert len(backend.columns) == 1
    assert screened.pieces <= 0.65 * full.pieces


@pytest.mark.parametrize("seed", range(6))
def test_a_wrong_guess_costs_time_only(seed):
    """From prices far from the optimal ones the same optimum is found, by more programs than one."""
    whole, pieces = _stage_one(random_problem(seed, names=80, lots_a_name=5, cash_range=(0.002, 0.3)))
    random = np.random.default_rng(seed)
    wrong = DualPoint(random.normal(0, 0.02, whole.risk.size), float(random.normal(0, 0.02)))
    backend = _Counting()
    screened = Relaxation(backend, 1e-11).solve_screened(pieces, whole, wrong)
    full = Relaxation(backend_named("CLARABEL"), 1e-11).solve(pieces, whole)
    assert _cost(pieces, whole, screened.trades) == pytest.approx(_cost(pieces, whole, full.trades), abs=1e-10)
    kept = KeptPieces.near(pieces, whole, wrong)
    assert len(backend.columns) > 1 or not kept.can_meet_cash(pieces, whole)


def test_pieces_on_which_the_solver_fails_are_not_the_last_word():
    """Where the program of some pieces has no answer the program of all of them is solved."""
    whole, pieces = _stage_one(random_problem(1, names=80, lots_a_name=5))
    backend = _Counting(fails_below=len(pieces.asset))
    screened = Relaxation(backend, 1e-9).solve_screened(pieces, whole, None)
    assert screened.pieces == len(pieces.asset)
    assert len(backend.columns) == 2


@pytest.mark.parametrize(
    "kinds", [("tracking error",), ("turnover",), ("sectors", "factors"), ("tracking error", "gain")]
)
def test_known_prices_serve_with_limits_too(kinds):
    """Next to the prices of the whole program's answer the same optimum is found with limits, of fewer pieces."""
    problem = binding(random_problem(3, names=60, lots_a_name=5, fractional=True, min_trade=0.0), kinds, 0.1, 3)
    whole, pieces = _stage_one(problem)
    relaxation = Relaxation(backend_named("CLARABEL"), 1e-11)
    full = relaxation.solve(pieces, whole)
    assert full.dual.risk_price > 0 or full.dual.rows(whole.cost.rows).any()
    screened = relaxation.solve_screened(pieces, whole, full.dual)
    assert screened.pieces < full.pieces
    assert _cost(pieces, whole, screened.trades) == pytest.approx(_cost(pieces, whole, full.trades), abs=1e-9)


def test_where_the_guess_would_be_far_off_the_program_has_every_piece():
    """Without known prices a tracking-error limit and linked specific returns get the whole program."""
    plain = random_problem(3, names=40, lots_a_name=4, fractional=True)
    for problem in (binding(plain, ("tracking error",), 0.1), linked(plain, 3)):
        whole, pieces = _stage_one(problem)
        answer = Relaxation(backend_named("CLARABEL"), 1e-9).solve_screened(pieces, whole, None)
        assert answer.pieces == len(pieces.asset)


@pytest.mark.parametrize("kinds", [("turnover",), ("sectors", "factors")])
@pytest.mark.parametrize("tightness", [0.1, 0.4])
def test_rows_that_bind_do_not_spoil_what_the_guess_leaves_out(kinds, tightness):
    """From a guess that knows no rows the optimum under binding rows is found on fewer pieces than there are."""
    problem = binding(random_problem(2, names=120, fractional=True, min_trade=0.0), kinds, tightness, 2)
    whole, pieces = _stage_one(problem)
    relaxation = Relaxation(backend_named("CLARABEL"), 1e-11)
    full, screened = relaxation.solve(pieces, whole), relaxation.solve_screened(pieces, whole, None)
    assert full.dual.rows(whole.cost.rows).any()
    assert screened.pieces < full.pieces
    assert _cost(pieces, whole, screened.trades) == pytest.approx(_cost(pieces, whole, full.trades), abs=1e-9)


@pytest.mark.parametrize("kinds", [(), ("tracking error",), ("turnover", "sectors"), ("tracking error", "gain")])
def test_marginal_costs_at_the_optimum_say_how_far_each_piece_is_used(kinds):
    """At the optimal prices pieces used wholly have no positive marginal cost, unused ones no negative one."""
    problem = random_problem(3, names=50, lots_a_name=4, fractional=True, min_trade=0.0)
    whole, pieces = _stage_one(binding(problem, kinds, 0.1, 3) if kinds else problem)
    answer = Relaxation(backend_named("CLARABEL"), 1e-11).solve(pieces, whole)
    left, right = priced_ends(pieces, whole, answer.dual)
    used = answer.trades[pieces.asset]
    some = pieces.right - pieces.left > 1e-4
    unused, wholly = some & (used <= pieces.left + 1e-7), some & (used >= pieces.right - 1e-7)
    assert unused.any()
    assert wholly.any()
    assert (left[unused] >= -_PRICE).all()
    assert (right[wholly] <= _PRICE).all()
    between = some & (used > pieces.left + 1e-5) & (used < pieces.right - 1e-5)
    assert between.any()
    assert (left[between] <= _PRICE).all()
    assert (right[between] >= -_PRICE).all()


def test_kept_pieces_are_runs_that_grow_when_joined():
    """Every asset with pieces keeps a run of them that ends inside its own, and joining two choices holds both."""
    whole, pieces = _stage_one(random_problem(8, names=90, lots_a_name=4))
    one = KeptPieces.near(pieces, whole, DualPoint(np.zeros(whole.risk.size), 0.0))
    other = KeptPieces.near(pieces, whole, DualPoint(np.full(whole.risk.size, 0.01), -0.01))
    both = one.joined(other)
    for kept in (one, other, both):
        cut = kept.cut(pieces)
        assert len(cut.asset) == kept.count
        assert set(cut.asset) == set(pieces.asset)
        assert (cut.left[1:] == cut.right[:-1])[cut.asset[1:] == cut.asset[:-1]].all()
        assert (cut.low >= pieces.low).all()
        assert (cut.high <= pieces.high).all()
    assert max(one.count, other.count) < both.count < len(pieces.asset)


@pytest.mark.parametrize("cash_range", [(0.002, 0.02), (0.2, 0.2), (0.0, 0.001), (0.0, 1.0)])
def test_guessed_prices_nearly_tell_the_optimum(cash_range):
    """The bound of the guess is within 0.5 bps of stage 1's, for cash that is short, in excess or free."""
    whole, pieces = _stage_one(random_problem(7, names=200, lots_a_name=4, cash_range=cash_range, group_share=0.0))
    guess = guessed_prices(pieces, whole)
    exact = Relaxation(backend_named("CLARABEL"), 1e-11).solve(pieces, whole).dual
    missing = whole.bound(exact, whole.minima(exact)) - whole.bound(guess, whole.minima(guess))
    assert -1e-9 <= missing <= 5e-5
