"""Canada: pools by taxpayer, superficial losses with the counts of day 30, settlement dates."""

from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from prometheus.domain.accounts import AccountKind, LotMethod, TaxRegime
from prometheus.ledger import events as ev
from prometheus.ledger.fold import advance, fold
from prometheus.ledger.keys import EVERY_ACCOUNT, EventKey, LotKey
from prometheus.ledger.postings import DISALLOWANCES, DISPOSITIONS, PostingKind
from prometheus.ledger.regimes.canada import merged
from prometheus.ledger.state import EMPTY, Lot
from prometheus.ledger.terms import AccountTerms, AssetClass, Terms
from prometheus.ledger.tie_rules import tie_rules
from tests.unit.ledger.told import events_of, sums_of, sums_of_state

ZERO = Decimal(0)
#: A day on which nothing that concerns a test happens, after every window.
LATER = "2030-01-02,A,LATER,BUY,1,1"


class Told:
    """A Canadian history booked: pools by taxpayer and ticker, dispositions in the order of their days.

    ``plans`` are registered plans, ``taxpayers`` account to taxpayer; all other accounts belong to one taxpayer.
    """

    def __init__(self, text, *, plans=(), taxpayers=None, settled=True, **settings: object) -> None:
        accounts = {plan: AccountTerms(kind=AccountKind.SHELTERED) for plan in plans}
        accounts |= {account: AccountTerms(taxpayer=name) for account, name in (taxpayers or {}).items()}
        self.terms = Terms(regime=TaxRegime.CA, accounts=accounts, **settings)
        events = events_of(text) if isinstance(text, str) else list(text)
        if settled:
            events += [ev.Buy(
                account="A", event_id="later", trade_date=date(2035, 1, 2), ticker="LATER", quantity=Decimal(1),
                amount=ZERO,
            )]  # fmt: skip
        self.events = events
        self.state, self.postings, self.findings = fold(events, self.terms)
        assert sums_of(self.postings) == sums_of_state(self.state)
        self.gains, self.bases, self.denied = defaultdict(lambda: ZERO), defaultdict(lambda: ZERO), {}
        self.for_good = ZERO
        for row in self.postings:
            if row.kind in DISPOSITIONS:
                self.gains[row.event] += row.realized_gain
                self.bases[row.event] -= row.adjusted_basis
            if row.kind in DISALLOWANCES:
                self.denied[row.loss.event] = self.denied.get(row.loss.event, ZERO) + row.realized_gain
                self.for_good += row.realized_gain if row.loss.is_permanent else ZERO

    @property
    def sold(self):
        """Return gain and denied loss of each disposition, in the order of booking."""
        return [(gain, self.denied.get(event, ZERO)) for event, gain in self.gains.items()]

    @property
    def disallowed(self):
        """Return what is denied of all losses."""
        return sum(self.denied.values(), ZERO)

    @property
    def recognized(self):
        """Return the gain of taxable accounts that counts."""
        gains = [gain for event, gain in self.gains.items() if not self.terms.is_sheltered(event.account)]
        return sum(gains, ZERO) + self.disallowed

    def pool(self, ticker="X", taxpayer=""):
        """Return shares and cost of a taxpayer's pool, of accounts named or not."""
        lots = [
            lot
            for lot in self.state.lots.values()
            if lot.ticker == ticker
            and not self.terms.is_sheltered(lot.key.account)
            and self.terms.taxpayer_of(lot.key.account) == taxpayer
        ]
        return sum((lot.quantity for lot in lots), ZERO), sum((lot.adjusted_basis for lot in lots), ZERO)

    def cost(self, ticker="X", taxpayer=""):
        """Return the cost of a taxpayer's pool."""
        return self.pool(ticker, taxpayer)[1]

    def position(self, account, ticker="X"):
        """Return an account's part of a pool."""
        return self.state.lots.get((account, f"ACB-{ticker}"))

    def kinds(self, *kinds: PostingKind):
        """Return the postings of some kinds."""
        return [row for row in self.postings if row.kind in kinds]


# ---------------------------------------------------------------- pools: ITA s. 47(1)


def test_purchases_of_a_security_become_one_pool():
    """Shares and costs are summed, commissions included, and the pool dates from its earliest purchase."""
    told = Told("2017-03-01,A,X,BUY,50,600.05\n2018-02-01,A,X,BUY,100.5,1000.01")
    lot = told.position("A")
    assert (lot.quantity, lot.cost_basis, lot.adjusted_basis) == (Decimal("150.5"), Decimal("1600.06"), lot.cost_basis)
    assert lot.acquired_on == lot.holding_period_start == date(2017, 3, 1)


def test_each_security_has_its_own_pool():
    """Identical by policy or not, every ticker has a pool."""
    told = Told("2016-01-04,A,ZZ,BUY,1,10\n2016-01-04,A,AA,BUY,2,20", groups={"ZZ": "G", "AA": "G"})
    assert (told.cost("AA"), told.cost("ZZ")) == (20, 10)


def test_one_pool_over_all_taxable_accounts():
    """ITA s. 47(1): 10 for 100 in one account and 30 for 500 in another are 40 for 600; 10 sold anywhere cost 150."""
    told = Told("2019-01-02,A,X,BUY,10,100\n2019-03-04,B,X,BUY,30,500\n2019-09-03,A,X,SELL,10,155")
    (sale,) = told.kinds(PostingKind.SELL)
    assert (sale.adjusted_basis, sale.realized_gain, sale.term) == (-150, 5, "NONE")
    assert told.pool() == (30, 450)
    assert (told.position("A"), told.position("B").quantity) == (None, 30)


def test_a_share_costs_the_same_in_every_account():
    """A purchase in one account moves cost to the other by POOL rows that add up to nothing."""
    told = Told("2019-01-02,A,X,BUY,10,100\n2019-03-04,B,X,BUY,30,500")
    assert (told.position("A").adjusted_basis, told.position("B").adjusted_basis) == (150, 450)
    assert [(row.account, row.adjusted_basis) for row in told.kinds(PostingKind.POOL)] == [("A", 50), ("B", -50)]


def test_a_sale_leaves_the_cost_of_a_share_unchanged_to_the_cent():
    """Three shares for 10.00 in two accounts: one sold costs 3.33 wherever it is, 6.67 are left for two."""
    for account in ("A", "B"):
        told = Told(f"2019-01-02,A,X,BUY,2,6\n2019-01-02,B,X,BUY,1,4\n2019-09-03,{account},X,SELL,1,5")
        assert told.sold == [(Decimal("1.67"), 0)]
        assert told.pool() == (2, Decimal("6.67"))


def test_case_11_spouses_have_pools_of_their_own():
    """ITA s. 47(1): 100 for 1,000 sold for 1,500 are a gain of 500, whatever the spouse's shares cost."""
    told = Told(
        "2024-01-04,ME,X,BUY,100,1000\n2024-01-05,SPOUSE,X,BUY,100,3000\n2024-06-04,ME,X,SELL,100,1500",
        taxpayers={"ME": "me", "SPOUSE": "spouse"},
    )
    assert told.sold == [(500, 0)]
    assert told.cost(taxpayer="spouse") == 3000


def test_an_account_sells_only_what_it_holds():
    """The pool may hold enough, the account does not: the event is refused."""
    told = Told("2019-01-02,A,X,BUY,10,100\n2019-03-04,B,X,BUY,30,500\n2019-09-03,A,X,SELL,11,155")
    assert [found.code for found in told.findings] == ["OVERSOLD"]


def test_lots_named_make_no_difference():
    """All shares of a pool cost the same, so a sale that names a purchase sells from the pool."""
    told = Told("2019-01-02,A,X,BUY,10,100,one\n2019-01-03,A,X,BUY,10,200,two\n2019-09-03,A,X,SELL,10,155,two")
    assert (told.findings, told.sold) == ((), [(5, 0)])


@pytest.mark.parametrize(("choice", "basis"), [("SALES_FIRST", 100), ("PURCHASES_FIRST", 150)])
def test_same_day_trades_decide_a_cost(choice, basis):
    """Ten for 100 are sold on the day ten more are bought for 200: they cost 100, or the average of 300/20 each."""
    text = "2019-01-02,A,X,BUY,10,100\n2019-06-03,A,X,SELL,10,300\n2019-06-03,A,X,BUY,10,200"
    told = Told(text, ties=tie_rules({"same_day_trades": choice}))
    assert told.sold == [(300 - basis, 0)]


