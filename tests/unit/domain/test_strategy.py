import json
from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prometheus.domain.strategy import _RANGES, StrategyParams, merge_tag_overrides
from prometheus.foundation.errors import ConfigurationError

OVERRIDES = {
    "te:tight": {"risk_aversion": 40.0},
    "esg:no-tobacco": {"never_hold_sub_industries": ["Tobacco"]},
    "esg:no-weapons": {"never_hold_sub_industries": ["Aerospace & Defense"]},
    "restrict:employer-*": {"no_buy": ["{}"]},
    "restrict:*": {"no_sell": ["{}"]},
    "solver:*": {"solver": "{}"},
}


def test_defaults_are_valid_and_frozen():
    """The default parameters pass their own checks and cannot be changed in place."""
    params = StrategyParams()
    with pytest.raises(FrozenInstanceError):
        params.risk_aversion = 1.0


@pytest.mark.parametrize("name", sorted(_RANGES))
def test_both_ends_of_a_range_hold(name):
    """A number is accepted at the ends of its range and refused beyond, by name and range."""
    low, high = _RANGES[name]
    others = {"cash_min": 0.0, "cash_max": 1.0}
    for good in (low, high):
        assert getattr(StrategyParams.from_dict(others | {name: good}), name) == good
    for bad in (low - 1.0, high * 2.0 + 1.0, float("nan")):
        with pytest.raises(ConfigurationError, match=rf"{name} = .* must be a number in \["):
            StrategyParams.from_dict(others | {name: bad})


@pytest.mark.parametrize("value", ["10", None, True, [1.0]])
def test_a_number_must_be_a_number(value):
    """Text, nothing, booleans and lists are refused where a number is due."""
    with pytest.raises(ConfigurationError, match="tax_weight"):
        StrategyParams.from_dict({"tax_weight": value})


def test_the_cash_band_must_not_be_reversed():
    """A least cash above the most cash is refused."""
    with pytest.raises(ConfigurationError, match=r"cash_min 0.05 exceeds cash_max 0.02"):
        StrategyParams(cash_min=0.05)


def test_the_loss_sale_policy_is_a_choice_of_two():
    """Only the two documented policies are accepted."""
    assert StrategyParams(loss_sale_policy="allow").loss_sale_policy == "allow"
    with pytest.raises(ConfigurationError, match="must be 'forbid' or 'allow'"):
        StrategyParams(loss_sale_policy="maybe")


@pytest.mark.parametrize("value", ["yearly", "WEEKLY", "", None, 5, ["weekly"]])
def test_the_rebalancing_calendar_is_one_of_three(value):
    """Only the documented calendars are accepted, and daily is the default."""
    assert StrategyParams().rebalance == "daily"
    assert StrategyParams.from_dict({"rebalance": "monthly"}).rebalance == "monthly"
    with pytest.raises(ConfigurationError, match=r"rebalance .* must be one of daily, weekly, monthly"):
        StrategyParams.from_dict({"rebalance": value})


def test_an_unknown_parameter_is_refused_with_the_known_ones():
    """A misspelt parameter is named, and the known ones are listed."""
    with pytest.raises(ConfigurationError, match=r"unknown strategy parameter 'risk_avers'.*risk_aversion"):
        StrategyParams.from_dict({"risk_avers": 1.0})


@pytest.mark.parametrize("value", ["ABC", 7, {"ABC": 1}])
def test_a_list_must_be_a_list(value):
    """A bare word is not taken for a list of letters."""
    with pytest.raises(ConfigurationError, match="no_buy takes a list"):
        StrategyParams().overridden({"no_buy": value})


def test_lists_add_and_numbers_replace():
    """Overrides add new items to lists, once and in order, and replace everything else."""
    first = StrategyParams(no_buy=("A",), tax_weight=1.0)
    second = first.overridden({"no_buy": ["B", "A", "C"], "tax_weight": 2.0})
    assert second.no_buy == ("A", "B", "C")
    assert second.tax_weight == 2.0
    assert first.no_buy == ("A",)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "risk_aversion": st.floats(1.0, 100.0),
            "cash_max": st.floats(0.0, 1.0),
            "no_buy": st.lists(st.text("ABC", min_size=1, max_size=3), unique=True, max_size=3),
            "solver": st.sampled_from(["CLARABEL", "CUOPT"]),
        },
    )
)
def test_parameters_survive_json(values):
    """Parameters written as JSON and read back are equal: that is how a run record keeps them."""
    params = StrategyParams.from_dict(values)
    assert StrategyParams.from_dict(json.loads(json.dumps(params.as_dict()))) == params


def test_as_dict_names_every_parameter():
    """A run record holds every parameter, defaults included, with lists for tuples."""
    stored = StrategyParams(no_buy=("A",)).as_dict()
    assert set(stored) == {field.name for field in fields(StrategyParams)}
    assert stored["no_buy"] == ["A"]


def test_tags_apply_in_their_order_and_lists_accumulate():
    """Several tags add up, and each exact tag applies its own overrides."""
    params, unmatched = merge_tag_overrides(
        StrategyParams(), OVERRIDES, ("te:tight", "esg:no-weapons", "esg:no-tobacco")
    )
    assert params.risk_aversion == 40.0
    assert params.never_hold_sub_industries == ("Aerospace & Defense", "Tobacco")
    assert unmatched == ()


def test_the_longest_pattern_serves_a_tag():
    """A tag that two patterns match goes by the longer one, and the rest of it fills the braces."""
    params, _ = merge_tag_overrides(StrategyParams(), OVERRIDES, ("restrict:employer-MSFT",))
    assert params.no_buy == ("MSFT",)
    assert params.no_sell == ()


def test_braces_are_filled_in_plain_texts_too():
    """The rest of the tag also replaces braces in a single word."""
    params, _ = merge_tag_overrides(StrategyParams(), OVERRIDES, ("solver:CUOPT",))
    assert params.solver == "CUOPT"


@pytest.mark.parametrize("tag", ["tilt:unknown", "restrict", "te:tighter", "restrict:"])
def test_a_tag_that_nothing_matches_is_reported(tag):
    """An unmatched tag changes nothing and comes back to be flagged; an empty rest matches no pattern."""
    params, unmatched = merge_tag_overrides(StrategyParams(), OVERRIDES, (tag,))
    assert params == StrategyParams()
    assert unmatched == (tag,)


def test_a_bad_override_names_the_tag():
    """A value out of range in the mapping is refused with the tag that brought it in."""
    with pytest.raises(ConfigurationError, match=r"account tag 'x': strategy parameter max_weight"):
        merge_tag_overrides(StrategyParams(), {"x": {"max_weight": 2.0}}, ("x",))
