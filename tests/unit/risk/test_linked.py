"""Properties of the linked estimators: what must hold whatever the panel, and what the links find."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prometheus.foundation.errors import RiskModelError
from prometheus.risk.factor_model import AssetAttributes, covariance, estimate_factor_model
from prometheus.risk.panel import ReturnPanel
from prometheus.risk.settings import LinkSettings, RiskSettings

LAST = date(2025, 9, 3)
LINKED = ("linked", "linked_sectors")


def _returns(seed=1, sessions=260, names=40):
    """Return (T, N) returns of a market, four sectors of ten assets and specific parts."""
    rng = np.random.default_rng(seed)
    market = rng.normal(0.0004, 0.01, (sessions, 1)) * rng.uniform(0.6, 1.4, names)
    sectors = rng.normal(0.0, 0.004, (sessions, 4))[:, np.arange(names) % 4]
    return market + sectors + rng.normal(0.0, 1.0, (sessions, names)) * rng.uniform(0.008, 0.02, names)


def _attributes(names, groups=None):
    return AssetAttributes(
        np.linspace(2.0, 1.0, names) / names, tuple("ABCD"[at % 4] for at in range(names)), groups or ("",) * names
    )


def _model(returns, *, estimator="linked", attributes=None, tickers=None, **changes: object):
    sessions, names = returns.shape
    dates = tuple(LAST - timedelta(days=sessions - 1 - at) for at in range(sessions))
    panel = ReturnPanel(dates, tickers or tuple(f"N{at:03d}" for at in range(names)), returns)
    return estimate_factor_model(
        panel,
        as_of=LAST,
        settings=RiskSettings(estimator=estimator, **changes),
        attributes=attributes or _attributes(names),
    )


def _specific_correlation(model):
    matrix = np.eye(len(model.tickers))
    for block in model.specific_blocks:
        matrix[np.ix_(block.names, block.names)] = block.correlation
    return matrix


def _assert_positive_definite(model):
    sigma = covariance(model)
    assert (sigma == sigma.T).all()
    for matrix in (sigma, sigma.astype(np.float32).astype(np.float64)):
        assert np.linalg.eigvalsh(matrix)[0] > 0


@pytest.mark.parametrize(("estimator", "blocks"), [("linked", [40]), ("linked_sectors", [10, 10, 10, 10])])
def test_blocks_are_all_names_or_one_for_each_sector(estimator, blocks):
    """The dense model links every pair of assets in one block, the other one has a block for each sector."""
    model = _model(_returns(), estimator=estimator)
    assert [block.names.size for block in model.specific_blocks] == blocks
    assert (model.estimator, model.loadings.shape) == (estimator, (40, 6))
    for block in model.specific_blocks:
        if estimator == "linked_sectors":
            assert len(set(block.names % 4)) == 1


def test_the_market_is_the_first_factor():
    """The first factor's loadings are market betas, and the others are orthogonal to it in the factor covariance."""
    model = _model(_returns())
    assert (model.loadings[:, 0] > 0).all()
    assert not model.factor_covariance[0, 1:].any()
    variances = np.diag(model.factor_covariance)
    assert variances[0] == variances.max()


@given(
    seed=st.integers(0, 10_000),
    names=st.integers(2, 24),
    missing=st.floats(0.0, 0.2),
    scale=st.sampled_from([1e-4, 1.0, 20.0]),
    estimator=st.sampled_from(LINKED),
)
@settings(max_examples=20, deadline=None)
def test_sigma_is_positive_definite_whatever_the_panel(seed, names, missing, scale, estimator):
    """Sigma and its float32 rounding are positive definite for few assets, gaps, tiny and huge volatilities."""
    rng = np.random.default_rng(seed)
    returns = np.maximum(scale * _returns(seed, 130, names), -1.0)
    returns[rng.random(returns.shape) < missing] = np.nan
    try:
        model = _model(returns, estimator=estimator, max_gap_share=0.6)
    except RiskModelError as refused:
        assert refused.code in {"TOO_FEW_NAMES", "TOO_FEW_SESSIONS"}  # noqa: PT017 (the panel is random)
        return
    _assert_positive_definite(model)


