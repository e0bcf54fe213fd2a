"""Accounts and their settings."""

from collections.abc import Sequence

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
    return Account(
        account_id=row["account_id"],
        name=row["name"],
        region=Region(row["region"]),
        base_currency=row["base_currency"],
        tax_regime=TaxRegime(row["tax_regime"]),
        lot_method=LotMethod(row["lot_method"]),
        benchmark_id=row["benchmark_id"],
        rates=TaxRates(st=row["st_rate"], lt=row["lt_rate"], niit=row["niit_rate"]),
        cash=row["cash"],
        fractional_shares=row["fractional_shares"],
        tags=tuple(row["tags"]),
        strategy_id=row["strategy_id"],
        books_as_of=row["books_as_of"],
        paused=row["paused"],
        household=row["household"],
        account_type=AccountType(row["account_type"]),
    )
