"""Scores: the log-likelihood of a model beside that of the null model and of the saturated model, which predicts every bin."""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from popglm._checks.arrays import as_real_array, require_valid_bins
from popglm._checks.values import describe_range
from popglm._design.design import Design, DesignRows
from popglm._design.total import collect_entries, total
from popglm._sums.moments import bins_and_events
from popglm._sums.scores import (
    model_log_likelihoods,
    null_log_likelihoods,
    observed_counts,
    rows_first,
    saturated_log_likelihoods,
    score_sums,
    sum_over_rows,
)

BITS_PER_SPIKE = "bits-per-spike"
SCORE_TYPES = ("log-likelihood", "pseudo-r2-McFadden", "pseudo-r2-Cohen", BITS_PER_SPIKE)
NULL_SOURCES = ("scored", "train")


class ModelOnData(NamedTuple):
    """A model with its parameters and the data that it is compared with, as frames of the user and as a design."""

    model: object
    coef: Array
    intercept: Array
    X: object
    y: object
    rows: DesignRows
    design: Design

    @property
    def n_neurons(self):
        return len(self.intercept)

    @property
    def params(self):
        return self.model, self.coef, self.intercept

    def entries(self, f, *args) -> np.ndarray:
        """Evaluate ``f(block, *args)`` on all rows of the user: an array (rows, neurons), NaN where a row is invalid."""
        return self.rows.gather(collect_entries(rows_first(f), self.design, self.n_neurons, *args))


def score_model(kind, on_data, aggregate, null):
    """Score a model by the mean over valid bins and neurons, or by `aggregate` of the array (time, neurons).

    `null` holds the means of the null model, one per neuron. None takes them from y; a score relative to it then leaves
    out neurons without an event in y, on which the null model is perfect.
    """
    bins, mean, silent = _null_statistics(on_data, null)
    included = np.ones(len(bins), bool) if kind == "log-likelihood" or null is not None else ~silent & (bins > 0)
    if aggregate is None:
        measure = partial(_mean_log_likelihood, on_data.design, bins, included)
    else:
        measure = partial(_aggregate_log_likelihoods, aggregate, on_data, included)

    model_ll = measure(model_log_likelihoods, *on_data.params)
    if kind == "log-likelihood":
        return _as_float_or_array(model_ll)
    null_ll = measure(null_log_likelihoods, on_data.model, _null_predictor(on_data, mean))
    if kind == BITS_PER_SPIKE:
        return _as_float_or_array(_bits_per_spike(model_ll - null_ll, measure(observed_counts)))
    saturated_ll = measure(saturated_log_likelihoods, on_data.model) if kind == "pseudo-r2-Cohen" else 0
    return _as_float_or_array(_pseudo_r2(model_ll, null_ll, saturated_ll))


def score_by_neuron(on_data, null):
    """Tabulate bins, mean and all scores of each neuron, in one pass after that of the null model."""
    bins, mean, silent = _null_statistics(on_data, null)
    args = *on_data.params, _null_predictor(on_data, mean)
    deviance, events, *likelihoods = total(score_sums, on_data.design, *args)
    with np.errstate(invalid="ignore"):
        table = {"bins": bins.astype(int), "mean": events / bins, "log-likelihood": likelihoods[0] / bins}
    table["deviance"] = deviance
    if null is None:  # the null model is perfect on silent neurons
        likelihoods = np.where(silent, 0, likelihoods)
    model_ll, null_ll, saturated_ll = likelihoods
    table |= {
        "pseudo-r2-McFadden": _pseudo_r2(model_ll, null_ll, 0),
        "pseudo-r2-Cohen": _pseudo_r2(model_ll, null_ll, saturated_ll),
    }
    if on_data.model.support.counts:
        table[BITS_PER_SPIKE] = _bits_per_spike(model_ll - null_ll, events)
    return table


def _null_statistics(on_data, null):
    """Valid bins of each neuron, its mean under the null model, and whether it is silent."""
    bins, events = total(bins_and_events, on_data.design)
    require_valid_bins(bins.any())
    mean, silent = on_data.model.null_mean(events, bins)
    return bins, mean if null is None else null, silent


def _null_predictor(on_data, mean):
    return jnp.asarray(on_data.model.link.forward(mean), on_data.coef.dtype)


def _pseudo_r2(model_ll, null_ll, saturated_ll):
    """Share of the distance between null and saturated model that the model covers; 0 where there is no distance."""
    missing, range_ = np.asarray(saturated_ll - model_ll), np.asarray(saturated_ll - null_ll)
    return np.where(range_ == 0, 0, 1 - missing / np.where(range_ == 0, 1, range_))


def _bits_per_spike(gain, spikes):
    """Convert a gain in nats to bits per spike; without a spike it is 0 if the gain is 0, else NaN."""
    gain, spikes = np.asarray(gain), np.asarray(spikes)
    return np.where(spikes > 0, gain / (np.log(2) * np.where(spikes > 0, spikes, 1)), np.where(gain == 0, 0, np.nan))


def _mean_log_likelihood(design, bins, included, entries, *args):
    """Mean log-likelihood over the valid bins of the counted neurons, without an array of all bins."""
    sums = total(sum_over_rows(entries), design, *args)
    return sums[included].sum() / max(bins[included].sum(), 1)


def _aggregate_log_likelihoods(function, on_data, included, entries, *args):
    """Apply the user's function to the log-likelihoods of all rows with a valid entry; invalid entries are NaN."""
    samples = on_data.entries(entries, *args)
    valid = ~np.isnan(samples)
    samples = np.where(valid & ~included, 0, samples)
    return as_aggregate_scores(function(samples[valid.any(1)]))


def _as_float_or_array(value):
    return float(value) if np.ndim(value) == 0 else np.asarray(value)


def require_spike_counts(score_type, model):
    """Refuse bits per spike of a model whose y holds no counts."""
    if score_type == "bits-per-spike" and not model.support.counts:
        came = f"the y of {type(model).__name__} holds {model.support.name}"
        fix = 'Compare models of it by "pseudo-r2-Cohen" or by their log-likelihood.'
        raise ValueError(f"bits per spike need spikes; {came}. {fix}")


def as_aggregate_scores(value):
    """Convert what `aggregate_sample_scores` returned to an array; refuse what is not numbers."""
    try:
        values = np.asarray(value)
    except ValueError:
        values = np.asarray(None)
    if values.dtype.kind not in "biuf":
        came = type(value).__name__
        raise TypeError(f"`aggregate_sample_scores` must return a number or an array of numbers; got {came}.")
    return values


def require_train_mean(estimator):
    """Refuse a model that does not know the means of its training data."""
    if not hasattr(estimator, "_train_mean"):
        fix = "Call `fit`, or give the rates: null=counts.mean(0)."
        raise ValueError(f'null="train" needs the rates of the training data, which `update` does not keep. {fix}')


def as_null_means(value, n_neurons, support):
    """Convert means of the null model to one per neuron; refuse those that the observation model cannot have."""
    means = as_real_array("null", value, (0, 1))
    means = means.astype(float) if means.dtype != bool else np.full(means.shape, np.nan)
    possible = np.isfinite(means) & (means > support.low) & (means < support.high)
    if means.shape not in ((), (n_neurons,)) or not possible.all():
        expected = f"'scored', 'train' or {n_neurons} {describe_range(support.low, support.high)} means per bin"
        came = f"an array of shape {means.shape} with values from {means.min():g} to {means.max():g}"
        raise ValueError(f"`null` must be {expected}; got {came}.")
    return np.broadcast_to(means, n_neurons)
