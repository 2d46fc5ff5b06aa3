"""L-BFGS with a preconditioner, by ask and tell, for all neurons at once.

`ask` returns every neuron's trial point; `tell` takes values and gradients there, and accepts or shortens each neuron's own
step. The preconditioner computes the next direction: to the minimum of the quadratic model, or of that plus a non-smooth
penalty. Neither function knows GLMs or data (Nocedal and Wright 2006, *Numerical Optimization*, chapters 6 and 7; batched by
hand). They are NumPy in double precision: their work is negligible beside a pass over the data, and needs no compilation.
"""

from typing import Any, NamedTuple

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


class Evaluation(NamedTuple):
    """Last accepted point of every neuron, with value and gradient there."""

    point: Points
    value: NeuronScalars
    gradient: Points


class LineSearch(NamedTuple):
    """Direction and step of every neuron's next trial, the slope along the direction, and rejected trials in a row."""

    direction: Points
    slope: NeuronScalars
    step: NeuronScalars
    n_rejected: Int[Array, " neurons"]


class SolverState(NamedTuple):
    """State between two steps; arrays lead with the neurons."""

    accepted: Evaluation
    search: LineSearch
    history: History
    n_evaluated: Int[Array, " neurons"]
    status: Int[Array, " neurons"]

    def to_tuple(self) -> tuple:
        """Flat tuple of arrays, in the order of files."""
        direction, slope, step, n_rejected = self.search
        return *self.accepted, direction, slope, step, *self.history, self.n_evaluated, n_rejected, self.status

    @classmethod
    def from_tuple(cls, arrays: tuple) -> "SolverState":
        """Build from the flat tuple of a file."""
        point, value, gradient, direction, slope, step, *pairs, n_evaluated, n_rejected, status = arrays
        return cls(
            accepted=Evaluation(point=point, value=value, gradient=gradient),
            search=LineSearch(direction=direction, slope=slope, step=step, n_rejected=n_rejected),
            history=History(*pairs),
            n_evaluated=n_evaluated,
            status=status,
        )


def initial_state(point: Points, silent: Bool[Array, " neurons"]) -> SolverState:
    """State before the first pass; silent neurons are done at their first point."""
    zeros, none = np.zeros_like(point), np.zeros(len(point), int)
    pairs = np.zeros((HISTORY_LENGTH, *point.shape))
    return SolverState(
        accepted=Evaluation(point=point, value=zeros[:, 0] + np.inf, gradient=zeros),
        search=LineSearch(direction=zeros, slope=zeros[:, 0], step=zeros[:, 0], n_rejected=none),
        history=History(moves=pairs, changes=pairs, inverse_curvature=pairs[..., 0]),
        n_evaluated=none,
        status=np.where(silent, DONE, RUNNING),
    )


def ask(state: SolverState) -> Points:
    """Trial point of every neuron."""
    return state.accepted.point + state.search.step[:, None] * state.search.direction


def tell(
    state: SolverState,
    value: NeuronScalars,
    gradient: Points,
    precondition: Any,
    tol: NeuronScalars | float,
    scale: NeuronScalars,
    eps: float,
    hidden: NeuronScalars | float = 0.0,
) -> SolverState:
    """Accept each trial that decreases its value, shorten the step of the others, and apply the stopping rule.

    Stopping rule: a neuron is done at an accepted point where half the Newton decrement is at most `tol`.

    `value` includes the whole penalty, `gradient` its smooth part; the slope of a step includes the non-smooth part.
    `eps` is the precision of the values, and `scale` the size of the loss's curvature, so that the round-off that is
    tolerated does not vanish where a loss passes through 0. A neuron whose trial is rejected is done if this round-off
    may hide all that is left to gain, up to `hidden`; one with more to gain stalls after `MAX_REJECTS` rejections.
    """
    last, search, running = state.accepted, state.search, state.status == RUNNING
    first, step = ~np.isfinite(last.value), search.step
    finite = np.isfinite(value) & np.isfinite(gradient).all(1)
    value = np.where(finite, value, np.inf)
    gradient = np.where(finite[:, None], gradient, 0)
    slack = 8 * eps * np.maximum(np.abs(last.value), scale)
    lower = value <= last.value + 1e-4 * step * search.slope
    nonsmooth = search.slope - row_dot(last.gradient, search.direction)
    level = (value <= last.value + slack) & (
        np.abs(row_dot(gradient, search.direction) + nonsmooth) <= 0.9 * np.abs(search.slope)
    )
    accept = running & finite & (first | lower | level)
    accept_rows = accept[:, None]

    move, change = ask(state) - last.point, gradient - last.gradient
    curvature = row_dot(move, change)
    keep = accept & ~first & (curvature > 0)
    pair = History(moves=move, changes=change, inverse_curvature=1 / np.where(keep, curvature, 1))
    history = History(*(_push(*arrays, keep) for arrays in zip(state.history, pair, strict=True)))
    point, gradient = np.where(accept_rows, ask(state), last.point), np.where(accept_rows, gradient, last.gradient)
    direction, slope = precondition.search_direction(point, gradient, history, accept)

    with np.errstate(invalid="ignore"):  # there may be no finite value yet
        rise = np.where(finite & ~first, value - last.value - step * search.slope, 1)
    parabola = -search.slope * step**2 / (2 * np.where(rise > 0, rise, 1))
    shorter = np.clip(np.where(finite & (rise > 0), parabola, 0.1 * step), 0.1 * step, 0.5 * step)
    # An accepted step without gain counts as a rejection.
    n_rejected = np.where(accept & (value < last.value), 0, search.n_rejected + 1)
    direction, slope = np.where(accept_rows, direction, search.direction), np.where(accept, slope, search.slope)
    at_optimum = running & ~accept & ~first & (-slope / 2 <= np.minimum(slack, hidden))
    done = accept & (-slope / 2 <= tol) | at_optimum
    status = np.select(
        [done, running & (n_rejected >= MAX_REJECTS), running & first & ~finite],
        [DONE, STALLED, FAILED],
        state.status,
    )
    return SolverState(
        accepted=Evaluation(point=point, value=np.where(accept, value, last.value), gradient=gradient),
        search=LineSearch(
            direction=np.where(at_optimum[:, None], 0, direction),  # steps in it were tried without gain
            slope=slope,
            step=np.where(accept, 1, shorter),
            n_rejected=n_rejected,
        ),
        history=history,
        n_evaluated=state.n_evaluated + running,
        status=status,
    )


