"""The default solver: one optimum per neuron, all neurons in one pass over the data.

`ask` names every neuron's trial point, a pass of `total` returns all losses and gradients, `tell` accepts or shortens each
neuron's own step. One pass before them is for the preconditioner, and a few between them where neurons need one of their own.
"""

from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from popglm._checks.arrays import require_valid_bins
from popglm._design.arrays import machine_epsilon
from popglm._design.sizes import SIZES
from popglm._design.total import total
from popglm._solver.ask_tell import (
    DONE,
    FAILED,
    RUNNING,
    STALLED,
    Points,
    SolverState,
    ask,
    initial_state,
    restart_neurons,
    tell,
)
from popglm._solver.preconditioner import MAX_FACTOR_ENTRIES, Problem, prepare_problem
from popglm._solver.problem import Convergence, FeatureRank, Fit, Objective
from popglm._solver.threads import one_thread
from popglm._sums.losses import curved_row_hessians, fit_null_model, loss_and_gradient, loss_curvature, null_model_loss
from popglm._sums.moments import first_pass_sums
from popglm._sums.scale import LOG_DISPERSION_TOL, broadcast_dispersion, dispersion_slopes, fit_dispersion

SOLVER_DEFAULTS = {"tol": None, "maxiter": 200}


SOLVER_TOL = {"float32": 1e-5, "float64": 1e-16}  # how much of a loss, summed over bins, may be left to gain


MAX_HIDDEN_GAIN = (
    1e-4  # the most of it, in nats, that round-off may hide from a neuron that is done: 0.014 standard errors
)


MAX_FINAL_STEP_TOL = 1e-2  # largest `tol` that makes sure that the last step, which is not evaluated, is a small one


REFACTOR_INTERVAL = 10  # passes after which, again and again, a neuron that is not done gets a factor of its own


HESSIANS_PER_PASS = 8  # neurons whose Hessians are summed in one pass


class SavedFit(NamedTuple):
    """A run as it is written to a file between two passes. `result` is what it has led to, if it has ended."""

    state: SolverState
    own_factors: dict[int, Float[Array, "coordinates coordinates"]]
    n_passes: int
    scale: Array | None  # of neurons, where the loss has one
    result: Fit | None

    @classmethod
    def from_tuple(cls, saved) -> "SavedFit":
        """From the same as plain tuples, as a file has it."""
        state, own, n_passes, scale, found = saved
        return cls(SolverState(*state), own, n_passes, scale, None if found is None else Fit.from_tuple(found))

    def to_tuple(self) -> tuple:
        """Plain values, as a checkpoint file holds them."""
        return *self[:-1], None if self.result is None else self.result.to_tuple()

    def is_finished(self, maxiter) -> bool:
        """Whether nothing is left to be done in so many passes."""
        return self.result is not None and (self.n_passes >= maxiter or not (self.state.status == RUNNING).any())


@contextmanager
def neuron_progress_bar(n_neurons, wanted):
    """A bar that moves with the neurons that are done, and the function that moves it; None if it is not wanted."""
    if not wanted:
        yield None
        return
    from tqdm.auto import tqdm

    with tqdm(total=n_neurons, unit="neuron") as bar:

        def report(state):
            bar.set_postfix(passes=int(state.n_evaluated.max()), refresh=False)
            bar.update(int((state.status != RUNNING).sum()) - bar.n)

        yield report


class FitConstants(NamedTuple):
    """What a fit knows from its first pass, and what does not change on its way."""

    mean_count: Array
    null_eta: Array
    silent: Array
    collinear: Array
    constant: Array
    n_params: Array  # parameters of each neuron that the data determine
    fits_dispersion: bool  # whether the loss has a scale that is to be found
    min_loss: Array | float  # loss that round-off may leave
    tol: float
    eps: float


