r"""Dispersion inside the loss, as one more coordinate of the solver: coefficients and dispersion have one optimum.

The last column of a point is :math:`t = \log(1 + u \alpha)`, with u one plus the neuron's mean count: linear where the
dispersion is small, logarithmic where it is large. Information about means and dispersion is block diagonal, so the metric of
the solver is, too. A fit begins at the smallest dispersion, a Poisson distribution for a negative binomial, and stays there
until the parameters are near their optimum. If the likelihood then rises with the dispersion (a score test), a scoring step
finds the dispersion's size, and all move together from there; if it falls, the neuron is not overdispersed, and done.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from popglm._solver.ask_tell import History, NeuronScalars, Points
from popglm._sums.scale import MAX_DISPERSION, MIN_DISPERSION
from popglm._sums.value_table import ValueTable, normaliser_sums

# The dispersion begins to move when the parameters have less to gain than this: in nats, or as a share of its own gain. What
# they lack is then no overdispersion.
MAX_GAIN_AT_RELEASE = 1.0
MAX_GAIN_SHARE_AT_RELEASE = 0.1
MAX_GAIN_PER_BIN_AT_RELEASE = 1.0  # in nats; far from the optimum, a misfit looks like overdispersion


class DispersionCoordinate(NamedTuple):
    """Coordinate of every neuron's dispersion, and what the likelihood needs to know of y to have its slope along it."""

    unit: NeuronScalars
    values: Float[Array, "neurons values"]
    numbers: Float[Array, "neurons values"]
    release_gain: NeuronScalars  # gain of the mean loss

    @classmethod
    def from_table(cls, table: ValueTable, mean_count: NeuronScalars, n_rows: NeuronScalars) -> "DispersionCoordinate":
        """Build from the values of y, the neurons' means and numbers of rows."""
        return cls(1 + mean_count, *table.to_arrays(), MAX_GAIN_AT_RELEASE / n_rows)

    def from_scale(self, scale: NeuronScalars | float) -> NeuronScalars:
        """Convert dispersions."""
        return np.log1p(self.unit * scale)

    def to_scale(self, point: Points) -> NeuronScalars:
        """Dispersions at points, as the precision of JAX has them."""
        return (np.expm1(point[:, -1]) / self.unit).astype(jnp.result_type(float)).astype(float)

    def at_start(self, point: Points) -> Bool[Array, " neurons"]:
        """Mask of the neurons at the smallest dispersion."""
        return point[:, -1] <= self.from_scale(MIN_DISPERSION) * (1 + 1e-9)

    def append_start(self, point: Points, silent: Bool[Array, " neurons"]) -> Array:
        """Append the coordinate at the start of a fit; a silent neuron keeps a dispersion of 1."""
        return self.append(point, np.where(silent, 1.0, MIN_DISPERSION))

    def append(self, point: Points, scale: NeuronScalars) -> Array:
        """Append the coordinate of these dispersions to points of the parameters."""
        return np.concatenate([point, self.from_scale(scale)[:, None]], 1)

    def loss_and_slope(
        self, model: Any, scale: NeuronScalars, loss: NeuronScalars, slope: NeuronScalars, information: NeuronScalars
    ) -> tuple[NeuronScalars, NeuronScalars, NeuronScalars]:
        """Negative log-likelihood, its slope along the coordinate and the information, from sums of the loss."""
        normaliser, normaliser_slope = normaliser_sums(model, scale, self.values, self.numbers)
        change = scale + 1 / self.unit  # of the dispersion, along the coordinate
        return loss - normaliser, (slope - normaliser_slope) * change, information * change**2


class DispersionMetric(NamedTuple):
    """Metric along the coordinate of the dispersion: the information of a bin about it, at the dispersion that it has.

    `magnitude` is that of the mean loss, whose round-off the likelihood has.
    """

    coordinate: DispersionCoordinate
    information: NeuronScalars
    magnitude: NeuronScalars | float = 0.0

    def search_direction(
        self, search: Callable, point: Points, gradient: Points, history: History, neuron_mask: Bool[Array, " neurons"]
    ) -> tuple[Points, NeuronScalars]:
        """Direction and slope by the function `search`, with the dispersion within its bounds, or held at the smallest."""
        direction, slope = self._bounded(search, point, gradient, history, neuron_mask)
        uphill = (slope > 0) & neuron_mask
        if uphill.any():
            empty = History(*(np.zeros_like(pairs) for pairs in history))
            downhill = self._bounded(search, point, gradient, empty, uphill)
            direction = np.where(uphill[:, None], downhill[0], direction)
            slope = np.where(uphill, downhill[1], slope)
        return direction, slope

    def _bounded(
        self, search: Callable, point: Points, gradient: Points, history: History, neuron_mask: Bool[Array, " neurons"]
    ) -> tuple[Points, NeuronScalars]:
        coordinate, t, slope_t = self.coordinate, point[:, -1], gradient[:, -1]
        lowest, highest = coordinate.from_scale(MIN_DISPERSION), coordinate.from_scale(MAX_DISPERSION)
        start = coordinate.at_start(point)
        held = start | (t >= highest) & (slope_t < 0)
        direction, slope = search(
            point, np.column_stack([gradient[:, :-1], np.where(held, 0, slope_t)]), history, neuron_mask
        )
        free = np.clip(t + direction[:, -1], lowest, highest) - t
        # From the smallest dispersion, a step of scoring in the dispersion itself.
        gain, scoring = -slope / 2, np.maximum(-slope_t, 0) / self.information
        share = np.minimum(MAX_GAIN_SHARE_AT_RELEASE * scoring * -slope_t / 2, MAX_GAIN_PER_BIN_AT_RELEASE)
        limit = np.maximum(coordinate.release_gain, share)
        scoring = np.log1p(np.where(start & (gain <= limit), scoring, 0))
        move = np.where(held, np.minimum(scoring, highest - t), free)
        slope = slope + slope_t * (move - np.where(held, 0, direction[:, -1]))
        return np.column_stack([direction[:, :-1], move]), slope
