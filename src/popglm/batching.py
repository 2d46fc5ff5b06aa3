"""A recording in parts: counts that are made of spike times when they are sliced, and windows for a fit by batches."""

import itertools

import jax.numpy as jnp
import numpy as np

from popglm import _check, _check_index, _check_times, _data, _design, _pynapple

__all__ = ["LazyCounts", "Windows", "count_lazily", "random_windows", "sequential_blocks"]


class LazyCounts(_pynapple.Framed):
    """Counts that look like the matrix of ``units.count(bin_size)`` and are binned when they are sliced.

    From `count_lazily`. Accepted as y, and by `lazy_features`. ``numpy.asarray(counts)`` makes all of them.

    Examples
    --------
    >>> import numpy as np
    >>> import pynapple as nap
    >>> from popglm.batching import count_lazily
    >>> units = nap.TsGroup({0: nap.Ts([0.1, 0.101, 5.0]), 7: nap.Ts([2.0, 9.0])}, time_support=nap.IntervalSet(0, 10))
    >>> counts = count_lazily(units, bin_size=0.01)
    >>> counts.shape, counts[0:20].sum(0).tolist()
    ((1000, 2), [2, 0])
    """

    ndim = 2
    dtype = np.dtype(np.int64)

    def __init__(self, trains, names, epochs, bin_size):
        self._trains, self.columns, self.time_support, self._bin_size = trains, names, epochs, bin_size
        begin, end = epochs.start, epochs.end
        n_bins = [_bins(*epoch, bin_size) for epoch in zip(begin, end, strict=True)]
        self._begin, self._end, self._first = begin, end, np.concatenate([[0], np.cumsum(n_bins)])

    @property
    def shape(self):
        """(time, neurons)."""
        return int(self._first[-1]), len(self._trains)

    def __len__(self):
        """Number of bins."""
        return self.shape[0]

    def __repr__(self):
        """Shape and bin size."""
        return f"LazyCounts(shape={self.shape}, bin_size={self._bin_size} s)"

    @property
    def made_of(self):
        """Spike times."""
        return tuple(self._trains)

    @property
    def t(self):
        """Centres of the bins in seconds."""
        return _edges(self, np.arange(len(self))) + self._bin_size / 2

    @property
    def frame(self) -> _pynapple.Frame:
        """These counts with their time axis."""
        return _pynapple.Frame(self, self.t, self.time_support, self.columns)

    def __getitem__(self, key):
        """Counts of some bins, an array (bins, neurons); of a contiguous slice only its spikes are looked at."""
        rows, columns = _check_index.row_and_column(key, self.shape, "lazy counts", twice=True)
        if rows is None:
            rows = slice(None)
        if isinstance(rows, slice) and rows.step in (None, 1):
            start, stop, _ = rows.indices(len(self))
            out = self._count(start, max(start, stop))
        else:
            rows = np.arange(len(self))[rows]
            first, last = (int(rows.min()), int(rows.max()) + 1) if len(rows) else (0, 0)
            out = self._count(first, last)[rows - first]
        single = isinstance(key[0] if isinstance(key, tuple) else key, int | np.integer)
        out = out[0] if single else out
        return out if columns is None else out[..., columns]

    def __array__(self, dtype=None, copy=None):
        """Make all counts."""
        return self._count(0, len(self)).astype(dtype or self.dtype, copy=False)

    def _count(self, start, stop):
        out = np.zeros((stop - start, len(self._trains)), self.dtype)
        for epoch in range(len(self._begin)):
            a, b = max(start, self._first[epoch]), min(stop, self._first[epoch + 1])
            if a >= b:
                continue
            edges = _edges(self, np.arange(a, b + 1), epoch)
            for neuron, times in enumerate(self._trains):
                lowest, highest = np.searchsorted(times, [edges[0], edges[-1]])
                inside = times[lowest:highest]
                inside = inside[: np.searchsorted(inside, self._end[epoch], "right")]
                out[a - start : b - start, neuron] = np.bincount(
                    _bin_of(inside, edges, self._bin_size), minlength=b - a
                )
        return out


