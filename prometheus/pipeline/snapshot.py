"""The frozen input bundle of one account's day, and its JSON form (version 2, columns rather than rows)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any, Final

from prometheus.domain.accounts import LotMethod, TaxRates, TaxRegime
from prometheus.domain.lots import RecentTrade, Side, TaxLot
from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.canonical import to_jsonable
from prometheus.foundation.errors import PrometheusError

SNAPSHOT_VERSION: Final = 2
#: Version 1 knew no correlations of specific returns.
_READABLE: Final = (1, SNAPSHOT_VERSION)
#: Columns of a recent trade that are left out of the stored form where they are zero.
_ZERO_UNLESS_SAID: Final = frozenset({"realized_gain", "washed_quantity", "disallowed_loss", "denied_for_good"})
#: Columns of a recent trade that are True in the stored form where they equal another one.
_USUALLY: Final = {"unreplaced": "quantity", "holding_period_start": "acquired_on"}
_TRADE_COLUMNS: Final = tuple(field.name for field in fields(RecentTrade))


@dataclass(frozen=True, slots=True)
class Flag:
    """Something unusual about a day that a reader of the run should know."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LockRecord:
    """A wash-sale lock and the trade that caused it.

    ``subject`` is the group of a buy-lock or the lot of a loss-sale lock; ``cause`` says which trade, in words;
    ``until`` is the last locked day.
    """

    subject: str
    until: date
    cause: str


