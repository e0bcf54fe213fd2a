"""Accounts nobody would choose for a demonstration, on the real market, audited from their files alone."""

import csv
import json
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest

from tests.acceptance.independent_check import cents, check_run, read_fleet, read_market, rows
from tests.acceptance.loaded_market import AS_OF, command, copy_of, printed_run

pytestmark = [pytest.mark.market_data, pytest.mark.long, pytest.mark.xdist_group("real_fleet")]

SHARE_CLASSES = {
    "GOOG": "ALPHABET",
    "GOOGL": "ALPHABET",
    "NWS": "NEWS",
    "NWSA": "NEWS",
    "UA": "ARMOUR",
    "UAA": "ARMOUR",
}
CLASS_PAIRS = (("GOOG", "GOOGL"), ("NWS", "NWSA"), ("UA", "UAA"))
LARGE = [
    "AAPL",
    "MSFT",
    "AMZN",
    "JPM",
    "JNJ",
    "XOM",
    "BAC",
    "WFC",
    "CVX",
    "HD",
    "UNH",
    "PFE",
    "T",
    "V",
    "PG",
    "INTC",
    "CSCO",
    "VZ",
    "MA",
    "KO",
    "DIS",
    "PEP",
    "MRK",
    "CMCSA",
]
#: Just inside and outside of the wash window, and around the first anniversary, also of a 29 February.
EDGE_DAYS = (
    *(AS_OF - timedelta(days) for days in (0, 1, 29, 30, 31)),
    *(AS_OF.replace(year=2017) + timedelta(days) for days in (-1, 0, 1)),
    AS_OF.replace(year=2016, month=2, day=29),
)
DAY = AS_OF.isoformat()
US_RATES, CA_RATES = ("0.37", "0.2", "0.038"), ("0.2676", "0.2676", "0.0")


ACCOUNT_COLUMNS = (
    *("account_id", "name", "region", "base_currency", "tax_regime", "lot_method", "benchmark_id"),
    *("st_rate", "lt_rate", "niit_rate", "cash", "fractional_shares", "tags"),
)
LOT_COLUMNS = ("account_id", "lot_id", "ticker", "acquired_on", "quantity", "cost_basis")


class OddFleet:
    """Files of accounts and lots; the basis of a lot is given as a ratio to its value on the day."""

    def __init__(self, folder, market) -> None:
        self.folder, self.market = folder, market
        self.accounts, self.lots = [], []

    def account(self, account_id, method, cash, *, fractional, tags=""):
        """Add an account; Canada's where the method is ACB."""
        place, rates = (("CA", "CAD", "CA"), CA_RATES) if method == "ACB" else (("US", "USD", "US"), US_RATES)
        settings = (method, "SP500", *rates, cash, str(fractional).lower(), tags)
        self.accounts.append((account_id, account_id, *place, *settings))

    def lot(self, account_id, ticker, day, quantity, ratio):
        """Add a lot."""
        cost = cents(Decimal(quantity) * self.market.price[ticker] * Decimal(ratio))
        number = f"{account_id}-L{len(self.lots):05}"
        self.lots.append((account_id, number, ticker, str(day), quantity, f"{cost}"))

    def write(self):
        """Write both files."""
        for name, header, content in (("accounts", ACCOUNT_COLUMNS, self.accounts), ("lots", LOT_COLUMNS, self.lots)):
            with (self.folder / f"{name}.csv").open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(header)
                writer.writerows(content)