def count_lazily(units, bin_size, epochs=None):
    r"""Counts of spikes in bins, never all in memory: the values, times and columns of ``units.count(bin_size, epochs)``.

    Bin t of an epoch that starts at a counts the spikes s of each neuron with

    .. math:: a + t\,\Delta \le s < a + (t + 1)\,\Delta,

    and the last bin ends with its epoch.

    Parameters
    ----------
    units
        A pynapple TsGroup.
    bin_size : float
        In seconds, :math:`\Delta`.
    epochs
        A pynapple IntervalSet; None is the whole recording, the time support of `units`.

    Returns
    -------
    LazyCounts
        Shape (time, neurons).

    Raises
    ------
    TypeError
        If `units` is no TsGroup or `epochs` no IntervalSet.
    ValueError
        If `bin_size` is not a positive number.

    Examples
    --------
    >>> import jax
    >>> from popglm.basis import RaisedCosineLogConv
    >>> from popglm.batching import count_lazily
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.simulation import random_coupling, simulate_population
    >>> basis, key = RaisedCosineLogConv(5, window_size=40), jax.random.key(1)
    >>> units = simulate_population(key, *random_coupling(key, 4, basis), basis, duration=60.0).units
    >>> counts = count_lazily(units, bin_size=0.005)
    >>> PopulationGLM().fit(basis.lazy_features(counts), counts).coef_.shape
    (20, 4)
    """
    units = _check_times.group(units)
    bin_size = _check.number("bin_size", bin_size, 0, strict=True)
    epochs = units.time_support if epochs is None else _check_times.interval_set(epochs)
    return LazyCounts([units[n].t for n in units], np.asarray(units.index), epochs, bin_size)


def _bins(begin, end, bin_size):
    """Number of bins of an epoch: those whose center lies in it."""
    n = max(int(np.ceil((end - begin) / bin_size)) + 1, 1) if end - begin > bin_size else 1
    centers = _left(begin, np.arange(max(n - 3, 0), n), bin_size) + bin_size / 2
    return n - int((centers > end).sum())


def _edges(counts, rows, epoch=None):
    """Left edges of bins, in the 9 digits that pynapple's times have; of one `epoch` if the rows may pass its end."""
    if epoch is None:
        epoch = np.searchsorted(counts._first, rows, "right") - 1
    return _left(counts._begin[epoch], rows - counts._first[epoch], counts._bin_size)


def _left(begin, row, bin_size):
    """Left edges of bins of epochs: the first is the epoch's start, the others are rounded one after the other."""
    second = np.round(begin + bin_size, 9)
    return np.where(row == 0, begin, np.round(second + (row - 1) * round(bin_size, 9), 9))


def _bin_of(times, edges, bin_size):
    """Bin of each time, between edges: a division, put right where it rounds over an edge."""
    guess = np.clip(((times - edges[0]) / bin_size).astype(int), 0, len(edges) - 2)
    guess -= times < edges[guess]
    return guess + (times >= edges[guess + 1])


