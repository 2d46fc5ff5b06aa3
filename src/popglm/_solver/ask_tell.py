"""L-BFGS with a preconditioner, by ask and tell, for all neurons at once.

`ask` names every neuron's trial point; `tell` takes the values and gradients there, and accepts or shortens each neuron's own
step. Where the next one leads is the preconditioner's: to the minimum of the quadratic model, or of that and the kinks of a
penalty, whose change along the step it knows. The two know nothing of GLMs or data (Nocedal and Wright 2006, *Numerical
Optimization*, chapters 6 and 7; batched by hand). They are NumPy in double precision: beside a pass over the data their work is
nothing, and nothing has to be compiled for it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

RUNNING, DONE, STALLED, FAILED = range(4)


HISTORY_LENGTH = 8  # pairs of moves and gradient changes that are remembered


MAX_REJECTS = 12


Points = Float[Array, "neurons coordinates"]


NeuronScalars = Float[Array, " neurons"]


History = tuple[Float[Array, "memory neurons coordinates"], Float[Array, "memory neurons coordinates"], Array]


class SolverState(NamedTuple):
    """All that the next step needs. History leads with the pairs, everything else with the neurons."""

    point: Points
    value: NeuronScalars
    gradient: Points
    direction: Points
    slope: NeuronScalars
    step: NeuronScalars
    moves: Float[Array, "memory neurons coordinates"]
    changes: Float[Array, "memory neurons coordinates"]
    inverse_curvature: Float[Array, "memory neurons"]
    n_evaluated: Int[Array, " neurons"]
    n_rejected: Int[Array, " neurons"]
    status: Int[Array, " neurons"]

    @property
    def history(self) -> History:
        """What is remembered of earlier steps."""
        return self.moves, self.changes, self.inverse_curvature


def initial_state(point: Points, silent: Bool[Array, " neurons"]) -> SolverState:
    """State before the first pass; neurons that have nothing to fit are done where they stand."""
    zeros, none = np.zeros_like(point), np.zeros(len(point), int)
    history = np.zeros((HISTORY_LENGTH, *point.shape))
    nothing = point, zeros[:, 0] + np.inf, zeros, zeros, zeros[:, 0], zeros[:, 0]
    return SolverState(*nothing, history, history, history[..., 0], none, none, np.where(silent, DONE, RUNNING))


def ask(state: SolverState) -> Points:
    """Every neuron's trial point."""
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
    """Accept each trial that decreases its loss, shorten the step of the others; stop where little is left to gain.

    `value` holds the whole penalty, `gradient` what has one; how the rest changes along a step is part of its slope.
    `eps` is the precision of the values, and `scale` the size of the loss's curvature: the round-off that is forgiven
    must not shrink to nothing where a loss passes through 0. A neuron whose trial is rejected is done where that round-off
    may hide all that is left to gain, up to `hidden`; one with more to gain has stalled after `MAX_REJECTS` rejections.
    """
    running, first, step = state.status == RUNNING, ~np.isfinite(state.value), state.step
    finite = np.isfinite(value) & np.isfinite(gradient).all(1)
    value = np.where(finite, value, np.inf)
    gradient = np.where(finite[:, None], gradient, 0)
    slack = 8 * eps * np.maximum(np.abs(state.value), scale)
    lower = value <= state.value + 1e-4 * step * state.slope
    bend = state.slope - row_dot(state.gradient, state.direction)  # of the kinks
    level = (value <= state.value + slack) & (
        np.abs(row_dot(gradient, state.direction) + bend) <= 0.9 * np.abs(state.slope)
    )
    accept = running & finite & (first | lower | level)
    taken = accept[:, None]

    move, change = ask(state) - state.point, gradient - state.gradient
    curvature = row_dot(move, change)
    keep = accept & ~first & (curvature > 0)
    history = (
        _push_pair(state.moves, move, keep),
        _push_pair(state.changes, change, keep),
        _push_pair(state.inverse_curvature, 1 / np.where(keep, curvature, 1), keep),
    )
    point, gradient = np.where(taken, ask(state), state.point), np.where(taken, gradient, state.gradient)
    direction, slope = precondition.search_direction(point, gradient, history, accept)

    with np.errstate(invalid="ignore"):  # before the first value that is finite
        rise = np.where(finite & ~first, value - state.value - step * state.slope, 1)
    parabola = -state.slope * step**2 / (2 * np.where(rise > 0, rise, 1))
    shorter = np.clip(np.where(finite & (rise > 0), parabola, 0.1 * step), 0.1 * step, 0.5 * step)
    n_rejected = np.where(accept & (value < state.value), 0, state.n_rejected + 1)  # no gain, if level, is none
    direction, slope = np.where(taken, direction, state.direction), np.where(accept, slope, state.slope)
    at_optimum = running & ~accept & ~first & (-slope / 2 <= np.minimum(slack, hidden))
    done = accept & (-slope / 2 <= tol) | at_optimum
    status = np.select(
        [done, running & (n_rejected >= MAX_REJECTS), running & first & ~finite],
        [DONE, STALLED, FAILED],
        state.status,
    )
    return SolverState(
        point,
        np.where(accept, value, state.value),
        gradient,
        np.where(at_optimum[:, None], 0, direction),  # steps there were tried, and did not help
        slope,
        np.where(accept, 1, shorter),
        *history,
        state.n_evaluated + running,
        n_rejected,
        status,
    )


def restart_neurons(state: SolverState, which: Bool[Array, " neurons"], point: Points) -> SolverState:
    """The same state, in which some neurons are not evaluated yet and stand at these points."""
    anew = initial_state(point, np.zeros(len(point), bool))
    anew = anew._replace(n_evaluated=state.n_evaluated)
    history = {"moves", "changes", "inverse_curvature"}  # these lead with the pairs
    pick = lambda name, old, new: np.where(
        which.reshape((1,) * (name in history) + (-1,) + (1,) * (old.ndim - 1 - (name in history))), new, old
    )
    return SolverState(
        *(pick(name, *both) for name, both in zip(SolverState._fields, zip(state, anew, strict=True), strict=True))
    )


def redirect_neurons(state: SolverState, precondition, tol, which: Bool[Array, " neurons"]) -> SolverState:
    """The same state with other directions, in which some neurons go on after their values or gradients have changed."""
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
    """Scalar product of every neuron's vectors."""
    return np.einsum("...i,...i->...", a, b)


def _push_pair(history, new, keep):
    """History with a new pair in front, for the neurons that keep it."""
    shifted = np.concatenate([new[None], history[:-1]])
    return np.where(keep.reshape(-1, *[1] * (new.ndim - 1)), shifted, history)


def inverse_hessian_product(gradient, history, precondition):
    """Inverse Hessian estimate times the gradient, newest pair first."""
    pairs, q, weights = list(zip(*history, strict=True)), gradient, []
    for move, change, inverse_curvature in pairs:
        weights.append(inverse_curvature * row_dot(move, q))
        q = q - weights[-1][:, None] * change
    q = precondition(q)
    for (move, change, inverse_curvature), weight in zip(reversed(pairs), reversed(weights), strict=True):
        q = q + (weight - inverse_curvature * row_dot(change, q))[:, None] * move
    return q
