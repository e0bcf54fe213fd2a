import pytest

from prometheus.foundation.errors import FileRefusedError
from prometheus.ledger.files.findings import RefusedRowError
from prometheus.ledger.files.records import records_of, values_of


def test_records_know_their_lines():
    """Byte order mark, empty lines and Windows line ends do not shift the count of lines."""
    records = list(records_of('\ufeff\r\na,b\r\n,\r\n\r\n 1 ,"2,3"\r\n'))
    assert [(record.first, record.last, record.cells) for record in records] == [
        (2, 2, ("a", "b")),
        (5, 5, ("1", "2,3")),
    ]


def test_a_value_over_lines_is_a_quote_that_was_not_closed():
    """The finding names the line where the quote opens, and the line where it ends."""
    header, record = records_of('a,b\n1,"2\n3,4"\n')
    assert (record.first, record.last) == (2, 3)
    with pytest.raises(RefusedRowError) as refused:
        values_of(record, header.cells)
    assert (refused.value.code, "line 2" in refused.value.remedy) == ("UNCLOSED_QUOTE", True)


def test_a_quote_open_to_the_end_of_a_long_file_is_refused():
    """A value beyond all length is no value; the file is refused and nothing is left to chance."""
    with pytest.raises(FileRefusedError) as refused:
        list(records_of('a,b\n1,"' + "2\n" * 200_000))
    assert (refused.value.code, refused.value.details["line"]) == ("UNCLOSED_QUOTE", 2)


@pytest.mark.parametrize(("text", "code"), [("a,b\n1,2,3\n", "TOO_MANY_VALUES"), ("a,b\n1,2\x072\n", "BAD_TEXT")])
def test_bad_records_are_refused(text, code):
    """More values than columns, and characters that nobody can see, are refused."""
    header, record = records_of(text)
    with pytest.raises(RefusedRowError) as refused:
        values_of(record, header.cells)
    assert refused.value.code == code


def test_short_records_and_empty_ones_beyond_the_header_are_read():
    """Values that are not there are empty; commas at the end add none."""
    header, short, long = records_of("a,b\n1\n1,2,,\n")
    assert values_of(short, header.cells) == {"a": "1", "b": ""}
    assert values_of(long, header.cells) == {"a": "1", "b": "2"}
