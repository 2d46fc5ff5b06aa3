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


def make_epochs(start: np.ndarray, end: np.ndarray) -> Epochs:
    """Make an IntervalSet."""
    return sys.modules["pynapple"].IntervalSet(start, end)


def time_span(x: Any) -> tuple[float, float]:
    """First start and last end of an IntervalSet, or of the time support of another object."""
    epochs = x if is_epochs(x) else x.time_support
    return (epochs.start[0], epochs.end[-1]) if len(epochs) else (np.inf, -np.inf)


def describe_kind(x: Any) -> tuple[str, list] | None:
    """Name of the class and columns of a Ts, Tsd, TsdFrame, TsdTensor or IntervalSet; None of anything else."""
    nap = sys.modules.get("pynapple")
    if nap is None or not isinstance(x, (nap.Ts, nap.Tsd, nap.TsdFrame, nap.TsdTensor, nap.IntervalSet)):
        return None
    return type(x).__name__, list(x.columns) if isinstance(x, nap.TsdFrame) else list(x.shape[1:])


def concatenate_in_time(parts: list, shifts: Any) -> Any:
    """Join series or IntervalSets of one kind, each shifted by so many seconds, so that they follow each other."""
    nap = sys.modules["pynapple"]
    if is_epochs(parts[0]):
        moved = [(part.start + shift, part.end + shift) for part, shift in zip(parts, shifts, strict=True)]
        return nap.IntervalSet(*map(np.concatenate, zip(*moved, strict=True)), metadata=_all_metadata(parts))
    frame = isinstance(parts[0], nap.TsdFrame)
    columns = {"columns": parts[0].columns, "metadata": parts[0].metadata} if frame else {}
    values = {} if isinstance(parts[0], nap.Ts) else {"d": np.concatenate([part.values for part in parts])}
    return type(parts[0])(
        t=np.concatenate([part.t + shift for part, shift in zip(parts, shifts, strict=True)]),
        time_support=concatenate_in_time([part.time_support for part in parts], shifts),
        **values,
        **columns,
    )


def _all_metadata(parts: list) -> dict:
    """Metadata that all IntervalSets have, of one after another."""
    names = [name for name in parts[0].metadata_columns if all(name in part.metadata_columns for part in parts)]
    return {name: np.concatenate([np.asarray(part.get_info(name)) for part in parts]) for name in names}


def first_metadata(groups: list[SpikeTrains]) -> Any:
    """Metadata of units that all groups have, of the first group with the unit; a table by unit."""
    import pandas

    names = [name for name in groups[0].metadata_columns if all(name in group.metadata_columns for group in groups)]
    table = pandas.concat([group.get_info([name for name in names if name != "rate"]) for group in groups])
    return table[~table.index.duplicated()].sort_index()


def select_columns(x: Any, columns: Any) -> Any:
    """Select columns of a TsdFrame with their metadata, of a pandas table with their types, or of an array."""
    nap, pandas = sys.modules.get("pynapple"), sys.modules.get("pandas")
    if pandas is not None and isinstance(x, pandas.DataFrame):
        return x.iloc[:, columns]
    return x[:, columns] if nap is not None and isinstance(x, nap.TsdFrame) else np.asarray(x)[:, columns]
