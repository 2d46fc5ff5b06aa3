"""What is minimised, and what is summed over blocks for it: losses with gradients, moments, scores."""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Coef = Float[Array, "neurons features"]
PerNeuron = Float[Array, " neurons"]
Entries = Float[Array, "neurons rows"]


class Objective(NamedTuple):
    """Sum over neurons of the mean loss over valid bins, plus a penalty."""

    model: object
    penalty: object
    strength: Float[Array | np.ndarray, "..."]  # a number, one for each part of the penalty, or these for each neuron


class Fit(NamedTuple):
    """What a solver found, on the host, neurons first.

    `stalled` neurons met round-off before their tolerance, or values that are not finite; `silent` ones have nothing to
    fit; `mean` is the null model's.
    `dependent` are features that others determine, so that their coefficients are not unique; `constant` those that do not
    vary, to the precision of the sums, and are not 0; `free` counts each neuron's free parameters; `scale` is that of the
    loss, a column, if it has one.
    """

    coef: np.ndarray
    intercept: np.ndarray
    n_iter: np.ndarray
    converged: np.ndarray
    stalled: np.ndarray
    silent: np.ndarray
    mean: np.ndarray
    dependent: np.ndarray
    constant: np.ndarray
    free: np.ndarray
    scale: np.ndarray | None = None


def null_model(model, bins, events):
    """Mean count, linear predictor and silence of each neuron if no feature matters; on the host."""
    mean, silent = model.null_mean(events, bins)
    return mean, np.asarray(model.link.forward(mean), float), silent | (bins == 0)


def of_neurons(model, neurons):
    """The model of some neurons: its scale, where it has one, is theirs."""
    return jax.tree.map(lambda scale: scale[neurons], model)


@jax.jit
def curvature(model, eta, y):
    """Second derivative of the loss in the linear predictor, compiled as one."""
    return model.curvature(eta[:, None], y[:, None])[:, 0]


def weighted_sum(weight, entries):
    """Sum over rows; rows of weight 0 are left out, not multiplied, since 0 * inf is NaN."""
    return jnp.where(weight > 0, weight * entries, 0).sum(-1)


def predictor(block, coef: Coef, intercept: PerNeuron) -> Entries:
    """Linear predictor, neurons first: the faster order for the products that follow."""
    return coef @ block.X.T + intercept[:, None]


def loss_and_slope(model, eta, y):
    """Every bin's loss and its derivative in the linear predictor."""
    return jax.jvp(lambda e: model.loss(e, y), (eta,), (jnp.ones_like(eta),))


def loss_and_gradient(block, model, coef: Coef, intercept: PerNeuron):
    """Loss of each neuron and its gradient. Residuals are summed: the difference of two large sums loses digits."""
    y, weight = block.y.T, block.weight.T
    loss, residual = loss_and_slope(model, predictor(block, coef, intercept), y)
    residual = jnp.where(weight > 0, weight * residual, 0)
    return weighted_sum(weight, loss), residual @ block.X, residual.sum(1)


def null_loss(block, model, intercept: PerNeuron):
    """Loss of each neuron under a constant mean."""
    return weighted_sum(block.weight.T, model.loss(intercept[:, None], block.y.T))


def residuals(block, model, coef: Coef, intercept: PerNeuron) -> Float[Array, "rows neurons"]:
    """Derivative of every bin's loss in its linear predictor, rows first; 0 where a bin does not count."""
    _, residual = loss_and_slope(model, predictor(block, coef, intercept), block.y.T)
    return jnp.where(block.weight.T > 0, residual, 0).T


def of_residuals(block, residual):
    """Gradient of each neuron's loss from these."""
    weighted = (block.weight * residual).T
    return weighted @ block.X, weighted.sum(1)


def joined(coef, intercept):
    """Both as one array (neurons, features and 1)."""
    return np.concatenate([coef, intercept[:, None]], 1)


@lru_cache
def steepest(n_rows):
    """For `total`: Hessians of some neurons over the `n_rows` rows of each block where their loss is most curved.

    They are in standardised features and, last, the intercept. The curvature of all other rows comes as one number: for
    a strongly modulated neuron few rows are nearly all of it.
    """

    def sums(block, model, neurons, coef: Coef, intercept: PerNeuron, mean, sd):
        y, model = block.y.T[neurons], of_neurons(model, neurons)
        curvature = model.curvature(predictor(block, coef, intercept), y)
        counted = jnp.broadcast_to(block.weight.T, block.y.T.shape)[neurons]
        curvature = jnp.where(counted > 0, jnp.maximum(counted * curvature, 0), 0)
        weights, rows = jax.lax.top_k(curvature, min(n_rows, curvature.shape[1]))
        X = jnp.concatenate([(block.X - mean[None]) / sd[None], jnp.ones_like(block.X[:, :1])], 1)
        hessians = jax.lax.map(lambda at: (at[0][:, None] * X[at[1]]).T @ X[at[1]], (weights, rows))
        return hessians, curvature.sum(1) - weights.sum(1)

    return sums


