"""Checks of the time axis: bins, epochs, spike times. Messages are as in `_check`."""

import numpy as np

from popglm import _pynapple


def regular(frame):
    """Bins of one size inside every epoch: a removed bin would make neighbours of bins that are not."""
    if frame.times is None:
        return
    step = np.diff(frame.times)
    if not (step > 0).all():
        row = int(np.argmin(step > 0))
        raise ValueError(f"times must increase; {frame.times[row]:.6f} s is followed by {frame.times[row + 1]:.6f} s.")
    inside = ~np.isin(np.arange(1, len(frame.times)), _pynapple.epoch_starts(frame, len(frame.times)))
    if not inside.any():
        return
    size = np.median(step[inside])
    odd = inside & (np.abs(step - size) > 0.01 * size)
    if odd.any():
        row = int(np.argmax(odd))
        raise ValueError(
            f"bins inside an epoch must follow each other at one distance; after {frame.times[row]:.6f} s comes "
            f"{frame.times[row + 1]:.6f} s, where {size:.6g} s is usual. Leave out time with `restrict(epochs)`, not by "
            "indexing; bring irregular samples to bins with `bin_average`."
        )


def some_duration(frame):
    """Epochs that hold all rows: pynapple drops those without duration, and their rows with them."""
    if frame.epochs is not None and len(frame.times) and not len(frame.epochs):
        raise ValueError(
            f"the epochs of a pynapple object must have a duration; got {len(frame.times)} row(s) in none. Give its "
            "time_support, or a plain array."
        )


def long_enough(starts, window, *, alone=False):
    """Some epoch that has a row with a complete window, in which the row lies if it is `alone`, and beside which if not."""
    longest = int(np.diff(starts).max())
    if longest < window + (not alone):
        least = "at least as long as" if alone else "longer than"
        raise ValueError(
            f"an epoch must be {least} the window of {window} bins to have a row with a complete history; "
            f"the longest has {longest}. Use a shorter window or longer epochs (rows are bins, columns are inputs)."
        )


def same_length(n, n_other, one="X", other="y"):
    """As many rows in both."""
    if n != n_other:
        raise ValueError(
            f"{one} and {other} must have the same number of rows; got {n} and {n_other}. Restrict both to the same epochs."
        )


def aligned(X, y, one="X", other="y"):
    """X and y have one row per bin, and, where both carry times, the same times to the microsecond."""
    same_length(X.values.shape[0], y.values.shape[0], one, other)
    if X.times is None or y.times is None:
        return
    off = np.abs(X.times - y.times)
    if off.max() > 1e-6:
        row = int(np.argmax(off > 1e-6))
        raise ValueError(
            f"{one} and {other} must share their times; row {row} is at {X.times[row]:.6f} s in {one} and at "
            f"{y.times[row]:.6f} s in {other}. Count both with one bin size in the same epochs."
        )


def intervals(X, epochs):
    """Epochs, for features that have a time axis."""
    if X.t is None:
        raise ValueError("`restrict` needs features with a time axis, made of a pynapple object; these have none.")
    return interval_set(epochs)


def interval_set(epochs):
    """Epochs of pynapple."""
    if not _pynapple.is_epochs(epochs):
        raise TypeError(f"`epochs` must be a pynapple IntervalSet; got {type(epochs).__name__}.")
    return epochs


def group(units):
    """Spike times of several neurons."""
    if not _pynapple.is_group(units):
        raise TypeError(f"`units` must be a pynapple TsGroup of spike times; got {type(units).__name__}.")
    if not len(units):
        raise ValueError("`units` must hold at least one neuron; got an empty TsGroup.")
    return units
