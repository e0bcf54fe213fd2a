import json
import os
import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prometheus.foundation.errors import RiskModelError
from prometheus.risk.factor_model import (
    ESTIMATORS,
    FALLBACK_REASONS,
    FactorModel,
    RiskSettings,
    covariance,
    estimate_factor_model,
)
from prometheus.risk.panel import ReturnPanel

LAST = date(2025, 9, 3)


def _panel(returns, tickers=None):
    sessions, names = returns.shape
    dates = tuple(LAST - timedelta(days=sessions - 1 - at) for at in range(sessions))
    return ReturnPanel(dates, tickers or tuple(f"N{at:03d}" for at in range(names)), returns)


def _returns(seed=1, sessions=400, names=60):
    """Return (T, N) returns of a market, three groups and specific parts."""
    rng = np.random.default_rng(seed)
    market = rng.normal(0.0004, 0.01, (sessions, 1)) * rng.uniform(0.6, 1.4, names)
    groups = rng.normal(0.0, 0.006, (sessions, 3))[:, np.arange(names) % 3]
    return market + groups + rng.normal(0.0, 1.0, (sessions, names)) * rng.uniform(0.008, 0.02, names)


def _model(returns, tickers=None, *, estimator="ewma_pca", **settings_: object):
    return estimate_factor_model(
        _panel(returns, tickers), as_of=LAST, settings=RiskSettings(estimator=estimator, **settings_)
    )


def _assert_positive_definite(model):
    sigma = covariance(model)
    assert (sigma == sigma.T).all()
    for matrix in (sigma, sigma.astype(np.float32).astype(np.float64)):
        assert np.linalg.eigvalsh(matrix)[0] > 0


def test_shapes_types_and_identity_of_a_model():
    """A model has six factors, the documented types, the panel's assets and its estimator's name and version."""
    model = _model(_returns())
    assert model.loadings.shape == (60, 6)
    assert model.loadings.dtype == model.specific_variance.dtype == np.float32
    assert model.factor_covariance.shape == (6, 6)
    assert model.factor_covariance.dtype == np.float64
    assert model.specific_variance.shape == (60,)
    assert model.tickers == tuple(f"N{at:03d}" for at in range(60))
    assert (model.as_of, model.estimator, model.version) == (LAST, "ewma_pca", ESTIMATORS["ewma_pca"][1])


def test_the_model_finds_a_known_covariance():
    """With plenty of data the predicted volatilities of assets and portfolios are close to the true ones."""
    rng = np.random.default_rng(5)
    names, sessions = 40, 504
    beta = rng.uniform(0.6, 1.4, names)
    specific = rng.uniform(0.01, 0.02, names)
    returns = rng.normal(0, 0.01, (sessions, 1)) * beta + rng.normal(size=(sessions, names)) * specific
    truth = 252 * (np.outer(beta, beta) * 0.01**2 + np.diag(specific**2))
    sigma = covariance(_model(returns))
    np.testing.assert_allclose(np.sqrt(np.diag(sigma)), np.sqrt(np.diag(truth)), rtol=0.2)
    for weights in rng.dirichlet(np.ones(names), 50):
        assert np.sqrt(weights @ sigma @ weights) == pytest.approx(np.sqrt(weights @ truth @ weights), rel=0.15)


def test_recent_turbulence_raises_the_forecast():
    """After a livelier last quarter the forecast lies above that of the same returns without it."""
    calm = _returns()
    lively = calm.copy()
    lively[-60:] *= 2.0
    equal = np.full(60, 1 / 60)
    before, after = (equal @ covariance(_model(returns)) @ equal for returns in (calm, lively))
    assert after > 1.5 * before


def test_factors_are_ordered_scaled_and_signed():
    """Factors descend in explained variance, have unit root mean square and a positive sum of cubed loadings."""
    model = _model(_returns(), volatility_half_life=252.0)
    X = model.loadings.astype(np.float64)
    np.testing.assert_allclose(np.sqrt((X**2).mean(axis=0)), 1.0, rtol=1e-5)
    explained = (X**2 * np.diag(model.factor_covariance) / np.diag(covariance(model))[:, None]).sum(axis=0)
    assert (np.diff(explained) < 0).all()
    assert ((X**3).sum(axis=0) > 0).all()
    assert (X[:, 0] > 0).all()  # the market


