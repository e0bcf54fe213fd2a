"""An account's own entries as its books take them: purchases and sales as fills, transfers as rows.

What happens to a security for everybody (splits, spin-offs, new symbols, delistings) is market-wide and never comes
from one account's file.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from prometheus.accounting.acb import pool_id, pool_lots
from prometheus.accounting.basis import split_lot
from prometheus.accounting.entry_checks import check_entry, without_repeated_names
from prometheus.accounting.journal import lot_change, pooling_transactions
from prometheus.accounting.lot_selection import order_lots
from prometheus.accounting.wash_sales import purchase_of
from prometheus.domain.accounts import Account, TaxRegime
from prometheus.domain.books import Books, Fill, LotPick, Transaction, TransactionType
from prometheus.domain.entries import Entry, EntryAction, EntryFinding
from prometheus.domain.lots import Side, TaxLot
from prometheus.domain.money import allocate_cents, plain_text
from prometheus.foundation.errors import AccountingError, OversoldError

TRADES: Final = frozenset({EntryAction.BUY, EntryAction.REINVEST, EntryAction.SELL})
TRANSFERS: Final = frozenset({EntryAction.TRANSFER_IN, EntryAction.TRANSFER_OUT})
_OF_AN_ACCOUNT: Final = TRADES | TRANSFERS | {EntryAction.DIVIDEND, EntryAction.REVERSE}
_ZERO: Final = Decimal(0)


def check_account_entries(
    entries: Iterable[Entry],
) -> tuple[tuple[Entry, ...], tuple[EntryFinding, ...]]:
    """Return the entries that an account's books can take, and a finding for each of the others.

    Looked at is each entry by itself, and names that come twice in the file. What the books say to it is for the
    booking to see.
    """
    findings: list[EntryFinding] = []
    sound: list[Entry] = []
    for entry in entries:
        found = check_entry(entry) or _check_place(entry)
        if found is None:
            sound.append(entry)
        else:
            findings.append(found)
    sound = without_repeated_names(sound, findings)
    return tuple(sound), tuple(sorted(findings, key=lambda finding: finding.row))


def _check_place(entry: Entry) -> EntryFinding | None:
    if entry.action not in _OF_AN_ACCOUNT:
        where = (
            "Load opening lots with --kind lots, opening cash with --kind accounts."
            if entry.action is EntryAction.OPEN
            else "Load it with --kind actions, where it reaches every account that holds the security."
        )
        return EntryFinding(
            entry.row, "NOT_OF_ONE_ACCOUNT", f"A {entry.action} does not come from one account's file.", where
        )
    if entry.entry_id is None:
        return EntryFinding(
            entry.row,
            "NO_ENTRY_ID",
            "The row has no entry_id, so that loading the file again would book it twice.",
            "Fill in 'entry_id' with the broker's number of the transaction.",
        )
    if entry.action in TRADES and not entry.amount:
        return EntryFinding(
            entry.row,
            "NO_AMOUNT",
            f"A {entry.action} for nothing has no price.",
            "Correct the amount; shares that come or go without payment are a TRANSFER_IN or TRANSFER_OUT.",
        )
    return None


def entry_content(entry: Entry) -> dict[str, str]:
    """Return what an entry says, without where it stands: equal entries have equal contents."""
    numbers = {"quantity": entry.quantity, "amount": entry.amount}
    texts = {
        "date": entry.day.isoformat(),
        "ticker": entry.ticker,
        "action": entry.action.value,
        "lots": ";".join(f"{pick.lot_id}={plain_text(pick.quantity)}" for pick in entry.picks) or entry.lot_id,
        "acquired_on": None if entry.acquired_on is None else entry.acquired_on.isoformat(),
        "other_account": entry.other_account,
        "reverses": entry.reverses,
    }
    content = {name: plain_text(value) for name, value in numbers.items() if value is not None}
    return content | {name: value for name, value in texts.items() if value}


class LotPicker:
    """Lots that a day's sales and transfers take, each share once; a lot bought the same day comes last."""

    def __init__(self, lots: Iterable[TaxLot], account: Account) -> None:
        self._lots = list(lots)
        self._left = {lot.lot_id: lot.quantity for lot in self._lots}
        self._account = account

    def add(self, lot: TaxLot) -> None:
        """Add a lot that the day opens."""
        self._lots.append(lot)
        self._left[lot.lot_id] = lot.quantity

    def left_of(self, lot_id: str) -> Decimal:
        """Return the shares of one lot that nothing of the day has taken; zero for a lot that is not held."""
        return self._left.get(lot_id, _ZERO)

    def take_these(self, picks: Sequence[LotPick]) -> None:
        """Take shares of exactly these lots, of which so many are left."""
        for pick in picks:
            self._left[pick.lot_id] -= pick.quantity

    def take(self, entry: Entry) -> tuple[LotPick, ...]:
        """Return which shares an entry takes: of the lots it names and their parts, or by the account's method.

        Raises:
            AccountingError: A lot that is not held (UNKNOWN_LOT).
            OversoldError: More shares than there are.
        """
        assert entry.quantity is not None  # checked
        of_ticker = [lot for lot in self._lots if lot.ticker == entry.ticker and self._left[lot.lot_id] > 0]
        if not entry.picks or self._account.tax_regime is TaxRegime.CA:
            return self._walk(entry, of_ticker, entry.quantity)
        picks: list[LotPick] = []
        for pick in entry.picks:
            parts = [lot for lot in of_ticker if pick.lot_id in {lot.lot_id, purchase_of(lot.lot_id)}]
            if not parts:
                raise AccountingError(
                    f"{entry.account} holds no lot {pick.lot_id} of {entry.ticker} on {entry.day}.",
                    code="UNKNOWN_LOT",
                    details={"lot_id": pick.lot_id},
                )
            picks += self._walk(entry, parts, pick.quantity)
        return tuple(picks)

    def _walk(self, entry: Entry, lots: Sequence[TaxLot], quantity: Decimal) -> tuple[LotPick, ...]:
        available = sum((self._left[lot.lot_id] for lot in lots), _ZERO)
        if quantity > available:
            raise OversoldError(
                f"{entry.account} gives up {plain_text(quantity)} shares of {entry.ticker} on {entry.day}; it holds "
                f"{plain_text(available)}.",
                details={"ticker": entry.ticker, "available": plain_text(available)},
            )
        before = order_lots(
            [lot for lot in lots if lot.acquired_on < entry.day],
            method=self._account.lot_method,
            rates=self._account.rates,
            regime=self._account.tax_regime,
            as_of=entry.day,
            price=(entry.amount or _ZERO) / (entry.quantity or Decimal(1)),
        )
        picks = []
        for lot in (*before, *(lot for lot in lots if lot.acquired_on >= entry.day)):
            taken = min(self._left[lot.lot_id], quantity)
            if taken > 0:
                picks.append(LotPick(lot.lot_id, taken))
                self._left[lot.lot_id] -= taken
                quantity -= taken
        return tuple(picks)


