"""The recording that a simulation returns."""

from typing import NamedTuple

import jax
import numpy as np

from popglm._pynapple import as_pynapple, make_ts_group


class Population(NamedTuple):
    """A simulated recording and the truth behind it."""

    units: object
    """Spike times in seconds, each inside its bin, as a pynapple TsGroup; None for activity that is no count."""
    counts: object
    """The counts that were drawn, a TsdFrame (a Tsd of one `GLM`); `units.count(bin_size)` gives the same, if epochs begin and
    end where bins do."""
    rates: np.ndarray
    """Mean count per bin, shape (time, neurons)."""
    coef: np.ndarray
    """Shape (senders * n_basis_funcs, receivers), as a fitted `coef_`."""
    intercept: np.ndarray
    """Shape (receivers,)."""
    filters: np.ndarray
    """Effect on the linear predictor, shape (senders, window_size, receivers); index 0 of the window is lag 1."""


def make_recording(key, counts, frame, bin_size, ids, support):
    """Spike times, each inside its bin, None if these are no counts; and the counts on their time axis."""
    known = ~np.isnan(counts).any(1)
    if not support.counts:
        return None, as_pynapple(counts, frame, ids)
    rng, trains = numpy_generator(key), []
    whole = np.where(known[:, None], counts, 0).astype(int)
    low, high = frame.times - bin_size / 2, frame.times + bin_size / 2
    if frame.epochs is not None:  # which may begin and end amid a bin
        begin, end = frame.epochs.values.T
        at = np.searchsorted(begin, frame.times, side="right") - 1
        low, high = np.maximum(low, begin[at]), np.minimum(high, end[at])
    for n_spikes in whole.T:
        at = np.repeat(np.arange(len(whole)), n_spikes)
        inside = np.sort(at + rng.uniform(0.01, 0.99, len(at))) - at
        trains.append(low[at] + inside * (high - low)[at])
    return make_ts_group(trains, ids, frame.epochs), as_pynapple(whole if known.all() else counts, frame, ids)


def numpy_generator(key):
    """NumPy's generator for what is drawn on the host."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
