"""Recording of a simulation: spike times and counts on their time axis."""

from typing import NamedTuple

import jax
import numpy as np

from popglm._pynapple import as_pynapple, make_ts_group


class Population(NamedTuple):
    """A simulated recording and the parameters that it was drawn from."""

    units: object
    """Spike times in seconds, each inside its bin, as a pynapple TsGroup; None for activity that is not counts."""
    counts: object
    """The drawn counts, a TsdFrame (a Tsd for a `GLM`); `units.count(bin_size)` gives the same, if epochs begin and end where
    bins do."""
    rates: np.ndarray
    """Mean count per bin, shape (time, neurons)."""
    coef: np.ndarray
    """Shape (senders * n_basis_funcs, receivers), as a fitted `coef_`."""
    intercept: np.ndarray
    """Shape (receivers,)."""
    filters: np.ndarray
    """Effect on the linear predictor, shape (senders, window_size, receivers); index 0 of the window is lag 1."""

    def __repr__(self) -> str:
        """Numbers of neurons, bins and spikes."""
        n_bins, n_neurons = np.shape(self.rates)
        spikes = "" if self.units is None else f", {int(np.nansum(np.asarray(self.counts)))} spikes"
        return f"Population: {n_neurons} neuron{'s' * (n_neurons > 1)}, {n_bins} bins{spikes}"


def make_recording(key, counts, frame, bin_size, ids, support):
    """Spike times, each inside its bin, or None if the support is not counts; and the counts on their time axis."""
    valid = ~np.isnan(counts).any(1)
    if not support.counts:
        return None, as_pynapple(counts, frame, ids)
    rng, trains = numpy_generator(key), []
    whole = np.where(valid[:, None], counts, 0).astype(int)
    low, high = frame.times - bin_size / 2, frame.times + bin_size / 2
    if frame.epochs is not None:
        # An epoch may begin or end within a bin.
        begin, end = frame.epochs.values.T
        epoch = np.searchsorted(begin, frame.times, side="right") - 1
        low, high = np.maximum(low, begin[epoch]), np.minimum(high, end[epoch])
    for n_spikes in whole.T:
        bins = np.repeat(np.arange(len(whole)), n_spikes)
        share = np.sort(bins + rng.uniform(0.01, 0.99, len(bins))) - bins
        trains.append(low[bins] + share * (high - low)[bins])
    return make_ts_group(trains, ids, frame.epochs), as_pynapple(whole if valid.all() else counts, frame, ids)


def numpy_generator(key):
    """Random generator of NumPy, seeded by a key of JAX."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
