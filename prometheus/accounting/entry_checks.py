"""Entries that contradict themselves or each other, found before anything is booked."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.accounting.wash_sales import is_part
from prometheus.domain.entries import Entry, EntryAction, EntryFinding
from prometheus.domain.money import SHARE_STEP, nearest_step, to_cents

_Check = Callable[[Entry], tuple[str, str, str] | None]

_NEEDS_SHARES: Final = frozenset({EntryAction.BUY, EntryAction.SELL, EntryAction.REINVEST})
_NEEDS_AMOUNT: Final = frozenset(
    {EntryAction.BUY, EntryAction.SELL, EntryAction.REINVEST, EntryAction.DIVIDEND, EntryAction.DELIST}
)
_RATIOS: Final = frozenset({EntryAction.SPLIT, EntryAction.SPINOFF})
_INTO: Final = frozenset({EntryAction.OPEN, EntryAction.TRANSFER_IN})
_CASH_ALLOWED: Final = _INTO | {EntryAction.TRANSFER_OUT}
#: Most shares or money: beyond it a number is a slip of the pen, and 28 digits would no longer be exact.
MOST_SHARES: Final = Decimal(10) ** 12
#: Years beyond these are slips too.
_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 2199


def check_entries(entries: Iterable[Entry]) -> tuple[tuple[Entry, ...], tuple[EntryFinding, ...]]:
    """Return the entries that can be booked, and a finding for each that was left out.

    Looked at are each entry by itself, names, corrections, the day an account opens, and groups. Reversed entries are
    left out with their corrections, without a finding. Whether shares are held is for the booking to see.
    """
    findings: list[EntryFinding] = []
    sound: list[Entry] = []
    for entry in entries:
        found = check_entry(entry)
        if found is None:
            sound.append(entry)
        else:
            findings.append(found)
    sound = without_repeated_names(sound, findings)
    standing = _without_reversed(sound, findings)
    standing = _after_opening(standing, findings)
    standing = _one_group_each(standing, findings)
    return tuple(standing), tuple(findings)


def check_entry(entry: Entry) -> EntryFinding | None:
    """Return what is wrong with an entry by itself, None where nothing is."""
    found = next((found for check in _CHECKS if (found := check(entry)) is not None), None)
    return None if found is None else EntryFinding(entry.row, *found)


def groups_of(entries: Iterable[Entry]) -> dict[str, str]:
    """Return ticker to group, as far as the entries say; a new symbol without a group stays in that of the old one."""
    entries = tuple(entries)
    groups = {entry.ticker: entry.group for entry in entries if entry.group is not None and entry.ticker}
    renamed = (entry for entry in entries if entry.action is EntryAction.RENAME and entry.other_ticker)
    for entry in sorted(renamed, key=lambda entry: (entry.day, entry.ticker)):
        if entry.ticker in groups:
            groups.setdefault(entry.other_ticker or "", groups[entry.ticker])
    return groups


def without_repeated_names(entries: Iterable[Entry], findings: list[EntryFinding]) -> list[Entry]:
    """Return the entries but those whose entry_id another row of their account has; each of these is a finding.

    An execution is known by its account and name, so two of one name would share one loss.
    """
    first: dict[tuple[str, str], Entry] = {}
    kept: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: entry.row):
        before = entry if entry.entry_id is None else first.setdefault((entry.account, entry.entry_id), entry)
        if before is entry:
            kept.append(entry)
            continue
        message = f"The entry_id '{entry.entry_id}' of {entry.account} stands in row {before.row} already."
        remedy = "Give every row an entry_id of its own, or remove the repetition."
        findings.append(EntryFinding(entry.row, "ENTRY_ID_TWICE", message, remedy))
    return kept


# ---------------------------------------------------------------- one entry by itself


def _check_names(entry: Entry) -> tuple[str, str, str] | None:
    if not entry.account:
        return "NO_ACCOUNT", "The row names no account.", "Fill in the account."
    if entry.action is EntryAction.REVERSE:
        if not entry.reverses:
            return "NO_TARGET", "The correction does not say what it takes back.", "Name the row in 'reverses'."
        return None
    if not entry.ticker and entry.action not in _CASH_ALLOWED:
        return "NO_TICKER", f"A {entry.action} names no security.", "Fill in the ticker."
    if entry.lot_id is not None and is_part(entry.lot_id):
        return "BAD_LOT_ID", f"The lot name '{entry.lot_id}' is one the ledger makes itself.", "Give another lot_id."
    return None


def _check_dates(entry: Entry) -> tuple[str, str, str] | None:
    for day in (entry.day, entry.acquired_on):
        if day is not None and not _FIRST_YEAR <= day.year <= _LAST_YEAR:
            return (
                "DATE_OUT_OF_RANGE",
                f"The date {day} is not between {_FIRST_YEAR} and {_LAST_YEAR}.",
                "Correct the year.",
            )
    return None


def _check_numbers(entry: Entry) -> tuple[str, str, str] | None:
    for what, value in (("quantity", entry.quantity), ("amount", entry.amount)):
        if value is not None and abs(value) > MOST_SHARES:
            return (
                "TOO_LARGE",
                f"The {what} {value} is larger than {MOST_SHARES:,}.",
                f"Correct the {what}.",
            )
    if entry.quantity is not None and entry.quantity < 0:
        return (
            "NEGATIVE_QUANTITY",
            f"The quantity {entry.quantity} is negative.",
            "Give shares as a positive number; the action says which way they go.",
        )
    if entry.amount is not None and entry.amount < 0:
        return (
            "NEGATIVE_AMOUNT",
            f"The amount {entry.amount} is negative.",
            "Give money as a positive number; the action says which way it goes.",
        )
    if entry.amount is not None and entry.amount != to_cents(entry.amount):
        return "PART_OF_A_CENT", f"The amount {entry.amount} has parts of a cent.", "Give money in cents."
    if (
        entry.quantity is not None
        and entry.action not in _RATIOS
        and entry.quantity != nearest_step(entry.quantity, SHARE_STEP)
    ):
        return "TOO_FINE", f"{entry.quantity} shares are finer than {SHARE_STEP}.", "Round to four decimals."
    return None


def _check_completeness(entry: Entry) -> tuple[str, str, str] | None:
    shares = entry.action in _NEEDS_SHARES or (entry.action in _CASH_ALLOWED and entry.ticker)
    if shares and not entry.quantity:
        return "NO_QUANTITY", f"A {entry.action} needs shares, this one has none.", "Fill in the quantity."
    money = (
        entry.action in _NEEDS_AMOUNT or entry.action in _INTO or (entry.action in _CASH_ALLOWED and not entry.ticker)
    )
    if money and entry.amount is None:
        return (
            "NO_AMOUNT",
            f"A {entry.action} needs an amount, this one has none.",
            "Fill in the amount; 0 for nothing.",
        )
    if entry.action in _RATIOS and not entry.quantity:
        return (
            "ZERO_RATIO",
            f"A {entry.action} by a ratio of {entry.quantity or 0} is impossible.",
            "Give new shares for one old as the quantity: 2 for 2:1, 0.1 for 1:10.",
        )
    return None


def _check_events(entry: Entry) -> tuple[str, str, str] | None:
    if entry.action in {EntryAction.SPINOFF, EntryAction.RENAME} and entry.other_ticker in {None, "", entry.ticker}:
        return "NO_OTHER_TICKER", f"A {entry.action} needs another security.", "Fill in 'other_ticker'."
    if entry.action is EntryAction.SPINOFF and not 0 < (entry.basis_fraction or 0) < 1:
        return (
            "BAD_BASIS_FRACTION",
            f"A spin-off moves a part of the basis between 0 and 1, not {entry.basis_fraction}.",
            "Fill in 'basis_fraction' from the company's Form 8937.",
        )
    if entry.other_account == entry.account:
        return "SAME_ACCOUNT", "A transfer goes to another account.", "Correct 'other_account'."
    if entry.acquired_on is not None and entry.acquired_on > entry.day:
        return (
            "ACQUIRED_LATER",
            f"A lot acquired on {entry.acquired_on} cannot come in on {entry.day}.",
            "Correct 'acquired_on' or the date.",
        )
    return None


def _check_picks(entry: Entry) -> tuple[str, str, str] | None:
    if not entry.picks:
        return None
    if any(pick.quantity <= 0 for pick in entry.picks):
        return "NEGATIVE_QUANTITY", "A lot is named with a quantity that is not positive.", "Correct 'lot_id'."
    if len({pick.lot_id for pick in entry.picks}) < len(entry.picks):
        return "LOT_NAMED_TWICE", "A lot is named twice.", "Name every lot once, with all its shares."
    total = sum((pick.quantity for pick in entry.picks), Decimal(0))
    if total != entry.quantity:
        return "PICKS_DIFFER", f"The lots named add up to {total}, not {entry.quantity}.", "Correct one or the other."
    return None


_CHECKS: Final[Sequence[_Check]] = (
    _check_names,
    _check_dates,
    _check_numbers,
    _check_completeness,
    _check_events,
    _check_picks,
)


# ---------------------------------------------------------------- entries against each other


def _without_reversed(entries: list[Entry], findings: list[EntryFinding]) -> list[Entry]:
    """Take out what corrections say never happened, and the corrections themselves."""
    by_name: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_name[str(entry.row)].append(entry)
        if entry.entry_id is not None and entry.entry_id != str(entry.row):
            by_name[entry.entry_id].append(entry)
    reversed_rows: set[int] = set()
    for entry in sorted((e for e in entries if e.action is EntryAction.REVERSE), key=lambda e: e.row):
        targets = by_name.get(entry.reverses or "", [])
        named = [target for target in targets if target.entry_id == entry.reverses] or targets
        # Accounts name their rows without regard to each other.
        named = [target for target in named if target.account == entry.account] or named
        refused = _refusal_of_correction(entry, named, reversed_rows)
        if refused is not None:
            findings.append(EntryFinding(entry.row, *refused))
        else:
            reversed_rows.add(named[0].row)
    return [entry for entry in entries if entry.action is not EntryAction.REVERSE and entry.row not in reversed_rows]


def _refusal_of_correction(entry: Entry, targets: list[Entry], reversed_rows: set[int]) -> tuple[str, str, str] | None:
    if len(targets) != 1:
        count = "no row" if not targets else f"{len(targets)} rows"
        return "UNKNOWN_ROW", f"'{entry.reverses}' names {count}.", "Name one row by its entry_id or its line number."
    target = targets[0]
    if target.account != entry.account:
        return (
            "OTHER_ACCOUNT",
            f"Row {target.row} belongs to {target.account}.",
            "A correction stands in the account of the row that it takes back.",
        )
    if target.action is EntryAction.REVERSE:
        return "REVERSED_CORRECTION", f"Row {target.row} is a correction.", "Enter the original row again instead."
    if target.row in reversed_rows:
        return "REVERSED_TWICE", f"Row {target.row} has been taken back already.", "Remove one of the corrections."
    if entry.day < target.day:
        return (
            "CORRECTED_BEFORE",
            f"A correction of {entry.day} cannot take back a row of {target.day}.",
            "Date the correction on or after the row.",
        )
    return None


def _after_opening(entries: list[Entry], findings: list[EntryFinding]) -> list[Entry]:
    """Leave out what is dated before its account opens."""
    opens: dict[str, date] = {}
    for entry in entries:
        if entry.action is EntryAction.OPEN:
            opens[entry.account] = max(entry.day, opens.get(entry.account, entry.day))
    kept = []
    for entry in entries:
        opening = opens.get(entry.account)
        if entry.action is EntryAction.OPEN or opening is None or entry.day >= opening:
            kept.append(entry)
            continue
        message = f"{entry.account} opens on {opening}; {entry.day} is before that."
        remedy = "Open the account earlier, or bring later lots in with TRANSFER_IN."
        findings.append(EntryFinding(entry.row, "BEFORE_OPENING", message, remedy))
    return kept


def _one_group_each(entries: list[Entry], findings: list[EntryFinding]) -> list[Entry]:
    """Leave out rows that put a security into another group than the first row of it that names one."""
    groups: dict[str, str] = {}
    kept = []
    for entry in sorted(entries, key=lambda e: e.row):
        if entry.group is None or groups.setdefault(entry.ticker, entry.group) == entry.group:
            kept.append(entry)
            continue
        message = f"{entry.ticker} is in group {groups[entry.ticker]}, and here in {entry.group}."
        remedy = "Give a security one group throughout, or none."
        findings.append(EntryFinding(entry.row, "GROUP_CONFLICT", message, remedy))
    return kept
