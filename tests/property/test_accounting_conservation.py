"""Conservation: whatever trades and corporate actions come, shares, basis, cash and losses are all accounted for."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from prometheus.accounting.basis import split_lot
from prometheus.accounting.corporate_actions import apply_corporate_actions
from prometheus.accounting.derivation import derive
from prometheus.accounting.fill_ledger import LedgerTerms
from prometheus.accounting.fills import apply_fills
from prometheus.accounting.journal import opening_transactions, recent_trades
from prometheus.accounting.lot_selection import order_lots, select_lots
from prometheus.accounting.morning_losses import match_morning_losses, morning_losses
from prometheus.accounting.replay import replay
from prometheus.accounting.wash_sales import in_wash_window
from prometheus.domain.accounts import LotMethod, TaxRates, TaxRegime
from prometheus.domain.books import INCOME_TYPES, Books, Fill, LotPick, TransactionType
from prometheus.domain.lots import Side, TaxLot
from prometheus.domain.money import allocate_cents
from prometheus.domain.securities import ActionType, CorporateAction

START = date(2019, 11, 1)
RATES = TaxRates(Decimal("0.37"), Decimal("0.2"), Decimal("0.038"))
TICKERS = ("AAA", "AAB", "ZZZ")
GROUPS = {"AAA": "TWINS", "AAB": "TWINS"}
CASH = Decimal(10_000_000)

#: Actions that name no other security and end none; those that do have tests of their own.
UNNAMED = sorted(set(ActionType) - {ActionType.SPINOFF, ActionType.SYMBOL_CHANGE, ActionType.DELISTING})

cents = st.integers(1, 20_000).map(lambda n: Decimal(n) / 100)
shares = st.integers(1, 4_000_000).map(lambda n: Decimal(n) / 10_000)


@st.composite
def lots(draw, prefix="L", tickers=TICKERS, most=6):
    """Draw a few lots bought up to two years before the start, some within the window."""
    found = []
    for number in range(draw(st.integers(0, most))):
        bought = START - timedelta(days=draw(st.sampled_from([1, 5, 29, 30, 31, 200, 365, 366, 700])))
        cost = draw(st.integers(1, 5_000_000).map(lambda n: Decimal(n) / 100))
        found.append(
            TaxLot(f"{prefix}{number}", draw(st.sampled_from(tickers)), bought, draw(shares), cost, cost, bought)
        )
    return tuple(found)


@st.composite
def histories(draw, regime, *, splits=False):
    """Draw opening books and days of fills that the books can bear, after splits on some days where asked for."""
    opening = Books(draw(lots()), CASH)
    books, journal, days = opening, opening_transactions(opening, START), []
    day = START
    for step in range(draw(st.integers(1, 6))):
        day += timedelta(days=draw(st.sampled_from([1, 2, 15, 29, 30, 31])))
        if splits and draw(st.booleans()):
            ratio = Decimal(draw(st.sampled_from(["2", "1.5", "0.333333", "0.25"])))
            action = CorporateAction(draw(st.sampled_from(TICKERS)), day, ActionType.SPLIT, ratio)
            books, rows = apply_corporate_actions(
                books,
                [action],
                closes={(action.ticker, day): draw(cents)},
                regime=regime,
                fractional=draw(st.booleans()),
            )
            journal += rows
            terms = LedgerTerms(RATES, regime, GROUPS)
            lots_after, matched = match_morning_losses(
                morning_losses(rows),
                recent_trades(journal, day),
                lots=books.lots,
                accounts=[""],
                day=day,
                terms=terms,
            )
            books, journal = Books(lots_after, books.cash), (*journal, *matched)
        fills = []
        for ticker in draw(st.lists(st.sampled_from(TICKERS), min_size=1, max_size=3)):
            number = f"{step}-{len(fills)}"
            price, fee = draw(cents), draw(st.sampled_from([Decimal(0), Decimal("0.99")]))
            sold = {fill.ticker for fill in fills if fill.side is Side.SELL}
            held = books.quantity_of(ticker)
            if draw(st.booleans()) and held > 0 and ticker not in sold:
                quantity = draw(st.sampled_from([held, min(held, draw(shares))]))
                picks = ()
                if regime is TaxRegime.US:
                    method = draw(st.sampled_from([LotMethod.HIFO, LotMethod.FIFO, LotMethod.LEAST_TAX_FIRST]))
                    order = order_lots(
                        books.lots_of(ticker), method=method, rates=RATES, regime=regime, as_of=day, price=price
                    )
                    picks = tuple(LotPick(lot.lot_id, part) for lot, part in select_lots(order, quantity))
                fills.append(Fill(f"S{number}", ticker, Side.SELL, day, quantity, price, fee, picks))
            else:
                fills.append(Fill(f"B{number}", ticker, Side.BUY, day, draw(shares), price, fee, (), f"N{number}"))
        days.append(fills)
        books, rows = apply_fills(
            books, fills, rates=RATES, regime=regime, recent_trades=recent_trades(journal, day), group_of=GROUPS
        )
        journal += rows
    return opening, days, books, journal


def _regime_of(journal):
    """Return whose rules a journal was booked under: pools are Canada's."""
    pooled = any((row.lot_id or "").startswith("ACB-") for row in journal)
    return TaxRegime.CA if pooled else TaxRegime.US


