"""Orders on their way out and back: exported, executed, ingested, settled; and the day that waits for them."""

import csv
import io
import json
from decimal import Decimal

import polars as pl
import pytest

from prometheus.bookkeeping.ledger_checks import rebuild_check
from prometheus.bookkeeping.ledger_view import read_books
from prometheus.execution.trade_orders import EXECUTION_COLUMNS
from prometheus.orchestration.advance_all import Outcome
from prometheus.orchestration.health import HealthLimits, engine_health
from prometheus.simulation.fills import fill_day
from tests.integration.engine_fleet import MONDAY, TUESDAY, WEDNESDAY, change_strategy


@pytest.fixture
def held(fleet):
    """The fleet under a strategy that holds for open orders, with Monday PERSISTED."""
    with fleet.database.transaction() as connection:
        change_strategy(connection, unfilled_orders="hold")
    fleet.ready()
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 2}
    return fleet


def exported(fleet, *options: str):
    """Return the rows of an export."""
    done = fleet.command("trades", "export", *options)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == ",".join(EXECUTION_COLUMNS)
    return list(csv.DictReader(io.StringIO(done.stdout)))


def executed(row, number=1, day=TUESDAY, **changes: object):
    """Return an exported row as the broker fills it in."""
    filled = {
        "execution_id": f"X-{row['client_order_id']}-{number}",
        "trade_date": day,
        "price": "50.25",
        "fee": "0.35",
    }
    return {**row, "executed_at": f"{day}T15:30:00Z", **filled, **changes}


def written(path, rows):
    """Write rows of executions as CSV, JSON lines or Parquet, as the name says; return the path."""
    rows = [{name: str(row[name]) for name in EXECUTION_COLUMNS} for row in rows]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pl.DataFrame(rows, schema=dict.fromkeys(EXECUTION_COLUMNS, pl.String)).write_parquet(path)
    else:
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, EXECUTION_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return path


def loaded(fleet, path, *options: str):
    """Ingest a file of executions and return its report; it must load."""
    done = fleet.command("ingest", str(path), "--kind", "executions", "--format", "json", *options)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)[0]


def refused(fleet, path):
    """Ingest a file that is refused, and return code and line of its findings; nothing of it is booked."""
    before = fleet.dump()
    out = path.with_name("findings.csv")
    done = fleet.command("ingest", str(path), "--kind", "executions", "--findings-out", str(out))
    assert done.exit_code == 2, done.output
    assert fleet.dump() == before
    return [(row["code"], int(row["line"])) for row in csv.DictReader(out.open()) if row["fatal"] == "true"]


def next_day(fleet, day=TUESDAY, account=None):
    """Make the next day ready and advance it; return how its runs ended."""
    fleet.ready(day, account)
    return fleet.advance().outcomes


def findings(fleet):
    """Return the codes that monitoring finds."""
    return {finding.code: finding for finding in engine_health(fleet.database, HealthLimits())}


def test_a_second_day_without_fills_is_held(held):
    """What was ordered is not ordered again: the day waits, says why and what to do, and monitoring names it."""
    assert "UNSETTLED_ORDERS" not in findings(held)
    assert next_day(held) == {Outcome.HELD: 2}
    assert held.alerts() == [("ACC-1", "UNSETTLED_ORDERS"), ("ACC-2", "UNSETTLED_ORDERS")]
    (event,) = held.sql(
        "SELECT details FROM engine_run_events WHERE kind = 'HOLD' AND run_id = :run",
        run=held.run("ACC-1", TUESDAY).run_id,
    )
    assert f"order(s) of RUN-001 of {MONDAY} are not filled, first" in event.details["message"]
    assert "prometheus trades settle ACC-1 RUN-001 --expired" in event.details["message"]
    finding = findings(held)["UNSETTLED_ORDERS"]
    assert finding.count == 2
    assert f"first ACC-1 RUN-001 of {MONDAY}" in finding.message
    assert held.one("SELECT count(*) FROM runs") == 2


