import csv
import gzip
import struct
import time
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from prometheus.domain.accounts import LotMethod, Region, TaxRegime
from prometheus.domain.securities import ActionType
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.simulation.demo_files import write_demo_files

MARKET = Path(__file__).resolve().parents[4] / "shared" / "data" / "market"
FILES = ("securities.csv", "prices.csv.gz", "corporate_actions.csv", "benchmark.csv", "accounts.csv", "lots.csv")
FIRST, SECOND, THIRD = date(2025, 9, 3), date(2025, 9, 4), date(2025, 9, 5)


def _rows(path):
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return list(csv.DictReader(text.splitlines()))


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Return the demo of the default seed."""
    return write_demo_files(tmp_path_factory.mktemp("demo") / "made" / "on-demand")


@pytest.fixture(scope="module")
def prices(plan):
    """Return (close, adj_close) by ticker and date; adj_close None where empty."""
    table = defaultdict(dict)
    for row in _rows(plan.prices):
        adjusted = float(row["adj_close"]) if row["adj_close"] else None
        table[row["ticker"]][date.fromisoformat(row["date"])] = (Decimal(row["close"]), adjusted)
    return table


@pytest.fixture(scope="module")
def actions(plan):
    """Return (date, type, value) of each ticker in order of date."""
    table = defaultdict(list)
    for row in _rows(plan.corporate_actions):
        table[row["ticker"]].append((date.fromisoformat(row["date"]), ActionType(row["type"]), Decimal(row["value"])))
    return table


@pytest.fixture(scope="module")
def lots(plan):
    """Return the rows of lots.csv."""
    return _rows(plan.lots)


@pytest.fixture(scope="module")
def accounts(plan):
    """Return the rows of accounts.csv by account."""
    return {row["account_id"]: row for row in _rows(plan.accounts)}


def test_the_same_seed_gives_the_same_bytes(plan, tmp_path):
    """Writing again with the same seed gives the same bytes in every file, within some seconds of processor time."""
    start = time.process_time()
    again = write_demo_files(tmp_path, seed=7)
    assert time.process_time() - start < 10.0  # about 1.5 s
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (plan.prices.parent / name).read_bytes(), name
    assert again.split_ticker == plan.split_ticker


def test_another_seed_gives_another_market(plan, tmp_path):
    """The seed decides prices and lots, and leaves the names and the events' dates alone."""
    other = write_demo_files(tmp_path, seed=8)
    for name in ("prices.csv.gz", "benchmark.csv", "lots.csv"):
        assert (tmp_path / name).read_bytes() != (plan.prices.parent / name).read_bytes()
    assert [row["ticker"] for row in _rows(other.securities)] == [row["ticker"] for row in _rows(plan.securities)]
    assert other.sessions == plan.sessions


def test_the_compressed_file_holds_no_time_of_writing(plan):
    """The time field of the gzip header is zero, or equal content would have other bytes."""
    assert struct.unpack("<I", plan.prices.read_bytes()[4:8]) == (0,)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("securities.csv", "ticker,name,sector,sub_industry,first_date,last_date,missing_days,group"),
        ("corporate_actions.csv", "date,ticker,type,value"),
        ("benchmark.csv", "date,ticker,weight,market_cap_musd,shares_source,shares_asof,benchmark_id"),
        (
            "accounts.csv",
            (
                "account_id,name,region,base_currency,tax_regime,lot_method,benchmark_id,st_rate,lt_rate,niit_rate,"
                "cash,fractional_shares,tags"
            ),
        ),
        ("lots.csv", "account_id,lot_id,ticker,acquired_on,quantity,cost_basis"),
    ],
)
def test_headers_are_those_of_the_real_files(plan, name, header):
    """Column names and their order are those that ingestion reads, with the two documented extra columns."""
    assert (plan.prices.parent / name).read_text().split("\n", 1)[0] == header


