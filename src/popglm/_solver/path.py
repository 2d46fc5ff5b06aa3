"""Fits at many strengths of a penalty, each started from the previous one."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from popglm._design.design import Design
from popglm._solver.ask_tell import Evaluation, History, SolverState, initial_state, redirect_neurons
from popglm._solver.exact import (
    SOLVER_DEFAULTS,
    FitConstants,
    begin_exact_fit,
    evaluate_objective,
    initial_point,
    loss_per_nat,
    make_fit,
    run_passes,
)
from popglm._solver.preconditioner import Preconditioner, Problem, drop_penalised, replace_penalty
from popglm._solver.problem import Fit, Objective
from popglm._solver.threads import one_thread

MIN_STRENGTH_RATIO = 1e-3  # smallest strength of a path, relative to that at which all coefficients are 0


def fit_strengths(
    design: Design,
    objective: Objective,
    mask: np.ndarray,
    factors: np.ndarray | None,
    n_factors: int,
    tol: float | None = None,
    maxiter: int = SOLVER_DEFAULTS["maxiter"],
    report: Callable | None = None,
) -> tuple[np.ndarray, list[Fit]]:
    """Fit with the penalty times each of these increasing factors, from the largest, each started from the previous fit.

    Return the factors and their fits. All share the first pass and the history of the loss, and none needs a pass to begin,
    since the penalty is computed without data. If `factors` is None, the largest is the smallest at which all penalised
    groups are 0.
    """
    with one_thread:
        constants, problem = begin_exact_fit(design, objective, mask, tol)
        null = constants.null
        state, fits = initial_state(initial_point(problem, None, null), null.silent), []
        if factors is None:
            state, problem, largest = _max_strength_factor(design, constants, problem, state, maxiter)
            factors = largest * np.geomspace(1, MIN_STRENGTH_RATIO, n_factors)[::-1]
        for factor in factors[::-1]:
            problem, state = _change_strength(constants, problem, state, objective, factor)
            problem, state, _ = run_passes(design, constants, problem, state, 0, maxiter, report, None)
            fits.append(make_fit(constants, problem, state))
        return factors, fits[::-1]


def _max_strength_factor(
    design: Design, constants: FitConstants, problem: Problem, state: SolverState, maxiter: int
) -> tuple[SolverState, Problem, float | np.floating]:
    """Smallest penalty factor at which all penalised groups are 0, with the rest fitted; return state, problem and factor."""
    precondition, silent = problem.precondition, constants.null.silent
    problem = problem._replace(precondition=drop_penalised(precondition))
    problem, state, _ = run_passes(design, constants, problem, state, 0, maxiter, None, None)
    kept = problem.precondition
    problem = problem._replace(precondition=precondition._replace(curvature=kept.curvature, dispersion=kept.dispersion))
    _, gradient, _ = evaluate_objective(design, problem, state.accepted.point, jnp.result_type(float), constants.null)
    gradient = gradient[:, : precondition.mask.shape[1]]
    largest = precondition.penalty.group_norms.max_factor(np.where(silent[:, None], 0, gradient))  # type: ignore[union-attr]
    if not largest:
        raise ValueError(
            "`fit_path` computes the largest strength from neurons whose y varies with a penalised feature; there is none: "
            "each is silent or constant, or its features do not vary. Leave these neurons out, or give `strengths`."
        )
    return initial_state(state.accepted.point, silent), problem, largest


def _change_strength(
    constants: FitConstants, problem: Problem, state: SolverState, objective: Objective, factor: float
) -> tuple[Problem, SolverState]:
    """Set the penalty to that of `objective` times a factor, and adapt value, gradient and history of the state."""
    old_precondition, strength = problem.precondition, objective.strength * factor
    precondition = replace_penalty(objective._replace(strength=strength), problem.coordinates, old_precondition)
    problem, state = change_penalty(problem, state, strength, precondition)
    stronger = (precondition.penalty.strength - old_precondition.penalty.strength)[:, None]
    moves, changes, inverse_curvature = state.history
    penalised = moves[..., : precondition.mask.shape[1]] @ old_precondition.penalty.hessian
    changes = changes + _pad_columns(stronger * old_precondition.mask * penalised, moves.shape[-1])
    curvature = np.einsum("mni,mni->mn", moves, changes)
    inverse_curvature = np.where(inverse_curvature > 0, 1 / np.where(curvature > 0, curvature, np.inf), 0)
    history = History(moves=moves, changes=changes, inverse_curvature=inverse_curvature)
    return problem, redirect_all(constants, problem, state._replace(history=history))


def change_penalty(
    problem: Problem, state: SolverState, strength: Any, precondition: Preconditioner
) -> tuple[Problem, SolverState]:
    """Set strengths and preconditioner, and change the penalty in the values and gradients of the state, without a pass."""
    old_strength, penalty = problem.objective.strength, problem.objective.penalty
    problem = problem._replace(objective=problem.objective._replace(strength=strength), precondition=precondition)
    point, value, gradient = state.accepted
    (coef, _), zeros = problem.coordinates.to_model(point), np.zeros(len(value))
    d_coef = penalty.gradient(strength, coef) - penalty.gradient(old_strength, coef)
    d_point = precondition.mask * problem.coordinates.gradient(d_coef, zeros)
    value = value + penalty.penalty(strength, coef) - penalty.penalty(old_strength, coef)
    gradient = gradient + _pad_columns(d_point, point.shape[1])
    return problem, state._replace(accepted=Evaluation(point=point, value=value, gradient=gradient))


def redirect_all(constants: FitConstants, problem: Problem, state: SolverState) -> SolverState:
    """Recompute the directions of all neurons that have been evaluated, after their penalty has changed."""
    value = state.accepted.value
    tol = constants.tol * loss_per_nat(constants, problem, value) / constants.n_rows
    return redirect_neurons(state, problem.precondition, tol, np.isfinite(value) & ~constants.null.silent)


def _pad_columns(array: np.ndarray, n_columns: int) -> np.ndarray:
    """Append columns of 0: a dispersion that is a coordinate, which no penalty changes."""
    return np.pad(array, [*[(0, 0)] * (array.ndim - 1), (0, n_columns - array.shape[-1])])