def test_a_strategy_that_says_nothing_of_it_trades_with_a_flag(fleet):
    """A strategy stored before the parameter was there goes on as it did."""
    with fleet.database.transaction() as connection:
        change_strategy(connection, max_names=50)
    fleet.sql(
        "INSERT INTO strategies (strategy_id, version, params, tag_overrides) SELECT strategy_id, version + 1, "
        "params - 'unfilled_orders', tag_overrides FROM strategies ORDER BY version DESC LIMIT 1"
    )
    fleet.ready(account_id="ACC-1")
    fleet.advance()
    assert next_day(fleet, account="ACC-1") == {Outcome.PERSISTED: 1}
    assert fleet.alerts() == [("ACC-1", "UNFILLED_TRADES")]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_orders_leave_and_come_back_and_the_next_day_goes_on(held, tmp_path, ending):
    """Exported, filled in and ingested, the books hold the trades by the lots of the run, and Tuesday trades."""
    planned = held.sql(
        "SELECT ticker, lot_id, -quantity AS quantity FROM run_trades JOIN runs USING (run_id) "
        "WHERE account_id = 'ACC-1' AND side = 'SELL' ORDER BY ticker, lot_id"
    )
    rows = exported(held)
    assert {row["account_id"] for row in rows} == {"ACC-1", "ACC-2"}
    assert [row["client_order_id"] for row in exported(held, "--account", "ACC-2", "--as-of", str(MONDAY))] == [
        row["client_order_id"] for row in rows if row["account_id"] == "ACC-2"
    ]
    path = written(tmp_path / f"executions{ending}", [executed(row) for row in rows])
    report = loaded(held, path)
    assert (report["inserted"], report["skipped"], report["fatal_findings"]) == (len(rows), 0, 0)
    booked = held.sql(
        "SELECT ticker, lot_id, quantity FROM ledger_postings "
        "WHERE account_id = 'ACC-1' AND kind = 'SELL' ORDER BY ticker, lot_id"
    )
    assert [tuple(row) for row in booked] == [tuple(row) for row in planned]
    assert {row.trade_date for row in held.sql("SELECT trade_date FROM order_executions")} == {TUESDAY}
    assert held.one("SELECT min(books_as_of) FROM accounts WHERE region = 'US'") == TUESDAY
    assert exported(held) == []
    assert next_day(held) == {Outcome.PERSISTED: 2}
    assert held.sql("SELECT * FROM runs WHERE run_seq = 2 AND flags <> '[]'") == []
    lots = held.one("SELECT snapshot -> 'lots' FROM runs WHERE account_id = 'ACC-1' AND run_seq = 2")
    assert "ACC-1-20240625-" in json.dumps(lots)
    assert held.command("ledger", "rebuild", "--check").exit_code == 0

    before = held.dump()
    again = loaded(held, path)
    assert (again["inserted"], again["unchanged"]) == (0, len(rows))
    assert held.dump() == before


def test_what_is_left_is_settled_once_and_the_day_goes_on(held, tmp_path):
    """A part executed and the rest cancelled: the rest is exported as such, then ended, and the next day trades."""
    row = next(row for row in exported(held, "--account", "ACC-1") if row["side"] == "SELL")
    half = int(row["quantity"]) // 2
    loaded(held, written(tmp_path / "e.csv", [executed(row, quantity=half, lot_picks="")]))
    (left,) = [one for one in exported(held) if one["client_order_id"] == row["client_order_id"]]
    assert (int(left["quantity"]), left["lot_picks"]) == (int(row["quantity"]) - half, "")
    assert next_day(held) == {Outcome.HELD: 2}

    settle = ("trades", "settle", "ACC-1", "RUN-001", "--cancelled", "--reason", "broker withdrew it")
    done = held.command(*settle)
    assert (done.exit_code, done.stdout.split()[1:3]) == (0, ["order(s)", "of"])
    assert "ended CANCELLED, 1 of them filled in part." in done.stdout
    (stored,) = held.sql("SELECT status, reason, settled_by, orders FROM order_settlements")
    assert (stored.status, stored.reason) == ("CANCELLED", "broker withdrew it")
    assert "@" in stored.settled_by
    assert {"filled": str(half), "quantity": row["quantity"]}.items() <= next(
        order for order in stored.orders if order["client_order_id"] == row["client_order_id"]
    ).items()

    before = held.dump()
    again = held.command(*settle)
    assert (again.exit_code, "were settled before: CANCELLED by" in again.stdout) == (0, True)
    other = held.command("trades", "settle", "ACC-1", "RUN-001", "--expired", "--reason", "x")
    assert (other.exit_code, "SETTLED_OTHERWISE" in other.stderr) == (2, True)
    assert held.dump() == before

    held.set_clock("1 hour")
    assert held.advance().outcomes == {Outcome.PERSISTED: 1, Outcome.HELD: 1}
    done = held.command("trades", "settle", "--as-of", str(MONDAY), "--expired", "--reason", "day order")
    assert done.exit_code == 0
    assert done.stdout.count("ended EXPIRED") == 1
    held.set_clock("2 hours")
    assert held.advance().outcomes == {Outcome.PERSISTED: 1}

    # an execution that comes late is booked all the same: facts beat what was said of them
    late = executed(row, 2, TUESDAY, quantity=1, lot_picks="")
    assert loaded(held, written(tmp_path / "late.csv", [late]))["inserted"] == 1