def fit_exactly(
    design, objective: Objective, mask, init, tol=None, maxiter=SOLVER_DEFAULTS["maxiter"], report=None, keep=None
) -> Fit:
    """Exact fit of all neurons: one pass for the preconditioner, then one pass per trial point.

    A neuron is done when its loss, summed over bins, is within `tol` of the optimum as estimated by half the Newton
    decrement: every coefficient is then within about ``sqrt(2 * tol)`` standard errors of it. It goes on by the step
    that this estimate is made of, which costs no pass, unless it has not moved at all. Without a `tol` it is
    that of the precision. `mask` and the coefficients of `init` have the features last. `report` is called with the
    state after every pass, `keep` is the checkpoint, or None.
    """
    with one_thread:
        kept = SavedFit.from_tuple(keep.saved) if keep and keep.saved else None
        if kept and kept.is_finished(maxiter):
            return kept.result
        setting, problem = begin_exact_fit(design, objective, mask, tol)
        if kept is None:
            first = initial_state(initial_point(problem, init, setting.null_eta, setting.silent), setting.silent)
            kept = SavedFit(first, problem.precondition.own_factors, 0, None, None)
        elif kept.scale is not None:
            problem = replace_dispersion(
                problem, problem.objective.model.with_scale(kept.scale[:, 0]), setting.null_eta, setting.mean_count
            )
        problem = problem._replace(precondition=problem.precondition._replace(own_factors=kept.own_factors))
        problem, state, n_passes = run_passes(
            design, setting, problem, kept.state, kept.n_passes, maxiter, report, keep
        )
        found = make_fit(setting, problem, state)
        if keep:
            saved = SavedFit(state, problem.precondition.own_factors, n_passes, found.dispersion, found)
            keep.stage(saved.to_tuple)
        return found


def begin_exact_fit(design, objective, mask, tol) -> tuple[FitConstants, Problem]:
    """The first pass."""
    dtype = jnp.result_type(float)
    eps = machine_epsilon()
    (bins, events), moments = total(first_pass_sums, design)
    require_valid_bins(bins.any())
    estimated = objective.model.shapes and objective.model.scale is None
    objective = objective._replace(model=broadcast_dispersion(objective.model, len(bins)))
    mean_count, null, silent = fit_null_model(objective.model, bins, events)
    bins = np.maximum(bins, 1)
    problem, rank, constant = prepare_problem(objective, mask, bins, mean_count, null, moments, eps)
    least = 0.0
    if objective.model.divides:
        least = eps * total(null_model_loss, design, problem.objective.model, null.astype(dtype)) / bins
    tol = SOLVER_TOL[dtype.name] if tol is None else tol
    told_apart = rank.collinear_features(mask), constant, rank.n_params(mask) + 1
    return FitConstants(mean_count, null, silent, *told_apart, estimated, least, tol, eps), problem


def run_passes(design, setting: FitConstants, problem: Problem, state: SolverState, n_passes, maxiter, report, keep):
    """Passes until no neuron is running; the problem with what it has learned, the state, and the number of passes."""
    dtype = jnp.result_type(float)
    while n_passes < maxiter and len(running := np.flatnonzero(state.status == RUNNING)):
        if n_passes and n_passes % REFACTOR_INTERVAL == 0:
            problem = _refactor_slow_neurons(design, problem, state, running, dtype)
        value, gradient = evaluate_objective(design, problem, ask(state), dtype)
        nat = loss_per_nat(setting, problem, value)
        precondition, nat_per_bin = problem.precondition, nat / problem.bins
        tol, hidden = setting.tol * nat_per_bin, MAX_HIDDEN_GAIN * nat_per_bin
        state = tell(state, value, gradient, precondition, tol, precondition.curvature * nat, setting.eps, hidden)
        n_passes += 1
        if setting.fits_dispersion and not (state.status == RUNNING).any():
            problem, state = _update_dispersion(design, problem, state, setting.null_eta, setting.mean_count)
        if report:
            report(state)
        if keep:
            keep.save_if_due(
                SavedFit(
                    state, problem.precondition.own_factors, n_passes, problem.objective.model.scale, None
                ).to_tuple
            )
    return problem, state, n_passes


def loss_per_nat(setting, problem, value):
    """One nat of every neuron's loss, in the units of its loss."""
    return problem.objective.model.nat(np.maximum(np.where(np.isfinite(value), value, 1), setting.min_loss))


def make_fit(setting: FitConstants, problem: Problem, state: SolverState) -> Fit:
    """What the fit has led to."""
    dtype, penalty = jnp.result_type(float), problem.objective.penalty
    done = state.status == DONE
    known = (
        done & (state.inverse_curvature[0] > 0) & (setting.tol <= MAX_FINAL_STEP_TOL)
    )  # a step whose length a move has tried
    last = np.where(known[:, None], state.direction, 0)
    coef, intercept = problem.coordinates.to_model(state.point + last)
    stalled = (state.status == STALLED) | (state.status == FAILED)
    coef, intercept = coef.astype(dtype), intercept.astype(dtype)
    n_params = np.minimum((coef != 0).sum(1) + 1, setting.n_params) if penalty.lengths else setting.n_params
    return Fit(
        coef=coef,
        intercept=intercept,
        dispersion=problem.objective.model.scale,
        convergence=Convergence(n_iter=state.n_evaluated, converged=done, stalled=stalled),
        silent=setting.silent,
        null_mean=setting.mean_count.astype(dtype),
        features=FeatureRank(collinear=setting.collinear, constant=setting.constant, n_params=n_params),
    )


