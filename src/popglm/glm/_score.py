"""How well a model predicts: its log-likelihood beside that of the null model and of one that predicts every bin."""

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
    """A model with its parameters, and the data that it is compared with, as the user gave them and as a design."""

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
        """``f(block, *args)``, an array (neurons, rows), of all of the user's rows; rows first, NaN where invalid."""
        return self.rows.gather(collect_entries(rows_first(f), self.design, self.n_neurons, *args))


def score_model(kind, given, aggregate, null):
    """Score of a model on a design of X, by the mean over valid bins and neurons or by `aggregate` of all (time, neurons).

    `null` gives the means of the null model, one per neuron. None takes them from y; what compares with it then leaves out
    the neurons without an event in y, on which the null model is perfect.
    """
    bins, mean, silent = _null_statistics(given, null)
    counted = np.ones(len(bins), bool) if kind == "log-likelihood" or null is not None else ~silent & (bins > 0)
    if aggregate is None:
        measure = partial(_mean_log_likelihood, given.design, bins, counted)
    else:
        measure = partial(_aggregate_log_likelihoods, aggregate, given, counted)

    reached = measure(model_log_likelihoods, *given.params)
    if kind == "log-likelihood":
        return _as_float_or_array(reached)
    least = measure(null_log_likelihoods, given.model, _null_predictor(given, mean))
    if kind == BITS_PER_SPIKE:
        return _as_float_or_array(_bits_per_spike(reached - least, measure(observed_counts)))
    most = measure(saturated_log_likelihoods, given.model) if kind == "pseudo-r2-Cohen" else 0
    return _as_float_or_array(_pseudo_r2(reached, least, most))


def score_by_neuron(given, null):
    """Bins, mean and all scores of each neuron by itself, in one pass after that of the null model."""
    bins, mean, silent = _null_statistics(given, null)
    args = *given.params, _null_predictor(given, mean)
    deviance, events, *likelihoods = total(score_sums, given.design, *args)
    with np.errstate(invalid="ignore"):
        table = {"bins": bins.astype(int), "mean": events / bins, "log-likelihood": likelihoods[0] / bins}
    table["deviance"] = deviance
    if null is None:  # there is nothing to find out about these
        likelihoods = np.where(silent, 0, likelihoods)
    reached, least, most = likelihoods
    table |= {"pseudo-r2-McFadden": _pseudo_r2(reached, least, 0), "pseudo-r2-Cohen": _pseudo_r2(reached, least, most)}
    if given.model.support.counts:
        table[BITS_PER_SPIKE] = _bits_per_spike(reached - least, events)
    return table


def _null_statistics(given, null):
    """Valid bins of each neuron, its mean under the null model, and whether y has nothing to fit."""
    bins, events = total(bins_and_events, given.design)
    require_valid_bins(bins.any())
    mean, silent = given.model.null_mean(events, bins)
    return bins, mean if null is None else null, silent


def _null_predictor(given, mean):
    return jnp.asarray(given.model.link.forward(mean), given.coef.dtype)


def _pseudo_r2(reached, least, most):
    """How much of the way from the null model to the best one; 0 where there is no way."""
    missing, range_ = np.asarray(most - reached), np.asarray(most - least)
    return np.where(range_ == 0, 0, 1 - missing / np.where(range_ == 0, 1, range_))


def _bits_per_spike(gain, spikes):
    """Nats as bits per spike. Of no spikes it is 0 if there is no gain either, and else nothing."""
    gain, spikes = np.asarray(gain), np.asarray(spikes)
    return np.where(spikes > 0, gain / (np.log(2) * np.where(spikes > 0, spikes, 1)), np.where(gain == 0, 0, np.nan))


def _mean_log_likelihood(design, bins, counted, entries, *args):
    """Mean log-likelihood over the valid bins of the neurons that count; the array of all bins is never made."""
    sums = total(sum_over_rows(entries), design, *args)
    return sums[counted].sum() / max(bins[counted].sum(), 1)


def _aggregate_log_likelihoods(function, given, counted, entries, *args):
    """The user's function of the log-likelihoods, less the rows without any valid entry; single ones stay NaN."""
    samples = given.entries(entries, *args)
    valid = ~np.isnan(samples)
    samples = np.where(valid & ~counted, 0, samples)
    return as_aggregate_scores(function(samples[valid.any(1)]))


def _as_float_or_array(value):
    return float(value) if np.ndim(value) == 0 else np.asarray(value)


def require_spike_counts(score_type, model):
    """A model of counts, for a score per spike."""
    if score_type == "bits-per-spike" and not model.support.counts:
        raise ValueError(
            f"bits per spike need spikes; the y of {type(model).__name__} holds {model.support.name}. Compare models of it by "
            '"pseudo-r2-Cohen" or by their log-likelihood.'
        )


def as_aggregate_scores(value):
    """What an aggregate returns: numbers."""
    try:
        values = np.asarray(value)
    except ValueError:
        values = np.asarray(None)
    if values.dtype.kind not in "biuf":
        raise TypeError(
            f"`aggregate_sample_scores` must return a number or an array of numbers; got {type(value).__name__}."
        )
    return values


def require_train_mean(estimator):
    """An estimator that knows the rates of its training data."""
    if not hasattr(estimator, "_train_mean"):
        raise ValueError(
            'null="train" needs the rates of the training data, which `update` does not keep. Call `fit`, or give '
            "the rates: null=counts.mean(0)."
        )


def as_null_means(value, n_neurons, support):
    """Means per bin of the null model, one per neuron, that the observation model can have."""
    means = as_real_array("null", value, (0, 1))
    means = means.astype(float) if means.dtype != bool else np.full(means.shape, np.nan)
    if (
        means.shape not in ((), (n_neurons,))
        or not (np.isfinite(means) & (means > support.low) & (means < support.high)).all()
    ):
        raise ValueError(
            f"`null` must be 'scored', 'train' or {n_neurons} {describe_range(*support[:2])} means per bin; got an array of "
            f"shape {means.shape} with values from {means.min():g} to {means.max():g}."
        )
    return np.broadcast_to(means, n_neurons)
