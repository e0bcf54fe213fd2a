"""Freezing an account's day: what is taken, what is flagged, and what holds the phase."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest

from prometheus.decision.build_snapshot import AccountInputs, DayInputs, build_snapshot
from prometheus.decision.snapshot import Snapshot
from prometheus.domain.accounts import Account, LotMethod, Region, TaxRates, TaxRegime
from prometheus.domain.books import Books
from prometheus.domain.lots import RecentTrade, Side
from prometheus.domain.securities import ActionType, BenchmarkDay, CorporateAction, LastPrice, Security
from prometheus.foundation.errors import PhaseHeldError
from prometheus.risk.model import StoredDiagnostics, StoredRiskModel
from tests.unit.decision.small_day import AS_OF, lot

DAY_BEFORE = date(2024, 6, 27)
ACCOUNT = Account(
    account_id="ACC-1",
    name="One",
    region=Region.US,
    base_currency="USD",
    tax_regime=TaxRegime.US,
    lot_method=LotMethod.HIFO,
    benchmark_id="BM",
    rates=TaxRates(Decimal("0.37"), Decimal("0.2"), Decimal("0.038")),
    cash=Decimal(1000),
    fractional_shares=False,
    books_as_of=DAY_BEFORE,
)
SECURITIES = {
    ticker: Security(ticker, ticker, "Energy", "Oil", "PAIR" if ticker in {"BBB", "GONE"} else ticker)
    for ticker in ("AAA", "BBB", "CCC", "GONE")
}
DAY = DayInputs(
    as_of=AS_OF,
    securities=SECURITIES,
    prices={ticker: LastPrice(AS_OF, Decimal(price)) for ticker, price in (("AAA", 40), ("BBB", 20), ("CCC", 10))},
    risk_model=None,
    borrow_rates={"AAA": Decimal("0.01"), "ELSE": Decimal("0.5")},
    splits={},
)
BENCHMARK = BenchmarkDay("BM", date(2024, 6, 3), ("AAA", "BBB"), (Decimal("0.6"), Decimal("0.4")))
MODEL = StoredRiskModel(
    risk_model_id=3,
    as_of_date=AS_OF,
    built_at=datetime(2024, 6, 28, 22, tzinfo=UTC),
    estimator="ewma_pca/1",
    sessions=504,
    tickers=("BBB", "AAA", "CCC"),
    loadings_sha256=bytes(32),
    specific_variance_sha256=b"\x01" * 32,
    factor_covariance=np.array([[0.04]]),
    diagnostics=StoredDiagnostics(fallback=(), floored=(), variance_explained=0.5),
    age_hours=1.0,
)
INPUTS = AccountInputs(
    account=ACCOUNT,
    books=Books((lot("A1", "AAA", "10", "500"), lot("C1", "CCC", "20", "100")), Decimal(1000)),
    older_prices={},
    strategy_version=2,
    max_missing_price_share=0.5,
)


def build(day=DAY, benchmark=BENCHMARK, model=MODEL, **changes: object):
    """Build the snapshot with some of the account's inputs changed."""
    return build_snapshot(replace(INPUTS, **changes), day, benchmark, b"\x02" * 32, model)


def without(ticker):
    """Return the day without a price of one name."""
    return replace(DAY, prices={name: price for name, price in DAY.prices.items() if name != ticker})


def held(found):
    """Return the codes of a snapshot's flags."""
    return [flag.code for flag in found.flags]


def test_universe_is_what_is_held_and_what_is_in_the_benchmark():
    """Names come in alphabetical order with their place in benchmark and risk model, -1 where they have none."""
    found = build()
    assert [(name.ticker, name.benchmark_index, name.risk_index) for name in found.universe] == [
        ("AAA", 0, 1),
        ("BBB", 1, 0),
        ("CCC", -1, 2),
    ]
    assert found.nav() == 10 * 40 + 20 * 10 + 1000
    assert found.benchmark_weights_sha256 == "02" * 32
    assert found.borrow_rates == {"AAA": Decimal("0.01")}
    assert (found.strategy_version, found.risk_model_id, found.flags) == (2, 3, ())
    assert Snapshot.from_json(found.to_json()) == found


def test_correlations_of_the_model_are_named_where_it_has_any():
    """The snapshot carries the address of the model's blocks, and none for a model without."""
    assert build().specific_correlation_sha256 is None
    linked = build(model=replace(MODEL, specific_correlation_sha256=b"\x03" * 32))
    assert linked.specific_correlation_sha256 == "03" * 32


def test_lot_from_the_future_holds_the_phase():
    """A lot bought after the day is refused by name, and one bought on the day is not."""
    late = Books((lot("L9", "AAA", "1", "1", date(2024, 7, 1)),), Decimal(1))
    with pytest.raises(PhaseHeldError, match="Lot L9") as refused:
        build(books=late)
    assert refused.value.code == "LOT_AFTER_DAY"
    assert build(books=Books((lot("L9", "AAA", "1", "1", AS_OF),), Decimal(1))).lots[0].lot_id == "L9"


def test_held_name_without_any_price_holds_the_phase():
    """What is held cannot be valued without some price."""
    with pytest.raises(PhaseHeldError, match="CCC is held") as refused:
        build(day=without("CCC"))
    assert (refused.value.code, refused.value.details) == ("NO_PRICE", {"ticker": "CCC"})


