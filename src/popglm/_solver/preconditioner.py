"""The coordinates in which a solver moves, and its preconditioner there, both from the sums of one pass.

Coordinates are the same for all neurons: standardised features, so that the intercept is orthogonal to them. What they leave
to the preconditioner is how features correlate, and how strongly each neuron's loss curves.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float
from numpy import ndarray as Array

from popglm._solver.ask_tell import NeuronScalars, Points, inverse_hessian_product, row_dot
from popglm._solver.problem import Objective
from popglm._solver.proximal import GroupNorms, make_hessian_product, minimise_quadratic
from popglm._sums.losses import loss_curvature
from popglm._sums.rank import Rank, central_moments

HESSIAN_JITTER = 1e-4  # on the diagonals of Hessians, relative to them; only the preconditioner sees it


MAX_FACTOR_ENTRIES = 2e7  # entries of all factors of neurons' own


class Coordinates(NamedTuple):
    """Standardised features, and an intercept that is orthogonal to them because they are centred.

    Features whose lengths are penalised together have one scale, `sd`: a rotation of the group changes no length.
    """

    mean: Float[Array, " features"]
    sd: Float[Array, " features"]

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
    r"""Inverse of each neuron's Hessian under the null model, :math:`(c_n C + r_n D)^{-1}`, until it has one of its own.

    c is the neuron's curvature, C the correlation of the features, D the curvature of the penalty, r the neuron's share in it.
    With :math:`C = L L^\top` and the spectrum :math:`L^{-1} D L^{-\top} = Q M Q^\top`, one factor :math:`R = L^{-\top} Q`
    serves every neuron: :math:`R\,(c_n + r_n M)^{-1} R^\top`. Neurons in `own_factors`
    have the Cholesky factor of their own Hessian.
    """

    correlation: Float[Array, "coordinates coordinates"]
    penalty: Float[Array, "coordinates coordinates"]
    ratio: NeuronScalars
    factor: Float[Array, "coordinates coordinates"]
    spectrum: Float[Array, " coordinates"]
    curvature: NeuronScalars
    mask: Float[Array, "neurons coordinates"]
    own_factors: dict[int, Float[Array, "coordinates coordinates"]]
    group_norms: GroupNorms | None
    max_eigenvalue: float  # largest eigenvalue of C

    def __call__(self, q: Points) -> Points:
        spread = self.curvature[:, None] + self.ratio[:, None] * self.spectrum
        out = ((self.mask * q) @ self.factor / spread) @ self.factor.T
        for neuron, lower in self.own_factors.items():
            out[neuron] = scipy.linalg.cho_solve((lower, True), self.mask[neuron] * q[neuron], check_finite=False)
        return self.mask * out

    def search_direction(self, point: Points, gradient: Points, history, which):
        """Where these neurons go from a point, and the slope of the whole objective in that direction."""
        if self.group_norms is None:
            direction = -inverse_hessian_product(gradient, history, self)
            return direction, row_dot(gradient, direction)
        direction, slope, at = np.zeros_like(point), np.zeros(len(point)), np.flatnonzero(which)
        if len(at):
            lengths, some = self.group_norms.select(at), point[at]
            product = make_hessian_product(self._hessian_product(at), tuple(a[:, at] for a in history))
            steepest = self.curvature[at] * self.max_eigenvalue + self.ratio[at] * np.abs(self.penalty).sum(0).max()
            aims = minimise_quadratic(product, lengths, some, gradient[at], self.mask[at], steepest)
            direction[at] = aims - some
            slope[at] = lengths.change(gradient[at], some, aims)
        return direction, slope

    def _hessian_product(self, at):
        """The product of some neurons' matrices with moves."""
        curvature, ratio, mask = self.curvature[at, None], self.ratio[at, None], self.mask[at]
        own = {i: self.own_factors[neuron] for i, neuron in enumerate(at) if neuron in self.own_factors}

        def product(move):
            move = mask * move
            out = curvature * (move @ self.correlation + HESSIAN_JITTER * move)
            if self.penalty.any():
                out += ratio * (move @ self.penalty)
            for i, lower in own.items():
                out[i] = lower @ (move[i] @ lower)
            return mask * out

        return product

    @classmethod
    def from_correlation(cls, correlation, penalty, ratio, curvature, mask, lengths=None) -> "Preconditioner":
        """From the correlation of the features, the curvature of the penalty in their coordinates, and the mask.

        The intercept is the last coordinate; the features are centred, so it is orthogonal to them.
        """
        n, last = len(correlation), len(correlation) + 1
        matrix, pull = np.eye(last), np.zeros((last, last))
        matrix[:n, :n], pull[:n, :n] = correlation, penalty
        factor, spectrum = _inverse_factor(matrix, HESSIAN_JITTER), np.zeros(last)
        if pull.any():
            spectrum, turn = np.linalg.eigh(factor.T @ pull @ factor)
            factor, spectrum = factor @ turn, np.maximum(spectrum, 0)
        mask = np.concatenate([mask, np.ones((len(mask), 1))], 1)
        steepest = 0.0 if lengths is None else float(np.linalg.eigvalsh(matrix)[-1])
        return cls(matrix, pull, ratio, factor, spectrum, curvature, mask, {}, lengths, steepest)

    @classmethod
    def from_tuples(cls, *parts) -> "Preconditioner":
        """From its parts as plain tuples, as a file has them."""
        known = cls(*parts)
        return known if known.group_norms is None else known._replace(group_norms=GroupNorms(*known.group_norms))

    def with_own_hessians(self, hessians: dict) -> "Preconditioner":
        """Take these neurons' own Hessians of the loss, with the penalty and the mask."""
        factors = {}
        for neuron, hessian in hessians.items():
            mask = self.mask[neuron]
            matrix = np.outer(mask, mask) * (hessian + self.ratio[neuron] * self.penalty) + np.diag(1 - mask)
            jitter = HESSIAN_JITTER * (np.mean(np.diag(hessian)) + self.curvature[neuron])
            factors[neuron] = _cholesky(matrix, jitter)
        return self._replace(own_factors=self.own_factors | factors)


