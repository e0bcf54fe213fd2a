"""The stored form of a snapshot is an exact inverse of the snapshot."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prometheus.decision.snapshot import Flag, LockRecord, Snapshot, UniverseName, opened
from prometheus.domain.accounts import LotMethod, TaxRates, TaxRegime
from prometheus.domain.lots import RecentTrade, ShortPosition, Side, TaxLot
from prometheus.domain.rebalancing import Rebalancing
from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.canonical import canonical_json
from prometheus.foundation.errors import PrometheusError
from tests.unit.decision.snapshots import AS_OF, snapshot

DATES = st.dates(date(2000, 1, 1), date(2030, 1, 1))
MONEY = st.decimals(-(10**9), 10**9, places=2)
POSITIVE = st.decimals("0.0001", 10**6, places=4)
SHARES = st.decimals(0, 10**6, places=4)
RATES = st.decimals(0, 1, places=6)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
TICKERS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ.", min_size=1, max_size=5)
MAYBE_WORD = st.none() | WORDS
LOCKS = st.lists(st.builds(LockRecord, WORDS, DATES, WORDS), max_size=3).map(tuple)

TRADES = st.builds(
    RecentTrade,
    ticker=TICKERS,
    trade_date=DATES,
    side=st.sampled_from(Side),
    quantity=POSITIVE,
    realized_gain=MONEY,
    lot_id=MAYBE_WORD,
    unreplaced=st.none() | SHARES,
    washed_quantity=SHARES,
    disallowed_loss=MONEY,
    acquired_on=st.none() | DATES,
    holding_period_start=st.none() | DATES,
    execution_id=MAYBE_WORD,
)


@st.composite
def snapshots(draw):
    """Draw a snapshot whose parts agree with each other."""
    as_of = draw(DATES)
    tickers = draw(st.lists(TICKERS, unique=True, min_size=1, max_size=5))
    universe = tuple(
        UniverseName(
            ticker=ticker,
            price=draw(POSITIVE),
            price_date=draw(st.just(as_of) | DATES),
            sector=draw(WORDS),
            sub_industry=draw(WORDS | st.just("")),
            group=draw(st.just(ticker) | WORDS),
            benchmark_index=draw(st.integers(-1, 500)),
            risk_index=draw(st.integers(-1, 500)),
        )
        for ticker in tickers
    )
    lots = tuple(
        TaxLot(
            lot_id=lot_id,
            ticker=draw(st.sampled_from(tickers)),
            acquired_on=draw(DATES),
            quantity=draw(POSITIVE),
            cost_basis=draw(MONEY),
            adjusted_basis=draw(MONEY),
            holding_period_start=draw(DATES),
        )
        for lot_id in draw(st.lists(WORDS, unique=True, max_size=5))
    )
    return Snapshot(
        account_id=draw(WORDS),
        as_of=as_of,
        base_currency="USD",
        tax_regime=draw(st.sampled_from(TaxRegime)),
        lot_method=draw(st.sampled_from(LotMethod)),
        fractional_shares=draw(st.booleans()),
        tags=tuple(draw(st.lists(WORDS, max_size=3))),
        strategy_id=draw(WORDS),
        strategy_version=draw(st.integers(1, 99)),
        rates=TaxRates(draw(RATES), draw(RATES), draw(RATES)),
        cash=draw(MONEY),
        benchmark_id=draw(WORDS),
        benchmark_effective_date=draw(DATES),
        benchmark_weights_sha256="ab" * 32,
        risk_model_id=draw(st.integers(1, 10**9)),
        risk_model_as_of=draw(DATES),
        loadings_sha256="cd" * 32,
        specific_variance_sha256="ef" * 32,
        factor_covariance=tuple(tuple(draw(st.floats(-10, 10, allow_nan=False)) for _ in range(2)) for _ in range(2)),
        universe=universe,
        lots=lots,
        recent_trades=tuple(draw(st.lists(TRADES, max_size=4))),
        buy_locks=draw(LOCKS),
        loss_sale_locks=draw(LOCKS),
        borrow_rates={ticker: draw(RATES) for ticker in draw(st.lists(st.sampled_from(tickers), unique=True))},
        corporate_actions=tuple(
            draw(
                st.lists(st.builds(CorporateAction, TICKERS, DATES, st.sampled_from(ActionType), POSITIVE), max_size=3)
            )
        ),
        flags=tuple(draw(st.lists(st.builds(Flag, WORDS, WORDS), max_size=3))),
        specific_correlation_sha256=draw(st.sampled_from([None, "12" * 32])),
        rebalancing=draw(st.sampled_from(Rebalancing)),
        last_whole=draw(st.one_of(st.none(), DATES)),
        shorts=tuple(
            draw(
                st.lists(
                    st.builds(
                        ShortPosition,
                        WORDS,
                        st.sampled_from(tickers),
                        DATES,
                        POSITIVE,
                        MONEY,
                        st.booleans(),
                        st.booleans(),
                    ),
                    max_size=3,
                )
            )
        ),
    )


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(snapshots())
def test_reading_back_gives_the_same_snapshot(one):
    """What is written as JSON text and read back equals what was frozen, and writes the same text again."""
    stored = json.loads(canonical_json(one.to_json()))
    again = Snapshot.from_json(stored)
    assert again == one
    assert canonical_json(again.to_json()) == canonical_json(one.to_json())


def test_replacement_shares_used_up_are_not_forgotten():
    """A purchase all of whose shares have served as replacements is not read back as one that is still unused."""
    used = RecentTrade("A", AS_OF, Side.BUY, Decimal(10), lot_id="a9", unreplaced=Decimal(0))
    unknown = RecentTrade("A", AS_OF, Side.BUY, Decimal(10), lot_id="a8")
    one = snapshot(recent_trades=(used, unknown))
    assert [trade.unreplaced for trade in Snapshot.from_json(one.to_json()).recent_trades] == [0, None]


def test_what_follows_from_other_columns_is_not_spelled_out():
    """Lots that bear the engine's names, and locks of lots with the same cause, are short and come back in full."""
    base = snapshot()
    ticker = base.universe[0].ticker
    lots = tuple(
        TaxLot(lot_id, ticker, AS_OF, Decimal(1), Decimal(2), Decimal(2), AS_OF)
        for lot_id in (f"{base.account_id}-{AS_OF:%Y%m%d}-{ticker}", "from-elsewhere", "=")
    )
    locks = tuple(LockRecord(lot.lot_id, AS_OF, "bought 3 of it") for lot in lots[:2])
    one = replace(base, lots=lots[:2], loss_sale_locks=locks)
    stored = one.to_json()
    assert stored["lots"]["lot_id"] == "= from-elsewhere"
    assert stored["loss_sale_locks"] == {
        "lot": "0..1",
        "causes": [[AS_OF.isoformat(), "bought 3 of it"]],
        "cause": "0*2",
    }
    assert Snapshot.from_json(stored) == one
    assert opened(stored)["lots"]["lot_id"] == [lot.lot_id for lot in lots[:2]]
    assert opened(stored)["loss_sale_locks"] == [[lock.subject, AS_OF.isoformat(), lock.cause] for lock in locks]
    misleading = replace(base, lots=lots)
    assert Snapshot.from_json(misleading.to_json()) == misleading


