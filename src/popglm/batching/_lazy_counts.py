"""Counts that are binned when they are sliced."""

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from popglm._checks.index import as_row_and_column
from popglm._checks.times import require_interval_set, require_ts_group
from popglm._checks.values import as_number
from popglm._pynapple import Epochs, Frame, HasFrame, SpikeTrains


class LazyCounts(HasFrame):
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

    def __init__(self, trains: list[np.ndarray], names: np.ndarray, epochs: Epochs, bin_size: float) -> None:
        self._trains, self.columns, self.time_support, self._bin_size = trains, names, epochs, bin_size
        begin, end = epochs.start, epochs.end
        n_bins = [_n_bins_of_epoch(*epoch, bin_size) for epoch in zip(begin, end, strict=True)]
        self._begin, self._end, self._first = begin, end, np.concatenate([[0], np.cumsum(n_bins)])

    @property
    def shape(self) -> tuple[int, int]:
        """(time, neurons)."""
        return int(self._first[-1]), len(self._trains)

    def __len__(self) -> int:
        """Number of bins."""
        return self.shape[0]

    def __repr__(self) -> str:
        """Shape and bin size."""
        return f"LazyCounts(shape={self.shape}, bin_size={self._bin_size} s)"

    @property
    def made_of(self) -> tuple[np.ndarray, ...]:
        """Spike times of each neuron, from which the counts are made."""
        return tuple(self._trains)

    @property
    def t(self) -> Float[np.ndarray, " time"]:
        """Centres of the bins in seconds."""
        return _bin_edges(self, np.arange(len(self))) + self._bin_size / 2

    @property
    def frame(self) -> Frame:
        """Counts with times, epochs and names of the neurons."""
        return Frame(self, self.t, self.time_support, self.columns)

    def __getitem__(self, key: Any) -> Any:
        """Counts of selected bins, an array (bins, neurons); a slice without gaps reads only the spikes in it."""
        rows, columns = as_row_and_column(key, self.shape, "lazy counts", twice=True)
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

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Shaped[np.ndarray, "time neurons"]:
        """Counts of all bins."""
        return self._count(0, len(self)).astype(dtype or self.dtype, copy=False)

    def _count(self, start, stop):
        out = np.zeros((stop - start, len(self._trains)), self.dtype)
        for epoch in range(len(self._begin)):
            a, b = max(start, self._first[epoch]), min(stop, self._first[epoch + 1])
            if a >= b:
                continue
            edges = _bin_edges(self, np.arange(a, b + 1), epoch)
            for neuron, times in enumerate(self._trains):
                lowest, highest = np.searchsorted(times, [edges[0], edges[-1]])
                inside = times[lowest:highest]
                inside = inside[: np.searchsorted(inside, self._end[epoch], "right")]
                out[a - start : b - start, neuron] = np.bincount(
                    _bin_indices(inside, edges, self._bin_size), minlength=b - a
                )
        return out


def count_lazily(units: SpikeTrains, bin_size: float, epochs: Epochs | None = None) -> LazyCounts:
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
    units = require_ts_group(units)
    bin_size = as_number("bin_size", bin_size, 0, strict=True)
    epochs = units.time_support if epochs is None else require_interval_set(epochs)
    return LazyCounts([units[n].t for n in units], np.asarray(units.index), epochs, bin_size)


def _n_bins_of_epoch(begin, end, bin_size):
    """Number of bins of an epoch: those whose center lies in it."""
    n = max(int(np.ceil((end - begin) / bin_size)) + 1, 1) if end - begin > bin_size else 1
    centers = _left_edges(begin, np.arange(max(n - 3, 0), n), bin_size) + bin_size / 2
    return n - int((centers > end).sum())


def _bin_edges(counts, rows, epoch=None):
    """Left edges of bins, rounded to 9 digits as pynapple's times; `epoch` is needed for rows after its end."""
    if epoch is None:
        epoch = np.searchsorted(counts._first, rows, "right") - 1
    return _left_edges(counts._begin[epoch], rows - counts._first[epoch], counts._bin_size)


def _left_edges(begin, row, bin_size):
    """Left edges of bins: the first is the start of the epoch, the others follow in steps of the rounded bin size."""
    second = np.round(begin + bin_size, 9)
    return np.where(row == 0, begin, np.round(second + (row - 1) * round(bin_size, 9), 9))


def _bin_indices(times, edges, bin_size):
    """Bin of each time by division, corrected where that rounds across an edge."""
    guess = np.clip(((times - edges[0]) / bin_size).astype(int), 0, len(edges) - 2)
    guess -= times < edges[guess]
    return guess + (times >= edges[guess + 1])
