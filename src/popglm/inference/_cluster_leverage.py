r"""Bias-reduced errors by clusters (CR2) and their degrees of freedom, from features x features matrices of each cluster.

A cluster's residuals are smaller than its errors, since the fit has followed them: with the information :math:`G_j` of cluster
j and the covariance M by all of them, :math:`\mathrm{Var}(r_j)` has the factor :math:`I - H_j`, where the leverage
:math:`H_j = W^{1/2} X_j M X_j^\top W^{1/2}` has the rows of the cluster. CR2 divides by its root (Bell and McCaffrey 2002,
*Survey Methodology* 28:169-181; for generalized linear models McCaffrey, Bell and Botts 2001, and Kauermann and Carroll 2001,
*Journal of the American Statistical Association* 96:1387-1396). As :math:`X^\top f(X M X^\top) = f(X^\top X M) X^\top` for
every function f, the corrected score needs no matrix of rows:

.. math:: \tilde s_j = (I - G_j M)^{-1/2} s_j .

With a root :math:`M = L L^\top` the matrices :math:`L^\top G_j L` are symmetric, with eigenvalues from 0 to 1, and add up to I.
The reference distributions assume that the model is right (Satterthwaite's approximation; for several coefficients that of
Zhang: Pustejovsky and Tipton 2018, *Journal of Business and Economic Statistics* 36:672-683).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from popglm._design.arrays import machine_epsilon
from popglm.inference._inverse_information import MIN_EIGENVALUE_FACTOR, InverseInformation

MAX_LOST_SHARE = 1e-3  # of a variance that may come from directions in which one cluster has all information


class ClusterLeverage(NamedTuple):
    """Leverage of each cluster on the fit of one neuron: eigenvalues and eigenvectors of :math:`L^T G_j L`, and the root L.

    Rows of `root` are the parameters, first in centred features, then as they are.
    """

    root: Float[np.ndarray, "parameters directions"]
    values: Float[np.ndarray, "clusters directions"]
    vectors: Float[np.ndarray, "clusters directions directions"]

    @classmethod
    def from_information(
        cls, inverse: InverseInformation, information: Float[np.ndarray, "clusters parameters parameters"]
    ) -> "ClusterLeverage":
        """Decompose, from the information of each cluster and the inverse of its sum."""
        se = inverse.conditional_se
        scale = np.where(se > 0, se, 1)
        values, vectors = np.linalg.eigh(inverse.matrix / np.outer(scale, scale))
        determined = values > 0.5 / len(se)  # eigenvalues of the inverse of a correlation matrix are 0, or above this
        root = scale[:, None] * vectors[:, determined] * np.sqrt(values[determined])
        return cls(root, *np.linalg.eigh(root.T @ information @ root))

    @property
    def _kept(self):
        """True for directions of which other clusters know something, too."""
        return 1 - self.values > max(MIN_EIGENVALUE_FACTOR * machine_epsilon(), 1e-12)

    def _inverse_roots(self):
        """The factors (1 - leverage)^(-1/2); 0 where one cluster has all information."""
        return np.where(self._kept, 1 - np.where(self._kept, self.values, 0), np.inf) ** -0.5

    def covariance(
        self, scores: Float[np.ndarray, "clusters parameters"]
    ) -> Float[np.ndarray, "parameters parameters"]:
        """Covariance of the estimates from the scores of the clusters, in the features of `root`."""
        turned = np.einsum("ckd,ck->cd", self.vectors, scores @ self.root) * self._inverse_roots()
        corrected = np.einsum("ckd,cd->ck", self.vectors, turned)
        return self.root @ (corrected.T @ corrected) @ self.root.T

    def lost(self, contrasts: Float[np.ndarray, "sums parameters"]):
        """True for weighted sums of parameters of which one cluster alone determines a part: no others tell its error."""
        turned = self._turn(contrasts)
        lost = np.where(self._kept[:, :, None], 0, self.values[:, :, None] * turned**2).sum((0, 1))
        return lost > MAX_LOST_SHARE * ((contrasts @ self.root) ** 2).sum(1)

    def df(self, contrasts: Float[np.ndarray, "sums parameters"]) -> Float[np.ndarray, " sums"]:
        """Degrees of freedom of Student's t for weighted sums of parameters, by Satterthwaite's approximation.

        The estimate of a variance is a quadratic form of normal errors, with clusters x clusters matrix P; the degrees of
        freedom are tr(P)² / tr(P²), without making P.
        """
        variance, responses = self._variances_and_responses(contrasts)
        own = (responses**2).sum(1)
        squares = (variance**2).sum(0) - (own**2).sum(0)
        for k in range(len(contrasts)):
            squares[k] += ((responses[:, :, k].T @ responses[:, :, k]) ** 2).sum()
        return np.where(squares > 0, variance.sum(0) ** 2 / np.where(squares > 0, squares, 1), np.nan)

    def wald_df(self, contrasts: Float[np.ndarray, "sums parameters"]) -> float:
        """Degrees of freedom of Hotelling's distribution for the Wald statistic of several weighted sums (Zhang's)."""
        q = len(contrasts)
        spread = contrasts @ self.root
        values, vectors = np.linalg.eigh(spread @ spread.T)
        if not q or values[0] <= 0:
            return np.nan
        contrasts = (vectors / np.sqrt(values)).T @ contrasts
        turned = self._turn(contrasts)
        variance = np.einsum("cdq,cd,cdr->cqr", turned, np.where(self._kept, self.values, 0), turned)
        responses = self._respond(turned)
        total = 0.0
        for i, own in enumerate(responses):
            pairs = np.einsum("dq,cdr->cqr", own, responses)
            pairs[i] = variance[i]
            total += (np.einsum("cqq->c", pairs) ** 2).sum() + np.einsum("cqr,crq->", pairs, pairs)
        return q * (q + 1) / total

    def _variances_and_responses(self, contrasts):
        turned = self._turn(contrasts)
        kept = np.where(self._kept, self.values, 0)[:, :, None]
        return (kept * turned**2).sum(1), self._respond(turned)

    def _turn(self, contrasts):
        """Weighted sums along the eigenvectors of each cluster, (clusters, directions, sums)."""
        return np.einsum("ckd,ks->cds", self.vectors, (contrasts @ self.root).T, optimize=True)

    def _respond(self, turned):
        """Weights by which a cluster's part of a sum changes with the errors of the others, (clusters, directions, sums)."""
        return self.vectors @ ((self.values * self._inverse_roots())[:, :, None] * turned)
