"""Mappings: what a broker's file looks like and which event each of its rows is, as data that a user can write."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from prometheus.foundation.errors import ConfigurationError
from prometheus.ledger.files.builders import action_of
from prometheus.ledger.files.columns import COLUMNS, Action
from prometheus.ledger.files.file_terms import SHELTERED, TAXABLE
from prometheus.ledger.files.findings import RefusedRowError
from prometheus.ledger.files.values import NumberFormat

#: Event of a rule that moves cash: in where the amount is positive, out where it is negative.
CASH: Final = "CASH"
#: What a draft says where its user has to decide.
OPEN_POINT: Final = "?"


class FileFormat(StrEnum):
    """Where the rows of a file are.

    CSV has a header above its rows, or several with rows below each. SECTIONS has the name of a table in the first
    cell of every record and ``Header`` or ``Data`` in the second. XML has a row in the attributes of an element.
    """

    CSV = "csv"
    SECTIONS = "sections"
    XML = "xml"


class Sign(StrEnum):
    """What the sign of a number says.

    ANY: nothing, the action says which way it goes. CASH: an amount is negative where cash goes. TRADE: shares are
    negative where they go.
    """

    ANY = "any"
    CASH = "cash"
    TRADE = "trade"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from.

    Attributes:
        columns: Columns of the file; numbers are added up, of texts the first that is not empty counts.
        pattern: Pattern within the value; its groups are the value, several joined by a colon. None takes all of it.
    """

    columns: tuple[str, ...]
    pattern: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What a row is whose columns have the values of ``when``.

    Exactly one of ``event``, ``skip`` and ``refuse`` is given.

    Attributes:
        when: Column to the pattern that its whole value has, in any case.
        event: Action of the own format, or ``CASH``.
        skip: Why rows of this kind are passed over.
        refuse: Why rows of this kind cannot be booked.
        read: Own column to source, in the place of those of the table.
        ignore: Own columns that are not read.
        added_to: For a split whose row says how many shares were added: where it says how many there were before.
    """

    when: Mapping[str, re.Pattern[str]]
    event: str = ""
    skip: str = ""
    refuse: str = ""
    read: Mapping[str, Source] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    added_to: Source | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of rows of a file.

    Attributes:
        name: What it is called in remarks.
        section: First cell of its records (SECTIONS) or name of its elements (XML).
        needs: Columns by which it is recognised.
        unused: Columns that are not read on purpose.
        read: Own column to source.
        rules: In the order in which they are tried; the first that fits counts.
        amount_sign: What the sign of an amount says.
        quantity_sign: What the sign of a quantity says.
        fee_sign: What the sign of a commission says; CASH: it is negative.
        equal: Pairs of columns that must have the same value where both have one.
        prefer: Values of a column that tell the same rows in several ways, the best first: where a file has rows with
            one of them, rows with those that come after it are skipped. Column and values; empty for none.
    """

    name: str
    section: str
    needs: frozenset[str]
    unused: frozenset[str]
    read: Mapping[str, Source]
    rules: tuple[Rule, ...]
    amount_sign: Sign = Sign.CASH
    quantity_sign: Sign = Sign.ANY
    fee_sign: Sign = Sign.ANY
    equal: tuple[tuple[str, str], ...] = ()
    prefer: tuple[str, tuple[str, ...]] = ("", ())


@dataclass(frozen=True, slots=True)
class FileMapping:
    """How one layout is read.

    Attributes:
        name: What it is called.
        source: The public sample or importer that its words are taken from.
        form: Where its rows are.
        delimiter: Sign between the values of a record.
        base_currency: Currency of amounts where no column says another.
        rounds_to_cents: Whether amounts have parts of a cent, which are rounded, halves to even.
        tables: Its tables.
        numbers: How it writes numbers.
        date_formats: How it writes dates, in the order in which they are tried.
        date_pattern: Pattern within the value of a date; None takes all of it.
        preamble: Patterns of values above the header, in SECTIONS of records outside the tables with commas between
            their values; the groups ``account``, ``account_type`` and ``base_currency`` are read.
        ends: Patterns of the first cell of a record that ends a table.
        passes: Patterns of the first cell of records that are no rows.
        informational: Names of sections or elements that tell of no event, and of columns by which such tables are
            known; in small letters. What is neither read nor informational is a finding.
        account_types: Pattern of an account's type in the file, and the type that it means.
    """

    name: str
    source: str
    form: FileFormat
    delimiter: str
    base_currency: str
    rounds_to_cents: bool
    tables: tuple[Table, ...]
    numbers: NumberFormat
    date_formats: tuple[str, ...]
    date_pattern: re.Pattern[str] | None
    preamble: tuple[re.Pattern[str], ...]
    ends: tuple[re.Pattern[str], ...]
    passes: tuple[re.Pattern[str], ...]
    informational: frozenset[str]
    account_types: tuple[tuple[re.Pattern[str], str], ...]


