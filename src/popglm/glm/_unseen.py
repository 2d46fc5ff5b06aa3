"""Features that no bin of a fit holds: a category that is held out, or a part of a curve that was not visited."""

from collections import Counter
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from popglm._design.feature_names import FeatureNames


def find_unseen(
    penalty: Any,
    mask: Float[np.ndarray, "neurons features"],
    coef: Float[np.ndarray, "neurons features"],
    silent: Bool[np.ndarray, " neurons"],
    others: tuple[Int[np.ndarray, " n"], ...],
    columns: Any,
) -> Int[np.ndarray, " unseen"]:
    """Numbers of features without a penalty that are 0 in every bin; `others` are collinear and constant ones.

    A solver moves every coefficient that it may, so that one of exactly 0 for all neurons has no bin. An input of several
    functions that are all 0, or a column that no basis has made, is left out: it is a sender without spikes, which is said of
    the neuron. Plain arrays do not tell their inputs.
    """
    zero = ~np.asarray(coef)[~silent].any(0) & (np.asarray(mask)[~silent] > 0).any(0)
    zero[np.concatenate(others).astype(int)] = False
    if columns is None or not zero.any():
        return np.zeros(0, int)
    term, unit, function = FeatureNames.of_features(None, columns, len(zero))
    pairs = list(zip(term, unit, strict=True))
    size, size_zero = Counter(pairs), Counter(pair for pair, none in zip(pairs, zero, strict=True) if none)
    is_sender = np.array([1 < size[pair] == size_zero[pair] for pair in pairs]) | (function == "")
    return np.flatnonzero(zero & ~is_sender & ~penalised_features(penalty, len(zero)))


def penalised_features(penalty: Any, n_features: int) -> Bool[np.ndarray, " features"]:
    """Return which features a penalty acts on."""
    if penalty.l1_share:
        return np.ones(n_features, bool)
    return np.diag(penalty.hessian(1.0, n_features)) > 0
