"""A run's record as a problem file."""

import json
from dataclasses import fields, replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from prometheus.decision.partial_day import day_problem
from prometheus.decision.problem_file.export import differing_fields, export_problem
from prometheus.decision.problem_file.reading import read_problem
from prometheus.decision.problem_from_snapshot import CorrelationBlock, Matrices, build_problem
from prometheus.decision.snapshot import LockRecord, Snapshot, UniverseName
from prometheus.domain.accounts import TaxRates
from prometheus.domain.lots import RecentTrade, ShortPosition, Side, TaxLot
from prometheus.domain.rebalancing import Rebalancing, Scope
from prometheus.foundation.errors import PrometheusError
from prometheus.optimizer.problem.rebalance_problem import SpecificBlock
from tests.unit.decision.problem_file.small_problem import EXAMPLE, changed, read, small_document


def exported(file_problem, snapshot=None, targets=None):
    """Export a problem that was read from a file, perhaps with another snapshot."""
    return export_problem(
        snapshot or file_problem.snapshot, file_problem.params.as_dict(), file_problem.matrices, targets
    )


def example():
    """Return the example as a run could have it: one cost for all, and purchases that say what is unreplaced."""
    document = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    for asset in document["assets"]:
        asset.pop("cost", None)
    for trade in document["recent_trades"]:
        if trade["side"] == "BUY":
            trade["unreplaced"] = trade["quantity"]
    return read(document)


def test_exported_file_is_the_same_problem_bit_for_bit():
    """Export and reading back change nothing: not the problem, nor the lots, the trades and the locks' causes."""
    file_problem = example()
    # As a run has it: through the stored form of its snapshot.
    stored = Snapshot.from_json(json.loads(json.dumps(file_problem.snapshot.to_json())))
    back = read_problem(exported(file_problem, stored, {"ALPH": 0.1}).encode(), "back.json")
    assert differing_fields(file_problem.optimizer_problem(), back.optimizer_problem()) == ()
    assert back.snapshot.lots == file_problem.snapshot.lots
    assert back.snapshot.buy_locks == file_problem.snapshot.buy_locks
    assert back.snapshot.loss_sale_locks == file_problem.snapshot.loss_sale_locks
    assert back.snapshot.account_id == "EXAMPLE"
    assert back.params == file_problem.params
    assert back.previous_targets == {"ALPH": 0.1}


def test_export_has_a_line_for_each_entry():
    """Each asset, lot and trade stands on a line of its own, so that two files can be compared line by line."""
    lines = exported(example()).splitlines()
    assert sum(line.startswith('    {"ticker"') and '"loadings"' in line for line in lines) == 12
    assert sum(line.startswith('    {"lot_id"') for line in lines) == 14
    assert lines[0] == "{"
    assert lines[-1] == "}"


def test_names_unknown_to_the_risk_model_get_what_the_engine_gave_them():
    """A name without a row in the matrices is exported with the loadings and variance of its day's problem."""
    file_problem = read(small_document())
    names = list(file_problem.snapshot.universe)
    names[1] = replace(names[1], risk_index=-1, benchmark_index=-1)
    snapshot = replace(file_problem.snapshot, universe=tuple(names))
    matrices = Matrices(
        file_problem.matrices.loadings.astype(np.float32),
        file_problem.matrices.specific_variance.astype(np.float32),
        file_problem.matrices.benchmark_weights,
    )
    problem = build_problem(snapshot, file_problem.params, matrices)
    text = export_problem(snapshot, file_problem.params.as_dict(), matrices, None)
    back = read_problem(text.encode(), "back.json")
    assert differing_fields(problem, back.optimizer_problem()) == ()
    asset = json.loads(text)["assets"][1]
    assert asset["benchmark_weight"] == 0.0
    assert asset["loadings"] == matrices.loadings.astype(float).mean(axis=0).tolist()


