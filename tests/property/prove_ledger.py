"""The differential test of the ledger over many random histories, in slices that can be run one after the other.

    python -m tests.property.prove_ledger [--histories 20000] [--first 0]

Every history is told in every way: at once, day by day through stored bytes, in another order and twice, in a file, and
with every event arriving late once. Half of them are booked under US terms and half under Canadian ones, and half of
each have many short sales. A slice has 500 histories and a seed of its own, so ``--first 7`` goes on with slice 7. The
command says how many ran.
"""

import argparse
import sys
import time
from collections import Counter

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from prometheus.ledger.fold import fold
from tests.property import test_ledger_canada as canada
from tests.property import test_ledger_differential as us
from tests.property.ledger_histories import histories, us_terms

SLICE = 500
WAYS = (
    us.test_postings_add_up_to_the_state,
    us.test_day_by_day_is_at_once,
    us.test_a_file_tells_the_same,
    us.test_refused_events_leave_no_trace,
)
SHUFFLED = (us.test_the_order_of_arrival_does_not_matter, us.test_late_events_end_in_the_same_books)


def check(events, terms, random):
    """Tell one history in every way."""
    for way in WAYS:
        way.hypothesis.inner_test(events, terms)
    for way in SHUFFLED:
        way.hypothesis.inner_test(events, terms, random)


def run_slice(number, size, ran):
    """Check the histories of a slice; ``ran`` counts them, their events by kind, and what became of them."""

    @seed(number)
    @settings(
        max_examples=size,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        histories(shorts=number % 4 > 1),
        us_terms() if number % 2 == 0 else canada.canadian_terms(),
        st.randoms(use_true_random=False),
    )
    def told_in_every_way(events, terms, random):
        check(events, terms, random)
        folded = fold(events, terms)
        ran["histories"] += 1
        ran[f"under {terms.regime} terms"] += 1
        ran["events"] += len(events)
        ran["with a disallowed loss"] += any(row.kind in us.DISALLOWANCES for row in folded.postings)
        ran["with a short position"] += any(row.kind is us.PostingKind.SHORT_SALE for row in folded.postings)
        ran["with a refused event"] += any(finding.refused for finding in folded.findings)
        ran.update({f"kind {type(each).__name__}": 1 for each in events})

    told_in_every_way()


def main():
    """Run the slices and say what ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="first slice")
    chosen = parser.parse_args()
    ran: Counter[str] = Counter()
    number = chosen.first
    while ran["histories"] < chosen.histories:
        begun = time.process_time()
        run_slice(number, min(SLICE, chosen.histories - ran["histories"]), ran)
        say(f"slice {number}: {ran['histories']:,} histories so far, {time.process_time() - begun:.0f} s")
        number += 1
    say(", ".join(f"{count:,} {what}" for what, count in sorted(ran.items()) if not what.startswith("kind ")))
    kinds = sorted((what.removeprefix("kind "), count) for what, count in ran.items() if what.startswith("kind "))
    say("in how many each kind of event is: " + ", ".join(f"{kind} {count:,}" for kind, count in kinds))


def say(line):
    """Write a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
