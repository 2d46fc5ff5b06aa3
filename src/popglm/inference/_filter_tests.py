r"""Tests that all coefficients of a penalised group are 0, given the strengths.

The statistic is :math:`\hat w^\top V^{-1} \hat w`, with V the group's block of the posterior covariance A⁻¹: twice the
logarithm of the penalised likelihood, over that without the group. If all directions of the group are penalised, w = 0 means
that a variance is 0, and the statistic is a sum of chi-squared variables, weighted by the eigenvalues of :math:`V^{-1} V_0`:

.. math:: V_0 = [A^{-1} (H + S_0) A^{-1}]_{gg}

is the covariance of the estimates if w = 0 and all other penalised filters vary as their prior says: :math:`S_0` is the
penalty without the rows and columns of the group (Wood 2013, *Biometrika* 100:1005-1010). Without a penalty all weights are
1, and this is Wald's test.

If a part of the group is not penalised, such as a straight line, the test is that of Wood (2013), *Biometrika* 100:221-228:
V is the covariance of the filter in units of the information about it, inverted on as many directions of largest variance
as the filter has degrees of freedom; of the last one only a fraction. So it is if parts of the group have different
strengths: where these are chosen by evidence, one of several is often small by chance, and the first test rejects too often.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from popglm._sums.rank import MIN_DIRECTION_NORM
from popglm.inference._inverse_information import MIN_PRIOR_EIGENVALUE
from popglm.inference._prior import Posterior
from popglm.inference._weighted_chi_squared import weighted_tail

MIN_CORRELATION_EIGENVALUE = 1e-9  # of a direction that counts, relative to the largest, in a covariance of estimates
MIN_WEIGHT = 1e-10  # of a chi-squared variable, below which nothing of the filter is left under its penalty

MIN_SHARE = 1e-8  # eigenvalues of a covariance below this share of the largest are round-off


class WeightedStatistic(NamedTuple):
    """A statistic that is a weighted sum of chi-squared variables if the coefficients are 0."""

    value: float
    weights: Float[np.ndarray, " terms"]


class NeuronGroup(NamedTuple):
    """One neuron's group of coefficients at the optimum: free ones, their covariance, and directions that have none."""

    features: np.ndarray
    coef: Float[np.ndarray, " coefs"]
    covariance: Float[np.ndarray, "coefs coefs"]
    scale: Float[np.ndarray, " coefs"]
    null: Float[np.ndarray, "coefs directions"]

    @property
    def identified(self) -> Float[np.ndarray, "directions coefs"]:
        """Rows that map the coefficients to coordinates of the part that data and penalty determine."""
        vectors, size, _ = np.linalg.svd(self.null / self.scale[:, None])
        return vectors[:, (size > MIN_DIRECTION_NORM).sum() :].T / self.scale


def penalised_statistics(group: NeuronGroup, posterior: Posterior, neuron: int) -> list[WeightedStatistic]:
    """Statistics of one neuron's group, of whose p-values the mean is that of the test; none if nothing is penalised."""
    inside = np.ix_(group.features, group.features)
    penalty = posterior.penalty[neuron][inside]
    if not (penalty.any() and len(group.features)):
        return []
    if not np.isfinite(group.covariance).all():
        return [WeightedStatistic(np.nan, np.ones(1))]
    if posterior.prior.has_one_strength(neuron, group.features) and _is_fully_penalised(penalty, group):
        return [variance_component(group, posterior, neuron)]
    rank = posterior.test_rank[neuron][group.features].sum()
    return truncated_wald(group, posterior.information[neuron][inside], rank)


def _is_fully_penalised(penalty, group):
    """True if every direction that is determined has a penalty."""
    root = np.sqrt(np.diag(penalty))
    unit = 1 / np.where(root > 0, root, 1)
    values, vectors = np.linalg.eigh(penalty * np.outer(unit, unit))
    free, _ = np.linalg.qr((vectors * unit[:, None])[:, values < MIN_PRIOR_EIGENVALUE] / group.scale[:, None])
    return not (np.linalg.svd(group.identified * group.scale @ free, compute_uv=False) > MIN_DIRECTION_NORM).any()