def test_a_transfer_between_accounts_of_a_taxpayer_changes_no_pool():
    """Four of ten shares that move cost 40 in the other account, and realise nothing."""
    told = Told("2019-01-02,A,X,BUY,10,100\n2019-06-03,A,X,TRANSFER_OUT,4,,,B\n2019-06-04,B,X,SELL,4,60")
    assert told.sold == [(20, 0)]
    assert (told.position("A").quantity, told.position("B")) == (6, None)


def test_shares_pass_between_spouses_at_their_cost():
    """ITA s. 73(1): a transfer to a spouse realises nothing; the spouse's pool gets the cost."""
    told = Told(
        "2019-01-02,A,X,BUY,10,100\n2019-01-02,S,X,BUY,10,300\n2019-06-03,A,X,TRANSFER_OUT,4,,,S",
        taxpayers={"S": "spouse"},
    )
    assert (told.cost(), told.pool(taxpayer="spouse"), told.sold) == (60, (14, 340), [])


def test_shares_do_not_pass_into_a_plan_untaxed():
    """A contribution in kind is a disposition at market value, which a transfer does not tell: it is refused."""
    told = Told("2019-01-02,A,X,BUY,10,100\n2019-06-03,A,X,TRANSFER_OUT,4,,,P", plans=["P"])
    assert [found.code for found in told.findings] == ["TRANSFER_ACROSS_SHELTER"]


# ---------------------------------------------------------------- superficial losses: ITA s. 54, IT-456R par. 12


@pytest.mark.parametrize(
    ("sold", "acquired", "held", "denied"),
    [(20, 15, 45, 15), (99, 25, 26, 25), (10, 20, 30, 10), (10, 20, 0, 0), (10, 20, 4, 4), (10, 0, 30, 0)],
)
def test_the_least_of_three_numbers_is_denied(sold, acquired, held, denied):
    """The shares whose loss is denied are the least of shares sold, shares acquired and shares held on day 30."""
    first = held + sold if held > acquired else sold
    # Shares held on day 30 are what is left after a sale on day 20.
    away = first - sold + acquired - held
    rows = [f"2019-01-02,A,X,BUY,{first},{first * 10}", f"2019-06-03,A,X,SELL,{sold},{sold * 9}"]
    if acquired:
        rows.append(f"2019-06-10,A,X,BUY,{acquired},{acquired * 9}")
    if away > 0:
        rows.append(f"2019-06-23,A,X,SELL,{away},{away * 90}")
    told = Told("\n".join(rows))
    assert told.sold[0] == (-sold, denied)


def test_vector_8_it_456r():
    """IT-456R par. 12: of 20 sold 15 are reacquired and 45 held on day 30: 15/20 of 100 = 75 is denied."""
    told = Told("2019-01-02,A,X,BUY,50,500\n2019-06-03,A,X,SELL,20,100\n2019-06-10,A,X,BUY,15,90")
    # 500 - 200 sold + 90 bought + 75 denied; the cost without carried losses is 390
    assert (told.sold, told.cost(), told.position("A").cost_basis) == ([(-100, 75)], 465, 390)
    assert told.recognized == -25


def test_vector_9_a_pool():
    """302/100 x 99 = 298.98; 198 - 298.98 = -100.98; 25/99 of it is 25.50; 3.02 + 57 + 25.50 = 85.52 on 26 shares."""
    start = date(2019, 1, 2)
    told = Told(
        f"{start},A,X,BUY,100,302\n{start + timedelta(50)},A,X,SELL,99,198\n{start + timedelta(51)},A,X,BUY,25,57"
    )
    assert told.sold == [(Decimal("-100.98"), Decimal("25.50"))]
    assert told.recognized == Decimal("-75.48")
    assert told.pool() == (26, Decimal("85.52"))


@pytest.mark.parametrize(("days", "denied"), [(-31, 0), (-30, 100), (0, 100), (30, 100), (31, 0)])
def test_the_window_has_61_days(days, denied):
    """Purchases count from 30 days before to 30 days after the sale."""
    sold = date(2018, 6, 1)
    told = Told(f"2016-01-04,A,X,BUY,50,1000\n{sold},A,X,SELL,10,100\n{sold + timedelta(days)},A,X,BUY,10,200")
    assert told.sold == [(-100, denied)]


def test_nothing_held_means_no_superficial_loss():
    """ITA s. 54 "superficial loss" (b): 15 bought back but sold again on day 30, so nothing is denied."""
    told = Told(
        """
        2019-01-02,A,X,BUY,50,500
        2019-06-03,A,X,SELL,50,400
        2019-06-10,A,X,BUY,15,90
        2019-07-03,A,X,SELL,15,100
        """
    )
    assert told.sold == [(-100, 0), (10, 0)]
    assert (told.disallowed, told.cost()) == (0, 0)


@pytest.mark.parametrize(
    ("sold_again", "denied", "gain"),
    [("2019-07-03", 50, Decimal("557.78")), ("2019-07-04", 75, Decimal("538.33"))],
)
def test_what_is_held_at_the_end_limits_the_denial(sold_again, denied, gain):
    """ITA s. 54: sold 20, bought 15, held on day 30 (3 July): 10 after a sale that day, 45 before one on 4 July."""
    told = Told(
        f"""
        2019-01-02,A,X,BUY,50,500
        2019-06-03,A,X,SELL,20,100
        2019-06-10,A,X,BUY,15,90
        {sold_again},A,X,SELL,35,900
        """
    )
    # min(20, 15, 10)/20 = 50 or min(20, 15, 45)/20 = 75 of 100; the sale costs 35/45 of 390 + 50 or of 390 + 75
    assert told.sold == [(-100, denied), (gain, 0)]


def test_sales_inside_the_window_cost_what_is_denied_in_the_end():
    """Sales of 20 and 15 before day 30 leave 10: the first sale, booked with 75 denied, is put right to 50."""
    told = Told(
        """
        2019-01-02,A,X,BUY,50,500
        2019-06-03,A,X,SELL,20,100
        2019-06-10,A,X,BUY,15,90
        2019-07-01,A,X,SELL,20,400
        2019-07-02,A,X,SELL,15,400
        """
    )
    # (390 + 50) x 20/45 = 195.56; 244.44 x 15/25 = 146.66; 97.78 left
    assert told.sold == [(-100, 50), (Decimal("204.44"), 0), (Decimal("253.34"), 0)]
    assert told.cost() == Decimal("97.78")
    corrections = [row for row in told.kinds(PostingKind.SELL) if not row.quantity]
    assert [(row.day, row.tax_date, row.realized_gain, row.cash) for row in corrections] == [
        (date(2019, 7, 2), date(2019, 7, 3), Decimal("11.11"), 0),
        (date(2019, 7, 2), date(2019, 7, 4), Decimal("8.34"), 0),
    ]


def test_a_loss_beside_a_purchase_of_the_days_before():
    """Forty of 100 sold at 5, ten bought 12 days before: 240 lost, 60 denied, 720 left; nothing where all are sold."""
    bought = "2015-01-05,A,X,BUY,90,1000\n2018-05-20,A,X,BUY,10,100"
    told = Told(f"{bought}\n2018-06-01,A,X,SELL,40,200")
    assert (told.sold, told.cost()) == ([(-240, 60)], 720)
    everything = Told(f"{bought}\n2018-06-01,A,X,SELL,100,500")
    assert (everything.sold, everything.cost()) == ([(-600, 0)], 0)


def test_a_second_purchase_denies_the_rest_only():
    """With each further purchase only what is not yet denied goes into the pool, and the parts add up to the cent."""
    told = Told(
        "2016-01-04,A,X,BUY,13,1300\n2018-06-01,A,X,SELL,3,200\n"
        + "\n".join(f"2018-06-{day},A,X,BUY,1,10" for day in (11, 12, 13, 14))
    )
    denied = [row.realized_gain for row in told.kinds(PostingKind.SUPERFICIAL_LOSS)]
    assert denied == [Decimal("33.33"), Decimal("33.34"), Decimal("33.33")]
    assert [row.loss.shares for row in told.kinds(PostingKind.SUPERFICIAL_LOSS)] == [1, 1, 1]


