"""Coordinates in which a solver moves, and its preconditioner there, both from the sums of one pass.

Coordinates are the same for all neurons: standardised features, so that the intercept is orthogonal to them. The preconditioner
takes account of the correlation of the features, and of the curvature of each neuron's loss.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from popglm._solver.active_set import minimise_quadratic
from popglm._solver.ask_tell import History, NeuronScalars, Points, inverse_hessian_product, row_dot
from popglm._solver.dispersion import DispersionMetric
from popglm._solver.hessian import HESSIAN_JITTER, BFGSHessian, InitialHessian
from popglm._solver.null_factors import NullFactors, cholesky, max_eigenvalue
from popglm._solver.problem import Objective
from popglm._solver.proximal import GroupNorms
from popglm._sums.losses import loss_curvature
from popglm._sums.rank import Rank, central_moments, constant_features, unclear_features
from popglm.parallel._share import share_neurons

MAX_FACTOR_ENTRIES = 2e7  # entries of all own factors together

NEURONS_PER_BLOCK = 32  # whose quadratic models are minimised together: fewer cost more time, more leave processes idle


class Coordinates(NamedTuple):
    """Standardised features, and an intercept that is orthogonal to them because they are centred.

    Features of one penalised group share one `sd`, so that a rotation of the group does not change its norm.
    """

    mean: Float[Array, " features"]
    sd: Float[Array, " features"]

    def to_model(self, point: Points) -> tuple[Float[Array, "neurons features"], NeuronScalars]:
        """Convert a point to coefficients and intercepts."""
        n = len(self.sd)
        coef = point[:, :n] / self.sd
        return coef, point[:, n] - coef @ self.mean

    def from_model(self, coef: Float[Array, "neurons features"], intercept: NeuronScalars) -> Points:
        """Convert coefficients and intercepts to a point."""
        return np.concatenate([coef * self.sd, (intercept + coef @ self.mean)[:, None]], 1)

    def gradient(self, d_coef: Float[Array, "neurons features"], d_intercept: NeuronScalars) -> Points:
        """Convert a gradient in coefficients and intercepts to the gradient at a point."""
        return np.concatenate([(d_coef - np.outer(d_intercept, self.mean)) / self.sd, d_intercept[:, None]], 1)


class PenaltyTerms(NamedTuple):
    """Penalty in the coordinates of the solver: a quadratic part, and group norms if it is not smooth."""

    hessian: Float[Array, "coordinates coordinates"]
    strength: NeuronScalars  # factor of the Hessian for each neuron
    group_norms: GroupNorms | None


class Preconditioner(NamedTuple):
    r"""Inverse of each neuron's Hessian under the null model, :math:`(c_n C + r_n D)^{-1}`, or of the neuron's own Hessian.

    c is the neuron's curvature, C the correlation of the features, D the Hessian of the penalty, r its strength for the
    neuron. `null_factors` solves with these; `own_factors` are Cholesky factors of own Hessians, by neuron. With a
    `dispersion`, points have its coordinate as a last column.
    """

    correlation: Float[Array, "coordinates coordinates"]
    max_eigenvalue: float  # of the correlation; 0 for a smooth penalty, which does not need it
    null_factors: NullFactors
    penalty: PenaltyTerms
    curvature: NeuronScalars
    mask: Float[Array, "neurons coordinates"]
    own_factors: dict[int, Float[Array, "coordinates coordinates"]]
    dispersion: DispersionMetric | None = None

    def __call__(self, q: Points) -> Points:
        if self.dispersion is not None:
            out = self._replace(dispersion=None)(q[:, :-1])
            return np.column_stack([out, q[:, -1] / self.dispersion.information])
        out = self.null_factors.solve(self.mask * q, self.curvature, self.penalty.strength)
        for neuron, lower in self.own_factors.items():
            out[neuron] = scipy.linalg.cho_solve((lower, True), self.mask[neuron] * q[neuron], check_finite=False)
        return self.mask * out

    @property
    def value_scale(self) -> NeuronScalars:
        """Size of the loss that its round-off is relative to, where the value itself is small."""
        return self.curvature if self.dispersion is None else np.maximum(self.curvature, self.dispersion.magnitude)

    def search_direction(
        self, point: Points, gradient: Points, history: History, neuron_mask: Bool[Array, " neurons"]
    ) -> tuple[Points, NeuronScalars]:
        """Direction from each point of the neurons of the mask, and the slope of the whole objective along it."""
        if self.dispersion is not None:
            return self.dispersion.search_direction(self._search, point, gradient, history, neuron_mask)
        return self._search(point, gradient, history, neuron_mask)

    def _search(
        self, point: Points, gradient: Points, history: History, neuron_mask: Bool[Array, " neurons"]
    ) -> tuple[Points, NeuronScalars]:
        if self.penalty.group_norms is None:
            direction = -inverse_hessian_product(gradient, history, self)
            return direction, row_dot(gradient, direction)
        direction, slope, neurons = np.zeros_like(point), np.zeros(len(point)), np.flatnonzero(neuron_mask)
        if len(neurons):
            find = partial(self._proximal_directions, point, gradient, history)
            found = share_neurons(find, neurons, "computes proximal Newton steps", NEURONS_PER_BLOCK)
            direction[neurons], slope[neurons] = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return direction, slope

    def _proximal_directions(
        self, point: Points, gradient: Points, history: History, neurons: Array
    ) -> tuple[Float[Array, "block coordinates"], Float[Array, " block"]]:
        """Directions of these neurons to the minimum of their quadratic model plus group norms, and the slopes along them."""
        group_norms: Any = self.penalty.group_norms
        group_norms, start, mask = group_norms.select(neurons), point[neurons], self.mask[neurons]
        if self.dispersion is not None:
            group_norms = group_norms.with_free_coordinate()
            mask = np.column_stack([mask, gradient[neurons, -1] != 0])
        pairs = History(*(a[:, neurons] for a in history))
        model = BFGSHessian.from_history(self._initial_hessian(neurons), pairs)
        end = minimise_quadratic(model, group_norms, start, gradient[neurons], mask)
        return end - start, group_norms.change(gradient[neurons], start, end)

    def _initial_hessian(self, neurons: Array) -> InitialHessian:
        """Hessians of these neurons before they have moved."""
        return InitialHessian(
            correlation=self.correlation,
            penalty=self.penalty.hessian if self.penalty.hessian.any() else None,
            curvature=self.curvature[neurons],
            strength=self.penalty.strength[neurons],
            mask=self.mask[neurons],
            own_factors={i: self.own_factors[n] for i, n in enumerate(neurons.tolist()) if n in self.own_factors},
            dispersion=None if self.dispersion is None else self.dispersion.information[neurons],
            max_eigenvalue=self.max_eigenvalue,
        )

    @classmethod
    def from_correlation(
        cls,
        correlation: Float[Array, "features features"],
        penalty_hessian: Float[Array, "features features"],
        strength: NeuronScalars,
        curvature: NeuronScalars,
        mask: Float[Array, "neurons features"],
        group_norms: GroupNorms | None = None,
    ) -> "Preconditioner":
        """Build from the correlation of the features, the Hessian of the penalty in their coordinates, and the mask.

        The intercept is the last coordinate; the features are centred, so it is orthogonal to them.
        """
        n, last = len(correlation), len(correlation) + 1
        matrix, hessian = np.eye(last), np.zeros((last, last))
        matrix[:n, :n], hessian[:n, :n] = correlation, penalty_hessian
        return cls(
            correlation=matrix,
            max_eigenvalue=0.0 if group_norms is None else max_eigenvalue(matrix),
            null_factors=NullFactors(matrix, hessian),
            penalty=PenaltyTerms(hessian=hessian, strength=strength, group_norms=group_norms),
            curvature=curvature,
            mask=np.concatenate([mask, np.ones((len(mask), 1))], 1),
            own_factors={},
        )

    def to_tuple(self) -> tuple:
        """Flat tuple, as files hold it."""
        hessian, strength, group_norms = self.penalty
        no_factor = np.zeros((0, 0)), np.zeros(0)  # until version 0.1.0 files had it; it follows from the rest
        shared = self.correlation, hessian, strength, *no_factor
        return *shared, self.curvature, self.mask, self.own_factors, group_norms, self.max_eigenvalue

    @classmethod
    def from_tuple(cls, values: tuple) -> "Preconditioner":
        """Build from the flat tuple of a file."""
        correlation, hessian, strength, _, _, curvature, mask, own_factors, norms, max_eigenvalue = values
        group_norms = None if norms is None else GroupNorms(*norms)
        return cls(
            correlation=correlation,
            max_eigenvalue=max_eigenvalue,
            null_factors=NullFactors(correlation, hessian),
            penalty=PenaltyTerms(hessian=hessian, strength=strength, group_norms=group_norms),
            curvature=curvature,
            mask=mask,
            own_factors=own_factors,
        )

    def with_own_hessians(self, hessians: dict, penalty_hessian: Callable) -> "Preconditioner":
        """Add factors of these neurons' own Hessians of the loss, plus that of their penalty, within the mask."""
        factors = {}
        for neuron, hessian in hessians.items():
            mask = self.mask[neuron]
            matrix = np.outer(mask, mask) * (hessian + penalty_hessian(neuron)) + np.diag(1 - mask)
            jitter = HESSIAN_JITTER * (np.mean(np.diag(hessian)) + self.curvature[neuron])
            factors[neuron] = cholesky(matrix.copy, jitter)
        return self._replace(own_factors=self.own_factors | factors)

    def without_own_factors(self, neuron_mask: Bool[Array, " neurons"]) -> "Preconditioner":
        """Drop the own factors of the neurons of the mask."""
        return self._replace(own_factors={n: factor for n, factor in self.own_factors.items() if not neuron_mask[n]})


