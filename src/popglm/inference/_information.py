"""How sharply data determine a fit: information and products of scores of each neuron, summed over time bins.

A first pass over the data gives every neuron the mean of the features under its own weights. In features that are centred there
the intercept is apart from the coefficients, and single precision keeps what they vary by. Matrices, of a few neurons in one
pass, are summed in these features, scaled and inverted in double precision, and only then turned back.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from popglm._design.arrays import machine_epsilon, round_up_length, to_device, zero_pad
from popglm._design.blocks import ArraySource, SumSource
from popglm._design.design import Design, DesignRows
from popglm._design.sizes import SIZES
from popglm._design.total import total
from popglm._sums.losses import (
    fit_null_model,
    linear_predictor,
    loss_and_gradient,
    loss_and_slope,
    select_neurons,
    stack_params,
)
from popglm._sums.moments import bins_and_events

MAX_MATRIX_ENTRIES = 2**25  # entries of all matrices that are summed in one pass


MAX_NEURONS_PER_PASS = 16  # neurons in one pass


MIN_EIGENVALUE_FACTOR = (
    64  # times the round-off of a sum: the least eigenvalue, of a matrix with ones on its diagonal, that is none
)


NOT_IDENTIFIED_TOL = 1e-6  # of the square of a standard error: the least change that is more than round-off


class CovarianceEstimate(NamedTuple):
    """What the data of a fit say about its error, neurons first, the intercept last.

    `distance` is how far each estimate lies from the optimum of these data, in standard errors; `null_directions` are directions in which
    the parameters may move without a change of the likelihood, `conditional_se` is the standard error of each if all others were known,
    `residual_df` counts the bins that are more than the parameters.
    NaN in `covariance` are constant features, and those that are not free.
    """

    covariance: Float[np.ndarray, "neurons parameters parameters"]
    null_directions: Float[np.ndarray, "neurons parameters directions"]
    conditional_se: Float[np.ndarray, "neurons parameters"]
    distance: Float[np.ndarray, " neurons"]
    residual_df: Float[np.ndarray, " neurons"]
    silent: Bool[np.ndarray, " neurons"]
    clusters: Int[np.ndarray, " neurons"] | None


class ClusteredRows(DesignRows):
    """Rows with the number of their cluster, from 1, as one more feature, the last."""

    def __init__(self, rows: DesignRows, labels: Int[np.ndarray, " time"]):
        self.length, self.streamed, self.center = rows.length, rows.streamed, rows.center
        self.scatter, self._rows = rows.scatter, rows
        self.labels = np.asarray(rows.scatter(labels[:, None]), jnp.result_type(float))

    def rows_at(self, start, size):
        """The features of some rows, and their clusters."""
        source, counted = self._rows.rows_at(start, size)
        labels = zero_pad(self.labels[start : start + size], size)
        return SumSource((source, ArraySource(to_device(labels)))), counted

    def max_label_span(self) -> int:
        """Most clusters, by number, that rows of one block can have, from the first of them to the last."""
        some = zero_pad(self.labels[:, 0], -(-self.length // SIZES.block_rows) * SIZES.block_rows)
        some = some.reshape(-1, SIZES.block_rows)
        return int(max((some.max(1) - np.where(some > 0, some, np.inf).min(1)).max(), 0)) + 1


def information_moments(block, model, coef, intercept):
    """Of every neuron: bins and events; sums of its information and of features under it; gradient of its loss."""
    information = model.information(linear_predictor(block, coef, intercept))
    information = jnp.where(block.weight.T > 0, block.weight.T * information, 0)
    gradient = loss_and_gradient(block, model, coef, intercept)[1:]
    return bins_and_events(block), (information.sum(1), information @ block.X, information @ block.X**2), gradient


@lru_cache
def information_matrices(expected, squares):
    """For `total`: information of some neurons, expected or as observed; and, if wanted, the sum of the squares of scores."""

    def sums(block, model, neurons, coef, intercept, mean):
        y, weight = block.y.T[neurons], jnp.broadcast_to(block.weight.T, block.y.T.shape)[neurons]
        model = select_neurons(model, neurons)
        eta = linear_predictor(block, coef, intercept)
        each = [model.information(eta) if expected else model.curvature(eta, y)]
        if squares:
            each.append(loss_and_slope(model, eta, y)[1] ** 2)
        each = [jnp.where(weight > 0, weight * entries, 0) for entries in each]

        def products(of):
            mean, *each = of
            centred = jnp.concatenate([block.X - mean[None], jnp.ones_like(block.X[:, :1])], 1)
            return [(entries[:, None] * centred).T @ centred for entries in each]

        return jax.lax.map(products, (mean, *each))

    return sums


@lru_cache
def cluster_scores(n_clusters, reach):
    """For `total`, over `Labelled` rows: scores of some neurons, summed over each cluster, and bins in it."""

    def sums(block, model, neurons, coef, intercept):
        X, label, weight = block.X[:, :-1], block.X[:, -1], jnp.broadcast_to(block.weight.T, block.y.T.shape)[neurons]
        block, model = block._replace(X=X), select_neurons(model, neurons)
        _, score = loss_and_slope(model, linear_predictor(block, coef, intercept), block.y.T[neurons])
        score = jnp.where(weight > 0, weight * score, 0)
        first = jnp.min(jnp.where(label > 0, label, jnp.inf))
        first = jnp.where(jnp.isfinite(first), first, 1).astype(int)
        inside = (label.astype(int) - first)[None, :] == jnp.arange(reach)[:, None]
        inside = (inside & (label > 0)[None, :]).astype(X.dtype)
        centred = jnp.concatenate([X, jnp.ones_like(X[:, :1])], 1)
        some = (inside[:, None, :] * score[None]).reshape(-1, len(X)) @ centred
        some = some.reshape(reach, len(neurons), -1)
        bins = inside @ (weight > 0).astype(X.dtype).T
        placed = lambda part: jax.lax.dynamic_update_slice_in_dim(
            jnp.zeros((n_clusters + reach, *part.shape[1:]), part.dtype), part, first - 1, 0
        )
        return placed(some), placed(bins)

    return sums


def estimate_covariance(rows, y, model, coef, intercept, free, scale, kind, labels=None) -> CovarianceEstimate:
    """Covariance of the estimates of all neurons, by Fisher information, or a sandwich of scores by bin or by cluster.

    `coef` (neurons, features) and `intercept` are those of the features less the center of `rows`; `free` has 0 for
    coefficients that are held at 0; `scale` is what the losses are divided by.
    """
    dtype = jnp.result_type(float)
    design = Design(rows, y)
    coef, intercept = np.asarray(coef, dtype), np.asarray(intercept, dtype)
    (bins, events), (weight, first, second), gradient = total(information_moments, design, model, coef, intercept)
    _, _, silent = fit_null_model(model, bins, events)
    mean = (first / np.maximum(weight, np.finfo(dtype).tiny)[:, None]).astype(dtype)
    power = np.concatenate([second, weight[:, None]], 1)
    gradient = stack_params(*gradient)
    center = rows.offset(coef.shape[1])
    free = np.concatenate([free > 0, np.ones((len(free), 1), bool)], 1) & ~silent[:, None]
    clustered = None if labels is None else _ClusterScores(ClusteredRows(rows, labels), y)
    n = coef.shape[1] + 1
    found = CovarianceEstimate(
        np.full((len(coef), n, n), np.nan),
        np.zeros((len(coef), n, 0)),
        np.zeros((len(coef), n)),
        np.zeros(len(coef)),
        np.zeros(len(coef)),
        silent,
        None if labels is None else np.zeros(len(coef), int),
    )
    null = []
    eps = machine_epsilon()
    most = max(n, 0 if labels is None else int(labels.max()))
    size = int(np.clip(MAX_MATRIX_ENTRIES // (n * most), 1, min(MAX_NEURONS_PER_PASS, len(coef))))
    for start in range(0, len(coef), size):
        some = np.resize(np.arange(start, min(start + size, len(coef))), size)  # of one length: compiled once
        f = information_matrices(kind == "fisher", kind == "sandwich" and labels is None)
        information, *meat = total(f, design, model, some, coef[some], intercept[some], mean[some])
        if clustered:
            meat, number = clustered.score_products(model, some, coef[some], intercept[some], mean[some], bins, free)
            found.clusters[some] = number
            meat = [meat]
        for i, neuron in enumerate(some[: len(coef) - start]):
            moved = np.append(coef[neuron] != 0, True)
            one = _InverseInformation.from_information(
                information[i], free[neuron], mean[neuron].astype(float), power[neuron], moved, eps
            )
            covariance = one.inverse * scale[neuron]
            if meat:
                covariance = one.inverse @ meat[0][i] @ one.inverse
            turn = one.uncentering_matrix(center)
            found.distance[neuron] = one.distance(gradient[neuron], scale[neuron] if scale[neuron] > 0 else 1)
            found.conditional_se[neuron] = one.conditional_se
            found.residual_df[neuron] = bins[neuron] - (one.conditional_se > 0).sum() + one.null_directions.shape[1]
            found.covariance[neuron] = np.where(
                np.outer(one.conditional_se, one.conditional_se) > 0, turn @ covariance @ turn.T, np.nan
            )
            null.append(turn @ one.null_directions)
    most = max(part.shape[1] for part in null)
    return found._replace(
        null_directions=np.stack([np.pad(part, ((0, 0), (0, most - part.shape[1]))) for part in null])
    )


def not_identified(null, unit, weights) -> Bool[np.ndarray, "points neurons"]:
    """Which sums of parameters, weighted by `weights` (points, parameters), a direction of `null` would change."""
    change = ((weights @ null) ** 2).sum(2)
    return (change > NOT_IDENTIFIED_TOL * (unit**2 @ weights.T**2)).T


class _ClusterScores:
    """Scores of clusters, and the products of them."""

    def __init__(self, rows: ClusteredRows, y):
        self.design = Design(rows, y)
        n_clusters, reach = int(rows.labels.max()), rows.max_label_span()
        self.block_scores = cluster_scores(
            round_up_length(n_clusters), min(round_up_length(reach), round_up_length(n_clusters))
        )

    def score_products(self, model, some, coef, intercept, mean, bins, free):
        """Of each of some neurons the sum over clusters of a score times itself, corrected; and its clusters.

        The correction is that of Stata and statsmodels, C / (C - 1) times (n - 1) / (n - k).
        """
        scores, seen = total(self.block_scores, self.design, model, some, coef, intercept)
        scores = scores - scores[:, :, -1:] * np.pad(mean.astype(float), ((0, 0), (0, 1)))
        number, n, k = (seen > 0).sum(0), bins[some], free[some].sum(1)
        correction = number / np.maximum(number - 1, 1) * (n - 1) / np.maximum(n - k, 1)
        return np.einsum("cni,cnj->nij", scores, scores) * correction[:, None, None], number


class _InverseInformation(NamedTuple):
    """Inverse of one neuron's information, in features centred at `mean`; 0 for what is not free or does not vary."""

    inverse: Float[np.ndarray, "parameters parameters"]
    null_directions: Float[np.ndarray, "parameters directions"]  # directions that the data do not determine
    varying: Bool[np.ndarray, " parameters"]
    conditional_se: Float[
        np.ndarray, " parameters"
    ]  # scale of each parameter: its standard error if all others were known
    mean: Float[np.ndarray, " features"]

    @classmethod
    def from_information(cls, information, free, mean, power, moved, eps) -> "_InverseInformation":
        """From the information; what varies less than round-off of its power is constant, as for the fit.

        A constant feature is a part of the intercept, unless its coefficient was not `moved` from 0.
        """
        diagonal = np.diag(information)
        varies = (diagonal > 8 * eps * power) & np.isfinite(diagonal)
        alive, constant = free & varies, np.flatnonzero(free & ~varies & moved)
        unit = np.where(alive, 1 / np.sqrt(np.where(alive, diagonal, 1)), 0)
        at = np.ix_(alive, alive)
        values, vectors = np.linalg.eigh((information * np.outer(unit, unit))[at])
        known = values > MIN_EIGENVALUE_FACTOR * eps
        inverse, null = np.zeros_like(information), np.zeros((len(diagonal), (~known).sum()))
        inverse[at] = (vectors[:, known] / values[known]) @ vectors[:, known].T
        null[alive] = vectors[:, ~known]
        inverse, null = inverse * np.outer(unit, unit), null * unit[:, None]
        unit[constant] = 1 / np.sqrt(np.maximum(power[constant], np.finfo(np.float32).tiny))
        null = np.concatenate([null, (np.eye(len(unit)) * unit)[:, constant]], 1)
        return cls(inverse, null, alive, unit, mean)

    def distance(self, gradient, scale):
        """How far from the optimum, in standard errors: the length of Newton's step in the metric of the information."""
        gradient = np.append(gradient[:-1] - self.mean * gradient[-1], gradient[-1])
        return np.sqrt(max(gradient @ self.inverse @ gradient, 0) / scale)

    def uncentering_matrix(self, center):
        """From parameters of centred features to those of the features as they are."""
        turn = np.eye(len(self.varying))
        turn[-1, :-1] = -(self.mean + center)
        return turn
