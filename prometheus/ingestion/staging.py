"""Convert checked columns into rows for the database: table, columns and text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from prometheus.db.bulk_load import MergeTarget
from prometheus.db.repositories import ingest_lots, ingest_reference
from prometheus.domain.accounts import AccountType
from prometheus.domain.securities import ActionType
from prometheus.ingestion.kinds import FileKind
from prometheus.ingestion.reading import LINE
from prometheus.ingestion.row_rules import SECURITY_ID

DEFAULT_STRATEGY: Final = "tax-managed-index"
_CHUNK_ROWS: Final = 100_000


@dataclass(frozen=True, slots=True)
class _Field:
    """A column of a table: the source of its text, and the optional file column that it needs, if any."""

    name: str
    source: pl.Expr
    needs: str | None = None


def _array(column: str) -> pl.Expr:
    """Return ``;``-separated words as a PostgreSQL array literal; blanks and repetitions are dropped."""
    words = pl.col(column).fill_null("").str.split(";").list.eval(pl.element().str.strip_chars())
    kept = words.list.eval(pl.element().filter(pl.element() != "")).list.unique(maintain_order=True)
    quoted = pl.concat_str(pl.lit('{"'), kept.list.join('","'), pl.lit('"}'))
    return pl.when(kept.list.len() > 0).then(quoted).otherwise(pl.lit("{}"))


_SECURITY: Final = _Field("security_id", pl.col(SECURITY_ID))

_FIELDS: Final[Mapping[FileKind, tuple[_Field, ...]]] = {
    FileKind.SECURITIES: (
        _Field("ticker", pl.col("ticker")),
        _Field("name", pl.col("name")),
        _Field("sector", pl.col("sector")),
        _Field("sub_industry", pl.col("sub_industry").fill_null(""), needs="sub_industry"),
        _Field("group_id", pl.col("group")),
        _Field("first_date", pl.col("first_date"), needs="first_date"),
        _Field("last_date", pl.col("last_date"), needs="last_date"),
    ),
    FileKind.PRICES: (
        _SECURITY,
        _Field("price_date", pl.col("date")),
        _Field("close", pl.col("close")),
        _Field("adj_close", pl.col("adj_close"), needs="adj_close"),
        _Field("volume", pl.col("volume"), needs="volume"),
    ),
    FileKind.ACTIONS: (
        _SECURITY,
        _Field("ex_date", pl.col("date")),
        _Field("action_type", pl.col("type")),
        _Field("other_ticker", pl.col("other_ticker")),
        _Field("value", pl.col("value")),
        _Field("basis_fraction", pl.col("basis_fraction"), needs="basis_fraction"),
    ),
    FileKind.BENCHMARK: (
        _Field("benchmark_id", pl.col("benchmark_id")),
        _Field("effective_date", pl.col("date")),
        _SECURITY,
        _Field("weight", pl.col("weight")),
    ),
    FileKind.BORROW: (
        _SECURITY,
        _Field("rate_date", pl.col("date")),
        _Field("annual_rate", pl.col("annual_rate")),
    ),
    FileKind.ACCOUNTS: (
        *(
            _Field(name, pl.col(name))
            for name in (
                "account_id", "name", "region", "base_currency", "tax_regime", "lot_method", "benchmark_id", "st_rate",
                "lt_rate", "niit_rate",
            )
        ),
        _Field("opening_cash", pl.col("cash")),
        _Field("cash", pl.col("cash")),
        _Field("fractional_shares", pl.col("fractional_shares")),
        _Field("tags", _array("tags")),
        _Field("strategy_id", pl.col("strategy_id"), needs="strategy_id"),
        _Field("household", pl.col("household"), needs="household"),
        _Field("account_type", pl.col("account_type"), needs="account_type"),
    ),
    FileKind.LOTS: (
        *(
            _Field(name, _SECURITY.source if name == "security_id" else pl.col(name))
            for name in ingest_lots.STAGED_COLUMNS
        ),
        _Field("line_number", pl.col(LINE)),
    ),
}  # fmt: skip

_TARGETS: Final[Mapping[FileKind, MergeTarget]] = {
    FileKind.SECURITIES: ingest_reference.SECURITIES,
    FileKind.PRICES: ingest_reference.PRICES,
    FileKind.ACTIONS: ingest_reference.ACTIONS,
    FileKind.BENCHMARK: ingest_reference.BENCHMARK,
    FileKind.BORROW: ingest_reference.BORROW,
    FileKind.ACCOUNTS: ingest_reference.ACCOUNTS,
}


def fill_defaults(frame: pl.DataFrame, kind: FileKind, benchmark_id: str) -> pl.DataFrame:
    """Give rows the defaults of columns that are empty or, where every row needs one, absent."""
    if kind is FileKind.BENCHMARK:
        given = pl.col("benchmark_id") if "benchmark_id" in frame.columns else pl.lit(None, dtype=pl.String)
        return frame.with_columns(given.fill_null(benchmark_id).alias("benchmark_id"))
    if kind is FileKind.ACTIONS:
        given = pl.col("other_ticker") if "other_ticker" in frame.columns else pl.lit(None, dtype=pl.String)
        changes_symbol = pl.col("type") == ActionType.SYMBOL_CHANGE.value
        return frame.with_columns(
            given.fill_null("").alias("other_ticker"),
            pl.when(changes_symbol).then(pl.col("value").fill_null("1")).otherwise(pl.col("value")).alias("value"),
        )
    if kind is FileKind.SECURITIES:
        given = pl.col("group") if "group" in frame.columns else pl.lit(None, dtype=pl.String)
        return frame.with_columns(given.fill_null(pl.col("ticker")).alias("group"))
    if kind is FileKind.ACCOUNTS:
        defaults = {"strategy_id": DEFAULT_STRATEGY, "account_type": AccountType.TAXABLE.value}
        return frame.with_columns(
            pl.col(name).fill_null(value) for name, value in defaults.items() if name in frame.columns
        )
    return frame


def merge_target(kind: FileKind, delivered: Sequence[str]) -> MergeTarget:
    """Return where rows of a kind go; a group that the file does not name is set once and never compared."""
    target = _TARGETS[kind]
    if kind is FileKind.SECURITIES and "group" not in delivered:
        return replace(target, insert_only=(*target.insert_only, "group_id"))
    return target


def staged_columns(kind: FileKind, delivered: Sequence[str]) -> tuple[str, ...]:
    """Return the table columns that a file with these columns sets; others are not changed."""
    return tuple(field.name for field in _FIELDS[kind] if field.needs is None or field.needs in delivered)


def staged_chunks(frame: pl.DataFrame, kind: FileKind, delivered: Sequence[str]) -> Iterator[tuple[int, bytes]]:
    """Yield the rows as CSV text for COPY, some thousand at a time, each with its number of rows."""
    columns = staged_columns(kind, delivered)
    sources = {field.name: field.source for field in _FIELDS[kind]}
    rows = frame.select(sources[name].alias(name) for name in columns)
    if kind in _TARGETS:
        target = _TARGETS[kind]
        rows = rows.sort(target.order or target.key)
    for start in range(0, rows.height, _CHUNK_ROWS):
        part = rows.slice(start, _CHUNK_ROWS)
        yield part.height, part.write_csv(include_header=False).encode()
