"""STRUCTURED against CLARABEL, its fallback and its bits."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prometheus.optimizer import rebalance, structured
from prometheus.optimizer.active_risk import factor_risk
from prometheus.optimizer.assembly import assemble
from prometheus.optimizer.asset_functions import separable_cost
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.envelope import convex_envelope
from prometheus.optimizer.lot_order import lot_order
from prometheus.optimizer.structured import TIGHT_GAP, pieces_program
from prometheus.optimizer.structured_dual import SeparableProgram, climb_dual
from prometheus.optimizer.trade_range import trade_range
from tests.unit.optimizer.problems import random_problem
from tests.unit.optimizer.test_backends import _program

REPOSITORY = Path(__file__).parents[3]

KINDS = {
    "plain": {},
    "hifo": {"lot_method": "HIFO"},
    "fifo": {"lot_method": "FIFO"},
    "many factors": {"factors": 25, "lots_a_name": 8.0},
    "one factor": {"factors": 1},
    "groups and locks": {"group_share": 0.5, "lock_share": 0.3},
    "no cash to spare": {"cash_range": (0.0, 1e-6)},
    "cash must be raised": {"cash_range": (0.05, 0.06)},
    "losses everywhere": {"loss_share": 0.95},
    "no cost": {"cost_bps": 0.0},
}


def _stage_one(problem):
    order = lot_order(problem)
    cost, risk = separable_cost(problem, order), factor_risk(problem)
    whole = Lagrangian.of_problem(problem, risk, cost, trade_range(problem, order))
    envelope = convex_envelope(whole.pieces, cost, whole.cost_rate)
    assembled = assemble(envelope, risk, cost.active, whole.cost_rate, whole.risk_aversion, whole.cash)
    return whole, assembled, pieces_program(envelope, whole)


def _bound(whole, trades, cash_price):
    price = cash_price if abs(cash_price) > 1e-9 else 0.0
    dual = DualPoint(whole.risk.exposures(whole.cost.active + trades), price)
    return whole.bound(dual, whole.minima(dual))


def _value(program, x):
    return float((program.q * x).sum() + 0.5 * (program.P.data * x * x).sum())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_stage_one_is_clarabels(kind, seed):
    """Bound, objective and trades of stage 1 agree with the interior-point solver's, whatever the kind of problem."""
    whole, assembled, program = _stage_one(random_problem(40 + seed, names=70, **KINDS[kind]))
    reference = backend_named("CLARABEL").solve(assembled.program, 1e-11)
    answer = structured.STRUCTURED.solve_pieces(program, whole.risk.exposures(whole.cost.active))
    assert answer.fallback == ""
    theirs, ours = assembled.trades(reference.x), program.trades(answer.x)
    bounds = [
        _bound(whole, theirs, assembled.cash_price(reference.z)),
        _bound(whole, ours, program.cash_price(answer.z)),
    ]
    assert bounds[1] == pytest.approx(bounds[0], abs=1e-7)
    pieces = program.pieces
    cost = float((pieces.slope * answer.x + pieces.curvature * answer.x**2).sum())
    used = assembled.used(reference.x)
    along = np.where(assembled.direction > 0, used, pieces.right - pieces.left - used)
    cost_theirs = float((pieces.slope * along + pieces.curvature * along**2).sum())
    exposures = [whole.risk.exposures(whole.cost.active + trades) for trades in (theirs, ours)]
    values = [
        c + whole.risk_aversion * float((y * y).sum()) for c, y in zip((cost_theirs, cost), exposures, strict=True)
    ]
    assert values[1] == pytest.approx(values[0], abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_certified_and_agree_with_clarabels_within_the_gaps(kind):
    """The whole run reports STRUCTURED, breaks no rule, and neither objective lies below the other's bound."""
    problem = random_problem(50, names=60, **KINDS[kind])
    ours, theirs = (rebalance(problem, backend=name).certificate for name in ("STRUCTURED", "CLARABEL"))
    assert ours.max_violation <= 1e-9
    assert ours.gap_bps >= -1e-7
    assert ours.lower_bound <= theirs.objective + 1e-9
    assert theirs.lower_bound <= ours.objective + 1e-9


def test_a_tight_answer_is_reported_as_its_own():
    """The facts name the method, its steps and a status without a fallback."""
    facts = rebalance(random_problem(51), backend="STRUCTURED").facts
    assert facts.backend == "STRUCTURED"
    assert facts.status == "Solved"
    assert facts.iterations > 0
    assert "CLARABEL" in facts.version


def test_an_answer_that_is_not_tight_is_not_used_and_the_facts_say_so(monkeypatch):
    """A poor dual point goes to CLARABEL, whose answer is the same as if it had been asked."""

    def lazy(program, exposures, row_prices):
        honest = climb_dual(program, exposures, row_prices)
        return replace(honest, amounts=honest.amounts * 0.9, gap=1e-6)

    monkeypatch.setattr(structured, "climb_dual", lazy)
    problem = random_problem(52)
    ours, theirs = rebalance(problem, backend="STRUCTURED"), rebalance(problem, backend="CLARABEL")
    assert "fallback to CLARABEL: STRUCTURED left a gap of 0.01 bps" in ours.facts.status
    assert ours.trades.tobytes() == theirs.trades.tobytes()


def test_a_residual_is_reason_enough_for_the_fallback(monkeypatch):
    """An answer outside the cash range is not used, however small its gap."""
    monkeypatch.setattr(structured, "climb_dual", lambda *given: replace(climb_dual(*given), gap=0.0, residual=1e-6))
    assert "residual of 1e-06" in rebalance(random_problem(53), backend="STRUCTURED").facts.status


def test_general_programs_go_to_clarabel_and_say_so():
    """A program that is not made of pieces is solved, and marked as solved by another solver."""
    solution = backend_named("STRUCTURED").solve(_program([[1.0, 1.0], [-1.0, 0.0]], [1.0, 0.0], equalities=1), 1e-10)
    assert solution.x == pytest.approx([0.75, 0.25], abs=1e-8)
    assert solution.fallback == "not a program of pieces"


def _small(**changes: np.ndarray):
    values = {
        "loadings": np.array([[1.0, 1.0, -1.0]]),
        "base": np.array([0.3]),
        "risk_aversion": 2.0,
        "asset": np.array([0, 1, 2]),
        "slope": np.array([-1.0, -1.0, 0.2]),
        "curvature": np.array([0.0, 0.5, 0.0]),
        "length": np.array([1.0, 1.0, 1.0]),
        "stiffness": np.array([1.0, 1.0, 1.0]),
        "rates": np.array([[1.0, 1.0, 1.0], [0.0, 1.0, -1.0]]),
        "use": np.zeros(2),
        "least": np.array([-np.inf, 0.1]),
        "most": np.array([0.8, np.inf]),
    }
    return SeparableProgram(**{**values, **changes})


def _grid_least(program):
    step = np.linspace(0, 1, 81)
    t = np.stack(np.meshgrid(step, step, step), axis=-1).reshape(-1, 3)
    used = t @ program.rates.T
    legal = ((used <= program.most + 1e-12) & (used >= program.least - 1e-12)).all(axis=1)
    y = program.base + t @ program.loadings.T
    value = program.risk_aversion * (y * y).sum(axis=1) + t @ program.slope + (t * t) @ program.curvature
    return float(value[legal].min())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"most": np.array([0.1, np.inf])},
        {"least": np.array([0.5, -np.inf])},
        {"least": np.array([0.5, 0.1]), "most": np.array([0.5, 0.1])},
        {"curvature": np.zeros(3)},
    ],
)
def test_several_rows_and_flat_pieces_are_solved_exactly(changes):
    """Two rows with one-sided, two-sided and equal limits: no point of a fine grid is better, and the gap is closed."""
    program = _small(**changes)
    answer = climb_dual(program, np.zeros(1), np.zeros(2))
    assert answer.gap <= TIGHT_GAP
    assert answer.residual <= 1e-9
    y = program.base + program.loadings @ answer.amounts
    value = float(2 * y @ y + program.slope @ answer.amounts + program.curvature @ answer.amounts**2)
    assert value <= _grid_least(program) + 1e-9
    assert answer.row_prices[0] >= 0 or np.isfinite(program.least[0])


