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

    def shrink(self, point: Points, cost) -> Points:
        """Proximal map: shorten each group by its cost, to 0 at least."""
        norms = self.norms(point)
        factor = np.where(norms > cost, 1 - cost / np.where(norms > 0, norms, 1), 0)
        return point * (factor if len(self.sizes) == point.shape[1] else np.repeat(factor, self.sizes, axis=1))

    def max_factor(self, gradient: Points) -> float:
        """Smallest factor of all costs for which 0 is the minimum, given the gradient at 0."""
        norms, free = self.norms(gradient), self.cost == 0
        return float(np.max(np.where(free, 0, norms / np.where(free, 1, self.cost))))

    def select(self, neurons) -> "GroupNorms":
        """Restrict to these neurons."""
        return self._replace(cost=self.cost[neurons])


def make_hessian_product(initial_product, history: History):
    """Make the function that multiplies moves with the BFGS matrix, from the product with its initial matrix."""
    ups, downs = [], []
    product = lambda move: initial_product(move) + _low_rank_product(ups, downs, move)
    for move, change, inverse_curvature in reversed(list(zip(*history, strict=True))):
        image = product(move)
        curvature = row_dot(move, image)
        used = (inverse_curvature > 0) & (curvature > 0)
        downs.append(image * np.where(used, 1 / np.sqrt(np.where(used, curvature, 1)), 0)[:, None])
        ups.append(change * np.where(used, np.sqrt(inverse_curvature), 0)[:, None])
    return product


def _low_rank_product(ups, downs, move):
    out = np.zeros_like(move)
    for up, down in zip(ups, downs, strict=True):
        out += row_dot(up, move)[:, None] * up - row_dot(down, move)[:, None] * down
    return out


def minimise_quadratic(
    product, group_norms: GroupNorms, point: Points, gradient: Points, mask, max_eigenvalue: NeuronScalars
):
    """Minimise every neuron's quadratic model plus penalty. `max_eigenvalue` of B is estimated, and raised where too small."""
    u, image = point, np.zeros_like(point)  # image: B (u - point)
    v, image_v, momentum, steep = u, image, np.ones(len(u)), max_eigenvalue.astype(float)
    value = 0.0
    for i in range(MAX_INNER_STEPS):
        new = group_norms.shrink(v - mask * (gradient + image_v) / steep[:, None], group_norms.cost / steep[:, None])
        new_image = mask * product(new - point)
        move = new - v
        length = row_dot(move, move)
        need = np.where(length > 0, row_dot(move, new_image - image_v) / np.where(length > 0, length, 1), 0)
        uphill = row_dot(v - new, new - u) > 0
        uphill |= need > steep * (1 + 1e-9)
        steep = np.maximum(steep, 1.1 * need)
        later = np.where(uphill, 1, (1 + np.sqrt(1 + 4 * momentum**2)) / 2)
        ahead = np.where(uphill, 0, (momentum - 1) / later)[:, None]
        v, image_v = new + ahead * (new - u), new_image + ahead * (new_image - image)
        u, image, momentum = new, new_image, later
        if i % GAIN_CHECK_INTERVAL == GAIN_CHECK_INTERVAL - 1:
            last, value = value, group_norms.change(gradient + image / 2, point, u)
            if (last - value <= MIN_RELATIVE_GAIN * np.maximum(-value, 0)).all():
                break
    return u
