"""A design cuts X and y into chunks of blocks of one shape: the only form of data that sums are computed from.

Recordings of different lengths share compiled code, and chunks may be made on demand.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from popglm._checks.arrays import require_finite
from popglm._design.arrays import compact_integers, round_up_length, rows_with_nan, to_device, zero_pad
from popglm._design.blocks import ArraySource, Chunk, Source
from popglm._design.centering import column_center
from popglm._design.convolve import SUB_BLOCK_ROWS
from popglm._design.missing import agree_on_fill, as_uses, column_fill, counted_rows, fill_missing
from popglm._design.sizes import SIZES
from popglm._design.streams import is_stream, prefetch, read_rows
from popglm.parallel._share import SHARE, gather, shares_rows


class DesignRows(ABC):
    """Source of the rows of a design.

    `center` is what `rows_at` subtracts from features far from 0; None if no feature is. `streamed` rows are made anew in
    every pass, a chunk at a time; others are kept as chunks.
    """

    length: int
    center: np.ndarray | None = None
    streamed = False

    def offset(self, n_features: int) -> Float[np.ndarray, " features"]:
        """Value that `rows_at` subtracts from each feature."""
        return np.zeros(n_features) if self.center is None else self.center

    @abstractmethod
    def rows_at(self, start: int, size: int) -> tuple[Source, Bool[np.ndarray, " time #neurons"]]:
        """Make the features of `size` rows from `start`, which may pass the end; mark the valid, for all neurons or each."""

    def valid_rows(self) -> Bool[np.ndarray, " time #neurons"]:
        """Mark the valid rows among all."""
        step = SIZES.block_rows * SIZES.chunk_blocks
        parts = [self.rows_at(start, step)[1] for start in range(0, self.length, step)]
        width = max(part.shape[1] for part in parts)
        return np.concatenate([np.broadcast_to(part, (step, width)) for part in parts])[: self.length]

    def scatter(self, y: Any) -> Any:
        """Move rows of y from the user's order to that of `rows_at`."""
        return y

    def gather(self, entries: np.ndarray) -> np.ndarray:
        """Select the user's rows from entries of all rows of the design."""
        return entries


class MatrixRows(DesignRows):
    """Rows of a matrix, in memory or streamed. `center` is subtracted before rounding to the precision of JAX.

    With a `mask` (neurons, features) a row is valid for a neuron if the features that it uses are known.
    """

    def __init__(self, values: Any, *, centered: bool = False, mask: Any = None) -> None:
        self.values, self.length, self.streamed = values, values.shape[0], is_stream(values)
        self.center = column_center(values) if centered else None
        self._uses = as_uses(mask, [np.arange(values.shape[1])])
        self._fill = 0.0 if self._uses is None else agree_on_fill(column_fill(values))

    def rows_at(self, start: int, size: int) -> tuple[Source, Bool[np.ndarray, " time #neurons"]]:
        """Return rows as they are if possible, else as a copy; a NaN becomes 0, or a mean, so that no sum meets it."""
        values, dtype = read_rows(self.values, start, start + size), jnp.result_type(float)
        if self.streamed:
            require_finite("X", values, start)
        complete = ~rows_with_nan(values)[:, None]
        all_complete = complete.all()
        known = complete if all_complete else ~np.isnan(values)
        if len(values) < size or values.dtype != dtype or self.center is not None or not all_complete:
            values = zero_pad(values if self.center is None else values - self.center, size, dtype)
            fill_missing(values[: len(known)], complete, known, self._fill, self.center)
        asked = np.arange(size) < len(known)
        return ArraySource(to_device(values)), counted_rows([zero_pad(known, size)], asked, self._uses)