def variance_component(group: NeuronGroup, posterior: Posterior, neuron: int) -> WeightedStatistic:
    """Statistic of a group that is penalised in all directions, and the weights that it has if the group is 0."""
    covariance, penalty = posterior.covariance[neuron][:, group.features], posterior.penalty[neuron][group.features]
    own, held = covariance[group.features], penalty[:, group.features]
    cross = own @ (penalty @ covariance)
    null_covariance = group.covariance - (cross + cross.T - own @ held @ own)
    rows = group.identified
    whiten = _whitening(rows @ group.covariance @ rows.T) @ rows
    weights = np.linalg.eigvalsh(whiten @ null_covariance @ whiten.T)
    return WeightedStatistic(((whiten @ group.coef) ** 2).sum(), np.where(weights > MIN_WEIGHT, weights, 0))


def _whitening(covariance):
    """Rows that give uncorrelated coordinates of variance 1; directions without variance, to round-off, are left out."""
    sd = np.sqrt(np.maximum(np.diag(covariance), np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(covariance / np.outer(sd, sd))
    known = values > MIN_CORRELATION_EIGENVALUE * values.max(initial=0)
    return (vectors[:, known] / np.sqrt(values[known])).T / sd


def truncated_wald(group: NeuronGroup, information, rank: float) -> list[WeightedStatistic]:
    """Wald statistics of the directions of largest variance, as many as `rank`; one for each sign of the last direction."""
    values, vectors = np.linalg.eigh(information)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    values, vectors = np.linalg.eigh(root @ group.covariance @ root)
    values, vectors = values[::-1], vectors[:, ::-1]
    known = values > MIN_SHARE * values[0]
    z = (vectors.T @ root @ group.coef)[known] / np.sqrt(values[known])
    whole = int(np.floor(min(rank, len(z)) + 1e-6))
    part = rank - whole
    if whole == 0 or whole == len(z) or part < 1e-6:
        whole = max(whole, 1)
        return [WeightedStatistic((z[:whole] ** 2).sum(), np.ones(whole))]
    first, last = z[whole - 1], z[whole]
    mixed = 2 * np.sqrt(part * (1 - part) / 2) * first * last
    base = (z[:whole] ** 2).sum() + part * last**2
    larger = (part + 1 + np.sqrt(1 - part**2)) / 2
    weights = np.append(np.ones(whole - 1), [larger, part + 1 - larger])
    return [WeightedStatistic(base + mixed, weights), WeightedStatistic(base - mixed, weights)]


def tail_probabilities(
    statistics: list[list[WeightedStatistic]], df, clustered, combine=np.mean
) -> tuple[np.ndarray, ...]:
    """Statistic, its mean if the coefficients are 0, and p-value of each neuron's test.

    `df` (neurons,) are the degrees of freedom of the covariance, infinite if it is known; for `clustered` ones the reference
    is that of Hotelling, with as many coefficients as the weights amount to.
    """
    owner = np.repeat(np.arange(len(statistics)), [len(some) for some in statistics])
    flat = [one for some in statistics for one in some]
    weights = np.zeros((len(flat), max(len(one.weights) for one in flat)))
    for i, one in enumerate(flat):
        weights[i, : len(one.weights)] = one.weights
    values, df = np.array([one.value for one in flat]), df[owner]
    if clustered:
        squares = (weights**2).sum(1)
        terms = weights.sum(1) ** 2 / np.where(squares > 0, squares, 1)
        residual_df = np.maximum(df + 1 - terms, 0)
        scaled, df = values * residual_df / df, residual_df
    else:
        scaled = values
    p = np.where(weights.any(1) | np.isnan(values), weighted_tail(scaled, weights, df), 1.0)
    mean = lambda a: np.bincount(owner, a) / np.bincount(owner)
    first = np.append(0, np.cumsum([len(some) for some in statistics]))
    combined = np.array([combine(p[a:b]) for a, b in pairwise(first)])
    return mean(values), mean(weights.sum(1)), combined
