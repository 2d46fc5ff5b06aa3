"""Quantiles and tail probabilities that bands and tests use; infinite degrees of freedom give the normal or chi-squared."""

import numpy as np
from scipy import special, stats


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
    low, high = np.zeros_like(length), np.full_like(length, 40.0)
    normal, finite = np.isinf(df), np.where(np.isinf(df), 1.0, df)
    for _ in range(40):
        c = (low + high) / 2
        tail = np.where(normal, special.ndtr(-c), special.stdtr(finite, -c))
        decay = np.where(normal, np.exp(-(c**2) / 2), (1 + c**2 / finite) ** (-finite / 2))
        above = length / np.pi * decay + 2 * pieces * tail > alpha
        low, high = np.where(above, c, low), np.where(above, high, c)
    return high
