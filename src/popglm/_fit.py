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

from popglm import _check_arrays, _objective, _precondition
from popglm._ask_tell import DONE, FAILED, RUNNING, STALLED, Points, State, ask, start, tell
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
    found: Fit | None

    @classmethod
    def of(cls, saved) -> "Kept":
        """From the same as plain tuples, as a file has it."""
        state, own, n_passes, found = saved
        return cls(State(*state), own, n_passes, None if found is None else Fit(*found))

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
    mean_count, null, silent = _objective.null_model(objective.model, bins, events)
    bins = np.maximum(bins, 1)
    problem, dependent, constant = prepare(objective, mask, bins, mean_count, null, moments, eps)
    own = problem.precondition.own
    state, own, n_passes, _ = kept or Kept(start(_first(problem, init, null, silent), silent), own, 0, None)
    problem = problem._replace(precondition=problem.precondition._replace(own=own))
    while n_passes < maxiter and len(running := np.flatnonzero(state.status == RUNNING)):
        if n_passes and n_passes % PATIENCE == 0:
            problem = _own_factors(design, problem, state, running, dtype)
        value, gradient = _evaluate(design, problem, ask(state), dtype)
        precondition = problem.precondition
        state = tell(state, value, gradient, precondition, tol / bins, precondition.curvature, eps)
        n_passes += 1
        if report:
            report(state)
        if keep:
            keep.offer(partial(Kept, state, precondition.own, n_passes, None))
    done = state.status == DONE
    known = done & (state.inverse_curvature[0] > 0) & (tol <= MAX_LAST)  # a step whose length a move has tried
    last = np.where(known[:, None], state.direction, 0)
    coef, intercept = problem.coordinates.to_model(state.point + last)
    stalled = (state.status == STALLED) | (state.status == FAILED)
    coef, intercept = coef.astype(dtype), intercept.astype(dtype)
    mean_count = mean_count.astype(dtype)
    found = Fit(coef, intercept, state.n_evaluated, done, stalled, silent, mean_count, dependent, constant)
    if keep:
        keep.hold(partial(Kept, state, problem.precondition.own, n_passes, found))
    return found


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