def check_identities(opening, fills, books, journal):
    """Assert every identity of the ledger over a whole history."""
    for ticker in TICKERS:
        traded = sum((f.quantity if f.side is Side.BUY else -f.quantity) for f in fills if f.ticker == ticker)
        assert books.quantity_of(ticker) == opening.quantity_of(ticker) + traded
    booked = journal[1 + len(opening.lots) :]
    assert books.cash == opening.cash + sum(row.amount for row in booked)
    basis = sum(lot.adjusted_basis for lot in books.lots) - sum(lot.adjusted_basis for lot in opening.lots)
    assert basis == sum(row.basis for row in booked)
    assert sum(row.realized_gain for row in booked) == sum(row.amount + row.basis for row in booked)
    assert replay(journal) == books
    assert derive(journal, regime=_regime_of(journal), group_of=GROUPS) == ()
    cash_of_fills = -sum(row.amount for row in booked if row.txn_type is TransactionType.BUY)
    assert cash_of_fills == sum(
        (f.quantity * f.price).quantize(Decimal("0.01")) + f.fee for f in fills if f.side == "BUY"
    )
    assert all(row.amount == row.amount.quantize(Decimal("0.01")) for row in journal)


@given(histories(TaxRegime.US))
def test_us_histories_conserve_everything(history):
    """Shares, cash and basis in equal those out and held; disallowed losses move into lots and nowhere else."""
    opening, days, books, journal = history
    fills = [fill for day in days for fill in day]
    check_identities(opening, fills, books, journal)
    losses = {(r.details["execution_id"], r.lot_id): r for r in journal if r.txn_type is TransactionType.SELL}
    washed, used = defaultdict(Decimal), defaultdict(Decimal)
    disallowed = defaultdict(Decimal)
    bought = {r.lot_id: r for r in journal if r.txn_type in {TransactionType.BUY, TransactionType.OPENING}}
    for row in journal:
        if row.txn_type is not TransactionType.WASH_SALE:
            continue
        key = (row.details["loss_execution_id"], row.details["loss_lot_id"])
        washed[key] += Decimal(row.details["shares"])
        disallowed[key] += row.realized_gain
        purchase = bought[row.details["purchase_lot_id"]]
        used[purchase.lot_id] += Decimal(row.details["shares"])
        purchased_on = date.fromisoformat(purchase.details["acquired_on"])
        assert in_wash_window(losses[key].trade_date, purchased_on)
        assert purchase.lot_id != row.details["loss_lot_id"].split("~W")[0]
    for key, quantity in washed.items():
        assert losses[key].realized_gain < 0
        assert quantity <= -losses[key].quantity
        assert 0 <= disallowed[key] <= -losses[key].realized_gain
        if quantity == -losses[key].quantity:
            assert disallowed[key] == -losses[key].realized_gain
    assert all(quantity <= bought[lot_id].quantity for lot_id, quantity in used.items())


