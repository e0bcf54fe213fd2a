"""Files and the daily booking agree: one history with splits, cash in lieu and delistings, told to both."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import assume, event, given
from hypothesis import strategies as st

from prometheus.accounting.derivation import derive
from prometheus.accounting.household import book_entries
from prometheus.accounting.household_ledger import HouseholdSettings
from prometheus.accounting.journal import effective_rows, opening_transactions, recent_trades
from prometheus.accounting.lot_report import sale_lines_of
from prometheus.accounting.rebooking import MarketHistory
from prometheus.accounting.replay import replay
from prometheus.accounting.restatement import restate
from prometheus.accounting.tax_lines import tax_lines
from prometheus.domain.accounts import TaxRates, TaxRegime
from prometheus.domain.books import Books, Fill, LotPick, TransactionType
from prometheus.domain.entries import Entry, EntryAction
from prometheus.domain.lots import Side, TaxLot
from prometheus.domain.securities import ActionType, CorporateAction

START = date(2019, 10, 1)
CASH = Decimal(10_000_000)
RATES = TaxRates(Decimal("0.37"), Decimal("0.2"), Decimal("0.038"))
TICKERS = ("AAA", "AAB", "ZZZ")
GROUPS = {"AAA": "TWINS", "AAB": "TWINS"}
dollars = st.integers(1, 60).map(lambda n: Decimal(4 * n))
shares = st.integers(1, 12).map(Decimal)


@st.composite
def markets(draw):
    """Draw opening lots and days of at most one split or delisting and a few trades, as instructions."""
    lots = []
    for number, ticker in enumerate(draw(st.lists(st.sampled_from(TICKERS), min_size=1, max_size=4))):
        bought = START - timedelta(days=[3, 20, 31, 400][number])
        cost = 10 * draw(dollars)
        lots.append(TaxLot(f"L{number}", ticker, bought, draw(shares), cost, cost, bought))
    days, day, splits = [], START, 0
    for _ in range(draw(st.integers(1, 7))):
        day += timedelta(days=draw(st.sampled_from([1, 1, 7, 15, 29, 30, 31])))
        kind = draw(st.sampled_from([None, None, ActionType.SPLIT, ActionType.SPLIT, ActionType.DELISTING]))
        action = None
        # Two of them keep every lot within four decimals, so that nothing depends on which lot is rounded first.
        if kind is ActionType.SPLIT and splits < 2:
            splits += 1
            ratio = Decimal(draw(st.sampled_from(["0.25", "0.5", "1.5"])))
            action = CorporateAction(draw(st.sampled_from(TICKERS)), day, kind, ratio)
        elif kind is ActionType.DELISTING:
            action = CorporateAction(
                draw(st.sampled_from(TICKERS)), day, kind, draw(st.sampled_from([Decimal(0), Decimal(4)]))
            )
        trades = [
            (ticker, draw(st.booleans()), draw(shares), draw(dollars), draw(st.integers(1, 3)))
            for ticker in draw(st.lists(st.sampled_from(TICKERS), unique=True, max_size=2))
            if action is None or ticker != action.ticker or kind is ActionType.SPLIT
        ]
        days.append((day, action, draw(dollars), trades))
    return tuple(lots), tuple(days)


class Daily:
    """The daily booking, as the database does it: a day's actions and fills upon the rows of before."""

    def __init__(self, lots, regime) -> None:
        # In Canada each security is a group of its own here: shares of two that split differently cannot be compared.
        self.groups = GROUPS if regime is TaxRegime.US else {}
        self.regime, self.rows = regime, opening_transactions(Books(lots, CASH), START)
        self.actions, self.closes = [], {}

    def book(self, day, action, close):
        """Book a morning, and return the rows that it added."""
        if action is not None:
            self.actions.append(action)
            self.closes[action.ticker, day] = close
        before = len(self.rows)
        if action is not None:
            self._restate(changed=[(action.ticker, day)])
        return self.rows[before:]

    def trade(self, fills):
        """Book the day's fills after its morning."""
        if fills:
            self._restate(fills=fills)

    def close_windows(self, day):
        """Settle the losses whose window has closed before a day."""
        self._restate(as_of=day)

    def _restate(self, **what: object):
        history = MarketHistory(tuple(self.actions), self.closes, fractional=False, opened_on=START)
        terms = {"rates": RATES, "regime": self.regime, "group_of": self.groups, "history": history}
        self.rows = (*self.rows, *restate(self.rows, **what, **terms).transactions)


