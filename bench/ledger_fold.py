"""How fast the fold is: a long journal, one account's day, a late correction, many rows of one ticker, a file.

    python -m bench.ledger_fold [--households 100] [--events 10000] [--rows 100000]

Times are processor seconds of one core, so that other work on the machine counts little.
"""

import argparse
import random
import time
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from prometheus.domain.accounts import LotMethod, TaxRates
from prometheus.ledger.checkpoints import from_bytes, to_bytes
from prometheus.ledger.corrections import refold
from prometheus.ledger.events import Buy, Dividend, OpeningCash, OpeningLot, Sell, Split
from prometheus.ledger.files.reader import read_events
from prometheus.ledger.fold import advance, fold
from prometheus.ledger.terms import AccountTerms, Terms

START = date(2014, 1, 2)
CENT = Decimal("0.01")


def money(value):
    """Return an amount in cents."""
    return Decimal(round(value * 100)) * CENT


def journal(seed, count, *, names=50, account="A"):
    """Return a random history of one account of so many events, over about ten years for each 10,000.

    Four trades of five shun wash sales, as a taxed account does; sales take half or all of a position.
    """
    draw = random.Random(seed)
    tickers = [f"T{i:03d}" for i in range(names)]
    price = {ticker: draw.uniform(20, 300) for ticker in tickers}
    events = [OpeningCash(account=account, event_id="cash", trade_date=START, amount=Decimal(1_000_000))]
    lots = {ticker: [] for ticker in tickers}
    for number in range(60):
        ticker, shares = draw.choice(tickers), draw.randint(5, 300)
        lots[ticker].append([shares, price[ticker]])
        events.append(
            OpeningLot(
                account=account,
                event_id=f"L{number}",
                trade_date=START,
                ticker=ticker,
                quantity=Decimal(shares),
                cost_basis=money(shares * price[ticker]),
                acquired_on=START - timedelta(days=draw.randint(40, 2000)),
            )
        )
    day, number = START, 0
    last_loss, last_purchase = {}, {}
    while len(events) < count:
        day += timedelta(days=draw.randint(1, 3))
        for ticker in draw.sample(tickers, 7):
            price[ticker] = max(price[ticker] * draw.uniform(0.9, 1.12), 1)
            number += 1
            key = {"account": account, "event_id": f"{number:07d}", "trade_date": day, "ticker": ticker}
            held = sum(shares for shares, _ in lots[ticker])
            careless = draw.random() < 0.2
            chance = draw.random()
            if held and chance < 0.15:
                events.append(Dividend(**key, amount=money(held * 0.4)))
            elif held and chance < 0.152 and held < 100_000:
                events.append(Split(**key, ratio=Fraction(2)))
                lots[ticker] = [[shares * 2, cost / 2] for shares, cost in lots[ticker]]
                price[ticker] /= 2
            elif held and chance < 0.6:
                at_loss = any(cost > price[ticker] for _, cost in lots[ticker])
                if at_loss and not careless and (day - last_purchase.get(ticker, date.min)).days <= 30:
                    continue
                shares = held if held < 2 or draw.random() < 0.6 else held // 2
                events.append(Sell(**key, quantity=Decimal(shares), amount=money(shares * price[ticker])))
                if at_loss:
                    last_loss[ticker] = day
                while shares:
                    taken = min(shares, lots[ticker][0][0])
                    shares -= taken
                    lots[ticker][0][0] -= taken
                    if not lots[ticker][0][0]:
                        lots[ticker].pop(0)
            elif careless or (day - last_loss.get(ticker, date.min)).days > 30:
                shares = draw.randint(5, 300)
                lots[ticker].append([shares, price[ticker]])
                last_purchase[ticker] = day
                events.append(Buy(**key, quantity=Decimal(shares), amount=money(shares * price[ticker])))
    return events


def timed(action):
    """Return what an action gives, and its processor seconds."""
    begun = time.process_time()
    given = action()
    return given, time.process_time() - begun


def long_journal(households, events):
    """Fold many accounts' histories, one after the other."""
    terms, told, rows, spent = Terms(), 0, 0, 0.0
    for seed in range(households):
        history = journal(seed, events)
        folded, seconds = timed(lambda history=history: fold(history, terms))
        assert not folded.findings, folded.findings[:3]
        told, rows, spent = told + len(history), rows + len(folded.postings), spent + seconds
    size = f"{told:,} events of {households} accounts, {rows:,} postings"
    print(f"journal: {size}: {spent:.2f} s, {told / spent:,.0f} a second")


def one_day(fills=100, lots=1500, repeats=50):
    """Advance an account of many lots by a day of many fills, half of them sales at a loss or gain."""
    draw = random.Random(7)
    terms = Terms(default=AccountTerms(method=LotMethod.HIFO))
    before = [
        OpeningLot(
            account="A",
            event_id=f"L{i:05d}",
            trade_date=START,
            ticker=f"T{i % 300:03d}",
            quantity=Decimal(draw.randint(10, 90)),
            cost_basis=money(draw.uniform(500, 9000)),
            acquired_on=START - timedelta(days=draw.randint(1, 900)),
        )
        for i in range(lots)
    ]
    state = fold(before, terms).state
    day = START + timedelta(days=1)
    trades = []
    for i in range(fills):
        key = {"account": "A", "event_id": f"F{i}", "trade_date": day, "ticker": f"T{i * 3 % 300:03d}"}
        shares = Decimal(draw.randint(1, 40))
        amount = money(float(shares) * draw.uniform(20, 120))
        trades.append(
            Sell(**key, quantity=shares, amount=amount) if i % 2 else Buy(**key, quantity=shares, amount=amount)
        )
    best = min(timed(lambda: advance(state, trades, terms))[1] for _ in range(repeats))
    print(f"one day: {fills} fills in a household of {lots:,} lots: {best * 1000:.2f} ms")


