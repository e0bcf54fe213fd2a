"""Checks that prices and corporate actions agree: remarks, never reasons to refuse.

Three tests, each on the total return of a row, split factor * (close + amount paid) / previous close - 1:

- against the ratio of adjusted closes, where the file has them;
- its size on the ex-date of anything but an ordinary dividend, which shows a wrong factor or a forgotten spin-off;
- its size where there is no action at all, which shows a forgotten split.

Floats suffice here: nothing of it is stored.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final

import polars as pl

from prometheus.domain.securities import ActionType
from prometheus.ingestion.columns import value_column
from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.reading import LINE

#: Fifty times the largest difference that rounding makes in a clean file of prices with two to four decimals.
ADJ_CLOSE_TOLERANCE: Final = 5e-4
#: Splits and spin-offs leave a total return that is a day's ordinary move; a tenth is rare.
ACTION_DAY_MOVE: Final = 0.10
#: An unrecorded two-for-one split halves the price.
UNEXPLAINED_MOVE: Final = 0.45

_FACTORS: Final = (ActionType.SPLIT.value, ActionType.SPINOFF_PRICE_FACTOR.value)
#: Types whose value is not money a share; the value of a spin-off into a child is the child's price, which is not read.
_NO_AMOUNT: Final = (*_FACTORS, ActionType.SPINOFF.value, ActionType.SYMBOL_CHANGE.value)


def check_total_returns(
    prices: pl.DataFrame, actions: Sequence[tuple[str, date, str, float]], findings: FindingCollector
) -> None:
    """Add remarks for rows whose total return does not fit.

    Args:
        prices: ``date``, ``ticker`` (null where bad), float ``close``, float ``adj_close`` where the file has it.
        actions: Ticker, ex-date, type, value (factor, or money a share) of the period.
        findings: Gets the remarks.
    """
    adjusted = value_column("adj_close") in prices.columns
    if adjusted and not actions:
        findings.add(
            "NO_ACTIONS",
            "There are no corporate actions in the period of the file, so adj_close was not compared with the closes; "
            "load the actions first to have that done.",
            column="adj_close",
            fatal=False,
        )
        adjusted = False
    close = pl.col(value_column("close"))
    columns = [pl.col(LINE, "date", "ticker"), close.alias("close")]
    if adjusted:
        columns.append(pl.col(value_column("adj_close")).alias("adj_close"))
    rows = prices.select(columns).filter(pl.all_horizontal(pl.col("date", "ticker", "close").is_not_null()))
    rows = rows.sort("ticker", "date").set_sorted("ticker")
    effects = _effects(rows, actions)
    previous = pl.col("close").shift(1).over("ticker")
    total = pl.col("factor").fill_null(1.0) * (pl.col("close") + pl.col("amount").fill_null(0.0)) / previous - 1.0
    rows = rows.join(effects, on=["ticker", "date"], how="left", maintain_order="left").with_columns(total=total)
    if adjusted:
        _compare_adjusted(rows, findings)
    move = pl.format("{} {}: the total return is {} %", pl.col("ticker"), pl.col("date"), _percent(pl.col("total")))
    unusual = pl.col("types").is_not_null() & (pl.col("types") != ActionType.DIVIDEND.value)
    findings.add_rows(
        rows.filter(unusual & (pl.col("total").abs() > ACTION_DAY_MOVE)),
        "LARGE_MOVE_ON_ACTION",
        pl.format("{} on the ex-date of {}; check factor and amounts.", move, pl.col("types")),
        column="close",
        fatal=False,
    )
    findings.add_rows(
        rows.filter(pl.col("types").is_null() & (pl.col("total").abs() > UNEXPLAINED_MOVE)),
        "LARGE_MOVE_WITHOUT_ACTION",
        pl.format("{} with no corporate action; check for a missing split.", move),
        column="close",
        fatal=False,
    )


def _effects(rows: pl.DataFrame, actions: Sequence[tuple[str, date, str, float]]) -> pl.DataFrame:
    """Combine the actions of a ticker by the first priced day on or after their ex-date."""
    table = pl.DataFrame(
        list(actions),
        schema={"ticker": pl.String, "ex_date": pl.Date, "type": pl.String, "value": pl.Float64},
        orient="row",
    ).sort("ex_date")
    days = rows.select("ticker", "date").sort("date")
    placed = table.join_asof(
        days.with_columns(ex_date=pl.col("date")),
        on="ex_date",
        by="ticker",
        strategy="forward",
        check_sortedness=False,
    ).filter(pl.col("date").is_not_null())
    is_factor = pl.col("type").is_in(_FACTORS)
    return placed.group_by("ticker", "date").agg(
        factor=pl.col("value").filter(is_factor).product(),
        amount=pl.col("value").filter(~pl.col("type").is_in(_NO_AMOUNT)).sum(),
        types=pl.col("type").unique().sort().str.join("+"),
    )


def _compare_adjusted(rows: pl.DataFrame, findings: FindingCollector) -> None:
    ratio = pl.col("adj_close") / pl.col("adj_close").shift(1).over("ticker") - 1.0
    rows = rows.with_columns(ratio=ratio).with_columns(difference=(pl.col("total") - pl.col("ratio")))
    differing = rows.filter(pl.col("difference").abs() > ADJ_CLOSE_TOLERANCE)
    if differing.is_empty():
        return
    findings.add_rows(
        differing,
        "ADJ_CLOSE_DIFFERS",
        pl.format(
            "{} {}: closes and actions give {} %, adj_close {} %; an action or a price is missing or wrong.",
            pl.col("ticker"),
            pl.col("date"),
            _percent(pl.col("total")),
            _percent(pl.col("ratio")),
        ),
        column="adj_close",
        fatal=False,
    )
    largest = differing.sort(pl.col("difference").abs(), "ticker", "date", descending=[True, False, False]).row(
        0, named=True
    )
    findings.add(
        "ADJ_CLOSE_SUMMARY",
        f"In {differing.height:,} of {rows.height:,} rows adj_close and the closes with actions differ by more than "
        f"{ADJ_CLOSE_TOLERANCE:.2%} of return; the largest difference is {largest['difference']:.2%} at "
        f"{largest['ticker']} {largest['date']}, line {largest[LINE]}.",
        column="adj_close",
        fatal=False,
    )


def _percent(value: pl.Expr) -> pl.Expr:
    return (value * 100.0).round(2)
