"""Problem files that once had a wrong answer, each with the right one."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from prometheus.decision.problem_file.answer import answer_problem
from prometheus.decision.problem_file.reading import read_problem
from prometheus.foundation.errors import FileRefusedError
from prometheus.scripts.main import main
from tests.problem_files.checker import complaints

CASES = Path(__file__).parent / "cases"


def document(case):
    """Return a case's document, to be changed at will."""
    return json.loads((CASES / f"{case}.json").read_text())


def answer(problem):
    """Return the result of a document."""
    return json.loads(json.dumps(answer_problem(read_problem(json.dumps(problem).encode(), "case.json")).document))


def defects(raw):
    """Return the defects for which a file is refused, by path."""
    with pytest.raises(FileRefusedError) as refused:
        read_problem(raw, "case.json")
    return {item["path"]: item["reason"] for item in refused.value.details["defects"]}


def test_overdrawn_account_that_may_sell_nothing_has_a_result(tmp_path):
    """Case 01: no answer is not an accounting error: the result is written, says INFEASIBLE, and the exit code is 1."""
    out = tmp_path / "result.json"
    command = CliRunner().invoke(main, ["optimize", str(CASES / "01.json"), "--out", str(out)])
    result = json.loads(out.read_text())
    assert command.exit_code == 1
    assert (result["status"], result["failures"][0]["code"]) == ("NON_OPTIMAL", "INFEASIBLE")
    assert result["failures"][0]["details"]["constraint"] == "cash_min"
    assert (result["trades"], result["cash_after"]) == ([], "-50")


def test_overdrawn_account_with_own_costs_has_a_result_too():
    """Case 01 with a cost of its own for a name, which is settled in another place."""
    problem = document("01")
    problem["assets"][0]["cost"] = "0.001"
    assert answer(problem)["failures"][0]["code"] == "INFEASIBLE"


@pytest.mark.parametrize("case", ["02", "04"])
def test_purchase_of_another_account_washes_as_an_own_one(case):
    """Cases 02 and 04: allowed, the lot may be sold without any use of its loss, in the objective and on the line."""
    problem = document(case)
    result = answer(problem)
    assert [lock["lot_id"] for lock in result["locks"]["loss_sale"]] == ["L1"]
    assert result["objective"]["tax"] == 0
    sales = [line for line in result["trades"] if line["lot_id"] == "L1"]
    assert sales
    assert all(line["disallowed_loss"] == str(-float(line["realized_gain"])) + "0" for line in sales)
    assert complaints(problem, result) == []
    assert [flag["code"] for flag in result["flags"]] == (["LOT_ELSEWHERE"] if case == "02" else [])


def test_purchase_of_another_account_forbids_the_sale():
    """Case 03: forbidden, the lot stays."""
    problem = document("03")
    result = answer(problem)
    assert result["status"] == "OPTIMAL"
    assert "L1" not in {line["lot_id"] for line in result["trades"]}
    assert complaints(problem, result) == []


def test_lots_of_two_accounts_may_bear_one_name():
    """A purchase of the spouse's L1 locks the account's own L1: it is another lot."""
    problem = document("03")
    problem["recent_trades"][0]["lot_id"] = "L1"
    assert [lock["lot_id"] for lock in answer(problem)["locks"]["loss_sale"]] == ["L1"]


def test_replaced_purchase_of_another_account_locks_nothing():
    """What the spouse bought and what has replaced other shares already washes nothing here."""
    problem = document("03")
    problem["recent_trades"][0]["unreplaced"] = "0"
    assert answer(problem)["locks"]["loss_sale"] == []


def test_canadian_purchase_of_another_account_denies_the_loss_whole():
    """A spouse's purchase denies a superficial loss although the account itself sells every share it holds."""
    problem = document("05")
    problem["lots"] = [lot for lot in problem["lots"] if lot["lot_id"] != "L1b"]
    problem["params"] |= {"loss_sale_policy": "allow", "never_hold": ["AAA"], "cash_max": 1.0, "max_active_weight": 1}
    bought = {"ticker": "AAA", "date": "2026-11-10", "side": "BUY", "quantity": "100", "account": "SPOUSE"}
    problem["recent_trades"] = [bought]
    result = answer(problem)
    (sale,) = [line for line in result["trades"] if line["side"] == "SELL"]
    assert (sale["quantity"], sale["disallowed_loss"]) == ("100", "5000.00")
    assert complaints(problem, result) == []


@pytest.mark.parametrize("row", [None, {"side": "BUY", "quantity": "10"}])
def test_canadian_lot_locks_from_its_own_date(row):
    """Case 05: a lot bought ten days ago makes the pool's loss superficial, with and without a row of the purchase."""
    problem = document("05")
    problem["recent_trades"] = [] if row is None else [{"ticker": "AAA", "date": "2026-11-06", **row}]
    result = answer(problem)
    assert [(lock["lot_id"], lock["until"]) for lock in result["locks"]["loss_sale"]] == [("ACB-AAA", "2026-12-06")]
    assert not any(line["ticker"] == "AAA" for line in result["trades"])
    assert complaints(problem, result) == []


def test_canadian_lot_denies_its_own_loss_where_it_is_allowed():
    """Case 05 under 'allow': what is sold of the pool counts as superficial, as far as shares were bought."""
    problem = document("05")
    problem["params"] |= {"loss_sale_policy": "allow", "risk_aversion": 100}
    result = answer(problem)
    sales = [line for line in result["trades"] if line["side"] == "SELL"]
    assert sales
    assert all(float(line["disallowed_loss"]) > 0 for line in sales)
    assert complaints(problem, result) == []


