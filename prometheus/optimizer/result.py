"""The answer: certified trades, their costs, and the proof of how good they are."""

from dataclasses import dataclass

from prometheus.optimizer.problem.rebalance_problem import FloatArray


@dataclass(frozen=True, slots=True)
class ObjectiveTerms:
    """Parts of the objective, fractions of NAV a year; they add to ``total``. ``orders`` is what the orders cost."""

    active_risk: float
    trading_cost: float
    tax: float
    tilt: float
    borrow: float = 0.0
    orders: float = 0.0

    @property
    def total(self) -> float:
        """Return the sum of the parts."""
        return self.active_risk + self.trading_cost + self.tax + self.tilt + self.borrow + self.orders


@dataclass(frozen=True, slots=True)
class Certificate:
    """Proof of quality from the problem data alone.

    Attributes:
        lower_bound: No trade list that obeys the rules has a lower objective.
        objective: Objective of the continuous solution, before rounding.
        gap_bps: 1e4 times (objective - lower_bound), bps of NAV.
        rounded_objective: Objective of the rounded trades.
        rounded_gap_bps: 1e4 times (rounded_objective - rounded_lower_bound).
        rounded_lower_bound: Bound over rounded trades (whole shares, minimum trade); at least ``lower_bound``.
        rounding_allowance_bps: What single shares may cost beside that bound, bps of NAV (rounding/allowance.py); a gap
            after rounding is accepted up to the account's limit plus this.
        max_violation: Largest constraint violation of the rounded trades, fraction of NAV, recomputed from the data.
    """

    lower_bound: float
    objective: float
    gap_bps: float
    rounded_objective: float
    rounded_gap_bps: float
    rounded_lower_bound: float
    max_violation: float
    rounding_allowance_bps: float = 0.0


@dataclass(frozen=True, slots=True)
class SolverFacts:
    """What the back-end reports about itself; for information, not part of the proof."""

    backend: str
    status: str
    iterations: int
    tolerance: float
    version: str
    solve_seconds: float
    total_seconds: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """The reason why one asset is traded, or why the cost of an order prevents it (``trade`` is zero then).

    The parts are slopes at the trades before rounding, in bps of NAV for one unit of weight bought (negative: buying
    more would pay). With ``bound`` they add to zero; ``bound`` itself is zero where the trade is strictly inside a
    piece of the asset's cost.

    Attributes:
        ticker: The asset.
        trade: Trade after rounding, fraction of NAV, positive buys.
        active_risk: Slope of the active-risk term.
        tax: Slope of the tax of the lot at the margin; zero for a purchase.
        trading_cost: Slope of the trading cost.
        tilt: Slope of the tilt.
        cash: Price of the cash range.
        limits: Name and price of each binding limit (tracking error, sectors, factors, turnover, realised gain).
        bound: What the asset's own bound, the edge of its lot or the step at no trade holds back.
        reason: One sentence.
        borrow: Slope of the borrow cost; zero while the asset is not short.
    """

    ticker: str
    trade: float
    active_risk: float
    tax: float
    trading_cost: float
    tilt: float
    cash: float
    limits: tuple[tuple[str, float], ...]
    bound: float
    reason: str
    borrow: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class RebalanceResult:
    """A certified answer to one problem.

    Attributes:
        trades: (N,) u before rounding, fraction of NAV, positive buys.
        target_weights: (N,) h + u before rounding.
        shares: (N,) signed whole steps of shares to trade after rounding, in shares.
        lot_shares_sold: (L,) shares sold of each lot by the account's lot order; sums to -shares of the sold assets.
        rounded_weights: (N,) weights after the rounded trades.
        terms: Objective terms of the rounded trades.
        certificate: See Certificate.
        tracking_error_before: Annualised, ex ante, of h against the benchmark.
        tracking_error_after: Of the rounded weights.
        turnover: One-way: (sum of buys + sum of sells) / 2, fraction of NAV.
        cash_after: Fraction of NAV after trades, costs and the cash flow.
        facts: See SolverFacts.
        coarse_names: The assets whose single shares may cost most, with the weight of one, the costliest first.
        explanations: Reason of each trade after rounding, in the order of the assets; where an order has a cost also
            the assets whose trade is nearest to being worth it.
    """

    trades: FloatArray
    target_weights: FloatArray
    shares: FloatArray
    lot_shares_sold: FloatArray
    rounded_weights: FloatArray
    terms: ObjectiveTerms
    certificate: Certificate
    tracking_error_before: float
    tracking_error_after: float
    turnover: float
    cash_after: float
    facts: SolverFacts
    explanations: tuple[Explanation, ...] = ()
    coarse_names: tuple[tuple[str, float], ...] = ()
