from prometheus.ledger.files.findings import RowFinding
from prometheus.ledger.files.own_format import read_own_format
from prometheus.ledger.findings import Finding
from prometheus.ledger.keys import EventKey

TEXT = "date,account,ticker,action,quantity,amount,entry_id\n2024-01-02,A,X,BUY,1,5,B1\n2024-01-03,A,X,GIFT,1,5,\n"


def test_findings_of_the_fold_are_told_by_row():
    """The fold speaks of events, a person of rows; an event of another file has none."""
    file = read_own_format(TEXT)
    told = [
        Finding(EventKey("A", "B1"), "LOT_EXISTS", "There is one.", "Rename it.", refused=False),
        Finding(EventKey("B", "other"), "OVERSOLD", "There are none.", "Buy first."),
    ]
    assert [(each.row, each.code, each.refused) for each in file.by_row(told)] == [
        (0, "OVERSOLD", True),
        (2, "LOT_EXISTS", False),
        (3, "UNKNOWN_ACTION", True),
    ]


def test_a_file_with_a_refused_row_is_not_complete():
    """What is printed from such a file must say so; a hint alone leaves it complete."""
    assert not read_own_format(TEXT).is_complete
    assert read_own_format(TEXT.replace("GIFT", "BUY")).is_complete


def test_events_come_by_date():
    """Whatever the order of the rows, the events are in that of their dates."""
    header, first, second = TEXT.replace("GIFT", "BUY").splitlines()
    days = [event.trade_date.day for event in read_own_format(f"{header}\n{second}\n{first}").events]
    assert days == [2, 3]


def test_a_correction_of_a_correction_and_of_another_account_is_refused():
    """A row that corrects is itself no row to correct, and an account corrects its own rows."""
    header = "date,account,ticker,action,quantity,amount,entry_id,corrects,corrected_on"
    rows = (
        "2024-01-02,A,X,BUY,1,5,B1,,",
        "2024-01-02,A,X,BUY,2,5,C1,B1,2024-02-01",
        "2024-01-02,A,X,BUY,3,5,C2,C1,2024-03-01",
        "2024-01-02,B,X,BUY,3,5,C3,B1,2024-03-01",
        "2024-01-02,A,X,BUY,-3,5,C4,B1,2024-03-01",
    )
    findings = read_own_format("\n".join((header, *rows))).findings
    assert findings == tuple(sorted(findings, key=lambda each: each.row))
    assert [(each.row, each.code) for each in findings] == [
        (4, "REVERSED_CORRECTION"),
        (5, "OTHER_ACCOUNT"),
        (6, "NEGATIVE_QUANTITY"),
    ]
    assert all(isinstance(each, RowFinding) for each in findings)
