"""The tables of kinds and formats agree with each other and with the domain."""

import re

import pytest

from prometheus.ingestion import staging
from prometheus.ingestion.columns import FieldType
from prometheus.ingestion.formats import FORMATS
from prometheus.ingestion.kinds import DEPENDS_ON, STEMS, FileKind, list_directory, suffix_of
from prometheus.scripts import ingest as command_module
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "specs" / "ingestion.md").read_text(encoding="utf-8")


def test_every_kind_has_a_name_a_format_and_a_place():
    """No table forgets a kind; transactions and executions are booked row by row, not copied into a table."""
    assert set(STEMS) == set(DEPENDS_ON) == set(FileKind)
    assert set(FORMATS) == set(FileKind) - {FileKind.TRANSACTIONS}
    assert set(staging._FIELDS) == set(FORMATS) - {FileKind.EXECUTIONS}
    assert set(command_module._KINDS) == {kind.value for kind in FileKind}


def test_kinds_load_after_those_they_refer_to():
    """The order of the kinds is the load order."""
    order = list(FileKind)
    for kind, others in DEPENDS_ON.items():
        assert all(order.index(other) < order.index(kind) for other in others)
    assert order.index(FileKind.ACTIONS) < order.index(FileKind.PRICES)


@pytest.mark.parametrize("kind", list(FORMATS))
def test_keys_are_columns_of_the_format(kind):
    """What identifies a row is in the file, or has a default."""
    assert set(FORMATS[kind].key) <= set(FORMATS[kind].columns)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("prices.csv", ".csv"), ("PRICES.CSV.GZ", ".csv.gz"), ("p.parquet", ".parquet"), ("p.gz", None), ("csv", None)],
)
def test_suffixes_are_recognised(tmp_path, name, suffix):
    """The longest ending counts, in any case."""
    assert suffix_of(tmp_path / name) == suffix


def test_other_files_are_left_alone_with_a_reason(tmp_path):
    """Each file that is not loaded is named with the reason."""
    for name in ("prices.csv", "index_membership.csv", "README.md"):
        (tmp_path / name).touch()
    listing = list_directory(tmp_path)
    assert list(listing.files) == [FileKind.PRICES]
    assert listing.left_alone == (
        "README.md (not a name that is loaded)",
        "index_membership.csv (membership is point in time in the benchmark file)",
    )


@pytest.mark.parametrize("kind", list(FORMATS))
def test_the_page_has_every_column_and_what_may_stand_there(kind):
    """The table of files names each column of a kind, in its row; the page names every word that a column may hold."""
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| {kind.value} | {STEMS[kind]} | "))
    named = set(re.findall(r"[a-z_]+", row.split("|")[3]))
    assert named == set(FORMATS[kind].columns)
    words = set(re.findall(r"[A-Za-z0-9_]+", PAGE))
    for column in FORMATS[kind].columns.values():
        if column.field_type is FieldType.CHOICE:
            assert set(column.choices) <= words, column.name


def test_rows_of_the_page_stand_in_their_tables():
    """No row of a table follows an empty line, where it would be shown as text."""
    lines = PAGE.splitlines()
    heads = {number - 1 for number, line in enumerate(lines) if line.startswith("|---")}
    first = [n for n, line in enumerate(lines) if line.startswith("|") and not lines[n - 1].startswith("|")]
    assert [lines[n] for n in first if n not in heads] == []
