"""Journal rows read as a tax return reads them: one line for each lot sold, with what was disallowed of its loss."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from prometheus.accounting.journal import effective_rows
from prometheus.accounting.wash_sales import WASH_WINDOW_DAYS
from prometheus.domain.books import DISALLOWANCE_TYPES, DISPOSITION_TYPES, Transaction, TransactionType
from prometheus.domain.lots import Term

_ZERO: Final = Decimal(0)
_WINDOW: Final = timedelta(days=WASH_WINDOW_DAYS)
#: Value of another company's shares received and sold at once; what is sold has left the lot's basis, not its shares.
_RECEIVED_AND_SOLD: Final = frozenset({TransactionType.SPINOFF, TransactionType.STOCK_DISTRIBUTION})

#: Account (of rows that name one, in a journal that several share), execution, lot and day of a loss.
_LossKey = tuple[str, str | None, str | None, str]


@dataclass(frozen=True, slots=True)
class Replacement:
    """Where a disallowed loss went.

    Attributes:
        account: Account of the replacement shares; empty where a journal is that of one account.
        lot_id: Their lot; empty where nothing carries the loss.
        shares: Replacement shares.
        amount: Loss that went there, positive cents.
        permanent: Whether it is gone for good: bought in a sheltered account.
    """

    account: str
    lot_id: str
    shares: Decimal
    amount: Decimal
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class TaxLine:
    """One lot's part in a disposition; every amount in cents of the base currency.

    Attributes:
        account: Whose sale it was.
        ticker: The security.
        lot_id: The lot sold.
        kind: SELL, CASH_IN_LIEU, DELISTING, or SPINOFF and STOCK_DISTRIBUTION for value received and sold at once.
        quantity: Shares sold; zero for value received.
        acquired_on: Acquisition date of the lot.
        holding_period_start: The date that stands for it when the term is counted.
        sold_on: Trade date.
        proceeds: After commission.
        fee: Commission taken off the proceeds, where the journal knows it.
        cost_basis: Of the shares sold, without carried losses.
        basis: With them.
        realized_gain: ``proceeds`` less ``basis``, before anything is disallowed; negative for a loss.
        term: SHORT, LONG, or NONE in Canada.
        disallowed_loss: What is taken back of a loss, positive.
        replacements: Where it went.
        provisional_until: Last day on which a purchase can still change the line; None where none can.
    """

    account: str
    ticker: str
    lot_id: str
    kind: TransactionType
    quantity: Decimal
    acquired_on: date
    holding_period_start: date
    sold_on: date
    proceeds: Decimal
    fee: Decimal
    cost_basis: Decimal
    basis: Decimal
    realized_gain: Decimal
    term: Term
    disallowed_loss: Decimal
    replacements: tuple[Replacement, ...]
    provisional_until: date | None

    @property
    def recognized_gain(self) -> Decimal:
        """Return the gain that counts: realised, with what was disallowed of a loss taken back."""
        return self.realized_gain + self.disallowed_loss

    @property
    def disallowed_for_good(self) -> Decimal:
        """Return the part of ``disallowed_loss`` that no lot and no pool carries."""
        return sum((found.amount for found in self.replacements if found.permanent), _ZERO)


def tax_lines(journals: Mapping[str, Iterable[Transaction]], *, as_of: date) -> tuple[TaxLine, ...]:
    """Read the dispositions of taxable accounts out of their journals.

    Args:
        journals: Rows by account, in the order in which they were written; sheltered accounts left out.
        as_of: Day on which losses still count as provisional.

    Returns:
        Lines by sale date, account, ticker and lot.

    Source: Treas. Reg. 1.1091-1(a) for the thirty days; the rows themselves for all else.
    """
    lines: list[TaxLine] = []
    for account, rows in journals.items():
        standing = effective_rows(rows)
        washed: dict[_LossKey, list[Replacement]] = defaultdict(list)
        opened: dict[str, tuple[date, date]] = {}
        for row in standing:
            if row.txn_type in DISALLOWANCE_TYPES:
                details = row.details
                account_of_loss = details.get("account", "")
                key = (account_of_loss, details["loss_execution_id"], details["loss_lot_id"], details["loss_date"])
                washed[key].append(_replacement(row))
        for row in standing:
            if row.lot_id is not None:
                _note_dates(opened, row)
            if row.txn_type in DISPOSITION_TYPES or (row.txn_type in _RECEIVED_AND_SOLD and row.amount):
                lines.append(_line(account, row, washed, opened, as_of))
    return tuple(sorted(lines, key=lambda line: (line.sold_on, line.account, line.ticker, line.lot_id)))


def recognized_in_year(rows: Iterable[Transaction], as_of: date) -> Decimal:
    """Return the net gain that counts of the calendar year through a day (included), base currency; negative: a loss.

    What a purchase disallowed of a loss counts in the year of the loss, also where the purchase is of another year.

    Args:
        rows: One account's rows of the year in the order in which they were written; rows without a gain may lack.
        as_of: The day.
    """
    lines = tax_lines({"": rows}, as_of=as_of)
    return sum(
        (line.recognized_gain for line in lines if line.sold_on.year == as_of.year and line.sold_on <= as_of), _ZERO
    )


def _replacement(row: Transaction) -> Replacement:
    details = row.details
    return Replacement(
        account=details.get("replacement_account", ""),
        lot_id=details.get("replacement_lot_id", row.lot_id or ""),
        shares=Decimal(details["shares"]),
        amount=row.realized_gain,
        permanent=bool(details.get("permanent", False)),
    )


def _note_dates(opened: dict[str, tuple[date, date]], row: Transaction) -> None:
    """Follow a lot's dates, which rows of value received do not repeat."""
    assert row.lot_id is not None  # the caller looks
    acquired, start = row.details.get("acquired_on"), row.details.get("holding_period_start")
    before = opened.get(row.lot_id, (row.trade_date, row.trade_date))
    if acquired is not None or start is not None:
        opened[row.lot_id] = (
            before[0] if acquired is None else date.fromisoformat(acquired),
            before[1] if start is None else date.fromisoformat(start),
        )


