"""The scale of each neuron's activity: Pearson's dispersion after a fit, or maximum likelihood in turn with the fit.

Pearson's chi-squared over the valid bins less the free parameters gives the variance of a Gaussian and the dispersion of a
Gamma, which no coefficient depends on. A scale inside the loss, that of the negative binomial, is found by Newton steps in its
logarithm while the coefficients rest; the two take turns until neither moves. As they are orthogonal, few turns are enough.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popglm._design.arrays import machine_epsilon
from popglm._design.total import total
from popglm._sums.losses import linear_predictor, weighted_sum
from popglm._sums.separation import separated_binary, sign_sums

MIN_DISPERSION, MAX_DISPERSION = 1e-6, 1e6  # at its least a negative binomial is a Poisson distribution


MAX_NEWTON_STEPS = 60


LOG_DISPERSION_TOL = {"float32": 1e-4, "float64": 1e-9}  # in the logarithm of the scale


def broadcast_dispersion(model, n_neurons):
    """The model with one scale per neuron, if there is one yet; a loss that needs one begins at 1."""
    scale = 1.0 if model.scale is None and model.shapes else model.scale
    return model if scale is None else model.with_scale(np.broadcast_to(np.asarray(scale, float).ravel(), n_neurons))


def dispersion_slopes(block, model, coef, intercept):
    """First and second derivative of each neuron's log-likelihood in the logarithm of its scale."""
    eta, y, weight = linear_predictor(block, coef, intercept), block.y.T, block.weight.T

    def of(log_scale):
        return weighted_sum(weight, _set_dispersion(model, jnp.exp(log_scale)).log_likelihood(eta, y))

    one = jnp.ones_like(intercept)
    slope = lambda at: jax.jvp(of, (at,), (one,))[1]
    return jax.jvp(slope, (jnp.log(model.scale)[:, 0],), (one,))


def _set_dispersion(model, scale):
    return jax.tree.map(lambda _: scale[:, None], model)


def fit_dispersion(slopes_at, model, coef, intercept):
    """The model with the scale of the largest likelihood at these parameters; `slopes_at` sums `slopes` over the data."""
    dtype = jnp.result_type(float)
    coef, intercept = coef.astype(dtype), intercept.astype(dtype)
    at = np.log(np.asarray(model.scale, float)[:, 0])
    low, high = np.full_like(at, np.log(MIN_DISPERSION)), np.full_like(at, np.log(MAX_DISPERSION))
    for _ in range(MAX_NEWTON_STEPS):
        slope, bend = slopes_at(model.with_scale(np.exp(at)), coef, intercept)
        low, high = np.where(slope > 0, at, low), np.where(slope > 0, high, at)
        new = at + log_dispersion_step(slope, bend)
        new = np.where((low <= new) & (new <= high), new, (low + high) / 2)
        moved, at = np.abs(new - at), new
        if moved.max() < LOG_DISPERSION_TOL[dtype.name]:
            break
    return model.with_scale(np.exp(at))


def chi_squared_sums(block, model, coef, intercept, null):
    """Bins, and Pearson's chi-squared of the model and of the null model."""
    y, weight = block.y.T, block.weight.T
    sums = [model.pearson(eta, y) for eta in (linear_predictor(block, coef, intercept), null[:, None])]
    bins = jnp.broadcast_to(block.weight, block.y.shape).sum(0)
    return bins, *(weighted_sum(weight, entries) for entries in sums)


class Dispersion(NamedTuple):
    """Each neuron's scale, and what it tells.

    `constant` marks neurons whose y never varies, `separated` those whose features separate bins with an event from all
    others. `separated_features` (neurons, features) marks single features that separate y where they are not 0; None if
    not computed.
    """

    scale: np.ndarray
    constant: np.ndarray
    separated: np.ndarray
    separated_features: np.ndarray | None = None


def estimate_dispersion(model, mean, free, silent, sums) -> Dispersion:
    """The scales from the sums of `chi_squared`."""
    nothing, given = np.zeros(len(mean), bool), None
    if model.scale is not None:
        given = np.asarray(model.scale, float).ravel()
    if sums is None:
        return Dispersion(np.ones(len(mean)) if given is None else given, nothing, nothing)
    bins, chi, null_chi = sums
    if not model.divides:
        return Dispersion(np.ones(len(mean)), nothing, (chi < 1) & ~silent)  # of n bins it should be about n
    mean = mean.astype(float)
    round_off = 8 * machine_epsilon()
    typical = np.maximum(mean**2 / np.asarray(model.variance(mean), float), 1e-30)
    constant, least = null_chi <= round_off**2 * typical * bins, np.finfo(np.float32).eps ** 2 * typical
    left = np.where(
        (bins > 0) & (bins <= free) & ~silent, np.nan, np.maximum(bins - free, 1)
    )  # no scale is left of no bins
    scale = np.maximum(chi / left, least)
    return Dispersion(scale if given is None else given, constant, nothing)


def needs_chi_squared(model) -> bool:
    """Whether a fit needs Pearson's chi-squared."""
    return model.divides or model.support.ends_only


def dispersion_after_fit(design, model, fit) -> Dispersion:
    """The same as `dispersion`, after a fit to a design; of a model of 0 and 1 also the coefficients without an end."""
    sums, ends, dtype = None, None, jnp.result_type(float)
    if needs_chi_squared(model):
        null = np.asarray(model.link.forward(fit.mean.astype(float)), dtype)
        f = _chi_squared_and_signs if model.support.ends_only else chi_squared_sums
        sums = total(f, design, model, fit.coef, fit.intercept, null)
    if model.support.ends_only:
        sums, ends = sums
    scales = estimate_dispersion(model, fit.mean, fit.free, fit.silent, sums)
    if ends is None:
        return scales
    skip = (fit.silent | scales.separated)[:, None]
    return scales._replace(separated_features=separated_binary(ends, fit.coef) & ~skip)


def _chi_squared_and_signs(block, *args):
    return chi_squared_sums(block, *args), sign_sums(block)


def log_dispersion_step(slope, bend):
    """A careful step of the logarithm of the scale, near its optimum."""
    return np.clip(np.where(bend < 0, -slope / np.where(bend < 0, bend, -1), np.sign(slope)), -1, 1)
