"""Fit of all neurons with strengths that maximise the evidence, in stages: strengths from Hessians, then coefficients.

A stage begins with the Hessian of each neuron's loss at its coefficients. The quadratic model that it gives is that of a
penalised regression, in which the strengths of largest evidence are found without data (`evidence`); passes over the data
then find the coefficients at these strengths. Stages end for a neuron when its coefficients hardly move, so that another
Hessian would be the same. This is the fixed point of Fellner and Schall: the maximum of the restricted likelihood by Laplace's
approximation, if the dependence of the Hessian on the strengths is neglected (Wood and Fasiolo 2017, *Biometrics*
73:1071-1081). The first stage has the Hessian of the null model, which costs nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from popglm._design.arrays import round_up_length
from popglm._design.design import Design
from popglm._design.total import total
from popglm._solver.ask_tell import NeuronScalars, SolverState, forget_history, initial_state
from popglm._solver.evidence import PartStrengths, QuadraticModel, StrengthStep, maximise_evidence
from popglm._solver.exact import SOLVER_DEFAULTS, LastState, begin_exact_fit, initial_point, make_fit, run_passes
from popglm._solver.passes import FitConstants, replace_dispersion
from popglm._solver.path import change_penalty, redirect
from popglm._solver.preconditioner import Problem
from popglm._solver.problem import Evidence, Fit, Objective
from popglm._solver.threads import one_thread
from popglm._sums.losses import standardised_hessians
from popglm._sums.scale import chi_squared_sums
from popglm.parallel._share import share_neurons

MAX_STAGES = 25
SAME_CORRELATION = 1 - 1e-5  # of two features that are one, to the round-off of sums
STAGE_TOL = 1e-2  # gain, in nats, that coefficients may lack before the last stage: the quadratic model allows for it
# Root mean square change of the linear predictor, weighted by the Hessian, from the point of a Hessian to the optimum of its
# quadratic model, below which another Hessian would be the same; so it is where the gain is below `STAGE_TOL`, of few events.
SETTLED_CHANGE = 0.05
# Stage from which a removed part stays so: of one event, the Hessian with it and that without it may each prefer the other.
LAST_STAGE_OF_RETURN = 10
MAX_HESSIAN_ENTRIES = 2e7  # of the Hessians that one pass sums
Hessians = dict[int, Float[np.ndarray, "parameters parameters"]]


class Strengths(NamedTuple):
    """Strengths of all neurons after `stage` stages, and what their last step says; silent neurons have infinite strengths.

    `edf` are effective degrees of freedom in the coordinates of the penalty; neurons that are `searching` need another stage.
    """

    stage: int
    strength: Float[np.ndarray, "neurons parts"]
    removed: Bool[np.ndarray, "neurons parts"]
    edf: Float[np.ndarray, "neurons coordinates"]
    log_determinants: NeuronScalars
    searching: Bool[np.ndarray, " neurons"]

    @classmethod
    def initial(cls, silent: Bool[np.ndarray, " neurons"], n_parts: int, n_coordinates: int) -> "Strengths":
        """Before the first stage."""
        n = len(silent)
        return cls(
            stage=0,
            strength=np.full((n, n_parts), np.inf),
            removed=np.zeros((n, n_parts), bool),
            edf=np.zeros((n, n_coordinates)),
            log_determinants=np.full(n, np.nan),
            searching=~silent,
        )

    @property
    def finite_strength(self) -> Float[np.ndarray, "neurons parts"]:
        """Strengths, 1 for silent neurons."""
        return np.where(np.isfinite(self.strength), self.strength, 1)

    def of_neuron(self, neuron: int, nats: float) -> PartStrengths | None:
        """Strengths of one neuron in nats, where its next step begins; None before the first."""
        if not self.stage:
            return None
        return PartStrengths(np.log(self.strength[neuron] * nats), self.removed[neuron])


def fit_by_evidence(
    design: Design,
    objective: Objective,
    mask: Float[np.ndarray, "neurons features"],
    init: tuple[np.ndarray, np.ndarray] | None,
    tol: float | None = None,
    maxiter: int = SOLVER_DEFAULTS["maxiter"],
    report: Callable | None = None,
    checkpoint: Any = None,
) -> tuple[Fit, Evidence]:
    """Fit all neurons, each with strengths of its own for all parts of its penalty; `maxiter` counts the passes of a stage.

    A checkpoint is saved between two stages.
    """
    with one_thread:
        parts = objective.penalty.quadratic_parts(mask.shape[1])
        objective = objective._replace(strength=np.ones(len(parts.weights)))
        constants, problem = begin_exact_fit(design, objective, mask, tol)
        if checkpoint and checkpoint.saved:
            problem, state, found = _restore(problem, constants, checkpoint.saved)
        else:
            state = initial_state(initial_point(problem, init, constants.null), constants.null.silent)
            problem, state, _ = run_passes(design, constants, problem, state, 0, 1, report, None)
            found = Strengths.initial(constants.null.silent, *parts.weights.shape)
        loose = constants._replace(tol=max(constants.tol, STAGE_TOL))
        while found.searching.any() and found.stage < MAX_STAGES:
            neurons = np.flatnonzero(found.searching)
            hessians = _sum_hessians(design, problem, state, neurons) if found.stage else problem.null_hessians()
            found = _update_strengths(design, problem, state, found, hessians, parts)
            problem, state = _apply_strengths(loose, problem, state, found, hessians)
            problem, state, _ = run_passes(design, loose, problem, state, 0, maxiter, report, None)
            if checkpoint:
                checkpoint.save_if_due(partial(_as_saved, problem, state, found))
        state = redirect(constants, problem, state)
        problem, state, _ = run_passes(design, constants, problem, state, 0, maxiter, report, None)
        return _with_evidence(
            make_fit(constants, problem, LastState.from_state(constants, state)), problem, found, parts
        )


def _as_saved(problem: Problem, state: SolverState, found: Strengths) -> tuple:
    """State between two stages for a checkpoint, as plain tuples."""
    precondition, metric = problem.precondition, problem.precondition.dispersion
    dispersion = None if metric is None else (problem.objective.model.scale, metric.information, metric.magnitude)
    return state.to_tuple(), tuple(found), precondition.own_factors, precondition.curvature, dispersion


def _restore(problem: Problem, constants: FitConstants, saved: tuple) -> tuple[Problem, SolverState, Strengths]:
    """Problem, state and strengths of a checkpoint."""
    state, found, own_factors, curvature, dispersion = saved
    found = Strengths(*found)
    if dispersion is not None:
        scale, information, magnitude = dispersion
        problem = replace_dispersion(problem, scale[:, 0], constants.null)
        metric: Any = problem.precondition.dispersion
        metric = metric._replace(information=information, magnitude=magnitude)
        problem = problem._replace(precondition=problem.precondition._replace(dispersion=metric))
    precondition = problem.precondition._replace(own_factors=own_factors, curvature=curvature)
    objective = problem.objective._replace(strength=found.finite_strength)
    return problem._replace(objective=objective, precondition=precondition), SolverState.from_tuple(state), found


def _sum_hessians(design: Design, problem: Problem, state: SolverState, neurons: np.ndarray) -> Hessians:
    """Mean Hessian of each of these neurons' loss at its point, a few neurons in each pass."""
    dtype, n = jnp.result_type(float), problem.coordinates.mean.size + 1
    coef, intercept = (a.astype(dtype) for a in problem.coordinates.to_model(state.accepted.point))
    mean, sd = (np.asarray(a, dtype) for a in problem.coordinates)
    size = int(np.clip(MAX_HESSIAN_ENTRIES // n**2, 1, round_up_length(len(neurons))))
    hessians: Hessians = {}
    for start in range(0, len(neurons), size):
        group = neurons[start : start + size]
        filled = np.resize(group, size)  # always of one length, for one compilation
        args = problem.objective.model, filled, coef[filled], intercept[filled], mean, sd
        sums = total(standardised_hessians, design, *args)
        hessians |= {int(n): h / problem.bins[n] for n, h in zip(group, sums, strict=False)}
    return hessians


def _update_strengths(
    design: Design, problem: Problem, state: SolverState, found: Strengths, hessians: Hessians, parts: Any
) -> Strengths:
    """Maximise the evidence of each neuron that is searching; one without a finite Hessian keeps its strengths, and fails."""
    nats = problem.bins / _loss_divisor(design, problem, state, found.edf.sum(1))  # per unit of the mean loss
    found = Strengths(found.stage, *(values.copy() for values in found[1:]))
    used, may_return = _used_coordinates(problem, parts), found.stage < LAST_STAGE_OF_RETURN

    def update(neuron: Array) -> tuple[StrengthStep, bool] | None:
        n = int(neuron[0])
        if not np.isfinite(hessians[n]).all():
            return None
        model = _quadratic_model(problem, state, n, hessians[n], nats[n]).rotate(parts.basis)
        last = found.of_neuron(n, float(nats[n]))
        step = maximise_evidence(model.select(used[n]), parts.weights[:, used[n]], last, may_return)
        move = -parts.basis.T @ problem.coordinates.to_model(state.accepted.point[[n]])[0][0]
        move[used[n]] += step.coef
        change, information = max(move @ model.hessian @ move, 0), np.exp(model.log_intercept_information)
        return step, bool(change <= max(SETTLED_CHANGE**2 * information, 2 * STAGE_TOL))

    neurons = np.flatnonzero(found.searching)
    for n, updated in zip(neurons, share_neurons(update, neurons, "maximises the evidence"), strict=True):
        if updated is None:
            found.searching[n], found.log_determinants[n] = False, np.nan
            continue
        step, settled = updated
        found.strength[n], found.removed[n] = np.exp(step.strengths.log_strength) / nats[n], step.strengths.removed
        found.edf[n], found.log_determinants[n] = 0, step.log_determinants
        found.edf[n, used[n]] = step.edf
        found.searching[n] = found.stage == 0 or not settled
    return found._replace(stage=found.stage + 1)


def _used_coordinates(problem: Problem, parts: Any) -> Bool[np.ndarray, "neurons coordinates"]:
    """Coordinates of the penalty that belong to the inputs in each neuron's mask."""
    return problem.precondition.mask[:, :-1] @ np.abs(parts.basis) > 0


def _quadratic_model(
    problem: Problem, state: SolverState, neuron: int, hessian: Float[np.ndarray, "parameters parameters"], nats: Any
) -> QuadraticModel:
    """Quadratic model of one neuron's log-likelihood, in its coefficients, from the mean Hessian at its point."""
    _, penalty, strength = problem.objective
    strength = strength if strength.ndim == 1 else strength[[neuron]]
    units = np.append(problem.coordinates.sd, 1)
    coef = problem.coordinates.to_model(state.accepted.point[[neuron]])[0]
    gradient = nats * state.accepted.gradient[neuron, : len(units)] * units
    gradient[:-1] -= nats * penalty.gradient(strength, coef)[0]
    return QuadraticModel.from_derivatives(nats * hessian * np.outer(units, units), gradient, coef[0])


def _loss_divisor(design: Design, problem: Problem, state: SolverState, total_edf: NeuronScalars) -> NeuronScalars:
    """Dispersion that divides each neuron's loss: given, or Pearson's at the point of the state; 1 where none does."""
    model = problem.objective.model
    if model.dispersion != "pearson":
        return np.ones(len(total_edf))
    if model.scale is not None:
        return np.asarray(model.scale, float)[:, 0]
    dtype = jnp.result_type(float)
    coef, intercept = (a.astype(dtype) for a in problem.coordinates.to_model(state.accepted.point))
    bins, chi, _ = total(chi_squared_sums, design, model, coef, intercept, intercept)
    return np.maximum(chi / np.maximum(bins - total_edf - 1, 1), np.finfo(np.float32).tiny)


def _apply_strengths(
    constants: FitConstants, problem: Problem, state: SolverState, found: Strengths, hessians: Hessians
) -> tuple[Problem, SolverState]:
    """Set the penalty to these strengths, with a factor of each neuron's own Hessian and penalty; start from there."""
    problem, state = change_penalty(problem, state, found.finite_strength, problem.precondition)
    finite = {n: hessian for n, hessian in hessians.items() if np.isfinite(hessian).all()}
    precondition = problem.precondition.with_own_hessians(finite, problem.penalty_hessian)
    problem = problem._replace(precondition=precondition)
    state = forget_history(state, np.ones(len(state.status), bool))
    return problem, redirect(constants, problem, state)


def _with_evidence(fit: Fit, problem: Problem, found: Strengths, parts: Any) -> tuple[Fit, Evidence]:
    """Fit with the effective degrees of freedom as its number of parameters, and what the evidence says of every neuron."""
    failed = found.searching | (np.isnan(found.log_determinants) & ~fit.silent)
    convergence = fit.convergence._replace(converged=fit.convergence.converged & ~failed)
    has_part = ((parts.weights > 0) @ _used_coordinates(problem, parts).T > 0).T & ~fit.silent[:, None]
    edf = np.add.reduceat(found.edf, np.cumsum(parts.sizes) - parts.sizes, axis=1)
    features = fit.features._replace(n_params=found.edf.sum(1) + 1)
    return fit._replace(convergence=convergence, features=features), Evidence(
        strength=np.where(has_part, found.strength, np.nan),
        edf=np.where(fit.silent[:, None], np.nan, edf),
        log_determinants=found.log_determinants,
        repeated=_repeated_features(problem, parts.sizes),
    )


def _repeated_features(problem: Problem, sizes: np.ndarray) -> np.ndarray:
    """Features of inputs whose every function is that of an earlier input, which some neuron has beside it."""
    correlation, mask = problem.precondition.correlation, problem.precondition.mask[:, : sizes.sum()] > 0
    inputs = np.split(np.arange(sizes.sum()), np.cumsum(sizes)[:-1])
    repeated = [
        later
        for number, later in enumerate(inputs)
        if any(_are_same(correlation, mask, earlier, later) for earlier in inputs[:number])
    ]
    return np.concatenate([np.zeros(0, int), *repeated])


def _are_same(correlation: np.ndarray, mask: np.ndarray, one: np.ndarray, other: np.ndarray) -> bool:
    if len(one) != len(other):
        return False
    varying = (correlation[one, one] > 0) & (correlation[other, other] > 0)
    shared = (mask[:, one].any(1) & mask[:, other].any(1)).any()
    return bool(shared and varying.any() and (correlation[one, other][varying] > SAME_CORRELATION).all())
