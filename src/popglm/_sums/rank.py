"""Which features data tell apart: how many parameters a fit has really, and which combinations of them change nothing."""

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

MIN_DIRECTION_NORM = 3e-3  # of a direction of length 1: the least that is more than the round-off of single precision


class Rank(NamedTuple):
    """Features that vary, and orthonormal combinations of them that are 0 in every bin, one for each `collinear` feature."""

    varying: Bool[np.ndarray, " features"]
    null_directions: Float[np.ndarray, "features dependent"]
    collinear: Int[np.ndarray, " dependent"]  # a sum of features that are not

    @classmethod
    def from_correlation(cls, correlation, varying, tol) -> "Rank":
        """To the precision of the correlations: what is left over of a factorisation that takes the largest first."""
        at, n = np.flatnonzero(varying), len(varying)
        if not len(at):
            return cls(varying, np.zeros((n, 0)), at)
        factor, pivots, rank, _ = scipy.linalg.lapack.dpstrf(correlation[np.ix_(at, at)], tol=tol, lower=1)
        taken, rest = at[pivots[:rank] - 1], at[pivots[rank:] - 1]
        null = np.zeros((n, len(rest)))
        null[rest] = np.eye(len(rest))
        null[taken] = -scipy.linalg.solve_triangular(factor[:rank, :rank], factor[rank:, :rank].T, lower=True, trans=1)
        return cls(varying, np.linalg.qr(null)[0], np.sort(rest))

    @classmethod
    def from_moments(cls, moments, eps) -> "Rank":
        """From the number of bins, the sums of the features and their Gram matrix."""
        _, covariance, varying, tol = central_moments(moments, eps)
        sd = np.sqrt(np.where(varying, np.diag(covariance), 1))
        return cls.from_correlation(covariance / np.outer(sd, sd), varying, tol)

    def collinear_features(self, mask) -> Int[np.ndarray, " some"]:
        """The dependent features, if they are so for any row of `mask`."""
        lost = self._varying_in(mask).sum(1) - self.n_params(mask)
        return self.collinear if lost.any() else self.collinear[:0]

    def _varying_in(self, mask) -> Bool[np.ndarray, "neurons features"]:
        return (np.asarray(mask) > 0) & self.varying

    def n_params(self, mask) -> Int[np.ndarray, " neurons"]:
        """How many coefficients the features of each row of `mask` (neurons, features) determine.

        A combination that changes nothing counts unless it is made of features of the mask alone.
        """
        mask, k = self._varying_in(mask), len(self.collinear)
        without = (self.null_directions[self.varying & ~row] for row in mask)
        lost = [k - (np.linalg.svd(some, compute_uv=False) > MIN_DIRECTION_NORM).sum() for some in without] if k else 0
        return mask.sum(1) - lost


def central_moments(moments, eps):
    """Means and covariance of the features, which of them vary, and the round-off of their correlations.

    What is left of a large power when the square of the mean is taken away has the round-off of the power.
    """
    n, first, gram = moments
    mean = first / n
    covariance = gram / n - np.outer(mean, mean)
    variance, power = np.diag(covariance), np.diag(gram) / n
    varying = variance > 8 * eps * power
    return mean, covariance, varying, 32 * eps * max(1.0, (power[varying] / variance[varying]).max(initial=0))