class Design:
    """X and y, cut into chunks of one shape; chunks without a valid row are left out.

    `y`, `weight` and `offset` have the rows of the user, which `X.scatter` moves; None means no y, a weight of 1 and an offset
    of 0. Data shorter than a chunk are padded to the next of few lengths. A `whole` design is a single chunk, for loops that
    are compiled around all data. Iteration yields pairs (first row, chunk): those of this process, spread over its devices.
    """

    def __init__(
        self, X: DesignRows, y: Any = None, weight: Any = None, offset: Any = None, *, whole: bool = False
    ) -> None:
        y = np.zeros((X.length, 0), np.uint8) if y is None else X.scatter(y)
        self._X, self._y, self.length = X, y, X.length
        self._weight, self._offset = (None if a is None else X.scatter(a) for a in (weight, offset))
        rows = min(SIZES.block_rows, SUB_BLOCK_ROWS * round_up_length(-(-self.length // SUB_BLOCK_ROWS)))
        n_blocks = round_up_length(-(-self.length // rows))
        self._n_blocks = n_blocks if whole else min(n_blocks, SIZES.chunk_blocks)
        self._size = self._n_blocks * rows
        # Known after a pass: rows that are valid for any neuron, or have no weight, and how many are lost to each, by chunk.
        self._valid = np.zeros(self.length, bool)
        self._n_lost: dict[int, np.ndarray] = {}
        parts = y, self._weight, self._offset
        streamed = X.streamed or any(is_stream(part) for part in parts if part is not None)
        self._share = SHARE.get()
        self._cached = None if streamed else list(self._chunks())

    @property
    def valid(self) -> Bool[np.ndarray, " time"]:
        """Rows that are valid for any neuron, or have no weight."""
        return np.logical_or.reduce(gather(self._valid, "marks valid rows")) if shares_rows() else self._valid

    @property
    def n_lost(self) -> Int[np.ndarray, " #neurons"]:
        """Number of rows that are valid for other neurons but not for each."""
        n_lost = sum(self._n_lost.values(), np.zeros(1, int))
        return sum(gather(n_lost, "counts lost rows")) if shares_rows() else n_lost

    @property
    def has_offset(self) -> bool:
        """Return whether the linear predictor has an offset."""
        return self._offset is not None

    def __iter__(self) -> Iterator[tuple[int, Chunk]]:
        if self._cached is not None:
            return iter(self._cached)
        return self._chunks() if self.length <= self._size else prefetch(self._chunks())

    def all_chunks(self) -> Iterator[tuple[int, Chunk]]:
        """Chunks of all rows, whoever sums them, on one device."""
        if self._share.rows is None and not self._share.devices:
            return iter(self)
        return self._make_chunks(range(0, self.length, self._size))

    def _chunks(self) -> Iterator[tuple[int, Chunk]]:
        """Chunks of this process, each on its device."""
        starts = range(0, self.length, self._size)
        chunks = self._make_chunks(start for number, start in enumerate(starts) if self._share.takes(number))
        for position, (start, chunk) in enumerate(chunks):
            device = self._share.device_of(position)
            yield start, chunk if device is None else jax.device_put(chunk, device)

    def _make_chunks(self, starts: Iterable[int]) -> Iterator[tuple[int, Chunk]]:
        for start in starts:
            chunk = self._chunk(start)
            if chunk is not None:
                yield start, chunk

    def _chunk(self, start: int) -> Chunk | None:
        source, valid = self._X.rows_at(start, self._size)
        weight, offset = (self._read_floats(a, start) for a in (self._weight, self._offset))
        wanted = np.ones((self._size, 1), bool) if weight is None else weight > 0
        any_valid, counted = np.asarray(valid.any(1)), valid & wanted
        self._valid[start : start + self._size] = (any_valid | ~wanted.any(1))[: self.length - start]
        self._n_lost[start] = (any_valid[:, None] & ~valid & wanted).sum(0)
        blocks = np.flatnonzero(counted.reshape(self._n_blocks, -1).any(1))
        if not len(blocks):
            return None
        y = zero_pad(compact_integers(read_rows(self._y, start, start + self._size)), self._size)
        return Chunk(
            source=source,
            y=to_device(y),
            valid=to_device(valid),
            block_indices=to_device(zero_pad(blocks, self._n_blocks).astype(np.int32)),
            n_valid_blocks=jnp.asarray(len(blocks), jnp.int32),
            weight=None if weight is None else to_device(weight),
            offset=None if offset is None else to_device(offset),
        )

    def _read_floats(self, values: Any, start: int) -> np.ndarray | None:
        if values is None:
            return None
        return zero_pad(read_rows(values, start, start + self._size), self._size, jnp.result_type(float))