def fills_of_entries(entries: Sequence[Entry], lots: Iterable[TaxLot], account: Account) -> dict[int, tuple[Fill, ...]]:
    """Return the fills of one day's purchases and sales, by row of the entry.

    A sale out of several lots is a fill for each, so that its lines add up to the amount to the cent.

    Raises:
        AccountingError: A lot that is not held; more shares than there are.
    """
    picker = LotPicker(lots, account)
    found: dict[int, tuple[Fill, ...]] = {}
    for entry in entries:
        if entry.action is not EntryAction.SELL:
            fill = _purchase(entry)
            found[entry.row] = (fill,)
            if account.tax_regime is TaxRegime.US:
                cost = entry.amount or _ZERO
                picker.add(TaxLot(fill.new_lot_id or "", entry.ticker, entry.day, fill.quantity, cost, cost, entry.day))
    for entry in entries:
        if entry.action is EntryAction.SELL:
            pooled = account.tax_regime is TaxRegime.CA
            found[entry.row] = _sales(entry, () if pooled else picker.take(entry))
    return found


def _purchase(entry: Entry) -> Fill:
    assert entry.quantity is not None  # checked
    assert entry.amount is not None
    return Fill(
        execution_id=str(entry.entry_id),
        ticker=entry.ticker,
        side=Side.BUY,
        trade_date=entry.day,
        quantity=entry.quantity,
        price=entry.amount / entry.quantity,
        new_lot_id=entry.lot_id or entry.entry_id,
        reinvested=entry.action is EntryAction.REINVEST,
    )


