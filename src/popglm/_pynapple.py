"""Conversion of pynapple objects and pandas tables to arrays and back: the only file that imports pynapple, when used."""

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import pynapple

    Epochs: TypeAlias = pynapple.IntervalSet
    SpikeTrains: TypeAlias = pynapple.TsGroup
    Timestamps: TypeAlias = pynapple.Ts
else:  # names for checkers and readers only: nothing is imported, and tests check nothing
    Epochs = SpikeTrains = Timestamps = Any


class Frame(NamedTuple):
    """Array with the time axis of a pynapple object (times in seconds, epochs), names of columns, and the index of a table.

    All are None for plain arrays. `bin_size` is the distance of neighbouring bins in seconds, None if only the times tell.
    """

    values: Any
    times: np.ndarray | None
    epochs: Any
    columns: np.ndarray | None
    index: Any = None
    bin_size: float | None = None


class HasFrame:
    """Base of arrays of this package that have a `frame`."""

    frame: Any


class NamedArray(HasFrame):
    """Array whose columns have names, as X or y."""

    def __init__(self, values: Any, columns: Any):
        self.frame = Frame(values, None, None, columns)


def as_frame(x: Any) -> Frame:
    """Split a pynapple object into array and time axis, a pandas object into its names and index; others have neither."""
    nap, pandas = sys.modules.get("pynapple"), sys.modules.get("pandas")
    if isinstance(x, HasFrame):
        return x.frame
    if pandas is not None and isinstance(x, pandas.DataFrame):
        return Frame(x, None, None, np.asarray(x.columns), x.index)
    if pandas is not None and isinstance(x, pandas.Series):
        return Frame(x, None, None, None if x.name is None else as_object_array([x.name]), x.index)
    if nap is None or not isinstance(x, (nap.Tsd, nap.TsdFrame, nap.TsdTensor)):
        return Frame(x, None, None, None)
    columns = np.asarray(x.columns) if isinstance(x, nap.TsdFrame) else None
    return Frame(x.values, x.t, x.time_support, columns)


