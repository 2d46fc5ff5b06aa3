"""Fits at many strengths of a penalty, each started from the previous one; no neuron waits for others."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from popglm._design.design import Design
from popglm._solver.ask_tell import (
    DONE,
    RUNNING,
    Evaluation,
    History,
    SolverState,
    initial_state,
    redirect_neurons,
)
from popglm._solver.exact import SOLVER_DEFAULTS, LastState, begin_exact_fit, initial_point, make_fit, run_passes
from popglm._solver.passes import (
    REFACTOR_INTERVAL,
    FitConstants,
    evaluate_objective,
    loss_per_nat,
    refactor_slow_neurons,
    run_pass,
)
from popglm._solver.preconditioner import Preconditioner, Problem, drop_penalised, replace_penalty
from popglm._solver.problem import Fit, Objective
from popglm._solver.threads import one_thread

MIN_STRENGTH_RATIO = 1e-3  # smallest strength of a path, relative to that at which all coefficients are 0


# Hessians of neurons' own cost each as much as a sixth of the number of features in shares of a pass: with more features than
# this, they are computed half as often along a path, where few neurons are slow at once.
MAX_CHEAP_FEATURES = 32


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

    Every neuron goes on to the next factor as soon as it is done with one. Return the factors and their fits. All share the
    first pass and the history of the loss, and none needs a pass to begin, since the penalty is computed without data. If
    `factors` is None, the largest is the smallest at which all penalised groups are 0.
    """
    with one_thread:
        constants, problem = begin_exact_fit(design, objective, mask, tol)
        null = constants.null
        state = initial_state(initial_point(problem, None, null), null.silent)
        if factors is None:
            state, problem, largest = _max_strength_factor(design, constants, problem, state, maxiter)
            factors = largest * np.geomspace(1, MIN_STRENGTH_RATIO, n_factors)[::-1]
        return factors, _fit_factors(design, constants, problem, state, objective, factors, maxiter, report)


def _fit_factors(
    design: Design,
    constants: FitConstants,
    problem: Problem,
    state: SolverState,
    objective: Objective,
    factors: np.ndarray,
    maxiter: int,
    report: Callable | None,
) -> list[Fit]:
    """Fit at every factor; each neuron goes on to the next smaller factor as soon as it is done."""
    factors = np.asarray(factors, float)
    interval = REFACTOR_INTERVAL * (1 if problem.coordinates.mean.size <= MAX_CHEAP_FEATURES else 2)
    number = np.full(len(state.status), len(factors) - 1)  # of each neuron's factor; -1 after the last
    problem, state = _change_strength(constants, problem, state, objective, factors[number], number >= 0)
    n_before, results = state.n_evaluated, [LastState.from_state(constants, state)] * len(factors)
    while True:
        while (ended := _has_ended(state, number, state.n_evaluated - n_before, maxiter)).any():
            last = LastState.from_state(constants, state)
            for k in np.unique(number[ended]):
                results[k] = results[k].replace_neurons(ended & (number == k), last)
            number = number - ended
            state = state._replace(status=np.where(number < 0, DONE, state.status))
            changing = ended & (number >= 0)
            problem, state = _change_strength(constants, problem, state, objective, factors[number], changing)
            n_before = np.where(ended, state.n_evaluated, n_before)
        if (number < 0).all():
            break
        n_passes = state.n_evaluated - n_before
        slow = (state.status == RUNNING) & (n_passes > 0) & (n_passes % interval == 0)
        if slow.any():
            problem = refactor_slow_neurons(design, problem, state, np.flatnonzero(slow))
        problem, state = run_pass(design, constants, problem, state)
        if report:
            report(state, 1 - (number + 1) / len(factors), 1 / len(factors))
    return [_fit_at(constants, problem, objective, *pair) for pair in zip(factors, results, strict=True)]


def _has_ended(state: SolverState, number: np.ndarray, n_passes: np.ndarray, maxiter: int) -> np.ndarray:
    """Return for each neuron whether the fit at its factor has ended."""
    return (number >= 0) & ((state.status != RUNNING) | (n_passes >= maxiter))


def _fit_at(constants: FitConstants, problem: Problem, objective: Objective, factor: float, last: LastState) -> Fit:
    """Result at one factor for all neurons."""
    scaled = objective._replace(strength=objective.strength * factor)
    everyone = np.ones(len(last.status), bool)
    precondition = replace_penalty(scaled, problem.coordinates, problem.precondition, everyone)
    scaled = problem.objective._replace(strength=scaled.strength)
    return make_fit(constants, problem._replace(objective=scaled, precondition=precondition), last)


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
    constants: FitConstants,
    problem: Problem,
    state: SolverState,
    objective: Objective,
    factors: np.ndarray,
    changing: np.ndarray,
) -> tuple[Problem, SolverState]:
    """Set the penalty to that of `objective` times each neuron's factor; adapt value, gradient and history where it changes."""
    if not changing.any():
        return problem, state
    old, strength = problem.precondition, objective.strength * factors[:, None]
    new = replace_penalty(objective._replace(strength=strength), problem.coordinates, old, changing)
    problem, state = change_penalty(problem, state, strength, new)
    history = _penalise_history(state.history, np.flatnonzero(changing), old, new)
    return problem, redirect(constants, problem, state._replace(history=history), changing)


def _penalise_history(history: History, rows: np.ndarray, old: Preconditioner, new: Preconditioner) -> History:
    """Change the gradients' changes of these neurons by those of the penalty along the same moves."""
    moves, changes, inverse_curvature = history.moves[:, rows], history.changes.copy(), history.inverse_curvature.copy()
    stronger = (new.penalty.strength - old.penalty.strength)[rows, None]
    penalised = stronger * old.mask[rows] * (moves[..., : new.mask.shape[1]] @ old.penalty.hessian)
    changes[:, rows] += _pad_columns(penalised, moves.shape[-1])
    curvature, used = np.einsum("mni,mni->mn", moves, changes[:, rows]), inverse_curvature[:, rows] > 0
    inverse_curvature[:, rows] = np.where(used, 1 / np.where(used & (curvature > 0), curvature, np.inf), 0)
    return History(moves=history.moves, changes=changes, inverse_curvature=inverse_curvature)


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


def redirect(
    constants: FitConstants, problem: Problem, state: SolverState, changing: np.ndarray | bool = True
) -> SolverState:
    """Recompute the directions of neurons whose penalty has changed, if they have been evaluated."""
    value = state.accepted.value
    tol = constants.tol * loss_per_nat(constants, problem, value) / constants.n_rows
    return redirect_neurons(state, problem.precondition, tol, np.isfinite(value) & ~constants.null.silent & changing)


def _pad_columns(array: np.ndarray, n_columns: int) -> np.ndarray:
    """Append columns of 0: a dispersion that is a coordinate, which no penalty changes."""
    return np.pad(array, [*[(0, 0)] * (array.ndim - 1), (0, n_columns - array.shape[-1])])
