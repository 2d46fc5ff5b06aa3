"""What a neuron's activity is, given its linear predictor: a loss, a likelihood and a link.

Everything is written on the linear predictor ``eta``, element by element; derivatives are JAX's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, xlogy

from popglm import _settings

__all__ = ["Link", "Poisson"]


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

    Examples
    --------
    >>> from popglm.observation_models import EXP
    >>> EXP
    Link(name='exp')
    """

    name: str
    inverse: Callable = field(repr=False)
    log_inverse: Callable = field(repr=False)
    forward: Callable = field(repr=False)


def _exp(eta):  # jnp.exp itself cannot be pickled
    return jnp.exp(eta)


def _softplus(eta):
    return jax.nn.softplus(eta)


def _same(eta):
    return eta


def _log_softplus(eta):
    return jnp.where(eta < -15, eta, jnp.log(jax.nn.softplus(jnp.maximum(eta, -15))))


def _inverse_softplus(mean):
    return mean + np.log(-np.expm1(-mean))


EXP = Link("exp", _exp, _same, np.log)
SOFTPLUS = Link("softplus", _softplus, _log_softplus, _inverse_softplus)
LINKS = {"exp": EXP, jnp.exp: EXP, "softplus": SOFTPLUS, jax.nn.softplus: SOFTPLUS}


@jax.tree_util.register_static
@dataclass(frozen=True)
class Poisson:
    r"""Spike counts: :math:`y_t \sim \mathrm{Poisson}(\mu_t)` with :math:`\mu_t = f(\eta_t)`.

    The loss of one bin is :math:`\mu_t - y_t \log \mu_t`, the negative log-likelihood without the term
    :math:`\log y_t!`, which no parameter changes.

    Parameters
    ----------
    link
        How the mean count per bin follows from the linear predictor; by default the exponential. Users set it
        with the ``inverse_link_function`` of an estimator.

    References
    ----------
    McCullagh and Nelder (1989), *Generalized Linear Models*, chapter 6; Truccolo et al. (2005),
    *Journal of Neurophysiology* 93:1074-1089, for spike trains.

    Examples
    --------
    >>> from popglm.observation_models import Poisson
    >>> round(float(Poisson().log_likelihood(0.0, 2.0)), 4)  # log P(y = 2) at mean 1
    -1.6931
    """

    link: Link | Callable | str = EXP

    def __post_init__(self):
        """Take a name or a function for a link."""
        if not isinstance(self.link, Link):
            object.__setattr__(self, "link", link_of(_settings.link(self.link, LINKS)))

    support = (0.0, np.inf)
    support_name = "counts: zero or positive numbers"

    def mean(self, eta):
        """Mean count per bin at the linear predictor `eta`."""
        return self.link.inverse(eta)

    def loss(self, eta, y):
        """Negative log-likelihood up to terms without parameters; finite wherever the mean is."""
        return self.link.inverse(eta) - y * self.link.log_inverse(eta)

    def curvature(self, eta, y):
        """Second derivative of the loss in the linear predictor, element by element."""
        slope = lambda e: jax.jvp(lambda x: self.loss(x, y), (e,), (jnp.ones_like(e),))[1]
        return jax.jvp(slope, (eta,), (jnp.ones_like(eta),))[1]

    def log_likelihood(self, eta, y):
        """Normalised log-likelihood of every entry, with the term ``-log y!``."""
        return -self.loss(eta, y) - gammaln(y + 1)

    def saturated(self, y):
        """Log-likelihood of the model that predicts every count exactly."""
        return xlogy(y, y) - y - gammaln(y + 1)

    def null_mean(self, events, bins):
        """Mean count of each neuron; half a spike where there is none, so that its logarithm is finite."""
        return np.maximum(events, 0.5) / np.maximum(bins, 1)


@lru_cache
def link_of(function) -> Link:
    """Link of a named or built-in inverse link function, or one made from any increasing JAX function.

    What is compiled for a function is kept with it: define it once, not as a new lambda at every turn of a loop.
    """
    if function in LINKS:
        return LINKS[function]
    _settings.increasing(function)
    name = getattr(function, "__name__", "custom")
    return Link(name, function, lambda eta: jnp.log(function(eta)), lambda mean: _bisect(function, mean))


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
