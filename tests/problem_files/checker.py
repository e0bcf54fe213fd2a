"""Whether an answer to a problem file is legal and honest, from docs/specs/problem_file.md and the two files alone.

Nothing of the product is used: locks, lot orders, bounds, limits, cash and risk are worked out anew, amounts in exact
decimals. ``complaints`` returns a sentence for each rule that an answer breaks.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from math import sqrt
from typing import Any

WINDOW = timedelta(days=30)
CENT = Decimal("0.01")
#: Fractions of NAV, and units of limits, that are forgiven.
TOLERANCE = 1e-7
DEFAULTS = {
    "risk_aversion": 10.0, "tax_weight": 1.0, "cost_bps": 5.0, "cash_min": 0.0, "cash_max": 0.02, "max_weight": 0.1,
    "max_active_weight": 0.02, "min_trade": 100.0, "no_buy": [], "no_sell": [], "never_hold": [],
    "never_hold_sub_industries": [], "loss_sale_policy": "forbid", "max_gap_bps": 5.0, "te_max": 1.0,
    "sector_active_max": 1.0, "factor_active_max": 100.0, "turnover_max": 1.0, "tax_budget": 1.0,
    "tax_budget_ytd": 1.0, "max_names": 100_000, "long_max": 1.0,
    "order_cost": 0.0, "order_cost_bps": 0.0, "harvest_min_share": 0.0, "harvest_sigma": 0.0,
}  # fmt: skip


class Account:
    """A problem file read as its page says."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.params = DEFAULTS | document.get("params", {})
        self.as_of = date.fromisoformat(document["as_of"])
        self.canadian = document["tax_regime"] == "CA"
        self.assets = {asset["ticker"]: asset for asset in document["assets"]}
        self.price = {ticker: Decimal(str(asset["price"])) for ticker, asset in self.assets.items()}
        self.group = {ticker: asset.get("group", ticker) for ticker, asset in self.assets.items()}
        self.step = Decimal("0.0001") if document["fractional_shares"] else Decimal(1)
        self.cash = Decimal(str(document["cash"]))
        self.lots = self._lots()
        self.held: dict[str, Decimal] = defaultdict(Decimal)
        for lot in self.lots.values():
            self.held[lot["ticker"]] += lot["quantity"]
        self.shorts = sorted(document.get("shorts", ()), key=lambda short: (short["sold_on"], short["lot_id"]))
        self.owed: dict[str, Decimal] = defaultdict(Decimal)
        for short in self.shorts:
            self.owed[short["ticker"]] += Decimal(str(short["quantity"]))
        for ticker, owed in self.owed.items():
            self.held[ticker] -= owed
        self.nav = self.cash + sum(self.held[t] * self.price[t] for t in self.assets)
        total = sum(asset["benchmark_weight"] for asset in self.assets.values())
        self.benchmark = {ticker: asset["benchmark_weight"] / total for ticker, asset in self.assets.items()}
        self.washed = set() if document.get("sheltered") else set(self._washed())
        self.locked = self.washed if self.params["loss_sale_policy"] == "forbid" else set()
        self.buy_locked = self._buy_locked()
        self.stale = {t for t, a in self.assets.items() if a.get("price_date", document["as_of"]) != document["as_of"]}
        self.never = {
            t
            for t, a in self.assets.items()
            if t in self.params["never_hold"] or a.get("sub_industry", "") in self.params["never_hold_sub_industries"]
        }

    def _lots(self) -> dict[str, dict[str, Any]]:
        lots: dict[str, dict[str, Any]] = {}
        for row in self.document["lots"]:
            lot = {
                "ticker": row["ticker"],
                "acquired": date.fromisoformat(row["acquired_on"]),
                "start": date.fromisoformat(row.get("holding_period_start", row["acquired_on"])),
                "quantity": Decimal(str(row["quantity"])),
                "basis": Decimal(str(row["adjusted_basis"])),
                "fresh": row.get("cost_basis", row["adjusted_basis"]) == row["adjusted_basis"]
                and row.get("holding_period_start", row["acquired_on"]) == row["acquired_on"],
            }
            name = f"ACB-{row['ticker']}" if self.canadian else row["lot_id"]
            if name in lots:
                for amount in ("quantity", "basis"):
                    lots[name][amount] += lot[amount]
                for day in ("acquired", "start"):
                    lots[name][day] = min(lots[name][day], lot[day])
            else:
                lots[name] = lot
        return lots

    def loses(self, lot: Mapping[str, Any]) -> bool:
        """Say whether selling a lot realises a loss."""
        return bool(lot["basis"] > lot["quantity"] * self.price[lot["ticker"]])

    def saves_tax(self, lot: Mapping[str, Any]) -> bool:
        """Say whether a lot's loss is beyond the trigger, so that it counts in the objective."""
        asset = self.assets[lot["ticker"]]
        loadings, covariance = asset["loadings"], self.document["factor_covariance"]
        variance = asset["specific_variance"] + sum(
            loadings[i] * covariance[i][j] * loadings[j] for i in range(len(loadings)) for j in range(len(loadings))
        )
        trigger = max(self.params["harvest_min_share"], self.params["harvest_sigma"] * sqrt(variance * 31 / 365))
        return 1 - float(lot["quantity"] * self.price[lot["ticker"]] / lot["basis"]) > trigger

    def order_cost(self) -> float:
        """Return what the objective charges for an order, fraction of NAV."""
        return max(self.params["order_cost"] / float(self.nav), self.params["order_cost_bps"] / 1e4)

    def _recent(self, day: str) -> bool:
        return timedelta(0) <= self.as_of - date.fromisoformat(day) <= WINDOW

    def _group_of(self, trade: Mapping[str, Any]) -> str:
        return str(self.group.get(trade["ticker"], trade.get("group", trade["ticker"])))

    def _washed(self) -> Iterator[str]:
        """Return the lots at a loss that a purchase of the last 30 days would wash."""
        purchases: list[tuple[str, str | None]] = []
        named = set()
        for trade in self.document["recent_trades"]:
            if trade["side"] != "BUY":
                continue
            own = "account" not in trade
            lot_id = trade.get("lot_id") if own else None
            named |= {lot_id} if own and not self.canadian else set()
            left = Decimal(str(trade.get("unreplaced", trade["quantity"])))
            if lot_id is not None and not self.canadian:
                left = min(left, self.lots[lot_id]["quantity"]) if lot_id in self.lots else Decimal(0)
            if self._recent(trade["date"]) and (left > 0 or self.canadian):
                purchases.append((self._group_of(trade), lot_id))
        for row in self.document["lots"]:
            fresh = self.canadian or self.lots[row["lot_id"]]["fresh"]
            if self._recent(row["acquired_on"]) and row["lot_id"] not in named and fresh:
                purchases.append((self.group[row["ticker"]], row["lot_id"]))
        for name, lot in self.lots.items():
            others = [one for group, one in purchases if group == self.group[lot["ticker"]] and one != name]
            if self.loses(lot) and others:
                yield name

    def _buy_locked(self) -> set[str]:
        return {
            self._group_of(trade)
            for trade in self.document["recent_trades"]
            if trade["side"] == "SELL"
            and Decimal(str(trade.get("realized_gain", 0))) < 0
            and self._recent(trade["date"])
        }

    def rate(self, lot: Mapping[str, Any]) -> Decimal:
        """Return the rate on a lot's gain."""
        rates = {name: Decimal(str(value)) for name, value in self.document["tax_rates"].items()}
        try:
            year_later = lot["start"].replace(year=lot["start"].year + 1)
        except ValueError:
            year_later = lot["start"].replace(year=lot["start"].year + 1, day=28)
        return rates["lt" if self.as_of > year_later else "st"] + rates.get("niit", Decimal(0))

    def cover_tax(self, short: Mapping[str, Any], quantity: Decimal) -> tuple[Decimal, Decimal]:
        """Return the gain that counts of covering shares of a short position, and its tax."""
        gain = Decimal(str(short["proceeds"])) * quantity / Decimal(str(short["quantity"]))
        gain -= quantity * self.price[short["ticker"]]
        group = self.group[short["ticker"]]
        others = [one for one in self.shorts if one is not short and self.group[one["ticker"]] == group]
        sales = [one for one in self.document["recent_trades"] if one["side"] == "SELL" and one["ticker"] in self.group]
        near = any(self._recent(one["sold_on"]) for one in others)
        near = near or any(self.group[one["ticker"]] == group and self._recent(one["date"]) for one in sales)
        if gain < 0 and near:
            return Decimal(0), Decimal(0)
        return gain, self.cover_rate(short, gain) * gain

    def cover_rate(self, short: Mapping[str, Any], gain: Decimal) -> Decimal:
        """Return the rate on what covering realises."""
        rates = {name: Decimal(str(value)) for name, value in self.document["tax_rates"].items()}
        term = "lt" if gain < 0 and short.get("was_held_long") else "st"
        return rates[term] + rates.get("niit", Decimal(0))

    def cost_rate(self, ticker: str) -> Decimal:
        """Return the one-way cost of a name, fraction of the traded value."""
        return Decimal(str(self.assets[ticker].get("cost", Decimal(str(self.params["cost_bps"])) / 10_000)))

    def weights(self, shares: Mapping[str, Decimal]) -> dict[str, float]:
        """Return the weights of shares by ticker."""
        return {t: float(shares[t] * self.price[t] / self.nav) for t in self.assets}

    def limit(self, name: str, off: float) -> float:
        """Return a limit, infinite where it is the value that switches it off."""
        value = float(self.params[name])
        return float("inf") if value >= off else value

    def variance(self, weights: Mapping[str, float]) -> float:
        """Return the annualised active variance."""
        away = {t: weights[t] - self.benchmark[t] for t in self.assets}
        covariance = self.document["factor_covariance"]
        size = range(len(covariance))
        exposure = [sum(away[t] * self.assets[t]["loadings"][k] for t in away) for k in size]
        variance = sum(exposure[k] * covariance[k][m] * exposure[m] for k in size for m in size)
        variance += sum(self.assets[t]["specific_variance"] * away[t] ** 2 for t in away)
        for block in self.document.get("specific_correlation_blocks", ()):
            for i, one in enumerate(block["tickers"]):
                for j, two in enumerate(block["tickers"]):
                    if i != j:
                        scale = sqrt(self.assets[one]["specific_variance"] * self.assets[two]["specific_variance"])
                        variance += block["matrix"][i][j] * scale * away[one] * away[two]
        return max(variance, 0.0)

    def cash_range(self, *, traded: bool = True) -> tuple[Decimal, Decimal]:
        """Return the least and the most cash after trading, base currency; without trades no cents add up."""
        least = Decimal(str(self.params["cash_min"])) * self.nav
        reserve = CENT * (len(self.assets) + len(self.lots) + len(self.shorts))
        cheapest = min(self.price.values()) * self.step
        most = Decimal(str(self.params["cash_max"])) * self.nav
        narrow = least + reserve + 2 * cheapest
        # what cents add up to cannot be kept out of a range that is no wider
        if most >= narrow + reserve:
            return least, most
        return least, max(most, narrow) + (reserve if traded else 0)

    def bounds(self, ticker: str) -> tuple[float, float]:
        """Return the least and the greatest weight of a name."""
        held = float(self.held[ticker] * self.price[ticker] / self.nav)
        middle, width = self.benchmark[ticker], self.params["max_active_weight"]
        upper = max(min(self.params["max_weight"], middle + width), held)
        lent = self.params["long_max"] > 1 and "borrow_rate" in self.assets[ticker]
        lower = min(max(middle - width, 1 - self.params["long_max"] if lent else 0.0), held)
        if ticker in self.never:
            stuck = sum(
                (lot["quantity"] for name, lot in self.lots.items() if lot["ticker"] == ticker and name in self.locked),
                Decimal(0),
            )
            upper = held if not self.may_sell(ticker) else float(stuck * self.price[ticker] / self.nav)
            lower = min(max(lower, 0.0), upper)
        if ticker in self.owed:
            recalled = "borrow_rate" not in self.assets[ticker]
            if ticker in self.never or self.group[ticker] in self.buy_locked:
                upper = 0.0
            lower = held if recalled else min(lower, held)
            if self.may_buy(ticker) and (recalled or ticker in self.never):
                lower = 0.0
        return lower, upper

    def may_buy(self, ticker: str) -> bool:
        """Say whether a name may be bought; what is short may be covered in spite of a lock."""
        if ticker in self.owed:
            return ticker not in self.params["no_buy"] and ticker not in self.stale
        barred = ticker in self.params["no_buy"] or ticker in self.never or ticker in self.stale
        return not barred and self.group[ticker] not in self.buy_locked

    def may_sell(self, ticker: str) -> bool:
        """Say whether a name may be sold."""
        return ticker not in self.params["no_sell"] and ticker not in self.stale

    def limits_broken(self, shares: Mapping[str, Decimal], gain: Decimal, traded: Decimal) -> Iterator[str]:
        """Say which limits on the whole account are broken.

        Args:
            shares: Shares after trading by ticker.
            gain: Gains that count, base currency.
            traded: Purchases and sales, base currency.
        """
        weights = self.weights(shares)
        if float(traded / self.nav) / 2 > self.limit("turnover_max", 1) + TOLERANCE:
            yield "turnover is exceeded"
        if sqrt(self.variance(weights)) > self.limit("te_max", 1) + TOLERANCE:
            yield "the tracking error is exceeded"
        for sector in {asset["sector"] for asset in self.assets.values()}:
            mine = [t for t in self.assets if self.assets[t]["sector"] == sector]
            if abs(sum(weights[t] - self.benchmark[t] for t in mine)) > self.limit("sector_active_max", 1) + TOLERANCE:
                yield f"sector {sector} is outside its limit"
        for k in range(len(self.document["factor_covariance"])):
            exposure = sum((weights[t] - self.benchmark[t]) * self.assets[t]["loadings"][k] for t in self.assets)
            if abs(exposure) > self.limit("factor_active_max", 100) + TOLERANCE:
                yield f"factor {k + 1} is outside its limit"
        year = self.limit("tax_budget_ytd", 1) - float(Decimal(self.document.get("realized_this_year", 0)) / self.nav)
        if float(gain / self.nav) > min(self.limit("tax_budget", 1), year) + TOLERANCE:
            yield "the gains exceed their budget"
        if not self.shorts and sum(weight > 1e-9 for weight in weights.values()) > self.limit("max_names", 100_000):
            yield "too many names are held"
        if self.params["long_max"] > 1 or self.shorts:
            stuck = -sum(float(self.held[t] * self.price[t] / self.nav) for t in self.owed if not self.may_buy(t))
            if -sum(w for w in weights.values() if w < 0) > max(self.params["long_max"] - 1, stuck) + TOLERANCE:
                yield "the short positions exceed their sum"
        longs = sum(w for w in weights.values() if w > 0)
        if self.params["long_max"] > 1 and longs > self.params["long_max"] + TOLERANCE:
            yield "the long positions exceed their sum"

    def nothing_is_legal(self) -> bool:
        """Say whether no trade at all keeps every rule."""
        least, most = self.cash_range(traded=False)
        if not least <= self.cash <= most:
            return False
        weights = self.weights(self.held)
        if any(weights[t] > self.bounds(t)[1] + 1e-12 for t in self.assets):
            return False
        if any(weights[t] < self.bounds(t)[0] - 1e-12 for t in self.owed):
            return False
        return not tuple(self.limits_broken(self.held, Decimal(0), Decimal(0)))


