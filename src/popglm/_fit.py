"""The default solver: one optimum per neuron, all neurons in one pass over the data.

`ask` names every neuron's trial point, a pass of `total` returns all losses and gradients, `tell` accepts or
shortens each neuron's own step. The two know nothing of GLMs or data: they are L-BFGS with a preconditioner
(Nocedal and Wright 2006, *Numerical Optimization*, chapters 6 and 7), batched by hand. They are NumPy in double
precision: beside a pass over the data their work is nothing, and nothing has to be compiled for it.
"""

import threading
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array
from threadpoolctl import ThreadpoolController

from popglm import _check, _objective, _scale
from popglm._design import BLOCK_ROWS, total
from popglm._objective import Fit, Objective

OPTIONS = {"tol": None, "maxiter": 200}
TOL = {"float32": 1e-5, "float64": 1e-16}  # how much of a loss, summed over bins, may be left to gain
RUNNING, DONE, STALLED, FAILED = range(4)
MEMORY = 8  # pairs of moves and gradient changes that are remembered
MAX_LAST = 1e-2  # largest `tol` that makes sure that the last step, which is not evaluated, is a small one
MAX_REJECTS = 12
JITTER = 1e-4  # on the diagonals of Hessians, relative to them; only the preconditioner sees it
PATIENCE = 10  # passes after which, again and again, a neuron that is not done gets a factor of its own
GROUP = 8  # neurons whose Hessians are summed in one pass
MAX_OWN = 2e7  # entries of all factors of neurons' own

Points = Float[Array, "neurons coordinates"]
PerNeuron = Float[Array, "neurons"]


class State(NamedTuple):
    """All that the next step needs. History leads with the pairs, everything else with the neurons."""

    point: Points
    value: PerNeuron
    gradient: Points
    direction: Points
    slope: PerNeuron
    step: PerNeuron
    moves: Float[Array, "memory neurons coordinates"]
    changes: Float[Array, "memory neurons coordinates"]
    inverse_curvature: Float[Array, "memory neurons"]
    n_evaluated: Int[Array, "neurons"]
    n_rejected: Int[Array, "neurons"]
    status: Int[Array, "neurons"]


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


def start(point: Points, silent: Bool[Array, "neurons"]) -> State:
    """State before the first pass; neurons that have nothing to fit are done where they stand."""
    zeros, none = np.zeros_like(point), np.zeros(len(point), int)
    history = np.zeros((MEMORY, *point.shape))
    nothing = point, zeros[:, 0] + np.inf, zeros, zeros, zeros[:, 0], zeros[:, 0]
    return State(*nothing, history, history, history[..., 0], none, none, np.where(silent, DONE, RUNNING))


def ask(state: State) -> Points:
    """Every neuron's trial point."""
    return state.point + state.step[:, None] * state.direction


def tell(state: State, value: PerNeuron, gradient: Points, precondition, tol, scale: PerNeuron, eps: float) -> State:
    """Accept each trial that decreases its loss, shorten the step of the others; stop where little is left to gain.

    `eps` is the precision of the values, and `scale` the size of the loss's curvature: the round-off that is forgiven
    must not shrink to nothing where a loss passes through 0.
    """
    running, first, step = state.status == RUNNING, ~np.isfinite(state.value), state.step
    finite = np.isfinite(value) & np.isfinite(gradient).all(1)
    value = np.where(finite, value, np.inf)
    gradient = np.where(finite[:, None], gradient, 0)
    slack = 8 * eps * np.maximum(np.abs(state.value), scale)
    lower = value <= state.value + 1e-4 * step * state.slope
    level = (value <= state.value + slack) & (np.abs(_dot(gradient, state.direction)) <= 0.9 * np.abs(state.slope))
    accept = running & finite & (first | lower | level)
    taken = accept[:, None]

    move, change = ask(state) - state.point, gradient - state.gradient
    curvature = _dot(move, change)
    keep = accept & ~first & (curvature > 0)
    history = (
        _push(state.moves, move, keep),
        _push(state.changes, change, keep),
        _push(state.inverse_curvature, 1 / np.where(keep, curvature, 1), keep),
    )
    point, gradient = np.where(taken, ask(state), state.point), np.where(taken, gradient, state.gradient)
    direction = -_two_loops(gradient, history, precondition)
    slope = _dot(gradient, direction)

    with np.errstate(invalid="ignore"):  # before the first value that is finite
        rise = np.where(finite & ~first, value - state.value - step * state.slope, 1)
    parabola = -state.slope * step**2 / (2 * np.where(rise > 0, rise, 1))
    shorter = np.clip(np.where(finite & (rise > 0), parabola, 0.1 * step), 0.1 * step, 0.5 * step)
    n_rejected = np.where(accept & (value < state.value), 0, state.n_rejected + 1)  # no gain, if level, is none
    status = np.select(
        [accept & (-slope / 2 <= tol), running & (n_rejected >= MAX_REJECTS), running & first & ~finite],
        [DONE, STALLED, FAILED],
        state.status,
    )
    return State(
        point,
        np.where(accept, value, state.value),
        gradient,
        np.where(taken, direction, state.direction),
        np.where(accept, slope, state.slope),
        np.where(accept, 1, shorter),
        *history,
        state.n_evaluated + running,
        n_rejected,
        status,
    )


