"""How well a model predicts: its log-likelihood beside that of the null model and of one that predicts every bin."""

from functools import partial

import jax.numpy as jnp
import numpy as np

from popglm import _check_arrays, _design, _objective, _settings

SCORES = ("log-likelihood", "pseudo-r2-McFadden", "pseudo-r2-Cohen")
NULLS = ("scored", "train")


def score(kind, model, coef, intercept, X, design, aggregate, null):
    """Score of a model on a design of X, by the mean over valid bins and neurons or by `aggregate` of all (time, neurons).

    `null` gives the means of the null model, one per neuron. None takes them from y; a pseudo-R² then leaves out the
    neurons without an event in y, on which the null model is perfect.
    """
    tally = _design.total(_objective.tally, design)
    _check_arrays.some_valid(tally[0].any())
    bins, events = tally
    _, silent = model.null_mean(events, bins)
    counted = np.ones(len(bins), bool) if kind == "log-likelihood" or null is not None else ~silent & (bins > 0)
    if aggregate is None:
        measure = partial(_mean, design, bins, counted)
    else:
        measure = partial(_aggregate, aggregate, X, design, counted)

    reached = measure(_objective.model_entries, model, coef, intercept)
    if kind == "log-likelihood":
        return _plain(reached)
    mean = model.null_mean(events, bins)[0] if null is None else null
    least = measure(_objective.null_entries, model, jnp.asarray(model.link.forward(mean), coef.dtype))
    most = measure(_objective.saturated_entries, model) if kind == "pseudo-r2-Cohen" else 0
    missing, range_ = np.asarray(most - reached), np.asarray(most - least)
    return _plain(np.where(range_ == 0, 0, 1 - missing / np.where(range_ == 0, 1, range_)))


def _mean(design, bins, counted, entries, *args):
    """Mean log-likelihood over the valid bins of the neurons that count; the array of all bins is never made."""
    sums = _design.total(_objective.summed(entries), design, *args)
    return sums[counted].sum() / max(bins[counted].sum(), 1)


def _aggregate(function, X, design, counted, entries, *args):
    """The user's function of the log-likelihoods, less the rows without any valid entry; single ones stay NaN."""
    samples = _all_entries(entries, X, design, len(counted), *args)
    valid = ~np.isnan(samples)
    samples = np.where(valid & ~counted, 0, samples)
    return _settings.samples(function(samples[valid.any(1)]))


def _all_entries(entries, X, design, n_neurons, *args):
    return X.take(_design.entries(_objective.by_row(entries), design, n_neurons, *args))


def _plain(value):
    return float(value) if np.ndim(value) == 0 else np.asarray(value)
