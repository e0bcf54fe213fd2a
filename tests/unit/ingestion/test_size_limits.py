"""A file decides neither how much memory nor how much time its reading takes."""

import gzip
import io
import zlib

import polars as pl
import pytest

from prometheus.foundation import files
from prometheus.foundation.errors import FileRefusedError
from prometheus.foundation.files import TooLargeError, lines_of, read_at_most
from prometheus.ingestion import parquet, reading
from prometheus.ingestion.columns import Column, FieldType
from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.parquet import read_parquet
from prometheus.ingestion.reading import decompress, read_bytes, read_csv


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


def test_lines_are_read_up_to_a_limit():
    """A line is given whole or not at all."""
    assert list(lines_of(io.StringIO("ab\ncd"), 3)) == ["ab\n", "cd"]
    with pytest.raises(TooLargeError):
        list(lines_of(io.StringIO("ab\nabcd\n"), 3))


def packed(frame):
    """Return a frame as the bytes of a Parquet file."""
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


def test_a_small_parquet_file_that_stands_for_much_is_refused(monkeypatch):
    """Neither many rows nor one long text repeated get past the child that decodes; what it decodes is complete."""
    columns = {"t": Column("t", FieldType.TEXT)}
    read = lambda raw: read_parquet(raw, columns, FindingCollector("f.parquet"))  # noqa: E731
    monkeypatch.setattr(parquet, "MAX_BYTES", 100_000)
    monkeypatch.setattr(parquet, "_STEP", 70)
    bomb = packed(pl.DataFrame({"t": pl.repeat("x" * 5_000, 100, eager=True)}))
    assert len(bomb) < 2_000
    assert code_of(lambda: read(bomb)) == "FILE_TOO_LARGE"
    good = read(packed(pl.DataFrame({"t": [f"{n}" for n in range(200)]})))
    assert good.frame["t"].to_list() == [f"{n}" for n in range(200)]
    monkeypatch.setattr(parquet, "_MOST_ROWS", 199)
    assert code_of(lambda: read(packed(pl.DataFrame({"t": [f"{n}" for n in range(200)]})))) == "FILE_TOO_LARGE"