def test_acquired_shares_are_not_used_up():
    """Each disposition is looked at by itself: two losses of 10 shares are both denied by one purchase of 10."""
    told = Told(
        """
        2019-01-02,A,X,BUY,40,400
        2019-06-03,A,X,SELL,10,90
        2019-06-04,A,X,SELL,10,80
        2019-06-10,A,X,BUY,10,90
        """
    )
    assert told.sold == [(-10, 10), (-20, 20)]
    assert told.cost() == 200 + 90 + 30


def test_a_loss_waits_for_the_shares_that_will_carry_it():
    """All is sold at a loss after a purchase, and bought again before day 30: the new pool carries what is denied."""
    told = Told(
        """
        2019-01-02,A,X,BUY,40,400
        2019-05-27,A,X,BUY,10,100
        2019-06-03,A,X,SELL,50,400
        2019-06-20,A,X,BUY,20,150
        """
    )
    # loss 100 on 50; bought in the window 30, held on day 30: 20; 100 x 20/50 = 40
    assert (told.disallowed, told.cost()) == (40, 190)


def test_a_chain_of_losses_ends_in_the_last_shares():
    """Each purchase is sold at a loss and bought again: the last pool carries all losses, nothing counts."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100
        2019-06-03,A,X,SELL,10,90
        2019-06-10,A,X,BUY,10,95
        2019-06-17,A,X,SELL,10,80
        2019-06-24,A,X,BUY,10,85
        """
    )
    # 10; then 95 + 10 - 80 = 25; the last pool costs 85 + 25
    assert told.sold == [(-10, 10), (-25, 25)]
    assert (told.recognized, told.cost()) == (0, 110)


def test_the_loss_goes_to_the_identical_property_that_was_acquired():
    """Bought back under another ticker of the group, the loss goes into that ticker's pool."""
    told = Told(
        "2016-01-04,A,X,BUY,20,2000\n2018-06-01,A,X,SELL,10,900\n2018-06-11,A,XB,BUY,10,1000",
        groups={"X": "G", "XB": "G"},
    )
    assert (told.cost("X"), told.cost("XB")) == (1000, 1100)


def test_a_loss_is_divided_over_the_identical_properties_acquired():
    """Bought back as 6 of one ticker and 3 of another and all held: 2/3 and 1/3 of the denied 90 go to their pools.

    Old: all of it to the pool of the earliest purchase. Source: CRA 2022-0940941C6, by the substituted property held.
    """
    told = Told(
        "2016-01-04,A,X,BUY,20,2000\n2018-06-01,A,X,SELL,10,900\n2018-06-11,A,XB,BUY,6,60\n2018-06-12,A,X,BUY,3,30",
        groups={"X": "G", "XB": "G"},
    )
    assert (told.disallowed, told.cost("X"), told.cost("XB")) == (90, 1000 + 30 + 30, 60 + 60)


def test_identical_property_held_stands_in_for_what_was_acquired_and_sold():
    """The ticker acquired is gone on day 30, an identical one is held: its pool carries the loss."""
    told = Told(
        """
        2016-01-04,A,X,BUY,20,2000
        2018-06-01,A,X,SELL,10,900
        2018-06-11,A,XB,BUY,10,1000
        2018-06-12,A,XB,SELL,10,1200
        """,
        groups={"X": "G", "XB": "G"},
    )
    assert (told.disallowed, told.cost("X")) == (100, 1100)


def test_digital_assets_are_property_too():
    """ITA s. 54 speaks of property: a coin's loss is superficial like a share's."""
    told = Told(
        "2019-01-02,A,X,BUY,10,100\n2019-06-03,A,X,SELL,10,80\n2019-06-10,A,X,BUY,10,90",
        asset_classes={"X": AssetClass.DIGITAL_ASSET},
    )
    assert (told.disallowed, told.cost()) == (20, 110)


# ---------------------------------------------------------------- affiliated persons: ITA s. 251.1, CRA 2022-0940941C6


def test_a_plan_takes_the_loss_for_good():
    """ITA ss. 251.1, 54: an RRSP is affiliated with its annuitant; what only it acquired gives nobody a cost."""
    told = Told("2019-01-02,A,X,BUY,10,100\n2019-06-03,A,X,SELL,10,80\n2019-06-10,P,X,BUY,10,90", plans=["P"])
    assert (told.disallowed, told.for_good, told.recognized) == (20, 20, 0)
    assert told.position("P").adjusted_basis == 90


def test_case_01_only_the_acquired_property_carries_a_denied_loss():
    """The plan acquired, the owner holds old shares only: 200 are gone for good, the pool stays 1,000.

    Old: pool 1,200, a gain of 300 and nothing gone. Source: ITA ss. 53(1)(f), 54 "substituted property".
    """
    told = Told(
        """
        2024-01-04,A,XYZ,BUY,200,2000
        2024-06-04,A,XYZ,SELL,100,800
        2024-06-10,T,XYZ,BUY,100,800
        2025-03-03,A,XYZ,SELL,100,1500
        """,
        plans=["T"],
    )
    assert told.sold == [(-200, 200), (500, 0)]
    assert told.for_good == 200


@pytest.mark.parametrize(("plan_buys", "owner_buys"), [("2024-06-10", "2024-06-11"), ("2024-06-11", "2024-06-10")])
def test_case_15_owner_and_plan_share_a_denied_loss(plan_buys, owner_buys):
    """Both acquire 200 for 200 sold: 500 of 1,000 go to the owner's pool, 500 are gone; the last sale gains 2,400.

    Old: all of it to the owner's pool, 1,900. Source: CRA 2022-0940941C6, question 1.
    """
    told = Told(
        f"""
        2024-01-08,T,ABC,BUY,1000,10000
        2024-06-03,T,ABC,SELL,200,1000
        {plan_buys},R,ABC,BUY,200,1100
        {owner_buys},T,ABC,BUY,200,1100
        2025-03-03,T,ABC,SELL,1000,12000
        """,
        plans=["R"],
    )
    assert told.sold == [(-1000, 1000), (2400, 0)]
    assert (told.recognized, told.for_good) == (2400, 500)


def test_the_example_of_the_cra_with_spouse_and_plan():
    """CRA 2022-0940941C6: 2,000 sold; plan 1,000, spouse 2,000 and owner 500 acquired: 10,000 by 10, 20 and 5 of 35."""
    told = Told(
        """
        2021-01-04,ME,X,BUY,2000,40000
        2022-03-10,P,X,BUY,1000,15000
        2022-03-15,ME,X,SELL,2000,30000
        2022-03-16,S,X,BUY,2000,30000
        2022-04-13,ME,X,BUY,500,7500
        """,
        plans=["P"],
        taxpayers={"ME": "me", "S": "spouse"},
    )
    assert told.sold == [(-10000, 10000)]
    assert told.for_good == Decimal("2857.14")
    assert told.cost(taxpayer="spouse") == 30000 + Decimal("5714.29")
    assert told.cost(taxpayer="me") == 7500 + Decimal("1428.57")


def test_a_share_that_stands_for_more_than_one_of_a_loss_carries_all_of_it():
    """Three shares are denied and two substituted ones are left, one with each spouse: each carries half the loss."""
    told = Told(
        """
        2019-01-04,S,X,BUY,1,50
        2019-10-08,S,X,BUY,1,50
        2019-11-05,ME,X,BUY,4,200
        2019-11-06,ME,X,SELL,3,3
        """,
        taxpayers={"ME": "me", "S": "spouse"},
    )
    assert told.sold == [(-147, 147)]
    assert told.cost(taxpayer="me") == 50 + Decimal("73.50")
    assert told.cost(taxpayer="spouse") == 100 + Decimal("73.50")
    assert not [row for row in told.postings if row.kind is PostingKind.POOL]


def test_shares_held_by_owner_and_plan_share_a_denied_loss():
    """Held on day 30: 4 by the owner, 6 by the plan; of 20 denied 8 go to the owner's cost, 12 are lost."""
    told = Told(
        "2019-01-02,A,X,BUY,10,100\n2019-06-03,A,X,SELL,10,80\n2019-06-10,A,X,BUY,4,40\n2019-06-11,P,X,BUY,6,60",
        plans=["P"],
    )
    assert (told.disallowed, told.cost(), told.for_good) == (20, 48, 12)


def test_what_a_plan_acquired_and_sold_again_denies_nothing():
    """CRA 2021-0896031C6: the plan no longer owns the substituted property on day 30, so the loss counts."""
    told = Told(
        "2019-01-02,A,X,BUY,20,200\n2019-06-03,A,X,SELL,10,80\n2019-06-10,P,X,BUY,10,90\n2019-07-03,P,X,SELL,10,90",
        plans=["P"],
    )
    assert (told.sold[0], told.cost()) == ((-20, 0), 100)


