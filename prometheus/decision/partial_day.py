"""What a day trades: the whole problem, or on a partial day what of it cannot wait for the next whole rebalancing.

Source: docs/specs/rebalancing.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np

from prometheus.decision.day_result import RebalancingNote
from prometheus.decision.problem_from_snapshot import Matrices, build_problem
from prometheus.decision.snapshot import Snapshot
from prometheus.domain.rebalancing import ReasonCode, Rebalancing, Scope
from prometheus.domain.strategy import StrategyParams
from prometheus.optimizer.problem.lot_order import LotOrder, lot_order
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, RebalanceProblem, read_only
from prometheus.optimizer.problem.trade_range import CASH_TOLERANCE, WEIGHT_TOLERANCE
from prometheus.optimizer.verification import FEASIBILITY_TOLERANCE, violations_of_weights

#: Rules that have a reason of their own.
_OTHER_RULES: Final = frozenset({"bounds", "cash range"})


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason to trade on a partial day, and the assets or limits it concerns; none for cash."""

    code: ReasonCode
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class DayProblem:
    """What a day asks the optimizer.

    Attributes:
        problem: What it is asked first.
        whole: The problem of a whole rebalancing, for where the reasons cannot be met by their assets alone.
        kind: Of the day.
        reasons: Why a partial day trades; empty on a whole one, and where nothing needs a trade.
        scope: What may trade in ``problem``.
        as_of: The day.
        last_whole: Day of the last whole rebalancing before; None where there was none.
    """

    problem: RebalanceProblem
    whole: RebalanceProblem
    kind: Rebalancing
    reasons: tuple[Reason, ...]
    scope: Scope
    as_of: date
    last_whole: date | None

    def record(self, scope: Scope, *, certified: bool) -> RebalancingNote:
        """Return what a run's result keeps of it.

        ``whole_on`` is the day of the last whole rebalancing once this run stands: a whole one without a certified
        answer is none.

        Args:
            scope: What could trade in the problem that was answered in the end.
            certified: Whether there is an answer.
        """
        counts = certified and self.kind is Rebalancing.WHOLE
        return RebalancingNote(
            kind=self.kind,
            scope=scope,
            reasons=tuple((reason.code.value, *reason.subjects) for reason in self.reasons),
            last_whole=self.last_whole,
            whole_on=self.as_of if counts else self.last_whole,
        )


def day_problem(snapshot: Snapshot, params: StrategyParams, matrices: Matrices) -> DayProblem:
    """Return what a snapshot's day asks the optimizer under merged strategy parameters.

    Args:
        snapshot: The account's day; its kind was frozen with it.
        params: Merged strategy parameters.
        matrices: The decoded risk model and benchmark.
    """
    return problem_of_day(build_problem(snapshot, params, matrices), snapshot)


def problem_of_day(whole: RebalanceProblem, snapshot: Snapshot) -> DayProblem:
    """Return what the day asks, given the problem of a whole rebalancing.

    Args:
        whole: The problem in which every asset may trade.
        snapshot: The account's day.
    """
    reasons: tuple[Reason, ...] = ()
    problem, scope = whole, Scope.ALL
    if snapshot.rebalancing is Rebalancing.PARTIAL:
        needs = _Needs.of(whole)
        reasons = tuple(needs.reasons())
        scope, problem = needs.part()
    return DayProblem(problem, whole, snapshot.rebalancing, reasons, scope, snapshot.as_of, snapshot.last_whole)


