"""Where public sources leave an order or a reading open: the choices as settings, the defaults as the ledger books.

The alternatives and their sources are set out in docs/specs/tax_rules.md, "Tie rules".
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from prometheus.foundation.errors import ConfigurationError


class SameDayLosses(StrEnum):
    """Which of several losses of one day is matched first."""

    BY_ACQUISITION = "BY_ACQUISITION"
    BY_EXECUTION = "BY_EXECUTION"


class ReplacementOrder(StrEnum):
    """Which of several replacement purchases a loss meets first."""

    EARLIEST_FIRST = "EARLIEST_FIRST"
    LATEST_FIRST = "LATEST_FIRST"


class SameDayTrades(StrEnum):
    """Whether a day's sales or its purchases are booked first."""

    SALES_FIRST = "SALES_FIRST"
    PURCHASES_FIRST = "PURCHASES_FIRST"


class Tacking(StrEnum):
    """How the holding period of the shares sold passes to their replacement.

    DAYS_HELD adds the days for which the sold shares were held; ACQUISITION_DATE lets the replacement count from where
    the sold shares counted, so that days on which nothing was held count too.
    """

    DAYS_HELD = "DAYS_HELD"
    ACQUISITION_DATE = "ACQUISITION_DATE"


class EqualLots(StrEnum):
    """Which of several lots that a lot method ranks alike is sold first."""

    LOT_ID = "LOT_ID"
    SMALLEST_FIRST = "SMALLEST_FIRST"
    LARGEST_FIRST = "LARGEST_FIRST"


class WashScope(StrEnum):
    """Whose purchases wash a loss: the taxpayer's rule, or what a broker must report.

    HOUSEHOLD looks at all accounts and groups. ACCOUNT looks at one account and one security at a time. FORM_1099B does
    so too and reads 26 U.S.C. 1091(a) literally, as a broker's form does: shares bought in the window and sold
    again replace as well, and the loss goes to the shares that were sold.

    Source: Treas. Reg. 1.6045-1(d)(6)(iii) for the last two.
    """

    HOUSEHOLD = "HOUSEHOLD"
    ACCOUNT = "ACCOUNT"
    FORM_1099B = "FORM_1099B"


class SameDayShelter(StrEnum):
    """Which of two replacement purchases of one day comes first where only one is in a sheltered account.

    No source orders them. TAXABLE_FIRST keeps the loss in a basis; SHELTERED_FIRST loses it for good as far as the
    sheltered account bought.
    """

    TAXABLE_FIRST = "TAXABLE_FIRST"
    SHELTERED_FIRST = "SHELTERED_FIRST"


@dataclass(frozen=True, slots=True)
class TieRules:
    """The choices; each default is the reading that docs/specs/tax_rules.md argues for.

    ``earlier_purchases_replace``: whether shares bought before the shares sold, but inside the window, replace them.
    ``same_day_purchases_replace``: whether another lot bought on the day the sold shares were bought replaces them.
    """

    same_day_losses: SameDayLosses = SameDayLosses.BY_ACQUISITION
    replacement_order: ReplacementOrder = ReplacementOrder.EARLIEST_FIRST
    same_day_trades: SameDayTrades = SameDayTrades.SALES_FIRST
    tacking: Tacking = Tacking.DAYS_HELD
    equal_lots: EqualLots = EqualLots.LOT_ID
    scope: WashScope = WashScope.HOUSEHOLD
    same_day_shelter: SameDayShelter = SameDayShelter.TAXABLE_FIRST
    earlier_purchases_replace: bool = True
    same_day_purchases_replace: bool = True


DEFAULT_TIES = TieRules()


def tie_rules(choices: Mapping[str, str]) -> TieRules:
    """Return tie rules from texts, such as ``{"scope": "ACCOUNT"}``; what is not named keeps its default.

    Raises:
        ConfigurationError: A rule or a choice that is not known; the message lists those that are.
    """
    known = {rule.name: getattr(DEFAULT_TIES, rule.name) for rule in fields(TieRules)}
    chosen: dict[str, Any] = {}
    for name, choice in choices.items():
        if name not in known:
            raise ConfigurationError(f"There is no tie rule '{name}'; there are {', '.join(known)}.")
        kind = type(known[name])
        options = {"true": True, "false": False} if kind is bool else {option.value.lower(): option for option in kind}
        if choice.lower() not in options:
            raise ConfigurationError(f"'{choice}' is no choice for {name}; choose one of {', '.join(options)}.")
        chosen[name] = options[choice.lower()]
    return TieRules(**chosen)
