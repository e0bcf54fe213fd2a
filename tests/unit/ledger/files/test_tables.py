import pytest

from prometheus.foundation.errors import FileRefusedError
from prometheus.ledger.files.mapping import read_mapping
from prometheus.ledger.files.tables import SourceText, find_rows, fits, xml_elements


def mapping(form, *tables: str, more=""):
    """Return a mapping with tables of the given name, section and columns."""
    text = f'name = "m"\nformat = "{form}"\n{more}\n'
    for name, section, *needs in (table.split() for table in tables):
        columns = ", ".join(f'"{column}"' for column in needs)
        text += (
            f'[[tables]]\nname = "{name}"\nsection = "{section}"\nneeds = [{columns}]\n'
            '[tables.read]\ndate = "d"\n[[tables.rules]]\nskip = "s"\n'
        )
    return read_mapping(text, "m.toml")


def rows_in(form, text, *tables: str, more=""):
    """Return what a mapping finds in a text."""
    return find_rows(mapping(form, *tables, more=more), SourceText(text))


def test_a_header_is_found_below_other_lines_and_ends_where_the_mapping_says():
    """Lines above the header are kept for the account, lines below the end are counted."""
    rows = rows_in("csv", "Account 7\n\na,b,c\n1,2,3\nTotal\nnote\n", "t - a b", more="ends = ['Total']")
    assert [(row.row, row.table.name, row.values) for row in rows.rows] == [(4, "t", {"a": "1", "b": "2", "c": "3"})]
    assert rows.above == ["Account 7"]
    assert rows.unread == {"below the end of the table": 2}


def test_a_repeated_header_begins_another_table():
    """A header of a known table switches to it; one that nobody knows is a finding, unless it tells of no event."""
    text = "id,a\n1,x\nid,b\n2,y\nid,c\n3,z\n3,z\nid,Cash\n4,w\n"
    rows = rows_in("csv", text, "one - id a", "two - id b", more="informational = ['cash']")
    assert [(row.table.name, row.row) for row in rows.rows] == [("one", 2), ("two", 4)]
    assert [(each.row, each.code) for each in rows.findings] == [(6, "UNKNOWN_TABLE")]
    assert rows.findings[0].message == "2 records of a table with c cannot be read."
    assert rows.unread == {"of a table with Cash": 1}


def test_control_records_are_passed_over_and_bad_records_are_findings():
    """Marks of a file's structure are no rows; a record with too many values is one that cannot be read."""
    rows = rows_in("csv", "BOF,1\nid,a\nBOS,x\n1,x\n1,x,y\n", "one - id a", more="passes = ['BO.']")
    assert [row.row for row in rows.rows] == [4]
    assert [(finding.row, finding.code) for finding in rows.findings] == [(5, "TOO_MANY_VALUES")]


def test_sections_have_headers_of_their_own():
    """The first cell names the table in any case, the second says what the record is; no other section is lost."""
    text = (
        "Other,Data,x\nTrades,Header,a,b\nTRADES,Data,1,2\nTrades,Total,,3\n"
        "Trades,Header,c\nTrades,Data,4\nInfo,Data,y\n"
    )
    rows = rows_in("sections", text, "t Trades a b", more="informational = ['other']")
    assert [(row.row, row.values) for row in rows.rows] == [(3, {"a": "1", "b": "2"})]
    assert rows.above == ["Other,Data,x", "Info,Data,y"]
    assert rows.unread == {"of the section Other": 1}
    assert [(each.row, each.message) for each in rows.findings] == [
        (6, "One record of the section Trades, whose columns are not known, cannot be read."),
        (7, "One record of the section Info cannot be read."),
    ]


def test_attributes_of_elements_are_rows():
    """Elements of a table are rows with their line; others that belong to an account are findings or informational."""
    text = '<R>\n<T a="1" b=" 2 "/>\n<P accountId="7" x="1"/>\n<Q accountId="7" x="1"/>\n</R>'
    rows = rows_in("xml", text, "t T a b", more="informational = ['P']")
    assert [(row.row, row.values) for row in rows.rows] == [(2, {"a": "1", "b": "2"})]
    assert rows.unread == {"of the kind P": 1}
    assert [(each.row, each.message) for each in rows.findings] == [(4, "One record of the kind Q cannot be read.")]


@pytest.mark.parametrize(
    "text", ["<R><T></R>", '<!DOCTYPE R [<!ENTITY a "x">]><R>&a;</R>', "<"], ids=["open", "entities", "nothing"]
)
def test_bad_xml_is_refused(text):
    """XML that is not well formed, or that declares entities, refuses the file."""
    with pytest.raises(FileRefusedError) as refused:
        list(xml_elements(text))
    assert refused.value.code == "BAD_XML"


def test_a_layout_is_recognised_by_its_columns():
    """The number of columns that fit says how well; another format fits nothing."""
    csv, xml = SourceText("x\na,b,c\n"), SourceText('\ufeff <R><T a="1" b="2"/></R>')
    assert (fits(mapping("csv", "t - a b"), csv), fits(mapping("csv", "t - a d"), csv)) == (2, 0)
    assert (fits(mapping("xml", "t T a b"), xml), fits(mapping("xml", "t T a b"), csv)) == (2, 0)
    assert fits(mapping("csv", "t - a b"), xml) == 0
    assert fits(mapping("sections", "t Trades a"), SourceText("Trades,Header,a\n")) == 1