def test_a_plan_that_buys_on_day_30_denies():
    """CRA 2021-0896031C6: the day of the sale does not count, so a purchase thirty days later is in the window."""
    told = Told("2021-01-04,A,X,BUY,10,100\n2021-09-01,A,X,SELL,10,80\n2021-10-01,P,X,BUY,12,90", plans=["P"])
    assert (told.disallowed, told.for_good) == (20, 20)


def test_shares_that_leave_before_the_first_loss_of_a_day_take_their_cost():
    """Five of 20 leave the household and five are sold at a loss on one day: 200 - 50 - 50 + 45 bought + 10 denied."""
    told = Told(
        """
        2019-01-02,A,X,BUY,20,200
        2019-06-03,A,X,TRANSFER_OUT,5
        2019-06-03,A,X,SELL,5,40
        2019-06-10,A,X,BUY,5,45
        """
    )
    assert (told.sold, told.cost()) == ([(-10, 10)], 155)


def test_shares_that_leave_inside_the_window_take_what_is_denied_in_the_end():
    """Ten of 45 leave the household on day 20, 25 are sold later: with 50 denied in the end the ten took 97.78."""
    told = Told(
        """
        2019-01-02,A,X,BUY,50,500
        2019-06-03,A,X,SELL,20,100
        2019-06-10,A,X,BUY,15,90
        2019-06-23,A,X,TRANSFER_OUT,10
        2019-07-02,A,X,SELL,25,500
        """
    )
    # (390 + 50) x 10/45 = 97.78; 342.22 x 25/35 = 244.44
    out = sum(row.adjusted_basis for row in told.kinds(PostingKind.TRANSFER_OUT))
    assert (out, told.sold, told.cost()) == (
        Decimal("-97.78"),
        [(-100, 50), (Decimal("255.56"), 0)],
        Decimal("97.78"),
    )


def test_a_transfer_to_the_spouse_is_an_acquisition():
    """ITA ss. 54, 73(1): what was bought back and passed to the spouse in the window carries the denied 20 there."""
    told = Told(
        """
        2019-01-02,A,X,BUY,10,100
        2019-06-03,A,X,SELL,10,80
        2019-06-10,A,X,BUY,10,90
        2019-06-17,A,X,TRANSFER_OUT,10,,,S
        """,
        taxpayers={"S": "spouse"},
    )
    assert (told.disallowed, told.cost(), told.pool(taxpayer="spouse")) == (20, 0, (10, 110))


def test_a_transfer_within_a_taxpayer_acquires_nothing():
    """Old shares that move between accounts of one taxpayer make no loss superficial."""
    told = Told("2019-01-02,A,X,BUY,20,200\n2019-06-03,A,X,SELL,10,80\n2019-06-10,A,X,TRANSFER_OUT,10,,,B")
    assert (told.disallowed, told.cost()) == (0, 100)


@pytest.mark.parametrize(("arrives", "denied"), [("2019-07-03", 20), ("2019-07-04", 0)])
def test_a_lot_from_outside_counts_once_it_is_there(arrives, denied):
    """Bought elsewhere in the window and transferred in: it is held on day 30 (3 July) or it is not."""
    told = Told(f"2019-01-02,A,X,BUY,10,100\n2019-06-03,A,X,SELL,10,80\n{arrives},A,X,TRANSFER_IN,10,90,,2019-06-10")
    assert (told.disallowed, told.cost()) == (denied, 90 + denied)


def test_a_plan_has_a_pool_of_its_own_and_no_losses():
    """What a plan sells is no taxable event, and its cost does not mix with the owner's."""
    told = Told(
        "2019-01-02,A,X,BUY,10,100\n2019-01-02,P,X,BUY,10,300\n2019-06-03,P,X,SELL,5,50\n2019-06-10,A,X,BUY,1,9",
        plans=["P"],
    )
    assert (told.disallowed, told.cost(), told.position("P").adjusted_basis) == (0, 109, 150)


# ---------------------------------------------------------------- before and after day 30


def test_a_loss_is_provisional_until_day_30_and_settled_on_the_next_day_booked():
    """What is held in the evening stands for day 30; LOSS_FINAL comes with the first day after, and nothing changes."""
    text = "2019-01-02,A,X,BUY,50,500\n2019-06-03,A,X,SELL,20,100\n2019-06-10,A,X,BUY,15,90"
    open_ = Told(text, settled=False)
    assert (open_.disallowed, open_.cost(), open_.kinds(PostingKind.LOSS_FINAL)) == (75, 465, [])
    assert list(open_.state.histories) == ["X"]
    assert open_.state.losses[0].open_quantity == 5
    for day, settled in (("2019-07-03", 0), ("2019-07-04", 1)):
        told = Told(f"{text}\n{day},A,Y,BUY,1,1", settled=False)
        assert len(told.kinds(PostingKind.LOSS_FINAL)) == settled
        assert (told.disallowed, told.cost()) == (75, 465)
    (row,) = told.kinds(PostingKind.LOSS_FINAL)
    assert (row.day, row.tax_date, row.loss.day) == (date(2019, 7, 4), date(2019, 6, 5), date(2019, 6, 3))
    assert (row.loss.amount, row.loss.shares) == (75, 15)
    assert (told.state.histories, told.state.losses) == ({}, ())


def test_a_provisional_denial_falls_with_the_shares_and_rises_again():
    """Sold out before day 30 nothing is denied; bought again before it the denial is back."""
    text = "2019-01-02,A,X,BUY,10,100\n2019-06-03,A,X,SELL,10,80\n2019-06-10,A,X,BUY,10,90\n2019-06-17,A,X,SELL,10,200"
    assert Told(text, settled=False).sold == [(-20, 0), (110, 0)]
    again = Told(f"{text}\n2019-06-24,A,X,BUY,10,210", settled=False)
    assert again.sold == [(-20, 20), (90, 0)]
    assert again.cost() == 210


def test_day_by_day_is_at_once():
    """Advancing day by day gives the postings and the state of one fold."""
    told = Told(
        """
        2019-01-02,A,X,BUY,50,500
        2019-06-03,A,X,SELL,20,100
        2019-06-10,B,X,BUY,15,90
        2019-06-12,*,X,SPLIT,2
        2019-07-01,A,X,SELL,20,40
        2019-07-20,B,X,BUY,7,40
        2019-08-15,A,X,SELL,20,40
        """
    )
    state, rows = EMPTY, []
    for day in sorted({event.trade_date for event in told.events}):
        state, postings, _ = advance(state, [event for event in told.events if event.trade_date == day], told.terms)
        rows += postings
    assert (state, tuple(rows)) == (told.state, told.postings)


def test_accounts_may_use_the_same_execution_names():
    """Two accounts with a sale called T9 on one day each get their own denial: 100/100 of each."""
    told = Told(
        """
        2023-01-02,A,X,BUY,100,1000,,,,1
        2023-01-02,B,X,BUY,100,1000,,,,1
        2024-03-01,A,X,SELL,100,700,,,,T9
        2024-03-01,B,X,SELL,100,700,,,,T9
        2024-03-11,B,X,BUY,100,750,,,,3
        """
    )
    assert told.sold == [(-300, 300), (-300, 300)]
    assert told.cost() == 1350


# ---------------------------------------------------------------- corporate actions


def test_case_06_a_split_reaches_every_account():
    """Told for one account, a split counts for the other too: 10 of 40 shares for 2,000 cost 500; +100."""
    told = Told(
        "2024-01-02,A,X,BUY,10,1000\n2024-01-02,B,X,BUY,10,1000\n2024-06-03,A,X,SPLIT,2:1\n2024-06-10,B,X,SELL,10,600"
    )
    assert told.sold == [(100, 0)]
    assert [found.code for found in told.findings] == ["NOT_LISTED"]


def test_accounts_of_one_taxpayer_share_the_cost_of_a_spin_off():
    """Two accounts with 10 and 30 shares of a pool of 600 give up a quarter of it."""
    told = Told("2019-01-02,A,P,BUY,10,100\n2019-03-04,B,P,BUY,30,500\n2019-06-03,*,P,SPINOFF,1,,,C,0.25")
    assert (told.cost("C"), told.cost("P")) == (150, 450)
    assert told.position("B", "C").quantity == 30


