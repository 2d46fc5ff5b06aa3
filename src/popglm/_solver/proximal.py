r"""Proximal Newton steps for a non-smooth penalty: minimum of the loss's quadratic model plus weighted group norms.

For every neuron :math:`\min_u\; g^\top (u - z) + \frac{1}{2} (u - z)^\top B (u - z) + \sum_g \tau_g \lVert u_g \rVert`, with
B the quasi-Newton estimate that the smooth solver inverts (Lee, Sun and Saunders 2014, *SIAM Journal on Optimization*
24:1420-1443).
The minimum is computed by accelerated proximal gradient steps with restarts (Beck and Teboulle 2009, *SIAM Journal on Imaging
Sciences* 2:183-202; O'Donoghue and Candès 2015, *Foundations of Computational Mathematics* 15:715-732), for all neurons at
once. These steps read no data: beside a pass over a recording they are cheap.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from popglm._solver.ask_tell import NeuronScalars, Points, row_dot
from popglm._solver.hessian import BFGSHessian

MAX_INNER_STEPS = 2000


GAIN_CHECK_INTERVAL = 10  # inner steps between two tests of the gain


# Stop when an interval adds less than this share of the gain so far: more accuracy than that of the model is wasted.
MIN_RELATIVE_GAIN = 1e-3


class GroupNorms(NamedTuple):
    """Non-smooth part of a penalty in the solver's coordinates: sum of `cost` times norm over consecutive groups of `sizes`."""

    cost: Float[Array, "neurons groups"]
    sizes: Array

    @property
    def is_lasso(self) -> bool:
        """Whether every group is one coordinate."""
        return bool((self.sizes == 1).all())

    def norms(self, point: Points) -> Float[Array, "neurons groups"]:
        """Norm of each group."""
        if len(self.sizes) == point.shape[1]:
            return np.abs(point)
        return np.sqrt(np.add.reduceat(point**2, np.cumsum(self.sizes) - self.sizes, axis=1))

    def change(self, gradient: Points, start: Points, end: Points) -> NeuronScalars:
        """Gradient times the move from `start` to `end`, plus the change of the penalty along it.

        It is a sum of products with the move: near an optimum the two parts cancel, and a difference of their sums would
        be round-off.
        """
        norms, repeats = self.norms(start) + self.norms(end), len(self.sizes) != start.shape[1]
        pull = np.where(norms > 0, self.cost / np.where(norms > 0, norms, 1), 0)
        pull = np.repeat(pull, self.sizes, axis=1) if repeats else pull
        return row_dot(end - start, gradient + pull * (start + end))

    def shrink(self, point: Points, cost: Float[Array, "neurons groups"]) -> Points:
        """Proximal map: shorten each group by its cost, to 0 at least."""
        norms = self.norms(point)
        factor = np.where(norms > cost, 1 - cost / np.where(norms > 0, norms, 1), 0)
        return point * (factor if len(self.sizes) == point.shape[1] else np.repeat(factor, self.sizes, axis=1))

    def max_factor(self, gradient: Points) -> float:
        """Smallest factor of all costs for which 0 is the minimum, given the gradient at 0."""
        norms, unpenalised = self.norms(gradient), self.cost == 0
        return float(np.max(np.where(unpenalised, 0, norms / np.where(unpenalised, 1, self.cost))))

    def with_free_coordinate(self) -> "GroupNorms":
        """Add a last coordinate that is not penalised."""
        return GroupNorms(cost=np.pad(self.cost, ((0, 0), (0, 1))), sizes=np.append(self.sizes, 1))

    def select(self, neurons: Array) -> "GroupNorms":
        """Restrict to these neurons."""
        return self._replace(cost=self.cost[neurons])


class ProximalSteps(NamedTuple):
    """Where proximal gradient steps end, B times the whole move, what it gains, and whether the last steps gained much."""

    end: Points
    image: Points
    gain: NeuronScalars
    gaining: Bool[Array, " neurons"]


def take_proximal_steps(
    model: BFGSHessian,
    group_norms: GroupNorms,
    point: Points,
    gradient: Points,
    mask: Points,
    max_steps: int = MAX_INNER_STEPS,
) -> ProximalSteps:
    """Go down every neuron's quadratic model plus group norms, from `point`, where the model has this gradient."""
    u, image = point, np.zeros_like(point)  # image: B (u - point)
    v, image_v, momentum, lipschitz = u, image, np.ones(len(u)), model.initial.max_eigenvalues()
    gain, gaining = np.zeros(len(u)), np.ones(len(u), bool)
    for i in range(max_steps):
        new = group_norms.shrink(
            v - mask * (gradient + image_v) / lipschitz[:, None], group_norms.cost / lipschitz[:, None]
        )
        new_image = mask * model.product(new - point)
        move = new - v
        length = row_dot(move, move)
        curvature_along = np.where(length > 0, row_dot(move, new_image - image_v) / np.where(length > 0, length, 1), 0)
        restart = row_dot(v - new, new - u) > 0
        restart |= curvature_along > lipschitz * (1 + 1e-9)
        lipschitz = np.maximum(lipschitz, 1.1 * curvature_along)
        next_momentum = np.where(restart, 1, (1 + np.sqrt(1 + 4 * momentum**2)) / 2)
        extrapolation = np.where(restart, 0, (momentum - 1) / next_momentum)[:, None]
        v, image_v = new + extrapolation * (new - u), new_image + extrapolation * (new_image - image)
        u, image, momentum = new, new_image, next_momentum
        if i % GAIN_CHECK_INTERVAL == GAIN_CHECK_INTERVAL - 1:
            last, gain = gain, -group_norms.change(gradient + image / 2, point, u)
            gaining = gain - last > MIN_RELATIVE_GAIN * np.maximum(gain, 0)
            if not gaining.any():
                break
    return ProximalSteps(end=u, image=image, gain=gain, gaining=gaining)