def fill(fleet):
    """Add the odd accounts; each is named after what is odd about it."""
    fleet.account("CASH-ONLY", "HIFO", "1000000.0", fractional=False)
    for method in ("HIFO", "FIFO", "LEAST_TAX_FIRST"):
        edges = f"EDGES-{method.replace('_', '-')}"
        fleet.account(edges, method, "20000.0", fractional=True)
        for i, ticker in enumerate(LARGE):
            for j, day in enumerate(EDGE_DAYS):
                if (i + j) % 3:
                    ratio = ("0.7", "0.95", "1.0", "1.05", "1.3")[(i * 7 + j * 3) % 5]
                    fleet.lot(
                        edges, ticker, day, f"{10 + (i * 31 + j * 17) % 40}.{(i * 977 + j * 131) % 10000:04}", ratio
                    )
    fleet.account("CLASSES-US", "HIFO", "50000.0", fractional=False)
    fleet.account("CLASSES-CA", "ACB", "9000.0", fractional=False)
    for account_id in ("CLASSES-US", "CLASSES-CA"):
        for one, other in CLASS_PAIRS:
            fleet.lot(account_id, one, "2016-01-04", "40", "1.4")
            fleet.lot(account_id, other, "2018-05-20", "5", "0.9")
            fleet.lot(account_id, other, "2015-05-20", "15", "0.4")
        for i, ticker in enumerate(LARGE):
            fleet.lot(account_id, ticker, "2014-01-02", "30", ("0.5", "1.2")[i % 2])
    fleet.account("RESIDUES", "HIFO", "3000.0", fractional=False, tags="esg:no-tobacco")
    fleet.lot("RESIDUES", "MO", "2014-01-02", "10.5", "0.8")
    fleet.lot("RESIDUES", "PM", "2014-01-02", "0.3333", "0.8")
    for i, ticker in enumerate(LARGE):
        fleet.lot("RESIDUES", ticker, "2014-01-02", ("10", "0.0008", "10.5", "3.3333")[i % 4], ("0.5", "1.2")[i % 2])
        fleet.lot("RESIDUES", ticker, "2018-05-15", ("1", "0.25")[i % 2], ("0.9", "1.1")[i % 3 % 2])
    fleet.account("EXCLUDED", "HIFO", "100.0", fractional=True, tags="esg:no-tobacco;esg:no-weapons;no-such-tag")
    for i, ticker in enumerate(("MO", "PM", "LMT", "BA", "GD", "NOC", "AAPL", "MSFT")):
        fleet.lot("EXCLUDED", ticker, "2015-01-05", "33.3333", ("0.6", "1.3")[i % 2])
        fleet.lot("EXCLUDED", ticker, "2018-05-08", "11.1", ("0.9", "1.1")[i // 2 % 2])
    fleet.account("TINY", "FIFO", "0.0", fractional=True)
    fleet.lot("TINY", "AAPL", "2017-01-03", "0.5", "1.2")
    fleet.account("EMPTY", "HIFO", "0.0", fractional=False)
    fleet.account("FUTURE", "HIFO", "1000.0", fractional=False)
    fleet.lot("FUTURE", "AAPL", "2018-06-04", "50", "1.1")
    fleet.lot("FUTURE", "MSFT", "2014-06-04", "50", "1.1")


HELD = {"EMPTY": "NO_ASSETS", "FUTURE": "LOT_AFTER_DAY"}


@pytest.fixture(scope="module")
def odd(server, admin, loaded, shared_data, tmp_path_factory):
    """Return the URL, the market with share classes grouped, and the odd fleet after its day."""
    market_files = tmp_path_factory.mktemp("market")
    for path in (shared_data / "market").iterdir():
        (market_files / path.name).symlink_to(path)
    (market_files / "securities.csv").unlink()
    securities = list(rows(shared_data / "market", "securities"))
    with (market_files / "securities.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*securities[0], "group"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "group": SHARE_CLASSES.get(row["ticker"], row["ticker"])} for row in securities)
    market = read_market(market_files, AS_OF)
    files = tmp_path_factory.mktemp("fleet")
    fleet = OddFleet(files, market)
    fill(fleet)
    fleet.write()
    name = copy_of(admin, server, loaded)
    url = server.url(name)
    command(url, "prometheus", "ingest", str(market_files / "securities.csv"), "--kind", "securities")
    command(url, "prometheus", "ingest", str(files))
    for account_id, *_ in fleet.accounts:
        command(url, "run_engine_state", "--as-of", DAY, "--account", account_id, "--ensure", "--data-ready")
    # Exit code 1: two runs wait for a person.
    command(url, "run_engine_state", "--advance-all", exit_code=1)
    yield url, market, read_fleet(files), server
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_odd_accounts_agree_with_their_files(odd):
    """Every odd account that can be run agrees with the files to the cent and breaks no rule."""
    url, market, fleet, _ = odd
    runs = {account_id: printed_run(url, account_id) for account_id in sorted(fleet.keys() - HELD.keys())}
    assert {name: differences for name, run in runs.items() if (differences := check_run(run, market, fleet))} == {}
    assert {name for name, run in runs.items() if run["trades"]} == runs.keys() - {"TINY"}
    # The cases are what they are called: both terms are sold, locks are there, a fraction was sold out.
    terms = {line["term"] for name in runs if name.startswith("EDGES") for line in runs[name]["trades"]}
    assert {"SHORT", "LONG"} <= terms
    assert all(runs[name]["snapshot"]["loss_sale_locks"] for name in runs if name.startswith(("EDGES", "CLASSES")))
    groups = set(SHARE_CLASSES.values())
    assert groups <= set(runs["CLASSES-US"]["snapshot"]["universe"]["group"].values())
    sold = {line["ticker"]: Decimal(line["quantity"]) for line in runs["RESIDUES"]["trades"] if line["side"] == "SELL"}
    assert (sold["MO"], sold["PM"]) == (Decimal("10.5"), Decimal("0.3333"))


def test_impossible_accounts_are_held_with_a_reason(odd):
    """An account worth nothing and one with lots from the future wait, with the reason said."""
    url, _, _, server = odd
    listed = command(url, "show_engine_runs", "--as-of", DAY, "--phase", "DATA_READY", "--format", "json")
    assert {run["account_id"] for run in json.loads(listed)} == HELD.keys()
    name = url.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(host=str(server.socket_dir), user="postgres", dbname=name) as connection:
        alerts = connection.execute("SELECT account_id, code, message FROM alerts").fetchall()
    said = {account_id: (code, message) for account_id, code, message in alerts if account_id in HELD}
    assert {account_id: code for account_id, (code, _) in said.items()} == HELD
    assert "there is nothing to invest" in said["EMPTY"][1]
    assert "was bought on 2018-06-04, after 2018-06-01" in said["FUTURE"][1]
