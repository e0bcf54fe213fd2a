"""The measure: test portfolios are what they say, scores mean what they say, and the textbook is quoted correctly."""

from datetime import date, timedelta

import numpy as np
import pytest

from prometheus.foundation.errors import RequestError, RiskModelError
from prometheus.ingestion.market_directory import read_market_directory
from prometheus.risk.evaluation import textbook
from prometheus.risk.evaluation.estimators import TEXTBOOK, covariance_estimator
from prometheus.risk.evaluation.history import MarketHistory, month, months
from prometheus.risk.evaluation.measure import ClassMonth, evaluate, summarise
from prometheus.risk.evaluation.minimum_risk import greedy_cut, least_tracking_error
from prometheus.risk.evaluation.portfolios import CLASSES, active_weights, month_portfolios
from tests.unit.risk.market_past import BENCHMARK_DATES, DAYS, NAMES, TICKERS, history, past_returns, write_files

EARLY, FIRST, SECOND, LAST = BENCHMARK_DATES


@pytest.fixture(scope="module")
def past():
    """Return the small market's past."""
    return history()


def _covariance(seed, n=25):
    draws = np.random.default_rng(seed).normal(size=(3 * n, n))
    return np.cov(draws, rowvar=False)


def _variance(sigma, weights, benchmark):
    active = weights - benchmark
    return active @ sigma @ active


@pytest.mark.parametrize("seed", range(6))
def test_least_tracking_error_meets_the_optimality_conditions(seed):
    """No held asset and no asset left out could lower the variance: the conditions of Karush, Kuhn and Tucker hold."""
    rng = np.random.default_rng(seed)
    sigma = _covariance(seed)
    benchmark = rng.dirichlet(np.ones(25))
    names = np.sort(rng.choice(25, 10, replace=False))
    weights = least_tracking_error(sigma, benchmark, names)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()
    assert not np.delete(weights, names).any()
    slope = (sigma @ (weights - benchmark))[names]
    held = weights[names] > 0
    np.testing.assert_allclose(slope[held], slope[held].mean(), atol=1e-9)
    assert (slope[~held] >= slope[held].mean() - 1e-9).all()


def test_least_tracking_error_leaves_out_names_that_would_be_short():
    """An asset that the closed form would sell short is left out, and another order of assets gives the same answer."""
    sigma = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 0.1]]) + 0.01 * np.eye(3)
    weights = least_tracking_error(sigma, np.array([0.0, 0.0, 1.0]), np.array([0, 1]))
    np.testing.assert_allclose(weights, [0.5, 0.5, 0.0])
    short = np.array([[4.0, 1.9, 0.0], [1.9, 1.0, 0.0], [0.0, 0.0, 0.1]])
    np.testing.assert_allclose(least_tracking_error(short, np.array([0.0, 0.0, 1.0]), np.array([0, 1])), [0, 1, 0])


def test_greedy_cut_holds_the_names_asked_for_and_beats_random_lists():
    """The cut ends with at most the count, inside its universe, and tracks better than lists drawn at random."""
    sigma = _covariance(3)
    benchmark = np.random.default_rng(3).dirichlet(np.ones(25))
    universe = np.arange(5, 25)
    weights = greedy_cut(sigma, benchmark, 6, universe)
    assert 0 < np.count_nonzero(weights) <= 6
    assert not weights[:5].any()
    rng = np.random.default_rng(4)
    others = [
        _variance(
            sigma, least_tracking_error(sigma, benchmark, np.sort(rng.choice(universe, 6, replace=False))), benchmark
        )
        for _ in range(20)
    ]
    assert _variance(sigma, weights, benchmark) < np.median(others)


def test_months_are_those_with_a_full_window_before_and_a_session_after(past):
    """Benchmark dates with less than 504 sessions before or none after are no months."""
    assert months(past, DAYS[0], DAYS[-1]) == (FIRST, SECOND)
    with pytest.raises(RiskModelError, match="No benchmark date between") as refused:
        months(past, DAYS[0], EARLY)
    assert refused.value.code == "TOO_FEW_SESSIONS"


def test_a_month_knows_nothing_of_its_future(past):
    """The window ends on the as-of date, the future begins on the next session and lasts 21 sessions."""
    slice_ = month(past, FIRST)
    assert (slice_.dates[-1], slice_.returns.shape, slice_.future.shape) == (FIRST, (504, NAMES), (21, NAMES))
    np.testing.assert_array_equal(slice_.future, past.panel.returns[511:532])
    np.testing.assert_array_equal(slice_.returns[-1], past.panel.returns[510])


