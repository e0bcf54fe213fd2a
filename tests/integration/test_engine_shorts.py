"""Days of an account that sells short: opened, covered in part, flat; books, taxes, replay and audit agree."""

import csv
import io
from collections import defaultdict
from datetime import date
from decimal import Decimal

import pytest

from prometheus.bookkeeping.ledger import book_events
from prometheus.db.repositories.ledger_events import EventSource
from prometheus.decision.snapshot import Snapshot
from prometheus.domain.money import to_cents
from prometheus.ledger import events as ev
from prometheus.orchestration.advance_all import Outcome
from prometheus.orchestration.risk_refresh import refresh_risk_model
from prometheus.simulation.fills import fill_day
from tests.integration.engine_fleet import MONDAY, THURSDAY, TUESDAY, WEDNESDAY, change_strategy

ACCOUNT = "ACC-1"
#: A strategy that is paid for lower volatility sells the most volatile names short as far as it may.
EAGER = {"low_volatility_tilt": 1000.0, "risk_aversion": 0.5, "max_active_weight": 0.6, "max_weight": 0.8}


@pytest.fixture
def shorting(fleet):
    """Return the fleet with borrow rates for every name and a strategy that may be short by a fifth."""
    fleet.sql("INSERT INTO borrow_rates SELECT security_id, :day, 0.005 FROM securities", day=MONDAY)
    allow(fleet, 1.2, **EAGER)
    return fleet


def allow(fleet, long_max, **params: object):
    """Change the largest sum of longs."""
    with fleet.database.transaction() as connection:
        change_strategy(connection, long_max=long_max, **params)


def decide(fleet, day):
    """Take the account through a day; return its trades."""
    if day != MONDAY:
        refresh_risk_model(fleet.database, as_of=day)
    fleet.ready(day, ACCOUNT)
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}, fleet.run(ACCOUNT, day).error
    run_id = fleet.run(ACCOUNT, day).run_id
    assert fleet.one("SELECT status FROM runs WHERE run_id = :run", run=run_id) == "OPTIMAL"
    return fleet.sql("SELECT * FROM run_trades WHERE run_id = :run ORDER BY trade_no", run=run_id)


def snapshot_of(fleet, day):
    """Return the frozen inputs of a day."""
    run_id = fleet.run(ACCOUNT, day).run_id
    return Snapshot.from_json(fleet.one("SELECT snapshot FROM runs WHERE run_id = :run", run=run_id))


def report(fleet, tmp_path, day, fee="0.00"):
    """Export the day's orders and ingest them as a broker's executions, whole and at the planned price."""
    prices = {line.ticker: line.price for line in fleet.sql("SELECT ticker, price FROM run_trades")}
    done = fleet.command("trades", "export", "--as-of", str(day))
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    run_id = fleet.run(ACCOUNT, day).run_id
    sold = fleet.sql("SELECT ticker, price FROM run_trades WHERE run_id = :run", run=run_id)
    prices = {line.ticker: line.price for line in sold}
    for number, row in enumerate(rows):
        row |= {"execution_id": f"X{day:%d}-{number}", "trade_date": str(day), "fee": fee}
        row["price"] = str(prices[row["ticker"]])
    path = tmp_path / f"executions-{day}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    done = fleet.command("ingest", str(path), "--kind", "executions")
    assert done.exit_code == 0, done.output
    return {row["side"] for row in rows}


def covers_by_hand(opened, trades):
    """Return what covers realise: first sold, first covered, proceeds shared out in cents, by ticker and lot."""
    left = {(line.ticker, line.lot_id): [line.quantity, line.amount] for line in opened if line.side == "SELL_SHORT"}
    for line in trades:
        if line.side != "BUY_TO_COVER":
            continue
        quantity, proceeds = left[line.ticker, line.lot_id]
        part = proceeds if line.quantity == quantity else to_cents(proceeds * line.quantity / quantity)
        left[line.ticker, line.lot_id] = [quantity - line.quantity, proceeds - part]
        yield line, part


