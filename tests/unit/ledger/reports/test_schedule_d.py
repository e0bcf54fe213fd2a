"""Schedule D, the limit a return, the carryover worksheet, and years in a row."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prometheus.domain.lots import Term
from prometheus.ledger.reports.amounts import FilingStatus
from prometheus.ledger.reports.dispositions import disposition_lines
from prometheus.ledger.reports.form_8949 import BrokerReporting, form_8949
from prometheus.ledger.reports.returns import Carryover, Return, YearInput
from prometheus.ledger.reports.schedule_d import carryover_worksheet, schedule_d, schedules_d
from tests.unit.ledger.reports.rows import US, sale

CENTS = st.integers(-2_000_000, 2_000_000).map(lambda cents: Decimal(cents) / 100)
SINGLE = Return("Ann", ("Ann",))
NOTHING_CARRIED = Carryover()


def rows_of(*gains: tuple[int, Term, Decimal]):
    """Return rows of Form 8949 for (year, term, gain)."""
    postings = [
        sale(f"{year}-06-21", Decimal(10_000_000) + gain, "10000000", term=term, event=f"e{i}", lot=f"L{i}")
        for i, (year, term, gain) in enumerate(gains)
    ]
    return form_8949(disposition_lines(postings, US), {}, BrokerReporting())


def one_year(short, long, *, carried=NOTHING_CARRIED, filing=SINGLE, **inputs: object):
    """Return Schedule D of 2024 for a short-term and a long-term gain."""
    rows = rows_of((2024, Term.SHORT, Decimal(short)), (2024, Term.LONG, Decimal(long)))
    return schedule_d(filing, 2024, rows, carried, YearInput(**inputs))


# ---------------------------------------------------------------- one year


def test_terms_net_by_themselves_and_then_against_each_other():
    """26 U.S.C. 1222: 500 short-term and -200 long-term are a net gain of 300, and nothing is carried."""
    schedule = one_year(500, -200)
    assert (schedule.line_7, schedule.line_15, schedule.line_16, schedule.line_21) == (500, -200, 300, 0)
    assert schedule.worksheet is None
    assert schedule.carried_out == Carryover()


def test_a_loss_within_the_limit_is_used_up():
    """A loss of 2,500 goes against other income as a whole."""
    schedule = one_year(-2000, -500)
    assert (schedule.line_16, schedule.line_21, schedule.worksheet) == (-2500, 2500, None)


def test_the_limit_takes_short_term_losses_first():
    """Losses of 4,000 short-term and 5,000 long-term: 3,000 of the short-term ones go, 1,000 and 5,000 stay."""
    schedule = one_year(-4000, -5000)
    assert schedule.line_21 == 3000
    assert schedule.carried_out == Carryover(Decimal(1000), Decimal(5000))


def test_the_worksheet_of_a_loss_of_both_terms():
    """Lines 1 to 13 by hand: taxable income 40,000, line 7 -1,000, line 15 -6,000, line 21 3,000.

    1: 40,000. 2: 3,000. 3: 43,000. 4: 3,000. 5: 1,000. 6: 0. 7: 3,000. 8: 0. 9: 6,000. 10: 0.
    11: 3,000 - 1,000 = 2,000. 12: 2,000. 13: 4,000.
    """
    sheet = carryover_worksheet(
        taxable_income=Decimal(40000), line_7=Decimal(-1000), line_15=Decimal(-6000), line_21=Decimal(3000)
    )
    assert sheet.lines == (40000, 3000, 43000, 3000, 1000, 0, 3000, 0, 6000, 0, 2000, 2000, 4000)
    assert sheet.carried_out == Carryover(Decimal(0), Decimal(4000))


def test_the_worksheet_skips_the_lines_of_a_term_without_a_loss():
    """A short-term loss of 10,000 with a long-term gain of 2,000: line 8 is 10,000 - (3,000 + 2,000) = 5,000."""
    sheet = carryover_worksheet(
        taxable_income=None, line_7=Decimal(-10000), line_15=Decimal(2000), line_21=Decimal(3000)
    )
    assert sheet.lines == (0, 3000, 3000, 3000, 10000, 2000, 5000, 5000, None, None, None, None, None)
    sheet = carryover_worksheet(
        taxable_income=None, line_7=Decimal(2000), line_15=Decimal(-10000), line_21=Decimal(3000)
    )
    assert sheet.lines == (0, 3000, 3000, 3000, 0, None, None, None, 10000, 2000, 3000, 5000, 5000)


def test_income_that_cannot_use_the_loss_leaves_more_to_carry():
    """Taxable income of -2,000 after a loss of 3,000: only 1,000 of the loss was used.

    1: -2,000. 2: 3,000. 3: 1,000. 4: 1,000. 5: 3,500. 6: 0. 7: 1,000. 8: 2,500.
    """
    schedule = one_year(-3500, 0, taxable_income=Decimal(-2000))
    assert schedule.worksheet is not None
    assert schedule.worksheet.lines[:8] == (-2000, 3000, 1000, 1000, 3500, 0, 1000, 2500)
    assert schedule.carried_out == Carryover(Decimal(2500), Decimal(0))


def test_a_loss_within_the_limit_is_carried_where_income_is_negative():
    """Condition (b) of the worksheet: a loss of 1,000 and taxable income of -5,000 carries all of the 1,000."""
    schedule = one_year(-1000, 0, taxable_income=Decimal(-5000))
    assert schedule.line_21 == 1000
    assert schedule.carried_out == Carryover(Decimal(1000), Decimal(0))


def test_married_people_who_file_separately_have_half_the_limit():
    """A loss of 4,000 leaves 1,000 to a return of one, 2,500 to one that is filed separately."""
    assert one_year(-4000, 0).carried_out.total == 1000
    separate = Return("Ann", ("Ann",), FilingStatus.SEPARATE)
    assert one_year(-4000, 0, filing=separate).carried_out.total == 2500


def test_what_is_reported_elsewhere_is_netted_too():
    """Lines 4 to 5, 11 to 12 and 13 join lines 7 and 15."""
    schedule = one_year(
        100,
        200,
        short_term_elsewhere=Decimal(-40),
        long_term_elsewhere=Decimal(7),
        capital_gain_distributions=Decimal(30),
    )
    assert (schedule.line_7, schedule.line_15, schedule.gain_of_year) == (60, 237, 300)


def test_losses_carried_in_keep_their_term():
    """Lines 6 and 14: 500 short-term and 700 long-term carried in are taken off the gains of their term."""
    schedule = one_year(1000, 1000, carried=Carryover(Decimal(500), Decimal(700)))
    assert (schedule.line_7, schedule.line_15) == (500, 300)


# ---------------------------------------------------------------- years in a row


def test_carryovers_pass_from_year_to_year():
    """A short-term loss of 8,000 in 2022: 3,000 a year for two years, and 2,000 meet the gain of 2,500 in 2024."""
    rows = rows_of((2022, Term.SHORT, Decimal(-8000)), (2024, Term.SHORT, Decimal(2500)))
    schedule = schedules_d(SINGLE, rows, range(2022, 2025))
    assert [(each.year, each.line_21, each.carried_out.short_term) for each in schedule] == [
        (2022, 3000, 5000),
        (2023, 3000, 2000),
        (2024, 0, 0),
    ]
    assert schedule[2].line_7 == 500


def test_losses_of_years_before_the_first_one_asked_for_arrive():
    """Asked for 2024 alone, the loss of 2022 is carried through 2023."""
    rows = rows_of((2022, Term.SHORT, Decimal(-8000)), (2024, Term.SHORT, Decimal(2500)))
    (schedule,) = schedules_d(SINGLE, rows, [2024])
    assert (schedule.carried_in.short_term, schedule.line_7) == (2000, 500)


def test_an_opening_carryover_replaces_all_earlier_years():
    """With an opening carryover of 100 and 900 the rows of earlier years are passed over."""
    filing = Return("Ann", ("Ann",), opening=Carryover(Decimal(100), Decimal(900)))
    rows = rows_of((2022, Term.SHORT, Decimal(-8000)), (2024, Term.SHORT, Decimal(2500)))
    (schedule,) = schedules_d(filing, rows, [2024])
    assert (schedule.line_7, schedule.line_15) == (2400, -900)


def test_no_years_have_no_schedules():
    """Without years there is nothing to fill in."""
    assert schedules_d(SINGLE, (), ()) == ()


# ---------------------------------------------------------------- properties


@given(st.lists(st.tuples(st.integers(2019, 2025), st.sampled_from([Term.SHORT, Term.LONG]), CENTS), max_size=12))
def test_a_year_has_the_gains_of_its_postings(gains):
    """The gain of all rows of a year is the sum of the realised gains of its postings."""
    schedule = schedules_d(SINGLE, rows_of(*gains), range(2019, 2026))
    assert [each.gain_of_year for each in schedule] == [
        sum((gain for year, _, gain in gains if year == each.year), Decimal(0)) for each in schedule
    ]


@given(
    st.lists(st.tuples(st.integers(2019, 2025), st.sampled_from([Term.SHORT, Term.LONG]), CENTS), max_size=12),
    st.tuples(CENTS.map(abs), CENTS.map(abs)),
    st.sampled_from(FilingStatus),
)
def test_no_loss_is_made_or_lost_on_the_way(gains, opening, status):
    """What goes into a year and arises in it is used against other income, taxed as a gain, or carried on."""
    filing = Return("Ann", ("Ann",), status, opening=Carryover(*opening))
    for each in schedules_d(filing, rows_of(*gains), range(2019, 2026)):
        taxed = max(each.line_16, Decimal(0))
        assert each.gain_of_year - each.carried_in.total == taxed - each.line_21 - each.carried_out.total
        assert each.carried_out.short_term >= 0
        assert each.carried_out.long_term >= 0


@given(CENTS, CENTS, CENTS)
def test_a_carryover_keeps_to_the_loss_of_its_term(short, long, income):
    """A term carries on no more than its own net loss, whatever the taxable income is."""
    schedule = one_year(short, long, taxable_income=income)
    assert schedule.carried_out.short_term <= max(-short, Decimal(0))
    assert schedule.carried_out.long_term <= max(-long, Decimal(0))
    used = max(-schedule.line_16, Decimal(0)) - schedule.carried_out.total
    assert 0 <= used <= schedule.line_21


@pytest.mark.parametrize("income", [None, Decimal(0), Decimal("0.01"), Decimal(1_000_000)])
def test_any_income_of_zero_or_more_gives_the_same_carryover(income):
    """The default of the worksheet's line 1 changes nothing as long as taxable income is not negative."""
    assert one_year(-9000, -800, taxable_income=income).carried_out == Carryover(Decimal(6000), Decimal(800))
