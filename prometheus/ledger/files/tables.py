"""The rows of a broker's file by its mapping: below headers, in sections, or in the attributes of XML elements."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from prometheus.foundation.errors import FileRefusedError
from prometheus.ledger.files.findings import RefusedRowError, RowFinding
from prometheus.ledger.files.mapping import FileFormat, FileMapping, Table
from prometheus.ledger.files.records import Record, records_of, values_of

#: A header is looked for in so many records; brokers put some lines above it.
HEADER_RECORDS: Final = 60
_HEADER: Final = "header"
_DATA: Final = "data"


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: its line, its table, and its values by column of the file."""

    row: int
    table: Table
    values: Mapping[str, str]


@dataclass(slots=True)
class FileRows:
    """What a file has for a mapping.

    Attributes:
        rows: Rows of its tables.
        findings: Records of its tables that cannot be read.
        above: Values of the records above the first header.
        columns: Columns by name of table.
        unread: Number of records that tell of no event, by what they are.
    """

    rows: list[TableRow] = field(default_factory=list)
    findings: list[RowFinding] = field(default_factory=list)
    above: list[str] = field(default_factory=list)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)
    _unknown: dict[str, list[int]] = field(default_factory=dict)

    def leave_out(self, what: str, line: int, *, is_informational: bool) -> None:
        """Note a record that belongs to no table."""
        if is_informational:
            self.unread[what] += 1
        else:
            self._unknown.setdefault(what, []).append(line)

    def refuse_unknown(self) -> "FileRows":
        """Turn records of tables that nobody knows into one finding for each table, and return the rows."""
        for what, lines in self._unknown.items():
            records = "One record" if len(lines) == 1 else f"{len(lines)} records"
            self.findings.append(
                RowFinding(
                    lines[0],
                    "UNKNOWN_TABLE",
                    f"{records} {what} cannot be read.",
                    "Describe the table in a mapping of your own, or name it there as informational.",
                )
            )
        return self


class SourceText:
    """The text of a file, and its records for each sign between values that a mapping names.

    Args:
        text: The file.

    Attributes:
        text: The file.
        is_xml: Whether it begins as XML does.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.is_xml = text.removeprefix("\ufeff").lstrip()[:1] == "<"
        self._records: dict[str, list[Record]] = {}

    def records(self, delimiter: str = ",") -> list[Record]:
        """Return the records of the text, none where it is XML.

        Raises:
            FileRefusedError: UNCLOSED_QUOTE.
        """
        if delimiter not in self._records:
            self._records[delimiter] = [] if self.is_xml else list(records_of(self.text, delimiter))
        return self._records[delimiter]


def find_rows(mapping: FileMapping, source: SourceText) -> FileRows:
    """Return the rows that a mapping finds in a file.

    Raises:
        FileRefusedError: The text is no XML although the mapping reads XML.
    """
    if mapping.form is FileFormat.XML:
        return _xml_rows(mapping, source.text)
    if mapping.form is FileFormat.SECTIONS:
        return _section_rows(mapping, source.records(mapping.delimiter))
    return _header_rows(mapping, source.records(mapping.delimiter))


def fits(mapping: FileMapping, source: SourceText) -> int:
    """Return by how many columns a mapping recognises a file; 0 where it does not."""
    if mapping.form is FileFormat.XML:
        if not source.is_xml:
            return 0
        elements = {name: set(values) for _, name, values in xml_elements(source.text)}
        return max((_matched(each, elements.get(each.section, set())) for each in mapping.tables), default=0)
    records = source.records(mapping.delimiter)
    if mapping.form is FileFormat.SECTIONS:
        headers = [record.cells for record in records if len(record.cells) > 2 and record.cells[1].lower() == _HEADER]
        return sum(
            max(
                (_matched(table, cells[2:]) for cells in headers if cells[0].casefold() == table.section.casefold()),
                default=0,
            )
            for table in mapping.tables
        )
    return max(
        (_matched(table, record.cells) for record in records[:HEADER_RECORDS] for table in mapping.tables), default=0
    )


def xml_elements(text: str) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yield line, name and attributes of the elements of an XML text.

    Raises:
        FileRefusedError: BAD_XML: it is not well formed, or it declares entities, which such files do not need.
    """
    elements: list[tuple[int, str, dict[str, str]]] = []
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        values = {key: value.strip() for key, value in attributes.items()}
        elements.append((parser.CurrentLineNumber, name, values))

    def refuse(*_: object) -> None:
        raise FileRefusedError("The XML declares entities; remove the document type.", code="BAD_XML")

    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text.removeprefix("\ufeff"), True)
    except expat.ExpatError as error:
        raise FileRefusedError(f"The file is no XML: {error}.", code="BAD_XML") from error
    yield from elements