def test_names_without_history_or_weight_are_left_out(past):
    """A member that misses more than four sessions of the window is no test asset; weights are renormalised."""
    returns = past.panel.returns.copy()
    returns[400:405, 3] = np.nan
    returns[400:404, 4] = np.nan
    weights = past.weights[FIRST].copy()
    weights[5] = 0.0
    panel = type(past.panel)(past.panel.dates, past.panel.tickers, returns)
    slice_ = month(MarketHistory(panel, {FIRST: weights}, past.sectors, past.groups), FIRST)
    assert set(TICKERS) - set(slice_.tickers) == {"N03", "N05"}
    assert slice_.weights.sum() == pytest.approx(1.0)
    with pytest.raises(RiskModelError, match="0 benchmark members"):
        month(MarketHistory(panel, {FIRST: 0.0 * weights}, past.sectors, past.groups), FIRST)


def test_test_portfolios_are_active_and_the_same_for_every_estimator(past):
    """Every portfolio's active weights sum to zero, classes A and C do not depend on the covariance or the call."""
    slice_ = month(past, FIRST)
    portfolios = month_portfolios(slice_)
    one = active_weights(slice_, portfolios, _covariance(1, NAMES))
    other = active_weights(slice_, month_portfolios(slice_), _covariance(2, NAMES))
    assert tuple(one) == CLASSES
    for rows in one.values():
        np.testing.assert_allclose(rows.sum(axis=1), 0.0, atol=1e-12)
    np.testing.assert_array_equal(one["A"], other["A"])
    np.testing.assert_array_equal(one["C"], other["C"])
    assert (one["B2"] != other["B2"]).any()
    assert len(one["C"]) == 2 * 3 + 6
    assert ((one["B1"] + slice_.weights) >= -1e-12).all()


def test_perfect_forecasts_score_one_and_half_the_volatility_scores_two(past, monkeypatch):
    """With the true covariance the bias is near one; forecasts of half the volatility have twice the bias."""
    _, truth = past_returns()
    estimates = {"truth": lambda _: 252 * truth, "half": lambda _: 63 * truth}
    monkeypatch.setattr("prometheus.risk.evaluation.measure.covariance_estimator", estimates.__getitem__)
    told = []
    scores = evaluate(past, ("truth", "half"), DAYS[0], DAYS[-1], progress=told.append)
    assert told == [1, 1, 1, 1]
    of = {(score.estimator, score.portfolio_class): score for score in summarise(scores) if score.period == "all"}
    for kind in CLASSES:
        assert of["truth", kind].bias == pytest.approx(1.0, abs=0.2)
        assert of["half", kind].bias == pytest.approx(2.0 * of["truth", kind].bias, rel=1e-6)
        assert of["truth", kind].qlike < 0.2 < of["half", kind].qlike
        assert of["truth", kind].in_band > of["half", kind].in_band
        assert of["truth", kind].realised_tracking_error == pytest.approx(of["half", kind].realised_tracking_error)


def test_periods_are_kept_apart():
    """Months of the crisis count among all and on their own, not among the calm ones, tuned or reported."""
    days = (date(2016, 1, 29), date(2019, 1, 31), date(2020, 3, 31))
    scores = [
        ClassMonth("one", day, "A", 10, ratio, 0.1, 1e-4, 1e-4, 0.9)
        for day, ratio in zip(days, (1.0, 4.0, 9.0), strict=True)
    ]
    biases = {score.period: (score.bias, score.months) for score in summarise(scores)}
    assert biases["calm"] == (pytest.approx(2.5**0.5), 2)
    assert biases["all"] == (pytest.approx((14 / 3) ** 0.5), 3)
    assert biases["calm to 2017 (tuned)"] == (1.0, 1)
    assert biases["calm from 2018"] == (2.0, 1)
    assert biases["crisis"] == (3.0, 1)


@pytest.mark.parametrize("name", [*TEXTBOOK, "ewma_pca", "linked", "linked_sectors"])
def test_every_estimator_gives_a_covariance(past, name):
    """Each one is symmetric, positive semidefinite, and finds the true variances within a third."""
    _, truth = past_returns()
    sigma = covariance_estimator(name)(month(past, SECOND))
    np.testing.assert_allclose(sigma, sigma.T, rtol=1e-10, atol=1e-12)
    assert np.linalg.eigvalsh(sigma)[0] > 0
    np.testing.assert_allclose(np.diag(sigma), 252 * np.diag(truth), rtol=0.34)


def test_an_unknown_estimator_is_refused():
    """The message lists the known ones."""
    with pytest.raises(RiskModelError, match=r"crystal.* unknown; known are ewma_pca.*qis"):
        covariance_estimator("crystal")


def _shrunk_by_definition(returns, target):
    """Return Ledoit and Wolf's combination from its definition, session by session."""
    centred = returns - returns.mean(axis=0)
    sessions = len(centred)
    moment = centred.T @ centred / sessions
    products = [np.outer(row, row) for row in centred]
    pi = sum((product - moment) ** 2 for product in products) / sessions
    aim, rho = target(centred, moment, products, pi)
    strength = np.clip((pi.sum() - rho) / ((moment - aim) ** 2).sum() / sessions, 0.0, 1.0)
    return 252 * (strength * aim + (1 - strength) * moment)


