"""One row of a broker's file in the words of the own format, by the rules of its mapping."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

from prometheus.domain.money import plain_text, to_cents
from prometheus.ledger.files.columns import Action
from prometheus.ledger.files.findings import RefusedRowError, RowFinding
from prometheus.ledger.files.mapping import CASH, FileMapping, Rule, Sign, Source, Table
from prometheus.ledger.files.tables import TableRow
from prometheus.ledger.files.values import ratio_text, read_day, read_number

#: Base currency for one unit, by currency and day.
Rates = Mapping[tuple[str, date], Decimal]

_DATES: Final = frozenset({"date", "settle_date", "acquired_on", "holding_period_start", "corrected_on"})
_NUMBERS: Final = frozenset(
    {"quantity", "amount", "fee", "rate", "per_share", "price", "fraction_price", "cost_basis", "replaced_quantity"}
)
_MONEY: Final = ("amount", "fee", "cost_basis")
#: Actions for which cash goes, and those for which shares do.
_CASH_GOES: Final = frozenset({Action.BUY, Action.REINVEST, Action.COVER, Action.FEE, Action.TRANSFER_OUT})
_SHARES_GO: Final = frozenset({Action.SELL, Action.SHORT, Action.TRANSFER_OUT, Action.CASH_IN_LIEU, Action.DELIST})
#: Actions whose amount keeps its sign.
_SIGNED: Final = frozenset({Action.FEE, Action.INTEREST})
_RATIOS: Final = frozenset({Action.SPLIT, Action.SPINOFF, Action.MERGER})
#: One of the two numbers of a split is at most this; a count that was rounded to whole shares gives larger ones.
_SMALL_TERM: Final = 3


@dataclass(slots=True)
class Reading:
    """How the rows of one file are read, and what is said about them as a whole.

    Attributes:
        mapping: The mapping of the file.
        account: Account of rows that name none.
        account_type: Type of the account that the lines above the rows name, as the file writes it.
        typed_account: That account, where it has a name there.
        base_currency: Currency of amounts where no column says another.
        hints: Rows that were read by a choice.
        rates: Exchange rates of rows that give none.
        skipped: Number of rows by the reason for which they were skipped.
        rounded: Amounts that were rounded to cents.
        preferred: By table: the value of its ``prefer`` column whose rows count; others of its values are skipped.
        unknown_types: Types of accounts that no pattern fits.
    """

    mapping: FileMapping
    account: str = ""
    account_type: str = ""
    typed_account: str = ""
    base_currency: str = ""
    rates: Rates = field(default_factory=dict)
    hints: list[RowFinding] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    rounded: int = 0
    preferred: dict[str, str] = field(default_factory=dict)
    unknown_types: set[str] = field(default_factory=set)

    def prefer(self, rows: Iterable[TableRow]) -> None:
        """Note which of several ways of telling the same rows the file has."""
        for row in rows:
            column, values = row.table.prefer
            told = row.values.get(column, "")
            if told in values:
                best = self.preferred.setdefault(row.table.name, told)
                self.preferred[row.table.name] = min(best, told, key=values.index)

    def own_values(self, row: TableRow) -> dict[str, str] | None:
        """Return a row by column of the own format, None where it is skipped.

        Raises:
            RefusedRowError: No rule fits, the rule refuses the row, or a value cannot be read.
        """
        column, ways = row.table.prefer
        preferred = self.preferred.get(row.table.name, "")
        if row.values.get(column, "") in ways and row.values[column] != preferred:
            self.skipped[f"the file tells them as '{preferred}' too"] += 1
            return None
        rule = _rule_of(row)
        if rule is None:
            raise _no_rule(row, self.mapping.name)
        if rule.skip:
            self.skipped[rule.skip] += 1
            return None
        if rule.refuse:
            raise RefusedRowError(
                "NOT_BOOKABLE", f"{rule.refuse}.", "Enter what happened as rows of the own format, in another file."
            )
        _check_equal(row)
        texts, numbers = self._read(row, rule)
        action = _action(rule, numbers.get("amount"))
        if rule.added_to is not None:
            texts["quantity"] = self._split_ratio(row, rule.added_to, numbers.pop("quantity", None))
        self._set_signs(row.table, action, numbers)
        for column, number in numbers.items():
            texts[column] = self._money(number) if column in _MONEY else plain_text(number)
        texts["action"] = action.value
        self._set_account(texts)
        self._set_currency(texts)
        return {column: text for column, text in texts.items() if column not in rule.ignore}

    def remarks(self) -> list[str]:
        """Return what is to be said about the rows as a whole."""
        told = [
            f"{count} {'row was' if count == 1 else 'rows were'} skipped: {reason}."
            for reason, count in sorted(self.skipped.items())
        ]
        if self.rounded:
            told.append(f"{self.rounded} amounts with parts of a cent were rounded to cents, halves to even.")
        told += [
            f"The account type '{kind}' is not known; such accounts count as taxable."
            for kind in sorted(self.unknown_types)
        ]
        return told

    # ------------------------------------------------------------ values

    def _read(self, row: TableRow, rule: Rule) -> tuple[dict[str, str], dict[str, Decimal]]:
        texts: dict[str, str] = {}
        numbers: dict[str, Decimal] = {}
        for column, source in {**row.table.read, **rule.read}.items():
            if column in rule.ignore:
                continue
            if column in _DATES:
                text = _first(row, source)
                texts[column] = self._day(text, column).isoformat() if text else ""
            elif column in _NUMBERS and not (source.pattern is not None and source.pattern.groups > 1):
                number = self._sum(row, source, column)
                if number is not None:
                    numbers[column] = number
            else:
                texts[column] = _first(row, source)
        return texts, numbers

    def _day(self, text: str, column: str) -> date:
        pattern = self.mapping.date_pattern
        match = None if pattern is None else pattern.fullmatch(text)
        return read_day(text if match is None else _groups(match), column, self.mapping.date_formats)

    def _sum(self, row: TableRow, source: Source, column: str) -> Decimal | None:
        total: Decimal | None = None
        for name in source.columns:
            text = _part(row.values.get(name, ""), source)
            number = read_number("" if text in {"-", "--"} else text, name or column, self.mapping.numbers)
            if number is not None:
                total = number if total is None else total + number
        return total

    def _split_ratio(self, row: TableRow, source: Source, added: Decimal | None) -> str:
        held = self._sum(row, source, "quantity")
        if held is None or held <= 0 or added is None:
            raise RefusedRowError(
                "ZERO_RATIO",
                "The row does not say how many shares there were before.",
                "Enter a SPLIT with its ratio in the own format.",
            )
        ratio = (Fraction(held) + Fraction(added)) / Fraction(held)
        if not 0 < min(ratio.numerator, ratio.denominator) <= _SMALL_TERM:
            raise RefusedRowError(
                "ZERO_RATIO",
                f"{plain_text(added)} shares added to {plain_text(held)} are no ratio that a company splits by; cash "
                "was paid for a fraction, or the row is no split.",
                "Enter a SPLIT with its ratio in the own format.",
            )
        self.hints.append(
            RowFinding(
                row.row,
                "RATIO_WORKED_OUT",
                f"The split is read as {ratio_text(ratio)}, from the shares that it added.",
                "Compare it with what the company has announced.",
                refused=False,
            )
        )
        return ratio_text(ratio)

    def _money(self, number: Decimal) -> str:
        cents = to_cents(number)
        if self.mapping.rounds_to_cents and cents != number:
            self.rounded += 1
            return plain_text(cents)
        return plain_text(number)

    def _set_signs(self, table: Table, action: Action, numbers: dict[str, Decimal]) -> None:
        amount, quantity = numbers.get("amount"), numbers.get("quantity")
        if amount is not None and table.amount_sign is Sign.CASH:
            cash = -amount if action in _CASH_GOES else amount
            if cash < 0 and action not in _SIGNED:
                raise _wrong_sign(action, "amount", amount)
            numbers["amount"] = cash
        elif amount is not None and action not in _SIGNED:
            numbers["amount"] = abs(amount)
        if quantity is not None and action not in _RATIOS:
            if table.quantity_sign is Sign.TRADE and quantity and (quantity < 0) is not (action in _SHARES_GO):
                raise _wrong_sign(action, "quantity", quantity)
            numbers["quantity"] = abs(quantity)
        if "fee" in numbers:
            # A rebate is in the amount; the fee says how much of the amount is commission.
            fee = -numbers["fee"] if table.fee_sign is Sign.CASH else abs(numbers["fee"])
            numbers["fee"] = max(fee, Decimal(0))

    # ------------------------------------------------------------ account and currency

    def _set_account(self, texts: dict[str, str]) -> None:
        texts["account"] = texts.get("account") or self.account
        kind = texts.pop("account_type", "") or (
            self.account_type if texts["account"] in {self.account, self.typed_account} else ""
        )
        if not kind:
            return
        known = next((name for pattern, name in self.mapping.account_types if pattern.fullmatch(kind)), "")
        if known:
            texts["account_type"] = known
        else:
            self.unknown_types.add(kind)

    def _set_currency(self, texts: dict[str, str]) -> None:
        currency, rate = texts.get("currency", "").upper(), texts.get("rate", "")
        texts["currency"] = currency
        if currency in {"", self.base_currency} or rate == "1":
            texts["currency"] = texts["rate"] = ""
            return
        day = texts.get("date", "")
        if not rate and day:
            known = self.rates.get((currency, date.fromisoformat(day)))
            if known is None:
                raise RefusedRowError(
                    "NO_RATE",
                    f"The row is in {currency} and has no exchange rate.",
                    "Say that this is the base currency of the account, or give its rate of the day.",
                )
            texts["rate"] = plain_text(known)


def _rule_of(row: TableRow) -> Rule | None:
    for rule in row.table.rules:
        if all(pattern.fullmatch(row.values.get(column, "")) for column, pattern in rule.when.items()):
            return rule
    return None


def _action(rule: Rule, amount: Decimal | None) -> Action:
    if rule.event != CASH:
        return Action(rule.event)
    return Action.TRANSFER_OUT if amount is not None and amount < 0 else Action.TRANSFER_IN


def _first(row: TableRow, source: Source) -> str:
    return next((text for name in source.columns if (text := _part(row.values.get(name, ""), source))), "")


def _part(text: str, source: Source) -> str:
    if source.pattern is None:
        return text
    match = source.pattern.search(text)
    return "" if match is None else _groups(match)


def _groups(match: re.Match[str]) -> str:
    groups = [group for group in match.groups() if group]
    return ":".join(groups) if groups else match.group()


def _check_equal(row: TableRow) -> None:
    for first, second in row.table.equal:
        one, other = row.values.get(first, ""), row.values.get(second, "")
        if one and other and one != other:
            raise RefusedRowError(
                "VALUES_DIFFER",
                f"{first} is {one} and {second} is {other}, so that the amount cannot be told.",
                "Enter what happened as a row of the own format, in another file.",
            )


def _wrong_sign(action: Action, what: str, number: Decimal) -> RefusedRowError:
    return RefusedRowError(
        "WRONG_SIGN",
        f"A {action} with the {what} {number} goes the other way round.",
        "Where the broker corrects an earlier row, remove both, or enter a REVERSE in the own format.",
    )


def _no_rule(row: TableRow, layout: str) -> RefusedRowError:
    columns = dict.fromkeys(column for rule in row.table.rules for column in rule.when)
    told = ", ".join(f"{column} '{row.values[column]}'" for column in columns if row.values.get(column))
    return RefusedRowError(
        "UNKNOWN_ACTION",
        f"No rule of '{layout}' fits a row with {told or 'no values'}.",
        "Add a rule for it to a mapping of your own, or enter it in the own format.",
    )
