"""Default solver: one optimum per neuron, all neurons in one pass over the data.

`ask` returns every neuron's trial point, a pass of `total` computes all losses and gradients, `tell` accepts or shortens each
neuron's own step. One pass before them computes the preconditioner; slow neurons get factors of their own in later passes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from popglm._checks.arrays import require_valid_bins
from popglm._checks.progress import open_bar, show_passes
from popglm._design.arrays import as_divisor, machine_epsilon
from popglm._design.design import Design
from popglm._design.total import total
from popglm._solver.ask_tell import (
    DONE,
    FAILED,
    RUNNING,
    STALLED,
    NeuronScalars,
    Points,
    SolverState,
    initial_state,
)
from popglm._solver.dispersion import DispersionCoordinate, DispersionMetric
from popglm._solver.passes import (
    REFACTOR_INTERVAL,
    FitConstants,
    refactor_slow_neurons,
    replace_dispersion,
    run_pass,
)
from popglm._solver.preconditioner import MAX_FACTOR_ENTRIES, Problem, prepare_problem
from popglm._solver.problem import Convergence, FeatureRank, Fit, Objective
from popglm._solver.threads import one_thread
from popglm._sums.deviance_loss import keep_digits
from popglm._sums.losses import (
    NullModel,
    null_model_loss,
)
from popglm._sums.moments import solver_sums
from popglm._sums.null_model import null_model_of, solve_null_model
from popglm._sums.scale import broadcast_dispersion
from popglm._sums.separation import LARGE_COEF
from popglm._sums.value_table import ValueTable

SOLVER_DEFAULTS: dict[str, Any] = {"tol": None, "maxiter": 200}


SOLVER_TOL = {"float32": 1e-5, "float64": 1e-16}  # gain, in nats summed over bins, that may be left at the end


MAX_FINAL_STEP_TOL = 1e-2  # largest `tol` for which the last step, which is not evaluated, is surely small


GAIN_DECADES = 9  # by which the gain that is left falls during a usual fit, for the progress bar


MAX_RUNNING_SHARE = 0.95  # of its way, that a neuron shows which still runs


class SavedFit(NamedTuple):
    """Fit as a checkpoint holds it between two passes; `result` is None until the fit has ended."""

    state: SolverState
    own_factors: dict[int, Float[Array, "coordinates coordinates"]]
    n_passes: int
    scale: Array | None  # dispersion of each neuron, if the loss has one
    result: Fit | None

    @classmethod
    def from_tuple(cls, values: tuple) -> "SavedFit":
        """Build from the plain tuples of a file."""
        state, own_factors, n_passes, scale, result = values
        result = None if result is None else Fit.from_tuple(result)
        return cls(SolverState.from_tuple(state), own_factors, n_passes, scale, result)

    def is_finished(self, maxiter: int) -> bool:
        """Return whether the fit has ended, or has used `maxiter` passes."""
        return self.result is not None and (self.n_passes >= maxiter or not (self.state.status == RUNNING).any())


@contextmanager
def neuron_progress_bar(n_neurons: int, show: bool) -> Iterator[Callable | None]:
    """Show a progress bar; yield the function that updates it, None if not `show`.

    Each neuron counts by the way it has gone, in decades of the gain that is left; along a path, each fit is a share of it.
    Within a pass, the text says how far that has come.
    """
    if not show:
        yield None
        return
    largest = np.zeros(n_neurons)
    layout = "{l_bar}{bar}| {postfix} [{elapsed}<{remaining}]"
    with open_bar(n_neurons, "neuron", bar_format=layout) as bar, show_passes(bar) as set_text:

        def report(state: SolverState, share_done: Array | float = 0.0, share: float = 1.0) -> None:
            nonlocal largest
            done, left = state.status != RUNNING, np.maximum(-state.search.slope, np.finfo(float).tiny)
            largest = np.maximum(largest, np.where(done, 0, left))
            way = np.log10(np.maximum(largest, left) / left) / GAIN_DECADES
            bar.n = float(np.where(done, 1, share_done + share * np.minimum(way, MAX_RUNNING_SHARE)).sum())
            set_text(f"{done.sum()}/{n_neurons} neurons done, {int(state.n_evaluated.max())} passes")

        yield report


def fit_exactly(
    design: Design,
    objective: Objective,
    mask: Array,
    init: tuple[Array, Array] | None,
    tol: float | None = None,
    maxiter: int = SOLVER_DEFAULTS["maxiter"],
    report: Callable | None = None,
    checkpoint: Any = None,
) -> Fit:
    """Exact fit of all neurons: one pass for the preconditioner, then one pass per trial point.

    A neuron is done when its loss, summed over bins, is within `tol` of the optimum as estimated by half the Newton
    decrement: every coefficient is then within about ``sqrt(2 * tol)`` standard errors of its optimum. A neuron that is
    done takes this Newton step without another pass, unless it has never moved. The default of `tol` depends on the
    precision. `mask` and the coefficients of `init` have the features last. `report` is called with the state after every
    pass; `checkpoint` is where the state is saved, or None.
    """
    with one_thread:
        saved = SavedFit.from_tuple(checkpoint.saved) if checkpoint and checkpoint.saved else None
        if saved and saved.is_finished(maxiter):
            return saved.result  # type: ignore[return-value]
        constants, problem = begin_exact_fit(design, objective, mask, tol)
        null = constants.null
        if saved is None:
            state, n_passes = initial_state(initial_point(problem, init, null), null.silent), 0
        else:
            state, n_passes = saved.state, saved.n_passes
            problem = problem._replace(precondition=problem.precondition._replace(own_factors=saved.own_factors))
            if saved.scale is not None:
                problem = replace_dispersion(problem, saved.scale[:, 0], null)
                state = with_dispersion(problem, state, saved.scale[:, 0], null.silent)
        problem, state, n_passes = run_passes(design, constants, problem, state, n_passes, maxiter, report, checkpoint)
        last = LastState.from_state(constants, state)
        result = make_fit(_with_fitted_null_model(design, constants, problem, state), problem, last)
        if checkpoint:
            checkpoint.stage(partial(_as_saved_fit, problem, state, n_passes, result))
        return result


def _with_fitted_null_model(
    design: Design, constants: FitConstants, problem: Problem, state: SolverState
) -> FitConstants:
    """Constants with the null model at the dispersion of the fit, on which it depends where there is an offset."""
    if not design.has_offset or problem.precondition.dispersion is None:
        return constants
    model = problem.objective.model.with_scale(final_dispersion(problem, state.accepted.point)[:, 0])
    null = solve_null_model(lambda f, *args: total(f, design, *args), model, constants.null)
    return constants._replace(null=null)


def _as_saved_fit(problem: Problem, state: SolverState, n_passes: int, result: Fit | None = None) -> SavedFit:
    """State of a fit for its checkpoint."""
    return SavedFit(
        state=state,
        own_factors=problem.precondition.own_factors,
        n_passes=n_passes,
        scale=problem.objective.model.scale,
        result=result,
    )


def begin_exact_fit(
    design: Design, objective: Objective, mask: Array, tol: float | None
) -> tuple[FitConstants, Problem]:
    """Run the first pass: null model, rank of the features, coordinates and preconditioner."""
    dtype, eps = jnp.result_type(float), machine_epsilon()
    fits_dispersion, table = objective.model.dispersion == "likelihood" and objective.model.scale is None, ValueTable()
    watched = table.watch(design) if fits_dispersion else design
    (bins, events), moments, event_features, rows = total(solver_sums, watched)
    require_valid_bins(bins.any())
    objective = objective._replace(model=broadcast_dispersion(objective.model, len(bins)))
    null = null_model_of(design, objective.model, bins, events)
    bins = as_divisor(bins)
    n_rows = np.maximum(bins, rows)
    objective = objective._replace(model=keep_digits(objective.model, events / bins))
    problem, rank, constant, unclear = prepare_problem(objective, mask, bins, null.mean, null.eta, moments, eps)
    if _has_own_profiles(problem):
        precondition = problem.precondition.with_own_hessians(problem.null_hessians(), problem.penalty_hessian)
        problem = problem._replace(precondition=precondition)
    if fits_dispersion:
        coordinate = DispersionCoordinate.from_table(table, null.mean, n_rows)
        metric = DispersionMetric(coordinate, np.ones_like(bins))
        problem = problem._replace(precondition=problem.precondition._replace(dispersion=metric))
    min_loss = 0.0
    if objective.model.dispersion == "pearson":
        min_loss = eps * total(null_model_loss, design, problem.objective.model, null.intercept.astype(dtype)) / bins
    constants = FitConstants(
        null=null,
        collinear=np.union1d(rank.collinear_features(mask), unclear).astype(int),
        constant=constant,
        eventless=event_features == 0,
        n_params=rank.n_params(mask) + 1,
        n_rows=n_rows,
        min_loss=min_loss,
        tol=SOLVER_TOL[dtype.name] if tol is None else tol,
    )
    return constants, problem


def _has_own_profiles(problem: Problem) -> bool:
    """Return whether strengths of several parts differ between neurons, and there is memory for a factor of each."""
    penalty, shape = problem.objective.penalty, np.shape(problem.objective.strength)
    own = len(shape) == 2 and min(shape) > 1 and not penalty.l1_share
    return own and len(problem.bins) * problem.precondition.correlation.size <= MAX_FACTOR_ENTRIES


def run_passes(
    design: Design,
    constants: FitConstants,
    problem: Problem,
    state: SolverState,
    n_passes: int,
    maxiter: int,
    report: Callable | None,
    checkpoint: Any,
) -> tuple[Problem, SolverState, int]:
    """Run passes until no neuron is running; return problem, state and number of passes."""
    while n_passes < maxiter and len(running := np.flatnonzero(state.status == RUNNING)):
        if n_passes and n_passes % REFACTOR_INTERVAL == 0:
            problem = refactor_slow_neurons(design, problem, state, running)
        problem, state = run_pass(design, constants, problem, state)
        n_passes += 1
        if report:
            report(state)
        if checkpoint:
            checkpoint.save_if_due(partial(_as_saved_fit, problem, state, n_passes))
    return problem, state, n_passes


class LastState(NamedTuple):
    """What the result of a fit is made of: the last point of each neuron, the passes that it took, and how it ended."""

    point: Points
    n_evaluated: Array
    status: Array

    @classmethod
    def from_state(cls, constants: FitConstants, state: SolverState) -> "LastState":
        """A neuron that is done takes one more step, if a move has tried the curvature along its steps."""
        tried = (state.history.inverse_curvature[0] > 0) & (constants.tol <= MAX_FINAL_STEP_TOL)
        final_step = np.where(((state.status == DONE) & tried)[:, None], state.search.direction, 0)
        return cls(point=state.accepted.point + final_step, n_evaluated=state.n_evaluated, status=state.status)

    def replace_neurons(self, mask: Bool[Array, " neurons"], new: "LastState") -> "LastState":
        """Take the neurons of the mask from another state."""
        point = np.where(mask[:, None], new.point, self.point)
        n_evaluated, status = (np.where(mask, b, a) for a, b in zip(self[1:], new[1:], strict=True))
        return LastState(point, n_evaluated, status)


def make_fit(constants: FitConstants, problem: Problem, last: LastState) -> Fit:
    """Result of a fit at its last state."""
    dtype, penalty = jnp.result_type(float), problem.objective.penalty
    done = last.status == DONE
    coef, intercept = problem.coordinates.to_model(last.point)
    stalled = (last.status == STALLED) | (last.status == FAILED)
    large = np.abs(coef * problem.coordinates.sd).max(1, initial=0) > LARGE_COEF
    coef, intercept = coef.astype(dtype), intercept.astype(dtype)
    n_params = constants.n_params - (problem.penalised_df() if problem.objective.model.dispersion == "pearson" else 0)
    n_params = np.minimum((coef != 0).sum(1) + 1, n_params) if penalty.l1_share else n_params
    return Fit(
        coef=coef,
        intercept=intercept,
        dispersion=final_dispersion(problem, last.point),
        convergence=Convergence(n_iter=last.n_evaluated, converged=done, stalled=stalled),
        silent=constants.null.silent,
        null_mean=constants.null.mean_without_offset(problem.objective.model).astype(dtype),
        features=FeatureRank(collinear=constants.collinear, constant=constants.constant, n_params=n_params),
        suspects=np.column_stack([constants.eventless & (coef != 0), large | ~done]),
    )


def final_dispersion(problem: Problem, point: Points) -> Any:
    """Dispersion of each neuron at a point, as a column; the given one if it is no coordinate."""
    metric = problem.precondition.dispersion
    if metric is None:
        return problem.objective.model.scale
    return problem.objective.model.with_scale(metric.coordinate.to_scale(point)).scale


def with_dispersion(
    problem: Problem, state: SolverState, scale: NeuronScalars, silent: Bool[Array, " neurons"]
) -> SolverState:
    """State whose points have the dispersion as a coordinate, which version 0.1.0 saved without; its fit goes on from there."""
    metric = problem.precondition.dispersion
    if metric is None or state.accepted.point.shape[1] == problem.coordinates.mean.size + 2:
        return state
    new = initial_state(metric.coordinate.append(state.accepted.point, scale), silent)
    return new._replace(n_evaluated=state.n_evaluated)


def initial_point(problem: Problem, init: tuple[Array, Array] | None, null: NullModel) -> Points:
    """First point: `init`, or the null model if that is None; silent neurons always start at the null model."""
    silent, metric = null.silent, problem.precondition.dispersion
    coef, intercept = (np.zeros(problem.precondition.mask[:, 1:].shape), null.intercept) if init is None else init
    coef = np.where(silent[:, None], 0, coef * problem.precondition.mask[:, :-1])
    point = problem.coordinates.from_model(coef, np.where(silent, null.intercept, intercept))
    return point if metric is None else metric.coordinate.append_start(point, silent)
