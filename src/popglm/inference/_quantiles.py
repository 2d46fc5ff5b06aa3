"""Quantiles and tail probabilities that bands and tests use; infinite degrees of freedom give the normal or chi-squared."""

import numpy as np
from scipy import optimize, special, stats

N_DIRECTIONS = 2000  # of which the largest value is taken, for bands under a penalty
MAX_BOUND = 40.0  # of bands, in standard errors
MIN_DIRECTION_PART = 1e-3  # parts of unit vectors below this are left out


def tail_probability(ratio, df, residual_df):
    """Probability that F(df, residual_df) exceeds `ratio`; that chi-squared / df does, if `residual_df` is infinite."""
    finite = np.where(np.isfinite(residual_df), residual_df, 1.0)
    return np.where(np.isfinite(residual_df), stats.f.sf(ratio, df, finite), stats.chi2.sf(ratio * df, df))


def f_quantile(alpha, rank, df):
    """Upper quantile of F(rank, df); for infinite `df`, of chi-squared over its degrees of freedom."""
    finite = np.where(np.isfinite(df), df, 1.0)
    return np.where(np.isfinite(df), stats.f.isf(alpha, rank, finite), stats.chi2.isf(alpha, rank) / rank)


def tube_quantile(length, pieces, df, alpha):
    """Bound c on a process along paths of this length, exceeded on either side with probability at most `alpha`.

    By bisection of the tube formula of Naiman and of Sun and Loader; each piece of a path adds two ends.
    """
    low, high = np.zeros_like(length), np.full_like(length, MAX_BOUND)
    normal, finite = np.isinf(df), np.where(np.isinf(df), 1.0, df)
    for _ in range(40):
        c = (low + high) / 2
        tail = np.where(normal, special.ndtr(-c), special.stdtr(finite, -c))
        decay = np.where(normal, np.exp(-(c**2) / 2), (1 + c**2 / finite) ** (-finite / 2))
        above = length / np.pi * decay + 2 * pieces * tail > alpha
        low, high = np.where(above, c, low), np.where(above, high, c)
    return high


def maximum_quantile(directions, moving, df, clustered, alpha):
    """Upper quantile of the largest absolute value of a standardised process, (neurons,).

    The process is the product of unit vectors, `directions` (neurons, points, functions), with a normal or Student's t vector.
    Given the direction of that vector, its length follows F, so that directions alone are drawn, of a fixed seed; for
    `clustered` errors the length is Hotelling's. Points that are not `moving` have no part in it.
    """
    draws = np.random.default_rng(0).normal(size=(directions.shape[2], N_DIRECTIONS))
    quantiles = np.zeros(len(directions))
    for n, (points, some) in enumerate(zip(directions, moving, strict=True)):
        points = points[np.ix_(some, np.abs(points).max(0, initial=0) > MIN_DIRECTION_PART)]
        rank = max(points.shape[1], 1)
        units = draws[: points.shape[1]]
        largest = np.abs(points @ (units / np.linalg.norm(units, axis=0))).max(0, initial=0)
        residual_df = max(df[n] + 1 - rank, 0) if clustered else df[n]
        divisor = rank * (df[n] / max(residual_df, 1) if clustered else 1)
        quantiles[n] = _find_bound(largest, rank, residual_df, divisor, alpha) if residual_df > 0 else np.inf
    return quantiles


def _find_bound(largest, rank, df, divisor, alpha):
    """Bound that a vector of random length exceeds with probability `alpha`, from its `largest` value at unit length."""
    squares = largest[largest > 0] ** 2 * divisor

    def log_excess(c):
        ratio = c**2 / squares
        tail = special.fdtrc(rank, df, ratio) if np.isfinite(df) else special.chdtrc(rank, ratio * rank)
        return np.log(max(tail.sum(), np.finfo(float).tiny) / len(largest) / alpha)

    if not len(squares) or log_excess(0.0) <= 0:
        return 0.0
    return MAX_BOUND if log_excess(MAX_BOUND) > 0 else optimize.brentq(log_excess, 0.0, MAX_BOUND, xtol=1e-9)