def restarted(state: State, which: Bool[Array, "neurons"], point: Points) -> State:
    """The same state, in which some neurons are not evaluated yet and stand at these points."""
    anew = start(point, np.zeros(len(point), bool))
    history = {"moves", "changes", "inverse_curvature"}  # these lead with the pairs
    anew = anew._replace(n_evaluated=state.n_evaluated)
    pick = lambda name, old, new: np.where(
        which.reshape((1,) * (name in history) + (-1,) + (1,) * (old.ndim - 1 - (name in history))), new, old
    )
    return State(*(pick(name, *both) for name, both in zip(State._fields, zip(state, anew, strict=True), strict=True)))


def _dot(a, b):
    return np.einsum("...i,...i->...", a, b)


def _push(history, new, keep):
    """History with a new pair in front, for the neurons that keep it."""
    shifted = np.concatenate([new[None], history[:-1]])
    return np.where(keep.reshape(-1, *[1] * (new.ndim - 1)), shifted, history)


def _two_loops(gradient, history, precondition):
    """Inverse Hessian estimate times the gradient, newest pair first."""
    pairs, q, weights = list(zip(*history, strict=True)), gradient, []
    for move, change, inverse_curvature in pairs:
        weights.append(inverse_curvature * _dot(move, q))
        q = q - weights[-1][:, None] * change
    q = precondition(q)
    for (move, change, inverse_curvature), weight in zip(reversed(pairs), reversed(weights), strict=True):
        q = q + (weight - inverse_curvature * _dot(change, q))[:, None] * move
    return q


class Coordinates(NamedTuple):
    """Standardised features, and an intercept that is orthogonal to them because they are centred."""

    mean: Float[Array, "features"]
    sd: Float[Array, "features"]

    def to_model(self, point):
        """Coefficients and intercepts at a point."""
        coef = point[:, :-1] / self.sd
        return coef, point[:, -1] - coef @ self.mean

    def from_model(self, coef, intercept):
        """The point of coefficients and intercepts."""
        return np.concatenate([coef * self.sd, (intercept + coef @ self.mean)[:, None]], 1)

    def gradient(self, d_coef, d_intercept):
        """Gradient at a point, from that in coefficients and intercepts."""
        return np.concatenate([(d_coef - np.outer(d_intercept, self.mean)) / self.sd, d_intercept[:, None]], 1)


class Preconditioner(NamedTuple):
    r"""Inverse of each neuron's Hessian under the null model, :math:`(c_n C + D)^{-1}`, until it has one of its own.

    c is the neuron's curvature, C the correlation of the features, D the curvature of the penalty. With
    :math:`C = L L^\top` and the spectrum :math:`L^{-1} D L^{-\top} = Q M Q^\top`, one factor :math:`R = L^{-\top} Q`
    serves every neuron: :math:`R\,(c_n + M)^{-1} R^\top`. Neurons in `own` have the Cholesky factor of their own Hessian.
    """

    correlation: Float[Array, "coordinates coordinates"]
    penalty: Float[Array, "coordinates"]
    factor: Float[Array, "coordinates coordinates"]
    spectrum: Float[Array, "coordinates"]
    curvature: PerNeuron
    mask: Float[Array, "neurons coordinates"]
    own: dict[int, Float[Array, "coordinates coordinates"]]

    def __call__(self, q: Points) -> Points:
        inner = (self.mask * q) @ self.factor / (self.curvature[:, None] + self.spectrum)
        out = inner @ self.factor.T
        for neuron, lower in self.own.items():
            out[neuron] = scipy.linalg.cho_solve((lower, True), self.mask[neuron] * q[neuron], check_finite=False)
        return self.mask * out

    @classmethod
    def of(cls, correlation, pull, curvature, mask) -> "Preconditioner":
        """From the correlation of the features, the curvature of the penalty in their coordinates, and the mask.

        The intercept is the last coordinate; the features are centred, so it is orthogonal to them.
        """
        n, last = len(correlation), len(correlation) + 1
        matrix, penalty = np.eye(last), np.zeros(last)
        matrix[:n, :n], penalty[:n] = correlation, pull
        factor, spectrum = _inverse_factor(matrix, JITTER), np.zeros(last)
        if penalty.any():
            spectrum, turn = np.linalg.eigh(factor.T @ (penalty[:, None] * factor))
            factor = factor @ turn
        mask = np.concatenate([mask, np.ones((len(mask), 1))], 1)
        return cls(matrix, penalty, factor, spectrum, curvature, mask, {})

    def with_own(self, hessians: dict) -> "Preconditioner":
        """Take these neurons' own Hessians of the loss, with the penalty and the mask."""
        factors = {}
        for neuron, hessian in hessians.items():
            mask = self.mask[neuron]
            matrix = np.outer(mask, mask) * (hessian + np.diag(self.penalty)) + np.diag(1 - mask)
            jitter = JITTER * (np.mean(np.diag(hessian)) + self.curvature[neuron])
            factors[neuron] = _cholesky(matrix, jitter)
        return self._replace(own=self.own | factors)


