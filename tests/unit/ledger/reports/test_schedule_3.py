"""Schedule 3 and net capital losses."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prometheus.domain.lots import Term
from prometheus.foundation.errors import ConfigurationError
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import Posting, PostingKind
from prometheus.ledger.reports.dispositions import disposition_lines
from prometheus.ledger.reports.returns import Return
from prometheus.ledger.reports.schedule_3 import (
    LossUse,
    capital_gains_dividends,
    net_capital_losses,
    schedule_3_line,
    schedules_3,
)
from prometheus.ledger.terms import AssetClass, Terms
from tests.unit.ledger.reports.rows import CANADA, disallowance, sale, terms_for

OWNER = Return("", ("",))
ELECTED = Terms(regime=CANADA.regime, capital_elections={"": 2024}, canadian_securities=frozenset({"XYZ"}))
DENIAL = {"kind": PostingKind.SUPERFICIAL_LOSS}


def sold(day, proceeds, acb, **more: object):
    """Return the posting of a Canadian sale."""
    return sale(day, proceeds, acb, term=Term.NONE, **more)


def covered(day, proceeds, cost, *, account="A", **more: object):
    """Return the posting of a Canadian short sale that is covered with shares bought."""
    row = sold(day, proceeds, cost, kind=PostingKind.COVER_SHORT, account=account, **more)
    return replace(
        row,
        quantity=-row.quantity,
        cash=-Decimal(cost),
        cost_basis=Decimal(proceeds),
        adjusted_basis=Decimal(proceeds),
    )


def filed(postings, years, *, terms=CANADA, filing=OWNER):
    """Return Schedule 3 of postings, year by year."""
    lines = disposition_lines(postings, terms, as_of=date(2030, 1, 1))
    own = [line for line in lines if line.taxpayer in filing.taxpayers]
    return schedules_3(filing, own, capital_gains_dividends(postings, terms), years, terms)


def losses_of(gains, **settings: object):
    """Return net capital losses for gains by year, from the first to the last of them."""
    years = range(min(gains), max(gains) + 1)
    postings = [
        sold(f"{year}-06-21", Decimal(1_000_000) + gain, "1000000", event=f"e{year}") for year, gain in gains.items()
    ]
    earlier = settings.pop("earlier", {})
    return net_capital_losses(filed(postings, years), earlier, **{"carries_back": False, **settings})


def test_a_line_has_the_columns_of_schedule_3():
    """T4037: proceeds 1,010 before a commission of 10, cost 600, outlays 10: a gain of 400."""
    (line,) = disposition_lines([sold("2024-06-21", "1000", "600", acquired="2019-05-02", fee="10")], CANADA)
    row = schedule_3_line(line)
    assert (row.number, row.name, row.year_of_acquisition) == (100, "100 sh. XYZ", 2019)
    assert (row.proceeds, row.adjusted_cost_base, row.outlays, row.gain) == (1010, 600, 10, 400)


def test_the_year_goes_by_settlement():
    """Case 09 (CRA 2012-0468931C6): sold on 31 December 2024 and settled on 2 January 2025, the gain is of 2025."""
    row = sold("2024-12-31", "1500", "1000", tax="2025-01-02", settle="2025-01-02")
    before, after = filed([row], (2024, 2025))
    assert (before.gain, after.gain) == (0, 500)
    assert (after.line_13199, after.line_13200, after.line_12700) == (1500, 500, 250)
    assert (after.lines[0].sold_on, after.lines[0].settled_on) == (date(2024, 12, 31), date(2025, 1, 2))


def test_a_denied_loss_names_the_pool_that_carries_it():
    """IT-456R: 15 of 20 shares sold at a loss of 40 are bought back: 30 are denied and join the owner's pool."""
    terms = terms_for({"A": "Ann", "B": "Bob"}, regime=CANADA.regime)
    row = sold("2024-06-21", "60", "100", shares="20")
    denied = disallowance(row, "30", shares="15", to=LotKey("B", "XYZ"), **DENIAL)
    (line,) = filed([row, denied], [2024], terms=terms, filing=Return("Ann", ("Ann",)))[0].lines
    assert (line.denied_loss, line.gain) == (30, -10)
    (part,) = line.denied
    assert (part.pool_of, part.shares, str(part)) == ("Bob", 15, "30.00 added to the pool of Bob")


