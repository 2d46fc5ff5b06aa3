"""Null model with an offset: one intercept for each neuron, found by scoring steps on sums over bins.

Without an offset the null model is the mean of y, which `losses.fit_null_model` takes from sums.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from popglm._design.arrays import as_divisor, machine_epsilon
from popglm._design.blocks import Block
from popglm._design.design import Design
from popglm._design.total import total
from popglm._sums.losses import NullModel, PerNeuron, fit_null_model, null_predictor, weighted_sum

MAX_SCORING_STEPS = 60


def null_model_of(design: Design, model: Any, bins: np.ndarray, events: np.ndarray) -> NullModel:
    """Fit the model without features to a design, from its sums. A silent neuron has half an event, as without an offset."""
    null = fit_null_model(model, bins, events)
    if not design.has_offset:
        return null
    return solve_null_model(lambda f, *args: total(f, design, *args), model, null)


def solve_null_model(sum_over: Callable, model: Any, null: NullModel) -> NullModel:
    """Null model at whose intercept the slope of the loss is 0; its mean of y is given.

    Steps of scoring, or bisection where one leaves the known bounds. They begin at the intercept of `null`, or, if it knows
    no offset, where typical bins have their mean. ``sum_over(f, *args)`` sums ``f(block, *args)`` over rows.
    """
    dtype, eta = jnp.result_type(float), null.intercept
    if null.offset_intercept is None:
        eta = null.eta - _typical_offset(sum_over(_offset_sums, model), model)
    low, high, tol = np.full_like(eta, -np.inf), np.full_like(eta, np.inf), machine_epsilon() ** 0.75
    inside = eta - 1  # where the slope is finite; sums overflow at large means
    for _ in range(MAX_SCORING_STEPS):
        args = model, eta.astype(dtype), null.mean.astype(dtype), null.silent
        slope, information = sum_over(null_slope_and_information, *args)
        inside = np.where(np.isfinite(slope), eta, inside)
        slope = np.where(np.isfinite(slope), slope, eta - inside)
        low, high = np.where(slope < 0, eta, low), np.where(slope > 0, eta, high)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = -slope / information
            middle = np.where(np.isfinite(high - low), (low + high) / 2, eta - np.sign(slope))
        new = np.where(np.isfinite(step), eta + step, np.nan)
        new = np.where((low < new) & (new < high), new, np.where(slope == 0, eta, middle))
        step, eta = new - eta, new
        if (np.abs(step) <= tol * np.maximum(np.abs(eta), 1)).all():
            break
    return null.with_intercept(eta)


def _typical_offset(sums: tuple, model: Any) -> np.ndarray:
    """Constant that predicts the mean of a typical bin as the offsets do, at an intercept of 0: exact for the link exp."""
    bins, offset, mean = as_divisor(sums[0]), *sums[1:]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        constant = np.asarray(model.link.forward(mean / bins), float)
    return np.where(np.isfinite(constant), constant, offset / bins)  # a mean may overflow, or round to 0 or 1


def _offset_sums(block: Block, model: Any) -> tuple[PerNeuron, PerNeuron, PerNeuron]:
    """Number of bins, and the sums of their offsets and of the means that these predict."""
    weight = jnp.broadcast_to(block.weight.T, block.y.T.shape)
    offset = null_predictor(block, jnp.zeros_like(weight[:, 0]))
    return weight.sum(1), weighted_sum(weight, offset), weighted_sum(weight, model.mean(offset))


def null_slope_and_information(
    block: Block, model: Any, intercept: PerNeuron, mean: PerNeuron, silent: Bool[Array, " neurons"]
) -> tuple[PerNeuron, PerNeuron]:
    """Slope of each neuron's loss along its intercept, and its quasi-information; a silent neuron has `mean` for y."""
    eta, weight = null_predictor(block, intercept), block.weight.T
    eta = jnp.broadcast_to(eta, block.y.T.shape)
    one = (jnp.ones_like(eta),)
    predicted, change = jax.jvp(model.mean, (eta,), one)
    information = change**2 / model.variance(predicted)
    _, slope = jax.jvp(lambda e: model.loss(e, block.y.T), (eta,), one)
    silent_slope = (predicted - mean[:, None]) * change / model.variance(predicted)
    slope = jnp.where(silent[:, None], silent_slope, slope)
    return weighted_sum(weight, slope), weighted_sum(weight, information)