def _sales(entry: Entry, picks: Sequence[LotPick]) -> tuple[Fill, ...]:
    assert entry.quantity is not None  # checked
    assert entry.amount is not None
    parts: list[tuple[Decimal, tuple[LotPick, ...]]] = [(pick.quantity, (pick,)) for pick in picks]
    parts = parts or [(entry.quantity, ())]
    amounts = allocate_cents(entry.amount, [quantity for quantity, _ in parts])
    return tuple(
        Fill(
            execution_id=str(entry.entry_id) if len(parts) == 1 else f"{entry.entry_id}.{number}",
            ticker=entry.ticker,
            side=Side.SELL,
            trade_date=entry.day,
            quantity=quantity,
            price=amount / quantity,
            lot_picks=chosen,
        )
        for number, ((quantity, chosen), amount) in enumerate(zip(parts, amounts, strict=True), 1)
    )


def apply_transfer(books: Books, entry: Entry, account: Account) -> tuple[Books, tuple[Transaction, ...]]:
    """Book a lot or cash that comes in or goes out; nothing is realised.

    Args:
        books: The account's books, on a day after which nothing of the security's group has been booked.
        entry: A TRANSFER_IN or TRANSFER_OUT.
        account: Regime and lot method.

    Raises:
        AccountingError: A lot of that name is held (LOT_EXISTS), one that is named is not (UNKNOWN_LOT), or more cash
            leaves than there is (OVERDRAWN).
        OversoldError: More shares than are held.

    Source: docs/specs/accounting.md, "An account's own transactions".
    """
    incoming = entry.action is EntryAction.TRANSFER_IN
    txn_type = TransactionType(entry.action.value)
    details = {"entry_id": entry.entry_id}
    if entry.other_account is not None:
        details["other_account"] = entry.other_account
    if not entry.ticker:
        assert entry.amount is not None  # checked
        amount = entry.amount if incoming else -entry.amount
        if books.cash + amount < 0:
            raise AccountingError(
                f"{entry.account} has cash of {plain_text(books.cash)}; {plain_text(entry.amount)} cannot leave it.",
                code="OVERDRAWN",
            )
        row = Transaction(txn_type, entry.day, "", None, amount=amount, details=details)
        return Books(books.lots, books.cash + amount), (row,)
    lots = {lot.lot_id: lot for lot in books.lots}
    rows: list[Transaction] = []
    if account.tax_regime is TaxRegime.CA:
        rows += _pool(lots, entry)
    if incoming:
        rows.append(_bring_in(lots, entry, account, txn_type, details))
    else:
        for pick in LotPicker(lots.values(), account).take(entry):
            lot = lots.pop(pick.lot_id)
            _, left = split_lot(lot, pick.quantity)
            if left is not None:
                lots[pick.lot_id] = left
            rows.append(lot_change(txn_type, entry.day, lot, left, details=details))
    return Books(tuple(lots.values()), books.cash), tuple(rows)


def _pool(lots: dict[str, TaxLot], entry: Entry) -> tuple[Transaction, ...]:
    of_ticker = [lot for lot in lots.values() if lot.ticker == entry.ticker]
    pools, rows = pooling_transactions(of_ticker, entry.day)
    for lot in of_ticker:
        del lots[lot.lot_id]
    lots.update({pool.lot_id: pool for pool in pools})
    return rows


def _bring_in(
    lots: dict[str, TaxLot], entry: Entry, account: Account, txn_type: TransactionType, details: dict[str, str | None]
) -> Transaction:
    assert entry.quantity is not None  # checked
    assert entry.amount is not None
    pooled = account.tax_regime is TaxRegime.CA
    name = pool_id(entry.ticker) if pooled else entry.lot_id or str(entry.entry_id)
    acquired = entry.acquired_on or entry.day
    lot = TaxLot(name, entry.ticker, acquired, entry.quantity, entry.amount, entry.amount, acquired)
    before = lots.get(name)
    if before is not None and not pooled:
        raise AccountingError(f"{entry.account} holds a lot called {name} already.", code="LOT_EXISTS")
    after = lot if before is None else pool_lots((before, lot))[0]
    lots[name] = after
    return lot_change(txn_type, entry.day, before, after, details=details)
