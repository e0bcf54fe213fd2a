"""Strategy parameters with their units, and how account tags override them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from prometheus.domain.rebalancing import CALENDARS, DAILY
from prometheus.foundation.canonical import JsonObject
from prometheus.foundation.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class StrategyParams:
    """The parameters of the strategy, merged for one account; stored with every run.

    Attributes:
        risk_aversion: g, weight on active variance (annualised), objective per unit of NAV. Positive.
        tax_weight: theta, weight on the tax of the day's sales. Non-negative.
        cost_bps: One-way trading cost (half spread and commission) in basis points of the traded value.
        cash_min: Least cash after trading, fraction of NAV.
        cash_max: Most cash after trading, fraction of NAV.
        max_weight: Largest weight of an asset, fraction of NAV.
        max_active_weight: Largest absolute active weight of an asset, fraction of NAV. A holding that is already
            outside is not forced back at once: its bound is widened to its present weight, so it may only move inwards.
        min_trade: Smallest notional of a trade, base currency; smaller ones are dropped after the solve.
        no_buy: Tickers that must not be bought.
        no_sell: Tickers that must not be sold.
        never_hold: Tickers that must not be bought, and whose target is zero.
        never_hold_sub_industries: Sub-industries treated like ``never_hold``.
        low_volatility_tilt: Linear reward, in bps of NAV per unit of weight, for one standard deviation of lower
            volatility across the universe.
        loss_sale_policy: ``forbid``: a loss lot is not sold while a purchase of the 30 days before (or one still
            unused as replacement) would wash the loss; ``allow``: it may be sold, with no tax benefit for the washed
            part and the disallowed loss booked.
        max_gap_bps: Largest certified gap before rounding that is accepted, bps of NAV.
        max_missing_price_share: Share of the universe that may lack a price for the day before the phase is held.
        solver: Name of the back-end.
        solver_tolerance: Feasibility and gap tolerance given to it.
        te_max: Largest ex ante tracking error after trading, annualised, as a fraction (0.02 is 2 % a year); hard.
        sector_active_max: Largest absolute active weight of a sector, fraction of NAV.
        factor_active_max: Largest absolute active exposure to each factor of the risk model, in units of its loadings.
        turnover_max: Largest one-way turnover of a run, (buys + sells) / 2, fraction of NAV.
        tax_budget: Largest net realised gain of a run, fraction of NAV; negative asks for a net loss.
        tax_budget_ytd: Largest net realised gain of the calendar year, fraction of NAV. What the year has realised
            before the run is subtracted.
        max_names: Largest number of assets held after trading.
        long_max: Long/short extension: largest sum of long positions after trading, fraction of NAV; short positions
            may add up to this minus one, in assets with a borrow rate and down to ``max_active_weight`` below the
            benchmark weight. One, the default, is long only.
        unfilled_orders: ``hold``: a day waits while orders of the account's run before are neither filled nor settled
            by a person; ``trade``, the default: it trades from the books as they are, with a flag.
        harvest_min_share: A loss counts for the tax only where it exceeds this share of the lot's basis (0.02 is 2 %).
        harvest_sigma: And only where it exceeds so many standard deviations of the asset over the 31 days of a lock:
            this times its annualised volatility times sqrt(31/365). Zero for both, the default, counts every loss.
        rebalance: ``daily``, the default: every day rebalances the whole account. ``weekly``, ``monthly``: the first
            session of a week or month does; other days trade only what needs it (docs/specs/rebalancing.md).
        order_cost: Fixed cost of an order whatever its size, base currency: ticket charges, settlement, work.
        order_cost_bps: The same in bps of NAV. The larger of the two counts. An asset is traded where its trade is
            worth more than that; it is weighed in the objective and not taken from cash. Zero for both, the default, is
            off.

        From ``te_max`` to ``max_names`` the upper end of the allowed range, which is the default, means no limit.
    """

    risk_aversion: float = 10.0
    tax_weight: float = 1.0
    cost_bps: float = 5.0
    cash_min: float = 0.0
    cash_max: float = 0.02
    max_weight: float = 0.10
    max_active_weight: float = 0.02
    min_trade: float = 100.0
    no_buy: tuple[str, ...] = ()
    no_sell: tuple[str, ...] = ()
    never_hold: tuple[str, ...] = ()
    never_hold_sub_industries: tuple[str, ...] = ()
    low_volatility_tilt: float = 0.0
    loss_sale_policy: str = "forbid"
    max_gap_bps: float = 5.0
    max_missing_price_share: float = 0.05
    solver: str = "CLARABEL"
    solver_tolerance: float = 1e-9
    te_max: float = 1.0
    sector_active_max: float = 1.0
    factor_active_max: float = 100.0
    turnover_max: float = 1.0
    tax_budget: float = 1.0
    tax_budget_ytd: float = 1.0
    max_names: int = 100_000
    long_max: float = 1.0
    unfilled_orders: str = "trade"
    harvest_min_share: float = 0.0
    harvest_sigma: float = 0.0
    rebalance: str = DAILY
    order_cost: float = 0.0
    order_cost_bps: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values outside their range.

        Raises:
            ConfigurationError: Names the parameter, its value and the allowed range.
        """
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
                raise ConfigurationError(f"strategy parameter {name} = {value!r} must be a number in [{low}, {high}].")
        for name in ("solver", "loss_sale_policy"):
            word = getattr(self, name)
            if not isinstance(word, str):
                raise ConfigurationError(f"strategy parameter {name} = {word!r} must be a name, as text.")
        if self.limit("max_names") != int(self.max_names) and self.limit("max_names") != float("inf"):
            raise ConfigurationError(f"strategy parameter max_names = {self.max_names!r} must be a whole number.")
        if self.cash_min > self.cash_max:
            raise ConfigurationError(f"cash_min {self.cash_min} exceeds cash_max {self.cash_max}.")
        if self.long_max > 1 and self.limit("max_names") != float("inf"):
            raise ConfigurationError(
                f"long_max {self.long_max} allows short positions, which max_names {self.max_names} cannot count; set "
                "one of the two."
            )
        if self.loss_sale_policy not in {"forbid", "allow"}:
            raise ConfigurationError(f"loss_sale_policy {self.loss_sale_policy!r} must be 'forbid' or 'allow'.")
        if self.unfilled_orders not in {"trade", "hold"}:
            raise ConfigurationError(f"unfilled_orders {self.unfilled_orders!r} must be 'trade' or 'hold'.")
        if self.rebalance not in CALENDARS:
            raise ConfigurationError(f"rebalance {self.rebalance!r} must be one of {', '.join(CALENDARS)}.")

    def limit(self, name: str) -> float:
        """Return the value of a limit, infinity where it is at the end of its range that means no limit."""
        value = float(getattr(self, name))
        return float("inf") if value >= _RANGES[name][1] else value

    def as_dict(self) -> JsonObject:
        """Return the parameters as JSON types, lists sorted as given."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: JsonObject) -> "StrategyParams":
        """Build parameters from a mapping; absent ones keep their default.

        Raises:
            ConfigurationError: An unknown name or a value out of range.
        """
        return cls().overridden(values)

    def overridden(self, overrides: JsonObject) -> "StrategyParams":
        """Return a copy with ``overrides``; lists add to what is there, numbers and words replace it."""
        known = {field.name for field in fields(self)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise ConfigurationError(
                f"unknown strategy parameter {unknown[0]!r}; known are {', '.join(sorted(known))}."
            )
        changes: dict[str, Any] = {}
        for name, value in overrides.items():
            current = getattr(self, name)
            if isinstance(current, tuple):
                if isinstance(value, str) or not isinstance(value, Sequence):
                    raise ConfigurationError(f"strategy parameter {name} takes a list, not {value!r}.")
                unnamed = [item for item in value if not isinstance(item, str)]
                if unnamed:
                    raise ConfigurationError(f"strategy parameter {name} lists names as text, not {unnamed[0]!r}.")
                changes[name] = current + tuple(item for item in value if item not in current)
            else:
                changes[name] = value
        return replace(self, **changes)


_RANGES: Final[dict[str, tuple[float, float]]] = {
    "risk_aversion": (1e-6, 1e6),
    "tax_weight": (0.0, 100.0),
    "cost_bps": (0.0, 1000.0),
    "cash_min": (0.0, 1.0),
    "cash_max": (0.0, 1.0),
    "max_weight": (0.0, 1.0),
    "max_active_weight": (0.0, 1.0),
    "min_trade": (0.0, 1e12),
    "low_volatility_tilt": (0.0, 1000.0),
    "max_gap_bps": (0.0, 1e4),
    "max_missing_price_share": (0.0, 1.0),
    "solver_tolerance": (1e-13, 1e-3),
    "te_max": (1e-4, 1.0),
    "sector_active_max": (0.0, 1.0),
    "factor_active_max": (0.0, 100.0),
    "turnover_max": (0.0, 1.0),
    "tax_budget": (-1.0, 1.0),
    "tax_budget_ytd": (-1.0, 1.0),
    "max_names": (1, 100_000),
    "long_max": (1.0, 2.0),
    "harvest_min_share": (0.0, 1.0),
    "harvest_sigma": (0.0, 100.0),
    "order_cost": (0.0, 1e6),
    "order_cost_bps": (0.0, 100.0),
}


def merge_tag_overrides(
    params: StrategyParams, tag_overrides: Mapping[str, JsonObject], tags: Sequence[str]
) -> tuple[StrategyParams, tuple[str, ...]]:
    """Apply the overrides that an account's tags select, in the order of the tags.

    A mapping key is a tag, or ends in ``*``: then the rest of the tag replaces ``{}`` in the override's texts, so that
    ``restrict:employer-*`` with ``{"no_buy": ["{}"]}`` serves every employer.

    Returns:
        The merged parameters and the tags that no key matched (to be flagged on the run, never silently dropped).

    Raises:
        ConfigurationError: An override names an unknown parameter or a value out of range.
    """
    unmatched: list[str] = []
    for tag in tags:
        overrides, rest = _find_override(tag_overrides, tag)
        if overrides is None:
            unmatched.append(tag)
            continue
        try:
            params = params.overridden({name: _fill(value, rest) for name, value in overrides.items()})
        except ConfigurationError as error:
            raise ConfigurationError(f"account tag '{tag}': {error.message}") from error
    return params, tuple(unmatched)


def _find_override(tag_overrides: Mapping[str, JsonObject], tag: str) -> tuple[JsonObject | None, str]:
    if tag in tag_overrides:
        return tag_overrides[tag], ""
    patterns = [key for key in tag_overrides if key.endswith("*") and tag.startswith(key[:-1]) and len(tag) >= len(key)]
    if not patterns:
        return None, ""
    longest = max(patterns, key=len)
    return tag_overrides[longest], tag[len(longest) - 1 :]


def _fill(value: Any, rest: str) -> Any:
    if isinstance(value, str):
        return value.replace("{}", rest)
    if isinstance(value, list | tuple):
        return [_fill(item, rest) for item in value]
    return value
