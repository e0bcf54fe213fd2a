import re

import pytest

from prometheus.foundation.errors import ConfigurationError
from prometheus.ledger.files.mapping import FileFormat, Sign, Source, read_mapping

MAPPING = """
name = "My broker"
format = "csv"
delimiter = ";"
base_currency = "eur"
rounds_to_cents = true
preamble = ['Account (?P<account>.+)']
ends = ['Total']

[numbers]
decimal = ","
thousands = "."
parentheses = true

[dates]
formats = ["%d.%m.%Y"]
pattern = '(\\S+).*'

[[account_types]]
pattern = 'pension.*'
type = "sheltered"

[[tables]]
name = "trades"
needs = ["Day", "Kind", "Stock"]
unused = ["Note"]
amount_sign = "any"
quantity_sign = "trade"
fee_sign = "cash"
equal = [["Currency", "Fee currency"]]

[tables.read]
date = "Day"
ticker = { column = "Stock", pattern = '^(\\w+)' }
amount = ["Gross", "Tax"]

[[tables.rules]]
when = { Kind = 'kauf' }
event = "buy"
ignore = ["fee"]

[[tables.rules]]
when = { Kind = 'split' }
event = "split"
added_to = "Before"

[[tables.rules]]
when = { Kind = 'cash' }
event = "cash"

[[tables.rules]]
skip = "nothing happened"
"""


def test_a_mapping_says_all_that_a_layout_needs():
    """Every key reaches the mapping; patterns are of any case."""
    mapping = read_mapping(MAPPING, "my.toml")
    assert (mapping.name, mapping.form, mapping.delimiter, mapping.base_currency) == (
        "My broker",
        FileFormat.CSV,
        ";",
        "EUR",
    )
    assert (mapping.numbers.decimal, mapping.numbers.thousands, mapping.numbers.has_parentheses) == (",", ".", True)
    assert (mapping.date_formats, mapping.rounds_to_cents) == (("%d.%m.%Y",), True)
    assert [kind for _, kind in mapping.account_types] == ["SHELTERED"]
    (table,) = mapping.tables
    assert (table.amount_sign, table.quantity_sign, table.fee_sign) == (Sign.ANY, Sign.TRADE, Sign.CASH)
    assert table.equal == (("Currency", "Fee currency"),)
    assert table.read["ticker"] == Source(("Stock",), re.compile(r"^(\w+)", re.IGNORECASE))
    assert table.read["amount"] == Source(("Gross", "Tax"))
    assert [rule.event or rule.skip for rule in table.rules] == ["BUY", "SPLIT", "CASH", "nothing happened"]
    assert table.rules[1].added_to == Source(("Before",))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('name = "My broker"', "", "lacks 'name'"),
        ('name = "My broker"', "name = 5", "'name' is no str"),
        ('name = "My broker"', 'name = "?"', "is still"),
        ("rounds_to_cents = true", "rounds = true", "unknown key 'rounds'"),
        ('delimiter = ";"', 'delimiter = ";;"', "not one sign"),
        ('format = "csv"', 'format = "pdf"', "one of csv, sections, xml"),
        ('needs = ["Day", "Kind", "Stock"]', "", "lacks 'needs'"),
        ('date = "Day"', 'date = "?"', "is still"),
        ('date = "Day"', "date = 5", "names a column"),
        ('date = "Day"', 'when = "Day"', "no column of the own format"),
        ('event = "buy"', 'event = "acquire"', "'acquire' is no action"),
        ('event = "buy"', 'event = "?"', "is still"),
        ('event = "buy"', 'event = "reverse"', "brokers do not give"),
        ('event = "buy"', "", "exactly one of event, skip and refuse"),
        ("Kind = 'kauf'", "Kind = '('", "is no pattern"),
        ('type = "sheltered"', 'type = "pension"', "a type out of"),
        ("[numbers]", "[numbers", "is no TOML"),
    ],
)
def test_a_mapping_that_cannot_be_used_says_where_it_is_wrong(before, after, message):
    """The message names the file, the place and what is wrong."""
    with pytest.raises(ConfigurationError, match=re.escape(message)) as refused:
        read_mapping(MAPPING.replace(before, after), "my.toml")
    assert refused.value.message.startswith("my.toml")


def test_a_mapping_has_tables():
    """Without a table nothing could be read."""
    with pytest.raises(ConfigurationError, match="has no tables"):
        read_mapping('name = "x"\ntables = []\n', "my.toml")
