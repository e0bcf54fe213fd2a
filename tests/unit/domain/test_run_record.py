"""What the settlement of a stored run adds up to."""

from decimal import Decimal

from prometheus.domain.run_record import SettledTotals


def test_totals_keep_the_digits_of_the_stored_amounts():
    """Amounts are stored as text; they are read to the cent, zeros included."""
    totals = SettledTotals.from_json(
        {
            "cash_after": "1000.10",
            "realized_gain_short": "-12.30",
            "realized_gain_long": "0.00",
            "realized_gain_other": "5.00",
            "disallowed_loss": "7.25",
            "tax": "-1.50",
            "cost": "2.00",
            "trades": 3,
        }
    )
    assert totals == SettledTotals(
        cash_after=Decimal("1000.10"),
        gain_short=Decimal("-12.30"),
        gain_long=Decimal(0),
        gain_other=Decimal(5),
        disallowed_loss=Decimal("7.25"),
        tax=Decimal("-1.50"),
        cost=Decimal(2),
        trades=3,
    )
    assert (f"{totals.gain_short:f}", f"{totals.gain_long:f}") == ("-12.30", "0.00")
