"""Fit of all neurons with strengths that maximise the evidence, in stages: strengths from Hessians, then coefficients.

A stage begins with the Hessian of each neuron's loss at its coefficients. The quadratic model that it gives is that of a
penalised regression, in which the strengths of largest evidence are found without data (`evidence`); passes over the data then
find the coefficients at these strengths. Stages end for a neuron when a new Hessian leaves its strengths where they are, which is
the fixed point of Fellner and Schall: the maximum of the Laplace approximation of the restricted likelihood, if the dependence of
the Hessian on the strengths is neglected (Wood and Fasiolo 2017, *Biometrics* 73:1071-1081). The first stage has the Hessian of
the null model, which costs nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from popglm._design.arrays import round_up_length
from popglm._design.design import Design
from popglm._design.total import total
from popglm._solver.ask_tell import RUNNING, NeuronScalars, SolverState, forget_history, initial_state
from popglm._solver.evidence import QuadraticModel, StrengthStep, maximise_evidence
from popglm._solver.exact import (
    SOLVER_DEFAULTS,
    FitConstants,
    begin_exact_fit,
    initial_point,
    make_fit,
    run_passes,
)
from popglm._solver.path import change_penalty, redirect_all
from popglm._solver.preconditioner import Problem
from popglm._solver.problem import Evidence, Fit, Objective
from popglm._solver.threads import one_thread
from popglm._sums.losses import standardised_hessians
from popglm._sums.scale import chi_squared_sums

MAX_STAGES = 25
STAGE_TOL = 1e-2  # gain, in nats, that coefficients may lack before the last stage: the quadratic model allows for it
# Root mean square change of the linear predictor, weighted by the Hessian, from the point of a Hessian to the optimum of its
# quadratic model, below which another Hessian would be the same.
SETTLED_CHANGE = 0.05
MAX_HESSIAN_ENTRIES = 2e7  # of the Hessians that one pass sums
Hessians = dict[int, Float[np.ndarray, "parameters parameters"]]


class Strengths(NamedTuple):
    """Strengths of all neurons between two stages, with the last step of each neuron; None before its first."""

    strength: Float[np.ndarray, "neurons parts"]
    steps: list[StrengthStep | None]

    @property
    def total_edf(self) -> NeuronScalars:
        """Effective degrees of freedom of each neuron's filters."""
        return np.array([0.0 if step is None else step.edf.sum() for step in self.steps])


def fit_by_evidence(
    design: Design,
    objective: Objective,
    mask: Float[np.ndarray, "neurons features"],
    init: tuple[np.ndarray, np.ndarray] | None,
    tol: float | None = None,
    maxiter: int = SOLVER_DEFAULTS["maxiter"],
    report: Callable | None = None,
) -> tuple[Fit, Evidence]:
    """Fit all neurons, each with strengths of its own for all parts of its penalty; `maxiter` counts the passes of a stage."""
    with one_thread:
        parts = objective.penalty.quadratic_parts(mask.shape[1])
        n_neurons, n_parts = len(mask), len(parts.weights)
        objective = objective._replace(strength=np.ones((n_neurons, n_parts)))
        constants, problem = begin_exact_fit(design, objective, mask, tol)
        state = initial_state(initial_point(problem, init, constants.null), constants.null.silent)
        problem, state, _ = run_passes(design, constants, problem, state, 0, 1, report, None)
        found = Strengths(np.full((n_neurons, n_parts), np.inf), [None] * n_neurons)
        loose = constants._replace(tol=max(constants.tol, STAGE_TOL))
        searching, hessians = ~constants.null.silent, _null_hessians(problem)
        for stage in range(MAX_STAGES):
            found, change = _update_strengths(design, problem, state, found, searching, hessians, parts)
            problem, state = _apply_strengths(loose, problem, state, found, hessians)
            problem, state, _ = run_passes(design, loose, problem, state, 0, maxiter, report, None)
            searching &= ~((change < SETTLED_CHANGE) & (stage > 0))
            if not searching.any():
                break
            hessians = _sum_hessians(design, problem, state, np.flatnonzero(searching))
        state = redirect_all(constants, problem, state)
        problem, state, _ = run_passes(design, constants, problem, state, 0, maxiter, report, None)
        fit = make_fit(constants, problem, state)
        return _with_evidence(fit, problem, found, searching)