def test_snapshot_of_an_unknown_version_is_refused():
    """A snapshot written by a later version says so instead of being misread."""
    with pytest.raises(PrometheusError, match="newer version"):
        Snapshot.from_json({**snapshot().to_json(), "version": 6})


def test_only_short_positions_make_a_snapshot_of_the_newest_version():
    """A program that knows no short positions refuses a day that has some, and reads every other one."""
    short = ShortPosition("s1", "A", AS_OF, Decimal(3), Decimal("60.00"), was_held=True)
    stored = snapshot(shorts=(short,)).to_json()
    assert (stored["version"], stored["shorts"]) == (5, [["s1", "A", AS_OF.isoformat(), "3", "60.00", True, False]])
    assert Snapshot.from_json(stored).shorts == (short,)
    plain = snapshot().to_json()
    assert plain["version"] == 4
    assert "shorts" not in plain


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_day_was_whole_before_there_was_a_calendar(version):
    """A snapshot of an earlier version is read as one of a whole rebalancing, with none known before it."""
    stored = snapshot().to_json()
    del stored["rebalancing"]
    read = Snapshot.from_json({**stored, "version": version})
    assert (read.rebalancing, read.last_whole) == (Rebalancing.WHOLE, None)


def test_snapshot_of_the_first_version_is_read_as_one_without_correlations():
    """A run persisted before specific returns could be linked is read as it was."""
    stored = snapshot().to_json()
    del stored["risk_model"]["specific_correlation_sha256"]
    assert Snapshot.from_json({**stored, "version": 1}) == snapshot()


def test_nav_is_cash_and_every_lot_at_its_price():
    """Net asset value is exact, and names valued at an earlier close are told."""
    one = snapshot()
    assert one.nav() == 30_000
    assert one.missing_prices() == ()
