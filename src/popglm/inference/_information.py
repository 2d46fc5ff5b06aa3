"""Covariance of estimates: information and products of scores of each neuron, summed over time bins and inverted.

A first pass over the data gives the mean of the features, weighted by each neuron's information. In features centred at this
mean the intercept is uncorrelated with the coefficients, and single precision keeps the variation of the features. Further
passes sum the matrices of a few neurons each; these are scaled and inverted in double precision, and only then transformed
back to the features as they are.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from popglm._design.arrays import as_divisor
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
from popglm.inference._checks import require_cluster_memory
from popglm.inference._cluster_leverage import ClusterLeverage
from popglm.inference._cluster_sums import ClusterSums
from popglm.inference._fit_on_data import FitOnData
from popglm.inference._inverse_information import InverseInformation
from popglm.inference._prior import Posterior
from popglm.parallel._share import share_neurons

MAX_MATRIX_ENTRIES = 2**25  # entries of all matrices that one pass sums

MAX_NEURONS_PER_PASS = 16

# A direction changes a weighted sum of parameters by round-off alone up to this share of the squared standard error.
NOT_IDENTIFIED_TOL = 1e-6


class CovarianceEstimate(NamedTuple):
    """Covariance of the estimates of a fit and what belongs to it; neurons first, the intercept last.

    `covariance` is NaN for constant features and for coefficients that a mask holds at 0. Along `null_directions` the
    parameters may move without changing the likelihood. `conditional_se` is the standard error of a parameter if all others
    were known. `distance` is that from the estimates to the optimum of the data, in standard errors. `residual_df` is the
    sum of weights minus the number of parameters, `edf` are the effective degrees of freedom of each parameter. `clusters` is
    the number of clusters with valid bins. `posterior` is None without a penalty, `leverages` (one for each neuron) unless
    errors are bias-reduced.
    """

    covariance: Float[np.ndarray, "neurons parameters parameters"]
    null_directions: Float[np.ndarray, "neurons parameters directions"]
    conditional_se: Float[np.ndarray, "neurons parameters"]
    distance: Float[np.ndarray, " neurons"]
    residual_df: Float[np.ndarray, " neurons"]
    silent: Bool[np.ndarray, " neurons"]
    clusters: Int[np.ndarray, " neurons"] | None
    edf: Float[np.ndarray, "neurons parameters"]
    posterior: Posterior | None
    leverages: list[ClusterLeverage] | None = None


def information_moments(block, model, coef, intercept):
    """Sums of the first pass: bins and events; information, and features and their squares under it; gradient of the loss."""
    information = model.information(linear_predictor(block, coef, intercept))
    information = jnp.where(block.weight.T > 0, block.weight.T * information, 0)
    gradient = loss_and_gradient(block, model, coef, intercept)[1:]
    return bins_and_events(block), (information.sum(1), information @ block.X, information @ block.X**2), gradient


@lru_cache
def information_matrices(expected, score_power):
    """Function for `total`: information of some neurons, `expected` or observed, and products of scores of rows.

    These count as often as the power of a weight that is `score_power`: 1 if its copies are independent, 2 if they are the
    row itself; None leaves out the products.
    """

    def sums(block, model, neurons, coef, intercept, mean):
        model, block = select_neurons(model, neurons), block.select_neurons(neurons)
        y, weight, eta = block.y.T, block.weight.T, linear_predictor(block, coef, intercept)
        entries = [weight * (model.information(eta) if expected else model.curvature(eta, y))]
        if score_power is not None:
            entries.append(weight**score_power * loss_and_slope(model, eta, y)[1] ** 2)
        entries = [jnp.where(weight > 0, a, 0) for a in entries]

        def products(neuron):
            mean, *entries = neuron
            centred = jnp.concatenate([block.X - mean[None], jnp.ones_like(block.X[:, :1])], 1)
            return [(a[:, None] * centred).T @ centred for a in entries]

        return jax.lax.map(products, (mean, *entries))

    return sums


def estimate_covariance(
    fit: FitOnData, kind="fisher", labels=None, score_power=None, bias_reduced=False
) -> CovarianceEstimate:
    """Covariance of the estimates of all neurons, by Fisher information, or a sandwich of scores by row or by cluster.

    The kind is "sandwich" or another, for Fisher's. For the sandwich, either `labels` are the numbers of the clusters of all
    bins, from 1, or the scores of a row count by `score_power`. Under a penalty the information is the observed one;
    errors that are `bias_reduced` (CR2) take the expected one.
    """
    model, design, (coef, intercept) = fit.observation_model, fit.data.make_design(), fit.centered_params
    moments = _first_pass(model, design, coef, intercept)
    n_neurons, n_params = len(coef), coef.shape[1] + 1
    free = np.pad(fit.free, ((0, 0), (0, 1)), constant_values=True) & ~moments.silent[:, None]
    result = CovarianceEstimate(
        covariance=np.full((n_neurons, n_params, n_params), np.nan),
        null_directions=np.zeros((n_neurons, n_params, 0)),
        conditional_se=np.zeros((n_neurons, n_params)),
        distance=np.zeros(n_neurons),
        residual_df=np.zeros(n_neurons),
        silent=moments.silent,
        clusters=None if labels is None else np.zeros(n_neurons, int),
        edf=np.zeros((n_neurons, n_params)),
        posterior=None if fit.prior is None else Posterior.zeros(fit.prior, n_neurons, n_params - 1),
        leverages=[] if bias_reduced else None,
    )
    clustered = None if labels is None else ClusterSums(fit.data, labels)
    matrices = information_matrices(kind != "sandwich" and fit.prior is None, score_power)
    n_rows = max(n_params, 0 if labels is None else int(labels.max()))
    if bias_reduced:
        n_rows = n_params * int(labels.max())
        require_cluster_memory(n_neurons, n_params, int(labels.max()))
    size = int(np.clip(MAX_MATRIX_ENTRIES // (n_params * n_rows), 1, min(MAX_NEURONS_PER_PASS, n_neurons)))
    directions = []
    for start in range(0, n_neurons, size):
        # The last pass repeats neurons: all passes have one shape, which is compiled once.
        neurons = np.resize(np.arange(start, min(start + size, n_neurons)), size)
        params = coef[neurons], intercept[neurons], moments.mean[neurons]
        of_clusters = clustered.information(model, neurons, *params) if bias_reduced else None
        information, *meat = [of_clusters.sum(0)] if bias_reduced else total(matrices, design, model, neurons, *params)
        bins = moments.bins[neurons]
        if clustered:
            scores, rows = clustered.scores(model, neurons, *params)
            result.clusters[neurons] = (rows > 0).sum(0)
            bins = np.maximum(bins, rows.sum(0))
        every_sums = []
        for i in range(min(size, n_neurons - start)):
            sums = _NeuronSums(information[i], bins[i], meat[0][i] if meat else None)
            if clustered:
                sums = sums._replace(scores=scores[:, i][rows[:, i] > 0])
            if bias_reduced:
                sums = sums._replace(information_of_clusters=of_clusters[:, i][rows[:, i] > 0])
            every_sums.append(sums)
        directions += _estimate_neurons(result, fit, moments, free, start, every_sums)
    n_directions = max(a.shape[1] for a in directions)
    padded = [np.pad(a, ((0, 0), (0, n_directions - a.shape[1]))) for a in directions]
    return result._replace(null_directions=np.stack(padded))


class _NeuronSums(NamedTuple):
    """Sums of one neuron: its information; for a sandwich the products of scores of rows, or the scores of clusters.

    `bins` are a sum of weights, or the number of rows if that is more. For errors that are bias-reduced each cluster has its
    information.
    """

    information: Float[np.ndarray, "parameters parameters"]
    bins: float
    score_products: Float[np.ndarray, "parameters parameters"] | None = None
    scores: Float[np.ndarray, "clusters parameters"] | None = None
    information_of_clusters: Float[np.ndarray, "clusters parameters parameters"] | None = None

    def products(self, n_params):
        """Products of scores, with the correction for few clusters; None for errors by information."""
        if self.scores is None:
            return self.score_products
        return self.scores.T @ self.scores * _cluster_correction(len(self.scores), self.bins, n_params)


class _NeuronEstimate(NamedTuple):
    """What an estimate of the covariance holds of one neuron; its posterior is without the prior."""

    covariance: Float[np.ndarray, "parameters parameters"]
    null_directions: Float[np.ndarray, "parameters directions"]
    conditional_se: Float[np.ndarray, " parameters"]
    distance: float
    residual_df: float
    edf: Float[np.ndarray, " parameters"]
    posterior: tuple | None
    leverage: ClusterLeverage | None


def _estimate_neurons(
    result: CovarianceEstimate, fit: FitOnData, moments, free, start: int, sums: list[_NeuronSums]
) -> list[np.ndarray]:
    """Estimate neurons from `start` on, shared among processes, and write them into the result; return null directions."""
    neurons = np.arange(start, start + len(sums))
    estimate = lambda block: _estimate_neuron(fit, moments, block[0], free[block[0]], sums[block[0] - start])
    found = share_neurons(estimate, neurons, "inverts the information")
    for neuron, one in zip(neurons, found, strict=True):
        for name in ("covariance", "conditional_se", "distance", "residual_df", "edf"):
            getattr(result, name)[neuron] = getattr(one, name)
        if one.posterior is not None:
            for every, values in zip(result.posterior[1:], one.posterior, strict=True):
                every[neuron] = values
        if one.leverage is not None:
            result.leverages.append(one.leverage)
    return [one.null_directions for one in found]


def _estimate_neuron(fit: FitOnData, moments, neuron, free, sums: _NeuronSums) -> _NeuronEstimate:
    """Covariance of one neuron's estimates, and what belongs to it."""
    precision, divisor = _prior_precision(fit, neuron, free, moments.bins[neuron]), fit.loss_divisor[neuron]
    inverse = _invert(fit, moments, neuron, free, sums.information, precision)
    uncentering, se = inverse.uncentering_matrix(fit.center), inverse.conditional_se
    centering = 2 * np.eye(len(se)) - uncentering
    shares = uncentering @ inverse.shares @ centering
    covariance, leverage, posterior = inverse.matrix * divisor, None, None
    products = sums.products(free.sum() if precision is None else np.trace(shares))
    if sums.information_of_clusters is not None:
        leverage = ClusterLeverage.from_information(inverse, sums.information_of_clusters)
        covariance = leverage.covariance(sums.scores)
        leverage = leverage._replace(root=uncentering @ leverage.root)
    elif products is not None:
        covariance = (
            inverse.matrix @ (products if precision is None else products + divisor * precision) @ inverse.matrix
        )
    gradient = moments.gradient[neuron]
    if precision is not None:
        gradient = gradient + precision[:, :-1] @ fit.coef[neuron]
        posterior = _posterior_of_neuron(fit, moments.bins[neuron], inverse, precision, divisor, shares, gradient)
    n_params = (se > 0).sum() - inverse.null_directions.shape[1] if precision is None else np.trace(shares)
    return _NeuronEstimate(
        covariance=np.where(np.outer(se, se) > 0, uncentering @ covariance @ uncentering.T, np.nan),
        null_directions=uncentering @ inverse.null_directions,
        conditional_se=se,
        distance=inverse.distance(gradient, divisor if divisor > 0 else 1),
        residual_df=moments.bins[neuron] - n_params,
        edf=np.diag(shares),
        posterior=posterior,
        leverage=leverage,
    )


