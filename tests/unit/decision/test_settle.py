"""From target shares to the trade list by lots: exact in cents, never beyond what is held or owned."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from prometheus.decision.day_books import pool_lots
from prometheus.decision.settle import settle
from prometheus.decision.snapshot import LockRecord
from prometheus.domain.accounts import LotMethod, TaxRates, TaxRegime
from prometheus.domain.lots import RecentTrade, ShortPosition, Side, Term
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.errors import AccountingError, OversoldError
from prometheus.ledger.regimes.denials import pool_lot_id
from tests.unit.decision.snapshots import AS_OF, lot, name, snapshot

FREE = StrategyParams(cost_bps=0.0)
ALLOW = replace(FREE, loss_sale_policy="allow")
YESTERDAY = date(2024, 5, 31)


def bought_c(shares):
    """Return a purchase of C the day before that no loss has used yet."""
    quantity = Decimal(shares)
    return RecentTrade("C", YESTERDAY, Side.BUY, quantity, lot_id="c2", unreplaced=quantity)


def test_sale_is_booked_by_lots_in_the_accounts_order():
    """The dearest lot goes first, each lot with its own gain, term and tax; the totals are the lines' sums."""
    done = settle(snapshot(), FREE, {"A": "-120"})
    first, second = done.lines
    assert (first.lot_id, first.quantity, first.amount, first.basis) == ("a2", 100, 5000, 7000)
    assert (first.realized_gain, first.term, first.tax) == (-2000, Term.SHORT, Decimal("-816.00"))
    assert (second.lot_id, second.quantity, second.amount, second.basis) == ("a1", 20, 1000, 400)
    assert (second.realized_gain, second.term, second.tax) == (600, Term.LONG, Decimal("142.80"))
    assert (done.realized_gain_short, done.realized_gain_long, done.realized_gain_other) == (-2000, 600, 0)
    assert (done.tax, done.cash_after, done.disallowed_loss) == (Decimal("-673.20"), 7000, 0)


def test_purchase_opens_a_lot_of_the_day():
    """A purchase names its new lot, has no gain, and costs what it says."""
    done = settle(snapshot(), StrategyParams(cost_bps=5.0), {"A": "3"})
    (line,) = done.lines
    assert (line.side, line.quantity, line.amount, line.cost) == (Side.BUY, 3, 150, Decimal("0.08"))
    assert (line.lot_id, line.acquired_on) == ("ACC-1-20240603-A", AS_OF)
    assert (line.basis, line.realized_gain, line.term, line.disallowed_loss, line.tax) == (None,) * 5
    assert done.cash_after == Decimal("849.92")
    assert done.cost == Decimal("0.08")


def test_amounts_are_whole_cents_and_fractions_of_shares_are_exact():
    """Every amount is rounded to cents line by line, and cash moves by exactly those lines."""
    odd = tuple(name(t, price=Decimal("33.3333")) if t == "A" else name(t) for t in "ABCD")
    done = settle(snapshot(universe=odd, fractional_shares=True), FREE, {"A": "-0.3333", "B": "0.0007"})
    sale = next(line for line in done.lines if line.side is Side.SELL)
    buy = next(line for line in done.lines if line.side is Side.BUY)
    assert (sale.quantity, sale.amount, sale.basis) == (Decimal("0.3333"), Decimal("11.11"), Decimal("23.33"))
    assert (buy.quantity, buy.amount) == (Decimal("0.0007"), Decimal("0.07"))
    assert done.cash_after == Decimal("1011.04")


def test_washed_loss_is_booked_under_allow():
    """Where the policy allows it, a loss that an earlier purchase washes is disallowed and earns no tax."""
    lots = (*snapshot().lots, lot("c2", "C", 50, "1000.00", YESTERDAY))
    done = settle(snapshot(lots=lots, recent_trades=(bought_c(50),)), ALLOW, {"C": "-200"})
    (line,) = done.lines
    assert (line.lot_id, line.realized_gain) == ("c1", -1000)
    assert line.disallowed_loss == 250
    assert line.tax == Decimal("-178.50")
    assert done.disallowed_loss == 250


def test_washed_loss_is_refused_under_forbid():
    """Where the policy forbids it, an answer that washes a loss is not booked at all."""
    lots = (*snapshot().lots, lot("c2", "C", 50, "1000.00", YESTERDAY))
    with pytest.raises(AccountingError, match="would wash a loss of 250"):
        settle(snapshot(lots=lots, recent_trades=(bought_c(50),)), FREE, {"C": "-200"})


