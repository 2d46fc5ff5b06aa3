"""The default solver: one optimum per neuron, all neurons in one pass over the data.

`ask` names every neuron's trial point, a pass of `total` returns all losses and gradients, `tell` accepts or shortens each
neuron's own step. One pass before them is for the preconditioner, and a few between them where neurons need one of their own.
"""

import threading
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from threadpoolctl import ThreadpoolController

from popglm import _check_arrays, _objective, _precondition, _scale
from popglm._ask_tell import DONE, FAILED, RUNNING, STALLED, Points, State, ask, restarted, start, tell
from popglm._design import BLOCK_ROWS, total
from popglm._objective import Fit, Objective
from popglm._precondition import Problem, prepare

OPTIONS = {"tol": None, "maxiter": 200}
TOL = {"float32": 1e-5, "float64": 1e-16}  # how much of a loss, summed over bins, may be left to gain
MAX_LAST = 1e-2  # largest `tol` that makes sure that the last step, which is not evaluated, is a small one
PATIENCE = 10  # passes after which, again and again, a neuron that is not done gets a factor of its own
GROUP = 8  # neurons whose Hessians are summed in one pass


class Kept(NamedTuple):
    """A run as it is written to a file between two passes. `found` is what it has led to, if it has ended."""

    state: State
    own: dict[int, Float[Array, "coordinates coordinates"]]
    n_passes: int
    scale: Array | None  # of neurons, where the loss has one
    found: Fit | None

    @classmethod
    def of(cls, saved) -> "Kept":
        """From the same as plain tuples, as a file has it."""
        state, own, n_passes, scale, found = saved
        return cls(State(*state), own, n_passes, scale, None if found is None else Fit(*found))

    def over(self, maxiter) -> bool:
        """Whether nothing is left to be done in so many passes."""
        return self.found is not None and (self.n_passes >= maxiter or not (self.state.status == RUNNING).any())


class _OneThread:
    """One thread for NumPy's products, as long as anyone is inside; the number is the process's, so all share it."""

    lock, inside, limits, libraries = threading.Lock(), 0, None, None

    def __enter__(self):
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.libraries = self.libraries or ThreadpoolController()  # to look for them takes milliseconds
                self.limits = self.libraries.limit(limits=1, user_api="blas")

    def __exit__(self, *error):
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.limits.restore_original_limits()


one_thread = _OneThread()


def fit(design, objective: Objective, mask, init, tol=None, maxiter=OPTIONS["maxiter"], report=None, keep=None) -> Fit:
    """Exact fit of all neurons: one pass for the preconditioner, then one pass per trial point.

    A neuron is done when its loss, summed over bins, is within `tol` of the optimum as estimated by half the Newton
    decrement: every coefficient is then within about ``sqrt(2 * tol)`` standard errors of it. It goes on by the step
    that this estimate is made of, which costs no pass, unless it has not moved at all. Without a `tol` it is
    that of the precision. `mask` and the coefficients of `init` have the features last. `report` is called with the
    state after every pass, `keep` is the checkpoint, or None. NumPy's products are small beside XLA's: its threads would
    only wait for theirs.
    """
    with one_thread:
        return _fit(design, objective, mask, init, tol, maxiter, report, keep)


def _fit(design, objective, mask, init, tol, maxiter, report, keep) -> Fit:
    kept = Kept.of(keep.saved) if keep and keep.saved else None
    if kept and kept.over(maxiter):
        return kept.found
    dtype = jnp.result_type(float)
    eps = float(jnp.finfo(dtype).eps)
    tol = TOL[dtype.name] if tol is None else tol
    (bins, events), moments = total(_objective.census, design)
    _check_arrays.some_valid(bins.any())
    estimated = objective.model.shapes and objective.model.scale is None
    objective = objective._replace(model=_scale.known(objective.model, len(bins)))
    mean_count, null, silent = _objective.null_model(objective.model, bins, events)
    bins = np.maximum(bins, 1)
    problem, dependent, constant = prepare(objective, mask, bins, mean_count, null, moments, eps)
    own = problem.precondition.own
    begin = Kept(start(_first(problem, init, null, silent), silent), own, 0, None, None)
    state, own, n_passes, scale, _ = kept or begin
    if scale is not None:
        problem = scaled(problem, objective.model.with_scale(scale[:, 0]), null, mean_count)
    problem = problem._replace(precondition=problem.precondition._replace(own=own))
    least = 0.0  # loss that round-off may leave
    if objective.model.divides:
        least = eps * total(_objective.null_loss, design, problem.objective.model, null.astype(dtype)) / bins
    while n_passes < maxiter and len(running := np.flatnonzero(state.status == RUNNING)):
        if n_passes and n_passes % PATIENCE == 0:
            problem = _own_factors(design, problem, state, running, dtype)
        value, gradient = _evaluate(design, problem, ask(state), dtype)
        precondition = problem.precondition
        nat = objective.model.nat(np.maximum(np.where(np.isfinite(value), value, 1), least))
        state = tell(state, value, gradient, precondition, tol * nat / bins, precondition.curvature * nat, eps)
        n_passes += 1
        if estimated and not (state.status == RUNNING).any():
            problem, state = _another_turn(design, problem, state, null, mean_count)
        scale = problem.objective.model.scale
        if report:
            report(state)
        if keep:
            keep.offer(partial(Kept, state, problem.precondition.own, n_passes, scale, None))
    done = state.status == DONE
    known = done & (state.inverse_curvature[0] > 0) & (tol <= MAX_LAST)  # a step whose length a move has tried
    last = np.where(known[:, None], state.direction, 0)
    coef, intercept = problem.coordinates.to_model(state.point + last)
    stalled = (state.status == STALLED) | (state.status == FAILED)
    coef, intercept = coef.astype(dtype), intercept.astype(dtype)
    mean_count = mean_count.astype(dtype)
    free = problem.precondition.mask.sum(1) - mask[:, dependent].sum(1)
    flags = state.n_evaluated, done, stalled, silent, mean_count
    model = problem.objective.model
    found = Fit(coef, intercept, *flags, dependent, constant, free, model.scale)
    if keep:
        keep.hold(partial(Kept, state, problem.precondition.own, n_passes, scale, found))
    return found


