"""Each refusal of an event by itself."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from prometheus.domain.books import LotPick
from prometheus.ledger import events as ev
from prometheus.ledger.checks import check_event

DAY = {"account": "A", "event_id": "e", "trade_date": date(2024, 1, 2)}
X = {**DAY, "ticker": "X"}
TEN = {"quantity": Decimal(10), "amount": Decimal(100)}


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (ev.Buy(**{**X, "trade_date": date(1850, 1, 2)}, **TEN), "DATE_OUT_OF_RANGE"),
        (ev.Buy(**{**X, "account": ""}, **TEN), "NO_ACCOUNT"),
        (ev.Buy(**{**X, "ticker": ""}, **TEN), "NO_TICKER"),
        (ev.Buy(**X, **TEN, currency="USD", rate=Decimal(0)), "BAD_RATE"),
        (ev.Buy(**X, quantity=Decimal(0), amount=Decimal(1)), "NO_QUANTITY"),
        (ev.Buy(**X, quantity=Decimal(-1), amount=Decimal(1)), "NEGATIVE_QUANTITY"),
        (ev.Buy(**X, quantity=Decimal(10) ** 13, amount=Decimal(1)), "TOO_LARGE"),
        (ev.Buy(**X, quantity=Decimal("1.0000000001"), amount=Decimal(1)), "TOO_FINE"),
        (ev.Buy(**X, quantity=Decimal(1), amount=Decimal(-1)), "NEGATIVE_AMOUNT"),
        (ev.Buy(**X, quantity=Decimal(1), amount=Decimal("0.001")), "PART_OF_A_CENT"),
        (ev.Buy(**X, quantity=Decimal(1), amount=Decimal(10) ** 13), "TOO_LARGE"),
        (ev.Buy(**X, **TEN, lot_id="L~W1-x"), "BAD_LOT_ID"),
        (ev.Sell(**X, **TEN, picks=(LotPick("L", Decimal(9)),)), "PICKS_DIFFER"),
        (ev.Sell(**X, **TEN, picks=(LotPick("L", Decimal(5)),) * 2), "LOT_NAMED_TWICE"),
        (ev.Sell(**X, **TEN, picks=(LotPick("L", Decimal(11)), LotPick("M", Decimal(-1)))), "NEGATIVE_QUANTITY"),
        (
            ev.OpeningLot(**X, quantity=Decimal(1), cost_basis=Decimal(1), acquired_on=date(2024, 1, 3)),
            "ACQUIRED_LATER",
        ),
        (
            ev.OpeningLot(**X, quantity=Decimal(1), cost_basis=Decimal(1), acquired_on=date(1850, 1, 3)),
            "DATE_OUT_OF_RANGE",
        ),
        (
            ev.OpeningLot(**X, quantity=Decimal(1), cost_basis=Decimal(1), replaced_quantity=Decimal(2)),
            "BAD_REPLACED_QUANTITY",
        ),
        (ev.TransferOut(**X, quantity=Decimal(1), other_account="A"), "SAME_ACCOUNT"),
        (ev.CashTransfer(**DAY, amount=Decimal(1), other_account="A"), "SAME_ACCOUNT"),
        (ev.Fee(**DAY, amount=Decimal("0.001")), "PART_OF_A_CENT"),
        (ev.Split(**X, ratio=Fraction(0)), "ZERO_RATIO"),
        (ev.Split(**X, ratio=Fraction(2), fraction_price=Decimal(-1)), "BAD_PRICE"),
        (ev.SpinOff(**X, child="X", ratio=Fraction(1), basis_fraction=Decimal("0.5")), "NO_OTHER_TICKER"),
        (ev.SpinOff(**X, child="C", ratio=Fraction(1), basis_fraction=Decimal(1)), "BAD_BASIS_FRACTION"),
        (ev.SymbolChange(**X, new_ticker="X"), "NO_OTHER_TICKER"),
        (ev.Merger(**X), "ZERO_RATIO"),
        (ev.Merger(**X, new_ticker="Y"), "NO_OTHER_TICKER"),
        (ev.Merger(**X, new_ticker="Y", ratio=Fraction(1), cash_per_share=Decimal(1)), "NO_PRICE"),
        (ev.Dividend(**X), "NO_AMOUNT"),
        (ev.Dividend(**X, amount=Decimal(1), per_share=Decimal(1)), "NO_AMOUNT"),
        (ev.Dividend(**{**X, "account": ""}, amount=Decimal(1)), "NO_ACCOUNT"),
        (ev.StockDistribution(**X, value=Decimal(1), close=Decimal(0)), "NO_PRICE"),
    ],
)
def test_impossible_events_are_refused(event, code):
    """Each defect of an event has its code, a sentence and a remedy."""
    defect = check_event(event)
    assert defect is not None
    assert (defect[0], defect[1][-1], defect[2][-1]) == (code, ".", ".")


@pytest.mark.parametrize(
    "event",
    [
        ev.Buy(**X, quantity=Decimal("0.123456789"), amount=Decimal("0.01")),
        ev.Buy(**X, **TEN, currency="USD", rate=Decimal("1.35")),
        ev.Sell(**X, **TEN, picks=(LotPick("L", Decimal(10)),)),
        ev.Interest(**DAY, amount=Decimal(-3)),
        ev.Split(**{**X, "account": ""}, ratio=Fraction(1, 3)),
        ev.Merger(**X, cash_per_share=Decimal(1)),
        ev.Delisting(**X, amount=Decimal(0)),
    ],
)
def test_sound_events_pass(event):
    """Nine decimals of a share, foreign amounts, negative interest and worthless shares are possible."""
    assert check_event(event) is None
