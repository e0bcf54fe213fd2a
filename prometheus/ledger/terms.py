"""Under what terms a household's events are booked: whose rules, whose accounts, which securities are alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from prometheus.domain.accounts import AccountKind, LotMethod, TaxRates, TaxRegime
from prometheus.ledger.tie_rules import DEFAULT_TIES, TieRules

_NO_RATES: Final = TaxRates(Decimal(0), Decimal(0))


class AssetClass(StrEnum):
    """What a security is in the law of wash sales.

    26 U.S.C. 1091 covers stock and securities, funds among them, and no digital assets; Canada's rule covers any
    property (ITA s. 54 "superficial loss").
    """

    SECURITY = "SECURITY"
    DIGITAL_ASSET = "DIGITAL_ASSET"


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """How one account is taxed and sold from.

    Attributes:
        taxpayer: Whose return the account belongs to. In Canada each taxpayer has pools of its own (ITA s. 47(1)), and
            superficial losses apply across the taxpayers of a household, who are affiliated.
        kind: Whether gains and losses are taxed when they are realised.
        method: How lots are chosen where a sale names none; Canada has its pools.
        rates: Marginal rates; only LEAST_TAX_FIRST looks at them.
        is_fractional: Whether the account holds fractions of shares.
    """

    taxpayer: str = ""
    kind: AccountKind = AccountKind.TAXABLE
    method: LotMethod = LotMethod.FIFO
    rates: TaxRates = _NO_RATES
    is_fractional: bool = True


DEFAULT_ACCOUNT: Final = AccountTerms()


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one household.

    Attributes:
        regime: Whose rules apply.
        accounts: Terms by account. All accounts of the household are listed; an account without terms has ``default``.
        default: Terms of an account that is not listed.
        groups: Ticker to group of substantially identical securities; a ticker not in it is its own group, or stays in
            that of the symbol it had before.
        asset_classes: Ticker to asset class; SECURITY where not listed.
        ties: The readings chosen where sources differ.
        capital_elections: Canada: taxpayer to the first tax year of the election of ITA s. 39(4), which holds for good:
            short sales of Canadian securities are on capital account from then on, all others are income.
        canadian_securities: Canada: tickers that are Canadian securities (ITA s. 39(6)); only ``capital_elections``
            looks at them.
    """

    regime: TaxRegime = TaxRegime.US
    accounts: Mapping[str, AccountTerms] = field(default_factory=dict)
    default: AccountTerms = DEFAULT_ACCOUNT
    groups: Mapping[str, str] = field(default_factory=dict)
    asset_classes: Mapping[str, AssetClass] = field(default_factory=dict)
    ties: TieRules = DEFAULT_TIES
    capital_elections: Mapping[str, int] = field(default_factory=dict)
    canadian_securities: frozenset[str] = frozenset()

    def of(self, account: str) -> AccountTerms:
        """Return the terms of an account."""
        return self.accounts.get(account, self.default)

    def is_sheltered(self, account: str) -> bool:
        """Return whether what the account sells is no taxable event."""
        return self.of(account).kind is AccountKind.SHELTERED

    def taxpayer_of(self, account: str) -> str:
        """Return whose return the account belongs to."""
        return self.of(account).taxpayer

    def group_of(self, ticker: str) -> str:
        """Return the group of substantially identical securities that a ticker is in; its own where none is told."""
        return self.groups.get(ticker, ticker)

    def is_capital_short(self, taxpayer: str, ticker: str, year: int) -> bool:
        """Return whether a Canadian short sale that a tax year counts is on capital account instead of income.

        Source: ITA s. 39(4)-(6); IT-479R pars. 2, 6 and 18.
        """
        first = self.capital_elections.get(taxpayer)
        return first is not None and year >= first and ticker in self.canadian_securities

    def asset_class_of(self, ticker: str) -> AssetClass:
        """Return what a security is in the law of wash sales."""
        return self.asset_classes.get(ticker, AssetClass.SECURITY)
