"""Who files together, and what is refused."""

from decimal import Decimal

import pytest

from prometheus.domain.accounts import TaxRegime
from prometheus.foundation.errors import ConfigurationError
from prometheus.ledger.reports.amounts import FilingStatus
from prometheus.ledger.reports.returns import Carryover, Return, YearInput, complete_returns

JOINT = FilingStatus.JOINT


def test_a_taxpayer_without_a_return_files_alone():
    """Ann and Bob file jointly; Carl, whom no return names, gets one of his own."""
    returns = complete_returns([Return("both", ("Ann", "Bob"), JOINT)], ["Carl", "Ann"], TaxRegime.US)
    assert [(each.name, each.taxpayers, each.status) for each in returns] == [
        ("both", ("Ann", "Bob"), JOINT),
        ("Carl", ("Carl",), FilingStatus.SINGLE),
    ]


def test_one_of_two_who_file_jointly_may_have_no_account():
    """A joint return of one known taxpayer is accepted: the spouse has no account here."""
    assert complete_returns([Return("both", ("Ann",), JOINT)], ["Ann"], TaxRegime.US)[0].status is JOINT


@pytest.mark.parametrize(
    ("returns", "regime", "message"),
    [
        ([Return("a", ("Ann",)), Return("b", ("Ann",))], TaxRegime.US, "Ann is in two returns"),
        ([Return("a", ())], TaxRegime.US, "names nobody"),
        ([Return("a", ("Ann", "Bob"))], TaxRegime.US, "only two people"),
        ([Return("a", ("Ann", "Bob", "Carl"), JOINT)], TaxRegime.US, "only two people"),
        ([Return("a", ("Ann",), opening=Carryover(Decimal(-1)))], TaxRegime.US, "positive number"),
        ([Return("a", ("Ann",), carries_back=True)], TaxRegime.US, "go forward only"),
        ([Return("a", ("Ann",), earlier_losses={2020: Decimal(5)})], TaxRegime.US, "go forward only"),
        ([Return("a", ("Ann", "Bob"), JOINT)], TaxRegime.CA, "each person alone"),
        ([Return("a", ("Ann",), opening=Carryover())], TaxRegime.CA, "is Canadian; short-term and long-term"),
        ([Return("a", ("Ann",), inputs={2024: YearInput()})], TaxRegime.CA, "inputs of Schedule D"),
        ([Return("a", ("Ann",), FilingStatus.SEPARATE)], TaxRegime.CA, "filing status"),
        ([Return("a", ("Ann",), earlier_losses={2020: Decimal(-5)})], TaxRegime.CA, "positive numbers"),
    ],
)
def test_returns_that_cannot_be_are_refused_with_a_sentence(returns, regime, message):
    """Each refusal says which return it is about and what to do."""
    with pytest.raises(ConfigurationError, match=message):
        complete_returns(returns, ["Ann"], regime)
