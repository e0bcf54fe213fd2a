"""The frozen input bundle of one account's day, and its JSON form (version 4: columns, each of them one text)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from prometheus.decision.columns import (
    packed,
    packed_names,
    packed_positions,
    plain,
    unpacked,
    unpacked_names,
    unpacked_positions,
)
from prometheus.decision.snapshot_rows import action_row, short_row, stored_action, stored_short
from prometheus.decision.trade_columns import (
    FOLLOWS,
    engine_lot_id,
    packed_unless_usual,
    recent_trades,
    trade_columns,
)
from prometheus.domain.accounts import LotMethod, TaxRates, TaxRegime
from prometheus.domain.lots import RecentTrade, ShortPosition, TaxLot
from prometheus.domain.rebalancing import Rebalancing
from prometheus.domain.securities import CorporateAction
from prometheus.foundation.canonical import JsonObject, JsonValue, to_jsonable
from prometheus.foundation.errors import PrometheusError

SNAPSHOT_VERSION: Final = 4
#: A snapshot with short positions has this version, which code that knows none of them refuses.
NEWEST_VERSION: Final = 5
#: Version 1 knew no correlations of specific returns; up to version 2 columns were lists; up to version 3 every day was
#: a whole rebalancing.
_READABLE: Final = (1, 2, 3, SNAPSHOT_VERSION, NEWEST_VERSION)


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
    """One asset of the universe.

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
    of the calendar year before the run, base currency. ``rebalancing`` is the kind of the day, ``last_whole`` the day
    of the account's last whole rebalancing before it, None where there was none. ``shorts`` are those of the books, of
    each security in the order in which they are covered.
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
    rebalancing: Rebalancing = Rebalancing.WHOLE
    last_whole: date | None = None
    shorts: tuple[ShortPosition, ...] = ()

    def nav(self) -> Decimal:
        """Return net asset value: cash plus every lot, less what is short, at the snapshot's price."""
        price = {name.ticker: name.price for name in self.universe}
        held = self.cash + sum((lot.quantity * price[lot.ticker] for lot in self.lots), Decimal(0))
        return held - sum((one.quantity * price[one.ticker] for one in self.shorts), Decimal(0))

    def missing_prices(self) -> tuple[str, ...]:
        """Return the names valued at an earlier day's close."""
        return tuple(name.ticker for name in self.universe if name.price_date != self.as_of)

    def to_json(self) -> JsonObject:
        """Return the stored form: JSON types, decimals as text, lists by column."""
        stored: JsonObject = to_jsonable(
            {
                "version": NEWEST_VERSION if self.shorts else SNAPSHOT_VERSION,
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
                "universe": _universe_columns(self.universe, self.as_of),
                "lots": _lot_columns(self.lots, self.universe, self.account_id),
                "recent_trades": trade_columns(self.recent_trades, self.account_id),
                "buy_locks": [[lock.subject, lock.until, lock.cause] for lock in self.buy_locks],
                "loss_sale_locks": _lock_columns(self.loss_sale_locks, self.lots),
                "borrow_rates": self.borrow_rates,
                "corporate_actions": [action_row(action) for action in self.corporate_actions],
                "flags": [[flag.code, flag.message] for flag in self.flags],
                **({"sheltered": True} if self.sheltered else {}),
                **({"shorts": [short_row(one) for one in self.shorts]} if self.shorts else {}),
                "realized_this_year": self.realized_this_year,
                "rebalancing": {"kind": self.rebalancing, "last_whole": self.last_whole},
            }
        )
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Snapshot":
        """Read the stored form back, the exact inverse of ``to_json``; also those of the versions before.

        Raises:
            PrometheusError: A version this code has no reader for (SNAPSHOT_VERSION).
        """
        version = stored.get("version")
        if version not in _READABLE:
            raise PrometheusError(
                f"Snapshot version {version} is not known here; install a newer version of the engine.",
                code="SNAPSHOT_VERSION",
            )
        as_of = date.fromisoformat(stored["as_of"])
        rates, benchmark, model = stored["rates"], stored["benchmark"], stored["risk_model"]
        universe = _universe(stored["universe"], as_of)
        lots = _lots(stored["lots"], universe, stored["account_id"])
        rebalancing = stored.get("rebalancing", {"kind": Rebalancing.WHOLE, "last_whole": None})
        last_whole = rebalancing["last_whole"]
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
            lots=lots,
            recent_trades=recent_trades(stored["recent_trades"], stored["account_id"]),
            buy_locks=_locks(stored["buy_locks"]),
            loss_sale_locks=_locks(_lock_rows(stored["loss_sale_locks"], [lot.lot_id for lot in lots])),
            borrow_rates={ticker: Decimal(rate) for ticker, rate in stored["borrow_rates"].items()},
            corporate_actions=tuple(stored_action(row) for row in stored["corporate_actions"]),
            flags=tuple(Flag(code, message) for code, message in stored["flags"]),
            sheltered=stored.get("sheltered", False),
            specific_correlation_sha256=model.get("specific_correlation_sha256"),
            realized_this_year=Decimal(stored.get("realized_this_year", 0)),
            rebalancing=Rebalancing(rebalancing["kind"]),
            last_whole=None if last_whole is None else date.fromisoformat(last_whole),
            shorts=tuple(stored_short(row) for row in stored.get("shorts", ())),
        )