def told_to_both(lots, days, regime):
    """Return the entries of a file and the daily booking of the same history; sales take whole acquisition days."""
    daily, entries = Daily(lots, regime), []

    def tell(day, action, ticker, quantity, amount, name, **more: object):
        entries.append(
            Entry(
                row=len(entries) + 2, day=day, account="A", action=action, ticker=ticker, quantity=quantity,
                amount=amount, group=daily.groups.get(ticker), entry_id=name, **more,
            )
        )  # fmt: skip

    for lot in lots:
        tell(START, EntryAction.OPEN, lot.ticker, lot.quantity, lot.cost_basis, f"o{lot.lot_id}", lot_id=lot.lot_id,
             acquired_on=lot.acquired_on)  # fmt: skip
    for number, (day, action, close, trades) in enumerate(days):
        held = {lot.ticker for lot in replay(daily.rows).lots}
        # A split counts where its security was traded within the window, too.
        if action is not None and action.action_type is ActionType.SPLIT:
            held |= {
                trade.ticker
                for trade in recent_trades(daily.rows, day)
                if day - trade.trade_date <= timedelta(30) and (trade.side is Side.BUY or trade.realized_gain < 0)
            }
        if action is not None:
            # Which of two parts of one purchase gives up a fraction is told by their names, after rows' own names.
            mine = replay(daily.rows).lots_of(action.ticker)
            assume(len({lot.acquired_on for lot in mine}) == len(mine))
        booked = daily.book(day, action, close)
        assume(not any(row.txn_type == "CASH_IN_LIEU" and not row.amount for row in booked))
        if action is not None and action.ticker in held:
            kinds = {TransactionType.CASH_IN_LIEU, TransactionType.DELISTING}
            paid = [row.amount for row in booked if row.txn_type in kinds and row.trade_date == day]
            what = EntryAction.SPLIT if action.action_type is ActionType.SPLIT else EntryAction.DELIST
            ratio = action.value if what is EntryAction.SPLIT else None
            tell(day, what, action.ticker, ratio, sum(paid, Decimal(0)) if paid else None, f"m{number}")
        fills = []
        position = replay(daily.rows)
        for ticker, buys, quantity, price, depth in trades:
            name = f"t{number}{ticker}"
            if buys:
                fills.append(Fill(name, ticker, Side.BUY, day, quantity, price, new_lot_id=f"N{name}"))
                tell(day, EntryAction.BUY, ticker, quantity, quantity * price, name, lot_id=f"N{name}")
                continue
            mine = position.lots_of(ticker)
            dates = sorted({lot.acquired_on for lot in mine})[:depth]
            sold = [lot for lot in mine if lot.acquired_on in dates]
            if regime is TaxRegime.CA:
                sold = list(mine)
            # Losses of two parts of one purchase are matched in the order of their names, too.
            assume(regime is TaxRegime.CA or len({lot.acquired_on for lot in sold}) == len(sold))
            if sold:
                total = sum(lot.quantity for lot in sold)
                picks = () if regime is TaxRegime.CA else tuple(LotPick(lot.lot_id, lot.quantity) for lot in sold)
                fills.append(Fill(name, ticker, Side.SELL, day, total, price, lot_picks=picks))
                tell(day, EntryAction.SELL, ticker, total, total * price, name)
        daily.trade(fills)
    return entries, daily


def by_day(lines):
    """Return what counts of each day and security."""
    found = defaultdict(Decimal)
    for line in lines:
        found[line.sold_on, line.ticker] += line.recognized_gain
    return {key: gain for key, gain in found.items() if gain}


@given(markets())
def test_a_file_and_the_daily_booking_agree(market):
    """US: the same lots with the same bases and holding periods, and the same losses taken back."""
    entries, daily = told_to_both(*market, TaxRegime.US)
    books = book_entries(entries, HouseholdSettings())
    assert books.findings == ()
    mine = replay(daily.rows).lots
    assert derive(daily.rows, regime=TaxRegime.US, group_of=GROUPS) == ()

    def said(lots):
        found = defaultdict(Decimal)
        for lot in lots:
            found[lot.ticker, lot.acquired_on, lot.holding_period_start, "shares"] += lot.quantity
            found[lot.ticker, lot.acquired_on, lot.holding_period_start, "basis"] += lot.adjusted_basis
        return dict(found)

    assert said(mine) == said(lot for lots in books.lots.values() for lot in lots)
    lines = tax_lines({"A": effective_rows(daily.rows)}, as_of=date.max - timedelta(days=60))
    assert by_day(lines) == by_day(sale_lines_of(books))
    morning = [line for line in lines if line.kind is not TransactionType.SELL and line.disallowed_loss]
    event("a morning's loss is washed" if morning else "no morning's loss is washed")


@given(markets())
def test_a_file_and_the_daily_booking_agree_in_canada(market):
    """Canada: once every window has closed the pools are the same, and so is what counts of each day."""
    entries, daily = told_to_both(*market, TaxRegime.CA)
    books = book_entries(entries, HouseholdSettings(regime=TaxRegime.CA))
    assert books.findings == ()
    daily.close_windows(market[1][-1][0] + timedelta(days=40))
    assert derive(daily.rows, regime=TaxRegime.CA, group_of={}) == ()

    def said(lots):
        # The daily booking pools what trades or changes, and leaves other lots as they came.
        found = defaultdict(Decimal)
        for lot in lots:
            found[lot.ticker, "shares"] += lot.quantity
            found[lot.ticker, "basis"] += lot.adjusted_basis
        return dict(found)

    assert said(replay(daily.rows).lots) == said(lot for lots in books.lots.values() for lot in lots)
    lines = tax_lines({"A": effective_rows(daily.rows)}, as_of=date.max - timedelta(days=60))
    assert by_day(lines) == by_day(sale_lines_of(books))
    morning = [line for line in lines if line.kind is not TransactionType.SELL and line.disallowed_loss]
    event("a morning's loss is denied" if morning else "no morning's loss is denied")
