"""The real fleet's day, audited from the input files alone."""

import copy
import csv
import io
import json
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from prometheus.bookkeeping.ledger_view import books_of, read_books
from prometheus.db.database import Database
from prometheus.simulation.fills import fill_day
from tests.acceptance.independent_check import cents, check_run
from tests.acceptance.loaded_market import AS_OF, command, copy_of, printed_run

pytestmark = [pytest.mark.market_data, pytest.mark.long, pytest.mark.xdist_group("real_fleet")]

CHECKER = Path(__file__).with_name("independent_check.py")
#: One whole-share US account by highest cost, one fractional US account by FIFO, one Canadian pool.
TO_THE_CENT = ("ACC-001", "ACC-011", "ACC-007")
MANY_NAMES = 200


@pytest.fixture
def tampered(day):
    """Return a function that gives a deep copy of an account's run, to be tampered with."""
    return lambda account_id: copy.deepcopy(day.runs[account_id])


def deviations(day, run):
    """Return what the independent check finds in a run."""
    return check_run(run, day.market, day.fleet)


def test_every_account_is_persisted(day):
    """All twenty accounts end the day PERSISTED, each with run number one."""
    rows = list(csv.DictReader(io.StringIO(command(day.url, "show_engine_runs", "--as-of", AS_OF.isoformat()))))
    assert {row["account_id"]: row["phase"] for row in rows} == dict.fromkeys(day.fleet, "PERSISTED")
    assert len(day.fleet) == 20
    assert {run["run_seq"] for run in day.runs.values()} == {1}
    assert {run["status"] for run in day.runs.values()} == {"OPTIMAL"}


def test_certified_gap_of_large_accounts(day, record_property):
    """Accounts of 200 names or more are certified within 0.5 bps before rounding; every account reports both gaps."""
    gaps = {account_id: (run["gap_bps"], run["rounded_gap_bps"]) for account_id, run in day.runs.items()}
    for account_id, (gap, rounded) in gaps.items():
        record_property(f"gap_bps {account_id}", f"{gap:.6f} before rounding, {rounded:.6f} after")
        assert gap is not None
        assert rounded is not None
        assert rounded > -1e-6, f"{account_id}: better than the bound"
    large = {a for a, account in day.fleet.items() if len({lot.ticker for lot in account.lots}) >= MANY_NAMES}
    assert len(large) >= 3
    assert {account_id: gaps[account_id][0] for account_id in large if gaps[account_id][0] > 0.5} == {}


@pytest.mark.parametrize("account_id", TO_THE_CENT)
def test_account_agrees_to_the_cent(day, account_id):
    """Positions, lots, gains, tax, cash and weights of a run equal those computed from the files."""
    run = day.runs[account_id]
    assert len(run["trades"]) > 30
    assert deviations(day, run) == []


def test_every_account_is_legal(day):
    """No run of the fleet breaks a wash-sale rule, a restriction, a lot or the account's cash."""
    assert {
        account_id: differences for account_id, run in day.runs.items() if (differences := deviations(day, run))
    } == {}


@pytest.mark.long
def test_checker_is_a_program(day, shared_data, tmp_path):
    """The check runs without the package: exit 0 with one line a run, exit 1 with one line a deviation."""
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    text = command(day.url, "prometheus", "runs", "show", "ACC-001", "RUN-001", "--format", "json")
    good.write_text(text)
    run = json.loads(text)
    run["result"]["settlement"]["tax"] = str(Decimal(run["result"]["settlement"]["tax"]) + Decimal("0.01"))
    bad.write_text(json.dumps(run))
    files = [str(shared_data / "market"), str(shared_data / "fleet"), AS_OF.isoformat()]
    # -I -S: neither the repository nor installed packages can be imported.
    program = [sys.executable, "-I", "-S", str(CHECKER), *files]
    fine = subprocess.run([*program, str(good)], capture_output=True, text=True, check=False, env={})
    assert (fine.returncode, fine.stdout.count("\n"), fine.stderr) == (0, 1, "")
    assert "ACC-001 run 1 of 2018-06-01 agrees" in fine.stdout
    wrong = subprocess.run([*program, str(bad)], capture_output=True, text=True, check=False, env={})
    tax = run["result"]["settlement"]["tax"]
    assert wrong.returncode == 1
    assert wrong.stdout == f"ACC-001: total tax is {tax}, the files give {Decimal(tax) - Decimal('0.01')}\n"


# ---------------------------------------------------------------- negative controls


def sales(run):
    """Return the sale lines of a run."""
    return [trade for trade in run["trades"] if trade["side"] == "SELL"]


