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
    """Check that the settings of an account agree with each other, its strategy and its books.

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
    _check_membership(frame, known, findings)


def check_households(frame: pl.DataFrame, members: Sequence[tuple[str, str, str]], findings: FindingCollector) -> None:
    """Check that the accounts of a household are taxed by one regime and in one currency.

    Args:
        frame: The accounts of the file, with a column ``household``.
        members: Household, tax regime and base currency of further stored accounts of these households.
        findings: Gets what is wrong.
    """
    columns = ["household", "tax_regime", "base_currency"]
    stored = pl.DataFrame(members, schema=dict.fromkeys(columns, pl.String), orient="row")
    mixed = (
        pl.concat([frame.select(columns), stored])
        .drop_nulls()
        .group_by("household")
        .agg((pl.col("tax_regime").n_unique() > 1) | (pl.col("base_currency").n_unique() > 1))
        .filter(pl.col("tax_regime"))
    )
    findings.add_rows(
        frame.join(mixed.select("household"), on="household", how="semi", maintain_order="left"),
        "HOUSEHOLD_MIXED",
        "The accounts of one household need one tax_regime and one base_currency; make them two households.",
        column="household",
    )


def _check_membership(frame: pl.DataFrame, known: Sequence[KnownAccount], findings: FindingCollector) -> None:
    """Refuse another household or type for an account with books, which were kept under the old ones."""
    with_books = [account for account in known if account.books_as_of is not None]
    for column, stored in (
        ("household", {account.account_id: account.household for account in with_books}),
        ("account_type", {account.account_id: account.account_type for account in with_books}),
    ):
        if not stored or column not in frame.columns:
            continue
        before = pl.col("account_id").replace_strict(stored, default=None, return_dtype=pl.String)
        findings.add_rows(
            frame.filter(before.is_not_null() & (before != pl.col(column).fill_null(""))),
            "MEMBERSHIP_AFTER_OPENING",
            f"The account has books that were kept under another {column}; it cannot change any more.",
            column=column,
        )


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
    """Check that the accounts of lots exist; remark fractions in whole-share accounts."""
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
