"""Random histories of households: several accounts, an IRA, groups, splits, spin-offs, transfers, both regimes."""

from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import event, given
from hypothesis import strategies as st

from prometheus.accounting.household import book_entries
from prometheus.accounting.household_ledger import HouseholdSettings, canonical_order
from prometheus.accounting.lot_report import sale_lines_of
from prometheus.accounting.pool_ledger import OWNER
from prometheus.accounting.replay import replay
from prometheus.accounting.tie_rules import (
    EqualLots,
    ReplacementOrder,
    SameDayLosses,
    SameDayTrades,
    Tacking,
    TieRules,
    WashScope,
)
from prometheus.domain.accounts import LotMethod, TaxRegime
from prometheus.domain.books import INCOME_TYPES, MOVEMENT_TYPES, Books, TransactionType
from prometheus.domain.entries import Entry, EntryAction
from prometheus.foundation.canonical import canonical_json

START = date(2019, 10, 1)
ACCOUNTS = ("A", "B", "IRA")
TICKERS = ("XX", "XY", "ZZ")
GROUP = {"XX": "TWINS", "XY": "TWINS", "ZZ": None, "CHILD": None, "NEW": None}
GAPS = (0, 0, 1, 2, 7, 15, 29, 30, 31)
IN = {EntryAction.OPEN, EntryAction.BUY, EntryAction.REINVEST, EntryAction.TRANSFER_IN}

money = st.integers(0, 200_000).map(lambda cents: Decimal(cents) / 100)
shares = st.integers(1, 60).map(Decimal)
ties = st.builds(
    TieRules,
    same_day_losses=st.sampled_from(SameDayLosses),
    replacement_order=st.sampled_from(ReplacementOrder),
    same_day_trades=st.sampled_from(SameDayTrades),
    tacking=st.sampled_from(Tacking),
    equal_lots=st.sampled_from(EqualLots),
    scope=st.sampled_from(WashScope),
    earlier_purchases_replace=st.booleans(),
    same_day_purchases_replace=st.booleans(),
)
us_settings = st.builds(
    HouseholdSettings,
    sheltered=st.just(frozenset({"IRA"})),
    method=st.sampled_from([LotMethod.FIFO, LotMethod.HIFO]),
    ties=ties,
)
ca_settings = st.builds(
    HouseholdSettings, regime=st.just(TaxRegime.CA), sheltered=st.just(frozenset({"IRA"})), ties=ties
)
any_settings = st.one_of(us_settings, ca_settings)


@st.composite
def histories(draw):
    """Draw entries, most of which can be booked; rows in order of drawing, days ascending."""
    day, entries = START, []
    for account in draw(st.sets(st.sampled_from(ACCOUNTS))):
        bought = START - timedelta(days=draw(st.sampled_from([0, 5, 30, 31, 400])))
        ticker, quantity, cost = draw(st.sampled_from(TICKERS)), draw(shares), draw(money)
        entries.append(entry(entries, START, account, EntryAction.OPEN, ticker, quantity, cost, acquired_on=bought))
    actions = [EntryAction.BUY] * 4 + [EntryAction.SELL] * 5 + list(EntryAction)
    for _ in range(draw(st.integers(1, 14))):
        day += timedelta(days=draw(st.sampled_from(GAPS)))
        account, ticker = draw(st.sampled_from(ACCOUNTS)), draw(st.sampled_from(TICKERS))
        match draw(st.sampled_from(actions)):
            case EntryAction.OPEN | EntryAction.TRANSFER_IN:
                bought = day - timedelta(days=draw(st.sampled_from([0, 10, 30, 300])))
                action = EntryAction.TRANSFER_IN
                entries.append(
                    entry(entries, day, account, action, ticker, draw(shares), draw(money), acquired_on=bought)
                )
            case EntryAction.SPLIT:
                ratio = Decimal(draw(st.sampled_from(["2", "3", "0.5", "0.333333"])))
                cash = draw(st.none() | money)
                # as a market does it: every account that holds the share
                entries += [
                    entry(entries, day, name, EntryAction.SPLIT, ticker, ratio, cash, number=i)
                    for i, name in enumerate(ACCOUNTS)
                ]
            case EntryAction.SPINOFF:
                more = {"other_ticker": "CHILD", "basis_fraction": Decimal(draw(st.sampled_from(["0.25", "0.1"])))}
                ratio = Decimal(draw(st.sampled_from(["0.5", "1"])))
                entries.append(entry(entries, day, account, EntryAction.SPINOFF, ticker, ratio, None, **more))
            case EntryAction.RENAME:
                entries += [
                    entry(entries, day, name, EntryAction.RENAME, "ZZ", None, None, number=i, other_ticker="NEW")
                    for i, name in enumerate(ACCOUNTS)
                ]
            case EntryAction.TRANSFER_OUT:
                other = draw(st.sampled_from([None, "A", "B"]))
                entries.append(
                    entry(
                        entries, day, account, EntryAction.TRANSFER_OUT, ticker, draw(shares), None, other_account=other
                    )
                )
            case EntryAction.REVERSE:
                target = draw(st.sampled_from(entries)) if entries else None
                if target is not None:
                    entries.append(
                        entry(
                            entries, day, target.account, EntryAction.REVERSE, "", None, None, reverses=str(target.row)
                        )
                    )
            case action:
                entries.append(entry(entries, day, account, action, ticker, draw(shares), draw(money)))
    return tuple(entries)