def test_buying_the_group_of_a_name_sold_at_a_loss_is_refused_under_forbid():
    """Another share class of the same company washes the loss like the name itself."""
    with pytest.raises(AccountingError, match="would wash"):
        settle(snapshot(), FREE, {"C": "-200", "D": "10"})


def test_loss_of_a_rounding_cent_is_no_deliberate_loss():
    """A lot at its price may lose a cent when part of it is sold; that is booked, also where losses are forbidden."""
    lots = (lot("c1", "C", 3, "60.02"), lot("c2", "C", 50, "1000.00", YESTERDAY))
    priced = tuple(name(t, price=Decimal("20.0067")) if t == "C" else name(t) for t in "ABCD")
    done = settle(snapshot(universe=priced, lots=lots, recent_trades=(bought_c(50),)), FREE, {"C": "-2"})
    (line,) = done.lines
    assert line.lot_id == "c1"
    assert line.realized_gain in {0, Decimal("-0.01")}
    assert line.realized_gain + line.disallowed_loss == 0


def test_locked_lots_are_passed_over():
    """Under 'forbid' the lot method skips locked lots, and what is left is all that can be sold."""
    locked = snapshot(loss_sale_locks=(LockRecord("a2", date(2024, 6, 20), "bought"),))
    (line,) = settle(locked, FREE, {"A": "-100"}).lines
    assert line.lot_id == "a1"
    with pytest.raises(OversoldError):
        settle(locked, FREE, {"A": "-101"})


def test_sale_beside_locked_lots_stays_on_the_grid_of_shares():
    """All that may be sold, to the last digit of a float, is no closed position: no part of a step is sold."""
    lots = (lot("a1", "A", "1926983984.34920003", "9.00"), lot("a2", "A", 50, "9.00"))
    held = snapshot(fractional_shares=True, lots=lots)
    locked = replace(held, loss_sale_locks=(LockRecord("a2", date(2024, 6, 20), "bought"),))
    (line,) = settle(locked, FREE, {"A": "-1926983984.3492"}).lines
    assert (line.lot_id, line.quantity) == ("a1", Decimal("1926983984.3492"))
    alone = replace(held, lots=lots[:1])
    assert settle(alone, FREE, {"A": "-1926983984.3492"}).lines[0].quantity == lots[0].quantity


def test_locked_lots_are_sold_under_allow():
    """Under 'allow' a lock is no obstacle, only a loss without benefit."""
    locked = snapshot(loss_sale_locks=(LockRecord("a2", date(2024, 6, 20), "bought"),))
    assert settle(locked, ALLOW, {"A": "-101"}).lines[0].lot_id == "a2"


def test_more_than_is_held_cannot_be_sold():
    """One share more than the lots hold is refused, never a short position."""
    with pytest.raises(OversoldError):
        settle(snapshot(), FREE, {"A": "-201"})
    with pytest.raises(OversoldError):
        settle(snapshot(), FREE, {"D": "-1"})


def test_what_is_sold_beyond_all_lots_is_sold_short_where_that_is_allowed():
    """Lots go first with their gains; the rest opens a short position without basis and tax, and brings cash."""
    allowed = StrategyParams(cost_bps=10.0, long_max=1.3)
    done = settle(snapshot(), allowed, {"A": "-210", "D": "-4"})
    lots, (first, second) = done.lines[:-2], done.lines[-2:]
    assert sum(line.quantity for line in lots) == 200
    name = f"{snapshot().account_id}-{AS_OF:%Y%m%d}-A-SHORT"
    assert (first.ticker, first.side, first.lot_id, first.acquired_on) == ("A", Side.SELL_SHORT, name, AS_OF)
    assert (first.quantity, first.amount) == (10, 500)
    assert (second.ticker, second.side, second.quantity, second.amount) == ("D", Side.SELL_SHORT, 4, 82)
    assert (second.basis, second.realized_gain, second.term, second.disallowed_loss, second.tax) == (None,) * 5
    assert second.cost == Decimal("0.08")
    assert done.tax == settle(snapshot(), FREE, {"A": "-200"}).tax
    assert done.cash_after == 1000 + 210 * 50 + 82 - done.cost


