"""Random problem files of every kind, written from docs/specs/problem_file.md and its schema alone."""

from collections.abc import Mapping
from datetime import date, timedelta
from random import Random
from typing import Any

Document = dict[str, Any]

KINDS = ("general", "realistic", "tiny", "canada", "household", "limits", "long_short", "fractional", "extreme")


def problem(seed: int, kind: str | None = None) -> Document:
    """Return the problem file of a seed; its kind follows from the seed where none is given."""
    random = Random(f"problem file {seed}")
    kind = kind or KINDS[seed % len(KINDS)]
    names = {
        "realistic": random.randint(30, 120),
        "tiny": random.randint(1, 4),
        "limits": random.randint(3, 30),
        "long_short": random.randint(3, 25),
    }.get(kind, random.choice((2, 3, 5, 8, 12, 25)))
    as_of = date(2001, 1, 1) + timedelta(days=random.randint(0, 11_000))
    canadian = kind == "canada" or (kind in {"general", "limits"} and random.random() < 0.15)
    fractional = kind == "fractional" or (kind not in {"realistic", "tiny"} and random.random() < 0.2)
    nav = 10 ** (random.uniform(5, 6.5) if kind == "realistic" else random.uniform(3, 6.5))
    if kind == "extreme" and random.random() < 0.3:
        nav = 10 ** random.choice((0.5, 2.0, 9.0, 11.0))
    factors = random.randint(1, 5 if kind == "realistic" else 3)
    assets = [_asset(random, i, factors, kind, nav, as_of) for i in range(names)]
    _benchmark(random, assets)
    if random.random() < 0.4:
        for asset in random.sample(assets, min(names, random.choice((2, 2, 3)))):
            asset["group"] = "SAME"
    lots, cash = _lots(random, assets, kind, nav, as_of, fractional)
    rate = f"{random.choice((0.15, 0.2, 0.25, 0.267))}"
    document: Document = {
        "version": 1,
        "as_of": as_of.isoformat(),
        "base_currency": "CAD" if canadian else "USD",
        "cash": cash,
        "fractional_shares": fractional,
        "tax_regime": "CA" if canadian else "US",
        "lot_method": "ACB" if canadian else random.choice(("HIFO", "HIFO", "LEAST_TAX_FIRST", "FIFO")),
        "tax_rates": {"st": rate, "lt": rate} if canadian else random.choice(_US_RATES),
        "factor_covariance": _covariance(random, factors),
        "assets": assets,
        "lots": lots,
        "recent_trades": _trades(random, assets, lots, kind, as_of),
        "params": _params(random, assets, kind, nav),
    }
    if random.random() < 0.08:
        document |= {"sheltered": True, "tax_rates": {"st": "0", "lt": "0"}}
    if "tax_budget_ytd" in document["params"] and random.random() < 0.5:
        document["realized_this_year"] = f"{random.uniform(-0.02, 0.02) * nav:.2f}"
    if names > 3 and random.random() < 0.12:
        document["specific_correlation_blocks"] = [_block(random, assets)]
    _policy(Random(f"policy {seed}"), document["params"])
    if not canadian and kind in {"long_short", "limits", "realistic"}:
        _begin_short(Random(f"short {seed}"), document, nav, as_of)
    if document["params"].get("loss_sale_policy") == "allow" and not canadian:
        for trade in document["recent_trades"]:
            if trade["side"] == "BUY" and "account" not in trade and "lot_id" not in trade:
                trade["lot_id"] = "GONE"
    return document


_US_RATES: tuple[dict[str, str], ...] = (
    {"st": "0.37", "lt": "0.2", "niit": "0.038"},
    {"st": "0.24", "lt": "0.15"},
    {"st": "0.0", "lt": "0.0"},
)


