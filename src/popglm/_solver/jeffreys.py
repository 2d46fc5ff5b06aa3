r"""Fit under Jeffreys' prior, by Fisher scoring: the mean bias of the estimates is reduced, and all of them are finite.

It minimises :math:`-\ell(\beta) - \frac{1}{2} \log \det I(\beta)` (Firth 1993, *Biometrika* 80:27-38), where I is Fisher's
information about the coefficients and the intercept. A step is :math:`I^{-1}` times the gradient, which differs from Newton's
step by what the penalty adds to the Hessian; it is shortened until the objective falls. Each step takes two passes over the
data: the loss and the information at a point, and then the gradient of the determinant, for which the inverse must be known.
A pass serves some neurons; each of them goes its own way.

The information about a coefficient without events becomes tiny as it falls, below the round-off of a variance about the mean of
all bins. So each neuron's features are centred on their mean weighted by its own information, at the place before.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from popglm._design.arrays import machine_epsilon
from popglm._design.design import Design
from popglm._design.total import total
from popglm._solver.exact import SOLVER_DEFAULTS, begin_exact_fit
from popglm._solver.passes import MAX_HIDDEN_GAIN, FitConstants
from popglm._solver.preconditioner import Coordinates
from popglm._solver.problem import Convergence, FeatureRank, Fit, Objective
from popglm._solver.threads import one_thread
from popglm._sums.jeffreys import information_sums, leverage_sums

NEURONS_PER_PASS = 8  # whose matrices are summed in one pass

NULL_EIGENVALUE_FACTOR = 64  # eigenvalues of a correlation matrix are 0 up to this many times the round-off of a sum

MIN_STEP = 2.0**-12  # share of a step below which no shorter one is tried

Points = Float[np.ndarray, "neurons coordinates"]
Matrices = Float[np.ndarray, "neurons coordinates coordinates"]


class Place(NamedTuple):
    """Where some neurons are: loss plus penalty in nats, its round-off, its gradient, the information and its inverse.

    The loss is a sum of differences from the loss at the problem's reference.
    Gradient and matrices are those in features less the `center`, which changes no coefficient, only intercepts.
    """

    value: Float[np.ndarray, " neurons"]
    round_off: Float[np.ndarray, " neurons"]
    gradient: Points
    information: Matrices
    covariance: Matrices
    center: Points

    def informative_center(self) -> Points:
        """Mean of the features weighted by the information of each neuron's bins, in the precision of the passes."""
        total_information = self.information[:, -1:, -1]
        shift = self.information[:, -1] / np.where(total_information > 0, total_information, 1)
        shift[:, -1] = 0
        return (self.center + shift).astype(jnp.result_type(float)).astype(float)

    def slope(self, coordinate: int) -> Points:
        """Change of the best values of all coordinates with one of them, to first order."""
        variance = self.covariance[:, coordinate, coordinate][:, None]
        return _uncentred(self.covariance[:, :, coordinate] / np.where(variance > 0, variance, 1), self.center)


class Optimum(NamedTuple):
    """Points of least loss plus penalty, and what was found there."""

    point: Points
    place: Place
    n_iter: np.ndarray
    converged: Bool[np.ndarray, " neurons"]


