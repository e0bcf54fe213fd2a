from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prometheus.domain.accounts import LotMethod
from prometheus.domain.books import LotPick
from prometheus.ledger import events as ev
from prometheus.ledger.files.file_terms import FileTerms
from prometheus.ledger.files.own_format import read_own_format
from prometheus.ledger.files.writer import row_of, write_own_format
from prometheus.ledger.terms import AssetClass

DAYS = st.dates(date(1990, 1, 1), date(2190, 1, 1))
MONEY = st.decimals(0, 10**9, places=2, allow_nan=False, allow_infinity=False)
SIGNED = st.decimals(-(10**6), 10**6, places=2, allow_nan=False, allow_infinity=False)
SHARES = st.decimals(Decimal("0.000000001"), 10**9, places=9, allow_nan=False, allow_infinity=False)
PRICES = st.decimals(0, 10**5, places=6, allow_nan=False, allow_infinity=False)
RATIOS = st.fractions(Fraction(1, 1000), 1000, max_denominator=1000).filter(bool)
TICKERS = st.sampled_from(["X", "BRK.B", "Y1", "ABC"])
OTHERS = st.sampled_from(["NEW", "CHILD"])
NAMES = (
    st.text("abcXYZ019-_. :#", min_size=1, max_size=12).map(str.strip).filter(lambda name: name and not name.isdigit())
)
LOTS = st.none() | NAMES.filter(lambda name: "=" not in name)
FOREIGN = st.just({}) | st.fixed_dictionaries(
    {"currency": st.sampled_from(["USD", "EUR"]), "rate": st.decimals("0.0001", 1000, places=6)}
)


@st.composite
def commons(draw):
    """Draw what every event has."""
    return {
        "account": draw(st.sampled_from(["A", "B", "acct 3"])),
        "event_id": draw(NAMES),
        "trade_date": draw(DAYS),
        "settle_date": draw(st.none() | DAYS),
    } | draw(FOREIGN)


def picked(draw, quantity):
    """Draw lots that add up to a quantity: none, one, or two where it can be halved."""
    half = quantity / 2
    picks = [(), (LotPick("L1", quantity),)]
    if half == half.quantize(Decimal("0.000000001")):
        picks.append((LotPick("L1", half), LotPick("L 2", half)))
    return draw(st.sampled_from(picks))


@st.composite
def facts(draw):
    """Draw any event that is a fact by itself."""
    common, ticker, quantity, amount = draw(commons()), draw(TICKERS), draw(SHARES), draw(MONEY)
    paid = draw(st.booleans())
    payment = {"amount": amount if paid else None, "per_share": None if paid else draw(PRICES)}
    fractions = {"cash_in_lieu": draw(st.none() | MONEY), "fraction_price": draw(st.none() | PRICES)}
    fee = draw(MONEY)
    kind = draw(st.sampled_from([each for each in ev.EVENT_TYPES.values() if each != ev.Correction]))
    match kind:
        case ev.OpeningLot | ev.TransferIn:
            acquired = draw(st.none() | st.dates(date(1950, 1, 1), common["trade_date"]))
            return kind(
                **common,
                ticker=ticker,
                quantity=quantity,
                cost_basis=amount,
                adjusted_basis=draw(st.none() | MONEY),
                acquired_on=acquired,
                holding_period_start=draw(st.none() | DAYS),
                replaced_quantity=draw(st.sampled_from([Decimal(0), quantity])),
                lot_id=draw(LOTS),
            )
        case ev.OpeningCash | ev.Fee | ev.Interest:
            return kind(**common, amount=draw(SIGNED))
        case ev.CashTransfer:
            money = draw(SIGNED)
            other = draw(st.none() | st.just("C")) if money < 0 else None
            return kind(**common, amount=money, other_account=other)
        case ev.TransferOut:
            other = draw(st.none() | st.just("C"))
            picks = picked(draw, quantity)
            return kind(**common, ticker=ticker, quantity=quantity, picks=picks, other_account=other)
        case ev.Buy | ev.Reinvestment | ev.ShortSale:
            return kind(**common, ticker=ticker, quantity=quantity, amount=amount, fee=fee, lot_id=draw(LOTS))
        case ev.Sell:
            picks, method = picked(draw, quantity), draw(st.none() | st.sampled_from(LotMethod))
            return kind(**common, ticker=ticker, quantity=quantity, amount=amount, fee=fee, picks=picks, method=method)
        case ev.CoverShort:
            picks = picked(draw, quantity)
            return kind(**common, ticker=ticker, quantity=quantity, amount=amount, fee=fee, picks=picks)
        case ev.Dividend:
            return kind(**common, ticker=ticker, kind=draw(st.sampled_from(ev.DividendKind)), **payment)
        case ev.NotionalDistribution | ev.ReturnOfCapital:
            return kind(**common, ticker=ticker, **payment)
        case ev.Delisting:
            return kind(**common, ticker=ticker, quantity=draw(st.none() | SHARES), **payment)
        case ev.Split:
            return kind(**common, ticker=ticker, ratio=draw(RATIOS), **fractions)
        case ev.CashInLieu:
            return kind(**common, ticker=ticker, quantity=quantity, amount=amount)
        case ev.SpinOff:
            part = draw(st.decimals("0.0001", "0.9999", places=6))
            child, ratio = draw(OTHERS), draw(RATIOS)
            return kind(**common, ticker=ticker, child=child, ratio=ratio, basis_fraction=part, **fractions)
        case ev.StockDistribution:
            return kind(**common, ticker=ticker, value=draw(PRICES), close=draw(PRICES) + 1)
        case ev.SymbolChange:
            return kind(**common, ticker=ticker, new_ticker=draw(OTHERS))
        case ev.Merger:
            stock = draw(st.booleans())
            return kind(
                **common,
                ticker=ticker,
                new_ticker=draw(OTHERS) if stock else "",
                ratio=draw(RATIOS) if stock else Fraction(0),
                cash_per_share=draw(PRICES) + (not stock),
                new_price=draw(PRICES) if stock else None,
                is_taxable=draw(st.booleans()),
                **fractions,
            )
        case _:
            assert kind is ev.Cancellation
            named = {name: common[name] for name in ("account", "event_id", "trade_date")}
            # No event cancels itself.
            return ev.Cancellation(**named, target_id=draw(NAMES.filter(lambda name: name != named["event_id"])))


