"""The rows of one file put together: events with names, terms, and the rows that contradict each other."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from typing import Any, Final, NamedTuple

from prometheus.ledger.checks import check_event
from prometheus.ledger.events import Cancellation, Correction, Event, OpeningCash, OpeningLot, TransferIn
from prometheus.ledger.files.event_names import content_name, with_names
from prometheus.ledger.files.file_terms import FileTerms, Statement, terms_of
from prometheus.ledger.files.findings import RefusedRowError, RowFinding, ordered_rows
from prometheus.ledger.files.row_checks import separator_hints
from prometheus.ledger.findings import Finding
from prometheus.ledger.keys import EventKey


@dataclass(frozen=True, slots=True)
class EventFile:
    """What a file says.

    Attributes:
        layout: By which layout it was read.
        events: Its events, in no order that matters.
        terms: What it says about accounts and securities.
        findings: Rows that were left out, and hints, by row.
        rows: Number of rows, without the header.
        remarks: Sentences about the file as a whole: the layout, what was skipped and why.
        row_of: Line of each event.
        unnamed: Events that the file does not name; their names are made of what they say.
    """

    layout: str
    events: tuple[Event, ...]
    terms: FileTerms
    findings: tuple[RowFinding, ...]
    rows: int
    remarks: tuple[str, ...] = ()
    row_of: Mapping[EventKey, int] = field(default_factory=dict)
    unnamed: frozenset[EventKey] = frozenset()

    @property
    def is_complete(self) -> bool:
        """Return whether every row became an event or was skipped on purpose."""
        return not any(finding.refused for finding in self.findings)

    def by_row(self, findings: Iterable[Finding]) -> tuple[RowFinding, ...]:
        """Return the file's findings and those of the fold, by row; an event from elsewhere has row 0."""
        told = [
            RowFinding(self.row_of.get(each.event, 0), each.code, each.message, each.remedy, each.refused)
            for each in findings
        ]
        return ordered_rows((*self.findings, *told))


class ReadRow(NamedTuple):
    """A row that could be read: its event, not yet named, and what it says about terms, None for nothing."""

    row: int
    event: Event
    statement: Statement | None


def put_together(
    layout: str,
    rows: Iterable[ReadRow],
    findings: Iterable[RowFinding],
    count: int,
    remarks: Iterable[str] = (),
) -> EventFile:
    """Return the events of a file's rows under their names, without the rows that contradict others.

    Args:
        layout: By which layout the file was read.
        rows: Rows that could be read.
        findings: Rows that could not.
        count: Number of rows.
        remarks: Sentences about the file.
    """
    collected = list(findings)
    sound = [row for row in rows if not _is_refused(row, collected)]
    sound.sort(key=lambda row: (row.event.trade_date, row.row))
    sound = _without_repeated_names(sound, collected)
    sound = _after_opening(sound, collected)
    terms, conflicts = terms_of(
        (row.statement for row in sound if row.statement is not None),
        {row.event.account for row in sound if row.statement is None},
    )
    collected += conflicts
    if conflicts:
        refused = {conflict.row for conflict in conflicts}
        sound = [row for row in sound if row.row not in refused]
    nameless = {row.row for row in sound if not row.event.event_id}
    facts = _named(row for row in sound if not _is_news(row.event))
    news = _with_targets([row for row in sound if _is_news(row.event)], facts, collected)
    sound = facts + _named(news)
    collected += separator_hints(_first_rows(sound))
    return EventFile(
        layout=layout,
        events=tuple(row.event for row in sound),
        terms=terms,
        findings=ordered_rows(collected),
        rows=count,
        remarks=tuple(remarks),
        row_of={row.event.key: row.row for row in sound},
        unnamed=frozenset(row.event.key for row in sound if row.row in nameless),
    )


def _is_refused(row: ReadRow, findings: list[RowFinding]) -> bool:
    event: Any = row.event
    defect = check_event(event.replacement if isinstance(event, Correction) else event)
    if defect is None and isinstance(event, Correction):
        defect = check_event(event)
    if defect is None:
        return False
    findings.append(RowFinding(row.row, *defect))
    return True


def _first_rows(rows: Iterable[ReadRow]) -> dict[str, int]:
    """Return the first line that names each security."""
    first: dict[str, int] = {}
    for row in rows:
        event: Any = row.event
        told = event.replacement if type(event) is Correction else event
        for name in _TICKERS[type(told)]:
            ticker = getattr(told, name)
            if ticker and first.get(ticker, row.row) >= row.row:
                first[ticker] = row.row
    return first


class _TickerFields(dict[type[Event], tuple[str, ...]]):
    """Fields of each kind of event that name a security."""

    def __missing__(self, kind: type[Event]) -> tuple[str, ...]:
        named = {each.name for each in fields(kind)}
        self[kind] = tuple(name for name in ("ticker", "child", "new_ticker") if name in named)
        return self[kind]