def _matched(table: Table, columns: Iterable[str]) -> int:
    return len(table.needs) if table.needs and table.needs <= set(columns) else 0


# ---------------------------------------------------------------- one way for each format


def _header_rows(mapping: FileMapping, records: Iterable[Record]) -> FileRows:
    content = FileRows()
    table: Table | None = None
    header: tuple[str, ...] = ()
    what, is_informational = "", True
    for record in records:
        first = record.cells[0]
        recognised = max(mapping.tables, key=lambda each: _matched(each, record.cells))
        if _matched(recognised, record.cells):
            table, header = recognised, record.cells
            content.columns[table.name] = header
        elif not header:
            content.above += record.cells
        elif _any_matches(mapping.passes, first):
            continue
        elif first == header[0]:
            table, what = None, f"of a table with {', '.join(record.cells[1:4])}"
            is_informational = _is_informational(mapping, record.cells)
        elif _any_matches(mapping.ends, first):
            table, what, is_informational = None, "below the end of the table", True
            content.leave_out(what, record.last, is_informational=True)
        elif table is None:
            content.leave_out(what, record.last, is_informational=is_informational)
        else:
            _add(content, table, record, header)
    return content.refuse_unknown()


def _section_rows(mapping: FileMapping, records: Iterable[Record]) -> FileRows:
    content = FileRows()
    headers: dict[str, tuple[Table, tuple[str, ...]] | None] = {}
    by_section: dict[str, list[Table]] = {}
    for table in mapping.tables:
        by_section.setdefault(table.section.casefold(), []).append(table)
    for record in records:
        name, kind = record.cells[0], (record.cells[1].lower() if len(record.cells) > 1 else "")
        section = name.casefold()
        if section not in by_section:
            content.above.append(",".join(record.cells).rstrip(","))
            if kind == _DATA:
                is_informational = _is_informational(mapping, (name,))
                content.leave_out(f"of the section {name}", record.last, is_informational=is_informational)
        elif kind == _HEADER:
            columns = record.cells[2:]
            table = max(by_section[section], key=lambda each: _matched(each, columns))
            headers[section] = None
            if _matched(table, columns):
                headers[section] = (table, columns)
                content.columns[table.name] = columns
        elif kind == _DATA:
            known = headers.get(section)
            if known is None:
                what = f"of the section {name}, whose columns are not known,"
                content.leave_out(what, record.last, is_informational=False)
            else:
                table, columns = known
                _add(content, table, Record(record.first, record.last, record.cells[2:], record.raw[2:]), columns)
    return content.refuse_unknown()


def _xml_rows(mapping: FileMapping, text: str) -> FileRows:
    content = FileRows()
    by_section = {table.section: table for table in mapping.tables}
    for line, name, values in xml_elements(text):
        table = by_section.get(name)
        if table is not None:
            content.columns[table.name] = tuple(dict.fromkeys((*content.columns.get(table.name, ()), *values)))
            content.rows.append(TableRow(line, table, values))
        elif "accountId" in values and len(values) > 1:
            is_informational = _is_informational(mapping, (name,))
            content.leave_out(f"of the kind {name}", line, is_informational=is_informational)
    return content.refuse_unknown()


def _is_informational(mapping: FileMapping, names: Iterable[str]) -> bool:
    return any(name.casefold() in mapping.informational for name in names)


def _add(content: FileRows, table: Table, record: Record, header: Sequence[str]) -> None:
    try:
        content.rows.append(TableRow(record.last, table, values_of(record, header)))
    except RefusedRowError as error:
        content.findings.append(error.in_row(record.last))


def _any_matches(patterns: Iterable[re.Pattern[str]], text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in patterns)
