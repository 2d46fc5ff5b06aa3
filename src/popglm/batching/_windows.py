"""Windows of a recording as batches, at random places or in sequence."""

import itertools
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from popglm._checks.values import as_nonnegative_integer, as_positive_integer
from popglm._design.arrays import empty_aligned
from popglm._design.inputs import as_observations, has_valid_bin
from popglm._design.layout import read_layout
from popglm._design.streams import read_rows
from popglm._pynapple import Frame, as_frame, epoch_starts
from popglm._types import BatchLike, Counts, Features, RowValues


class Windows:
    """Windows of a recording, pairs (X, y) of arrays, from `random_windows` or `sequential_blocks`.

    With weights or offsets they are tuples (X, y, sample_weight, offset), None for what was not given. Every window has
    `n_bins` rows; a shorter piece is filled up with NaN, which no method counts. It can be iterated any number of times, each
    time one pass over the recording. ``len(windows)`` is the largest number of windows in a pass.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.batching import sequential_blocks
    >>> X, y = np.ones((2500, 3)), np.ones((2500, 2))
    >>> [x.shape for x, _ in sequential_blocks(X, y, n_bins=1000)]
    [(1000, 3), (1000, 3), (1000, 3)]
    """

    def __init__(
        self,
        X: Features,
        y: Counts,
        n_bins: int,
        seed: int | None,
        sample_weight: RowValues | None = None,
        offset: RowValues | None = None,
    ) -> None:
        self._flat = tuple(_is_flat(values) for values in (X, y, sample_weight, offset))
        self.layout = read_layout(X)  # inputs that the features are made of
        data = as_observations(X, y, None, (1, 2), sample_weight, offset)
        self._X, self._y, self._rows = data.X, data.y, data.weights_and_offsets
        self.n_bins = as_positive_integer("n_bins", n_bins, " of rows")
        self._seed, self._passes = seed, 0
        self._epochs = _epoch_rows(self._X if self._X.times is not None else self._y)

    @property
    def frames(self) -> tuple[Frame, Frame]:
        """X and y with their times, epochs and columns."""
        return self._X, self._y

    @property
    def weights_and_offsets(self) -> tuple[Any, Any]:
        """Weights and offsets of all rows, (time, 1 or neurons), None for what was not given."""
        return self._rows

    def __len__(self) -> int:
        """Largest number of windows in a pass."""
        return sum(-(-(stop - start) // self.n_bins) + (self._seed is not None) for start, stop in self._epochs)

    def __repr__(self) -> str:
        """Number and length of the windows, and their order."""
        kind = "in order" if self._seed is None else f"at random, seed={self._seed}"
        return f"Windows({len(self)} of {self.n_bins} bins, {kind})"

    def __iter__(self) -> Iterator[BatchLike]:
        """Yield the windows of the next pass."""
        self._passes += 1
        return self.of_pass(self._passes - 1)

    def of_pass(self, number: int, skip: int = 0) -> Iterator[BatchLike]:
        """Yield the windows of a pass by its number, without the first `skip`."""
        parts = self._X.values, self._y.values
        if any(part is not None for part in self._rows):
            parts = *parts, *self._rows
        for tile, epoch in self._cut(number):
            window = [None if part is None else self._window(part, tile, epoch) for part in parts]
            if not has_valid_bin(*window):
                continue
            if skip:
                skip -= 1
            else:
                yield self._as_given(window)

    def _as_given(self, window) -> BatchLike:
        """Pair, or 4-tuple with weights or offsets; columns alone have the dimensions that they came with."""
        return tuple(
            part[:, 0] if is_flat and part is not None else part
            for part, is_flat in zip(window, self._flat, strict=False)
        )

    def _window(self, values, tile, epoch) -> np.ndarray:
        """Rows of a tile, filled up with NaN. The rows read are as many as in a window, or a half, a quarter of it, ...

        So lazy features of tiles of any length are made by few compiled loops, and no gap between epochs is read.
        """
        (start, stop), size = tile, self.n_bins
        while size // 2 >= stop - start:
            size //= 2
        first = max(min(start, epoch[1] - size), epoch[0])
        rows = read_rows(values, first, min(first + size, epoch[1]))
        return _fill_window(rows[start - first : stop - first], self.n_bins)

    def _cut(self, number):
        """Tiles (start, stop) of rows that cover every epoch once, each with its epoch (start, stop)."""
        rng = None if self._seed is None else np.random.default_rng([self._seed, number])
        tiles = []
        for start, stop in self._epochs:
            first = start + self.n_bins if rng is None else start + int(rng.integers(1, self.n_bins + 1))
            edges = [start, *range(first, stop, self.n_bins), stop]
            tiles += [(tile, (start, stop)) for tile in itertools.pairwise(edges)]
        if rng is not None:
            rng.shuffle(tiles)
        return tiles


def _is_flat(values) -> bool:
    """Return whether an input has one dimension."""
    return len(getattr(as_frame(values).values, "shape", ())) == 1


def _epoch_rows(frame):
    """Rows (start, stop) of every epoch."""
    edges = epoch_starts(frame, frame.values.shape[0])
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges) if a < b]


