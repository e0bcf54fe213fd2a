"""Findings of one file, kept as columns, so that a file with a million bad rows can be reported."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, overload

import polars as pl

from prometheus.foundation.files import write_csv

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
#: Lines and offending values that a group names.
_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect of one row (or of a whole file).

    Attributes:
        code: Code of the kind of defect, such as ``NEGATIVE_PRICE``.
        file: File name as given by the caller.
        line: Line in the file, the header being line 1; for Parquet the row number plus 1; None for the whole file.
        column: Column name, or None for the whole row or file.
        value: The offending text, or None.
        reason: One sentence: the defect and what to do.
        fatal: False for a remark that does not stop the row from loading.
    """

    code: str
    file: str
    line: int | None
    column: str | None
    value: str | None
    reason: str
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """The same finding about one or more rows.

    Attributes:
        first: The first of them.
        rows: How many rows it concerns.
        lines: The lines of the first few.
        values: How many different offending values there are.
        examples: The first few of them.
    """

    first: Finding
    rows: int
    lines: tuple[int, ...]
    values: int
    examples: tuple[str, ...]


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

    def grouped(self) -> tuple[FindingGroup, ...]:
        """Return the findings with equal ones of several rows grouped: fatal ones first, then by line.

        Findings without a line, which concern the file, are not grouped.
        """
        said = ["fatal", "code", "column", "reason"]
        frame = self._frame.with_row_index("#at").with_columns(
            # a finding of the whole file does not belong to a group
            pl.when(pl.col("line").is_null()).then(pl.col("#at")).otherwise(None).alias("#alone")
        )
        groups = (
            frame.group_by([*said, "#alone"], maintain_order=True)
            .agg(
                pl.len().alias("#rows"),
                pl.col("#at").first(),
                pl.col("line").drop_nulls().head(_EXAMPLES).alias("#lines"),
                pl.col("value").drop_nulls().n_unique().alias("#values"),
                pl.col("value").drop_nulls().unique(maintain_order=True).head(_EXAMPLES).alias("#examples"),
            )
            .sort(["fatal", "#at"], descending=[True, False])
        )
        return tuple(
            FindingGroup(
                self._finding(self._frame.row(row["#at"])),
                row["#rows"],
                tuple(row["#lines"]) or (0,),
                row["#values"],
                tuple(row["#examples"]),
            )
            for row in groups.iter_rows(named=True)
        )

    @property
    def fatal_count(self) -> int:
        """Return how many findings stop their row, or the file, from loading."""
        return int(self._frame["fatal"].sum())

    def counts_by_code(self) -> dict[str, int]:
        """Return how often each code occurs, most frequent first."""
        counted = self._frame.group_by("code").len().sort(["len", "code"], descending=[True, False])
        return dict(counted.iter_rows())


class FindingCollector:
    """Collects findings while a file is checked.

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
            code: Code.
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
        """Exclude further lines from loading because of a fatal finding about their group."""
        self._excluded.append(lines.cast(pl.Int64))

    def bad_lines(self) -> pl.Series:
        """Return the lines that must not load, each once."""
        parts = [part.filter(pl.col("fatal") & pl.col("line").is_not_null())["line"] for part in self._parts]
        return pl.concat([pl.Series(dtype=pl.Int64), *parts, *self._excluded]).unique()

    def table(self) -> FindingTable:
        """Return all findings so far, ordered by line."""
        if not self._parts:
            return FindingTable(self._file)
        gathered = pl.concat(self._parts, how="vertical")
        return FindingTable(self._file, gathered.sort("line", "code", nulls_last=False, maintain_order=True))


def write_findings(path: Path, tables: Sequence[FindingTable]) -> None:
    """Write every finding of several files to one CSV file.

    Raises:
        OSError: The file cannot be written.
    """
    columns = ("file", "line", "column", "value", "code", "fatal", "reason")
    with path.open("w", encoding="utf-8", newline="") as handle:
        write_csv(
            handle,
            columns,
            (
                {name: getattr(finding, name) for name in columns} | {"fatal": "true" if finding.fatal else "false"}
                for table in tables
                for finding in table
            ),
        )
