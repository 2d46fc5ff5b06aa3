"""The default solver: one optimum per neuron, all neurons in one pass over the data.

`ask` names every neuron's trial point, a pass of `total` returns all losses and gradients, `tell` accepts or shortens each
neuron's own step. One pass before them is for the preconditioner, and a few between them where neurons need one of their own.
"""

import threading
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from threadpoolctl import ThreadpoolController

from popglm import _check_arrays, _design, _objective, _precondition, _scale
from popglm._ask_tell import DONE, FAILED, RUNNING, STALLED, Points, State, aimed, ask, restarted, start, tell
from popglm._design import BLOCK_ROWS, total
from popglm._objective import Fit, Objective
from popglm._precondition import Problem, penalised, prepare, unpenalised

OPTIONS = {"tol": None, "maxiter": 200}
TOL = {"float32": 1e-5, "float64": 1e-16}  # how much of a loss, summed over bins, may be left to gain
HIDDEN = 1e-4  # the most of it, in nats, that round-off may hide from a neuron that is done: 0.014 standard errors
MAX_LAST = 1e-2  # largest `tol` that makes sure that the last step, which is not evaluated, is a small one
PATIENCE = 10  # passes after which, again and again, a neuron that is not done gets a factor of its own
WEAKEST = 1e-3  # strength of a path, relative to that at which all coefficients are 0
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
    """One thread for NumPy's products, as long as anyone is inside; the number is the process's, so all share it.

    They are small beside XLA's: their threads would only wait for its.
    """

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


@contextmanager
def progress(n_neurons, wanted):
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


class Setting(NamedTuple):
    """What a fit knows from its first pass, and what does not change on its way."""

    mean_count: Array
    null: Array
    silent: Array
    dependent: Array
    constant: Array
    free: Array  # parameters of each neuron that the data determine
    estimated: bool  # whether the loss has a scale that is to be found
    least: Array | float  # loss that round-off may leave
    tol: float
    eps: float


def fit(design, objective: Objective, mask, init, tol=None, maxiter=OPTIONS["maxiter"], report=None, keep=None) -> Fit:
    """Exact fit of all neurons: one pass for the preconditioner, then one pass per trial point.

    A neuron is done when its loss, summed over bins, is within `tol` of the optimum as estimated by half the Newton
    decrement: every coefficient is then within about ``sqrt(2 * tol)`` standard errors of it. It goes on by the step
    that this estimate is made of, which costs no pass, unless it has not moved at all. Without a `tol` it is
    that of the precision. `mask` and the coefficients of `init` have the features last. `report` is called with the
    state after every pass, `keep` is the checkpoint, or None.
    """
    with one_thread:
        kept = Kept.of(keep.saved) if keep and keep.saved else None
        if kept and kept.over(maxiter):
            return kept.found
        setting, problem = _begin(design, objective, mask, tol)
        if kept is None:
            first = start(_first(problem, init, setting.null, setting.silent), setting.silent)
            kept = Kept(first, problem.precondition.own, 0, None, None)
        elif kept.scale is not None:
            problem = scaled(
                problem, problem.objective.model.with_scale(kept.scale[:, 0]), setting.null, setting.mean_count
            )
        problem = problem._replace(precondition=problem.precondition._replace(own=kept.own))
        problem, state, n_passes = _solve(design, setting, problem, kept.state, kept.n_passes, maxiter, report, keep)
        found = _found(setting, problem, state)
        if keep:
            keep.hold(partial(Kept, state, problem.precondition.own, n_passes, found.scale, found))
        return found


def path(design, objective: Objective, mask, factors, n_factors, tol=None, maxiter=OPTIONS["maxiter"], report=None):
    """Fits with the penalty times these factors, the largest first, each from where the last has ended; increasing.

    They share the first pass and all that was learned of the loss, and none needs a pass to begin: what a penalty adds is
    known without the data. Without `factors` the largest is the least at which all that has a length is 0.
    """
    with one_thread:
        setting, problem = _begin(design, objective, mask, tol)
        state, fits = start(_first(problem, None, setting.null, setting.silent), setting.silent), []
        if factors is None:
            state, problem, largest = _least(design, setting, problem, state, maxiter)
            factors = largest * np.geomspace(1, WEAKEST, n_factors)[::-1]
        for factor in factors[::-1]:
            problem, state = _strengthened(setting, problem, state, objective, factor)
            problem, state, _ = _solve(design, setting, problem, state, 0, maxiter, report, None)
            fits.append(_found(setting, problem, state))
        return factors, fits[::-1]


