"""Entries of single bins, and their sums, for scores, residuals and predictions."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from popglm._design.blocks import Block
from popglm._sums.losses import Coef, Entries, PerNeuron, linear_predictor, weighted_sum


def linear_predictor_rows(block: Block, coef: Coef, intercept: PerNeuron) -> Float[Array, "rows neurons"]:
    """Linear predictor of every bin, rows first."""
    return linear_predictor(block, coef, intercept).T


def mean_rows(block: Block, model: Any, coef: Coef, intercept: PerNeuron) -> Float[Array, "rows neurons"]:
    """Mean count of every bin, rows first."""
    return model.mean(linear_predictor(block, coef, intercept)).T


def model_log_likelihoods(block: Block, model: Any, coef: Coef, intercept: PerNeuron) -> Entries:
    """Normalised log-likelihood of every bin."""
    return model.log_likelihood(linear_predictor(block, coef, intercept), block.y.T)


def null_log_likelihoods(block: Block, model: Any, intercept: PerNeuron) -> Entries:
    """Normalised log-likelihood of every bin under the null model with linear predictor `intercept`."""
    return model.log_likelihood(intercept[:, None], block.y.T)


def saturated_log_likelihoods(block: Block, model: Any) -> Entries:
    """Normalised log-likelihood of every bin under the model that predicts it exactly."""
    return model.saturated(block.y.T)


def observed_counts(block: Block) -> Entries:
    """Observed count of every bin."""
    return block.y.T


def score_sums(block: Block, model: Any, coef: Coef, intercept: PerNeuron, null: PerNeuron) -> tuple[PerNeuron, ...]:
    """Sums of each neuron: deviance, events, log-likelihoods of the model, the null model and the saturated model."""
    deviance = model.deviance(linear_predictor(block, coef, intercept), block.y.T)
    entries = (
        deviance,
        observed_counts(block),
        model_log_likelihoods(block, model, coef, intercept),
        null_log_likelihoods(block, model, null),
        saturated_log_likelihoods(block, model),
    )
    return tuple(weighted_sum(block.weight.T, values) for values in entries)


def deviance_residual_entries(block: Block, model: Any, coef: Coef, intercept: PerNeuron) -> Entries:
    """Deviance residual of every bin: root of its deviance, with the sign of observed minus predicted."""
    eta, y = linear_predictor(block, coef, intercept), block.y.T
    return jnp.sign(y - model.mean(eta)) * jnp.sqrt(jnp.maximum(model.deviance(eta, y), 0))


def pearson_residual_entries(block: Block, model: Any, coef: Coef, intercept: PerNeuron) -> Entries:
    """Pearson residual of every bin: observed minus predicted, in standard deviations."""
    eta, y = linear_predictor(block, coef, intercept), block.y.T
    return jnp.sign(y - model.mean(eta)) * jnp.sqrt(model.pearson(eta, y))


def minus_log_prob_zero(block: Block, model: Any, coef: Coef, intercept: PerNeuron) -> Entries:
    """Minus the log of the probability that a bin has no event; for a Poisson process the expected number of events."""
    eta = linear_predictor(block, coef, intercept)
    return -model.log_likelihood(eta, jnp.zeros_like(eta))


@lru_cache
def sum_over_rows(f: Callable) -> Callable:
    """Make the function for `total` that sums entries ``f(block, *args)`` over the rows of a block."""
    return lambda block, *args: weighted_sum(block.weight.T, f(block, *args))


@lru_cache
def rows_first(f: Callable) -> Callable:
    """Make the function for `collect_entries` that returns entries rows first, NaN in bins that are not valid."""
    return lambda block, *args: jnp.where(block.weight > 0, jnp.broadcast_to(f(block, *args).T, block.y.shape), jnp.nan)
