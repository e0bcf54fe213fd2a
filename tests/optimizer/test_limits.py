import numpy as np
import pytest

from prometheus.foundation.errors import CertificateRejectedError, InfeasibleProblemError, InvalidProblemError
from prometheus.optimizer import rebalance
from prometheus.optimizer.certificate import DualPoint
from prometheus.optimizer.search.fixed_sides import solve_fixed_sides
from prometheus.optimizer.verification import reject, violations_of_weights
from tests.unit.optimizer.brute_force import best_objective
from tests.unit.optimizer.lagrangians import lagrangian_of
from tests.unit.optimizer.limits import KINDS, binding, realised
from tests.unit.optimizer.problems import changed, random_problem, tiny_problem
from tests.unit.optimizer.small import small_problem


def _tiny(seed):
    return tiny_problem(seed, lock_share=0.1, tax_weight=(1.0, 0.1)[seed % 2])


def _met(problem, weights, trades, slack=1e-9):
    """Assert every limit from its definition."""
    active = weights - problem.benchmark_weights
    away = problem.loadings.T @ active
    variance = away @ problem.factor_covariance @ away + problem.specific_variance @ active**2
    assert np.sqrt(variance) <= problem.te_max + slack
    value = problem.row_matrix @ weights if problem.row_names else np.zeros(0)
    assert (value <= problem.row_upper + slack).all()
    assert (value >= problem.row_lower - slack).all()
    assert np.abs(trades).sum() / 2 <= problem.turnover_max + slack


@pytest.mark.parametrize("kinds", [*((kind,) for kind in KINDS), ("tracking error", "turnover"), KINDS])
def test_nothing_beats_the_bound_and_nearly_every_answer_is_the_best_there_is(kinds):
    """With each limit alone and with all, against every combination of sides and lots of four assets."""
    solved = optimal = 0
    for seed in range(10):
        try:
            problem = binding(
                tiny_problem(seed, lock_share=0.1, tax_weight=(1.0, 0.1)[seed % 2]),
                kinds,
                0.1 if len(kinds) == 1 else 0.002,
                seed,
            )
        except InfeasibleProblemError:
            continue
        best = best_objective(problem)
        try:
            result = rebalance(problem)
        except InfeasibleProblemError as refused:
            whole = "in whole steps" in refused.details["constraint"] or "no trades were found" in refused.message
            assert whole or not np.isfinite(best)
            continue
        solved += 1
        assert result.certificate.lower_bound <= best + 1e-7
        assert result.certificate.objective >= best - 1e-7
        optimal += result.certificate.objective <= best + 2e-6
    assert solved >= (4 if len(kinds) < len(KINDS) else 2)
    assert optimal >= 0.85 * solved


@pytest.mark.parametrize("kinds", [*((kind,) for kind in KINDS), KINDS])
@pytest.mark.parametrize("fractional", [False, True])
def test_limits_bind_are_certified_and_kept_after_rounding(kinds, fractional):
    """A limit that the free answer breaks is met before and after rounding, at a small certified gap."""
    free = random_problem(41, names=80, lots_a_name=2.5, fractional=fractional, tax_weight=0.2)
    problem = binding(free, kinds, 0.1 if len(kinds) == 1 else 0.02, 41)
    result = rebalance(problem)
    _met(problem, result.target_weights, result.trades)
    _met(problem, result.rounded_weights, result.rounded_weights - problem.holdings())
    assert realised(problem, result.trades) <= problem.gain_max + 1e-9
    value = problem.prices / problem.nav
    sold = result.lot_shares_sold * value[problem.lot_asset]
    assert sold @ problem.lot_gain <= problem.gain_max + 1e-9
    assert -1e-6 <= result.certificate.gap_bps < 0.2
    assert result.certificate.rounded_gap_bps >= result.certificate.gap_bps - 1e-6 or (
        result.certificate.rounded_gap_bps >= -1e-7
    )
    assert result.certificate.objective > rebalance(free).certificate.objective


