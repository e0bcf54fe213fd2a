"""The range of cash that the optimizer is asked for."""

import numpy as np
import pytest

from prometheus.decision.problem_from_snapshot import _cash_range
from prometheus.domain.strategy import StrategyParams

NAV = 1_000_000.0
STEPS = np.array([5e-5, 2e-4])


def _range(cash, cash_min, cash_max, steps=STEPS):
    params = StrategyParams(cash_min=cash_min, cash_max=cash_max)
    found = _cash_range(params, cash, lines=1000, nav=NAV, step_values=steps)
    return found.least, found.most


def _rounded_range(cash, cash_min, cash_max, steps=STEPS):
    params = StrategyParams(cash_min=cash_min, cash_max=cash_max)
    found = _cash_range(params, cash, lines=1000, nav=NAV, step_values=steps)
    return found.rounded_least, found.rounded_most


def test_cent_reserve_is_added_to_the_minimum():
    """A cent for each ledger line is kept above the minimum, so that rounding never overdraws the account."""
    least, most = _range(0.02, cash_min=0.01, cash_max=0.05)
    assert least == pytest.approx(0.01 + 1000 * 0.01 / NAV)
    assert most == 0.05


def test_account_inside_the_reserve_is_not_made_to_sell():
    """Cash between the minimum and the reserve is enough: with no trade the range is met."""
    least, _ = _range(0.010004, cash_min=0.01, cash_max=0.05)
    assert least == 0.010004


def test_account_below_the_minimum_must_raise_cash():
    """An account poorer than its minimum is asked for the minimum, not for what it happens to have."""
    least, _ = _range(0.001, cash_min=0.01, cash_max=0.05)
    assert least > 0.01


def test_range_is_never_narrower_than_two_of_the_cheapest_shares():
    """A small account in whole shares gets a range that some number of shares can hit."""
    least, most = _range(0.5, cash_min=0.0, cash_max=0.0001, steps=np.array([0.01, 0.03]))
    assert most == pytest.approx(least + 0.02)


def test_rounded_trades_keep_the_cents_clear_of_both_ends():
    """Whoever trades keeps the reserve of cents, even where doing nothing needs none of it."""
    least, most = _rounded_range(0.010004, cash_min=0.01, cash_max=0.05)
    assert least == pytest.approx(0.01 + 1000 * 0.01 / NAV, abs=1e-11)
    assert most == pytest.approx(0.05 - 1000 * 0.01 / NAV, abs=1e-11)


def test_rounded_range_is_never_empty():
    """Where the range is as narrow as the cents it is left as it is: some list must be able to meet it."""
    least, most = _rounded_range(0.0, cash_min=0.0, cash_max=0.0)
    assert least < most <= least + 2 * STEPS.min() + 1e-11
