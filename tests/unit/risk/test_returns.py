from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.errors import RiskModelError
from prometheus.risk.returns import action_panels, total_returns

NAN = float("nan")


def _one_name(closes, splits=None, money=None):
    rows = len(closes)
    column = np.array(closes, dtype=float)[:, None]
    factor = np.array(splits or [1.0] * rows)[:, None]
    paid = np.array(money or [0.0] * rows)[:, None]
    return total_returns(column, factor, paid)[:, 0]


@pytest.mark.parametrize(
    ("closes", "splits", "money", "expected"),
    [
        ([100, 110, 99], None, None, [0.10, -0.10]),
        ([100, 51], [1, 2], None, [0.02]),  # two for one
        ([5, 52], [1, 0.1], None, [0.04]),  # one for ten
        ([100, 98], None, [0, 3], [0.01]),  # dividend
        ([100, 49], [1, 2], [0, 2], [0.02]),  # paid on the shares after the split
        ([100, NAN, 121], None, None, [NAN, 0.21]),  # over a gap: from the last close seen
        ([100, NAN, 51], [1, 2, 1], None, [NAN, 0.02]),  # split inside the gap
        ([100, NAN, 51], [1, 2, 2], None, [NAN, 1.04]),  # two splits on the way
        ([100, NAN, 98], None, [0, 3, 1], [NAN, 0.02]),  # money inside the gap and on the day itself
        ([100, NAN, 25], [1, 2, 2], [0, 4, 0], [NAN, 0.08]),  # paid on 2 shares, though 4 are held later
        ([NAN, 50, 55], [1, 7, 1], [0, 9, 0], [NAN, 0.10]),  # actions before the first close do not count
        ([NAN, NAN], None, None, [NAN]),
        ([100, NAN, NAN, 110, 121], None, None, [NAN, NAN, 0.10, 0.10]),
    ],
)
def test_returns_by_hand(closes, splits, money, expected):
    """Splits, payments and gaps give the return that a holder of one share had."""
    np.testing.assert_allclose(_one_name(closes, splits, money), expected, rtol=1e-12)


@given(
    st.lists(st.floats(1.0, 500.0), min_size=2, max_size=8),
    st.lists(st.sampled_from([0.1, 0.5, 1.0, 1.5, 2.0, 10.0]), min_size=8, max_size=8),
    st.lists(st.booleans(), min_size=8, max_size=8),
)
@settings(deadline=None)
def test_a_split_alone_earns_nothing(values, factors, missing):
    """Growth compounded over any splits and gaps is the growth of the split-adjusted price."""
    rows = len(values)
    splits = np.array(factors[:rows])
    splits[0] = 1.0
    raw = np.array(values) / np.cumprod(splits)
    hidden = np.array(missing[:rows])
    hidden[[0, -1]] = False
    raw[hidden] = np.nan
    returns = total_returns(raw[:, None], splits[:, None], np.zeros((rows, 1)))
    assert np.nanprod(1.0 + returns) == pytest.approx(values[-1] / values[0])
    assert np.isnan(returns[:, 0]).tolist() == hidden[1:].tolist()


def test_names_do_not_touch_each_other():
    """Each column's returns are those of the asset alone."""
    rng = np.random.default_rng(3)
    closes = rng.uniform(10, 90, (30, 4))
    closes[rng.random((30, 4)) < 0.3] = np.nan
    factor = rng.choice([1.0, 2.0], (30, 4))
    money = rng.choice([0.0, 0.5], (30, 4))
    together = total_returns(closes, factor, money)
    for column in range(4):
        alone = total_returns(closes[:, [column]], factor[:, [column]], money[:, [column]])
        np.testing.assert_array_equal(together[:, [column]], alone)


@pytest.mark.parametrize("rows", [0, 1])
def test_without_two_sessions_there_are_no_returns(rows):
    """A panel of one session, or none, has no rows of returns."""
    assert total_returns(np.ones((rows, 3)), np.ones((rows, 3)), np.zeros((rows, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("panel", "bad"),
    [
        ("closes", 0.0),
        ("closes", -1.0),
        ("closes", np.inf),
        ("split_factor", 0.0),
        ("split_factor", NAN),
        ("split_factor", np.inf),
        ("distributions", -0.01),
        ("distributions", NAN),
        ("distributions", np.inf),
    ],
)
def test_impossible_input_is_refused_by_place(panel, bad):
    """A value that cannot be is refused with the panel's asset, row and column."""
    panels = {"closes": np.ones((3, 2)), "split_factor": np.ones((3, 2)), "distributions": np.zeros((3, 2))}
    panels[panel][2, 1] = bad
    with pytest.raises(RiskModelError, match=rf"{panel}\[2, 1\] is") as refused:
        total_returns(**panels)
    assert refused.value.code == "RISK_INPUT"


def test_panels_of_different_shapes_are_refused():
    """Closes and actions must lie on one grid."""
    with pytest.raises(RiskModelError, match="must have one"):
        total_returns(np.ones((3, 2)), np.ones((3, 2)), np.zeros((3, 1)))


DATES = (date(2025, 9, 2), date(2025, 9, 3), date(2025, 9, 5))


def _action(ticker, day, kind, value):
    return CorporateAction(ticker, day, kind, Decimal(value))


def test_actions_are_laid_out_by_kind():
    """Splits and price factors multiply, money adds, several on one day combine."""
    day = DATES[1]
    factor, money = action_panels(
        [
            _action("B", day, ActionType.SPLIT, "2"),
            _action("B", day, ActionType.SPINOFF_PRICE_FACTOR, "1.25"),
            _action("B", day, ActionType.DIVIDEND, "0.5"),
            _action("B", day, ActionType.SPECIAL_DIVIDEND, "1"),
            _action("B", day, ActionType.SPINOFF_VALUE, "2"),
            _action("A", day, ActionType.STOCK_DISTRIBUTION_VALUE, "4"),
        ],
        DATES,
        ("A", "B"),
    )
    assert factor.tolist() == [[1, 1], [1, 2.5], [1, 1]]
    assert money.tolist() == [[0, 0], [4, 3.5], [0, 0]]


def test_an_action_between_sessions_takes_effect_on_the_next():
    """An ex-date without a row moves to the next row, never to an earlier one."""
    factor, _ = action_panels([_action("A", date(2025, 9, 4), ActionType.SPLIT, "2")], DATES, ("A",))
    assert factor[:, 0].tolist() == [1, 1, 2]


@pytest.mark.parametrize(
    ("ticker", "day"), [("A", date(2025, 9, 1)), ("A", date(2025, 9, 6)), ("OTHER", date(2025, 9, 3))]
)
def test_actions_outside_the_grid_are_left_out(ticker, day):
    """Actions of other assets and other times change nothing."""
    factor, money = action_panels([_action(ticker, day, ActionType.SPLIT, "2")], DATES, ("A",))
    assert (factor == 1).all()
    assert (money == 0).all()


def test_a_grid_without_dates_has_no_rows():
    """Without sessions there is nowhere to put an action."""
    factor, money = action_panels([_action("A", DATES[0], ActionType.SPLIT, "2")], (), ("A",))
    assert factor.shape == money.shape == (0, 1)