def as_plain_array(x: Any) -> Any:
    """Convert a pandas table of numbers with missing values to an array of floats; return other values unchanged."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(x, pandas.DataFrame | pandas.Series):
        return x
    kinds = x.dtypes if isinstance(x, pandas.DataFrame) else [x.dtype]
    numeric = all(pandas.api.types.is_numeric_dtype(kind) for kind in kinds)
    return x.to_numpy(float, na_value=np.nan) if numeric and np.asarray(x).dtype == object else x


def as_object_array(values: Any) -> np.ndarray:
    """Array of objects, one for each value, even if these are tuples."""
    out = np.empty(len(values), object)
    out[:] = values
    return out


def as_pynapple(values: Any, frame: Frame, columns: Any = None, metadata: Any = None) -> Any:
    """Convert values to a Tsd or TsdFrame on the time axis of `frame`; without increasing times return them unchanged.

    `metadata` describes the columns.
    """
    # pynapple would sort the times, but not the values.
    if frame.times is None or (np.diff(frame.times) <= 0).any():
        return values
    nap = sys.modules["pynapple"]
    if values.ndim == 1:
        return nap.Tsd(t=frame.times, d=values, time_support=frame.epochs)
    return nap.TsdFrame(t=frame.times, d=values, time_support=frame.epochs, columns=columns, metadata=metadata)


def as_feature_table(values: Any, frame: Frame, metadata: Any) -> Any:
    """Convert features to a TsdFrame, or to a table of pandas where the frame has an index but no times."""
    if frame.times is not None or frame.index is None:
        return as_pynapple(values, frame, frame.columns, metadata)
    table = sys.modules["pandas"].DataFrame(values, frame.index, frame.columns)
    # names of columns tell everything else
    table.attrs["cyclic"] = {
        name: str(flag) for name, flag in zip(frame.columns, metadata["cyclic"], strict=True) if "True" in str(flag)
    }
    return table


def unit_table(columns: dict, index: Any, name: str) -> Any:
    """Make a pandas table with a row for each unit; pandas comes with pynapple. Names of several levels stay levels."""
    import pandas

    index = pandas.Index(index)
    return pandas.DataFrame(columns, index=index if index.nlevels > 1 else index.rename(name))


def column_metadata(x: Any, name: str) -> np.ndarray | None:
    """Metadata `name` of the columns of a TsdFrame or of a table of features; None if there is none."""
    nap, pandas = sys.modules.get("pynapple"), sys.modules.get("pandas")
    if pandas is not None and isinstance(x, pandas.DataFrame) and isinstance(x.attrs.get(name), dict):
        return as_object_array([x.attrs[name].get(column, False) for column in x.columns])
    has_name = nap is not None and isinstance(x, nap.TsdFrame) and name in x.metadata_columns
    return np.asarray(x.get_info(name)) if has_name else None


def is_ts_group(x: Any) -> bool:
    """Return whether x is a TsGroup."""
    nap = sys.modules.get("pynapple")
    return nap is not None and isinstance(x, nap.TsGroup)


def is_epochs(x: Any) -> bool:
    """Return whether x is an IntervalSet."""
    nap = sys.modules.get("pynapple")
    return nap is not None and isinstance(x, nap.IntervalSet)


def epoch_ends(epochs: Epochs) -> np.ndarray:
    """Starts and ends of an IntervalSet, one array."""
    values = np.asarray(epochs.values, float)
    return values[0] if len(values) == 1 else values.ravel()


def rows_in_epochs(frame: Frame, epochs: Epochs) -> tuple[np.ndarray, Epochs]:
    """Rows of a frame that lie inside epochs, and the intersection of its epochs with them."""
    nap = sys.modules["pynapple"]
    order = np.argsort(frame.times, kind="stable")
    rows = nap.Tsd(t=frame.times[order], d=order, time_support=frame.epochs).restrict(epochs)
    return np.sort(np.asarray(rows.values, int)), rows.time_support


def is_events(x: Any) -> bool:
    """Return whether x holds times of events (Ts, TsGroup) rather than values on a time axis."""
    nap = sys.modules.get("pynapple")
    return nap is not None and isinstance(x, (nap.Ts, nap.TsGroup))


def event_times(x: Any) -> dict | None:
    """Times of the events of each unit, by id; None if x is neither a TsGroup nor a Ts."""
    if not is_events(x):
        return None
    return {unit: x[unit].t for unit in x} if is_ts_group(x) else {0: x.t}


def epoch_starts(frame: Frame, length: int) -> np.ndarray:
    """First row of each epoch, and the number of rows."""
    if frame.epochs is None:
        return np.array([0, length])
    return np.append(np.searchsorted(frame.times, frame.epochs.start, side="left"), length)


def bin_frame(n_bins: int, bin_size: float) -> Frame:
    """Make the time axis of one epoch that starts at 0."""
    import pynapple as nap

    return Frame(None, (np.arange(n_bins) + 0.5) * bin_size, nap.IntervalSet(0, n_bins * bin_size), None)


def make_ts(times: np.ndarray, epochs: Epochs) -> Timestamps:
    """Make a Ts of times in these epochs."""
    import pynapple as nap

    return nap.Ts(times, time_support=epochs)


def make_ts_group(trains: Any, ids: Any, epochs: Epochs) -> SpikeTrains:
    """Make a TsGroup of spike times; units are numbered if their ids are not integers."""
    nap = sys.modules["pynapple"]
    ids = np.asarray(ids)
    keys = ids.tolist() if ids.dtype.kind in "iu" else range(len(trains))
    units = {key: nap.Ts(times, time_support=epochs) for key, times in zip(keys, trains, strict=True)}
    return nap.TsGroup(units, time_support=epochs)


def select_columns(x: Any, columns: Any) -> Any:
    """Select columns of a TsdFrame with their metadata, of a pandas table with their types, or of an array."""
    nap, pandas = sys.modules.get("pynapple"), sys.modules.get("pandas")
    if pandas is not None and isinstance(x, pandas.DataFrame):
        return x.iloc[:, columns]
    return x[:, columns] if nap is not None and isinstance(x, nap.TsdFrame) else np.asarray(x)[:, columns]
