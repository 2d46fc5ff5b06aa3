"""Blocks of rows, the chunks that hold them, and the sources from which a compiled loop makes their features."""

from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from popglm._design.arrays import to_device
from popglm._design.convolve import causal_convolution, split_kernel


class Block(NamedTuple):
    """Rows of a design; each counts as often as its weight says.

    Weight 0 marks padding, starts of epochs, and NaN in X (for neurons that use the feature), y, the weight or the offset.
    `offset` is what the linear predictor has besides the features, None if there is nothing.
    """

    X: Float[Array, "rows features"]
    y: Float[Array, "rows neurons"]
    weight: Float[Array, " rows #neurons"]
    offset: Float[Array, " rows #neurons"] | None = None

    def select_neurons(self, neurons: Any) -> "Block":
        """Restrict y, weight and offset to these neurons."""
        weight, offset = (a if a is None or a.shape[1] == 1 else a[:, neurons] for a in (self.weight, self.offset))
        return Block(self.X, self.y[:, neurons], weight, offset)


class ArraySource(NamedTuple):
    """Features in memory."""

    values: Float[Array, "time features"]

    @property
    def made_of(self) -> tuple[Array, ...]:
        return (self.values,)

    def rows(self, start: Any, n: int) -> Float[Array, "rows features"]:
        return jax.lax.dynamic_slice_in_dim(self.values, start, n)


class ConvSource(NamedTuple):
    """Convolved features, made one block at a time. The inputs begin one window, that of the longest kernel, earlier."""

    inputs: Shaped[Array, "inputs bins"]
    kernels: tuple[Float[Array, "_lags _functions"], ...]

    @classmethod
    def from_kernel(
        cls, inputs: Shaped[np.ndarray, "inputs bins"], kernel: Float[np.ndarray, "window basis"]
    ) -> "ConvSource":
        """Build from inputs and a kernel with all functions over the whole window."""
        kernels = (jnp.asarray(functions, jnp.result_type(float)) for functions in split_kernel(kernel))
        return cls(to_device(inputs), tuple(kernels))

    @property
    def made_of(self) -> tuple[Array, ...]:
        return (self.inputs,)

    def rows(self, start: Any, n: int) -> Float[Array, "rows features"]:
        piece = jax.lax.dynamic_slice_in_dim(self.inputs, start, n + max(map(len, self.kernels)), 1)
        return causal_convolution(piece.astype(self.kernels[0].dtype), self.kernels)


class _CombinedSource(NamedTuple):
    parts: tuple

    @property
    def made_of(self) -> tuple[Array, ...]:
        return tuple(array for part in self.parts for array in part.made_of)

    def rows(self, start: Any, n: int) -> Float[Array, "rows features"]:
        return self.combine([part.rows(start, n) for part in self.parts])  # type: ignore[attr-defined]


class SumSource(_CombinedSource):
    """Features of several sources, side by side."""

    def combine(self, features: list[Array]) -> Float[Array, "rows features"]:
        return jnp.concatenate(features, 1)


class ProductSource(_CombinedSource):
    """Products of every feature of one source with every feature of the next, made one block at a time; the last is fastest."""

    def combine(self, features: list[Array]) -> Float[Array, "rows features"]:
        return reduce(lambda a, b: (a[:, :, None] * b[:, None, :]).reshape(len(a), -1), features)


Source = ArraySource | ConvSource | SumSource | ProductSource


class Chunk(NamedTuple):
    """Blocks for one compiled loop, which visits those with a valid row: the first `n_valid_blocks` of `block_indices`."""

    source: Source
    y: Shaped[Array, "time neurons"]
    valid: Bool[Array, " time #neurons"]
    block_indices: Int[Array, " blocks"]
    n_valid_blocks: Int[Array, ""]
    weight: Float[Array, " time #neurons"] | None = None  # 1 for all rows
    offset: Float[Array, " time #neurons"] | None = None

    @property
    def block_rows(self) -> int:
        return len(self.y) // len(self.block_indices)

    def block(self, i: Any) -> Block:
        """Make block i. Counts are missing where y is NaN, which integers cannot be."""
        start, n = i * self.block_rows, self.block_rows
        X = self.source.rows(start, n)
        slice_rows = lambda a: jax.lax.dynamic_slice_in_dim(a, start, n)
        y, valid = slice_rows(self.y), slice_rows(self.valid)
        if jnp.issubdtype(y.dtype, jnp.floating):
            valid = valid & ~jnp.isnan(y)
            y = jnp.where(valid, y, 0)
        offset = None if self.offset is None else slice_rows(self.offset)
        if offset is not None:
            valid, offset = valid & ~jnp.isnan(offset), jnp.nan_to_num(offset)
        weight = valid
        if self.weight is not None:
            weight = slice_rows(self.weight)
            weight = jnp.where(valid & (weight > 0), weight, 0)  # a comparison with NaN is false
        return Block(X, y.astype(X.dtype), weight.astype(X.dtype), offset)

    def numpy_weights(self) -> np.ndarray | None:
        """Weights of all rows as `block` makes them, but for NaN in y; None if each valid row counts once."""
        if self.weight is None and self.offset is None and self.valid.shape[1] == 1:
            return None
        weight = np.asarray(self.valid, float)
        if self.weight is not None:
            weight = weight * np.nan_to_num(self.weight)
        return weight if self.offset is None else weight * ~np.isnan(self.offset)
