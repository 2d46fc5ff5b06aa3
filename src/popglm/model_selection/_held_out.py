"""Folds of data in their order of time, and held-out log-likelihoods of fits to their training rows."""

import numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from popglm._checks.values import as_plain_number, warn_user
from popglm._design.arrays import as_divisor
from popglm._design.design import Design
from popglm._design.inputs import as_design_rows
from popglm._design.lazy import LazyFeatures
from popglm._design.streams import read_rows
from popglm._design.total import has_valid_rows, total
from popglm._sums.losses import linear_predictor, weighted_sum
from popglm._sums.scale import dispersion_slopes, fit_dispersion
from popglm.model_selection._splits import BlockSplit

MAX_SHARED_HISTORY = 0.5  # of the test rows; blocks without a gap share some at their edges, shuffled rows nearly all


class Fold(NamedTuple):
    """Numbers of the rows to train on and to test, both increasing."""

    train: Int[np.ndarray, " _train"]
    test: Int[np.ndarray, " _test"]


def _warn_shared_history(features, pairs):
    """Warn of folds whose test rows lie within the window of rows of training, as those of a shuffled `KFold` do."""
    position, window = features.reach()
    shares = [_share_near(position[test], position[train], window) for train, test in pairs]
    if window and max(shares) > MAX_SHARED_HISTORY:
        fold = int(np.argmax(shares))
        warn_user(
            f"{shares[fold]:.0%} of the test rows of fold {fold} share bins with rows of training, within the window of "
            f"{window} bins, so that held-out scores are too good. Do not shuffle rows: use BlockSplit(n) or EpochSplit, which "
            "leave out a window between training and test."
        )


def _share_near(test, train, window) -> float:
    """Share of the test rows less than a window from a row of training."""
    train = np.sort(train)
    at = np.searchsorted(train, test)
    after = train[np.minimum(at, len(train) - 1)] - test
    before = test - train[np.maximum(at - 1, 0)]
    return float(np.mean((np.abs(after) < window) | (np.abs(before) < window)))


def read_folds(splits: Any, X: Any, y: Any, features: Any) -> list[Fold]:
    """Folds of a splitter, a number of blocks, or pairs of row numbers; at least two. Warn of history that they share."""
    splits, n_rows = as_plain_number(splits), features.shape[0]
    if isinstance(splits, numbers.Integral):
        splits = BlockSplit(splits)
    pairs = splits if isinstance(splits, str) or not hasattr(splits, "split") else splits.split(X, y)
    folds = list(_as_folds(pairs, n_rows))
    if isinstance(features, LazyFeatures):
        _warn_shared_history(features, folds)
    return folds


def _as_folds(splits, n_rows):
    """Yield folds of pairs of row numbers; require at least two."""
    if isinstance(splits, str) or not hasattr(splits, "__iter__"):
        expected = "a splitter such as BlockSplit, a number of folds, or pairs (train, test)"
        raise TypeError(f"`splits` must be {expected}; got {splits!r}.")
    splits = list(splits)
    if len(splits) < 2:
        raise ValueError(f"`splits` must be two folds at least, or there is no standard error; got {len(splits)}.")
    for fold, pair in enumerate(splits):
        train, test = (np.asarray(rows) for rows in pair) if len(pair) == 2 else (np.zeros(0), np.zeros(0))
        for rows in (train, test):
            if rows.ndim != 1 or rows.dtype.kind not in "iu" or not len(rows) or rows.min() < 0 or rows.max() >= n_rows:
                expected = f"two arrays (train, test) of row numbers from 0 to {n_rows - 1}, not empty"
                came = f"one of dtype {rows.dtype} and shape {rows.shape}"
                raise ValueError(f"fold {fold} of `splits` must be {expected}; got {came}.")
        yield Fold(train, test)


def take_rows(values, index):
    """Rows by number; consecutive ones as a slice, which copies nothing. None stays so."""
    if values is None:
        return None
    if len(index) and (np.diff(index) == 1).all():
        return values[int(index[0]) : int(index[-1]) + 1]
    if isinstance(values, LazyFeatures | np.ndarray):
        return values[index]
    # Some containers that can be sliced take no array of row numbers.
    first = int(index.min())
    return read_rows(values, first, int(index.max()) + 1)[index - first]


def make_design(features, index, *row_values, mask):
    """Design of some rows, of the features and of activity, weight and offset."""
    rows = as_design_rows(take_rows(features, index), mask=mask)
    return Design(rows, *(take_rows(values, index) for values in row_values))


def held_out_sums(
    model: Any, coef: np.ndarray, intercept: np.ndarray, test: Design
) -> tuple[Float[np.ndarray, " neurons"], Float[np.ndarray, "strengths neurons"]]:
    """Valid test bins of each neuron, and sums of log-likelihoods of each strength and neuron over them."""
    if not has_valid_rows(test):
        return np.zeros(intercept.shape[1]), np.zeros(intercept.shape)
    bins, sums = total(_sum_log_likelihoods, test, model, jnp.asarray(coef), jnp.asarray(intercept))
    return np.asarray(bins, float), np.asarray(sums, float)


def count_valid_bins(design: Design) -> Float[np.ndarray, " neurons"]:
    """Valid bins of each neuron, sums of their weights."""
    return np.asarray(total(_valid_bins, design), float)


def with_dispersion(model, train, coef, intercept):
    """Model with a dispersion for each strength and neuron: the fixed one, or an estimate from the training rows.

    The estimate is the mean of Pearson's chi-squared where the dispersion divides the loss, and the most likely one inside it.
    """
    if model.dispersion is None:
        return model
    by_strength = lambda scaled: jax.tree.map(lambda scale: jnp.reshape(scale, (*intercept.shape, 1)), scaled)
    if model.scale is not None:
        return by_strength(model.with_scale(np.full(intercept.size, model.scale, float)))
    if model.dispersion == "likelihood":
        slopes_at = lambda scaled, *params: [
            np.ravel(a) for a in total(_dispersion_slopes, train, by_strength(scaled), *params)
        ]
        return by_strength(fit_dispersion(slopes_at, model.with_scale(np.ones(intercept.size)), coef, intercept))
    bins, chi = total(_chi_squared, train, model, coef, intercept)
    return by_strength(model.with_scale(np.maximum(chi / as_divisor(bins), np.finfo(np.float32).tiny).ravel()))


def _valid_bins(block):
    """Valid bins of each neuron."""
    return jnp.broadcast_to(block.weight, block.y.shape).sum(0)


def _sum_log_likelihoods(block, model, coef, intercept):
    """Valid bins of each neuron, and log-likelihoods of all strengths in one pass."""
    y, weight = block.y.T, block.weight.T

    def at_strength(scaled):
        model, *params = scaled
        return weighted_sum(weight, model.log_likelihood(linear_predictor(block, *params), y))

    return _valid_bins(block), jax.lax.map(at_strength, (model, coef, intercept))


def _dispersion_slopes(block, model, coef, intercept):
    """First and second derivative of each log-likelihood in the logarithm of the dispersion, at all strengths."""
    return jax.lax.map(lambda scaled: dispersion_slopes(block, *scaled), (model, coef, intercept))


def _chi_squared(block, model, coef, intercept):
    """Valid bins of each neuron, and Pearson's chi-squared at all strengths."""
    y, weight = block.y.T, block.weight.T
    at_strength = lambda params: weighted_sum(weight, model.pearson(linear_predictor(block, *params), y))
    return _valid_bins(block), jax.lax.map(at_strength, (coef, intercept))