@given(histories(TaxRegime.CA))
def test_canadian_histories_conserve_everything(history):
    """The same identities hold for pooled lots and superficial losses."""
    opening, days, books, journal = history
    check_identities(opening, [fill for day in days for fill in day], books, journal)
    denied = defaultdict(Decimal)
    for row in journal:
        if row.txn_type is TransactionType.SUPERFICIAL_LOSS:
            denied[row.details["loss_execution_id"]] += row.realized_gain
    for row in journal:
        if row.txn_type is TransactionType.SELL and row.details["execution_id"] in denied:
            assert 0 <= denied[row.details["execution_id"]] <= -row.realized_gain


@given(st.sampled_from(list(TaxRegime)).flatmap(lambda regime: histories(regime, splits=True)))
def test_splits_inside_the_window_conserve_everything(history):
    """With splits between loss and replacement no loss is disallowed beyond its amount, and the journal replays."""
    _, _, books, journal = history
    assert replay(journal) == books
    assert derive(journal, regime=_regime_of(journal), group_of=GROUPS) == ()
    booked = [row for row in journal if row.txn_type is not TransactionType.OPENING]
    assert sum(row.realized_gain for row in booked) == sum(row.amount + row.basis for row in booked)
    open_loss = defaultdict(Decimal)
    for row in booked:
        if row.txn_type in {TransactionType.SELL, TransactionType.CASH_IN_LIEU} and row.realized_gain < 0:
            open_loss[row.details.get("execution_id"), row.lot_id, row.trade_date.isoformat()] -= row.realized_gain
        elif row.txn_type in {TransactionType.WASH_SALE, TransactionType.SUPERFICIAL_LOSS}:
            key = (row.details["loss_execution_id"], row.details["loss_lot_id"], row.details["loss_date"])
            open_loss[key] -= row.realized_gain
            assert open_loss[key] >= 0
    assert all(lot.quantity == lot.quantity.quantize(Decimal("0.0001")) for lot in books.lots)


