"""Random histories of a household as events: three accounts, a group of twins, every kind of action, corrections."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import strategies as st

from prometheus.domain.accounts import AccountKind, LotMethod, TaxRates
from prometheus.domain.books import LotPick
from prometheus.ledger import events as ev
from prometheus.ledger.keys import EVERY_ACCOUNT
from prometheus.ledger.terms import AccountTerms, Terms
from prometheus.ledger.tie_rules import (
    EqualLots,
    ReplacementOrder,
    SameDayLosses,
    SameDayShelter,
    SameDayTrades,
    Tacking,
    TieRules,
    WashScope,
)

START = date(2019, 10, 1)
ACCOUNTS = ("A", "B", "IRA")
TICKERS = ("XX", "XY", "ZZ")
GAPS = (0, 0, 1, 2, 7, 15, 29, 30, 31, 200)

money = st.integers(0, 200_000).map(lambda cents: Decimal(cents) / 100)
shares = st.integers(1, 60).map(Decimal) | st.integers(1, 10**10).map(lambda parts: Decimal(parts) / 10**9)
ties = st.builds(
    TieRules,
    same_day_losses=st.sampled_from(SameDayLosses),
    replacement_order=st.sampled_from(ReplacementOrder),
    same_day_trades=st.sampled_from(SameDayTrades),
    tacking=st.sampled_from(Tacking),
    equal_lots=st.sampled_from(EqualLots),
    scope=st.sampled_from(WashScope),
    same_day_shelter=st.sampled_from(SameDayShelter),
    earlier_purchases_replace=st.booleans(),
    same_day_purchases_replace=st.booleans(),
)


@st.composite
def us_terms(draw):
    """Draw the terms of a US household with an IRA; one account holds whole shares only."""
    method = draw(st.sampled_from([LotMethod.FIFO, LotMethod.HIFO, LotMethod.LEAST_TAX_FIRST]))
    taxable = AccountTerms(method=method, rates=TaxRates(Decimal("0.37"), Decimal("0.2")))
    return Terms(
        accounts={
            "A": taxable,
            "B": AccountTerms(method=method, is_fractional=False),
            "IRA": AccountTerms(method=method, kind=AccountKind.SHELTERED),
        },
        groups={"XX": "TWINS", "XY": "TWINS"},
        ties=draw(ties),
    )


@st.composite
def histories(draw, *, most=14, corrections=True, shorts=False):
    """Draw events, most of which can be booked; days ascending, corrections of what was told before among them.

    ``shorts`` adds short sales with their covers, some of them later than what follows.
    """
    day, events = START, []
    for account in draw(st.sets(st.sampled_from(ACCOUNTS))):
        bought = START - timedelta(days=draw(st.sampled_from([0, 5, 30, 31, 400])))
        quantity = draw(shares)
        events.append(
            ev.OpeningLot(
                account=account,
                event_id=f"o{account}",
                trade_date=START,
                ticker=draw(st.sampled_from(TICKERS)),
                quantity=quantity,
                cost_basis=draw(money),
                acquired_on=bought,
                replaced_quantity=draw(st.sampled_from([Decimal(0), quantity / 2 if quantity >= 2 else quantity])),
            )
        )
    for number in range(draw(st.integers(1, most))):
        day += timedelta(days=draw(st.sampled_from(GAPS)))
        if number + 4 <= most and draw(st.integers(0, 5)) == 0:
            events += draw(loss_bought_back(day, f"w{number:02d}"))
            day = events[-1].trade_date
        event = draw(single_event(day, f"e{number:02d}"))
        events.append(event)
        if shorts and draw(st.booleans()):
            short = draw(short_sale(day, f"s{number:02d}"))
            covered = day + timedelta(days=draw(st.sampled_from(GAPS)))
            events += [short, draw(cover_of(short, covered, f"v{number:02d}"))]
        if corrections and draw(st.integers(0, 7)) == 0:
            target = draw(st.sampled_from([each for each in events if type(each) in ev.EVENT_TYPES.values()]))
            events.append(draw(correction_of(target, day, f"c{number:02d}")))
    return tuple(events)


@st.composite
def loss_bought_back(draw, day, stem):
    """Draw a purchase, its sale at a loss, and purchases on the way that may replace what was sold.

    Sales drawn at random seldom meet a position that they can sell, and seldom at a loss.
    """
    seller, ticker = draw(st.sampled_from(ACCOUNTS)), draw(st.sampled_from(TICKERS))
    quantity = Decimal(draw(st.integers(2, 60)))
    sold = quantity - Decimal(draw(st.integers(0, int(quantity) - 1)))
    gaps = st.sampled_from((0, 1, 7, 15, 30, 31))
    dates = [day]
    dates += [dates[-1] + timedelta(days=draw(gaps)) for _ in range(draw(st.integers(1, 3)))]
    sale = draw(st.integers(1, len(dates) - 1))
    events = []
    for number, on in enumerate(dates):
        own = {"event_id": f"{stem}-{number}", "trade_date": on}
        if number == 0:
            own |= {"account": seller, "ticker": ticker}
            events.append(ev.Buy(**own, quantity=quantity, amount=50 * quantity + draw(money)))
        elif number == sale:
            own |= {"account": seller, "ticker": ticker}
            amount = (sold * Decimal(draw(st.integers(100, 4900))) / 100).quantize(Decimal("0.01"))
            events.append(ev.Sell(**own, quantity=sold, amount=amount))
        else:
            # the other class of the same company replaces too
            own |= {"account": draw(st.sampled_from(ACCOUNTS)), "ticker": draw(st.sampled_from((ticker, *TICKERS)))}
            part = draw(st.sampled_from((sold, sold / 2, Decimal(1))))
            events.append(ev.Buy(**own, quantity=part, amount=30 * part))
    return events


@st.composite
def short_sale(draw, day, event_id):
    """Draw a short sale."""
    return ev.ShortSale(
        account=draw(st.sampled_from(ACCOUNTS)),
        event_id=event_id,
        trade_date=day,
        ticker=draw(st.sampled_from(TICKERS)),
        quantity=draw(shares),
        amount=draw(money),
    )


@st.composite
def cover_of(draw, short, day, event_id):
    """Draw the cover of a short sale, or of a part of it."""
    part = draw(st.sampled_from([1, 1, 2])) if short.quantity >= 2 else 1
    return ev.CoverShort(
        account=short.account,
        event_id=event_id,
        trade_date=day,
        ticker=short.ticker,
        quantity=short.quantity / part,
        amount=draw(money),
        fee=draw(st.sampled_from([Decimal(0), Decimal("1.99")])),
    )


@st.composite
def correction_of(draw, target, day, event_id):
    """Draw a cancellation of an event, or a correction of its day or size."""
    base = {"account": target.account, "event_id": event_id, "trade_date": max(day, target.trade_date)}
    if isinstance(target, ev.Correction | ev.Cancellation) or draw(st.booleans()):
        return ev.Cancellation(**base, target_id=target.event_id)
    other_day = START + timedelta(days=draw(st.integers(0, 60)))
    replacement = draw(single_event(other_day, target.event_id, account=target.account))
    return ev.Correction(**base, replacement=replacement)


@st.composite
def single_event(draw, day, event_id, *, account=None):
    """Draw one event of a day."""
    everywhere = account == EVERY_ACCOUNT
    name = account or draw(st.sampled_from(ACCOUNTS))
    ticker = draw(st.sampled_from(TICKERS))
    own = {"account": name, "event_id": event_id, "trade_date": day}
    if draw(st.integers(0, 9)) == 0:
        own |= {"currency": "EUR", "rate": Decimal(draw(st.sampled_from(["1.0837", "0.9"])))}
    if draw(st.integers(0, 9)) == 0:
        own["settle_date"] = day + timedelta(days=draw(st.sampled_from([1, 2, 5])))
    market = {**own, "account": account if account is not None else draw(st.sampled_from([EVERY_ACCOUNT, name]))}
    kinds = ["split", "spin-off", "distribution", "symbol", "merger", "dividend", "return", "notional"]
    if not everywhere:
        kinds = (
            ["buy"] * 12
            + ["sell"] * 14
            + kinds
            + [
                "in",
                "out",
                "delisting",
                "reinvest",
                "fraction",
                "fee",
                "interest",
                "cash",
                "transfer",
                "short",
                "cover",
            ]
        )
    match draw(st.sampled_from(kinds)):
        case "buy":
            return ev.Buy(**own, ticker=ticker, quantity=draw(shares), amount=draw(money))
        case "short":
            return ev.ShortSale(**own, ticker=ticker, quantity=draw(shares), amount=draw(money))
        case "cover":
            return ev.CoverShort(**own, ticker=ticker, quantity=draw(shares), amount=draw(money))
        case "reinvest":
            return ev.Reinvestment(**own, ticker=ticker, quantity=draw(shares), amount=draw(money))
        case "sell":
            quantity, lot = draw(shares), draw(st.sampled_from([*[None] * 9, f"o{name}", "e00", "e01"]))
            return ev.Sell(
                **own,
                ticker=ticker,
                quantity=quantity,
                amount=draw(money),
                fee=draw(st.sampled_from([Decimal(0), Decimal("1.99")])),
                picks=() if lot is None else (LotPick(lot, quantity),),
                method=draw(st.none() | st.sampled_from([LotMethod.FIFO, LotMethod.HIFO])),
            )
        case "in":
            bought = day - timedelta(days=draw(st.sampled_from([0, 10, 30, 300])))
            return ev.TransferIn(
                **own, ticker=ticker, quantity=draw(shares), cost_basis=draw(money), acquired_on=bought
            )
        case "out":
            other = draw(st.sampled_from([None, *(each for each in ACCOUNTS if each != name)]))
            return ev.TransferOut(**own, ticker=ticker, quantity=draw(shares), other_account=other)
        case "delisting":
            return ev.Delisting(**own, ticker=ticker, amount=draw(money))
        case "fraction":
            return ev.CashInLieu(**own, ticker=ticker, quantity=Decimal("0.5"), amount=draw(money))
        case "fee":
            return ev.Fee(**own, amount=draw(money))
        case "interest":
            return ev.Interest(**own, amount=draw(money))
        case "cash":
            return ev.OpeningCash(**own, amount=draw(money))
        case "transfer":
            other = draw(st.sampled_from([None, *(each for each in ACCOUNTS if each != name)]))
            return ev.CashTransfer(**own, amount=draw(st.sampled_from([-1, 1])) * draw(money), other_account=other)
        case "notional":
            return ev.NotionalDistribution(**market, ticker=ticker, per_share=Decimal("0.21"))
        case "split":
            ratio = draw(st.sampled_from([Fraction(2), Fraction(3), Fraction(1, 2), Fraction(1, 3), Fraction(2, 7)]))
            cash = None if market["account"] == EVERY_ACCOUNT else draw(st.none() | money)
            return ev.Split(
                **market, ticker=ticker, ratio=ratio, cash_in_lieu=cash, fraction_price=draw(st.none() | money)
            )
        case "spin-off":
            return ev.SpinOff(
                **market,
                ticker=ticker,
                child=draw(st.sampled_from(["CHILD", "XY" if ticker != "XY" else "XX"])),
                ratio=draw(st.sampled_from([Fraction(1), Fraction(1, 3)])),
                basis_fraction=Decimal(draw(st.sampled_from(["0.25", "0.1"]))),
            )
        case "distribution":
            return ev.StockDistribution(**market, ticker=ticker, value=draw(money), close=Decimal(20))
        case "symbol":
            return ev.SymbolChange(**market, ticker="ZZ", new_ticker="NEW")
        case "merger":
            return ev.Merger(
                **market,
                ticker=ticker,
                new_ticker="BUYER",
                ratio=Fraction(1, 2),
                cash_per_share=draw(st.sampled_from([Decimal(0), Decimal(3)])),
                new_price=Decimal(11),
                is_taxable=draw(st.booleans()),
            )
        case "dividend":
            kind = draw(st.sampled_from(ev.DividendKind))
            return ev.Dividend(**market, ticker=ticker, per_share=Decimal("0.37"), kind=kind)
    return ev.ReturnOfCapital(**market, ticker=ticker, per_share=draw(money) / 100)
