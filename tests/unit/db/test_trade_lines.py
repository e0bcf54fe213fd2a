"""The line of a trade says the same before and after the database."""

from dataclasses import fields, replace
from datetime import date
from decimal import Decimal

from prometheus.db.run_digests import HASHED_TRADE_COLUMNS
from prometheus.db.trade_lines import TRADE_COLUMNS, trade_line
from prometheus.domain.run_record import TradeRow

PURCHASE = TradeRow(
    acquired_on=date(2024, 1, 2),
    amount=Decimal("10.50"),
    basis=None,
    cost=Decimal(0),
    disallowed_loss=None,
    lot_id="L-1",
    price=Decimal("10.5"),
    quantity=Decimal(1),
    realized_gain=None,
    side="BUY",
    tax=None,
    term=None,
    ticker="AAA",
)


def test_line_has_every_column_in_its_order():
    """Columns are parted by tabs, decimals have all places of their column, and no value is a backslash and N."""
    assert tuple(sorted(column.name for column in fields(TradeRow))) == TRADE_COLUMNS == HASHED_TRADE_COLUMNS[2]
    assert trade_line(PURCHASE).split("\t") == [
        "2024-01-02", "10.50", r"\N", "0.00", r"\N", "L-1", "10.50000000", "1.00000000", r"\N", "BUY", r"\N", r"\N",
        "AAA",
    ]  # fmt: skip


def test_padding_and_negative_zeros_do_not_show():
    """Numbers as a column gives them back make the line of the numbers that were written."""
    read = replace(PURCHASE, cost=Decimal("-0.00"), price=Decimal("10.50000000"), quantity=Decimal("1.00000000"))
    assert trade_line(read) == trade_line(PURCHASE)


def test_letters_that_mean_something_to_copy_are_escaped():
    """A name with a tab, a line break or a backslash can neither shift columns nor pass for another name."""
    assert trade_line(replace(PURCHASE, lot_id="a\tb\\N\nc\rd")).split("\t")[5] == r"a\tb\\N\nc\rd"