def test_linked_names_are_exported_with_the_correlations_of_the_universe():
    """Names that the model does not know or the universe lacks leave a block; the rest is the same problem."""
    file_problem = read(small_document())
    names = [replace(name, risk_index=i) for name, i in zip(file_problem.snapshot.universe, (2, -1, 0, 4), strict=True)]
    random = np.random.default_rng(3)
    loadings = random.normal(size=(6, 2)).astype(np.float32)
    variance = np.array([0.04, 0.05, 0.06, 0.07, 0.08, 0.09], dtype=np.float32)
    cause = random.normal(0.5, 0.2, 5)
    correlation = np.outer(cause, cause)
    correlation[np.diag_indices(5)] = 1.0
    linked = (CorrelationBlock(np.array([0, 1, 2, 3, 4]), correlation.astype(np.float32)),)
    matrices = Matrices(loadings, variance, file_problem.matrices.benchmark_weights, linked)
    snapshot = replace(file_problem.snapshot, universe=tuple(names))
    problem = build_problem(snapshot, file_problem.params, matrices)
    text = export_problem(snapshot, file_problem.params.as_dict(), matrices, None)
    back = read_problem(text.encode(), "back.json").optimizer_problem()
    assert differing_fields(problem, back) == ()
    (block,) = problem.specific_blocks
    assert block.names.tolist() == [0, 2, 3]
    expected = float(np.float32(correlation[2, 0])) * np.sqrt(float(variance[2]) * float(variance[0]))
    assert block.covariance[0, 1] == pytest.approx(expected, rel=1e-14)
    assert np.diag(block.covariance).tolist() == [float(variance[i]) for i in (2, 0, 4)]
    other = replace(problem, specific_blocks=(SpecificBlock(block.names, block.covariance * 1.0),))
    assert differing_fields(problem, other) == ()
    assert differing_fields(problem, replace(problem, specific_blocks=())) == ("specific_blocks",)


def test_name_priced_earlier_keeps_its_date():
    """The day of an older price is exported, so that the name stays untraded."""
    file_problem = read(changed(small_document(), ("assets", 1, "price_date"), "2026-11-13"))
    assets = json.loads(exported(file_problem))["assets"]
    assert [asset.get("price_date") for asset in assets] == [None, "2026-11-13", None, None]


def test_group_of_a_name_that_left_is_taken_from_its_lock():
    """A ticker outside the universe whose loss sale locks a group is exported with that group, others without."""
    file_problem = read(small_document())
    gone = RecentTrade("OLD", date(2026, 11, 3), Side.SELL, Decimal(10), Decimal("-20.50"))
    other = replace(gone, ticker="ELSE", realized_gain=Decimal(30))
    lock = LockRecord("CCC", date(2026, 12, 3), "sold 10 OLD at a loss of 20.50 on 2026-11-03")
    text = exported(file_problem, replace(file_problem.snapshot, recent_trades=(gone, other), buy_locks=(lock,)))
    assert [trade.get("group") for trade in json.loads(text)["recent_trades"]] == ["CCC", None]
    assert read_problem(text.encode(), "back.json").snapshot.buy_locks == (lock,)


def test_a_household_comes_back():
    """Trades of other accounts and a sheltered account are in the file, and come back as they were."""
    file_problem = read(small_document())
    day = date(2026, 11, 3)
    bought = RecentTrade("CCC", day, Side.BUY, Decimal(10), unreplaced=Decimal(4), account="ROTH-1")
    sold = RecentTrade("DDD", day, Side.SELL, Decimal(1), Decimal(-5), account="ACC-2", denied_for_good=Decimal("1.50"))
    lock = LockRecord("DDD", date(2026, 12, 3), "sold 1 DDD at a loss of 5 on 2026-11-03 in account ACC-2")
    snapshot = replace(
        file_problem.snapshot,
        recent_trades=(bought, replace(sold, lot_id="ACC-2:L1", acquired_on=day)),
        buy_locks=(lock,),
        loss_sale_locks=(),
        sheltered=True,
        rates=TaxRates(Decimal(0), Decimal(0)),
    )
    back = read_problem(exported(file_problem, snapshot).encode(), "back.json").snapshot
    assert (back.recent_trades, back.buy_locks, back.sheltered) == (snapshot.recent_trades, (lock,), True)