@given(st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_the_order_of_names_changes_nothing_else(random):
    """Shuffled columns give the same loadings, variances and diagnostics in the shuffled order, bit for bit."""
    returns = _returns(seed=2, sessions=200, names=24)
    returns[:150, 3] = np.nan
    returns[:, 7] = np.nan
    tickers = tuple(f"T{at * 7 % 24:02d}" for at in range(24))
    order = list(range(24))
    random.shuffle(order)
    first = _model(returns, tickers)
    second = _model(returns[:, order], tuple(tickers[at] for at in order))
    np.testing.assert_array_equal(second.loadings, first.loadings[order])
    np.testing.assert_array_equal(second.specific_variance, first.specific_variance[order])
    np.testing.assert_array_equal(second.factor_covariance, first.factor_covariance)
    np.testing.assert_array_equal(second.diagnostics.sessions_used, first.diagnostics.sessions_used[order])
    assert second.diagnostics.fallback == first.diagnostics.fallback


def test_the_same_panel_gives_the_same_model():
    """Estimation is deterministic: no clock and no randomness."""
    first, second = _model(_returns()), _model(_returns())
    assert first.loadings.tobytes() == second.loadings.tobytes()
    assert first.factor_covariance.tobytes() == second.factor_covariance.tobytes()
    assert first.specific_variance.tobytes() == second.specific_variance.tobytes()


def test_rows_after_the_as_of_date_are_not_seen():
    """The future does not leak: a model of an earlier date ignores later rows, and the window ignores older ones."""
    returns = _returns(sessions=400)
    early = estimate_factor_model(
        _panel(returns), as_of=LAST - timedelta(days=100), settings=RiskSettings(estimator="ewma_pca", window=200)
    )
    other = returns.copy()
    other[300:] = 0.5
    other[:100] = -0.5
    again = estimate_factor_model(
        _panel(other), as_of=LAST - timedelta(days=100), settings=RiskSettings(estimator="ewma_pca", window=200)
    )
    assert early.loadings.tobytes() == again.loadings.tobytes()
    assert early.diagnostics.last_date == LAST - timedelta(days=100)
    assert early.diagnostics.sessions == 200


def test_names_that_cannot_be_estimated_load_like_the_average():
    """An unseen asset, a new one, one with gaps and one with stale prices get the documented fallback and a reason."""
    returns = _returns()
    returns[:, 0] = np.nan
    returns[:-3, 1] = np.nan
    returns[:-59, 2] = np.nan
    returns[::2, 3] = np.nan
    returns[:, 4] = 0.0
    returns[: 400 * 3 // 4, 5] = np.nan  # late, but complete since
    model = _model(returns)
    assert dict(model.diagnostics.fallback) == {
        "N000": "NO_RETURNS",
        "N001": "SHORT_HISTORY",
        "N002": "SHORT_HISTORY",
        "N003": "GAPS",
        "N004": "STALE_PRICES",
    }
    assert set(dict(model.diagnostics.fallback).values()) == set(FALLBACK_REASONS)
    np.testing.assert_allclose(
        model.loadings[:5], np.tile(model.loadings[5:].mean(axis=0), (5, 1)), rtol=1e-4, atol=1e-6
    )
    usual = np.quantile(model.specific_variance[5:].astype(np.float64), 0.9)
    np.testing.assert_allclose(model.specific_variance[[0, 1, 4]], usual, rtol=1e-5)
    assert (model.specific_variance[:5] >= usual * (1 - 1e-6)).all()
    assert model.diagnostics.sessions_used[:6].tolist() == [0, 3, 59, 200, 400, 100]
    _assert_positive_definite(model)


def test_a_lively_name_with_a_short_history_keeps_its_own_variance():
    """Fallback never hides that an asset with some weeks of history moves more than the high quantile."""
    returns = _returns()
    returns[:, 0] = np.nan
    returns[-30:, 0] = 0.08 * (-1.0) ** np.arange(30)
    model = _model(returns)
    assert model.specific_variance[0] > 0.9 * 252 * 0.08**2
    assert model.specific_variance[0] < 252 * 0.08**2


@pytest.mark.parametrize("row", [-1, 200, 0])
def test_a_collapse_does_not_break_the_model(row):
    """A fall of 90 % on one day leaves the matrix positive definite and does not become a factor of its own."""
    returns = _returns()
    usual = _model(returns)
    returns[row, 10] = -0.9
    model = _model(returns)
    _assert_positive_definite(model)
    assert model.specific_variance[10] > usual.specific_variance[10]
    others = np.arange(60) != 10
    np.testing.assert_allclose(np.diag(covariance(model))[others], np.diag(covariance(usual))[others], rtol=0.15)


def test_a_total_loss_and_a_thousandfold_gain_are_survived():
    """The floor under specific variance follows the largest variance, so extreme assets cannot break the others."""
    returns = _returns()
    returns[100, 0] = -1.0
    returns[101, 1] = 1000.0
    _assert_positive_definite(_model(returns))


@given(
    seed=st.integers(0, 10_000),
    names=st.integers(2, 30),
    missing=st.floats(0.0, 0.24),
    scale=st.sampled_from([1e-4, 1.0, 20.0]),
)
@settings(max_examples=25, deadline=None)
def test_sigma_is_positive_definite_whatever_the_panel(seed, names, missing, scale):
    """Sigma and its float32 rounding are positive definite for few assets, gaps, tiny and huge volatilities."""
    rng = np.random.default_rng(seed)
    returns = np.maximum(scale * _returns(seed, 130, names), -1.0)
    returns[rng.random(returns.shape) < missing] = np.nan
    try:
        model = _model(returns, max_gap_share=0.6)
    except RiskModelError as refused:
        assert refused.code in {"TOO_FEW_NAMES", "TOO_FEW_SESSIONS"}  # noqa: PT017 (the panel is random)
        return
    _assert_positive_definite(model)
    assert np.linalg.eigvalsh(model.factor_covariance)[0] >= -1e-7 * model.factor_covariance.max()


def test_two_identical_names_leave_the_matrix_positive_definite():
    """Assets that move in lockstep stand on the floor of specific variance, and the diagnostics say so."""
    one = _returns(names=1)
    model = _model(np.repeat(one, 3, axis=1))
    assert model.diagnostics.floored == ("N000", "N001", "N002")
    np.testing.assert_allclose(model.specific_variance, 0.02**2, rtol=1e-6)
    _assert_positive_definite(model)


def test_few_names_get_few_factors():
    """Unused factors have zero loadings and zero variance."""
    model = _model(_returns(names=7))
    used = np.flatnonzero(np.abs(model.loadings).sum(axis=0))
    assert used.tolist() == [0, 1]
    assert not model.factor_covariance[2:].any()
    assert not model.factor_covariance[:, 2:].any()


def test_names_in_lockstep_have_one_factor():
    """Directions without variance do not become factors made of rounding noise."""
    model = _model(np.repeat(_returns(names=1), 30, axis=1))
    assert np.flatnonzero(np.abs(model.loadings).sum(axis=0)).tolist() == [0]
    assert np.count_nonzero(model.factor_covariance) == 1


def test_covariance_follows_from_the_stored_arrays():
    """Sigma is the factor structure of the stored float32 values, computed in float64."""
    model = _model(_returns())
    X, D = model.loadings.astype(np.float64), model.specific_variance.astype(np.float64)
    np.testing.assert_allclose(
        covariance(model), X @ model.factor_covariance @ X.T + np.diag(D), rtol=1e-13, atol=1e-16
    )


def test_sessions_without_returns_do_not_count():
    """Holidays in the panel are left out of the count of sessions."""
    returns = _returns(sessions=130)
    returns[10:14] = np.nan
    assert _model(returns).diagnostics.sessions == 126
    returns[20] = np.nan
    with pytest.raises(RiskModelError, match="125 sessions with returns"):
        _model(returns)


def test_a_panel_with_too_few_sessions_is_refused():
    """Fewer than 126 sessions up to the date give no model, and the message says how many there are."""
    with pytest.raises(RiskModelError, match=r"125 sessions .* 126 are needed") as refused:
        _model(_returns(sessions=125))
    assert refused.value.code == "TOO_FEW_SESSIONS"


def test_a_date_before_the_panel_is_refused():
    """Without a single session up to the date there is no model."""
    with pytest.raises(RiskModelError, match="0 sessions"):
        estimate_factor_model(_panel(_returns()), as_of=date(2000, 1, 3))


@pytest.mark.parametrize("names", [0, 1])
def test_fewer_than_two_names_are_refused(names):
    """One asset has no common factor."""
    with pytest.raises(RiskModelError, match=f"{names} assets in the panel") as refused:
        _model(_returns(names=2)[:, :names])
    assert refused.value.code == "TOO_FEW_NAMES"


def test_a_panel_of_new_names_is_refused():
    """Assets that all are too new cannot stand in for each other."""
    returns = _returns()
    returns[:-30, 1:] = np.nan
    with pytest.raises(RiskModelError, match="0 of 60 assets have enough history"):
        _model(returns, min_window=20)


def test_an_unknown_estimator_is_refused_with_the_known_ones():
    """The estimator is chosen from a table by name."""
    with pytest.raises(RiskModelError, match="'crystal_ball' is unknown; known are ewma_pca"):
        _model(_returns(), estimator="crystal_ball")


@pytest.mark.parametrize(
    "changes",
    [{"window": 1}, {"clip": 0.5}, {"specific_shrinkage": 1.5}, {"min_specific_volatility": 0.0}, {"min_window": 600}],
)
def test_settings_out_of_range_are_refused(changes):
    """Settings outside their range are refused by name."""
    with pytest.raises(RiskModelError, match=f"risk setting {next(iter(changes))}") as refused:
        RiskSettings(**changes)
    assert refused.value.code == "RISK_SETTINGS"


def test_arrays_of_a_model_are_read_only():
    """A model cannot be changed after it is made."""
    model = _model(_returns())
    for array in (model.loadings, model.factor_covariance, model.specific_variance):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def _parts(model):
    return {name: getattr(model, name) for name in FactorModel.__slots__}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("loadings", np.zeros((60, 6)), "loadings is float64"),
        ("loadings", np.zeros((60, 5), np.float32), "must be float32 \\(60, 6\\)"),
        ("factor_covariance", np.full((6, 6), np.nan), "factor_covariance .* not finite"),
        ("specific_variance", np.zeros(60, np.float32), "specific variance of N000 is not positive"),
    ],
)
def test_a_broken_model_is_refused(name, value, message):
    """Wrong shapes, types and values never become a model."""
    parts = _parts(_model(_returns()))
    parts[name] = value
    with pytest.raises(RiskModelError, match=message):
        FactorModel(**parts)