@given(st.randoms(use_true_random=False), st.sampled_from(LINKED))
@settings(max_examples=8, deadline=None)
def test_the_order_of_names_changes_nothing_else(random, estimator):
    """Shuffled columns give the same model in the shuffled order, bit for bit, links included."""
    returns = _returns(seed=2, sessions=180, names=24)
    returns[:110, 3] = np.nan
    returns[:, 7] = np.nan
    attributes = _attributes(24)
    tickers = tuple(f"T{at * 7 % 24:02d}" for at in range(24))
    order = list(range(24))
    random.shuffle(order)
    first = _model(returns, estimator=estimator, tickers=tickers)
    second = _model(
        returns[:, order],
        estimator=estimator,
        tickers=tuple(tickers[at] for at in order),
        attributes=attributes.of(np.array(order)),
    )
    np.testing.assert_array_equal(second.loadings, first.loadings[order])
    np.testing.assert_array_equal(second.specific_variance, first.specific_variance[order])
    np.testing.assert_array_equal(second.factor_covariance, first.factor_covariance)
    np.testing.assert_array_equal(_specific_correlation(second), _specific_correlation(first)[np.ix_(order, order)])


@given(scale=st.floats(0.05, 3.0), estimator=st.sampled_from(LINKED))
@settings(max_examples=8, deadline=None)
def test_returns_twice_as_large_give_four_times_the_covariance(scale, estimator):
    """Scaling every return scales Sigma by the square, as long as no asset is at the absolute floor."""
    returns = _returns(sessions=150, names=24)
    before = covariance(_model(returns, estimator=estimator, min_specific_volatility=1e-3))
    after = covariance(_model(scale * returns, estimator=estimator, min_specific_volatility=1e-3))
    np.testing.assert_allclose(after, scale**2 * before, rtol=1e-4, atol=1e-6 * scale**2 * before.max())


@pytest.mark.parametrize("estimator", LINKED)
def test_a_name_with_constant_prices_stands_apart(estimator):
    """A column of zero returns gets fallback values and no link, and Sigma stays positive definite."""
    returns = _returns()
    returns[:, 9] = 0.0
    model = _model(returns, estimator=estimator)
    assert dict(model.diagnostics.fallback) == {"N009": "STALE_PRICES"}
    assert all(9 not in block.names for block in model.specific_blocks)
    _assert_positive_definite(model)


@pytest.mark.parametrize("estimator", LINKED)
@pytest.mark.parametrize("row", [0, 130, -1])
def test_a_fall_of_90_percent_stays_its_own(estimator, row):
    """One asset's collapse raises its own variance and leaves the others' variances and links nearly as they were."""
    returns = _returns()
    usual = _model(returns, estimator=estimator)
    returns[row, 10] = -0.9
    model = _model(returns, estimator=estimator)
    _assert_positive_definite(model)
    others = np.arange(40) != 10
    if row != 0:  # the oldest day hardly weighs
        assert model.specific_variance[10] > 1.5 * usual.specific_variance[10]
    np.testing.assert_allclose(np.diag(covariance(model))[others], np.diag(covariance(usual))[others], rtol=0.15)
    moved = np.abs(_specific_correlation(model) - _specific_correlation(usual))[np.ix_(others, others)]
    assert moved.max() < 0.25


@pytest.mark.parametrize("estimator", LINKED)
def test_a_name_with_60_sessions_is_estimated(estimator):
    """Sixty returns are enough for loadings, a variance and links of one's own; fifty-nine are not."""
    returns = _returns()
    returns[:-60, 5] = np.nan
    returns[:-59, 6] = np.nan
    model = _model(returns, estimator=estimator)
    assert dict(model.diagnostics.fallback) == {"N006": "SHORT_HISTORY"}
    _assert_positive_definite(model)
    full = _model(_returns(), estimator=estimator)
    assert 0.3 < model.specific_variance[5] / full.specific_variance[5] < 3.0
    assert np.count_nonzero(_specific_correlation(model)[5]) > 1


@pytest.mark.parametrize("estimator", LINKED)
@pytest.mark.parametrize("noise", [0.0, 0.0005])
def test_a_second_share_class_has_a_specific_correlation_near_one(estimator, noise):
    """An asset that moves as another one does is linked to it almost fully, and Sigma stays positive definite."""
    returns = _returns()
    returns[:, 16] = returns[:, 8] + noise * np.random.default_rng(3).normal(size=len(returns))
    model = _model(returns, estimator=estimator)
    correlation = _specific_correlation(model)
    assert correlation[8, 16] > 0.95
    beside = np.delete(np.abs(correlation[8]), [8, 16])
    assert beside.max() < 0.6
    _assert_positive_definite(model)
    pair = np.zeros(40)
    pair[[8, 16]] = 0.5, -0.5
    apart = np.zeros(40)
    apart[[8, 12]] = 0.5, -0.5
    sigma = covariance(model)
    assert pair @ sigma @ pair < 0.1 * (apart @ sigma @ apart)


