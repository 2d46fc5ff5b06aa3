"""Checks of time axes: regular bins, epochs, and alignment of X and y."""

from typing import Any

import numpy as np

from popglm._pynapple import Epochs, Frame, SpikeTrains, epoch_starts, is_epochs, is_ts_group

PYNAPPLE_GAP = 1.5e-6  # seconds; pynapple ends an epoch that touches the next a microsecond early
TOLERANCE = 0.02  # of a bin: times closer than this are those of the same bin
SUBTRACT_START = (
    "Subtract the start of the recording from all times: `nap.Ts(units[n].t - start)` for the spikes of each neuron, "
    "`nap.IntervalSet(epochs.start - start, epochs.end - start)` for epochs."
)

RESTRICT_COUNTS = (
    " `counts.restrict(epochs)` keeps the rows that `restrict` of features keeps; "
    "`count_lazily(units, bin_size, epochs)` begins new bins in every epoch."
)


def require_regular_bins(frame: Frame, name: str = "the input") -> None:
    """Require bins at equal distance inside every epoch: after removal of a bin, distant bins would look adjacent."""
    if frame.times is None:
        return
    step = np.diff(frame.times)
    if not (step > 0).all():
        row = int(np.argmin(step > 0))
        raise ValueError(f"times must increase; {frame.times[row]:.6f} s is followed by {frame.times[row + 1]:.6f} s.")
    inside = _follows_in_epoch(frame)
    if not inside.any():
        return
    size = np.median(step[inside])
    odd = inside & (np.abs(step - size) > TOLERANCE * size)
    if odd.any():
        require_enough_digits(frame.times, size)
        row = int(np.argmax(odd))
        came = f"{frame.times[row]:.6f} s is followed by {frame.times[row + 1]:.6f} s, where {size:.6g} s is usual"
        where = (
            f"bins inside an epoch must follow each other at one distance; {name} has {_describe_epochs(frame.epochs)}"
        )
        fix = (
            "Leave out time with `restrict(epochs)`, not by indexing. What `value_from` or `interpolate` brought to the times "
            "of counts has the epochs of its own: write `.restrict(counts.time_support)` after it. Bring samples of another "
            'clock to the bins by `counts.value_from(x, mode="before")`.'
        )
        raise ValueError(f"{where}, in which {came}. {fix}")


def _follows_in_epoch(frame: Frame) -> np.ndarray:
    """Return for each row but the first whether it follows the one before in the same epoch."""
    n_rows = len(frame.times)  # type: ignore[arg-type]
    return ~np.isin(np.arange(1, n_rows), epoch_starts(frame, n_rows))


def _describe_epochs(epochs: Epochs) -> str:
    """Describe the number of epochs and their ends."""
    return f"{len(epochs)} epoch(s) from {epochs.start[0]:.6g} to {epochs.end[-1]:.6g} s"


def require_enough_digits(times: np.ndarray, bin_size: float) -> None:
    """Require times at which double precision tells apart parts of a bin as small as the tolerance."""
    latest = np.abs(times).max(initial=0)
    if np.spacing(latest) > TOLERANCE * bin_size:
        came = f"near {latest:.6g} s numbers lie {np.spacing(latest):.1e} s apart, {np.spacing(latest) / bin_size:.0%} of a bin"
        raise ValueError(f"times must have digits for parts of a bin of {bin_size:.6g} s; {came}. {SUBTRACT_START}")


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


def require_same_n_rows(n: int, n_other: int, one: str = "X", other: str = "y", hint: str = "") -> None:
    """Require the same number of rows."""
    if n != n_other:
        fix = f"Restrict both to the same epochs.{hint}"
        raise ValueError(f"{one} and {other} must have the same number of rows; got {n} and {n_other}. {fix}")


def require_aligned(X: Frame, y: Frame, one: str = "X", other: str = "y") -> None:
    """Require the same number of rows and, if both have times, the same times within the tolerance."""
    hint = "" if X.epochs is None or y.epochs is None else RESTRICT_COUNTS
    require_same_n_rows(X.values.shape[0], y.values.shape[0], one, other, hint)
    if X.times is None or y.times is None:
        return
    later = y.times - X.times
    if not later.any():
        return
    bin_size = min(find_bin_size(X), find_bin_size(y))
    tolerance = TOLERANCE * bin_size if bin_size < np.inf else 1e-6
    off = np.abs(later) > tolerance
    if off.any():
        row = int(np.argmax(off))
        came = f"row {row} is at {X.times[row]:.6f} s in {one} and at {y.times[row]:.6f} s in {other}"
        fix = _describe_mending(row, later[row], bin_size, np.abs(X.times).max(), one, other)
        raise ValueError(f"{one} and {other} must share their times; {came}. {fix}")


def find_bin_size(frame: Frame) -> float:
    """Distance of neighbouring bins; infinite where no two rows are neighbours in an epoch."""
    if frame.bin_size is not None:
        return frame.bin_size
    step = np.abs(np.diff(np.asarray(frame.times)))[_follows_in_epoch(frame)]
    return step[step > 0].min(initial=np.inf)


def _describe_mending(row: int, later: float, bin_size: float, latest: float, one: str, other: str) -> str:
    """Say how times that differ are mended: the first row that is off, and by how much there, tell why they do."""
    same = "Count both with one bin size in the same epochs."
    if abs(later) >= bin_size or bin_size == np.inf:
        return same
    if row:
        drift = f"They drift apart, by {abs(later) / bin_size:.1%} of a bin so far. {same}"
        digits = latest >= 1e7  # seconds: no digit is left for a nanosecond
        rounded = "few digits for times since 1970" if digits else "a nanosecond"
        reason = f"pynapple rounds each bin of `count` to {rounded}: use `popglm.batching.count_lazily`"
        subtract = ", or subtract the start of the recording from all times" if digits else ""
        return f"{drift} If that is done, {reason}{subtract}."
    shift = f"{abs(later):.6g}"
    signs = ("-", "+") if later > 0 else ("+", "-")
    lines = [f"nap.IntervalSet(epochs.start {sign} {shift}, epochs.end {sign} {shift})" for sign in signs]
    return (
        f"If features were restricted to epochs, restrict the counts of the whole recording:{RESTRICT_COUNTS} "
        f"If one is a series of samples, count in epochs shifted by {shift} s: {other} in {lines[0]}, or {one} in {lines[1]}."
    )


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


def join_touching(epochs: Epochs) -> np.ndarray:
    """Return ends of epochs; of one that touches the next it is the next start, from which pynapple took 1e-6 s."""
    end, following = epochs.end, np.append(epochs.start[1:], np.inf)
    return np.where(following - end < PYNAPPLE_GAP, following, end)


def require_ts_group(units: Any) -> SpikeTrains:
    """Require spike times of several neurons."""
    if not is_ts_group(units):
        raise TypeError(f"`units` must be a pynapple TsGroup of spike times; got {type(units).__name__}.")
    if not len(units):
        raise ValueError("`units` must hold at least one neuron; got an empty TsGroup.")
    return units