def test_a_run_without_open_orders_says_so_and_an_unknown_one_is_refused(held):
    """Settling what is filled, or does not exist, writes nothing."""
    fill_day(held.database, MONDAY)
    before = held.dump()
    done = held.command("trades", "settle", "ACC-1", "RUN-001", "--expired", "--reason", "x")
    assert (done.exit_code, done.stdout) == (0, "RUN-001 of ACC-1 has no open orders.\n")
    for arguments, code in (
        (("ACC-1", "RUN-007", "--expired", "--reason", "x"), "UNKNOWN_RUN"),
        (("ACC-9", "RUN-001", "--expired", "--reason", "x"), "UNKNOWN_ACCOUNT"),
        (("ACC-1", "RUN-001", "--reason", "x"), "BAD_REQUEST"),
        (("ACC-1", "--expired", "--reason", "x"), "BAD_REQUEST"),
        (("ACC-1", "RUN-001", "--expired", "--reason", " "), "BAD_REQUEST"),
    ):
        refusal = held.command("trades", "settle", *arguments)
        assert refusal.exit_code == 2
        assert code in refusal.stderr
    assert held.dump() == before
    assert held.command("trades", "list").stdout == "No order is open.\n"
    assert next_day(held) == {Outcome.PERSISTED: 2}


def test_open_orders_are_listed(held):
    """The list shows each open order with what is filled of it, as a table and as JSON."""
    rows = json.loads(held.command("trades", "list", "ACC-1", "--format", "json").stdout)
    assert [row["client_order_id"] for row in rows] == [
        r["client_order_id"] for r in exported(held, "--account", "ACC-1")
    ]
    assert {row["filled"] for row in rows} == {"0"}
    assert rows[0]["client_order_id"] in held.command("trades", "list", "--as-of", str(MONDAY)).stdout


def test_an_export_is_written_whole_to_a_file(held, tmp_path):
    """The file has what standard output would have had; a directory that is not there is refused before any work."""
    done = held.command("trades", "export", "--output", str(tmp_path / "o.csv"))
    assert (done.exit_code, done.stdout) == (0, "")
    assert (tmp_path / "o.csv").read_text() == held.command("trades", "export").stdout
    assert held.command("trades", "export", "--output", str(tmp_path / "no" / "o.csv")).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["o.csv"]


def test_rows_that_nobody_filled_in_stay_open(held, tmp_path):
    """An order of the export without execution is remarked and left open; the others are booked."""
    first, *others = exported(held)
    report = loaded(held, written(tmp_path / "e.csv", [executed(first), *others]))
    assert (report["inserted"], report["skipped"]) == (1, len(others))
    assert report["findings"] == {"NOT_EXECUTED": len(others)}
    assert len(exported(held)) == len(others)


