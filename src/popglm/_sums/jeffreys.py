"""Sums for Jeffreys' prior, half the logarithm of the determinant of the Fisher information: functions of one block.

Points are coefficients in standardised features and, last, the intercept; models have a link that makes the information the
curvature of the loss. Gradients and matrices are those in features less a `center` of each neuron, 0 for the intercept.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from popglm._design.blocks import Block
from popglm._sums.losses import add_offset, loss_and_slope, select_neurons, standardised_rows, weighted_sum

Selected = Float[Array | np.ndarray, "selected coordinates"]
Matrices = Float[Array | np.ndarray, "selected coordinates coordinates"]
Features = Float[Array | np.ndarray, " features"]


def information_sums(
    block: Block,
    model: Any,
    neurons: Any,
    point: Selected,
    reference: Selected,
    center: Selected,
    mean: Features,
    sd: Features,
) -> tuple[Any, Any, Selected, Matrices]:
    """Loss of some neurons less that at a reference point, its round-off, its gradient, and the Fisher information.

    The round-off is given by the sum of absolute differences, and the sum of squares of the losses, which round each by itself.
    """
    X, block, model, eta = _predict(block, model, neurons, point, mean, sd)
    y, weight = block.y.T, block.weight.T
    loss, residual = loss_and_slope(model, eta, y)
    difference = loss - model.loss(add_offset(block, reference @ X.T), y)
    residual = jnp.where(weight > 0, weight * residual, 0)
    information = jnp.where(weight > 0, weight * model.information(eta), 0)

    def sums_of_neuron(arrays: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        residual, weight, center = arrays
        rows = X - center[None]
        return residual @ rows, (weight[:, None] * rows).T @ rows

    gradient, matrices = jax.lax.map(sums_of_neuron, (residual, information, center))
    round_off = weighted_sum(weight, jnp.abs(difference)), weighted_sum(weight, loss**2)
    return weighted_sum(weight, difference), round_off, gradient, matrices


def leverage_sums(
    block: Block,
    model: Any,
    neurons: Any,
    point: Selected,
    covariance: Matrices,
    center: Selected,
    mean: Features,
    sd: Features,
) -> Selected:
    """Gradient of half the logarithm of the determinant of the information, whose inverse is the `covariance`."""
    X, block, model, eta = _predict(block, model, neurons, point, mean, sd)
    _, slope = jax.jvp(model.information, (eta,), (jnp.ones_like(eta),))
    factor = jnp.where(block.weight.T > 0, block.weight.T * slope / 2, 0)

    def gradient_of_neuron(arrays: tuple[Array, Array, Array]) -> Array:
        factor, covariance, center = arrays
        rows = X - center[None]
        return (factor * ((rows @ covariance) * rows).sum(1)) @ rows

    return jax.lax.map(gradient_of_neuron, (factor, covariance, center))


def _predict(
    block: Block, model: Any, neurons: Any, point: Selected, mean: Features, sd: Features
) -> tuple[Any, Block, Any, Any]:
    """Standardised rows, block and model of some neurons, and their linear predictors."""
    X, block = standardised_rows(block, mean, sd), block.select_neurons(neurons)
    return X, block, select_neurons(model, neurons), add_offset(block, point @ X.T)