def test_a_week_with_short_positions(shorting, tmp_path):
    """Monday opens, Tuesday covers in part by a broker's file, Wednesday is flat; every figure is right to the cent."""
    fleet = shorting
    opened = decide(fleet, MONDAY)
    sold = {line.ticker: line for line in opened if line.side == "SELL_SHORT"}
    assert sold
    assert all((line.basis, line.realized_gain, line.tax) == (None, None, None) for line in sold.values())
    assert all(line.lot_id == f"ACC-1-20240624-{ticker}-SHORT" for ticker, line in sold.items())
    assert fill_day(fleet.database, MONDAY) > 0
    assert fill_day(fleet.database, MONDAY) == 0
    books = fleet.books()
    assert {short.ticker: (short.quantity, short.proceeds) for short in books.shorts} == {
        ticker: (line.quantity, line.amount) for ticker, line in sold.items()
    }
    assert not {lot.ticker for lot in books.lots} & set(sold)

    allow(fleet, 1.08)
    partly = decide(fleet, TUESDAY)
    day = snapshot_of(fleet, TUESDAY)
    assert day.shorts == books.shorts
    assert day.nav() == books.cash + sum((lot.quantity * price(day, lot.ticker) for lot in day.lots), Decimal(0)) - sum(
        (short.quantity * price(day, short.ticker) for short in day.shorts), Decimal(0)
    )
    covers = [line for line in partly if line.side == "BUY_TO_COVER"]
    assert 0 < sum(line.quantity for line in covers) < sum(line.quantity for line in sold.values())
    assert "BUY_TO_COVER" in report(fleet, tmp_path, TUESDAY)
    assert fleet.command("trades", "export").stdout.count("\n") <= 1

    allow(fleet, 1.0)
    flat = decide(fleet, WEDNESDAY)
    assert snapshot_of(fleet, WEDNESDAY).shorts
    fill_day(fleet.database, WEDNESDAY)
    assert fleet.books().shorts == ()
    assert {line.side for line in flat} >= {"BUY_TO_COVER"}

    # what the runs planned is what the ledger booked, and what a calculation by hand gives
    planned, by_hand = defaultdict(Decimal), defaultdict(Decimal)
    for line, proceeds in covers_by_hand(opened, [*partly, *flat]):
        assert (line.basis, line.realized_gain) == (proceeds, proceeds - line.amount)
        assert line.term == "SHORT"
        assert line.tax == to_cents(line.realized_gain * Decimal("0.408"))
        planned[line.ticker] += line.realized_gain
    for posting in fleet.postings("COVER_SHORT", account_id=ACCOUNT):
        by_hand[posting.ticker] += posting.realized_gain
    assert planned == by_hand
    assert set(planned) == set(sold)
    assert fleet.differences() == []
    year = fleet.command("ledger", "tax-report", ACCOUNT, "--years", "2024", "--format", "csv")
    assert year.exit_code == 0, year.output
    told = [row for row in csv.DictReader(io.StringIO(year.stdout)) if "short sale" in str(row)]
    assert len(told) == len(covers) + len([line for line in flat if line.side == "BUY_TO_COVER"])

    for command in (("replay", ACCOUNT), ("verify-audit",), ("runs", "export", ACCOUNT, "2")):
        done = fleet.command(*command)
        assert done.exit_code == 0, done.output
    told = fleet.command("explain", ACCOUNT, "2").stdout
    assert "cover -" in told
    assert "borrowing -50.00" in told


def test_a_broker_s_short_sale_brings_its_proceeds_less_the_commission(shorting, tmp_path):
    """Executions of a file open the positions that the run planned; told twice they do nothing."""
    sold = {line.ticker: line for line in decide(shorting, MONDAY) if line.side == "SELL_SHORT"}
    assert "SELL_SHORT" in report(shorting, tmp_path, MONDAY, fee="0.35")
    booked = {short.ticker: short for short in shorting.books().shorts}
    assert {ticker: short.proceeds for ticker, short in booked.items()} == {
        ticker: line.amount - Decimal("0.35") for ticker, line in sold.items()
    }
    books = shorting.books()
    again = shorting.command("ingest", str(tmp_path / f"executions-{MONDAY}.csv"), "--kind", "executions")
    assert again.exit_code == 0, again.output
    assert shorting.books() == books
    assert shorting.differences() == []


def test_a_file_s_short_sales_are_booked_where_the_strategy_allows_them(fleet, tmp_path):
    """Refused under a long-only strategy, whose next day would cover them; else booked, and covered with their gain."""
    fleet.open_books(MONDAY, ACCOUNT)
    path = tmp_path / "transactions.csv"
    path.write_text(
        "entry_id,date,account,ticker,action,quantity,amount\n"
        "s1,2024-06-24,ACC-1,FFF,SHORT,5,400\nc1,2024-06-24,ACC-1,FFF,COVER,2,150\n"
    )
    refused = fleet.command("ingest", str(path), "--kind", "transactions")
    assert refused.exit_code == 2
    assert "SHORT_SALE" in refused.output
    assert fleet.books().shorts == ()
    allow(fleet, 1.2)
    done = fleet.command("ingest", str(path), "--kind", "transactions")
    assert done.exit_code == 0, done.output
    (short,) = fleet.books().shorts
    assert (short.ticker, short.quantity, short.proceeds) == ("FFF", 3, 240)
    (cover,) = fleet.postings("COVER_SHORT")
    assert cover.realized_gain == 10
    assert fleet.differences() == []


def price(day, ticker):
    """Return a price of a snapshot."""
    return next(name.price for name in day.universe if name.ticker == ticker)


