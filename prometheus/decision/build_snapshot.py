"""From an account's books and the day's market data to the frozen snapshot. Pure: no database, no clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final

from prometheus.decision.day_books import pool_lots
from prometheus.decision.locks import day_locks
from prometheus.decision.snapshot import Flag, Snapshot, UniverseName
from prometheus.domain.accounts import Account, AccountKind, LotMethod
from prometheus.domain.books import Books
from prometheus.domain.lots import RecentTrade
from prometheus.domain.rebalancing import DAILY, kind_of_day
from prometheus.domain.securities import BenchmarkDay, CorporateAction, LastPrice, Security
from prometheus.foundation.errors import PhaseHeldError
from prometheus.ledger.shares import split_ratio
from prometheus.risk.model import StoredRiskModel

#: Decimals of a stored price.
_PRICE_STEP: Final = Decimal("0.00000001")


@dataclass(frozen=True, slots=True, eq=False)
class DayInputs:
    """Market data and risk model of one day; two readings of it are two values, whatever they hold.

    ``risk_model`` is None where there is none for the day or before; ``splits`` has ex-date and factor of every split
    through the day by ticker, oldest first.
    """

    as_of: date
    securities: Mapping[str, Security]
    prices: Mapping[str, LastPrice]
    risk_model: StoredRiskModel | None
    borrow_rates: Mapping[str, Decimal]
    splits: Mapping[str, tuple[tuple[date, Decimal], ...]]


@dataclass(frozen=True, slots=True)
class AccountInputs:
    """What belongs to one account on its day.

    Attributes:
        account: Settings.
        books: Lots and cash at the end of the day's corporate actions.
        trades: Trades of the household that may lock securities, the account's own first.
        corporate_actions: Actions since the account's last day that its books have, by ex-date.
        realized_this_year: Net gain that counts of the calendar year through the day, base currency.
        older_prices: Prices of held securities that had none in the usual look-back.
        strategy_version: Version of the strategy used.
        max_missing_price_share: From the merged parameters.
        unmatched_tags: Tags that select no override.
        unfilled: What the orders of the account's previous run left unfilled, in a sentence; None where nothing.
        old_data: Flags of data that is used although it is older than usual.
        unbooked_actions: What the books lack of actions that came or changed later, in words; it moves no shares.
        rebalance: Rebalancing calendar, from the merged parameters.
        last_whole: Day of the account's last whole rebalancing; None where it had none.
    """

    account: Account
    books: Books
    older_prices: Mapping[str, LastPrice]
    strategy_version: int
    max_missing_price_share: float
    trades: tuple[RecentTrade, ...] = ()
    corporate_actions: tuple[CorporateAction, ...] = ()
    realized_this_year: Decimal = Decimal(0)
    unmatched_tags: tuple[str, ...] = ()
    unfilled: str | None = None
    old_data: tuple[Flag, ...] = ()
    unbooked_actions: str | None = None
    rebalance: str = DAILY
    last_whole: date | None = None


def build_snapshot(
    inputs: AccountInputs,
    day: DayInputs,
    benchmark: BenchmarkDay,
    benchmark_sha256: bytes,
    model: StoredRiskModel,
) -> Snapshot:
    """Return the frozen inputs of one account's day.

    Raises:
        PhaseHeldError: A lot was bought after the day (LOT_AFTER_DAY), the books have lots and a short position of one
            security (LOTS_BESIDE_SHORT), a held security has no price at all (NO_PRICE),
            too many assets lack the day's price (MISSING_PRICES), or the account is worth nothing (NO_ASSETS).
    """
    account, as_of, books, trades = inputs.account, day.as_of, inputs.books, inputs.trades
    require_bought_by(books, as_of, account.account_id)
    _require_one_side(books, account.account_id)
    lots = pool_lots(books.lots) if account.lot_method is LotMethod.ACB else books.lots
    flags: list[Flag] = [
        Flag("UNKNOWN_TAG", f"Tag '{tag}' selects no parameter override.") for tag in inputs.unmatched_tags
    ]
    flags += inputs.old_data
    if inputs.unfilled is not None:
        flags.append(Flag("UNFILLED_TRADES", f"{inputs.unfilled} Lots, cash and locks are those of the books."))
    if inputs.unbooked_actions is not None:
        flags.append(Flag("ACTIONS_NOT_BOOKED", inputs.unbooked_actions))
    universe = _universe(inputs, day, benchmark, model, flags, sorted(books.tickers()))
    taxed = account.kind is AccountKind.TAXABLE
    locks = day_locks(
        universe,
        # What a sheltered account sells is no loss; what it buys can wash those of the household all the same.
        lots if taxed else (),
        trades,
        as_of=as_of,
        regime=account.tax_regime,
        group_outside=_index(day, benchmark, model).group_of,
    )
    snapshot = Snapshot(
        account_id=account.account_id,
        as_of=as_of,
        base_currency=account.base_currency,
        tax_regime=account.tax_regime,
        lot_method=account.lot_method,
        fractional_shares=account.fractional_shares,
        tags=account.tags,
        strategy_id=account.strategy_id,
        strategy_version=inputs.strategy_version,
        rates=account.rates_that_apply,
        cash=books.cash,
        benchmark_id=benchmark.benchmark_id,
        benchmark_effective_date=benchmark.effective_date,
        benchmark_weights_sha256=benchmark_sha256.hex(),
        risk_model_id=model.risk_model_id,
        risk_model_as_of=model.as_of_date,
        loadings_sha256=model.loadings_sha256.hex(),
        specific_variance_sha256=model.specific_variance_sha256.hex(),
        factor_covariance=tuple(tuple(row) for row in model.factor_covariance.tolist()),
        universe=universe,
        lots=lots,
        recent_trades=trades,
        buy_locks=locks.buy,
        loss_sale_locks=locks.loss_sale,
        borrow_rates={
            name.ticker: day.borrow_rates[name.ticker] for name in universe if name.ticker in day.borrow_rates
        },
        corporate_actions=inputs.corporate_actions,
        flags=tuple(flags),
        sheltered=not taxed,
        specific_correlation_sha256=(
            None if model.specific_correlation_sha256 is None else model.specific_correlation_sha256.hex()
        ),
        realized_this_year=inputs.realized_this_year,
        rebalancing=kind_of_day(inputs.rebalance, inputs.last_whole, as_of),
        last_whole=inputs.last_whole,
        shorts=books.shorts,
    )
    if snapshot.nav() <= 0:
        raise PhaseHeldError(
            f"{account.account_id} is worth {snapshot.nav():f} {account.base_currency}: there is nothing to invest. "
            "Load its cash or lots with 'prometheus ingest', or cancel the day's run.",
            code="NO_ASSETS",
        )
    return snapshot


def require_bought_by(books: Books, as_of: date, account_id: str) -> None:
    """Refuse lots from the future: they would count as holdings of a day on which they were not held.

    Raises:
        PhaseHeldError: A lot was bought after the day (LOT_AFTER_DAY).
    """
    for lot in books.lots:
        if lot.acquired_on > as_of:
            raise PhaseHeldError(
                f"Lot {lot.lot_id} ({lot.ticker}) of {account_id} was bought on {lot.acquired_on}, after {as_of}. "
                "Cancel the run and begin with a day on or after that date.",
                code="LOT_AFTER_DAY",
                details={"lot_id": lot.lot_id, "acquired_on": lot.acquired_on.isoformat()},
            )


def _require_one_side(books: Books, account_id: str) -> None:
    """Refuse books that hold a security and owe it: what a purchase closes there only the account can say."""
    both = sorted({lot.ticker for lot in books.lots} & {short.ticker for short in books.shorts})
    if both:
        raise PhaseHeldError(
            f"{account_id} holds {both[0]} and is short of it. Enter the cover or the sale that closes one of the two.",
            code="LOTS_BESIDE_SHORT",
            details={"ticker": both[0]},
        )


def _universe(
    inputs: AccountInputs,
    day: DayInputs,
    benchmark: BenchmarkDay,
    model: StoredRiskModel,
    flags: list[Flag],
    held: Sequence[str],
) -> tuple[UniverseName, ...]:
    index = _index(day, benchmark, model)
    names: list[UniverseName] = []
    missing: list[str] = []
    unpriced: list[str] = []
    for ticker in sorted({*held, *benchmark.tickers}):
        usual = index.names.get(ticker)
        if usual is not None:
            names.append(usual)
            continue
        price = day.prices.get(ticker) or inputs.older_prices.get(ticker)
        if price is None:
            if ticker in held:
                raise PhaseHeldError(
                    f"{ticker} is held by {inputs.account.account_id} and has no price at all. Load one with "
                    "'prometheus ingest FILE --kind prices'.",
                    code="NO_PRICE",
                    details={"ticker": ticker},
                )
            unpriced.append(ticker)
            flags.append(Flag("UNPRICED_CONSTITUENT", f"{ticker} is in the benchmark but has no price; left out."))
            continue
        close = price.close
        if price.price_date != day.as_of:
            missing.append(ticker)
            close = _carried_forward(price, day.splits.get(ticker, ()))
            flags.append(
                Flag("MISSING_PRICE", f"{ticker} has no price for {day.as_of}; held at that of {price.price_date}.")
            )
        if ticker not in index.in_model:
            flags.append(Flag("NO_RISK_DATA", f"{ticker} is not in the risk model; given the market's exposure."))
        names.append(index.name(day.securities[ticker], close, price.price_date))
    without, wanted = [*missing, *unpriced], len(names) + len(unpriced)
    if len(without) > inputs.max_missing_price_share * wanted:
        raise PhaseHeldError(
            f"{len(without)} of {wanted} assets have no price for {day.as_of} (the limit is "
            f"{inputs.max_missing_price_share:.0%}), among them {', '.join(without[:5])}. Load the day's prices.",
            code="MISSING_PRICES",
            details={"missing": len(without), "names": wanted},
        )
    return tuple(names)


@dataclass(frozen=True, slots=True)
class _DayIndex:
    """What all accounts of a day with one benchmark share.

    ``names`` has every asset with a price of the day and a place in the risk model.
    """

    in_benchmark: Mapping[str, int]
    in_model: Mapping[str, int]
    group_of: Mapping[str, str]
    names: dict[str, UniverseName]

    def name(self, security: Security, price: Decimal, price_date: date) -> UniverseName:
        return UniverseName(
            ticker=security.ticker,
            price=price,
            price_date=price_date,
            sector=security.sector,
            sub_industry=security.sub_industry,
            group=security.group,
            benchmark_index=self.in_benchmark.get(security.ticker, -1),
            risk_index=self.in_model.get(security.ticker, -1),
        )


@lru_cache(maxsize=8)
def _index(day: DayInputs, benchmark: BenchmarkDay, model: StoredRiskModel) -> _DayIndex:
    """Return the index of a day, made once for each reading of it."""
    index = _DayIndex(
        in_benchmark={ticker: i for i, ticker in enumerate(benchmark.tickers)},
        in_model={ticker: i for i, ticker in enumerate(model.tickers)},
        group_of={ticker: security.group for ticker, security in day.securities.items()},
        names={},
    )
    for ticker, price in day.prices.items():
        if price.price_date == day.as_of and ticker in index.in_model:
            index.names[ticker] = index.name(day.securities[ticker], price.close, price.price_date)
    return index


def _carried_forward(price: LastPrice, splits: Sequence[tuple[date, Decimal]]) -> Decimal:
    """Return an earlier day's close for a share of today: what a share was split into since, it is worth less."""
    close = price.close
    for ex_date, factor in splits:
        if ex_date > price.price_date:
            ratio = split_ratio(factor)
            close = close * ratio.denominator / ratio.numerator
    return close.quantize(_PRICE_STEP)
