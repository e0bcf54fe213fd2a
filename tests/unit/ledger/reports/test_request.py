"""A tax report asked for: who files, whose sales, by whose figures."""

from decimal import Decimal

import pytest

from prometheus.domain.accounts import TaxRegime
from prometheus.foundation.errors import RequestError
from prometheus.ledger.files.book_file import FileSettings, book_file
from prometheus.ledger.files.form_1099b_file import read_form_1099b
from prometheus.ledger.reports.amounts import FilingStatus
from prometheus.ledger.reports.request import BrokerView, ReportRequest, household_report
from prometheus.ledger.reports.returns import Carryover, Return

TWO = """date,account,ticker,action,quantity,amount,lot_id,taxpayer
2017-01-03,A,X,BUY,100,9000,a,Ann
2017-01-03,B,Y,BUY,100,9000,b,Bob
2018-03-01,A,X,SELL,100,5000,,
2018-03-01,B,Y,SELL,100,8000,,
"""


def report(text=TWO, regime=TaxRegime.US, **asked: object):
    """Book a file and answer a request."""
    return household_report(book_file(text, FileSettings(regime=regime)).books, ReportRequest(**asked))


def limits(answer):
    """Return name, loss of the year and what goes against other income, of each return."""
    return [
        (filed.filing.name, year.line_16, year.line_21) for filed in answer.report.returns for year in filed.schedules_d
    ]


@pytest.mark.parametrize(
    ("asked", "filed"),
    [
        ({}, [("Ann", -4000, 3000), ("Bob", -1000, 1000)]),
        ({"status": FilingStatus.SEPARATE}, [("Ann", -4000, 1500), ("Bob", -1000, 1000)]),
        ({"status": FilingStatus.JOINT}, [("Ann and Bob", -5000, 3000)]),
        ({"returns": (Return("Us", ("Ann", "Bob"), FilingStatus.JOINT),)}, [("Us", -5000, 3000)]),
        ({"accounts": frozenset({"B"})}, [("Bob", -1000, 1000)]),
    ],
    ids=["each alone", "separately", "jointly", "as returns say", "one account"],
)
def test_who_files(asked, filed):
    """26 U.S.C. 1211(b): 3,000 a return, of one person or of two jointly, and 1,500 filed separately."""
    assert limits(report(**asked)) == filed


def test_what_contradicts_itself_is_refused():
    """Carryovers of nobody in particular, two places that say the status, and a US form in Canada."""
    opening = Carryover(Decimal(100), Decimal(0))
    with pytest.raises(RequestError, match="Ann and Bob file a return each"):
        report(opening=opening)
    with pytest.raises(RequestError, match="in one place"):
        report(returns=(Return("Us", ("Ann",)),), opening=opening)
    with pytest.raises(RequestError, match="US form"):
        report(
            regime=TaxRegime.CA,
            statement=read_form_1099b("account,security,quantity,sold_on,proceeds\nA,X,1,2018-03-01,1\n"),
        )


WASHED = """date,account,ticker,action,quantity,amount,lot_id
2024-01-02,A,X,BUY,10,1000,a
2024-06-03,A,X,SELL,10,700,
2024-06-05,A,X,BUY,10,720,b
2024-06-10,A,X,SELL,10,730,
"""


def test_a_second_fold_has_what_only_the_broker_sees():
    """Shares bought in the window and sold again: both views give the form's figures, here without any difference."""
    derived, folded = (report(WASHED, broker_view=view) for view in BrokerView)
    rows = [[(row.codes, row.basis, row.gain) for row in one.report.returns[0].form_8949] for one in (derived, folded)]
    assert [sum(gain for _, _, gain in each) for each in rows] == [-290, -290]
    assert limits(derived) == limits(folded) == [("", -290, 290)]


def test_a_statement_replaces_the_derived_view():
    """What a Form 1099-B says of a line goes into column (e) with code B, and the comparison names the difference."""
    form = read_form_1099b("account,security,quantity,sold_on,proceeds,basis\nA,X,10,2024-06-03,700,900\n")
    answer = report(WASHED.replace("2024-06-05,A,X,BUY,10,720,b\n2024-06-10,A,X,SELL,10,730,\n", ""), statement=form)
    (row,) = answer.report.returns[0].form_8949
    assert (row.codes, row.basis, row.adjustment, row.gain) == ("B", 900, -100, -300)
    assert answer.comparison is not None
    assert [one.outcome for one in answer.comparison.compared] == ["DIFFERS"]