def test_a_loss_denied_for_good_is_named():
    """CRA 2022-0940941C6 (case 15): of 1,000 denied, 500 join the pool and 500 are lost to the RRSP's shares."""
    terms = terms_for({"A": "Ann", "RRSP": "Ann"}, sheltered=("RRSP",), regime=CANADA.regime)
    row = sold("2024-06-21", "1000", "2000")
    rows = [
        row,
        disallowance(row, "500", to=LotKey("A", "XYZ"), **DENIAL),
        disallowance(row, "500", to=LotKey("RRSP", "XYZ"), permanent=True, **DENIAL),
    ]
    (line,) = filed(rows, [2024], terms=terms, filing=Return("Ann", ("Ann",)))[0].lines
    assert line.gain == 0
    assert sorted(str(part) for part in line.denied) == [
        "500.00 added to the pool of Ann",
        "500.00 denied for good (RRSP holds the shares)",
    ]


def test_crypto_assets_have_lines_of_their_own():
    """Schedule 3: crypto-assets go to lines 15199 and 15300, shares to 13199 and 13200."""
    terms = Terms(regime=CANADA.regime, asset_classes={"BTC": AssetClass.DIGITAL_ASSET})
    (schedule,) = filed(
        [sold("2024-06-21", "10", "4"), sold("2024-06-22", "7", "5", ticker="BTC")], [2024], terms=terms
    )
    assert (schedule.line_13199, schedule.line_13200, schedule.line_15199, schedule.line_15300) == (10, 6, 7, 2)
    assert (schedule.gain, schedule.line_12700) == (8, 4)


def test_capital_gains_dividends_are_on_line_17400():
    """T5 box 18 goes to line 17400: 80 paid on 3 January 2025 are of 2025, also with an ex-date in December."""
    dividend = Posting(
        PostingKind.CAPITAL_GAINS_DIVIDEND,
        date(2024, 12, 30),
        "A",
        EventKey("A", "d"),
        ticker="FUND",
        cash=Decimal(80),
        settle_date=date(2025, 1, 3),
    )
    before, after = filed([dividend], (2024, 2025))
    assert (before.line_17400, after.line_17400, after.gain, after.line_12700) == (0, 80, 80, 40)
    sheltered = terms_for({"A": ""}, sheltered=("A",), regime=CANADA.regime)
    assert capital_gains_dividends([dividend], sheltered) == {}


def test_short_sales_are_income_unless_elected():
    """ITA s. 39(4), IT-479R par. 18: without the election a short sale is income and in no line of Schedule 3."""
    row = covered("2024-06-21", "5000", "4600")
    (schedule,) = filed([row], [2024])
    assert (schedule.gain, schedule.line_12700, schedule.lines) == (0, 0, ())
    assert schedule.income_shorts == 400
    assert [(line.proceeds, line.adjusted_cost_base, line.gain) for line in schedule.income_lines] == [
        (5000, 4600, 400)
    ]
    (schedule,) = filed([row], [2024], terms=ELECTED)
    assert (schedule.gain, schedule.line_12700) == (400, 200)
    assert (schedule.income_shorts, schedule.income_lines) == (0, ())


def test_an_election_begins_with_its_year_and_holds_for_good():
    """ITA s. 39(4): elected in the return for 2024, a short sale settled in 2023 is income, one of 2026 is not."""
    rows = [
        covered("2023-12-29", "5000", "4600", event="a"),
        covered("2023-12-29", "5000", "4700", event="b", tax="2024-01-02"),
        covered("2026-03-02", "5000", "5200", event="c"),
    ]
    schedules = filed(rows, (2023, 2024, 2025, 2026), terms=ELECTED)
    assert [(each.gain, each.income_shorts) for each in schedules] == [(0, 400), (300, 0), (0, 0), (-200, 0)]


def test_an_election_is_of_its_taxpayer_and_of_canadian_securities():
    """ITA s. 39(4), (6): a short sale of another security, and one of the spouse, stay income."""
    terms = terms_for(
        {"A": "Ann", "B": "Bob"},
        regime=CANADA.regime,
        capital_elections={"Ann": 2024},
        canadian_securities=frozenset({"XYZ"}),
    )
    rows = [
        covered("2024-06-21", "50", "40", event="a"),
        covered("2024-06-21", "50", "42", event="b", ticker="AAPL"),
        covered("2024-06-21", "50", "44", event="c", account="B"),
    ]
    (ann,) = filed(rows, [2024], terms=terms, filing=Return("Ann", ("Ann",)))
    (bob,) = filed(rows, [2024], terms=terms, filing=Return("Bob", ("Bob",)))
    assert [(each.gain, each.income_shorts) for each in (ann, bob)] == [(10, 8), (0, 6)]


