"""Random histories of a Canadian household: a taxpayer with two accounts or two spouses, a registered plan, twins."""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

from hypothesis import event, given
from hypothesis import strategies as st

from prometheus.domain.accounts import AccountKind, TaxRegime
from prometheus.ledger.checkpoints import from_bytes, to_bytes
from prometheus.ledger.events import CoverShort, ShortSale, Split, SymbolChange
from prometheus.ledger.facts import effective_events
from prometheus.ledger.fold import advance, fold
from prometheus.ledger.keys import EVERY_ACCOUNT
from prometheus.ledger.postings import DISALLOWANCES, DISPOSITIONS, PostingKind
from prometheus.ledger.state import EMPTY
from prometheus.ledger.terms import AccountTerms, Terms
from tests.property import test_ledger_differential as differential
from tests.property.ledger_histories import histories, ties
from tests.property.test_ledger_differential import by_day
from tests.unit.ledger.told import sums_of, sums_of_state

ZERO = Decimal(0)


@st.composite
def canadian_terms(draw):
    """Draw the terms of a Canadian household: one taxpayer or two spouses, and a plan; one account has whole shares."""
    spouse = draw(st.sampled_from(["me", "spouse"]))
    return Terms(
        regime=TaxRegime.CA,
        accounts={
            "A": AccountTerms(taxpayer="me"),
            "B": AccountTerms(taxpayer=spouse, is_fractional=False),
            "IRA": AccountTerms(taxpayer="me", kind=AccountKind.SHELTERED),
        },
        groups={"XX": "TWINS", "XY": "TWINS"},
        ties=draw(ties),
    )


def final_losses(postings):
    """Return by event and lot of a loss what is denied of it by its last row, where it has one."""
    return {(row.loss.event, row.loss.lot): row.loss.amount for row in postings if row.kind is PostingKind.LOSS_FINAL}


@given(histories(shorts=True), canadian_terms())
def test_postings_add_up_to_the_state(events, terms):
    """The sums of the postings by lot and account are the lots and the cash of the state, in cents."""
    state, postings, _ = fold(events, terms)
    assert sums_of(postings) == sums_of_state(state)
    assert all(row.adjusted_basis == row.adjusted_basis.quantize(Decimal("0.01")) for row in postings)


@given(histories(shorts=True), canadian_terms())
def test_a_denied_loss_is_moved_or_gone_for_good(events, terms):
    """Denied amounts are carried by pools or gone for good; none is made, and no loss is denied more than it is."""
    _, postings, _ = fold(events, terms)
    denied, gains = defaultdict(lambda: ZERO), defaultdict(lambda: ZERO)
    for row in postings:
        if row.kind in DISALLOWANCES:
            denied[row.loss.event, row.loss.lot] += row.realized_gain
        elif row.kind in DISPOSITIONS:
            gains[row.event, row.lot] += row.realized_gain
    carried = sum((row.adjusted_basis for row in postings if row.kind is PostingKind.CARRIED_LOSS), ZERO)
    for_good = sum((row.loss.amount for row in postings if row.loss and row.loss.is_permanent), ZERO)
    assert sum(denied.values(), ZERO) == carried + for_good
    assert for_good >= 0
    assert all(amount >= 0 for amount in denied.values())
    assert sum((row.adjusted_basis for row in postings if row.kind is PostingKind.POOL), ZERO) == 0
    event("for good" if for_good else "carried" if carried else "nothing denied")


@given(histories(shorts=True), canadian_terms())
def test_a_share_costs_the_same_in_every_account(events, terms):
    """The parts of a pool differ from the average cost by less than a cent, and each position is one lot."""
    state, _, _ = fold(events, terms)
    pools = defaultdict(list)
    for lot in state.lots.values():
        if not terms.is_sheltered(lot.key.account):
            pools[terms.taxpayer_of(lot.key.account), lot.ticker].append(lot)
    assert all(lot.quantity > 0 for lot in state.lots.values())
    for lots in pools.values():
        shares = sum(lot.quantity for lot in lots)
        cost = sum(lot.adjusted_basis for lot in lots)
        assert all(abs(lot.adjusted_basis - cost * lot.quantity / shares) <= Decimal("0.01") for lot in lots)
        assert len({lot.key.account for lot in lots}) == len(lots)


