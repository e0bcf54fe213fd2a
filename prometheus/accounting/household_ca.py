"""A Canadian owner: one pool for each security over all taxable accounts, and superficial losses with hindsight.

Whether shares are held on day 30 after a loss is known from the entries themselves, because in Canada no choice of lots
decides how many shares there are. So the entries are walked through twice: first for the share counts, then for money.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from prometheus.accounting.acb import pool_id, pool_lots
from prometheus.accounting.basis import carry_loss, split_lot
from prometheus.accounting.household_ledger import HouseholdSettings, RefusedError, window_start
from prometheus.accounting.joint_accounts import account_of, joint_name, own_name
from prometheus.accounting.journal import lot_change
from prometheus.accounting.pool_ledger import OWNER, PoolLedger
from prometheus.accounting.security_events import rename_event, sale_lines, spin_off_event, split_event
from prometheus.accounting.share_holdings import Holdings, Position
from prometheus.accounting.superficial_losses import further_denial
from prometheus.accounting.wash_sales import disposition_order, group_of_ticker, in_wash_window, purchase_order
from prometheus.domain.accounts import AccountKind, TaxRegime
from prometheus.domain.books import Transaction, TransactionType
from prometheus.domain.entries import Entry, EntryAction
from prometheus.domain.lots import RecentTrade, Side, TaxLot
from prometheus.domain.money import ONE_SHARE, floor_to_step, plain_text
from prometheus.foundation.errors import AccountingError

_ZERO: Final = Decimal(0)
_WINDOW: Final = timedelta(days=30)


class CAHousehold(PoolLedger):
    """Pools of the owner, and of each sheltered account, with share counts by account beside them.

    Args:
        settings: How entries are booked.
        group_of: Ticker to group of identical properties.
        hindsight: Share counts of an earlier walk through the same entries; without them nothing is denied.
    """

    def __init__(
        self, settings: HouseholdSettings, group_of: Mapping[str, str], hindsight: Holdings | None = None
    ) -> None:
        super().__init__(settings, group_of)
        self._hindsight = hindsight
        self._factors: dict[str, Fraction] = {}
        self._history: list[tuple[date, dict[Position, Decimal], dict[str, Fraction]]] = []
        self._today = date.min
        self._spun: dict[tuple[str, str, date], TaxLot] = {}
        self._fractions: list[tuple[Entry, str]] = []

    # ------------------------------------------------------------ what there is

    def holdings(self) -> Holdings:
        """Return the share counts of all days walked through."""
        self._remember()
        days, positions, factors = zip(*self._history, strict=True) if self._history else ((), (), ())
        return Holdings(days, positions, factors)

    # ------------------------------------------------------------ days

    def begin_day(self, day: date) -> None:
        """Note the share counts of the day before, and forget what no window reaches."""
        self._remember()
        self._today = day
        first = window_start(day)
        # A purchase counts for a loss of thirty days ago when it lies thirty days before that.
        self.window.forget(day, losses_before=first, purchases_before=window_start(first))

    def _remember(self) -> None:
        if self._today > date.min and (not self._history or self._history[-1][0] < self._today):
            self._history.append((self._today, self.positions(), dict(self._factors)))

    def end_sales(self, day: date) -> None:
        """Look at every loss in reach again: what is acquired and held by now decides what is denied of it."""
        if self._hindsight is None:
            return
        losses = self.window.losses[OWNER]
        self.window.losses[OWNER] = [self._deny(loss, day) for loss in sorted(losses, key=disposition_order)]

    def _deny(self, loss: RecentTrade, day: date) -> RecentTrade:
        """Deny the superficial part of a loss as far as the substituted shares are there to carry it.

        Source: ITA ss. 40(2)(g)(i), 53(1)(f), 54 "superficial loss"; CRA IT-456R.
        """
        assert self._hindsight is not None
        group = group_of_ticker(loss.ticker, self.group_of)
        acquired = [
            purchase
            for purchase in sorted(self.window.purchases[OWNER], key=purchase_order)
            if group_of_ticker(purchase.ticker, self.group_of) == group
            and in_wash_window(loss.trade_date, purchase.trade_date)
        ]
        if not acquired:
            return loss
        own, sheltered = self._held_at_end(loss, group)
        count = sum((purchase.quantity for purchase in acquired), _ZERO)
        carrier = self._carrier(acquired, group)
        if carrier is None and own > 0:
            return loss  # what will carry the loss is still to be bought
        denial = further_denial(loss, acquired=count, own=own, sheltered=sheltered)
        if denial is None:
            return loss
        carried = denial.further - denial.further_for_good
        self._post_denied(loss, carried, denial.carried, carrier, day, permanent=False)
        self._post_denied(loss, denial.further_for_good, denial.for_good, None, day, permanent=True)
        return replace(
            loss,
            washed_quantity=denial.shares,
            disallowed_loss=loss.disallowed_loss + denial.carried + denial.for_good,
            denied_for_good=loss.denied_for_good + denial.for_good,
        )

    def _held_at_end(self, loss: RecentTrade, group: str) -> tuple[Decimal, Decimal]:
        """Return the owner's and the sheltered accounts' shares on day 30, in today's shares."""
        assert self._hindsight is not None
        end = loss.trade_date + _WINDOW
        own = sheltered = _ZERO
        for (account, ticker), shares in self._hindsight.held(end).items():
            if group_of_ticker(ticker, self.group_of) != group:
                continue
            change = self._hindsight.factor(ticker, end) / self._factors.get(ticker, Fraction(1))
            today = shares * change.denominator / change.numerator
            if self.settings.kind(account) is AccountKind.SHELTERED:
                sheltered += today
            else:
                own += today
        return own, sheltered

    def _carrier(self, acquired: list[RecentTrade], group: str) -> TaxLot | None:
        """Return the pool that the loss belongs to: of the earliest purchase still held, else of the group."""
        pools = self.pools[OWNER]
        for purchase in acquired:
            if purchase.ticker in pools:
                return pools[purchase.ticker]
        of_group = [ticker for ticker in sorted(pools) if group_of_ticker(ticker, self.group_of) == group]
        return pools[of_group[0]] if of_group else None

    def _post_denied(
        self, loss: RecentTrade, shares: Decimal, amount: Decimal, carrier: TaxLot | None, day: date, *, permanent: bool
    ) -> None:
        if amount <= 0:
            return
        details: dict[str, Any] = {
            "account": account_of(loss.execution_id),
            "loss_execution_id": own_name(loss.execution_id or ""),
            "loss_lot_id": loss.lot_id,
            "loss_ticker": loss.ticker,
            "loss_date": loss.trade_date.isoformat(),
            "shares": plain_text(shares),
            "replacement_account": OWNER,
            "replacement_lot_id": "" if carrier is None else carrier.lot_id,
        }
        if permanent:
            details["permanent"] = True
        kind = TransactionType.SUPERFICIAL_LOSS
        if carrier is None:
            row = Transaction(kind, day, loss.ticker, None, realized_gain=amount, details=details)
        else:
            after = carry_loss(carrier, amount, carrier.holding_period_start)
            self.set_pool(OWNER, carrier.ticker, after)
            row = lot_change(kind, day, carrier, after, realized_gain=amount, details=details)
        self.journals[OWNER].append(row)

    # ------------------------------------------------------------ what comes in

    def bring_in(self, entry: Entry) -> None:
        """Book an opening position or one from outside, or cash; what was bought lately is an acquisition."""
        txn_type = TransactionType(entry.action.replace("OPEN", "OPENING"))
        if not entry.ticker:
            self.move_cash(entry, txn_type)
            return
        self._add(entry, txn_type, entry.acquired_on or entry.day, _ZERO)

    def buy(self, entry: Entry) -> None:
        """Add a purchase to its pool; commissions raise the cost (rule 14)."""
        assert entry.amount is not None  # checked
        reinvested = entry.action is EntryAction.REINVEST
        txn_type = TransactionType.REINVESTMENT if reinvested else TransactionType.BUY
        self._add(entry, txn_type, entry.day, -entry.amount)
        self.end_sales(entry.day)

    def _add(self, entry: Entry, txn_type: TransactionType, acquired_on: date, amount: Decimal) -> None:
        assert entry.quantity is not None  # checked
        assert entry.amount is not None
        book = self.book_of(entry.account)
        before = self.pools[book].get(entry.ticker)
        cost = entry.amount
        bought = TaxLot(pool_id(entry.ticker), entry.ticker, acquired_on, entry.quantity, cost, cost, acquired_on)
        after = pool_lots((before, bought) if before is not None else (bought,))[0]
        self.set_pool(book, entry.ticker, after)
        self.held[entry.account, entry.ticker] += entry.quantity
        execution = self.execution(entry)
        details = {"execution_id": execution}
        self.post(entry.account, lot_change(txn_type, entry.day, before, after, amount=amount, details=details))
        purchase = RecentTrade(
            ticker=entry.ticker,
            trade_date=acquired_on,
            side=Side.BUY,
            quantity=entry.quantity,
            lot_id=pool_id(entry.ticker),
            execution_id=joint_name(entry.account, execution),
        )
        self.window.purchases[OWNER].append(purchase)

    # ------------------------------------------------------------ sales

    def sell(self, entry: Entry) -> None:
        """Sell out of the pool, at its average cost."""
        assert entry.quantity is not None  # checked
        assert entry.amount is not None
        self._dispose(entry, entry.ticker, entry.quantity, entry.amount, TransactionType.SELL)

    def delist(self, entry: Entry) -> None:
        """Sell all that the account holds for the amount, which may be nothing."""
        shares = self.held[entry.account, entry.ticker]
        if shares <= 0:
            raise self.not_held(entry)
        self._dispose(entry, entry.ticker, shares, entry.amount or _ZERO, TransactionType.DELISTING)

    def _dispose(
        self, entry: Entry, ticker: str, quantity: Decimal, proceeds: Decimal, txn_type: TransactionType
    ) -> None:
        position = self.held[entry.account, ticker]
        if quantity > position:
            raise self.oversold(entry, position)
        book = self.book_of(entry.account)
        pool = self.pools[book][ticker]
        execution = self.execution(entry)
        event = sale_lines(
            [(pool, quantity)],
            proceeds,
            on=entry.day,
            regime=TaxRegime.CA,
            txn_type=txn_type,
            details={"execution_id": execution},
        )
        self.set_pool(book, ticker, event.lots[0] if event.lots else None)
        self.held[entry.account, ticker] -= quantity
        (row,) = event.rows
        self.post(entry.account, row)
        if book == OWNER and row.realized_gain < 0:
            self.window.losses[OWNER].append(
                RecentTrade(
                    ticker=ticker,
                    trade_date=entry.day,
                    side=Side.SELL,
                    quantity=quantity,
                    realized_gain=row.realized_gain,
                    lot_id=pool.lot_id,
                    acquired_on=pool.acquired_on,
                    # Each account names its executions without regard to the others.
                    execution_id=joint_name(entry.account, execution),
                )
            )

    # ------------------------------------------------------------ what happens to shares held

    def split(self, entry: Entry) -> None:
        """Multiply the account's shares; the pool's cost stays. A fraction is paid where the entry has an amount."""
        ratio = self.ratio(entry)
        if self.holds(entry):
            part, left, shares = self.slice_of(entry)
            try:
                event = self.exact(entry, split_event([part], ratio, entry.day))
            except AccountingError as error:
                raise RefusedError("VANISHING_LOT", error.message, "Sell the shares before the split.") from error
            self.merge(entry, left, event)
            self.held[entry.account, entry.ticker] += event.lots[0].quantity - shares
            self._pay_fraction(entry, entry.ticker)
        if self.is_first(entry):
            self._factors[entry.ticker] = self._factors.get(entry.ticker, Fraction(1)) * ratio
            self.window.scale(entry.ticker, entry.day, ratio)

    def spin_off(self, entry: Entry) -> None:
        """Move a part of the cost into the child's pool; receiving its shares is no acquisition in the window."""
        assert entry.other_ticker is not None  # checked
        assert entry.basis_fraction is not None
        shares = self.held[entry.account, entry.ticker]
        if shares <= 0:
            raise self.not_held(entry)
        book = self.book_of(entry.account)
        pool = self.pools[book][entry.ticker]
        # Accounts of one owner give up the same part of a share's cost, whichever of them is booked first.
        morning = self._spun.setdefault((book, entry.ticker, entry.day), pool)
        part, _ = split_lot(morning, shares)
        event = spin_off_event(
            [part],
            child=entry.other_ticker,
            ratio=self.ratio(entry),
            basis_fraction=entry.basis_fraction,
            on=entry.day,
        )
        for born in self.exact(entry, event).lots:
            if born.ticker == entry.ticker:
                continue
            left = replace(
                pool,
                cost_basis=pool.cost_basis - born.cost_basis,
                adjusted_basis=pool.adjusted_basis - born.adjusted_basis,
            )
            self.set_pool(book, entry.ticker, left)
            details = {"child": born.ticker, "basis_fraction": plain_text(entry.basis_fraction)}
            self.post(entry.account, lot_change(TransactionType.SPINOFF, entry.day, pool, left, details=details))
            before = self.pools[book].get(born.ticker)
            named = replace(born, lot_id=pool_id(born.ticker))
            after = pool_lots((before, named) if before is not None else (named,))[0]
            self.set_pool(book, born.ticker, after)
            details = {"parent": entry.ticker}
            self.post(entry.account, lot_change(TransactionType.SPINOFF, entry.day, before, after, details=details))
            self.held[entry.account, born.ticker] += born.quantity
        self._pay_fraction(entry, entry.other_ticker)

    def rename(self, entry: Entry) -> None:
        """Give the account's shares, and past trades, the new symbol."""
        assert entry.other_ticker is not None  # checked
        if self.holds(entry):
            part, left, shares = self.slice_of(entry)
            self.merge(entry, left, rename_event([part], entry.other_ticker, entry.day))
            self.held[entry.account, entry.ticker] -= shares
            self.held[entry.account, entry.other_ticker] += shares
        if self.is_first(entry):
            new = entry.other_ticker
            # A loss keeps the name of the pool that was sold; its row is found by it.
            self.window.rename(
                entry.ticker,
                lambda trade: replace(trade, ticker=new, lot_id=trade.lot_id if trade.realized_gain else pool_id(new)),
            )

    def _pay_fraction(self, entry: Entry, ticker: str) -> None:
        """Note a fraction to be paid when the events of all accounts are booked, for they share a pool."""
        if entry.amount is not None:
            self._fractions.append((entry, ticker))

    def end_events(self) -> None:
        """Pay the fractions of the day's splits and spin-offs."""
        fractions, self._fractions = self._fractions, []
        for entry, ticker in fractions:
            position = self.held[entry.account, ticker]
            fraction = position - floor_to_step(position, ONE_SHARE)
            if fraction > 0:
                self._dispose(entry, ticker, fraction, entry.amount or _ZERO, TransactionType.CASH_IN_LIEU)

    def transfer_out(self, entry: Entry) -> None:
        """Move shares between accounts of the owner, which changes no pool, or out of the household."""
        if not entry.ticker:
            self.move_cash(entry, TransactionType.TRANSFER_OUT, -1)
            if entry.other_account is not None:
                self.move_cash(replace(entry, account=entry.other_account), TransactionType.TRANSFER_IN)
            return
        assert entry.quantity is not None  # checked
        position = self.held[entry.account, entry.ticker]
        if entry.quantity > position:
            raise self.oversold(entry, position)
        target = entry.other_account
        if target is not None and (self.book_of(entry.account), self.book_of(target)) != (OWNER, OWNER):
            raise RefusedError(
                "TRANSFER_ACROSS_SHELTER",
                f"Shares do not pass untaxed between {entry.account} and {target}.",
                "Enter a SELL in one account and a BUY in the other.",
            )
        self.held[entry.account, entry.ticker] -= entry.quantity
        if target is not None:
            self.held[target, entry.ticker] += entry.quantity
            return
        book = self.book_of(entry.account)
        pool = self.pools[book][entry.ticker]
        _, left = split_lot(pool, entry.quantity)
        self.set_pool(book, entry.ticker, left)
        self.post(entry.account, lot_change(TransactionType.TRANSFER_OUT, entry.day, pool, left))
