"""What the rows of a file say about accounts and securities: types, taxpayers, groups, asset classes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from prometheus.domain.accounts import AccountKind
from prometheus.ledger.files.findings import RefusedRowError, RowFinding
from prometheus.ledger.terms import AssetClass, Terms

#: Account types that are taxed when gains are realised, and those that are not.
TAXABLE: Final = frozenset({"TAXABLE"})
SHELTERED: Final = frozenset({"IRA", "ROTH", "401K", "RRSP", "TFSA", "SHELTERED"})
_ASSET_WORDS: Final[Mapping[str, AssetClass]] = {
    "SECURITY": AssetClass.SECURITY,
    "DIGITAL_ASSET": AssetClass.DIGITAL_ASSET,
    "CRYPTO": AssetClass.DIGITAL_ASSET,
}


#: Columns by which a row says more than that there is an account.
_SAYING: Final = frozenset({"account_type", "taxpayer", "group", "asset_class", "other_account"})


@dataclass(frozen=True, slots=True)
class FileTerms:
    """The terms that a file states.

    Attributes:
        accounts: All accounts that it names, those that shares or cash go to included.
        sheltered: Accounts that a row marks as IRA or the like.
        taxable: Accounts that a row marks as taxable.
        taxpayers: Account to taxpayer.
        groups: Ticker to group of substantially identical securities.
        asset_classes: Ticker to asset class.
    """

    accounts: frozenset[str] = frozenset()
    sheltered: frozenset[str] = frozenset()
    taxable: frozenset[str] = frozenset()
    taxpayers: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    asset_classes: Mapping[str, AssetClass] = field(default_factory=dict)

    def added_to(self, terms: Terms) -> Terms:
        """Return terms with what the file says; where both speak the file counts."""
        accounts = {**terms.accounts, **{name: terms.of(name) for name in sorted(self.accounts)}}
        for name in sorted(self.accounts):
            kind = accounts[name].kind
            if name in self.sheltered:
                kind = AccountKind.SHELTERED
            elif name in self.taxable:
                kind = AccountKind.TAXABLE
            taxpayer = self.taxpayers.get(name, accounts[name].taxpayer)
            accounts[name] = replace(accounts[name], kind=kind, taxpayer=taxpayer)
        return replace(
            terms,
            accounts=accounts,
            groups={**terms.groups, **self.groups},
            asset_classes={**terms.asset_classes, **self.asset_classes},
        )


@dataclass(frozen=True, slots=True)
class Statement:
    """What one row says about its account and its security; empty where it says nothing.

    Attributes:
        row: Line of the file.
        day: Date of the row.
        account: Its account.
        other_account: An account that it sends something to.
        ticker: Its security.
        account_type: A known type of account.
        taxpayer: Whose account it is.
        group: The group of the security.
        asset_class: The security's asset class.
    """

    row: int
    day: date
    account: str
    other_account: str
    ticker: str
    account_type: str
    taxpayer: str
    group: str
    asset_class: str


def statement_of(row: int, day: date, values: Mapping[str, str]) -> Statement | None:
    """Return what a row of the own format says about its account and its security, None where it says nothing.

    Raises:
        RefusedRowError: UNKNOWN_TYPE or UNKNOWN_ASSET_CLASS.
    """
    if _SAYING.isdisjoint(values):
        return None
    kind = values.get("account_type", "").upper()
    if kind and kind not in TAXABLE | SHELTERED:
        known = ", ".join(sorted(SHELTERED | TAXABLE))
        raise RefusedRowError("UNKNOWN_TYPE", f"'{kind}' is no type of account.", f"Use one of {known}.")
    asset = values.get("asset_class", "").upper().replace(" ", "_")
    if asset and asset not in _ASSET_WORDS:
        known = ", ".join(_ASSET_WORDS)
        raise RefusedRowError("UNKNOWN_ASSET_CLASS", f"'{asset}' is no asset class.", f"Use one of {known}.")
    return Statement(
        row=row,
        day=day,
        account=values.get("account", ""),
        other_account=values.get("other_account", ""),
        ticker=values.get("ticker", "").upper(),
        account_type=kind,
        taxpayer=values.get("taxpayer", ""),
        group=values.get("group", ""),
        asset_class=asset,
    )


def terms_of(statements: Iterable[Statement], others: Iterable[str] = ()) -> tuple[FileTerms, list[RowFinding]]:
    """Return what all rows say together, and a finding for each row that contradicts an earlier one.

    The row with the earliest date counts, of one day that whose word comes first in the alphabet; so the order of the
    rows does not matter.

    Args:
        statements: What rows say.
        others: Accounts of rows that say nothing.
    """
    ordered = sorted(
        statements,
        key=lambda each: (each.day, each.account_type, each.taxpayer, each.group, each.asset_class, each.row),
    )
    types: dict[str, str] = {}
    taxpayers: dict[str, str] = {}
    groups: dict[str, str] = {}
    classes: dict[str, str] = {}
    findings: list[RowFinding] = []
    accounts = set(others)
    for each in ordered:
        conflict = _conflict(each, types, taxpayers, groups, classes)
        if conflict is not None:
            findings.append(conflict.in_row(each.row))
            continue
        accounts.update(name for name in (each.account, each.other_account) if name)
        for known, name, word in (
            (types, each.account, each.account_type),
            (taxpayers, each.account, each.taxpayer),
            (groups, each.ticker, each.group),
            (classes, each.ticker, each.asset_class),
        ):
            if word:
                known.setdefault(name, word)
    return (
        FileTerms(
            accounts=frozenset(accounts),
            sheltered=frozenset(name for name, kind in types.items() if kind in SHELTERED),
            taxable=frozenset(name for name, kind in types.items() if kind in TAXABLE),
            taxpayers=taxpayers,
            groups=groups,
            asset_classes={ticker: _ASSET_WORDS[word] for ticker, word in classes.items()},
        ),
        findings,
    )


def _conflict(
    each: Statement,
    types: Mapping[str, str],
    taxpayers: Mapping[str, str],
    groups: Mapping[str, str],
    classes: Mapping[str, str],
) -> RefusedRowError | None:
    account, ticker = each.account, each.ticker
    known = types.get(account, "")
    if each.account_type and known and (known in SHELTERED) is not (each.account_type in SHELTERED):
        return RefusedRowError(
            "TYPE_CONFLICT",
            f"{account} is {each.account_type} here and {known} in another row.",
            "Give an account one type throughout.",
        )
    if each.taxpayer and taxpayers.get(account, each.taxpayer) != each.taxpayer:
        return RefusedRowError(
            "TAXPAYER_CONFLICT",
            f"{account} belongs to {each.taxpayer} here and to {taxpayers[account]} in another row.",
            "Give an account one taxpayer throughout.",
        )
    if each.group and groups.get(ticker, each.group) != each.group:
        return RefusedRowError(
            "GROUP_CONFLICT",
            f"{ticker} is in group {groups[ticker]}, and here in {each.group}.",
            "Give a security one group throughout, or none.",
        )
    if each.asset_class and _ASSET_WORDS[classes.get(ticker, each.asset_class)] is not _ASSET_WORDS[each.asset_class]:
        return RefusedRowError(
            "ASSET_CLASS_CONFLICT",
            f"{ticker} is a {classes[ticker]}, and here a {each.asset_class}.",
            "Give a security one asset class throughout.",
        )
    return None
