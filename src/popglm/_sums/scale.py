"""Dispersion of each neuron: Pearson's estimate after a fit, or maximum likelihood, by batches in turns with the fit.

Pearson's chi-squared divided by the number of valid bins minus that of parameters estimates the variance of a Gaussian and the
dispersion of a Gamma; coefficients do not depend on it. The dispersion of a negative binomial is part of the loss. In a fit to
all data it is a coordinate of the solver; here, Newton steps in its logarithm alternate with fits of the coefficients until
neither changes. The two are orthogonal, so few turns suffice.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popglm._design.arrays import machine_epsilon
from popglm._design.blocks import Block
from popglm._design.design import Design
from popglm._design.total import total
from popglm._sums.losses import Coef, PerNeuron, linear_predictor, null_predictor, weighted_sum
from popglm._sums.separation import sign_sums

MIN_DISPERSION, MAX_DISPERSION = 1e-6, 1e6  # at the minimum a negative binomial is a Poisson distribution


MAX_NEWTON_STEPS = 60


MAX_SEPARATED_SHARE = 0.01  # of a chi-squared per bin, below which binary y is predicted without a doubt
MAX_POISSON_DISPERSION = 1.1e-6  # a dispersion below this ended at the minimum: there is none
LOG_DISPERSION_TOL = {"float32": 1e-4, "float64": 1e-9}  # of the logarithm of the dispersion


def broadcast_dispersion(model: Any, n_neurons: int) -> Any:
    """Give the model one dispersion per neuron; a loss that needs one starts from 1, others may have None."""
    scale = 1.0 if model.scale is None and model.dispersion == "likelihood" else model.scale
    return model if scale is None else model.with_scale(np.broadcast_to(np.asarray(scale, float).ravel(), n_neurons))


def dispersion_slopes(block: Block, model: Any, coef: Coef, intercept: PerNeuron) -> tuple[PerNeuron, PerNeuron]:
    """First and second derivative of each neuron's log-likelihood in the logarithm of its dispersion."""
    eta, y, weight = linear_predictor(block, coef, intercept), block.y.T, block.weight.T

    def log_likelihood(log_scale: PerNeuron) -> PerNeuron:
        return weighted_sum(weight, _set_dispersion(model, jnp.exp(log_scale)).log_likelihood(eta, y))

    one = jnp.ones_like(intercept)
    slope = lambda log_scale: jax.jvp(log_likelihood, (log_scale,), (one,))[1]
    return jax.jvp(slope, (jnp.log(model.scale)[:, 0],), (one,))


def _set_dispersion(model: Any, scale: PerNeuron) -> Any:
    return jax.tree.map(lambda _: scale[:, None], model)


def fit_dispersion(
    slopes_at: Callable, model: Any, coef: np.ndarray | jax.Array, intercept: np.ndarray | jax.Array
) -> Any:
    """Give the model the most likely dispersion at these parameters; `slopes_at` sums `dispersion_slopes` over the data."""
    dtype = jnp.result_type(float)
    coef, intercept = coef.astype(dtype), intercept.astype(dtype)
    log_scale = np.log(np.asarray(model.scale, float)[:, 0])
    low, high = np.full_like(log_scale, np.log(MIN_DISPERSION)), np.full_like(log_scale, np.log(MAX_DISPERSION))
    for _ in range(MAX_NEWTON_STEPS):
        slope, curvature = slopes_at(model.with_scale(np.exp(log_scale)), coef, intercept)
        low, high = np.where(slope > 0, log_scale, low), np.where(slope > 0, high, log_scale)
        new = log_scale + log_dispersion_step(slope, curvature)
        new = np.where((low <= new) & (new <= high), new, (low + high) / 2)
        change, log_scale = np.abs(new - log_scale), new
        if change.max() < LOG_DISPERSION_TOL[dtype.name]:
            break
    return model.with_scale(np.exp(log_scale))


