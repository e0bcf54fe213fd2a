"""Histories that were booked wrongly once, each with the answer that the sources give."""

import pytest

from tests.unit.ledger.told import Told


@pytest.mark.parametrize("name", ["A", "Z"])
def test_the_name_of_an_account_decides_nothing(name):
    """Two replacement purchases of one day, one in an IRA: the same answer whatever the taxable account is called."""
    told = Told(
        f"""
        2024-01-02,{name},XYZ,BUY,10,1000
        2024-06-03,{name},XYZ,SELL,10,700
        2024-06-10,{name},XYZ,BUY,10,720,new
        2024-06-10,I,XYZ,BUY,10,720
        """,
        sheltered={"I"},
        sound=False,
    )
    assert (told.codes, told.basis("new", name)) == (["SAME_DAY_SHELTER"], 1020)
    assert [row.loss.is_permanent for row in told.sales[0].disallowances] == [False]


def test_a_tacked_basis_keeps_what_the_broker_reports_apart():
    """Form 8949: the broker's basis of the replacement in another account is its cost of 4,100, ours is 4,200."""
    told = Told(
        """
        2024-03-01,A,XYZ,BUY,10,4000
        2024-06-21,A,XYZ,SELL,10,3900
        2024-06-25,B,XYZ,BUY,10,4100
        2024-09-03,B,XYZ,SELL,10,4500
        """
    )
    row = told.sales[1].posting
    assert (-row.cost_basis, -row.adjusted_basis, row.realized_gain) == (4100, 4200, 300)


def test_an_opening_lot_that_has_replaced_does_not_replace_again():
    """Reg. 1.1091-1(e): the loss of 2,000 stands where the file says that the lot has served."""
    text = """
        2025-01-01,A,XYZ,OPEN,100,10000,L0,2023-05-01
        2025-01-01,A,XYZ,OPEN,100,10100,L2,2024-12-20,100
        2025-01-10,A,XYZ,SELL,100,8000,L0
    """
    assert (Told(text).disallowed, Told(text).recognized) == (0, -2000)


def test_nine_decimals_of_a_share_are_kept():
    """A broker's fractional share is booked as it is told."""
    told = Told("2024-01-02,A,XYZ,BUY,0.123456789,12.35,L\n2024-02-02,A,XYZ,SELL,0.123456788,12.40,L")
    assert str(told.lot("L").quantity) == "1E-9"
