"""CSV bytes to text: the fast way and the careful way must agree; a file decides neither memory nor time."""

import csv
import gzip
import io
import zlib

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prometheus.foundation import files
from prometheus.foundation.errors import FileRefusedError
from prometheus.foundation.files import read_at_most
from prometheus.ingestion import reading
from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.reading import LINE, decompress, read_bytes, read_csv

FIELD = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), max_size=4),
    st.sampled_from(['"', '""', '"x"', '"x,y"', '"x""y"', ",", '"x"y']),
)


def read(content):
    """Frame and findings of a file."""
    findings = FindingCollector("f.csv")
    table = read_csv(content, findings)
    return table, findings.table()


def test_lines_are_those_of_the_file():
    """Line numbers count the header and ignored blank lines."""
    table, _ = read(b"a,b\n1,2\n\n3,4\n")
    assert table.frame[LINE].to_list() == [2, 4]
    assert table.rows_read == 2


def test_quoted_commas_and_quotes_are_values():
    """Quotes protect commas, and two quotes are one."""
    table, _ = read(b'a,b\n"1,5","say ""x"""\n')
    assert table.frame.drop(LINE).rows() == [("1,5", 'say "x"')]


def test_ragged_rows_are_left_out_and_reported():
    """Each row with another number of fields is a finding that says how many; the others stay."""
    table, findings = read(b"a,b\n1\n2,3\n4,5,6\n")
    assert table.frame.drop(LINE).rows() == [("2", "3")]
    assert table.rows_read == 3
    assert [(finding.line, finding.code) for finding in findings] == [(2, "TOO_FEW_FIELDS"), (4, "TOO_MANY_FIELDS")]
    assert "1 fields, the header 2" in findings[0].reason


def test_quote_beyond_the_field_limit_is_an_unclosed_quote():
    """A quote that swallows the rest of a large file is reported on the line that opened it."""
    with pytest.raises(FileRefusedError) as refused:
        read(b'a,b\n1,2\n"3,4\n' + b"5,6\n" * 60_000)
    assert (refused.value.code, refused.value.details["line"]) == ("UNCLOSED_QUOTE", 3)


@given(rows=st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=6), newline=st.sampled_from(["\n", "\r\n"]))
def test_fast_and_careful_reading_agree(rows, newline):
    """Wherever the fast parser accepts a file, the careful one gives the same table; quotes stand anywhere."""
    text = "a,b,c" + newline + "".join(",".join(row) + newline for row in rows)
    check_agreement(text)


@given(rows=st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=6))
def test_properly_quoted_files_are_read_fast(rows):
    """What a CSV writer quotes is accepted by the fast parser and means the same to both."""
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("a", "b", "c"), *rows])
    assert check_agreement(out.getvalue()) is not None


def check_agreement(text):
    """Compare the two ways of reading, and return what the fast one read."""
    fast = reading._read_quickly(text.encode(), text, ["a", "b", "c"])
    if fast is not None:
        findings = FindingCollector("f.csv")
        careful, rows_read = reading._read_carefully(text, ["a", "b", "c"], findings)
        assert len(findings.table()) == 0
        assert fast.equals(careful)
        assert rows_read == fast.height
    return fast


def test_incomplete_lines_are_never_read_fast():
    """Too few, too many, as many too few as too many, a blank line, a bad quote: all are left to the careful reader."""
    for body in ("1,2\n", "1,2,3,4\n", "1,2\n1,2,3,4\n", "1,2,3\n\n1,2,3\n", '"1"x,2,3\n', '1,"2\n3",4\n', '"1,2,3\n'):
        text = "a,b,c\n" + body
        assert reading._read_quickly(text.encode(), text, ["a", "b", "c"]) is None


@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content):
    """No bytes make the reader fail in another way than by a refusal with a sentence."""
    refused = None
    try:
        table, _ = read(b"a,b\n" + content)
    except FileRefusedError as error:
        refused = error
    if refused is None:
        assert table.frame.columns == ["a", "b", LINE]
    else:
        assert refused.message.endswith(".")
        assert set(refused.details) == {"line", "value"}


