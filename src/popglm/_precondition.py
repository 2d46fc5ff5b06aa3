"""The coordinates in which a solver moves, and its preconditioner there, both from the sums of one pass.

Coordinates are the same for all neurons: standardised features, so that the intercept is orthogonal to them. What they leave
to the preconditioner is how features correlate, and how strongly each neuron's loss curves.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int
from numpy import ndarray as Array

from popglm import _objective
from popglm._ask_tell import PerNeuron, Points
from popglm._objective import Objective

JITTER = 1e-4  # on the diagonals of Hessians, relative to them; only the preconditioner sees it
MAX_OWN = 2e7  # entries of all factors of neurons' own


class Coordinates(NamedTuple):
    """Standardised features, and an intercept that is orthogonal to them because they are centred."""

    mean: Float[Array, "features"]
    sd: Float[Array, "features"]

    def to_model(self, point):
        """Coefficients and intercepts at a point."""
        coef = point[:, :-1] / self.sd
        return coef, point[:, -1] - coef @ self.mean

    def from_model(self, coef, intercept):
        """The point of coefficients and intercepts."""
        return np.concatenate([coef * self.sd, (intercept + coef @ self.mean)[:, None]], 1)

    def gradient(self, d_coef, d_intercept):
        """Gradient at a point, from that in coefficients and intercepts."""
        return np.concatenate([(d_coef - np.outer(d_intercept, self.mean)) / self.sd, d_intercept[:, None]], 1)


class Preconditioner(NamedTuple):
    r"""Inverse of each neuron's Hessian under the null model, :math:`(c_n C + D)^{-1}`, until it has one of its own.

    c is the neuron's curvature, C the correlation of the features, D the curvature of the penalty. With
    :math:`C = L L^\top` and the spectrum :math:`L^{-1} D L^{-\top} = Q M Q^\top`, one factor :math:`R = L^{-\top} Q`
    serves every neuron: :math:`R\,(c_n + M)^{-1} R^\top`. Neurons in `own` have the Cholesky factor of their own Hessian.
    """

    correlation: Float[Array, "coordinates coordinates"]
    penalty: Float[Array, "coordinates"]
    factor: Float[Array, "coordinates coordinates"]
    spectrum: Float[Array, "coordinates"]
    curvature: PerNeuron
    mask: Float[Array, "neurons coordinates"]
    own: dict[int, Float[Array, "coordinates coordinates"]]

    def __call__(self, q: Points) -> Points:
        inner = (self.mask * q) @ self.factor / (self.curvature[:, None] + self.spectrum)
        out = inner @ self.factor.T
        for neuron, lower in self.own.items():
            out[neuron] = scipy.linalg.cho_solve((lower, True), self.mask[neuron] * q[neuron], check_finite=False)
        return self.mask * out

    @classmethod
    def of(cls, correlation, pull, curvature, mask) -> "Preconditioner":
        """From the correlation of the features, the curvature of the penalty in their coordinates, and the mask.

        The intercept is the last coordinate; the features are centred, so it is orthogonal to them.
        """
        n, last = len(correlation), len(correlation) + 1
        matrix, penalty = np.eye(last), np.zeros(last)
        matrix[:n, :n], penalty[:n] = correlation, pull
        factor, spectrum = _inverse_factor(matrix, JITTER), np.zeros(last)
        if penalty.any():
            spectrum, turn = np.linalg.eigh(factor.T @ (penalty[:, None] * factor))
            factor = factor @ turn
        mask = np.concatenate([mask, np.ones((len(mask), 1))], 1)
        return cls(matrix, penalty, factor, spectrum, curvature, mask, {})

    def with_own(self, hessians: dict) -> "Preconditioner":
        """Take these neurons' own Hessians of the loss, with the penalty and the mask."""
        factors = {}
        for neuron, hessian in hessians.items():
            mask = self.mask[neuron]
            matrix = np.outer(mask, mask) * (hessian + np.diag(self.penalty)) + np.diag(1 - mask)
            jitter = JITTER * (np.mean(np.diag(hessian)) + self.curvature[neuron])
            factors[neuron] = _cholesky(matrix, jitter)
        return self._replace(own=self.own | factors)


class Problem(NamedTuple):
    """Everything that a pass needs besides the data and the point."""

    objective: Objective
    bins: PerNeuron
    coordinates: Coordinates
    precondition: Preconditioner


def prepare(objective: Objective, mask, bins, mean_count, null, moments, eps, few=0.0):
    """Coordinates and preconditioner from the sums of the first pass; the features that others make, the constant ones.

    `few` is added to the diagonal of the correlations, of 1, where few rows were seen.
    """
    n_rows, feature_sum, gram = moments
    center, power = feature_sum / n_rows, np.diag(gram) / n_rows
    covariance = gram / n_rows - np.outer(center, center)
    # A column that never changes is the intercept's: its own coefficient is masked, and stays 0.
    alive = np.diag(covariance) > 8 * eps * power
    sd = np.sqrt(np.where(alive, np.diag(covariance), 1))
    correlation = np.where(np.outer(alive, alive), covariance / np.outer(sd, sd), 0)
    correlation = correlation + few * np.eye(len(sd))
    curvature = np.asarray(_objective.curvature(objective.model, null, mean_count), float)
    pull = objective.penalty.curvature(objective.strength) / sd**2
    precondition = Preconditioner.of(correlation, pull, curvature, mask * alive)
    dependent = _dependent(correlation, alive, 16 * eps) if not np.any(pull) else np.zeros(0, int)
    problem = Problem(objective, bins, Coordinates(center, sd), precondition)
    return problem, dependent, np.flatnonzero(~alive & (power > 0))


def _inverse_factor(matrix, jitter):
    """R with R R' the inverse of the matrix plus `jitter` on its diagonal."""
    return scipy.linalg.solve_triangular(_cholesky(matrix, jitter), np.eye(len(matrix)), lower=True).T


def _cholesky(matrix, jitter):
    """Lower factor of the matrix plus `jitter` on its diagonal."""
    for more in (1, 10, 100):  # for sums in single precision over thousands of dependent columns
        try:
            return np.linalg.cholesky(matrix + more * jitter * np.eye(len(matrix)))
        except np.linalg.LinAlgError:
            continue
    return np.linalg.cholesky(matrix + 1000 * jitter * np.eye(len(matrix)))


def _dependent(correlation, alive, tol) -> Int[Array, "some"]:
    """Features that are a sum of others, to the precision of the correlations: the last of a pivoted factorisation."""
    at = np.flatnonzero(alive)
    if not len(at):
        return at
    _, pivots, rank, _ = scipy.linalg.lapack.dpstrf(correlation[np.ix_(at, at)], tol=tol, lower=1)
    return np.sort(at[pivots[rank:] - 1])