def _begin_short(random: Random, document: Document, nav: float, as_of: date) -> None:
    """Give some problems short positions, of names without lots; what they were sold for is in cash."""
    if random.random() < 0.5:
        return
    held = {lot["ticker"] for lot in document["lots"]}
    free = [asset for asset in document["assets"] if asset["ticker"] not in held]
    shorts: list[Document] = []
    for asset in random.sample(free, min(len(free), random.randint(1, 3))):
        for _ in range(random.choice((1, 1, 2))):
            price = float(asset["price"])
            quantity = float(int(random.choice((0.001, 0.01, 0.05)) * nav / price))
            if document["fractional_shares"]:
                quantity = round(quantity + random.random(), 4)
            if quantity <= 0:
                continue
            short: Document = {
                "lot_id": f"S{len(shorts)}",
                "ticker": asset["ticker"],
                "sold_on": (as_of - timedelta(days=random.choice((3, 30, 31, 200)))).isoformat(),
                "quantity": f"{quantity:.4f}".rstrip("0").rstrip("."),
                "proceeds": f"{quantity * price * random.lognormvariate(0.0, 0.3):.2f}",
            }
            if random.random() < 0.2:
                short["was_held_long"] = True
            shorts.append(short)
            document["cash"] = f"{float(document['cash']) + quantity * price:.2f}"
    if shorts:
        document["shorts"] = shorts


def _asset(random: Random, number: int, factors: int, kind: str, nav: float, as_of: date) -> Document:
    price = random.lognormvariate(4.2, 0.9)
    if kind == "realistic":
        price = min(max(price, 2.0), 0.009 * nav)
    if kind == "extreme" and random.random() < 0.3:
        # no account may be able to buy more than 1e15 steps of a name
        price = random.choice((0.0001, 0.01, 0.5, 4_000.0, 394_145.98)) if nav < 1e8 else 394_145.98
    asset: Document = {
        "ticker": f"T{number:03d}",
        "price": f"{max(price, 0.0001):.{4 if price < 1 else 2}f}",
        "benchmark_weight": 0.0,
        "sector": f"S{random.randint(1, 4)}",
        "loadings": [round(random.gauss(1.0 if k == 0 else 0.0, 0.4), 4) for k in range(factors)],
        "specific_variance": round(random.uniform(0.01, 0.16), 6),
    }
    if random.random() < 0.3:
        asset["sub_industry"] = f"I{random.randint(1, 3)}"
    if random.random() < 0.05:
        asset["price_date"] = (as_of - timedelta(days=random.randint(0, 5))).isoformat()
    if random.random() < 0.08:
        asset["cost"] = f"{random.choice((0.0, 0.0002, 0.001, 0.01))}"
    if random.random() < 0.6:
        asset["borrow_rate"] = f"{random.choice((0.003, 0.01, 0.08))}"
    return asset


def _benchmark(random: Random, assets: list[Document]) -> None:
    raw = [random.gammavariate(0.7, 1.0) if random.random() < 0.85 else 0.0 for _ in assets]
    total = sum(raw)
    whole = random.choice((1.0, 1.0, 1.0, 0.9, 0.6))
    for asset, weight in zip(assets, raw, strict=True):
        asset["benchmark_weight"] = round(whole * weight / total, 9) if total else 0.0
    if total == 0:
        assets[0]["benchmark_weight"] = 1.0


