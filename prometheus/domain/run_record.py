"""The immutable record of a run as it stands in its tables, column by column; nothing here trusts what it reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from prometheus.foundation.canonical import CanonicalText, JsonObject, JsonValue

#: A JSON document: as its text where this process wrote it, as JSON types where it was read.
Document = CanonicalText | JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRow:
    """One line of a run's trade list: columns of ``run_trades`` but for its keys.

    Side and term are the stored words, whatever they say. Amounts are cents of the base currency; basis, gain, term,
    disallowed loss and tax are None for a purchase, the lot for a short sale.
    """

    ticker: str
    side: str
    lot_id: str | None
    acquired_on: date | None
    quantity: Decimal
    price: Decimal
    amount: Decimal
    cost: Decimal
    basis: Decimal | None
    realized_gain: Decimal | None
    term: str | None
    disallowed_loss: Decimal | None
    tax: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledTotals:
    """What the settlement of a run adds up to, in the base currency.

    Attributes:
        cash_after: Cash after the trades.
        gain_short: Realised short-term gain; negative for a loss, like the two that follow.
        gain_long: Realised long-term gain.
        gain_other: Realised gain without a term.
        disallowed_loss: Losses that wash-sale rules disallow.
        tax: Tax of the gains; negative where losses reduce other tax.
        cost: Estimated trading costs.
        trades: Number of securities traded, each side counted.
    """

    cash_after: Decimal
    gain_short: Decimal
    gain_long: Decimal
    gain_other: Decimal
    disallowed_loss: Decimal
    tax: Decimal
    cost: Decimal
    trades: int

    @classmethod
    def from_json(cls, settlement: JsonValue) -> "SettledTotals":
        """Return the totals from the member ``settlement`` of a stored result."""
        assert isinstance(settlement, Mapping)  # written by decision.run_record
        stored = {name: str(value) for name, value in settlement.items()}
        return cls(
            cash_after=Decimal(stored["cash_after"]),
            gain_short=Decimal(stored["realized_gain_short"]),
            gain_long=Decimal(stored["realized_gain_long"]),
            gain_other=Decimal(stored["realized_gain_other"]),
            disallowed_loss=Decimal(stored["disallowed_loss"]),
            tax=Decimal(stored["tax"]),
            cost=Decimal(stored["cost"]),
            trades=int(stored["trades"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a run records of its decision: columns of ``runs`` but for keys, place in the chain and digests.

    Attributes:
        account_id: The account.
        as_of_date: The day.
        status: OPTIMAL or NON_OPTIMAL.
        solver: Back-end that answered.
        solver_tolerance: Residual that was asked for.
        solver_status: What the back-end said of itself.
        iterations: Of the back-end.
        objective: Of the rounded trades, fraction of NAV a year; None without an answer, like the three that follow.
        lower_bound: No trade list that obeys the rules has a lower objective.
        gap_bps: Certified gap before rounding, bps of NAV.
        rounded_gap_bps: Certified gap after it.
        code_version: Which code decided.
        library_versions: Of Python and of the libraries that produce numbers.
        timings: Seconds by step.
        strategy_id: The strategy.
        strategy_version: Its version.
        risk_model_id: The risk model.
        loadings_sha256: Content address of its loadings.
        specific_variance_sha256: Content address of its specific variances.
        snapshot: Stored form of the frozen inputs; None where the run was archived, like the two that follow.
        params_snapshot: Merged strategy parameters.
        result: Stored form of the answer, with what its settlement adds up to.
        flags: Code and sentence of what was unusual.
    """

    account_id: str
    as_of_date: date
    status: str
    solver: str
    solver_tolerance: float
    solver_status: str
    iterations: int
    objective: float | None
    lower_bound: float | None
    gap_bps: float | None
    rounded_gap_bps: float | None
    code_version: str
    library_versions: Mapping[str, str]
    timings: Mapping[str, float]
    strategy_id: str
    strategy_version: int
    risk_model_id: int
    loadings_sha256: bytes
    specific_variance_sha256: bytes
    snapshot: Document | None
    params_snapshot: Document | None
    result: Document | None
    flags: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun(RunRecord):
    """A run that was written: its record, its number and its place in the account's chain of hashes.

    Attributes:
        run_seq: Number within the account.
        digests: What ``run_hash`` is taken over (``db.run_digests``), JSON types.
        prev_hash: Hash of the account's run before; None for its first.
        run_hash: Hash of the run.
        run_id: The engine run; None where it was read from a file.
        archive_id: The archive that holds its documents and trades; None where they are in place.
        recorded_at: When it was written; None where it was read from a file.
    """

    run_seq: int
    digests: JsonObject
    prev_hash: bytes | None
    run_hash: bytes
    run_id: int | None = None
    archive_id: int | None = None
    recorded_at: datetime | None = None

    def document(self, name: str) -> JsonObject:
        """Return one of the three documents as JSON types; the run must not be archived."""
        document = {"snapshot": self.snapshot, "params_snapshot": self.params_snapshot, "result": self.result}[name]
        assert isinstance(document, Mapping)  # a run is read with its documents as JSON types
        return document