def complaints(document: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the answer to a problem file; empty where nothing is."""
    account = Account(document)
    if result["status"] == "NON_OPTIMAL":
        codes = {failure["code"] for failure in result["failures"]}
        if result["trades"]:
            return ["trades without a certified answer"]
        if not codes:
            return ["no answer and no reason"]
        return (
            ["INFEASIBLE although no trade at all is legal"]
            if "INFEASIBLE" in codes and account.nothing_is_legal()
            else []
        )
    return list(_trades_broken(account, result))


def _trades_broken(account: Account, result: Mapping[str, Any]) -> Iterator[str]:
    after = {ticker: account.held[ticker] for ticker in account.assets}
    moved: dict[str, Decimal] = defaultdict(Decimal)
    sold: dict[str, Decimal] = defaultdict(Decimal)
    covered: dict[str, Decimal] = defaultdict(Decimal)
    cash, gain, model_tax, line_tax, costs = account.cash, Decimal(0), Decimal(0), Decimal(0), Decimal(0)
    for line in result["trades"]:
        ticker, quantity, amount = line["ticker"], Decimal(line["quantity"]), Decimal(line["amount"])
        price, cost = account.price[ticker], Decimal(line["cost"])
        # what a cover of several positions costs is shared out over them, in cents
        shared = CENT if line["side"] == "BUY_TO_COVER" else Decimal(0)
        if abs(amount - (quantity * price).quantize(CENT, ROUND_HALF_EVEN)) > shared or quantity <= 0:
            yield f"{ticker}: {quantity} shares at {price} are not {amount}"
        if abs(cost - amount * account.cost_rate(ticker)) > CENT / 2:
            yield f"{ticker}: the cost {cost} is not the rate times {amount}"
        sign = 1 if line["side"].startswith("BUY") else -1
        if moved[ticker] * sign < 0:
            yield f"{ticker} is bought and sold"
        moved[ticker] += sign * quantity
        after[ticker] += sign * quantity
        cash -= sign * amount + cost
        costs += cost
        if line["side"] == "SELL":
            yield from _sale_broken(account, line)
            lot = account.lots[line["lot_id"]]
            sold[line["lot_id"]] += quantity
            per_share = price - lot["basis"] / lot["quantity"]
            usable = Decimal(0) if line["lot_id"] in account.washed and per_share < 0 else per_share * quantity
            gain += usable
            if per_share >= 0 or account.saves_tax(lot):
                model_tax += account.rate(lot) * usable
            line_tax += Decimal(line["tax"])
        if line["side"] == "BUY_TO_COVER":
            short = next(one for one in account.shorts if one["lot_id"] == line["lot_id"])
            yield from _cover_broken(account, line, short)
            counts, tax = account.cover_tax(short, quantity)
            covered[line["lot_id"]] += quantity
            gain += counts
            model_tax += tax
            line_tax += Decimal(line["tax"])
    yield from _covers_broken(account, after, covered)
    yield from _names_broken(account, moved, sold, after)
    least, most = account.cash_range()
    # sums of many decimals are kept to 28 digits, in whatever order
    if abs(cash - Decimal(result["cash_after"])) > Decimal("1e-15") * max(abs(cash), 1):
        yield f"cash is {cash}, not {result['cash_after']}"
    if result["trades"] and not least - CENT / 10 <= cash <= most + CENT / 10:
        yield f"cash of {cash} is outside {least} to {most}"
    traded = sum((abs(moved[t]) * account.price[t] for t in account.assets), Decimal(0))
    yield from account.limits_broken(after, gain, traded)
    # a line may use a part of a loss that the objective calls washed, never the other way round
    if line_tax > model_tax + CENT * (len(result["trades"]) + 1):
        yield f"the lines' tax {line_tax} is more than the objective was told, {model_tax:.2f}"
    yield from _figures_broken(account, result, after, model_tax, traded)
    orders = account.order_cost() * sum(quantity != 0 for quantity in moved.values())
    if abs(result["objective"].get("orders", 0.0) - orders) > 1e-9 + 1e-6 * orders:
        yield f"the orders cost {orders:.10f}, not {result['objective'].get('orders')}"


def _sale_broken(account: Account, line: Mapping[str, Any]) -> Iterator[str]:
    lot, name = account.lots.get(line["lot_id"]), line["lot_id"]
    if lot is None or lot["ticker"] != line["ticker"]:
        yield f"lot {name} is not held in {line['ticker']}"
        raise SystemError(f"lot {name}")
    quantity, basis = Decimal(line["quantity"]), Decimal(line["basis"])
    if quantity > lot["quantity"]:
        yield f"lot {name} is oversold"
    if abs(basis - lot["basis"] * quantity / lot["quantity"]) > CENT:
        yield f"lot {name}: the basis {basis} is not its part of {lot['basis']}"
    if Decimal(line["realized_gain"]) != Decimal(line["amount"]) - basis:
        yield f"lot {name}: the gain is not amount less basis"
    if name in account.locked:
        yield f"locked lot {name} is sold"
    counts = Decimal(line["realized_gain"]) + Decimal(line["disallowed_loss"])
    if abs(Decimal(line["tax"]) - account.rate(lot) * counts) > CENT:
        yield f"lot {name}: the tax {line['tax']} is not the rate times {counts}"


def _cover_broken(account: Account, line: Mapping[str, Any], short: Mapping[str, Any]) -> Iterator[str]:
    quantity, basis, name = Decimal(line["quantity"]), Decimal(line["basis"]), line["lot_id"]
    if abs(basis - Decimal(str(short["proceeds"])) * quantity / Decimal(str(short["quantity"]))) > CENT:
        yield f"short position {name}: the basis {basis} is not its part of {short['proceeds']}"
    gain = Decimal(line["realized_gain"])
    if gain != basis - Decimal(line["amount"]):
        yield f"short position {name}: the gain is not basis less amount"
    if abs(Decimal(line["tax"]) - account.cover_rate(short, gain) * gain) > CENT:
        yield f"short position {name}: the tax {line['tax']} is not the rate times {gain}"


def _covers_broken(account: Account, after: Mapping[str, Decimal], covered: Mapping[str, Decimal]) -> Iterator[str]:
    open_before: set[str] = set()
    for short in account.shorts:
        quantity = Decimal(str(short["quantity"]))
        if covered.get(short["lot_id"], Decimal(0)) > quantity:
            yield f"short position {short['lot_id']} is covered twice"
        if covered.get(short["lot_id"], Decimal(0)) and short["ticker"] in open_before:
            yield f"short position {short['lot_id']} is covered before an earlier one"
        if covered.get(short["lot_id"], Decimal(0)) < quantity:
            open_before.add(short["ticker"])
            if after[short["ticker"]] > 0:
                yield f"{short['ticker']} is held beside a short position"


def _names_broken(
    account: Account,
    moved: Mapping[str, Decimal],
    sold: Mapping[str, Decimal],
    after: Mapping[str, Decimal],
) -> Iterator[str]:
    losing = {account.group[account.lots[name]["ticker"]] for name in sold if account.loses(account.lots[name])}
    weights = account.weights(after)
    may_short = account.params["long_max"] > 1
    for ticker in account.assets:
        lower, upper = account.bounds(ticker)
        held = float(account.held[ticker] * account.price[ticker] / account.nav)
        if not lower - TOLERANCE <= weights[ticker] <= upper + TOLERANCE:
            yield f"{ticker} weighs {weights[ticker]:.8f}, outside {lower:.8f} to {upper:.8f}"
        if not moved[ticker]:
            continue
        if moved[ticker] > 0 and not account.may_buy(ticker):
            yield f"{ticker} may not be bought"
        if moved[ticker] < 0 and not account.may_sell(ticker):
            yield f"{ticker} may not be sold"
        if moved[ticker] > 0 and account.group[ticker] in losing and not account.document.get("sheltered"):
            yield f"{ticker} is bought while its group sells a loss"
        if moved[ticker] < 0 and after[ticker] < 0 and not (may_short and "borrow_rate" in account.assets[ticker]):
            yield f"{ticker} is sold short"
        sells_all = after[ticker] == 0 and moved[ticker] < 0
        if moved[ticker] % account.step != 0 and not sells_all:
            yield f"{ticker} trades {moved[ticker]} shares, no whole number of steps"
        value = float(abs(moved[ticker]) * account.price[ticker])
        forced = held > upper or held < lower or (account.limit("max_names", 100_000) < 100_000 and sells_all)
        if value < account.params["min_trade"] - TOLERANCE * float(account.nav) and not forced:
            yield f"{ticker} trades {value:.2f}, below the minimum"
        yield from _order_broken(account, ticker, sold)


def _order_broken(account: Account, ticker: str, sold: Mapping[str, Decimal]) -> Iterator[str]:
    method = account.document["lot_method"]

    def key(name: str) -> tuple[Any, ...]:
        lot = account.lots[name]
        per_share = lot["basis"] / lot["quantity"]
        if method == "HIFO":
            return (-per_share, lot["acquired"], name)
        if method == "LEAST_TAX_FIRST":
            return (account.rate(lot) * (account.price[ticker] - per_share), lot["acquired"], name)
        return (lot["acquired"], name)

    mine = sorted(
        (n for n, lot in account.lots.items() if lot["ticker"] == ticker and n not in account.locked), key=key
    )
    unsold = False
    for name in mine:
        if sold.get(name, Decimal(0)) > 0 and unsold:
            yield f"lot {name} is sold before an earlier one"
        unsold = unsold or sold.get(name, Decimal(0)) < account.lots[name]["quantity"]


def _figures_broken(
    account: Account, result: Mapping[str, Any], after: Mapping[str, Decimal], tax: Decimal, traded: Decimal
) -> Iterator[str]:
    """Compare the reported figures with those of the trades."""
    weights, told = account.weights(after), result["objective"]
    risk = account.params["risk_aversion"] * account.variance(weights)
    if abs(told["active_risk"] - risk) > 1e-9 + 1e-6 * risk:
        yield f"the active risk is {risk:.10f}, not {told['active_risk']:.10f}"
    theta = account.params["tax_weight"] * float(tax / account.nav)
    if abs(told["tax"] - theta) > 1e-9 + 1e-6 * abs(theta):
        yield f"the tax in the objective is {theta:.10f}, not {told['tax']:.10f}"
    if abs(result["turnover"] - float(traded / account.nav) / 2) > TOLERANCE:
        yield "the turnover is not what is reported"
    for ticker, weight in weights.items():
        if abs(weight - result["rounded_weights"].get(ticker, 0.0)) > TOLERANCE:
            yield f"{ticker} weighs {weight:.9f}, not what is reported"
    terms = sum(value for name, value in told.items() if name != "total")
    if abs(told["total"] - terms) > 1e-9 + 1e-6 * abs(terms):
        yield f"the objective's terms add up to {terms:.10f}, not {told['total']:.10f}"
    size = abs(told["total"]) + 1.0
    if result["rounded_lower_bound"] > told["total"] + 1e-8 * size:
        yield "the bound after rounding is above the objective"
    if result["gap_bps"] > account.params["max_gap_bps"]:
        yield "the gap exceeds its limit"
    if result["rounded_gap_bps"] > account.params["max_gap_bps"] + result["rounding_allowance_bps"]:
        yield "the gap after rounding exceeds its limit and the allowance"
