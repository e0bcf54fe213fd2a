"""Textbook covariance estimators for comparison: each from (T, n) daily returns to an annualised (n, n) matrix.

Missing returns count as zero: the evaluation's assets miss at most four of 504 sessions.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.risk.settings import FACTORS, SESSIONS_PER_YEAR

FloatArray = NDArray[np.float64]

#: Exponent of the bandwidth in the smoothing of quadratic-inverse shrinkage, from the paper.
_BANDWIDTH_EXPONENT: Final = 0.35


def sample(returns: FloatArray) -> FloatArray:
    """Return the sample covariance."""
    moment, _ = _moment(returns)
    return SESSIONS_PER_YEAR * moment


def principal_components(returns: FloatArray, factors: int = FACTORS) -> FloatArray:
    """Return the leading principal components of the sample covariance with the other variance on the diagonal."""
    moment, _ = _moment(returns)
    return SESSIONS_PER_YEAR * _factors_and_diagonal(moment, factors)


def market_and_components(returns: FloatArray, weights: FloatArray, factors: int = FACTORS) -> FloatArray:
    """Return the benchmark as first factor, and components of what it does not explain, with a diagonal rest.

    Args:
        returns: (T, n).
        weights: (n,) benchmark weights, summing to one.
        factors: Factors in all, the market included.
    """
    _, centred = _moment(returns)
    market = centred @ weights
    beta = centred.T @ market / (market @ market)
    residual = centred - np.outer(market, beta)
    variance = market @ market / (len(market) - 1)
    rest = _factors_and_diagonal(residual.T @ residual / (len(market) - 1), factors - 1)
    return SESSIONS_PER_YEAR * (variance * np.outer(beta, beta) + rest)


def shrunk_to_identity(returns: FloatArray) -> FloatArray:
    """Return the sample covariance shrunk linearly towards a multiple of the identity.

    Source: Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices, Journal of
        Multivariate Analysis 88.
    """
    _, centred = _moment(returns)
    sessions, n = centred.shape
    moment = centred.T @ centred / sessions
    level = np.trace(moment) / n
    target = level * np.eye(n)
    distance = ((moment - target) ** 2).sum()
    # sum over sessions of |x x' - S|^2 without forming the matrices
    noise = (((centred**2).sum(axis=1) ** 2).sum() / sessions - (moment**2).sum()) / sessions
    strength = float(np.clip(noise / distance, 0.0, 1.0)) if distance > 0 else 1.0
    shrunk: FloatArray = SESSIONS_PER_YEAR * (strength * target + (1.0 - strength) * moment)
    return shrunk


def shrunk_to_constant_correlation(returns: FloatArray) -> FloatArray:
    """Return the sample covariance shrunk linearly towards one common correlation.

    Source: Ledoit and Wolf (2004), Honey, I shrunk the sample covariance matrix, Journal of Portfolio Management 30,
        appendix.
    """
    _, centred = _moment(returns)
    sessions, n = centred.shape
    moment = centred.T @ centred / sessions
    deviation = np.sqrt(np.diag(moment))
    correlation = moment / np.outer(deviation, deviation)
    mean = (correlation.sum() - n) / (n * (n - 1))
    target = mean * np.outer(deviation, deviation)
    np.fill_diagonal(target, np.diag(moment))
    squares = centred**2
    pi = squares.T @ squares / sessions - moment**2
    # asymptotic covariance of a variance with a covariance: (1/T) sum of (x_i^2 - s_ii)(x_i x_j - s_ij)
    theta = (squares * centred).T @ centred / sessions - np.diag(moment)[:, None] * moment
    np.fill_diagonal(theta, 0.0)
    rho = np.trace(pi) + mean * (np.outer(1.0 / deviation, deviation) * theta).sum()
    distance = ((moment - target) ** 2).sum()
    strength = float(np.clip((pi.sum() - rho) / distance / sessions, 0.0, 1.0)) if distance > 0 else 1.0
    shrunk: FloatArray = SESSIONS_PER_YEAR * (strength * target + (1.0 - strength) * moment)
    return shrunk


def quadratic_inverse_shrinkage(returns: FloatArray) -> FloatArray:
    """Return the sample covariance with each eigenvalue shrunk by quadratic-inverse shrinkage (QIS).

    Source: Ledoit and Wolf (2022), Quadratic shrinkage for large covariance matrices, Bernoulli 28.
    """
    moment, centred = _moment(returns)
    sessions, n = centred.shape
    effective = sessions - 1
    ratio = n / effective
    values, vectors = np.linalg.eigh(moment)
    bandwidth = min(ratio**2, 1.0 / ratio**2) ** _BANDWIDTH_EXPONENT / n**_BANDWIDTH_EXPONENT
    inverse = 1.0 / values[max(0, n - effective) :]
    gap = inverse[:, None] - inverse[None, :]
    denominator = gap**2 + (bandwidth * inverse[:, None]) ** 2
    stein = (inverse[:, None] * gap / denominator).mean(axis=0)
    conjugate = (bandwidth * inverse[:, None] ** 2 / denominator).mean(axis=0)
    amplitude = stein**2 + conjugate**2
    if n <= effective:
        shrunk = 1.0 / (
            (1.0 - ratio) ** 2 * inverse
            + 2.0 * ratio * (1.0 - ratio) * inverse * stein
            + ratio**2 * inverse * amplitude
        )
    else:
        null = np.full(n - effective, 1.0 / ((ratio - 1.0) * inverse.mean()))
        shrunk = np.concatenate([null, 1.0 / (inverse * amplitude)])
    shrunk *= values.sum() / shrunk.sum()
    rebuilt: FloatArray = SESSIONS_PER_YEAR * ((vectors * shrunk) @ vectors.T)
    return rebuilt


def _moment(returns: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the sample covariance (n, n) and the centred returns (T, n)."""
    filled = np.nan_to_num(returns)
    centred = filled - filled.mean(axis=0)
    moment: FloatArray = centred.T @ centred / (len(centred) - 1)
    return moment, centred


def _factors_and_diagonal(moment: FloatArray, factors: int) -> FloatArray:
    values, vectors = np.linalg.eigh(moment)
    leading: FloatArray = (vectors[:, -factors:] * values[-factors:]) @ vectors[:, -factors:].T
    np.fill_diagonal(leading, np.diag(moment))
    return leading
