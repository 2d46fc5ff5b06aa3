"""Densities of counts as a saturated value minus half a deviance, each without a difference of large numbers.

R computes densities so, after Loader (2000), *Fast and Accurate Computation of Binomial Probabilities*: errors are relative
to the deviance of an entry, which is about 1, and not to ``y * log(mean)``.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

# Below this, `atanh_rest` is a series, which needs as many terms for the precision of its argument.
MAX_SERIES, SERIES_TERMS = 0.1, {"float32": 4, "float64": 8}
# Means beyond these limits are cut, or their logarithm is taken from the linear predictor, so that no ratio overflows.
MIN_MEAN, MAX_MEAN = 1e-20, 1e30
# Stirling's series has the precision of its argument from here on. Its coefficients are B(2j) / (2j (2j - 1)).
MIN_STIRLING = {"float32": 4, "float64": 8}
STIRLING_COEFFICIENTS = 1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156


@jax.custom_jvp
def count_deviance(y: ArrayLike, mean: Array, log_mean: ArrayLike, alpha: ArrayLike | None = None) -> Array:
    r"""Unit deviance of counts with variance :math:`\mu + \alpha \mu^2`: Poisson's if alpha is None, else negative binomial.

    .. math:: 2 y \log \frac{y (1 + \alpha\mu)}{\mu (1 + \alpha y)} - \frac{2}{\alpha} \log \frac{1 + \alpha y}{1 + \alpha\mu}

    Of each logarithm what is linear in :math:`r = (y - \mu) / (1 + \alpha\mu)` is taken away, which adds up to 0. Slopes are
    multiples of what is small, too; those in the mean are taken along `log_mean`.
    """
    mean, ratio, residual = _compare_with_mean(y, mean, alpha)
    x = residual / jnp.maximum(y + mean * ratio, jnp.finfo(mean.dtype).tiny)
    of_mean = residual * x + 2 * y * atanh_rest(x, _log_ratio(y, mean * ratio, log_mean))
    return 2 * (of_mean if alpha is None else of_mean + log_rest(alpha * residual, ratio) / alpha)


@partial(count_deviance.defjvp, symbolic_zeros=True)
def _count_deviance_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    y, mean, log_mean, alpha = primals
    mean, ratio, residual = _compare_with_mean(y, mean, alpha)
    slopes = (
        lambda: 2 * _log_ratio(y, mean * ratio, log_mean),
        lambda: 0.0,
        lambda: -2 * residual,
        lambda: -2 * log_rest(alpha * residual, ratio) / alpha**2,
    )
    return count_deviance(*primals), multiply_slopes(slopes, tangents, residual)


def multiply_slopes(slopes: tuple[Callable, ...], tangents: tuple, like: Array) -> Array:
    """Sum of slopes times tangents, without those whose tangent is 0 or whose argument is None."""
    pairs = zip(slopes, tangents, strict=True)
    return sum((f() * by for f, by in pairs if not isinstance(by, SymbolicZero | None)), jnp.zeros_like(like))


def _compare_with_mean(y: ArrayLike, mean: Array, alpha: ArrayLike | None) -> tuple[Array, ArrayLike, Array]:
    """Mean within its limit, the ratio of 1 + alpha y to 1 + alpha mean, and the residual divided by the latter."""
    mean = jnp.minimum(mean, MAX_MEAN)
    if alpha is None:
        return mean, 1.0, y - mean
    over = 1 + alpha * mean
    return mean, (1 + alpha * y) / over, (y - mean) / over


def _log_ratio(y: ArrayLike, mean: Array, log_mean: ArrayLike) -> Array:
    """log(y / mean), by the ratio unless the mean is tiny; y = 0 counts as 1, as it multiplies the result."""
    y, tiny = jnp.where(y > 0, y, 1), mean < MIN_MEAN
    return jnp.log(jnp.where(tiny, y, y / jnp.maximum(mean, MIN_MEAN))) - jnp.where(tiny, log_mean, 0)


def log_rest(z: Array, ratio: Array) -> Array:
    """z - log(1 + z), where 1 + z is `ratio`."""
    x = z / (2 + z)
    return z * x - 2 * atanh_rest(x, jnp.log(ratio))


def atanh_rest(x: Array, twice_atanh: Array) -> Array:
    """atanh(x) - x, which is about x**3 / 3; `twice_atanh` is used where x is not small."""
    return jnp.where(jnp.abs(x) < MAX_SERIES, x * _excess_series(x), twice_atanh / 2 - x)


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
    return atanh_rest(inverse, jnp.log1p(1 / (x + k))) / inverse


def _stirling_series(x: Array) -> Array:
    square, series = 1 / x**2, 0.0
    for coefficient in reversed(STIRLING_COEFFICIENTS):
        series = coefficient + square * series
    return series / x
