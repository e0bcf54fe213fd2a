import re

import pytest

from prometheus.foundation.errors import ConfigurationError, FileRefusedError
from prometheus.ledger.files.draft import draft_mapping
from prometheus.ledger.files.mapping import read_mapping
from prometheus.ledger.files.reader import read_events

FILE = """My broker
Trade Date;Side;Ticker;Shares;Price;Net Amount;Commission
25/01/2024;Purchase;ABC;10;5;-51;1
14/02/2024;Gift (x);ABC;1;5;0;0
15/02/2024;Dividend;ABC;;;3;
"""


def test_a_draft_guesses_columns_dates_and_actions():
    """What names and values suggest is filled in, what is open is marked, and no draft is taken as it is."""
    draft = draft_mapping(FILE)
    for line in (
        'delimiter = ";"',
        'formats = ["%d/%m/%Y"]',
        'date = "Trade Date"',
        'ticker = "Ticker"',
        'quantity = "Shares"',
        'amount = "Net Amount"',
        'fee = "Commission"',
        'unused = ["Price"]',
        'amount_sign = "cash"',
        'quantity_sign = "any"',
        'event = "BUY"',
        'event = "DIVIDEND"',
        'base_currency = "?"',
        'event = "?"',
    ):
        assert line in draft.splitlines()
    with pytest.raises(ConfigurationError, match="is still"):
        read_mapping(draft, "draft.toml")


def test_a_draft_that_is_finished_reads_the_file():
    """The user fills in the open points and has a layout of their own."""
    finished = draft_mapping(FILE, "mine").replace('base_currency = "?"', 'base_currency = "USD"')
    finished = finished.replace('event = "?"', 'refuse = "Gifts are not booked"')
    file = read_events(FILE, account="A", mappings=[read_mapping(finished, "mine.toml")])
    assert (file.layout, len(file.events), [finding.row for finding in file.findings]) == ("mine", 2, [4])


def test_dates_that_could_be_read_two_ways_stay_open():
    """01/02/2024 is February or January; the draft does not choose."""
    draft = draft_mapping("Date,Type,Symbol,Quantity\n01/02/2024,Buy,X,1\n")
    assert 'formats = ["?"]' in draft.splitlines()


def test_names_with_quotes_survive():
    """A column called as nobody should call it is quoted."""
    draft = draft_mapping('"Da""te",Type,Symbol,Quantity\n2024-01-02,Buy\\,X,1\n')
    assert re.search(r'needs = \["Da\\"te", ', draft)


@pytest.mark.parametrize("text", ["", "one\ntwo\n", "<xml/>"])
def test_without_a_header_there_is_no_draft(text):
    """Text without names beside each other is no table."""
    with pytest.raises(FileRefusedError) as refused:
        draft_mapping(text)
    assert refused.value.code == "UNKNOWN_LAYOUT"
