"""Scores: the log-likelihood of a model beside that of the null model and of the saturated model, which predicts every bin."""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from popglm._checks.arrays import as_real_array, require_valid_bins
from popglm._checks.values import describe_range
from popglm._design.arrays import as_whole
from popglm._design.centering import center_y
from popglm._design.design import Design, DesignRows
from popglm._design.inputs import Observations, as_design_rows, require_selection
from popglm._design.total import collect_entries, total
from popglm._sums.moments import bins_and_events
from popglm._sums.null_model import null_model_of
from popglm._sums.scores import (
    log_likelihood_sums,
    model_log_likelihoods,
    null_log_likelihoods,
    observed_counts,
    rows_first,
    saturated_log_likelihoods,
    score_sums,
)
from popglm.parallel._share import refuse_own_rows

MCFADDEN, COHEN, BITS_PER_SPIKE = "pseudo-r2-McFadden", "pseudo-r2-Cohen", "bits-per-spike"
SCORE_TYPES = ("log-likelihood", MCFADDEN, COHEN, BITS_PER_SPIKE)
NULL_SOURCES = ("scored", "train")


class ModelOnData(NamedTuple):
    """A model with its parameters and the data that it is compared with, as frames of the user and as a design.

    Intercepts and the y of the design are `y_center` less than those of the user.
    """

    model: object
    coef: Array
    intercept: Array
    data: Observations
    rows: DesignRows
    design: Design
    y_center: np.ndarray

    @classmethod
    def from_observations(cls, model, coef, intercept, data, mask=None) -> "ModelOnData":
        """Make the design of the user's data, with the activity centred where it lies far from 0.

        `mask` (neurons, features) marks the features that each neuron uses; None stands for all.
        """
        X, y, weight, offset = data
        dtype, rows = jnp.result_type(float), as_design_rows(X.values, mask=mask)
        activity, y_center, offset = center_y(y.values, model, offset)
        intercept = jnp.asarray((np.asarray(intercept, float) - y_center).astype(dtype))
        design = Design(rows, activity, weight, offset)
        return cls(model, jnp.asarray(coef, dtype), intercept, data=data, rows=rows, design=design, y_center=y_center)

    @property
    def X(self):
        return self.data.X

    @property
    def y(self):
        return self.data.y

    def require_selection(self, purpose):
        """Require weights of 0 or 1, where rows are not summed."""
        require_selection(self.data.weight, purpose)

    @property
    def n_neurons(self):
        return len(self.intercept)

    @property
    def params(self):
        return self.model, self.coef, self.intercept

    def entries(self, f, *args) -> np.ndarray:
        """Evaluate ``f(block, *args)`` on all rows of the user: an array (rows, neurons), NaN where a row is invalid."""
        return self.rows.gather(collect_entries(rows_first(f), self.design, self.n_neurons, *args))


class Comparison(NamedTuple):
    """Log-likelihood of a model, what it gains on the null model, that of the null model, and what this lacks; with the events.

    What the null model lacks of the saturated one is a sum of its own: far from the data, the difference of two sums that
    contain the model would be round-off.
    """

    log_likelihood: np.ndarray
    gain: np.ndarray | None = None
    null_log_likelihood: np.ndarray | None = None
    null_shortfall: np.ndarray | None = None
    events: np.ndarray | None = None

    def score(self, kind):
        """Score of this kind, from sums or from means."""
        if kind == "log-likelihood":
            return self.log_likelihood
        if kind == BITS_PER_SPIKE:
            return _bits_per_spike(self.gain, np.asarray(self.events))
        missed = -self.null_log_likelihood if kind == MCFADDEN else self.null_shortfall
        return np.where(missed == 0, 0, self.gain / np.where(missed == 0, 1, missed))


def score_model(kind, on_data, aggregate, null):
    """Score a model by the mean over valid bins and neurons, or by `aggregate` of the array (time, neurons).

    `null` holds the means of the null model, one per neuron. None takes them from y; a score relative to it then leaves
    out neurons without an event in y, on which the null model is perfect.
    """
    if aggregate is not None:
        refuse_own_rows("`aggregate_sample_scores`")
        return _as_float_or_array(_compare_aggregates(kind, on_data, aggregate, null).score(kind))
    if kind == "log-likelihood":
        bins, log_likelihood = total(log_likelihood_sums, on_data.design, *on_data.params)
        require_valid_bins(bins.any())
        return float(log_likelihood.sum() / bins.sum())
    sums, silent = _sum_scores(on_data, null)
    included = (null is not None) | ~silent & (sums.bins > 0)
    compared = (sums.log_likelihood, sums.gain, sums.null_log_likelihood, sums.null_shortfall, sums.events)
    return float(Comparison(*(values[included].sum() for values in compared)).score(kind))


