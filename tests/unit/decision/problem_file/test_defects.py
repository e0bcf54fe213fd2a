"""What is wrong with a problem file, and how it is said."""

import pytest

from prometheus.foundation.errors import FileRefusedError
from tests.unit.decision.problem_file.small_problem import changed, read, small_document

BLOCK = {"tickers": ["AAA", "BBB"], "matrix": [[1, 0.5], [0.5, 1]]}
BUY = {"ticker": "AAA", "date": "2026-11-02", "side": "BUY", "quantity": "5"}


def defects_of(document):
    """Return the defects for which a document is refused."""
    with pytest.raises(FileRefusedError) as refused:
        read(document)
    assert refused.value.code == "PROBLEM_REFUSED"
    return refused.value.details["defects"], refused.value.message


@pytest.mark.parametrize(
    ("path", "value", "where", "said"),
    [
        (("cash",), ..., "$.cash", "is missing; add it: cash before trading, base currency"),
        (("lots", 3, "quantity"), -5, "$.lots[3].quantity", "must be more than 0; it is: shares held"),
        (("lots", 3, "quantity"), "-5", "$.lots[3].quantity", "must be a plain decimal such as 12.50, more than 0"),
        (("lots", 3, "quantity"), "0.00", "$.lots[3].quantity", "more than 0"),
        (("lots", 3, "quantity"), "1e3", "$.lots[3].quantity", "must be a plain decimal"),
        (("lots", 0, "quantity"), None, "$.lots[0].quantity", "must be a number or text"),
        (("lots", 0, "quantity"), True, "$.lots[0].quantity", "must be a number or text"),
        (("lots", 0, "qty"), 1, "$.lots[0].qty", "is not known here; remove it; known are acquired_on"),
        (("lots", 0, "lot_ids"), 1, "$.lots[0].lot_ids", "is lot_id meant?"),
        (("lots", 0, "lot_id"), "A B", "$.lots[0].lot_id", "must be text without spaces"),
        (("lots", 0, "lot_id"), "A" * 201, "$.lots[0].lot_id", "must have at most 200 characters"),
        (("lots", 1, "acquired_on"), "2026-02-30", "$.lots[1].acquired_on", "must be a date of the calendar"),
        (("lots", 1, "acquired_on"), "20260203", "$.lots[1].acquired_on", "must be a date of the calendar"),
        (("assets", 2, "loadings", 1), "x", "$.assets[2].loadings[1]", "must be a number; it is: K factor loadings"),
        (("assets", 2, "loadings", 0), True, "$.assets[2].loadings[0]", "must be a number; it is: K factor loadings"),
        (("assets", 2, "loadings"), 1, "$.assets[2].loadings", "must be a list; it is: K factor loadings"),
        (("assets", 2, "specific_variance"), 0, "$.assets[2].specific_variance", "must be at least 1e-12"),
        (("assets", 2, "benchmark_weight"), 20, "$.assets[2].benchmark_weight", "must be at most 1"),
        (("assets", 2, "benchmark_weight"), -0.1, "$.assets[2].benchmark_weight", "must be at least 0"),
        (("assets",), [], "$.assets", "must not be empty"),
        (("tax_rates", "st"), "37%", "$.tax_rates.st", "must be a fraction between 0 and 1"),
        (("base_currency",), "usd", "$.base_currency", "three capitals"),
        (("lot_method",), "LIFO", "$.lot_method", "must be one of HIFO, LEAST_TAX_FIRST, FIFO, ACB"),
        (("version",), 2, "$.version", "must be 1"),
        (("last_whole",), "2026-13-01", "$.last_whole", "must be a date of the calendar"),
        (("fractional_shares",), "no", "$.fractional_shares", "must be true or false"),
        (("previous_targets",), {"BRK.B": "x"}, '$.previous_targets["BRK.B"]', "must be a number; it is: weight"),
        (("specific_correlation_blocks",), [{**BLOCK, "tickers": ["AAA", "AAA"]}],
         "$.specific_correlation_blocks[0].tickers", "must not name anything twice"),
        (("specific_correlation_blocks",), [{**BLOCK, "tickers": ["AAA"]}],
         "$.specific_correlation_blocks[0].tickers", "must have at least 2 entries"),
        (("specific_correlation_blocks",), [{**BLOCK, "matrix": [[1, 1.5], [1.5, 1]]}],
         "$.specific_correlation_blocks[0].matrix[0][1]", "must be at most 1"),
    ],
)  # fmt: skip
def test_violation_of_the_schema_names_path_value_reason_and_remedy(path, value, where, said):
    """A value that does not fit the schema is reported at its path with what belongs there."""
    defects, message = defects_of(changed(small_document(), path, value))
    found = next(item for item in defects if item["path"] == where and said in item["reason"])
    assert f"{where}" in message
    assert (found["value"] is None) == (value is ...)