def chi_squared_sums(
    block: Block, model: Any, coef: Coef, intercept: PerNeuron, null: PerNeuron
) -> tuple[PerNeuron, PerNeuron, PerNeuron]:
    """Number of bins, and Pearson's chi-squared of the model and of the null model with linear predictor `null`."""
    y, weight = block.y.T, block.weight.T
    etas = linear_predictor(block, coef, intercept), null_predictor(block, null)
    sums = [model.pearson(eta, y) for eta in etas]
    bins = jnp.broadcast_to(block.weight, block.y.shape).sum(0)
    return bins, *(weighted_sum(weight, entries) for entries in sums)


class Dispersion(NamedTuple):
    """Dispersion `scale` of each neuron, and neurons and features whose fit has no finite optimum.

    `constant` marks neurons whose y never varies, `separated` those whose features separate bins with an event from all
    others.
    """

    scale: np.ndarray
    constant: np.ndarray
    separated: np.ndarray


def estimate_dispersion(
    model: Any, mean: np.ndarray, n_params: np.ndarray, silent: np.ndarray, sums: tuple | None
) -> Dispersion:
    """Estimate dispersions from the totals `sums` of `chi_squared_sums`; None if the model needs no chi-squared."""
    no_neurons = np.zeros(len(mean), bool)
    fixed = None if model.scale is None else np.asarray(model.scale, float).ravel()
    if sums is None:
        return Dispersion(
            scale=np.ones(len(mean)) if fixed is None else fixed, constant=no_neurons, separated=no_neurons
        )
    bins, chi, null_chi = sums
    if model.dispersion != "pearson":
        # Chi-squared of n bins should be about n; n is small if weights are.
        separated = (chi < np.minimum(1, MAX_SEPARATED_SHARE * bins)) & ~silent
        return Dispersion(scale=np.ones(len(mean)), constant=no_neurons, separated=separated)
    mean = mean.astype(float)
    round_off = 8 * machine_epsilon()
    # dispersion at which the standard deviation equals the mean
    unit = np.maximum(mean**2 / np.asarray(model.variance(mean), float), 1e-30)
    constant, min_scale = null_chi <= round_off**2 * unit * bins, np.finfo(np.float32).eps ** 2 * unit
    constant &= bins > 0
    residual_df = bins - n_params
    undefined = (residual_df <= 0) & ~(silent & (bins > 0))
    scale = np.maximum(chi / np.where(undefined, np.nan, np.where(residual_df > 0, residual_df, 1)), min_scale)
    return Dispersion(scale=scale if fixed is None else fixed, constant=constant, separated=no_neurons)


def needs_chi_squared(model: Any) -> bool:
    """Return whether a fit of this model needs Pearson's chi-squared."""
    return model.dispersion == "pearson" or model.support.kind == "binary"


def dispersion_after_fit(design: Design, model: Any, fit: Any) -> tuple[Dispersion, tuple | None]:
    """Estimate dispersions after a fit to a design; for binary y the same pass gives also the `sign_sums`, else None."""
    sums, signs, dtype = None, None, jnp.result_type(float)
    if needs_chi_squared(model):
        null = np.asarray(model.link.forward(fit.null_mean.astype(float)), dtype)
        f = _chi_squared_and_signs if model.support.kind == "binary" else chi_squared_sums
        sums = total(f, design, model, fit.coef, fit.intercept, null)
    if model.support.kind == "binary":
        sums, signs = sums  # type: ignore[misc]
    return estimate_dispersion(model, fit.null_mean, fit.features.n_params, fit.silent, sums), signs


def _chi_squared_and_signs(block: Block, *args: Any) -> tuple[tuple, tuple]:
    return chi_squared_sums(block, *args), sign_sums(block)


def log_dispersion_step(slope: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Newton step of the logarithm of the dispersion, at most 1; where the log-likelihood is convex, a step of 1 uphill."""
    return np.clip(np.where(curvature < 0, -slope / np.where(curvature < 0, curvature, -1), np.sign(slope)), -1, 1)
