"""Rules about accounts and their opening lots."""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl

from prometheus.db.repositories.ingest_reference import KnownAccount
from prometheus.domain.accounts import LotMethod, TaxRegime
from prometheus.ingestion.columns import value_column
from prometheus.ingestion.finding_table import FindingCollector


def check_accounts(
    frame: pl.DataFrame,
    known: Sequence[KnownAccount],
    strategies: Sequence[str],
    benchmarks: Sequence[str],
    findings: FindingCollector,
) -> None:
    """Check how the settings of an account fit each other, its strategy, and its books.

    Args:
        frame: The accounts of the file.
        known: Those of them that are stored.
        strategies: Strategies in the database.
        benchmarks: Benchmarks in the database.
        findings: Gets what is wrong.
    """
    regime, method = pl.col("tax_regime"), pl.col("lot_method")
    canadian = regime == TaxRegime.CA.value
    st, lt, niit = (pl.col(value_column(name)) for name in ("st_rate", "lt_rate", "niit_rate"))
    findings.add_rows(
        frame.filter(canadian & (method != LotMethod.ACB.value)),
        "LOT_METHOD_FOR_REGIME",
        "Canada averages the cost of a security (ACB); no other lot method exists there.",
        column="lot_method",
    )
    findings.add_rows(
        frame.filter(~canadian & (method == LotMethod.ACB.value)),
        "LOT_METHOD_FOR_REGIME",
        "Average cost (ACB) is Canada's method; a US account needs HIFO, LEAST_TAX_FIRST or FIFO.",
        column="lot_method",
    )
    findings.add_rows(
        frame.filter(canadian & (st != lt)),
        "CANADIAN_RATES_DIFFER",
        "Canada has one rate for all holding periods; st_rate and lt_rate must be the same effective rate.",
        column="st_rate",
    )
    findings.add_rows(
        frame.filter((st + niit > 1.0) | (lt + niit > 1.0)),
        "RATE_OUT_OF_RANGE",
        "The rate with the surtax exceeds the whole gain; correct the rates.",
        column="niit_rate",
    )
    findings.add_rows(
        frame.filter(~canadian & (st < lt)),
        "SHORT_TERM_RATE_LOWER",
        "The short-term rate is below the long-term rate; unusual, check the two columns.",
        column="st_rate",
        fatal=False,
    )
    findings.add_rows(
        frame.filter(regime != pl.col("region")),
        "REGION_AND_REGIME_DIFFER",
        "The account trades in one country and is taxed in another; unusual, check the two columns.",
        column="tax_regime",
        fatal=False,
    )
    if "strategy_id" in frame.columns:
        findings.add_rows(
            frame.filter(~pl.col("strategy_id").is_in(list(strategies))),
            "UNKNOWN_STRATEGY",
            f"The strategy is not in the database; there are: {', '.join(strategies)}.",
            column="strategy_id",
        )
    findings.add_rows(
        frame.filter(~pl.col("benchmark_id").is_in(list(benchmarks))),
        "UNKNOWN_BENCHMARK",
        "The benchmark is not loaded yet; the account cannot be rebalanced before it is.",
        column="benchmark_id",
        fatal=False,
    )
    _check_opening_cash(frame, known, findings)


def _check_opening_cash(frame: pl.DataFrame, known: Sequence[KnownAccount], findings: FindingCollector) -> None:
    with_books = [account for account in known if account.books_as_of is not None]
    if not with_books:
        return
    stored = pl.DataFrame(
        {
            "account_id": [account.account_id for account in with_books],
            "#opening": [account.opening_cash for account in with_books],
            "#books": [str(account.books_as_of) for account in with_books],
        },
        schema={"account_id": pl.String, "#opening": pl.Decimal(38, 2), "#books": pl.String},
    )
    rows = frame.join(stored, on="account_id", how="inner", maintain_order="left")
    findings.add_rows(
        rows.filter(pl.col("cash").cast(pl.Decimal(38, 2)) != pl.col("#opening")),
        "OPENING_CASH_AFTER_OPENING",
        pl.format(
            "The account has books through {} that start from opening cash {}; opening cash cannot change any more.",
            pl.col("#books"),
            pl.col("#opening").cast(pl.String),
        ),
        column="cash",
    )


def check_lots(frame: pl.DataFrame, known: Sequence[KnownAccount], findings: FindingCollector) -> None:
    """Check that the accounts of lots exist, and remark fractions in whole-share accounts."""
    names = [account.account_id for account in known]
    account = pl.col("account_id")
    findings.add_rows(
        frame.filter(account.is_not_null() & ~account.is_in(names)),
        "UNKNOWN_ACCOUNT",
        "The account is not in the database; load the accounts file first or correct it.",
        column="account_id",
    )
    whole_only = [account.account_id for account in known if not account.fractional_shares]
    quantity = pl.col("quantity").cast(pl.Decimal(38, 8))
    findings.add_rows(
        frame.filter(account.is_in(whole_only) & (quantity % Decimal(1) != 0)),
        "FRACTION_IN_WHOLE_SHARE_ACCOUNT",
        "The account trades whole shares only; the fraction can only be sold together with the rest of the lot.",
        column="quantity",
        fatal=False,
    )
