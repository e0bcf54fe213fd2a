"""Terms of a household: what each account says of itself, and one country for all."""

from dataclasses import replace
from decimal import Decimal

import pytest

from prometheus.bookkeeping.ledger_terms import terms_of
from prometheus.domain.accounts import Account, AccountKind, AccountType, LotMethod, Region, TaxRates, TaxRegime
from prometheus.foundation.errors import AccountingError

ACCOUNT = Account(
    account_id="A", name="", region=Region.US, base_currency="USD", tax_regime=TaxRegime.US,
    lot_method=LotMethod.HIFO, benchmark_id="", rates=TaxRates(Decimal("0.37"), Decimal("0.2")), cash=Decimal(0),
    fractional_shares=False,
)  # fmt: skip


def test_terms_are_those_of_the_accounts():
    """Kind, lot method, rates and fractions come from each account; a sheltered one pays no tax."""
    ira = replace(ACCOUNT, account_id="IRA", account_type=AccountType.IRA, fractional_shares=True)
    terms = terms_of([ACCOUNT, ira], {"XX": "TWINS"})
    assert (terms.regime, terms.groups) == (TaxRegime.US, {"XX": "TWINS"})
    own, sheltered = terms.of("A"), terms.of("IRA")
    assert (own.kind, own.method, own.rates.st, own.is_fractional) == (
        AccountKind.TAXABLE, LotMethod.HIFO, Decimal("0.37"), False,
    )  # fmt: skip
    assert (sheltered.kind, sheltered.rates.st, sheltered.is_fractional) == (AccountKind.SHELTERED, 0, True)


def test_two_countries_are_refused():
    """One country taxes a household."""
    with pytest.raises(AccountingError) as refused:
        terms_of([ACCOUNT, replace(ACCOUNT, account_id="B", tax_regime=TaxRegime.CA)], {})
    assert refused.value.code == "TWO_REGIMES"