@pytest.mark.parametrize(
    ("path", "value", "where", "said"),
    [
        (("assets", 1, "ticker"), "AAA", "$.assets[1].ticker", "is the ticker of assets[0] too"),
        (("assets", 1, "price_date"), "2026-11-17", "$.assets[1].price_date", "lies after as_of 2026-11-16"),
        (("assets", 1, "loadings"), [1.0], "$.assets[1].loadings", "has 1 loadings for 2 factors"),
        (("assets", 1, "benchmark_weight"), 0.9, "$.assets", "add up to 1.600000, not to one"),
        (("assets", 0, "benchmark_weight"), 0.32, "$.assets", "add up to 1.020000, not to one"),
        (("factor_covariance", 1), [0.0], "$.factor_covariance[1]", "has 1 entries"),
        (("factor_covariance", 1, 0), 0.01, "$.factor_covariance[0][1]", "differs from row 1, column 0 (0.01)"),
        (("factor_covariance",), [[0.04, 0.03], [0.03, 0.01]], "$.factor_covariance", "least eigenvalue is -0.0085"),
        (("lots", 2, "ticker"), "ZZZ", "$.lots[2].ticker", "is not among the assets; add the asset"),
        (("lots", 2, "lot_id"), "L1", "$.lots[2].lot_id", "is the lot_id of lots[0] too"),
        (("lots", 2, "acquired_on"), "2026-11-17", "$.lots[2].acquired_on", "lies after as_of"),
        (("lots", 2, "holding_period_start"), "2025-01-03", "$.lots[2].holding_period_start", "lies after acquired_on"),
        (("lots", 2, "quantity"), "1.000000001", "$.lots[2].quantity", "has more than 8 decimals"),
        (("nav",), "75400.02", "$.nav", "come to, 75400.00, but 0.02 away"),
        (("last_whole",), "2026-11-16", "$.last_whole", "is not before as_of 2026-11-16"),
        (("params", "rebalance"), "yearly", "$.params.rebalance", "must be one of daily, weekly, monthly"),
        (("params", "harvest_sigma"), -1, "$.params.harvest_sigma", "must be a number in [0.0, 100.0]"),
        (("cash",), "-80000", "$.cash", "it must be positive"),
        (("recent_trades", 0), {**BUY, "date": "2026-11-17"}, "$.recent_trades[0].date", "recent trade is a past one"),
        (("recent_trades", 0), {**BUY, "realized_gain": 1}, "$.recent_trades[0].realized_gain", "realises nothing"),
        (("recent_trades", 0), {**BUY, "group": "G"}, "$.recent_trades[0].group", "asset AAA is of group AAA"),
        (("recent_trades", 0), {**BUY, "unreplaced": 6}, "$.recent_trades[0].unreplaced", "more than the quantity"),
        (("recent_trades", 0), {**BUY, "side": "SELL", "washed_quantity": 6}, "$.recent_trades[0].washed_quantity",
         "more than the quantity"),
        (("recent_trades", 0), {**BUY, "quantity": 1e-9}, "$.recent_trades[0].quantity", "more than 8 decimals"),
        (("tax_rates", "niit"), "0.7", "$.tax_rates.st", "with niit exceeds the whole gain"),
        (("lot_method",), "ACB", "$.lot_method", "write HIFO, LEAST_TAX_FIRST or FIFO"),
        (("tax_regime",), "CA", "$.lot_method", "write ACB"),
        (("tax_regime",), "CA", "$.tax_rates.st", "the same effective rate"),
        (("params", "risk_aversoin"), 1, "$.params.risk_aversoin", "is risk_aversion meant?"),
        (("params", "zzz"), 1, "$.params.zzz", "remove it; known are cash_max"),
        (("params", "max_weight"), 7, "$.params.max_weight", "must be a number in [0.0, 1.0]"),
        (("params", "no_buy"), "AAA", "$.params.no_buy", "takes a list"),
        (("params", "loss_sale_policy"), [], "$.params.loss_sale_policy", "must be a name, as text"),
        (("params", "cash_min"), 0.5, "$.params.cash_min", "exceeds cash_max"),
        (("specific_correlation_blocks",), [{**BLOCK, "tickers": ["AAA", "ZZZ"]}],
         "$.specific_correlation_blocks[0].tickers[1]", "is not among the assets"),
        (("specific_correlation_blocks",), [BLOCK, BLOCK],
         "$.specific_correlation_blocks[1].tickers[0]", "is in block 0 too"),
        (("specific_correlation_blocks",), [{**BLOCK, "matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}],
         "$.specific_correlation_blocks[0].matrix", "has 3 rows for 2 tickers"),
        (("specific_correlation_blocks",), [{**BLOCK, "matrix": [[1, 0.5], [0.5, 0.9]]}],
         "$.specific_correlation_blocks[0].matrix[1][1]", "write 1"),
        (("specific_correlation_blocks",), [{**BLOCK, "matrix": [[1, 1], [1, 1]]}],
         "$.specific_correlation_blocks[0].matrix", "write a correlation of 0.999"),
    ],
)  # fmt: skip
def test_contradiction_names_path_value_reason_and_remedy(path, value, where, said):
    """What fits the schema and makes no sense is reported at the path of the value that contradicts."""
    defects, message = defects_of(changed(small_document(), path, value))
    assert any(item["path"] == where and said in item["reason"] for item in defects), message


def test_purchase_without_lot_is_refused_where_losses_may_be_washed():
    """Under the policy 'allow' a washed loss needs a lot to go to, so a US purchase must name the lot it opened."""
    document = changed(small_document(), ("recent_trades", 0), BUY)
    assert read(document).snapshot.recent_trades[0].lot_id is None
    document["params"]["loss_sale_policy"] = "allow"
    defects, _ = defects_of(document)
    assert [item["path"] for item in defects] == ["$.recent_trades[0].lot_id"]


def test_every_defect_of_the_schema_is_listed():
    """Independent mistakes are all reported at once, in the order of the document."""
    document = small_document()
    del document["tax_regime"], document["lots"][1]["ticker"], document["lots"][1]["quantity"]
    document["lots"][10:] = []
    document["assets"][0]["colour"] = "red"
    document["lots"][0]["quantity"] = "many"
    defects, message = defects_of(document)
    assert [item["path"] for item in defects] == [
        "$.tax_regime",
        "$.assets[0].colour",
        "$.lots[0].quantity",
        "$.lots[1].ticker",
        "$.lots[1].quantity",
    ]
    assert message.startswith("problem.json is not a problem that can be solved; 5 defects:\n  $.tax_regime")


def test_fifty_defects_are_shown_and_the_others_counted():
    """A file with sixty mistakes shows fifty and says how many more there are; the details have them all."""
    document = small_document()
    document["recent_trades"] = [{**BUY, "quantity": 0}] * 60
    defects, message = defects_of(document)
    assert len(defects) == 60
    assert message.count("\n") == 51
    assert message.endswith("and 10 more")


def test_long_values_are_shortened():
    """A message stays one line for each defect however long the value is."""
    defects, _ = defects_of(changed(small_document(), ("base_currency",), "x" * 500))
    assert len(defects[0]["value"]) == 60
    assert defects[0]["value"].endswith("...")