def test_diagnostics_are_json():
    """Diagnostics can be stored with the model and name what was seen."""
    returns = _returns()
    returns[:-3, 1] = np.nan
    stored = json.loads(json.dumps(_model(returns).diagnostics.as_dict()))
    assert stored["fallback"] == {"N001": "SHORT_HISTORY"}
    assert stored["sessions"] == 400
    assert stored["sessions_used"][:2] == [400, 3]
    assert stored["last_date"] == LAST.isoformat()
    assert 0.2 < stored["variance_explained"] < 0.9


_COST_OF_A_MODEL = """
import datetime as dt, time
import numpy as np
from prometheus.risk.factor_model import estimate_factor_model
from prometheus.risk.panel import ReturnPanel
rng = np.random.default_rng(9)
returns = rng.normal(0, 0.01, (504, 1)) * rng.uniform(0.5, 1.5, 500) + rng.normal(0, 0.015, (504, 500))
dates = tuple(dt.date(2024, 1, 1) + dt.timedelta(days=at) for at in range(504))
panel = ReturnPanel(dates, tuple(map(str, range(500))), returns)
def seconds(act):
    tries = []
    for _ in range(3):
        start = time.process_time()
        act()
        tries.append(time.process_time() - start)
    return min(tries)
print(seconds(lambda: estimate_factor_model(panel, as_of=dates[-1])) / seconds(lambda: np.linalg.svd(returns)))
"""