def replace_dispersion(problem: Problem, model, null, mean_count) -> Problem:
    """The problem of another scale."""
    curvature = np.asarray(loss_curvature(model, null, mean_count), float)
    return problem._replace(
        objective=problem.objective._replace(model=model),
        precondition=problem.precondition._replace(curvature=curvature),
    )


def _update_dispersion(design, problem: Problem, state: SolverState, null, mean_count):
    """The most likely scale where the fit has ended; neurons whose scale has moved go on from there."""
    dtype, model = jnp.result_type(float), problem.objective.model
    slopes_at = partial(total, dispersion_slopes, design)
    found = fit_dispersion(slopes_at, model, *problem.coordinates.to_model(state.point))
    moved = np.abs(np.log(found.scale / model.scale))[:, 0] > 10 * LOG_DISPERSION_TOL[dtype.name]
    again = moved & (state.status == DONE) & (np.isfinite(state.value))
    new = model.with_scale(
        np.where(again, found.scale[:, 0], model.scale[:, 0])
    )  # values of the others are of the old one
    return replace_dispersion(problem, new, null, mean_count), restart_neurons(state, again, state.point)


def initial_point(problem: Problem, init, null, silent) -> Points:
    """First point; a silent neuron stands at the null model whatever the others start from."""
    coef, intercept = (np.zeros(problem.precondition.mask[:, 1:].shape), null) if init is None else init
    coef = np.where(silent[:, None], 0, coef * problem.precondition.mask[:, :-1])
    return problem.coordinates.from_model(coef, np.where(silent, null, intercept))


def evaluate_objective(design, problem: Problem, point: Points, dtype):
    """Mean loss and penalty of every neuron at its own point, with the gradient."""
    coef, intercept = problem.coordinates.to_model(point)
    arrays = coef.astype(dtype), intercept.astype(dtype)
    return objective_from_sums(
        total(loss_and_gradient, design, problem.objective.model, *arrays), problem, coef, problem.bins
    )


def objective_from_sums(sums, problem: Problem, coef, bins):
    """Mean loss and penalty, and their gradient in the problem's coordinates, from sums over so many bins."""
    loss, d_coef, d_intercept = sums
    (_, penalty, strength), _, coordinates, precondition = problem
    with np.errstate(invalid="ignore", over="ignore"):  # a trial too far away; `tell` will shorten the step
        d_coef = d_coef / bins[:, None] + penalty.gradient(strength, coef)
        gradient = precondition.mask * coordinates.gradient(d_coef, d_intercept / bins)
    return loss / bins + penalty.penalty(strength, coef), gradient


def _refactor_slow_neurons(design, problem: Problem, state: SolverState, running, dtype) -> Problem:
    """Factors from the Hessians of neurons that the null model's does not serve: they are strongly modulated."""
    n_features = problem.coordinates.mean.size
    n_rows = int(np.clip(SIZES.block_rows * 64 // n_features, SIZES.block_rows // 16, SIZES.block_rows))
    hessians, known = {}, problem.precondition
    known = known._replace(
        own_factors={neuron: factor for neuron, factor in known.own_factors.items() if neuron in running}
    )
    coef, intercept = (a.astype(dtype) for a in problem.coordinates.to_model(state.point))
    units = [np.asarray(a, dtype) for a in problem.coordinates]
    for group in np.array_split(running, -(-len(running) // HESSIANS_PER_PASS)):
        if len({*known.own_factors, *hessians, *group}) * known.factor.size > MAX_FACTOR_ENTRIES:
            break
        some = np.resize(group, HESSIANS_PER_PASS)  # of one length, so that one compilation serves all
        model, f = problem.objective.model, curved_row_hessians(n_rows)
        for neuron, hessian, rest in zip(
            group, *total(f, design, model, some, coef[some], intercept[some], *units), strict=False
        ):
            if np.isfinite(hessian).all() and np.isfinite(rest):  # else the point is too far away
                hessians[neuron] = (hessian + rest * known.correlation) / problem.bins[neuron]
    return problem._replace(precondition=known.with_own_hessians(hessians))
