"""Check a persisted run against the input files alone; shares no code with the package it checks.

Usage: independent_check.py MARKET FLEET DATE RUN.json ... [--earlier RUN.json ...]

MARKET and FLEET are the folders that were ingested; RUN.json is what ``prometheus runs show ACCOUNT RUN --format json``
printed. Prices, positions, locks, lots, gains, tax, cash and weights are computed again from the files; every
difference is a line, and the exit code is 1. The run must be the account's first, because its books are then exactly
the files; for a later run give the account's runs before it with --earlier: then positions are rolled forward from the
last of them (securities with a corporate action in between are taken from the run as they stand).

Rules checked: docs/specs/tax_rules.md. Money to the cent, shares exactly; weights to 1e-9 of NAV, because the stored
targets are those after rounding to shares; bounds to 2e-7 of NAV.
"""

import argparse
import csv
import gzip
import json
import sys
from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

WINDOW = timedelta(days=30)
WEIGHT_TOLERANCE = Decimal("1e-9")
BOUND_TOLERANCE = Decimal("2e-7")
ZERO, CENT = Decimal(0), Decimal("0.01")
BARRED_BY_TAG = {"esg:no-tobacco": "Tobacco", "esg:no-weapons": "Aerospace & Defense"}
MONEY = ("amount", "cost", "basis", "realized_gain", "disallowed_loss", "tax")


@dataclass(frozen=True)
class Lot:
    """Shares bought together; ``start`` replaces the purchase date when the holding period is counted."""

    lot_id: str
    ticker: str
    acquired: date
    quantity: Decimal
    basis: Decimal
    start: date


@dataclass(frozen=True)
class Market:
    """The market files as of one day."""

    as_of: date
    price: Mapping[str, Decimal]
    price_date: Mapping[str, date]
    group: Mapping[str, str]
    sub_industry: Mapping[str, str]
    benchmark: Mapping[str, Mapping[str, Fraction]]


@dataclass(frozen=True)
class Account:
    """An account's line in the fleet files, with its lots."""

    row: Mapping[str, str]
    lots: tuple[Lot, ...]


@dataclass
class Books:
    """Positions before the run's trades, and the account's trades that still matter."""

    lots: dict[str, list[Lot]]
    cash: Decimal
    purchases: list[tuple[str, date, Decimal]] = field(default_factory=list)
    loss_sales: list[tuple[str, date]] = field(default_factory=list)


def cents(amount: Fraction | Decimal) -> Decimal:
    """Round to cents, halves to even, from the exact value."""
    return Decimal(round(Fraction(amount) * 100)) / 100


def rows(folder: Path, name: str) -> Iterable[dict[str, str]]:
    """Read NAME.csv or NAME.csv.gz of a folder."""
    for path in (folder / f"{name}.csv", folder / f"{name}.csv.gz"):
        if path.exists():
            with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as lines:
                yield from csv.DictReader(lines)
            return
    raise SystemExit(f"{folder} has no {name}.csv or {name}.csv.gz")