def entry(before, day, account, action, ticker, quantity, amount, *, number=0, **more: object):
    """Build an entry whose row follows those before."""
    return Entry(
        row=len(before) + number + 2,
        day=day,
        account=account,
        action=action,
        ticker=ticker,
        quantity=quantity,
        amount=amount,
        group=GROUP.get(ticker),
        entry_id=f"e{len(before) + number}",
        **more,
    )


def booked_entries(entries, books):
    """Return the entries that count: neither refused nor reversed, as an independent reading of the file."""
    refused = {finding.row for finding in books.findings}
    reversed_rows = {
        int(found.reverses) for found in entries if found.action is EntryAction.REVERSE and found.row not in refused
    }
    return [
        found
        for found in entries
        if found.row not in refused | reversed_rows and found.action is not EntryAction.REVERSE
    ]


def counted_shares(entries):
    """Count shares by account and ticker with nothing but the entries' own words."""
    held = defaultdict(Fraction)
    for found in sorted(entries, key=lambda e: (canonical_order(e)[:2], e.action is EntryAction.SELL)):
        key = (found.account, found.ticker)
        quantity = Fraction(found.quantity or 0)
        if found.action in IN:
            held[key] += quantity
        elif found.action in {EntryAction.SELL, EntryAction.TRANSFER_OUT}:
            held[key] -= quantity
            if found.other_account:
                held[found.other_account, found.ticker] += quantity
        elif found.action is EntryAction.DELIST:
            held[key] = Fraction(0)
        elif found.action is EntryAction.RENAME:
            # A security has one symbol a day: whichever account's row tells the new one, it is that of all.
            for account in {account for account, ticker in held if ticker == found.ticker}:
                held[account, found.other_ticker] += held.pop((account, found.ticker))
        elif found.action is EntryAction.SPINOFF:
            held[found.account, found.other_ticker] += held[key] * quantity
    return {key: quantity for key, quantity in held.items() if quantity}


@given(histories(), any_settings)
def test_shares_in_are_shares_out_and_held(entries, settings):
    """For every account and security what came in less what went out is what is held, splits apart."""
    entries = tuple(found for found in entries if found.action is not EntryAction.SPLIT)
    books = book_entries(entries, settings)
    counted = counted_shares(booked_entries(entries, books))
    assert {key: Fraction(quantity) for key, quantity in books.positions.items()} == counted
    event(f"refused: {min(len(books.findings), 5)}")


def test_a_new_symbol_that_one_account_reverses_is_told_by_the_others():
    """Shares are held under the new symbol as long as any account's row of it stands."""
    entries: list[Entry] = []
    for account in ("A", "IRA"):
        entries.append(
            entry(entries, START, account, EntryAction.OPEN, "ZZ", Decimal(1), Decimal(0), acquired_on=START)
        )
    later = START + timedelta(days=1)
    for account in ("A", "IRA"):
        entries.append(entry(entries, later, account, EntryAction.RENAME, "ZZ", None, None, other_ticker="NEW"))
    entries.append(entry(entries, later, "A", EntryAction.REVERSE, "", None, None, reverses="4"))
    books = book_entries(tuple(entries), HouseholdSettings())
    assert books.findings == ()
    assert books.positions == {("A", "NEW"): Decimal(1), ("IRA", "NEW"): Decimal(1)}
    assert counted_shares(booked_entries(entries, books)) == books.positions


