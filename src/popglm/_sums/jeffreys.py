"""Sums for Jeffreys' prior, half the logarithm of the determinant of the Fisher information: functions of one block.

Points are coefficients in standardised features and, last, the intercept; models have a link that makes the information the
curvature of the loss.
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
    block: Block, model: Any, neurons: Any, point: Selected, mean: Features, sd: Features
) -> tuple[Any, Any, Selected, Matrices]:
    """Loss of some neurons, the sum of its absolute values, its gradient, and the Fisher information."""
    X, block, model, eta = _predict(block, model, neurons, point, mean, sd)
    y, weight = block.y.T, block.weight.T
    loss, residual = loss_and_slope(model, eta, y)
    residual = jnp.where(weight > 0, weight * residual, 0)
    information = jnp.where(weight > 0, weight * model.information(eta), 0)
    matrices = jax.lax.map(lambda w: (w[:, None] * X).T @ X, information)
    return weighted_sum(weight, loss), weighted_sum(weight, jnp.abs(loss)), residual @ X, matrices


def leverage_sums(
    block: Block, model: Any, neurons: Any, point: Selected, covariance: Matrices, mean: Features, sd: Features
) -> Selected:
    """Gradient of half the logarithm of the determinant of the information, whose inverse is the `covariance`."""
    X, block, model, eta = _predict(block, model, neurons, point, mean, sd)
    _, slope = jax.jvp(model.information, (eta,), (jnp.ones_like(eta),))
    variance = jax.lax.map(lambda matrix: ((X @ matrix) * X).sum(1), covariance)
    weight = block.weight.T
    return jnp.where(weight > 0, weight * slope * variance / 2, 0) @ X


def _predict(
    block: Block, model: Any, neurons: Any, point: Selected, mean: Features, sd: Features
) -> tuple[Any, Block, Any, Any]:
    """Standardised rows, block and model of some neurons, and their linear predictors."""
    X, block = standardised_rows(block, mean, sd), block.select_neurons(neurons)
    return X, block, select_neurons(model, neurons), add_offset(block, point @ X.T)
