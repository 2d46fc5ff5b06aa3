"""Quantiles of the distributions that bands and tests use."""

import numpy as np
from scipy import special, stats


def tail_probability(ratio, df, rest):
    """The probability that F is larger; if `rest` is infinite, that chi-squared over its degrees of freedom is."""
    known = np.where(np.isfinite(rest), rest, 1.0)
    return np.where(np.isfinite(rest), stats.f.sf(ratio, df, known), stats.chi2.sf(ratio * df, df))


def f_quantile(alpha, rank, df):
    """Quantiles of an F distribution, of a chi-squared one over its degrees of freedom where `df` is infinite."""
    known = np.where(np.isfinite(df), df, 1.0)
    return np.where(np.isfinite(df), stats.f.isf(alpha, rank, known), stats.chi2.isf(alpha, rank) / rank)


def tube_quantile(length, pieces, df, alpha):
    """The c that a process along paths of this length exceeds, to either side, with probability `alpha` at most."""
    low, high = np.zeros_like(length), np.full_like(length, 40.0)
    normal, known = np.isinf(df), np.where(np.isinf(df), 1.0, df)
    for _ in range(40):
        c = (low + high) / 2
        tail = np.where(normal, special.ndtr(-c), special.stdtr(known, -c))
        decay = np.where(normal, np.exp(-(c**2) / 2), (1 + c**2 / known) ** (-known / 2))
        above = length / np.pi * decay + 2 * pieces * tail > alpha
        low, high = np.where(above, c, low), np.where(above, high, c)
    return high