def test_what_is_wrong_with_a_row_is_a_finding_and_nothing_is_booked(held, tmp_path):
    """Each defect has its code and line; one of them refuses the file."""
    rows = exported(held, "--account", "ACC-1")
    sale = next(row for row in rows if row["side"] == "SELL")
    buy = next(row for row in rows if row["side"] == "BUY")
    other = exported(held, "--account", "ACC-2")[0]
    defects = [
        ({"account_id": "ACC-9", "client_order_id": "ACC-9:RUN-001:1"}, "UNKNOWN_ACCOUNT"),
        ({"client_order_id": "ACC-1:RUN-009:1"}, "UNKNOWN_ORDER"),
        ({"client_order_id": "ACC-1:RUN-001:99"}, "UNKNOWN_ORDER"),
        ({"client_order_id": "mine"}, "UNKNOWN_ORDER"),
        ({"client_order_id": other["client_order_id"]}, "UNKNOWN_ORDER"),
        ({"ticker": "ZZZ"}, "UNKNOWN_TICKER"),
        ({"ticker": buy["ticker"]}, "ORDER_DIFFERS"),
        ({"side": "BUY"}, "ORDER_DIFFERS"),
        ({"side": "HOLD"}, "UNKNOWN_SIDE"),
        ({"quantity": int(sale["quantity"]) + 1, "lot_picks": ""}, "MORE_THAN_ORDERED"),
        ({"quantity": "0"}, "QUANTITY_NOT_POSITIVE"),
        ({"price": "-1"}, "NEGATIVE_PRICE"),
        ({"price": ""}, "EMPTY_FIELD"),
        ({"execution_id": ""}, "EMPTY_FIELD"),
        ({"fee": "0.001"}, "TOO_MANY_DECIMALS"),
        ({"fee": "-1"}, "NEGATIVE_FEE"),
        ({"trade_date": "2024-06-21", "executed_at": ""}, "BEFORE_ORDER"),
        ({"trade_date": "2024-06-29", "executed_at": ""}, "NOT_A_SESSION"),
        ({"trade_date": "2999-01-04"}, "DATE_IN_FUTURE"),
        ({"executed_at": "yesterday"}, "BAD_TIMESTAMP"),
        ({"executed_at": f"{TUESDAY}T15:30:00"}, "BAD_TIMESTAMP"),
        ({"executed_at": "2024-06-28T15:30:00Z"}, "TIME_AND_DATE_DIFFER"),
        ({"lot_picks": "L1"}, "BAD_LOT_PICKS"),
        ({"lot_picks": "L1=1"}, "BAD_LOT_PICKS"),
        ({"lot_picks": f"L9={sale['quantity']}"}, "UNKNOWN_LOT"),
    ]
    bad = [executed(sale, number, **changes) for number, (changes, _) in enumerate(defects, 1)]
    findings = refused(held, written(tmp_path / "e.csv", bad))
    assert sorted(findings, key=lambda finding: finding[1]) == [
        (code, line) for line, (_, code) in enumerate(defects, 2)
    ]
    good = loaded(held, written(tmp_path / "f.csv", [*bad, executed(buy)]), "--skip-bad-rows")
    assert (good["inserted"], good["skipped"]) == (1, len(defects))


def test_a_purchase_that_cash_does_not_pay_for_is_booked_once_cash_came_in(held, tmp_path):
    """A fill dearer than the cash stays open and says what to do; with the cash that came in its file is booked."""
    rows = exported(held, "--account", "ACC-1")
    dear, *others = sorted(rows, key=lambda row: row["side"] == "SELL")
    file = written(tmp_path / "e.csv", [executed(dear, price="9000"), *(executed(row) for row in others)])
    assert [code for code, _ in refused(held, file)] == ["OVERDRAWN"]
    reason = held.command("ingest", str(file), "--kind", "executions").output
    assert "an account may not borrow." in reason
    assert "book cash that came in as a TRANSFER_IN without ticker." in reason
    assert loaded(held, file, "--skip-bad-rows")["inserted"] == len(others)
    (tmp_path / "t.csv").write_text(
        "entry_id,date,account,ticker,action,quantity,amount\n"
        f"wire-17,{TUESDAY},ACC-1,,TRANSFER_IN,,{9000 * int(dear['quantity'])}.00\n"
    )
    done = held.command("ingest", str(tmp_path / "t.csv"), "--kind", "transactions")
    assert done.exit_code == 0, done.output
    report = loaded(held, file)
    assert (report["inserted"], report["unchanged"]) == (1, len(others))
    assert exported(held, "--account", "ACC-1") == []