def _prior_precision(fit, neuron, free, bins):
    """Precision of the prior in units of the loss, (parameters, parameters); None without one."""
    return None if fit.prior is None else fit.prior.precision(neuron, free, bins)


def _invert(fit, moments, neuron, free, information, precision) -> InverseInformation:
    """Invert the information of one neuron, with the precision of a prior if there is one."""
    center = {"free": free, "mean": moments.mean[neuron].astype(float), "power": moments.power[neuron]}
    if precision is not None:
        return InverseInformation.with_prior(information, precision, **center)
    return InverseInformation.from_information(information, **center, nonzero=np.append(fit.coef[neuron] != 0, True))


def _posterior_of_neuron(fit, bins, inverse: InverseInformation, precision, divisor, shares, gradient) -> tuple:
    """Posterior of one neuron, in nats and without its intercept, which is at its best; in the order of `Posterior`."""
    information, divisor = inverse.information, divisor if divisor > 0 else np.nan
    profile = np.outer(information[:-1, -1], information[-1, :-1]) / max(information[-1, -1], np.finfo(float).tiny)
    slope = -(inverse.mean + fit.center)
    if information[-1, -1] > 0:
        slope = slope - information[:-1, -1] / information[-1, -1]
    posterior = Posterior(
        prior=None,  # that of all neurons
        covariance=inverse.matrix[:-1, :-1] * divisor,
        penalty=precision[:-1, :-1] / divisor,
        information=(information[:-1, :-1] - profile) / divisor,
        test_rank=(2 * np.diag(shares) - np.einsum("ij,ji->i", shares, shares))[:-1],
        step=inverse.newton_step(gradient)[:-1],
        intercept_slope=slope,
        intercept_information=information[-1, -1] / divisor,
        nats=bins / divisor,
    )
    return posterior[1:]


