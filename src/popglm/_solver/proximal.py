r"""Steps of a penalty with kinks: the minimum of the loss's quadratic model plus the lengths of groups of coordinates.

For every neuron :math:`\min_u\; g^\top (u - z) + \frac{1}{2} (u - z)^\top B (u - z) + \sum_g \tau_g \lVert u_g \rVert`, with
B the quasi-Newton estimate that the smooth solver inverts (Lee, Sun and Saunders 2014, *SIAM Journal on Optimization*
24:1420-1443).
It is found by accelerated proximal gradient steps with restarts (Beck and Teboulle 2009, *SIAM Journal on Imaging Sciences*
2:183-202; O'Donoghue and Candès 2015, *Foundations of Computational Mathematics* 15:715-732), all neurons at once. They see no
data: beside a pass over a recording they are cheap.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from popglm._solver.ask_tell import History, NeuronScalars, Points, row_dot

MAX_INNER_STEPS = 2000  # inner steps


GAIN_CHECK_INTERVAL = 10  # after which the gain is looked at


MIN_RELATIVE_GAIN = 1e-3  # of the whole gain, in so many steps: the model is not the loss, so more is wasted


class GroupNorms(NamedTuple):
    """The kinked part of a penalty in a solver's coordinates: groups that follow each other, and what their lengths cost."""

    cost: Float[Array, "neurons groups"]
    sizes: Array

    def norms(self, point: Points) -> Float[Array, "neurons groups"]:
        """Length of each group."""
        if len(self.sizes) == point.shape[1]:
            return np.abs(point)
        return np.sqrt(np.add.reduceat(point**2, np.cumsum(self.sizes) - self.sizes, axis=1))

    def change(self, gradient: Points, start: Points, end: Points) -> NeuronScalars:
        """Gradient times the move from `start` to `end`, plus the change of the penalty along it.

        Summed as residuals times moves: near an optimum the two parts cancel, and the difference of their sums would be
        nothing but round-off.
        """
        norms, repeats = self.norms(start) + self.norms(end), len(self.sizes) != start.shape[1]
        pull = np.where(norms > 0, self.cost / np.where(norms > 0, norms, 1), 0)
        pull = np.repeat(pull, self.sizes, axis=1) if repeats else pull
        return row_dot(end - start, gradient + pull * (start + end))

    def shrink(self, point: Points, cost) -> Points:
        """The point whose groups are shorter by this cost, or 0."""
        norms = self.norms(point)
        kept = np.where(norms > cost, 1 - cost / np.where(norms > 0, norms, 1), 0)
        return point * (kept if len(self.sizes) == point.shape[1] else np.repeat(kept, self.sizes, axis=1))

    def max_factor(self, gradient: Points) -> float:
        """The factor of all costs from which on a point of 0 with this gradient is the minimum."""
        norms, free = self.norms(gradient), self.cost == 0
        return float(np.max(np.where(free, 0, norms / np.where(free, 1, self.cost))))

    def select(self, which) -> "GroupNorms":
        """Those of some of the neurons."""
        return self._replace(cost=self.cost[which])


def make_hessian_product(first, history: History):
    """The product of the BFGS matrix of this history with a move, from that of its first matrix; oldest pair first."""
    ups, downs = [], []
    product = lambda move: first(move) + _low_rank_product(ups, downs, move)
    for move, change, inverse_curvature in reversed(list(zip(*history, strict=True))):
        known = inverse_curvature > 0
        image = product(move)
        length = row_dot(move, image)
        known &= length > 0
        downs.append(image * np.where(known, 1 / np.sqrt(np.where(known, length, 1)), 0)[:, None])
        ups.append(change * np.where(known, np.sqrt(inverse_curvature), 0)[:, None])
    return product


def _low_rank_product(ups, downs, move):
    out = np.zeros_like(move)
    for up, down in zip(ups, downs, strict=True):
        out += row_dot(up, move)[:, None] * up - row_dot(down, move)[:, None] * down
    return out


def minimise_quadratic(product, lengths: GroupNorms, point: Points, gradient: Points, mask, steepest: NeuronScalars):
    """The minimum of every neuron. `steepest` is near the largest eigenvalue of B; it is raised where it is too small."""
    u, image = point, np.zeros_like(point)  # image: B (u - point)
    v, image_v, momentum, steep = u, image, np.ones(len(u)), steepest.astype(float)
    value = 0.0
    for i in range(MAX_INNER_STEPS):
        new = lengths.shrink(v - mask * (gradient + image_v) / steep[:, None], lengths.cost / steep[:, None])
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
            last, value = value, lengths.change(gradient + image / 2, point, u)
            if (last - value <= MIN_RELATIVE_GAIN * np.maximum(-value, 0)).all():
                break
    return u
