"""A valid journal for the bench: accounts that trade for years, booked by the ledger itself.

A few template accounts are booked trade by trade (fills, splits, dividends, wash sales in both directions); every other
account is one of them under another name. So each row is one that the rules give, and a check must find nothing.
"""

import random
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from prometheus.accounting.corporate_actions import apply_corporate_actions
from prometheus.accounting.fills import apply_fills
from prometheus.accounting.journal import opening_transactions, recent_trades
from prometheus.accounting.lot_selection import order_lots, select_lots
from prometheus.domain.accounts import LotMethod, TaxRates, TaxRegime
from prometheus.domain.books import Books, Fill, LotPick, Transaction
from prometheus.domain.lots import Side, TaxLot
from prometheus.domain.securities import ActionType, CorporateAction

START = date(2014, 1, 2)
TICKERS = tuple(f"T{i:03d}" for i in range(200))
RATES = TaxRates(Decimal("0.37"), Decimal("0.2"), Decimal("0.038"))
_REACH = timedelta(days=62)
_WINDOW = timedelta(days=30)
#: Names that one account trades.
_NAMES = 50
#: One day in so many trades, with up to eight trades: 1,000 rows are more than five years.
_DAYS_BETWEEN = 24
#: How many of the trades may meet a loss and a purchase of 30 days before; the others shun it, as a taxed account does.
_CARELESS = 0.2


@dataclass(frozen=True)
class Template:
    """An account's journal and the books it leads to.

    Attributes:
        rows: In the order of writing.
        books: After the last row.
        last_day: Of its last row.
    """

    rows: tuple[Transaction, ...]
    books: Books
    last_day: date


class _Market:
    """Prices that walk at random from trade to trade of a ticker, by a seed."""

    def __init__(self, draw):
        self._draw = draw
        self._prices = {ticker: Decimal(draw.randrange(2_000, 30_000)) / 100 for ticker in TICKERS}

    def price(self, ticker):
        moved = self._prices[ticker] * Decimal(self._draw.randrange(85, 118)) / 100
        self._prices[ticker] = max(moved.quantize(Decimal("0.01")), Decimal(1))
        return self._prices[ticker]


def template(seed, rows):
    """Return an account's journal of at least so many rows, all of it booked by the ledger.

    Args:
        seed: Another seed, another account.
        rows: Rows wanted; the last day is booked whole.
    """
    draw = random.Random(seed)
    names = draw.sample(TICKERS, _NAMES)
    market = _Market(draw)
    books = Books(tuple(_opening_lot(number, draw.choice(names), market, draw) for number in range(60)), Decimal(10**9))
    journal = list(opening_transactions(books, START))
    day, last_sale_at_loss, last_purchase = START, {}, {}
    while len(journal) < rows:
        day += timedelta(days=draw.randrange(_DAYS_BETWEEN // 2, _DAYS_BETWEEN * 3 // 2))
        actions = _actions(day, books, draw)
        books, booked = apply_corporate_actions(
            books, actions, closes={(a.ticker, day): market.price(a.ticker) for a in actions}, regime=TaxRegime.US,
            fractional=True, traded=names,
        )  # fmt: skip
        journal += booked
        fills = []
        for ticker in draw.sample(names, 8):
            held = books.lots_of(ticker)
            price = market.price(ticker)
            careless = draw.random() < _CARELESS
            if held and draw.random() < 0.65:
                at_loss = any(lot.adjusted_basis > lot.quantity * price for lot in held)
                if at_loss and not careless and day - last_purchase.get(ticker, date.min) <= _WINDOW:
                    continue
                fills.append(_sale(f"{day:%Y%m%d}-{ticker}", held, day, price, draw))
                if at_loss:
                    last_sale_at_loss[ticker] = day
            elif careless or day - last_sale_at_loss.get(ticker, date.min) > _WINDOW:
                name = f"{day:%Y%m%d}-{ticker}"
                quantity = Decimal(draw.randrange(5, 300))
                fills.append(Fill(name, ticker, Side.BUY, day, quantity, price, new_lot_id=f"N{name}"))
                last_purchase[ticker] = day
        recent = [row for row in journal if row.trade_date >= day - _REACH]
        books, booked = apply_fills(
            books, fills, rates=RATES, regime=TaxRegime.US, recent_trades=recent_trades(recent, day), group_of={}
        )
        journal += booked
    return Template(tuple(journal), books, day)


def _opening_lot(number, ticker, market, draw):
    quantity = Decimal(draw.randrange(5, 300))
    cost = (quantity * market.price(ticker)).quantize(Decimal("0.01"))
    bought = START - timedelta(days=draw.randrange(5, 2_000))
    return TaxLot(f"L{number}", ticker, bought, quantity, cost, cost, bought)


def _actions(day, books, draw):
    """Draw dividends of two names held, and now and then a split."""
    held = sorted({lot.ticker for lot in books.lots})
    actions = [
        CorporateAction(ticker, day, ActionType.DIVIDEND, Decimal(draw.randrange(5, 120)) / 100)
        for ticker in draw.sample(held, min(len(held), 2))
    ]
    if held and draw.random() < 0.1:
        actions.append(CorporateAction(draw.choice(held), day, ActionType.SPLIT, Decimal(2)))
    return actions


def _sale(name, held, day, price, draw):
    total = sum((lot.quantity for lot in held), Decimal(0))
    quantity = total if total <= 1 or draw.random() < 0.6 else (total / 2).quantize(Decimal(1))
    order = order_lots(held, method=LotMethod.HIFO, rates=RATES, regime=TaxRegime.US, as_of=day, price=price)
    picks = tuple(LotPick(lot.lot_id, part) for lot, part in select_lots(order, quantity))
    return Fill(name, held[0].ticker, Side.SELL, day, quantity, price, lot_picks=picks)