def late_fill(events=10_000, days_back=40, repeats=5):
    """Refold an account of many years from a monthly checkpoint, for a fill that comes days late."""
    terms = Terms()
    history = journal(11, events)
    last = max(event.trade_date for event in history)
    first = last - timedelta(days=days_back)
    month = first.replace(day=1) - timedelta(days=1)
    checkpoint = from_bytes(to_bytes(fold([e for e in history if e.trade_date <= month], terms).state))
    after = [event for event in history if event.trade_date > month]
    stored = dict(enumerate(fold(after, terms, checkpoint).postings, 1))
    late = Buy(account="A", event_id="late", trade_date=first, ticker="T001", quantity=Decimal(5), amount=Decimal(500))
    refolded = refold(checkpoint, [*after, late], stored, terms, correction_id="c", reason="late")
    best = min(
        timed(lambda: refold(checkpoint, [*after, late], stored, terms, correction_id="c"))[1] for _ in range(repeats)
    )
    data = to_bytes(checkpoint)
    reading = min(timed(lambda: from_bytes(data))[1] for _ in range(repeats))
    changed = len(refolded.reversals) + len(refolded.postings)
    print(
        f"late fill: {days_back} days back, {len(after):,} events since a checkpoint: {best * 1000:.1f} ms, {changed} "
        f"postings; checkpoint of {len(checkpoint.lots):,} lots: {len(data):,} bytes, read in {reading * 1000:.1f} ms"
    )


def file_of(rows, *, tickers=500, accounts=20, a_day=400):
    """Return a file in the own format: trades of one household drawn at random, most losses washed."""
    draw = random.Random(5)
    names = [f"T{i:03d}" for i in range(tickers)]
    price = {name: draw.uniform(20, 300) for name in names}
    held = defaultdict(int)
    lines = ["date,account,ticker,action,quantity,amount,entry_id"]
    for number in range(rows):
        day = START + timedelta(days=number // a_day)
        name, account = draw.choice(names), f"A{draw.randrange(accounts):02d}"
        price[name] = max(price[name] * draw.uniform(0.97, 1.032), 1)
        shares, chance = held[account, name], draw.random()
        if shares and chance < 0.1:
            action, count, amount = "DIVIDEND", "", shares * 0.4
        elif shares and chance < 0.55:
            count = shares if shares < 2 or draw.random() < 0.5 else shares // 2
            held[account, name] -= count
            action, amount = "SELL", count * price[name]
        else:
            count = draw.randint(5, 300)
            held[account, name] += count
            action, amount = "BUY", count * price[name]
        lines.append(f"{day},{account},{name},{action},{count},{amount:.2f},e{number}")
    return "\n".join(lines)


def household_file(rows):
    """Read a household's file and fold it."""
    text = file_of(rows)
    file, reading = timed(lambda: read_events(text))
    assert file.is_complete
    folded, folding = timed(lambda: fold(file.events, file.terms.added_to(Terms())))
    print(
        f"file: {rows:,} rows, 500 tickers, 20 accounts: read in {reading:.1f} s, folded in {folding:.1f} s, "
        f"{len(folded.postings):,} postings, {len(folded.state.lots):,} lots"
    )


def dense(rows, method):
    """Fold purchases and losing sales of one ticker, many a day."""
    events, held = [], 0
    draw = random.Random(3)
    for i in range(rows):
        key = {
            "account": "A",
            "event_id": f"{i:06d}",
            "trade_date": START + timedelta(days=i // 200),
            "ticker": "XYZ",
        }
        if i % 2 and held > 5:
            held -= 5
            events.append(Sell(**key, quantity=Decimal(5), amount=money(5 * draw.uniform(50, 90))))
        else:
            held += 10
            events.append(Buy(**key, quantity=Decimal(10), amount=money(10 * draw.uniform(80, 100))))
    terms = Terms(default=AccountTerms(method=method, rates=TaxRates(Decimal("0.37"), Decimal("0.2"))))
    folded, seconds = timed(lambda: fold(events, terms))
    print(f"dense, {method}: {rows:,} rows of one ticker, {len(folded.state.lots):,} lots left: {seconds:.2f} s")


def main():
    """Run every measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--households", type=int, default=100)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100_000)
    chosen = parser.parse_args()
    long_journal(chosen.households, chosen.events)
    one_day()
    late_fill()
    household_file(chosen.rows)
    for method in (LotMethod.FIFO, LotMethod.HIFO, LotMethod.LEAST_TAX_FIRST):
        for rows in (5_000, 10_000, 20_000):
            dense(rows, method)


if __name__ == "__main__":
    main()
