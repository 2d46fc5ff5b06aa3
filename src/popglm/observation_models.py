"""Observation models: distributions of a neuron's activity, given its linear predictor.

A model defines a loss, a likelihood, a support and a scale, as functions of the linear predictor ``eta``, element by element.
JAX differentiates them. A model is a pytree whose only leaf is its scale, one number per neuron, so compiled code can take a
model with another scale and need not be compiled again.
"""

# ruff: noqa: D102 (methods of the models inherit the docstrings of `ObservationModel`)
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy

from popglm._checks.old_names import ADVICE, OldName, warn_old_names
from popglm._checks.values import require_option, warn_user
from popglm._public import export
from popglm._sums.densities import (
    count_deviance,
    multiply_slopes,
    saturated_negative_binomial,
    saturated_poisson,
    stirling_remainder,
)
from popglm._types import Entries, Numbers, PerNeuron
from popglm.links import EXP, IDENTITY, LINKS, LOGISTIC, Link, require_link, require_reachable_mean, resolve_link

__all__ = ["Bernoulli", "Gamma", "Gaussian", "NegativeBinomial", "ObservationModel", "Poisson"]


SUPPORT_KINDS = ("counts", "binary", "positive", "real")


@dataclass(frozen=True, init=False)
class Support:
    """Allowed values of y, from `low` to `high`, and their `kind`.

    "counts" are numbers of events, "binary" allows `low` and `high` only, "positive" excludes `low`, "real" are all others.
    """

    low: float
    high: float
    name: str
    kind: str

    def __init__(self, low, high, name, kind=None, above=False, ends_only=False):
        """Take the kind, or find it from `above` (no `low`) and `ends_only`, which described it in version 0.1."""
        if kind is None:
            kind = "binary" if ends_only else "positive" if above else "counts" if low == 0 else "real"
            warn_user(f'`above` and `ends_only` of Support are now `kind="{kind}"`. {ADVICE}', FutureWarning)
        vars(self).update(low=low, high=high, name=name, kind=require_option("kind", kind, SUPPORT_KINDS))

    @property
    def counts(self):
        """True if the values are numbers of events."""
        return self.kind in ("counts", "binary")

    def outside(self, values):
        """Mask of the values outside the support; NaN marks a missing value and counts as inside."""
        too_low = values <= self.low if self.kind == "positive" else values < self.low
        outside = too_low | (values > self.high)
        return outside | ((values > self.low) & (values < self.high)) if self.kind == "binary" else outside


COUNTS = Support(0.0, np.inf, "counts: zero or positive numbers", "counts")
BINARY = Support(0.0, 1.0, "0 or 1 (a spike or none)", "binary")
REAL = Support(-np.inf, np.inf, "finite numbers", "real")
POSITIVE = Support(0.0, np.inf, "positive numbers", "positive")


def _flatten_model(model):
    """Split a model into its scale, an array, and all other fields, which are constants of compiled code."""
    names = (field.name for field in fields(model))
    return (model.scale,), tuple((name, getattr(model, name)) for name in names if name != "scale")


def _unflatten_model(cls, constants, scale):
    model = object.__new__(cls)
    for name, value in constants if scale[0] is None else (*constants, ("scale", scale[0])):
        object.__setattr__(model, name, value)
    return model


DISPERSIONS = (None, "pearson", "likelihood")


def _convert_old_flags(cls):
    """Give a new class with the flags of version 0.1 those that took their place."""
    attributes, old = vars(cls), warn_old_names(cls)
    if "linear" in old:
        cls.exponential_family = attributes.get("linear", False)
    if "informed" in old:
        cls.has_fisher_information = attributes.get("informed", False)
    if old.keys() & {"divides", "shapes"}:
        divides = attributes.get("divides", cls.dispersion == "pearson")
        shapes = attributes.get("shapes", cls.dispersion == "likelihood")
        cls.dispersion = "likelihood" if shapes else "pearson" if divides else None