def scaled(problem: Problem, model, null, mean_count) -> Problem:
    """The problem of another scale."""
    curvature = np.asarray(_objective.curvature(model, null, mean_count), float)
    return problem._replace(
        objective=problem.objective._replace(model=model),
        precondition=problem.precondition._replace(curvature=curvature),
    )


def _another_turn(design, problem: Problem, state: State, null, mean_count):
    """The most likely scale where the fit has ended; neurons whose scale has moved go on from there."""
    dtype, model = jnp.result_type(float), problem.objective.model
    slopes_at = partial(total, _scale.slopes, design)
    found = _scale.most_likely(slopes_at, model, *problem.coordinates.to_model(state.point))
    moved = np.abs(np.log(found.scale / model.scale))[:, 0] > 10 * _scale.TOL[dtype.name]
    again = moved & (state.status == DONE) & (np.isfinite(state.value))
    return scaled(problem, found, null, mean_count), restarted(state, again, state.point)


def _first(problem: Problem, init, null, silent) -> Points:
    """First point; a silent neuron stands at the null model whatever the others start from."""
    coef, intercept = (np.zeros(problem.precondition.mask[:, 1:].shape), null) if init is None else init
    coef = np.where(silent[:, None], 0, coef * problem.precondition.mask[:, :-1])
    return problem.coordinates.from_model(coef, np.where(silent, null, intercept))


def _evaluate(design, problem: Problem, point: Points, dtype):
    """Mean loss and penalty of every neuron at its own point, with the gradient."""
    coef, intercept = problem.coordinates.to_model(point)
    arrays = coef.astype(dtype), intercept.astype(dtype)
    return mean(
        total(_objective.loss_and_gradient, design, problem.objective.model, *arrays), problem, coef, problem.bins
    )


def mean(sums, problem: Problem, coef, bins):
    """Mean loss and penalty, and their gradient in the problem's coordinates, from sums over so many bins."""
    loss, d_coef, d_intercept = sums
    (_, penalty, strength), _, coordinates, precondition = problem
    with np.errstate(invalid="ignore", over="ignore"):  # a trial too far away; `tell` will shorten the step
        d_coef = d_coef / bins[:, None] + penalty.gradient(strength, coef)
        gradient = precondition.mask * coordinates.gradient(d_coef, d_intercept / bins)
    return loss / bins + penalty.penalty(strength, coef), gradient


def _own_factors(design, problem: Problem, state: State, running, dtype) -> Problem:
    """Factors from the Hessians of neurons that the null model's does not serve: they are strongly modulated."""
    n_features = problem.coordinates.mean.size
    n_rows = int(np.clip(BLOCK_ROWS * 64 // n_features, BLOCK_ROWS // 16, BLOCK_ROWS))
    hessians, known = {}, problem.precondition
    known = known._replace(own={neuron: factor for neuron, factor in known.own.items() if neuron in running})
    coef, intercept = (a.astype(dtype) for a in problem.coordinates.to_model(state.point))
    units = [np.asarray(a, dtype) for a in problem.coordinates]
    for group in np.array_split(running, -(-len(running) // GROUP)):
        if len({*known.own, *hessians, *group}) * known.factor.size > _precondition.MAX_OWN:
            break
        some = np.resize(group, GROUP)  # of one length, so that one compilation serves all
        model, f = problem.objective.model, _objective.steepest(n_rows)
        for neuron, hessian, rest in zip(
            group, *total(f, design, model, some, coef[some], intercept[some], *units), strict=False
        ):
            if np.isfinite(hessian).all() and np.isfinite(rest):  # else the point is too far away
                hessians[neuron] = (hessian + rest * known.correlation) / problem.bins[neuron]
    return problem._replace(precondition=known.with_own(hessians))
