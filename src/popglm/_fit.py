"""The default solver: one optimum per neuron, all neurons in one pass over the data.

`ask` names every neuron's trial point, a pass of `total` returns all losses and gradients, `tell` accepts or
shortens each neuron's own step. The two know nothing of GLMs or data: they are L-BFGS with a preconditioner
(Nocedal and Wright 2006, *Numerical Optimization*, chapters 6 and 7), batched by hand.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from popglm import _objective
from popglm._design import total
from popglm._objective import Fit, Objective

OPTIONS = {"tol": None, "maxiter": 200}
TOL = {"float32": 1e-5, "float64": 1e-16}  # how much of a loss, summed over bins, may be left to gain
RUNNING, DONE, STALLED, FAILED = range(4)
MEMORY = 8  # pairs of moves and gradient changes that are remembered
MAX_REJECTS = 12
JITTER = 1e-4  # of the correlation matrix; only the preconditioner sees it
MAX_FACTORS = 1e8  # neurons * features^2 up to which every neuron gets a factor with its own penalty

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


def start(point: Points, silent) -> State:
    """State before the first pass; neurons that have nothing to fit are done where they stand."""
    n, zeros, none = len(point), jnp.zeros_like(point), jnp.zeros(len(point), jnp.int32)
    history = jnp.zeros((MEMORY, *point.shape), point.dtype)
    return State(
        point,
        jnp.full(n, jnp.inf, point.dtype),
        zeros,
        zeros,
        zeros[:, 0],
        zeros[:, 0],
        history,
        history,
        history[..., 0],
        none,
        none,
        jnp.where(silent, DONE, RUNNING).astype(jnp.int32),
    )


def ask(state: State) -> Points:
    """Every neuron's trial point."""
    return state.point + state.step[:, None] * state.direction


def tell(state: State, value: PerNeuron, gradient: Points, precondition, tol, scale: PerNeuron) -> State:
    """Accept each trial that decreases its loss, shorten the step of the others; stop where little is left to gain.

    `scale` is the size of the loss's curvature: the round-off that is forgiven must not shrink to nothing where
    a loss passes through 0.
    """
    running, first, step = state.status == RUNNING, state.n_evaluated == 0, state.step
    finite = jnp.isfinite(value) & jnp.isfinite(gradient).all(1)
    slack = 8 * jnp.finfo(value.dtype).eps * jnp.maximum(jnp.abs(state.value), scale)
    lower = value <= state.value + 1e-4 * step * state.slope
    level = (value <= state.value + slack) & (jnp.abs(_dot(gradient, state.direction)) <= 0.9 * jnp.abs(state.slope))
    accept = running & finite & (first | lower | level)
    taken = accept[:, None]

    move, change = ask(state) - state.point, gradient - state.gradient
    curvature = _dot(move, change)
    keep = accept & ~first & (curvature > 0)
    history = (
        _push(state.moves, move, keep[:, None]),
        _push(state.changes, change, keep[:, None]),
        _push(state.inverse_curvature, 1 / jnp.where(keep, curvature, 1), keep),
    )
    point, gradient = jnp.where(taken, ask(state), state.point), jnp.where(taken, gradient, state.gradient)
    direction = -_two_loops(gradient, history, precondition)
    slope = _dot(gradient, direction)

    parabola = -state.slope * step**2 / (2 * (value - state.value - step * state.slope))
    shorter = jnp.clip(jnp.where(finite & (parabola > 0), parabola, 0.1 * step), 0.1 * step, 0.5 * step)
    n_rejected = jnp.where(accept, 0, state.n_rejected + 1)
    status = jnp.select(
        [accept & (-slope / 2 <= tol), running & (n_rejected >= MAX_REJECTS), running & first & ~finite],
        [DONE, STALLED, FAILED],
        state.status,
    )
    return State(
        point,
        jnp.where(accept, value, state.value),
        gradient,
        jnp.where(taken, direction, state.direction),
        jnp.where(accept, slope, state.slope),
        jnp.where(accept, 1, shorter),
        *history,
        state.n_evaluated + running,
        n_rejected,
        status.astype(jnp.int32),
    )


def _dot(a, b):
    return jnp.sum(a * b, -1)


def _push(history, new, keep):
    return jnp.where(keep, jnp.concatenate([new[None], history[:-1]]), history)


def _two_loops(gradient, history, precondition):
    """Inverse Hessian estimate times the gradient, newest pair first."""

    def newest_first(q, pair):
        move, change, inverse_curvature = pair
        weight = inverse_curvature * _dot(move, q)
        return q - weight[:, None] * change, weight

    def oldest_first(q, pair):
        (move, change, inverse_curvature), weight = pair
        return q + (weight - inverse_curvature * _dot(change, q))[:, None] * move, None

    q, weights = jax.lax.scan(newest_first, gradient, history)
    return jax.lax.scan(oldest_first, precondition(q), (history, weights), reverse=True)[0]


class Coordinates(NamedTuple):
    """Standardised features, and an intercept that is orthogonal to them because they are centred."""

    mean: Float[Array, "features"]
    sd: Float[Array, "features"]

    def to_model(self, point):
        coef = point[:, :-1] / self.sd[None]
        return coef, point[:, -1] - coef @ self.mean

    def from_model(self, coef, intercept):
        return jnp.concatenate([coef * self.sd[None], (intercept + coef @ self.mean)[:, None]], 1)

    def gradient(self, d_coef, d_intercept):
        d_intercept = d_intercept[:, None]
        return jnp.concatenate([(d_coef - d_intercept * self.mean[None]) / self.sd[None], d_intercept], 1)


