"""Random Canadian histories of one taxpayer, booked by the fold and by the household ledger: the same cents."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import event, given
from hypothesis import strategies as st

from prometheus.accounting.entry_file import read_entries
from prometheus.accounting.household import book_entries
from prometheus.accounting.household_ledger import HouseholdSettings
from prometheus.accounting.lot_report import sale_lines_of
from prometheus.domain.accounts import TaxRegime
from prometheus.ledger.fold import fold
from prometheus.ledger.postings import DISALLOWANCES, DISPOSITIONS
from prometheus.ledger.terms import Terms
from tests.unit.accounting.told import HEADER
from tests.unit.ledger.told import events_of

ACCOUNTS = ("A", "B")
GAPS = (0, 1, 1, 3, 5, 7, 9, 20, 40)


@st.composite
def histories(draw):
    """Draw rows that can all be booked: purchases and sales in two accounts, splits that both list."""
    rows, day, held = [], date(2020, 1, 2), defaultdict(int)
    for _ in range(draw(st.integers(3, 20))):
        day += timedelta(days=draw(st.sampled_from(GAPS)))
        account, ticker = draw(st.sampled_from(ACCOUNTS)), draw(st.sampled_from(("X", "X", "Y")))
        choice = draw(st.integers(0, 9))
        if choice == 0 and held["A", ticker] + held["B", ticker] and not rows[-1].startswith(str(day)):
            for each in ACCOUNTS:
                if held[each, ticker]:
                    rows.append(f"{day},{each},{ticker},SPLIT,2,")
                    held[each, ticker] *= 2
            day += timedelta(days=1)
            continue
        is_sale = choice > 5 and held[account, ticker]
        shares = draw(st.integers(1, held[account, ticker] if is_sale else 20))
        amount = Decimal(draw(st.integers(1, 3000 * shares))) / 100
        rows.append(f"{day},{account},{ticker},{'SELL' if is_sale else 'BUY'},{shares},{amount}")
        held[account, ticker] += -shares if is_sale else shares
    # The household ledger looks at the last day for a window that is open; so every window is closed.
    return "\n".join([*rows, f"{day + timedelta(days=100)},A,LATER,BUY,1,1"])


@given(histories())
def test_the_fold_agrees_with_the_household_ledger(text):
    """Gains, denied losses and pools are the same to the cent, sales inside windows included."""
    read = read_entries(HEADER + text + "\n")
    old = book_entries(read.entries, HouseholdSettings(regime=TaxRegime.CA))
    new = fold(events_of(text), Terms(regime=TaxRegime.CA))
    assert (read.findings, old.findings, new.findings) == ((), (), ())
    gains, denied = defaultdict(Decimal), defaultdict(Decimal)
    for row in new.postings:
        if row.kind in DISPOSITIONS:
            gains[row.event] += row.realized_gain
        elif row.kind in DISALLOWANCES:
            denied[row.loss.event] += row.realized_gain
    assert sorted((gain, denied[key]) for key, gain in gains.items()) == sorted(
        (line.realized_gain, line.disallowed_loss) for line in sale_lines_of(old)
    )
    pools = new.state.pools({"A": "", "B": ""})
    assert {ticker: pool for (_, ticker), pool in pools.items()} == {
        lot.ticker: (lot.quantity, lot.adjusted_basis) for lot in old.lots.get("owner", ())
    }
    event("denied" if any(denied.values()) else "nothing denied")
