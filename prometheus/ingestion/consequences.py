"""Consequences of skipped rows: other rows of the file, and rows of other files that refer to them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import polars as pl

from prometheus.ingestion.kinds import DEPENDS_ON, FileKind
from prometheus.ingestion.reading import LINE

#: Kinds to whose rows others refer, with the column of the reference.
NAMED_BY: Final[Mapping[FileKind, str]] = {FileKind.SECURITIES: "ticker", FileKind.ACCOUNTS: "account_id"}
_NAMES_SAID: Final = 5

#: Returns some columns of the file of another kind that is loaded together; None where there is none.
BesideReader = Callable[[FileKind, tuple[str, ...]], pl.DataFrame | None]


def taken_along(
    kind: FileKind, raw: pl.DataFrame, bad: pl.Series, known: Sequence[str], beside: BesideReader
) -> str | None:
    """Return in words which other rows ``--skip-bad-rows`` loses besides the bad rows; None where none.

    Args:
        kind: What the file holds.
        raw: Its rows as text, before any check.
        bad: Lines that must not load.
        known: Securities or accounts of the file that the database has already; they stay as they are.
        beside: Reads the files that are loaded together.
    """
    rows = raw.join(bad.to_frame(LINE), on=LINE, how="semi", maintain_order="left")
    if kind in NAMED_BY:
        return _of_names(kind, rows.filter(~pl.col(NAMED_BY[kind]).is_in(list(known))), beside)
    if kind is FileKind.BENCHMARK:
        days = rows["date"].drop_nulls().n_unique()
        return (
            f"Skipped are whole dates: {days} of {raw['date'].n_unique()} with {rows.height} of {raw.height} rows, "
            "because an incomplete benchmark cannot be used. On a date that is skipped the constituents before it stay "
            "in force."
        )
    if kind is FileKind.ACTIONS:
        return (
            f"Skipped, {rows.height} action(s) of {_words(rows['ticker'])} would not be booked: shares, bases and cash "
            "of accounts that hold these securities would be wrong from their dates on."
        )
    return None


def _of_names(kind: FileKind, rows: pl.DataFrame, beside: BesideReader) -> str | None:
    column = NAMED_BY[kind]
    names = rows[column].drop_nulls().unique()
    if names.is_empty():
        return None
    lost = []
    for other in FileKind:
        if kind not in DEPENDS_ON[other]:
            continue
        if other is FileKind.BENCHMARK:
            other_rows = beside(other, ("date", "ticker"))
            if other_rows is not None:
                days = other_rows.filter(pl.col("ticker").is_in(names.implode()))["date"].n_unique()
                lost.append(f"{days:,} of {other_rows['date'].n_unique():,} dates of the benchmark, each as a whole")
        else:
            other_rows = beside(other, (column,))
            if other_rows is not None:
                count = other_rows[column].is_in(names.implode()).sum()
                lost.append(f"{count:,} rows of {other.value}")
    if not lost:
        what = (
            "prices, actions and lots, and every date of a benchmark" if column == "ticker" else "lots and transactions"
        )
        return f"Skipped, {_words(names)} would be unknown, and {what} that name one of them could not load."
    return f"Skipped, {_words(names)} would be unknown, and with them could not load: {', '.join(lost)}."


def _words(names: pl.Series) -> str:
    distinct = names.drop_nulls().unique(maintain_order=True).to_list()
    more = f" and {len(distinct) - _NAMES_SAID} more" if len(distinct) > _NAMES_SAID else ""
    return ", ".join(map(str, distinct[:_NAMES_SAID])) + more
