"""Reading market data: the day's prices, benchmark weights, corporate actions, and the return panel's inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, text

from prometheus.db.database import driver_connection
from prometheus.domain.securities import ActionType, BenchmarkDay, CorporateAction, LastPrice, Security

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SECURITIES: Final = text("SELECT ticker, name, sector, sub_industry, group_id FROM securities ORDER BY ticker")

# The latest close of each security on or before the day; a bounded look-back keeps this an index range of a few weeks.
_PRICES: Final = text("""
    SELECT DISTINCT ON (prices.security_id) ticker, price_date, close
    FROM prices JOIN securities USING (security_id)
    WHERE price_date <= :as_of AND price_date > CAST(:as_of AS date) - CAST(:days AS int)
    ORDER BY prices.security_id, price_date DESC
""")

_PRICES_OF: Final = text("""
    SELECT DISTINCT ON (prices.security_id) ticker, price_date, close
    FROM prices JOIN securities USING (security_id)
    WHERE price_date <= :as_of AND ticker = ANY(:tickers)
    ORDER BY prices.security_id, price_date DESC
""")

_ACTIONS: Final = text("""
    SELECT ticker, ex_date, action_type, value, other_ticker, basis_fraction
    FROM corporate_actions JOIN securities USING (security_id)
    WHERE ex_date > :after AND ex_date <= :through
    ORDER BY ex_date, ticker, action_type, other_ticker
""")

_SPLITS: Final = text("""
    SELECT ticker, ex_date, value FROM corporate_actions JOIN securities USING (security_id)
    WHERE action_type = 'split' AND ex_date <= :through ORDER BY ticker, ex_date
""")

# Every load of a file and every new risk model changes one of these numbers.
_POSITION: Final = text("""
    SELECT coalesce((SELECT max(file_id) FROM ingest_files), 0) AS file_id,
           coalesce((SELECT max(risk_model_id) FROM risk_models), 0) AS risk_model_id
""")

_CLOSES_ON: Final = text("""
    SELECT ticker, price_date, close
    FROM unnest(CAST(:tickers AS text[]), CAST(:days AS date[])) AS wanted(ticker, price_date)
    JOIN securities USING (ticker) JOIN prices USING (security_id, price_date)
""")

_BENCHMARK: Final = text("""
    SELECT effective_date, ticker, weight
    FROM benchmark_constituents JOIN securities USING (security_id)
    WHERE benchmark_id = :benchmark AND effective_date =
        (SELECT max(effective_date) FROM benchmark_constituents
         WHERE benchmark_id = :benchmark AND effective_date <= :as_of)
    ORDER BY ticker
""")

# The benchmark with the most constituents on the day represents the market.
_FULLEST: Final = text("""
    SELECT benchmark_id FROM benchmark_constituents
    WHERE (benchmark_id, effective_date) IN (
        SELECT benchmark_id, max(effective_date) FROM benchmark_constituents
        WHERE effective_date <= :as_of GROUP BY benchmark_id)
    GROUP BY benchmark_id ORDER BY count(*) DESC, benchmark_id LIMIT 1
""")

_BENCHMARK_HISTORY: Final = text("""
    SELECT effective_date, ticker, weight
    FROM benchmark_constituents JOIN securities USING (security_id)
    WHERE benchmark_id = :benchmark AND effective_date BETWEEN :first AND :last
    ORDER BY effective_date, ticker
""")

_PRICE_SPAN: Final = text("SELECT min(price_date) AS first, max(price_date) AS last FROM prices")

_BORROW: Final = text("""
    SELECT DISTINCT ON (security_id) ticker, annual_rate
    FROM borrow_rates JOIN securities USING (security_id)
    WHERE rate_date <= :as_of ORDER BY security_id, rate_date DESC
""")

_PANEL: Final = """
    SELECT security_id, price_date - %s::date, close::float8 FROM prices
    WHERE price_date >= %s AND price_date <= %s
"""


@dataclass(frozen=True, slots=True, eq=False)
class ClosePanel:
    """Raw closes by session and ticker: (T, N) float64, NaN where there is no close."""

    sessions: tuple[date, ...]
    tickers: tuple[str, ...]
    closes: "NDArray[np.float64]"


def securities(connection: Connection) -> dict[str, Security]:
    """Return every security by ticker."""
    return {
        row.ticker: Security(row.ticker, row.name, row.sector, row.sub_industry, row.group_id)
        for row in connection.execute(_SECURITIES)
    }


def has_prices(connection: Connection, as_of: date) -> bool:
    """Return True where at least one security has a close for the day."""
    answer = connection.execute(
        text("SELECT EXISTS (SELECT 1 FROM prices WHERE price_date = :as_of)"), {"as_of": as_of}
    )
    return bool(answer.scalar_one())


def newest_price_date(connection: Connection, through: date) -> date | None:
    """Return the last day on or before ``through`` that has a price, or None."""
    price_date: date | None = connection.execute(
        text("SELECT max(price_date) FROM prices WHERE price_date <= :through"), {"through": through}
    ).scalar_one()
    return price_date


def last_prices(connection: Connection, as_of: date, *, look_back_days: int = 30) -> dict[str, LastPrice]:
    """Return each security's latest close within the look-back, by ticker."""
    rows = connection.execute(_PRICES, {"as_of": as_of, "days": look_back_days})
    return {row.ticker: LastPrice(row.price_date, row.close) for row in rows}