def _null_hessians(problem: Problem) -> Hessians:
    """Mean Hessian of each neuron's loss under the null model, in the coordinates of the solver."""
    precondition = problem.precondition
    return {n: c * precondition.correlation for n, c in enumerate(precondition.curvature)}


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
    design: Design,
    problem: Problem,
    state: SolverState,
    found: Strengths,
    searching: Bool[np.ndarray, " neurons"],
    hessians: Hessians,
    parts: Any,
) -> tuple[Strengths, NeuronScalars]:
    """Maximise the evidence of each neuron that is searching; return the change of its linear predictor to the new optimum."""
    nats = problem.bins / _loss_divisor(design, problem, state, found.total_edf)  # per unit of the mean loss
    strength, steps, change = found.strength.copy(), list(found.steps), np.full(len(searching), np.inf)
    used = (np.abs(parts.basis).T @ problem.precondition.mask[:, :-1].T > 0).T
    for n in map(int, np.flatnonzero(searching)):
        model = _quadratic_model(problem, state, n, hessians[n], nats[n]).rotate(parts.basis)
        last = found.steps[n]
        if last is not None:
            last = last._replace(log_strength=np.log(strength[n] * nats[n]))
        step = maximise_evidence(model.select(used[n]), parts.weights[:, used[n]], last)
        edf, coef = np.zeros(len(used[n])), np.zeros(len(used[n]))
        edf[used[n]], coef[used[n]] = step.edf, step.coef
        move = coef - parts.basis.T @ problem.coordinates.to_model(state.accepted.point[[n]])[0][0]
        change[n] = np.sqrt(max(move @ model.hessian @ move, 0) / np.exp(model.log_intercept_information))
        strength[n], steps[n] = np.exp(step.log_strength) / nats[n], step._replace(edf=edf)
    return Strengths(strength, steps), change


def _quadratic_model(
    problem: Problem, state: SolverState, neuron: int, hessian: np.ndarray, nats: float
) -> QuadraticModel:
    """Quadratic model of one neuron's log-likelihood, in its coefficients, from the mean Hessian at its point."""
    _, penalty, strength = problem.objective
    units = np.append(problem.coordinates.sd, 1)
    coef = problem.coordinates.to_model(state.accepted.point[[neuron]])[0]
    gradient = nats * state.accepted.gradient[neuron, : len(units)] * units
    gradient[:-1] -= nats * penalty.gradient(strength[[neuron]], coef)[0]
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
    strength = np.where(np.isfinite(found.strength), found.strength, 1)
    problem, state = change_penalty(problem, state, strength, problem.precondition)
    precondition = problem.precondition.with_own_hessians(hessians, problem.penalty_hessian)
    problem = problem._replace(precondition=precondition)
    state = forget_history(state, np.ones(len(strength), bool))
    return problem, redirect_all(constants, problem, state)


def _has_part(problem: Problem, found: Strengths) -> Bool[np.ndarray, "neurons parts"]:
    """Mark the parts that have a feature in a neuron's mask, of neurons that are not silent."""
    mask = problem.precondition.mask[:, :-1]
    parts = problem.objective.penalty.quadratic_parts(mask.shape[1])
    used = np.abs(parts.basis).T @ mask.T > 0
    return ((parts.weights > 0) @ used > 0).T & np.isfinite(found.strength)


def _with_evidence(
    fit: Fit, problem: Problem, found: Strengths, searching: Bool[np.ndarray, " neurons"]
) -> tuple[Fit, Evidence]:
    """Fit with the effective degrees of freedom as its number of parameters, and what the evidence says of every neuron."""
    convergence = fit.convergence._replace(converged=fit.convergence.converged & ~searching)
    sizes = problem.objective.penalty.groups(fit.coef.shape[1])
    edf = np.stack([np.full(fit.coef.shape[1], np.nan) if s is None else s.edf for s in found.steps])
    return (
        fit._replace(convergence=convergence, features=fit.features._replace(n_params=found.total_edf + 1)),
        Evidence(
            strength=np.where(_has_part(problem, found), found.strength, np.nan),
            edf=np.add.reduceat(edf, np.cumsum(sizes) - sizes, axis=1),
            log_determinants=np.array([np.nan if s is None else s.log_determinants for s in found.steps]),
        ),
    )
