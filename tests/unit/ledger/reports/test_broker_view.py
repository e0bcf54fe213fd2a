"""What a broker that sees one account and one security reports of our lines."""

from dataclasses import replace
from decimal import Decimal

from prometheus.domain.lots import Term
from prometheus.ledger.fold import fold
from prometheus.ledger.reports.broker_view import broker_figures, figures_of_fold
from prometheus.ledger.reports.dispositions import disposition_lines
from prometheus.ledger.tie_rules import DEFAULT_TIES, WashScope
from tests.unit.ledger.told import Told, terms_of


def viewed(told, **settings: object):
    """Return the lines of a history, and what the broker says of each, in order."""
    told = Told(told, **settings)
    lines = disposition_lines(told.postings, told.terms)
    figures = broker_figures(lines, told.postings, told.terms)
    return lines, [figures[line.key] for line in lines], told


def broker_fold(told):
    """Return the lines that the same events give under the rules of Form 1099-B."""
    terms = replace(told.terms, ties=replace(DEFAULT_TIES, scope=WashScope.FORM_1099B))
    return disposition_lines(fold(told.events, terms).postings, terms)


CASE_07 = """
    2024-03-01,A,XYZ,BUY,10,4000
    2024-06-21,A,XYZ,SELL,10,3900
    2024-06-25,B,XYZ,BUY,10,4100
    2024-09-03,B,XYZ,SELL,10,4500
"""


def test_a_broker_does_not_see_the_loss_of_another_account():
    """Case 07: the broker of B reports 4,100, our basis is 4,200 with the loss of A; A's broker reports no wash."""
    lines, (first, second), _ = viewed(CASE_07)
    assert (first.basis, first.disallowed, first.unseen) == (4000, 0, ())
    assert (second.basis, second.disallowed) == (4100, 0)
    assert [(link.lot.account, link.amount) for link in second.unseen] == [("A", 100)]
    assert lines[1].basis == 4200


def test_a_broker_sees_the_wash_sale_of_its_own_account():
    """Pub. 550: 100 shares for 1,000, sold for 750, bought back for 800: 250 disallowed, basis 1,050, for both."""
    lines, (first, second), _ = viewed("""
        2024-03-01,A,XYZ,BUY,100,1000
        2024-06-21,A,XYZ,SELL,100,750
        2024-06-25,A,XYZ,BUY,100,800
        2024-09-03,A,XYZ,SELL,100,900
    """)
    assert (first.basis, first.disallowed) == (1000, 250)
    assert (second.basis, second.term, second.unseen) == (1050, Term.SHORT, ())
    assert [line.basis for line in lines] == [1000, 1050]


def test_parts_that_have_joined_are_seen_whole():
    """Two sales of one day wash 20 and 30 of 60 shares: one part that cost 550, for both held since 2018-12-26."""
    lines, figures, _ = viewed("""
        2019-01-02,A,X,BUY,50,500,old
        2019-06-03,A,X,BUY,60,540,new
        2019-06-10,A,X,SELL,20,160,old,,,s1
        2019-06-10,A,X,SELL,30,240,old,,,s2
        2019-12-26,A,X,SELL,60,900
    """)
    assert [(line.basis, line.term) for line in lines[2:]] == [(90, Term.SHORT), (550, Term.SHORT)]
    assert [(each.basis, each.term, each.unseen) for each in figures[2:]] == [
        (90, Term.SHORT, ()),
        (550, Term.SHORT, ()),
    ]
    assert [each.disallowed for each in figures[:2]] == [40, 60]


def test_a_broker_does_not_see_another_security_of_the_group():
    """A loss of 100 of XYZ that ABC, of the same group, replaces in the same account is not in the broker's basis."""
    _, (first, second), _ = viewed(
        """
        2024-03-01,A,XYZ,BUY,10,4000
        2024-06-21,A,XYZ,SELL,10,3900
        2024-06-25,A,ABC,BUY,10,4100
        2024-09-03,A,ABC,SELL,10,4500
        """,
        groups={"XYZ": "G", "ABC": "G"},
    )
    assert (first.disallowed, second.basis) == (0, 4100)


