"""From a problem file to the result document."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from prometheus.decision.problem_file import answer as answer_module
from prometheus.decision.problem_file.answer import answer_problem, available_solvers
from prometheus.decision.problem_file.reading import read_problem
from prometheus.decision.problem_file.schema import RESULT_SCHEMA, schema_defects
from prometheus.decision.solve import solve_day
from prometheus.domain.phases import RunStatus
from prometheus.foundation.errors import AccountingError, FileRefusedError, InvalidProblemError, RequestError
from tests.unit.decision.problem_file.small_problem import EXAMPLE, changed, read, small_document


def example():
    """Return the example that is shipped."""
    return read_problem(EXAMPLE.read_bytes(), "problem_small.json")


def infeasible():
    """Return a problem with too much cash and nothing that may be bought."""
    document = small_document()
    document["cash"] = "20000"
    document["params"]["no_buy"] = ["AAA", "BBB", "CCC", "DDD"]
    return document


def timeless(document):
    """Return a result without what differs from call to call."""
    return {name: value for name, value in document.items() if name != "timings"}


def test_example_harvests_locks_and_proves():
    """The example sells its loss lots and none that is locked, buys nothing locked, and is proven near the best."""
    found = answer_problem(example())
    document = found.document
    assert found.status is RunStatus.OPTIMAL
    assert schema_defects(document, RESULT_SCHEMA) == ()
    assert [lock["group"] for lock in document["locks"]["buy"]] == ["CRUX"]
    assert [lock["lot_id"] for lock in document["locks"]["loss_sale"]] == ["L11"]
    sold = {trade["lot_id"] for trade in document["trades"] if trade["side"] == "SELL"}
    bought = {trade["ticker"] for trade in document["trades"] if trade["side"] == "BUY"}
    assert "L04" in sold
    assert "L11" not in sold
    assert "CRUX" not in bought
    assert Decimal(document["realized_gains"]["short"]) < 0
    assert 0 <= document["gap_bps"] < 0.01
    assert document["lower_bound"] <= document["rounded_lower_bound"] + 1e-12
    assert document["tracking_error_after"] < document["tracking_error_before"]
    assert json.loads(json.dumps(document)) == document


def test_sums_of_the_result_are_those_of_its_trades():
    """Cash, gains, tax and cost add up from the trade list to the cent."""
    file_problem = example()
    document = answer_problem(file_problem).document
    trades = document["trades"]

    def total(name, **wanted: str):
        chosen = [trade for trade in trades if all(trade[key] == value for key, value in wanted.items())]
        return sum((Decimal(trade[name]) for trade in chosen if trade[name] is not None), Decimal(0))

    cash = file_problem.snapshot.cash + total("amount", side="SELL") - total("amount", side="BUY") - total("cost")
    assert Decimal(document["cash_after"]) == cash
    assert Decimal(document["tax"]) == total("tax")
    assert Decimal(document["cost"]) == total("cost")
    assert Decimal(document["realized_gains"]["short"]) == total("realized_gain", term="SHORT")
    assert Decimal(document["realized_gains"]["long"]) == total("realized_gain", term="LONG")


def test_own_cost_is_charged_in_the_ledger():
    """The estimated cost of a trade is at the asset's own rate where it has one, at params.cost_bps otherwise."""
    rates = {"JADE": Decimal("0.0012")}
    for trade in answer_problem(example()).document["trades"]:
        expected = Decimal(trade["amount"]) * rates.get(trade["ticker"], Decimal("0.0005"))
        assert abs(Decimal(trade["cost"]) - expected) <= Decimal("0.005")


def test_cost_that_overdraws_is_an_error_of_the_ledger(monkeypatch):
    """Own costs that the trades leave no cash for are refused, as the engine refuses them."""
    file_problem = read(changed(small_document(), ("assets", 1, "cost"), "1"))
    # 800 of the 1,000 in cash: affordable but for a cost as large as the trade.
    buy = {"BBB": "40"}
    monkeypatch.setattr(answer_module, "solve_day", lambda day, params, _: _solution(day, params, buy))
    with pytest.raises(AccountingError, match=r"cash of -600\.00 after estimated costs"):
        answer_problem(file_problem)


def _solution(day, params, shares):
    solution = solve_day(day, params, None)
    return type(solution)(solution.status, replace(solution.result, shares=shares), solution.answer)


