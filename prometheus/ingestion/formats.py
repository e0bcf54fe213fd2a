"""The file formats of the bulk loads, as data; accounts' own transactions are read by the ledger's reader."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from prometheus.domain.accounts import AccountType, LotMethod, Region, TaxRegime
from prometheus.domain.lots import Side
from prometheus.domain.securities import ActionType
from prometheus.ingestion.columns import IDENTIFIER, Bound, Column, FieldType
from prometheus.ingestion.kinds import FileKind

#: Sums of money and numbers of shares beyond these are typing errors (the columns hold a thousand times more).
MAX_PRICE: Final = 1e9
MAX_MONEY: Final = 1e14
MAX_SHARES: Final = 1e12
MAX_VOLUME: Final = 1e15
#: Days ahead, a year: announced events and index changes may be known that early.
_ANNOUNCED: Final = 366
#: Half of the last stored decimal of a price: less than this is stored as zero.
TINY: Final = 0.5e-8
_POSITIVE: Final = "must be greater than 0 (with eight decimals)"

TICKER_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9.\-/^=]{0,31}$"
_TICKER: Final = Column("ticker", FieldType.TEXT, pattern=TICKER_PATTERN)
_QUANTITY: Final = Column(
    "quantity",
    FieldType.NUMBER,
    exact=True,
    bounds=(Bound("QUANTITY_NOT_POSITIVE", above=TINY, words=_POSITIVE), Bound("OUT_OF_RANGE", below=MAX_SHARES)),
)
_PRICE_BOUNDS: Final = (
    Bound("NEGATIVE_PRICE", above=0.0, words=_POSITIVE),
    Bound("ZERO_PRICE", above=TINY, words=_POSITIVE),
    Bound("OUT_OF_RANGE", below=MAX_PRICE),
)
_RATE: Final = (Bound("RATE_OUT_OF_RANGE", above=0.0, below=1.0),)


@dataclass(frozen=True, slots=True)
class FileFormat:
    """One kind of file.

    Attributes:
        kind: Which.
        columns: By name.
        key: Columns that identify a row; no two rows may share them.
    """

    kind: FileKind
    columns: Mapping[str, Column]
    key: tuple[str, ...]

    @property
    def required(self) -> tuple[str, ...]:
        """Return the columns the file must have."""
        return tuple(name for name, column in self.columns.items() if column.required)


def _format(kind: FileKind, key: tuple[str, ...], *columns: Column) -> FileFormat:
    return FileFormat(kind, {column.name: column for column in columns}, key)


def _optional(name: str, field_type: FieldType, **more: Any) -> Column:
    return Column(name, field_type, required=False, empty_allowed=True, **more)


FORMATS: Final[Mapping[FileKind, FileFormat]] = {
    FileKind.SECURITIES: _format(
        FileKind.SECURITIES,
        ("ticker",),
        _TICKER,
        Column("name", FieldType.TEXT),
        Column("sector", FieldType.TEXT),
        _optional("sub_industry", FieldType.TEXT),
        _optional("group", FieldType.TEXT, pattern=IDENTIFIER),
        _optional("first_date", FieldType.DATE, days_ahead=_ANNOUNCED),
        _optional("last_date", FieldType.DATE, days_ahead=_ANNOUNCED),
        _optional("missing_days", FieldType.IGNORED),
    ),
    FileKind.PRICES: _format(
        FileKind.PRICES,
        ("date", "ticker"),
        Column("date", FieldType.DATE),
        _TICKER,
        Column("close", FieldType.NUMBER, bounds=_PRICE_BOUNDS),
        _optional("adj_close", FieldType.NUMBER, bounds=_PRICE_BOUNDS),
        _optional(
            "volume",
            FieldType.INTEGER,
            bounds=(Bound("NEGATIVE_VOLUME", above=0.0), Bound("OUT_OF_RANGE", below=MAX_VOLUME)),
        ),
    ),
    FileKind.ACTIONS: _format(
        FileKind.ACTIONS,
        ("date", "ticker", "type", "other_ticker"),
        Column("date", FieldType.DATE, days_ahead=_ANNOUNCED),
        _TICKER,
        Column(
            "type", FieldType.CHOICE, choices=tuple(action.value for action in ActionType), choice_code="UNKNOWN_ACTION"
        ),
        # Zero for a delisting without payment, empty for a new symbol: action_rules checks value and type together.
        Column(
            "value",
            FieldType.NUMBER,
            empty_allowed=True,
            bounds=(Bound("NOT_POSITIVE", above=0.0, words=_POSITIVE), Bound("OUT_OF_RANGE", below=MAX_PRICE)),
        ),
        _optional("other_ticker", FieldType.TEXT, pattern=TICKER_PATTERN),
        _optional(
            "basis_fraction",
            FieldType.NUMBER,
            decimals=12,
            bounds=(Bound("BAD_BASIS_FRACTION", above=0.0, below=1.0, closed=False, words="must lie between 0 and 1"),),
        ),
    ),
    FileKind.BENCHMARK: _format(
        FileKind.BENCHMARK,
        ("benchmark_id", "date", "ticker"),
        Column("date", FieldType.DATE, days_ahead=_ANNOUNCED),
        _TICKER,
        Column(
            "weight",
            FieldType.NUMBER,
            decimals=12,
            bounds=(Bound("NEGATIVE_WEIGHT", above=0.0), Bound("WEIGHT_OVER_ONE", below=1.0)),
        ),
        _optional("benchmark_id", FieldType.TEXT, pattern=IDENTIFIER),
        _optional("market_cap_musd", FieldType.IGNORED),
        _optional("shares_source", FieldType.IGNORED),
        _optional("shares_asof", FieldType.IGNORED),
    ),
    FileKind.BORROW: _format(
        FileKind.BORROW,
        ("date", "ticker"),
        Column("date", FieldType.DATE),
        _TICKER,
        # Securities that are hard to borrow have cost more than their price a year; ten times that is a typing error.
        Column(
            "annual_rate",
            FieldType.NUMBER,
            decimals=12,
            bounds=(Bound("RATE_OUT_OF_RANGE", above=0.0, below=10.0),),
        ),
    ),
    FileKind.ACCOUNTS: _format(
        FileKind.ACCOUNTS,
        ("account_id",),
        Column("account_id", FieldType.TEXT, pattern=IDENTIFIER),
        Column("name", FieldType.TEXT),
        Column(
            "region", FieldType.CHOICE, choices=tuple(region.value for region in Region), choice_code="UNKNOWN_REGION"
        ),
        Column("base_currency", FieldType.TEXT, pattern=r"^[A-Z]{3}$"),
        Column(
            "tax_regime",
            FieldType.CHOICE,
            choices=tuple(regime.value for regime in TaxRegime),
            choice_code="UNKNOWN_TAX_REGIME",
        ),
        Column(
            "lot_method",
            FieldType.CHOICE,
            choices=tuple(method.value for method in LotMethod),
            choice_code="UNKNOWN_LOT_METHOD",
        ),
        Column("benchmark_id", FieldType.TEXT, pattern=IDENTIFIER),
        Column("st_rate", FieldType.NUMBER, decimals=12, bounds=_RATE),
        Column("lt_rate", FieldType.NUMBER, decimals=12, bounds=_RATE),
        Column("niit_rate", FieldType.NUMBER, decimals=12, bounds=_RATE),
        Column(
            "cash",
            FieldType.NUMBER,
            decimals=2,
            exact=True,
            bounds=(Bound("NEGATIVE_CASH", above=0.0), Bound("OUT_OF_RANGE", below=MAX_MONEY)),
        ),
        Column("fractional_shares", FieldType.BOOLEAN),
        Column("tags", FieldType.TEXT, empty_allowed=True, pattern=r"^[A-Za-z0-9._:;\- ]{1,500}$"),
        _optional("strategy_id", FieldType.TEXT, pattern=IDENTIFIER),
        _optional("household", FieldType.TEXT, pattern=IDENTIFIER),
        _optional(
            "account_type",
            FieldType.CHOICE,
            choices=tuple(account_type.value for account_type in AccountType),
            choice_code="UNKNOWN_ACCOUNT_TYPE",
        ),
    ),
    FileKind.EXECUTIONS: _format(
        FileKind.EXECUTIONS,
        ("account_id", "execution_id"),
        Column("account_id", FieldType.TEXT, pattern=IDENTIFIER),
        Column("client_order_id", FieldType.TEXT),
        # A lot that a purchase opens has the execution's id; "~" marks what the ledger splits off a lot.
        Column("execution_id", FieldType.TEXT, pattern=r"^[^\s~;=]{1,100}$"),
        _TICKER,
        Column("side", FieldType.CHOICE, choices=tuple(side.value for side in Side), choice_code="UNKNOWN_SIDE"),
        Column("trade_date", FieldType.DATE),
        _optional("executed_at", FieldType.TEXT),
        _QUANTITY,
        Column("price", FieldType.NUMBER, exact=True, bounds=_PRICE_BOUNDS),
        _optional(
            "fee",
            FieldType.NUMBER,
            decimals=2,
            exact=True,
            bounds=(Bound("NEGATIVE_FEE", above=0.0), Bound("OUT_OF_RANGE", below=MAX_MONEY)),
        ),
        _optional("lot_picks", FieldType.TEXT, pattern=r"^.+$"),
    ),
    FileKind.LOTS: _format(
        FileKind.LOTS,
        ("account_id", "lot_id"),
        Column("account_id", FieldType.TEXT, pattern=IDENTIFIER),
        Column("lot_id", FieldType.TEXT, pattern=IDENTIFIER),
        _TICKER,
        Column("acquired_on", FieldType.DATE),
        _QUANTITY,
        Column(
            "cost_basis",
            FieldType.NUMBER,
            decimals=2,
            exact=True,
            bounds=(Bound("NEGATIVE_BASIS", above=0.0), Bound("OUT_OF_RANGE", below=MAX_MONEY)),
        ),
    ),
}
