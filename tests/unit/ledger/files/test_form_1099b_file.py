"""A Form 1099-B as CSV: every row is read, or the form is refused with the first that cannot be."""

from datetime import date
from decimal import Decimal

import pytest

from prometheus.domain.lots import Term
from prometheus.foundation.errors import FileRefusedError
from prometheus.ledger.files.form_1099b_file import read_form_1099b
from prometheus.ledger.reports.form_1099b import Row1099B

HEADER = "Account,security,quantity,acquired_on,sold_on,proceeds,basis,disallowed,term,covered\n"


def test_a_form_is_read():
    """Both ways to write dates, VARIOUS, empty boxes, and what stands for them."""
    first, second = read_form_1099b(
        HEADER
        + 'A,xyz,10,01/03/2018,12/20/2018,"$1,100.00",1600,300,short,yes\nA,037833100,2,VARIOUS,2018-12-21,5,,,,no\n'
    )
    assert first == Row1099B(
        "A", "XYZ", Decimal(10), date(2018, 1, 3), date(2018, 12, 20), Decimal(1100), Decimal(1600), Decimal(300),
        Term.SHORT,
    )  # fmt: skip
    assert (second.acquired_on, second.basis, second.disallowed, second.term, second.is_covered) == (
        None, None, 0, Term.NONE, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "MISSING_COLUMN", "The header lacks account, security"),
        ("account,security,quantity,sold_on,proceeds,box\n", "UNKNOWN_COLUMN", "'box' is not known"),
        (HEADER + ",X,1,,2018-01-02,1,,,,\n", "BAD_ROWS", "row 2: The row has no account."),
        (HEADER + "A,X,-1,,2018-01-02,1,,,,\n", "BAD_ROWS", "The quantity is empty or negative."),
        (HEADER + "A,X,1,,2018-01-02,,,,,\n", "BAD_ROWS", "The proceeds is empty or negative."),
        (HEADER + "A,X,1,,2018-13-02,1,,,,\n", "BAD_ROWS", "BAD_DATE"),
        (HEADER + "A,X,1,,2018-01-02,1,,,years,\n", "BAD_ROWS", "'YEARS' is no term"),
        (HEADER + "A,X,1,,2018-01-02,1,,,,maybe\n", "BAD_ROWS", "neither yes nor no"),
    ],
)
def test_a_form_with_a_bad_row_is_refused(text, code, said):
    """A row that is left out would look missing on the form; so nothing is compared."""
    with pytest.raises(FileRefusedError) as refused:
        read_form_1099b(text)
    assert (refused.value.code, said in refused.value.message) == (code, True)
