"""The books of one household at the end of a day, and what the window rules still need of its past."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from prometheus.domain.lots import Term
from prometheus.ledger.keys import EventKey, LotKey, Position, value
from prometheus.ledger.postings import PostingKind

_ZERO: Final = Decimal(0)
#: Days for which a loss is kept beyond its window, for lots that come in later but were bought then.
LATE_LOT_DAYS: Final = 365


@value
class Lot:
    """A parcel of shares bought together.

    In Canada a lot is an account's part of the taxpayer's pool: its share of the pool's cost in cents, so that the lots
    of one taxpayer and security add up to the pool exactly.

    Attributes:
        key: Account that holds it, and its name there.
        origin: The event that opened it. Parts that were split off, transferred or spun off keep it.
        root_id: Name of the lot that ``origin`` opened; a sale that names it sells the parts too.
        ticker: The security.
        acquired_on: Trade date of the purchase.
        quantity: Shares, positive, nine decimals.
        cost_basis: Total cost without carried losses, cents.
        adjusted_basis: Total basis for tax, cents.
        holding_period_start: The date that stands for ``acquired_on`` when the holding period is counted.
        exact: The share count before rounding to nine decimals; None where ``quantity`` is exact. A split by 1:3 and
            one by 3:1 give back what was there.
        is_unseen: Whether its basis carries a loss of another account or security, which this account's broker does
            not see. Parts of a lot that carry what the broker sees are one lot where they cost the same.
    """

    key: LotKey
    origin: EventKey
    root_id: str
    ticker: str
    acquired_on: date
    quantity: Decimal
    cost_basis: Decimal
    adjusted_basis: Decimal
    holding_period_start: date
    exact: Fraction | None = None
    is_unseen: bool = False

    @property
    def account(self) -> str:
        """Return the account that holds the lot."""
        return self.key.account

    @property
    def lot_id(self) -> str:
        """Return the lot's name in its account."""
        return self.key.lot_id

    @property
    def position(self) -> Position:
        """Return the position that the lot belongs to."""
        return Position(self.key.account, self.ticker)


@value
class SoldShares:
    """Shares of a purchase that were sold again and have replaced nothing; kept where a form counts them.

    Attributes:
        event: The sale.
        lot: The lot that was sold.
        day: Trade date of the sale.
        term: Its holding period.
        quantity: Shares, in today's shares.
    """

    event: EventKey
    lot: LotKey
    day: date
    term: Term
    quantity: Decimal


@value
class Purchase:
    """A purchase inside the window, whose shares can replace shares sold at a loss.

    Attributes:
        event: The purchase; equals the ``origin`` of its lots.
        lot: The lot it opened, or the part of it that went its own way.
        ticker: The security, by today's symbol.
        day: Trade date.
        quantity: Shares bought, in today's shares.
        unreplaced: Shares of them that have replaced nothing yet, sold ones included.
        exact: ``quantity`` before rounding; None where it is exact.
        exact_unreplaced: ``unreplaced`` before rounding; None where it is exact.
        sold: Shares of it that were sold again, by day; kept under the tie rule FORM_1099B only.
    """

    event: EventKey
    lot: LotKey
    ticker: str
    day: date
    quantity: Decimal
    unreplaced: Decimal
    exact: Fraction | None = None
    exact_unreplaced: Fraction | None = None
    sold: tuple[SoldShares, ...] = ()


@value
class Loss:
    """A taxable loss on shares of one lot, which a purchase can still meet.

    Attributes:
        event: The event that realised it.
        lot: The lot that was sold; its account is that of the loss.
        origin: As for ``Lot``.
        ticker: The security, by today's symbol.
        day: Trade date.
        acquired_on: Of the lot.
        holding_period_start: Of the lot.
        term: Holding period of the sale.
        quantity: Shares sold, in today's shares.
        amount: The whole loss, positive cents.
        open_quantity: Shares whose loss is still allowed.
        disallowed: Loss disallowed so far.
        denied_for_good: The part of it that no lot carries.
        ticker_then: The symbol on the day of the loss.
        settle_date: Settlement date, where known.
        exact: ``quantity`` before rounding; None where it is exact.
        exact_open: ``open_quantity`` before rounding; None where it is exact.
        is_unseen: As for the lot.
    """

    event: EventKey
    lot: LotKey
    origin: EventKey
    ticker: str
    day: date
    acquired_on: date
    holding_period_start: date
    term: Term
    quantity: Decimal
    amount: Decimal
    open_quantity: Decimal
    disallowed: Decimal
    denied_for_good: Decimal
    ticker_then: str
    settle_date: date | None = None
    exact: Fraction | None = None
    exact_open: Fraction | None = None
    is_unseen: bool = False


class PoolKey(NamedTuple):
    """Whose shares have one cost in Canada: those of a taxpayer, or of a registered plan, of one security.

    Attributes:
        taxpayer: The taxpayer; empty for a plan.
        plan: Account of the registered plan; empty for a taxpayer.
        ticker: The security.
    """

    taxpayer: str
    plan: str
    ticker: str


@value
class Denied:
    """The part of a Canadian loss that is denied for the shares of one pool, which carries it, or of a plan.

    Attributes:
        pool: Who acquired the substituted property.
        shares: Shares whose loss it is, in today's shares.
        amount: Cents.
    """

    pool: PoolKey
    shares: Decimal
    amount: Decimal


