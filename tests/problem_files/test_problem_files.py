"""The short form of `make prove-problem-files`, and tests that its checker sees what it is there to see."""

# ruff: noqa: ARG005 -- one signature for the table of changes
import json
from copy import deepcopy

import pytest

from tests.problem_files.checker import complaints
from tests.problem_files.generator import KINDS, problem
from tests.problem_files.prove import answer_of, judged_attack, judged_problem
from tests.problem_files.test_cases import CASES


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_random_problems_have_legal_answers(kind):
    """Files of each kind are answered without a broken rule, and never INFEASIBLE where doing nothing is legal."""
    verdicts = [judged_problem(kind + len(KINDS) * number) for number in range(4)]
    assert [item["wrong"] for item in verdicts] == [[]] * len(verdicts)
    assert "OPTIMAL" in {item["outcome"] for item in verdicts}


@pytest.mark.parametrize("seed", [3581, 7406])
def test_problems_that_had_wrong_answers_have_right_ones(seed):
    """Crumbs that count as not held under a cost of an order; a sale beside locked lots beyond a float's digits."""
    assert judged_problem(seed)["wrong"] == []


def test_attacked_fields_are_refused_with_their_path_or_solved():
    """What somebody might type into a field is refused with its path, or has a legal answer."""
    verdicts = [judged_attack(seed) for seed in range(24)]
    assert [item["wrong"] for item in verdicts] == [[]] * len(verdicts)
    assert {"REFUSED", "OPTIMAL"} <= {item["outcome"] for item in verdicts}


@pytest.fixture(scope="module")
def answered():
    """Return a realistic file and its answer, which has sales and purchases."""
    document = problem(1)
    result = json.loads(json.dumps(answer_of(json.dumps(document).encode())))
    assert complaints(document, result) == []
    assert {line["side"] for line in result["trades"]} == {"BUY", "SELL"}
    return document, result


def _first(result, side):
    return next(line for line in result["trades"] if line["side"] == side)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d, r: d["params"].update(no_buy=[_first(r, "BUY")["ticker"]]), "may not be bought"),
        (lambda d, r: d["params"].update(no_sell=[_first(r, "SELL")["ticker"]]), "may not be sold"),
        (lambda d, r: d["params"].update(turnover_max=r["turnover"] / 2), "turnover"),
        (lambda d, r: d["params"].update(te_max=r["tracking_error_after"] / 2), "tracking error"),
        (lambda d, r: d["params"].update(cash_min=0.9, cash_max=1), "is outside"),
        (lambda d, r: d["params"].update(min_trade=1e7), "below the minimum"),
        (lambda d, r: r.update(cash_after="1"), "cash is"),
        (lambda d, r: _first(r, "BUY").update(quantity="0.5"), "shares at"),
        (lambda d, r: _first(r, "SELL").update(basis="1.00"), "is not its part"),
        (lambda d, r: r["objective"].update(active_risk=0.5), "active risk"),
        (lambda d, r: r.update(rounded_lower_bound=1e3), "bound after rounding"),
        (
            lambda d, r: d["recent_trades"].append(
                {"ticker": _first(r, "BUY")["ticker"], "date": d["as_of"], "side": "SELL", "quantity": "1",
                 "realized_gain": "-5", "lot_id": "X"}
            ),
            "may not be bought",
        ),
    ],
)  # fmt: skip
def test_the_checker_sees_what_is_broken(answered, change, said):
    """A rule added to the file, or a figure changed in the answer, is complained about."""
    document, result = deepcopy(answered)
    change(document, result)
    assert any(said in item for item in complaints(document, result))


def test_the_checker_sees_a_false_refusal():
    """INFEASIBLE is complained about where no trade at all is legal."""
    document = json.loads((CASES / "07.json").read_text())
    refused = {"status": "NON_OPTIMAL", "trades": [], "failures": [{"code": "INFEASIBLE"}]}
    assert complaints(document, refused) == ["INFEASIBLE although no trade at all is legal"]