def _line(
    account: str,
    row: Transaction,
    washed: Mapping[_LossKey, list[Replacement]],
    opened: Mapping[str, tuple[date, date]],
    as_of: date,
) -> TaxLine:
    assert row.lot_id is not None  # a disposition names its lot
    details = row.details
    acquired, start = opened.get(row.lot_id, (row.trade_date, row.trade_date))
    if "sold_acquired_on" in details:
        acquired = date.fromisoformat(details["sold_acquired_on"])
        start = date.fromisoformat(details["sold_holding_period_start"])
    key = (details.get("account", ""), details.get("execution_id"), row.lot_id, row.trade_date.isoformat())
    replacements = tuple(washed.get(key, ()))
    disallowed = sum((found.amount for found in replacements), _ZERO)
    last_day = row.trade_date + _WINDOW
    canada = row.term is Term.NONE
    # In Canada what is denied depends on what is held on day 30; in the US only what is still allowed can change.
    open_loss = row.realized_gain < 0 and (canada or -row.realized_gain > disallowed)
    return TaxLine(
        account=details.get("account", account),
        ticker=row.ticker,
        lot_id=row.lot_id,
        kind=row.txn_type,
        quantity=-row.quantity,
        acquired_on=acquired,
        holding_period_start=start,
        sold_on=row.trade_date,
        proceeds=row.amount,
        fee=Decimal(details.get("fee", 0)),
        cost_basis=-row.cost_basis,
        basis=-row.basis,
        realized_gain=row.realized_gain,
        term=row.term,
        disallowed_loss=disallowed,
        replacements=replacements,
        provisional_until=last_day if open_loss and as_of <= last_day else None,
    )