def _fill_window(values, n_bins) -> np.ndarray:
    """Values filled up with NaN to the length of a window; whole numbers become floats in the precision of JAX."""
    dtype = values.dtype if values.dtype.kind == "f" else jnp.result_type(float)
    out = empty_aligned((n_bins, values.shape[1]), dtype)
    out[: len(values)], out[len(values) :] = values, np.nan
    return out


def random_windows(
    X: Features,
    y: Counts,
    n_bins: int,
    *,
    seed: int,
    sample_weight: RowValues | None = None,
    offset: RowValues | None = None,
) -> Windows:
    r"""Windows at random places, which cover a recording once per pass: batches for `fit_batches` and `update`.

    Each pass cuts every epoch at a random phase :math:`\phi \in \{1, \dots, B\}` into tiles

    .. math:: [0, \phi), [\phi, \phi + B), [\phi + B, \phi + 2B), \dots

    of B bins and shuffles the tiles of all epochs, so that in every pass each bin counts once. Features of
    the past are complete in every window, except at the start of an epoch. No window reaches over a gap.

    Parameters
    ----------
    X
        Features, shape (time, features): TsdFrame, array, `LazyFeatures`, or a data set in a file.
    y
        Activity, shape (time,) or (time, neurons), of the same kinds, or `LazyCounts`.
    n_bins : int
        Rows of a window, B.
    seed : int
        Seed of the cuts and the order: the same seed gives the same passes.
    sample_weight, offset
        As for `fit`: a number for each row, (time,), or for each row and neuron, (time, neurons), of the same kinds as y.

    Returns
    -------
    Windows
        One pass over the recording each time it is iterated: pairs (X, y), or with weights or offsets tuples
        (X, y, sample_weight, offset), None for what was not given.

    Raises
    ------
    ValueError
        If X and y do not have the same bins, or `n_bins` or `seed` is not a whole number; if a weight is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.batching import random_windows
    >>> from popglm.glm import PopulationGLM
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(5000, 4)), rng.poisson(0.2, (5000, 3))
    >>> batches = random_windows(X, y, n_bins=500, seed=0)
    >>> PopulationGLM().fit_batches(batches, n_steps=3 * len(batches)).coef_.shape
    (4, 3)
    """
    return Windows(X, y, n_bins, as_nonnegative_integer("seed", seed), sample_weight, offset)


def sequential_blocks(
    X: Features,
    y: Counts,
    n_bins: int,
    *,
    sample_weight: RowValues | None = None,
    offset: RowValues | None = None,
) -> Windows:
    r"""Windows one after the other, :math:`[0, B), [B, 2B), \dots` in every epoch: a recording from its start to its end.

    For scores and sums in parts. For a fit take `random_windows`, since neighbours in time resemble each other.

    Parameters
    ----------
    X, y, n_bins, sample_weight, offset
        As for `random_windows`.

    Returns
    -------
    Windows
        One pass over the recording each time it is iterated, as those of `random_windows`.

    Raises
    ------
    ValueError
        If X and y do not have the same bins, or `n_bins` is not a positive whole number; if a weight is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.batching import sequential_blocks
    >>> blocks = sequential_blocks(np.ones((2500, 3)), np.ones((2500, 2)), n_bins=1000)
    >>> len(blocks)
    3
    """
    return Windows(X, y, n_bins, None, sample_weight, offset)
