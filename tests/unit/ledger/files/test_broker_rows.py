from datetime import date
from decimal import Decimal

import pytest

from prometheus.ledger.files.broker_rows import Reading
from prometheus.ledger.files.findings import RefusedRowError
from prometheus.ledger.files.mapping import read_mapping
from prometheus.ledger.files.tables import TableRow

MAPPING = """
name = "m"
base_currency = "USD"
rounds_to_cents = true
[dates]
formats = ["%m/%d/%Y"]
pattern = '(?:.* as of )?(\\S+)'
[[account_types]]
pattern = '.*RRSP.*'
type = "RRSP"
[[tables]]
needs = ["Kind"]
amount_sign = "cash"
quantity_sign = "trade"
fee_sign = "cash"
equal = [["Cur", "FeeCur"]]
[tables.read]
date = "Day"
ticker = "Stock"
quantity = "Shares"
amount = ["Net", "Fee"]
fee = "Fee"
currency = "Cur"
rate = "Rate"
account = "Acc"
account_type = "Type"
[[tables.rules]]
when = { Kind = 'buy' }
event = "BUY"
[[tables.rules]]
when = { Kind = 'sell' }
event = "SELL"
[[tables.rules]]
when = { Kind = 'move' }
event = "CASH"
ignore = ["ticker", "quantity"]
[[tables.rules]]
when = { Kind = 'split' }
event = "SPLIT"
added_to = { column = "Text", pattern = 'ON ([0-9,]+) SHS' }
ignore = ["amount", "fee"]
[[tables.rules]]
when = { Kind = 'ratio' }
event = "SPLIT"
read = { quantity = { column = "Text", pattern = '(\\d+) FOR (\\d+)' } }
ignore = ["amount"]
[[tables.rules]]
when = { Kind = 'interest' }
event = "INTEREST"
[[tables.rules]]
when = { Kind = 'sweep' }
skip = "cash moved"
[[tables.rules]]
when = { Kind = 'option' }
refuse = "Options are not booked"
"""


def reading(**settings: object):
    """Return a reading of the mapping."""
    settings = {"account": "A", "base_currency": "USD"} | settings
    return Reading(read_mapping(MAPPING, "m.toml"), **settings)


def own(kind, how=None, **values: str):
    """Return a row of a kind in the words of the own format."""
    how = how or reading()
    (table,) = how.mapping.tables
    return how.own_values(TableRow(7, table, {"Kind": kind, "Day": "01/02/2024", "Stock": "X", **values}))


def test_numbers_signs_and_dates_become_those_of_the_own_format():
    """A purchase has negative cash and positive shares; the effective day counts; the fee is within the amount."""
    values = own("Buy", Shares="10", Net="-100", Fee="-1.50", Day="01/05/2024 as of 01/02/2024")
    assert {name: text for name, text in values.items() if text} == {
        "date": "2024-01-02",
        "ticker": "X",
        "quantity": "10",
        "amount": "101.5",
        "fee": "1.5",
        "account": "A",
        "action": "BUY",
    }


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("buy", {"Shares": "10", "Net": "100"}),
        ("buy", {"Shares": "-10", "Net": "-100"}),
        ("sell", {"Shares": "-10", "Net": "-100"}),
        ("sell", {"Shares": "10", "Net": "100"}),
    ],
)
def test_a_row_that_goes_the_other_way_round_is_refused(kind, values):
    """A purchase that brings cash in is a correction by the broker, and no purchase."""
    with pytest.raises(RefusedRowError, match="the other way round") as refused:
        own(kind, **values)
    assert refused.value.code == "WRONG_SIGN"


def test_cash_goes_by_its_sign_and_interest_keeps_it():
    """Cash comes in or goes out; interest paid is negative."""
    assert [own("move", Net=net)["action"] for net in ("5", "-5")] == ["TRANSFER_IN", "TRANSFER_OUT"]
    assert own("move", Net="-5")["amount"] == "5"
    assert own("interest", Net="-5")["amount"] == "-5"


def test_a_rebate_is_in_the_amount_and_no_fee():
    """A commission that is paid back lowers the cost; the fee within it is nothing."""
    values = own("buy", Shares="10", Net="-100", Fee="1")
    assert (values["amount"], values["fee"]) == ("99", "0")