def _lots(
    random: Random, assets: list[Document], kind: str, nav: float, as_of: date, fractional: bool
) -> tuple[list[Document], str]:
    wanted = [asset["benchmark_weight"] * random.lognormvariate(0, 0.6) for asset in assets]
    wanted = [w if random.random() < 0.75 else 0.0 for w in wanted]
    if random.random() < 0.2:
        wanted[random.randrange(len(wanted))] += random.choice((0.02, 0.2))
    cash_share = random.choice((0.0, 0.0, 0.004, 0.01, 0.02, 0.05, 0.3))
    scale = (1 - cash_share) / max(sum(wanted), 0.2)
    lots: list[Document] = []
    held = 0.0
    for asset, weight in zip(assets, wanted, strict=True):
        price = float(asset["price"])
        for part in _parts(random, weight * scale * nav / price):
            quantity = round(part, 4) if fractional else float(int(part))
            if random.random() < 0.06:
                quantity = round(quantity + random.random(), random.choice((4, 8)))
            if quantity <= 0:
                continue
            age = random.choice((random.randint(0, 40), random.randint(0, 400), random.randint(0, 4000)))
            acquired = as_of - timedelta(days=age)
            basis = quantity * price * random.lognormvariate(0.0, 0.3)
            lot: Document = {
                "lot_id": f"L{len(lots)}",
                "ticker": asset["ticker"],
                "acquired_on": acquired.isoformat(),
                "quantity": f"{quantity:.8f}".rstrip("0").rstrip("."),
                "adjusted_basis": f"{basis:.2f}",
            }
            if random.random() < 0.05:
                lot["cost_basis"] = f"{basis * 0.9:.2f}"
            if random.random() < 0.05:
                lot["holding_period_start"] = (acquired - timedelta(days=random.randint(0, 500))).isoformat()
            lots.append(lot)
            held += quantity * price
    cash = max(cash_share * nav, 1.0) if held < 1 else cash_share * nav
    if held > 0 and random.random() < 0.08:
        cash = -random.choice((0.001, 0.03)) * held
    if kind == "extreme" and held > 10 and random.random() < 0.3:
        cash = random.choice((0.0, 0.01, 0.05))
    return lots, f"{cash:.2f}"


def _parts(random: Random, quantity: float) -> list[float]:
    count = random.choice((1, 1, 2, 3, 5))
    weights = [random.random() + 0.05 for _ in range(count)]
    return [quantity * weight / sum(weights) for weight in weights]


def _trades(random: Random, assets: list[Document], lots: list[Document], kind: str, as_of: date) -> list[Document]:
    trades: list[Document] = []
    for lot in lots:
        age = (as_of - date.fromisoformat(lot["acquired_on"])).days
        if age <= 61 and random.random() < 0.5:
            row = {"ticker": lot["ticker"], "date": lot["acquired_on"], "side": "BUY", "quantity": lot["quantity"]}
            row["lot_id"] = lot["lot_id"]
            if random.random() < 0.2:
                row["unreplaced"] = "0"
            trades.append(row)
    for _ in range(random.choice((0, 0, 1, 2, 4))):
        asset = random.choice(assets)
        row = {
            "ticker": asset["ticker"],
            "date": (as_of - timedelta(days=random.randint(0, 45))).isoformat(),
            "side": "SELL",
            "quantity": str(random.randint(1, 40)),
            "realized_gain": f"{random.choice((-1, -1, 1)) * random.uniform(1, 500):.2f}",
            "lot_id": f"OLD{len(trades)}",
            "acquired_on": (as_of - timedelta(days=500)).isoformat(),
            "execution_id": f"X{len(trades)}",
        }
        if random.random() < 0.2:
            group = asset.get("group", asset["ticker"])
            row |= {"ticker": f"LEFT-{group}", "group": group}
        trades.append(row)
    household = kind == "household" or random.random() < 0.1
    for _ in range(random.randint(1, 4) if household else 0):
        row = {
            "ticker": random.choice(assets)["ticker"],
            "date": (as_of - timedelta(days=random.randint(0, 45))).isoformat(),
            "side": random.choice(("BUY", "BUY", "SELL")),
            "quantity": str(random.randint(1, 500)),
            "account": random.choice(("SPOUSE", "IRA")),
        }
        if row["side"] == "SELL":
            row |= {"realized_gain": f"{random.uniform(-400, 100):.2f}", "lot_id": f"SP{len(trades)}"}
        elif random.random() < 0.3:
            row["unreplaced"] = random.choice(("0", row["quantity"]))
        elif random.random() < 0.3:
            row["lot_id"] = random.choice(("SP1", "L0"))
        trades.append(row)
    if random.random() < 0.1:
        asset = random.choice(assets)
        trades.append({"ticker": asset["ticker"], "date": as_of.isoformat(), "side": "BUY", "quantity": "3"})
    return trades


