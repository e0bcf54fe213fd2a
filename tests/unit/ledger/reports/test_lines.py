"""Lines of a return: what they are called, and their order."""

from prometheus.domain.lots import Term
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.reports.dispositions import disposition_lines
from prometheus.ledger.reports.lines import natural_order
from tests.unit.ledger.reports.rows import US, sale


def test_lines_come_as_people_sort_them():
    """Short-term comes first, then by sale, ticker and acquisition; T9 comes before T10."""
    rows = [
        sale("2024-02-01", "1", "1", term=Term.LONG, ticker="AAA", event="e1"),
        sale("2024-03-01", "1", "1", ticker="T10", event="e2"),
        sale("2024-03-01", "1", "1", ticker="T9", event="e3", acquired="2024-01-03", lot="L10"),
        sale("2024-03-01", "1", "1", ticker="T9", event="e4", acquired="2024-01-02", lot="L11"),
        sale("2024-03-01", "1", "1", ticker="T9", event="e5", acquired="2024-01-03", lot="L9"),
        sale("2024-02-28", "1", "1", ticker="ZZZ", event="e6"),
    ]
    assert [line.key.event.event_id for line in disposition_lines(rows, US)] == ["e6", "e4", "e5", "e3", "e2", "e1"]


def test_numbers_inside_names_count_by_value():
    """Lot 2 comes before lot 10, also where a name is only digits or has several numbers."""
    names = ["L10", "2", "L2", "10", "l2-11", "L2-9", "L"]
    assert sorted(names, key=natural_order) == ["2", "10", "L", "L2", "L2-9", "l2-11", "L10"]


def test_value_received_and_cash_in_lieu_are_named():
    """Cash for a fraction and a delisting say so in the description; value received has no shares."""
    kinds = {
        PostingKind.CASH_IN_LIEU: "100 sh. XYZ (cash in lieu)",
        PostingKind.DELISTING: "100 sh. XYZ (delisted)",
        PostingKind.MERGER: "100 sh. XYZ (merger)",
    }
    for kind, text in kinds.items():
        (line,) = disposition_lines([sale("2024-06-21", "5", "4", kind=kind)], US)
        assert line.description == text
    received = sale("2024-06-21", "5", "4", kind=PostingKind.STOCK_DISTRIBUTION, shares="0")
    (line,) = disposition_lines([received], US)
    assert line.description == "shares distributed by XYZ"