def last_prices_of(connection: Connection, as_of: date, tickers: Sequence[str]) -> dict[str, LastPrice]:
    """Return the latest close of the named securities, however old."""
    rows = connection.execute(_PRICES_OF, {"as_of": as_of, "tickers": list(tickers)})
    return {row.ticker: LastPrice(row.price_date, row.close) for row in rows}


def corporate_actions(connection: Connection, *, after: date, through: date) -> tuple[CorporateAction, ...]:
    """Return the actions with ex-date in (after, through], by date, ticker and type."""
    rows = connection.execute(_ACTIONS, {"after": after, "through": through})
    return tuple(
        CorporateAction(
            row.ticker, row.ex_date, ActionType(row.action_type), row.value, row.other_ticker, row.basis_fraction
        )
        for row in rows
    )


def splits(connection: Connection, through: date) -> dict[str, tuple[tuple[date, Decimal], ...]]:
    """Return ex-date and factor (new shares for an old one) of every split through a day, by ticker, oldest first."""
    by_ticker: dict[str, list[tuple[date, Decimal]]] = {}
    for row in connection.execute(_SPLITS, {"through": through}):
        by_ticker.setdefault(row.ticker, []).append((row.ex_date, row.value))
    return {ticker: tuple(dated) for ticker, dated in by_ticker.items()}


def data_position(connection: Connection) -> tuple[int, int]:
    """Return a mark that changes whenever a file is loaded or a risk model is stored."""
    row = connection.execute(_POSITION).one()
    return row.file_id, row.risk_model_id


def read_one_state(connection: Connection) -> None:
    """Let every later statement of this transaction read one state of the database; call it first."""
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


def closes_on(connection: Connection, wanted: Sequence[tuple[str, date]]) -> dict[tuple[str, date], Decimal]:
    """Return the closes of the given pairs of ticker and day; pairs without one are absent."""
    if not wanted:
        return {}
    rows = connection.execute(
        _CLOSES_ON, {"tickers": [ticker for ticker, _ in wanted], "days": [day for _, day in wanted]}
    )
    return {(row.ticker, row.price_date): row.close for row in rows}


def benchmark_day(connection: Connection, benchmark_id: str, as_of: date) -> BenchmarkDay | None:
    """Return the constituents in force on a day, or None where the benchmark has none by then."""
    rows = connection.execute(_BENCHMARK, {"benchmark": benchmark_id, "as_of": as_of}).all()
    if not rows:
        return None
    return BenchmarkDay(
        benchmark_id,
        rows[0].effective_date,
        tuple(row.ticker for row in rows),
        tuple(row.weight for row in rows),
    )


def fullest_benchmark(connection: Connection, as_of: date) -> str | None:
    """Return the benchmark with the most constituents in force on a day, None where none is."""
    benchmark_id: str | None = connection.execute(_FULLEST, {"as_of": as_of}).scalar_one_or_none()
    return benchmark_id


def benchmark_history(
    connection: Connection, benchmark_id: str, first: date, last: date
) -> dict[date, dict[str, Decimal]]:
    """Return the weights by ticker of every effective date from ``first`` through ``last``, oldest first."""
    history: dict[date, dict[str, Decimal]] = {}
    for row in connection.execute(_BENCHMARK_HISTORY, {"benchmark": benchmark_id, "first": first, "last": last}):
        history.setdefault(row.effective_date, {})[row.ticker] = row.weight
    return history


def price_span(connection: Connection) -> tuple[date, date] | None:
    """Return the first and the last day with a price, None where there are no prices."""
    row = connection.execute(_PRICE_SPAN).one()
    return None if row.first is None else (row.first, row.last)


def borrow_rates(connection: Connection, as_of: date) -> Mapping[str, Decimal]:
    """Return the annual borrow rate of each security that has one."""
    return {row.ticker: row.annual_rate for row in connection.execute(_BORROW, {"as_of": as_of})}


def close_panel(connection: Connection, sessions: Sequence[date]) -> ClosePanel:
    """Return raw closes of every security that has at least one in the given sessions (ascending)."""
    import numpy as np  # noqa: PLC0415 -- a tick that finds nothing to do reads this module and no panel

    first, last = sessions[0], sessions[-1]
    row_of = np.full((last - first).days + 1, -1, dtype=np.int64)
    for i, session in enumerate(sessions):
        row_of[(session - first).days] = i
    # Binary format: a quarter of a million numbers arrive without being printed and parsed.
    with driver_connection(connection).cursor(binary=True) as cursor:
        cursor.execute(_PANEL, [first, first, last])
        rows = cursor.fetchall()
    ids = np.array([row[0] for row in rows], dtype=np.int64)
    days = np.array([row[1] for row in rows], dtype=np.int64)
    values = np.array([row[2] for row in rows], dtype=np.float64)
    names = {
        row.security_id: row.ticker for row in connection.execute(text("SELECT security_id, ticker FROM securities"))
    }
    present = sorted(set(ids.tolist()), key=lambda key: names[key])
    column_of = {key: i for i, key in enumerate(present)}
    closes = np.full((len(sessions), len(present)), np.nan)
    at_row = row_of[days] if len(rows) else days
    at_column = np.array([column_of[key] for key in ids.tolist()], dtype=np.int64)
    on_session = at_row >= 0
    closes[at_row[on_session], at_column[on_session]] = values[on_session]
    return ClosePanel(tuple(sessions), tuple(names[key] for key in present), closes)
