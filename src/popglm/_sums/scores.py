"""Entries of single bins, and their sums, for scores, residuals and predictions."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from popglm._design.blocks import Block
from popglm._sums.losses import Coef, Entries, PerNeuron, linear_predictor, null_predictor, weighted_sum
from popglm._sums.moments import bins_and_events


def linear_predictor_rows(block: Block, coef: Coef, intercept: PerNeuron) -> Float[Array, "rows neurons"]:
    """Linear predictor of every bin, rows first; NaN where it has no offset."""
    eta = linear_predictor(block, coef, intercept).T
    return eta if block.offset is None else jnp.where(block.weight > 0, eta, jnp.nan)


def mean_rows(block: Block, model: Any, coef: Coef, intercept: PerNeuron) -> Float[Array, "rows neurons"]:
    """Mean count of every bin, rows first; NaN where it has no offset."""
    mean = model.mean(linear_predictor(block, coef, intercept)).T
    return mean if block.offset is None else jnp.where(block.weight > 0, mean, jnp.nan)


def model_log_likelihoods(block: Block, model: Any, coef: Coef, intercept: PerNeuron) -> Entries:
    """Normalised log-likelihood of every bin."""
    return model.log_likelihood(linear_predictor(block, coef, intercept), block.y.T)


def null_log_likelihoods(block: Block, model: Any, intercept: PerNeuron) -> Entries:
    """Normalised log-likelihood of every bin under the null model with linear predictor `intercept`."""
    return model.log_likelihood(null_predictor(block, intercept), block.y.T)


def saturated_log_likelihoods(block: Block, model: Any) -> Entries:
    """Normalised log-likelihood of every bin under the model that predicts it exactly."""
    return model.saturated(block.y.T)


def observed_counts(block: Block) -> Entries:
    """Observed count of every bin."""
    return block.y.T


def log_likelihood_sums(block: Block, model: Any, coef: Coef, intercept: PerNeuron) -> tuple[PerNeuron, PerNeuron]:
    """Valid bins of each neuron, and its log-likelihood."""
    entries = model_log_likelihoods(block, model, coef, intercept)
    return bins_and_events(block)[0], weighted_sum(block.weight.T, entries)


class ScoreSums(NamedTuple):
    """Sums of each neuron: `gain` in log-likelihood over the null model, which falls short of the saturated one, too."""

    bins: np.ndarray | Array
    events: np.ndarray | Array
    log_likelihood: np.ndarray | Array
    gain: np.ndarray | Array
    null_log_likelihood: np.ndarray | Array
    null_shortfall: np.ndarray | Array
    deviance: np.ndarray | Array


def score_sums(block: Block, model: Any, coef: Coef, intercept: PerNeuron, null: PerNeuron) -> ScoreSums:
    """Sum a block for all scores. Differences are taken bin by bin, as those of large sums would lose digits."""
    eta, y = linear_predictor(block, coef, intercept), block.y.T
    bins, events = bins_and_events(block)
    saturated, shortfall, null_shortfall = (
        model.saturated(y),
        model.shortfall(eta, y),
        model.shortfall(null_predictor(block, null), y),
    )
    entries = (
        saturated - shortfall,
        null_shortfall - shortfall,
        saturated - null_shortfall,
        null_shortfall,
        model.deviance(eta, y),
    )
    return ScoreSums(bins, events, *(weighted_sum(block.weight.T, values) for values in entries))


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
def rows_first(f: Callable) -> Callable:
    """Make the function for `collect_entries` that returns entries rows first, NaN in bins that are not valid."""
    return lambda block, *args: jnp.where(block.weight > 0, jnp.broadcast_to(f(block, *args).T, block.y.shape), jnp.nan)