class Preconditioner(NamedTuple):
    """Inverse of each neuron's Hessian under the null model: its curvature times the correlation of the features."""

    factor: Float[Array, "#neurons features features"]
    curvature: PerNeuron
    mask: Float[Array, "#neurons features"]

    def __call__(self, q: Points) -> Points:
        inner = self.mask * q[:, :-1]
        if len(self.factor) == 1:
            inner = jax.scipy.linalg.cho_solve((self.factor[0], True), inner.T).T
        else:
            inner = jax.vmap(lambda f, v: jax.scipy.linalg.cho_solve((f, True), v))(self.factor, inner)
        return jnp.concatenate([self.mask * inner, q[:, -1:]], 1) / self.curvature[:, None]


class Problem(NamedTuple):
    """Everything that a pass needs besides the data and the point."""

    objective: Objective
    bins: PerNeuron
    coordinates: Coordinates
    precondition: Preconditioner


def fit(design, objective: Objective, mask, init, tol=OPTIONS["tol"], maxiter=OPTIONS["maxiter"]) -> Fit:
    """Exact fit of all neurons: one pass for the preconditioner, then one pass per trial point.

    A neuron is done when its loss, summed over bins, is within `tol` of the optimum as estimated by half the Newton
    decrement: every coefficient is then within about ``sqrt(2 * tol)`` standard errors of it. Without a `tol` it is
    that of the precision. `mask` and the coefficients of `init` have the features last.
    """
    tol = TOL[design.X.dtype.name] if tol is None else tol
    (bins, events), moments = total(_objective.census, design)
    bins = np.maximum(bins, 1)
    mean, null, silent = _objective.null_model(objective.model, bins, events)
    problem = _prepare(objective, mask, bins, mean, null, moments)
    if init is None:
        init = np.zeros(mask.shape), null
    state = _begin(problem, *(np.asarray(part, bins.dtype) for part in (*init, null)), silent)
    for _ in range(maxiter):
        if not np.any(np.asarray(state.status) == RUNNING):
            break
        state = _tell(state, *_evaluate(design, problem, state), problem, tol)
    coef, intercept = map(np.asarray, _end(problem.coordinates, state))
    status = np.asarray(state.status)
    stalled = (status == STALLED) | (status == FAILED)
    return Fit(coef, intercept, np.asarray(state.n_evaluated), status == DONE, stalled, silent, mean)


@jax.jit
def _begin(problem, coef, intercept, null, silent):
    """First state; a silent neuron stands at the null model whatever the others start from."""
    coef = jnp.where(silent[:, None], 0, coef * problem.precondition.mask)
    return start(problem.coordinates.from_model(coef, jnp.where(silent, null, intercept)), silent)


@jax.jit
def _end(coordinates, state):
    return coordinates.to_model(state.point)


@jax.jit
def _evaluate(design, problem: Problem, state: State):
    """Mean loss and penalty of every neuron at its own trial point, with the gradient. Divides once."""
    (model, penalty, strength), bins, coordinates, _ = problem
    coef, intercept = coordinates.to_model(ask(state))
    loss, d_coef, d_intercept = total(_objective.loss_and_gradient, design, model, coef, intercept)
    cost, pull = jax.vjp(lambda c: penalty.penalty(strength, c), coef)
    d_coef = d_coef / bins[:, None] + pull(jnp.ones_like(cost))[0]
    return loss / bins + cost, coordinates.gradient(d_coef, d_intercept / bins)


@jax.jit
def _tell(state, value, gradient, problem: Problem, tol):
    """`tell` with this problem's preconditioner; masked coefficients feel no gradient."""
    precondition = problem.precondition
    gradient = jnp.concatenate([gradient[:, :-1] * precondition.mask, gradient[:, -1:]], 1)
    return tell(state, value, gradient, precondition, tol / problem.bins, precondition.curvature)


def _prepare(objective, mask, bins, mean, null, moments) -> Problem:
    """Coordinates and preconditioner from what the first pass over the data has summed."""
    pull = objective.penalty.curvature(objective.strength)
    own = bool(pull > 0 and mask.size * mask.shape[1] <= MAX_FACTORS)
    arrays = (np.asarray(a, bins.dtype) for a in (mean, null, pull, mask))
    return Problem(objective, bins, *_factor(objective.model, *moments, *arrays, own))


@partial(jax.jit, static_argnums=8)
def _factor(model, n_rows, feature_sum, gram, mean, null, pull, mask, own):
    center = feature_sum / n_rows
    covariance = gram / n_rows - jnp.outer(center, center)
    variance = jnp.diag(covariance)
    # A column that never changes is the intercept's: its own coefficient is masked, and stays 0.
    alive = variance > 8 * jnp.finfo(gram.dtype).eps * (jnp.diag(gram) / n_rows)
    sd = jnp.sqrt(jnp.where(alive, variance, 1))
    curvature = jax.vmap(jax.grad(jax.grad(model.loss)))(null, mean)
    penalty = pull / (curvature if own else jnp.median(curvature, keepdims=True))
    correlation = covariance / jnp.outer(sd, sd)
    diagonal = JITTER + penalty[:, None] / sd[None] ** 2
    factor = jax.vmap(lambda d: jnp.linalg.cholesky(correlation + jnp.diag(d)))(diagonal)
    return Coordinates(center, sd), Preconditioner(factor, curvature, mask * alive[None])