def test_fractions_are_paid_out_of_the_pool():
    """15 and 25 shares for 400 become 1.5 and 2.5: half a share costs 50 in each account."""
    told = Told(
        "2019-01-02,A,X,BUY,15,150\n2019-01-02,B,X,BUY,25,250\n2019-06-03,A,X,SPLIT,1:10,6\n2019-06-03,B,X,SPLIT,1:10,6"
    )
    assert [(gain, told.denied.get(event, 0)) for event, gain in told.gains.items()] == [(-44, 0), (-44, 0)]
    assert told.pool() == (3, 300)


def test_two_splits_of_a_day_pay_their_fractions_in_turn():
    """3 shares halved are 1.5, and half a share is paid before the 1 that is left becomes a third of one, paid too."""
    told = Told("2019-01-02,A,X,BUY,3,30\n2019-06-03,A,X,SPLIT,1:2,6\n2019-06-03,A,X,SPLIT,1:3,2")
    assert [(row.quantity, row.realized_gain) for row in told.kinds(PostingKind.CASH_IN_LIEU)] == [
        (Decimal("-0.5"), -4),
        (Decimal("-0.333333333"), -18),
    ]
    assert told.position("A") is None


def test_what_is_held_on_day_30_is_counted_in_the_shares_of_the_sale():
    """Twenty sold, fifteen bought, then a 2:1 split: ninety held on day 30 are forty-five, so 15/20 is denied."""
    told = Told(
        "2019-01-02,A,X,BUY,50,500\n2019-06-03,A,X,SELL,20,100\n2019-06-10,A,X,BUY,15,90\n2019-06-12,A,X,SPLIT,2"
    )
    assert (told.disallowed, told.cost()) == (75, 465)


def test_a_split_after_the_last_share_is_sold_counts():
    """100 sold are 200 new shares: min(200, 50 acquired, 50 held)/200 of 400 = 100; the pool: 160 + 100."""
    told = Told(
        "2023-01-02,A,X,BUY,100,1000\n2024-06-10,A,X,SELL,100,600\n2024-06-15,A,X,SPLIT,2\n2024-06-20,A,X,BUY,50,160"
    )
    assert (told.disallowed, told.recognized, told.cost()) == (100, -300, 260)


def test_a_new_symbol_after_the_last_share_is_sold_counts():
    """A loss under the old symbol is denied by a purchase under the new one, with no share held between."""
    told = Told(
        "2023-01-02,A,OLD,BUY,10,100\n2024-06-10,A,OLD,SELL,10,60\n2024-06-15,A,OLD,RENAME,,,,NEW\n2024-06-20,A,NEW,BUY,10,70"
    )
    assert (told.disallowed, told.cost("NEW")) == (40, 110)


def test_a_new_symbol_inside_the_window_keeps_the_denial():
    """The pool changes its symbol with what it carries; a later sale inside the window still corrects it."""
    told = Told(
        """
        2019-01-02,A,X,BUY,50,500
        2019-06-03,A,X,SELL,20,100
        2019-06-10,A,X,BUY,15,90
        2019-06-12,A,X,RENAME,,,,N
        2019-07-03,A,N,SELL,35,900
        """
    )
    assert told.sold == [(-100, 50), (Decimal("557.78"), 0)]
    assert told.pool("N") == (10, Decimal("97.78"))


def test_two_securities_may_swap_their_symbols():
    """Two pools that swap symbols on one day keep their costs and shares."""
    told = Told(
        "2019-01-02,A,P,BUY,10,100\n2019-01-02,A,Q,BUY,20,600\n2019-06-03,A,P,RENAME,,,,Q\n2019-06-03,A,Q,RENAME,,,,P"
    )
    assert (told.pool("P"), told.pool("Q")) == ((20, 600), (10, 100))
    assert told.position("A", "P").quantity == 20


def test_a_new_symbol_that_is_held_already_makes_one_pool():
    """OLD becomes NEW where NEW is held: one pool of both."""
    told = Told("2019-01-02,A,OLD,BUY,10,100\n2019-01-03,A,NEW,BUY,10,300\n2019-06-03,A,OLD,RENAME,,,,NEW")
    assert told.pool("NEW") == (20, 400)
    assert told.position("A", "NEW").acquired_on == date(2019, 1, 2)


def test_events_keep_the_pool():
    """A new symbol, shares that leave the household, and an end for cash are booked from the pool's average cost."""
    told = Told(
        """
        2019-01-02,A,X,BUY,10,100
        2019-02-04,A,X,RENAME,,,,N
        2019-03-04,A,N,TRANSFER_OUT,4
        2019-04-04,A,N,DIVIDEND,,3
        2019-05-06,A,N,DELIST,,90
        """
    )
    assert told.sold == [(30, 0)]
    assert told.pool("N") == (0, 0)


def test_an_exchange_share_for_share_goes_on_as_the_same_property():
    """ITA s. 85.1: half a share of BUYER for each of X; the loss before, and the purchase, count as of BUYER."""
    told = Told(
        [
            *events_of("2019-01-02,A,X,BUY,50,500\n2019-06-03,A,X,SELL,20,100\n2019-06-10,A,X,BUY,15,90"),
            ev.Merger(
                account=EVERY_ACCOUNT, event_id="m", trade_date=date(2019, 6, 20), ticker="X", new_ticker="BUYER",
                ratio=Fraction(1, 2),
            ),
        ]
    )  # fmt: skip
    assert (told.disallowed, told.pool("BUYER")) == (75, (Decimal("22.5"), 465))


def test_an_exchange_out_of_a_group_settles_what_the_group_shares():
    """X is exchanged for BUYER while it carries a loss of its twin: the denial stays, and the costs add up."""
    merger = ev.Merger(
        account=EVERY_ACCOUNT, event_id="m", trade_date=date(2019, 6, 20), ticker="X", new_ticker="BUYER",
        ratio=Fraction(1),
    )  # fmt: skip
    told = Told(
        [*events_of("2019-01-02,A,XB,BUY,20,200\n2019-06-03,A,XB,SELL,10,80\n2019-06-10,A,X,BUY,10,90"), merger],
        groups={"X": "G", "XB": "G"},
    )
    assert (told.sold[0], told.disallowed) == ((-20, 20), 20)
    assert (told.cost("BUYER"), told.cost("XB")) == (110, 100)
    (row,) = told.kinds(PostingKind.LOSS_FINAL)
    assert row.day == date(2019, 6, 20)


def test_an_exchange_leaves_twins_alone_that_carry_nothing():
    """X is exchanged for BUYER with its open loss; a twin held since before keeps its cost."""
    merger = ev.Merger(
        account=EVERY_ACCOUNT, event_id="m", trade_date=date(2019, 6, 20), ticker="X", new_ticker="BUYER",
        ratio=Fraction(1),
    )  # fmt: skip
    told = Told(
        [
            *events_of("2018-01-02,A,XB,BUY,20,200\n2018-01-02,A,X,BUY,20,200\n2019-06-03,A,X,SELL,10,80"),
            merger,
            *events_of("2019-06-21,A,XB,SELL,10,150,,,,s2\n2019-06-24,A,BUYER,BUY,5,45,,,,b2"),
        ],
        groups={"X": "G", "XB": "G"},
    )
    assert [told.sold[0], told.sold[-1]] == [(-20, 10), (50, 0)]
    assert (told.cost("BUYER"), told.cost("XB")) == (100 + 45 + 10, 100)


# ---------------------------------------------------------------- payments


def test_a_return_of_capital_lowers_the_cost_and_a_negative_cost_is_a_gain():
    """ITA ss. 53(2)(h), 40(3): 60 of a cost of 100, then 60 more: cost 0 and a gain of 20 at once."""
    told = Told("2019-01-02,A,X,BUY,10,100\n2019-06-03,A,X,ROC,,60\n2019-09-03,A,X,ROC,,60")
    assert (told.recognized, told.pool()) == (20, (10, 0))
    (row,) = [row for row in told.kinds(PostingKind.RETURN_OF_CAPITAL) if row.realized_gain]
    assert row.tax_date == date(2019, 9, 3)


def test_a_notional_distribution_raises_the_cost():
    """CRA T4037: a distribution reinvested without new units is part of the cost of the units held."""
    told = Told(
        [
            *events_of("2019-01-02,A,X,BUY,10,100\n2019-01-02,B,X,BUY,10,100"),
            ev.NotionalDistribution(
                account=EVERY_ACCOUNT, event_id="n", trade_date=date(2019, 12, 30), ticker="X", per_share=Decimal("1.5")
            ),
        ]
    )
    assert told.pool() == (20, 230)
    assert told.state.cash == {"A": -100, "B": -100}