def test_names_of_one_group_are_linked_as_share_classes():
    """A declared group links its assets by nearly all that the sample shows."""
    returns = _returns()
    returns[:, 16] = 0.5 * returns[:, 16] + 0.5 * returns[:, 8]
    alone = _specific_correlation(_model(returns))[8, 16]
    groups = tuple("CO" if at in {8, 16} else "" for at in range(40))
    together = _specific_correlation(_model(returns, attributes=_attributes(40, groups)))[8, 16]
    assert together == pytest.approx(alone * 0.97 / 0.7, rel=1e-5)


def test_links_keep_their_share_of_the_sample_correlation():
    """Within a sector the share kept is 0.7, across sectors 0.25: without the settings the sample is kept alike."""
    returns = _returns()
    usual = _specific_correlation(_model(returns))
    links = LinkSettings(within_sector=0.5, across_sectors=0.5)
    alike = _specific_correlation(_model(returns, links=links))
    np.testing.assert_allclose(usual[0, 4] / alike[0, 4], 0.7 / 0.5, rtol=1e-5)
    np.testing.assert_allclose(usual[0, 1] / alike[0, 1], 0.25 / 0.5, rtol=1e-5)


def test_names_without_a_sector_have_no_links_within_one():
    """An unknown sector is no sector: its assets are linked as across sectors, or not at all."""
    returns = _returns()
    unknown = AssetAttributes.unknown(40)
    assert _model(returns, estimator="linked_sectors", attributes=unknown).specific_blocks == ()
    within = _specific_correlation(_model(returns, attributes=replace(_attributes(40), sectors=("A",) * 40)))
    across = _specific_correlation(_model(returns, attributes=replace(_attributes(40), sectors=("",) * 40)))
    np.testing.assert_allclose(across[0, 1], within[0, 1] * 0.25 / 0.7, rtol=1e-5)


def test_a_lively_month_raises_every_forecast():
    """The common regime carries turbulence over to an asset that was calm itself."""
    returns = _returns()
    returns[-21:, 1:] *= 2.0
    calm, lively = _model(_returns()), _model(returns)
    assert lively.specific_variance[0] > 1.3 * calm.specific_variance[0]


def test_a_market_in_lockstep_is_survived():
    """Assets that do exactly what the market does leave nothing for regime and components, and no division by zero."""
    one = _returns(names=1)
    model = _model(np.repeat(one, 8, axis=1), attributes=_attributes(8))
    _assert_positive_definite(model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"caution": 3.0}, "caution = 3.0"),
        ({"variance_half_lives": ()}, "variance_half_lives"),
        ({"variance_half_lives": (0.5,)}, "variance_half_lives"),
        ({"within_sector": 0.2}, "must not descend"),
    ],
)
def test_link_settings_out_of_range_are_refused(changes, message):
    """Settings outside their range are refused by name."""
    with pytest.raises(RiskModelError, match=message) as refused:
        LinkSettings(**changes)
    assert refused.value.code == "RISK_SETTINGS"


@pytest.mark.parametrize(
    ("weights", "sectors", "message"),
    [
        (np.ones(3), ("A", "B"), "must be of the same assets"),
        (np.array([1.0, -1.0]), ("A", "B"), "at least 0"),
        (np.array([1.0, np.nan]), ("A", "B"), "finite"),
    ],
)
def test_contradictory_attributes_are_refused(weights, sectors, message):
    """Attributes must be of the same assets, with weights that can be weights."""
    with pytest.raises(RiskModelError, match=message) as refused:
        AssetAttributes(weights, sectors, ("", ""))
    assert refused.value.code == "RISK_INPUT"


def test_attributes_of_other_names_are_refused():
    """Attributes that do not fit the panel's columns never reach an estimator."""
    with pytest.raises(RiskModelError, match="attributes of 12 assets for a panel of 40"):
        _model(_returns(), attributes=_attributes(12))
