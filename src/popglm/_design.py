"""The one notion of data: a design hands out its rows in blocks of one shape, and `total` is the only loop over them.

Blocks come in chunks. Inside a chunk the loop is compiled; over the chunks it is Python's, so that recordings of every
length share what was compiled, sums of many blocks are added in double precision, and chunks may be made on demand.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from popglm import _check, _convolve

BLOCK_ROWS = 2048  # rows whose features exist at one time
CHUNK_BLOCKS = 16


class Block(NamedTuple):
    """Rows of a design. Weight 0 marks padding, NaN in X (all neurons) or in y (that neuron), the start of an epoch."""

    X: Float[Array, "rows features"]
    y: Float[Array, "rows neurons"]
    weight: Float[Array, "rows #neurons"]


class Stored(NamedTuple):
    """Features in memory."""

    values: Float[Array, "time features"]

    def rows(self, start, n):
        return jax.lax.dynamic_slice_in_dim(self.values, start, n)


class Convolved(NamedTuple):
    """Features of the past, which exist one block at a time. The inputs begin `window` bins before the first row."""

    inputs: Shaped[Array, "bins inputs"]
    kernel: Float[Array, "window basis"]

    def rows(self, start, n):
        piece = jax.lax.dynamic_slice_in_dim(self.inputs, start, n + len(self.kernel))
        return _convolve.causal(piece.astype(self.kernel.dtype), self.kernel)


class Chunk(NamedTuple):
    """Blocks that are visited by one compiled loop. Those in which no row counts are not visited."""

    sources: tuple[Stored | Convolved, ...]
    y: Shaped[Array, "time neurons"]
    counted: Bool[Array, "time"]
    visited: Int[Array, "blocks"]
    n_visited: Int[Array, ""]

    @property
    def block_rows(self):
        return len(self.y) // len(self.visited)

    def block(self, i) -> Block:
        """Block i, its sources side by side. A count is missing where y is NaN, which whole numbers cannot be."""
        start, n = i * self.block_rows, self.block_rows
        X = jnp.concatenate([source.rows(start, n) for source in self.sources], 1)
        y, counted = (jax.lax.dynamic_slice_in_dim(a, start, n) for a in (self.y, self.counted[:, None]))
        if jnp.issubdtype(y.dtype, jnp.floating):
            counted = counted & ~jnp.isnan(y)
            y = jnp.where(counted, y, 0)
        return Block(X, y.astype(X.dtype), counted.astype(X.dtype))


class Rows(ABC):
    """Features as a design needs them.

    `counted` says which rows count, (time,). Where a feature lies far from 0, `center` is what was subtracted from the
    features; else it is None.
    """

    counted: Bool[np.ndarray, "time"]
    center: np.ndarray | None

    @abstractmethod
    def sources(self, start: int, size: int) -> tuple[Stored | Convolved, ...]:
        """Make the features of `size` rows from `start`, which may pass the end."""

    def place(self, y):
        """The rows of y where `sources` has them."""
        return y

    def take(self, entries):
        """The user's rows of entries that a pass over the design made."""
        return entries


class InMemory(Rows):
    """Features that exist. `center` is subtracted before they are rounded to the precision of JAX."""

    def __init__(self, values: Shaped[np.ndarray, "time features"], *, centered=False):
        self.values, self.counted = values, ~missing_rows(values)
        self.center = origin(values, self.counted) if centered else None

    def sources(self, start, size):
        """Some rows; those with a NaN become 0, so that no sum ever meets a NaN. Copied only if they must change."""
        values, counted = self.values[start : start + size], self.counted[start : start + size]
        dtype = jnp.result_type(float)
        if len(values) < size or values.dtype != dtype or self.center is not None or not counted.all():
            values = padded(values if self.center is None else values - self.center, size, dtype)
            values[: len(counted)][~counted] = 0
        return (Stored(on_device(values)),)


class Design(NamedTuple):
    """X and y, cut into chunks of one shape that are kept."""

    starts: list[int]
    chunks: list[Chunk]

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self.chunks)


