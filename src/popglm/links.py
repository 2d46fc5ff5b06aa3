"""Links: how a mean follows from a linear predictor, in forms that keep the digits of single precision."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from scipy.special import logit, ndtri

from popglm import _settings

__all__ = ["Link"]


@dataclass(frozen=True)
class Link:
    r"""How the mean :math:`\mu` follows from the linear predictor :math:`\eta`: :math:`\mu = f(\eta)`.

    Parameters
    ----------
    name
        For people to read.
    inverse
        f, a JAX function that increases.
    log_inverse
        :math:`\log f`, written so that it neither overflows nor loses digits where f is small.
    forward
        The inverse of f, a NumPy function.
    log_rest
        :math:`\log (1 - f)`, for means that are probabilities; None for the others.
    low, high
        What the mean lies between.

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


def _exp(eta):  # jnp.exp itself cannot be pickled
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


def _log_cloglog(eta):  # where exp(eta) is small, log(1 - exp(-exp(eta))) is eta - exp(eta) / 2
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
LINKS = {link.name: link for link in (EXP, SOFTPLUS, LOGISTIC, PROBIT, CLOGLOG, IDENTITY)}
LINKS |= {jnp.exp: EXP, jax.nn.softplus: SOFTPLUS, jax.nn.sigmoid: LOGISTIC, jax.scipy.special.expit: LOGISTIC}
LINKS |= {jax.scipy.special.ndtr: PROBIT, jax.scipy.stats.norm.cdf: PROBIT}


def original(function):
    """The built-in function that this is a copy of; any other as it is.

    `clone` of scikit-learn copies its parameters. Functions of Python stay what they are, but of one that JAX compiles there
    is another then, which has neither its name nor its hash, and the same function of Python inside.
    """
    if not isinstance(function, type(jnp.exp)):
        return function
    known = {_inside(built_in): built_in for built_in in LINKS if isinstance(built_in, type(jnp.exp))}
    return known.get(_inside(function), function)


def _inside(compiled):
    state = compiled.__getstate__()  # as pickle sees it: a copy has no other attribute
    return state.get("fun") if isinstance(state, dict) else None


def link_of(function, low=0.0, high=np.inf) -> Link:
    """Link of a named or built-in inverse link function, or one made from any increasing JAX function.

    Its means must lie between `low` and `high`. What is compiled for a function is kept with it: define it once, not as a
    new lambda at every turn of a loop.
    """
    function = original(function)
    link = LINKS[function] if function in LINKS else _made_of(function, low, high)
    _settings.inside(link, low, high, sorted({k.name for k in LINKS.values() if low <= k.low and k.high <= high}))
    return link


@lru_cache
def _made_of(function, low, high) -> Link:
    _settings.increasing(function, low, high)
    return Link(
        getattr(function, "__name__", "custom"),
        function,
        lambda eta: jnp.log(function(eta)),
        lambda mean: _bisect(function, mean),
        lambda eta: jnp.log1p(-function(eta)),
        low,
        high,
    )


def _bisect(function, mean):
    """Linear predictor of a mean: the bracket doubles until it holds the mean, then it is halved."""
    width, at = 64.0, lambda x: np.asarray(function(jnp.asarray(np.full(np.shape(mean), x))), float)
    while width < 2**20 and not np.all((at(-width) <= mean) & (mean <= at(width))):
        width *= 2
    _settings.reached(at(-width), at(width), mean)
    low, high = np.full(np.shape(mean), -width), np.full(np.shape(mean), width)
    for _ in range(70):
        middle = (low + high) / 2
        below = at(middle) < mean
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
