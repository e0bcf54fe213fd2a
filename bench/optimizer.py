"""How long both stages with their certificate take, by back-end and against the same stages through CVXPY.

    python bench/optimizer.py [--quick] [--csv optimizer.csv] [--plot optimizer.png] [--seconds 900]

Every row of the table comes from the same run on the same accounts; every time is the median of the repetitions on one
account, then of the accounts. For CLARABEL and STRUCTURED:

- two stages: everything from the problem to certified trades before rounding, one search, no branching,
- whole (--whole): ``rebalance``, with branching where the first search leaves a gap, rounding, lots, second certificate
  and verification.

CVXPY is charged for stating and solving its two programs only; what it spends on compiling is also shown. The ratio is
the CVXPY time over the two stages' time. The rows "limits" have sector, factor, turnover and tracking-error limits, all
binding, for every solver. SCIP solves small accounts exactly, skfolio the tax-free special case, where they are
installed (the bench dependency group).
"""

import argparse
import csv
import importlib.util
import statistics
import time
from pathlib import Path

import numpy as np
from optimizer_accounts import account, limited, tax_free
from optimizer_peers import cvxpy_two_stages

from prometheus.optimizer import rebalance
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.certificate import Lagrangian
from prometheus.optimizer.problem.active_risk import factor_risk
from prometheus.optimizer.problem.asset_functions import separable_cost
from prometheus.optimizer.problem.lot_order import lot_order
from prometheus.optimizer.problem.trade_range import trade_range
from prometheus.optimizer.search.branching import search
from prometheus.optimizer.search.two_stage import TwoStageSearch

SIZES = (100, 500, 1000, 3000)
QUICK = ((500, 6, 4, ""), (500, 6, 4, "limits"), (3000, 6, 4, ""), (500, 50, 10, ""))
COLUMNS = (
    "names",
    "factors",
    "lots_a_name",
    "kind",
    "solver",
    "seconds",
    "seconds_without_compiling",
    "seconds_whole",
    "ratio_to_cvxpy",
    "ratio_to_cvxpy_without_compiling",
    "gap_bps",
    "gap_bps_whole",
    "rounded_gap_bps",
    "accounts",
)


