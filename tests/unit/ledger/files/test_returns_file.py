"""Files of returns: who files together, what is carried in, and what cannot be used is named."""

from decimal import Decimal

import pytest

from prometheus.foundation.errors import ConfigurationError
from prometheus.ledger.files.returns_file import read_returns
from prometheus.ledger.reports.amounts import FilingStatus
from prometheus.ledger.reports.form_8949 import Reporting
from prometheus.ledger.reports.returns import Carryover, YearInput

TEXT = """
funds = ["vtsax"]
[[returns]]
name = "Ann and Bob"
taxpayers = ["Ann", "Bob"]
status = "JOINT"
carried_short = "1200.50"
[returns.years.2018]
taxable_income = -2000.25
capital_gain_distributions = 7
[[returns]]
name = "Cleo"
carries_back = true
[returns.earlier_losses]
2017 = "500"
[reporting]
"B-1" = "proceeds"
[cusips]
"037833100" = "AAPL"
"""


def test_everything_that_can_be_said():
    """Returns, carryovers, inputs by year, what brokers report, funds and CUSIP numbers come out as typed values."""
    told = read_returns(TEXT, "r.toml")
    joint, cleo = told.returns
    assert (joint.name, joint.taxpayers, joint.status) == ("Ann and Bob", ("Ann", "Bob"), FilingStatus.JOINT)
    assert joint.opening == Carryover(Decimal("1200.50"), Decimal(0))
    assert joint.inputs == {2018: YearInput(Decimal("-2000.25"), capital_gain_distributions=Decimal(7))}
    assert (cleo.taxpayers, cleo.opening, cleo.carries_back) == (("Cleo",), None, True)
    assert cleo.earlier_losses == {2017: Decimal(500)}
    assert (told.reporting.accounts, told.reporting.funds) == ({"B-1": Reporting.PROCEEDS}, {"VTSAX"})
    assert told.tickers == {"037833100": "AAPL"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[returns]", "is no TOML"),
        ("title = 1", "'title' is not known; known are cusips, funds, reporting, returns"),
        ("returns = 1", "write each return as a table"),
        ("funds = 1", "write funds as a list"),
        ("[[returns]]\nwho = 1", "return 1: 'who' is not known"),
        ("[[returns]]\ntaxpayers = 1", "write taxpayers as a list"),
        ("[[returns]]\ncarries_back = 1", "carries_back is true or false"),
        ("[[returns]]\nstatus = 'BOTH'", "status: 'BOTH' is none of SINGLE, JOINT, SEPARATE"),
        ("[[returns]]\ncarried_long = 'much'", "carried_long: 'much' is no amount of money in cents"),
        ("[[returns]]\ncarried_long = 1.005", "'1.005' is no amount of money in cents"),
        ("[[returns]]\nyears = { x = {} }", "'x' is no year"),
        ("[[returns]]\nyears = { 2018 = 1 }", "return 1, 2018: '1' is no table"),
        ("reporting = 1", "'1' is no table"),
        ("[reporting]\nA = 'ALL'", "'ALL' is none of BASIS, PROCEEDS, NOTHING"),
    ],
)
def test_what_cannot_be_used_is_named(text, said):
    """Each slip is one sentence with the place and what is allowed."""
    with pytest.raises(ConfigurationError) as refused:
        read_returns(text, "r.toml")
    assert said in refused.value.message
    assert "r.toml" in refused.value.message