def test_target_weights_are_those_before_rounding():
    """Target weights differ from the weights of whole shares, by less than a share of each name."""
    file_problem = read(small_document())
    document = answer_problem(file_problem).document
    nav = float(file_problem.snapshot.nav())
    names = document["target_weights"].keys() | document["rounded_weights"].keys()
    differences = [
        abs(document["target_weights"].get(name, 0) - document["rounded_weights"].get(name, 0)) for name in names
    ]
    assert 0 < max(differences) < 2 * 40.25 / nav


def test_order_of_the_file_does_not_change_the_answer():
    """The same problem written in another order has the same trades, weights and proof."""
    document = small_document()
    first = timeless(answer_problem(read(document)).document)
    document["assets"].reverse()
    document["lots"].reverse()
    second = timeless(answer_problem(read(document)).document)
    assert first["problem"].pop("sha256") != second["problem"].pop("sha256")
    assert first == second


def test_conflicting_constraint_is_named_with_what_is_reachable():
    """Without an answer there are no trades, and the result says which constraint conflicts and what can be reached."""
    found = answer_problem(read(infeasible()))
    document = found.document
    assert found.status is RunStatus.NON_OPTIMAL
    assert schema_defects(document, RESULT_SCHEMA) == ()
    assert document["trades"] == []
    assert document["objective"] is document["lower_bound"] is document["gap_bps"] is None
    failure = document["failures"][0]
    assert failure["code"] == "INFEASIBLE"
    assert failure["details"]["constraint"] == "cash_max"
    assert failure["details"]["reachable"] == pytest.approx(20000 / 94400, rel=1e-3)
    assert document["rounded_weights"]["CCC"] == pytest.approx(24150 / 94400)
    assert document["target_weights"] == document["rounded_weights"]


def test_previous_targets_are_kept_without_an_answer():
    """Without an answer the targets of the run before are reported unchanged, whatever names they have."""
    document = infeasible() | {"previous_targets": {"AAA": 0.25, "GONE": 0.125}}
    assert answer_problem(read(document)).document["target_weights"] == {"AAA": 0.25, "GONE": 0.125}


def test_every_traded_name_is_explained():
    """Each name that is traded, and no other, has its slopes and a reason; without an answer there is none."""
    document = answer_problem(example()).document
    assert {item["ticker"] for item in document["explanations"]} == {trade["ticker"] for trade in document["trades"]}
    assert all(item["reason"] for item in document["explanations"])
    assert answer_problem(read(infeasible())).document["explanations"] == []


def test_chosen_solver_is_used():
    """The solver asked for replaces that of the file, and the result says which it was."""
    document = changed(small_document(), ("params", "solver"), "NO_SUCH_SOLVER")
    found = answer_problem(read(document), solver="CLARABEL").document
    assert found["params"]["solver"] == found["solver"]["backend"] == "CLARABEL"
    assert found["status"] == "OPTIMAL"


def test_unknown_solver_says_which_exist():
    """A solver that is not here is refused as a bad request with the list of those that are."""
    with pytest.raises(RequestError) as refused:
        answer_problem(read(small_document()), solver="ABACUS")
    assert refused.value.exit_code == 2
    assert f"Solvers here: {', '.join(available_solvers())}" in refused.value.message
    assert "CLARABEL" in available_solvers()


def test_data_refused_while_solving_are_a_bad_request(monkeypatch):
    """What the optimizer refuses only when it solves ends as a bad request that names the file."""

    def refusing(*_: object):
        raise InvalidProblemError("factor_covariance is not symmetric.")

    monkeypatch.setattr(answer_module, "solve_day", refusing)
    with pytest.raises(RequestError, match=r"problem\.json: factor_covariance") as refused:
        answer_problem(read(small_document()))
    assert refused.value.exit_code == 2


def test_a_long_short_extension_is_answered_with_short_lines():
    """A file with borrow rates and long_max above one opens short positions, one line for each."""
    document = small_document()
    document["params"] |= {
        "long_max": 1.2,
        "low_volatility_tilt": 500.0,
        "risk_aversion": 0.5,
        "max_active_weight": 0.6,
    }
    document["fractional_shares"] = True
    for asset, style in zip(document["assets"], (3.0, -0.5, 0.1, 0.0), strict=True):
        asset["loadings"], asset["borrow_rate"] = [1.0, style], "0.005"
    found = answer_problem(read(document))
    assert found.status is RunStatus.OPTIMAL
    assert schema_defects(found.document, RESULT_SCHEMA) == ()
    short = {ticker: weight for ticker, weight in found.document["rounded_weights"].items() if weight < 0}
    assert short
    assert found.document["objective"]["borrow"] == pytest.approx(0.005 * -sum(short.values()))
    lines = [trade for trade in found.document["trades"] if trade["side"] == "SELL_SHORT"]
    assert {line["ticker"] for line in lines} == set(short)
    assert {line["basis"] for line in lines} == {None}
    long_only = answer_problem(read(changed(document, ("params", "long_max"), 1.0))).document
    assert min(long_only["rounded_weights"].values()) >= 0