def test_constituent_without_any_price_is_left_out_and_flagged():
    """A name that is only in the benchmark and has no price is left out, with a flag."""
    found = build(day=without("BBB"))
    assert [name.ticker for name in found.universe] == ["AAA", "CCC"]
    assert held(found) == ["UNPRICED_CONSTITUENT"]


def test_earlier_price_is_carried_forward_and_flagged():
    """A name without the day's price is valued at an earlier close, which is said with its date."""
    day = replace(DAY, prices={**DAY.prices, "CCC": LastPrice(DAY_BEFORE, Decimal("9.5"))})
    found = build(day=day)
    assert found.missing_prices() == ("CCC",)
    assert held(found) == ["MISSING_PRICE"]
    assert "2024-06-27" in found.flags[0].message


def test_earlier_price_is_divided_by_the_splits_since():
    """A close from before a two-for-one split is worth half for a share of today; later splits only."""
    day = replace(
        DAY,
        prices={**DAY.prices, "CCC": LastPrice(DAY_BEFORE, Decimal(10))},
        splits={"CCC": ((date(2024, 1, 2), Decimal(7)), (DAY_BEFORE, Decimal(5)), (AS_OF, Decimal(3)))},
    )
    (name,) = (name for name in build(day=day).universe if name.ticker == "CCC")
    assert name.price == Decimal("3.33333333")


def test_price_older_than_the_look_back_serves_a_held_name():
    """For a held name a very old price is better than none."""
    found = build(day=without("CCC"), older_prices={"CCC": LastPrice(date(2023, 1, 3), Decimal(4))})
    assert found.missing_prices() == ("CCC",)
    assert found.nav() == 10 * 40 + 20 * 4 + 1000


def test_too_many_missing_prices_hold_the_phase():
    """More than the allowed share of names without the day's price holds the phase; exactly the share does not."""
    day = replace(DAY, prices={**DAY.prices, "CCC": LastPrice(DAY_BEFORE, Decimal(9))})
    with pytest.raises(PhaseHeldError, match="1 of 3 assets") as refused:
        build(day=day, max_missing_price_share=0.33)
    assert refused.value.code == "MISSING_PRICES"
    assert refused.value.details == {"missing": 1, "names": 3}
    assert held(build(day=day, max_missing_price_share=1 / 3)) == ["MISSING_PRICE"]


def test_account_worth_nothing_holds_the_phase():
    """Without cash and lots there is nothing to invest, which is said instead of a division by zero."""
    with pytest.raises(PhaseHeldError, match="nothing to invest") as refused:
        build(books=Books((), Decimal(0)))
    assert refused.value.code == "NO_ASSETS"


def test_oddities_are_flagged():
    """A tag that selects nothing, trades that were never filled and a name unknown to the model are each flagged."""
    found = build(
        model=replace(MODEL, tickers=("AAA", "BBB")),
        unmatched_tags=("odd",),
        unfilled="2 order(s) of RUN-003 of 2024-06-27 are not filled.",
    )
    assert held(found) == ["UNKNOWN_TAG", "UNFILLED_TRADES", "NO_RISK_DATA"]
    assert "RUN-003 of 2024-06-27" in found.flags[1].message


def test_what_the_books_have_of_the_day_is_recorded():
    """Corporate actions and the gains of the year are in the snapshot as they are given, and come back from JSON."""
    actions = (CorporateAction("CCC", AS_OF, ActionType.SPLIT, Decimal(2)),)
    found = build(corporate_actions=actions, realized_this_year=Decimal("250.5"))
    assert found.corporate_actions == actions
    assert found.realized_this_year == Decimal("250.5")
    assert Snapshot.from_json(found.to_json()) == found


def test_pooled_account_has_one_lot_a_name():
    """Under ACB the lots of a name are one pool in the snapshot."""
    account = replace(ACCOUNT, tax_regime=TaxRegime.CA, lot_method=LotMethod.ACB)
    books = Books((lot("A1", "AAA", "10", "500"), lot("A2", "AAA", "30", "900")), Decimal(0))
    (pool,) = build(account=account, books=books).lots
    assert (pool.quantity, pool.adjusted_basis) == (40, 1400)


def test_loss_sale_of_a_name_that_left_the_universe_still_locks_its_group():
    """Yesterday's loss in a share class that is gone today locks the class that is there."""
    sale = RecentTrade("GONE", DAY_BEFORE, Side.SELL, Decimal(5), realized_gain=Decimal(-30), lot_id="G1")
    found = build(trades=(sale,))
    assert [(lock.subject, lock.until) for lock in found.buy_locks] == [("PAIR", date(2024, 7, 27))]
    assert found.buy_locks[0].cause == "sold 5 GONE at a loss of 30 on 2024-06-27"


def test_recent_purchase_locks_the_loss_lots_of_its_group():
    """A lot bought within 30 days locks the other loss lots of its name, with the purchase named as the cause."""
    books = Books((lot("C1", "CCC", "20", "400"), lot("C2", "CCC", "5", "50", date(2024, 6, 20))), Decimal(0))
    locks = build(books=books).loss_sale_locks
    assert [(lock.subject, lock.until) for lock in locks] == [("C1", date(2024, 7, 20))]
    assert locks[0].cause == "bought 5 CCC on 2024-06-20 (lot C2)"
