r"""Factors of the Hessians of null models, :math:`c_n C + r_n D`, which neurons share.

c is a neuron's curvature, C the correlation of the features with `HESSIAN_JITTER` on its diagonal, D the Hessian of the
penalty, r its strength for the neuron. Besides a factor, a neuron's Hessian depends on the ratio r / c only.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.linalg
from jaxtyping import Float
from numpy import ndarray as Array

from popglm._solver.ask_tell import NeuronScalars, Points
from popglm._solver.hessian import HESSIAN_JITTER

MAX_EXACT_RATIOS = 4  # different ratios that get a Cholesky factor each
MAX_SPECTRUM = 512  # coordinates up to which an eigendecomposition, 30 times a Cholesky factorisation, costs nothing
MAX_SHARED_ENTRIES = 4e8  # entries of all Cholesky factors together, unless one has more
GRID_FACTOR = 2.0  # between neighbours of the grid of ratios


class NullFactors:
    r"""Solves with each neuron's Hessian under the null model; factors are made when they are first needed.

    Neurons of one ratio share the Cholesky factor of :math:`C + (r/c) D`. If there are more than `MAX_EXACT_RATIOS` ratios,
    few coordinates have the spectrum :math:`L^{-1} D L^{-\top} = Q M Q^\top` with :math:`C = L L^\top`, so that
    :math:`R = L^{-\top} Q` serves all: :math:`R\,(c_n + r_n M)^{-1} R^\top`. Many coordinates, where an eigendecomposition
    takes longest, have Cholesky factors at ratios of a grid: the eigenvalues of a solve times the Hessian are within the
    square root of a grid step, :math:`\sqrt 2`, of 1, which is closer than the null model is to the fit.

    They keep 8 bytes for each of the (features + 1)^2 entries of a factor: one factor for each ratio, one with a spectrum, and
    on a grid one for each of its steps from the smallest to the largest ratio, at most 3.2 GB together. Where that is less
    than the grid needs, its steps become larger, until two factors are left.
    """

    def __init__(
        self, correlation: Float[Array, "coordinates coordinates"], penalty: Float[Array, "coordinates coordinates"]
    ) -> None:
        self.correlation, self.penalty, self.is_penalised = correlation, penalty, bool(penalty.any())
        self._cholesky: dict[float, Array] = {}  # by ratio
        self._spectral: tuple[Array, Array] | None = None

    def solve(self, q: Points, curvature: NeuronScalars, strength: NeuronScalars) -> Points:
        """Solve with each neuron's Hessian; exactly, or with that of a ratio nearby."""
        ratio = self._ratio(curvature, strength)
        distinct = np.unique(ratio)
        if len(distinct) > MAX_EXACT_RATIOS:
            if len(self.correlation) <= MAX_SPECTRUM:
                factor, spectrum = self._spectrum()
                return (q @ factor / (curvature[:, None] + strength[:, None] * spectrum)) @ factor.T
            ratio = self._on_grid(ratio)
            distinct = np.unique(ratio)
        self._cholesky = {at: self._cholesky[at] for at in distinct.tolist() if at in self._cholesky}
        out = np.empty_like(q)
        for at in distinct.tolist():
            neurons = slice(None) if len(distinct) == 1 else np.flatnonzero(ratio == at)
            out[neurons] = scipy.linalg.cho_solve((self._factor(at), True), q[neurons].T, check_finite=False).T
        return out / curvature[:, None]

    def penalised_df(self, curvature: NeuronScalars, strength: NeuronScalars) -> NeuronScalars:
        """Trace of the Hessian of the penalty over that of the whole objective, for each neuron."""
        ratio = self._ratio(curvature, strength)
        distinct, inverse = np.unique(ratio, return_inverse=True)
        if len(distinct) > MAX_EXACT_RATIOS:
            scaled = ratio[:, None] * self._spectrum()[1]
            return (scaled / (1 + scaled)).sum(1)
        traces = [
            at * np.trace(scipy.linalg.cho_solve((self._factor(at), True), self.penalty, check_finite=False))
            for at in distinct.tolist()
        ]
        return np.array(traces)[inverse]

    def _ratio(self, curvature: NeuronScalars, strength: NeuronScalars) -> NeuronScalars:
        """Strength of the penalty over the curvature; 0 without a penalty."""
        return strength / curvature if self.is_penalised else np.zeros(len(curvature))

    def _on_grid(self, ratio: NeuronScalars) -> NeuronScalars:
        """Nearest ratios of a geometric grid, the same whatever other neurons there are, and 0, where that is the ratio."""
        positive, step = ratio > 0, GRID_FACTOR
        most = max(MAX_SHARED_ENTRIES // self.correlation.size, 1)
        while True:
            grid = np.where(positive, step ** np.rint(np.log(np.where(positive, ratio, 1)) / np.log(step)), 0)
            n_factors = len(np.unique(grid))
            if n_factors <= most or n_factors <= 2:
                return grid
            step = step**2

    def _factor(self, ratio: float) -> Float[Array, "coordinates coordinates"]:
        """Cholesky factor at a ratio."""
        if ratio not in self._cholesky:
            largest = float(self.penalty.diagonal().max(initial=0))
            jitter = HESSIAN_JITTER + ratio * largest * len(self.penalty) * np.finfo(float).eps
            self._cholesky[ratio] = cholesky(partial(self._hessian, ratio), jitter)
        return self._cholesky[ratio]

    def _hessian(self, ratio: float) -> Float[Array, "coordinates coordinates"]:
        """New array of the correlation plus the penalty times its ratio."""
        if not ratio:
            return self.correlation.copy()
        out = ratio * self.penalty
        return np.add(out, self.correlation, out=out)

    def _spectrum(self) -> tuple[Float[Array, "coordinates coordinates"], Float[Array, " coordinates"]]:
        """Factor of all ratios, and the spectrum of the penalty along its columns."""
        if self._spectral is None:
            lower = cholesky(self.correlation.copy, HESSIAN_JITTER)
            inverse = scipy.linalg.solve_triangular(lower, np.eye(len(lower)), lower=True, check_finite=False).T
            spectrum, rotation = np.linalg.eigh(inverse.T @ self.penalty @ inverse)
            self._spectral = inverse @ rotation, np.maximum(spectrum, 0)
        return self._spectral


def max_eigenvalue(matrix: Float[Array, "coordinates coordinates"]) -> float:
    """Largest eigenvalue of a positive semidefinite matrix; of a large one a bound just above it, from Lanczos steps."""
    if len(matrix) <= MAX_SPECTRUM:
        return float(np.linalg.eigvalsh(matrix)[-1])
    from scipy.sparse.linalg import eigsh

    tol, start = 1e-3, np.abs(matrix).sum(0)
    return float(eigsh(matrix, k=1, v0=start, tol=tol, return_eigenvectors=False)[0]) * (1 + 2 * tol)


def cholesky(make: Callable[[], Array], jitter: float) -> Float[Array, "coordinates coordinates"]:
    """Lower Cholesky factor, in Fortran's order, of a symmetric matrix plus `jitter` on its diagonal.

    `make` returns the matrix as a new array, in whose place the factor is computed.
    """
    # Sums in single precision over thousands of collinear columns may need more jitter.
    for multiple in (1, 10, 100, 1000):
        matrix = make().T  # LAPACK works in place where the order is Fortran's
        np.einsum("ii->i", matrix)[:] += multiple * jitter
        lower, info = scipy.linalg.lapack.dpotrf(matrix, lower=1, overwrite_a=1)
        if not info:
            return lower
    raise np.linalg.LinAlgError(f"the matrix is not positive definite (LAPACK's dpotrf returned {info})")
