"""The whole report: returns, years, regimes."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prometheus.domain.accounts import TaxRegime
from prometheus.domain.lots import Term
from prometheus.foundation.errors import ConfigurationError
from prometheus.ledger.corrections import refold
from prometheus.ledger.fold import fold
from prometheus.ledger.reports import BrokerFigures, Carryover, FilingStatus, Return, tax_report
from prometheus.ledger.reports.amounts import NOT_ADVICE
from prometheus.ledger.state import EMPTY
from prometheus.ledger.tie_rules import DEFAULT_TIES, WashScope
from tests.unit.ledger.reports.rows import CANADA, US, reversal, sale, terms_for
from tests.unit.ledger.told import Told, terms_of

COUPLE = terms_for({"A": "Ann", "B": "Bob"})


def losses_of_a_couple():
    """Return postings of a loss of 4,000 for each of Ann and Bob."""
    return [sale("2024-06-21", "1000", "5000", account=account, event=account) for account in "AB"]


def test_two_who_file_jointly_have_one_limit():
    """Losses of 4,000 each: one return takes 3,000 and carries 5,000; two separate ones take 1,500 each."""
    joint = tax_report(losses_of_a_couple(), COUPLE, [Return("both", ("Ann", "Bob"), FilingStatus.JOINT)])
    (schedule,) = joint.returns[0].schedules_d
    assert (schedule.line_16, schedule.line_21, schedule.carried_out.short_term) == (-8000, 3000, 5000)
    separate = tax_report(
        losses_of_a_couple(),
        COUPLE,
        [Return("Ann", ("Ann",), FilingStatus.SEPARATE), Return("Bob", ("Bob",), FilingStatus.SEPARATE)],
    )
    assert [each.schedules_d[0].line_21 for each in separate.returns] == [1500, 1500]
    assert [each.schedules_d[0].carried_out.short_term for each in separate.returns] == [2500, 2500]


def test_taxpayers_without_a_return_file_alone():
    """Without returns each taxpayer has one, and each line is in one of them."""
    report = tax_report(losses_of_a_couple(), COUPLE)
    assert [(each.filing.name, len(each.lines)) for each in report.returns] == [("Ann", 1), ("Bob", 1)]
    assert report.notice == NOT_ADVICE


def test_years_asked_for_are_reported_without_gaps():
    """Asked for 2022 and 2024, 2023 is reported too; lines of other years are left out, their losses are carried."""
    postings = [sale(f"{year}-06-21", "0", "9000", event=f"e{year}") for year in (2020, 2024)]
    report = tax_report(postings, US, years=[2024, 2022])
    assert report.years == (2022, 2023, 2024)
    (filed,) = report.returns
    assert [line.year for line in filed.lines] == [2024]
    assert [row.tax_year for row in filed.form_8949] == [2024]
    assert [each.carried_in.short_term for each in filed.schedules_d] == [3000, 0, 0]


def test_without_years_all_are_reported():
    """Without years the report has all that have something to report; without postings it has none."""
    assert tax_report([sale("2020-06-21", "1", "1"), sale("2022-06-21", "1", "1")], US).years == (2020, 2021, 2022)
    assert tax_report([], US).returns == ()


def test_an_opening_carryover_of_a_canadian_is_refused():
    """Canadian taxpayers have no short-term and long-term carryovers; giving them is refused, not passed over."""
    with pytest.raises(ConfigurationError, match="is Canadian"):
        tax_report([], CANADA, [Return("Ann", ("Ann",), opening=Carryover(Decimal(5)))])
    row = sale("2024-06-21", "5", "4", term=Term.NONE)
    key = tax_report([row], CANADA).returns[0].lines[0].key
    figures = {key: BrokerFigures(Decimal(4), Decimal(0), Term.NONE)}
    with pytest.raises(ConfigurationError, match="of US returns"):
        tax_report([row], CANADA, figures=figures)


def test_canadian_losses_are_carried_over_all_years_of_the_postings():
    """Asked for 2024 alone: the net loss of 500 of 2022 meets the taxable gain of 600, which line 25300 claims."""
    postings = [
        sale("2022-06-21", "1000", "2000", term=Term.NONE, event="e1"),
        sale("2024-06-21", "2200", "1000", term=Term.NONE, event="e2"),
    ]
    report = tax_report(postings, CANADA, years=[2024])
    (filed,) = report.returns
    assert [each.year for each in filed.schedules_3] == [2024]
    losses = filed.net_capital_losses
    assert [(use.loss_year, use.used_in, use.amount) for use in losses.uses] == [(2022, 2024, 500)]
    assert losses.balances == {}


def test_each_spouse_in_canada_has_a_return():
    """Case 11 (s. 47(1)): each taxpayer's gains are on a return of their own."""
    terms = terms_for({"A": "Ann", "B": "Bob"}, regime=TaxRegime.CA)
    postings = [
        sale("2024-06-21", "1500", "1000", term=Term.NONE, account="A"),
        sale("2024-06-21", "700", "1000", term=Term.NONE, account="B"),
    ]
    report = tax_report(postings, terms)
    assert [(each.filing.name, each.schedules_3[0].gain) for each in report.returns] == [("Ann", 500), ("Bob", -300)]


def test_statements_come_before_the_derived_view():
    """What a form at hand says of a line is in column (e); all other lines have the derived basis."""
    postings = [sale("2024-06-21", "1000", "100", event="e1"), sale("2024-06-22", "1000", "100", event="e2")]
    first, _ = tax_report(postings, US).returns[0].lines
    figures = {first.key: BrokerFigures(Decimal(900), Decimal(0), Term.SHORT, is_statement=True)}
    rows = tax_report(postings, US, figures=figures).returns[0].form_8949
    assert [(row.basis, row.codes) for row in rows] == [(900, "B"), (100, "")]