def test_a_capital_gains_dividend_is_cash_of_its_own_kind():
    """ITA s. 131(1): a capital gains dividend is told apart from income and changes no cost."""
    told = Told(
        [
            *events_of("2019-01-02,A,X,BUY,10,100"),
            ev.Dividend(
                account="A", event_id="d", trade_date=date(2019, 12, 30), ticker="X", amount=Decimal(7),
                kind=ev.DividendKind.CAPITAL_GAIN,
            ),
        ]
    )  # fmt: skip
    (row,) = told.kinds(PostingKind.CAPITAL_GAINS_DIVIDEND)
    assert (row.cash, told.cost()) == (7, 100)


def test_foreign_currency_counts_at_the_rate_of_each_day():
    """ITA s. 261: bought for 1,000 USD at 1.30 and sold for 1,000 USD at 1.25: a loss of 50 CAD."""
    trade = {"account": "A", "ticker": "X", "quantity": Decimal(10), "amount": Decimal(1000), "currency": "USD"}
    told = Told(
        [
            ev.Buy(event_id="b", trade_date=date(2019, 1, 2), rate=Decimal("1.30"), **trade),
            ev.Sell(event_id="s", trade_date=date(2019, 6, 3), rate=Decimal("1.25"), **trade),
        ]
    )
    assert told.sold == [(-50, 0)]


def test_a_commission_raises_the_cost_and_lowers_the_proceeds():
    """Bought for 302 with a commission of 2 in it, sold for 398 after one of 2: the gain is 96."""
    common = {"account": "A", "ticker": "X", "quantity": Decimal(100), "fee": Decimal(2)}
    told = Told(
        [
            ev.Buy(event_id="b", trade_date=date(2019, 1, 2), amount=Decimal(302), **common),
            ev.Sell(event_id="s", trade_date=date(2019, 6, 3), amount=Decimal(398), **common),
        ]
    )
    (sale,) = told.kinds(PostingKind.SELL)
    assert (sale.realized_gain, sale.fee, sale.cash) == (96, 2, 398)


# ---------------------------------------------------------------- tax year


def test_case_09_the_tax_year_is_that_of_settlement():
    """CRA 2012-0468931C6: sold on 31 December 2024, settled on 2 January: a gain of 2025."""
    told = Told("2024-01-04,A,XYZ,BUY,100,1000\n2024-12-31,A,XYZ,SELL,100,1500")
    (sale,) = told.kinds(PostingKind.SELL)
    assert (sale.day, sale.tax_date, sale.settle_date) == (date(2024, 12, 31), date(2025, 1, 2), None)


def test_a_settlement_date_that_is_told_counts():
    """The event's own settlement date decides, for the sale and for what is denied of it."""
    told = Told(
        [
            *events_of("2024-01-04,A,X,BUY,100,1000\n2025-01-10,A,X,BUY,100,800"),
            ev.Sell(
                account="A", event_id="s", trade_date=date(2024, 12, 30), settle_date=date(2025, 1, 2), ticker="X",
                quantity=Decimal(100), amount=Decimal(800),
            ),
        ]
    )  # fmt: skip
    (sale,) = told.kinds(PostingKind.SELL)
    (denied,) = told.kinds(PostingKind.SUPERFICIAL_LOSS)
    assert sale.tax_date == denied.tax_date == date(2025, 1, 2)
    assert (denied.day, denied.loss.day) == (date(2025, 1, 10), date(2024, 12, 30))


def test_an_action_disposes_on_its_own_day():
    """A delisting is no trade on an exchange: it counts on its day."""
    told = Told("2024-01-04,A,X,BUY,100,1000\n2024-12-31,A,X,DELIST,,0")
    (row,) = told.kinds(PostingKind.DELISTING)
    assert row.tax_date == date(2024, 12, 31)


def test_lot_methods_mean_nothing():
    """Whatever lot method an account is given, the pool's average is sold."""
    text = "2019-01-02,A,X,BUY,10,100\n2019-01-03,A,X,BUY,10,200\n2019-09-03,A,X,SELL,10,155"
    for method in LotMethod:
        assert Told(text, default=AccountTerms(method=method)).sold == [(5, 0)]


def test_an_action_that_is_refused_is_the_cause_of_nothing():
    """A pool is spread because of the payment of that day, whatever delisting of another security was refused."""
    told = Told(
        """
        2019-10-01,A,X,BUY,10,100
        2019-10-01,B,X,BUY,10,100
        2019-11-01,A,X,ROC,,10,,,,paid
        2019-11-01,A,ZZ,DELIST,,0,,,,refused
        """,
        settled=False,
    )
    spread = [row for row in told.postings if row.kind is PostingKind.POOL]
    assert [(row.account, row.adjusted_basis, row.event.event_id) for row in spread] == [
        ("A", 5, "paid"),
        ("B", -5, "paid"),
    ]
    assert [finding.code for finding in told.findings] == ["NOT_HELD"]


def rows_of(told, *kinds: PostingKind):
    """Return what rows say that change no shares: day, kind, event, ticker, lot, basis, gain, two dates."""
    return [
        (
            row.day.isoformat(),
            row.kind.value,
            row.event.event_id,
            row.ticker,
            row.lot_id,
            row.adjusted_basis,
            row.realized_gain,
            row.settle_date and row.settle_date.isoformat(),
            row.tax_date and row.tax_date.isoformat(),
        )
        for row in told.kinds(*kinds)
        if not row.quantity
    ]


def test_rows_of_a_denial_that_falls_say_what_they_are_of():
    """20 of 100 shares sold for 2.00 less each are denied it, then 15, then 10: a share costs 11 in the end.

    The pool costs 240 for 20 shares, then 230, then 220. The sale of 5 took 60, 57.50 and 55.00 of it in turn,
    the transfer of 5 took 57.50 and 55.00.
    """
    told = Told("""
        2019-01-02,A,X,BUY,100,1000,,,,b1
        2019-05-20,A,X,BUY,20,200,,,,b2
        2019-06-03,A,X,SELL,100,800,,,,s1
        2019-06-04,A,X,SELL,5,60,,,,s2
        2019-06-05,A,X,TRANSFER_OUT,5,,,,,t1
    """)
    half, ten = Decimal("2.50"), Decimal(10)
    denial, carried, sale, moved, final = (
        PostingKind.SUPERFICIAL_LOSS,
        PostingKind.CARRIED_LOSS,
        PostingKind.SELL,
        PostingKind.TRANSFER_OUT,
        PostingKind.LOSS_FINAL,
    )
    assert rows_of(told, denial, final) == [
        ("2019-06-03", "SUPERFICIAL_LOSS", "s1", "X", None, 0, 40, "2019-06-05", "2019-06-05"),
        ("2019-06-04", "SUPERFICIAL_LOSS", "s2", "X", None, 0, -ten, "2019-06-05", "2019-06-05"),
        ("2019-06-05", "SUPERFICIAL_LOSS", "t1", "X", None, 0, -ten, "2019-06-05", "2019-06-05"),
        ("2035-01-02", "LOSS_FINAL", "s1", "X", None, 0, 0, "2019-06-05", "2019-06-05"),
    ]
    assert rows_of(told, carried) == [
        ("2019-06-03", "CARRIED_LOSS", "s1", "X", "ACB-X", 40, 0, None, None),
        ("2019-06-04", "CARRIED_LOSS", "s2", "X", "ACB-X", -ten, 0, None, None),
        ("2019-06-05", "CARRIED_LOSS", "t1", "X", "ACB-X", -ten, 0, None, None),
    ]
    assert rows_of(told, sale, moved) == [
        ("2019-06-04", "SELL", "s2", "X", "ACB-X", half, half, None, "2019-06-06"),
        ("2019-06-05", "SELL", "s2", "X", "ACB-X", half, half, None, "2019-06-06"),
        ("2019-06-05", "TRANSFER_OUT", "t1", "X", "ACB-X", half, 0, None, None),
    ]
    links = [row.loss for row in told.kinds(denial, carried)]
    assert {(link.event.event_id, link.lot.lot_id, link.ticker, link.day.isoformat()) for link in links} == {
        ("s1", "ACB-X", "X", "2019-06-03")
    }
    assert [(link.shares, link.amount) for link in links] == [(20, 40)] * 2 + [(-5, -10)] * 4
    assert {(link.replacement, link.purchase.event_id) for link in links} == {(("A", "ACB-X"), "b2")}
    assert told.kinds(final)[0].loss.amount == 20
    assert told.pool() == (10, 110)


