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
    serves every neuron: :math:`R\,(c_n + r_n M)^{-1} R^\top`. Neurons in `own` have the Cholesky factor of their own Hessian.
    """

    correlation: Float[Array, "coordinates coordinates"]
    penalty: Float[Array, "coordinates coordinates"]
    ratio: NeuronScalars
    factor: Float[Array, "coordinates coordinates"]
    spectrum: Float[Array, " coordinates"]
    curvature: NeuronScalars
    mask: Float[Array, "neurons coordinates"]
    own: dict[int, Float[Array, "coordinates coordinates"]]
    lengths: GroupNorms | None
    steepest: float  # largest eigenvalue of C

    def __call__(self, q: Points) -> Points:
        spread = self.curvature[:, None] + self.ratio[:, None] * self.spectrum
        out = ((self.mask * q) @ self.factor / spread) @ self.factor.T
        for neuron, lower in self.own.items():
            out[neuron] = scipy.linalg.cho_solve((lower, True), self.mask[neuron] * q[neuron], check_finite=False)
        return self.mask * out

    def aim(self, point: Points, gradient: Points, history, which):
        """Where these neurons go from a point, and the slope of the whole objective in that direction."""
        if self.lengths is None:
            direction = -inverse_hessian_product(gradient, history, self)
            return direction, row_dot(gradient, direction)
        direction, slope, at = np.zeros_like(point), np.zeros(len(point)), np.flatnonzero(which)
        if len(at):
            lengths, some = self.lengths.some(at), point[at]
            product = make_hessian_product(self._forward(at), tuple(a[:, at] for a in history))
            steepest = self.curvature[at] * self.steepest + self.ratio[at] * np.abs(self.penalty).sum(0).max()
            aims = minimise_quadratic(product, lengths, some, gradient[at], self.mask[at], steepest)
            direction[at] = aims - some
            slope[at] = lengths.change(gradient[at], some, aims)
        return direction, slope

    def _forward(self, at):
        """The product of some neurons' matrices with moves."""
        curvature, ratio, mask = self.curvature[at, None], self.ratio[at, None], self.mask[at]
        own = {i: self.own[neuron] for i, neuron in enumerate(at) if neuron in self.own}

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
    def of(cls, correlation, penalty, ratio, curvature, mask, lengths=None) -> "Preconditioner":
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
    def again(cls, *parts) -> "Preconditioner":
        """From its parts as plain tuples, as a file has them."""
        known = cls(*parts)
        return known if known.lengths is None else known._replace(lengths=GroupNorms(*known.lengths))

    def with_own(self, hessians: dict) -> "Preconditioner":
        """Take these neurons' own Hessians of the loss, with the penalty and the mask."""
        factors = {}
        for neuron, hessian in hessians.items():
            mask = self.mask[neuron]
            matrix = np.outer(mask, mask) * (hessian + self.ratio[neuron] * self.penalty) + np.diag(1 - mask)
            jitter = HESSIAN_JITTER * (np.mean(np.diag(hessian)) + self.curvature[neuron])
            factors[neuron] = _cholesky(matrix, jitter)
        return self._replace(own=self.own | factors)


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
    center, covariance, alive, tol = central_moments(moments, eps)
    # A column that never changes is the intercept's: its own coefficient is masked, and stays 0.
    n_features, n_neurons, penalty = len(alive), len(mask), objective.penalty
    penalty.check(objective.strength, n_features, n_neurons)
    sd = _coordinate_sd(
        np.diag(covariance), alive, penalty.groups(n_features) if penalty.lengths else np.ones(n_features, int)
    )
    correlation = np.where(np.outer(alive, alive), covariance / np.outer(sd, sd), 0)
    correlation = correlation + few * np.eye(len(sd))
    curvature = np.asarray(loss_curvature(objective.model, null, mean_count), float)
    profile, ratio, lengths = _split_strength(objective, sd, n_neurons)
    pull = penalty.hessian(profile, n_features) / np.outer(sd, sd)
    precondition = Preconditioner.of(correlation, pull, ratio, curvature, mask * alive, lengths)
    held = pull / np.abs(pull).max() if pull.any() and ratio.all() else np.zeros_like(pull)
    if lengths is not None:
        held = held + np.diag(np.repeat((lengths.cost > 0).all(0), lengths.sizes)[:-1])
    problem = Problem(objective, bins, Coordinates(center, sd), precondition)
    used = alive & (np.asarray(mask) > 0).any(0)
    return problem, Rank.of(correlation + held, used, tol), np.flatnonzero(~alive & (np.diag(moments[2]) > 0))


def replace_penalty(objective: Objective, coordinates: Coordinates, known: Preconditioner) -> Preconditioner:
    """The same preconditioner for a penalty that is stronger or weaker as a whole, less factors that hold the old one."""
    _, ratio, lengths = _split_strength(objective, coordinates.sd, len(known.mask))
    return known._replace(ratio=ratio, lengths=lengths, own={} if known.penalty.any() else known.own)


def drop_penalised(known: Preconditioner) -> Preconditioner:
    """The same for the coordinates that no length penalises, and no others."""
    free = np.repeat(known.lengths.cost == 0, known.lengths.sizes, axis=1)
    return known._replace(mask=known.mask * free, lengths=None)


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


def _coordinate_sd(variance, alive, sizes):
    """Standard deviations, of the features of a group together."""
    starts = np.cumsum(sizes) - sizes
    summed, n = (np.add.reduceat(a, starts) for a in (np.where(alive, variance, 0), alive.astype(int)))
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
