"""Short positions of Canada."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import LotPick
from prometheus.domain.lots import Term
from prometheus.ledger.events import CoverShort
from tests.unit.ledger.told import Told, events_of

CA = TaxRegime.CA


def told_of(text, **more: object):
    """Return a Canadian history, booked."""
    return Told(text, regime=CA, **more)


def test_a_short_sale_realises_its_gain_on_the_cover():
    """Ten sold short for 950 and bought for 900: a gain of 50 without a term, on the day of the cover."""
    told = told_of("2024-05-21,S,X,SHORT,10,950,P\n2024-06-10,S,X,COVER,10,900")
    (sale,) = told.sales
    assert (sale.realized_gain, sale.posting.term, sale.posting.day) == (50, Term.NONE, date(2024, 6, 10))
    assert (told.state.shorts, told.state.lots, told.state.cash) == ({}, {}, {"S": 50})


@pytest.mark.parametrize(
    ("covered", "settles", "taxed"),
    [
        ("2024-12-30", None, "2024-12-31"),
        ("2024-12-31", None, "2025-01-02"),
        ("2024-12-30", "2025-01-03", "2025-01-03"),
    ],
)
def test_the_settlement_of_the_cover_decides_the_tax_year(covered, settles, taxed):
    """CRA 2012-0468931C6: covered on 31 December 2024 and settled on 2 January 2025, the gain is of 2025."""
    events = events_of(f"2024-11-04,S,X,SHORT,10,950\n{covered},S,X,COVER,10,900")
    if settles:
        events[1] = replace(events[1], settle_date=date.fromisoformat(settles))
    (sale,) = told_of(events).sales
    assert sale.posting.tax_date == date.fromisoformat(taxed)


def test_each_side_has_the_rate_of_its_day():
    """ITA s. 261: 1,000 USD at 1.35 and 900 USD with a commission of 2 USD at 1.40: 1,350 less 1,260 is 90 CAD."""
    short, cover = events_of("2024-05-21,S,X,SHORT,10,1000,P\n2024-06-10,S,X,COVER,10,900")
    told = told_of(
        [
            replace(short, currency="USD", rate=Decimal("1.35")),
            replace(cover, currency="USD", rate=Decimal("1.40"), fee=Decimal(2)),
        ]
    )
    (sale,) = told.sales
    assert (sale.realized_gain, sale.posting.fee) == (90, Decimal("2.80"))


def test_positions_are_covered_earliest_first_and_in_parts():
    """Six of ten at 100, then the rest with five of another position at 90; 0.90 of commission is shared out."""
    events = events_of(
        """
        2024-05-21,S,X,SHORT,10,1000,P
        2024-05-22,S,X,SHORT,5,450,Q
        2024-06-10,S,X,COVER,6,480
        2024-06-11,S,X,COVER,9,900
        """
    )
    told = told_of([*events[:-1], replace(events[-1], fee=Decimal("0.90"))])
    assert [(sale.lot_id, sale.realized_gain, sale.posting.fee) for sale in told.sales] == [
        ("P", 120, 0),
        ("P", 0, Decimal("0.40")),
        ("Q", -50, Decimal("0.50")),
    ]


def test_a_short_position_is_outside_the_pool():
    """A pool of ten at 100 costs 100 a share before, while and after five are owed and bought for 600."""
    told = told_of(
        """
        2024-01-02,S,X,BUY,10,1000
        2024-05-21,S,X,SHORT,5,550
        2024-06-10,S,X,COVER,5,600
        2024-09-03,S,X,SELL,10,1200
        """,
        sound=False,
    )
    assert [sale.realized_gain for sale in told.sales] == [-50, 200]


def test_a_cover_makes_no_loss_superficial():
    """ITA s. 54: shares bought to cover are delivered, so nobody owns them on day 30; the loss of 100 stands."""
    told = told_of(
        """
        2024-01-02,A,X,BUY,20,2000
        2024-05-15,S,X,SHORT,10,950
        2024-05-20,A,X,SELL,10,900
        2024-06-10,S,X,COVER,10,900
        2024-07-15,A,,FEE,,1
        """,
        sound=False,
    )
    assert (told.disallowed, told.recognized) == (0, -100 + 50)
    assert told.lot("ACB-X", "A").adjusted_basis == 1000


def test_the_loss_of_a_cover_is_never_superficial():
    """A short sale is covered at a loss of 100 while the taxpayer buys ten shares and keeps them: nothing is denied."""
    told = told_of(
        """
        2024-05-15,S,X,SHORT,10,900
        2024-06-10,S,X,COVER,10,1000
        2024-06-11,A,X,BUY,10,1000
        2024-07-15,A,,FEE,,1
        """
    )
    assert (told.disallowed, told.recognized) == (0, -100)
    assert told.lot("ACB-X", "A").adjusted_basis == 1000


def test_splits_and_symbols_change_what_is_owed():
    """Ten owed are twenty of the new symbol after 2:1; they are covered for 800."""
    told = told_of(
        """
        2024-05-21,S,X,SHORT,10,1000,P
        2024-05-25,S,X,SPLIT,2:1
        2024-05-26,S,X,RENAME,,,,Y
        2024-06-10,S,Y,COVER,20,800
        """
    )
    assert told.recognized == 200


def test_a_worthless_company_is_covered_for_nothing():
    """Nothing is realised when the security ends, but when the position is closed: 950 for nothing (CRA 9234305)."""
    told = told_of("2024-05-21,S,X,SHORT,10,950,P\n2024-06-10,S,X,COVER,10,0")
    assert (told.recognized, told.state.shorts) == (950, {})


def test_a_short_sale_beside_shares_of_the_taxpayer_is_remarked():
    """CRA 2001-006904: the owner's shares may be hedged; those of a spouse, and of a plan, are not the owner's."""
    rows = "2022-01-03,A,X,BUY,10,800\n2024-06-03,S,X,SHORT,10,1000"
    same = told_of(rows, taxpayers={"A": "Ann", "S": "Ann"}, sound=False)
    assert [(remark.code, remark.refused) for remark in same.findings] == [("SHORT_BESIDE_SHARES", False)]
    assert "while A holds X" in same.findings[0].message
    assert told_of(rows, taxpayers={"A": "Bob", "S": "Ann"}).findings == ()
    assert told_of(rows, sheltered=("A",)).findings == ()


def test_what_cannot_be_covered_is_refused():
    """A second position of one name, a name of pools, more than is owed, and shares held that are delivered."""
    told = told_of(
        """
        2024-05-21,S,X,SHORT,10,950,P
        2024-05-22,S,X,SHORT,10,950,P
        2024-05-22,S,Y,SHORT,10,950,ACB-X
        2024-06-10,S,X,COVER,11,900
        """,
        sound=False,
    )
    assert told.codes == ["LOT_EXISTS", "LOT_EXISTS", "NO_SHORT_POSITION"]
    ten = Decimal(10)
    cover = CoverShort(
        account="A",
        event_id="c",
        trade_date=date(2024, 6, 20),
        ticker="X",
        quantity=ten,
        picks=(LotPick("ACB-X", ten),),
    )
    told = told_of([*events_of("2024-06-04,A,X,BUY,10,800\n2024-06-03,A,X,SHORT,10,1000,P"), cover], sound=False)
    assert told.codes == ["SHARES_DELIVERED"]
    assert sorted(told.state.shorts) == [("A", "P")]