_TICKERS: Final = _TickerFields()


def _without_repeated_names(rows: list[ReadRow], findings: list[RowFinding]) -> list[ReadRow]:
    """Leave out rows whose entry_id another row of their account has: two sales would share one loss.

    The row with the earliest date counts, then the one whose content comes first, whatever their order in the file.
    """
    named = [row for row in rows if row.event.event_id and not isinstance(row.event, Correction)]
    if len({(row.event.account, row.event.event_id) for row in named}) == len(named):
        return rows
    of_name: dict[EventKey, list[ReadRow]] = defaultdict(list)
    for row in named:
        of_name[row.event.key].append(row)
    refused = set()
    for key, same in of_name.items():
        if len(same) == 1:
            continue
        first, *others = sorted(same, key=lambda row: (row.event.trade_date, content_name(row.event), row.row))
        for row in others:
            refused.add(row.row)
            findings.append(
                RowFinding(
                    row.row,
                    "ENTRY_ID_TWICE",
                    f"The entry_id '{key.event_id}' of {key.account} is that of row {first.row} already.",
                    "Give every row an entry_id of its own, or remove the repetition.",
                )
            )
    return [row for row in rows if row.row not in refused]


def _after_opening(rows: list[ReadRow], findings: list[RowFinding]) -> list[ReadRow]:
    """Leave out what is dated before its account opens."""
    opens: dict[str, date] = {}
    for row in rows:
        if _opens(row.event):
            day = row.event.trade_date
            opens[row.event.account] = max(day, opens.get(row.event.account, day))
    if not opens:
        return rows
    kept = []
    for row in rows:
        account, day = row.event.account, row.event.trade_date
        if _opens(row.event) or day >= opens.get(account, day):
            kept.append(row)
            continue
        findings.append(
            RowFinding(
                row.row,
                "BEFORE_OPENING",
                f"{account} opens on {opens[account]}; {day} is before that.",
                "Open the account earlier, or bring later lots in with TRANSFER_IN.",
            )
        )
    return kept


def _opens(event: Event) -> bool:
    return isinstance(event, OpeningLot | OpeningCash) and not isinstance(event, TransferIn)


def _is_news(event: Event) -> bool:
    return isinstance(event, Correction | Cancellation)


def _named(rows: Iterable[ReadRow]) -> list[ReadRow]:
    rows = list(rows)
    events = with_names(row.event for row in rows)
    return [row if row.event is event else row._replace(event=event) for row, event in zip(rows, events, strict=True)]


def _with_targets(news: list[ReadRow], facts: list[ReadRow], findings: list[RowFinding]) -> list[ReadRow]:
    """Give corrections and cancellations the names of the events that they mean by name or by line."""
    if not news:
        return []
    by_name: dict[str, list[ReadRow]] = defaultdict(list)
    by_line: dict[str, ReadRow] = {}
    for row in (*facts, *news):
        by_name[row.event.event_id].append(row)
        by_line[str(row.row)] = row
    kept = []
    for row in news:
        try:
            kept.append(row._replace(event=_aimed(row, by_name, by_line)))
        except RefusedRowError as error:
            findings.append(error.in_row(row.row))
    return kept


def _aimed(row: ReadRow, by_name: Mapping[str, list[ReadRow]], by_line: Mapping[str, ReadRow]) -> Event:
    event: Any = row.event
    name = event.target_id if isinstance(event, Cancellation) else event.replacement.event_id
    named = by_name.get(name, [])
    # Accounts name their rows without regard to each other.
    own = [target for target in named if target.event.account == event.account]
    targets = own or named or ([by_line[name]] if name in by_line else [])
    if not targets and not name.isdigit():
        # The event may have been told by another file; the fold sees whether there is one.
        return row.event
    if len({target.event.account for target in targets}) != 1:
        count = "no row" if not targets else f"{len(targets)} rows"
        raise RefusedRowError(
            "UNKNOWN_ROW", f"'{name}' names {count}.", "Name one row by its entry_id or its line number."
        )
    target = targets[0]
    if target.event.account != event.account:
        raise RefusedRowError(
            "OTHER_ACCOUNT",
            f"Row {target.row} belongs to {target.event.account}.",
            "A correction belongs to the account of the row that it reverses.",
        )
    if _is_news(target.event):
        raise RefusedRowError(
            "REVERSED_CORRECTION", f"Row {target.row} is a correction.", "Enter the original row again instead."
        )
    if isinstance(event, Correction):
        return replace(event, replacement=replace(event.replacement, event_id=target.event.event_id))
    return replace(row.event, target_id=target.event.event_id) if isinstance(row.event, Cancellation) else row.event
