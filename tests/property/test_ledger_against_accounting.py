"""Random US histories booked by the fold and by the household ledger of ``prometheus.accounting``: the same cents."""

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import assume, event, given, note
from hypothesis import strategies as st

from prometheus.accounting import tie_rules as old_ties
from prometheus.accounting.household import book_entries
from prometheus.accounting.household_ledger import HouseholdSettings
from prometheus.accounting.lot_report import sale_lines_of
from prometheus.accounting.share_counts import split_ratio
from prometheus.domain.accounts import AccountKind, LotMethod
from prometheus.domain.entries import Entry, EntryAction
from prometheus.ledger import events as ev
from prometheus.ledger.fold import fold
from prometheus.ledger.postings import DISALLOWANCES, DISPOSITIONS
from prometheus.ledger.terms import AccountTerms, Terms
from prometheus.ledger.tie_rules import TieRules, tie_rules

START = date(2019, 10, 1)
ACCOUNTS = ("A", "B", "IRA")
TICKERS = ("XX", "XY", "ZZ")
GROUP = {"XX": "TWINS", "XY": "TWINS"}
GAPS = (0, 0, 1, 2, 7, 15, 29, 30, 31)
MARKET = {EntryAction.SPLIT, EntryAction.SPINOFF, EntryAction.RENAME}

money = st.integers(0, 200_000).map(lambda cents: Decimal(cents) / 100)
shares = st.integers(1, 60).map(Decimal)
ties = st.builds(
    old_ties.TieRules,
    same_day_losses=st.sampled_from(old_ties.SameDayLosses),
    replacement_order=st.sampled_from(old_ties.ReplacementOrder),
    same_day_trades=st.sampled_from(old_ties.SameDayTrades),
    tacking=st.sampled_from(old_ties.Tacking),
    equal_lots=st.sampled_from(old_ties.EqualLots),
    scope=st.sampled_from(old_ties.WashScope),
    earlier_purchases_replace=st.booleans(),
    same_day_purchases_replace=st.booleans(),
)
settings_of_both = st.builds(
    HouseholdSettings,
    sheltered=st.just(frozenset({"IRA"})),
    method=st.sampled_from([LotMethod.FIFO, LotMethod.HIFO]),
    ties=ties,
)


@st.composite
def histories(draw):
    """Draw entries of three accounts; actions of the market are listed by every account."""
    day, entries = START, []

    def add(account, action, ticker, quantity, amount, **more: object):
        number = len(entries) + 2
        entries.append(
            Entry(
                row=number,
                day=day,
                account=account,
                action=action,
                ticker=ticker,
                quantity=quantity,
                amount=amount,
                group=GROUP.get(ticker),
                entry_id=f"e{number:03d}",
                lot_id=f"L{number:03d}"
                if action in {EntryAction.OPEN, EntryAction.BUY, EntryAction.REINVEST, EntryAction.TRANSFER_IN}
                else None,
                **more,
            )
        )

    for account in draw(st.sets(st.sampled_from(ACCOUNTS))):
        bought = START - timedelta(days=draw(st.sampled_from([0, 5, 30, 31, 400])))
        add(account, EntryAction.OPEN, draw(st.sampled_from(TICKERS)), draw(shares), draw(money), acquired_on=bought)
    actions = [EntryAction.BUY] * 4 + [EntryAction.SELL] * 5 + list(EntryAction)
    actions.remove(EntryAction.REVERSE)
    happened = set()
    for _ in range(draw(st.integers(1, 14))):
        day += timedelta(days=draw(st.sampled_from(GAPS)))
        account, ticker = draw(st.sampled_from(ACCOUNTS)), draw(st.sampled_from(TICKERS))
        action = draw(st.sampled_from(actions))
        if action in MARKET or action is EntryAction.DELIST:
            # The day's other actions of a renamed security go by its new symbol here, and were refused there.
            ticker = "ZZ" if action is EntryAction.RENAME else ticker
            on_that_day = {kind for kind, name, on in happened if (name, on) == (ticker, day)}
            if action in on_that_day or (on_that_day and EntryAction.RENAME in on_that_day | {action}):
                continue
            happened.add((action, ticker, day))
        match action:
            case EntryAction.OPEN | EntryAction.TRANSFER_IN:
                bought = day - timedelta(days=draw(st.sampled_from([0, 10, 30, 300])))
                add(account, EntryAction.TRANSFER_IN, ticker, draw(shares), draw(money), acquired_on=bought)
            case EntryAction.SPLIT:
                ratio = Decimal(draw(st.sampled_from(["2", "3", "0.5"])))
                for name in ACCOUNTS:
                    add(name, action, ticker, ratio, None)
            case EntryAction.SPINOFF:
                part = Decimal(draw(st.sampled_from(["0.25", "0.1"])))
                ratio = Decimal(draw(st.sampled_from(["0.5", "1"])))
                for name in ACCOUNTS:
                    add(name, action, ticker, ratio, None, other_ticker="CHILD", basis_fraction=part)
            case EntryAction.RENAME:
                for name in ACCOUNTS:
                    add(name, action, "ZZ", None, None, other_ticker="NEW")
            case EntryAction.TRANSFER_OUT:
                other = draw(st.sampled_from([None, "A", "B"]))
                add(account, action, ticker, draw(shares), None, other_account=other)
            case _:
                add(account, action, ticker, draw(shares), draw(money))
    return tuple(entries)