def _identity(centred, moment, products, pi):
    return np.trace(moment) / len(moment) * np.eye(len(moment)), 0.0


def _constant_correlation(centred, moment, products, pi):
    n = len(moment)
    s = np.sqrt(np.diag(moment))
    mean = (moment / np.outer(s, s))[~np.eye(n, dtype=bool)].mean()
    aim = mean * np.outer(s, s)
    np.fill_diagonal(aim, np.diag(moment))
    rho = np.trace(pi)
    for i in range(n):
        for j in range(n):
            if i != j:
                theta = [
                    np.mean(
                        [
                            (row[k] ** 2 - moment[k, k]) * (product[i, j] - moment[i, j])
                            for row, product in zip(centred, products, strict=True)
                        ]
                    )
                    for k in (i, j)
                ]
                rho += mean / 2 * (s[j] / s[i] * theta[0] + s[i] / s[j] * theta[1])
    return aim, rho


@pytest.mark.parametrize(
    ("estimator", "target"),
    [(textbook.shrunk_to_identity, _identity), (textbook.shrunk_to_constant_correlation, _constant_correlation)],
)
def test_linear_shrinkage_follows_its_definition(estimator, target):
    """The closed forms give what the papers' sums over sessions and pairs give."""
    returns = past_returns()[0][:40, :5]
    np.testing.assert_allclose(estimator(returns), _shrunk_by_definition(returns, target), rtol=1e-9)


@pytest.mark.parametrize("names", [60, 150])
def test_quadratic_inverse_shrinkage_comes_nearer_to_the_truth(names):
    """With few sessions for each asset, fewer than assets too, it keeps the trace and halves the sample's error."""
    rng = np.random.default_rng(1)
    truth = np.sort(rng.uniform(0.2, 4.0, names))
    returns = rng.normal(size=(100, names)) * np.sqrt(truth)
    shrunk, sample = textbook.quadratic_inverse_shrinkage(returns) / 252, textbook.sample(returns) / 252
    assert np.trace(shrunk) == pytest.approx(np.trace(sample))
    assert np.linalg.eigvalsh(shrunk)[0] > 0
    error = [np.linalg.norm(estimate - np.diag(truth)) for estimate in (shrunk, sample)]
    assert error[0] < 0.6 * error[1]


def test_components_keep_every_variance():
    """Principal components with a diagonal rest have the sample's variances, and the market's betas when asked."""
    returns = past_returns()[0][:300]
    weights = np.full(NAMES, 1 / NAMES)
    sample = textbook.sample(returns)
    np.testing.assert_allclose(np.diag(textbook.principal_components(returns)), np.diag(sample), rtol=1e-12)
    covariance = textbook.market_and_components(returns, weights)
    np.testing.assert_allclose(np.diag(covariance), np.diag(sample), rtol=1e-12)
    # a residual's covariance with the market is zero by construction of its beta
    market = weights @ sample @ weights
    np.testing.assert_allclose(weights @ covariance @ weights, market, rtol=0.1)


def test_directory_gives_the_market_that_was_written(tmp_path, past):
    """Returns, weights and sectors come back from files, splits undone."""
    write_files(tmp_path)
    read = read_market_directory(tmp_path)
    assert (read.panel.dates, read.panel.tickers, read.sectors) == (DAYS[1:], TICKERS, past.sectors)
    np.testing.assert_allclose(read.panel.returns, past.panel.returns[1:], atol=1e-7)
    np.testing.assert_allclose(read.weights[FIRST], past.weights[FIRST])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("benchmark.csv", None, "has no benchmark.csv.gz and no benchmark.csv"),
        ("benchmark.csv", "date,ticker\n2019-01-01,N00\n", "benchmark.csv cannot be read with columns"),
        ("benchmark.csv", "date,ticker,weight\n2019-01-01,N00,much\n", "benchmark.csv cannot be read with columns"),
        ("corporate_actions.csv", "date,ticker,type,value\n2019-01-01,N00,gift,1\n", "corporate_actions"),
        ("corporate_actions.csv", "date,ticker,type,value\n2019-01-01,N00,split,two\n", "corporate_actions"),
    ],
)
def test_a_directory_that_cannot_be_read_is_refused(tmp_path, name, content, message):
    """The message names the file and what is wrong with it."""
    write_files(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(RequestError, match=message):
        read_market_directory(tmp_path)


def test_two_closes_of_one_day_are_refused(tmp_path):
    """A price file that contradicts itself is not averaged."""
    write_files(tmp_path)
    (tmp_path / "prices.csv.gz").unlink()
    day = DAYS[0] + timedelta(days=1)
    (tmp_path / "prices.csv").write_text(f"date,ticker,close\n{day},N00,1\n{day},N00,2\n")
    with pytest.raises(RequestError, match="two closes"):
        read_market_directory(tmp_path)