@st.composite
def histories(draw):
    """Draw events of different names, some of them corrected."""
    told = draw(st.lists(facts(), max_size=12, unique_by=lambda event: (event.account, event.event_id)))
    told = [event for event in told if not (isinstance(event, ev.Cancellation) and _is_taken(event.target_id, told))]
    # A row before the opening of its account is a finding of its own.
    opened = {event.account for event in told if isinstance(event, ev.OpeningLot | ev.OpeningCash)}
    told = [event for event in told if event.account not in opened]
    corrected = [
        ev.Correction(account=event.account, event_id=f"c/{event.event_id}", trade_date=draw(DAYS), replacement=event)
        for event in told
        if not isinstance(event, ev.Cancellation) and draw(st.booleans())
    ]
    return [*told, *corrected]


def _is_taken(name, events):
    return any(event.event_id == name for event in events)


@settings(max_examples=60, deadline=None)
@given(histories())
def test_what_is_written_is_read_into_the_same_events(events):
    """Every kind of event, with every field that it has, survives the way through the own format."""
    file = read_own_format(write_own_format(events))
    assert [finding for finding in file.findings if finding.refused] == []
    assert set(file.events) == set(events)


@settings(max_examples=60, deadline=None)
@given(facts())
def test_one_event_of_each_kind_survives(event):
    """Openings as well, which no row of the account may come before."""
    file = read_own_format(write_own_format([event]))
    assert (file.findings, file.events) == ((), (event,))


def test_terms_are_written_into_the_rows_that_they_concern():
    """Types, taxpayers, groups and asset classes come back as they were."""
    terms = FileTerms(
        accounts=frozenset("AB"),
        sheltered=frozenset("A"),
        taxable=frozenset("B"),
        taxpayers={"A": "ME"},
        groups={"X": "G"},
        asset_classes={"X": AssetClass.DIGITAL_ASSET},
    )
    events = [
        ev.Buy(
            account=name,
            event_id="1 a",
            trade_date=date(2024, 1, 2),
            ticker="X",
            quantity=Decimal(1),
            amount=Decimal(5),
        )
        for name in "AB"
    ]
    assert read_own_format(write_own_format(events, terms)).terms == terms


def test_columns_without_values_are_not_written():
    """A plain history has the plain columns."""
    event = ev.Dividend(account="A", event_id="d", trade_date=date(2024, 1, 2), ticker="X", amount=Decimal(5))
    assert write_own_format([event]) == (
        "date,account,ticker,action,quantity,amount,entry_id\n2024-01-02,A,X,DIVIDEND,,5,d\n"
    )


def test_an_action_of_the_whole_market_has_no_row():
    """A row belongs to an account; an event that names none cannot be written."""
    event = ev.Split(account="", event_id="s", trade_date=date(2024, 1, 2), ticker="X", ratio=Fraction(2))
    assert row_of(event)["quantity"] == "2:1"
    with pytest.raises(ValueError, match="names no account"):
        write_own_format([event])
