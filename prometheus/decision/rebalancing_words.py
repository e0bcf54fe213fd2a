"""What could trade on a run's day, and why, as a sentence for people."""

from collections.abc import Mapping, Sequence
from typing import Final

from prometheus.decision.day_result import RebalancingNote
from prometheus.domain.rebalancing import ReasonCode, Rebalancing, Scope

_WORDS: Final[Mapping[str, str]] = {
    ReasonCode.RESTRICTED: "restricted securities held",
    ReasonCode.LIMIT: "limits out of range",
    ReasonCode.CASH_LOW: "cash below its range",
    ReasonCode.CASH_HIGH: "cash above its range",
    ReasonCode.HARVEST: "losses beyond the harvest trigger",
}
#: Names told of a reason; the record has all.
_NAMED: Final = 8


def rebalancing_words(told: RebalancingNote | None) -> str:
    """Return what could trade and why, in words; empty for a run recorded when every day was a whole rebalancing.

    Args:
        told: ``rebalancing`` of the run's result.
    """
    if told is None:
        return ""
    last = told.last_whole
    if told.kind is Rebalancing.WHOLE:
        return "whole, the account's first" if last is None else f"whole, the last one was on {last}"
    after = f"the last whole rebalancing was on {last}"
    if told.scope is Scope.NOTHING:
        return f"no reason to trade; {after}"
    reasons = "; ".join(_reason(code, subjects) for code, *subjects in told.reasons)
    wide = "; every asset may trade" if told.scope is Scope.ALL else ""
    return f"partial: {reasons}{wide}; {after}"


def _reason(code: str, subjects: Sequence[str]) -> str:
    if not subjects:
        return _WORDS[code]
    more = f" and {len(subjects) - _NAMED} more" if len(subjects) > _NAMED else ""
    return f"{_WORDS[code]}: {', '.join(subjects[:_NAMED])}{more}"