@jax.jit
def sampled_hessians(block, model, coef: Coef, intercept: PerNeuron, mean, sd):
    """Mean Hessian of each neuron over the rows of a sample, in standardised features and, last, the intercept."""
    weight = jnp.broadcast_to(block.weight.T, block.y.T.shape)
    curvature = model.curvature(predictor(block, coef, intercept), block.y.T)
    curvature = jnp.where(weight > 0, jnp.maximum(weight * curvature, 0), 0)
    X = jnp.concatenate([(block.X - mean[None]) / sd[None], jnp.ones_like(block.X[:, :1])], 1)
    return jax.lax.map(lambda w: (w[:, None] * X).T @ X, curvature / jnp.maximum(weight.sum(1, keepdims=True), 1))


def tally(block):
    """Valid bins of each neuron, and its events in them."""
    weight = jnp.broadcast_to(block.weight, block.y.shape)
    return weight.sum(0), weighted_sum(weight.T, block.y.T)


def moments(block):
    """Bins, sum and Gram matrix of the rows that count for any neuron."""
    rows = block.weight.max(1, keepdims=True)
    weighted = rows * block.X
    return rows.sum(), weighted.sum(0), weighted.T @ block.X


def moments_of_each(block):
    """Sums and Gram matrices of each neuron's own valid bins, one after the other."""
    weight = jnp.broadcast_to(block.weight.T, block.y.T.shape)
    return weight @ block.X, jax.lax.map(lambda own: (own[:, None] * block.X).T @ block.X, weight)


def census(block):
    """All that a fit must know beforehand, in one pass."""
    return tally(block), moments(block)


def predictor_rows(block, coef: Coef, intercept: PerNeuron) -> Float[Array, "rows neurons"]:
    """Linear predictor of every bin, rows first."""
    return predictor(block, coef, intercept).T


def mean_rows(block, model, coef: Coef, intercept: PerNeuron) -> Float[Array, "rows neurons"]:
    """Mean count of every bin, rows first."""
    return model.mean(predictor(block, coef, intercept)).T


def model_entries(block, model, coef: Coef, intercept: PerNeuron) -> Entries:
    """Normalised log-likelihood of every bin."""
    return model.log_likelihood(predictor(block, coef, intercept), block.y.T)


def null_entries(block, model, intercept: PerNeuron) -> Entries:
    """The same under constant rates."""
    return model.log_likelihood(intercept[:, None], block.y.T)


def saturated_entries(block, model) -> Entries:
    """The same under the model that predicts every bin exactly."""
    return model.saturated(block.y.T)


def counts(block) -> Entries:
    """What was observed."""
    return block.y.T


def compared(block, model, coef: Coef, intercept: PerNeuron, null: PerNeuron):
    """Deviance, events, and log-likelihoods of the model, the null model and the saturated one: sums of each neuron."""
    deviance = model.deviance(predictor(block, coef, intercept), block.y.T)
    entries = (
        deviance,
        counts(block),
        model_entries(block, model, coef, intercept),
        null_entries(block, model, null),
        saturated_entries(block, model),
    )
    return tuple(weighted_sum(block.weight.T, some) for some in entries)


def deviance_residuals(block, model, coef: Coef, intercept: PerNeuron) -> Entries:
    """Root of every bin's deviance, with the sign of what the model missed."""
    eta, y = predictor(block, coef, intercept), block.y.T
    return jnp.sign(y - model.mean(eta)) * jnp.sqrt(jnp.maximum(model.deviance(eta, y), 0))


def pearson_residuals(block, model, coef: Coef, intercept: PerNeuron) -> Entries:
    """What the model missed, in standard deviations."""
    eta, y = predictor(block, coef, intercept), block.y.T
    return jnp.sign(y - model.mean(eta)) * jnp.sqrt(model.pearson(eta, y))


def quiet(block, model, coef: Coef, intercept: PerNeuron) -> Entries:
    """Minus the log of the probability that a bin has no event: of a Poisson process, the events that it expects."""
    eta = predictor(block, coef, intercept)
    return -model.log_likelihood(eta, jnp.zeros_like(eta))


@lru_cache
def summed(f):
    """The sum over a block's rows of one of the above, for `total`."""
    return lambda block, *args: weighted_sum(block.weight.T, f(block, *args))


@lru_cache
def by_row(f):
    """One of the above with the rows first, NaN where they do not count, for `entries`."""
    return lambda block, *args: jnp.where(block.weight > 0, jnp.broadcast_to(f(block, *args).T, block.y.shape), jnp.nan)