def test_prices_are_two_hundred_names_on_sessions_only(plan, prices):
    """Prices cover 200 names from June 2022 through the third demo session, on trading days only."""
    sessions = TradingCalendar.for_region("US").sessions_between(date(2022, 6, 1), THIRD)
    assert plan.sessions == sessions[-3:] == (FIRST, SECOND, THIRD)
    assert len(prices) == 200
    assert {day for history in prices.values() for day in history} == set(sessions)
    assert all(close > 0 for history in prices.values() for close, _ in history.values())


def test_adjusted_closes_follow_from_closes_and_actions(prices, actions):
    """The adjusted series grows by split times (close plus money) over the close before, also over gaps."""
    compared = 0
    for ticker, history in prices.items():
        days = sorted(history)
        for before, today in pairwise(days):
            if history[today][1] is None:
                continue
            shares, cash = Decimal(1), Decimal(0)
            for day, kind, value in actions[ticker]:
                if before < day <= today:
                    if kind in {ActionType.SPLIT, ActionType.SPINOFF_PRICE_FACTOR}:
                        shares *= value
                    else:
                        cash += shares * value
            growth = float((shares * history[today][0] + cash) / history[before][0])
            assert history[today][1] / history[before][1] == pytest.approx(growth, rel=2.5e-5), (ticker, today)
            compared += 1
    assert compared > 150_000


def test_adjusted_closes_end_at_the_close_and_some_names_have_none(prices):
    """On the last day the adjusted close is the close, and a few names come without one altogether."""
    without = [ticker for ticker, history in prices.items() if all(pair[1] is None for pair in history.values())]
    assert 1 <= len(without) <= 10
    for ticker in set(prices) - set(without):
        close, adjusted = prices[ticker][THIRD]
        assert adjusted == pytest.approx(float(close), rel=1e-5)
        assert all(pair[1] is not None for pair in prices[ticker].values())


def test_securities_describe_their_prices(plan, prices):
    """First and last dates and the count of missing days of each security are those of its prices."""
    sessions = TradingCalendar.for_region("US").sessions_between(date(2022, 6, 1), THIRD)
    gaps = []
    for row in _rows(plan.securities):
        days = sorted(prices[row["ticker"]])
        assert row["first_date"] == days[0].isoformat()
        assert row["last_date"] == days[-1].isoformat()
        missing = sessions.index(days[-1]) - sessions.index(days[0]) + 1 - len(days)
        assert int(row["missing_days"]) == missing
        gaps.append(missing)
    assert sum(gap > 0 for gap in gaps) >= 4
    assert sum(row["first_date"] > "2022-06-01" for row in _rows(plan.securities)) == 3


def test_two_pairs_of_share_classes_share_a_group(plan, prices):
    """Exactly two groups have two members each, of one company, and these move nearly together."""
    members = defaultdict(list)
    for row in _rows(plan.securities):
        members[row["group"]].append(row)
    pairs = [rows for rows in members.values() if len(rows) > 1]
    assert [len(rows) for rows in pairs] == [2, 2]
    for one, two in pairs:
        assert one["name"].removesuffix(" Class A") == two["name"].removesuffix(" Class B")
        first, second = prices[one["ticker"]], prices[two["ticker"]]
        for before, today in pairwise(sorted(first)):
            apart = float(first[today][0] / first[before][0] - second[today][0] / second[before][0])
            assert abs(apart) < 0.02


def test_the_events_of_the_demo_happen(plan, prices, actions, lots):
    """The second session has a forward split and a missing price, the third a dividend; several accounts hold each."""
    split = next(value for day, kind, value in actions[plan.split_ticker] if (day, kind) == (SECOND, ActionType.SPLIT))
    assert split == 3
    jump = float(prices[plan.split_ticker][SECOND][0] * split / prices[plan.split_ticker][FIRST][0])
    assert 0.95 < jump < 1.05
    assert [kind for day, kind, _ in actions[plan.dividend_ticker] if day == THIRD] == [ActionType.DIVIDEND]
    assert SECOND not in prices[plan.unpriced_ticker]
    assert {FIRST, THIRD} <= set(prices[plan.unpriced_ticker])
    assert [ticker for ticker, history in prices.items() if SECOND not in history] == [plan.unpriced_ticker]
    for ticker in (plan.split_ticker, plan.dividend_ticker, plan.unpriced_ticker):
        assert len({lot["account_id"] for lot in lots if lot["ticker"] == ticker}) >= 7
    during = [(day, ticker) for ticker, events in actions.items() for day, _, _ in events if day >= FIRST]
    assert sorted(during) == [(SECOND, plan.split_ticker), (THIRD, plan.dividend_ticker)]