def main():
    """Parse, time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="four shapes, three accounts each")
    parser.add_argument("--whole", action="store_true", help="time rebalance as well")
    parser.add_argument("--accounts", type=int, default=0, help="accounts a shape (default 5, quick 3)")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of everything on every account")
    parser.add_argument("--csv", type=Path, default=Path("optimizer.csv"))
    parser.add_argument("--plot", type=Path, default=Path("optimizer.png"))
    parser.add_argument("--seconds", type=float, default=900.0, help="no further account is begun after this long")
    parser.add_argument("--dense-up-to", type=int, default=100, help="largest N of the dense covariance")
    options = parser.parse_args()
    deadline = time.perf_counter() + options.seconds
    _warm_up()
    _mixed_integer(options)
    _mean_risk(options)
    every = [(n, k, lots, "") for n in SIZES for k in (6, 50) for lots in (4, 10)]
    shapes = QUICK if options.quick else [*every, *((n, 6, 4, "limits") for n in SIZES)]
    options.accounts = options.accounts or (3 if options.quick else 5)
    rows = []
    print(
        f"{'N':>5} {'K':>3} {'lots':>4} {'':<7} {'solver':<12} {'two stages':>11} {'no compile':>11} {'whole':>11} "
        f"{'ratio':>7} gap bps"
    )
    for shape in shapes:
        of_shape = _shape(shape, deadline, options)
        for row in of_shape:
            print(_line(row), flush=True)
        rows += of_shape
        if time.perf_counter() > deadline:
            print(f"stopped after {options.seconds:.0f} s; larger shapes are left out")
            break
    with options.csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(f"written: {options.csv}")
    _plot(rows, options.plot)


def _mixed_integer(options):
    """Compare with SCIP on accounts small enough for it."""
    if importlib.util.find_spec("pyscipopt") is None:
        print("pyscipopt is not installed: no comparison with a mixed-integer solver")
        return
    from optimizer_scip import solve_by_scip  # noqa: PLC0415 - of the bench group

    print("SCIP on the true problem: objectives in bps of NAV")
    for names in (10, 20) if options.quick else (10, 20, 30, 40):
        problem = account(100 + names, names, 3, 3)
        whole = _lagrangian(problem)
        theirs = solve_by_scip(problem, 60.0)
        ours = search(whole, backend_named("STRUCTURED"), problem.tolerance)
        print(
            f"  N {names}: SCIP {1e4 * theirs.objective:.4f} (bound {1e4 * theirs.bound:.4f}) in "
            f"{theirs.seconds:.1f} s; "
            f"STRUCTURED {1e4 * ours.objective:.4f} (bound {1e4 * ours.lower_bound():.4f})"
        )


def _mean_risk(options):
    if importlib.util.find_spec("skfolio") is None:
        print("skfolio is not installed: the tax-free special case is left out")
        return
    import optimizer_skfolio  # noqa: PLC0415 - an extra

    print("the tax-free special case, two stages against skfolio's mean-risk problem with a dense covariance:")
    for names in (100, 500):
        times = {"STRUCTURED": [], "CLARABEL": [], "skfolio": []}
        excess = 0.0
        for seed in range(2 if options.quick else 5):
            problem = tax_free(account(300 + seed, names, 6, 4))
            answers = {}
            for solver in ("STRUCTURED", "CLARABEL"):
                seconds, answers[solver] = _repeated(lambda s=solver, p=problem: _two_stages(p, s), options.repeat)
                times[solver].append(seconds)
            seconds, (weights, _) = _repeated(lambda p=problem: optimizer_skfolio.tax_free(p), options.repeat)
            times["skfolio"].append(seconds)
            lagrangian, answer = _lagrangian(problem), answers["STRUCTURED"]
            theirs = lagrangian.objective(np.asarray(weights) - problem.holdings())
            excess = max(excess, abs(theirs - answer.objective))
        medians = {solver: statistics.median(values) for solver, values in times.items()}
        ratios = ", ".join(f"{s} {1e3 * medians[s]:.1f} ms ({medians['skfolio'] / medians[s]:.1f}x)" for s in medians)
        print(f"  N {names}: {ratios}; objectives differ by at most {1e4 * excess:.5f} bps")


def _warm_up():
    problem = account(0, 30, 3, 2)
    for name in ("CLARABEL", "STRUCTURED"):
        rebalance(problem, backend=name)
    cvxpy_two_stages(_lagrangian(problem))


def _lagrangian(problem):
    risk, order = factor_risk(problem), lot_order(problem)
    cost = separable_cost(problem, order)
    return Lagrangian.of_problem(problem, risk, cost, trade_range(problem, order))


def _two_stages(problem, solver):
    return TwoStageSearch(_lagrangian(problem), backend_named(solver), problem.tolerance).run()


def _repeated(run, times):
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        answer = run()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), answer


def _shape(shape, deadline, options):
    *size, kind = shape
    samples = {}
    for seed in range(options.accounts):
        if seed and time.perf_counter() > deadline:
            break
        problem = account(100 + seed, *size)
        if kind:
            problem = limited(problem, lambda p: _two_stages(p, "STRUCTURED").trades, seed)
        for name in ("CLARABEL", "STRUCTURED"):
            samples.setdefault(name, []).append(_ours(problem, name, options))
        whole = _lagrangian(problem)
        peers = {"CVXPY": False}
        if size[0] <= options.dense_up_to:
            peers["CVXPY dense"] = True
        for name, dense in peers.items():
            answers = [cvxpy_two_stages(whole, dense=dense) for _ in range(options.repeat)]
            seconds = statistics.median(answer.seconds for answer in answers)
            without = statistics.median(answer.seconds - answer.compile_seconds for answer in answers)
            samples.setdefault(name, []).append((seconds, without, None, answers[0].gap_bps, None, None))
    reference = samples["CVXPY"]
    rows = []
    for name, measured in samples.items():
        seconds, without, whole, gap, gap_whole, rounded = (_median(column) for column in zip(*measured, strict=True))
        ratios = [theirs[0] / ours[0] for theirs, ours in zip(reference, measured, strict=True)]
        fewer = [theirs[1] / ours[1] for theirs, ours in zip(reference, measured, strict=True)]
        values = (
            seconds, without, whole, statistics.median(ratios), statistics.median(fewer), gap, gap_whole, rounded,
            len(measured),
        )  # fmt: skip
        rows.append(dict(zip(COLUMNS, (*shape, name, *values), strict=True)))
    return rows


def _ours(problem, name, options):
    seconds, answer = _repeated(lambda: _two_stages(problem, name), options.repeat)
    gap = 1e4 * (answer.objective - answer.lower_bound)
    if answer.solution.fallback:
        print(f"  {name} handed over: {answer.solution.fallback}")
    if not options.whole:
        return seconds, seconds, None, gap, None, None
    whole, result = _repeated(lambda: rebalance(problem, backend=name), 1)
    return seconds, seconds, whole, gap, result.certificate.gap_bps, result.certificate.rounded_gap_bps


def _median(values):
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _line(row):
    def ms(value):
        return f"{'':>11}" if value is None else f"{1e3 * value:8.1f} ms"

    text = f"{row['names']:>5} {row['factors']:>3} {row['lots_a_name']:>4} {row['kind']:<7} {row['solver']:<12} "
    text += f"{ms(row['seconds'])} {ms(row['seconds_without_compiling'])} {ms(row['seconds_whole'])} "
    text += f"{row['ratio_to_cvxpy']:>6.1f}x {row['gap_bps']:.4f}"
    if row["gap_bps_whole"] is not None:
        text += f", whole {row['gap_bps_whole']:.4f}, rounded {row['rounded_gap_bps']:.4f}"
    return text


def _plot(rows, path):
    if importlib.util.find_spec("matplotlib") is None:
        print("matplotlib is not installed: no plot")
        return
    from matplotlib import pyplot as plt  # noqa: PLC0415 - of the bench group

    figure, axes = plt.subplots(figsize=(8, 5))
    for solver in dict.fromkeys(row["solver"] for row in rows):
        for factors, lots, kind in ((6, 4, ""), (6, 4, "limits"), (50, 10, "")):
            key = (solver, factors, lots, kind)
            mine = [r for r in rows if (r["solver"], r["factors"], r["lots_a_name"], r["kind"]) == key]
            label = f"{solver}, {factors} factors, {lots} lots{', ' + kind if kind else ''}"
            axes.loglog([r["names"] for r in mine], [1e3 * r["seconds"] for r in mine], "o-", label=label)
    axes.set_xlabel("names")
    axes.set_ylabel("both stages with certificate, ms (median)")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=150)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
