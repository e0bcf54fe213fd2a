"""A household as its books are kept: its accounts, whose rules apply to them, and which securities are alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus.db.database import Connection
from prometheus.db.repositories.ledger_inputs import household_accounts, security_groups
from prometheus.domain.accounts import Account
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.terms import AccountTerms, Terms


@dataclass(frozen=True, slots=True)
class LedgerHousehold:
    """A household as its books are kept.

    Attributes:
        name: Its name; that of the account where one stands by itself.
        accounts: Its accounts, by name.
        terms: Under what terms its books are kept.
    """

    name: str
    accounts: tuple[Account, ...]
    terms: Terms

    @property
    def account_ids(self) -> tuple[str, ...]:
        """Return the names of its accounts, in alphabetical order."""
        return tuple(account.account_id for account in self.accounts)


def open_household(connection: Connection, name: str, *, lock: bool = False) -> LedgerHousehold:
    """Return a household with its terms, its accounts locked where asked for.

    Raises:
        UnknownAccountError: There is no such household.
        AccountingError: Its accounts are taxed by two countries, or its name is an account's, too.
    """
    accounts = household_accounts(connection, name, lock=lock)
    return LedgerHousehold(name, accounts, terms_of(accounts, security_groups(connection)))


def terms_of(accounts: Sequence[Account], groups: Mapping[str, str]) -> Terms:
    """Return under what terms a household's books are kept.

    Args:
        accounts: Its accounts, at least one.
        groups: Ticker to group, of securities that are not a group of their own.

    Raises:
        AccountingError: The accounts are taxed by two countries (TWO_REGIMES).
    """
    regimes = {account.tax_regime for account in accounts}
    if len(regimes) > 1:
        raise AccountingError(
            f"the household of {accounts[0].account_id} has accounts of {' and '.join(sorted(regimes))}; one country "
            "taxes a household.",
            code="TWO_REGIMES",
        )
    return Terms(
        regime=regimes.pop(),
        accounts={
            account.account_id: AccountTerms(
                kind=account.kind,
                method=account.lot_method,
                rates=account.rates_that_apply,
                is_fractional=account.fractional_shares,
            )
            for account in accounts
        },
        groups=groups,
    )
