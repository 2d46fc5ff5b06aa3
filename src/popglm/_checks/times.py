"""Checks of time axes: regular bins, epochs, and alignment of X and y."""

from typing import Any

import numpy as np

from popglm._pynapple import Epochs, Frame, SpikeTrains, epoch_starts, is_epochs, is_ts_group


def require_regular_bins(frame: Frame) -> None:
    """Require bins at equal distance inside every epoch: after removal of a bin, distant bins would look adjacent."""
    if frame.times is None:
        return
    step = np.diff(frame.times)
    if not (step > 0).all():
        row = int(np.argmin(step > 0))
        raise ValueError(f"times must increase; {frame.times[row]:.6f} s is followed by {frame.times[row + 1]:.6f} s.")
    inside = ~np.isin(np.arange(1, len(frame.times)), epoch_starts(frame, len(frame.times)))
    if not inside.any():
        return
    size = np.median(step[inside])
    odd = inside & (np.abs(step - size) > 0.01 * size)
    if odd.any():
        row = int(np.argmax(odd))
        came = f"after {frame.times[row]:.6f} s comes {frame.times[row + 1]:.6f} s, where {size:.6g} s is usual"
        fix = "Leave out time with `restrict(epochs)`, not by indexing; bin irregular samples with `bin_average`."
        raise ValueError(f"bins inside an epoch must follow each other at one distance; {came}. {fix}")


def require_epoch_duration(frame: Frame) -> None:
    """Require epochs with a duration: pynapple drops others, but not their rows."""
    if frame.epochs is not None and len(frame.times) and not len(frame.epochs):  # type: ignore[arg-type]
        came, fix = f"{len(frame.times)} row(s) in none", "Give its time_support, or a plain array."  # type: ignore[arg-type]
        raise ValueError(f"the epochs of a pynapple object must have a duration; got {came}. {fix}")


def require_complete_window(starts: np.ndarray, window: int, *, alone: bool = False) -> None:
    """Require an epoch that holds a complete window, and one more row unless `alone`, where the row is part of the window."""
    longest = int(np.diff(starts).max())
    if longest < window + (not alone):
        length = "at least as long as" if alone else "longer than"
        expected = f"{length} the window of {window} bins to have a row with a complete history"
        fix = "Use a shorter window or longer epochs (rows are bins, columns are inputs)."
        raise ValueError(f"an epoch must be {expected}; the longest has {longest}. {fix}")


def require_same_n_rows(n: int, n_other: int, one: str = "X", other: str = "y") -> None:
    """Require the same number of rows."""
    if n != n_other:
        fix = "Restrict both to the same epochs."
        raise ValueError(f"{one} and {other} must have the same number of rows; got {n} and {n_other}. {fix}")


def require_aligned(X: Frame, y: Frame, one: str = "X", other: str = "y") -> None:
    """Require the same number of rows and, if both have times, the same times to the microsecond."""
    require_same_n_rows(X.values.shape[0], y.values.shape[0], one, other)
    if X.times is None or y.times is None:
        return
    off = np.abs(X.times - y.times)
    if off.max() > 1e-6:
        row = int(np.argmax(off > 1e-6))
        came = f"row {row} is at {X.times[row]:.6f} s in {one} and at {y.times[row]:.6f} s in {other}"
        fix = "Count both with one bin size in the same epochs."
        raise ValueError(f"{one} and {other} must share their times; {came}. {fix}")


def require_restriction(X: Any, epochs: Any) -> Epochs:
    """Require epochs, and features with a time axis."""
    if X.t is None:
        raise ValueError("`restrict` needs features with a time axis, made of a pynapple object; these have none.")
    return require_interval_set(epochs)


def require_interval_set(epochs: Any) -> Epochs:
    """Require epochs of pynapple."""
    if not is_epochs(epochs):
        raise TypeError(f"`epochs` must be a pynapple IntervalSet; got {type(epochs).__name__}.")
    return epochs


def require_ts_group(units: Any) -> SpikeTrains:
    """Require spike times of several neurons."""
    if not is_ts_group(units):
        raise TypeError(f"`units` must be a pynapple TsGroup of spike times; got {type(units).__name__}.")
    if not len(units):
        raise ValueError("`units` must hold at least one neuron; got an empty TsGroup.")
    return units
