"""What somebody asks a tax report for, and the one function that answers it, whether a file or the database asks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from prometheus.domain.accounts import TaxRegime
from prometheus.foundation.errors import RequestError
from prometheus.ledger.booked import BookedEvents
from prometheus.ledger.keys import EVERY_ACCOUNT
from prometheus.ledger.reports.amounts import FilingStatus
from prometheus.ledger.reports.broker_view import BrokerFigures, broker_figures, figures_of_fold
from prometheus.ledger.reports.dispositions import disposition_lines
from prometheus.ledger.reports.form_1099b import (
    Comparison,
    Row1099B,
    compare_1099b,
    statement_figures,
    statement_reporting,
)
from prometheus.ledger.reports.form_8949 import BrokerReporting
from prometheus.ledger.reports.lines import DispositionLine, LineKey
from prometheus.ledger.reports.report import TaxReport, tax_report
from prometheus.ledger.reports.returns import Carryover, Return


class BrokerView(StrEnum):
    """How the broker's figures are known where no statement tells them.

    DERIVED: from our postings. FOLD: from a second fold of the same events under the broker's scope, which has the
    washes too that only the broker sees.
    """

    DERIVED = "DERIVED"
    FOLD = "FOLD"


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """What a tax report is asked for.

    Attributes:
        years: Tax years; those between the first and the last are reported too. All with something to report where
            empty.
        returns: Who files together, and what only the filers know. Where empty, ``status`` and ``opening`` say it.
        status: How everybody files (US): JOINT is one return of all taxpayers, otherwise each files alone.
        opening: Losses carried into the first year (US), of a report with one return.
        accounts: Accounts whose sales are reported; all where None.
        reporting: What brokers report to the IRS (US).
        broker_view: How the broker's figures are known.
        statement: Rows of Forms 1099-B received (US).
        tickers: CUSIP number to ticker, for the statement.
    """

    years: tuple[int, ...] = ()
    returns: tuple[Return, ...] = ()
    status: FilingStatus = FilingStatus.SINGLE
    opening: Carryover | None = None
    accounts: frozenset[str] | None = None
    reporting: BrokerReporting = field(default_factory=BrokerReporting)
    broker_view: BrokerView = BrokerView.DERIVED
    statement: tuple[Row1099B, ...] = ()
    tickers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HouseholdReport:
    """The answer for one household.

    Attributes:
        household: Its name; empty where a file tells of one.
        report: The report.
        comparison: The statements compared with it; None where none was given.
    """

    household: str
    report: TaxReport
    comparison: Comparison | None = None


def household_report(books: BookedEvents, request: ReportRequest, household: str = "") -> HouseholdReport:
    """Answer a request from a household's books.

    Args:
        books: The household's history and its books.
        request: What is asked for.
        household: Its name, which returns bear that nobody named.

    Raises:
        RequestError: Years before the first one with anything, an opening carryover of several returns, or a statement
            for a Canadian report.
        ConfigurationError: Returns that contradict each other or the regime; a year without recorded amounts.
        AccountingError: A posting without the one that it belongs to.

    Source: docs/specs/tax_reports.md.
    """
    terms = books.terms
    reporting, figures, comparison = request.reporting, None, None
    if terms.regime is TaxRegime.US:
        lines = _lines(books, request)
        figures = _figures(books, lines, request)
        if request.statement:
            years = {row.sold_on.year for row in request.statement} & set(request.years or _all_years(lines))
            accounts = {row.account for row in request.statement}
            compared = [line for line in lines if line.year in years and line.account in accounts]
            rows = [row for row in request.statement if row.sold_on.year in years]
            derived = broker_figures(lines, books.postings, terms)
            comparison = compare_1099b(rows, compared, {**derived, **figures}, tickers=request.tickers)
            figures = {**figures, **statement_figures(comparison)}
            reporting = replace(reporting, lines={**reporting.lines, **statement_reporting(comparison)})
    elif request.statement:
        raise RequestError("A Form 1099-B is a US form; leave it out of a Canadian report.")
    report = tax_report(
        books.postings,
        terms,
        _returns(books, request, household),
        request.years,
        as_of=books.as_of,
        reporting=reporting,
        figures=figures,
        accounts=request.accounts,
    )
    return HouseholdReport(household, report, comparison)


def _lines(books: BookedEvents, request: ReportRequest) -> Sequence[DispositionLine]:
    lines = disposition_lines(books.postings, books.terms, as_of=books.as_of)
    return [line for line in lines if request.accounts is None or line.account in request.accounts]


def _all_years(lines: Iterable[DispositionLine]) -> set[int]:
    return {line.year for line in lines}


def _figures(
    books: BookedEvents, lines: Sequence[DispositionLine], request: ReportRequest
) -> Mapping[LineKey, BrokerFigures]:
    if request.broker_view is BrokerView.DERIVED:
        return {}
    terms, postings = books.by_broker()
    return figures_of_fold(lines, disposition_lines(postings, terms, as_of=books.as_of))


def _returns(books: BookedEvents, request: ReportRequest, household: str) -> tuple[Return, ...]:
    if request.returns:
        if request.opening is not None or request.status is not FilingStatus.SINGLE:
            raise RequestError("The returns say status and carryovers themselves; give them in one place.")
        return request.returns
    accounts = {event.account for event in books.events} - {EVERY_ACCOUNT}
    if request.accounts is not None:
        accounts &= request.accounts
    terms = books.terms
    taxpayers = sorted({terms.taxpayer_of(name) for name in accounts if not terms.is_sheltered(name)})
    if not taxpayers:
        return ()
    if len(taxpayers) > 1 and request.status is FilingStatus.JOINT:
        return (Return(" and ".join(taxpayers), tuple(taxpayers), request.status, request.opening),)
    if len(taxpayers) > 1 and request.opening is not None:
        raise RequestError(
            f"{' and '.join(taxpayers)} file a return each; say in a file of returns whose the carried losses are."
        )
    return tuple(Return(name or household, (name,), request.status, request.opening) for name in taxpayers)
