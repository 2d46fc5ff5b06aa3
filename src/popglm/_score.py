"""How well a model predicts: its log-likelihood beside that of the null model and of one that predicts every bin."""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from popglm import _check_arrays, _design, _objective, _settings

BITS = "bits-per-spike"
SCORES = ("log-likelihood", "pseudo-r2-McFadden", "pseudo-r2-Cohen", BITS)
NULLS = ("scored", "train")


class Given(NamedTuple):
    """A model with its parameters, and the data that it is compared with, as the user gave them and as a design."""

    model: object
    coef: Array
    intercept: Array
    X: object
    y: object
    rows: _design.Rows
    design: _design.Design

    @property
    def n_neurons(self):
        return len(self.intercept)

    @property
    def params(self):
        return self.model, self.coef, self.intercept

    def entries(self, f, *args) -> np.ndarray:
        """``f(block, *args)``, an array (neurons, rows), of all of the user's rows; rows first, NaN where invalid."""
        return self.rows.take(_design.entries(_objective.by_row(f), self.design, self.n_neurons, *args))


def score(kind, given, aggregate, null):
    """Score of a model on a design of X, by the mean over valid bins and neurons or by `aggregate` of all (time, neurons).

    `null` gives the means of the null model, one per neuron. None takes them from y; what compares with it then leaves out
    the neurons without an event in y, on which the null model is perfect.
    """
    bins, mean, silent = _null_model(given, null)
    counted = np.ones(len(bins), bool) if kind == "log-likelihood" or null is not None else ~silent & (bins > 0)
    if aggregate is None:
        measure = partial(_mean, given.design, bins, counted)
    else:
        measure = partial(_aggregate, aggregate, given, counted)

    reached = measure(_objective.model_entries, *given.params)
    if kind == "log-likelihood":
        return _plain(reached)
    least = measure(_objective.null_entries, given.model, _null_predictor(given, mean))
    if kind == BITS:
        return _plain(_per_spike(reached - least, measure(_objective.counts)))
    most = measure(_objective.saturated_entries, given.model) if kind == "pseudo-r2-Cohen" else 0
    return _plain(_share(reached, least, most))


def by_neuron(given, null):
    """Bins, mean and all scores of each neuron by itself, in one pass after that of the null model."""
    bins, mean, silent = _null_model(given, null)
    args = *given.params, _null_predictor(given, mean)
    deviance, events, *likelihoods = _design.total(_objective.compared, given.design, *args)
    with np.errstate(invalid="ignore"):
        table = {"bins": bins.astype(int), "mean": events / bins, "log-likelihood": likelihoods[0] / bins}
    table["deviance"] = deviance
    if null is None:  # there is nothing to find out about these
        likelihoods = np.where(silent, 0, likelihoods)
    reached, least, most = likelihoods
    table |= {"pseudo-r2-McFadden": _share(reached, least, 0), "pseudo-r2-Cohen": _share(reached, least, most)}
    if given.model.support.counts:
        table[BITS] = _per_spike(reached - least, events)
    return table


def _null_model(given, null):
    """Valid bins of each neuron, its mean under the null model, and whether y has nothing to fit."""
    bins, events = _design.total(_objective.tally, given.design)
    _check_arrays.some_valid(bins.any())
    mean, silent = given.model.null_mean(events, bins)
    return bins, mean if null is None else null, silent


def _null_predictor(given, mean):
    return jnp.asarray(given.model.link.forward(mean), given.coef.dtype)


def _share(reached, least, most):
    """How much of the way from the null model to the best one; 0 where there is no way."""
    missing, range_ = np.asarray(most - reached), np.asarray(most - least)
    return np.where(range_ == 0, 0, 1 - missing / np.where(range_ == 0, 1, range_))


def _per_spike(gain, spikes):
    """Nats as bits per spike. Of no spikes it is 0 if there is no gain either, and else nothing."""
    gain, spikes = np.asarray(gain), np.asarray(spikes)
    return np.where(spikes > 0, gain / (np.log(2) * np.where(spikes > 0, spikes, 1)), np.where(gain == 0, 0, np.nan))


def _mean(design, bins, counted, entries, *args):
    """Mean log-likelihood over the valid bins of the neurons that count; the array of all bins is never made."""
    sums = _design.total(_objective.summed(entries), design, *args)
    return sums[counted].sum() / max(bins[counted].sum(), 1)


def _aggregate(function, given, counted, entries, *args):
    """The user's function of the log-likelihoods, less the rows without any valid entry; single ones stay NaN."""
    samples = given.entries(entries, *args)
    valid = ~np.isnan(samples)
    samples = np.where(valid & ~counted, 0, samples)
    return _settings.samples(function(samples[valid.any(1)]))


def _plain(value):
    return float(value) if np.ndim(value) == 0 else np.asarray(value)
