"""A file of a household's history, read and booked: the use case behind the commands and every other way in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from prometheus.domain.accounts import AccountKind, LotMethod, TaxRegime
from prometheus.foundation.errors import RequestError
from prometheus.ledger.booked import BookedEvents, book
from prometheus.ledger.files.broker_rows import Rates
from prometheus.ledger.files.event_file import EventFile
from prometheus.ledger.files.findings import RowFinding
from prometheus.ledger.files.mapping import FileMapping
from prometheus.ledger.files.reader import read_events
from prometheus.ledger.terms import AccountTerms, Terms
from prometheus.ledger.tie_rules import DEFAULT_TIES, TieRules


@dataclass(frozen=True, slots=True)
class FileSettings:
    """How a file is read and booked.

    Attributes:
        regime: Whose rules apply.
        sheltered: Accounts that are sheltered, whatever the file says of them.
        method: Lot method where a sale names no lot; Canada has its pools.
        ties: Readings chosen where sources differ.
        as_of: Day on which losses count as provisional; the day of the last event where None.
        account: Account of rows that name none.
        mappings: Layouts besides the shipped ones.
        base_currency: Currency of amounts whose rows say none; that of the layout where empty.
        rates: Base currency for one unit, by currency and day.
        capital_elections: Canada: taxpayer to the first year of the election of ITA s. 39(4), as in ``Terms``.
        canadian_securities: Canada: tickers to which it applies.
    """

    regime: TaxRegime = TaxRegime.US
    sheltered: frozenset[str] = frozenset()
    method: LotMethod = LotMethod.FIFO
    ties: TieRules = DEFAULT_TIES
    as_of: date | None = None
    account: str = ""
    mappings: Sequence[FileMapping] = ()
    base_currency: str = ""
    rates: Rates = field(default_factory=dict)
    capital_elections: Mapping[str, int] = field(default_factory=dict)
    canadian_securities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FileBooks:
    """A file that was read and booked.

    Attributes:
        file: What it says.
        books: What it comes to; rows that were left out are as if they were not there.
        findings: Rows left out, and hints, by row.
    """

    file: EventFile
    books: BookedEvents
    findings: tuple[RowFinding, ...]

    @property
    def left_out(self) -> tuple[RowFinding, ...]:
        """Return the findings of rows that were left out."""
        return tuple(finding for finding in self.findings if finding.refused)


def book_file(
    text: str,
    settings: FileSettings,
    *,
    on_read: Callable[[int], None] | None = None,
    on_day: Callable[[int], None] | None = None,
) -> FileBooks:
    """Read a file in the own format, a shipped layout or one of a mapping, and book its events.

    Args:
        text: The file.
        settings: How.
        on_read: Called with the number of rows when they are read.
        on_day: Called after each day with the number of events booked.

    Raises:
        FileRefusedError: The file as a whole cannot be read; UNKNOWN_LAYOUT where no layout fits it.
        RequestError: A sheltered account or an electing taxpayer that the file does not name.

    Source: docs/specs/broker_files.md; docs/specs/ledger.md.
    """
    file = read_events(
        text,
        account=settings.account,
        mappings=settings.mappings,
        base_currency=settings.base_currency,
        rates=settings.rates,
    )
    if on_read is not None:
        on_read(file.rows)
    books, findings = book(file.events, terms_of_file(file, settings), as_of=settings.as_of, on_day=on_day)
    return FileBooks(file, books, file.by_row(findings))


def terms_of_file(file: EventFile, settings: FileSettings) -> Terms:
    """Return the terms that a file states, under settings that come first.

    Raises:
        RequestError: A sheltered account or an electing taxpayer that the file does not name.
    """
    unknown = sorted(settings.sheltered - file.terms.accounts)
    if unknown:
        raise RequestError(
            f"There is no account {unknown[0]} in the file to be sheltered; it has "
            f"{', '.join(sorted(file.terms.accounts))}."
        )
    default = AccountTerms(method=settings.method)
    terms = file.terms.added_to(
        Terms(
            settings.regime,
            default=default,
            ties=settings.ties,
            capital_elections=settings.capital_elections,
            canadian_securities=settings.canadian_securities,
        )
    )
    accounts = {
        name: replace(one, kind=AccountKind.SHELTERED) if name in settings.sheltered else one
        for name, one in terms.accounts.items()
    }
    taxpayers = {one.taxpayer for one in accounts.values()}
    unknown = sorted(settings.capital_elections.keys() - taxpayers)
    if unknown:
        raise RequestError(
            f"There is no taxpayer '{unknown[0]}' in the file to elect under s. 39(4); it has "
            f"{', '.join(repr(name) for name in sorted(taxpayers))}."
        )
    return replace(terms, accounts=accounts)
