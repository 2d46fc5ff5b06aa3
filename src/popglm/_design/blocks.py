"""Blocks of rows, the chunks that hold them, and the sources that a compiled loop makes their features from."""

from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from popglm._design.arrays import to_device
from popglm._design.convolve import causal_convolution, split_kernel


class Block(NamedTuple):
    """Rows of a design. Weight 0 marks padding, NaN in X (all neurons) or in y (that neuron), the start of an epoch."""

    X: Float[Array, "rows features"]
    y: Float[Array, "rows neurons"]
    weight: Float[Array, " rows #neurons"]


class ArraySource(NamedTuple):
    """Features in memory."""

    values: Float[Array, "time features"]

    @property
    def made_of(self):
        return (self.values,)

    def rows(self, start, n):
        return jax.lax.dynamic_slice_in_dim(self.values, start, n)


class ConvSource(NamedTuple):
    """Features of the past, which exist one block at a time. The inputs begin a window, the longest kernel, earlier."""

    inputs: Shaped[Array, "inputs bins"]
    kernels: tuple[Float[Array, "_lags _functions"], ...]

    @classmethod
    def from_kernel(cls, inputs, kernel) -> "ConvSource":
        """From all functions over the window."""
        kernels = (jnp.asarray(some, jnp.result_type(float)) for some in split_kernel(kernel))
        return cls(to_device(inputs), tuple(kernels))

    @property
    def made_of(self):
        return (self.inputs,)

    def rows(self, start, n):
        piece = jax.lax.dynamic_slice_in_dim(self.inputs, start, n + max(map(len, self.kernels)), 1)
        return causal_convolution(piece.astype(self.kernels[0].dtype), self.kernels)


class SumSource(NamedTuple):
    """Features of several sources, side by side."""

    parts: tuple

    @property
    def made_of(self):
        return tuple(array for part in self.parts for array in part.made_of)

    def rows(self, start, n):
        return jnp.concatenate([part.rows(start, n) for part in self.parts], 1)


class ProductSource(NamedTuple):
    """Every feature of one source times every feature of the next, which exist one block at a time; the last runs fastest."""

    parts: tuple

    @property
    def made_of(self):
        return tuple(array for part in self.parts for array in part.made_of)

    def rows(self, start, n):
        times = lambda a, b: (a[:, :, None] * b[:, None, :]).reshape(n, -1)
        return reduce(times, [part.rows(start, n) for part in self.parts])


Source = ArraySource | ConvSource | SumSource | ProductSource


class Chunk(NamedTuple):
    """Blocks that are visited by one compiled loop. Those in which no row counts are not visited."""

    source: Source
    y: Shaped[Array, "time neurons"]
    valid: Bool[Array, " time"]
    block_indices: Int[Array, " blocks"]
    n_valid_blocks: Int[Array, ""]

    @property
    def block_rows(self):
        return len(self.y) // len(self.block_indices)

    def block(self, i) -> Block:
        """Block i. A count is missing where y is NaN, which whole numbers cannot be."""
        start, n = i * self.block_rows, self.block_rows
        X = self.source.rows(start, n)
        y, counted = (jax.lax.dynamic_slice_in_dim(a, start, n) for a in (self.y, self.valid[:, None]))
        if jnp.issubdtype(y.dtype, jnp.floating):
            counted = counted & ~jnp.isnan(y)
            y = jnp.where(counted, y, 0)
        return Block(X, y.astype(X.dtype), counted.astype(X.dtype))