def test_an_execution_comes_once(held, tmp_path):
    """Twice with the same words it is booked once, in one file or two; with others it is a finding."""
    row = executed(next(row for row in exported(held) if row["side"] == "BUY"), quantity=2)
    report = loaded(held, written(tmp_path / "e.csv", [row, row]))
    assert (report["inserted"], report["findings"]) == (1, {"DUPLICATE_ROW": 1})
    assert loaded(held, written(tmp_path / "e2.csv", [row, {**row, "execution_id": "new"}]))["inserted"] == 1
    assert refused(held, written(tmp_path / "e3.csv", [{**row, "price": "50.26"}])) == [("EXECUTION_DIFFERS", 2)]
    assert refused(held, written(tmp_path / "e4.csv", [row, {**row, "price": "50.26"}])) == [
        ("CONFLICTING_ROWS", 2),
        ("CONFLICTING_ROWS", 3),
    ]
    fill = held.one("SELECT sum(quantity) FROM ledger_postings WHERE kind = 'BUY'")
    assert fill == 4


def test_lots_that_the_broker_names_are_taken(held, tmp_path):
    """A sale's own lot_picks stand against the run's plan; what the plan cannot give is left to the lot method."""
    row = next(row for row in exported(held, "--account", "ACC-1") if row["ticker"] == "AAA" and row["side"] == "SELL")
    loaded(held, written(tmp_path / "e.csv", [executed(row, quantity=3, lot_picks="L1=1;L2=2")]))
    taken = held.sql("SELECT lot_id, -quantity AS shares FROM ledger_postings WHERE kind = 'SELL' ORDER BY lot_id")
    assert [tuple(line) for line in taken] == [("L1", 1), ("L2", 2)]


def test_the_morning_of_an_execution_comes_before_it(held, tmp_path):
    """Books move to the day of a trade with the corporate actions of that day: twice the shares after a split."""
    buy = next(row for row in exported(held, "--account", "ACC-1") if row["side"] == "BUY")
    held.sql(
        "INSERT INTO corporate_actions SELECT security_id, :day, 'split', 2 FROM securities "
        "WHERE ticker IN ('BBB', :ticker)",
        day=TUESDAY,
        ticker=buy["ticker"],
    )
    shares = "SELECT sum(quantity) FROM ledger_postings WHERE account_id = 'ACC-1' AND ticker = 'BBB'"
    before = held.one(shares)
    bought = executed(buy, quantity=2 * int(buy["quantity"]), price="25")
    assert loaded(held, written(tmp_path / "e.csv", [bought]))["inserted"] == 1
    assert held.one(shares) == 2 * before
    assert buy["client_order_id"] not in {row["client_order_id"] for row in exported(held)}
    over = executed(buy, 2, quantity=1)
    assert refused(held, written(tmp_path / "f.csv", [over])) == [("MORE_THAN_ORDERED", 2)]
    assert "ACTIONS_NOT_BOOKED" not in findings(held)
    assert held.command("ledger", "rebuild", "--check").exit_code == 0


def test_canadian_executions_settle_the_pool(held, tmp_path):
    """A Canadian sale takes its pool whatever lots are named, and the next day goes on."""
    held.ready(region="CA")
    assert held.advance().outcomes == {Outcome.PERSISTED: 1}
    rows = exported(held, "--account", "ACC-3")
    loaded(held, written(tmp_path / "e.csv", [executed(row) for row in rows]))
    assert exported(held, "--account", "ACC-3") == []
    held.ready(TUESDAY, "ACC-3")
    assert held.advance().outcomes == {Outcome.PERSISTED: 1}
    assert held.command("ledger", "rebuild", "--check").exit_code == 0


def test_several_days_of_partial_executions_add_up(held, tmp_path):
    """Parts of one order on two days, each with its own lots, close it; the second day's part moves the books on."""
    row = next(row for row in exported(held, "--account", "ACC-1") if row["side"] == "SELL")
    first = int(row["quantity"]) // 3
    rest = int(row["quantity"]) - first
    parts = [
        executed(row, 1, TUESDAY, quantity=first, lot_picks=""),
        executed(row, 2, WEDNESDAY, quantity=rest, lot_picks=""),
    ]
    assert loaded(held, written(tmp_path / "e.csv", parts))["inserted"] == 2
    assert row["client_order_id"] not in {one["client_order_id"] for one in exported(held)}
    sold = held.one("SELECT -sum(quantity) FROM ledger_postings WHERE kind = 'SELL'")
    assert sold == Decimal(row["quantity"])