def test_a_sale_at_cost_inside_a_window_is_no_loss_and_settles_nothing():
    """Only the sale at a loss gets a LOSS_FINAL row; one at exactly its cost has no loss whose window could close."""
    told = Told("""
        2019-01-02,A,X,BUY,100,1000,,,,b1
        2019-06-03,A,X,SELL,50,400,,,,s1
        2019-06-04,A,X,SELL,10,100,,,,s0
    """)
    assert [row.event.event_id for row in told.kinds(PostingKind.LOSS_FINAL)] == ["s1"]


@pytest.mark.parametrize(
    ("bought", "denied"), [("2019-07-03", 100), ("2019-07-04", 0), ("2019-05-04", 100), ("2019-05-03", 0)]
)
def test_the_window_is_thirty_days_on_either_side(bought, denied):
    """A purchase on 4 May or 3 July denies the loss of 3 June; one a day further away does not (ITA s. 54)."""
    told = Told(f"""
        2019-01-02,A,X,BUY,100,1000
        {bought},A,X,BUY,50,500
        2019-06-03,A,X,SELL,50,400
    """)
    assert told.disallowed == denied


def test_a_loss_is_provisional_until_day_thirty_has_passed():
    """On day 30 a sale still lowers what is denied; the day after writes the LOSS_FINAL row and changes nothing."""
    story = """
        2019-01-02,A,X,BUY,60,600,,,,b1
        2019-06-03,A,X,SELL,50,400,,,,s1
        2019-06-04,A,X,BUY,50,500,,,,b2
        {day},A,X,SELL,55,800,,,,s2
    """
    on_day_30 = Told(story.format(day="2019-07-03"))
    assert on_day_30.disallowed == 10
    assert [row.day.isoformat() for row in on_day_30.kinds(PostingKind.LOSS_FINAL)] == ["2035-01-02"]
    after = Told(story.format(day="2019-07-04"))
    assert after.disallowed == 100
    assert [row.day.isoformat() for row in after.kinds(PostingKind.LOSS_FINAL)] == ["2019-07-04"]


# ---------------------------------------------------------------- what the ledger's own books say


def test_the_cost_without_denied_losses_is_of_the_pool_too():
    """600 for 40 shares in two accounts: 4 sold in A take 60 of both costs, and 540 are left for 6 and 30."""
    told = Told("2019-01-02,A,X,BUY,10,100\n2019-03-04,B,X,BUY,30,500\n2019-09-03,A,X,SELL,4,70")
    (sale,) = told.kinds(PostingKind.SELL)
    assert (sale.cost_basis, sale.adjusted_basis) == (-60, -60)
    assert [(told.position(each).cost_basis, told.position(each).adjusted_basis) for each in "AB"] == [
        (90, 90),
        (450, 450),
    ]


def test_shares_after_splits_that_do_not_end_are_added_exactly():
    """10/3 and 20/3 shares are ten; 10/3 and one are 13/3, kept beside nine decimals."""

    def lot(quantity, exact=None):
        return Lot(
            LotKey("A", "L"), EventKey("A", "b"), "L", "X", date(2019, 1, 2), Decimal(quantity), Decimal(10),
            Decimal(11), date(2019, 1, 2), exact,
        )  # fmt: skip

    third, rest = lot("3.333333333", Fraction(10, 3)), lot("6.666666667", Fraction(20, 3))
    whole = merged(third, rest)
    assert (whole.quantity, whole.exact, whole.cost_basis, whole.adjusted_basis) == (10, None, 20, 22)
    for one, other in ((third, lot(1)), (lot(1), third)):
        both = merged(one, other)
        assert (both.quantity, both.exact) == (Decimal("4.333333333"), Fraction(13, 3))
    assert merged(lot(1), lot(2)).exact is None


def test_shares_of_the_spouse_sold_before_the_transfer_cost_what_they_did():
    """S acquires on 17 June what A bought back: the loss of 20 is denied there; the sale before costs 50 still."""
    told = Told(
        """
        2019-01-02,A,X,BUY,10,100
        2019-01-02,S,X,BUY,10,100
        2019-06-03,A,X,SELL,10,80
        2019-06-10,A,X,BUY,10,90
        2019-06-12,S,X,SELL,5,100
        2019-06-17,A,X,TRANSFER_OUT,10,,,S
        """,
        taxpayers={"S": "spouse"},
    )
    assert told.sold == [(-20, 20), (50, 0)]
    assert told.pool(taxpayer="spouse") == (15, 50 + 90 + 20)


def test_the_state_keeps_open_losses_with_what_is_denied_of_them():
    """Of 100 on 20 shares 15 are denied: 10 by the owner's purchase, 5 by the plan's for good. A gain is no loss."""
    told = Told(
        """
        2019-01-02,A,X,BUY,50,500,,,,b1
        2019-06-03,A,X,SELL,20,100,,,,s1
        2019-06-10,A,X,BUY,10,100,,,,b2
        2019-06-10,P,X,BUY,5,50,,,,b3
        2019-06-20,A,X,SELL,1,100,,,,s2
        """,
        plans=["P"],
        settled=False,
    )
    (loss,) = told.state.losses
    assert (loss.event.event_id, loss.amount, loss.open_quantity) == ("s1", 100, 5)
    assert (loss.disallowed, loss.denied_for_good) == (75, 25)


@pytest.mark.parametrize(
    ("x_and_y", "groups"), [("X", {}), ("Y", {}), ("X", {"X": "G", "Y": "G"}), ("Y", {"X": "G", "Y": "G"})]
)
def test_pools_with_open_losses_become_one_by_a_new_symbol(x_and_y, groups):
    """Two pools of 50 and 100 are one of 150; ten bought for 150 deny the losses of 10 and 20, and those stay."""
    other = "Y" if x_and_y == "X" else "X"
    told = Told(
        f"""
        2019-01-02,A,Y,BUY,10,100
        2019-01-02,A,X,BUY,10,200
        2019-06-03,A,Y,SELL,5,40
        2019-06-04,A,X,SELL,5,80
        2019-06-05,A,{x_and_y},RENAME,,,,{other}
        2019-06-10,A,{other},BUY,10,150
        """,
        groups=groups,
    )
    assert told.sold == [(-10, 10), (-20, 20)]
    assert told.pool(other) == (20, 50 + 100 + 150 + 10 + 20)


def test_the_last_event_of_a_day_is_the_cause_of_a_denial():
    """XA and XB of one group are bought on one day: the rows of the day's denials name the purchase booked last."""
    told = Told(
        """
        2019-01-02,A,XA,BUY,10,100,,,,b1
        2019-06-03,A,XA,SELL,10,80,,,,s1
        2019-06-10,A,XA,BUY,5,45,,,,b2
        2019-06-10,A,XB,BUY,5,45,,,,b3
        """,
        groups={"XA": "G", "XB": "G"},
    )
    assert told.disallowed == 20
    assert {row.event.event_id for row in told.kinds(PostingKind.SUPERFICIAL_LOSS)} == {"b3"}


@pytest.mark.parametrize(("days", "kept"), [(90, ["b1", "b2"]), (91, ["b2"])])
def test_purchases_are_kept_for_ninety_days(days, kept):
    """Thirty days before a loss that is settled up to sixty days later; after that a purchase is forgotten."""
    bought = date(2019, 1, 2)
    told = Told(f"{bought},A,X,BUY,1,1,,,,b1\n{bought + timedelta(days)},A,X,BUY,1,1,,,,b2", settled=False)
    assert [each.event.event_id for each in told.state.purchases] == kept


def exchanged(day):
    """Return the exchange of X for BUYER, share for share."""
    return ev.Merger(
        account=EVERY_ACCOUNT, event_id="m", trade_date=day, ticker="X", new_ticker="BUYER", ratio=Fraction(1)
    )