def _least(design, setting: Setting, problem: Problem, state: State, maxiter):
    """The least factor of the penalty at which all that has a length is 0, and a start from where everything else is fitted."""
    known, silent = problem.precondition, setting.silent
    problem = problem._replace(precondition=unpenalised(known))
    problem, state, _ = _solve(design, setting, problem, state, 0, maxiter, None, None)
    problem = problem._replace(precondition=known._replace(curvature=problem.precondition.curvature))
    _, gradient = _evaluate(design, problem, state.point, jnp.result_type(float))
    largest = known.lengths.least(np.where(silent[:, None], 0, gradient))
    return start(state.point, silent), problem, max(largest, np.finfo(np.float32).tiny)


def _begin(design, objective, mask, tol) -> tuple[Setting, Problem]:
    """The first pass."""
    dtype = jnp.result_type(float)
    eps = _design.eps()
    (bins, events), moments = total(_objective.census, design)
    _check_arrays.some_valid(bins.any())
    estimated = objective.model.shapes and objective.model.scale is None
    objective = objective._replace(model=_scale.known(objective.model, len(bins)))
    mean_count, null, silent = _objective.null_model(objective.model, bins, events)
    bins = np.maximum(bins, 1)
    problem, rank, constant = prepare(objective, mask, bins, mean_count, null, moments, eps)
    least = 0.0
    if objective.model.divides:
        least = eps * total(_objective.null_loss, design, problem.objective.model, null.astype(dtype)) / bins
    tol = TOL[dtype.name] if tol is None else tol
    told_apart = rank.named(mask), constant, rank.free(mask) + 1
    return Setting(mean_count, null, silent, *told_apart, estimated, least, tol, eps), problem


def _solve(design, setting: Setting, problem: Problem, state: State, n_passes, maxiter, report, keep):
    """Passes until no neuron is running; the problem with what it has learned, the state, and the number of passes."""
    dtype = jnp.result_type(float)
    while n_passes < maxiter and len(running := np.flatnonzero(state.status == RUNNING)):
        if n_passes and n_passes % PATIENCE == 0:
            problem = _own_factors(design, problem, state, running, dtype)
        value, gradient = _evaluate(design, problem, ask(state), dtype)
        nat = _nat(setting, problem, value)
        precondition, nat_per_bin = problem.precondition, nat / problem.bins
        tol, hidden = setting.tol * nat_per_bin, HIDDEN * nat_per_bin
        state = tell(state, value, gradient, precondition, tol, precondition.curvature * nat, setting.eps, hidden)
        n_passes += 1
        if setting.estimated and not (state.status == RUNNING).any():
            problem, state = _another_turn(design, problem, state, setting.null, setting.mean_count)
        if report:
            report(state)
        if keep:
            keep.offer(partial(Kept, state, problem.precondition.own, n_passes, problem.objective.model.scale, None))
    return problem, state, n_passes


def _nat(setting, problem, value):
    """One nat of every neuron's loss, in the units of its loss."""
    return problem.objective.model.nat(np.maximum(np.where(np.isfinite(value), value, 1), setting.least))


def _strengthened(setting: Setting, problem: Problem, state: State, objective, factor) -> tuple[Problem, State]:
    """The problem with the penalty of the first objective times a factor, and the state seen from there."""
    old, known, penalty = problem.objective.strength, problem.precondition, problem.objective.penalty
    new = objective.strength * factor
    precondition = penalised(objective._replace(strength=new), problem.coordinates, known)
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
    tol = setting.tol * _nat(setting, problem, value) / problem.bins
    return problem, aimed(state, precondition, tol, seen & ~setting.silent)


def _found(setting: Setting, problem: Problem, state: State) -> Fit:
    """What the fit has led to."""
    dtype, penalty = jnp.result_type(float), problem.objective.penalty
    done = state.status == DONE
    known = done & (state.inverse_curvature[0] > 0) & (setting.tol <= MAX_LAST)  # a step whose length a move has tried
    last = np.where(known[:, None], state.direction, 0)
    coef, intercept = problem.coordinates.to_model(state.point + last)
    stalled = (state.status == STALLED) | (state.status == FAILED)
    coef, intercept = coef.astype(dtype), intercept.astype(dtype)
    free = np.minimum((coef != 0).sum(1) + 1, setting.free) if penalty.lengths else setting.free
    flags = state.n_evaluated, done, stalled, setting.silent, setting.mean_count.astype(dtype)
    return Fit(coef, intercept, *flags, setting.dependent, setting.constant, free, problem.objective.model.scale)


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
    new = model.with_scale(
        np.where(again, found.scale[:, 0], model.scale[:, 0])
    )  # values of the others are of the old one
    return scaled(problem, new, null, mean_count), restarted(state, again, state.point)


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