class Problem(NamedTuple):
    """All that a pass needs besides the data and the point."""

    objective: Objective
    bins: NeuronScalars
    coordinates: Coordinates
    precondition: Preconditioner

    def null_hessians(self) -> dict[int, Float[Array, "coordinates coordinates"]]:
        """Mean Hessian of each neuron's loss under the null model, by neuron."""
        return {n: curvature * self.precondition.correlation for n, curvature in enumerate(self.precondition.curvature)}

    def penalty_hessian(self, neuron: Any) -> Float[Array, "coordinates coordinates"]:
        """Hessian of one neuron's penalty in these coordinates; 0 for the intercept."""
        _, penalty, strength = self.objective
        own = strength[neuron if len(strength) > 1 else 0] if np.ndim(strength) == 2 else strength
        hessian = penalty.hessian(np.asarray(own, float), len(self.coordinates.sd))
        return np.pad(hessian / np.outer(self.coordinates.sd, self.coordinates.sd), (0, 1))

    def penalised_df(self) -> NeuronScalars:
        """Degrees of freedom that a sum of squares takes from each neuron, by the Hessians of the null model.

        These are exact for a Gaussian with its own link and for a Gamma with "log", the models whose dispersion needs them.
        """
        penalty, strength = self.objective.penalty, np.asarray(self.objective.strength)
        if penalty.l1_share or not strength.any():
            return np.zeros(len(self.bins))
        if self.precondition.mask.all() and (strength.ndim < 2 or min(strength.shape) == 1):
            terms = self.precondition
            return terms.null_factors.penalised_df(terms.curvature, terms.penalty.strength)
        return np.array([self._penalised_df_of_neuron(n) for n in range(len(self.bins))])

    def _penalised_df_of_neuron(self, neuron: int) -> float:
        """Trace of the Hessian of the penalty over that of the whole objective, within the mask."""
        inside = np.flatnonzero(self.precondition.mask[neuron, :-1])
        hessian = self.precondition.correlation + HESSIAN_JITTER * np.eye(len(self.precondition.correlation))
        hessian = self.precondition.curvature[neuron] * hessian[np.ix_(inside, inside)]
        penalty = self.penalty_hessian(neuron)[np.ix_(inside, inside)]
        return float(np.trace(np.linalg.solve(hessian + penalty, penalty)))