def _inverse_factor(matrix, jitter):
    """R with R R' the inverse of the matrix plus `jitter` on its diagonal."""
    return scipy.linalg.solve_triangular(_cholesky(matrix, jitter), np.eye(len(matrix)), lower=True).T


def _cholesky(matrix, jitter):
    """Lower factor of the matrix plus `jitter` on its diagonal."""
    for more in (1, 10, 100):  # for sums in single precision over thousands of dependent columns
        try:
            return np.linalg.cholesky(matrix + more * jitter * np.eye(len(matrix)))
        except np.linalg.LinAlgError:
            continue
    return np.linalg.cholesky(matrix + 1000 * jitter * np.eye(len(matrix)))


class Problem(NamedTuple):
    """Everything that a pass needs besides the data and the point."""

    objective: Objective
    bins: PerNeuron
    coordinates: Coordinates
    precondition: Preconditioner


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
    _check.some_valid(bins.any())
    estimated = objective.model.shapes and objective.model.scale is None
    objective = objective._replace(model=_scale.known(objective.model, len(bins)))
    mean_count, null, silent = _objective.null_model(objective.model, bins, events)
    bins = np.maximum(bins, 1)
    problem, dependent, constant = prepare(objective, mask, bins, mean_count, null, moments, eps)
    own = problem.precondition.own
    begin = Kept(start(_first(problem, init, null, silent), silent), own, 0, None, None)
    state, own, n_passes, scale, _ = kept or begin
    if scale is not None:
        problem = _scaled(problem, objective.model.with_scale(scale[:, 0]), null, mean_count)
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


def _scaled(problem: Problem, model, null, mean_count) -> Problem:
    """The problem of another scale."""
    curvature = np.asarray(_objective.curvature(model, null, mean_count), float)
    return problem._replace(
        objective=problem.objective._replace(model=model),
        precondition=problem.precondition._replace(curvature=curvature),
    )


def _another_turn(design, problem: Problem, state: State, null, mean_count):
    """The most likely scale where the fit has ended; neurons whose scale has moved go on from there."""
    dtype, model = jnp.result_type(float), problem.objective.model
    found = _scale.most_likely(design, model, *problem.coordinates.to_model(state.point))
    moved = np.abs(np.log(found.scale / model.scale))[:, 0] > 10 * _scale.TOL[dtype.name]
    again = moved & (state.status == DONE) & (np.isfinite(state.value))
    return _scaled(problem, found, null, mean_count), restarted(state, again, state.point)


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
        if len({*known.own, *hessians, *group}) * known.factor.size > MAX_OWN:
            break
        some = np.resize(group, GROUP)  # of one length, so that one compilation serves all
        model, f = problem.objective.model, _objective.steepest(n_rows)
        for neuron, hessian, rest in zip(
            group, *total(f, design, model, some, coef[some], intercept[some], *units), strict=False
        ):
            if np.isfinite(hessian).all() and np.isfinite(rest):  # else the point is too far away
                hessians[neuron] = (hessian + rest * known.correlation) / problem.bins[neuron]
    return problem._replace(precondition=known.with_own(hessians))


def prepare(objective: Objective, mask, bins, mean_count, null, moments, eps, few=0.0):
    """Coordinates and preconditioner from the sums of the first pass; the features that others make, the constant ones.

    `few` is added to the diagonal of the correlations, of 1, where few rows were seen.
    """
    n_rows, feature_sum, gram = moments
    center, power = feature_sum / n_rows, np.diag(gram) / n_rows
    covariance = gram / n_rows - np.outer(center, center)
    # A column that never changes is the intercept's: its own coefficient is masked, and stays 0.
    alive = np.diag(covariance) > 8 * eps * power
    sd = np.sqrt(np.where(alive, np.diag(covariance), 1))
    correlation = np.where(np.outer(alive, alive), covariance / np.outer(sd, sd), 0)
    correlation = correlation + few * np.eye(len(sd))
    curvature = np.asarray(_objective.curvature(objective.model, null, mean_count), float)
    pull = objective.penalty.curvature(objective.strength) / sd**2
    precondition = Preconditioner.of(correlation, pull, curvature, mask * alive)
    dependent = _dependent(correlation, alive, 16 * eps) if not np.any(pull) else np.zeros(0, int)
    problem = Problem(objective, bins, Coordinates(center, sd), precondition)
    return problem, dependent, np.flatnonzero(~alive & (power > 0))


def _dependent(correlation, alive, tol) -> Int[Array, "some"]:
    """Features that are a sum of others, to the precision of the correlations: the last of a pivoted factorisation."""
    at = np.flatnonzero(alive)
    if not len(at):
        return at
    _, pivots, rank, _ = scipy.linalg.lapack.dpstrf(correlation[np.ix_(at, at)], tol=tol, lower=1)
    return np.sort(at[pivots[rank:] - 1])
