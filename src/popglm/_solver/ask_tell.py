"""L-BFGS with a preconditioner, by ask and tell, for all neurons at once.

`ask` returns every neuron's trial point; `tell` takes values and gradients there, and accepts or shortens each neuron's own
step. The preconditioner computes the next direction: to the minimum of the quadratic model, or of that plus a non-smooth
penalty. Neither function knows GLMs or data (Nocedal and Wright 2006, *Numerical Optimization*, chapters 6 and 7; batched by
hand). They are NumPy in double precision: their work is negligible beside a pass over the data, and needs no compilation.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

RUNNING, DONE, STALLED, FAILED = range(4)


HISTORY_LENGTH = 8  # pairs of moves and gradient changes


MAX_REJECTS = 12  # rejected trials in a row, after which a neuron has stalled


Points = Float[Array, "neurons coordinates"]


NeuronScalars = Float[Array, " neurons"]


class History(NamedTuple):
    """Earlier moves and changes of the gradient, newest first; pairs that are not used have an inverse curvature of 0."""

    moves: Float[Array, "memory neurons coordinates"]
    changes: Float[Array, "memory neurons coordinates"]
    inverse_curvature: Float[Array, "memory neurons"]


class SolverState(NamedTuple):
    """State between two steps; arrays lead with the neurons."""

    point: Points
    value: NeuronScalars
    gradient: Points
    direction: Points
    slope: NeuronScalars
    step: NeuronScalars
    history: History
    n_evaluated: Int[Array, " neurons"]
    n_rejected: Int[Array, " neurons"]
    status: Int[Array, " neurons"]

    def to_tuple(self) -> tuple:
        """Flat tuple of arrays, as files hold it."""
        return *self[:6], *self.history, *self[7:]

    @classmethod
    def from_tuple(cls, arrays) -> "SolverState":
        """Build from the flat tuple of a file."""
        return cls(*arrays[:6], History(*arrays[6:9]), *arrays[9:])


def initial_state(point: Points, silent: Bool[Array, " neurons"]) -> SolverState:
    """State before the first pass; silent neurons are done at their first point."""
    zeros, none = np.zeros_like(point), np.zeros(len(point), int)
    pairs = np.zeros((HISTORY_LENGTH, *point.shape))
    return SolverState(
        point=point,
        value=zeros[:, 0] + np.inf,
        gradient=zeros,
        direction=zeros,
        slope=zeros[:, 0],
        step=zeros[:, 0],
        history=History(moves=pairs, changes=pairs, inverse_curvature=pairs[..., 0]),
        n_evaluated=none,
        n_rejected=none,
        status=np.where(silent, DONE, RUNNING),
    )


def ask(state: SolverState) -> Points:
    """Trial point of every neuron."""
    return state.point + state.step[:, None] * state.direction


def tell(
    state: SolverState,
    value: NeuronScalars,
    gradient: Points,
    precondition,
    tol,
    scale: NeuronScalars,
    eps: float,
    hidden=0.0,
) -> SolverState:
    """Accept each trial that decreases its value, shorten the step of the others, and apply the stopping rule.

    Stopping rule: a neuron is done at an accepted point where half the Newton decrement is at most `tol`.

    `value` includes the whole penalty, `gradient` its smooth part; the slope of a step includes the non-smooth part.
    `eps` is the precision of the values, and `scale` the size of the loss's curvature, so that the round-off that is
    tolerated does not vanish where a loss passes through 0. A neuron whose trial is rejected is done if this round-off
    may hide all that is left to gain, up to `hidden`; one with more to gain stalls after `MAX_REJECTS` rejections.
    """
    running, first, step = state.status == RUNNING, ~np.isfinite(state.value), state.step
    finite = np.isfinite(value) & np.isfinite(gradient).all(1)
    value = np.where(finite, value, np.inf)
    gradient = np.where(finite[:, None], gradient, 0)
    slack = 8 * eps * np.maximum(np.abs(state.value), scale)
    lower = value <= state.value + 1e-4 * step * state.slope
    nonsmooth = state.slope - row_dot(state.gradient, state.direction)
    level = (value <= state.value + slack) & (
        np.abs(row_dot(gradient, state.direction) + nonsmooth) <= 0.9 * np.abs(state.slope)
    )
    accept = running & finite & (first | lower | level)
    taken = accept[:, None]

    move, change = ask(state) - state.point, gradient - state.gradient
    curvature = row_dot(move, change)
    keep = accept & ~first & (curvature > 0)
    pair = History(moves=move, changes=change, inverse_curvature=1 / np.where(keep, curvature, 1))
    history = History(*(_push(*arrays, keep) for arrays in zip(state.history, pair, strict=True)))
    point, gradient = np.where(taken, ask(state), state.point), np.where(taken, gradient, state.gradient)
    direction, slope = precondition.search_direction(point, gradient, history, accept)

    with np.errstate(invalid="ignore"):  # there may be no finite value yet
        rise = np.where(finite & ~first, value - state.value - step * state.slope, 1)
    parabola = -state.slope * step**2 / (2 * np.where(rise > 0, rise, 1))
    shorter = np.clip(np.where(finite & (rise > 0), parabola, 0.1 * step), 0.1 * step, 0.5 * step)
    # An accepted step without gain counts as a rejection.
    n_rejected = np.where(accept & (value < state.value), 0, state.n_rejected + 1)
    direction, slope = np.where(taken, direction, state.direction), np.where(accept, slope, state.slope)
    at_optimum = running & ~accept & ~first & (-slope / 2 <= np.minimum(slack, hidden))
    done = accept & (-slope / 2 <= tol) | at_optimum
    status = np.select(
        [done, running & (n_rejected >= MAX_REJECTS), running & first & ~finite],
        [DONE, STALLED, FAILED],
        state.status,
    )
    return SolverState(
        point=point,
        value=np.where(accept, value, state.value),
        gradient=gradient,
        direction=np.where(at_optimum[:, None], 0, direction),  # steps in it were tried without gain
        slope=slope,
        step=np.where(accept, 1, shorter),
        history=history,
        n_evaluated=state.n_evaluated + running,
        n_rejected=n_rejected,
        status=status,
    )


def restart_neurons(state: SolverState, which: Bool[Array, " neurons"], point: Points) -> SolverState:
    """Set the neurons of the mask `which` to their initial state, at these points; other neurons keep their state."""
    fresh = initial_state(point, np.zeros(len(point), bool))._replace(n_evaluated=state.n_evaluated)

    def pick(old, new, axis=0):
        return np.where(np.expand_dims(which, [i for i in range(old.ndim) if i != axis]), new, old)

    history = History(*(pick(*arrays, axis=1) for arrays in zip(state.history, fresh.history, strict=True)))
    rest = {name: pick(getattr(state, name), getattr(fresh, name)) for name in state._fields if name != "history"}
    return SolverState(history=history, **rest)


def redirect_neurons(state: SolverState, precondition, tol, which: Bool[Array, " neurons"]) -> SolverState:
    """Recompute directions of the neurons of the mask `which` after their values or gradients have changed."""
    direction, slope = precondition.search_direction(state.point, state.gradient, state.history, which)
    status = np.where(-slope / 2 <= tol, DONE, RUNNING)
    return state._replace(
        direction=np.where(which[:, None], direction, state.direction),
        slope=np.where(which, slope, state.slope),
        step=np.where(which, 1, state.step),
        n_rejected=np.where(which, 0, state.n_rejected),
        status=np.where(which, status, state.status),
    )


def row_dot(a, b):
    """Dot product of each row of `a` with that of `b`."""
    return np.einsum("...i,...i->...", a, b)


def _push(pairs, new, keep):
    """Put a new pair in front of the history of the neurons that keep it."""
    shifted = np.concatenate([new[None], pairs[:-1]])
    return np.where(keep.reshape(-1, *[1] * (new.ndim - 1)), shifted, pairs)


def inverse_hessian_product(gradient, history, precondition):
    """Product of the L-BFGS estimate of the inverse Hessian with the gradient (two-loop recursion)."""
    pairs, q, weights = list(zip(*history, strict=True)), gradient, []
    for move, change, inverse_curvature in pairs:
        weights.append(inverse_curvature * row_dot(move, q))
        q = q - weights[-1][:, None] * change
    q = precondition(q)
    for (move, change, inverse_curvature), weight in zip(reversed(pairs), reversed(weights), strict=True):
        q = q + (weight - inverse_curvature * row_dot(change, q))[:, None] * move
    return q