def test_an_unseen_loss_leaves_in_proportion_to_the_shares_sold():
    """Of B's 10 shares with 100 of A's loss 4 are sold, then 6: 40 and 60 are unseen."""
    lines, figures, _ = viewed("""
        2024-03-01,A,XYZ,BUY,10,4000
        2024-06-21,A,XYZ,SELL,10,3900
        2024-06-25,B,XYZ,BUY,10,4100
        2024-09-03,B,XYZ,SELL,4,1700
        2024-09-04,B,XYZ,SELL,6,2600
    """)
    assert [line.basis - told.basis for line, told in zip(lines, figures, strict=True)] == [0, 40, 60]


def test_the_broker_disallows_only_the_loss_that_it_reports():
    """B's basis is 4,200 for us and 4,100 for its broker; sold for 4,000 and bought back in B for 4,050.

    We disallow 200 and the broker 100; the shares bought back cost 4,250 for us and 4,150 for the broker.
    """
    lines, figures, _ = viewed("""
        2024-03-01,A,XYZ,BUY,10,4000
        2024-06-21,A,XYZ,SELL,10,3900
        2024-06-25,B,XYZ,BUY,10,4100
        2024-09-03,B,XYZ,SELL,10,4000
        2024-09-10,B,XYZ,BUY,10,4050
        2024-12-03,B,XYZ,SELL,10,5000
    """)
    assert [line.disallowed_loss for line in lines] == [100, 200, 0]
    assert [told.disallowed for told in figures] == [0, 100, 0]
    assert [line.basis for line in lines] == [4000, 4200, 4250]
    assert [told.basis for told in figures] == [4000, 4100, 4150]


def test_the_broker_does_not_count_days_held_in_another_account():
    """Held 284 days in A, then 163 in B: long-term for us, short-term for the broker of B."""
    lines, (_, second), _ = viewed("""
        2024-03-01,A,XYZ,BUY,100,10000
        2024-12-10,A,XYZ,SELL,100,8000
        2024-12-20,B,XYZ,BUY,100,8100
        2025-06-01,B,XYZ,SELL,100,9000
    """)
    assert [line.term for line in lines] == [Term.SHORT, Term.LONG]
    assert (second.term, second.basis) == (Term.SHORT, 8100)


def test_the_broker_counts_days_held_in_its_own_account():
    """Case 08: bought back in the same account, the shares are long-term for the broker too."""
    _, (_, second), _ = viewed("""
        2024-03-01,A,XYZ,BUY,100,10000
        2024-12-10,A,XYZ,SELL,100,8000
        2024-12-20,A,XYZ,BUY,100,8100
        2025-06-01,A,XYZ,SELL,100,9000
    """)
    assert (second.term, second.basis) == (Term.LONG, 10100)


def test_a_period_that_a_short_sale_restarts_is_known_in_its_own_account():
    """26 U.S.C. 1233(b)(2): a period restarts on 1 July 2024; the broker of the short sale knows, another does not."""
    told = """
        2024-01-02,A,X,BUY,10,1200,L
        2024-06-03,{account},X,SHORT,10,1000
        2024-07-01,{account},X,COVER,10,900
        2025-02-03,A,X,SELL,10,1500
    """
    lines, figures, _ = viewed(told.format(account="A"))
    assert (lines[-1].term, figures[-1].term) == (Term.SHORT, Term.SHORT)
    lines, figures, _ = viewed(told.format(account="B"))
    assert (lines[-1].term, figures[-1].term) == (Term.SHORT, Term.LONG)


def test_books_of_one_account_are_the_view_of_its_broker():
    """Under the scope FORM_1099B shares sold again carry a loss; our lines are what the broker reports."""
    lines, figures, _ = viewed(
        """
        2024-01-02,A,X,BUY,10,1000,L1
        2024-06-03,A,X,BUY,10,950,L2
        2024-06-10,A,X,SELL,10,980,L2
        2024-06-12,A,X,SELL,10,900,L1
        """,
        ties=replace(DEFAULT_TIES, scope=WashScope.FORM_1099B),
    )
    assert [(each.basis, each.disallowed) for each in figures] == [(1050, 0), (1000, 100)]
    assert [(line.basis, line.disallowed_loss) for line in lines] == [(1050, 0), (1000, 100)]