@given(histories(TaxRegime.US), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(history, random):
    """Booked day by day with the journal's recent trades, or all at once shuffled: same books and same journal."""
    opening, days, books, journal = history
    fills = [fill for day in days for fill in day]
    random.shuffle(fills)
    at_once, rows = apply_fills(opening, fills, rates=RATES, regime=TaxRegime.US, group_of=GROUPS)
    assert at_once == books
    assert list(rows) == list(journal[1 + len(opening.lots) :])


@given(histories(TaxRegime.CA), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter_in_canada(history, random):
    """The same holds for Canada."""
    opening, days, books, journal = history
    fills = [fill for day in days for fill in day]
    random.shuffle(fills)
    at_once, rows = apply_fills(opening, fills, rates=RATES, regime=TaxRegime.CA, group_of=GROUPS)
    assert at_once == books
    assert list(rows) == list(journal[1 + len(opening.lots) :])


@st.composite
def market_days(draw):
    """Draw corporate actions of a few days with the closes they need."""
    actions, closes = [], {}
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(UNNAMED))
        if kind is ActionType.SPLIT:
            value = draw(st.sampled_from(["2", "1.5", "0.333333", "7.0", "0.25"]))
        elif kind is ActionType.SPINOFF_PRICE_FACTOR:
            value = draw(st.sampled_from(["1.011", "1.489", "0.955"]))
        else:
            value = draw(st.sampled_from(["0.37", "12.44", "567.9717"]))
        day = START + timedelta(days=draw(st.integers(-30, 30)))
        ticker = draw(st.sampled_from(TICKERS))
        actions.append(CorporateAction(ticker, day, kind, Decimal(value)))
        closes[ticker, day] = draw(cents)
    return actions, closes


@given(lots(), market_days(), st.sampled_from(list(TaxRegime)), st.booleans(), st.randoms(use_true_random=False))
def test_corporate_actions_conserve_basis_and_cash(held, market, regime, fractional, random):
    """Basis leaves lots only against cash and gain, the journal replays, and the rows' order does not matter."""
    actions, closes = market
    opening = Books(held, CASH)
    books, rows = apply_corporate_actions(opening, actions, closes=closes, regime=regime, fractional=fractional)
    assert replay(rows, opening) == books
    for row in rows:
        if row.txn_type not in INCOME_TYPES and row.txn_type is not TransactionType.POOL:
            assert row.amount + row.basis == row.realized_gain
    assert sum(r.basis for r in rows) == sum(x.adjusted_basis for x in books.lots) - sum(x.adjusted_basis for x in held)
    assert sum(r.cost_basis for r in rows) == sum(x.cost_basis for x in books.lots) - sum(x.cost_basis for x in held)
    assert all(lot.quantity == lot.quantity.quantize(Decimal("0.0001")) for lot in books.lots)
    random.shuffle(actions)
    again = apply_corporate_actions(opening, actions, closes=closes, regime=regime, fractional=fractional)
    assert again == (books, rows)


@given(shares, st.integers(1, 10_000_000), st.integers(0, 1_000_000), st.lists(shares, max_size=5))
def test_splitting_a_lot_repeatedly_adds_up(quantity, cost, carried, takes):
    """However a lot is taken apart, the parts have its shares and both its bases, and none is negative."""
    total = Decimal(cost) / 100
    lot = TaxLot("L", "AAA", START, quantity, total, total + Decimal(carried) / 100, START)
    parts, left = [], lot
    for take in takes:
        if left is None:
            break
        part, left = split_lot(left, min(take, left.quantity))
        parts.append(part)
    parts += [left] if left is not None else []
    assert sum(part.quantity for part in parts) == lot.quantity
    assert sum(part.cost_basis for part in parts) == lot.cost_basis
    assert sum(part.adjusted_basis for part in parts) == lot.adjusted_basis
    assert all(part.cost_basis >= 0 for part in parts)


@given(lots(tickers=("AAA",), most=8), st.sampled_from(list(LotMethod)), st.fractions(0, 1), cents, st.data())
def test_selection_sells_exactly_what_is_asked(held, method, fraction, price, data):
    """Any order and any locks: the picks add up, no lot gives more than it has, locked ones give nothing."""
    if method is LotMethod.ACB:
        held = held[:1]
    locked = set(data.draw(st.lists(st.sampled_from([lot.lot_id for lot in held]))) if held else [])
    free = sum((lot.quantity for lot in held if lot.lot_id not in locked), Decimal(0))
    quantity = (free * fraction.numerator / fraction.denominator).quantize(Decimal("0.0001"))
    if not 0 < quantity <= free:
        return
    order = order_lots(held, method=method, rates=RATES, regime=TaxRegime.US, as_of=START, price=price)
    assert sorted(lot.lot_id for lot in order) == sorted(lot.lot_id for lot in held)
    picks = select_lots(order, quantity, locked=locked)
    assert sum(part for _, part in picks) == quantity
    assert all(0 < part <= lot.quantity and lot.lot_id not in locked for lot, part in picks)


@given(st.integers(-10_000_000, 10_000_000), st.lists(shares, min_size=1, max_size=8))
def test_allocated_cents_add_up(amount, weights):
    """Parts of an amount are cents, add up to it, and each is within a cent of its share for each part before it."""
    total = Decimal(amount) / 100
    parts = allocate_cents(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert part == part.quantize(Decimal("0.01"))
        assert abs(part - total * weight / sum(weights)) <= Decimal("0.01") * len(weights)
