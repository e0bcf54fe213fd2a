"""A household's entries booked as a whole: lots, journals and wash sales as a pure function of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from prometheus.accounting.entry_checks import check_entries, groups_of
from prometheus.accounting.household_ca import CAHousehold
from prometheus.accounting.household_ledger import HouseholdLedger, HouseholdSettings
from prometheus.accounting.household_us import USHousehold
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Transaction
from prometheus.domain.entries import Entry, EntryFinding
from prometheus.domain.lots import TaxLot


@dataclass(frozen=True, slots=True)
class HouseholdBooks:
    """What a household's entries come to.

    Attributes:
        settings: How they were booked.
        journals: Rows by journal: one for each account in the US; in Canada ``owner`` for all taxable accounts, which
            share their pools, and one for each sheltered account.
        lots: Lots held at the end, by journal.
        positions: Shares held at the end by account and ticker.
        findings: Entries left out, by row. The rest is booked as if they had never been there.
        as_of: Day on which losses still count as provisional.
    """

    settings: HouseholdSettings
    journals: Mapping[str, tuple[Transaction, ...]]
    lots: Mapping[str, tuple[TaxLot, ...]]
    positions: Mapping[tuple[str, str], Decimal]
    findings: tuple[EntryFinding, ...]
    as_of: date


def book_entries(
    entries: Iterable[Entry], settings: HouseholdSettings, *, on_entries: Callable[[int], None] | None = None
) -> HouseholdBooks:
    """Book every entry of a household's accounts, over its whole history.

    The order of the entries does not matter; they are booked by date, and within a day in the order of what they say.
    An entry that cannot be booked is left out with a finding, and changes nothing of the rest.

    Args:
        entries: Of all accounts of one household (US) or one owner (Canada), spouse's accounts and IRAs among them.
        settings: Whose rules apply, which accounts are sheltered, and the readings chosen.
        on_entries: Called after each day with how many more entries are booked; more than there are where entries are
            walked through again.

    Source: docs/specs/accounting.md, "Households".
    """
    given = tuple(entries)
    sound, findings = check_entries(given)
    ledger = _book(sound, settings, on_entries)
    while ledger.findings:
        # Booked anew without the refused, so that not even the names of lots depend on rows that do not count.
        findings += tuple(ledger.findings)
        refused = {finding.row for finding in ledger.findings}
        sound = tuple(entry for entry in sound if entry.row not in refused)
        ledger = _book(sound, settings, on_entries)
    last = max((entry.day for entry in given), default=date.min)
    return HouseholdBooks(
        settings=settings,
        journals={name: tuple(rows) for name, rows in sorted(ledger.journals.items())},
        lots=ledger.lots(),
        positions=_positions(ledger),
        findings=tuple(sorted(findings, key=lambda finding: finding.row)),
        as_of=settings.as_of or last,
    )


def _book(
    entries: tuple[Entry, ...], settings: HouseholdSettings, on_entries: Callable[[int], None] | None
) -> HouseholdLedger:
    group_of = groups_of(entries)
    if settings.regime is TaxRegime.US:
        household = USHousehold(settings, group_of)
        household.book(entries, on_entries)
        return household
    counted = CAHousehold(settings, group_of)
    counted.book(entries, on_entries)
    if counted.findings:
        return counted
    owner = CAHousehold(settings, group_of, counted.holdings())
    owner.book(entries, on_entries)
    return owner


def _positions(ledger: HouseholdLedger) -> dict[tuple[str, str], Decimal]:
    if isinstance(ledger, CAHousehold):
        return ledger.positions()
    positions: dict[tuple[str, str], Decimal] = {}
    for account, lots in ledger.lots().items():
        for lot in lots:
            positions[account, lot.ticker] = positions.get((account, lot.ticker), Decimal(0)) + lot.quantity
    return positions