def event_of(entry):
    """Return an entry as an event."""
    base = {"account": entry.account, "event_id": entry.entry_id, "trade_date": entry.day}
    match entry.action:
        case EntryAction.OPEN | EntryAction.TRANSFER_IN:
            kind = ev.OpeningLot if entry.action is EntryAction.OPEN else ev.TransferIn
            return kind(
                **base,
                ticker=entry.ticker,
                quantity=entry.quantity,
                cost_basis=entry.amount,
                acquired_on=entry.acquired_on,
                lot_id=entry.lot_id,
            )
        case EntryAction.BUY | EntryAction.REINVEST:
            kind = ev.Buy if entry.action is EntryAction.BUY else ev.Reinvestment
            return kind(**base, ticker=entry.ticker, quantity=entry.quantity, amount=entry.amount, lot_id=entry.lot_id)
        case EntryAction.SELL:
            return ev.Sell(**base, ticker=entry.ticker, quantity=entry.quantity, amount=entry.amount)
        case EntryAction.DIVIDEND:
            return ev.Dividend(**base, ticker=entry.ticker, amount=entry.amount)
        case EntryAction.SPLIT:
            return ev.Split(**base, ticker=entry.ticker, ratio=split_ratio(entry.quantity))
        case EntryAction.SPINOFF:
            return ev.SpinOff(
                **base,
                ticker=entry.ticker,
                child=entry.other_ticker,
                ratio=split_ratio(entry.quantity),
                basis_fraction=entry.basis_fraction,
            )
        case EntryAction.RENAME:
            return ev.SymbolChange(**base, ticker=entry.ticker, new_ticker=entry.other_ticker)
        case EntryAction.DELIST:
            return ev.Delisting(**base, ticker=entry.ticker, amount=entry.amount)
        case EntryAction.TRANSFER_OUT:
            return ev.TransferOut(
                **base, ticker=entry.ticker, quantity=entry.quantity, other_account=entry.other_account
            )
    raise AssertionError(entry.action)


def figures_of(account, lot):
    """Return what a lot of either ledger says, without its name."""
    dates, bases = (lot.acquired_on, lot.holding_period_start), (lot.cost_basis, lot.adjusted_basis)
    return (account, lot.ticker, lot.quantity, *dates, *bases)


def told_by(entry):
    """Return an entry as a line to read."""
    values = (entry.entry_id, entry.day, entry.account, entry.action, entry.ticker, entry.quantity, entry.amount)
    return " ".join(str(value) for value in (*values, entry.acquired_on or "", entry.other_account or ""))


def terms_of(settings):
    """Return the terms that say what the settings say."""
    choices = {
        name: str(getattr(settings.ties, name)).lower()
        if isinstance(getattr(settings.ties, name), bool)
        else getattr(settings.ties, name).value
        for name in TieRules.__dataclass_fields__
        if hasattr(settings.ties, name)
    }
    taxable = AccountTerms(method=settings.method)
    return Terms(
        accounts={"A": taxable, "B": taxable, "IRA": replace(taxable, kind=AccountKind.SHELTERED)},
        groups=GROUP,
        ties=tie_rules(choices),
    )


@given(histories(), settings_of_both)
def test_the_fold_books_what_the_household_ledger_books(entries, settings):
    """Lots, cash, gains, disallowed losses and refusals agree to the cent, whatever the tie rules."""
    assume(all(entry.quantity is None or entry.quantity > 0 for entry in entries))
    note("\n".join(told_by(entry) for entry in entries))
    old = book_entries(entries, settings)
    state, postings, findings = fold([event_of(entry) for entry in entries], terms_of(settings))
    ids = {entry.row: (entry.account, entry.entry_id) for entry in entries}
    # Whether an account without shares may list a new symbol depends there on which account is booked first.
    renames = {ids[entry.row] for entry in entries if entry.action is EntryAction.RENAME}
    assert Counter((ids[found.row], found.code) for found in old.findings if ids[found.row] not in renames) == Counter(
        (tuple(found.event), found.code) for found in findings if found.refused and tuple(found.event) not in renames
    )
    held = Counter(figures_of(account, lot) for account, lots in old.lots.items() for lot in lots)
    assert held == Counter(figures_of(lot.key.account, lot) for lot in state.lots.values())
    disallowed = defaultdict(Decimal)
    for row in postings:
        if row.kind in DISALLOWANCES:
            disallowed[row.loss.event, row.loss.lot] += row.realized_gain
    taxed = [row for row in postings if row.kind in DISPOSITIONS and row.account != "IRA"]
    assert Counter(
        (line.account, line.sold_on, line.quantity, line.realized_gain, line.disallowed_loss, line.term)
        for line in sale_lines_of(old)
        if line.account != "IRA"
    ) == Counter(
        (row.account, row.day, -row.quantity, row.realized_gain, disallowed[row.event, row.lot], row.term)
        for row in taxed
    )
    event(f"refused: {min(len(old.findings), 3)}")
    event("disallowed" if any(disallowed.values()) else "nothing disallowed")
