r"""Minimum of a quadratic model plus weighted absolute values, by active sets, for all neurons at once.

For every neuron :math:`\min_u\; g^\top (u - z) + \frac{1}{2} (u - z)^\top B (u - z) + \sum_j \tau_j |u_j|`. A step
solves for the coordinates that are not 0, with their signs given, and goes along this direction to the minimum, where
coordinates may become 0 or change their signs. Coordinates enter that would leave 0 (feature-sign search, Lee, Battle, Raina
and Ng 2007, *Advances in Neural Information Processing Systems* 19:801-808), all at once but for those that the step would move
against their signs.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from numpy import ndarray as Array

from popglm._solver.ask_tell import NeuronScalars, Points, row_dot
from popglm._solver.hessian import BFGSHessian
from popglm._solver.proximal import GAIN_CHECK_INTERVAL, GroupNorms, take_proximal_steps

MAX_STEPS = 500

# A neuron is done where the coordinates that would enter add less than this share of the gain so far.
MIN_RELATIVE_GAIN = 1e-3

MIN_RELATIVE_EXCESS = 1e-9  # of a gradient over the cost that holds the coordinate at 0: less is round-off

# Coordinates for each proximal gradient step before active sets: these cost more steps the more coordinates there are.
COORDINATES_PER_STEP = 4

# Coordinates for each that may be active, from which on a neuron has active sets at once: its systems are small.
COORDINATES_PER_ACTIVE = 2

MAX_BLOCK_ENTRIES = 2**21  # entries of the systems that are solved at once: 16 MB


Coordinates = Bool[Array, "neurons coordinates"]


class Step(NamedTuple):
    """Direction of every neuron and how far its minimum is, with the gain there; `full` steps end at 1."""

    direction: Points
    length: NeuronScalars
    gain: NeuronScalars
    full: Bool[Array, " neurons"]
    hit: Coordinates  # that end at 0


def minimise_quadratic(
    model: BFGSHessian, group_norms: GroupNorms, point: Points, gradient: Points, mask: Points
) -> Points:
    """Minimise every neuron's quadratic model plus group norms, from `point`, where the model has this gradient.

    Groups of single coordinates are minimised by active sets: at once where few coordinates are not 0 or would leave it, else
    if some proximal gradient steps still gain.
    """
    if not group_norms.is_lasso:
        return take_proximal_steps(model, group_norms, point, gradient, mask).end
    n_active = ((mask > 0) & ((point != 0) | (np.abs(gradient) > group_norms.cost))).sum(1)
    many = np.flatnonzero(n_active * COORDINATES_PER_ACTIVE > point.shape[1])
    start, slope, gain, going = point.copy(), gradient.copy(), np.zeros(len(point)), np.ones(len(point), bool)
    if len(many):
        max_steps = max(GAIN_CHECK_INTERVAL, point.shape[1] // COORDINATES_PER_STEP)
        selected = model.select(many), group_norms.select(many), point[many], gradient[many], mask[many]
        steps = take_proximal_steps(*selected, max_steps)
        start[many], gain[many], going[many] = steps.end, steps.gain, steps.gaining
        slope[many] += steps.image
    neurons = np.flatnonzero(going)
    if len(neurons):
        arrays = (a[neurons] for a in (group_norms.cost, start, slope, mask, gain))
        start[neurons] = minimise_with_lasso(model.select(neurons), *arrays)
    return start


def minimise_with_lasso(
    model: BFGSHessian, cost: Points, point: Points, gradient: Points, mask: Points, gain: NeuronScalars
) -> Points:
    """Minimise every neuron's quadratic model plus absolute values, from `point`, where the model has this gradient.

    `gain` is that of earlier steps: where much less is left, it is not looked for.
    """
    end, slope, gain = point.copy(), gradient.copy(), gain.copy()
    curvature = model.diagonal()
    running, settled = np.arange(len(point)), np.zeros(len(point), bool)
    for _ in range(MAX_STEPS):
        u, q, tau, inside = end[running], slope[running], cost[running], mask[running] > 0
        excess = np.abs(q) - tau
        entering = inside & (u == 0) & (tau > 0) & (excess > MIN_RELATIVE_EXCESS * tau)
        left = (np.where(entering, excess, 0) ** 2 / (2 * curvature[running])).sum(1)
        going = ~settled[running] | (left > MIN_RELATIVE_GAIN * gain[running])
        if not going.any():
            break
        running, u, q, tau, inside, entering = (a[going] for a in (running, u, q, tau, inside, entering))
        support = inside & ((u != 0) | (tau == 0))
        of_running = model if len(running) == len(point) else model.select(running)
        step = _find_step(of_running, u, q, tau, support, entering)
        new = np.where(step.hit, 0, u + step.length[:, None] * step.direction)
        slope[running] = q + of_running.product(new - u)
        end[running], settled[running] = new, step.full
        gain[running] += step.gain
    return end


def _find_step(
    model: BFGSHessian, u: Points, q: Points, cost: Points, support: Coordinates, entering: Coordinates
) -> Step:
    """Minimum along the direction to that of the support and of the coordinates that enter, but those that would go back."""
    sign = np.where(u != 0, np.sign(u), -np.sign(q)) * (cost > 0)
    pull = q + cost * sign
    direction, wrong = np.zeros_like(u), np.ones(len(u), bool)
    while wrong.any():
        rows = np.flatnonzero(wrong)
        direction[rows] = _solve(model.select(rows), pull[rows], support[rows] | entering[rows])
        against = entering & (direction * sign < 0)
        entering, wrong = entering & ~against, against.any(1)
    return _search_line(u, pull, cost, direction)


def _solve(model: BFGSHessian, pull: Points, active: Coordinates) -> Points:
    """Direction that makes the gradient 0 at the active coordinates, with their signs given."""
    n_active, out = active.sum(1), np.zeros_like(pull)
    order = np.argsort(n_active, kind="stable")
    while len(order):
        largest = max(1, n_active[order[-1]])
        rows, order = np.split(order[::-1], [max(1, MAX_BLOCK_ENTRIES // largest**2)])
        order = order[::-1]
        index = np.argsort(~active[rows], 1, kind="stable")[:, :largest]
        valid = np.arange(largest) < n_active[rows, None]
        blocks = model.select(rows).blocks(index, valid)
        wanted = np.where(valid, -np.take_along_axis(pull[rows], index, 1), 0)
        moves = np.linalg.solve(blocks, wanted[..., None])[..., 0]
        part = np.zeros_like(pull[rows])
        np.put_along_axis(part, index, np.where(valid, moves, 0), 1)
        out[rows] = part
    return out


def _search_line(u: Points, pull: Points, cost: Points, direction: Points) -> Step:
    """Minimum along the direction: at 1, or nearer where coordinates cross 0 and their absolute values rise again.

    The slope is linear between crossings, and rises at each.
    """
    curvature = -row_dot(pull, direction)  # along the direction, whose end is the minimum for the signs given
    crosses = (u * direction < 0) & (cost > 0)
    at = np.where(crosses, -u / np.where(crosses, direction, 1), np.inf)
    at[at >= 1] = np.inf
    n_crossings = max(1, int(np.isfinite(at).sum(1).max()))
    order = np.argsort(at, 1)[:, :n_crossings]
    at = np.take_along_axis(at, order, 1)
    rise = np.where(np.isfinite(at), np.take_along_axis(2 * cost * np.abs(direction), order, 1), 0)
    risen = np.cumsum(rise, 1)
    slope_after = curvature[:, None] * (np.where(np.isfinite(at), at, 1) - 1) + risen
    rising = np.isfinite(at) & (slope_after >= 0)
    rows, stop = np.arange(len(u)), np.where(rising.any(1), np.argmax(rising, 1), n_crossings - 1)
    stops = rising.any(1)
    hit = stops & (slope_after[rows, stop] < rise[rows, stop])  # the slope is negative before this crossing
    passed = risen[rows, stop] - np.where(stops, rise[rows, stop], 0)  # of the crossings before the minimum
    length = np.where(hit, at[rows, stop], 1 - passed / np.where(curvature > 0, curvature, 1))
    over = np.where(at < length[:, None], rise * (length[:, None] - np.where(np.isfinite(at), at, 0)), 0).sum(1)
    at_zero = np.zeros(u.shape, bool)
    at_zero[rows[hit], order[rows[hit], stop[hit]]] = True
    return Step(
        direction=direction,
        length=length,
        gain=curvature * length * (1 - length / 2) - over,
        full=(length == 1) & ~hit,
        hit=at_zero,
    )
