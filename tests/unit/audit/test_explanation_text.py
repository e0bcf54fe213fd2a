"""The explanation of a run in words."""

import pytest

from prometheus.audit.explanation import BindingLimit, RunExplanation
from prometheus.audit.explanation_text import as_markdown
from prometheus.audit.risk_view import RiskView

VIEW = RiskView(tracking_error=0.01, factor=0.008, specific=0.006, exposures=(), names=())


def explained(**changes: object):
    """Return the explanation of a run that traded nothing, with some parts of its own."""
    told = dict.fromkeys(("trades", "held_back", "limits", "at_bound", "buy_locks", "loss_sale_locks"), ())
    return RunExplanation(
        **{
            "account_id": "A", "run": "RUN-001", "as_of": "2024-06-28", "status": "OPTIMAL", "currency": "USD",
            "nav": "1000", "ticker": None, "weight_before": None, "weight_after": None, "benchmark_weight": None,
            **told, "restrictions": (), "flags": (), "failures": (), "rebalancing": "whole", "gap_bps": 0.0,
            "solver": "STRUCTURED", "code": "0.1", "risk_model": "model 1", "risk_before": VIEW, "risk_after": VIEW,
            **changes,
        }
    )  # fmt: skip


@pytest.mark.parametrize("gap", [0.0, -0.0, -1e-9, 1e-9])
def test_a_gap_of_nothing_has_no_sign(gap):
    """A proof within rounding of the best answer is not told as a negative distance."""
    assert "proved to be within 0.0000 bps of the best answer" in as_markdown(explained(gap_bps=gap))


def test_the_own_bound_is_said_in_words():
    """The price of a name's own bound comes with what such a bound is; other limits speak for themselves."""
    bound, sector = (BindingLimit(name, 1.0, 2.0, ("AAA",)) for name in ("own bound", "sector Tech"))
    words = "greatest or least weight, the edge of the lots sold, or the step at no trade"
    assert words in as_markdown(explained(limits=(bound,)))
    assert words not in as_markdown(explained(limits=(sector,)))