def read_mapping(text: str, where: str) -> FileMapping:
    """Return the mapping of a TOML text.

    Args:
        text: The text.
        where: Name of the file, for messages.

    Raises:
        ConfigurationError: The text is no TOML, a key is missing, unknown or unusable, or an open point is left.

    Source: docs/specs/broker_files.md, "Mapping files".
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where} is no TOML: {error}.") from error
    reader = _Keys(content, where)
    numbers = _Keys(reader.take("numbers", dict, {}), f"{where}, numbers")
    dates = _Keys(reader.take("dates", dict, {}), f"{where}, dates")
    mapping = FileMapping(
        name=reader.text("name"),
        source=reader.text("source", ""),
        form=reader.choice("format", FileFormat, FileFormat.CSV),
        delimiter=reader.text("delimiter", ","),
        base_currency=reader.text("base_currency", "").upper(),
        rounds_to_cents=reader.take("rounds_to_cents", bool, False),
        tables=tuple(
            _table(_Keys(table, f"{where}, table {number}"))
            for number, table in enumerate(reader.take("tables", list), start=1)
        ),
        numbers=NumberFormat(
            decimal=numbers.text("decimal", "."),
            thousands=numbers.text("thousands", ","),
            has_parentheses=numbers.take("parentheses", bool, False),
        ),
        date_formats=dates.texts("formats", ()),
        date_pattern=dates.pattern("pattern"),
        preamble=reader.patterns("preamble"),
        ends=reader.patterns("ends"),
        passes=reader.patterns("passes"),
        informational=frozenset(name.casefold() for name in reader.texts("informational", ())),
        account_types=_account_types(reader),
    )
    for keys in (reader, numbers, dates):
        keys.finish()
    if not mapping.tables:
        raise ConfigurationError(f"{where} has no tables.")
    if len(mapping.delimiter) != 1:
        raise ConfigurationError(f"{where}: '{mapping.delimiter}' is not one sign, as a delimiter is.")
    return mapping


def _account_types(reader: "_Keys") -> tuple[tuple[re.Pattern[str], str], ...]:
    types = []
    for number, entry in enumerate(reader.take("account_types", list, []), start=1):
        keys = _Keys(entry, f"{reader.where}, account type {number}")
        pattern, kind = keys.pattern("pattern"), keys.text("type").upper()
        keys.finish()
        if pattern is None or kind not in SHELTERED | TAXABLE:
            known = ", ".join(sorted(SHELTERED | TAXABLE))
            raise ConfigurationError(f"{keys.where} needs a pattern, and a type out of {known}.")
        types.append((pattern, kind))
    return tuple(types)


def _table(keys: "_Keys") -> Table:
    table = Table(
        name=keys.text("name", "rows"),
        section=keys.text("section", ""),
        needs=frozenset(keys.texts("needs")),
        unused=frozenset(keys.texts("unused", ())),
        read=_sources(keys.take("read", dict), f"{keys.where}, read"),
        rules=tuple(
            _rule(_Keys(rule, f"{keys.where}, rule {number}"))
            for number, rule in enumerate(keys.take("rules", list), start=1)
        ),
        amount_sign=keys.choice("amount_sign", Sign, Sign.CASH),
        quantity_sign=keys.choice("quantity_sign", Sign, Sign.ANY),
        fee_sign=keys.choice("fee_sign", Sign, Sign.ANY),
        prefer=_preferred(keys),
        equal=tuple((str(first), str(second)) for first, second in keys.take("equal", list, [])),
    )
    keys.finish()
    return table


def _preferred(keys: "_Keys") -> tuple[str, tuple[str, ...]]:
    told = keys.take("prefer", dict, None)
    if told is None:
        return "", ()
    prefer = _Keys(told, f"{keys.where}, prefer")
    column, values = prefer.text("column"), prefer.texts("values")
    prefer.finish()
    return column, values


def _rule(keys: "_Keys") -> Rule:
    when = keys.take("when", dict, {})
    held = keys.take("added_to", object, None)
    rule = Rule(
        when={column: _compiled(text, keys.where) for column, text in when.items()},
        event=_event(keys),
        skip=keys.text("skip", ""),
        refuse=keys.text("refuse", ""),
        read=_sources(keys.take("read", dict, {}), f"{keys.where}, read"),
        ignore=frozenset(keys.texts("ignore", ())),
        added_to=None if held is None else _source(held, f"{keys.where}, added_to"),
    )
    keys.finish()
    if [bool(rule.event), bool(rule.skip), bool(rule.refuse)].count(True) != 1:
        raise ConfigurationError(f"{keys.where} needs exactly one of event, skip and refuse.")
    return rule


def _event(keys: "_Keys") -> str:
    text = keys.text("event", "")
    if not text or text.upper() == CASH:
        return text.upper()
    try:
        action = action_of(text)
    except RefusedRowError as error:
        raise ConfigurationError(f"{keys.where}: {error} {error.remedy}") from error
    if action is Action.REVERSE:
        raise ConfigurationError(f"{keys.where}: a REVERSE needs the name of a row, which brokers do not give.")
    return action.value


def _sources(table: Mapping[str, Any], where: str) -> dict[str, Source]:
    unknown = sorted(set(table) - set(COLUMNS))
    if unknown:
        raise ConfigurationError(f"{where}: {', '.join(unknown)} is no column of the own format.")
    return {column: _source(value, f"{where}.{column}") for column, value in table.items()}


def _source(value: Any, where: str) -> Source:
    if isinstance(value, str):
        return Source((_decided(value, where),))
    if isinstance(value, list):
        return Source(tuple(_decided(str(each), where) for each in value))
    if isinstance(value, dict):
        keys = _Keys(value, where)
        source = Source((keys.text("column"),), keys.pattern("pattern"))
        keys.finish()
        return source
    raise ConfigurationError(f"{where} names a column, a list of columns, or a column and a pattern.")


def _decided(text: str, where: str) -> str:
    if text == OPEN_POINT:
        raise ConfigurationError(f"{where} is still '{OPEN_POINT}': fill it in, or remove the line.")
    return text


def _compiled(text: Any, where: str) -> re.Pattern[str]:
    try:
        return re.compile(str(text), re.IGNORECASE)
    except re.error as error:
        raise ConfigurationError(f"{where}: '{text}' is no pattern: {error}.") from error


class _Keys:
    """The keys of one table of a mapping; what nobody has taken is an error."""

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, dict):
            raise ConfigurationError(f"{where} is no table.")
        self._rest = dict(content)
        self.where = where

    def take(self, key: str, kind: Any, *default: Any) -> Any:
        """Return the value of a key, which must have the type ``kind`` and may be absent where a default is given."""
        if key not in self._rest:
            if default:
                return default[0]
            raise ConfigurationError(f"{self.where} lacks '{key}'.")
        value = self._rest.pop(key)
        if not isinstance(value, kind):
            raise ConfigurationError(f"{self.where}: '{key}' is no {getattr(kind, '__name__', 'list')}.")
        return value

    def text(self, key: str, *default: str) -> str:
        return _decided(self.take(key, str, *default), f"{self.where}, {key}")

    def texts(self, key: str, *default: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_decided(str(each), f"{self.where}, {key}") for each in self.take(key, (list, tuple), *default))

    def choice(self, key: str, kind: type[Any], default: Any) -> Any:
        text = self.text(key, default.value)
        known = [str(each.value) for each in kind]
        if text not in known:
            raise ConfigurationError(f"{self.where}: '{key}' is one of {', '.join(known)}, not '{text}'.")
        return kind(text)

    def pattern(self, key: str) -> re.Pattern[str] | None:
        return _compiled(self.text(key), self.where) if key in self._rest else None

    def patterns(self, key: str) -> tuple[re.Pattern[str], ...]:
        return tuple(_compiled(text, self.where) for text in self.texts(key, ()))

    def finish(self) -> None:
        if self._rest:
            raise ConfigurationError(f"{self.where} has the unknown key '{min(self._rest)}'.")