def test_history_has_every_kind_of_action(actions):
    """Forward and reverse splits, special dividends and both kinds of spin-off occur, and most names pay dividends."""
    values = defaultdict(list)
    for events in actions.values():
        for _, kind, value in events:
            values[kind].append(value)
    assert min(values[ActionType.SPLIT]) < 1 < max(values[ActionType.SPLIT])
    assert {ActionType.SPECIAL_DIVIDEND, ActionType.SPINOFF_VALUE, ActionType.SPINOFF_PRICE_FACTOR} <= set(values)
    assert len(values[ActionType.DIVIDEND]) > 1500


def test_benchmark_weights_add_to_one_and_follow_market_values(plan, prices):
    """At the start and at each month end, weights are shares of market value and add to exactly one."""
    days = defaultdict(dict)
    for row in _rows(plan.benchmark):
        assert row["benchmark_id"] == plan.benchmark_id == "DEMO200"
        days[date.fromisoformat(row["date"])][row["ticker"]] = (
            Decimal(row["weight"]),
            Decimal(row["market_cap_musd"]),
        )
    assert len(days) == 40
    first, *month_ends = sorted(days)
    assert first == date(2022, 6, 1)
    calendar = TradingCalendar.for_region("US")
    assert all(calendar.next_trading_day(day).month != day.month for day in month_ends)
    assert month_ends[-1] == date(2025, 8, 29)
    for members in days.values():
        assert sum(weight for weight, _ in members.values()) == 1
        total = sum(cap for _, cap in members.values())
        assert all(abs(weight - cap / total) < Decimal("2e-8") for weight, cap in members.values())
        assert set(members) <= set(prices)
        assert max(weight for weight, _ in members.values()) < Decimal("0.12")
    assert len(days[month_ends[-1]]) == 200


def test_the_benchmark_has_names_that_esg_tags_exclude(plan):
    """Tobacco and defence names are in the benchmark, so the tags that exclude them bind."""
    last = {row["ticker"] for row in _rows(plan.benchmark) if row["date"] == "2025-08-29"}
    for sub_industry in ("Tobacco", "Aerospace & Defense"):
        assert sum(row["sub_industry"] == sub_industry and row["ticker"] in last for row in _rows(plan.securities)) >= 3


def test_twenty_accounts_cover_regimes_methods_and_tags(plan, accounts, prices):
    """The fleet has three Canadian accounts, every lot method, whole and fractional shares and every documented tag."""
    assert list(accounts) == [f"ACC-{number:03d}" for number in range(1, 21)]
    canadian = [row for row in accounts.values() if TaxRegime(row["tax_regime"]) is TaxRegime.CA]
    assert len(canadian) == 3
    for row in accounts.values():
        is_canadian = row in canadian
        assert Region(row["region"]) is (Region.CA if is_canadian else Region.US)
        assert row["base_currency"] == ("CAD" if is_canadian else "USD")
        assert (LotMethod(row["lot_method"]) is LotMethod.ACB) is is_canadian
        assert row["benchmark_id"] == plan.benchmark_id
        assert 0 <= Decimal(row["lt_rate"]) <= Decimal(row["st_rate"]) < 1
    assert {LotMethod(row["lot_method"]) for row in accounts.values()} == set(LotMethod)
    assert {row["fractional_shares"] for row in accounts.values()} == {"true", "false"}
    tags = {tag for row in accounts.values() for tag in row["tags"].split(";") if tag}
    employers = {tag.removeprefix("restrict:employer-") for tag in tags if tag.startswith("restrict:employer-")}
    assert len(employers) == 2
    assert employers <= set(prices)
    assert tags - {f"restrict:employer-{ticker}" for ticker in employers} == {
        *("te:tight", "esg:no-tobacco", "esg:no-weapons", "harvest:aggressive", "tilt:low-vol"),
    }