def make_consistent(day, run):
    """Let every total of a tampered run follow from its lines, as a careful forger would."""
    account = day.fleet[run["account_id"]]
    settled, nav = run["result"]["settlement"], Decimal(run["result"]["nav"])
    net, held = {}, {}
    for lot in account.lots:
        held[lot.ticker] = held.get(lot.ticker, Decimal(0)) + lot.quantity
    cash = Decimal(account.row["cash"])
    for trade in run["trades"]:
        sign = 1 if trade["side"] == "BUY" else -1
        net[trade["ticker"]] = net.get(trade["ticker"], Decimal(0)) + sign * Decimal(trade["quantity"])
        cash -= sign * Decimal(trade["amount"]) + Decimal(trade["cost"])
    settled["cash_after"] = str(cash)
    settled["cost"] = str(sum(Decimal(trade["cost"]) for trade in run["trades"]))
    settled["tax"] = str(sum(Decimal(trade["tax"]) for trade in sales(run)))
    for name, term in (("short", "SHORT"), ("long", "LONG"), ("other", "NONE")):
        gains = (Decimal(trade["realized_gain"]) for trade in sales(run) if trade["term"] == term)
        settled[f"realized_gain_{name}"] = str(sum(gains, Decimal(0)))
    settled["trades"] = len({(trade["ticker"], trade["side"]) for trade in run["trades"]})
    run["result"]["shares"] = {ticker: str(shares) for ticker, shares in net.items()}
    run["result"]["turnover"] = sum(Decimal(trade["amount"]) for trade in run["trades"]) / 2 / nav
    run["result"]["target_weights"] = {
        ticker: (held.get(ticker, Decimal(0)) + net.get(ticker, Decimal(0))) * day.market.price[ticker] / nav
        for ticker in {*held, *net}
    }


def price_line(day, run, line):
    """Let a line's money follow from its lot and quantity."""
    account = day.fleet[run["account_id"]]
    quantity = Decimal(line["quantity"])
    line["price"] = str(day.market.price[line["ticker"]])
    line["amount"] = str(cents(quantity * day.market.price[line["ticker"]]))
    line["cost"] = str(cents(Decimal(line["amount"]) * Decimal(run["params_snapshot"]["cost_bps"]) / 10000))
    if line["side"] == "BUY":
        return
    lot = next(lot for lot in account.lots if lot.lot_id == line["lot_id"])
    line["acquired_on"] = lot.acquired.isoformat()
    line["basis"] = str(cents(lot.basis * quantity / lot.quantity))
    gain = Decimal(line["amount"]) - Decimal(line["basis"])
    line["term"] = "LONG" if lot.acquired + timedelta(days=366) <= AS_OF else "SHORT"
    rate = Decimal(account.row["lt_rate" if line["term"] == "LONG" else "st_rate"]) + Decimal(account.row["niit_rate"])
    line["realized_gain"], line["tax"] = str(gain), str(cents(gain * rate))


def purchase(day, run, ticker, shares):
    """Return a purchase line, right in itself."""
    line = {"ticker": ticker, "side": "BUY", "lot_id": f"NEW-{ticker}", "acquired_on": AS_OF.isoformat()}
    line |= {"quantity": str(shares), "trade_no": len(run["trades"]) + 1}
    line |= dict.fromkeys(("basis", "realized_gain", "term", "disallowed_loss", "tax"))
    price_line(day, run, line)
    return line


def test_forgery_tools_change_nothing_by_themselves(day, tampered):
    """A run whose lines and totals are written again by the forger's own tools still agrees."""
    run = tampered("ACC-001")
    for line in run["trades"]:
        price_line(day, run, line)
    make_consistent(day, run)
    assert deviations(day, run) == []


@pytest.mark.parametrize("column", ["realized_gain", "basis", "tax", "amount", "cost", "disallowed_loss"])
@pytest.mark.parametrize("account_id", TO_THE_CENT)
def test_a_cent_is_found(day, tampered, account_id, column):
    """One cent more in any column of one sale is reported, with the name of its lot."""
    run = tampered(account_id)
    line = sales(run)[-1]
    line[column] = str(Decimal(line[column]) + Decimal("0.01"))
    assert [f"{line['lot_id']} {column}" in text for text in deviations(day, run)] == [True]


def test_a_share_too_many_is_found(day, tampered):
    """A sale of one share more than its lot holds is reported although every total follows from it."""
    run = tampered("ACC-001")
    sizes = {lot.lot_id: lot.quantity for lot in day.fleet["ACC-001"].lots}
    line = next(line for line in sales(run) if Decimal(line["quantity"]) == sizes[line["lot_id"]])
    line["quantity"] = str(Decimal(line["quantity"]) + 1)
    price_line(day, run, line)
    make_consistent(day, run)
    holds = f"shares are sold of lot {line['lot_id']}, which holds"
    assert any(holds in text for text in deviations(day, run))


