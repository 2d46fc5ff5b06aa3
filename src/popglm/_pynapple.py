"""pynapple in, pynapple out: the only file that imports pynapple, and only when it is used. Tables of pandas go in."""

import sys
from typing import NamedTuple

import numpy as np


class Frame(NamedTuple):
    """An array and what pynapple knows about it: times in seconds, epochs, names of columns. None for plain arrays."""

    values: object
    times: np.ndarray | None
    epochs: object | None
    columns: np.ndarray | None


class HasFrame:
    """An array of our own that knows its `frame`."""


def as_frame(x) -> Frame:
    """Array and time axis of a Tsd or TsdFrame; anything else is passed through."""
    nap, pandas = sys.modules.get("pynapple"), sys.modules.get("pandas")
    if isinstance(x, HasFrame):
        return x.frame
    if nap is None or not isinstance(x, (nap.Tsd, nap.TsdFrame, nap.TsdTensor)):
        table = pandas is not None and isinstance(x, pandas.DataFrame)
        return Frame(x, None, None, np.asarray(x.columns) if table else None)
    columns = np.asarray(x.columns) if isinstance(x, nap.TsdFrame) else None
    return Frame(x.values, x.t, x.time_support, columns)


def as_plain_array(x):
    """A table of pandas with only numbers, some of them missing, as an array of floats; anything else as it is."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(x, pandas.DataFrame | pandas.Series):
        return x
    kinds = x.dtypes if isinstance(x, pandas.DataFrame) else [x.dtype]
    numeric = all(pandas.api.types.is_numeric_dtype(kind) for kind in kinds)
    return x.to_numpy(float, na_value=np.nan) if numeric and np.asarray(x).dtype == object else x


def as_pynapple(values, frame: Frame, columns=None, metadata=None):
    """Tsd or TsdFrame on the time axis of `frame`; plain arrays, and rows out of order, stay plain.

    `metadata` says more about the columns.
    """
    if frame.times is None or (np.diff(frame.times) <= 0).any():  # pynapple would sort the times, and not the values
        return values
    nap = sys.modules["pynapple"]
    if values.ndim == 1:
        return nap.Tsd(t=frame.times, d=values, time_support=frame.epochs)
    return nap.TsdFrame(t=frame.times, d=values, time_support=frame.epochs, columns=columns, metadata=metadata)


def unit_table(columns, index, name):
    """A table of pandas, which pynapple brings along: a row for each unit."""
    import pandas

    return pandas.DataFrame(columns, index=pandas.Index(index, name=name))


def column_metadata(x, name):
    """What a TsdFrame says about its columns under this name; None if it says nothing, or is none."""
    nap = sys.modules.get("pynapple")
    known = nap is not None and isinstance(x, nap.TsdFrame) and name in x.metadata_columns
    return np.asarray(x.get_info(name)) if known else None


def is_ts_group(x) -> bool:
    """Whether x is a TsGroup."""
    nap = sys.modules.get("pynapple")
    return nap is not None and isinstance(x, nap.TsGroup)


def is_epochs(x) -> bool:
    """Whether x is an IntervalSet."""
    nap = sys.modules.get("pynapple")
    return nap is not None and isinstance(x, nap.IntervalSet)


def epoch_ends(epochs):
    """First and last times of an IntervalSet of one interval; of others, all of them."""
    values = np.asarray(epochs.values, float)
    return values[0] if len(values) == 1 else values.ravel()


def rows_in_epochs(frame: Frame, epochs):
    """Rows of a frame that lie inside epochs, and the epochs that are left of it."""
    nap = sys.modules["pynapple"]
    order = np.argsort(frame.times, kind="stable")
    some = nap.Tsd(t=frame.times[order], d=order, time_support=frame.epochs).restrict(epochs)
    return np.sort(np.asarray(some.values, int)), some.time_support


def is_events(x) -> bool:
    """Whether x holds times of events (Ts, TsGroup) rather than values on a time axis."""
    nap = sys.modules.get("pynapple")
    return nap is not None and isinstance(x, (nap.Ts, nap.TsGroup))


def event_times(x):
    """Times of the events of each unit, by its id; None if x is neither a TsGroup nor a Ts."""
    if not is_events(x):
        return None
    return {unit: x[unit].t for unit in x} if is_ts_group(x) else {0: x.t}


def epoch_starts(frame: Frame, length: int) -> np.ndarray:
    """First row of each epoch, and the end of the data."""
    if frame.epochs is None:
        return np.array([0, length])
    return np.append(np.searchsorted(frame.times, frame.epochs.start, side="left"), length)


def bin_frame(n_bins, bin_size) -> Frame:
    """Bins of one epoch that starts at 0."""
    import pynapple as nap

    return Frame(None, (np.arange(n_bins) + 0.5) * bin_size, nap.IntervalSet(0, n_bins * bin_size), None)


def make_ts_group(trains, ids, epochs):
    """TsGroup of spike times; the units are numbered where their ids are no whole numbers."""
    nap = sys.modules["pynapple"]
    ids = np.asarray(ids)
    keys = ids.tolist() if ids.dtype.kind in "iu" else range(len(trains))
    units = {key: nap.Ts(times, time_support=epochs) for key, times in zip(keys, trains, strict=True)}
    return nap.TsGroup(units, time_support=epochs)


def select_columns(x, which):
    """Some columns of a TsdFrame, with what is known about them, of a table of pandas with their types, or of an array."""
    nap, pandas = sys.modules.get("pynapple"), sys.modules.get("pandas")
    if pandas is not None and isinstance(x, pandas.DataFrame):
        return x.iloc[:, which]
    return x[:, which] if nap is not None and isinstance(x, nap.TsdFrame) else np.asarray(x)[:, which]
