"""Short positions of the United States."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

from prometheus.domain.books import LotPick
from prometheus.ledger.events import CoverShort
from tests.unit.ledger.told import Told, events_of


def test_a_short_sale_realises_its_gain_on_the_cover():
    """Ten sold short for 950 and bought for 900: a short-term gain of 50 on the day of the cover."""
    told = Told("2024-05-21,S,X,SHORT,10,950,P\n2024-06-10,S,X,COVER,10,900")
    (sale,) = told.sales
    assert (sale.realized_gain, sale.term, sale.posting.day) == (50, "SHORT", date(2024, 6, 10))
    assert (told.state.shorts, told.state.lots, told.state.cash) == ({}, {}, {"S": 50})


def test_a_cover_is_no_replacement():
    """The loss of A in May stands though S buys in June: those shares close a short position."""
    told = Told(
        """
        2024-01-02,A,XYZ,BUY,10,1000,L1
        2024-05-20,A,XYZ,SELL,10,900,L1
        2024-05-21,S,XYZ,SHORT,10,950
        2024-06-10,S,XYZ,COVER,10,900
        """
    )
    assert (told.disallowed, told.recognized) == (0, -100 + 50)


def test_positions_are_covered_earliest_first_and_in_parts():
    """Six of ten at 100 and then the rest with five of another position at 90."""
    told = Told(
        """
        2024-05-21,S,X,SHORT,10,1000,P
        2024-05-22,S,X,SHORT,5,450,Q
        2024-06-10,S,X,COVER,6,480
        2024-06-11,S,X,COVER,9,900
        """
    )
    assert [(sale.lot_id, sale.realized_gain) for sale in told.sales] == [("P", 120), ("P", 0), ("Q", -50)]


def test_a_split_changes_what_is_owed():
    """Ten owed are twenty after 2:1, under the new symbol."""
    told = Told(
        """
        2024-05-21,S,X,SHORT,10,1000,P
        2024-05-25,S,X,SPLIT,2:1
        2024-05-26,S,X,RENAME,,,,Y
        2024-06-10,S,Y,COVER,20,800
        """
    )
    assert told.recognized == 200


def test_more_than_is_owed_cannot_be_covered():
    """A cover without a short position, and a second position of one name, are findings."""
    told = Told(
        "2024-05-21,S,X,SHORT,10,950,P\n2024-05-22,S,X,SHORT,10,950,P\n2024-06-10,S,X,COVER,11,900", sound=False
    )
    assert told.codes == ["LOT_EXISTS", "NO_SHORT_POSITION"]


def test_a_gain_is_short_term_and_a_new_period_begins_where_shares_were_held_short_term():
    """26 U.S.C. 1233(b): shares of six months are held on the day; their period begins anew with the cover."""
    told = Told(
        """
        2024-01-02,A,X,BUY,10,1200,L
        2024-06-03,A,X,SHORT,10,1000
        2024-07-01,A,X,COVER,10,900
        """
    )
    assert (told.recognized, told.sales[0].term) == (100, "SHORT")
    assert (told.lot("L").holding_period_start, told.lot("L").acquired_on) == (date(2024, 7, 1), date(2024, 1, 2))


def test_a_loss_is_long_term_where_shares_were_held_long_term():
    """26 U.S.C. 1233(d): shares of two years are held on the day of the short sale."""
    told = Told(
        """
        2022-01-03,A,X,BUY,10,1200,L
        2024-06-03,A,X,SHORT,10,1000
        2024-07-01,A,X,COVER,10,1100
        """
    )
    assert (told.recognized, told.sales[0].term) == (-100, "LONG")
    assert told.lot("L").holding_period_start == date(2022, 1, 3)


def test_a_short_sale_against_a_gain_is_remarked():
    """26 U.S.C. 1259: held at 80 a share and sold short at 100."""
    told = Told("2022-01-03,A,X,BUY,10,800,L\n2024-06-03,A,X,SHORT,10,1000", sound=False)
    assert [(found.code, found.refused) for found in told.findings] == [("CONSTRUCTIVE_SALE", False)]


def test_a_loss_beside_another_short_sale_is_remarked():
    """26 U.S.C. 1091(e): covered at a loss while a short sale of a week before is open."""
    told = Told(
        """
        2024-05-01,S,X,SHORT,10,900,P
        2024-06-03,S,X,SHORT,10,1000,Q
        2024-06-10,S,X,COVER,10,1100
        """,
        sound=False,
    )
    assert told.codes == ["SHORT_WASH_SALE"]


def test_shares_held_can_be_delivered():
    """Ten held long-term at 800 are delivered for a short sale of 1,000: a long-term gain of 200."""
    events = events_of("2022-01-03,A,X,BUY,10,800,L\n2024-06-03,A,X,SHORT,10,1000,P")
    cover = CoverShort(
        account="A",
        event_id="c",
        trade_date=date(2024, 6, 20),
        ticker="X",
        quantity=Decimal(10),
        picks=(LotPick("L", Decimal(10)),),
    )
    told = Told([*events, cover], sound=False)
    assert [(sale.realized_gain, sale.term) for sale in told.sales if sale.realized_gain] == [(200, "LONG")]
    assert (told.state.shorts, told.lots) == ({}, {})


def test_a_remark_names_the_earliest_lot():
    """Of two lots at a gain the one bought first is named, in whatever order they are kept."""
    told = Told("2022-02-03,A,X,BUY,10,800,a\n2022-01-03,A,X,BUY,10,800,b\n2024-06-03,A,X,SHORT,10,1000", sound=False)
    assert "holds b at a gain" in told.findings[0].message


def test_shares_held_long_make_a_loss_long_term_and_no_gain():
    """26 U.S.C. 1233(d): beside shares held for more than a year the loss of a cover is long-term, its gain is not."""
    told = Told(
        """
        2019-01-02,A,X,BUY,10,100,old
        2020-06-03,A,X,SHORT,10,100,sh
        2020-06-10,A,X,COVER,4,30
        2020-06-11,A,X,COVER,6,90
        """
    )
    assert [(sale.realized_gain, sale.term) for sale in told.sales] == [(10, "SHORT"), (-30, "LONG")]


def test_a_loss_beside_no_shares_is_short_term():
    """A position that is owed for two years was held by nobody: its loss is short-term."""
    told = Told("2019-01-02,A,X,SHORT,10,100,sh\n2021-06-10,A,X,COVER,10,150")
    assert [(sale.realized_gain, sale.term) for sale in told.sales] == [(-50, "SHORT")]


def test_a_small_gain_beside_long_term_shares_is_short_term():
    """26 U.S.C. 1233(d) is for losses: a gain of 0.50 beside shares of two years stays short-term."""
    told = Told(
        """
        2022-01-03,A,X,BUY,10,1200,L
        2024-06-03,A,X,SHORT,10,1000
        2024-07-01,A,X,COVER,10,999.50
        """
    )
    assert [(sale.realized_gain, sale.term) for sale in told.sales] == [(Decimal("0.50"), "SHORT")]


def test_a_small_gain_of_shares_delivered_is_short_term():
    """26 U.S.C. 1233(b)(1): beside shares of six months a lot of two years is delivered at a gain of 0.50."""
    events = events_of(
        """
        2022-01-03,A,X,BUY,10,999.50,L
        2024-01-02,A,X,BUY,10,1200,young
        2024-06-03,A,X,SHORT,10,1000,P
        """
    )
    cover = CoverShort(
        account="A",
        event_id="c",
        trade_date=date(2024, 6, 20),
        ticker="X",
        quantity=Decimal(10),
        picks=(LotPick("L", Decimal(10)),),
    )
    told = Told([*events, cover], sound=False)
    (line,) = [sale for sale in told.sales if sale.realized_gain]
    assert (line.lot_id, line.realized_gain, line.term) == ("L", Decimal("0.50"), "SHORT")


def test_the_commission_of_a_cover_is_shared_out():
    """Ten and five shares are covered for a commission of 3.00: 2.00 and 1.00 of it."""
    events = events_of(
        """
        2024-05-21,S,X,SHORT,10,1000,P
        2024-05-22,S,X,SHORT,5,450,Q
        2024-06-10,S,X,COVER,15,1203
        """
    )
    told = Told([*events[:-1], replace(events[-1], fee=Decimal(3))])
    assert [(sale.lot_id, sale.posting.fee) for sale in told.sales] == [("P", 2), ("Q", 1)]