class PreparedProblem(NamedTuple):
    """Problem, rank of the features with the penalty, and numbers of features: constant ones that are not 0, and `unclear`.

    Unclear ones vary by hardly more than round-off of the sums.
    """

    problem: Problem
    rank: Rank
    constant: Array
    unclear: Array

    def n_params(self, mask: Float[Array, "neurons features"]) -> NeuronScalars:
        """Number of parameters of each neuron, the intercept included; under a sum of squares effective ones."""
        return self.rank.n_params(mask) + 1 - self.problem.penalised_df()


def prepare_problem(
    objective: Objective,
    mask: Float[Array, "neurons features"],
    bins: NeuronScalars,
    mean_count: NeuronScalars,
    null_eta: NeuronScalars,
    moments: tuple,
    eps: float,
    ridge: float = 0.0,
) -> PreparedProblem:
    """Compute coordinates and preconditioner from the sums of the first pass.

    `ridge` is added to the diagonal of the correlations, which is 1, where few rows were seen.
    """
    center, covariance, varying, tol = central_moments(moments, eps)
    # The coefficient of a constant column is masked and stays 0: the intercept stands for it.
    n_features, n_neurons, penalty = len(varying), len(mask), objective.penalty
    penalty.check(objective.strength, n_features, n_neurons)
    group_sizes = penalty.groups(n_features) if penalty.l1_share else np.ones(n_features, int)
    sd = _coordinate_sd(np.diag(covariance), varying, group_sizes)
    scale = np.outer(sd, sd)
    # In place from here: each of these matrices may be half a gigabyte.
    correlation = np.divide(covariance, scale, out=covariance)
    correlation[~varying] = correlation[:, ~varying] = 0
    np.einsum("ii->i", correlation)[:] += ridge
    curvature = np.asarray(loss_curvature(objective.model, null_eta, mean_count), float)
    profile, strength, group_norms = _split_strength(objective, sd, n_neurons)
    hessian = penalty.hessian(profile, n_features) / scale
    # A penalty ties the coefficient of a column without variation, such as a function that was never visited, to others.
    tied = (np.count_nonzero(hessian, axis=0) > (np.diag(hessian) != 0)) & np.all(objective.strength > 0)
    varying = varying | tied
    # Coefficients that the penalty makes unique are not collinear.
    unique = np.divide(penalty.hessian(_is_penalised(objective.strength), n_features), scale, out=scale)
    unique /= _typical(np.diag(unique))
    if group_norms is not None:
        np.einsum("ii->i", unique)[:] += np.repeat((group_norms.cost > 0).all(0), group_norms.sizes)[:-1]
    precondition = Preconditioner.from_correlation(
        correlation, hessian, strength, curvature, mask * varying, group_norms
    )
    active, unclear = varying & (np.asarray(mask) > 0).any(0), varying & unclear_features(moments, eps)
    if unclear.any():
        correlation = np.where(unclear[:, None] == unclear, correlation, 0)  # between them it is round-off
    return PreparedProblem(
        problem=Problem(objective, bins, Coordinates(center, sd), precondition),
        rank=Rank.from_correlation(_with_unit_diagonal(np.add(correlation, unique, out=unique)), active, tol),
        constant=constant_features(moments, varying),
        unclear=np.flatnonzero(unclear),
    )


