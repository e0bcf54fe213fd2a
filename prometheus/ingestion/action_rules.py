"""Rules of corporate actions over several columns: what each type needs in its value and other columns."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from prometheus.domain.securities import ActionType
from prometheus.ingestion.columns import value_column
from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.formats import TINY
from prometheus.ingestion.reading import LINE

_NAMES_ANOTHER: Final = (ActionType.SPINOFF.value, ActionType.SYMBOL_CHANGE.value)


def check_actions(frame: pl.DataFrame, tickers: Sequence[str], findings: FindingCollector) -> None:
    """Report actions whose value, other ticker or basis fraction do not fit their type.

    Args:
        frame: The rows, columns checked, ``other_ticker`` empty where there is none.
        tickers: Every known security.
        findings: Gets one finding for each bad row that has none yet.
    """
    bad = findings.bad_lines()
    if not bad.is_empty():
        frame = frame.join(bad.to_frame(LINE), on=LINE, how="anti", maintain_order="left")
    kind, other = pl.col("type"), pl.col("other_ticker")
    value = pl.col(value_column("value"))
    delists, changes = kind == ActionType.DELISTING.value, kind == ActionType.SYMBOL_CHANGE.value
    names_another = kind.is_in(_NAMES_ANOTHER)

    empty = "'value' is empty; only a symbol_change may leave it so. Fill it in."
    findings.add_rows(frame.filter(pl.col("value").is_null()), "EMPTY_FIELD", empty, column="value")
    small = "'value' must be greater than 0 (with eight decimals); only a delisting may pay nothing. Correct it."
    findings.add_rows(frame.filter((value < TINY) & ~delists), "NOT_POSITIVE", small, column="value")
    one = "'value' of a symbol_change is 1 or empty: one new share for each old one. Use a split for another ratio."
    findings.add_rows(frame.filter(changes & (value != 1.0)), "VALUE_NOT_ONE", one, column="value")

    none = pl.format("A {} needs the other security; fill in 'other_ticker'.", kind)
    findings.add_rows(frame.filter(names_another & (other == "")), "NO_OTHER_TICKER", none, column="other_ticker")
    same = pl.format("A {} of a security into itself is none; correct 'other_ticker'.", kind)
    findings.add_rows(frame.filter(other == pl.col("ticker")), "NO_OTHER_TICKER", same, column="other_ticker")
    unknown = "'other_ticker' is not among the securities; load it with the securities file or correct it."
    findings.add_rows(
        frame.filter((other != "") & ~other.is_in(list(tickers))), "UNKNOWN_TICKER", unknown, column="other_ticker"
    )
    needless = pl.format("A {} has no other security; leave 'other_ticker' empty or correct the type.", kind)
    findings.add_rows(frame.filter(~names_another & (other != "")), "NOT_OF_THIS_TYPE", needless, column="other_ticker")
    _check_basis_fractions(frame, findings)
    _check_new_symbols(frame.filter(changes), findings)


def _check_basis_fractions(frame: pl.DataFrame, findings: FindingCollector) -> None:
    spins_off = pl.col("type") == ActionType.SPINOFF.value
    given = "basis_fraction" in frame.columns
    missing = frame.filter(spins_off & pl.col("basis_fraction").is_null()) if given else frame.filter(spins_off)
    findings.add_rows(
        missing,
        "BAD_BASIS_FRACTION",
        "A spinoff needs the part of the parent's basis that goes with the child, between 0 and 1; fill in "
        "'basis_fraction' from the company's Form 8937.",
        column="basis_fraction",
    )
    if not given:
        return
    findings.add_rows(
        frame.filter(~spins_off & pl.col("basis_fraction").is_not_null()),
        "NOT_OF_THIS_TYPE",
        pl.format("A {} moves no basis; leave 'basis_fraction' empty or correct the type.", pl.col("type")),
        column="basis_fraction",
    )
    whole = pl.col(value_column("basis_fraction")).sum().over("date", "ticker")
    findings.add_rows(
        frame.filter(spins_off).filter(whole >= 1.0),
        "BAD_BASIS_FRACTION",
        "The spin-offs of this security on this day move its whole basis or more; correct the fractions.",
        column="basis_fraction",
    )


def _check_new_symbols(changes: pl.DataFrame, findings: FindingCollector) -> None:
    several = changes.filter(pl.col("other_ticker").n_unique().over("date", "ticker") > 1)
    findings.add_rows(
        several,
        "CONFLICTING_ROWS",
        "The security gets several new symbols on this day; keep the right one.",
        column="other_ticker",
    )
