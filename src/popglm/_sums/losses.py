"""Losses, their gradients and Hessians: functions of one block, summed by `total`."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from popglm._design.blocks import Block

Coef = Float[Array, "neurons features"]


PerNeuron = Float[Array, " neurons"]


Entries = Float[Array, "neurons rows"]


class NullModel(NamedTuple):
    """Each neuron's mean count and its linear predictor `eta`; `silent` neurons have nothing to fit.

    With an offset the intercept is `eta` plus `shift`, and an offset of 0 predicts another mean.
    """

    mean: np.ndarray
    eta: np.ndarray
    silent: np.ndarray
    shift: np.ndarray | float = 0.0

    @property
    def intercept(self) -> np.ndarray:
        """Intercept of each neuron."""
        return self.eta + self.shift

    def with_intercept(self, intercept: np.ndarray | None) -> "NullModel":
        """Null model with this intercept; None if there is no offset."""
        return self if intercept is None else self._replace(shift=intercept - self.eta)

    @property
    def offset_intercept(self) -> np.ndarray | None:
        """Intercept, if there is an offset; else None, as the mean determines it."""
        return None if np.ndim(self.shift) == 0 else self.intercept

    def mean_without_offset(self, model: Any) -> np.ndarray:
        """Mean at an offset of 0."""
        return self.mean if self.offset_intercept is None else np.asarray(model.link.inverse(self.intercept), float)


def fit_null_model(model: Any, bins: np.ndarray, events: np.ndarray) -> NullModel:
    """Fit the model without features and offset, on the host."""
    mean, silent = model.null_mean(events, bins)
    return NullModel(mean=mean, eta=np.asarray(model.link.forward(mean), float), silent=silent | (bins == 0))


def select_neurons(model: Any, neurons: Any) -> Any:
    """Restrict the model to these neurons: select their dispersion, if the model has one."""
    return jax.tree.map(lambda scale: scale[neurons], model)


@jax.jit
def loss_curvature(model: Any, eta: PerNeuron, y: PerNeuron) -> PerNeuron:
    """Second derivative of the loss in the linear predictor, for one bin of each neuron; jitted."""
    return model.curvature(eta[:, None], y[:, None])[:, 0]


def weighted_sum(weight: Float[Array, "#neurons rows"], entries: Entries) -> PerNeuron:
    """Sum over rows; rows of weight 0 are left out, not multiplied, as 0 * inf is NaN."""
    return jnp.where(weight > 0, weight * entries, 0).sum(-1)


def linear_predictor(block: Block, coef: Coef, intercept: PerNeuron) -> Entries:
    """Linear predictor, neurons first, which is the faster order for the products that follow."""
    return add_offset(block, coef @ block.X.T + intercept[:, None])


def null_predictor(block: Block, intercept: PerNeuron) -> Float[Array, " neurons #rows"]:
    """Linear predictor without features; one column where there is no offset."""
    return add_offset(block, intercept[:, None])


def add_offset(block: Block, eta: Float[Array, " neurons #rows"]) -> Float[Array, " neurons #rows"]:
    """Add the offset of the rows, if there is one."""
    return eta if block.offset is None else eta + block.offset.T


def loss_and_slope(model: Any, eta: Entries, y: Entries) -> tuple[Entries, Entries]:
    """Loss of every bin, and its derivative in the linear predictor."""
    return jax.jvp(lambda e: model.loss(e, y), (eta,), (jnp.ones_like(eta),))


def loss_and_gradient(block: Block, model: Any, coef: Coef, intercept: PerNeuron) -> tuple[PerNeuron, Coef, PerNeuron]:
    """Loss of each neuron and its gradient, a sum of residuals: the difference of two large sums would lose digits."""
    y, weight = block.y.T, block.weight.T
    loss, residual = loss_and_slope(model, linear_predictor(block, coef, intercept), y)
    residual = jnp.where(weight > 0, weight * residual, 0)
    return weighted_sum(weight, loss), residual @ block.X, residual.sum(1)


def loss_and_scale_gradient(
    block: Block, model: Any, coef: Coef, intercept: PerNeuron
) -> tuple[tuple[PerNeuron, Coef, PerNeuron], PerNeuron, PerNeuron]:
    """Loss of each neuron, its gradient in the parameters and its slope in the scale, and the information about the scale.

    That is the information of a normal distribution with the model's variance V: half the sum of ``(V' / V)^2``.
    """
    eta, y, weight = linear_predictor(block, coef, intercept), block.y.T, block.weight.T
    scaled = lambda scale: jax.tree.map(lambda _: scale, model)
    loss, residual = loss_and_slope(model, eta, y)
    residual = jnp.where(weight > 0, residual * weight, 0)
    one = (jnp.ones_like(model.scale),)
    slope = jax.jvp(lambda scale: scaled(scale).loss(eta, y), (model.scale,), one)[1]
    mean = model.mean(eta)
    variance, change = jax.jvp(lambda scale: scaled(scale).variance(mean), (model.scale,), one)
    information = jnp.where(variance > 0, change / variance, 0) ** 2 / 2
    loss, slope, information = (weighted_sum(weight, entries) for entries in (loss, slope, information))
    return (loss, residual @ block.X, residual.sum(1)), slope, information


@lru_cache
def of_selected_neurons(f: Callable) -> Callable:
    """Make the function for `total` that is ``f(block, model, *params)`` of some neurons, to which `params` belong."""

    def sums(block: Block, model: Any, neurons: Any, *params: Any) -> Any:
        return f(block.select_neurons(neurons), select_neurons(model, neurons), *params)

    return sums


def null_model_loss(block: Block, model: Any, intercept: PerNeuron) -> PerNeuron:
    """Loss of each neuron without features."""
    return weighted_sum(block.weight.T, model.loss(null_predictor(block, intercept), block.y.T))


def loss_residuals(block: Block, model: Any, coef: Coef, intercept: PerNeuron) -> Float[Array, "rows neurons"]:
    """Derivative of every bin's loss in its linear predictor, rows first; 0 in bins that are not valid."""
    _, residual = loss_and_slope(model, linear_predictor(block, coef, intercept), block.y.T)
    return jnp.where(block.weight.T > 0, residual, 0).T


