"""Prices against corporate actions and adjusted closes."""

from datetime import date

import polars as pl
import pytest

from prometheus.ingestion.adjusted_close import check_total_returns
from prometheus.ingestion.columns import value_column
from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.reading import LINE

DAYS = [date(2024, 6, day) for day in (24, 25, 26)]
OTHER = [("ZZZ", DAYS[0], "dividend", 1.0)]


def remarks(closes, adjusted=None, actions=(), days=DAYS):
    """Codes and lines of the remarks about one name."""
    frame = pl.DataFrame({LINE: range(2, 2 + len(closes)), "date": days, "ticker": ["AAA"] * len(closes)})
    frame = frame.with_columns(pl.Series(value_column("close"), closes, dtype=pl.Float64))
    if adjusted is not None:
        frame = frame.with_columns(pl.Series(value_column("adj_close"), adjusted, dtype=pl.Float64))
    findings = FindingCollector("f.csv")
    check_total_returns(frame, [*actions, *OTHER], findings)
    table = findings.table()
    assert not any(finding.fatal for finding in table)
    return [(finding.code, finding.line) for finding in table]


@pytest.mark.parametrize(
    ("closes", "adjusted", "actions"),
    [
        ([100.0, 101.0, 99.0], [50.0, 50.5, 49.5], []),
        ([100.0, 50.5, 51.0], [50.0, 50.5, 51.0], [("AAA", DAYS[1], "split", 2.0)]),
        ([100.0, 99.0, 99.0], [99.0, 99.0, 99.0], [("AAA", DAYS[1], "dividend", 1.0)]),
        ([100.0, 49.0, 49.0], [49.0, 49.0, 49.0],
         [("AAA", DAYS[1], "split", 2.0), ("AAA", DAYS[1], "special_dividend", 1.0)]),
        ([100.0, 80.0, 80.0], [80.0, 80.0, 80.0], [("AAA", DAYS[1], "spinoff_price_factor", 1.25)]),
    ],
)  # fmt: skip
def test_consistent_prices_have_no_remark(closes, adjusted, actions):
    """Splits, dividends, price factors and both together explain the adjusted series."""
    assert remarks(closes, adjusted, actions) == []


def test_action_on_a_day_without_price_counts_on_the_next_priced_day():
    """A split while the name did not trade explains the next close."""
    days = [DAYS[0], DAYS[2]]
    assert remarks([100.0, 50.0], [50.0, 50.0], [("AAA", DAYS[1], "split", 2.0)], days) == []


def test_missing_dividend_shows_on_its_day_with_a_summary():
    """Where adj_close knows a payment that the actions do not, the day and the largest difference are remarked."""
    assert remarks([100.0, 97.0, 97.0], [97.0, 97.0, 97.0]) == [("ADJ_CLOSE_SUMMARY", None), ("ADJ_CLOSE_DIFFERS", 3)]


def test_difference_within_tolerance_is_rounding():
    """Less than five basis points of return are not remarked, more are."""
    assert remarks([100.0, 100.0, 100.0], [100.0, 100.04, 100.04]) == []
    assert len(remarks([100.0, 100.0, 100.0], [100.0, 100.06, 100.06])) == 2


def test_wrong_split_factor_shows_although_adjusted_close_agrees():
    """A spin-off forgotten beside a reverse split leaves a fall that both series share; the ex-date betrays it."""
    actions = [("AAA", DAYS[1], "split", 1 / 3)]
    assert remarks([30.52, 76.1, 76.1], [88.73, 73.75, 73.75], actions) == [("LARGE_MOVE_ON_ACTION", 3)]


def test_large_fall_on_an_ordinary_dividend_is_not_the_dividends_fault():
    """Ordinary dividends do not make a large move suspicious."""
    assert remarks([100.0, 80.0, 80.0], None, [("AAA", DAYS[1], "dividend", 0.5)]) == []


def test_halved_price_without_action_is_remarked():
    """A split that nobody recorded looks like a fall by half."""
    assert remarks([100.0, 50.0, 50.0]) == [("LARGE_MOVE_WITHOUT_ACTION", 3)]


def test_without_any_action_adjusted_closes_are_not_compared():
    """Before actions are loaded every dividend would differ; one remark says so instead."""
    frame = pl.DataFrame({LINE: [2], "date": DAYS[:1], "ticker": ["AAA"]})
    frame = frame.with_columns(pl.lit(1.0).alias(value_column(name)) for name in ("close", "adj_close"))
    findings = FindingCollector("f.csv")
    check_total_returns(frame, [], findings)
    assert [finding.code for finding in findings.table()] == ["NO_ACTIONS"]


def test_rows_of_names_do_not_mix_and_order_does_not_matter():
    """Each name is compared with its own previous day, whatever the order of the rows."""
    frame = pl.DataFrame(
        {
            LINE: [2, 3, 4, 5],
            "date": [DAYS[1], DAYS[0], DAYS[0], DAYS[1]],
            "ticker": ["AAA", "BBB", "AAA", "BBB"],
            value_column("close"): [10.0, 500.0, 10.0, 500.0],
        }
    )
    findings = FindingCollector("f.csv")
    check_total_returns(frame, OTHER, findings)
    assert len(findings.table()) == 0
