"""What a fixed cost of an order costs the optimizer in time, and what it does to orders and gaps.

    python bench/optimizer_order_cost.py [--accounts 20] [--names 500] [--factors 6] [--lots 4] [--links 0]

Every account is answered with and without the cost (the larger of 1 and 0.1 bp of NAV) in turn, by every back-end, in
one run. Times are the thread's CPU time of ``rebalance``, everything from the problem to certified whole shares;
the least of the repetitions on one account. The ratio of the sums is what may be compared between machines; that of
the medians says what a typical account pays, for a few branch. Ends with 1 where a ratio of sums exceeds 1.5 or a gap
5 bps.
"""

import argparse
import sys
import time
from dataclasses import replace
from statistics import median

import numpy as np
from optimizer_accounts import account, linked

from prometheus.optimizer import rebalance

NAVS = (1e5, 1e6, 1e7)
MOST_RATIO, MOST_GAP = 1.5, 5.0


def timed(problem, backend, repetitions):
    """Return the least CPU seconds of some calls, and the answer."""
    seconds = []
    for _ in range(repetitions):
        began = time.thread_time()
        result = rebalance(problem, backend=backend)
        seconds.append(time.thread_time() - began)
    return min(seconds), result


def main(arguments):
    """Time, print; return 1 where a limit is exceeded."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--accounts", type=int, default=20)
    asked.add_argument("--names", type=int, default=500)
    asked.add_argument("--factors", type=int, default=6)
    asked.add_argument("--lots", type=int, default=4)
    asked.add_argument("--links", type=int, default=0, help="blocks of linked specific returns")
    asked.add_argument("--repetitions", type=int, default=3)
    shape = asked.parse_args(arguments)
    print(
        f"{shape.accounts} accounts of {shape.names} assets, {shape.factors} factors, {shape.lots} lots an asset, "
        f"{shape.links} blocks of links"
    )
    print("solver            NAV   ms without, with  ratio: sums, medians   orders        gap before, after (greatest)")
    holds = True
    for backend in ("CLARABEL", "STRUCTURED"):
        for nav in NAVS:
            free, charged = [], []
            for seed in range(shape.accounts):
                problem = account(seed, shape.names, shape.factors, shape.lots, nav)
                if shape.links:
                    problem = linked(problem, shape.links, seed)
                order_cost = max(1 / nav, 1e-5)
                free.append(timed(problem, backend, shape.repetitions))
                charged.append(timed(replace(problem, order_cost=order_cost), backend, shape.repetitions))
            before, after = ([seconds for seconds, _ in measured] for measured in (free, charged))
            ratio = sum(after) / sum(before)
            gaps = [result.certificate.gap_bps for _, result in charged]
            rounded = [result.certificate.rounded_gap_bps for _, result in charged]
            orders = [median(np.count_nonzero(r.shares) for _, r in measured) for measured in (free, charged)]
            holds &= ratio <= MOST_RATIO and max(*gaps, *rounded) <= MOST_GAP
            print(
                f"{backend:<10} {nav:>12,.0f}   {1e3 * median(before):6.1f} {1e3 * median(after):6.1f}       "
                f"{ratio:5.2f}  {median(after) / median(before):5.2f}         {orders[0]:5.0f} {orders[1]:5.0f}   "
                f"{median(gaps):7.4f} ({max(gaps):.4f})  {median(rounded):7.4f} ({max(rounded):.4f})",
                flush=True,
            )
    print("holds" if holds else "does not hold")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
