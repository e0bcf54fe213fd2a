"""One problem with its sides fixed, answered by every back-end and by the independent reference."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer import rebalance
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.backends.cvxpy_reference import solve_sides
from prometheus.optimizer.certificate import DualPoint, Lagrangian, branch_of
from prometheus.optimizer.dual.joint_terms import JointTerms
from prometheus.optimizer.dual.structured import STRUCTURED
from prometheus.optimizer.problem.envelope import arcs
from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem
from prometheus.optimizer.search.assembly import CouplingRows, assemble
from tests.unit.optimizer.lagrangians import lagrangian_of
from tests.unit.optimizer.limits import KINDS, binding
from tests.unit.optimizer.problems import changed, random_problem

#: What is laid upon the problems in turn: each kind of limit alone, two together, all, and none.
LAID_ON = ((), *((kind,) for kind in KINDS), ("tracking error", "turnover"), KINDS)


def limited_problem(seed: int) -> RebalanceProblem:
    """Return a problem whose limits bind; over eight seeds every kind of constraint is on somewhere."""
    names = 15 + seed % 30
    random = np.random.default_rng(seed)
    problem = random_problem(
        seed,
        names=names,
        factors=2 + seed % 5,
        lot_method=("LEAST_TAX_FIRST", "HIFO", "FIFO")[seed % 3],
        fractional=True,
        group_share=0.2 * (seed % 2),
        cash_range=((0.002, 0.02), (0.03, 0.0302), (0.0, 1.0))[seed % 3],
        tilt=random.normal(0, 0.002, names) * (seed % 4 == 1),
        min_trade=0.0,
    )
    kinds = LAID_ON[seed % len(LAID_ON)]
    problem = binding(problem, kinds, 0.05, seed) if kinds else problem
    return changed(problem, cash_flow=0.01) if seed % 7 == 3 else problem


def with_order_cost(problem: RebalanceProblem, seed: int) -> RebalanceProblem:
    """Return the problem with a cost of an order: 0.1 bps, 1 bp or 10 bps of NAV."""
    return changed(problem, order_cost=(1e-5, 1e-4, 1e-3)[seed % 3])


def answers(problem: RebalanceProblem) -> Iterator[tuple[str, float, np.ndarray]]:
    """Yield who answered, the objective and the (N,) trades on the sides that ``rebalance`` chose.

    The reference comes first. STRUCTURED is asked for its own answer and left out where it declines.
    """
    whole = lagrangian_of(problem)
    chosen = rebalance(problem).trades
    # where nothing is traded either side is as good, but for groups, whose rule depends on it
    alone = np.bincount(problem.group)[problem.group] == 1
    # but where an order has a cost: the reference charges one for every side
    alone &= problem.order_cost == 0
    guess = np.where(alone, np.random.default_rng(len(chosen)).choice([-1, 1], problem.size), 0)
    side = np.where(np.abs(chosen) > 1e-11, np.sign(chosen), guess).astype(np.int64)
    settled = _settled(whole, chosen)
    sided = replace(
        settled,
        low=np.where(side < 0, settled.low, np.maximum(settled.low, 0.0)),
        high=np.where(side > 0, settled.high, np.minimum(settled.high, 0.0)),
    )
    whole = whole.within(sided)
    local = branch_of(whole.pieces, chosen) - whole.pieces.branch[whole.pieces.first]
    convex = whole.on_branches(local)
    pieces = convex.pieces
    last = np.append(pieces.first[1:], len(pieces.asset)) - 1
    least, most = np.zeros(problem.size), np.zeros(problem.size)
    least[pieces.asset[pieces.first]], most[pieces.asset[last]] = pieces.left[pieces.first], pieces.right[last]
    reference = solve_sides(problem, side, between=(least, most))
    constant = float((problem.tilt * problem.holdings()).sum())
    yield "reference", reference.objective, reference.trades

    envelope = arcs(pieces, convex.cost, convex.cost_rate)
    coupling = None
    if convex.rows.any:
        linear = convex.cost.row_buy[: convex.rows.linear]
        coupling = CouplingRows(convex.rows, linear, lambda trades: convex.cost.row_use(trades).sum(axis=1))
    program = assemble(
        envelope, convex.risk, convex.cost.active, convex.cost_rate, convex.risk_aversion, convex.cash, coupling
    )
    for name in ("CLARABEL", "CVXPY"):
        u = program.trades(backend_named(name).solve(program.program, 1e-11).x)
        yield name, convex.objective(u) - constant, u
    nothing = DualPoint(np.zeros(convex.risk.size), 0.0)
    own = STRUCTURED.stage_one(convex, JointTerms.of(convex), nothing)
    if not own.solution.fallback:
        yield "STRUCTURED", convex.objective(own.relaxed) - constant, own.relaxed


def _settled(whole: Lagrangian, trades: np.ndarray) -> object:
    label, loss_start = whole.limits.group, whole.cost.order.loss_start
    grouped = label >= 0
    loses = (-trades > loss_start + 1e-12)[grouped]
    count = int(label[grouped].max(initial=-1)) + 1
    return whole.limits.with_groups(np.bincount(label[grouped], weights=loses, minlength=count) > 0, loss_start)


def solvable_problems(count: int, first: int = 0) -> Iterator[tuple[int, RebalanceProblem]]:
    """Yield so many seeds and problems, those without an answer left out."""
    solved, seed = 0, first
    while solved < count:
        try:
            problem = limited_problem(seed)
            rebalance(problem)
        except InfeasibleProblemError:
            pass
        else:
            solved += 1
            yield seed, problem
        seed += 1