def test_a_late_execution_is_booked_in_its_place(held, tmp_path):
    """One of Tuesday that comes after Wednesday's is a correction; the lots are those as if it had come in time."""
    row = next(row for row in exported(held, "--account", "ACC-1") if row["side"] == "SELL")
    early = executed(row, 1, TUESDAY, quantity=2, lot_picks="", price="51")
    late = executed(row, 2, WEDNESDAY, quantity=1, lot_picks="")
    assert loaded(held, written(tmp_path / "late.csv", [late]))["inserted"] == 1
    assert loaded(held, written(tmp_path / "early.csv", [early]))["inserted"] == 1
    sold = held.sql(
        "SELECT day, -sum(quantity) AS shares FROM ledger_postings WHERE kind = 'SELL' GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(line) for line in sold] == [(TUESDAY, 2), (WEDNESDAY, 1)]
    assert held.one("SELECT count(*) FROM ledger_corrections") == 1
    assert {str(one) for one in held.sql("SELECT DISTINCT source FROM ledger_events")} == {
        "('EXECUTION',)", "('OPENING',)",
    }  # fmt: skip
    with held.database.transaction() as connection:
        assert rebuild_check(connection, "ACC-1").differences == ()


def test_rows_that_are_refused_leave_the_others_of_their_day(held, tmp_path):
    """Of one day's executions those that the ledger refuses are findings, with its words; the rest is booked."""
    rows = exported(held, "--account", "ACC-1")
    sale = next(row for row in rows if row["side"] == "SELL")
    buy = executed(next(row for row in rows if row["side"] == "BUY"), quantity=1)
    gone = executed(sale, 1, quantity=1, lot_picks="L9=1")
    path = written(tmp_path / "e.csv", [gone, buy, executed(sale, 2, quantity=1, lot_picks="")])
    assert refused(held, path) == [("UNKNOWN_LOT", 2)]
    report = loaded(held, path, "--skip-bad-rows")
    assert (report["inserted"], report["findings"]) == (2, {"UNKNOWN_LOT": 1})
    assert held.one("SELECT count(*) FROM ledger_events WHERE source = 'EXECUTION'") == 2
    assert held.one("SELECT count(*) FROM order_executions") == 2


def test_a_day_that_the_market_cannot_be_booked_for_is_a_finding(held, tmp_path):
    """A spin-off without the price that its cash needs stops the executions of the day, not the command."""
    buy = next(row for row in exported(held, "--account", "ACC-1") if row["side"] == "BUY")
    held.sql(
        "INSERT INTO corporate_actions SELECT security_id, :day, 'stock_distribution_value', 0.1 "
        "FROM securities WHERE ticker = 'AAA'",
        day=TUESDAY,
    )
    held.sql("DELETE FROM prices WHERE price_date = :day", day=TUESDAY)
    assert refused(held, written(tmp_path / "e.csv", [executed(buy)])) == [("NO_PRICE", 2)]


def test_another_account_of_the_household_keeps_its_day(held, tmp_path):
    """Executions move the day of their own account; the household's books and cash are those of the ledger."""
    held.sql("UPDATE accounts SET household = 'SMITH' WHERE account_id IN ('ACC-1', 'ACC-2')")
    rows = [executed(row) for row in exported(held, "--account", "ACC-1")]
    loaded(held, written(tmp_path / "e.csv", rows))
    days = held.sql("SELECT account_id, books_as_of FROM accounts WHERE region = 'US' ORDER BY 1")
    assert [tuple(row) for row in days] == [("ACC-1", TUESDAY), ("ACC-2", MONDAY)]
    with held.database.transaction() as connection:
        books = read_books(connection, "SMITH")
    assert books.through == TUESDAY
    assert {row.account_id: row.cash for row in held.sql("SELECT account_id, cash FROM accounts")} == {
        **books.state.cash, "ACC-3": 20_000,
    }  # fmt: skip