def _params(random: Random, assets: list[Document], kind: str, nav: float) -> Document:
    params: Document = {}

    def maybe(chance: float, name: str, *values: Any) -> None:
        if random.random() < chance:
            params[name] = random.choice(values)

    tickers = [asset["ticker"] for asset in assets]
    maybe(0.4, "risk_aversion", 1, 5, 20, 100, *((1e-6, 1e6, 1000) if kind == "extreme" else ()))
    maybe(0.2, "tax_weight", 0, 0.5, 2)
    maybe(0.3, "cost_bps", 0, 2, 20, 100)
    if len(assets) < 15 or random.random() < 0.3:
        params |= {"max_weight": random.choice((0.2, 0.5, 1)), "max_active_weight": random.choice((0.05, 0.3, 1))}
    if random.random() < 0.4:
        params["cash_min"] = random.choice((0, 0.001, 0.01))
        params["cash_max"] = random.choice((params["cash_min"], params["cash_min"] + 0.01, 0.05, 1.0))
    maybe(0.5, "min_trade", 0, 0, 10, round(0.002 * nav, 2), 1000)
    maybe(0.1, "low_volatility_tilt", 5, 50)
    maybe(0.3, "loss_sale_policy", "allow")
    maybe(0.1, "max_gap_bps", 0.5, 50, 1000)
    maybe(0.5, "solver", "STRUCTURED")
    for name in ("no_buy", "no_sell", "never_hold"):
        if random.random() < 0.15:
            params[name] = random.sample(tickers, min(len(tickers), random.choice((1, 2, len(tickers)))))
    maybe(0.05, "never_hold_sub_industries", ["I1"])
    chance = 0.45 if kind == "limits" else 0.04
    maybe(chance, "te_max", 0.005, 0.02, 0.05, 0.2)
    maybe(chance, "sector_active_max", 0.01, 0.05, 0.2)
    maybe(chance, "factor_active_max", 0.02, 0.1, 0.5)
    maybe(chance, "turnover_max", 0.0, 0.01, 0.1, 0.4)
    maybe(chance, "tax_budget", 0.0, 0.005, -0.001)
    maybe(chance, "tax_budget_ytd", 0.0, 0.01)
    if kind == "long_short":
        params["long_max"] = random.choice((1.1, 1.3, 2.0))
    else:
        maybe(chance, "max_names", 2, 5, max(len(assets) // 2, 1), len(assets))
    return params


def _policy(random: Random, params: Document) -> None:
    """Draw what makes trades fewer: a cost of an order, and the trigger of losses."""
    if random.random() < 0.4:
        params |= random.choice(
            (
                {"order_cost": 1, "order_cost_bps": 0.1},
                {"order_cost": random.choice((0.01, 1, 10, 250))},
                {"order_cost_bps": random.choice((0.01, 0.1, 1, 10))},
            )
        )
    if random.random() < 0.25:
        params |= {"harvest_min_share": random.choice((0, 0.02, 0.3)), "harvest_sigma": random.choice((0, 1, 3))}


def _covariance(random: Random, size: int) -> list[list[float]]:
    root = [[random.gauss(0, 0.1) if j < i else random.uniform(0.05, 0.2) for j in range(i + 1)] for i in range(size)]

    def entry(i: int, j: int) -> float:
        return sum(root[i][k] * root[j][k] for k in range(min(i, j) + 1))

    return [[entry(i, j) for j in range(size)] for i in range(size)]


def _block(random: Random, assets: list[Mapping[str, Any]]) -> Document:
    chosen = random.sample([asset["ticker"] for asset in assets], random.randint(2, min(4, len(assets))))
    common = random.choice((0.1, 0.4, 0.9))
    return {"tickers": chosen, "matrix": [[1 if a == b else common for b in chosen] for a in chosen]}
