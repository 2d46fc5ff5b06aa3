r"""Tail of a weighted sum of chi-squared variables, by inversion of its characteristic function along a bent path.

With the saddle point c > 0 of the integrand,

.. math:: P(Q > q) = \frac{1}{2 \pi i} \int \frac{E\, e^{s (Q - q)}}{s}\, ds, \qquad s = c + i t + a t^2 .

From the saddle point on the integrand falls and hardly oscillates, so small probabilities have as many digits as large ones;
along the parabola it falls as a Gaussian (Rice 1980, *SIAM Journal on Scientific and Statistical Computing*
1:438-448; the distribution: Imhof 1961, *Biometrika* 48:419-426).
"""

import numpy as np
from jaxtyping import Float

N_NODES, MAX_NODE = 90, 7.0  # of the trapezium rule in u, with t proportional to sinh(u)
BISECTIONS = 80


def weighted_tail(
    statistic: Float[np.ndarray, " tests"],
    weights: Float[np.ndarray, "tests terms"],
    residual_df: Float[np.ndarray, " tests"],
) -> Float[np.ndarray, " tests"]:
    """Probability that the sum of `weights` times chi-squared variables with one degree of freedom exceeds the statistic.

    The statistic is multiplied by an independent chi-squared variable over its degrees of freedom `residual_df`, if these are
    finite. Weights are 0 or more; NaN if all are 0.
    """
    largest = weights.max(1, initial=0)
    valid = (largest > 0) & np.isfinite(statistic) & (residual_df > 0)
    p = np.full(len(weights), np.nan)
    q = np.maximum(statistic[valid] / largest[valid], 0)
    p[valid] = np.where(
        q > 0, _invert(np.where(q > 0, q, 1), weights[valid] / largest[valid, None], residual_df[valid]), 1
    )
    return p


def _invert(q, weights, df):
    c = _saddle_point(q, weights, df)
    _, second, third = _derivatives(c, q, weights, df)
    unit = 1 / np.sqrt(second)
    # Where the integrand falls as a power only, a straight path is always safe.
    least = np.where(np.isfinite(df), 0, 0.1 / unit / (1 + weights.sum(1)))
    bend = np.maximum(third / (6 * second), least)
    u = np.linspace(0, MAX_NODE, N_NODES)
    t, dt = unit[:, None] * np.sinh(u), unit[:, None] * np.cosh(u)
    s = c[:, None] + 1j * t + bend[:, None] * t**2
    values = np.exp(_exponent(s, q, weights, df)) * (1 - 2j * bend[:, None] * t) * dt
    values[:, 0] /= 2
    return np.clip(values.real.sum(1) * (u[1] - u[0]) / np.pi, 0, 1)


def _exponent(s, q, weights, df):
    """Logarithm of the integrand, for points s (tests, nodes)."""
    sums = np.log(1 - 2 * weights[:, :, None] * s[:, None, :]).sum(1) / 2
    finite = np.where(np.isfinite(df), df, 1)[:, None]
    shift = np.where(np.isfinite(df)[:, None], finite / 2 * np.log1p(2 * q[:, None] * s / finite), q[:, None] * s)
    return -sums - shift - np.log(s)


def _derivatives(c, q, weights, df):
    """First three derivatives of the logarithm of the integrand on the real axis."""
    pole = 2 * weights / (1 - 2 * weights * c[:, None])
    rate = q / np.where(np.isfinite(df), 1 + 2 * q * c / df, 1)
    inverse_df = np.where(np.isfinite(df), 1 / df, 0)
    first = pole.sum(1) / 2 - rate - 1 / c
    second = (pole**2).sum(1) / 2 + 2 * rate**2 * inverse_df + 1 / c**2
    third = (pole**3).sum(1) - 8 * rate**3 * inverse_df**2 - 2 / c**3
    return first, second, third


def _saddle_point(q, weights, df):
    """Zero of the first derivative, which grows from minus to plus infinity between 0 and the first pole, 1/2."""
    low, high = np.zeros(len(q)), np.full(len(q), 0.5)
    for _ in range(BISECTIONS):
        c = (low + high) / 2
        above = _derivatives(c, q, weights, df)[0] > 0
        low, high = np.where(above, low, c), np.where(above, c, high)
    return np.minimum((low + high) / 2, 0.5 * (1 - 1e-15))