def test_the_commission_of_a_cover_is_part_of_its_cost():
    """Sold short for 5,000 net, bought for 4,600 with a commission of 10: cost 4,600 and no outlays."""
    (line,) = filed([covered("2024-06-21", "5000", "4600", fee="10")], [2024], terms=ELECTED)[0].lines
    assert (line.proceeds, line.adjusted_cost_base, line.outlays, line.gain) == (5000, 4600, 0, 400)


def test_a_year_without_an_inclusion_rate_is_refused():
    """A year before the recorded rates is refused by name."""
    with pytest.raises(ConfigurationError, match="1999"):
        filed([], [1999])
    with pytest.raises(ConfigurationError, match="2000-03-01"):
        filed([sold("2000-03-01", "5", "4")], [2000])
    assert filed([sold("2000-11-01", "5", "4")], [2000])[0].line_12700 == Decimal("0.5")


def test_lines_come_by_sale_and_name():
    """Lines of a year come by date sold, then by name, numbers by value."""
    rows = [
        sold("2024-06-22", "5", "4", event="c"),
        sold("2024-06-21", "5", "4", event="b", ticker="T10"),
        sold("2024-06-21", "5", "4", event="a", ticker="T9"),
    ]
    (schedule,) = filed(rows, [2024])
    assert [line.name for line in schedule.lines] == ["100 sh. T9", "100 sh. T10", "100 sh. XYZ"]


# ---------------------------------------------------------------- net capital losses


def test_a_net_capital_loss_goes_forward_to_the_next_gain():
    """A loss of 1,000 in 2020 is 500 net: 200 meet the gain of 400 in 2021, 300 the gain of 1,000 in 2023."""
    losses = losses_of({2020: Decimal(-1000), 2021: Decimal(400), 2022: Decimal(0), 2023: Decimal(1000)})
    assert losses.uses == (LossUse(2020, 2021, Decimal(200)), LossUse(2020, 2023, Decimal(300)))
    assert losses.balances == {}


def test_a_net_capital_loss_can_go_back_three_years():
    """A loss of 2,000 in 2023 is 1,000 net; gains of 2019 are out of reach, those of 2020 to 2022 are 100 + 300."""
    gains = {
        2019: Decimal(5000),
        2020: Decimal(200),
        2021: Decimal(0),
        2022: Decimal(600),
        2023: Decimal(-2000),
        2024: Decimal(400),
    }
    forward = losses_of(gains)
    assert forward.can_go_back == {2023: {2020: 100, 2022: 300}}
    assert forward.uses == (LossUse(2023, 2024, Decimal(200)),)
    assert forward.balances == {2023: 800}
    back = losses_of(gains, carries_back=True)
    assert back.uses == (
        LossUse(2023, 2020, Decimal(100)),
        LossUse(2023, 2022, Decimal(300)),
        LossUse(2023, 2024, Decimal(200)),
    )
    assert back.balances == {2023: 400}


def test_the_oldest_loss_is_claimed_first():
    """Of losses of 100 in 2015 and 50 in 2020, a taxable gain of 120 takes 100 and 20."""
    losses = losses_of({2020: Decimal(-100), 2021: Decimal(240)}, earlier={2015: Decimal(100)})
    assert losses.uses == (LossUse(2015, 2021, Decimal(100)), LossUse(2020, 2021, Decimal(20)))
    assert losses.balances == {2020: 30}


@given(
    st.dictionaries(
        st.integers(2005, 2024), st.integers(-(10**7), 10**7).map(lambda cents: Decimal(cents) / 100), min_size=1
    ),
    st.booleans(),
)
def test_no_net_capital_loss_is_made_or_lost(gains, carries_back):
    """What arises is claimed or left, no year claims more than its taxable gain, and none reaches back too far."""
    years = range(min(gains), max(gains) + 1)
    postings = [
        sold(f"{year}-06-21", Decimal(1_000_000) + gain, "1000000", event=f"e{year}") for year, gain in gains.items()
    ]
    schedules = filed(postings, years)
    losses = net_capital_losses(schedules, {}, carries_back=carries_back)
    arisen = sum((each.net_capital_loss for each in schedules), Decimal(0))
    assert arisen == sum((use.amount for use in losses.uses), Decimal(0)) + sum(losses.balances.values(), Decimal(0))
    for each in schedules:
        claimed = sum((use.amount for use in losses.uses if use.used_in == each.year), Decimal(0))
        assert claimed <= each.line_12700
    assert all(use.used_in >= use.loss_year - 3 for use in losses.uses)
    assert sum(each.gain for each in schedules) == sum(row.realized_gain for row in postings)
