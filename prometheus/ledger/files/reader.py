"""Any file of a person or a broker: its layout recognised and said, its rows read into events."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources

from prometheus.foundation.errors import ConfigurationError, FileRefusedError
from prometheus.ledger.files.broker_rows import Rates, Reading
from prometheus.ledger.files.builders import event_of
from prometheus.ledger.files.event_file import EventFile, ReadRow, put_together
from prometheus.ledger.files.file_terms import statement_of
from prometheus.ledger.files.findings import RefusedRowError, RowFinding
from prometheus.ledger.files.mapping import FileFormat, FileMapping, read_mapping
from prometheus.ledger.files.own_format import is_own_format, is_own_header, read_own_records, split_cells
from prometheus.ledger.files.records import is_printable
from prometheus.ledger.files.tables import FileRows, SourceText, find_rows, fits
from prometheus.ledger.fold import without_collector

_PRESETS = "prometheus.ledger.files.presets"


def read_events(
    text: str,
    *,
    account: str = "",
    mappings: Sequence[FileMapping] = (),
    base_currency: str = "",
    rates: Rates | None = None,
) -> EventFile:
    """Read a file in the own format, in one of the shipped layouts, or in one that a mapping describes.

    The layout is recognised from the header, and the first remark says which it is. Of several that fit, a given
    mapping comes before a shipped one, then the one that recognises more columns.

    Args:
        text: The file.
        account: Account of rows that name none, in the place of one that only the lines above the rows name.
        mappings: Further layouts.
        base_currency: Currency of amounts whose rows say none, where the file does not tell; that of the layout where
            empty.
        rates: Base currency for one unit, by currency and day, for rows in another currency without a rate.

    Raises:
        FileRefusedError: UNKNOWN_LAYOUT, NO_ACCOUNT, or as for ``read_own_format``.

    Source: docs/specs/broker_files.md.
    """
    with without_collector(text.count("\n")):
        return _read(text, account, mappings, base_currency, rates or {})


def _read(text: str, account: str, mappings: Sequence[FileMapping], base_currency: str, rates: Rates) -> EventFile:
    source = SourceText(text)
    records = source.records()
    if not mappings and not source.is_xml and (not records or is_own_format(records[0].cells)):
        return read_own_records(records)
    mapping = recognised_mapping(source, mappings)
    if mapping is not None:
        return _read_mapped(mapping, source, account, base_currency.upper(), rates)
    if not source.is_xml and (not records or is_own_header(split_cells(records[0].cells))):
        return read_own_records(records)
    names = ", ".join(each.name for each in presets())
    raise FileRefusedError(
        f"The layout of the file is not known. Known are the ledger's own columns and: {names}. Write a mapping; a "
        "draft with the columns of this file can be made for it.",
        code="UNKNOWN_LAYOUT",
    )


def recognised_mapping(source: SourceText, mappings: Sequence[FileMapping]) -> FileMapping | None:
    """Return the mapping that fits a file best, None where none does.

    Raises:
        FileRefusedError: BAD_XML.
    """
    for known in (mappings, presets()):
        scores = [(fits(mapping, source), -number) for number, mapping in enumerate(known)]
        best, number = max(scores, default=(0, 0))
        if best:
            return known[-number]
    return None


@cache
def presets() -> tuple[FileMapping, ...]:
    """Return the shipped mappings, by file name.

    Raises:
        ConfigurationError: One of them cannot be read.
    """
    shipped = []
    for entry in sorted(resources.files(_PRESETS).iterdir(), key=lambda each: each.name):
        if entry.name.endswith(".toml"):
            mapping = read_mapping(entry.read_text(encoding="utf-8"), entry.name)
            if not mapping.source:
                raise ConfigurationError(f"{entry.name} names no source.")
            shipped.append(mapping)
    return tuple(shipped)


def _read_mapped(mapping: FileMapping, source: SourceText, account: str, base_currency: str, rates: Rates) -> EventFile:
    content = find_rows(mapping, source)
    told = _preamble(mapping, content.above)
    reading = Reading(
        mapping,
        account=account or told.get("account", ""),
        account_type=told.get("account_type", ""),
        typed_account=told.get("account", ""),
        base_currency=told.get("base_currency", "").upper() or base_currency or mapping.base_currency,
        rates=rates,
    )
    reading.prefer(content.rows)
    rows: list[ReadRow] = []
    findings: list[RowFinding] = list(content.findings)
    unnamed = 0
    for row in content.rows:
        try:
            values = reading.own_values(row)
            if values is None:
                continue
            values = {column: text for column, text in values.items() if text}
            unnamed += "account" not in values
            event = event_of(values)
            rows.append(ReadRow(row.row, event, statement_of(row.row, event.trade_date, values)))
        except RefusedRowError as error:
            findings.append(error.in_row(row.row))
    if unnamed and not rows:
        raise FileRefusedError(
            f"The file ('{mapping.name}') does not say which account it is of; name the account.", code="NO_ACCOUNT"
        )
    remarks = [
        f"Read as '{mapping.name}', recognised by its {_sign_of(mapping)}.",
        *reading.remarks(),
        *_unread(mapping, content),
    ]
    return put_together(
        mapping.name, rows, (*findings, *reading.hints), len(content.rows) + len(content.findings), remarks
    )


def _preamble(mapping: FileMapping, above: Iterable[str]) -> Mapping[str, str]:
    told: dict[str, str] = {}
    for text in filter(is_printable, above):
        for pattern in mapping.preamble:
            match = pattern.fullmatch(text)
            if match is not None:
                told.update({name: value.strip() for name, value in match.groupdict().items() if value})
    return told


def _sign_of(mapping: FileMapping) -> str:
    return "elements" if mapping.form is FileFormat.XML else "header"


def _unread(mapping: FileMapping, content: FileRows) -> list[str]:
    remarks = [
        f"{count} {'record' if count == 1 else 'records'} {what} {'was' if count == 1 else 'were'} not read."
        for what, count in sorted(content.unread.items())
    ]
    for table in mapping.tables:
        used = set(table.unused) | table.needs | {name for pair in table.equal for name in pair} | {table.prefer[0]}
        for source in table.read.values():
            used.update(source.columns)
        for rule in table.rules:
            used.update(rule.when)
            used.update(name for source in rule.read.values() for name in source.columns)
            used.update(rule.added_to.columns if rule.added_to is not None else ())
        unknown = [name for name in content.columns.get(table.name, ()) if name and name not in used]
        if unknown:
            remarks.append(f"Columns of {table.name} that were not read: {', '.join(unknown)}.")
    return remarks