def score_by_neuron(on_data, null):
    """Tabulate bins, mean and all scores of each neuron."""
    sums, silent = _sum_scores(on_data, null)
    with np.errstate(invalid="ignore"):
        table = {"bins": as_whole(sums.bins), "mean": _mean_activity(on_data, sums)}
        table["log-likelihood"] = sums.log_likelihood / sums.bins
    table["deviance"] = sums.deviance
    left_out = silent & (null is None)  # the null model is perfect on silent neurons
    compared = (sums.log_likelihood, sums.gain, sums.null_log_likelihood, sums.null_shortfall, sums.events)
    comparison = Comparison(*(np.where(left_out, 0, values) for values in compared))
    kinds = SCORE_TYPES[1:] if on_data.model.support.counts else (MCFADDEN, COHEN)
    return table | {kind: comparison.score(kind) for kind in kinds}


def _mean_activity(on_data, sums):
    """Mean of y of each neuron; the y of the design may lack its offset."""
    _, y, weight, offset = on_data.data
    if offset is None or on_data.design.has_offset:
        return sums.events / sums.bins + on_data.y_center
    bins, events = total(bins_and_events, Design(on_data.rows, y.values, weight, offset))
    return events / bins


def _sum_scores(on_data, null):
    """Sums of all scores in one pass, and which neurons are silent. Means of y for the null model are counted before it."""
    mean, silent = null, None
    if null is None:
        mean, silent = _null_means(on_data)
    sums = total(score_sums, on_data.design, *on_data.params, _null_predictor(on_data, mean))
    require_valid_bins(sums.bins.any())
    return sums, np.zeros(len(sums.bins), bool) if silent is None else silent


def _null_means(on_data):
    """Mean of y of each neuron, at an offset of 0, and whether it is silent; no features are needed for it."""
    bins, events = total(bins_and_events, on_data.design)
    require_valid_bins(bins.any())
    null = null_model_of(on_data.design, on_data.model, bins, events)
    return null.mean_without_offset(on_data.model) + on_data.y_center, null.silent


def _null_predictor(on_data, mean):
    return jnp.asarray(on_data.model.link.forward(mean) - on_data.y_center, on_data.coef.dtype)


def _compare_aggregates(kind, on_data, aggregate, null) -> Comparison:
    """Compare what the user's function makes of the entries of all rows."""
    model, silent = on_data.model, np.zeros(on_data.n_neurons, bool)
    if null is None and kind != "log-likelihood":
        null, silent = _null_means(on_data)
    measure = partial(_aggregate, aggregate, on_data, silent)
    log_likelihood = measure(model_log_likelihoods, *on_data.params)
    if kind == "log-likelihood":
        return Comparison(log_likelihood)
    of_null = measure(null_log_likelihoods, model, _null_predictor(on_data, null))
    events = measure(observed_counts) if kind == BITS_PER_SPIKE else None
    shortfall = measure(saturated_log_likelihoods, model) - of_null if kind == COHEN else None
    return Comparison(log_likelihood, log_likelihood - of_null, of_null, shortfall, events)


def _aggregate(function, on_data, left_out, entries, *args):
    """Apply the user's function to the entries of all rows with a valid one, in double precision; invalid ones are NaN."""
    samples = on_data.entries(entries, *args).astype(float)
    valid = ~np.isnan(samples)
    samples = np.where(valid & left_out, 0, samples)
    require_valid_bins(valid.any())
    return as_aggregate_scores(function(samples[valid.any(1)]))


def _bits_per_spike(gain, spikes):
    """Convert a gain in nats to bits per spike; without a spike it is 0 if the gain is 0, else NaN."""
    return np.where(spikes > 0, gain / (np.log(2) * np.where(spikes > 0, spikes, 1)), np.where(gain == 0, 0, np.nan))


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
