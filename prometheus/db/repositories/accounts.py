"""Accounts and their settings."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from prometheus.db.models import AccountRow
from prometheus.domain.accounts import Account, AccountType, LotMethod, Region, TaxRates, TaxRegime
from prometheus.foundation.errors import UnknownAccountError


def accounts_of(
    connection: Connection, *, account_ids: Sequence[str] | None = None, region: str | None = None
) -> tuple[Account, ...]:
    """Return accounts by id or by region, ordered by id; all of them where neither is given.

    Raises:
        UnknownAccountError: A named account is not in the database, or the region has none.
    """
    query = select(AccountRow.__table__).order_by(AccountRow.account_id)
    if account_ids is not None:
        query = query.where(AccountRow.account_id.in_(list(account_ids)))
    if region is not None:
        query = query.where(AccountRow.region == region)
    accounts = tuple(_account(row) for row in connection.execute(query).mappings())
    missing = sorted(set(account_ids or ()) - {account.account_id for account in accounts})
    if missing:
        raise UnknownAccountError(f"There is no account {missing[0]}. 'prometheus ingest' loads accounts from a file.")
    if region is not None and region not in set(Region):
        raise UnknownAccountError(f"There is no region {region}; known are {', '.join(Region)}.")
    if region is not None and not accounts:
        raise UnknownAccountError(f"Region {region} has no accounts. 'prometheus ingest' loads accounts from a file.")
    return accounts


def _account(row: RowMapping) -> Account:
    values: dict[str, Any] = dict(row)
    return Account(
        account_id=values["account_id"],
        name=values["name"],
        region=Region(values["region"]),
        base_currency=values["base_currency"],
        tax_regime=TaxRegime(values["tax_regime"]),
        lot_method=LotMethod(values["lot_method"]),
        benchmark_id=values["benchmark_id"],
        rates=TaxRates(st=values["st_rate"], lt=values["lt_rate"], niit=values["niit_rate"]),
        cash=values["cash"],
        fractional_shares=values["fractional_shares"],
        tags=tuple(values["tags"]),
        strategy_id=values["strategy_id"],
        books_as_of=values["books_as_of"],
        paused=values["paused"],
        household=values["household"],
        account_type=AccountType(values["account_type"]),
    )