def _typical(values: np.ndarray) -> float:
    """Median of those above 0; 1 if there are none."""
    return float(np.median(values[values > 0])) if (values > 0).any() else 1.0


def _with_unit_diagonal(matrix: Float[np.ndarray, "features features"]) -> Float[np.ndarray, "features features"]:
    """Scale rows and columns: a function that was hardly visited has a penalty far above that of the others."""
    sd = np.sqrt(np.where(np.diag(matrix) > 0, np.diag(matrix), 1))
    return matrix / np.outer(sd, sd)


def replace_penalty(
    objective: Objective, coordinates: Coordinates, precondition: Preconditioner, changing: Bool[Array, " neurons"]
) -> Preconditioner:
    """Replace the strength of the penalty, scaled as a whole; own factors that include one that changes are dropped."""
    _, strength, group_norms = _split_strength(objective, coordinates.sd, len(precondition.mask))
    penalty = precondition.penalty._replace(strength=strength, group_norms=group_norms)
    precondition = precondition._replace(penalty=penalty)
    return precondition.without_own_factors(changing) if penalty.hessian.any() else precondition


def drop_penalised(precondition: Preconditioner) -> Preconditioner:
    """Restrict the preconditioner to coordinates without a group-norm penalty."""
    group_norms = precondition.penalty.group_norms
    unpenalised = np.repeat(group_norms.cost == 0, group_norms.sizes, axis=1)  # type: ignore[union-attr]
    return precondition._replace(
        mask=precondition.mask * unpenalised, penalty=precondition.penalty._replace(group_norms=None)
    )


def _split_strength(
    objective: Objective, sd: Float[Array, " features"], n_neurons: int
) -> tuple[Any, NeuronScalars, GroupNorms | None]:
    """Split strengths into a profile over the parts of the penalty, a factor for each neuron, and group norms."""
    penalty, strength = objective.penalty, np.asarray(objective.strength, float)
    factor = np.broadcast_to(strength.mean(-1) if strength.ndim else strength, n_neurons)
    mean_strength = strength.mean(0) if strength.ndim == 2 else strength
    profile = mean_strength / mean_strength.mean() if mean_strength.any() else np.ones(())
    if not penalty.l1_share:
        return profile, factor, None
    sizes = penalty.groups(len(sd))
    cost = (
        np.broadcast_to(penalty.group_weights(strength, len(sd)), (n_neurons, len(sizes)))
        / sd[np.cumsum(sizes) - sizes]
    )
    intercept_cost = np.zeros((n_neurons, 1))
    return profile, factor, GroupNorms(cost=np.concatenate([cost, intercept_cost], 1), sizes=np.append(sizes, 1))


def _is_penalised(strength: Any) -> Float[Array, "#parts"]:
    """Strength of 1 for each part of a penalty that has a strength in all neurons, of 0 for the others."""
    positive = np.asarray(strength) > 0
    return np.atleast_1d(positive.all(0) if positive.ndim == 2 else positive).astype(float)


def _coordinate_sd(
    variance: Float[Array, " features"], varying: Bool[Array, " features"], sizes: Array
) -> Float[Array, " features"]:
    """Standard deviation of the features of each group, pooled over the group."""
    starts = np.cumsum(sizes) - sizes
    summed, n = (np.add.reduceat(a, starts) for a in (np.where(varying, variance, 0), varying.astype(int)))
    return np.sqrt(np.repeat(np.where(n > 0, summed / np.maximum(n, 1), 1), sizes))
