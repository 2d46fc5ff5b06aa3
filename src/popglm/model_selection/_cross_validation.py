"""Cross-validation along a path: each neuron's held-out score at every strength, by one warm-started path per fold.

The path on all data comes first and sets the strengths, as in glmnet. Then every fold fits a path of the same strengths to its
training rows; one pass over its test rows gives the log-likelihoods of all strengths and neurons.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from popglm._checks.models import require_estimator
from popglm._checks.progress import open_bar, show_passes
from popglm._checks.values import require_flag, require_option
from popglm._design.arrays import as_divisor, as_whole
from popglm._design.centering import center_y
from popglm._design.inputs import as_observations
from popglm._pynapple import NamedArray
from popglm._types import Counts, Features, Numbers, RowValues
from popglm.glm import GLM, PopulationGLM
from popglm.glm._model import Model
from popglm.glm._settings import resolve_settings
from popglm.model_selection._held_out import (
    count_valid_bins,
    held_out_sums,
    make_design,
    read_folds,
    take_rows,
    with_dispersion,
)
from popglm.parallel._share import refuse_own_rows

STRENGTH_RULES = ("best", "one-se")


@dataclass(frozen=True, repr=False)
class CrossValidation:
    r"""Held-out log-likelihoods along a path, and the strengths that they favour.

    The score :math:`\ell_k` of fold k is a mean over its :math:`n_k` valid test bins, a sum of weights. Mean and standard error
    over K folds are

    .. math:: \bar\ell = \sum_k p_k \ell_k, \qquad
       \mathrm{SE}^2 = \frac{1}{K - 1} \sum_k p_k (\ell_k - \bar\ell)^2, \qquad p_k = n_k \big/ \sum_j n_j .

    Attributes
    ----------
    strengths : shape (strengths,)
        Strengths of the penalty, increasing.
    scores : shape (folds, strengths, neurons)
        Mean log-likelihood over the valid test bins of a fold, in nats per bin; NaN where there are none.
    bins : shape (folds, neurons)
        Numbers of valid test bins, sums of their weights.
    path
        The path on all data, as from `fit_path`.

    References
    ----------
    Friedman, Hastie and Tibshirani (2010), *Journal of Statistical Software* 33(1).
    """

    strengths: np.ndarray
    scores: np.ndarray
    bins: np.ndarray
    path: object

    def __repr__(self) -> str:
        """Numbers of folds, strengths and neurons."""
        n_folds, n_strengths, n_neurons = self.scores.shape
        span = f"from {self.strengths[0]:.3g} to {self.strengths[-1]:.3g}"
        return f"CrossValidation: {n_folds} folds, {n_strengths} strengths {span}, {n_neurons} neurons"

    @property
    def mean(self) -> np.ndarray:
        """Mean held-out score over folds, shape (strengths, neurons)."""
        return _mean_and_error(self.scores, self.bins)[0]

    @property
    def standard_error(self) -> np.ndarray:
        """Standard error of the mean over folds, shape (strengths, neurons)."""
        return _mean_and_error(self.scores, self.bins)[1]

    def strength(self, rule: str = "best", *, shared: bool = False) -> float | np.ndarray:
        """Strength with the best held-out score, or the largest whose score is within one standard error of it.

        Parameters
        ----------
        rule
            "best", or "one-se": the largest strength whose mean score is at least the best one minus its standard error, for
            the simplest model that the data do not distinguish from the best.
        shared
            Whether to choose one strength for all neurons, by the mean over their valid bins, instead of one for each.

        Returns
        -------
        float or numpy.ndarray
            A `regularizer_strength`: a number for GLM, or if shared; else shape (1, neurons). The largest of several that are
            equally good.

        Raises
        ------
        ValueError
            If the rule is neither of these.

        References
        ----------
        Breiman et al. (1984), *Classification and Regression Trees*, 3.4.3; Hastie, Tibshirani and Friedman (2009), *The
        Elements of Statistical Learning*, 7.10.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.model_selection import CrossValidation
        >>> scores = np.array([[-1.0, -0.7, -0.9], [-1.2, -0.8, -0.8], [-1.0, -0.9, -0.9]])[..., None]
        >>> result = CrossValidation(np.array([0.01, 0.1, 1.0]), scores, np.full((3, 1), 100), None)
        >>> result.strength(), result.strength("one-se")
        (0.1, 0.1)
        """
        require_option("rule", rule, STRENGTH_RULES)
        require_flag("shared", shared)
        scores, bins = self.scores, self.bins
        if shared:
            sums = np.where(bins > 0, bins, np.nan)[:, None] * scores
            bins = bins.sum(1, keepdims=True)
            with np.errstate(invalid="ignore"):
                scores = np.nansum(sums, 2, keepdims=True) / bins[:, None]
        chosen = self.strengths[_strength_index(*_mean_and_error(scores, bins), rule)]  # type: ignore[call-arg]
        return float(chosen[0]) if chosen.size == 1 else chosen[None]


def cross_validate_path(
    model: GLM | PopulationGLM,
    X: Features,
    y: Counts,
    splits: Any = 5,
    *,
    strengths: Numbers | None = None,
    n_strengths: int = 20,
    sample_weight: RowValues | None = None,
    offset: RowValues | None = None,
    progress: bool = False,
) -> CrossValidation:
    r"""Score a model on held-out data at every strength of a path.

    Every fold fits one path to its training rows, each strength from the optimum of the one before. It scores the path on its
    test rows by the mean log-likelihood of each neuron over the valid test bins :math:`V_{kn}`, with weights :math:`a_{tn}`
    (1 by default),

    .. math:: \ell_k(s, n) = \frac{\sum_{t \in V_{kn}} a_{tn} \log p(y_{tn} \mid x_t; \hat w_n^{(-k)}(s))}
       {\sum_{t \in V_{kn}} a_{tn}} .

    A dispersion that the model does not fix is estimated from the training rows.

    Parameters
    ----------
    model
        A GLM or PopulationGLM with a penalty. It stays unchanged.
    X, y
        Features and activity, as for `fit`. Lazy features stay lazy.
    splits
        A splitter such as `BlockSplit` or `EpochSplit`, an iterable of pairs (train, test) of row numbers, or a number n, for
        ``BlockSplit(n)`` with the window of lazy X.
    strengths
        Shape (strengths,), increasing; None takes those of `fit_path` on all data. If the model's `regularizer_strength` is an
        array, they multiply it, and so does the result of the method `strength`.
    n_strengths
        Number of strengths where `strengths` is None.
    sample_weight, offset
        As for `fit`; a fold takes those of its rows, for training and for test.
    progress
        Show a bar with the paths that are done, one of all data and one for each fold.

    Returns
    -------
    CrossValidation
        Scores of all folds, with `mean`, `standard_error` and the method `strength`.

    Warns
    -----
    UserWarning
        If test rows of lazy features share bins with rows of training, as those of a shuffled `KFold` do. Features in memory
        do not know their window.

    Raises
    ------
    ValueError
        If a setting is not valid, shapes or timestamps of X and y differ, or a fold has no training rows.
    TypeError
        If `model` is no estimator of this package, or `splits` is none of the above.

    References
    ----------
    Friedman, Hastie and Tibshirani (2010), *Journal of Statistical Software* 33(1).

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.model_selection import BlockSplit, cross_validate_path
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(500, 4)), rng.poisson(0.3, (500, 3))
    >>> model = PopulationGLM(regularizer="Ridge")
    >>> result = cross_validate_path(model, X, y, BlockSplit(3, window=0), strengths=[0.01, 0.1, 1.0])
    >>> result
    CrossValidation: 3 folds, 3 strengths from 0.01 to 1, 3 neurons
    >>> model.set_params(regularizer_strength=result.strength("one-se")).fit(X, y).coef_.shape
    (4, 3)
    """
    require_estimator(model, Model)
    refuse_own_rows("cross-validation")
    require_flag("progress", progress)
    settings = resolve_settings(model, X).with_numeric_strength("cross_validate_path")
    model = clone(model).set_params(regularizer=settings.objective.penalty)  # rows alone do not tell the inputs
    path = model.fit_path(
        X, y, strengths=strengths, n_strengths=n_strengths, sample_weight=sample_weight, offset=offset
    )
    observation = settings.objective.model
    frame, counts, *row_values = as_observations(X, y, observation, settings.y_dims, sample_weight, offset)
    features, names, counts = frame.values, counts.columns, np.asarray(counts.values)
    weight, offset = row_values
    activity, y_center, other_offset = center_y(counts, observation, offset)
    mask = settings.mask(features.shape[1], counts.shape[1])
    scores, bins = [], []
    for train, test in _show_folds(read_folds(splits, X, y, features), progress):
        target = take_rows(counts, train)
        target = NamedArray(target[:, 0] if settings.single else target, names)
        of_rows = {"sample_weight": take_rows(weight, train), "offset": take_rows(offset, train)}
        fold = clone(model).fit_path(take_rows(features, train), target, strengths=path.strengths, **of_rows)
        designs = (make_design(features, rows, activity, weight, other_offset, mask=mask) for rows in (train, test))
        fold_scores, fold_bins = _score_test_rows(observation, fold, y_center, *designs)
        scores.append(fold_scores)
        bins.append(fold_bins)
    return CrossValidation(
        strengths=np.asarray(path.strengths), scores=np.array(scores), bins=as_whole(np.array(bins)), path=path
    )


def _score_test_rows(model, path, y_center, train, test):
    """Mean log-likelihood of each strength and neuron, and valid test bins; 0 bins for a neuron without training bins."""
    n_strengths, n_neurons = path.intercept.shape
    coef = path.coef.reshape(n_strengths, -1, n_neurons).swapaxes(1, 2)
    params = coef, (path.intercept - y_center).astype(coef.dtype)
    bins, sums = held_out_sums(with_dispersion(model, train, *params), *params, test)
    bins = np.where(count_valid_bins(train) > 0, bins, 0)
    return np.where(bins > 0, sums / as_divisor(bins), np.nan), bins


def _show_folds(pairs, show):
    """Yield the folds; show a bar of the paths that are done, of which that of all data is the first."""
    if not show:
        yield from pairs
        return
    with open_bar(len(pairs) + 1, "path", initial=1) as bar, show_passes(bar):
        for pair in pairs:
            yield pair
            bar.update()


def _mean_and_error(scores, bins):
    """Mean over folds and its standard error, (strengths, neurons); weighted by valid bins, NaN without any."""
    counted = bins > 0
    folds = counted.sum(0)
    weight = np.where(folds > 0, bins / as_divisor(bins.sum(0)), np.nan)[:, None]
    scores = np.where(counted[:, None], scores, 0)
    mean = (weight * scores).sum(0)
    squares = (weight * (scores - mean) ** 2).sum(0)
    return mean, np.sqrt(squares / np.where(folds > 1, folds - 1, np.nan))


def _strength_index(mean, error, rule):
    """Index of the strength that a rule chooses, the largest of equally good ones; the largest of all without scores."""
    mean = np.where(np.isnan(mean), -np.inf, mean)
    enough = mean.max(0)
    if rule == "one-se":
        best = mean.argmax(0)
        enough = enough - np.nan_to_num(np.take_along_axis(error, best[None], 0)[0])
    return len(mean) - 1 - np.argmax((mean >= enough)[::-1], 0)
