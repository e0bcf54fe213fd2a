from datetime import date

import pytest

from prometheus.domain.accounts import AccountKind
from prometheus.ledger.files.file_terms import FileTerms, statement_of, terms_of
from prometheus.ledger.files.findings import RefusedRowError
from prometheus.ledger.terms import AccountTerms, AssetClass, Terms


def told(row, day=2, **values: str):
    """Return what a row of January 2024 says."""
    return statement_of(row, date(2024, 1, day), {"account": "A", "ticker": "X", **values})


def test_rows_state_types_taxpayers_groups_and_asset_classes():
    """What any row says holds for its account and its security throughout."""
    terms, findings = terms_of(
        [
            told(2, account_type="ira", taxpayer="ME", other_account="B"),
            told(3, group="G", asset_class="crypto"),
            told(4, account="C", account_type="taxable"),
        ]
    )
    assert findings == []
    assert terms == FileTerms(
        accounts=frozenset("ABC"),
        sheltered=frozenset("A"),
        taxable=frozenset("C"),
        taxpayers={"A": "ME"},
        groups={"X": "G"},
        asset_classes={"X": AssetClass.DIGITAL_ASSET},
    )


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ({"account_type": "IRA"}, {"account_type": "TAXABLE"}, "TYPE_CONFLICT"),
        ({"taxpayer": "ME"}, {"taxpayer": "SPOUSE"}, "TAXPAYER_CONFLICT"),
        ({"group": "G"}, {"group": "H"}, "GROUP_CONFLICT"),
        ({"asset_class": "SECURITY"}, {"asset_class": "CRYPTO"}, "ASSET_CLASS_CONFLICT"),
    ],
)
def test_the_earlier_row_counts_whatever_the_order(first, second, code):
    """A row that contradicts an earlier date is the finding, wherever it is in the file."""
    for rows in ([told(2, 2, **first), told(3, 3, **second)], [told(3, 3, **second), told(2, 2, **first)]):
        _, findings = terms_of(rows)
        assert [(finding.row, finding.code) for finding in findings] == [(3, code)]


def test_two_words_for_a_sheltered_account_do_not_contradict():
    """An IRA that another row calls SHELTERED is one sheltered account."""
    terms, findings = terms_of([told(2, account_type="IRA"), told(3, account_type="SHELTERED")])
    assert (findings, terms.sheltered) == ([], frozenset("A"))


@pytest.mark.parametrize(
    ("values", "code"), [({"account_type": "PENSION"}, "UNKNOWN_TYPE"), ({"asset_class": "ART"}, "UNKNOWN_ASSET_CLASS")]
)
def test_words_that_nobody_knows_are_refused(values, code):
    """A type or a class that is not known is refused with those that are."""
    with pytest.raises(RefusedRowError) as refused:
        told(2, **values)
    assert refused.value.code == code


def test_terms_of_the_file_are_added_to_those_of_the_household():
    """The file lists its accounts and overrides what it speaks of; the rest stays."""
    terms, _ = terms_of([told(2, account_type="RRSP", taxpayer="ME", group="G")], {"B"})
    given = Terms(accounts={"B": AccountTerms(taxpayer="SPOUSE", kind=AccountKind.SHELTERED)}, groups={"Y": "H"})
    joint = terms.added_to(given)
    assert {name: (one.taxpayer, one.kind) for name, one in joint.accounts.items()} == {
        "A": ("ME", AccountKind.SHELTERED),
        "B": ("SPOUSE", AccountKind.SHELTERED),
    }
    assert joint.groups == {"X": "G", "Y": "H"}
