"""Links: functions from the linear predictor to the mean, written to be accurate in single precision."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from scipy.special import logit, ndtri

from popglm._checks.values import describe_range, require_option, trace_function

__all__ = ["Link"]


def require_link(value, known):
    """Raise unless the value is a function or the name of a link."""
    names = tuple(key for key in known if isinstance(key, str))
    if isinstance(value, str):
        return require_option("inverse_link_function", value, names)
    if not callable(value) or not isinstance(value, Hashable):
        raise TypeError(f"`inverse_link_function` must be a function or one of {', '.join(names)}; got {value!r}.")
    return value


def require_increasing_link(function, low, high):
    """Raise unless JAX can trace the function, element by element, and its means increase between `low` and `high`."""
    name = "`inverse_link_function`"
    if isinstance(function, np.ufunc):
        raise TypeError(f"{name} must be a JAX function of an array; got NumPy's {function.__name__}. Write jax.numpy.")
    predictor = jnp.asarray([-30.0, -4.0, -2.0, 0.0, 2.0, 4.0, 30.0])  # flat ends are allowed
    expected = f"{name} must be a JAX function of an array, such as jnp.exp"
    means, first_means = trace_function(function, [predictor, predictor[:2]], expected)
    if means.shape != predictor.shape or means.dtype != predictor.dtype or not np.array_equal(means[:2], first_means):
        came = f"for an array of shape {predictor.shape} it gives shape {means.shape} of dtype {means.dtype}"
        raise ValueError(f"{name} must give one real mean for every linear predictor, by itself; {came}.")
    inner = means[1:-1]
    in_range = np.isfinite(inner).all() and means.min() > low and means.max() <= high
    if not (in_range and (np.diff(inner) > 0).all() and (np.diff(means) >= 0).all()):
        for_counts = "For counts use 'exp' or 'softplus'."
        for_spikes = "For a spike or none use 'logistic' or 'cloglog'."
        fix = "Without a link it is 'identity'." if low == -np.inf else for_counts if high == np.inf else for_spikes
        came = f"at {np.asarray(predictor).tolist()} it gives {np.round(means, 4).tolist()}"
        raise ValueError(f"{name} must give {describe_range(low, high)} means that increase; {came}. {fix}")


def require_reachable_mean(low, high, mean):
    """Raise unless every mean lies between `low` and `high`, the means that the link reaches."""
    missed = ~((low <= mean) & (mean <= high))
    if missed.any():
        came = f"a mean of {np.asarray(mean)[missed].flat[0]:.4g} per bin, which the data have"
        raise ValueError(f"`inverse_link_function` does not reach {came}. For counts use 'exp' or 'softplus'.")


@dataclass(frozen=True)
class Link:
    r"""Relation of the mean :math:`\mu` and the linear predictor :math:`\eta`: :math:`\mu = f(\eta)`.

    Parameters
    ----------
    name
        Name of the link, such as "exp".
    inverse
        f, an increasing JAX function.
    log_inverse
        :math:`\log f`, written to be accurate where f is small and not to overflow.
    forward
        The inverse of f, a NumPy function.
    log_rest
        :math:`\log (1 - f)` if the mean is a probability, else None.
    low, high
        Limits of the mean.

    Examples
    --------
    >>> from popglm.links import EXP
    >>> EXP
    Link(name='exp')
    """

    name: str
    inverse: Callable = field(repr=False)
    log_inverse: Callable = field(repr=False)
    forward: Callable = field(repr=False)
    log_rest: Callable | None = field(default=None, repr=False)
    low: float = field(default=0.0, repr=False)
    high: float = field(default=np.inf, repr=False)


def _exp(eta):
    # a function of its own, since jnp.exp cannot be pickled
    return jnp.exp(eta)


def _softplus(eta):
    return jax.nn.softplus(eta)


def _same(eta):
    return eta


def _log(mean):
    return jnp.log(mean)


def _log_softplus(eta):
    return jnp.where(eta < -15, eta, jnp.log(jax.nn.softplus(jnp.maximum(eta, -15))))


def _inverse_softplus(mean):
    return mean + np.log(-np.expm1(-mean))


def _logistic(eta):
    return jax.nn.sigmoid(eta)


def _log_logistic(eta):
    return -jax.nn.softplus(-eta)


def _log_logistic_rest(eta):
    return -jax.nn.softplus(eta)


def _probit(eta):
    return jax.scipy.special.ndtr(eta)


def _log_probit(eta):
    return log_ndtr(eta)


def _log_probit_rest(eta):
    return log_ndtr(-eta)


def _cloglog(eta):
    return -jnp.expm1(-jnp.exp(eta))


def _log_cloglog(eta):
    # for small exp(eta), log(1 - exp(-exp(eta))) is eta - exp(eta) / 2
    inside = jnp.clip(eta, -9, 4)
    return jnp.where(eta < -9, eta - jnp.exp(jnp.minimum(eta, -9)) / 2, jnp.log(-jnp.expm1(-jnp.exp(inside))))


def _log_cloglog_rest(eta):
    return -jnp.exp(eta)


def _inverse_cloglog(mean):
    return np.log(-np.log1p(-np.asarray(mean, float)))


EXP = Link("exp", _exp, _same, np.log)
SOFTPLUS = Link("softplus", _softplus, _log_softplus, _inverse_softplus)
LOGISTIC = Link("logistic", _logistic, _log_logistic, logit, _log_logistic_rest, 0.0, 1.0)
PROBIT = Link("probit", _probit, _log_probit, ndtri, _log_probit_rest, 0.0, 1.0)
CLOGLOG = Link("cloglog", _cloglog, _log_cloglog, _inverse_cloglog, _log_cloglog_rest, 0.0, 1.0)
IDENTITY = Link("identity", _same, _log, np.asarray, None, -np.inf, np.inf)

LINKS: dict[Any, Link] = {link.name: link for link in (EXP, SOFTPLUS, LOGISTIC, PROBIT, CLOGLOG, IDENTITY)}
LINKS |= {jnp.exp: EXP, jax.nn.softplus: SOFTPLUS, jax.nn.sigmoid: LOGISTIC, jax.scipy.special.expit: LOGISTIC}
LINKS |= {jax.scipy.special.ndtr: PROBIT, jax.scipy.stats.norm.cdf: PROBIT}


def resolve_builtin(function):
    """Return the built-in function of which this is a deep copy, else the function itself.

    `clone` of scikit-learn copies parameters deeply. A copy of a jitted function has neither its name nor its hash; only the
    Python function in its pickled state identifies it.
    """
    jitted_type = type(jnp.exp)
    if not isinstance(function, jitted_type):
        return function
    python_function = lambda jitted: jitted.__getstate__().get("fun", jitted)
    jitted_links = (link for link in LINKS if isinstance(link, jitted_type))
    return next((link for link in jitted_links if python_function(link) is python_function(function)), function)


def resolve_link(function, low=0.0, high=np.inf) -> Link:
    """Return the link of a name or of an increasing JAX function, whose means must lie between `low` and `high`.

    Compiled code is stored for each function object: define a function once, not as a new lambda in every iteration.
    """
    function = resolve_builtin(function)
    link = LINKS[function] if function in LINKS else _custom_link(function, low, high)
    if link.low < low or link.high > high:
        allowed = sorted({link.name for link in LINKS.values() if low <= link.low and link.high <= high})
        came = f"{link.name!r} gives {describe_range(link.low, link.high)} ones. Use one of {', '.join(allowed)}."
        expected = f"{describe_range(low, high)} means for this observation model"
        raise ValueError(f"`inverse_link_function` must give {expected}; {came}")
    return link


@lru_cache
def _custom_link(function, low, high) -> Link:
    require_increasing_link(function, low, high)
    return Link(
        getattr(function, "__name__", "custom"),
        function,
        lambda eta: jnp.log(function(eta)),
        lambda mean: _invert_by_bisection(function, mean),
        lambda eta: jnp.log1p(-function(eta)),
        low,
        high,
    )


def _invert_by_bisection(function, mean):
    """Find the linear predictor of each mean: double a bracket until it contains the mean, then bisect it."""
    width, mean_at = 64.0, lambda x: np.asarray(function(jnp.asarray(np.full(np.shape(mean), x))), float)
    while width < 2**20 and not np.all((mean_at(-width) <= mean) & (mean <= mean_at(width))):
        width *= 2
    require_reachable_mean(mean_at(-width), mean_at(width), mean)
    low, high = np.full(np.shape(mean), -width), np.full(np.shape(mean), width)
    for _ in range(70):
        middle = (low + high) / 2
        below = mean_at(middle) < mean
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def __dir__():
    return __all__