class ObservationModel(ABC):
    r"""Base class of observation models. A subclass defines how y scatters around its mean.

    A subclass is a frozen dataclass with a `support` and a default link. It defines `loss`, `least`, `saturated`, `variance`
    and `sample` in JAX, for arrays of shape (neurons, time). For Fisher information it defines `information`, or sets
    ``exponential_family = True``. With the unit deviance :math:`d = 2\,(\ell(\eta, y) - \ell_{\min}(y))` the log-likelihood is
    :math:`\log p(y \mid \mu = y) - d / 2\varphi`, where :math:`\varphi` is the scale if ``dispersion = "pearson"``, else 1.
    Where both losses are large, as for counts, define `deviance` itself: scores, residuals and tests are made of it.

    Examples
    --------
    Intervals between the spikes of a Poisson process whose rate depends on features:

    >>> from dataclasses import dataclass
    >>> import jax, jax.numpy as jnp, numpy as np
    >>> from popglm.glm import GLM
    >>> from popglm.observation_models import Gamma, ObservationModel
    >>> @dataclass(frozen=True)
    ... class Exponential(ObservationModel):
    ...     link: object = "exp"
    ...     support = Gamma.support
    ...     def loss(self, eta, y):
    ...         return self.link.log_inverse(eta) + y / self.link.inverse(eta)
    ...     def least(self, y):
    ...         return jnp.log(y) + 1
    ...     def saturated(self, y):
    ...         return -jnp.log(y) - 1
    ...     def variance(self, mean):
    ...         return mean**2
    ...     def sample(self, key, eta):
    ...         return self.mean(eta) * jax.random.exponential(key, jnp.shape(eta))
    ...     def information(self, eta):
    ...         return jnp.ones_like(eta)
    >>> intervals = np.array([0.1, 0.3, 0.2])
    >>> model = GLM(Exponential()).fit(np.zeros((3, 1)), intervals)  # a constant feature: the fit is the mean
    >>> round(float(model.predict(np.zeros((1, 1)))[0]), 3)
    0.2
    """

    support = COUNTS
    scale = None
    # how a scale of None is estimated: "pearson" from Pearson's chi-squared, as the scale divides the loss; "likelihood" by
    # maximum likelihood, with the coefficients, as the loss depends on it; None, if there is no scale
    dispersion = None
    # True if the distributions, at a given scale, are an exponential family: the gradient of the loss is then linear in y, and
    # the Fisher information is the curvature at the mean of y
    exponential_family = False
    # True if the class that defines `loss` also states its Fisher information, by `exponential_family` or `information`
    has_fisher_information = False
    # True if the distribution of y - eta is the same for every eta: y far from 0 is then centred before it is rounded
    location_family = False

    divides = OldName("dispersion", lambda dispersion: dispersion == "pearson")
    shapes = OldName("dispersion", lambda dispersion: dispersion == "likelihood")
    linear, informed = OldName("exponential_family"), OldName("has_fisher_information")

    def __init_subclass__(cls) -> None:
        """Register the class as a pytree. JAX takes classes of `register_dataclass` with equal fields for the same class."""
        jax.tree_util.register_pytree_node(cls, _flatten_model, partial(_unflatten_model, cls))
        _convert_old_flags(cls)
        if cls.dispersion not in DISPERSIONS:
            raise ValueError(
                f'`dispersion` of {cls.__name__} must be None, "pearson" or "likelihood": how its scale is estimated; got '
                f"{cls.dispersion!r}. Give a field of the model another name."
            )
        attributes = vars(cls)
        if attributes.keys() & {"loss", "information", "exponential_family"}:
            cls.has_fisher_information = "information" in attributes or attributes.get("exponential_family", False)
        if attributes.keys() & {"loss", "least"}:  # what a class above says of its own loss is not true of this one
            cls.deviance = attributes.get("deviance", ObservationModel.deviance)
            cls.location_family = attributes.get("location_family", False)

    def __post_init__(self) -> None:
        """Replace the name or function of a link by the link."""
        if not isinstance(self.link, Link):
            name = require_link(self.link, LINKS)
            object.__setattr__(self, "link", resolve_link(name, self.support.low, self.support.high))

    def with_scale(self, scale: Numbers) -> Self:
        """Return this model with one scale per neuron, as a column."""
        return replace(self, scale=np.asarray(scale, jnp.result_type(float))[:, None])

    def mean(self, eta: Entries) -> Entries:
        """Mean per bin, shape of `eta`."""
        return self.link.inverse(eta)

    @abstractmethod
    def loss(self, eta: Entries, y: Entries) -> Entries:
        """Negative log-likelihood times the scale, up to terms without parameters; finite wherever the mean is."""

    @abstractmethod
    def least(self, y: Entries) -> Entries:
        """Smallest loss: the loss where the mean is y."""

    @abstractmethod
    def saturated(self, y: Entries) -> Entries:
        """Log-likelihood where the mean is y: that of the saturated model."""

    @abstractmethod
    def variance(self, mean: Entries) -> Entries:
        """Variance of y at this mean, divided by the scale if ``dispersion = "pearson"``."""

    @abstractmethod
    def sample(self, key: jax.Array, eta: Entries) -> Entries:
        """Draw y at the linear predictor `eta`, with a random key of JAX."""

    def curvature(self, eta: Entries, y: Entries) -> Entries:
        """Second derivative of the loss with respect to the linear predictor, element by element."""
        slope = lambda e: jax.jvp(lambda x: self.loss(x, y), (e,), (jnp.ones_like(e),))[1]
        return jax.jvp(slope, (eta,), (jnp.ones_like(eta),))[1]

    def information(self, eta: Entries) -> Entries:
        """Fisher information: mean of the curvature over y; in an exponential family the curvature at the mean of y."""
        return self.curvature(eta, self.mean(eta))

    def deviance(self, eta: Entries, y: Entries) -> Entries:
        """Unit deviance of every entry: twice the difference of the loss and its smallest value, without the scale.

        Log-likelihoods, their differences and residuals are made of it. Define it where this difference would lose digits.
        """
        return 2 * (self.loss(eta, y) - self.least(y))

    def shortfall(self, eta: Entries, y: Entries) -> Entries:
        """Log-likelihood that every entry lacks of the saturated model's: half its deviance, divided by the dispersion."""
        return self.deviance(eta, y) / (2 * (self.scale if self.dispersion == "pearson" else 1))

    def log_likelihood(self, eta: Entries, y: Entries) -> Entries:
        """Log-likelihood of every entry, including the terms that do not depend on parameters."""
        return self.saturated(y) - self.shortfall(eta, y)

    def pearson(self, eta: Entries, y: Entries) -> Entries:
        """Squared residual divided by `variance`."""
        mean = self.mean(eta)
        residual = y - mean
        return jnp.where(residual == 0, 0, residual**2 / self.variance(mean))

    def null_mean(self, events: PerNeuron, bins: PerNeuron) -> tuple[np.ndarray, np.ndarray]:
        """Mean of each neuron, and which neurons are constant; half an event keeps the link of their means finite."""
        mean, low, high = events / np.where(bins > 0, bins, 1), self.support.low, self.support.high
        half = 0.5 / np.maximum(
            bins, 2
        )  # of two bins at least: weights may be small, and 1/2 would be neither silent nor active
        at_low, at_high = mean <= low, mean >= high
        mean = np.where(at_low, low + half, np.where(at_high, high - half, mean))
        require_reachable_mean(self.link.low, self.link.high, mean)
        return mean, at_low | at_high

    def nat(self, loss: PerNeuron) -> PerNeuron:
        """Change of the mean loss per nat of log-likelihood: 1, or the scale, twice the loss, if it divides the loss."""
        return 2 * loss if self.dispersion == "pearson" else np.ones_like(loss)


