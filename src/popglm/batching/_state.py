"""What a fit by batches knows between two batches, and how it is kept in a file."""

from functools import partial
from typing import NamedTuple

import numpy as np

from popglm._solver.ask_tell import DONE, RUNNING, SolverState
from popglm._solver.preconditioner import Coordinates, Preconditioner, Problem
from popglm._solver.problem import Objective
from popglm._sums.scale import broadcast_dispersion, dispersion_slopes, fit_dispersion
from popglm.batching._sample import Sample


class BatchFitState(NamedTuple):
    """All that the next step needs. `passing` is None on the first pass, and as long as batches show new bins.

    All features are those of the user minus `center`, the mean of the first batch, so none lies far from 0.
    """

    coef: np.ndarray
    intercept: np.ndarray
    center: np.ndarray | None
    bins: np.ndarray  # that every batch has added while `passing` was None, per neuron, with their events and moments
    events: np.ndarray
    moments: tuple
    gradients: np.ndarray  # in coefficients and, last, the intercept: summed, each where its batch met the parameters
    sample: Sample
    problem: Problem | None
    renew_at: float  # bins
    passing: SolverState | None
    sums: (
        tuple | None
    )  # of this pass: losses with gradients, bins with events, features, the null loss, what finds the scale
    scale: np.ndarray | None  # of the loss, where it has one
    given: bool  # whether the user gave that scale
    of_scale: tuple | None  # what finds the scale, from the last whole pass: Pearson's chi-squared with bins, or slopes
    fresh: bool  # whether batches show bins that passes before did not

    @property
    def here(self):
        """Coefficients and intercepts that these steps have led to, for the centred features."""
        if self.passing is None:
            return self.coef, self.intercept
        ahead = np.where(self.converged, 1, self.passing.step * (self.passing.n_rejected == 0))
        return self.problem.coordinates.to_model(self.passing.point + ahead[:, None] * self.passing.direction)

    @property
    def params(self):
        """The same for the features of the user."""
        coef, intercept = self.here
        return coef, intercept - (0 if self.center is None else coef @ self.center)

    @property
    def converged(self):
        """Which neurons are at their optimum."""
        return np.zeros(len(self.bins), bool) if self.passing is None else self.passing.status == DONE

    @property
    def ended(self):
        """Which neurons no further pass would move."""
        return np.zeros(len(self.bins), bool) if self.passing is None else self.passing.status != RUNNING


def initial_batch_state(coef, intercept) -> BatchFitState:
    """State before the first batch. An `intercept` of NaN is set by that batch."""
    n_neurons, n_features = coef.shape
    zeros = np.zeros(n_neurons)
    moments = 0.0, np.zeros(n_features), np.zeros((n_features, n_features))
    sample = Sample.empty(n_features, n_neurons)
    gradients = np.zeros((n_neurons, n_features + 1))
    nothing = None, 0.0, None, None, None, False, None, False
    return BatchFitState(coef, intercept, None, zeros, zeros, moments, gradients, sample, *nothing)


def replace_parameters(state: BatchFitState, coef, intercept) -> BatchFitState:
    """The same state with other parameters, if it is not amid an exact pass; nobody else writes to its sample."""
    sample = Sample.of(*state.sample.parts)
    if state.passing is None:
        center = 0 if state.center is None else coef @ state.center
        state = state._replace(coef=coef, intercept=intercept + center)
    return state._replace(sample=sample)


def pack_state(state: BatchFitState):
    """The state for a file: what is not of the objective, which is made of settings."""
    problem = None if state.problem is None else state.problem._replace(objective=None)
    return state._replace(problem=problem, sample=state.sample.parts)


def unpack_state(saved, objective: Objective) -> BatchFitState:
    """The state again, from the same as plain tuples."""
    state, objective = apply_dispersion(BatchFitState(*saved), objective)
    state = state._replace(sample=Sample.of(*state.sample))
    if state.passing is not None:
        state = state._replace(passing=SolverState.from_tuple(state.passing))
    if state.problem is not None:
        _, bins, coordinates, precondition = state.problem
        parts = Coordinates(*coordinates), Preconditioner.from_tuple(precondition)
        state = state._replace(problem=Problem(objective, bins, *parts))
    return state


def estimates_dispersion(state) -> bool:
    """Whether the scale is to be found."""
    return state.scale is not None and not state.given


def apply_dispersion(state, objective):
    """The objective with the scale that the state has led to; a scale that is not known begins at 1."""
    if not objective.model.shapes:
        return state, objective
    if state.scale is None:
        given = objective.model.scale is not None
        scale = np.asarray(broadcast_dispersion(objective.model, len(state.bins)).scale, float)[:, 0]
        state = state._replace(scale=scale, given=given)
    return state, objective._replace(model=objective.model.with_scale(state.scale))


def dispersion_from_sample(state, objective):
    """The most likely scale of the rows of the sample."""
    model = objective.model
    if state.sample.n:
        model = fit_dispersion(partial(state.sample.total, dispersion_slopes), model, *state.here)
    return state._replace(scale=np.asarray(model.scale, float)[:, 0]), objective._replace(model=model)
