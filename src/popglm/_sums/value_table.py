"""Table of the distinct values of y of each neuron, and sums over it: parts of a likelihood that know no features."""

from collections.abc import Iterator
from functools import reduce
from itertools import chain
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from popglm._design.blocks import Chunk
from popglm._design.design import Design
from popglm.parallel._share import gather


class ValueTable:
    """Distinct values of y of each neuron in its valid bins, and how often each occurs: a sum of weights.

    Counts have few distinct values, so sums over them cost nothing beside a pass, and may be in double precision.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[int, list[tuple[np.ndarray, np.ndarray]]]] = []  # by the first row of their chunk

    def watch(self, design: Design) -> Iterator[tuple[int, Chunk]]:
        """Iterate over a design, and count the values of each chunk that goes by."""
        for start, chunk in design:
            self._parts.append((start, _count_chunk(chunk)))
            yield start, chunk

    def _join_parts(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Values and numbers of each neuron in all chunks, of all processes."""
        parts = sorted(chain.from_iterable(gather(self._parts, "counts values of y")), key=lambda part: part[0])
        merge = lambda old, new: [_merge_counts(*pairs) for pairs in zip(old, new, strict=True)]
        return reduce(merge, (columns for _, columns in parts))

    def to_arrays(self) -> tuple[Float[np.ndarray, "neurons values"], Float[np.ndarray, "neurons values"]]:
        """Values, and their numbers; rows end in values that occur 0 times."""
        columns = self._join_parts()
        width = 1 << max(3, (max(len(values) for values, _ in columns) - 1).bit_length())  # of few lengths
        values, numbers = np.ones((2, len(columns), width))
        for row, (some, n) in enumerate(columns):
            values[row, : len(some)], numbers[row, : len(some)], numbers[row, len(some) :] = some, n, 0
        return values, numbers


def _count_chunk(chunk: Chunk) -> list[tuple[np.ndarray, np.ndarray]]:
    """Distinct values of each neuron in a chunk, and their numbers."""
    y, valid, weight = np.asarray(chunk.y), np.asarray(chunk.valid), chunk.numpy_weights()
    rows = slice(None) if valid.all() else valid.any(1)
    columns = np.ascontiguousarray(y[rows].T)
    weights = [None] * len(columns) if weight is None else np.broadcast_to(weight, y.shape)[rows].T
    return [_count_values(*pair) for pair in zip(columns, weights, strict=True)]


def _count_values(column: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values of a column that are not NaN, and their numbers, each entry counted as often as its weight says."""
    if column.dtype == np.uint8:
        numbers = np.bincount(column, weight)
        return np.flatnonzero(numbers), numbers[numbers > 0]
    known = ~np.isnan(column)
    values, place = np.unique(column[known], return_inverse=True)
    return values, np.bincount(place, None if weight is None else weight[known], len(values))


def _merge_counts(old: tuple, new: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Merge two pairs of values and numbers of one neuron."""
    values, place = np.unique(np.concatenate([old[0], new[0]]), return_inverse=True)
    return values, np.bincount(place, np.concatenate([old[1], new[1]]), len(values))


def normaliser_sums(
    model: Any, scale: np.ndarray, values: np.ndarray, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Part of each neuron's log-likelihood that depends on y and the scale alone, and its derivative in the scale.

    In double precision, also where JAX computes in single: for small scales it is a difference of large terms.
    """
    with jax.enable_x64(True):
        value, slope = _normaliser_sums(model.with_scale(scale), values, numbers)
        return np.asarray(value), np.asarray(slope)


@jax.jit
def _normaliser_sums(model: Any, values: jax.Array, numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
    def total(scale: jax.Array) -> jax.Array:
        scaled = jax.tree.map(lambda _: scale, model)
        return jax.numpy.where(numbers > 0, numbers * (scaled.saturated(values) + scaled.least(values)), 0).sum(1)

    return jax.jvp(total, (model.scale,), (jax.numpy.ones_like(model.scale),))