@given(cut=st.integers(min_value=0, max_value=200))
def test_any_cut_of_a_gzip_file_is_refused(cut):
    """A compressed file that lost its end anywhere is never taken for a whole one."""
    whole = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n % 997) for n in range(200)), mtime=0)
    shortened = whole[: cut * (len(whole) - 1) // 200]
    with pytest.raises(FileRefusedError) as refused:
        decompress(shortened)
    assert refused.value.code in {"TRUNCATED_GZIP", "EMPTY_FILE", "NOT_GZIP"}


def test_several_gzip_members_are_one_file():
    """Compressed files may be joined, as log rotation does."""
    assert decompress(gzip.compress(b"a,b\n") + gzip.compress(b"1,2\n")) == b"a,b\n1,2\n"


def test_empty_fields_are_null_and_blanks_are_trimmed():
    """What is blank is nothing."""
    table, _ = read(b"a,b\n  ,\t x \n")
    assert table.frame.drop(LINE).rows() == [(None, "x")]
    assert table.frame.schema[LINE] == pl.Int64


def code_of(act):
    """Return the code with which a file is refused."""
    with pytest.raises(FileRefusedError) as refused:
        act()
    return refused.value.code


@pytest.fixture
def small_limits(monkeypatch):
    """Limits of kilobytes."""
    monkeypatch.setattr(reading, "MAX_BYTES", 40_000)
    monkeypatch.setattr(reading, "_SMALL", 1_000)
    monkeypatch.setattr(reading, "_KEPT", 10_000)
    monkeypatch.setattr(reading, "_CHUNK", 1_000)
    monkeypatch.setattr(files, "_CHUNK", 1_000)


def test_a_bomb_is_refused_by_its_ratio(small_limits):
    """What unpacks to hundreds of times its size is refused; small files may pack as well as they like."""
    assert code_of(lambda: decompress(gzip.compress(b"0" * 30_000))) == "GZIP_BOMB"
    assert decompress(gzip.compress(b"0" * 900)) == b"0" * 900


def test_a_large_content_is_refused_and_one_within_the_limit_is_read_whole(small_limits):
    """Beyond the limit a file is refused whatever its ratio; between what is kept at once and the limit all is read."""
    lines = b"".join(f"{n * n % 9973},{n * 7919 % 7877}\n".encode() for n in range(5_000))
    assert len(lines) > 40_000
    assert code_of(lambda: decompress(gzip.compress(lines))) == "FILE_TOO_LARGE"
    assert decompress(gzip.compress(lines[:39_000])) == lines[:39_000]


def test_a_truncated_bomb_is_counted_piece_by_piece(monkeypatch):
    """The line on which a packed file ends early is found without unpacking it as a whole."""
    raw = gzip.compress(b"1,2\n" * 200_000)[:-20]
    monkeypatch.setattr(reading, "_CHUNK", 1_000)
    monkeypatch.setattr(reading, "_PIECE", 100)
    assert reading._lines_before_the_end(raw) == zlib.decompressobj(31).decompress(raw).count(b"\n")
    assert code_of(lambda: decompress(raw)) == "TRUNCATED_GZIP"


def test_a_large_file_is_not_read_whole(tmp_path, monkeypatch):
    """A file, or a device that never ends, is read up to the limit and refused."""
    monkeypatch.setattr(read_at_most, "__defaults__", (5_000,))
    (tmp_path / "large.csv").write_bytes(b"x" * 5_001)
    assert code_of(lambda: read_bytes(tmp_path / "large.csv")) == "FILE_TOO_LARGE"
    (tmp_path / "endless.csv").symlink_to("/dev/zero")
    assert code_of(lambda: read_bytes(tmp_path / "endless.csv")) == "FILE_TOO_LARGE"
    (tmp_path / "large.csv").write_bytes(b"x" * 5_000)
    assert len(read_bytes(tmp_path / "large.csv")) == 5_000


def test_a_giant_line_or_header_is_a_finding():
    """A field beyond the reader's limit is named as what it is, and a header of thousands of columns as none."""
    giant = b"a,b\n1,2,3\n" + b"x" * 200_000 + b",2\n"
    assert code_of(lambda: read_csv(giant, FindingCollector("f.csv"))) == "FIELD_TOO_LONG"
    wide = ",".join(f"c{n}" for n in range(1_001)).encode() + b"\n" + b"," * 1_000 + b"\n"
    assert code_of(lambda: read_csv(wide, FindingCollector("f.csv"))) == "BAD_HEADER"
