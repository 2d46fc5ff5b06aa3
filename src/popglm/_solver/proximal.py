r"""Proximal Newton steps for a non-smooth penalty: minimum of the loss's quadratic model plus weighted group norms.

For every neuron :math:`\min_u\; g^\top (u - z) + \frac{1}{2} (u - z)^\top B (u - z) + \sum_g \tau_g \lVert u_g \rVert`, with
B the quasi-Newton estimate that the smooth solver inverts (Lee, Sun and Saunders 2014, *SIAM Journal on Optimization*
24:1420-1443).
The minimum is computed by accelerated proximal gradient steps with restarts (Beck and Teboulle 2009, *SIAM Journal on Imaging
Sciences* 2:183-202; O'Donoghue and Candès 2015, *Foundations of Computational Mathematics* 15:715-732), for all neurons at
once. These steps read no data: beside a pass over a recording they are cheap.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from popglm._solver.ask_tell import History, NeuronScalars, Points, row_dot

MAX_INNER_STEPS = 2000


GAIN_CHECK_INTERVAL = 10  # inner steps between two tests of the gain


# Stop when an interval adds less than this share of the gain so far: more accuracy than that of the model is wasted.
MIN_RELATIVE_GAIN = 1e-3


class GroupNorms(NamedTuple):
    """Non-smooth part of a penalty in the solver's coordinates: sum of `cost` times norm over consecutive groups of `sizes`."""

    cost: Float[Array, "neurons groups"]
    sizes: Array

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

    def select(self, neurons: Array) -> "GroupNorms":
        """Restrict to these neurons."""
        return self._replace(cost=self.cost[neurons])


def make_hessian_product(initial_product: Callable[[Points], Points], history: History) -> Callable[[Points], Points]:
    """Make the function that multiplies moves with the BFGS matrix, from the product with its initial matrix."""
    positive_terms: list[Points] = []
    negative_terms: list[Points] = []
    product = lambda move: initial_product(move) + _low_rank_product(positive_terms, negative_terms, move)
    for move, change, inverse_curvature in reversed(list(zip(*history, strict=True))):
        image = product(move)
        curvature = row_dot(move, image)
        valid = (inverse_curvature > 0) & (curvature > 0)
        negative_terms.append(image * np.where(valid, 1 / np.sqrt(np.where(valid, curvature, 1)), 0)[:, None])
        positive_terms.append(change * np.where(valid, np.sqrt(inverse_curvature), 0)[:, None])
    return product


def _low_rank_product(positive_terms: list[Points], negative_terms: list[Points], move: Points) -> Points:
    out = np.zeros_like(move)
    for positive, negative in zip(positive_terms, negative_terms, strict=True):
        out += row_dot(positive, move)[:, None] * positive - row_dot(negative, move)[:, None] * negative
    return out


def minimise_quadratic(
    product: Callable[[Points], Points],
    group_norms: GroupNorms,
    point: Points,
    gradient: Points,
    mask: Points,
    max_eigenvalue: NeuronScalars,
) -> Points:
    """Minimise every neuron's quadratic model plus penalty. `max_eigenvalue` of B is estimated, and raised where too small."""
    u, image = point, np.zeros_like(point)  # image: B (u - point)
    v, image_v, momentum, lipschitz = u, image, np.ones(len(u)), max_eigenvalue.astype(float)
    value = 0.0
    for i in range(MAX_INNER_STEPS):
        new = group_norms.shrink(
            v - mask * (gradient + image_v) / lipschitz[:, None], group_norms.cost / lipschitz[:, None]
        )
        new_image = mask * product(new - point)
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
            last, value = value, group_norms.change(gradient + image / 2, point, u)
            if (last - value <= MIN_RELATIVE_GAIN * np.maximum(-value, 0)).all():
                break
    return u