def design(X: Rows, y: Shaped[np.ndarray, "time neurons"], *, whole=False) -> Design:
    """Cut X and y into chunks, or take them as a `whole`, for loops that are compiled around all of the data.

    What is shorter than a chunk is padded to the next of few lengths. Chunks without a row that counts are left out.
    """
    length, y = len(y), compact(y)
    rows = min(BLOCK_ROWS, _convolve.SUB_ROWS * grid(-(-length // _convolve.SUB_ROWS)))
    n_blocks = grid(-(-length // rows))
    n_blocks = n_blocks if whole else min(n_blocks, CHUNK_BLOCKS)
    size, starts, chunks = n_blocks * rows, [], []
    for start in range(0, length, size):
        counted = padded(X.counted[start : start + size], size)
        some = np.flatnonzero(counted.reshape(n_blocks, rows).any(1))
        if not len(some) and (chunks or start + size < length):  # a design has one chunk at least
            continue
        arrays = padded(y[start : start + size], size), counted, padded(some, n_blocks).astype(np.int32)
        starts.append(start)
        chunks.append(Chunk(X.sources(start, size), *map(on_device, arrays), jnp.asarray(len(some), jnp.int32)))
    return Design(starts, chunks)


@partial(jax.jit, static_argnums=0)
def chunk_total(f, chunk: Chunk, *args):
    """Sum of ``f(block, *args)`` over the blocks of a chunk. Never differentiate through it: it would store every X."""
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(lambda: f(chunk.block(0), *args)))
    add = lambda i, acc: jax.tree.map(jnp.add, acc, f(chunk.block(chunk.visited[i]), *args))
    return jax.lax.fori_loop(0, chunk.n_visited, add, zero)


def total(f, design, *args):
    """Sum of ``f(block, *args)`` over all blocks, as NumPy arrays of double precision."""
    sums, waiting = None, None
    for chunk in design:
        started = chunk_total(f, chunk, *args)  # computes while the one before is added
        sums, waiting = _add(sums, waiting), started
    return _add(sums, waiting)


def _add(sums, new):
    if new is None:
        return None
    new = jax.tree.map(lambda a: np.asarray(a, float), new)
    return new if sums is None else jax.tree.map(np.add, sums, new)


@partial(jax.jit, static_argnums=0)
def _block_entries(f, chunk: Chunk, i, *args):
    return f(chunk.block(i), *args)


def entries(f, X: Rows, design: Design, *args) -> np.ndarray:
    """``f(block, *args)``, an array (rows, ...), of all rows; NaN where X does not count."""
    out, length, waiting = None, len(X.counted), None
    blocks = (
        (start, chunk, i)
        for start, chunk in zip(design.starts, design.chunks, strict=True)
        for i in range(len(chunk.visited))
    )
    for start, chunk, i in blocks:
        row = start + i * chunk.block_rows
        if row >= length:
            break
        ready, waiting = waiting, (row, _block_entries(f, chunk, i, *args))  # computes while the one before is copied
        out = _keep(out, ready, length)
    out = _keep(out, waiting, length)
    out[~X.counted] = np.nan
    return out


def _keep(out, ready, length):
    if ready is None:
        return out
    row, some = ready[0], np.asarray(ready[1])[: length - ready[0]]
    if out is None:
        out = aligned((length, some.shape[1]), some.dtype)
    out[row : row + len(some)] = some
    return out


def padded(values, size, dtype=None) -> np.ndarray:
    """A copy with zeros up to the length `size`."""
    out = aligned((size, *values.shape[1:]), dtype or values.dtype)
    out[: len(values)], out[len(values) :] = values, 0
    return out


def aligned(shape, dtype) -> np.ndarray:
    """An empty array at an address that XLA on a processor takes as it is; it copies the others."""
    dtype = np.dtype(dtype)
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    raw = np.empty(n_bytes + 64, np.uint8)
    begin = -raw.ctypes.data % 64
    return raw[begin : begin + n_bytes].view(dtype).reshape(shape)


def on_device(values):
    """An array for JAX, which shares the memory of this one where it can: nobody may write to it meanwhile."""
    return jax.device_put(values, may_alias=True)


def compact(values) -> np.ndarray:
    """Small whole numbers as bytes, anything else in the precision of JAX: counts stay small until a block needs them."""
    with np.errstate(invalid="ignore"):  # NaN, and numbers that are no byte
        whole = values.dtype.kind in "biu" or all((p == p.astype(np.uint8)).all() for p in _check.pieces(values))
    if whole and values.size and (values.dtype == bool or (values.min() >= 0 and values.max() <= 255)):
        return values.astype(np.uint8, copy=False)
    return values.astype(jnp.result_type(float), copy=False)


def missing_rows(X) -> np.ndarray:
    """Which rows of X hold a NaN. One matrix-vector product finds the few rows that need a closer look."""
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = ~np.isfinite(X @ np.ones(X.shape[1], X.dtype))
    suspect[suspect] = np.isnan(X[suspect]).any(1)
    return suspect


def origin(values, counted) -> np.ndarray | None:
    """Where columns lie, if one lies so far from 0 that float32 would keep its offset and lose its variation."""
    step = max(len(values) // 1000, 1)
    for some in (values[::step][counted[::step]], values[counted]):  # all rows only if a sample shows a need
        if not len(some):
            return None
        mean, sd = some.mean(0, dtype=float), some.std(0, dtype=float)
        sd = np.where(sd > 1e-12 * np.abs(mean), sd, 0)  # of a constant column round-off is left
        far = np.abs(mean) > 10 * sd
        if not far.any():
            return None
    _check.near(mean, sd)
    return np.where(far, mean, 0)


def grid(n: int) -> int:
    """Round n up to four significant bits or so: lengths that differ a little share one compilation, wasting < 1/16."""
    step = 1 << max((max(n, 1) - 1).bit_length() - 5, 0)
    return max(-(-n // step) * step, 1)