@given(histories(), any_settings)
def test_basis_is_moved_and_never_lost(entries, settings):
    """Cost that came in is held, sold or gone with a transfer; carried losses are in lots, exactly once."""
    books = book_entries(entries, settings)
    standing = booked_entries(entries, books)
    cost_in = sum((found.amount for found in standing if found.action in IN and found.ticker), Decimal(0))
    rows = [row for journal in books.journals.values() for row in journal]
    sold = [row for row in rows if row.txn_type in {"SELL", "CASH_IN_LIEU", "DELISTING"}]
    # a transfer between accounts goes out of one and comes into the other
    moved = [row for row in rows if row.txn_type in {"TRANSFER_OUT", "TRANSFER_IN"}]
    from_outside = [found for found in standing if found.action is EntryAction.TRANSFER_IN]
    left = -sum(row.cost_basis for row in moved) + sum(found.amount for found in from_outside)
    held = [lot for lots in books.lots.values() for lot in lots]
    assert cost_in == sum(lot.cost_basis for lot in held) - sum(row.cost_basis for row in sold) + left
    lines = sale_lines_of(books)
    carried = sum((f.amount for line in lines for f in line.replacements if not f.permanent), Decimal(0))
    left_adjusted = -sum(row.basis for row in moved) + sum(found.amount for found in from_outside)
    adjusted = sum(lot.adjusted_basis for lot in held) - sum(row.basis for row in sold) + left_adjusted
    assert adjusted == cost_in + carried
    event("carried" if carried else "nothing carried")


@given(histories(), any_settings)
def test_no_loss_is_made_or_lost(entries, settings):
    """Only losses are disallowed, never more than they are; what is gone for good was bought in a sheltered account."""
    books = book_entries(entries, settings)
    for line in sale_lines_of(books):
        assert 0 <= line.disallowed_loss <= max(-line.realized_gain, Decimal(0))
        assert all(found.amount >= 0 for found in line.replacements)
        if settings.regime is TaxRegime.US:
            assert all(found.permanent is (found.account == "IRA") for found in line.replacements)
    rows = [
        row
        for journal in books.journals.values()
        for row in journal
        if row.txn_type not in INCOME_TYPES | MOVEMENT_TYPES
    ]
    for_good = sum((row.realized_gain for row in rows if row.details.get("permanent")), Decimal(0))
    assert sum(row.realized_gain for row in rows) == sum(row.amount + row.basis for row in rows) + for_good
    event("for good" if for_good else "nothing for good")


@given(histories(), any_settings)
def test_journals_replay_to_the_lots(entries, settings):
    """Replaying each journal from its first row gives its lots to the last digit, and every row has a JSON form."""
    books = book_entries(entries, settings)
    for name, journal in books.journals.items():
        assert replay(journal).lots == Books(books.lots.get(name, ())).lots
        assert all(canonical_json(row.details) for row in journal)
        assert all(row.amount == row.amount.quantize(Decimal("0.01")) for row in journal)
    assert set(books.lots) <= set(books.journals)
    if settings.regime is TaxRegime.CA:
        assert set(books.journals) <= {OWNER, "IRA"}


@given(histories(), any_settings, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(entries, settings, random):
    """Rows in any order give the same journals: only dates and what the rows say count."""
    books = book_entries(entries, settings)
    mixed = list(entries)
    random.shuffle(mixed)
    again = book_entries(mixed, settings)
    assert again.journals == books.journals
    assert (again.lots, again.findings) == (books.lots, books.findings)


@given(histories(), any_settings)
def test_refused_rows_leave_no_trace(entries, settings):
    """Without the rows that were refused the result is the same, to the names of the lots."""
    books = book_entries(entries, settings)
    refused = {finding.row for finding in books.findings}
    again = book_entries([found for found in entries if found.row not in refused], replace(settings, as_of=books.as_of))
    assert (again.journals, again.lots, again.findings) == (books.journals, books.lots, ())


@given(histories(), us_settings)
def test_a_loss_is_disallowed_inside_its_window_only(entries, settings):
    """Every replacement was bought within thirty days of the loss, whatever the tie rules."""
    books = book_entries(entries, settings)
    bought = {}
    for account, journal in books.journals.items():
        for row in journal:
            if row.txn_type in {"BUY", "REINVESTMENT", "OPENING", "TRANSFER_IN"} and "acquired_on" in row.details:
                bought.setdefault((account, row.lot_id), date.fromisoformat(row.details["acquired_on"]))
    for journal in books.journals.values():
        for row in journal:
            if row.txn_type is TransactionType.WASH_SALE:
                purchase = (row.details["replacement_account"], row.details["purchase_lot_id"])
                if purchase in bought:
                    sold = date.fromisoformat(row.details["loss_date"])
                    assert abs((bought[purchase] - sold).days) <= 30
                    event("matched")
