"""The one notion of data: a design hands out its rows in blocks of one shape, and `total` is the only loop over them.

Blocks come in chunks. Inside a chunk the loop is compiled; over the chunks it is Python's, so that recordings of every
length share what was compiled, sums of many blocks are added in double precision, and chunks may be made on demand.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from popglm import _check_arrays, _convolve

BLOCK_ROWS = 2048  # rows whose features exist at one time
CHUNK_BLOCKS = 16


class Block(NamedTuple):
    """Rows of a design. Weight 0 marks padding, NaN in X (all neurons) or in y (that neuron), the start of an epoch."""

    X: Float[Array, "rows features"]
    y: Float[Array, "rows neurons"]
    weight: Float[Array, " rows #neurons"]


class Stored(NamedTuple):
    """Features in memory."""

    values: Float[Array, "time features"]

    @property
    def made_of(self):
        return (self.values,)

    def rows(self, start, n):
        return jax.lax.dynamic_slice_in_dim(self.values, start, n)


class Convolved(NamedTuple):
    """Features of the past, which exist one block at a time. The inputs begin a window, the longest kernel, earlier."""

    inputs: Shaped[Array, "inputs bins"]
    kernels: tuple[Float[Array, "_lags _functions"], ...]

    @classmethod
    def of(cls, inputs, kernel) -> "Convolved":
        """From all functions over the window."""
        kernels = (jnp.asarray(some, jnp.result_type(float)) for some in _convolve.shortened(kernel))
        return cls(on_device(inputs), tuple(kernels))

    @property
    def made_of(self):
        return (self.inputs,)

    def rows(self, start, n):
        piece = jax.lax.dynamic_slice_in_dim(self.inputs, start, n + max(map(len, self.kernels)), 1)
        return _convolve.causal(piece.astype(self.kernels[0].dtype), self.kernels)


class Beside(NamedTuple):
    """Features of several sources, side by side."""

    parts: tuple

    @property
    def made_of(self):
        return tuple(array for part in self.parts for array in part.made_of)

    def rows(self, start, n):
        return jnp.concatenate([part.rows(start, n) for part in self.parts], 1)


class Crossed(NamedTuple):
    """Every feature of one source times every feature of the next, which exist one block at a time; the last runs fastest."""

    parts: tuple

    @property
    def made_of(self):
        return tuple(array for part in self.parts for array in part.made_of)

    def rows(self, start, n):
        times = lambda a, b: (a[:, :, None] * b[:, None, :]).reshape(n, -1)
        return reduce(times, [part.rows(start, n) for part in self.parts])


Source = Stored | Convolved | Beside | Crossed


class Chunk(NamedTuple):
    """Blocks that are visited by one compiled loop. Those in which no row counts are not visited."""

    source: Source
    y: Shaped[Array, "time neurons"]
    counted: Bool[Array, " time"]
    visited: Int[Array, " blocks"]
    n_visited: Int[Array, ""]

    @property
    def block_rows(self):
        return len(self.y) // len(self.visited)

    def block(self, i) -> Block:
        """Block i. A count is missing where y is NaN, which whole numbers cannot be."""
        start, n = i * self.block_rows, self.block_rows
        X = self.source.rows(start, n)
        y, counted = (jax.lax.dynamic_slice_in_dim(a, start, n) for a in (self.y, self.counted[:, None]))
        if jnp.issubdtype(y.dtype, jnp.floating):
            counted = counted & ~jnp.isnan(y)
            y = jnp.where(counted, y, 0)
        return Block(X, y.astype(X.dtype), counted.astype(X.dtype))


class Rows(ABC):
    """Features as a design needs them.

    Where a feature lies far from 0, `center` is what `part` subtracts from the features; else it is None. What is
    `streamed` is made anew in every pass, a chunk at a time; anything else is kept in chunks.
    """

    length: int
    center: np.ndarray | None = None
    streamed = False

    def offset(self, n_features) -> np.ndarray:
        """What `part` subtracts from each feature."""
        return np.zeros(n_features) if self.center is None else self.center

    @abstractmethod
    def part(self, start: int, size: int) -> tuple[Source, Bool[np.ndarray, " time"]]:
        """Make the features of `size` rows from `start`, which may pass the end; and say which of them count."""

    def counted(self) -> Bool[np.ndarray, " time"]:
        """Say of all rows whether they count."""
        step = BLOCK_ROWS * CHUNK_BLOCKS
        return np.concatenate([self.part(at, step)[1] for at in range(0, self.length, step)])[: self.length]

    def place(self, y):
        """The rows of y where `part` has them."""
        return y

    def take(self, entries):
        """The user's rows of entries that a pass over the design made."""
        return entries