def test_a_purchase_before_an_exchange_counts_for_a_loss_after_it():
    """ITA s. 85.1: five of X bought a week before the loss of BUYER are five of BUYER; 5/5 of 20 is denied."""
    told = Told(
        [
            *events_of("2019-01-02,A,X,BUY,10,100\n2019-06-03,A,X,BUY,5,50\n2019-06-10,A,BUYER,SELL,5,30"),
            exchanged(date(2019, 6, 5)),
        ]
    )
    assert (told.sold[-1], told.pool("BUYER")) == ((-20, 20), (10, 120))


def test_an_exchange_of_what_was_not_traded_settles_its_group():
    """X is held for years beside its twin's open loss: its exchange settles that loss on the day."""
    told = Told(
        [
            *events_of(
                """
                2018-01-02,A,X,BUY,10,100
                2018-01-02,A,XB,BUY,20,200
                2019-06-01,A,XB,BUY,10,100
                2019-06-03,A,XB,SELL,10,80
                2019-06-04,A,XB,SELL,5,90
                """
            ),
            exchanged(date(2019, 6, 20)),
        ],
        groups={"X": "G", "XB": "G"},
    )
    assert [(row.event.event_id, row.day) for row in told.kinds(PostingKind.LOSS_FINAL)] == [
        ("e004", date(2019, 6, 20))
    ]
    assert (told.disallowed, told.cost("BUYER")) == (20, 100)


def test_a_loss_that_another_one_makes_is_settled_too():
    """What b3 lets be denied of s1 belongs to the pool before s2, whose gain becomes a loss: both windows close.

    One share is denied 1.00. On 4 June one is denied of s1 and s2 gains 12 - 21/2. With b3 eleven are: ten of them for
    b2, so that s2 costs 30/2, loses 3.00 and is denied all of it.
    """
    told = Told(
        """
        2019-01-02,A,X,BUY,20,200,,,,b1
        2019-05-20,A,X,BUY,10,100,,,,b2
        2019-06-03,A,X,SELL,28,252,,,,s1
        2019-06-04,A,X,SELL,1,12,,,,s2
        2019-06-10,A,X,BUY,10,100,,,,b3
        """
    )
    assert (told.sold, told.pool()) == ([(-28, 11), (-3, 3)], (11, 119))
    assert [row.event.event_id for row in told.kinds(PostingKind.LOSS_FINAL)] == ["s1", "s2"]


def test_what_an_open_loss_carries_is_not_carried_again_when_an_earlier_one_closes():
    """Losses of 20 each on 3 and 20 June, both denied: after the first has closed a purchase changes neither."""
    told = Told(
        """
        2019-01-02,A,X,BUY,40,400
        2019-06-03,A,X,SELL,10,80
        2019-06-04,A,X,BUY,10,80
        2019-06-20,A,X,SELL,10,80
        2019-06-21,A,X,BUY,10,80
        2019-07-10,A,X,BUY,10,100
        """
    )
    # 300 + 80 + 20 for 40; 10 cost 100: a loss of 20; 300 + 80 + 20, then 100 more
    assert told.sold == [(-20, 20), (-20, 20)]
    assert told.pool() == (50, 500)
    finals = [row.day for row in told.kinds(PostingKind.LOSS_FINAL)]
    assert finals == [date(2019, 7, 10), date(2035, 1, 2)]


def test_a_cent_that_two_share_is_denied_once():
    """The loss is 0.01 on two shares; owner and spouse acquire one each: half a cent each, one cent together."""
    told = Told(
        """
        2019-01-02,A,X,BUY,2,2
        2019-06-03,A,X,SELL,2,1.99
        2019-06-10,A,X,BUY,1,1
        2019-06-10,S,X,BUY,1,1
        """,
        taxpayers={"S": "spouse"},
    )
    assert told.disallowed == Decimal("0.01")
    assert told.cost() + told.cost(taxpayer="spouse") == Decimal("2.01")


def test_the_order_of_a_day_stays_where_pools_become_one():
    """What is denied at once on 3 June costs a sale of 6 June: 230/3 of the 15 shares that are one pool since the 5th.

    Y costs 100 and carries 10 for the five bought in May; X costs 100 and carries 20, for its loss meets them too.
    """
    told = Told(
        """
        2019-01-02,A,Y,BUY,10,100
        2019-01-02,A,X,BUY,10,200
        2019-05-20,A,Y,BUY,5,50
        2019-06-03,A,Y,SELL,5,40
        2019-06-03,A,X,SELL,5,80
        2019-06-05,A,X,RENAME,,,,Y
        2019-06-06,A,Y,SELL,5,100
        """
    )
    assert sorted(told.sold) == [(-20, 20), (-10, 10), (Decimal("23.33"), 0)]
    assert told.pool("Y") == (10, Decimal("153.33"))


def test_what_happens_before_an_exchange_belongs_to_what_is_exchanged():
    """X returns 10 of capital and becomes BUYER, which has an open loss too: 50 + 90 + 150, and 30 denied."""
    told = Told(
        [
            *events_of(
                """
                2019-01-02,A,BUYER,BUY,10,100
                2019-01-02,A,X,BUY,10,200
                2019-06-03,A,BUYER,SELL,5,40
                2019-06-04,A,X,SELL,5,80
                2019-06-05,A,X,ROC,,10
                2019-06-10,A,BUYER,BUY,10,150
                """
            ),
            exchanged(date(2019, 6, 5)),
        ]
    )
    assert (told.disallowed, told.pool("BUYER")) == (30, (20, 320))


def test_part_of_a_pool_that_goes_to_the_spouse_takes_its_part_of_the_cost():
    """Owner and spouse acquire five each and hold five, so that each is denied half of the loss of 10 on five shares.

    The owner's ten cost 100 and carry 5; four of them take 42 to the spouse, who carries 5 and buys one for 10.
    """
    told = Told(
        """
        2019-01-02,A,X,BUY,10,100
        2019-06-03,A,X,SELL,5,40
        2019-06-10,A,X,BUY,5,50
        2019-06-17,A,X,TRANSFER_OUT,4,,,S
        2019-06-18,S,X,BUY,1,10
        """,
        taxpayers={"S": "spouse"},
    )
    assert told.disallowed == 10
    assert (told.pool(), told.pool(taxpayer="spouse")) == ((6, 63), (5, 57))


def test_a_pool_with_an_open_loss_joins_one_that_is_held():
    """300 for ten of Y, 100 for the five of X that become Y, 150 for ten more, and the 20 that they deny."""
    told = Told(
        """
        2019-01-02,A,Y,BUY,10,300
        2019-01-02,A,X,BUY,10,200
        2019-06-04,A,X,SELL,5,80
        2019-06-05,A,X,RENAME,,,,Y
        2019-06-10,A,Y,BUY,10,150
        """
    )
    assert (told.sold, told.pool("Y")) == ([(-20, 20)], (25, 570))


def test_shares_that_an_exchange_leaves_behind_are_of_no_other_pool():
    """The spouse's sliver of X is too small to become BUYER: its cost of 8 is in no pool of BUYER."""
    told = Told(
        [
            *events_of(
                """
                2019-01-02,S,BUYER,BUY,10,100
                2019-01-02,S,X,BUY,0.000000001,8
                2019-01-02,A,X,BUY,10,200
                2019-06-03,S,BUYER,SELL,5,40
                2019-06-04,A,X,SELL,5,80
                2019-06-10,S,BUYER,BUY,5,50
                """
            ),
            replace(exchanged(date(2019, 6, 5)), ratio=Fraction(1, 10)),
        ],
        taxpayers={"S": "spouse"},
    )
    assert told.sold[:2] == [(-10, 10), (-20, 20)]
    assert told.pool("BUYER", "spouse") == (10, 50 + 50 + 10 + 20)
    assert (told.cost("BUYER"), told.cost("X", "spouse")) == (100, 8)


def test_a_small_loss_of_a_group_that_falls_apart_is_settled_too():
    """The loss is 0.50, and its window closes on the day of the exchange; the new lot says which one it was."""
    told = Told(
        [
            *events_of("2019-01-02,A,XB,BUY,20,200\n2019-06-03,A,XB,SELL,10,99.50\n2019-06-10,A,X,BUY,10,90"),
            exchanged(date(2019, 6, 20)),
        ],
        groups={"X": "G", "XB": "G"},
    )
    assert [row.day for row in told.kinds(PostingKind.LOSS_FINAL)] == [date(2019, 6, 20)]
    (arrived,) = [row for row in told.kinds(PostingKind.MERGER) if row.ticker == "BUYER"]
    assert (arrived.lot_id, arrived.former) == ("ACB-BUYER", ("A", "ACB-X"))