class Windows:
    """Windows of a recording, pairs (X, y) of arrays, from `random_windows` or `sequential_blocks`.

    Every window has `n_bins` rows; a shorter piece is filled up with NaN, which no method counts. Iterate as often as you
    like: each time is one pass over the recording. ``len(windows)`` is how many windows a pass has at most.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.batching import sequential_blocks
    >>> X, y = np.ones((2500, 3)), np.ones((2500, 2))
    >>> [x.shape for x, _ in sequential_blocks(X, y, n_bins=1000)]
    [(1000, 3), (1000, 3), (1000, 3)]
    """

    def __init__(self, X, y, n_bins, seed):
        self._flat = len(getattr(_pynapple.unwrap(y).values, "shape", ())) == 1
        self._X, self._y = _data.pair(X, y, None, (1, 2))
        self.n_bins = _check.positive_integer("n_bins", n_bins, " of rows")
        self._seed, self._passes = seed, 0
        self._epochs = _epochs(self._X if self._X.times is not None else self._y)

    @property
    def frames(self):
        """X and y with what pynapple knows about them."""
        return self._X, self._y

    def __len__(self):
        """Windows of a pass, at most."""
        return sum(-(-(stop - start) // self.n_bins) + (self._seed is not None) for start, stop in self._epochs)

    def __repr__(self):
        """Number and length."""
        kind = "in order" if self._seed is None else f"at random, seed={self._seed}"
        return f"Windows({len(self)} of {self.n_bins} bins, {kind})"

    def __iter__(self):
        """The windows of the next pass."""
        self._passes += 1
        return self.of_pass(self._passes - 1)

    def of_pass(self, number, skip=0):
        """The windows of a pass by its number, of which the first `skip` are left out."""
        for tile, epoch in self._cut(number):
            X, y = (self._window(values, tile, epoch) for values in (self._X.values, self._y.values))
            if not _data.any_valid(X, y):
                continue
            if skip:
                skip -= 1
            else:
                yield X, y[:, 0] if self._flat else y

    def _window(self, values, tile, epoch) -> np.ndarray:
        """Some rows, NaN below them. What is read has the length of a window, or a half, a quarter of it and so on.

        So lazy features of pieces of any length are made by few compiled loops, and no gap between epochs is read.
        """
        (start, stop), size = tile, self.n_bins
        while size // 2 >= stop - start:
            size //= 2
        first = max(min(start, epoch[1] - size), epoch[0])
        some = _design.read(values, first, min(first + size, epoch[1]))
        return _filled(some[start - first : stop - first], self.n_bins)

    def _cut(self, number):
        """Tiles that cover every epoch once, each with its epoch: first rows, and the rows after the last."""
        rng = None if self._seed is None else np.random.default_rng([self._seed, number])
        tiles = []
        for start, stop in self._epochs:
            first = start + self.n_bins if rng is None else start + int(rng.integers(1, self.n_bins + 1))
            edges = [start, *range(first, stop, self.n_bins), stop]
            tiles += [(tile, (start, stop)) for tile in itertools.pairwise(edges)]
        if rng is not None:
            rng.shuffle(tiles)
        return tiles


def _epochs(frame):
    """First rows of epochs, and the rows after their last."""
    edges = _pynapple.epoch_starts(frame, frame.values.shape[0])
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges) if a < b]


def _filled(values, n_bins) -> np.ndarray:
    """As many rows as a window has, NaN where there are none; whole numbers in the precision of JAX."""
    dtype = values.dtype if values.dtype.kind == "f" else jnp.result_type(float)
    out = _design.aligned((n_bins, values.shape[1]), dtype)
    out[: len(values)], out[len(values) :] = values, np.nan
    return out


def random_windows(X, y, n_bins, *, seed):
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
        Of the cuts and the order. Pass number p is the same whenever the seed is.

    Returns
    -------
    Windows
        To be iterated any number of times, each time one pass.

    Raises
    ------
    ValueError
        If X and y do not have the same bins, or `n_bins` or `seed` is not a whole number.

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
    return Windows(X, y, n_bins, _check.whole_number("seed", seed))


def sequential_blocks(X, y, n_bins):
    r"""Windows one after the other, :math:`[0, B), [B, 2B), \dots` in every epoch: a recording from its start to its end.

    For scores and sums by parts. For `fit_batches` take `random_windows`: neighbours in time resemble each other.

    Parameters
    ----------
    X, y, n_bins
        As for `random_windows`.

    Returns
    -------
    Windows
        To be iterated any number of times.

    Raises
    ------
    ValueError
        If X and y do not have the same bins, or `n_bins` is not a positive whole number.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.batching import sequential_blocks
    >>> blocks = sequential_blocks(np.ones((2500, 3)), np.ones((2500, 2)), n_bins=1000)
    >>> len(blocks)
    3
    """
    return Windows(X, y, n_bins, None)
