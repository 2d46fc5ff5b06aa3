"""The one notion of data: a design cuts X and y into chunks of blocks of one shape.

Recordings of every length share what was compiled, and chunks may be made on demand.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from popglm._checks.arrays import require_finite
from popglm._design.arrays import compact_integers, round_up_length, rows_with_nan, to_device, zero_pad
from popglm._design.blocks import ArraySource, Chunk, Source
from popglm._design.centering import column_center
from popglm._design.convolve import SUB_BLOCK_ROWS
from popglm._design.sizes import SIZES
from popglm._design.streams import is_stream, prefetch, read_rows


class DesignRows(ABC):
    """Features as a design needs them.

    Where a feature lies far from 0, `center` is what `rows_at` subtracts from the features; else it is None. What is
    `streamed` is made anew in every pass, a chunk at a time; anything else is kept in chunks.
    """

    length: int
    center: np.ndarray | None = None
    streamed = False

    def offset(self, n_features) -> np.ndarray:
        """What `rows_at` subtracts from each feature."""
        return np.zeros(n_features) if self.center is None else self.center

    @abstractmethod
    def rows_at(self, start: int, size: int) -> tuple[Source, Bool[np.ndarray, " time"]]:
        """Make the features of `size` rows from `start`, which may pass the end; and say which of them count."""

    def valid_rows(self) -> Bool[np.ndarray, " time"]:
        """Say of all rows whether they count."""
        step = SIZES.block_rows * SIZES.chunk_blocks
        return np.concatenate([self.rows_at(at, step)[1] for at in range(0, self.length, step)])[: self.length]

    def scatter(self, y):
        """The rows of y where `rows_at` has them."""
        return y

    def gather(self, entries):
        """The user's rows of entries that a pass over the design made."""
        return entries


class MatrixRows(DesignRows):
    """Features that exist, in memory or streamed. `center` is subtracted before they are rounded to JAX's precision."""

    def __init__(self, values, *, centered=False):
        self.values, self.length, self.streamed = values, values.shape[0], is_stream(values)
        self.center = column_center(values) if centered else None

    def rows_at(self, start, size):
        """Some rows; those with a NaN become 0, so that no sum ever meets a NaN. Copied only if they must change."""
        values, dtype = read_rows(self.values, start, start + size), jnp.result_type(float)
        if self.streamed:
            require_finite("X", values, start)
        counted = ~rows_with_nan(values)
        if len(values) < size or values.dtype != dtype or self.center is not None or not counted.all():
            values = zero_pad(values if self.center is None else values - self.center, size, dtype)
            values[: len(counted)][~counted] = 0
        return ArraySource(to_device(values)), zero_pad(counted, size)


class Design:
    """X and y, cut into chunks of one shape; those without a row that counts are left out.

    `y` has the rows of the user, which `X.scatter` moves; None means no y. Data shorter than a chunk are padded to the next
    of few lengths. A `whole` design is a single chunk, for loops that are compiled around all data. Iteration yields pairs
    (first row, chunk).
    """

    def __init__(self, X: DesignRows, y=None, *, whole=False):
        y = np.zeros((X.length, 0), np.uint8) if y is None else X.scatter(y)
        self._X, self._y, self.length = X, y, X.length
        rows = min(SIZES.block_rows, SUB_BLOCK_ROWS * round_up_length(-(-self.length // SUB_BLOCK_ROWS)))
        n_blocks = round_up_length(-(-self.length // rows))
        self._n_blocks = n_blocks if whole else min(n_blocks, SIZES.chunk_blocks)
        self._size = self._n_blocks * rows
        self._kept = None if X.streamed or is_stream(y) else list(self._chunks())

    def __iter__(self) -> Iterator[tuple[int, Chunk]]:
        if self._kept is not None:
            return iter(self._kept)
        return self._chunks() if self.length <= self._size else prefetch(self._chunks())

    def _chunks(self):
        for start in range(0, self.length, self._size):
            chunk = self._chunk(start)
            if chunk is not None:
                yield start, chunk

    def _chunk(self, start) -> Chunk | None:
        source, counted = self._X.rows_at(start, self._size)
        blocks = np.flatnonzero(counted.reshape(self._n_blocks, -1).any(1))
        if not len(blocks):
            return None
        y = zero_pad(compact_integers(read_rows(self._y, start, start + self._size)), self._size)
        arrays = y, counted, zero_pad(blocks, self._n_blocks).astype(np.int32)
        return Chunk(source, *map(to_device, arrays), jnp.asarray(len(blocks), jnp.int32))