@pytest.mark.parametrize(
    ("last_whole", "kind"), [(date(2026, 11, 13), Rebalancing.WHOLE), (date(2026, 11, 2), Rebalancing.PARTIAL)]
)
def test_kind_of_the_day_comes_back(last_whole, kind):
    """A file has the last whole rebalancing; with the calendar among its parameters that makes the day what it was."""
    calendar = "weekly" if kind is Rebalancing.WHOLE else "monthly"
    file_problem = read(changed(small_document(), ("params", "rebalance"), calendar))
    file_problem = replace(
        file_problem, params=replace(file_problem.params, cash_max=0.5, harvest_min_share=0.1, harvest_sigma=0.5)
    )
    snapshot = replace(file_problem.snapshot, rebalancing=kind, last_whole=last_whole)
    back = read_problem(exported(file_problem, snapshot).encode(), "back.json")
    assert (back.snapshot.rebalancing, back.snapshot.last_whole) == (kind, last_whole)
    mine = day_problem(snapshot, file_problem.params, file_problem.matrices)
    assert differing_fields(mine.problem, back.day_problem().problem) == ()
    assert mine.reasons == back.day_problem().reasons
    assert mine.scope is (Scope.ALL if kind is Rebalancing.WHOLE else Scope.REASONS)


def test_record_that_the_file_cannot_state_is_refused():
    """A lock that no recent trade explains would be lost in the file, so the export says so and writes nothing."""
    file_problem = read(small_document())
    lock = LockRecord("CCC", date(2026, 12, 3), "entered by hand")
    with pytest.raises(PrometheusError, match="differs in can_buy") as refused:
        exported(file_problem, replace(file_problem.snapshot, buy_locks=(lock,)))
    assert refused.value.code == "EXPORT_DIFFERS"


def test_short_positions_are_exported():
    """A day with short positions comes back from its file as the same problem."""
    document = small_document()
    document["lots"] = [lot for lot in document["lots"] if lot["ticker"] != "AAA"]
    row = {"lot_id": "S1", "ticker": "AAA", "sold_on": "2026-10-01", "quantity": "10", "proceeds": "2000.00"}
    document["shorts"] = [row, row | {"lot_id": "S2", "was_held": True, "was_held_long": True}]
    one = read(document)
    again = read(json.loads(exported(one)))
    assert again.snapshot.shorts == one.snapshot.shorts
    assert [short.was_held_long for short in again.snapshot.shorts] == [False, True]


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        (
            Snapshot,
            (
                "account_id as_of base_currency tax_regime lot_method fractional_shares tags strategy_id "
                "strategy_version rates cash benchmark_id benchmark_effective_date benchmark_weights_sha256 "
                "risk_model_id risk_model_as_of loadings_sha256 specific_variance_sha256 factor_covariance "
                "universe lots recent_trades buy_locks "
                "loss_sale_locks borrow_rates corporate_actions flags realized_this_year "
                "specific_correlation_sha256 sheltered rebalancing last_whole shorts"
            ),
        ),
        (ShortPosition, "lot_id ticker sold_on quantity proceeds was_held was_held_long"),
        (UniverseName, "ticker price price_date sector sub_industry group benchmark_index risk_index"),
        (TaxLot, "lot_id ticker acquired_on quantity cost_basis adjusted_basis holding_period_start"),
        (
            RecentTrade,
            (
                "ticker trade_date side quantity realized_gain lot_id unreplaced washed_quantity disallowed_loss "
                "acquired_on holding_period_start execution_id account denied_for_good"
            ),
        ),
        (TaxRates, "st lt niit"),
        (CorrelationBlock, "names correlation"),
        (Matrices, "loadings specific_variance benchmark_weights specific_correlation"),
    ],
)
def test_no_input_of_the_solve_is_forgotten(kind, known):
    """A field added to a run's inputs fails here until somebody decides how the problem file carries it."""
    assert {field.name for field in fields(kind)} == set(known.split())