def test_parts_of_a_cent_are_rounded_and_counted():
    """The broker's cash has more places than money; the remark says how often."""
    how = reading()
    assert own("buy", how, Shares="1", Net="-1.0045")["amount"] == "1"
    assert any("rounded to cents" in remark for remark in how.remarks())


def test_a_split_is_worked_out_from_the_shares_added_or_read():
    """100 added to 100 are 2:1, with a hint; the text 3 FOR 2 needs none; 7 added to 15 are no split."""
    how = reading()
    assert own("split", how, Shares="100", Text="ON 100 SHS")["quantity"] == "2:1"
    assert [hint.code for hint in how.hints] == ["RATIO_WORKED_OUT"]
    assert own("ratio", Text="SPLIT 3 FOR 2")["quantity"] == "3:2"
    for text in ("ON 15 SHS", "no number"):
        with pytest.raises(RefusedRowError) as refused:
            own("split", Shares="7", Text=text)
        assert refused.value.code == "ZERO_RATIO"


def test_rows_are_skipped_or_refused_for_the_reason_of_their_rule():
    """A skipped row is counted by its reason; a refused one and one that no rule fits are findings."""
    how = reading()
    assert own("sweep", how) is None
    assert how.remarks() == ["1 row was skipped: cash moved."]
    with pytest.raises(RefusedRowError, match="Options are not booked"):
        own("option")
    with pytest.raises(RefusedRowError, match="Kind 'gift'"):
        own("gift")


def test_currencies_need_rates_unless_they_are_the_base():
    """The rate comes from the row, from the table of rates, or the row is refused; a rate of one is the base."""
    buy = {"Shares": "1", "Net": "-1"}
    assert own("buy", Cur="USD", **buy)["currency"] == ""
    assert own("buy", Cur="CAD", Rate="1", **buy)["currency"] == ""
    assert own("buy", Cur="CAD", Rate="0.75", **buy)["rate"] == "0.75"
    rates = {("CAD", date(2024, 1, 2)): Decimal("0.7")}
    assert own("buy", reading(rates=rates), Cur="CAD", **buy)["rate"] == "0.7"
    with pytest.raises(RefusedRowError) as refused:
        own("buy", Cur="CAD", **buy)
    assert refused.value.code == "NO_RATE"
    with pytest.raises(RefusedRowError) as refused:
        own("buy", Cur="USD", FeeCur="HKD", **buy)
    assert refused.value.code == "VALUES_DIFFER"


def test_accounts_and_their_types_come_from_the_row_or_the_lines_above():
    """A type is translated; one that nobody knows is said once and counts as taxable."""
    buy = {"Shares": "1", "Net": "-1"}
    assert own("buy", Acc="B", Type="Spousal RRSP", **buy)["account_type"] == "RRSP"
    how = reading(account_type="RRSP")
    assert own("buy", how, **buy)["account_type"] == "RRSP"
    assert "account_type" not in own("buy", how, Acc="B", **buy)
    assert "account_type" not in own("buy", how, Acc="B", Type="odd", **buy)
    assert how.remarks() == ["The account type 'odd' is not known; such accounts count as taxable."]


def test_trades_that_are_told_in_two_ways_count_once():
    """Of orders and executions in one file the preferred ones count; a file with the others alone has these."""
    mapping = read_mapping(
        MAPPING.replace(
            'needs = ["Kind"]', 'needs = ["Kind"]\nprefer = { column = "Level", values = ["ORDER", "FILL"] }'
        ),
        "m.toml",
    )
    buy = {"Kind": "buy", "Day": "01/02/2024", "Stock": "X", "Shares": "1", "Net": "-1"}
    order, fill = (
        TableRow(line, mapping.tables[0], buy | {"Level": level}) for line, level in ((2, "ORDER"), (3, "FILL"))
    )
    both, alone = Reading(mapping, account="A"), Reading(mapping, account="A")
    both.prefer([fill, order])
    alone.prefer([fill])
    assert (both.own_values(order) is None, both.own_values(fill) is None) == (False, True)
    assert both.remarks() == ["1 row was skipped: the file tells them as 'ORDER' too."]
    assert alone.own_values(fill) is not None
