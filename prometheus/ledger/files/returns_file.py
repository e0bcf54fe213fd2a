"""Returns and what brokers report, as a TOML file that the filers write: who files together, what is carried in."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypeVar

from prometheus.foundation.errors import ConfigurationError
from prometheus.ledger.reports.amounts import FilingStatus
from prometheus.ledger.reports.form_8949 import BrokerReporting, Reporting
from prometheus.ledger.reports.returns import Carryover, Return, YearInput

_Choice = TypeVar("_Choice", FilingStatus, Reporting)
_RETURN: Final = frozenset(
    {"name", "taxpayers", "status", "carried_short", "carried_long", "carries_back", "earlier_losses", "years"}
)
_YEAR: Final = ("taxable_income", "short_term_elsewhere", "long_term_elsewhere", "capital_gain_distributions")
_TOP: Final = frozenset({"returns", "reporting", "funds", "cusips"})


@dataclass(frozen=True, slots=True)
class ReturnsFile:
    """What the file says.

    Attributes:
        returns: Who files together, with what only the filers know.
        reporting: What brokers report to the IRS, by account, and which tickers are funds.
        tickers: CUSIP number to ticker, for Forms 1099-B.
    """

    returns: tuple[Return, ...]
    reporting: BrokerReporting = field(default_factory=BrokerReporting)
    tickers: Mapping[str, str] = field(default_factory=dict)


def read_returns(text: str, where: str) -> ReturnsFile:
    """Read a file of returns.

    Args:
        text: TOML, as docs/specs/tax_reports.md shows it.
        where: What the file is called, for messages.

    Raises:
        ConfigurationError: It is no TOML, or has a key or a value that cannot be used; the message names it.
    """
    try:
        content = tomllib.loads(text, parse_float=str)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where} is no TOML: {error}.") from error
    _require_known(content, _TOP, where)
    returns = content.get("returns", [])
    if not isinstance(returns, list) or not all(isinstance(one, dict) for one in returns):
        raise ConfigurationError(f"{where}: write each return as a table [[returns]].")
    accounts = _texts(content.get("reporting", {}), f"{where}, reporting")
    funds = content.get("funds", [])
    if not isinstance(funds, list):
        raise ConfigurationError(f'{where}: write funds as a list, such as funds = ["VTSAX"].')
    return ReturnsFile(
        tuple(_return(one, f"{where}, return {number}") for number, one in enumerate(returns, 1)),
        BrokerReporting(
            accounts={name: _choice(Reporting, text, f"{where}, reporting") for name, text in accounts.items()},
            funds=frozenset(str(fund).upper() for fund in funds),
        ),
        {cusip.upper(): ticker.upper() for cusip, ticker in _texts(content.get("cusips", {}), where).items()},
    )


def _return(content: Mapping[str, Any], where: str) -> Return:
    _require_known(content, _RETURN, where)
    taxpayers = content.get("taxpayers", [content.get("name", "")])
    if not isinstance(taxpayers, list) or not all(isinstance(one, str) for one in taxpayers):
        raise ConfigurationError(f'{where}: write taxpayers as a list of names, such as taxpayers = ["Ann", "Bob"].')
    carries_back = content.get("carries_back", False)
    if not isinstance(carries_back, bool):
        raise ConfigurationError(f"{where}: carries_back is true or false.")
    opening = None
    if "carried_short" in content or "carried_long" in content:
        opening = Carryover(
            read_money(content.get("carried_short", "0"), f"{where}, carried_short"),
            read_money(content.get("carried_long", "0"), f"{where}, carried_long"),
        )
    return Return(
        name=str(content.get("name", " and ".join(taxpayers))),
        taxpayers=tuple(taxpayers),
        status=_choice(FilingStatus, content.get("status", "SINGLE"), f"{where}, status"),
        opening=opening,
        inputs={
            _year(year, where): _inputs(told, f"{where}, {year}")
            for year, told in _table(content.get("years", {}), where).items()
        },
        earlier_losses={
            _year(year, where): read_money(amount, f"{where}, earlier_losses of {year}")
            for year, amount in _table(content.get("earlier_losses", {}), where).items()
        },
        carries_back=carries_back,
    )


def _inputs(content: Any, where: str) -> YearInput:
    told = _table(content, where)
    _require_known(told, _YEAR, where)
    return YearInput(**{name: read_money(amount, f"{where}, {name}") for name, amount in told.items()})


def read_money(value: object, where: str) -> Decimal:
    """Return an amount that a person wrote, in whole cents.

    Raises:
        ConfigurationError: It is no amount of money.
    """
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or amount != round(amount, 2):
        raise ConfigurationError(f"{where}: '{value}' is no amount of money in cents.")
    return amount


def _year(text: str, where: str) -> int:
    if not (text.isdecimal() and len(text) == 4):
        raise ConfigurationError(f"{where}: '{text}' is no year.")
    return int(text)


def _table(content: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise ConfigurationError(f"{where}: '{content}' is no table.")
    return content


def _texts(content: Any, where: str) -> Mapping[str, str]:
    return {name: str(value) for name, value in _table(content, where).items()}


def _choice(kind: type[_Choice], text: object, where: str) -> _Choice:
    try:
        return kind(str(text).upper())
    except ValueError:
        raise ConfigurationError(f"{where}: '{text}' is none of {', '.join(kind)}.") from None


def _require_known(content: Iterable[str], known: Iterable[str], where: str) -> None:
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise ConfigurationError(f"{where}: '{unknown[0]}' is not known; known are {', '.join(sorted(known))}.")
