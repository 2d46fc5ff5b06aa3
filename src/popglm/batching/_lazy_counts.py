"""Counts that are binned when they are sliced."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped

from popglm._checks.index import as_row_and_column
from popglm._checks.times import require_enough_digits, require_interval_set, require_ts_group
from popglm._checks.values import as_number, require_option
from popglm._pynapple import Epochs, Frame, HasFrame, SpikeTrains, Timestamps, make_ts, rows_in_epochs
from popglm.batching._bins import NANOSECOND, Bins, drop_partial, make_bins, missing_shares
from popglm.batching._checks import warn_epochs_without_bins, warn_lost_spikes, warn_partial_bins
from popglm.batching._observed import as_gaps, unobserved_rows, warn_unobserved_spikes

PIECE = 2**16  # bins whose edges are made at a time to find those that were not observed


class LazyCounts(HasFrame):
    """Counts that look like the matrix of ``units.count(bin_size)`` and are binned when they are sliced.

    From `count_lazily`. Accepted as y, and by `lazy_features`. ``numpy.asarray(counts)`` makes all of them. They are integers;
    with observed time they are floats, NaN where a neuron was not observed, and `repr` says how many these are.

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

    def __init__(
        self,
        trains: list[np.ndarray],
        names: np.ndarray,
        epochs: Epochs,
        bins: Bins,
        gaps: list[np.ndarray] | None = None,
    ) -> None:
        self._trains, self.columns, self.time_support, self._bins, self._gaps = trains, names, epochs, bins, gaps
        self.dtype = np.dtype(np.int64 if gaps is None else float)

    @property
    def shape(self) -> tuple[int, int]:
        """(time, neurons)."""
        return int(self._bins.row[-1]), len(self._trains)

    def __len__(self) -> int:
        """Number of bins."""
        return self.shape[0]

    def __repr__(self) -> str:
        """Shape, bin size and, with observed time, the share of the entries that are NaN."""
        missing = "" if self._gaps is None else f", {self.missing_shares().mean():.2%} not observed"
        return f"LazyCounts(shape={self.shape}, bin_size={self._bins.size} s{missing})"

    @property
    def made_of(self) -> tuple[np.ndarray, ...]:
        """Spike times of each neuron, from which the counts are made, and the gaps in which it was not observed."""
        return (*self._trains, *(self._gaps or ()))

    @property
    def t(self) -> Float[np.ndarray, " time"]:
        """Centres of the bins in seconds."""
        return self._bins.centers()

    @property
    def timeline(self) -> Timestamps:
        """Centres of the bins, a pynapple Ts: ``counts.timeline.value_from(position, mode="before")``.

        Each is a nanosecond late, so that a sample on the centre of a bin is one before it, however it was rounded.
        """
        times, epochs = self.t, self.time_support
        ends = epochs.end[np.searchsorted(epochs.start, times, side="right") - 1]
        return make_ts(np.minimum(times + NANOSECOND, np.maximum(times, ends)), epochs)

    @property
    def frame(self) -> Frame:
        """Counts with times, epochs and names of the neurons."""
        return Frame(self, self.t, self.time_support, self.columns, bin_size=self._bins.size)

    def restrict(self, epochs: Epochs) -> "LazyCounts":
        """Select the bins whose centres lie inside epochs, a pynapple IntervalSet; they stay lazy, and the bins they are.

        These are the rows that ``lazy_features(counts).restrict(epochs)`` keeps. Counts made by ``count_lazily(units, bin_size,
        epochs)`` start new bins at the start of each epoch instead.
        """
        rows, inside = rows_in_epochs(self.frame, require_interval_set(epochs))
        return LazyCounts(self._trains, self.columns, inside, self._bins.select(rows), self._gaps)

    def missing_shares(self) -> Float[np.ndarray, " neurons"]:
        """Share of the bins in which each neuron was not observed."""
        n_missing, n_bins = np.zeros(len(self._trains)), len(self)
        for start in range(0, n_bins, PIECE):
            for neuron, first, stop in self._unobserved(*self._bins.edges(start, min(start + PIECE, n_bins))):
                n_missing[neuron] += (stop - first).sum()
        return n_missing / max(n_bins, 1)

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
        n_bins, n_neurons = stop - start, len(self._trains)
        if not n_bins:
            return np.zeros((0, n_neurons), self.dtype)
        begins, ends = self._bins.edges(start, stop)
        entries = []  # of the matrix, one for each spike
        for neuron, times in enumerate(self._trains):
            first, last = np.searchsorted(times, [begins[0], ends[-1]])
            inside = times[first:last]
            rows = np.searchsorted(begins, inside, side="right") - 1
            entries.append(rows[inside < ends[rows]] * n_neurons + neuron)
        counts = np.bincount(np.concatenate(entries), minlength=n_bins * n_neurons).astype(self.dtype, copy=False)
        counts = counts.reshape(n_bins, n_neurons)
        for neuron, first, stop in self._unobserved(begins, ends):
            for gap in map(slice, first, stop):
                counts[gap, neuron] = np.nan
        return counts

    def _unobserved(self, begins: np.ndarray, ends: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield each neuron with the first row, of the bins with these edges, in each of its gaps, and that after the last."""
        for neuron, gaps in enumerate(self._gaps or ()):
            yield neuron, *unobserved_rows(gaps, begins, ends, self._bins.size)


def count_lazily(
    units: SpikeTrains,
    bin_size: float,
    epochs: Epochs | None = None,
    *,
    partial: Literal["keep", "drop"] = "keep",
    observed: Epochs | Mapping[Hashable, Epochs] | None = None,
) -> LazyCounts:
    r"""Counts of spikes in bins, never all in memory: the values, times and columns of ``units.count(bin_size, epochs)``.

    Bin t of an epoch that starts at a counts the spikes s of each neuron with

    .. math:: a + t\,\Delta \le s < a + (t + 1)\,\Delta.

    A last bin that the end of the epoch cuts is made if its centre lies in the epoch. It counts as a full one, though fewer
    spikes fall into it. Otherwise the rest of the epoch, less than half a bin, has no row, as in pynapple, nor has a spike at
    the very end of an epoch of whole bins.

    Where a neuron was not `observed`, its count is not 0 but unknown, NaN. In y this leaves out the bin for this neuron; in an
    input of a basis it leaves out, for all neurons, every bin whose window holds it. A bin is NaN if more than 2 % of it
    lies in a gap of the observed time.

    Parameters
    ----------
    units
        A pynapple TsGroup.
    bin_size : float
        In seconds, :math:`\Delta`.
    epochs
        A pynapple IntervalSet; None is the whole recording, the time support of `units`.
    partial : str
        "keep" makes a last bin that the end of its epoch cuts, as pynapple does; "drop" leaves it out.
    observed
        When units were observed: an IntervalSet for all, or a dictionary of one for each unit, by id, such as the
        ``obs_intervals`` of an NWB file. An empty one says never, None always. It selects no bins: `epochs` does.

    Returns
    -------
    LazyCounts
        Shape (time, neurons); floats if `observed` is given, else integers.

    Raises
    ------
    TypeError
        If `units` is no TsGroup, `epochs` no IntervalSet, or `observed` neither one nor a dictionary of them.
    ValueError
        If `bin_size` is not a positive number, times are so large that double precision cannot resolve a bin, or `observed`
        lacks a unit or holds one that is not in `units`.

    Warns
    -----
    RuntimeWarning
        If more than 1 % of the bins are cut by the end of an epoch and kept, if epochs are too short for a bin, or if spikes
        lie in the microsecond by which pynapple shortens an epoch that touches the next, or outside the observed time of their
        unit.

    Notes
    -----
    Edges are computed in double precision. If :math:`\Delta` is a whole number of nanoseconds, counts are those of
    ``units.count``. If not, as for bins of 1/30 or 1/60 s, pynapple rounds every edge to a nanosecond and adds the next bin to
    it, so that its bins drift by up to half a nanosecond each; these do not. The same holds for times beyond 9e6 s, such as
    those since 1970, which have no digit for a nanosecond.

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

    A unit that was lost after 2 s:

    >>> import pynapple as nap
    >>> units = nap.TsGroup({0: nap.Ts([0.5, 3.5]), 7: nap.Ts([0.2, 0.7])}, time_support=nap.IntervalSet(0, 4))
    >>> observed = {0: nap.IntervalSet(0, 4), 7: nap.IntervalSet(0, 2)}
    >>> count_lazily(units, 1.0, observed=observed)[:].T.tolist()
    [[1.0, 0.0, 0.0, 1.0], [2.0, 0.0, nan, nan]]
    """
    units = require_ts_group(units)
    bin_size = as_number("bin_size", bin_size, 0, strict=True)
    require_option("partial", partial, ("keep", "drop"))
    epochs = units.time_support if epochs is None else require_interval_set(epochs)
    begin, end = epochs.start, epochs.end
    require_enough_digits(end, bin_size)
    trains = [units[n].t for n in units]
    warn_lost_spikes(trains, epochs)
    bins = make_bins(begin, end, bin_size)
    if partial == "drop":
        bins = drop_partial(bins)
    else:
        warn_partial_bins(missing_shares(bins), int(bins.row[-1]))
    warn_epochs_without_bins(trains, epochs, np.diff(bins.row))
    gaps = None if observed is None else as_gaps(observed, units, bin_size)
    if gaps is not None:
        warn_unobserved_spikes(units, trains, gaps)
    return LazyCounts(trains, np.asarray(units.index), epochs, bins, gaps)