@pytest.mark.parametrize("cash", ["0.00", "0.01", "0.05", "0.10"])
def test_account_without_cash_is_never_a_cent_short(cash):
    """Case 06: a fully invested fractional account has an answer, and cents of its many lines leave no debt."""
    problem = document("06")
    problem["cash"] = cash
    result = answer(problem)
    assert result["status"] == "OPTIMAL"
    assert complaints(problem, result) == []
    assert result["trades"]


@pytest.mark.parametrize("case", ["07", "08", "09"])
def test_where_legal_trades_exist_there_is_an_answer(case):
    """Cases 07 to 09: rounding finds legal trades where doing nothing or an unequal pair is legal, and says so."""
    problem = document(case)
    result = answer(problem)
    assert result["status"] == "OPTIMAL"
    assert complaints(problem, result) == []
    assert "large against this account" in result["rounding_reason"]
    if case == "07":
        # one name's share is worth twice the account; the others are traded as if it could not be bought
        assert result["tracking_error_after"] < 0.6 * result["tracking_error_before"]


@pytest.mark.parametrize(
    ("case", "path", "said"),
    [
        ("10", "$.factor_covariance[0][0]", "at most 1000000"),
        ("11", "$.as_of", "years 1900 to 2199"),
        ("12", "$.assets[0].loadings[0]", "at most 1000000"),
        ("13", "$.assets[0].specific_variance", "at most 10000"),
        ("14", "$.params.solver", "must be a name"),
    ],
)
def test_what_no_account_has_is_refused_with_its_path(case, path, said):
    """Cases 10 to 14: magnitudes, days and kinds that mean nothing are refused where they stand."""
    reasons = defects((CASES / f"{case}.json").read_bytes())
    assert said in reasons[path]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda d: d["assets"][0].update(price="0.0000001"), "$.assets[0].price"),
        (lambda d: d["assets"][0].update(price="99999999999"), "$.assets[0].price"),
        (lambda d: d.update(cash="999999999999999", lots=[], fractional_shares=True), "$.assets[0].price"),
        (lambda d: d.update(cash="-149.95"), "$.cash"),
        (lambda d: d["assets"][0].update(loadings=[5000.0]), "$.assets[0].loadings"),
        (lambda d: d["assets"][0].update(borrow_rate="101"), "$.assets[0].borrow_rate"),
        (lambda d: d["lots"][0].update(adjusted_basis="99999999999"), "$.lots[0].adjusted_basis"),
        (lambda d: d["lots"][0].update(quantity="0.00000001", adjusted_basis="9999"), "$.lots[0].adjusted_basis"),
        (lambda d: d.update(realized_this_year="-999999999999"), "$.realized_this_year"),
        (lambda d: d["lots"][0].update(acquired_on="1899-12-31"), "$.lots[0].acquired_on"),
        (lambda d: d["assets"][0].update(ticker="AAA\n"), "$.assets[0].ticker"),
        (lambda d: d.update(cash="100\n"), "$.cash"),
        (lambda d: d["assets"][0].update(sector="\ud800"), "$.assets[0].sector"),
        (lambda d: d["params"].update(no_buy=[["AAA"]]), "$.params.no_buy"),
        (lambda d: d["params"].update(max_names=2.5), "$.params.max_names"),
        (lambda d: d["params"].update(cash_min=0.015, cash_max=0.01), "$.params.cash_max"),
        (lambda d: d["params"].update(max_names=5, long_max=1.3), "$.params.long_max"),
        (lambda d: d["recent_trades"][0].update(account="PORTABLE"), "$.recent_trades[0].account"),
        (lambda d: d.update(previous_targets={"AAA": 1e300}), "$.previous_targets.AAA"),
    ],
)
def test_brothers_of_them_are_refused_likewise(change, path):
    """Numbers beside each other, ends of lines, half characters, lists in lists: each is refused with its path."""
    problem = document("02")
    problem["lots"] = [{**lot, "quantity": "1"} for lot in problem["lots"]] if path == "$.cash" else problem["lots"]
    change(problem)
    assert path in defects(json.dumps(problem).encode())


def test_one_departed_name_has_one_group():
    """Two groups for one ticker that is no asset contradict each other; neither is dropped silently."""
    problem = document("02")
    sale = {"ticker": "GONE", "date": "2026-11-10", "side": "SELL", "quantity": "1", "realized_gain": "-5"}
    problem["recent_trades"] += [{**sale, "group": "AAA"}, {**sale, "group": "BBB"}]
    assert "$.recent_trades[2].group" in defects(json.dumps(problem).encode())


def test_nesting_without_end_is_refused():
    """A value of many lists in one another is refused before anything walks down into it."""
    problem = document("02")
    problem["description"] = "HERE"
    nested = "[" * 400 + "]" * 400
    reasons = defects(json.dumps(problem).replace('"HERE"', nested).encode())
    assert any("nested too deeply" in reason for reason in reasons.values())


def test_many_fractional_shares_stay_on_the_grid():
    """A sale of more than 18 million fractional shares is a whole number of ten-thousandths, said exactly."""
    problem = document("02")
    problem |= {"fractional_shares": True, "recent_trades": [], "cash": "1000"}
    problem["assets"][0]["price"] = "0.01"
    lot = {"ticker": "AAA", "acquired_on": "2020-01-02", "adjusted_basis": "4400000"}
    problem["lots"][0] = {**problem["lots"][0], **lot, "quantity": "400000000.1234"}
    problem["lots"][1] |= {"quantity": "10000", "adjusted_basis": "800000"}
    result = answer(problem)
    sold = [line["quantity"] for line in result["trades"] if line["ticker"] == "AAA"]
    assert float(sold[0]) > 1.8e7
    assert complaints(problem, result) == []
