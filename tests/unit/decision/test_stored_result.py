"""The stored form of an answer: by column, read back as rows."""

from prometheus.audit.recorded_run import read_result
from prometheus.decision.stored_result import RESULT_VERSION, stored_result

ROWS = [
    {
        "ticker": "AAA",
        "trade": 0.0123456789012,
        "active_risk": 6.40776807742337,
        "tax": 0.0,
        "trading_cost": 5.0,
        "tilt": -0.0,
        "cash": -11.40776807742337,
        "limits": {"tracking_error": -1.5},
        "bound": -1.0977e-12,
        "reason": "invest cash, active risk cost 0.01 bps",
        "borrow": 0.0,
    },
    {
        "ticker": "BBB",
        "trade": -0.5,
        "active_risk": -2.0,
        "tax": -3.25,
        "trading_cost": -5.0,
        "tilt": 0.0,
        "cash": -11.40776807742337,
        "limits": {"sector:Energy": 2.0},
        "bound": 0.0,
        "reason": "raise cash, active risk gain 0.02 bps",
        "borrow": 0.0,
    },
]


def test_explanations_are_stored_by_column_and_read_by_row():
    """Slopes keep seven decimals, limits stand with the names they bind, and a negative zero is none."""
    stored = stored_result({"shares": {"AAA": "7"}, "explanations": ROWS})
    assert stored["shares"] == {"AAA": "7"}
    assert stored["explanations"]["trading_cost"] == "5.0 -5.0"
    assert stored["explanations"]["cash"] == "-11.4077681*2"
    read = read_result({**stored, "version": RESULT_VERSION})["explanations"]
    rounded = [
        {name: round(value, 7 if name != "trade" else 12) if isinstance(value, float) else value
         for name, value in row.items()}
        for row in ROWS
    ]  # fmt: skip
    assert read == rounded
    assert "-0.0" not in str(read)


def test_stored_form_is_stored_as_it_is():
    """An answer read back from the staging table is not written differently the second time."""
    stored = stored_result({"explanations": ROWS})
    assert stored_result(stored) == stored
    assert read_result({**stored_result({"explanations": []}), "version": RESULT_VERSION})["explanations"] == []
