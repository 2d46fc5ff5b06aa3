"""Rank of the features: number of parameters that data determine, collinear features, and directions that change nothing."""

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

ROUND_OFF_EPSILONS = 8  # of a variance relative to the mean square, below which the sums show none
CLEAR_EPSILONS = 32  # above which it is more than their round-off
# Parts of a unit vector below this norm are round-off of single precision.
MIN_DIRECTION_NORM = 3e-3


class Rank(NamedTuple):
    """Features that vary, those collinear with others, and orthonormal combinations that are 0 in every bin, one for each."""

    varying: Bool[np.ndarray, " features"]
    null_directions: Float[np.ndarray, "features collinear"]
    collinear: Int[np.ndarray, " collinear"]  # sums of features that are not in this list

    @classmethod
    def from_correlation(
        cls, correlation: Float[np.ndarray, "features features"], varying: Bool[np.ndarray, " features"], tol: float
    ) -> "Rank":
        """Determine the rank to the precision of the correlations, by a Cholesky factorisation with pivots."""
        columns, n = np.flatnonzero(varying), len(varying)
        if not len(columns):
            return cls(varying, np.zeros((n, 0)), columns)
        factor, pivots, rank, _ = scipy.linalg.lapack.dpstrf(correlation[np.ix_(columns, columns)], tol=tol, lower=1)
        independent, dependent = columns[pivots[:rank] - 1], columns[pivots[rank:] - 1]
        null = np.zeros((n, len(dependent)))
        null[dependent] = np.eye(len(dependent))
        null[independent] = -scipy.linalg.solve_triangular(
            factor[:rank, :rank], factor[rank:, :rank].T, lower=True, trans=1
        )
        return cls(varying, np.linalg.qr(null)[0], np.sort(dependent))

    @classmethod
    def from_moments(cls, moments: tuple, eps: float) -> "Rank":
        """Determine the rank from number, sum and Gram matrix of the rows."""
        _, covariance, varying, tol = central_moments(moments, eps)
        sd = np.sqrt(np.where(varying, np.diag(covariance), 1))
        return cls.from_correlation(covariance / np.outer(sd, sd), varying, tol)

    def collinear_features(self, mask: np.ndarray) -> Int[np.ndarray, " collinear"]:
        """Collinear features, if they are collinear within any row of `mask` (neurons, features); else none."""
        n_collinear = self._varying_in(mask).sum(1) - self.n_params(mask)
        return self.collinear if n_collinear.any() else self.collinear[:0]

    def _varying_in(self, mask: np.ndarray) -> Bool[np.ndarray, "neurons features"]:
        return (np.asarray(mask) > 0) & self.varying

    def n_params(self, mask: np.ndarray) -> Int[np.ndarray, " neurons"]:
        """Number of coefficients that the features of each row of `mask` (neurons, features) determine.

        A null direction reduces it only if all of its features are in the row.
        """
        mask, k = self._varying_in(mask), len(self.collinear)
        outside = (self.null_directions[self.varying & ~row] for row in mask)
        n_collinear = [k - (np.linalg.svd(a, compute_uv=False) > MIN_DIRECTION_NORM).sum() for a in outside] if k else 0
        return mask.sum(1) - n_collinear


def constant_features(
    moments: tuple, varying: Bool[np.ndarray, " features"], center: Float[np.ndarray, " features"] | float = 0.0
) -> Int[np.ndarray, " constant"]:
    """Numbers of the features that do not vary and are not 0, from moments of features of which `center` was subtracted."""
    return np.flatnonzero(~varying & ((np.diag(moments[2]) > 0) | (np.asarray(center) != 0)))


def central_moments(
    moments: tuple, eps: float
) -> tuple[
    Float[np.ndarray, " features"], Float[np.ndarray, "features features"], Bool[np.ndarray, " features"], float
]:
    """Means and covariance of the features, a mask of those that vary, and the round-off of their correlations.

    Variance is mean square minus squared mean, so its round-off is relative to the mean square.
    """
    n, first, gram = moments
    mean = first / n
    covariance = gram / n
    covariance -= np.outer(mean, mean)
    variance, power = np.diag(covariance), np.diag(gram) / n
    varying, clear = variance > ROUND_OFF_EPSILONS * eps * power, variance > CLEAR_EPSILONS * eps * power
    return mean, covariance, varying, CLEAR_EPSILONS * eps * max(1.0, (power[clear] / variance[clear]).max(initial=0))


def unclear_features(moments: tuple, eps: float) -> Bool[np.ndarray, " features"]:
    """Mark the features that are not 0 and vary by hardly more than round-off of the sums: constant ones are among them."""
    n, first, gram = moments
    power = np.diag(gram) / n
    return (power > 0) & (power - (first / n) ** 2 <= CLEAR_EPSILONS * eps * power)