def test_losses_are_provisional_as_of_a_day():
    """The day of the last posting counts where none is given."""
    postings = [sale("2024-06-21", "100", "200"), sale("2024-07-21", "5", "4", event="t")]
    assert tax_report(postings, US).as_of == date(2024, 7, 21)
    assert tax_report(postings, US).returns[0].lines[0].provisional_until == date(2024, 7, 21)
    assert tax_report(postings, US, as_of=date(2024, 7, 22)).returns[0].lines[0].provisional_until is None


# ---------------------------------------------------------------- the sum of the postings

DAYS = st.one_of(st.integers(0, 60), st.integers(0, 700))
TRADES = st.lists(
    st.tuples(
        st.sampled_from("AB"),
        st.sampled_from(["BUY", "SELL", "SELL", "SHORT", "COVER"]),
        DAYS,
        st.integers(1, 9),
        st.integers(1, 400),
    ),
    max_size=14,
)


def history(trades):
    """Return lines of a history in which there is always enough to sell."""
    rows = [f"2022-01-03,{account},XYZ,BUY,200,20000" for account in "AB"]
    first = date(2022, 1, 4).toordinal()
    rows += [
        f"{date.fromordinal(first + day)},{account},XYZ,{action},{shares},{shares * price}"
        for account, action, day, shares, price in trades
    ]
    return "\n".join(rows)


@given(TRADES, st.sampled_from(WashScope))
def test_schedule_d_adds_up_to_the_postings_of_the_fold(trades, scope):
    """Over all returns, the gains of a year's Schedules D are the realised gains of the year's postings.

    What a purchase disallows counts in the year of the loss, which its posting names as the tax date.
    """
    ties = replace(DEFAULT_TIES, scope=scope)
    told = Told(history(trades), terms=terms_of(taxpayers={"A": "Ann", "B": "Bob"}, ties=ties), sound=False)
    report = tax_report(told.postings, told.terms, years=range(2022, 2025))
    for year in (2022, 2023, 2024):
        of_year = [each for filed in report.returns for each in filed.schedules_d if each.year == year]
        rows = [row for row in told.postings if row.tax_date is not None and row.tax_date.year == year]
        assert sum(each.gain_of_year for each in of_year) == sum(row.realized_gain for row in rows)
        by_term = dict.fromkeys(Term, Decimal(0))
        for row in rows:
            by_term[row.term] += row.realized_gain
        assert sum(each.line_7 + each.carried_in.short_term for each in of_year) == by_term[Term.SHORT]
        assert sum(each.line_15 + each.carried_in.long_term for each in of_year) == by_term[Term.LONG]


@given(TRADES)
def test_a_reversed_history_reports_nothing(trades):
    """All postings and their reversals together have no line."""
    told = Told(history(trades), sound=False)
    rows = [*told.postings, *(reversal(row, number) for number, row in enumerate(told.postings))]
    assert tax_report(rows, told.terms).returns == ()


@given(TRADES)
def test_column_h_is_our_gain_whatever_the_broker_says(trades):
    """Codes and adjustments lead from the broker's basis to our gain, row by row."""
    told = Told(history(trades), sound=False)
    for filed in tax_report(told.postings, told.terms).returns:
        gains = {line.key: line.gain for line in filed.lines}
        for row in filed.form_8949:
            assert row.gain == row.proceeds - row.basis + row.adjustment == gains[row.keys[0]]
            assert bool(row.adjustment) <= bool(row.codes)


@given(TRADES, st.sets(st.integers(0, 15)))
def test_what_is_told_late_is_reported_as_if_it_had_been_told_in_time(trades, late):
    """Postings with reversals and new rows out of order give the lines and rows of the history in one go."""
    told = Told(history(trades), sound=False)
    in_time = [event for i, event in enumerate(told.events) if i not in late]
    stored = dict(enumerate(fold(in_time, told.terms).postings))
    change = refold(EMPTY, told.events, stored, told.terms, correction_id="c1")
    written = [*stored.values(), *change.reversals, *change.postings]
    assert tax_report(written, told.terms) == tax_report(told.postings, told.terms)


def test_a_purchase_of_january_changes_the_year_of_the_loss():
    """Pub. 550: a loss of 1,000 on 9 January 2014, of which 750 are disallowed by purchases of December 2013.

    Vector 2: 100 bought for 5,000, sold for 4,000; 50 and 25 bought on 19 and 27 December carry 500 and 250. A loss of
    December 2013 that January's purchase washes counts in 2013 as well.
    """
    told = Told("""
        2013-09-26,A,XYZ,BUY,100,5000,L1
        2013-12-19,A,XYZ,BUY,50,2750,L2
        2013-12-27,A,XYZ,BUY,25,1125,L3
        2014-01-09,A,XYZ,SELL,100,4000,L1
        2012-06-01,A,ABC,BUY,10,1000,K1
        2013-12-20,A,ABC,SELL,10,600,K1
        2014-01-15,A,ABC,BUY,10,700,K2
    """)
    first, second = tax_report(told.postings, told.terms).returns[0].schedules_d
    assert (first.year, first.line_15, first.boxes[0].adjustment) == (2013, 0, 400)
    assert (second.year, second.line_7, second.boxes[0].adjustment) == (2014, -250, 750)
