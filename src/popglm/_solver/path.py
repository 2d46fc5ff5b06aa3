"""Fits at many strengths of a penalty, each from where the last one ended."""

import jax.numpy as jnp
import numpy as np

from popglm._solver.ask_tell import SolverState, initial_state, redirect_neurons
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
from popglm._solver.preconditioner import Problem, drop_penalised, replace_penalty
from popglm._solver.problem import Objective
from popglm._solver.threads import one_thread

MIN_STRENGTH_RATIO = 1e-3  # strength of a path, relative to that at which all coefficients are 0


def fit_strengths(
    design, objective: Objective, mask, factors, n_factors, tol=None, maxiter=SOLVER_DEFAULTS["maxiter"], report=None
):
    """Fits with the penalty times these factors, the largest first, each from where the last has ended; increasing.

    They share the first pass and all that was learned of the loss, and none needs a pass to begin: what a penalty adds is
    known without the data. Without `factors` the largest is the least at which all that has a length is 0.
    """
    with one_thread:
        setting, problem = begin_exact_fit(design, objective, mask, tol)
        state, fits = initial_state(initial_point(problem, None, setting.null_eta, setting.silent), setting.silent), []
        if factors is None:
            state, problem, largest = _max_strength_factor(design, setting, problem, state, maxiter)
            factors = largest * np.geomspace(1, MIN_STRENGTH_RATIO, n_factors)[::-1]
        for factor in factors[::-1]:
            problem, state = _change_strength(setting, problem, state, objective, factor)
            problem, state, _ = run_passes(design, setting, problem, state, 0, maxiter, report, None)
            fits.append(make_fit(setting, problem, state))
        return factors, fits[::-1]


def _max_strength_factor(design, setting: FitConstants, problem: Problem, state: SolverState, maxiter):
    """The least factor of the penalty at which all that has a length is 0, and a start from where everything else is fitted."""
    known, silent = problem.precondition, setting.silent
    problem = problem._replace(precondition=drop_penalised(known))
    problem, state, _ = run_passes(design, setting, problem, state, 0, maxiter, None, None)
    problem = problem._replace(precondition=known._replace(curvature=problem.precondition.curvature))
    _, gradient = evaluate_objective(design, problem, state.point, jnp.result_type(float))
    largest = known.group_norms.max_factor(np.where(silent[:, None], 0, gradient))
    return initial_state(state.point, silent), problem, max(largest, np.finfo(np.float32).tiny)


def _change_strength(
    setting: FitConstants, problem: Problem, state: SolverState, objective, factor
) -> tuple[Problem, SolverState]:
    """The problem with the penalty of the first objective times a factor, and the state seen from there."""
    old, known, penalty = problem.objective.strength, problem.precondition, problem.objective.penalty
    new = objective.strength * factor
    precondition = replace_penalty(objective._replace(strength=new), problem.coordinates, known)
    problem = problem._replace(objective=problem.objective._replace(strength=new), precondition=precondition)
    seen = np.isfinite(state.value)
    if not seen.any():
        return problem, state
    (coef, _), nothing = problem.coordinates.to_model(state.point), np.zeros(len(seen))
    more = known.mask * problem.coordinates.gradient(penalty.gradient(new, coef) - penalty.gradient(old, coef), nothing)
    value = state.value + penalty.penalty(new, coef) - penalty.penalty(old, coef)
    changes = state.changes + (precondition.ratio - known.ratio)[:, None] * known.mask * (state.moves @ known.penalty)
    curved = np.einsum("mni,mni->mn", state.moves, changes)
    state = state._replace(
        value=value,
        gradient=state.gradient + more,
        changes=changes,
        inverse_curvature=np.where(state.inverse_curvature > 0, 1 / np.where(curved > 0, curved, np.inf), 0),
    )
    tol = setting.tol * loss_per_nat(setting, problem, value) / problem.bins
    return problem, redirect_neurons(state, precondition, tol, seen & ~setting.silent)