@dataclass(frozen=True, slots=True)
class UniverseName:
    """One name of the universe.

    Attributes:
        ticker: The security.
        price: Close used, base currency a share.
        price_date: Day of that close; earlier than the day where the price is missing.
        sector: GICS sector.
        sub_industry: GICS sub-industry.
        group: Substantially identical group.
        benchmark_index: Position among the benchmark's constituents, or -1.
        risk_index: Position in the risk model, or -1 where it does not know the name.
    """

    ticker: str
    price: Decimal
    price_date: date
    sector: str
    sub_industry: str
    group: str
    benchmark_index: int
    risk_index: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the solve reads, except the matrices, which it names by content address (hexadecimal SHA-256).

    ``specific_correlation_sha256`` names the blocks of correlated specific returns, None where there are none. All
    matrices of the risk model are shared by the accounts of a day. ``realized_this_year`` is the net gain that counts
    of the calendar year before the run, base currency.
    """

    account_id: str
    as_of: date
    base_currency: str
    tax_regime: TaxRegime
    lot_method: LotMethod
    fractional_shares: bool
    tags: tuple[str, ...]
    strategy_id: str
    strategy_version: int
    rates: TaxRates
    cash: Decimal
    benchmark_id: str
    benchmark_effective_date: date
    benchmark_weights_sha256: str
    risk_model_id: int
    risk_model_as_of: date
    loadings_sha256: str
    specific_variance_sha256: str
    factor_covariance: tuple[tuple[float, ...], ...]
    universe: tuple[UniverseName, ...]
    lots: tuple[TaxLot, ...]
    recent_trades: tuple[RecentTrade, ...]
    buy_locks: tuple[LockRecord, ...]
    loss_sale_locks: tuple[LockRecord, ...]
    borrow_rates: Mapping[str, Decimal]
    corporate_actions: tuple[CorporateAction, ...]
    flags: tuple[Flag, ...]
    sheltered: bool = False
    specific_correlation_sha256: str | None = None
    realized_this_year: Decimal = Decimal(0)

    def nav(self) -> Decimal:
        """Return net asset value: cash plus every lot at the snapshot's price."""
        price = {name.ticker: name.price for name in self.universe}
        return self.cash + sum((lot.quantity * price[lot.ticker] for lot in self.lots), Decimal(0))

    def missing_prices(self) -> tuple[str, ...]:
        """Return the names valued at an earlier day's close."""
        return tuple(name.ticker for name in self.universe if name.price_date != self.as_of)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form: JSON types, decimals as text, lists by column."""
        index = {name.ticker: i for i, name in enumerate(self.universe)}
        stored: dict[str, Any] = to_jsonable(
            {
                "version": SNAPSHOT_VERSION,
                "account_id": self.account_id,
                "as_of": self.as_of,
                "base_currency": self.base_currency,
                "tax_regime": self.tax_regime,
                "lot_method": self.lot_method,
                "fractional_shares": self.fractional_shares,
                "tags": self.tags,
                "strategy": {"id": self.strategy_id, "version": self.strategy_version},
                "rates": {"st": self.rates.st, "lt": self.rates.lt, "niit": self.rates.niit},
                "cash": self.cash,
                "benchmark": {
                    "id": self.benchmark_id,
                    "effective_date": self.benchmark_effective_date,
                    "weights_sha256": self.benchmark_weights_sha256,
                },
                "risk_model": {
                    "id": self.risk_model_id,
                    "as_of": self.risk_model_as_of,
                    "loadings_sha256": self.loadings_sha256,
                    "specific_variance_sha256": self.specific_variance_sha256,
                    "specific_correlation_sha256": self.specific_correlation_sha256,
                    "factor_covariance": self.factor_covariance,
                },
                "universe": {
                    "ticker": [name.ticker for name in self.universe],
                    "price": [name.price.normalize() for name in self.universe],
                    # Only the exceptions are spelled out: nearly every price is the day's own.
                    "missing_price": {
                        name.ticker: name.price_date for name in self.universe if name.price_date != self.as_of
                    },
                    "sector": [name.sector for name in self.universe],
                    "sub_industry": [name.sub_industry for name in self.universe],
                    "group": {name.ticker: name.group for name in self.universe if name.group != name.ticker},
                    "benchmark_index": [name.benchmark_index for name in self.universe],
                    "risk_index": [name.risk_index for name in self.universe],
                },
                "lots": {
                    "lot_id": [lot.lot_id for lot in self.lots],
                    "name": [index[lot.ticker] for lot in self.lots],
                    "acquired_on": [lot.acquired_on for lot in self.lots],
                    "quantity": [lot.quantity.normalize() for lot in self.lots],
                    "cost_basis": [lot.cost_basis for lot in self.lots],
                    "adjusted_basis": {
                        lot.lot_id: lot.adjusted_basis for lot in self.lots if lot.adjusted_basis != lot.cost_basis
                    },
                    "holding_period_start": {
                        lot.lot_id: lot.holding_period_start
                        for lot in self.lots
                        if lot.holding_period_start != lot.acquired_on
                    },
                },
                "recent_trades": _trade_columns(self.recent_trades),
                "buy_locks": [[lock.subject, lock.until, lock.cause] for lock in self.buy_locks],
                "loss_sale_locks": [[lock.subject, lock.until, lock.cause] for lock in self.loss_sale_locks],
                "borrow_rates": self.borrow_rates,
                "corporate_actions": [_action_row(action) for action in self.corporate_actions],
                "flags": [[flag.code, flag.message] for flag in self.flags],
                **({"sheltered": True} if self.sheltered else {}),
                "realized_this_year": self.realized_this_year,
            }
        )
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Snapshot":
        """Read the stored form back, the exact inverse of ``to_json``; also that of version 1.

        Raises:
            PrometheusError: A version this code has no reader for (SNAPSHOT_VERSION).
        """
        if stored.get("version") not in _READABLE:
            raise PrometheusError(
                f"Snapshot version {stored.get('version')} is not known here; install a newer version of the engine.",
                code="SNAPSHOT_VERSION",
            )
        as_of = date.fromisoformat(stored["as_of"])
        rates, benchmark, model = stored["rates"], stored["benchmark"], stored["risk_model"]
        universe = _universe(stored["universe"], as_of)
        return cls(
            account_id=stored["account_id"],
            as_of=as_of,
            base_currency=stored["base_currency"],
            tax_regime=TaxRegime(stored["tax_regime"]),
            lot_method=LotMethod(stored["lot_method"]),
            fractional_shares=stored["fractional_shares"],
            tags=tuple(stored["tags"]),
            strategy_id=stored["strategy"]["id"],
            strategy_version=stored["strategy"]["version"],
            rates=TaxRates(st=Decimal(rates["st"]), lt=Decimal(rates["lt"]), niit=Decimal(rates["niit"])),
            cash=Decimal(stored["cash"]),
            benchmark_id=benchmark["id"],
            benchmark_effective_date=date.fromisoformat(benchmark["effective_date"]),
            benchmark_weights_sha256=benchmark["weights_sha256"],
            risk_model_id=model["id"],
            risk_model_as_of=date.fromisoformat(model["as_of"]),
            loadings_sha256=model["loadings_sha256"],
            specific_variance_sha256=model["specific_variance_sha256"],
            factor_covariance=tuple(tuple(float(x) for x in row) for row in model["factor_covariance"]),
            universe=universe,
            lots=_lots(stored["lots"], universe),
            recent_trades=_recent_trades(stored["recent_trades"]),
            buy_locks=_locks(stored["buy_locks"]),
            loss_sale_locks=_locks(stored["loss_sale_locks"]),
            borrow_rates={ticker: Decimal(rate) for ticker, rate in stored["borrow_rates"].items()},
            corporate_actions=tuple(_action(row) for row in stored["corporate_actions"]),
            flags=tuple(Flag(code, message) for code, message in stored["flags"]),
            sheltered=stored.get("sheltered", False),
            specific_correlation_sha256=model.get("specific_correlation_sha256"),
            realized_this_year=Decimal(stored.get("realized_this_year", 0)),
        )


def _action_row(action: CorporateAction) -> list[Any]:
    """Return an action as it is stored; the other security and the basis fraction only where there is one."""
    row: list[Any] = [action.ticker, action.ex_date, action.action_type, action.value]
    if action.other_ticker or action.basis_fraction is not None:
        row += [action.other_ticker, action.basis_fraction]
    return row


def _action(row: Sequence[str | None]) -> CorporateAction:
    ticker, day, kind, value, *named = row
    other, fraction = named or ("", None)
    return CorporateAction(
        str(ticker),
        date.fromisoformat(str(day)),
        ActionType(str(kind)),
        Decimal(str(value)),
        other or "",
        None if fraction is None else Decimal(fraction),
    )


def _universe(columns: Mapping[str, Any], as_of: date) -> tuple[UniverseName, ...]:
    missing, groups = columns["missing_price"], columns["group"]
    return tuple(
        UniverseName(
            ticker=ticker,
            price=Decimal(columns["price"][i]),
            price_date=date.fromisoformat(missing[ticker]) if ticker in missing else as_of,
            sector=columns["sector"][i],
            sub_industry=columns["sub_industry"][i],
            group=groups.get(ticker, ticker),
            benchmark_index=columns["benchmark_index"][i],
            risk_index=columns["risk_index"][i],
        )
        for i, ticker in enumerate(columns["ticker"])
    )


def _lots(columns: Mapping[str, Any], universe: Sequence[UniverseName]) -> tuple[TaxLot, ...]:
    adjusted, started = columns["adjusted_basis"], columns["holding_period_start"]
    lots = []
    for i, lot_id in enumerate(columns["lot_id"]):
        acquired = date.fromisoformat(columns["acquired_on"][i])
        cost = Decimal(columns["cost_basis"][i])
        lots.append(
            TaxLot(
                lot_id=lot_id,
                ticker=universe[columns["name"][i]].ticker,
                acquired_on=acquired,
                quantity=Decimal(columns["quantity"][i]),
                cost_basis=cost,
                adjusted_basis=Decimal(adjusted[lot_id]) if lot_id in adjusted else cost,
                holding_period_start=date.fromisoformat(started[lot_id]) if lot_id in started else acquired,
            )
        )
    return tuple(lots)


def _trade_columns(trades: Sequence[RecentTrade]) -> dict[str, list[Any]]:
    """Return trades by column; a column that says nothing is left out, and what follows from another one is True."""
    columns: dict[str, list[Any]] = {}
    for name in _TRADE_COLUMNS:
        # An empty text says as little as None; a zero says something in other columns than these.
        empty = ("", 0) if name in _ZERO_UNLESS_SAID else ("",)
        values: list[Any] = [None if value in empty else value for value in (getattr(trade, name) for trade in trades)]
        if name in _USUALLY:
            usual = [getattr(trade, _USUALLY[name]) for trade in trades]
            values = [
                True if value is not None and value == other else value
                for value, other in zip(values, usual, strict=True)
            ]
        if name in {"ticker", "trade_date", "side", "quantity"} or any(value is not None for value in values):
            columns[name] = [value.normalize() if name == "quantity" else value for value in values]
    return columns


def _recent_trades(stored: Any) -> tuple[RecentTrade, ...]:
    if isinstance(stored, list):
        # Version 1, and the first days of version 2, wrote a row for each trade.
        return tuple(_recent_trade(row) for row in stored)
    rows = []
    for i in range(len(stored["ticker"])):
        row = {name: values[i] for name, values in stored.items() if values[i] is not None}
        rows.append({name: row[_USUALLY[name]] if value is True else value for name, value in row.items()})
    return tuple(_recent_trade(row) for row in rows)


def _recent_trade(row: Mapping[str, str]) -> RecentTrade:
    def day(name: str) -> date | None:
        return date.fromisoformat(row[name]) if name in row else None

    side = Side(row["side"])
    return RecentTrade(
        ticker=row["ticker"],
        trade_date=date.fromisoformat(row["trade_date"]),
        side=side,
        quantity=Decimal(row["quantity"]),
        realized_gain=Decimal(row.get("realized_gain", 0)),
        lot_id=row.get("lot_id"),
        unreplaced=Decimal(row["unreplaced"]) if "unreplaced" in row else None,
        washed_quantity=Decimal(row.get("washed_quantity", 0)),
        disallowed_loss=Decimal(row.get("disallowed_loss", 0)),
        acquired_on=day("acquired_on"),
        holding_period_start=day("holding_period_start"),
        execution_id=row.get("execution_id"),
        account=row.get("account", ""),
        denied_for_good=Decimal(row.get("denied_for_good", 0)),
    )


def _locks(rows: Sequence[Sequence[str]]) -> tuple[LockRecord, ...]:
    return tuple(LockRecord(subject, date.fromisoformat(until), cause) for subject, until, cause in rows)