def read_market(folder: Path, as_of: date) -> Market:
    """Read what was known at the close of a day."""
    day = as_of.isoformat()
    last: dict[str, tuple[str, str]] = {}
    for row in rows(folder, "prices"):
        if row["close"] and last.get(row["ticker"], ("", ""))[0] <= row["date"] <= day:
            last[row["ticker"]] = (row["date"], row["close"])
    price = {ticker: Decimal(close) for ticker, (_, close) in last.items()}
    for row in rows(folder, "corporate_actions"):
        # A price from before a split is brought to today's shares.
        if row["type"] == "split" and row["ticker"] in last and last[row["ticker"]][0] < row["date"] <= day:
            price[row["ticker"]] /= Decimal(row["value"])
    securities = {row["ticker"]: row for row in rows(folder, "securities")}
    constituents: dict[str, dict[str, dict[str, Fraction]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows(folder, "benchmark"):
        if row["date"] <= day:
            constituents[row.get("benchmark_id") or "SP500"][row["date"]][row["ticker"]] = Fraction(row["weight"])
    benchmark = {}
    for name, days in constituents.items():
        priced = {ticker: weight for ticker, weight in days[max(days)].items() if ticker in price}
        total = sum(priced.values())
        benchmark[name] = {ticker: weight / total for ticker, weight in priced.items()}
    return Market(
        as_of=as_of,
        price=price,
        price_date={ticker: date.fromisoformat(on) for ticker, (on, _) in last.items()},
        group={ticker: row.get("group") or ticker for ticker, row in securities.items()},
        sub_industry={ticker: row["sub_industry"] for ticker, row in securities.items()},
        benchmark=benchmark,
    )


def read_fleet(folder: Path) -> dict[str, Account]:
    """Read every account with its lots."""
    lots: dict[str, list[Lot]] = defaultdict(list)
    for row in rows(folder, "lots"):
        bought = date.fromisoformat(row["acquired_on"])
        quantity, cost = Decimal(row["quantity"]), cents(Decimal(row["cost_basis"]))
        lots[row["account_id"]].append(Lot(row["lot_id"], row["ticker"], bought, quantity, cost, bought))
    return {row["account_id"]: Account(row, tuple(lots[row["account_id"]])) for row in rows(folder, "accounts")}


def is_long_term(start: date, sold: date) -> bool:
    """Return whether more than a year lies between: past the same calendar day (or month's end) of the next year."""
    ends_month = start.day == monthrange(start.year, start.month)[1]
    same_day = monthrange(start.year + 1, start.month)[1] if ends_month else start.day
    return sold > date(start.year + 1, start.month, same_day)


def by_ticker(lots: Iterable[Lot], *, pooled: bool) -> dict[str, list[Lot]]:
    """Sort lots by security; Canada's become one pool each."""
    lots_of: dict[str, list[Lot]] = defaultdict(list)
    for lot in lots:
        lots_of[lot.ticker].append(lot)
    if not pooled:
        return dict(lots_of)
    return {
        ticker: [
            Lot(
                f"ACB-{ticker}",
                ticker,
                min(lot.acquired for lot in held),
                sum((lot.quantity for lot in held), ZERO),
                sum((lot.basis for lot in held), ZERO),
                min(lot.start for lot in held),
            )
        ]
        for ticker, held in lots_of.items()
    }


class Audit:
    """One run under examination; ``deviations`` collects what does not agree."""

    def __init__(
        self, run: Mapping[str, Any], market: Market, account: Account, earlier: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Take the run's JSON (decimals as text) and what the files say."""
        self.run, self.market, self.row, self.earlier = run, market, account.row, earlier
        self.params, self.snapshot, self.result = run["params_snapshot"], run["snapshot"], run["result"]
        self.canada = self.row["tax_regime"] == "CA"
        self.forbid = self.params["loss_sale_policy"] == "forbid"
        self.deviations: list[str] = []
        self.books = self._roll_forward(account) if earlier else self._opening(account)
        self.recent = self._recent_purchases()
        self.locked = self._locked_lots()
        self.traded: dict[str, Decimal] = defaultdict(Decimal)
        for trade in run["trades"]:
            self.traded[trade["ticker"]] += Decimal(trade["quantity"]) * (1 if trade["side"] == "BUY" else -1)

    def examine(self) -> list[str]:
        """Run every check and return the deviations."""
        self._inputs()
        self._positions()
        expected = self._expected_lines()
        self._lines(expected)
        self._totals(expected)
        self._weights()
        self._legality(expected)
        self._restrictions()
        return self.deviations

    def _same(self, what: str, value: Any, expected: Any) -> None:
        if value != expected:
            self.deviations.append(f"{self.row['account_id']}: {what} is {value}, the files give {expected}")

    def _broken(self, rule: str) -> None:
        self.deviations.append(f"{self.row['account_id']}: {rule}")

    def _group(self, ticker: str) -> str:
        return self.market.group.get(ticker, ticker)

    def _value(self, ticker: str, quantity: Decimal) -> Decimal:
        return self.market.price[ticker] * quantity

    def _recent(self, day: date) -> bool:
        return timedelta(0) <= self.market.as_of - day <= WINDOW

    # ------------------------------------------------------------ books before

    def _opening(self, account: Account) -> Books:
        bought = [(lot.ticker, lot.acquired, lot.quantity) for lot in account.lots]
        lots = by_ticker(account.lots, pooled=self.row["lot_method"] == "ACB")
        return Books(lots, Decimal(self.row["cash"]), bought)

    def _roll_forward(self, account: Account) -> Books:
        last = self.earlier[-1]
        lots = _stored_lots(last["snapshot"])
        books = self._opening(account)
        for run in self.earlier:
            day = date.fromisoformat(run["as_of_date"])
            for trade in run["trades"]:
                if trade["side"] == "BUY":
                    books.purchases.append((trade["ticker"], day, Decimal(trade["quantity"])))
                elif Decimal(trade["realized_gain"]) < 0:
                    books.loss_sales.append((trade["ticker"], day))
        books.cash = Decimal(last["snapshot"]["cash"])
        for trade in last["trades"]:
            quantity, amount = Decimal(trade["quantity"]), Decimal(trade["amount"])
            lot = lots.get(trade["lot_id"])
            if trade["side"] == "BUY":
                books.cash -= amount
                day = date.fromisoformat(last["as_of_date"])
                new = Lot(trade["lot_id"], trade["ticker"], day, quantity, amount, day)
                pooled = lot and replace(lot, quantity=lot.quantity + quantity, basis=lot.basis + amount)
                lots[trade["lot_id"]] = pooled or new
            elif lot is not None:
                books.cash += amount
                left = replace(lot, quantity=lot.quantity - quantity, basis=lot.basis - Decimal(trade["basis"]))
                lots[trade["lot_id"]] = left
        actions = self.snapshot["corporate_actions"]
        ratios = {t: Decimal(n) for t, _, kind, n in actions if kind == "split" and Decimal(n) % 1 == 0}
        changed = {t for t, _, kind, n in actions if "dividend" not in kind and not (kind == "split" and t in ratios)}
        kept = [
            replace(lot, quantity=lot.quantity * ratios.get(lot.ticker, 1))
            for lot in lots.values()
            if lot.ticker not in changed and lot.quantity != 0
        ]
        now = [lot for lot in _stored_lots(self.snapshot).values() if lot.ticker in changed]
        books.lots = by_ticker((*kept, *now), pooled=False)
        if changed:
            books.cash = Decimal(self.snapshot["cash"])
        else:
            for ticker, _, kind, value in actions:
                if "dividend" not in kind:
                    continue
                held = sum((lot.quantity for lot in books.lots.get(ticker, ())), ZERO)
                books.cash += cents(Decimal(value) * held)
        return books

    def _recent_purchases(self) -> dict[str, list[tuple[str, date, Decimal]]]:
        """Return the window's purchases by group: lots still held (US), everything acquired (Canada)."""
        purchases: dict[str, list[tuple[str, date, Decimal]]] = defaultdict(list)
        if self.canada:
            for ticker, day, quantity in self.books.purchases:
                if self._recent(day):
                    purchases[self._group(ticker)].append(("", day, quantity))
            return purchases
        for lot in sorted(self._all_lots(), key=lambda lot: (lot.acquired, lot.lot_id)):
            if self._recent(lot.acquired):
                purchases[self._group(lot.ticker)].append((lot.lot_id, lot.acquired, lot.quantity))
        return purchases

    def _all_lots(self) -> list[Lot]:
        return [lot for held in self.books.lots.values() for lot in held]

    def _locked_lots(self) -> set[str]:
        """Return the loss lots beside which another lot of the group was bought in the window."""
        return {
            lot.lot_id
            for lot in self._all_lots()
            if self._value(lot.ticker, lot.quantity) < lot.basis
            and any(lot_id != lot.lot_id for lot_id, _, _ in self.recent.get(self._group(lot.ticker), ()))
        }

    def _inputs(self) -> None:
        stored = self.snapshot
        self._same("as_of_date", self.run["as_of_date"], self.market.as_of.isoformat())
        for name in ("account_id", "base_currency", "tax_regime", "lot_method"):
            self._same(name, stored[name], self.row[name])
        self._same("fractional_shares", stored["fractional_shares"], self.row["fractional_shares"].lower() == "true")
        self._same("tags", list(stored["tags"]), [tag for tag in self.row["tags"].split(";") if tag])
        for name in ("st", "lt", "niit"):
            self._same(f"rate {name}", Decimal(stored["rates"][name]), Decimal(self.row[f"{name}_rate"]))
        self._same("cash before", Decimal(stored["cash"]), self.books.cash)
        names = stored["universe"]
        wanted = sorted({*self.books.lots, *self.market.benchmark[self.row["benchmark_id"]]})
        self._same("universe", names["ticker"], wanted)
        for ticker, price in zip(names["ticker"], names["price"], strict=True):
            self._same(f"price of {ticker}", Decimal(price), self.market.price.get(ticker))

    def _positions(self) -> None:
        stored, own = _stored_lots(self.snapshot), {lot.lot_id: lot for lot in self._all_lots()}
        for lot_id in sorted({*stored, *own}):
            self._same(f"lot {lot_id} before", stored.get(lot_id), own.get(lot_id))
        self._same("loss-sale locks", sorted(lock[0] for lock in self.snapshot["loss_sale_locks"]), sorted(self.locked))
        nav = self.books.cash + sum((self._value(lot.ticker, lot.quantity) for lot in self._all_lots()), ZERO)
        self._same("NAV", Decimal(self.result["nav"]), nav)

    # ------------------------------------------------------------ trades

    def _lot_order(self, lot: Lot) -> tuple[Any, ...]:
        price, each = Fraction(self.market.price[lot.ticker]), Fraction(lot.basis) / Fraction(lot.quantity)
        first = {
            "HIFO": -each,
            "LEAST_TAX_FIRST": Fraction(self._rate(self._term(lot))) * (price - each),
            "FIFO": Fraction(0),
            "ACB": Fraction(0),
        }[self.row["lot_method"]]
        return (first, lot.acquired, lot.lot_id)

    def _term(self, lot: Lot) -> str:
        if self.canada:
            return "NONE"
        return "LONG" if is_long_term(lot.start, self.market.as_of) else "SHORT"

    def _rate(self, term: str) -> Decimal:
        return Decimal(self.row["lt_rate" if term == "LONG" else "st_rate"]) + Decimal(self.row["niit_rate"])

    def _expected_lines(self) -> list[dict[str, Any]]:
        """Return the trade list that follows from the shares traded of each name."""
        lines: list[dict[str, Any]] = []
        for ticker, shares in sorted(self.traded.items()):
            if ticker not in self.market.price:
                self._broken(f"{ticker} is traded and has no price")
            elif shares > 0:
                lines.append(self._line(ticker, "BUY", None, shares))
            else:
                lines += self._sale(ticker, -shares)
        self._disallow([line for line in lines if line["side"] == "SELL"])
        for line in lines:
            if line["side"] == "SELL":
                line["tax"] = cents((line["realized_gain"] + line["disallowed_loss"]) * self._rate(line["term"]))
        return lines

    def _sale(self, ticker: str, shares: Decimal) -> list[dict[str, Any]]:
        lines, left = [], shares
        for lot in sorted(self.books.lots.get(ticker, ()), key=self._lot_order):
            if left == 0 or (self.forbid and lot.lot_id in self.locked):
                continue
            taken = min(left, lot.quantity)
            left -= taken
            line = self._line(ticker, "SELL", lot, taken)
            part = Fraction(lot.basis) * Fraction(taken) / Fraction(lot.quantity)
            line["basis"] = cents(part)
            line["realized_gain"] = line["amount"] - line["basis"]
            line["term"], line["disallowed_loss"] = self._term(lot), ZERO
            lines.append(line)
        if left > 0:
            self._broken(f"{ticker}: {left} shares more are sold than the lots that may be sold hold")
        return lines

    def _line(self, ticker: str, side: str, lot: Lot | None, shares: Decimal) -> dict[str, Any]:
        amount = cents(self._value(ticker, shares))
        return {
            "ticker": ticker,
            "side": side,
            "lot_id": lot and lot.lot_id,
            "acquired_on": (lot.acquired if lot else self.market.as_of).isoformat(),
            "quantity": shares,
            "price": self.market.price[ticker],
            "amount": amount,
            "cost": cents(amount * Decimal(str(self.params["cost_bps"])) / 10000),
            **dict.fromkeys(("basis", "realized_gain", "term", "disallowed_loss", "tax")),
        }

    def _disallow(self, sales: list[dict[str, Any]]) -> None:
        """Match the day's losses with purchases already made: each share once (US), by the pool (Canada)."""
        sold = {line["lot_id"]: line["quantity"] for line in sales}
        free = {lot_id: n - sold.get(lot_id, ZERO) for purchases in self.recent.values() for lot_id, _, n in purchases}
        losses = [line for line in sales if line["realized_gain"] < 0]
        for line in sorted(losses, key=lambda line: (line["acquired_on"], line["lot_id"])):
            washed, group = ZERO, self._group(line["ticker"])
            recent = self.recent.get(group, ())
            if self.canada:
                held = sum((lot.quantity for lot in self._all_lots() if self._group(lot.ticker) == group), ZERO)
                held += sum((n for ticker, n in self.traded.items() if self._group(ticker) == group), ZERO)
                washed = min(line["quantity"], sum((n for _, _, n in recent), ZERO), held)
            else:
                for lot_id, _, _ in recent:
                    if lot_id != line["lot_id"]:
                        taken = min(line["quantity"] - washed, free[lot_id])
                        free[lot_id] -= taken
                        washed += taken
            line["disallowed_loss"] = cents(Fraction(-line["realized_gain"] * washed) / Fraction(line["quantity"]))

    def _sold_by_lot(self) -> dict[str, Decimal]:
        sold: dict[str, Decimal] = defaultdict(Decimal)
        for trade in self.run["trades"]:
            if trade["side"] == "SELL":
                sold[trade["lot_id"]] += Decimal(trade["quantity"])
        return sold

    def _lines(self, expected: list[dict[str, Any]]) -> None:
        stored: dict[tuple[str, str, str | None], Mapping[str, Any]] = {}
        for trade in self.run["trades"]:
            key = (trade["ticker"], trade["side"], trade["lot_id"] if trade["side"] == "SELL" else None)
            if key in stored:
                self._broken(f"{key[0]} {key[1]} {key[2] or ''}: the line is there twice")
            stored[key] = trade
        own = {(line["ticker"], line["side"], line["lot_id"]): line for line in expected}
        held = {lot.lot_id: lot for lot in self._all_lots()}
        for lot_id, quantity in self._sold_by_lot().items():
            if lot_id not in held or quantity > held[lot_id].quantity:
                self._broken(f"{quantity} shares are sold of lot {lot_id}, which holds {held.get(lot_id)}")
        for key in sorted({*stored, *own}, key=str):
            name = f"{key[0]} {key[1]} {key[2] or ''}".strip()
            if key not in stored or key not in own:
                there = "is in the run but not in" if key in stored else "is missing in the run but follows from"
                self._broken(f"{name} {there} the lot order of the files")
                continue
            for column, value in own[key].items():
                if column in {"quantity", "price", *MONEY}:
                    stored_value = stored[key][column]
                    self._same(f"{name} {column}", None if stored_value is None else Decimal(stored_value), value)
                elif column in {"term", "acquired_on"}:
                    self._same(f"{name} {column}", stored[key][column], value)

    def _totals(self, expected: list[dict[str, Any]]) -> None:
        sells = [line for line in expected if line["side"] == "SELL"]
        buys = [line for line in expected if line["side"] == "BUY"]
        settled = self.result["settlement"]
        cost = sum((line["cost"] for line in expected), ZERO)
        cash = self.books.cash - cost
        cash += sum((line["amount"] for line in sells), ZERO) - sum((line["amount"] for line in buys), ZERO)
        gains = dict.fromkeys(("SHORT", "LONG", "NONE"), ZERO)
        for line in sells:
            gains[line["term"]] += line["realized_gain"]
        for name, value in {
            "cash_after": cash,
            "cost": cost,
            "realized_gain_short": gains["SHORT"],
            "realized_gain_long": gains["LONG"],
            "realized_gain_other": gains["NONE"],
            "disallowed_loss": sum((line["disallowed_loss"] for line in sells), ZERO),
            "tax": sum((line["tax"] for line in sells), ZERO),
            "trades": Decimal(len({(line["ticker"], line["side"]) for line in expected})),
        }.items():
            self._same(f"total {name}", Decimal(settled[name]), value)
        nav, slack = Decimal(self.result["nav"]), CENT * (len(expected) + 1)
        if cash < 0:
            self._broken(f"cash after is negative: {cash}")
        if self.run["status"] == "OPTIMAL":
            low, high = (Decimal(str(self.params[name])) * nav for name in ("cash_min", "cash_max"))
            if self.snapshot.get("rebalancing", {}).get("kind") == "PARTIAL":
                # Spare cash that the smallest order would not use waits for the next whole rebalancing.
                high = max(high, min(self.books.cash, high + Decimal(str(self.params["min_trade"]))))
            if not min(low, self.books.cash) - slack <= cash <= high + BOUND_TOLERANCE * nav + slack:
                self._broken(f"cash after of {cash} is outside the strategy's range")
        turnover = sum((line["amount"] for line in expected), ZERO) / 2 / nav
        if abs(turnover - Decimal(str(self.result["turnover"]))) > slack / nav:
            self._same("turnover", self.result["turnover"], turnover)

    # ------------------------------------------------------------ weights and rules

    def _weights(self) -> None:
        nav = Decimal(self.result["nav"])
        shares = {ticker: Decimal(text) for ticker, text in self.result["shares"].items()}
        self._same("shares by name", shares, {ticker: n for ticker, n in self.traded.items() if n != 0})
        if self.run["status"] != "OPTIMAL":
            if self.run["trades"]:
                self._broken("the run has no certified answer and trades all the same")
            return
        benchmark = self.market.benchmark[self.row["benchmark_id"]]
        most, active = (Decimal(str(self.params[name])) for name in ("max_weight", "max_active_weight"))
        for ticker in self.snapshot["universe"]["ticker"]:
            held = sum((lot.quantity for lot in self.books.lots.get(ticker, ())), ZERO)
            after = held + self.traded.get(ticker, ZERO)
            weight, before = self._value(ticker, after) / nav, self._value(ticker, held) / nav
            target = Decimal(str(self.result["target_weights"].get(ticker, 0)))
            if abs(weight - target) > WEIGHT_TOLERANCE:
                self._same(f"weight after of {ticker}", target, weight)
            if after < 0:
                self._broken(f"{ticker}: {-after} shares short after the trades")
            share = benchmark.get(ticker, Fraction(0))
            middle = Decimal(share.numerator) / share.denominator
            high = max(min(most, middle + active), before) + BOUND_TOLERANCE
            low = min(max(middle - active, ZERO), before) - BOUND_TOLERANCE
            if weight > high or (weight < low and not self._barred(ticker)):
                self._broken(f"{ticker}: weight {weight} after the trades is outside [{low}, {high}]")

    def _legality(self, expected: list[dict[str, Any]]) -> None:
        sides: dict[str, set[str]] = defaultdict(set)
        for trade in self.run["trades"]:
            sides[trade["ticker"]].add(trade["side"])
        for ticker in sorted(ticker for ticker, traded in sides.items() if len(traded) > 1):
            self._broken(f"{ticker} is both bought and sold")
        bought = sorted(ticker for ticker, traded in sides.items() if "BUY" in traded)
        at_a_loss = {self._group(line["ticker"]) for line in expected if (line["realized_gain"] or 0) < 0}
        at_a_loss |= {self._group(t["ticker"]) for t in self.run["trades"] if Decimal(t["realized_gain"] or 0) < 0}
        sold_before = {self._group(ticker) for ticker, day in self.books.loss_sales if self._recent(day)}
        self._same("buy locks", sorted(lock[0] for lock in self.snapshot["buy_locks"]), sorted(sold_before))
        for ticker in bought:
            if self._group(ticker) in at_a_loss:
                self._broken(f"{ticker} is bought on a day on which its group is sold at a loss")
            if self._group(ticker) in sold_before:
                self._broken(f"{ticker} is bought within 30 days of a sale of its group at a loss")
        for line in expected if self.forbid else ():
            if line["disallowed_loss"]:
                self._broken(f"{line['ticker']}: the loss of lot {line['lot_id']} is washed by a purchase before it")
        whole = self.row["fractional_shares"].lower() != "true"
        step = Decimal(1) if whole else Decimal("0.0001")
        for ticker, shares in self.traded.items():
            held = sum((lot.quantity for lot in self.books.lots.get(ticker, ())), ZERO)
            if shares % step != 0 and shares != -held:
                self._broken(f"{ticker}: {shares} shares are not in steps of {step}")
            notional = abs(self._value(ticker, shares)) if ticker in self.market.price else ZERO
            least = Decimal(str(self.params["min_trade"]))
            if notional < least - CENT and not (self._barred(ticker) and shares < 0):
                self._broken(f"{ticker}: a trade of {notional} is below the minimum of {least}")
            if self.market.price_date.get(ticker) != self.market.as_of:
                self._broken(f"{ticker} is traded without a price of the day")

    def _tagged(self, *prefixes: str) -> set[str]:
        tags = self.row["tags"].split(";")
        return {tag.removeprefix(prefix) for tag in tags for prefix in prefixes if tag.startswith(prefix)}

    def _barred(self, ticker: str) -> bool:
        industries = {BARRED_BY_TAG[tag] for tag in self.row["tags"].split(";") if tag in BARRED_BY_TAG}
        industries |= set(self.params["never_hold_sub_industries"])
        return ticker in self.params["never_hold"] or self.market.sub_industry.get(ticker, "") in industries

    def _restrictions(self) -> None:
        no_buy = self._tagged("restrict:employer-", "restrict:no-buy-") | set(self.params["no_buy"])
        no_sell = self._tagged("restrict:employer-", "restrict:no-sell-") | set(self.params["no_sell"])
        for ticker, shares in sorted(self.traded.items()):
            if shares > 0 and ticker in no_buy:
                self._broken(f"{ticker} is bought, which a restriction forbids")
            if shares < 0 and ticker in no_sell:
                self._broken(f"{ticker} is sold, which a restriction forbids")
            if shares > 0 and self._barred(ticker):
                self._broken(f"{ticker} is bought, and its sub-industry is excluded")
        if self.run["status"] != "OPTIMAL":
            return
        for ticker, held in sorted(self.books.lots.items()):
            stays = sum((lot.quantity for lot in held if self.forbid and lot.lot_id in self.locked), ZERO)
            left = sum((lot.quantity for lot in held), ZERO) + self.traded.get(ticker, ZERO)
            priced = self.market.price_date[ticker] == self.market.as_of
            if self._barred(ticker) and priced and ticker not in no_sell and left != stays:
                self._broken(f"{ticker}: {left} shares are kept though the sub-industry is excluded")


def _stored_lots(snapshot: Mapping[str, Any]) -> dict[str, Lot]:
    stored, tickers = snapshot["lots"], snapshot["universe"]["ticker"]
    lots = {}
    for i, lot_id in enumerate(stored["lot_id"]):
        acquired = stored["acquired_on"][i]
        lots[lot_id] = Lot(
            lot_id,
            tickers[stored["name"][i]],
            date.fromisoformat(acquired),
            Decimal(stored["quantity"][i]),
            Decimal(stored["adjusted_basis"].get(lot_id, stored["cost_basis"][i])),
            date.fromisoformat(stored["holding_period_start"].get(lot_id, acquired)),
        )
    return lots


def check_run(
    run: Mapping[str, Any],
    market: Market,
    fleet: Mapping[str, Account],
    earlier: Sequence[Mapping[str, Any]] = (),
) -> list[str]:
    """Return every deviation of a run from what the files give; none means it agrees to the cent."""
    account = fleet.get(run["account_id"])
    if account is None:
        return [f"{run['account_id']}: the fleet has no such account"]
    if run["run_seq"] != len(earlier) + 1:
        return [f"{run['account_id']}: run {run['run_seq']} needs its {run['run_seq'] - 1} earlier runs"]
    return Audit(run, market, account, earlier).examine()


def read_run(path: Path) -> dict[str, Any]:
    """Read a run's JSON; numbers with a decimal point as decimals."""
    run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    return run


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the runs named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("market", type=Path)
    parser.add_argument("fleet", type=Path)
    parser.add_argument("as_of", type=date.fromisoformat, metavar="DATE")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN.json")
    parser.add_argument("--earlier", type=Path, nargs="*", default=[], metavar="RUN.json")
    given = parser.parse_args(arguments)
    market, fleet = read_market(given.market, given.as_of), read_fleet(given.fleet)
    before = sorted((read_run(path) for path in given.earlier), key=lambda run: (run["account_id"], run["run_seq"]))
    failed = False
    for path in given.runs:
        run = read_run(path)
        deviations = check_run(run, market, fleet, [r for r in before if r["account_id"] == run["account_id"]])
        failed = failed or bool(deviations)
        for line in deviations:
            print(line)  # noqa: T201 - a program's output
        if not deviations:
            settled = run["result"]["settlement"]
            print(  # noqa: T201 - a program's output
                f"{run['account_id']} run {run['run_seq']} of {run['as_of_date']} agrees: NAV {run['result']['nav']}, "
                f"{len(run['trades'])} lines, tax {settled['tax']}, cash after {settled['cash_after']}"
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