def test_unseen_losses_move_with_the_shares():
    """A loss of 100 inside B's basis goes along when the shares are transferred to C, and is unseen there too."""
    lines, figures, _ = viewed("""
        2024-03-01,A,XYZ,BUY,10,4000
        2024-06-21,A,XYZ,SELL,10,3900
        2024-06-25,B,XYZ,BUY,10,4100
        2024-08-01,B,XYZ,TRANSFER_OUT,4,,,C
        2024-09-03,B,XYZ,SELL,6,2700
        2024-09-04,C,XYZ,SELL,4,1800
    """)
    assert [line.basis - told.basis for line, told in zip(lines, figures, strict=True)] == [0, 60, 40]


def test_a_part_that_replaces_alone_carries_the_unseen_loss():
    """Of B's 15 shares 10 replace A's: the broker's basis of both parts is the cost."""
    lines, figures, _ = viewed("""
        2024-03-01,A,XYZ,BUY,10,4000
        2024-06-21,A,XYZ,SELL,10,3900
        2024-06-25,B,XYZ,BUY,15,6150
        2024-09-03,B,XYZ,SELL,15,6750
    """)
    assert sum(line.basis for line in lines[1:]) == 6250
    assert sum(told.basis for told in figures[1:]) == 6150


def test_the_second_fold_has_the_same_view():
    """Case 07 folded again under the rules of Form 1099-B gives what is derived from the postings."""
    lines, figures, told = viewed(CASE_07)
    second = figures_of_fold(lines, broker_fold(told))
    assert [(second[line.key].basis, second[line.key].disallowed) for line in lines] == [
        (each.basis, each.disallowed) for each in figures
    ]


def test_the_second_fold_shares_out_what_it_splits_otherwise():
    """B's 15 shares are two lots for us and one for the broker; its basis of 6,150 goes 10 to 5, to the cent."""
    lines, _, told = viewed("""
        2024-03-01,A,XYZ,BUY,10,4000
        2024-06-21,A,XYZ,SELL,10,3900
        2024-06-25,B,XYZ,BUY,15,6150
        2024-09-03,B,XYZ,SELL,15,6750
    """)
    second = figures_of_fold(lines, broker_fold(told))
    shares = {line.quantity: second[line.key].basis for line in lines[1:]}
    assert shares == {Decimal(10): Decimal(4100), Decimal(5): Decimal(2050)}


def test_only_the_second_fold_sees_a_wash_that_the_household_matched_elsewhere():
    """A's loss of 100 meets B's earlier purchase in the household, and A's own later one on the broker's form."""
    lines, (first, *_), told = viewed(
        """
        2024-03-01,A,XYZ,BUY,10,4000
        2024-06-21,A,XYZ,SELL,10,3900
        2024-06-24,B,XYZ,BUY,10,4100
        2024-06-25,A,XYZ,BUY,10,4150
        """
    )
    assert lines[0].replacements[0].account == "B"
    assert first.disallowed == 0
    assert figures_of_fold(lines, broker_fold(told))[lines[0].key].disallowed == 100


def test_ties_that_tack_by_acquisition_date_are_followed():
    """With the tie rule ACQUISITION_DATE the shares count from where the broker's own sold shares counted."""
    from prometheus.ledger.tie_rules import Tacking

    told = Told(
        """
        2024-03-01,A,XYZ,BUY,100,10000
        2024-12-10,A,XYZ,SELL,100,8000
        2024-12-20,A,XYZ,BUY,100,8100
        2025-03-02,A,XYZ,SELL,100,9000
        """,
        terms=terms_of(ties=replace(DEFAULT_TIES, tacking=Tacking.ACQUISITION_DATE)),
    )
    lines = disposition_lines(told.postings, told.terms)
    figures = broker_figures(lines, told.postings, told.terms)
    assert lines[1].term is figures[lines[1].key].term is Term.LONG


def test_rows_of_a_correction_are_read_where_they_belong():
    """A purchase told late washes a loss; the lot split that it causes is stored behind the carried loss it precedes.

    B's late purchase of 15 takes over A's loss of 100 on 10 shares; stored in any order, the broker's basis of the two
    parts sold is the cost of 6,150.
    """
    told = Told("""
        2024-03-01,A,XYZ,BUY,10,4000
        2024-06-21,A,XYZ,SELL,10,3900
        2024-06-25,B,XYZ,BUY,15,6150
        2024-09-03,B,XYZ,SELL,15,6750
    """)
    lines = disposition_lines(told.postings, told.terms)
    figures = broker_figures(lines, told.postings[::-1], told.terms)
    assert sum(figures[line.key].basis for line in lines[1:]) == 6150