@value
class PoolSale:
    """A disposition out of a pool, as it is booked so far.

    Attributes:
        kind: Of its posting.
        loss: The disposition as a loss, in today's symbol and shares; it has an amount where it is one.
        sold: Shares sold, in the shares of the day.
        shares: Shares of the pool before it.
        proceeds: After commission.
        basis: Cost taken out of the pool.
        denied: What is denied of it.
    """

    kind: PostingKind
    loss: Loss
    sold: Decimal
    shares: Decimal
    proceeds: Decimal
    basis: Decimal
    denied: tuple[Denied, ...] = ()


@value
class PoolShift:
    """Shares that leave a pool without a disposition, with their part of its cost.

    Attributes:
        source: The pool.
        target: The pool into which they come; None where they leave the household.
        moved: Shares that leave.
        shares: Shares of the pool before.
        basis: Cost that leaves, as booked.
        lot: Lot from which they leave.
        event: The event.
    """

    source: PoolKey
    target: PoolKey | None
    moved: Decimal
    shares: Decimal
    basis: Decimal = _ZERO
    lot: LotKey | None = None
    event: EventKey | None = None


@value
class PoolEntry:
    """One step of a pool's cost: a fixed change, a sale or shifts; and whether losses look for purchases after it.

    Attributes:
        day: The day.
        number: Place within the day.
        pool: The pool that changes; None where none does.
        basis: Fixed change of its cost.
        sale: The disposition.
        shifts: Shares that leave, all at once.
        purchase: The purchase made, by its name in the window.
        is_look: Whether losses are compared with the purchases known so far.
    """

    day: date
    number: int
    pool: PoolKey | None = None
    basis: Decimal = _ZERO
    sale: PoolSale | None = None
    shifts: tuple[PoolShift, ...] = ()
    purchase: LotKey | None = None
    is_look: bool = False


@value
class PoolHistory:
    """The costs of a group's Canadian pools since its earliest loss whose window is open.

    Attributes:
        starts: Cost of each pool before the first entry; a pool that is not in it had none.
        entries: In the order of booking.
    """

    starts: Mapping[PoolKey, Decimal]
    entries: tuple[PoolEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class ShortLot:
    """Shares sold short and not covered yet.

    Attributes:
        key: Account and name.
        ticker: The security.
        sold_on: Trade date of the short sale.
        quantity: Shares owed, positive.
        proceeds: What they were sold for after commission, cents.
        was_held: Whether substantially identical shares were held for no more than a year on that day (26 U.S.C.
            1233(b)): a gain on the cover is short-term.
        was_held_long: Whether such shares were held for more than a year (1233(d)): a loss on the cover is long-term.
        exact: As for ``Lot``.
    """

    key: LotKey
    ticker: str
    sold_on: date
    quantity: Decimal
    proceeds: Decimal
    was_held: bool = False
    was_held_long: bool = False
    exact: Fraction | None = None


@dataclass(frozen=True, slots=True)
class UnlistedAction:
    """An action that other accounts' events told and that was booked for an account which had not listed it.

    When the account lists it later, that says nothing new.
    """

    account: str
    kind: str
    ticker: str
    new_ticker: str
    ratio: Fraction
    day: date


@dataclass(frozen=True, slots=True)
class State:
    """One household at the end of a day.

    Attributes:
        through: The last day that is booked; None before the first.
        lots: Lots held.
        cash: Cash by account, base currency. Accounts without postings of cash are not listed.
        purchases: Purchases of the last thirty days (Canada: ninety); sorted by day, account and lot.
        losses: Taxable losses of the window, and allowed ones of ``LATE_LOT_DAYS`` before; sorted by day and lot.
        shorts: Short positions.
        groups: Groups that new symbols took over from former ones.
        unlisted: Actions booked for accounts which have not listed them yet.
        histories: Canada: pool costs by group, for groups with a loss whose window is open.
    """

    through: date | None = None
    lots: Mapping[LotKey, Lot] = field(default_factory=dict)
    cash: Mapping[str, Decimal] = field(default_factory=dict)
    purchases: tuple[Purchase, ...] = ()
    losses: tuple[Loss, ...] = ()
    shorts: Mapping[LotKey, ShortLot] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    unlisted: tuple[UnlistedAction, ...] = ()
    histories: Mapping[str, PoolHistory] = field(default_factory=dict)

    def lots_of(self, account: str, ticker: str) -> tuple[Lot, ...]:
        """Return the lots of one position, earliest first."""
        lots = (lot for lot in self.lots.values() if lot.key.account == account and lot.ticker == ticker)
        return tuple(sorted(lots, key=lambda lot: (lot.acquired_on, lot.key.lot_id)))

    def quantity_of(self, account: str, ticker: str) -> Decimal:
        """Return the shares that an account holds of a security."""
        return sum((lot.quantity for lot in self.lots_of(account, ticker)), _ZERO)

    def pools(self, taxpayers: Mapping[str, str]) -> Mapping[tuple[str, str], tuple[Decimal, Decimal]]:
        """Return shares and adjusted basis by taxpayer and ticker, which is what Canada calls the adjusted cost base.

        Args:
            taxpayers: Account to taxpayer, of the taxable accounts; others are left out.
        """
        pools: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
        for lot in self.lots.values():
            if lot.key.account in taxpayers:
                key = (taxpayers[lot.key.account], lot.ticker)
                shares, basis = pools.get(key, (_ZERO, _ZERO))
                pools[key] = (shares + lot.quantity, basis + lot.adjusted_basis)
        return pools


EMPTY: Final = State()
