"""Load a file of executions of orders: read, check and book each account's, all or nothing of a file."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl

from prometheus.bookkeeping.bulk_session import BulkSession, bulk_session
from prometheus.bookkeeping.order_executions import book_executions
from prometheus.db.bulk_load import FileIdentity, LoadCounts
from prometheus.db.database import Database
from prometheus.domain.lots import Side
from prometheus.domain.orders import Execution, OrderName, parse_picks
from prometheus.foundation.errors import RequestError
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.ingestion import row_rules
from prometheus.ingestion.columns import check_column
from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.formats import FORMATS
from prometheus.ingestion.kinds import FileKind
from prometheus.ingestion.reading import LINE, TextTable
from prometheus.ingestion.reports import (
    BadRowsError,
    FileReport,
    FileStatus,
    IngestOptions,
    Progress,
    require_good_rows,
)

KIND: Final = FileKind.EXECUTIONS
#: What a row of an exported order has not got before it is executed.
_OF_AN_EXECUTION: Final = ("execution_id", "trade_date", "executed_at", "price")
#: Around the world a trade's instant is at most this far from noon of its day.
_HALF_A_WORLD: Final = timedelta(hours=36)


def load_executions(
    database: Database,
    name: str,
    sha256: bytes,
    table: TextTable,
    *,
    options: IngestOptions,
    progress: Progress,
    findings: FindingCollector,
) -> FileReport:
    """Load one file of executions, completely or not at all.

    Args:
        database: Where to.
        name: Name of the file.
        sha256: Of its bytes.
        table: Its text; the columns are those of the format.
        options: With ``skip_bad_rows`` the rest is booked as if the bad rows were not there.
        progress: Listens.
        findings: Has what reading found, and gets the rest.

    Returns:
        What became of it; bad rows are findings in it.

    Raises:
        DatabaseUnavailableError: The database went away; nothing of the file is booked.

    Source: docs/specs/ingestion.md, "Executions".
    """
    frame = _without_open_orders(table.frame, findings)
    columns = FORMATS[KIND].columns
    for number, column in enumerate(columns):
        progress.step(name, "checking", number, len(columns))
        if column in frame.columns:
            frame = check_column(frame, columns[column], options.today, findings)
    frame = row_rules.check_duplicates(frame, FORMATS[KIND], findings)
    counts = LoadCounts(0, 0, 0)
    try:
        with bulk_session(database) as session:
            executions = _known(_executions(_good(frame, findings), findings), session, findings)
            counts = _booked(executions, session, findings, name, progress)
            require_good_rows(findings, options)
            skipped = table.rows_read - counts.inserted - counts.unchanged
            session.record_file(KIND, FileIdentity(name, sha256, table.rows_read, skipped), counts)
    except BadRowsError:
        return FileReport(name, KIND, FileStatus.REFUSED, findings.table(), table.rows_read)
    return FileReport(
        file=name,
        kind=KIND,
        status=FileStatus.LOADED,
        findings=findings.table(),
        rows_read=table.rows_read,
        inserted=counts.inserted,
        unchanged=counts.unchanged,
        skipped=table.rows_read - counts.inserted - counts.unchanged,
    )


def _without_open_orders(frame: pl.DataFrame, findings: FindingCollector) -> pl.DataFrame:
    """Leave out rows of an export that nobody filled in: an order that was not executed is no execution."""
    present = [name for name in _OF_AN_EXECUTION if name in frame.columns]
    untouched = pl.all_horizontal(pl.col(present).is_null())
    rows = frame.filter(untouched)
    findings.add_rows(
        rows,
        "NOT_EXECUTED",
        "The row has neither execution_id nor price: the order was not executed and stays open.",
        column="client_order_id",
        fatal=False,
    )
    return frame.filter(~untouched)


def _good(frame: pl.DataFrame, findings: FindingCollector) -> pl.DataFrame:
    return frame.join(findings.bad_lines().to_frame(LINE), on=LINE, how="anti", maintain_order="left")


def _executions(frame: pl.DataFrame, findings: FindingCollector) -> list[Execution]:
    executions = []
    for row in frame.iter_rows(named=True):
        execution = _execution(row, findings)
        if execution is not None:
            executions.append(execution)
    return executions


def _execution(row: Mapping[str, Any], findings: FindingCollector) -> Execution | None:
    line = row[LINE]
    order = OrderName.parse(row["client_order_id"])
    if order is None or order.account_id != row["account_id"]:
        findings.add(
            "UNKNOWN_ORDER",
            f"This is no order of {row['account_id']}; take client_order_id from 'prometheus trades export'.",
            line=line,
            column="client_order_id",
            value=row["client_order_id"],
        )
        return None
    try:
        picks = parse_picks(row.get("lot_picks") or "")
    except ValueError as error:
        findings.add(
            "BAD_LOT_PICKS",
            f"lot_picks are written LOT=SHARES;LOT=SHARES, and {error}.",
            line=line,
            column="lot_picks",
            value=row["lot_picks"],
        )
        return None
    executed_at = None
    if row.get("executed_at") is not None:
        executed_at = _instant(row["executed_at"], row["trade_date"], line, findings)
        if executed_at is None:
            return None
    return Execution(
        row=line,
        account_id=row["account_id"],
        order=order,
        execution_id=row["execution_id"],
        ticker=row["ticker"],
        side=Side(row["side"]),
        trade_date=row["trade_date"],
        executed_at=executed_at,
        quantity=Decimal(row["quantity"]),
        price=Decimal(row["price"]),
        fee=Decimal(row.get("fee") or 0),
        lot_picks=picks,
    )


def _instant(text: str, trade_date: date, line: int, findings: FindingCollector) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        reason = (
            "executed_at is an instant with its offset, such as 2024-06-24T15:30:00Z; correct it or leave it empty."
        )
        findings.add("BAD_TIMESTAMP", reason, line=line, column="executed_at", value=text)
        return None
    noon = datetime(trade_date.year, trade_date.month, trade_date.day, 12, tzinfo=UTC)
    if abs(instant - noon) > _HALF_A_WORLD:
        reason = f"executed_at is on another day than the trade_date {trade_date}; correct one of the two."
        findings.add("TIME_AND_DATE_DIFFER", reason, line=line, column="executed_at", value=text)
        return None
    return instant


def _known(executions: list[Execution], session: BulkSession, findings: FindingCollector) -> list[Execution]:
    """Return the executions whose account and ticker exist, on a session of the account's exchange."""
    tickers = {ticker for ticker, _ in session.security_ids()}
    regions = session.account_regions(sorted({one.account_id for one in executions}))
    kept = []
    for one in executions:
        if one.account_id not in regions:
            reason = "The account is not known; load it with the accounts file or correct it."
            findings.add("UNKNOWN_ACCOUNT", reason, line=one.row, column="account_id", value=one.account_id)
        elif one.ticker not in tickers:
            reason = "The ticker is not among the securities; load it with the securities file or correct it."
            findings.add("UNKNOWN_TICKER", reason, line=one.row, column="ticker", value=one.ticker)
        elif not _is_session(regions[one.account_id], one.trade_date):
            reason = f"The exchange of {one.account_id} did not trade on this day; correct the date."
            day = one.trade_date.isoformat()
            findings.add("NOT_A_SESSION", reason, line=one.row, column="trade_date", value=day)
        else:
            kept.append(one)
    return kept


def _is_session(region: str, day: date) -> bool:
    try:
        return TradingCalendar.for_region(region).is_trading_day(day)
    except RequestError:
        # before or after the calendar nobody knows
        return True


def _booked(
    executions: list[Execution], session: BulkSession, findings: FindingCollector, name: str, progress: Progress
) -> LoadCounts:
    by_account: dict[str, list[Execution]] = defaultdict(list)
    for one in executions:
        by_account[one.account_id].append(one)
    booked = unchanged = done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress.step(name, "booking", done, len(executions))

    for account_id, of_account in sorted(by_account.items()):
        result = book_executions(session.connection, account_id, of_account, on_executions=count)
        booked, unchanged = booked + result.booked, unchanged + result.unchanged
        for finding in sorted(result.findings, key=lambda finding: finding.row):
            findings.add(finding.code, f"{finding.message} {finding.remedy}".strip(), line=finding.row)
    return LoadCounts(booked, 0, unchanged)