def test_a_dividend_is_paid_by_whoever_is_short(shorting):
    """On the ex-date cash falls by the dividend of the shares owed, and nothing else of the position changes."""
    decide(shorting, MONDAY)
    fill_day(shorting.database, MONDAY)
    before = shorting.books()
    short = before.shorts[0]
    action(shorting, short.ticker, "dividend", "0.37")
    decide(shorting, TUESDAY)
    (paid,) = shorting.postings("PAYMENT_IN_LIEU", account_id=ACCOUNT)
    assert (paid.ticker, paid.cash) == (short.ticker, -to_cents(short.quantity * Decimal("0.37")))
    assert snapshot_of(shorting, TUESDAY).cash == before.cash + paid.cash
    assert snapshot_of(shorting, TUESDAY).shorts == before.shorts
    assert shorting.differences() == []


def test_a_split_reaches_short_positions(shorting):
    """Twice the shares are owed after a split in two, for the same proceeds."""
    decide(shorting, MONDAY)
    fill_day(shorting.database, MONDAY)
    short = shorting.books().shorts[0]
    action(shorting, short.ticker, "split", "2")
    shorting.sql(
        "UPDATE prices SET close = close / 2 WHERE price_date >= :day AND security_id = "
        "(SELECT security_id FROM securities WHERE ticker = :ticker)",
        day=TUESDAY,
        ticker=short.ticker,
    )
    decide(shorting, TUESDAY)
    after = next(one for one in snapshot_of(shorting, TUESDAY).shorts if one.ticker == short.ticker)
    assert (after.quantity, after.proceeds) == (2 * short.quantity, short.proceeds)
    assert shorting.differences() == []


def test_an_action_that_is_not_booked_for_short_positions_holds_the_day(shorting):
    """A delisting of what the account owes is nothing to trade upon until its broker's cover is entered."""
    decide(shorting, MONDAY)
    fill_day(shorting.database, MONDAY)
    short = shorting.books().shorts[0]
    action(shorting, short.ticker, "delisting", "12.00")
    refresh_risk_model(shorting.database, as_of=TUESDAY)
    shorting.ready(TUESDAY, ACCOUNT)
    assert shorting.advance().outcomes == {Outcome.HELD: 1}
    assert shorting.alerts()[-1] == (ACCOUNT, "ACTION_ON_SHORT")


def action(fleet, ticker, kind, value):
    """Store an action of Tuesday."""
    fleet.sql(
        "INSERT INTO corporate_actions (security_id, ex_date, action_type, value) "
        "SELECT security_id, :day, :kind, :value FROM securities WHERE ticker = :ticker",
        day=TUESDAY,
        kind=kind,
        value=Decimal(value),
        ticker=ticker,
    )


def test_books_that_hold_and_owe_one_security_hold_the_day(fleet):
    """Which of the two a purchase belongs to only the account can say."""
    fleet.open_books(MONDAY, ACCOUNT)
    short = ev.ShortSale(
        account=ACCOUNT, event_id="s", trade_date=MONDAY, ticker="AAA", quantity=Decimal(5), amount=Decimal(200)
    )
    with fleet.database.transaction() as connection:
        book_events(connection, ACCOUNT, [short], MONDAY, source=EventSource.FILE)
    refresh_risk_model(fleet.database, as_of=TUESDAY)
    fleet.ready(TUESDAY, ACCOUNT)
    assert fleet.advance().outcomes == {Outcome.HELD: 1}
    assert fleet.alerts() == [(ACCOUNT, "LOTS_BESIDE_SHORT")]


def test_canadian_accounts_are_held_while_short_positions_are_not_booked(shorting):
    """The code says that the tax rules are the reason; the account goes on with long_max at 1."""
    shorting.ready(MONDAY, "ACC-3")
    assert shorting.advance().outcomes == {Outcome.HELD: 1}
    assert shorting.alerts() == [("ACC-3", "SHORTS_IN_REGIME")]
    allow(shorting, 1.0)
    assert shorting.advance().outcomes == {Outcome.PERSISTED: 1}


def test_two_accounts_of_a_day_go_short_alike(shorting):
    """The same books under HIFO and FIFO decide the same short sales, and later days go on from them."""
    for account_id in ("ACC-1", "ACC-2"):
        shorting.ready(MONDAY, account_id)
    assert shorting.advance().outcomes == {Outcome.PERSISTED: 2}
    fill_day(shorting.database, MONDAY)
    assert shorting.books("ACC-1").shorts
    assert shorting.books("ACC-2").shorts
    refresh_risk_model(shorting.database, as_of=THURSDAY)
    shorting.ready(THURSDAY)
    assert shorting.advance().outcomes == {Outcome.PERSISTED: 2}
    assert date(2024, 6, 27) == THURSDAY