def test_a_file_may_state_short_positions():
    """Under a strategy that allows none they are covered: a line for each, its gain proceeds less cost."""
    document = small_document()
    document["lots"] = [lot for lot in document["lots"] if lot["ticker"] != "AAA"]
    document["shorts"] = [
        {"lot_id": "S1", "ticker": "AAA", "sold_on": "2026-10-01", "quantity": "10", "proceeds": "2000.00"},
        {"lot_id": "S2", "ticker": "AAA", "sold_on": "2026-10-02", "quantity": "5", "proceeds": "1.00"},
    ]
    document["params"] |= {"max_active_weight": 1.0, "max_weight": 1.0, "cash_max": 0.2}
    problem = read(document)
    found = answer_problem(problem).document
    assert schema_defects(found, RESULT_SCHEMA) == ()
    assert found["status"] == "OPTIMAL"
    covers = [trade for trade in found["trades"] if trade["side"] == "BUY_TO_COVER"]
    assert [(line["lot_id"], Decimal(line["quantity"])) for line in covers] == [("S1", 10), ("S2", 5)]
    for line in covers:
        assert Decimal(line["realized_gain"]) == Decimal(line["basis"]) - Decimal(line["amount"])
        assert line["term"] == "SHORT"
    assert found["rounded_weights"].get("AAA", 0.0) >= 0


@pytest.mark.parametrize(
    ("shorts", "changes", "complaint"),
    [
        ([{"ticker": "NO"}], {}, "is not among the assets"),
        ([{"ticker": "BBB"}], {}, "has lots too"),
        ([{"lot_id": "L"}], {}, "is a lot too"),
        ([{}, {}], {}, "a short position stands here once"),
        ([{"sold_on": "2030-01-01"}], {}, "lies after as_of"),
        ([{"quantity": "1.000000001"}], {}, "more than 8 decimals"),
        ([{"proceeds": "999999999999"}], {}, "is no proceeds of shares"),
        ([{}], {"tax_regime": "CA", "lot_method": "ACB", "tax_rates": {"st": 0.2, "lt": 0.2}}, "not settled"),
    ],
)
def test_short_positions_that_make_no_sense_are_refused(shorts, changes, complaint):
    """Each defect of a short position has its path."""
    document = small_document() | changes
    document["lots"] = [lot for lot in document["lots"] if lot["ticker"] != "AAA"]
    row = {"lot_id": "S", "ticker": "AAA", "sold_on": "2026-10-01", "quantity": "1", "proceeds": "10.00"}
    named = {"lot_id": document["lots"][0]["lot_id"]}
    document["shorts"] = [row | (named if short.get("lot_id") else short) for short in shorts]
    with pytest.raises(FileRefusedError) as refused:
        read(document)
    assert complaint in str(refused.value)
    assert "$.shorts" in str(refused.value)


def test_a_file_may_say_what_an_order_costs():
    """With the parameter a line of the objective says what the orders cost; without it the answer has no such line."""
    document = small_document()
    free = answer_problem(read(document)).document
    assert "orders" not in free["objective"]
    document["params"] |= {"order_cost": 1, "order_cost_bps": 2.0}
    found = answer_problem(read(document)).document
    assert schema_defects(found, RESULT_SCHEMA) == ()
    orders = {(trade["ticker"], trade["side"]) for trade in found["trades"]}
    assert found["objective"]["orders"] == pytest.approx(0.0002 * len(orders))
    document["params"] |= {"order_cost": 1000000, "cash_max": 1.0}
    found = answer_problem(read(document)).document
    assert schema_defects(found, RESULT_SCHEMA) == ()
    assert (found["status"], found["trades"], found["objective"]["orders"]) == ("OPTIMAL", [], 0.0)
    assert found["explanations"]
    assert all(one["trade"] == 0 and one["reason"].startswith("not traded: ") for one in found["explanations"])