@pytest.mark.parametrize("account_id", ["ACC-001", "ACC-011"])
def test_a_swapped_lot_is_found(day, tampered, account_id):
    """A sale out of another lot than the account's method takes is reported although its money is right."""
    run = tampered(account_id)
    taken = {line["lot_id"] for line in sales(run)}
    free = [lot for lot in day.fleet[account_id].lots if lot.lot_id not in taken]
    line, other = next(
        (line, lot)
        for line in sales(run)
        for lot in free
        if lot.ticker == line["ticker"] and lot.quantity >= Decimal(line["quantity"])
    )
    before, line["lot_id"] = line["lot_id"], other.lot_id
    price_line(day, run, line)
    make_consistent(day, run)
    differences = deviations(day, run)
    assert any(f"SELL {other.lot_id} is in the run but not in" in text for text in differences)
    assert any(f"SELL {before} is missing in the run" in text for text in differences)


@pytest.mark.parametrize("account_id", TO_THE_CENT)
def test_a_purchase_beside_a_loss_sale_is_found(day, tampered, account_id):
    """A purchase of a name of which a lot is sold at a loss that day is reported although every total is right."""
    run = tampered(account_id)
    ticker = next(line["ticker"] for line in sales(run) if Decimal(line["realized_gain"]) < 0)
    run["trades"].append(purchase(day, run, ticker, 3))
    make_consistent(day, run)
    differences = deviations(day, run)
    assert any(f"{ticker} is both bought and sold" in text for text in differences)
    assert any(f"{ticker} is bought on a day on which its group is sold at a loss" in text for text in differences)


def test_a_washed_loss_is_found(day, tampered):
    """A loss sale beside another lot bought in the 30 days before is reported although every total is right."""
    run = tampered("ACC-001")
    lock = run["snapshot"]["loss_sale_locks"][0][0]
    lot = next(lot for lot in day.fleet["ACC-001"].lots if lot.lot_id == lock)
    run["trades"] = [line for line in run["trades"] if line["ticker"] != lot.ticker]
    line = dict(sales(run)[0]) | {"ticker": lot.ticker, "lot_id": lock, "quantity": str(lot.quantity)}
    price_line(day, run, line)
    assert Decimal(line["realized_gain"]) < 0
    run["trades"].append(line)
    make_consistent(day, run)
    assert any(f"SELL {lock} is in the run but not in the lot order" in text for text in deviations(day, run))


def test_a_restricted_name_is_found(day, tampered):
    """A purchase of the owner's employer, or of an excluded industry, is reported although every total is right."""
    for account_id, ticker, rule in (
        ("ACC-003", "MSFT", "MSFT is bought, which a restriction forbids"),
        ("ACC-007", "PM", "PM is bought, and its sub-industry is excluded"),
        ("ACC-007", "LMT", "LMT is bought, and its sub-industry is excluded"),
    ):
        run = tampered(account_id)
        run["trades"] = [line for line in run["trades"] if line["ticker"] != ticker]
        run["trades"].append(purchase(day, run, ticker, 1))
        make_consistent(day, run)
        assert any(rule in text for text in deviations(day, run))


def test_overdrawn_cash_is_found(day, tampered):
    """Purchases for more than the account's cash are reported although every total is right."""
    run = tampered("ACC-001")
    line = next(line for line in run["trades"] if line["side"] == "BUY")
    affordable = Decimal(run["result"]["settlement"]["cash_after"]) / day.market.price[line["ticker"]]
    line["quantity"] = str(Decimal(line["quantity"]) + int(affordable) + 1)
    price_line(day, run, line)
    make_consistent(day, run)
    assert any("cash after is negative" in text for text in deviations(day, run))


def test_fractions_and_crumbs_are_found(day, tampered):
    """Half a share in a whole-share account and a trade below the minimum are reported, right totals or not."""
    run = tampered("ACC-001")
    line = next(line for line in run["trades"] if line["side"] == "BUY")
    line["quantity"] = "0.5"
    price_line(day, run, line)
    make_consistent(day, run)
    differences = deviations(day, run)
    assert any(f"{line['ticker']}: 0.5 shares are not in steps of 1" in text for text in differences)
    assert any("is below the minimum of 100" in text for text in differences)


def test_other_inputs_are_found(day, tampered):
    """A price, a position or a tax rate that is not that of the files is reported."""
    run = tampered("ACC-007")
    run["snapshot"]["universe"]["price"][0] = "1.23"
    run["snapshot"]["lots"]["quantity"][0] = "7"
    run["snapshot"]["rates"]["st"] = "0.25"
    differences = deviations(day, run)
    assert len(differences) == 3
    for part in (f"price of {run['snapshot']['universe']['ticker'][0]} is 1.23", "quantity=Decimal('7')", "rate st"):
        assert any(part in text for text in differences)


# ---------------------------------------------------------------- washed losses allowed