def restart_neurons(state: SolverState, mask: Bool[Array, " neurons"], point: Points) -> SolverState:
    """Set the neurons of the mask to their initial state, at these points; other neurons keep their state."""
    initial = initial_state(point, np.zeros(len(point), bool))

    def select(old: Array, new: Array, axis: int = 0) -> Array:
        return np.where(np.expand_dims(mask, [i for i in range(old.ndim) if i != axis]), new, old)

    def select_fields(old: Any, new: Any, axis: int = 0) -> Any:
        return type(old)(*(select(*arrays, axis) for arrays in zip(old, new, strict=True)))

    return SolverState(
        accepted=select_fields(state.accepted, initial.accepted),
        search=select_fields(state.search, initial.search),
        history=select_fields(state.history, initial.history, axis=1),
        n_evaluated=state.n_evaluated,
        status=select(state.status, initial.status),
    )


def forget_history(state: SolverState, mask: Bool[Array, " neurons"]) -> SolverState:
    """Drop the history of the neurons of the mask, where it is that of another curvature."""
    kept = np.where(mask, 0, state.history.inverse_curvature)
    return state._replace(history=state.history._replace(inverse_curvature=kept))


def redirect_neurons(
    state: SolverState, precondition: Any, tol: NeuronScalars | float, mask: Bool[Array, " neurons"]
) -> SolverState:
    """Recompute directions of the neurons of the mask after their values or gradients have changed."""
    point, _, gradient = state.accepted
    direction, slope = precondition.search_direction(point, gradient, state.history, mask)
    status = np.where(-slope / 2 <= tol, DONE, RUNNING)
    return state._replace(
        search=LineSearch(
            direction=np.where(mask[:, None], direction, state.search.direction),
            slope=np.where(mask, slope, state.search.slope),
            step=np.where(mask, 1, state.search.step),
            n_rejected=np.where(mask, 0, state.search.n_rejected),
        ),
        status=np.where(mask, status, state.status),
    )


def row_dot(a: Float[Array, "... coordinates"], b: Float[Array, "... coordinates"]) -> Float[Array, "..."]:
    """Dot product of each row of `a` with that of `b`."""
    return np.einsum("...i,...i->...", a, b)


def _push(pairs: Array, new: Array, keep: Bool[Array, " neurons"]) -> Array:
    """Put a new pair in front of the history of the neurons that keep it."""
    out = np.empty_like(pairs)
    out[0], out[1:] = new, pairs[:-1]
    out[:, ~keep] = pairs[:, ~keep]
    return out


def inverse_hessian_product(gradient: Points, history: History, precondition: Any) -> Points:
    """Product of the L-BFGS estimate of the inverse Hessian with the gradient (two-loop recursion)."""
    pairs, q, weights = list(zip(*history, strict=True)), gradient, []
    for move, change, inverse_curvature in pairs:
        weights.append(inverse_curvature * row_dot(move, q))
        q = q - weights[-1][:, None] * change
    q = precondition(q)
    for (move, change, inverse_curvature), weight in zip(reversed(pairs), reversed(weights), strict=True):
        q = q + (weight - inverse_curvature * row_dot(change, q))[:, None] * move
    return q
