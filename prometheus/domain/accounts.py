"""Accounts: owner, tax rules, lot method."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from prometheus.domain.lots import Term


class TaxRegime(StrEnum):
    """Country whose rules apply to gains, losses and repurchases."""

    US = "US"
    CA = "CA"

    @property
    def settles_shorts(self) -> bool:
        """Say whether a day of the engine may sell short and cover.

        In Canada what a short sale brings is income in full (IT-479R par. 18), and an account has the rate on capital
        gains alone.
        """
        return self is TaxRegime.US


class LotMethod(StrEnum):
    """Order in which an account's lots are sold."""

    HIFO = "HIFO"
    LEAST_TAX_FIRST = "LEAST_TAX_FIRST"
    FIFO = "FIFO"
    ACB = "ACB"


class Region(StrEnum):
    """Where the account trades; each region has one exchange calendar."""

    US = "US"
    CA = "CA"


class AccountKind(StrEnum):
    """Whether gains and losses of an account are taxed when they are realised.

    SHELTERED means an IRA in the US, an RRSP or TFSA in Canada: its sales are not taxable, and its purchases can still
    disallow a loss of the owner permanently.
    """

    TAXABLE = "TAXABLE"
    SHELTERED = "SHELTERED"


class AccountType(StrEnum):
    """Legal type of the account; all but TAXABLE are sheltered."""

    TAXABLE = "TAXABLE"
    IRA = "IRA"
    ROTH = "ROTH"
    K401 = "401K"
    RRSP = "RRSP"
    TFSA = "TFSA"

    @property
    def kind(self) -> AccountKind:
        """Return whether the account is taxed."""
        return AccountKind.TAXABLE if self is AccountType.TAXABLE else AccountKind.SHELTERED

    @property
    def is_sheltered(self) -> bool:
        """Return whether gains and losses of such an account are not taxed."""
        return self is not AccountType.TAXABLE


@dataclass(frozen=True, slots=True)
class TaxRates:
    """Marginal rates as fractions of a gain.

    ``st`` and ``lt`` are the rates on short- and long-term gains, ``niit`` is added to both (US). For Canada ``st`` and
    ``lt`` are equal and are the EFFECTIVE rate on a gain: marginal rate times inclusion rate.
    """

    st: Decimal
    lt: Decimal
    niit: Decimal = Decimal(0)

    def short_term(self) -> Decimal:
        """Return the rate on a short-term gain, surtax included."""
        return self.st + self.niit

    def long_term(self) -> Decimal:
        """Return the rate on a long-term gain, surtax included."""
        return self.lt + self.niit

    def of(self, term: Term) -> Decimal:
        """Return the rate on a gain of a holding period; for NONE both rates are the same effective rate."""
        return self.long_term() if term is Term.LONG else self.short_term()


@dataclass(frozen=True, slots=True)
class Account:
    """One account of the fleet as its owner's broker describes it.

    ``cash`` is in the base currency. ``books_as_of`` is the date through which corporate actions and fills are booked
    in its lots, None for an account that has not been through a day yet. ``tags`` select parameter overrides.
    ``household`` names the taxpayer whose accounts wash each other's losses, None for an account by itself.
    """

    account_id: str
    name: str
    region: Region
    base_currency: str
    tax_regime: TaxRegime
    lot_method: LotMethod
    benchmark_id: str
    rates: TaxRates
    cash: Decimal
    fractional_shares: bool
    tags: tuple[str, ...] = ()
    strategy_id: str = "tax-managed-index"
    books_as_of: date | None = None
    paused: bool = False
    household: str | None = None
    account_type: AccountType = AccountType.TAXABLE

    @property
    def kind(self) -> AccountKind:
        """Return whether the account's gains and losses are taxed."""
        return self.account_type.kind

    @property
    def rates_that_apply(self) -> TaxRates:
        """Return the rates on a gain of this account: none in a sheltered one."""
        return self.rates if self.kind is AccountKind.TAXABLE else TaxRates(Decimal(0), Decimal(0))
