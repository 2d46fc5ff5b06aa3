"""Small data sets that several tests use, and the forms in which they come."""

import os

import numpy as np
import pynapple as nap

FULL = os.environ.get("FULL") == "1"  # `make test-full`: every case, not a sample


def sample_cases(cases, n):
    """Return n of the cases, spread evenly over their order with the first and the last one; with FULL=1 all of them."""
    cases = list(cases)
    return cases if FULL else [cases[round(i)] for i in np.linspace(0, len(cases) - 1, n)]


def small_data(seed=0, n_bins=600, n_features=4, n_neurons=3):
    """Independent features, and counts that depend on them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_bins, n_features))
    coef = rng.normal(scale=0.3, size=(n_features, n_neurons))
    return X, rng.poisson(np.exp(X @ coef - 1.0)).astype(float)


def framed(counts, lengths, bin_size=0.01, gap=0.5):
    """Put counts into a TsdFrame with epochs of these lengths, and gaps that grow."""
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]) * bin_size + np.cumsum(np.arange(len(lengths)) * gap)
    times = np.concatenate([s + (np.arange(n) + 0.5) * bin_size for s, n in zip(starts, lengths, strict=True)])
    epochs = nap.IntervalSet(starts, starts + np.array(lengths) * bin_size)
    return nap.TsdFrame(t=times, d=counts, time_support=epochs)


class Rows:
    """As HDF5 and zarr have it: a shape, a dtype, slices; and no way to have all of it at once."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.largest = values, values.shape, values.dtype, 0

    def __getitem__(self, rows):
        """Read a slice."""
        assert isinstance(rows, slice)
        some = self.values[rows]
        self.largest = max(self.largest, len(some))
        return some
