"""A first mapping for a layout that nobody has described: columns guessed from their names, open points marked."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from prometheus.foundation.errors import FileRefusedError
from prometheus.ledger.files.builders import action_of
from prometheus.ledger.files.columns import Action
from prometheus.ledger.files.findings import RefusedRowError
from prometheus.ledger.files.mapping import CASH, OPEN_POINT
from prometheus.ledger.files.records import Record
from prometheus.ledger.files.tables import HEADER_RECORDS, SourceText
from prometheus.ledger.files.values import read_day

#: Words of column names by own column, the surest first; a name is taken where it equals the word or has it in it.
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "date": ("trade date", "transaction date", "run date", "activity date", "date", "datum"),
    "settle_date": ("settlement date", "settle date", "settle"),
    "account": ("account number", "account #", "account id", "account"),
    "ticker": ("symbol", "ticker"),
    "quantity": ("quantity", "shares", "units", "qty"),
    "amount": ("net amount", "net cash", "amount", "value", "total", "proceeds"),
    "fee": ("commission", "fees & comm", "fees", "fee"),
    "currency": ("currency",),
    "rate": ("exchange rate", "fx rate"),
}
_ACTION_WORDS: Final = ("action", "activity", "transaction type", "type", "side", "buy/sell")
#: Words in a broker's name of an action, and what they mean; the first that is in it counts.
_MEANINGS: Final[Mapping[str, str]] = {
    "short": OPEN_POINT,
    "cover": OPEN_POINT,
    "reinvest": Action.REINVEST.value,
    "buy": Action.BUY.value,
    "bought": Action.BUY.value,
    "purchase": Action.BUY.value,
    "sell": Action.SELL.value,
    "sold": Action.SELL.value,
    "return of capital": Action.RETURN_OF_CAPITAL.value,
    "div": Action.DIVIDEND.value,
    "interest": Action.INTEREST.value,
    "tax": Action.FEE.value,
    "fee": Action.FEE.value,
    "deposit": CASH,
    "withdraw": CASH,
    "contribution": CASH,
}
_FORMATS: Final = (
    "%Y-%m-%d",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y%m%d",
    "%d.%m.%Y",
    "%Y-%m-%d %H:%M:%S",
    "%m/%d/%y",
    "%d-%b-%Y",
    "%B %d, %Y",
)
_DELIMITERS: Final = (",", ";", "\t", "|")
_FEWEST_COLUMNS: Final = 4
_MOST_ACTIONS: Final = 60


def draft_mapping(text: str, name: str = "my broker") -> str:
    """Return a mapping file, to be finished by a person, for CSV whose layout is not known.

    What is guessed is what names and values suggest; what is open is ``"?"``, which no mapping may keep.

    Args:
        text: The file.
        name: What the layout is to be called.

    Raises:
        FileRefusedError: UNKNOWN_LAYOUT: nothing in the file looks like a header.
    """
    source = SourceText(text)
    delimiter = max(_DELIMITERS, key=lambda sign: (_width(source.records(sign)), -_DELIMITERS.index(sign)))
    records = source.records(delimiter)
    header = _header(records)
    if header is None:
        raise FileRefusedError(
            "No record of the file has four names or more beside each other, as a header has.", code="UNKNOWN_LAYOUT"
        )
    names = [cell for cell in records[header].cells if cell]
    rows = [record.cells for record in records[header + 1 :] if len(record.cells) >= len(names) - 1]
    values = {column: [row[i] for row in rows if i < len(row)] for i, column in enumerate(records[header].cells)}
    read = _guessed(names)
    action = next((column for word in _ACTION_WORDS for column in names if word == column.lower()), None) or next(
        (column for word in _ACTION_WORDS for column in names if word in column.lower()), OPEN_POINT
    )
    dates = values.get(read.get("date", ""), [])
    lines = [
        "# A draft: every '?' is an open point, and every guess is to be compared with the file.",
        f"name = {_quoted(name)}",
        'format = "csv"',
        f"delimiter = {_quoted(delimiter)}",
        "# Currency of the amounts whose rows say none.",
        'base_currency = "?"',
        "",
        "[dates]",
        f"formats = [{_quoted(_date_format(dates))}]",
        "",
        "[[tables]]",
        'name = "transactions"',
        f"needs = [{', '.join(_quoted(column) for column in names)}]",
        "# Columns that are not read on purpose.",
        f"unused = [{', '.join(_quoted(each) for each in names if each not in {*read.values(), action})}]",
        "# 'cash': amounts are negative where cash goes; 'any': their sign says nothing.",
        f"amount_sign = {_quoted(_sign(values.get(read.get('amount', ''), []), 'cash'))}",
        "# 'trade': shares are negative where they go; 'any': their sign says nothing.",
        f"quantity_sign = {_quoted(_sign(values.get(read.get('quantity', ''), []), 'trade'))}",
        "",
        "[tables.read]",
        *(f"{column} = {_quoted(read.get(column, OPEN_POINT))}" for column in ("date", "ticker", "quantity", "amount")),
        *(f"{column} = {_quoted(source)}" for column, source in read.items() if column not in _MUST),
        "",
        "# One rule for each kind of row: an event, or a reason to skip or to refuse it.",
    ]
    for word in list(dict.fromkeys(values.get(action, [])))[:_MOST_ACTIONS]:
        lines += [
            "",
            "[[tables.rules]]",
            f"when = {{ {_quoted(action)} = {_quoted(_escaped(word))} }}",
            f"event = {_quoted(_meaning(word))}",
        ]
    return "\n".join(lines) + "\n"


_MUST: Final = ("date", "ticker", "quantity", "amount")


def _width(records: Sequence[Record]) -> int:
    return max((len(record.cells) for record in records[:HEADER_RECORDS]), default=0)


def _header(records: Sequence[Record]) -> int | None:
    """Return the first record with names only that has as many values as any of the records that are looked at."""
    named = [
        (len([cell for cell in record.cells if cell]), -number)
        for number, record in enumerate(records[:HEADER_RECORDS])
        if not any(_is_number(cell) for cell in record.cells)
    ]
    width, number = max(named, default=(0, 0))
    return -number if width >= _FEWEST_COLUMNS else None


def _is_number(text: str) -> bool:
    return bool(text) and text.strip("$-+()").replace(",", "").replace(".", "").isdigit()


def _guessed(names: Sequence[str]) -> dict[str, str]:
    read: dict[str, str] = {}
    for column, words in _WORDS.items():
        free = [name for name in names if name not in read.values()]
        exact = [name for word in words for name in free if name.lower() == word]
        within = [name for word in words for name in free if word in name.lower()]
        if exact or within:
            read[column] = (exact or within)[0]
    return read


def _date_format(texts: Iterable[str]) -> str:
    """Return the one format that fits all dates; the open point where none or several do."""
    texts = [text for text in texts if text]
    fitting = [form for form in _FORMATS if texts and all(_fits(text, form) for text in texts)]
    return fitting[0] if len(fitting) == 1 else OPEN_POINT


def _fits(text: str, form: str) -> bool:
    try:
        read_day(text, "date", (form,))
    except RefusedRowError:
        return False
    return True


def _sign(texts: Iterable[str], signed: str) -> str:
    return signed if any("-" in text or text.startswith("(") for text in texts) else "any"


def _meaning(word: str) -> str:
    try:
        return action_of(word).value
    except RefusedRowError:
        return next((meaning for part, meaning in _MEANINGS.items() if part in word.lower()), OPEN_POINT)


def _escaped(word: str) -> str:
    return "".join(f"\\{sign}" if sign in r".^$*+?{}[]\|()" else sign for sign in word)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return f'"{escaped}"'