@dataclass(frozen=True)
class Poisson(ObservationModel):
    r"""Spike counts: :math:`y_t \sim \mathrm{Poisson}(\mu_t)` with :math:`\mu_t = f(\eta_t)`.

    The loss of one bin is :math:`\mu_t - y_t \log \mu_t`, the negative log-likelihood without the constant term
    :math:`\log y_t!`.

    Parameters
    ----------
    link
        Link of the mean count per bin; "exp" by default. Estimators set it by ``inverse_link_function``.

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
    exponential_family = True

    def loss(self, eta: Entries, y: Entries) -> Entries:
        return self.link.inverse(eta) - y * self.link.log_inverse(eta)

    def least(self, y: Entries) -> Entries:
        return y - xlogy(y, y)

    def saturated(self, y: Entries) -> Entries:
        return saturated_poisson(y)

    def deviance(self, eta: Entries, y: Entries) -> Entries:
        return count_deviance(y, self.link.inverse(eta), self.link.log_inverse(eta))

    def variance(self, mean: Entries) -> Entries:
        return mean

    def sample(self, key: jax.Array, eta: Entries) -> Entries:
        return jax.random.poisson(key, self.mean(eta))


@dataclass(frozen=True)
class Bernoulli(ObservationModel):
    r"""One spike or none: :math:`P(y_t = 1) = \mu_t` with :math:`\mu_t = f(\eta_t)`.

    The loss is :math:`-y_t \log \mu_t - (1 - y_t) \log(1 - \mu_t)`, with both logarithms written on :math:`\eta_t`.

    Parameters
    ----------
    link
        Link of the probability of a spike: "logistic" by default, "probit" or "cloglog". With "cloglog" it is the
        probability of at least one spike of a Poisson process with rate :math:`e^{\eta_t}`.

    References
    ----------
    McCullagh and Nelder (1989), *Generalized Linear Models*, chapter 4.

    Examples
    --------
    >>> from popglm.observation_models import Bernoulli
    >>> round(float(Bernoulli().log_likelihood(0.0, 1.0)), 4)  # log 1/2
    -0.6931
    """

    link: Link | Callable | str = LOGISTIC
    support, exponential_family = BINARY, True

    def loss(self, eta: Entries, y: Entries) -> Entries:
        # `where`, since 0 times a logarithm of -inf is NaN
        return -jnp.where(y > 0, self.link.log_inverse(eta), self.link.log_rest(eta))

    def information(self, eta: Entries) -> Entries:
        """Fisher information: mean of the curvature over y, which is 0 or 1."""
        mean, one = self.mean(eta), jnp.ones_like(eta)
        return mean * self.curvature(eta, one) + (1 - mean) * self.curvature(eta, 0 * one)

    def least(self, y: Entries) -> Entries:
        return 0 * y

    def saturated(self, y: Entries) -> Entries:
        return 0 * y

    def variance(self, mean: Entries) -> Entries:
        return mean * (1 - mean)

    def sample(self, key: jax.Array, eta: Entries) -> Entries:
        return jax.random.bernoulli(key, self.mean(eta)).astype(int)


@dataclass(frozen=True)
class Gaussian(ObservationModel):
    r"""Real numbers: :math:`y_t \sim \mathcal{N}(\mu_t, \sigma^2)` with :math:`\mu_t = f(\eta_t)`.

    The loss is :math:`(y_t - \mu_t)^2 / 2`. With the identity link, `fit` and scores centre y that lies far from 0, such as a
    voltage with an offset, before they round it to single precision; `fit_batches` does not: subtract the offset there.

    Parameters
    ----------
    link
        Link of the mean; "identity" by default.
    scale
        :math:`\sigma^2`; None estimates it, one per neuron: Pearson's :math:`\chi^2` / (valid bins - parameters).

    References
    ----------
    McCullagh and Nelder (1989), *Generalized Linear Models*, chapter 3.

    Examples
    --------
    >>> from popglm.observation_models import Gaussian
    >>> round(float(Gaussian(scale=1.0).log_likelihood(0.0, 0.0)), 4)
    -0.9189
    """

    link: Link | Callable | str = IDENTITY
    scale: object = None
    support, dispersion, exponential_family = REAL, "pearson", True

    @property
    def location_family(self) -> bool:  # type: ignore[override]  # of classes of a user it is an attribute
        """True for the identity link."""
        return self.link == IDENTITY

    def loss(self, eta: Entries, y: Entries) -> Entries:
        return (y - self.link.inverse(eta)) ** 2 / 2

    def least(self, y: Entries) -> Entries:
        return 0 * y

    def saturated(self, y: Entries) -> Entries:
        return 0 * y - jnp.log(2 * np.pi * self.scale) / 2

    def variance(self, mean: Entries) -> Entries:
        return jnp.ones_like(mean)

    def sample(self, key: jax.Array, eta: Entries) -> Entries:
        mean = self.mean(eta)
        return mean + jnp.sqrt(self.scale) * jax.random.normal(key, jnp.shape(mean))


@dataclass(frozen=True)
class Gamma(ObservationModel):
    r"""Positive numbers whose scatter grows with the mean: variance :math:`\varphi \mu_t^2`, :math:`\mu_t = f(\eta_t)`.

    The loss is half the unit deviance, :math:`y_t / \mu_t - 1 - \log (y_t / \mu_t)`.

    Parameters
    ----------
    link
        Link of the mean; "exp" by default.
    scale
        The dispersion :math:`\varphi`, 1 / shape; None estimates it, one per neuron: Pearson's :math:`\chi^2` / (valid
        bins - parameters).

    References
    ----------
    McCullagh and Nelder (1989), *Generalized Linear Models*, chapter 8.

    Examples
    --------
    >>> from popglm.observation_models import Gamma
    >>> round(float(Gamma(scale=1.0).log_likelihood(0.0, 2.0)), 4)  # an exponential density of mean 1
    -2.0
    """

    link: Link | Callable | str = EXP
    scale: object = None
    support, dispersion, exponential_family = POSITIVE, "pearson", True

    def loss(self, eta: Entries, y: Entries) -> Entries:
        ratio = jnp.log(y) - self.link.log_inverse(eta)
        return jnp.expm1(ratio) - ratio

    def least(self, y: Entries) -> Entries:
        return 0 * y

    def saturated(self, y: Entries) -> Entries:
        return -jnp.log(2 * np.pi * self.scale) / 2 - stirling_remainder(1 / self.scale) - jnp.log(y)

    def variance(self, mean: Entries) -> Entries:
        return mean**2

    def sample(self, key: jax.Array, eta: Entries) -> Entries:
        mean = self.mean(eta)
        return mean * self.scale * jax.random.gamma(key, jnp.broadcast_to(1 / self.scale, jnp.shape(mean)))


@dataclass(frozen=True)
class NegativeBinomial(ObservationModel):
    r"""Overdispersed counts: variance :math:`\mu_t + \alpha \mu_t^2` with :math:`\mu_t = f(\eta_t)`.

    The loss is :math:`(y_t + 1/\alpha) \log(1 + \alpha \mu_t) - y_t \log \mu_t`; for small :math:`\alpha` that of Poisson.

    Parameters
    ----------
    link
        Link of the mean count per bin; "exp" by default.
    scale
        The dispersion :math:`\alpha`, 1 / `theta` of R; None estimates it, one per neuron, by maximum likelihood,
        together with the coefficients.

    References
    ----------
    Hilbe (2011), *Negative Binomial Regression*.

    Examples
    --------
    >>> from popglm.observation_models import NegativeBinomial
    >>> round(float(NegativeBinomial(scale=1.0).log_likelihood(0.0, 0.0)), 4)  # a geometric distribution of mean 1
    -0.6931
    """

    link: Link | Callable | str = EXP
    scale: object = None
    dispersion, exponential_family = "likelihood", True

    def loss(self, eta: Entries, y: Entries) -> Entries:
        return _negative_binomial_loss(y, self.link.inverse(eta), self.link.log_inverse(eta), self.scale)

    def least(self, y: Entries) -> Entries:
        return (1 + self.scale * y) * jnp.log1p(self.scale * y) / self.scale - xlogy(y, y)

    def saturated(self, y: Entries) -> Entries:
        return saturated_negative_binomial(y, self.scale)

    def deviance(self, eta: Entries, y: Entries) -> Entries:
        return count_deviance(y, self.link.inverse(eta), self.link.log_inverse(eta), self.scale)

    def variance(self, mean: Entries) -> Entries:
        return mean + self.scale * mean**2

    def sample(self, key: jax.Array, eta: Entries) -> Entries:
        mean = self.mean(eta)
        gain_key, count_key = jax.random.split(key)
        gain = self.scale * jax.random.gamma(gain_key, jnp.broadcast_to(1 / self.scale, jnp.shape(mean)))
        return jax.random.poisson(count_key, mean * gain)


@jax.custom_jvp
def _negative_binomial_loss(y: Entries, mean: Entries, log_mean: Entries, scale: Any) -> Entries:
    """Loss whose slopes keep their digits: that along `log_mean` is a residual, that in the scale a series if it is small."""
    return (1 + scale * y) * (jnp.log1p(scale * mean) / scale) - y * log_mean


@partial(_negative_binomial_loss.defjvp, symbolic_zeros=True)
def _negative_binomial_loss_jvp(primals: tuple, tangents: tuple) -> tuple[Entries, Entries]:
    y, mean, log_mean, scale = primals
    log_term, share, x = jnp.log1p(scale * mean) / scale, 1 / (1 + scale * mean), jnp.minimum(scale * mean, 0.01)

    def scale_slope() -> Entries:
        series = 0.0
        for k in range(8, -1, -1):
            series = (k + 1) / (k + 2) - x * series
        slope = jnp.where(x < 0.01, -(mean**2) * series, (mean * share - log_term) * (1 / scale))
        return y * log_term + (1 + scale * y) * slope

    slopes = (lambda: scale * log_term - log_mean, lambda: 0.0, lambda: (mean - y) * share, scale_slope)
    return _negative_binomial_loss(*primals), multiply_slopes(slopes, tangents, mean)


export(__name__, globals())


def __dir__():
    return __all__