def _run(code, threads):
    environment = os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return done.stdout


def test_five_hundred_names_cost_ten_decompositions_at_most():
    """Estimating 500 assets over 504 sessions takes one thread no more than ten decompositions of their returns."""
    # Of processor time, the best of three tries: neither a slow machine nor a busy one makes a difference.
    assert float(_run(_COST_OF_A_MODEL, "1")) <= 10.0


_PRINT_A_MODEL = """
import datetime as dt
import numpy as np
from prometheus.risk.factor_model import estimate_factor_model
from prometheus.risk.panel import ReturnPanel
rng = np.random.default_rng(9)
returns = rng.normal(0, 0.01, (504, 1)) * rng.uniform(0.5, 1.5, 200) + rng.normal(0, 0.015, (504, 200))
dates = tuple(dt.date(2024, 1, 1) + dt.timedelta(days=at) for at in range(504))
model = estimate_factor_model(ReturnPanel(dates, tuple(map(str, range(200))), returns), as_of=dates[-1])
print(model.loadings.tobytes().hex(), model.specific_variance.tobytes().hex())
"""


def test_the_number_of_threads_moves_nothing_beyond_float32_rounding():
    """A model estimated with one and with two BLAS threads agrees to the precision in which it is stored."""
    stored = [
        [np.frombuffer(bytes.fromhex(part), np.float32) for part in _run(_PRINT_A_MODEL, threads).split()]
        for threads in ("1", "2")
    ]
    for one, two in zip(*stored, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-7)