def run_under(server, admin, loaded, folder, account_ids, **params: object):
    """Run some accounts' day on a copy of the loaded fleet with other strategy parameters; return its URL."""
    url = server.url(copy_of(admin, server, loaded))
    strategy = json.loads(command(url, "prometheus", "strategy", "show"))
    strategy["params"] |= params
    file = folder / "strategy.json"
    file.write_text(json.dumps(strategy))
    assert "version 2" in command(url, "prometheus", "strategy", "load", str(file))
    for account_id in account_ids:
        scope = ("--as-of", AS_OF.isoformat(), "--account", account_id)
        command(url, "run_engine_state", *scope, "--ensure", "--data-ready")
    command(url, "run_engine_state", "--advance-all")
    return url


def database_name(url):
    """Return the database of a URL."""
    return url.rpartition("/")[2].partition("?")[0]


def test_a_run_without_proof_trades_nothing(day, server, admin, loaded, tmp_path):
    """An account whose certified gap exceeds the limit keeps what it holds, says so, and the check agrees."""
    url = run_under(server, admin, loaded, tmp_path, ["ACC-010"], max_gap_bps=0.0)
    run = printed_run(url, "ACC-010")
    assert (run["status"], run["trades"]) == ("NON_OPTIMAL", [])
    assert {failure["code"] for failure in run["result"]["failures"]} == {"GAP_TOO_WIDE"}
    assert deviations(day, run) == []
    held = {lot.ticker for lot in day.fleet["ACC-010"].lots}
    assert run["result"]["target_weights"].keys() == held
    admin.execute(f"DROP DATABASE {database_name(url)} WITH (FORCE)")


@pytest.fixture(scope="module")
def allowed(server, admin, loaded, tmp_path_factory):
    """Return the URL of a copy of the fleet whose strategy lets washed losses be realised, with three runs."""
    folder = tmp_path_factory.mktemp("strategy")
    url = run_under(server, admin, loaded, folder, ALLOWED, loss_sale_policy="allow", **EVERY_LOSS)
    yield url
    admin.execute(f"DROP DATABASE {database_name(url)} WITH (FORCE)")


ALLOWED = ("ACC-005", "ACC-010", "ACC-014")
#: Small losses are realised as well: the shipped strategy waits for larger ones, which these accounts do not wash.
EVERY_LOSS = {"harvest_min_share": 0.0, "harvest_sigma": 0.0, "order_cost": 0.0, "order_cost_bps": 0.0}


def test_allowed_washed_losses_are_booked_as_disallowed(day, allowed):
    """Under the policy allow washed sales appear, their losses are disallowed, and the check agrees to the cent."""
    washed = {}
    for account_id in ALLOWED:
        run = printed_run(allowed, account_id)
        assert run["params_snapshot"]["loss_sale_policy"] == "allow"
        assert run["strategy_version"] == 2
        assert deviations(day, run) == []
        washed[account_id] = [line for line in sales(run) if Decimal(line["disallowed_loss"]) > 0]
        for line in washed[account_id]:
            assert Decimal(line["disallowed_loss"]) <= -Decimal(line["realized_gain"])
    assert all(washed.values()), {account_id: len(lines) for account_id, lines in washed.items()}
    assert all(not Decimal(line["disallowed_loss"] or 0) for run in day.runs.values() for line in sales(run))


def test_a_cent_of_disallowed_loss_is_found(day, allowed):
    """One cent less disallowed than the rule disallows is reported."""
    run = printed_run(allowed, ALLOWED[0])
    line = next(line for line in sales(run) if Decimal(line["disallowed_loss"]) > 0)
    line["disallowed_loss"] = str(Decimal(line["disallowed_loss"]) - Decimal("0.01"))
    assert [f"{line['lot_id']} disallowed_loss" in text for text in deviations(day, run)] == [True]


def test_disallowed_losses_move_into_the_lots_held(allowed, server, admin):
    """Once filled, the lots held carry exactly the disallowed losses in their basis, and no share or cent is lost."""
    name = copy_of(admin, server, database_name(allowed))
    database = Database(server.url(name))
    try:
        assert fill_day(database, AS_OF) > 0
        assert fill_day(database, AS_OF) == 0
        with database.transaction() as connection:
            held = {name: books_of(read_books(connection, name).state, name) for name in ALLOWED}
    finally:
        database.close()
    for account_id, books in held.items():
        run = printed_run(allowed, account_id)
        settled = {name: Decimal(text) for name, text in run["result"]["settlement"].items()}
        carried = sum(lot.adjusted_basis - lot.cost_basis for lot in books.lots)
        assert carried == settled["disallowed_loss"] > 0
        # The simulated fills cost no commission; the plan's cash is after the estimated costs.
        assert books.cash == settled["cash_after"] + settled["cost"]
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
