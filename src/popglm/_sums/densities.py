"""Densities of counts as a saturated value minus half a deviance, each without a difference of large numbers.

R computes densities so, after Loader (2000), *Fast and Accurate Computation of Binomial Probabilities*: errors are relative
to the deviance of an entry, which is about 1, and not to ``y * log(mean)``.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

# Below this, `atanh_excess` is a series, which needs as many terms for the precision of its argument.
MAX_SERIES, SERIES_TERMS = 0.1, {"float32": 4, "float64": 8}
# Means beyond these limits are cut, or their logarithm is taken from the linear predictor, so that no ratio overflows.
MIN_MEAN, MAX_MEAN = 1e-20, 1e30
# Stirling's series has the precision of its argument from here on. Its coefficients are B(2j) / (2j (2j - 1)).
MIN_STIRLING = {"float32": 4, "float64": 8}
STIRLING_COEFFICIENTS = 1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156


def count_deviance(y: ArrayLike, mean: Array, log_mean: ArrayLike, alpha: ArrayLike = 0.0) -> Array:
    r"""Unit deviance of counts with variance :math:`\mu + \alpha \mu^2`: Poisson's if alpha is 0, else negative binomial.

    .. math:: 2 y \log \frac{y (1 + \alpha\mu)}{\mu (1 + \alpha y)} - \frac{2}{\alpha} \log \frac{1 + \alpha y}{1 + \alpha\mu}

    Both logarithms are 2 atanh(x), with an x that is small where y is near the mean. The leading terms, in x, nearly cancel and
    are taken together; what is left of each logarithm is small.
    """
    mean = jnp.minimum(mean, MAX_MEAN)
    residual, total = y - mean, y + mean
    over_mean = jnp.maximum(total + 2 * alpha * y * mean, jnp.finfo(mean.dtype).tiny)
    over_alpha = 2 + alpha * total
    odds = (1 + alpha * mean) / (1 + alpha * y)
    of_mean = atanh_excess(residual / over_mean, _log_ratio(y, mean, log_mean) + jnp.log(odds))
    of_alpha = atanh_excess(alpha * residual / over_alpha, -jnp.log(odds))
    leading = residual / over_mean * ((1 + alpha * y) / over_alpha)
    return 4 * residual * (leading + y / over_mean * of_mean - of_alpha / over_alpha)


def _log_ratio(y: ArrayLike, mean: Array, log_mean: ArrayLike) -> Array:
    """log(y / mean), by the ratio unless the mean is tiny; y = 0 counts as 1, as it multiplies the result."""
    y = jnp.where(y > 0, y, 1)
    return jnp.where(mean < MIN_MEAN, jnp.log(y) - log_mean, jnp.log(y / jnp.maximum(mean, MIN_MEAN)))


def atanh_excess(x: Array, twice_atanh: Array) -> Array:
    """atanh(x) / x - 1, which is about x**2 / 3; `twice_atanh` is used where x is not small."""
    near = jnp.abs(x) < MAX_SERIES
    return jnp.where(near, _excess_series(jnp.where(near, x, 0)), twice_atanh / jnp.where(near, 1, 2 * x) - 1)


def _excess_series(x: Array) -> Array:
    square, series = x**2, 0.0
    for j in range(SERIES_TERMS[x.dtype.name], 0, -1):
        series = square * (1 / (2 * j + 1) + series)
    return series


def saturated_poisson(y: ArrayLike) -> Array:
    """Poisson log-likelihood of counts y where the mean is y."""
    some = jnp.where(y > 0, y, 1)
    return jnp.where(y > 0, -jnp.log(2 * np.pi * some) / 2 - stirling_remainder(some), 0)


def saturated_negative_binomial(y: ArrayLike, alpha: ArrayLike) -> Array:
    """Negative binomial log-likelihood of counts y where the mean is y."""
    change = stirling_remainder(y + 1 / alpha) - stirling_remainder(1 / alpha)
    return saturated_poisson(y) - jnp.log1p(alpha * y) / 2 + change


def stirling_remainder(x: ArrayLike) -> Array:
    """log Gamma(x) - ((x - 1/2) log x - x + log(2 pi) / 2): small terms of its recurrence, then Stirling's series."""
    x = jnp.asarray(x, jnp.result_type(float))
    n_steps = MIN_STIRLING[x.dtype.name]
    small, large = jnp.minimum(x, n_steps), jnp.where(x < n_steps, x + n_steps, x)
    steps = sum(_stirling_step(small, k) for k in range(n_steps))
    return jnp.where(x < n_steps, steps, 0) + _stirling_series(large)


def _stirling_step(x: Array, k: int) -> Array:
    """Remainder at x + k minus that at x + k + 1."""
    inverse = 1 / (2 * (x + k) + 1)
    if 1 / (2 * k + 1) < MAX_SERIES:
        return _excess_series(inverse)
    return atanh_excess(inverse, jnp.log1p(1 / (x + k)))


def _stirling_series(x: Array) -> Array:
    square, series = 1 / x**2, 0.0
    for coefficient in reversed(STIRLING_COEFFICIENTS):
        series = coefficient + square * series
    return series / x