class JeffreysProblem(NamedTuple):
    """Data and model of some neurons, in standardised features and, last, the intercept.

    The columns of `basis` span the directions that the data of each neuron determine; others are 0, and stay out. They are
    found from the `information` of the null model, which no coefficient has made small. Losses are those less that of the
    `reference`, summed bin by bin, so that points near it are compared without the round-off of a large sum.
    """

    design: Design
    model: Any
    neurons: np.ndarray
    coordinates: Coordinates
    used: Bool[np.ndarray, "neurons coordinates"]
    reference: Points
    information: Matrices
    basis: Matrices

    @classmethod
    def from_design(
        cls,
        design: Design,
        model: Any,
        neurons: np.ndarray,
        coordinates: Coordinates,
        used: Bool[np.ndarray, "neurons coordinates"],
        start: Points,
    ) -> "JeffreysProblem":
        """Find the directions that the data determine, from the null model as a start; `used` are the coordinates in use."""
        empty = np.zeros((*start.shape, start.shape[1]))
        problem = cls(design, model, neurons, coordinates, used, start, empty, empty)
        *_, information = problem._sum(information_sums, start, start, np.zeros_like(start))
        return problem._replace(information=information, basis=_identified_basis(information, used))

    def _sum(self, f: Callable, point: Points, *args: Any) -> Any:
        """Sum a function of `_sums/jeffreys.py` over the data, at a point in the precision of the passes."""
        cast = lambda a: np.asarray(a, jnp.result_type(float))
        args = (self.neurons, cast(point), *map(cast, args), *map(cast, self.coordinates))
        return total(f, self.design, self.model, *args)

    def determined(self, coordinate: int) -> Bool[np.ndarray, " neurons"]:
        """True for neurons whose data determine a coordinate, whatever the others are."""
        unit = np.eye(self.basis.shape[1])[coordinate]
        projection = np.einsum("nij,njk,k->ni", self.basis, np.linalg.pinv(self.basis), unit)
        return self.used[:, coordinate] & (np.abs(projection - unit).max(1) < 1e-6)

    def look(self, point: Points, center: Points) -> Place:
        """Value and information at a point, in one pass; the gradient is that of the loss alone."""
        loss, (size, square), gradient, information = self._sum(information_sums, point, self.reference, center)
        with np.errstate(invalid="ignore", over="ignore"):
            finite = np.isfinite(loss) & np.isfinite(information).all((1, 2)) & np.isfinite(gradient).all(1)
        information = np.where(finite[:, None, None], information, 0)
        covariance, log_det = _invert(information, _centred(self.basis, center))
        value = np.where(finite & np.isfinite(log_det), loss - log_det / 2, np.inf)
        round_off = 4 * machine_epsilon() * (size + np.sqrt(square) + point.shape[1])
        return Place(value, round_off, gradient, information, covariance, center)

    def with_penalty(self, point: Points, place: Place) -> Place:
        """Complete the gradient by that of the penalty, in a second pass."""
        penalty = self._sum(leverage_sums, point, place.covariance, place.center)
        return place._replace(gradient=place.gradient - penalty)

    def place_at(self, point: Points) -> Place:
        """All about a point of which nothing is known; its center takes a pass of its own."""
        center = self.look(point, np.zeros_like(point)).informative_center()
        return self.with_penalty(point, self.look(point, center))

    def minimise(
        self,
        start: Points,
        tol: float,
        maxiter: int,
        moving: Bool[np.ndarray, "neurons coordinates"] | None = None,
    ) -> Optimum:
        """Minimise from a start; coordinates that are not `moving` stay where they are.

        A neuron is done if a step promises to gain less than `tol` nats.
        """
        point, running = start.astype(float), np.ones(len(start), bool)
        place = self.place_at(point)
        converged, n_iter, share = np.zeros(len(start), bool), np.zeros(len(start), int), np.ones(len(start))
        basis = self.basis if moving is None else _identified_basis(self.information, moving)
        step, gain = _scoring_step(place, basis)
        for _ in range(maxiter):
            done = running & (gain <= tol)
            point, converged = np.where(done[:, None], point - step, point), converged | done
            running &= ~done
            if not running.any():
                break
            trial = np.where(running[:, None], point - share[:, None] * step, point)
            new, n_iter = self.look(trial, place.informative_center()), n_iter + running
            better = running & (new.value <= place.value - 1e-4 * share * gain + place.round_off)
            share = np.where(better, 1, share / 2)
            stuck = running & (share < MIN_STEP)
            converged, running = converged | (stuck & (gain <= MAX_HIDDEN_GAIN)), running & ~stuck
            if better.any():
                point = np.where(better[:, None], trial, point)
                new = self.with_penalty(point, new)
                place = Place(*(np.where(_like(better, a), a, b) for a, b in zip(new, place, strict=True)))
                step, gain = _scoring_step(place, basis)
        return Optimum(point, place, n_iter, converged)


def fit_under_jeffreys(
    design: Design,
    objective: Objective,
    mask: np.ndarray,
    init: tuple[np.ndarray, np.ndarray] | None,
    tol: float | None = None,
    maxiter: int = SOLVER_DEFAULTS["maxiter"],
    report: Callable | None = None,
) -> Fit:
    """Fit all neurons, some at a time; silent ones keep the null model. `mask` and `init` have the features last.

    `report` is called with the number of neurons that are done, whenever it has changed.
    """
    with one_thread:
        constants, coordinates, problems = divide_into_problems(design, objective, mask, tol)
        null, dtype = constants.null, jnp.result_type(float)
        point = np.zeros((len(mask), mask.shape[1] + 1))
        point[:, -1] = null.intercept
        if init is not None:
            point[~null.silent] = coordinates.from_model(*init)[~null.silent]
        n_iter, converged = np.zeros(len(mask), int), np.ones(len(mask), bool)
        for problem in problems:
            best, neurons = problem.minimise(point[problem.neurons], constants.tol, maxiter), problem.neurons
            point[neurons], n_iter[neurons], converged[neurons] = best.point, best.n_iter, best.converged
            if report:
                report(int(neurons.max()) + 1)
        coef, intercept = coordinates.to_model(point)
    return Fit(
        coef=coef.astype(dtype),
        intercept=intercept.astype(dtype),
        dispersion=None,
        convergence=Convergence(n_iter=n_iter, converged=converged, stalled=~converged & (n_iter < maxiter)),
        silent=null.silent,
        null_mean=null.mean_without_offset(objective.model).astype(dtype),
        features=FeatureRank(collinear=constants.collinear, constant=constants.constant, n_params=constants.n_params),
        suspects=np.zeros((len(mask), mask.shape[1] + 1), bool),
    )