@pytest.mark.parametrize("seed", range(6))
def test_any_prices_of_the_limits_give_a_valid_bound(seed):
    """However wrong the prices of rows and tracking error, the bound stays below the best that enumeration finds."""
    problem = binding(_tiny(seed), KINDS, 0.1, seed)
    best = best_objective(problem) + float(problem.tilt @ problem.holdings())
    lagrangian = lagrangian_of(problem)
    random = np.random.default_rng(seed)
    for scale in (1e-4, 1e-2, 1.0):
        rows = lagrangian.rows.legal(random.normal(size=lagrangian.cost.rows) * scale)
        dual = DualPoint(random.normal(size=2) * scale, float(random.normal()) * scale, rows, 50 * scale)
        assert lagrangian.bound(dual, lagrangian.minima(dual)) <= best + 1e-8


def test_newton_on_the_dual_proves_itself():
    """With the sides fixed the dual's value at the answer's prices is the objective, and the limits hold exactly."""
    problem = binding(random_problem(43, names=60, loss_share=0.0, group_share=0.0), KINDS[:4], 0.1, 3)
    lagrangian = lagrangian_of(problem)
    assert len(lagrangian.pieces.first) == lagrangian.pieces.branch[-1] + 1
    answer = solve_fixed_sides(lagrangian, DualPoint(np.zeros(6), 0.0))
    assert answer is not None
    bound = lagrangian.bound(answer.dual, lagrangian.minima(answer.dual))
    assert bound == pytest.approx(lagrangian.objective(answer.trades), abs=1e-9)
    _met(problem, problem.holdings() + answer.trades, answer.trades, slack=1e-10)


def test_tracking_error_out_of_reach_is_named_with_the_least_that_can_be_reached():
    """Asking for exactly what the refusal says is reachable can be done, asking for less cannot."""
    problem = random_problem(44, names=40, lock_share=0.3, fractional=True, min_trade=0.0)
    with pytest.raises(InfeasibleProblemError, match=r"tracking error at most 0.1000% is unreachable") as refused:
        rebalance(changed(problem, te_max=0.001))
    details = refused.value.details
    assert details["constraint"] == "tracking error at most"
    assert details["required"] == 0.001
    reached = rebalance(changed(problem, te_max=1.002 * details["reachable"]))
    assert reached.tracking_error_after <= 1.002 * details["reachable"]
    with pytest.raises(InfeasibleProblemError):
        rebalance(changed(problem, te_max=0.995 * details["reachable"]))


def test_conflicting_limits_are_listed_each_with_its_own_way_out():
    """A turnover too small for the cash that must be raised: relaxing either would do, and both are listed."""
    problem = random_problem(45, names=30, cash_range=(0.3, 0.4), turnover_max=0.01)
    with pytest.raises(InfeasibleProblemError, match="each of these relaxations alone would do") as refused:
        rebalance(problem)
    conflicts = {item["constraint"]: item for item in refused.value.details["conflicts"]}
    assert set(conflicts) == {"turnover at most", "cash_min"}
    assert conflicts["turnover at most"]["reachable"] > 0.1
    assert conflicts["cash_min"]["reachable"] < 0.1
    assert all(item["violation"] > 0 for item in conflicts.values())


def test_limits_that_no_single_relaxation_saves_are_listed_together():
    """Two linear limits that ask the impossible independently of each other are reported as a joint relaxation."""
    problem = random_problem(46, names=20)
    one = np.zeros((2, 20))
    one[0, 0] = one[1, 1] = 1.0
    problem = changed(
        problem,
        row_names=("first", "second"),
        row_matrix=one,
        row_lower=np.full(2, 0.9),
        row_upper=np.full(2, np.inf),
    )
    with pytest.raises(InfeasibleProblemError, match="these relaxations together would do") as refused:
        rebalance(problem)
    assert {item["constraint"] for item in refused.value.details["conflicts"]} == {"first at least", "second at least"}
    assert refused.value.details["together"]