@dataclass(frozen=True, slots=True, eq=False)
class _Needs:
    """What a problem cannot leave as it stands.

    Attributes:
        problem: The problem of a whole rebalancing.
        restricted: (N,) True where the holding is above its greatest weight and must be sold down to it, or short below
            its least weight and must be covered up to it.
        harvest: (N,) weight of the lots that are worth selling for their losses; zero for none.
        limits: Limits that join the assets and are broken by trading nothing, by name.
    """

    problem: RebalanceProblem
    restricted: BoolArray
    harvest: FloatArray
    limits: tuple[str, ...]

    @classmethod
    def of(cls, problem: RebalanceProblem) -> "_Needs":
        held = problem.holdings()
        restricted = (held - problem.upper > WEIGHT_TOLERANCE) | _to_cover(problem)
        broken = [
            violation
            for violation in violations_of_weights(problem, np.zeros(problem.size))
            if violation.rule not in _OTHER_RULES and violation.amount > FEASIBILITY_TOLERANCE
        ]
        return cls(
            problem,
            restricted,
            worth_harvesting(problem, lot_order(problem)),
            tuple(dict.fromkeys(violation.subject or violation.rule for violation in broken)),
        )

    def reasons(self) -> Iterator[Reason]:
        """Yield the reasons to trade, what must be done before what is worth it."""
        tickers = self.problem.tickers
        if self.restricted.any():
            yield Reason(ReasonCode.RESTRICTED, tuple(tickers[i] for i in np.flatnonzero(self.restricted)))
        if self.limits:
            yield Reason(ReasonCode.LIMIT, self.limits)
        if self._is_low(self._cash()):
            yield Reason(ReasonCode.CASH_LOW)
        if self._is_high(self._cash()):
            yield Reason(ReasonCode.CASH_HIGH)
        harvested = np.flatnonzero(self.harvest)
        if len(harvested):
            yield Reason(ReasonCode.HARVEST, tuple(tickers[i] for i in harvested))

    def part(self) -> tuple[Scope, RebalanceProblem]:
        """Return what may trade, and the problem that says so."""
        problem, cash = self.problem, self._cash()
        if self.limits:
            # A limit that joins assets belongs to all of them: none of them can be told to repair it.
            return Scope.ALL, problem
        held = problem.holdings()
        covered = _to_cover(problem)
        forced = np.where(self.restricted & ~covered, held - problem.upper, 0.0)
        short = self._is_low(cash + float((forced * (1 - problem.cost_rate)).sum()))
        spare = self._is_high(cash)
        moved = self.restricted | (self.harvest > 0)
        # Like the bounds of an asset, the range of cash is widened to its present value, unless that is a reason.
        least = problem.cash_min if self._is_low(cash) else min(problem.cash_min, cash)
        most = problem.cash_max if spare else max(problem.cash_max, cash)
        if not (short or spare or moved.any()):
            nobody = read_only(np.zeros(problem.size), np.bool_)
            return Scope.NOTHING, replace(problem, can_buy=nobody, can_sell=nobody, cash_min=least, cash_max=most)
        lower = problem.lower
        if not short:
            # An asset with a loss to harvest gives the lots up to that loss, and what else it holds waits.
            only = (self.harvest > 0) & ~self.restricted
            lower = np.where(only, np.maximum(lower, np.minimum(held - self.harvest, held)), lower)
        return Scope.REASONS, replace(
            problem,
            can_sell=read_only(problem.can_sell & (short | moved), np.bool_),
            # Where cash is short every sale goes to it, but for what must be covered.
            can_buy=read_only(problem.can_buy & (covered | (not short)), np.bool_),
            lower=read_only(lower),
            cash_min=least if spare else self._kept_cash(least, most),
            cash_max=most,
        )

    def _cash(self) -> float:
        return self.problem.cash + self.problem.cash_flow

    def _is_low(self, cash: float) -> bool:
        """Return whether cash lacks as much as the smallest order raises, or is overdrawn."""
        problem = self.problem
        short = problem.cash_min - cash
        return short > max(problem.min_trade, CASH_TOLERANCE) or (cash < 0 and short > CASH_TOLERANCE)

    def _is_high(self, cash: float) -> bool:
        """Return whether cash exceeds its range by as much as the smallest order takes."""
        return cash - self.problem.cash_max > max(self.problem.min_trade, CASH_TOLERANCE)

    def _kept_cash(self, least: float, most: float) -> float:
        """Return the least cash where purchases only replace what is sold: what there is, as far as the range holds it.

        Two steps of the cheapest asset stay free, as in every range: whole shares cannot hit a narrower one.
        """
        problem = self.problem
        two_steps = 2 * float((problem.share_step * problem.prices).min()) / problem.nav
        return max(least, min(self._cash(), most - two_steps))


def _to_cover(problem: RebalanceProblem) -> BoolArray:
    """Return (N,) True where the account is short below the asset's least weight."""
    held = problem.holdings()
    to_cover: BoolArray = (held < 0) & (problem.lower - held > WEIGHT_TOLERANCE)
    return to_cover


def worth_harvesting(problem: RebalanceProblem, order: LotOrder) -> FloatArray:
    """Return (N,) the weight of each asset's lots that are worth selling for their losses, zero where none are.

    They are its first lots in selling order, as many as save most: the tax of their losses, as far as the problem
    counts it, less the cost of selling them and of buying as much of another asset, that of the two orders included.
    The sale must be large enough to be placed.

    Args:
        problem: The problem of a whole rebalancing.
        order: Its sellable lots.
    """
    worth = np.zeros(problem.size)
    saving = (problem.lot_tax[order.lot] < 0) & ~order.short if len(problem.lot_id) else order.short & False
    for i in np.unique(order.asset[saving]):
        if not problem.can_sell[i]:
            continue
        mine = order.of_name(int(i))
        own = ~order.short[mine]
        lots, size = order.lot[mine][own], order.size[mine][own]
        saved = np.cumsum(-problem.tax_weight * problem.lot_tax[lots] * size - 2 * problem.cost_rate[i] * size)
        saved -= 2 * problem.order_cost
        best = int(np.argmax(saved))
        sold = float(size[: best + 1].sum())
        placeable = sold >= problem.min_trade or best == len(size) - 1
        if saved[best] > 0 and placeable:
            worth[i] = sold
    return worth
