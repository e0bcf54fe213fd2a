"""Rules over several columns or rows: references, duplicates, sessions, sums."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

import polars as pl

from prometheus.domain.accounts import Region
from prometheus.foundation.trading_calendar import FIRST_DAY, LAST_DAY, TradingCalendar
from prometheus.ingestion.columns import FieldType
from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.formats import FileFormat
from prometheus.ingestion.reading import LINE

SECURITY_ID: Final = "#security_id"
#: The weights of a date may miss 1 by this much: several hundred weights rounded to eight decimals miss by less.
WEIGHT_SUM_TOLERANCE: Final = Decimal("0.000001")
#: Sector of a security whose file names none.
UNCLASSIFIED: Final = "Unclassified"
#: Precision for every number within its bounds and for the stored decimals.
_EXACT: Final = pl.Decimal(38, 12)


def fill_descriptions(frame: pl.DataFrame, findings: FindingCollector) -> pl.DataFrame:
    """Give securities without a sector the sector Unclassified, and those without a name their ticker, with remarks.

    No computation needs a name, and only a strategy that limits sectors needs a sector: Unclassified counts as one.
    """
    for column, value, says in (
        ("sector", pl.lit(UNCLASSIFIED), f"'sector' is empty; the security counts as {UNCLASSIFIED}."),
        ("name", pl.col("ticker"), "'name' is empty; the ticker is used instead."),
    ):
        if column in frame.columns:
            empty = pl.col(column).is_null()
            findings.add_rows(frame.filter(empty), f"NO_{column.upper()}", says, column="ticker", fatal=False)
            frame = frame.with_columns(pl.when(empty).then(value).otherwise(pl.col(column)).alias(column))
    return frame


def resolve_tickers(frame: pl.DataFrame, known: Sequence[tuple[str, int]], findings: FindingCollector) -> pl.DataFrame:
    """Add the security id of each row; an unknown ticker is fatal."""
    ids = pl.DataFrame(list(known), schema={"ticker": pl.String, SECURITY_ID: pl.Int32}, orient="row")
    frame = frame.join(ids, on="ticker", how="left", maintain_order="left")
    findings.add_rows(
        frame.filter(pl.col("ticker").is_not_null() & pl.col(SECURITY_ID).is_null()),
        "UNKNOWN_TICKER",
        "The ticker is not among the securities; load it with the securities file or correct it.",
        column="ticker",
    )
    return frame


def check_duplicates(frame: pl.DataFrame, file_format: FileFormat, findings: FindingCollector) -> pl.DataFrame:
    """Refuse rows that share a key and differ; keep the first of rows that agree, with a remark.

    Returns:
        The frame without the further copies.
    """
    key = [name for name in file_format.key if name in frame.columns]
    keyed = pl.all_horizontal(pl.col(key).is_not_null())
    if frame.select(key).n_unique() == frame.height:
        return frame
    repeated = frame.filter(keyed & pl.struct(key).is_duplicated())
    if repeated.is_empty():
        return frame
    values = [
        pl.col(name).cast(_EXACT, strict=False) if column.field_type is FieldType.NUMBER else pl.col(name)
        for name, column in file_format.columns.items()
        if name in frame.columns and name not in key and column.field_type is not FieldType.IGNORED
    ]
    repeated = repeated.with_columns(
        pl.struct(values).n_unique().over(key).alias("#versions"),
        pl.col(LINE).min().over(key).alias("#first"),
        pl.col(LINE).sort().cast(pl.String).implode().list.join(", ").over(key).alias("#lines"),
    )
    shown = pl.concat_str([pl.col(name).cast(pl.String) for name in key], separator=" ")
    names = ", ".join(key)
    findings.add_rows(
        repeated.filter(pl.col("#versions") > 1),
        "CONFLICTING_ROWS",
        pl.format(f"The lines {{}} have the same {names} and different values; keep the right one.", pl.col("#lines")),
        value=shown,
    )
    copies = repeated.filter((pl.col("#versions") == 1) & (pl.col(LINE) > pl.col("#first")))
    findings.add_rows(
        copies,
        "DUPLICATE_ROW",
        pl.format("The row repeats line {} exactly; one of them is loaded.", pl.col("#first")),
        value=shown,
        fatal=False,
    )
    return frame.join(copies.select(LINE), on=LINE, how="anti", maintain_order="left")


def check_sessions(frame: pl.DataFrame, findings: FindingCollector, *, fatal: bool) -> None:
    """Report dates on which neither the US nor the Canadian exchange traded.

    Days before the calendar begins are not judged.
    """
    days: Iterable[date] = frame["date"].drop_nulls().unique()
    calendars = [TradingCalendar.for_region(region.value) for region in Region]
    closed = [
        day
        for day in days
        if FIRST_DAY <= day <= LAST_DAY and not any(calendar.is_trading_day(day) for calendar in calendars)
    ]
    if closed:
        findings.add_rows(
            frame.filter(pl.col("date").is_in(closed)),
            "NOT_A_SESSION",
            "No exchange of the fleet's regions traded on this day; correct the date.",
            column="date",
            fatal=fatal,
        )


def check_weight_sums(frame: pl.DataFrame, findings: FindingCollector) -> None:
    """Refuse every row of a date whose weights do not sum to 1; rows that are bad already do not count.

    Args:
        frame: The good rows, with ``benchmark_id``, ``date``, ``weight``.
        findings: Gets one finding for each such date, on its first line; an incomplete benchmark is never loaded.
    """
    dates = ["benchmark_id", "date"]
    sums = frame.group_by(dates).agg(pl.col("weight").cast(_EXACT).sum().alias("#sum"), pl.col(LINE).min())
    wrong = sums.filter(
        (pl.col("#sum") < Decimal(1) - WEIGHT_SUM_TOLERANCE) | (pl.col("#sum") > Decimal(1) + WEIGHT_SUM_TOLERANCE)
    )
    total = pl.col("#sum").cast(pl.String).str.strip_chars_end("0").str.strip_suffix(".")
    findings.add_rows(
        wrong,
        "WEIGHTS_DO_NOT_SUM_TO_ONE",
        pl.format(
            "The weights of {} on {} sum to {}, not 1; deliver the date complete.",
            pl.col("benchmark_id"),
            pl.col("date"),
            total,
        ),
        column="weight",
        value=total,
    )
    findings.exclude(frame.join(wrong, on=dates, how="semi")[LINE])