def test_whole_shares_too_coarse_for_a_limit_are_refused_by_its_name():
    """A range that no number of whole shares meets is met before rounding and refused after it."""
    problem = small_problem([0.5, 0.5], [(0, 5.0, 0.1), (1, 5.0, 0.1)], price=100.0, nav=1_000.0, cash_max=0.3)
    problem = changed(
        problem,
        row_names=("sector:A",),
        row_matrix=np.array([[1.0, 0.0]]),
        row_lower=np.array([0.44]),
        row_upper=np.array([0.46]),
    )
    with pytest.raises(InfeasibleProblemError, match="sector:A is missed by") as refused:
        rebalance(problem)
    assert refused.value.details["constraint"] == "sector:A in whole steps"


def test_a_withdrawal_is_raised_and_a_contribution_is_invested():
    """The cash range holds after the flow, and what flows in is invested like the benchmark."""
    plain = random_problem(47, names=40, fractional=True)
    out, into = rebalance(changed(plain, cash_flow=-0.05)), rebalance(changed(plain, cash_flow=0.05))
    for result, flow in ((out, -0.05), (into, 0.05)):
        assert plain.cash_min - 1e-9 <= result.cash_after <= plain.cash_max + 1e-9
        assert result.rounded_weights.sum() == pytest.approx(1 + flow - result.cash_after, abs=2e-3)
        assert result.certificate.gap_bps < 0.05


def test_verification_sees_every_broken_limit():
    """Trades that break a limit are rejected by the rule's name, whoever made them."""
    free = random_problem(48, names=30, tax_weight=0.2)
    trades = rebalance(free).trades
    for kind, rule in zip(
        KINDS, ("tracking error", "linear limit", "linear limit", "turnover", "realised gain"), strict=True
    ):
        problem = binding(free, (kind,), 0.3)
        if kind == "gain":
            problem = changed(problem, gain_max=realised(problem, trades) - 0.01)
        with pytest.raises(CertificateRejectedError, match=rule):
            reject(problem, violations_of_weights(problem, trades), "trades")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"te_max": 0.0}, "te_max 0.0 must be positive"),
        ({"turnover_max": -0.1}, "turnover_max -0.1 must be non-negative"),
        ({"gain_max": 0.0}, r"lot_gain has shape \(0,\), expected \(1,\)"),
        ({"gain_max": float("nan")}, "gain_max nan"),
        ({"cash_flow": -1.0}, "cash_flow -1.0"),
        ({"max_names": 0}, "max_names 0"),
        ({"row_names": ("a",)}, "row_matrix has shape"),
        (
            {
                "row_names": ("a",),
                "row_matrix": np.ones((1, 2)),
                "row_lower": np.ones(1),
                "row_upper": np.zeros(1),
            },
            "row_lower of a",
        ),
        (
            {
                "row_names": ("a",),
                "row_matrix": np.full((1, 2), np.inf),
                "row_lower": np.zeros(1),
                "row_upper": np.zeros(1),
            },
            "not finite",
        ),
        (
            {
                "row_names": ("a",),
                "row_matrix": np.ones((1, 2)),
                "row_lower": np.full(1, np.nan),
                "row_upper": np.zeros(1),
            },
            r"row_lower\[0\] is NaN",
        ),
    ],
)
def test_limits_that_make_no_sense_are_refused(changes, complaint):
    """Limits of the wrong shape, sign or value are refused with what and where."""
    with pytest.raises(InvalidProblemError, match=complaint):
        small_problem([0.5, 0.5], [(0, 100.0, 0.1)], **changes)


def test_a_withdrawal_beyond_reach_is_refused_by_name():
    """A withdrawal that the locks do not let the account raise is refused before anything is solved."""
    problem = random_problem(49, names=20)
    with pytest.raises(InfeasibleProblemError, match="cash after trading must be at least"):
        rebalance(changed(problem, can_sell=np.zeros(20, dtype=bool), cash_flow=-0.5))
