"""A snapshot's books in the ledger: whose lots, which purchases can replace, which losses are still open."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

from prometheus.decision.day_books import lots_by_ticker, pool_lots, state_of, term_on, terms_of
from prometheus.decision.settle import settle
from prometheus.domain.accounts import LotMethod, TaxRates, TaxRegime
from prometheus.domain.lots import RecentTrade, Side, Term
from prometheus.domain.strategy import StrategyParams
from prometheus.ledger.keys import EventKey, LotKey
from tests.unit.decision.snapshots import AS_OF, LATELY, lot, snapshot

YESTERDAY = date(2024, 5, 31)
ALLOW = StrategyParams(cost_bps=0.0, loss_sale_policy="allow")
CANADA = {
    "tax_regime": TaxRegime.CA,
    "lot_method": LotMethod.ACB,
    "rates": TaxRates(Decimal("0.25"), Decimal("0.25")),
}


def whole_state(day):
    """Return the state of all securities of a snapshot."""
    return state_of(day, lots_by_ticker(day))


def bought(ticker, shares, *, account="", lot_id=None, unreplaced=None):
    """Return a purchase of the day before."""
    left = Decimal(shares if unreplaced is None else unreplaced)
    return RecentTrade(ticker, YESTERDAY, Side.BUY, Decimal(shares), lot_id=lot_id, unreplaced=left, account=account)


def lost(ticker, shares, loss, *, lot_id="gone", washed=0):
    """Return a sale at a loss of the day before."""
    disallowed = Decimal(loss) * washed / shares
    return RecentTrade(
        ticker,
        YESTERDAY,
        Side.SELL,
        Decimal(shares),
        -Decimal(loss),
        lot_id=lot_id,
        washed_quantity=Decimal(washed),
        disallowed_loss=disallowed,
        acquired_on=LATELY,
        holding_period_start=LATELY,
        execution_id="e1",
    )


def test_lots_and_cash_are_those_of_the_snapshot():
    """Every lot stands under its own name; a part that was split off one belongs to the same purchase."""
    part = lot("a2~W1-e9", "A", 10, "500.00", LATELY)
    state = whole_state(snapshot(lots=(*snapshot().lots, part)))
    assert state.cash == {"ACC-1": 1000}
    assert {key.lot_id for key in state.lots} == {"a1", "a2", "a2~W1-e9", "b1", "c1"}
    held = state.lots[LotKey("ACC-1", "a2~W1-e9")]
    assert (held.root_id, held.origin) == ("a2~W1-e9", EventKey("ACC-1", "a2"))


def test_only_securities_that_the_trades_can_meet_are_looked_at():
    """The books of a day have the groups of the names that trade, their trades included, and nothing else."""
    day = snapshot(recent_trades=(bought("D", 5, lot_id="d1"), bought("A", 5, lot_id="a9")))
    lots = lots_by_ticker(day, {"D"})
    assert {ticker: len(of_ticker) for ticker, of_ticker in lots.items()} == {"C": 1, "D": 0}
    state = state_of(day, lots)
    assert ({lot.ticker for lot in state.lots.values()}, {one.ticker for one in state.purchases}) == ({"C"}, {"D"})


def test_a_sale_takes_nothing_of_parts_that_were_split_off():
    """The lot method has chosen already; a lot that is named gives its own shares alone."""
    part = lot("a2~W1-e9", "A", 10, "500.00", LATELY)
    (line,) = settle(snapshot(lots=(*snapshot().lots, part)), ALLOW, {"A": "-100"}).lines
    assert (line.lot_id, line.quantity, line.basis) == ("a2", 100, 7000)


def test_purchases_of_other_accounts_can_carry_what_they_wash():
    """What another account bought and has not used stands there as shares without cost."""
    state = whole_state(snapshot(recent_trades=(bought("C", 80, account="ACC-2", unreplaced=30),)))
    (elsewhere,) = (held for held in state.lots.values() if held.account == "ACC-2")
    assert (elsewhere.ticker, elsewhere.quantity, elsewhere.adjusted_basis) == ("C", 30, 0)
    (purchase,) = state.purchases
    assert (purchase.lot, purchase.quantity, purchase.unreplaced) == (elsewhere.key, 80, 30)


def test_a_purchase_of_another_account_washes_a_loss():
    """Thirty shares bought elsewhere take back thirty shares' part of a loss of two hundred."""
    held = snapshot(recent_trades=(bought("C", 80, account="ACC-2", unreplaced=30),))
    (line,) = settle(held, ALLOW, {"C": "-200"}).lines
    assert (line.realized_gain, line.disallowed_loss) == (-1000, 150)
    used_up = snapshot(recent_trades=(bought("C", 80, account="ACC-2", unreplaced=0),))
    assert settle(used_up, ALLOW, {"C": "-200"}).lines[0].disallowed_loss == 0