@given(histories(shorts=True), canadian_terms())
def test_day_by_day_is_at_once(events, terms):
    """Advancing day by day, through bytes each evening, ends in the state and postings of one fold."""
    at_once = fold(events, terms)
    state, postings, findings = EMPTY, [], list(effective_events(events)[1])
    for of_day in by_day(events).values():
        state, rows, remarks = advance(from_bytes(to_bytes(state)), of_day, terms)
        postings += rows
        findings += remarks
    assert to_bytes(state) == to_bytes(at_once.state)
    assert state == at_once.state
    assert tuple(postings) == at_once.postings
    assert set(findings) == set(at_once.findings)


@given(histories(shorts=True), canadian_terms())
def test_a_file_tells_the_same(events, terms):
    """Written in the own format and read again, a history has the same events and the same books."""
    differential.test_a_file_tells_the_same.hypothesis.inner_test(events, terms)


@given(histories(shorts=True), canadian_terms())
def test_short_positions_are_outside_the_pools(events, terms):
    """Without short sales and covers every other posting is the same, and nothing is denied of what a cover loses.

    But for three things: a dividend of the market is charged to whoever is short; a day with nothing but a cover is a
    day, which tells that a window has closed; and what an evening changes has the day's last event as its cause, which
    can be a cover. Splits and symbols that an account
    tells are left out: an account that owes shares and holds none can tell them to the others.
    """
    kinds = {PostingKind.SHORT_SALE, PostingKind.COVER_SHORT}
    counting = [
        each
        for each in effective_events(events)[0]
        if each.account == EVERY_ACCOUNT or not isinstance(each, Split | SymbolChange)
    ]
    _, postings, _ = fold(counting, terms)
    others = [each for each in counting if not isinstance(each, ShortSale | CoverShort)]
    without = fold(others, terms).postings
    covered = {row.event for row in postings if row.kind is PostingKind.COVER_SHORT}
    assert not any(row.loss and row.loss.event in covered for row in postings)
    owed = {row.lot for row in postings if row.kind in kinds}

    def compared(rows):
        left_out = (PostingKind.LOSS_FINAL, PostingKind.PAYMENT_IN_LIEU)
        return [replace(row, event=None) for row in rows if row.kind not in left_out]

    assert compared(row for row in postings if row.lot not in owed) == compared(without)
    event(f"covered: {min(len(covered), 2)}")


@given(histories(shorts=True), canadian_terms(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(events, terms, random):
    """Events in any order, some of them twice, give the same state, postings and findings."""
    mixed = [*events, *events[:3]]
    random.shuffle(mixed)
    assert fold(mixed, terms) == fold(events, terms)


@given(histories(corrections=False, shorts=True), canadian_terms())
def test_a_settled_loss_never_changes(events, terms):
    """After its LOSS_FINAL row nothing more is denied of a loss, and the row tells what is."""
    _, postings, _ = fold(events, terms)
    denied = defaultdict(lambda: ZERO)
    settled = {}
    for row in postings:
        if row.kind is PostingKind.LOSS_FINAL:
            assert row.loss.amount == denied[row.loss.event, row.loss.lot]
            settled[row.loss.event, row.loss.lot] = row.day
        elif row.kind in DISALLOWANCES:
            assert (row.loss.event, row.loss.lot) not in settled
            denied[row.loss.event, row.loss.lot] += row.realized_gain
    event(f"settled: {min(len(settled), 4)}")


@given(histories(most=8, shorts=True), canadian_terms(), st.randoms(use_true_random=False))
def test_late_events_end_in_the_same_books(events, terms, random):
    """Every event arrives late, in random order, and is booked by a refold: the books are those of one fold."""
    differential.test_late_events_end_in_the_same_books.hypothesis.inner_test(events, terms, random)
