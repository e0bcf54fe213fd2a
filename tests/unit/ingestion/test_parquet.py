"""A small Parquet file does not decide how much memory its reading takes."""

import io

import polars as pl
import pytest

from prometheus.foundation.errors import FileRefusedError
from prometheus.ingestion import parquet
from prometheus.ingestion.columns import Column, FieldType
from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.parquet import read_parquet


def code_of(act):
    """Return the code with which a file is refused."""
    with pytest.raises(FileRefusedError) as refused:
        act()
    return refused.value.code


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
