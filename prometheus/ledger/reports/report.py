"""The whole tax report of a household: what each return files, year by year."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.domain.accounts import TaxRegime
from prometheus.foundation.errors import ConfigurationError
from prometheus.ledger.postings import Posting
from prometheus.ledger.reports.amounts import NOT_ADVICE
from prometheus.ledger.reports.broker_view import BrokerFigures, broker_figures
from prometheus.ledger.reports.dispositions import disposition_lines, effective_postings
from prometheus.ledger.reports.form_8949 import BrokerReporting, Form8949Line, form_8949
from prometheus.ledger.reports.lines import DispositionLine, LineKey
from prometheus.ledger.reports.returns import Return, complete_returns
from prometheus.ledger.reports.schedule_3 import (
    NetCapitalLosses,
    Schedule3,
    capital_gains_dividends,
    net_capital_losses,
    schedules_3,
)
from prometheus.ledger.reports.schedule_d import ScheduleD, schedules_d
from prometheus.ledger.terms import Terms

_LAW_DECIDES: Final = BrokerReporting()


@dataclass(frozen=True, slots=True)
class ReturnReport:
    """What one return files.

    Attributes:
        filing: The return.
        lines: Its dispositions of the years asked for, both countries.
        form_8949: Rows of Form 8949 of all years (US); ``form_8949_of`` has those of one return.
        schedules_d: Schedule D by year (US).
        schedules_3: Schedule 3 by year (Canada).
        net_capital_losses: Net capital losses over all years of the postings (Canada); None in the US.
    """

    filing: Return
    lines: tuple[DispositionLine, ...]
    form_8949: tuple[Form8949Line, ...] = ()
    schedules_d: tuple[ScheduleD, ...] = ()
    schedules_3: tuple[Schedule3, ...] = ()
    net_capital_losses: NetCapitalLosses | None = None

    def form_8949_of(self, year: int) -> tuple[Form8949Line, ...]:
        """Return the rows of Form 8949 of one tax year."""
        return tuple(row for row in self.form_8949 if row.tax_year == year)


@dataclass(frozen=True, slots=True)
class TaxReport:
    """What a preparer can file from.

    Attributes:
        regime: Whose rules apply.
        years: Tax years, from the first to the last one asked for.
        as_of: Day on which losses count as provisional.
        returns: One report for each return.
        notice: That this is a calculation and no advice.
    """

    regime: TaxRegime
    years: tuple[int, ...]
    as_of: date
    returns: tuple[ReturnReport, ...]
    notice: str = NOT_ADVICE


def tax_report(
    postings: Iterable[Posting],
    terms: Terms,
    returns: Sequence[Return] = (),
    years: Iterable[int] = (),
    *,
    as_of: date | None = None,
    reporting: BrokerReporting = _LAW_DECIDES,
    figures: Mapping[LineKey, BrokerFigures] | None = None,
    accounts: Collection[str] | None = None,
) -> TaxReport:
    """Report the realised gains of a household by return and tax year.

    Args:
        postings: All postings of the household from its first day on, in the order in which they were written,
            reversals included.
        terms: Under what terms they were booked.
        returns: Who files together; a taxpayer whom none of them names files alone.
        years: Tax years; those between the first and the last are reported too. All years with something to report
            where empty.
        as_of: Day on which losses count as provisional; the day of the last posting where None.
        reporting: What brokers report to the IRS (US).
        figures: What statements or a second fold say of lines (US); for all others the broker's view is derived.
        accounts: Accounts whose sales are reported, as if their taxpayers had no others; all of them where None.

    Raises:
        ConfigurationError: Returns that contradict each other or the regime; a year without recorded amounts.
        AccountingError: A reversal or a disallowance without the posting that it belongs to.

    Source: docs/specs/tax_reports.md.
    """
    rows = effective_postings(postings)
    today = as_of or max((row.day for row in rows), default=date.min)
    lines = tuple(
        line for line in disposition_lines(rows, terms, as_of=today) if accounts is None or line.account in accounts
    )
    paid = rows if accounts is None else tuple(row for row in rows if row.account in accounts)
    dividends = capital_gains_dividends(paid, terms) if terms.regime is TaxRegime.CA else {}
    busy = {line.year for line in lines} | {year for _, year in dividends}
    asked = set(years) or busy
    span = tuple(range(min(asked), max(asked) + 1)) if asked else ()
    taxpayers = {line.taxpayer for line in lines} | {taxpayer for taxpayer, _ in dividends}
    filings = complete_returns(returns, taxpayers, terms.regime)
    if terms.regime is TaxRegime.US:
        reported = {**broker_figures(lines, rows, terms), **(figures or {})}
        reports = tuple(_american(filing, lines, reported, reporting, span) for filing in filings)
    else:
        if figures:
            raise ConfigurationError("Statements of brokers to the IRS are of US returns; leave them out.")
        all_years = tuple(range(min(busy | set(span)), max(busy | set(span)) + 1)) if span else ()
        reports = tuple(_canadian(filing, lines, dividends, terms, span, all_years) for filing in filings)
    return TaxReport(terms.regime, span, today, reports)


def _american(
    filing: Return,
    lines: Iterable[DispositionLine],
    figures: Mapping[LineKey, BrokerFigures],
    reporting: BrokerReporting,
    years: tuple[int, ...],
) -> ReturnReport:
    own = tuple(line for line in lines if line.taxpayer in filing.taxpayers)
    rows = form_8949(own, figures, reporting)
    return ReturnReport(
        filing=filing,
        lines=tuple(line for line in own if line.year in years),
        form_8949=tuple(row for row in rows if row.tax_year in years),
        schedules_d=schedules_d(filing, rows, years),
    )


def _canadian(
    filing: Return,
    lines: Iterable[DispositionLine],
    dividends: Mapping[tuple[str, int], Decimal],
    terms: Terms,
    years: tuple[int, ...],
    all_years: tuple[int, ...],
) -> ReturnReport:
    own = tuple(line for line in lines if line.taxpayer in filing.taxpayers)
    schedules = schedules_3(filing, own, dividends, all_years, terms)
    return ReturnReport(
        filing=filing,
        lines=tuple(line for line in own if line.year in years),
        schedules_3=tuple(each for each in schedules if each.year in years),
        net_capital_losses=net_capital_losses(schedules, filing.earlier_losses, carries_back=filing.carries_back),
    )