def test_account_values_and_cash(accounts, lots, prices):
    """Accounts are worth 60 thousand to 20 million, with 0.2 to 4 % of it in cash."""
    before = TradingCalendar.for_region("US").previous_trading_day(FIRST)
    invested = defaultdict(Decimal)
    for lot in lots:
        invested[lot["account_id"]] += Decimal(lot["quantity"]) * prices[lot["ticker"]][before][0]
    values = {key: invested[key] + Decimal(row["cash"]) for key, row in accounts.items()}
    assert 60_000 <= min(values.values()) < 70_000
    assert 19_500_000 < max(values.values()) < 20_500_000
    for key, row in accounts.items():
        assert Decimal("0.0018") < Decimal(row["cash"]) / values[key] < Decimal("0.041"), key


def test_lots_were_bought_at_closes_in_todays_shares(lots, prices, actions):
    """Each lot's cost is its shares on the purchase date times that session's close, split-adjusted to the handover."""
    for lot in lots:
        bought = date.fromisoformat(lot["acquired_on"])
        assert bought < FIRST
        close, _ = prices[lot["ticker"]][bought]  # a session, with a price
        shares = Decimal(lot["quantity"])
        for day, kind, value in actions[lot["ticker"]]:
            if kind is ActionType.SPLIT and bought < day <= FIRST:
                shares /= value
        assert abs(shares * close - Decimal(lot["cost_basis"])) <= Decimal("0.005"), lot["lot_id"]


def test_lot_rows_are_numbered_and_in_steps_of_their_account(lots, accounts):
    """Lot ids count within the account, quantities are positive and whole where the account trades whole shares."""
    counted = defaultdict(int)
    for lot in lots:
        counted[lot["account_id"]] += 1
        assert lot["lot_id"] == f"{lot['account_id']}-L{counted[lot['account_id']]:05d}"
        quantity = Decimal(lot["quantity"])
        step = Decimal("0.0001") if accounts[lot["account_id"]]["fractional_shares"] == "true" else Decimal(1)
        assert quantity >= step
        assert quantity % step == 0
    assert set(counted) == set(accounts)
    assert 80 <= min(counted.values()) < max(counted.values()) < 1500


def test_a_quarter_of_the_lots_is_under_water_and_some_are_recent(lots, prices):
    """25 to 30 % of the lots stand at a loss, some were bought within 30 days, and about half are long-term."""
    before = TradingCalendar.for_region("US").previous_trading_day(FIRST)
    under = sum(
        Decimal(lot["cost_basis"]) > Decimal(lot["quantity"]) * prices[lot["ticker"]][before][0] for lot in lots
    )
    recent = sum(date.fromisoformat(lot["acquired_on"]) >= FIRST - timedelta(days=30) for lot in lots)
    long_term = sum(date.fromisoformat(lot["acquired_on"]) < date(2024, 9, 3) for lot in lots)
    assert 0.25 <= under / len(lots) <= 0.30
    assert 0.02 <= recent / len(lots) <= 0.12
    assert 0.4 <= long_term / len(lots) <= 0.8


@pytest.mark.market_data
@pytest.mark.skipif(not MARKET.is_dir(), reason="real market data are not beside the checkout (../shared/data)")
def test_no_name_is_that_of_a_real_company(plan):
    """Neither a ticker nor the first word of a name occurs among the real securities."""
    with (MARKET / "securities.csv").open() as file:
        real = list(csv.DictReader(file))
    words = {word.strip(".,").lower() for row in real for word in row["name"].split()}
    for row in _rows(plan.securities):
        assert row["ticker"] not in {other["ticker"] for other in real}
        assert row["name"].split()[0].lower() not in words