def opened(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored snapshot of any version with its columns as lists and its recent trades as rows, JSON types."""
    universe, lots, account_id = stored["universe"], stored["lots"], stored["account_id"]
    tickers = unpacked(universe["ticker"])
    lot_ids = _lot_ids(lots, tickers, account_id)
    return {
        **stored,
        "universe": {
            **universe,
            "ticker": tickers,
            "price": unpacked(universe["price"]),
            **{name: unpacked_names(universe[name]) for name in ("sector", "sub_industry")},
            **{name: unpacked_positions(universe[name]) for name in ("benchmark_index", "risk_index")},
        },
        "lots": {
            **lots,
            "lot_id": lot_ids,
            **{name: unpacked(lots[name]) for name in ("acquired_on", "quantity", "cost_basis")},
            "name": unpacked_positions(lots["name"]),
        },
        "recent_trades": [
            {name: value for name, value in to_jsonable(asdict(trade)).items() if value is not None}
            for trade in recent_trades(stored["recent_trades"], account_id)
        ],
        "loss_sale_locks": _lock_rows(stored["loss_sale_locks"], lot_ids),
    }


def _universe_columns(universe: Sequence[UniverseName], as_of: date) -> JsonObject:
    return {
        "ticker": packed([name.ticker for name in universe]),
        "price": packed([plain(name.price) for name in universe]),
        # Only the exceptions are spelled out: nearly every price is the day's own.
        "missing_price": {name.ticker: name.price_date.isoformat() for name in universe if name.price_date != as_of},
        "sector": packed_names([name.sector for name in universe]),
        "sub_industry": packed_names([name.sub_industry for name in universe]),
        "group": {name.ticker: name.group for name in universe if name.group != name.ticker},
        "benchmark_index": packed_positions(name.benchmark_index for name in universe),
        "risk_index": packed_positions(name.risk_index for name in universe),
    }


def _universe(columns: Mapping[str, Any], as_of: date) -> tuple[UniverseName, ...]:
    missing, groups = columns["missing_price"], columns["group"]
    rows = zip(
        unpacked(columns["ticker"]),
        unpacked(columns["price"]),
        unpacked_names(columns["sector"]),
        unpacked_names(columns["sub_industry"]),
        unpacked_positions(columns["benchmark_index"]),
        unpacked_positions(columns["risk_index"]),
        strict=True,
    )
    return tuple(
        UniverseName(
            ticker=ticker,
            price=Decimal(price),
            price_date=date.fromisoformat(missing[ticker]) if ticker in missing else as_of,
            sector=sector,
            sub_industry=sub_industry,
            group=groups.get(ticker, ticker),
            benchmark_index=benchmark_index,
            risk_index=risk_index,
        )
        for ticker, price, sector, sub_industry, benchmark_index, risk_index in rows
    )


def _lot_columns(lots: Sequence[TaxLot], universe: Sequence[UniverseName], account_id: str) -> JsonObject:
    index = {name.ticker: str(i) for i, name in enumerate(universe)}
    days = [lot.acquired_on.isoformat() for lot in lots]
    usual = [engine_lot_id(account_id, day, lot.ticker) for day, lot in zip(days, lots, strict=True)]
    adjusted = [lot for lot in lots if lot.adjusted_basis != lot.cost_basis]
    tacked = [lot for lot in lots if lot.holding_period_start != lot.acquired_on]
    return {
        "lot_id": packed_unless_usual([lot.lot_id for lot in lots], usual),
        "name": packed([index[lot.ticker] for lot in lots], repeats=True),
        "acquired_on": packed(days, repeats=True),
        "quantity": packed([plain(lot.quantity) for lot in lots]),
        "cost_basis": packed([format(lot.cost_basis, "f") for lot in lots]),
        "adjusted_basis": {lot.lot_id: format(lot.adjusted_basis, "f") for lot in adjusted},
        "holding_period_start": {lot.lot_id: lot.holding_period_start.isoformat() for lot in tacked},
    }


def _lot_ids(columns: Mapping[str, Any], tickers: Sequence[str], account_id: str) -> list[str]:
    lot_ids = unpacked(columns["lot_id"])
    if not isinstance(columns["lot_id"], str):
        return lot_ids
    rows = zip(lot_ids, unpacked(columns["acquired_on"]), unpacked_positions(columns["name"]), strict=True)
    return [
        engine_lot_id(account_id, day, tickers[name]) if lot_id == FOLLOWS else lot_id for lot_id, day, name in rows
    ]


def _lots(columns: Mapping[str, Any], universe: Sequence[UniverseName], account_id: str) -> tuple[TaxLot, ...]:
    adjusted, started = columns["adjusted_basis"], columns["holding_period_start"]
    rows = zip(
        _lot_ids(columns, [name.ticker for name in universe], account_id),
        unpacked_positions(columns["name"]),
        unpacked(columns["acquired_on"]),
        unpacked(columns["quantity"]),
        unpacked(columns["cost_basis"]),
        strict=True,
    )
    lots = []
    for lot_id, name, acquired_on, quantity, cost_basis in rows:
        acquired, cost = date.fromisoformat(acquired_on), Decimal(cost_basis)
        lots.append(
            TaxLot(
                lot_id=lot_id,
                ticker=universe[name].ticker,
                acquired_on=acquired,
                quantity=Decimal(quantity),
                cost_basis=cost,
                adjusted_basis=Decimal(adjusted[lot_id]) if lot_id in adjusted else cost,
                holding_period_start=date.fromisoformat(started[lot_id]) if lot_id in started else acquired,
            )
        )
    return tuple(lots)


def _lock_columns(locks: Sequence[LockRecord], lots: Sequence[TaxLot]) -> JsonValue:
    """Return locks of lots: lots of one security have the same causes, which are told once."""
    position = {lot.lot_id: i for i, lot in enumerate(lots)}
    if not locks or any(lock.subject not in position for lock in locks):
        return [[lock.subject, lock.until.isoformat(), lock.cause] for lock in locks]
    causes: dict[tuple[date, str], str] = {}
    which = [causes.setdefault((lock.until, lock.cause), str(len(causes))) for lock in locks]
    return {
        "lot": packed_positions(position[lock.subject] for lock in locks),
        "causes": [[until.isoformat(), cause] for until, cause in causes],
        "cause": packed(which, repeats=True),
    }


def _lock_rows(stored: Mapping[str, Any] | Sequence[Sequence[str]], lot_ids: Sequence[str]) -> list[list[str]]:
    if not isinstance(stored, Mapping):
        return [list(row) for row in stored]
    pairs = zip(unpacked_positions(stored["lot"]), unpacked_positions(stored["cause"]), strict=True)
    return [[lot_ids[lot], *stored["causes"][cause]] for lot, cause in pairs]


def _locks(rows: Sequence[Sequence[str]]) -> tuple[LockRecord, ...]:
    return tuple(LockRecord(subject, date.fromisoformat(until), cause) for subject, until, cause in rows)