def residual_gradient(block: Block, residual: Float[Array, "rows neurons"]) -> tuple[Coef, PerNeuron]:
    """Gradient of each neuron's loss from the residuals of its bins."""
    weighted = (block.weight * residual).T
    return weighted @ block.X, weighted.sum(1)


def weighted_curvature(block: Block, model: Any, coef: Coef, intercept: PerNeuron) -> Entries:
    """Curvature of the loss in every bin; 0 where it is negative."""
    weight, curvature = block.weight.T, model.curvature(linear_predictor(block, coef, intercept), block.y.T)
    return jnp.where(weight > 0, jnp.maximum(weight * curvature, 0), 0)


def stack_params(coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    """Stack coefficients and intercepts into one array (neurons, features + 1)."""
    return np.concatenate([coef, intercept[:, None]], 1)


def standardised_rows(
    block: Block, mean: Float[Array, " features"], sd: Float[Array, " features"]
) -> Float[Array, "rows coordinates"]:
    """Features in the coordinates of the solver and, last, a column of ones for the intercept."""
    return jnp.concatenate([(block.X - mean[None]) / sd[None], jnp.ones_like(block.X[:, :1])], 1)


@lru_cache
def curved_row_hessians(n_rows: int) -> Callable:
    """Make the function for `total` that sums Hessians of selected neurons over the `n_rows` most curved rows of a block.

    Hessians are in standardised features and, last, the intercept. The curvature of all other rows is summed to one
    number: in a strongly modulated neuron few rows hold nearly all curvature.
    """

    def sums(
        block: Block,
        model: Any,
        neurons: Any,
        coef: Coef,
        intercept: PerNeuron,
        mean: Float[Array, " features"],
        sd: Float[Array, " features"],
    ) -> tuple[Float[Array, "selected coordinates coordinates"], Float[Array, " selected"]]:
        model, block = select_neurons(model, neurons), block.select_neurons(neurons)
        curvature = weighted_curvature(block, model, coef, intercept)
        weights, rows = jax.lax.top_k(curvature, min(n_rows, curvature.shape[1]))
        X = standardised_rows(block, mean, sd)

        def hessian(weight_and_rows: tuple[Array, Array]) -> Float[Array, "coordinates coordinates"]:
            weight, rows = weight_and_rows
            return (weight[:, None] * X[rows]).T @ X[rows]

        hessians = jax.lax.map(hessian, (weights, rows))
        return hessians, curvature.sum(1) - weights.sum(1)

    return sums


def standardised_hessians(
    block: Block,
    model: Any,
    neurons: Any,
    coef: Coef,
    intercept: PerNeuron,
    mean: Float[Array, " features"],
    sd: Float[Array, " features"],
) -> Float[Array, "selected coordinates coordinates"]:
    """Hessian of each selected neuron, in standardised features and, last, the intercept."""
    model, block = select_neurons(model, neurons), block.select_neurons(neurons)
    curvature = weighted_curvature(block, model, coef, intercept)
    X = standardised_rows(block, mean, sd)
    return jax.lax.map(lambda w: (w[:, None] * X).T @ X, curvature)


@jax.jit
def sampled_hessians(
    block: Block,
    model: Any,
    coef: Coef,
    intercept: PerNeuron,
    mean: Float[Array, " features"],
    sd: Float[Array, " features"],
) -> Float[Array, "neurons coordinates coordinates"]:
    """Mean Hessian of each neuron over the rows of one block, in standardised features and, last, the intercept."""
    curvature = weighted_curvature(block, model, coef, intercept)
    bins = jnp.broadcast_to(block.weight.T, curvature.shape).sum(1, keepdims=True)
    X = standardised_rows(block, mean, sd)
    return jax.lax.map(lambda w: (w[:, None] * X).T @ X, curvature / jnp.where(bins > 0, bins, 1))