class Problem(NamedTuple):
    """Everything that a pass needs besides the data and the point."""

    objective: Objective
    bins: NeuronScalars
    coordinates: Coordinates
    precondition: Preconditioner


def prepare_problem(objective: Objective, mask, bins, mean_count, null, moments, eps, few=0.0):
    """Coordinates and preconditioner from the sums of the first pass; which features these tell apart, the constant ones.

    `few` is added to the diagonal of the correlations, of 1, where few rows were seen.
    """
    center, covariance, varying, tol = central_moments(moments, eps)
    # A column that never changes is the intercept's: its own coefficient is masked, and stays 0.
    n_features, n_neurons, penalty = len(varying), len(mask), objective.penalty
    penalty.check(objective.strength, n_features, n_neurons)
    sd = _coordinate_sd(
        np.diag(covariance), varying, penalty.groups(n_features) if penalty.lengths else np.ones(n_features, int)
    )
    correlation = np.where(np.outer(varying, varying), covariance / np.outer(sd, sd), 0)
    correlation = correlation + few * np.eye(len(sd))
    curvature = np.asarray(loss_curvature(objective.model, null, mean_count), float)
    profile, ratio, lengths = _split_strength(objective, sd, n_neurons)
    pull = penalty.hessian(profile, n_features) / np.outer(sd, sd)
    precondition = Preconditioner.from_correlation(correlation, pull, ratio, curvature, mask * varying, lengths)
    held = pull / np.abs(pull).max() if pull.any() and ratio.all() else np.zeros_like(pull)
    if lengths is not None:
        held = held + np.diag(np.repeat((lengths.cost > 0).all(0), lengths.sizes)[:-1])
    problem = Problem(objective, bins, Coordinates(center, sd), precondition)
    used = varying & (np.asarray(mask) > 0).any(0)
    return (
        problem,
        Rank.from_correlation(correlation + held, used, tol),
        np.flatnonzero(~varying & (np.diag(moments[2]) > 0)),
    )


def replace_penalty(objective: Objective, coordinates: Coordinates, known: Preconditioner) -> Preconditioner:
    """The same preconditioner for a penalty that is stronger or weaker as a whole, less factors that hold the old one."""
    _, ratio, lengths = _split_strength(objective, coordinates.sd, len(known.mask))
    return known._replace(
        ratio=ratio, group_norms=lengths, own_factors={} if known.penalty.any() else known.own_factors
    )


def drop_penalised(known: Preconditioner) -> Preconditioner:
    """The same for the coordinates that no length penalises, and no others."""
    free = np.repeat(known.group_norms.cost == 0, known.group_norms.sizes, axis=1)
    return known._replace(mask=known.mask * free, group_norms=None)


def _split_strength(objective: Objective, sd, n_neurons):
    """How strengths differ between the parts of a penalty, how strong it is for each neuron, and its lengths."""
    penalty, strength = objective.penalty, np.asarray(objective.strength, float)
    ratio = np.broadcast_to(strength.mean(-1) if strength.ndim else strength, n_neurons)
    typical = strength.mean(0) if strength.ndim == 2 else strength
    profile = typical / typical.mean() if typical.any() else np.ones(())
    if not penalty.lengths:
        return profile, ratio, None
    sizes = penalty.groups(len(sd))
    cost = (
        np.broadcast_to(penalty.thresholds(strength, len(sd)), (n_neurons, len(sizes))) / sd[np.cumsum(sizes) - sizes]
    )
    free = np.zeros((n_neurons, 1))  # the intercept
    return profile, ratio, GroupNorms(np.concatenate([cost, free], 1), np.append(sizes, 1))


def _coordinate_sd(variance, varying, sizes):
    """Standard deviations, of the features of a group together."""
    starts = np.cumsum(sizes) - sizes
    summed, n = (np.add.reduceat(a, starts) for a in (np.where(varying, variance, 0), varying.astype(int)))
    return np.sqrt(np.repeat(np.where(n > 0, summed / np.maximum(n, 1), 1), sizes))


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
