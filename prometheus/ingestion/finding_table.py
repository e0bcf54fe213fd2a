"""Findings of one file, kept as columns: a file with a million bad rows must still be reportable."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, overload

import polars as pl

from prometheus.domain.findings import Finding

_SCHEMA: Final = {
    "code": pl.String,
    "line": pl.Int64,
    "column": pl.String,
    "value": pl.String,
    "reason": pl.String,
    "fatal": pl.Boolean,
}
#: Longest part of an offending value that is kept.
_VALUE_LENGTH: Final = 80


class FindingTable(Sequence[Finding]):
    """An immutable sequence of the findings of one file, ordered by line; those of the whole file come first."""

    def __init__(self, file: str, frame: pl.DataFrame | None = None) -> None:
        self.file = file
        self._frame = pl.DataFrame(schema=_SCHEMA) if frame is None else frame

    def __len__(self) -> int:
        return self._frame.height

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Finding, ...]: ...
    def __getitem__(self, index: int | slice) -> Finding | tuple[Finding, ...]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            rows = self._frame.slice(start, max(stop - start, 0)) if step == 1 else self._frame[index]
            return tuple(self._finding(row) for row in rows.iter_rows())
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._finding(self._frame.row(index))

    def __iter__(self) -> Iterator[Finding]:
        return (self._finding(row) for row in self._frame.iter_rows())

    def _finding(self, row: tuple[str, int | None, str | None, str | None, str, bool]) -> Finding:
        code, line, column, value, reason, fatal = row
        return Finding(code=code, file=self.file, line=line, column=column, value=value, reason=reason, fatal=fatal)

    def leading(self, count: int) -> tuple[Finding, ...]:
        """Return the first ``count`` findings, fatal ones before remarks."""
        ordered = self._frame.sort("fatal", descending=True, maintain_order=True).head(count)
        return tuple(self._finding(row) for row in ordered.iter_rows())

    @property
    def fatal_count(self) -> int:
        """Return how many findings stop their row, or the file, from loading."""
        return int(self._frame["fatal"].sum())

    def counts_by_code(self) -> dict[str, int]:
        """Return how often each code occurs, most frequent first."""
        counted = self._frame.group_by("code").len().sort(["len", "code"], descending=[True, False])
        return dict(counted.iter_rows())


class FindingCollector:
    """Gathers findings while a file is checked.

    Args:
        file: Name of the file, as shown to people.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._parts: list[pl.DataFrame] = []
        self._excluded: list[pl.Series] = []

    def add(
        self,
        code: str,
        reason: str,
        *,
        line: int | None = None,
        column: str | None = None,
        value: str | None = None,
        fatal: bool = True,
    ) -> None:
        """Add one finding."""
        row = (code, line, column, None if value is None else value[:_VALUE_LENGTH], reason, fatal)
        self._parts.append(pl.DataFrame([row], schema=_SCHEMA, orient="row"))

    def add_rows(
        self,
        rows: pl.DataFrame,
        code: str,
        reason: str | pl.Expr,
        *,
        column: str | None = None,
        value: str | pl.Expr | None = None,
        fatal: bool = True,
    ) -> None:
        """Add one finding for each row of ``rows``, which have a column ``#line``.

        Args:
            rows: The offending rows.
            code: Stable word.
            reason: One sentence, or an expression over ``rows`` that makes one for each.
            column: Column that is wrong, None for the row.
            value: Expression or column name of the offending text; the column itself where None.
            fatal: Whether the rows must not load.
        """
        if rows.is_empty():
            return
        shown: pl.Expr = pl.lit(None, dtype=pl.String)
        if value is not None or (column is not None and column in rows.columns):
            source = value if value is not None else column
            shown = (source if isinstance(source, pl.Expr) else pl.col(str(source))).cast(pl.String)
        self._parts.append(
            rows.select(
                code=pl.lit(code),
                line=pl.col("#line").cast(pl.Int64),
                column=pl.lit(column, dtype=pl.String),
                value=shown.str.slice(0, _VALUE_LENGTH),
                reason=pl.lit(reason) if isinstance(reason, str) else reason,
                fatal=pl.lit(fatal),
            )
        )

    def exclude(self, lines: pl.Series) -> None:
        """Keep further lines from loading, because of a fatal finding about the group they belong to."""
        self._excluded.append(lines.cast(pl.Int64))

    def bad_lines(self) -> pl.Series:
        """Return the lines that must not load, each once."""
        parts = [part.filter(pl.col("fatal") & pl.col("line").is_not_null())["line"] for part in self._parts]
        return pl.concat([pl.Series(dtype=pl.Int64), *parts, *self._excluded]).unique()

    def table(self) -> FindingTable:
        """Return everything gathered so far, ordered by line."""
        if not self._parts:
            return FindingTable(self._file)
        gathered = pl.concat(self._parts, how="vertical")
        return FindingTable(self._file, gathered.sort("line", "code", nulls_last=False, maintain_order=True))


def write_findings(path: Path, tables: Sequence[FindingTable]) -> None:
    """Write every finding of several files to one CSV file.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", "line", "column", "value", "code", "fatal", "reason"])
        for table in tables:
            for finding in table:
                writer.writerow(
                    [
                        finding.file, finding.line, finding.column, finding.value, finding.code,
                        "true" if finding.fatal else "false", finding.reason,
                    ]
                )  # fmt: skip