def test_a_purchase_covers_the_earliest_short_position_first():
    """Each short lot has a line with its proceeds, gain, term and tax; what is bought beyond them is a new lot."""
    early = ShortPosition("s1", "A", date(2024, 1, 5), Decimal(3), Decimal("180.00"))
    late = ShortPosition("s2", "A", date(2024, 2, 5), Decimal(4), Decimal("190.01"), was_held_long=True)
    day = snapshot(lots=(), shorts=(early, late))
    part = settle(day, FREE, {"A": "5"})
    first, second = part.lines
    assert (first.side, first.lot_id, first.acquired_on) == (Side.BUY_TO_COVER, "s1", date(2024, 1, 5))
    assert (first.quantity, first.amount, first.basis, first.realized_gain, first.term) == (3, 150, 180, 30, Term.SHORT)
    # half of 190.01 rounds to the even cent
    assert (second.lot_id, second.quantity, second.basis) == ("s2", 2, Decimal("95.00"))
    assert (second.amount, second.realized_gain, second.term) == (100, Decimal("-5.00"), Term.LONG)
    rates = day.rates
    assert first.tax == 30 * (rates.st + rates.niit)
    assert second.tax == (-5 * (rates.lt + rates.niit)).quantize(Decimal("0.01"))
    assert part.cash_after == day.cash - 250
    assert (part.realized_gain_short, part.realized_gain_long) == (30, -5)
    beyond = settle(day, FREE, {"A": "9"})
    assert [(line.side, line.quantity) for line in beyond.lines] == [
        (Side.BUY, 2),
        (Side.BUY_TO_COVER, 3),
        (Side.BUY_TO_COVER, 4),
    ]


def test_a_canadian_short_sale_is_a_line_without_a_lot():
    """Where short sales are not settled the list is an answer, and its cash is that of the sale."""
    canadian = snapshot(tax_regime=TaxRegime.CA, lot_method=LotMethod.ACB, lots=())
    done = settle(canadian, StrategyParams(cost_bps=0.0, long_max=1.3), {"D": "-4"})
    (line,) = done.lines
    assert (line.side, line.lot_id, line.amount) == (Side.SELL_SHORT, None, 82)
    assert done.cash_after == canadian.cash + 82


def test_cash_never_becomes_negative():
    """Trades that would leave less than nothing, costs included, are refused."""
    assert settle(snapshot(), FREE, {"A": "20"}).cash_after == 0
    with pytest.raises(AccountingError, match="may not borrow"):
        settle(snapshot(), StrategyParams(cost_bps=5.0), {"A": "20"})
    with pytest.raises(AccountingError):
        settle(snapshot(), FREE, {"A": "21"})


def test_sales_pay_for_purchases_of_the_same_day():
    """What is sold today may be spent today."""
    assert settle(snapshot(), FREE, {"B": "-10", "A": "40"}).cash_after == 0


def test_pooled_lots_have_no_term():
    """A Canadian sale comes from the pool at average cost, with one rate and no term."""
    rates = TaxRates(Decimal("0.25"), Decimal("0.25"))
    pooled = snapshot(tax_regime=TaxRegime.CA, lot_method=LotMethod.ACB, rates=rates, lots=pool_lots(snapshot().lots))
    done = settle(pooled, FREE, {"A": "-50"})
    (line,) = done.lines
    assert (line.lot_id, line.basis, line.realized_gain, line.term) == (pool_lot_id("A"), 2250, 250, Term.NONE)
    assert (line.tax, done.realized_gain_other) == (Decimal("62.50"), 250)


def test_no_trades_settle_to_nothing():
    """Without target shares the books stay as they are."""
    done = settle(snapshot(), FREE, {})
    assert (done.lines, done.cash_after, done.tax) == ((), 1000, 0)


def test_purchase_that_denies_an_earlier_canadian_loss_is_refused_under_forbid():
    """Buying back within thirty days what a pool lost on is refused as it is in the US; another name may be bought."""
    rates = TaxRates(Decimal("0.25"), Decimal("0.25"))
    loss = RecentTrade(
        "C",
        YESTERDAY,
        Side.SELL,
        Decimal(40),
        Decimal(-120),
        lot_id=pool_lot_id("C"),
        acquired_on=date(2020, 1, 2),
        execution_id="e1",
    )
    pooled = snapshot(
        tax_regime=TaxRegime.CA,
        lot_method=LotMethod.ACB,
        rates=rates,
        lots=pool_lots(snapshot().lots),
        recent_trades=(loss,),
    )
    with pytest.raises(AccountingError, match="would wash a loss of 30"):
        settle(pooled, FREE, {"D": "10"})
    assert [line.ticker for line in settle(pooled, FREE, {"B": "1"}).lines] == ["B"]
    long_past = replace(loss, trade_date=AS_OF - timedelta(days=31))
    assert settle(replace(pooled, recent_trades=(long_past,)), FREE, {"D": "10"}).lines[0].ticker == "D"