def not_identified(null_directions, conditional_se, weights) -> Bool[np.ndarray, "points neurons"]:
    """True for sums of parameters, weighted by `weights` (points, parameters), that a null direction changes."""
    change = ((weights @ null_directions) ** 2).sum(2)
    return (change > NOT_IDENTIFIED_TOL * (conditional_se**2 @ weights.T**2)).T


class _Moments(NamedTuple):
    """Result of the first pass: centre and power of the features under each neuron's information, gradient of its loss."""

    bins: Float[np.ndarray, " neurons"]
    silent: Bool[np.ndarray, " neurons"]
    mean: Float[np.ndarray, "neurons features"]
    power: Float[np.ndarray, "neurons parameters"]
    gradient: Float[np.ndarray, "neurons parameters"]


def _first_pass(model, design, coef, intercept) -> _Moments:
    (bins, events), (weight, first, second), gradient = total(information_moments, design, model, coef, intercept)
    silent = fit_null_model(model, bins, events).silent
    dtype = jnp.result_type(float)
    return _Moments(
        bins=bins,
        silent=silent,
        mean=(first / np.maximum(weight, np.finfo(dtype).tiny)[:, None]).astype(dtype),
        power=np.concatenate([second, weight[:, None]], 1),
        gradient=stack_params(*gradient),
    )


def _cluster_correction(n_clusters, n_bins, n_params):
    """Correction for few clusters by Stata and statsmodels: C / (C - 1) times (n - 1) / (n - k)."""
    return n_clusters / np.maximum(n_clusters - 1, 1) * (n_bins - 1) / as_divisor(np.asarray(n_bins - n_params))