def divide_into_problems(
    design: Design, objective: Objective, mask: np.ndarray, tol: float | None = None
) -> tuple[FitConstants, Coordinates, Iterator[JeffreysProblem]]:
    """Run the first pass; return what it says, and the problems of the neurons that have something to fit.

    They have one size, so that all passes have one shape: the last one repeats neurons.
    """
    constants, prepared = begin_exact_fit(design, objective, mask, tol)
    null, coordinates = constants.null, prepared.coordinates
    start = np.column_stack([np.zeros(mask.shape), null.intercept])
    used = np.column_stack([mask > 0, np.ones(len(mask), bool)])
    neurons = np.flatnonzero(~null.silent)
    size = min(NEURONS_PER_PASS, max(len(neurons), 1))
    groups = [np.resize(neurons[first : first + size], size) for first in range(0, len(neurons), size)]
    make = lambda group: JeffreysProblem.from_design(
        design, objective.model, group, coordinates, used[group], start[group]
    )
    return constants, coordinates, map(make, groups)


def _like(mask: Bool[np.ndarray, " neurons"], array: np.ndarray) -> np.ndarray:
    return mask.reshape(-1, *(1,) * (array.ndim - 1))


def _centred(basis: Matrices, center: Points) -> Matrices:
    """Columns of a basis in features less their center: what that takes from a prediction, the intercept gives back."""
    centred = basis.copy()
    centred[:, -1] += np.einsum("nk,nkj->nj", center, basis)
    return centred


def _uncentred(step: Points, center: Points) -> Points:
    """The inverse of `_centred`, of a single column."""
    uncentred = step.copy()
    uncentred[:, -1] -= (center * step).sum(1)
    return uncentred


def _identified_basis(information: Matrices, used: Bool[np.ndarray, "neurons coordinates"]) -> Matrices:
    """Directions among the coordinates in use that the information determines, as columns; others are 0."""
    diagonal: np.ndarray = np.where(used, np.einsum("nii->ni", information), 0)
    varies: np.ndarray = diagonal > NULL_EIGENVALUE_FACTOR * machine_epsilon() * diagonal.max(1, initial=0)[:, None]
    scale = np.where(varies, 1 / np.sqrt(np.where(varies, diagonal, 1)), 0)
    values, vectors = np.linalg.eigh(information * scale[:, :, None] * scale[:, None, :])
    kept: np.ndarray = values > NULL_EIGENVALUE_FACTOR * machine_epsilon()
    return scale[:, :, None] * vectors * kept[:, None, :]


def _invert(information: Matrices, basis: Matrices) -> tuple[Matrices, Float[np.ndarray, " neurons"]]:
    """Inverse of the information in the span of the basis, and the logarithm of its determinant there."""
    inside = basis.swapaxes(1, 2) @ information @ basis
    left_out = np.asarray(~basis.any(1))
    inside = inside + np.eye(inside.shape[1]) * left_out[:, None, :]
    sign, log_det = np.linalg.slogdet(inside)
    regular: np.ndarray = (sign > 0) & np.isfinite(log_det)
    inside = np.where(regular[:, None, None], inside, np.eye(inside.shape[1]))
    return basis @ np.linalg.inv(inside) @ basis.swapaxes(1, 2), np.where(regular, log_det, -np.inf)


def _scoring_step(place: Place, basis: Matrices) -> tuple[Points, Float[np.ndarray, " neurons"]]:
    """Step of Fisher scoring in the span of a basis, and the gain that it promises, in nats."""
    covariance, _ = _invert(place.information, _centred(basis, place.center))
    step = np.einsum("nij,nj->ni", covariance, place.gradient)
    return _uncentred(step, place.center), np.einsum("ni,ni->n", step, place.gradient) / 2
