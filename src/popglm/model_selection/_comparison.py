"""Comparison of variants of a model on the same held-out data, with strengths that are chosen inside the training data.

A population is fitted once for all variants: the activity is repeated, a copy for each variant, with the variant's features as
the mask of its neurons. So the variants share folds, features, moments and passes over the data.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from popglm._checks.arrays import as_finite_array, require_increasing
from popglm._checks.models import require_estimator
from popglm._checks.progress import open_bar, show_passes
from popglm._checks.values import as_positive_integer, require_flag
from popglm._design.arrays import as_divisor
from popglm._design.centering import center_y
from popglm._design.inputs import as_design_rows, as_observations
from popglm._design.layout import read_layout
from popglm._design.total import has_valid_rows, total
from popglm._pynapple import NamedArray
from popglm._sums.losses import linear_predictor, weighted_sum
from popglm._types import Counts, Features, Numbers, RowValues
from popglm.glm import GLM, PopulationGLM
from popglm.glm._model import Model
from popglm.glm._settings import resolve_settings
from popglm.model_selection._comparison_result import Comparison, GainSums
from popglm.model_selection._held_out import Fold, held_out_sums, make_design, read_folds, take_rows, with_dispersion
from popglm.model_selection._variants import read_variants
from popglm.parallel._share import refuse_own_rows

MAX_REPEATED_BYTES = 2**28  # of y, repeated for the variants that are fitted at once


def compare(
    model: GLM | PopulationGLM,
    variants: Any,
    X: Features,
    y: Counts,
    splits: Any = 5,
    *,
    strengths: Numbers | None = None,
    n_strengths: int | None = None,
    sample_weight: RowValues | None = None,
    offset: RowValues | None = None,
    error_blocks: int = 10,
    progress: bool = False,
) -> Comparison:
    r"""Compare variants of a model by their held-out log-likelihoods: find the inputs that help to predict a neuron.

    All variants are fitted to the same training rows and scored on the same test rows. The gain of variant a over variant b is
    the mean over the valid test bins V, in nats per bin,

    .. math:: G_n(a, b) = \frac{1}{|V|} \sum_k \sum_{t \in V_k} \left[
       \log p(y_{tn} \mid x_t; \hat w_{an}^{(-k)}) - \log p(y_{tn} \mid x_t; \hat w_{bn}^{(-k)}) \right] .

    It estimates the gain on new data after a fit to data of this size. An input without effect has a negative one, as its
    coefficients follow noise: about half a nat for each free coefficient in as many bins as the training data have.

    Parameters
    ----------
    model
        A GLM or PopulationGLM with the observation model and the penalty of all variants. It stays unchanged.
    variants
        A dictionary of names and inputs, such as ``{"rate": [], "heading": ["heading"], "both": ["heading", "history"]}``.
        Inputs are named by the labels of their bases, or by columns of X; ``[]`` is the intercept alone, and a mask of 0
        and 1, of shape (features,) or (features, neurons), may stand in place of names. Or "leave-one-out": all inputs, and
        all but each of them.
    X, y
        Features and activity, as for `fit`. Lazy features stay lazy. A bin is valid if all features that any variant uses are
        known.
    splits
        As for `cross_validate_path`: a splitter, pairs (train, test) of row numbers, or a number of blocks.
    strengths
        Shape (strengths,), increasing: a path, of which every training fold chooses one for each variant and neuron, by folds
        inside it. None takes the strength of the model, which may be "evidence".
    n_strengths
        Number of strengths of an automatic path, in place of `strengths`, from the smallest at which all coefficients are 0.
    sample_weight, offset
        As for `fit`.
    error_blocks
        Blocks of consecutive test rows in each fold, whose differences give the errors. A block should be longer than neural
        activity and behaviour stay correlated, some seconds.
    progress
        Show a bar of the fits that are done.

    Returns
    -------
    Comparison
        With the method `gain`, paired and with intervals, `table` of all variants, `scores`, and the strengths chosen.

    Warns
    -----
    UserWarning
        As `cross_validate_path`.
    RuntimeWarning
        As `fit`, of neurons in variants.

    Raises
    ------
    ValueError
        If a variant names an input that X does not have, if there are fewer than two variants, or three folds for a path; as
        `fit`.
    TypeError
        If `model` is no estimator of this package, or `splits` is none of the above.

    References
    ----------
    Varma and Simon (2006), *BMC Bioinformatics* 7:91 (strengths inside the training data); Nadeau and Bengio (2003), *Machine
    Learning* 52:239-281 (errors when folds share training data).

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.model_selection import BlockSplit, compare
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(3000, 3)), columns=["speed", "sound", "light"])
    >>> y = rng.poisson(np.exp(0.5 * X[["speed"]].to_numpy() + [0.0, -1.0]))
    >>> result = compare(PopulationGLM(), "leave-one-out", X, y, BlockSplit(5, window=0))
    >>> (result.gain("all", "without speed")["low"] > 0).tolist()
    [True, True]
    >>> (result.gain("all", "without light")["low"] > 0).tolist()
    [False, False]
    """
    require_estimator(model, Model)
    refuse_own_rows("a comparison of models")
    require_flag("progress", progress)
    settings = resolve_settings(model, X)
    error_blocks, strengths = as_positive_integer("error_blocks", error_blocks), _as_strengths(strengths, n_strengths)
    if strengths is not None or n_strengths is not None:
        _require_path(settings)
    observation = settings.objective.model
    frame, counts, weight, offset = as_observations(X, y, observation, settings.y_dims, sample_weight, offset)
    mask = settings.mask(frame.values.shape[1], counts.values.shape[1])
    masks = read_variants(variants, read_layout(X), frame.columns, mask)
    folds = read_folds(splits, X, y, frame.values)
    used = np.clip(sum(masks.values()), 0, 1)
    data = _Data(frame.values, _leave_out_rows(frame.values, counts, used), weight, offset, used)
    neurons = list(range(len(mask))) if counts.columns is None else list(counts.columns)
    study = _Study(settings, model.get_params(), masks, neurons, data)
    if n_strengths is not None:
        strengths = study.make_strengths(as_positive_integer("n_strengths", n_strengths))
    if strengths is not None and len(folds) < 3:
        why = "strengths are chosen by fits that leave out two folds"
        raise ValueError(f"`splits` must be three folds at least for a path, as {why}; got {len(folds)}.")
    n_fits = len(folds) + (0 if strengths is None else len(folds) * (len(folds) - 1) // 2)
    with _fit_bar(n_fits, progress) as report:
        chosen = None if strengths is None else _choose_strengths(study, strengths, folds, report)
        sums = [_compare_fold(study, strengths, chosen, k, fold, error_blocks, report) for k, fold in enumerate(folds)]
    return Comparison(
        names=tuple(masks),
        neurons=neurons,
        strengths=None if chosen is None else np.asarray(strengths)[chosen],
        sums=GainSums.join(sums),
        counts=bool(observation.support.counts),
    )


class _Data(NamedTuple):
    """Features, activity (bins, neurons), weights and offsets, and the features that any variant of a neuron uses."""

    features: Any
    y: np.ndarray
    weight: Any
    offset: Any
    used: Float[np.ndarray, "neurons features"]


class _Fits(NamedTuple):
    """Fits of all variants: coefficients and intercepts, and the number of parameters behind each coefficient."""

    coef: Float[np.ndarray, "strengths variants neurons features"]
    intercept: Float[np.ndarray, "strengths variants neurons"]
    n_params: Float[np.ndarray, "strengths variants neurons features"]

    def at(self, chosen: Any) -> "_Fits":
        """Select a strength for each variant and neuron; None if there is one."""
        if chosen is None:
            return self._replace(coef=self.coef[0], intercept=self.intercept[0], n_params=self.n_params[0])
        variant, neuron = np.indices(chosen.shape)
        return _Fits(*(values[chosen, variant, neuron] for values in self))


class _Study:
    """Variants of a model, and the data that they are compared on."""

    def __init__(self, settings, params, masks, neurons, data: _Data) -> None:
        self.settings, self.data, self.masks = settings, data, masks
        self.params = {**params, "regularizer": settings.objective.penalty}  # rows alone do not tell the inputs
        self.neurons, self.observation = neurons, settings.objective.model
        self.activity, self.y_center, self.other_offset = center_y(data.y, self.observation, data.offset)

    def make_strengths(self, n_strengths: int) -> np.ndarray:
        """Strengths of a path on all data with all features, down from the smallest at which all coefficients are 0."""
        model = PopulationGLM(**{**self.params, "feature_mask": self.data.used.T})
        features, y, weight, offset, _ = self.data
        return model.fit_path(features, y, n_strengths=n_strengths, sample_weight=weight, offset=offset).strengths

    def fit(self, rows: np.ndarray, strengths: np.ndarray | None) -> _Fits:
        """Fit all variants to some rows, at each strength of a path, or at that of the model."""
        names, y = list(self.masks), take_rows(self.data.y, rows)
        at_once = max(1, MAX_REPEATED_BYTES // y.nbytes)
        parts = [
            self._fit_variants(names[first : first + at_once], rows, y, strengths)
            for first in range(0, len(names), at_once)
        ]
        return _Fits(*(np.concatenate(values, 1) for values in zip(*parts, strict=True)))

    def _fit_variants(self, names: list[str], rows, y, strengths) -> _Fits:
        n, strength = len(names), self.params["regularizer_strength"]
        mask = np.concatenate([self.masks[name] for name in names])
        own = {"feature_mask": mask.T}
        if np.ndim(strength) == 2 and np.shape(strength)[1] > 1:
            own["regularizer_strength"] = np.tile(strength, n)
        model = PopulationGLM(**{**self.params, **own})
        columns = [f"{neuron} in {name!r}" for name in names for neuron in self.neurons]
        features = take_rows(self.data.features, rows)
        data = features, NamedArray(np.tile(y, n), columns)
        row_values = {
            "sample_weight": _tile(take_rows(self.data.weight, rows), n),
            "offset": _tile(take_rows(self.data.offset, rows), n),
        }
        if strengths is None:
            model.fit(*data, **row_values)
            coef, intercept = np.asarray(model.coef_)[None], np.asarray(model.intercept_)[None]
        else:
            path = model.fit_path(*data, strengths, **row_values)
            coef, intercept = path.coef, path.intercept
        coef = coef.swapaxes(1, 2)
        counted = self._count_params(model, coef, mask)
        shape = len(coef), n, len(self.neurons)
        return _Fits(
            coef=coef.reshape(*shape, -1), intercept=intercept.reshape(shape), n_params=counted.reshape(*shape, -1)
        )

    def _count_params(self, model, coef, mask):
        """Number of parameters behind each coefficient: NaN if unknown, as at a given strength."""
        penalty = self.settings.objective.penalty
        if penalty.l1_share:
            return (coef != 0).astype(float)
        if self.settings.evidence:
            return np.broadcast_to(mask * _spread_over_inputs(model.edf_, self.settings.layout, mask), coef.shape)
        if not penalty.default_strength or not np.any(self.settings.objective.strength):
            return np.broadcast_to(mask, coef.shape)
        return np.full(coef.shape, np.nan)

    def is_observed(self, rows: np.ndarray) -> np.ndarray:
        """Mark neurons that have a valid bin among some rows."""
        y, weight = take_rows(self.data.y, rows), take_rows(self.data.weight, rows)
        counted = ~np.isnan(y) if weight is None else ~np.isnan(y) & (np.asarray(weight) > 0)
        return counted.any(0)

    def design(self, rows: np.ndarray):
        """Design of some rows, valid where all variants are."""
        values = self.activity, self.data.weight, self.other_offset
        return make_design(self.data.features, rows, *values, mask=None if self.data.used.all() else self.data.used)

    def model_and_params(self, rows: np.ndarray, coef, intercept):
        """Observation model with the dispersion of some rows, and parameters of (fits, neurons) as sums take them."""
        params = coef, (intercept - self.y_center).astype(coef.dtype)
        needs_rows = self.observation.dispersion is not None and self.observation.scale is None
        return with_dispersion(self.observation, self.design(rows) if needs_rows else None, *params), *params


def _spread_over_inputs(edf, layout, mask):
    """Effective degrees of freedom of each feature, (neurons, features): those of its input, shared by its features."""
    edf = np.nan_to_num(np.asarray(edf, float).reshape(-1, len(mask)))  # NaN of a neuron without an event in training
    sizes = [mask.shape[1]] if layout is None else [one.n_features for one in layout]
    if len(sizes) != len(edf):
        edf, sizes = edf.sum(0, keepdims=True), [mask.shape[1]]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    used = np.stack([mask[:, owner == i].sum(1) for i in range(len(sizes))])
    return (edf / as_divisor(used))[owner].T


def _require_path(settings):
    """Require a penalty whose strengths a path may change."""
    if settings.evidence:
        fix = "Leave them out, or give the model a number as `regularizer_strength`"
        raise ValueError(
            f'`strengths` and `n_strengths` are for a path; the strength of the model is "evidence". {fix}.'
        )
    if not settings.objective.penalty.default_strength:
        raise ValueError(
            'a path needs a penalty; got "UnRegularized". Give the model one, such as regularizer="Lasso".'
        )


def _as_strengths(strengths, n_strengths):
    if strengths is None:
        return None
    if n_strengths is not None:
        raise ValueError("Both `strengths` and `n_strengths` describe a path; give one of them.")
    fix = "Give positive numbers in increasing order, such as numpy.geomspace(1e-4, 1e-1, 8)."
    return np.asarray(require_increasing("strengths", as_finite_array("strengths", strengths, (1,)), 0, fix))


def _leave_out_rows(features, counts, used):
    """Activity with NaN where a feature that any variant of the neuron uses is not known."""
    y, rows = np.asarray(counts.values), as_design_rows(features, mask=used)
    valid = rows.gather(rows.valid_rows())
    return y if valid.all() else np.where(valid, y, np.nan).astype(np.result_type(y.dtype, np.float32))


def _tile(values, n):
    return values if values is None or values.shape[1] == 1 else np.tile(np.asarray(values), n)


def _choose_strengths(study: _Study, strengths, folds: list[Fold], report):
    """Numbers of the strengths, (folds, variants, neurons): of each training fold, by fits that leave out another fold, too."""
    n_variants, n_neurons = len(study.masks), len(study.neurons)
    sums = np.zeros((len(folds), len(strengths), n_variants, n_neurons))
    for pair in combinations(range(len(folds)), 2):
        one, other = (folds[k] for k in pair)
        train = np.intersect1d(one.train, other.train, assume_unique=True)
        if not len(train):
            raise ValueError(f"folds {pair[0]} and {pair[1]} leave no row to train on together. Use more folds.")
        fits = study.fit(train, strengths)
        coef, intercept = (a.reshape(len(strengths) * n_variants, n_neurons, *a.shape[3:]) for a in fits[:2])
        model, coef, intercept = study.model_and_params(train, coef, intercept)
        for k, (outer, inner) in zip(pair, ((one, other), (other, one)), strict=True):
            test = np.intersect1d(inner.test, outer.train, assume_unique=True)
            if len(test):
                sums[k] += held_out_sums(model, coef, intercept, study.design(test))[1].reshape(sums[k].shape)
        report()
    best = sums >= sums.max(1, keepdims=True)
    return len(strengths) - 1 - np.argmax(best[:, ::-1], 1)


def _compare_fold(study: _Study, strengths, chosen, k: int, fold: Fold, error_blocks: int, report) -> GainSums:
    """Sums over the blocks of one fold."""
    fits = study.fit(fold.train, strengths).at(None if chosen is None else chosen[k])
    model, *params = study.model_and_params(fold.train, fits.coef, fits.intercept)
    blocks = [rows for rows in np.array_split(fold.test, error_blocks) if len(rows)]
    sums = [_gain_sums(study.design(rows), model, params) for rows in blocks]
    report()
    trained = study.is_observed(fold.train)
    sums = [tuple(np.where(trained, values, 0) for values in block) for block in sums]
    return GainSums.of_fold(sums, fits.n_params, np.stack(list(study.masks.values())), len(fold.train), len(fold.test))


def _gain_sums(design, model, params):
    """Valid bins, events, log-likelihoods of the first variant, and gains over it, summed over a block."""
    n_variants, n_neurons = params[1].shape
    if not has_valid_rows(design):
        return np.zeros(n_neurons), np.zeros(n_neurons), np.zeros(n_neurons), np.zeros((n_variants, n_neurons))
    return tuple(np.asarray(values, float) for values in total(_sum_gains, design, model, *params))


def _sum_gains(block, model, coef, intercept):
    """Sums over one block; gains are sums of differences, since differences of sums would lose digits."""
    y, weight = block.y.T, block.weight.T
    entries = lambda scaled: scaled[0].log_likelihood(linear_predictor(block, *scaled[1:]), y)
    first = entries(jax.tree.map(lambda values: values[0], (model, coef, intercept)))
    gains = jax.lax.map(lambda scaled: weighted_sum(weight, entries(scaled) - first), (model, coef, intercept))
    bins = jax.numpy.broadcast_to(block.weight, block.y.shape).sum(0)
    return bins, weighted_sum(weight, y), weighted_sum(weight, first), gains


@contextmanager
def _fit_bar(n_fits: int, show: bool) -> Iterator[Callable]:
    """Yield the function that counts one more fit, on a bar if it is to be shown."""
    if not show:
        yield lambda: None
        return
    with open_bar(n_fits, "fit") as bar, show_passes(bar):
        yield bar.update