def test_contradictory_rows_are_never_called_tight():
    """Where no point meets the rows the residual says so."""
    answer = climb_dual(_small(least=np.array([5.0, -np.inf]), most=np.array([6.0, np.inf])), np.zeros(1), np.zeros(2))
    assert answer.residual > 1.0


def test_equal_problems_get_equal_bits_in_other_processes_and_with_other_threads():
    """Three processes with one, two and four linear-algebra threads, one of them busy, return the same bits."""
    program = (
        "import hashlib, sys, threading; sys.path.insert(0, '.')\n"
        "import numpy as np\n"
        "from tests.unit.optimizer.problems import random_problem\n"
        "from prometheus.optimizer import rebalance\n"
        "busy = np.ones((300, 300)); stop = threading.Event()\n"
        "def work():\n"
        "    while not stop.is_set(): busy @ busy\n"
        "thread = threading.Thread(target=work); thread.start()\n"
        "digest = hashlib.sha256()\n"
        "for factors in (6, 30):\n"
        "    problem = random_problem(24, names=150, factors=factors, lots_a_name=6, lot_method='FIFO')\n"
        "    result = rebalance(problem, backend='STRUCTURED')\n"
        "    for part in (result.trades, result.shares, result.lot_shares_sold): digest.update(part.tobytes())\n"
        "    digest.update(repr(result.certificate).encode())\n"
        "stop.set(); thread.join(); print(digest.hexdigest())\n"
    )
    digests = set()
    for threads in ("1", "2", "4"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1
    assert len(digests.pop()) == hashlib.sha256().digest_size * 2


def test_limits_besides_cash_are_left_to_clarabel_and_the_facts_say_so():
    """A turnover limit is not among the method's rows: CLARABEL answers, and the trades keep the limit."""
    result = rebalance(random_problem(54, turnover_max=0.05), backend="STRUCTURED")
    assert "limits besides cash" in result.facts.status
    assert result.turnover <= 0.05 + 1e-7
