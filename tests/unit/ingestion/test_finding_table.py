"""Findings as columns that behave like a sequence of values."""

import polars as pl
import pytest

from prometheus.ingestion.finding_table import Finding, FindingCollector, FindingTable


@pytest.fixture
def table():
    """Three findings, gathered out of order."""
    findings = FindingCollector("f.csv")
    findings.add_rows(pl.DataFrame({"#line": [7, 3], "x": ["b", "a"]}), "BAD", "No.", column="x")
    findings.add("WHOLE", "The file.", fatal=False)
    return findings.table()


def test_findings_are_ordered_by_line_with_those_of_the_file_first(table):
    """Indexing, iterating and slicing give the same values."""
    assert [finding.line for finding in table] == [None, 3, 7]
    assert table[1] == Finding("BAD", "f.csv", 3, "x", "a", "No.", fatal=True)
    assert table[-1].value == "b"
    assert table[:2] == (table[0], table[1])
    assert table[5:] == ()
    assert table[::-1] == (table[2], table[1], table[0])
    assert len(table) == 3


def test_index_beyond_the_end_is_an_index_error(table):
    """The sequence protocol holds, so that reversed() and the like work."""
    with pytest.raises(IndexError):
        table[3]
    assert [finding.line for finding in reversed(table)] == [7, 3, None]


def test_fatal_findings_lead(table):
    """Those that stop a row come before remarks, in line order."""
    assert [finding.line for finding in table.leading(2)] == [3, 7]
    assert table.fatal_count == 2
    assert table.counts_by_code() == {"BAD": 2, "WHOLE": 1}


def test_no_findings_are_an_empty_table():
    """Nothing found is nothing said."""
    assert len(FindingTable("f.csv")) == 0
    assert FindingTable("f.csv").counts_by_code() == {}
    assert FindingCollector("f.csv").bad_lines().to_list() == []


def test_long_values_are_cut():
    """A field of a megabyte does not fill the report."""
    findings = FindingCollector("f.csv")
    findings.add("BAD", "No.", line=2, value="x" * 1000)
    findings.add_rows(pl.DataFrame({"#line": [3], "x": ["y" * 1000]}), "BAD", "No.", column="x")
    assert [len(finding.value) for finding in findings.table()] == [80, 80]


def test_excluded_lines_are_bad_without_a_finding_of_their_own():
    """A group refused on its first line keeps all its lines out."""
    findings = FindingCollector("f.csv")
    findings.add("GROUP", "No.", line=2)
    findings.add("REMARK", "Hm.", line=9, fatal=False)
    findings.exclude(pl.Series([2, 3]))
    assert sorted(findings.bad_lines()) == [2, 3]
