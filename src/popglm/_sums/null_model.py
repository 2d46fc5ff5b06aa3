"""Null model with an offset: one intercept for each neuron, found by scoring steps on sums over bins.

Without an offset the null model is the mean of y, which `losses.fit_null_model` takes from sums.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from popglm._design.arrays import machine_epsilon
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
    return null._replace(shift=_solve_intercept(design, model, null) - null.eta)


def _solve_intercept(design: Design, model: Any, null: NullModel) -> np.ndarray:
    """Intercept at which the slope of the loss is 0: steps of scoring, or bisection where one leaves the known bounds."""
    dtype, eta = jnp.result_type(float), null.eta
    low, high, tol = np.full_like(eta, -np.inf), np.full_like(eta, np.inf), machine_epsilon() ** 0.75
    last_step = np.zeros_like(eta)
    for _ in range(MAX_SCORING_STEPS):
        slope, information = total(
            _slope_and_information, design, model, eta.astype(dtype), null.mean.astype(dtype), null.silent
        )
        slope = np.where(np.isfinite(slope), slope, last_step)  # too far: on the side where the last step went
        low, high = np.where(slope < 0, eta, low), np.where(slope > 0, eta, high)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = -slope / information
        new = np.where(np.isfinite(step), eta + step, np.nan)
        middle = np.where(np.isfinite(low) & np.isfinite(high), (low + high) / 2, eta - np.sign(slope))
        new = np.where((low < new) & (new < high), new, np.where(slope == 0, eta, middle))
        last_step, eta = new - eta, new
        if (np.abs(last_step) <= tol * np.maximum(np.abs(eta), 1)).all():
            break
    return eta


def _slope_and_information(
    block: Block, model: Any, intercept: PerNeuron, mean: PerNeuron, silent: PerNeuron
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
