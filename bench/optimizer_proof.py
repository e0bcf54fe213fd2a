"""The optimizer compared with others that share none of its code; a claim that fails ends with exit code 1.

python bench/optimizer_proof.py [scip] [sides] [orders] [agreement] [gaps] [bits]      (all where none is named)

- scip: 50 problems of 10 to 40 assets against SCIP with a proven optimum.
- sides: 200 problems of 7 assets against every pattern of sides.
- orders: with a cost of an order of 0.1 bps to 10 bps, 200 problems of 4 assets against every combination of no trade,
  sides and lots, and 50 of 10 to 30 assets against SCIP.
- agreement: 100 problems with limits of every kind, sides fixed: the back-ends against each other and the reference.
- gaps: certified gaps of 40 accounts of 500 assets; 6 and 50 factors, 4 and 10 lots, whole shares at three sizes.
- bits: one problem twenty times, in two processes, with other threads busy.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable
from statistics import median

import numpy as np
from optimizer_accounts import account
from rich.console import Console
from rich.progress import track

from prometheus.foundation.errors import InfeasibleProblemError, OptimizerError
from prometheus.optimizer import rebalance
from tests.unit.optimizer.agreement import answers, solvable_problems, with_order_cost
from tests.unit.optimizer.bits import busy_threads, digests, digests_in_a_process
from tests.unit.optimizer.brute_force import best_objective
from tests.unit.optimizer.problems import changed, random_problem, tiny_problem
from tests.unit.optimizer.side_patterns import best_over_sides

_BPS = 1e4
#: Differences of objectives below this are noise of the other solver (0.0001 bps).
_NOISE = 1e-8
_SCIP_SECONDS = 120.0
_ERRORS = Console(stderr=True)


def progress(seeds, what):
    """Count on standard error."""
    return track(seeds, description=what, console=_ERRORS, disable=not sys.stderr.isatty())


def small_problem(seed, names, factors):
    """Return a problem with losses, two rates, locks and groups, in fractions, so that nothing is lost in rounding."""
    random = np.random.default_rng(seed + 10**6)
    problem = random_problem(
        seed,
        names=names,
        factors=factors,
        group_share=0.3,
        lock_share=0.1,
        fractional=True,
        min_trade=0.0,
        cash_range=(0.002, 0.02) if seed % 4 else (0.01, 0.0101),
        tilt=random.normal(0, 0.001, names) if seed % 5 == 0 else np.zeros(names),
    )
    slack = random.uniform(0.1, 1.0, names)
    return changed(problem, lower=np.zeros(names), upper=problem.holdings() + slack)


def prove_scip() -> bool:
    """Compare with SCIP's proven optimum."""
    from optimizer_scip import solve_by_scip  # noqa: PLC0415 - of the bench group

    proven = near = below = 0
    worst, worst_bound, seconds = 0.0, -np.inf, []
    for seed in progress(range(50), "SCIP"):
        problem = small_problem(2000 + seed, 10 + (30 * seed) // 49, 2 + seed % 4)
        theirs = solve_by_scip(problem, _SCIP_SECONDS)
        seconds.append(theirs.seconds)
        certificate = rebalance(problem).certificate
        # the least that anybody found bounds the optimum from above
        optimum = min(theirs.objective, certificate.objective)
        below += certificate.lower_bound <= optimum + 1e-7
        proven += theirs.proven
        # nothing is better than SCIP's own bound, whether or not it was done
        away = _BPS * (certificate.objective - theirs.bound)
        worst = max(worst, away)
        near += away <= 0.05
        worst_bound = max(worst_bound, certificate.lower_bound - theirs.objective)
    print(f"scip: {proven} of 50 proven to 0.01 bps in at most {max(seconds):.1f} s (median {median(seconds):.1f} s)")
    print(
        f"  objective within 0.05 bps of SCIP's lower bound, hence of the optimum: {near} of 50, worst {worst:.5f} bps"
    )
    print(f"  lower bound not above the optimum (1e-7): {below} of 50, largest excess {worst_bound:.2e}")
    return near >= 48 and below == 50


def prove_sides() -> bool:
    """Compare with every pattern of sides."""
    valid = best = solved = refused = 0
    worst = 0.0
    for seed in progress(range(200), "sides"):
        problem = small_problem(seed, 7, 1 + seed % 3)
        optimum = best_over_sides(problem)
        try:
            certificate = rebalance(problem).certificate
        except InfeasibleProblemError:
            refused += not np.isfinite(optimum)
            continue
        solved += 1
        valid += certificate.lower_bound <= optimum + _NOISE
        worst = max(worst, certificate.objective - optimum)
        best += certificate.objective <= optimum + _NOISE and certificate.rounded_objective >= optimum - _NOISE
    print(f"sides: 200 problems of 7 assets, {solved} solved, {refused} without an answer and refused")
    print(
        f"  lower bound valid: {valid} of {solved}; objective the best: {best}, worst {_BPS * worst:.6f} bps above it"
    )
    return valid == solved and solved + refused == 200 and best + refused >= 196


def prove_orders() -> bool:
    """Compare answers with a cost of an order with enumeration and with SCIP."""
    enumerated = _orders_by_enumeration()
    return _orders_by_scip() and enumerated


def _orders_by_enumeration() -> bool:
    solved, valid, best, worst, excess = Counter(), Counter(), Counter(), Counter(), -np.inf
    for seed in progress(range(200), "orders, enumeration"):
        problem = with_order_cost(tiny_problem(seed), seed)
        optimum = best_objective(problem)
        for backend in ("CLARABEL", "STRUCTURED"):
            try:
                certificate = rebalance(problem, backend=backend).certificate
            except InfeasibleProblemError:
                solved[backend] += not np.isfinite(optimum)
                continue
            solved[backend] += 1
            excess = max(excess, certificate.lower_bound - optimum)
            valid[backend] += certificate.lower_bound <= optimum + _NOISE
            best[backend] += abs(certificate.objective - optimum) <= 1e-7
            worst[backend] = max(worst[backend], certificate.objective - optimum)
    for backend in solved:
        print(
            f"orders: 200 problems of 4 assets by enumeration, {backend}: bound valid {valid[backend]} (largest excess "
            f"{excess:.1e}), objective the best {best[backend]}, worst {_BPS * worst[backend]:.4f} bps above it"
        )
    return all(valid[one] == 200 and best[one] >= 196 for one in solved)


def _orders_by_scip() -> bool:
    from optimizer_scip import solve_by_scip  # noqa: PLC0415 - of the bench group

    proven = near = below = 0
    away = 0.0
    for seed in progress(range(50), "orders, SCIP"):
        problem = with_order_cost(small_problem(2000 + seed, 10 + (20 * seed) // 49, 2 + seed % 4), seed)
        theirs = solve_by_scip(problem, _SCIP_SECONDS)
        certificate = rebalance(problem).certificate
        proven += theirs.proven
        below += certificate.lower_bound <= min(theirs.objective, certificate.objective) + 1e-7
        if theirs.proven:
            # a gap below one order, and below 0.1 bps, ends the search
            near += certificate.objective - theirs.bound <= 0.15 / _BPS
            away = max(away, certificate.objective - theirs.bound)
    print(f"orders: 50 problems by SCIP, {proven} proven to 0.01 bps; our bound not above the optimum: {below}")
    print(f"  objective within 0.15 bps of SCIP's bound where that is proven: {near}, worst {_BPS * away:.4f} bps")
    return below == 50 and near == proven >= 40


def prove_agreement() -> bool:
    """Compare the back-ends with the independent reference on fixed sides, and with each other on free ones."""
    asked, agreed, worst = Counter(), Counter(), {"objective": 0.0, "weights": 0.0}
    within = 0
    for _, problem in progress(solvable_problems(100), "agreement"):
        (_, objective, trades), *others = answers(problem)
        for name, theirs, moved in others:
            relative, away = abs(theirs - objective) / abs(objective), float(np.abs(moved - trades).max())
            worst = {"objective": max(worst["objective"], relative), "weights": max(worst["weights"], away)}
            asked[name] += 1
            agreed[name] += relative <= 1e-7 and away <= 1e-6
        free = [rebalance(problem, backend=name).certificate for name in ("CLARABEL", "STRUCTURED", "CVXPY")]
        least, most = min(one.objective for one in free), max(one.objective for one in free)
        within += all(one.lower_bound <= least + _NOISE and most - one.lower_bound >= -_NOISE for one in free) and (
            most - least <= max(one.gap_bps for one in free) / _BPS + _NOISE
        )
    counts = ", ".join(f"{name} {agreed[name]} of {asked[name]}" for name in asked)
    print(f"agreement: sides fixed, against the reference (objective 1e-7 relative, weights 1e-6): {counts}")
    print(f"  worst: objective {worst['objective']:.2e} relative, weights {worst['weights']:.2e}")
    print(f"  sides free, all three within each other's certified gap: {within} of 100")
    return agreed == asked and asked["CLARABEL"] == asked["CVXPY"] == 100 and within == 100


def prove_gaps() -> bool:
    """Measure certified gaps of accounts of 500 assets."""
    print("gaps: medians (and greatest) over 40 accounts of 500 assets, STRUCTURED, bps of NAV")
    print("  factors  lots  NAV          before rounding      after whole shares   median seconds")
    holds = True
    for factors, lots, nav in ((6, 4, 1e5), (6, 4, 1e6), (6, 4, 1e7), (50, 4, 1e7), (6, 10, 1e7), (50, 10, 1e7)):
        before, after, seconds, refused = [], [], [], 0
        for seed in progress(range(40), f"gaps {factors}/{lots}/{nav:g}"):
            try:
                result = rebalance(account(seed, 500, factors, lots, nav), backend="STRUCTURED")
            except OptimizerError:
                refused += 1
                continue
            before.append(result.certificate.gap_bps)
            after.append(result.certificate.rounded_gap_bps)
            seconds.append(result.facts.total_seconds)
        print(
            f"  {factors:>7}  {lots:>4}  {nav:>10,.0f}   {median(before):8.5f} ({max(before):7.4f})   "
            f"{median(after):8.4f} ({max(after):7.4f})   {median(seconds):7.3f}"
            + (f"   {refused} refused" if refused else ""),
            flush=True,
        )
        holds &= factors != 6 or median(before) <= 0.01
    return holds


def prove_bits() -> bool:
    """Compare the bits of twenty answers of each kind here, in two processes and beside busy threads."""
    here = digests()
    with busy_threads():
        again = [digests() for _ in range(19)]
    elsewhere = [digests_in_a_process(threads) for threads in (1, 4)]
    holds = True
    for kind, digest in here.items():
        same = {kinds_of_bits[kind] for kinds_of_bits in (*again, *elsewhere)} == {digest}
        print(f"bits: {kind}, twenty times, in two processes, beside busy threads: {'equal' if same else 'DIFFERENT'}")
        holds &= same
    return holds


PROOFS: dict[str, Callable[[], bool]] = {
    "scip": prove_scip,
    "sides": prove_sides,
    "orders": prove_orders,
    "agreement": prove_agreement,
    "gaps": prove_gaps,
    "bits": prove_bits,
}


def main(names):
    """Run the named proofs; return 1 where one does not hold."""
    unknown = sorted(set(names) - set(PROOFS))
    if unknown:
        print(f"there is no proof {unknown[0]!r}; there are {', '.join(PROOFS)}.", file=sys.stderr)
        return 2
    failed = []
    for name in names or PROOFS:
        began = time.perf_counter()
        if not PROOFS[name]():
            failed.append(name)
        print(f"  {time.perf_counter() - began:.0f} s", flush=True)
    print(f"does not hold: {', '.join(failed)}" if failed else "all hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