def test_earlier_losses_use_replacement_shares_first():
    """A purchase of today meets the open loss of yesterday, and only what is left of it today's loss."""
    held = replace(snapshot(recent_trades=(lost("C", 30, "300.00", washed=10),)), cash=Decimal(5000))
    assert whole_state(held).losses[0].open_quantity == 20
    sale, _ = settle(held, ALLOW, {"C": "-200", "D": "50"}).lines
    assert (sale.realized_gain, sale.disallowed_loss) == (-1000, 150)


def test_groups_and_kind_are_terms():
    """Names of one company meet, and what a sheltered account sells is no loss."""
    terms = terms_of(snapshot(sheltered=True, recent_trades=(bought("C", 1, account="ACC-2"),)))
    assert (terms.group_of("C"), terms.group_of("D"), terms.group_of("A")) == ("CD", "CD", "A")
    assert terms.is_sheltered("ACC-1")
    assert not terms.is_sheltered("ACC-2")
    washing = (bought("C", 50, lot_id="c2"),)
    lots = (*snapshot().lots, lot("c2", "C", 50, "1000.00", YESTERDAY))
    (line,) = settle(snapshot(sheltered=True, lots=lots, recent_trades=washing), ALLOW, {"C": "-200"}).lines
    assert (line.realized_gain, line.disallowed_loss) == (-1000, 0)


def test_canadian_purchases_are_never_used_up():
    """What replaced other shares before counts for the next loss too, as long as as many shares are held."""
    trades = (bought("C", 50, lot_id="ACB-C", unreplaced=0),)
    pooled = snapshot(lots=pool_lots(snapshot().lots), recent_trades=trades, **CANADA)
    (line,) = settle(pooled, ALLOW, {"C": "-100"}).lines
    assert (line.realized_gain, line.disallowed_loss) == (-500, 250)


def test_canadian_shares_elsewhere_are_no_part_of_the_pool():
    """Another account's shares deny a loss and leave the cost of this account's pool as it is."""
    trades = (bought("C", 50, account="ACC-2"),)
    pooled = snapshot(lots=pool_lots(snapshot().lots), recent_trades=trades, **CANADA)
    (line,) = settle(pooled, ALLOW, {"C": "-200"}).lines
    assert (line.basis, line.realized_gain, line.disallowed_loss) == (5000, -1000, 250)


def test_lots_of_a_security_become_one_pool(make_lot):
    """A security's lots merge into one with summed shares and bases, dated from the earliest purchase."""
    lots = [
        make_lot("b", "2016-01-04", 1, "10", ticker="ZZ"),
        make_lot("L2", "2017-03-01", 50, "600.05", adjusted="610.05"),
        make_lot("L1", "2016-02-01", "100.5", "1000.01"),
    ]
    pool, other = pool_lots(lots)
    assert (pool.lot_id, other.lot_id) == ("ACB-XYZ", "ACB-ZZ")
    assert pool.acquired_on == pool.holding_period_start == date(2016, 2, 1)
    assert pool.quantity == Decimal("150.5")
    assert (pool.cost_basis, pool.adjusted_basis) == (Decimal("1600.06"), Decimal("1610.06"))
    assert pool_lots((pool, other)) == (pool, other)
    assert pool_lots(()) == ()


def test_canada_knows_no_terms():
    """A share of more than a year is long-term in the US and has no term in Canada."""
    assert term_on(AS_OF, date(2020, 1, 2), TaxRegime.US) is Term.LONG
    assert term_on(AS_OF, LATELY, TaxRegime.US) is Term.SHORT
    assert term_on(AS_OF, LATELY, TaxRegime.CA) is Term.NONE