class Matrix(Rows):
    """Features that exist, in memory or streamed. `center` is subtracted before they are rounded to JAX's precision."""

    def __init__(self, values, *, centered=False):
        self.values, self.length, self.streamed = values, values.shape[0], is_stream(values)
        self.center = origin(values) if centered else None

    def part(self, start, size):
        """Some rows; those with a NaN become 0, so that no sum ever meets a NaN. Copied only if they must change."""
        values, dtype = read(self.values, start, start + size), jnp.result_type(float)
        if self.streamed:
            _check_arrays.finite("X", values, start)
        counted = ~missing_rows(values)
        if len(values) < size or values.dtype != dtype or self.center is not None or not counted.all():
            values = padded(values if self.center is None else values - self.center, size, dtype)
            values[: len(counted)][~counted] = 0
        return Stored(on_device(values)), padded(counted, size)


class Design:
    """X and y, cut into chunks of one shape; those without a row that counts are left out.

    `y` has the rows of the user, which `X.place` moves; None is no y. What is shorter than a chunk is padded to the next of few
    lengths. A `whole` design is a single chunk, for loops that are compiled around all of the data. Iterating gives pairs of
    the first row and the chunk.
    """

    def __init__(self, X: Rows, y=None, *, whole=False):
        y = np.zeros((X.length, 0), np.uint8) if y is None else X.place(y)
        self._X, self._y, self.length = X, y, X.length
        rows = min(BLOCK_ROWS, _convolve.SUB_ROWS * grid(-(-self.length // _convolve.SUB_ROWS)))
        n_blocks = grid(-(-self.length // rows))
        self._n_blocks = n_blocks if whole else min(n_blocks, CHUNK_BLOCKS)
        self._size = self._n_blocks * rows
        self._kept = None if X.streamed or is_stream(y) else list(self._chunks())

    def __iter__(self) -> Iterator[tuple[int, Chunk]]:
        if self._kept is not None:
            return iter(self._kept)
        return self._chunks() if self.length <= self._size else ahead(self._chunks())

    def _chunks(self):
        for start in range(0, self.length, self._size):
            chunk = self._chunk(start)
            if chunk is not None:
                yield start, chunk

    def _chunk(self, start) -> Chunk | None:
        source, counted = self._X.part(start, self._size)
        blocks = np.flatnonzero(counted.reshape(self._n_blocks, -1).any(1))
        if not len(blocks):
            return None
        y = padded(compact(read(self._y, start, start + self._size)), self._size)
        arrays = y, counted, padded(blocks, self._n_blocks).astype(np.int32)
        return Chunk(source, *map(on_device, arrays), jnp.asarray(len(blocks), jnp.int32))


def ahead(items: Iterator) -> Iterator:
    """The same items, the next one being made in a thread while one is used."""
    precise = jax.config.jax_enable_x64  # which `with jax.enable_x64` sets for one thread

    def make():
        with jax.enable_x64(precise):
            return next(items, None)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(make)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(make)
            yield item


def is_stream(values) -> bool:
    """Whether these are rows that are read when they are sliced: a data set in a file, virtual counts, a memmap."""
    in_memory = isinstance(values, np.ndarray | jax.Array) and not isinstance(values, np.memmap)
    in_memory |= type(values).__module__.split(".")[0] in ("pandas", "scipy")  # tables and sparse matrices
    if in_memory or not all(hasattr(values, name) for name in ("shape", "dtype", "__getitem__")):
        return False
    try:
        return np.dtype(values.dtype).kind != "O"
    except TypeError:  # a tensor of another library
        return False


def read(values, start, stop) -> np.ndarray:
    """Some rows, as an array of two dimensions in this machine's byte order."""
    try:
        some = np.asarray(values[start:stop])
    except OSError as error:  # HDF5 does not say that its file is closed
        error.add_note(
            f"Rows {start} to {stop} were to be read from a file. It must be open, and so stay until the end."
        )
        raise
    some = some if some.dtype.isnative else some.astype(some.dtype.newbyteorder("="))
    return some[:, None] if some.ndim == 1 else some


@partial(jax.jit, static_argnums=0)
def chunk_total(f, chunk: Chunk, *args):
    """Sum of ``f(block, *args)`` over the blocks of a chunk. Never differentiate through it: it would store every X."""
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(lambda: f(chunk.block(0), *args)))
    add = lambda i, acc: jax.tree.map(jnp.add, acc, f(chunk.block(chunk.visited[i]), *args))
    return jax.lax.fori_loop(0, chunk.n_visited, add, zero)


def total(f, design, *args):
    """Sum of ``f(block, *args)`` over all blocks, as NumPy arrays of double precision."""
    sums, waiting = None, None
    for _, chunk in design:
        started = chunk_total(f, chunk, *args)  # computes while the one before is added
        sums, waiting = _add(sums, waiting), started
    _check_arrays.some_valid(waiting is not None)
    return _add(sums, waiting)


def _add(sums, new):
    if new is None:
        return None
    new = jax.tree.map(lambda a: np.asarray(a, float), new)
    with np.errstate(invalid="ignore"):  # a trial point may be so far away that parts are inf and -inf
        return new if sums is None else jax.tree.map(np.add, sums, new)


@partial(jax.jit, static_argnums=0)
def _block_entries(f, chunk: Chunk, i, *args):
    return f(chunk.block(i), *args)


def entries(f, design: Design, n_columns: int, *args) -> np.ndarray:
    """``f(block, *args)``, an array (rows, columns), of all rows; NaN where X does not count."""
    out, waiting = aligned((design.length, n_columns), jnp.result_type(float)), None
    done = 0  # rows before it are written, or will be by what is waiting
    for start, chunk in design:
        out[done:start] = np.nan
        for i in range(len(chunk.visited)):
            row = start + i * chunk.block_rows
            if row < design.length:
                ready, waiting = waiting, (row, _block_entries(f, chunk, i, *args))  # computes while the last is copied
                _keep(out, ready)
        done = min(start + len(chunk.y), design.length)
        _keep(out, waiting)
        out[start:done][~np.asarray(chunk.counted)[: done - start]] = np.nan
        waiting = None
    out[done:] = np.nan
    return out


def _keep(out, ready):
    if ready is not None:
        row, some = ready
        out[row : row + len(some)] = np.asarray(some)[: len(out) - row]


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


def compact(values, *, keep=False) -> np.ndarray:
    """Small whole numbers as bytes, until a block needs them.

    Anything else is in the precision of JAX, or as it is, if it is to `keep` its digits.
    """
    with np.errstate(invalid="ignore"):  # NaN, and numbers that are no byte
        whole = values.dtype.kind in "biu" or all((p == p.astype(np.uint8)).all() for p in _check_arrays.pieces(values))
    if whole and values.size and (values.dtype == bool or (values.min() >= 0 and values.max() <= 255)):
        return values.astype(np.uint8, copy=False)
    return values if keep else values.astype(jnp.result_type(float), copy=False)


def missing_rows(X) -> np.ndarray:
    """Which rows of X hold a NaN. One matrix-vector product finds the few rows that need a closer look."""
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = ~np.isfinite(X @ np.ones(X.shape[1], X.dtype))
    suspect[suspect] = np.isnan(X[suspect]).any(1)
    return suspect


def origin(values) -> np.ndarray | None:
    """Where columns lie, if one lies so far from 0 that float32 would keep its offset and lose its variation."""
    mean, sd = located(values)
    _check_arrays.near(mean, sd)
    far = (np.abs(mean) > 10 * sd) & (sd > 0)
    return np.where(far, mean, 0) if far.any() else None


def located(values):
    """Mean and standard deviation of each column: those of a sample, where it shows that none lies far from 0."""
    n_rows = values.shape[0]
    sample = np.concatenate([read(values, at, at + 20) for at in range(0, n_rows, max(n_rows // 50, 20))])
    mean, sd = spread([sample], spread([sample], 0)[0])
    if (np.abs(mean) > 10 * sd).any() and not is_stream(values):  # all rows only if a sample shows a need
        mean, sd = spread(_check_arrays.pieces(values), mean)
    return mean, sd


def spread(parts, shift):
    """Mean and standard deviation of each column, of what is not NaN; `shift` lies near the mean, so no digits are lost."""
    n, first, second = 0, 0.0, 0.0
    for part in parts:
        off = np.asarray(part, float) - shift
        known = ~np.isnan(off)
        off = np.where(known, off, 0)
        n, first, second = n + known.sum(0), first + off.sum(0), second + (off**2).sum(0)
    n = np.maximum(n, 1)
    mean = shift + first / n
    sd = np.sqrt(np.maximum(second / n - (first / n) ** 2, 0))
    return mean, np.where(sd > 1e-12 * np.abs(mean), sd, 0)  # of a constant column round-off is left


def eps() -> float:
    """Relative round-off of JAX's precision."""
    return float(jnp.finfo(jnp.result_type(float)).eps)


def grid(n: int) -> int:
    """Round n up to four significant bits or so: lengths that differ a little share one compilation, wasting < 1/16."""
    step = 1 << max((max(n, 1) - 1).bit_length() - 5, 0)
    return max(-(-n // step) * step, 1)
