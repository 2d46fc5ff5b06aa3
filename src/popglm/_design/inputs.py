"""Conversion and checks of the user's X, y, weights and offsets: arrays, streams or lazy features, with their time axes."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from popglm._checks.arrays import (
    as_real_array,
    require_at_least,
    require_entries,
    require_equal_shapes,
    require_finite,
    require_in_support,
    require_one_per_row,
    require_sliceable,
    require_y,
    warn_spike_times,
)
from popglm._checks.names import require_same_names
from popglm._checks.times import require_aligned, require_epoch_duration
from popglm._design.arrays import compact_integers
from popglm._design.design import DesignRows, MatrixRows
from popglm._design.lazy import LazyFeatures
from popglm._design.same_data import require_same_data
from popglm._design.streams import is_stream, read_rows
from popglm._pynapple import Frame, as_frame
from popglm.parallel._share import gather


def as_features(X: Any, *, built: bool = False) -> Frame:
    """Check X and return it as a 2-D array; lazy or streamed X stays so unless it must be `built`."""
    if isinstance(X, LazyFeatures):
        require_entries("X", X)
        return X.frame._replace(values=np.asarray(X)) if built else X.frame
    X = as_frame(X)
    require_epoch_duration(X)
    if is_stream(X.values) and not built:
        return X._replace(values=require_sliceable("X", X.values, (2,)))
    X = X._replace(values=as_real_array("X", X.values, (2,)))
    require_finite("X", X.values)
    return X


class Observations(NamedTuple):
    """Data of a fit or a score: frames of X and y, weights and offsets of their rows, two-dimensional; None if not given."""

    X: Frame
    y: Frame
    weight: Any = None
    offset: Any = None

    @property
    def weights_and_offsets(self) -> tuple[Any, Any]:
        """Weight and offset, as `Design` takes them after y."""
        return self.weight, self.offset


def as_observations(
    X: Any,
    y: Any,
    model: Any,
    y_dims: tuple[int, ...],
    sample_weight: Any = None,
    offset: Any = None,
    *,
    built: bool = False,
) -> Observations:
    """Check that all data are aligned, y in the support of the model (None: finite), and no weight negative."""
    X, y = _as_X_y(X, y, model, y_dims, built=built)
    others, n_neurons = {"X": X, "y": y}, y.values.shape[1]
    weight = as_row_values("sample_weight", sample_weight, others, n_neurons, y.columns, low=0, built=built)
    offset = as_row_values("offset", offset, others, n_neurons, y.columns, built=built)
    if not built:  # batches of processes differ
        require_same_data(X, y, weight, offset)
    return Observations(X, y, weight, offset)


def as_row_values(
    name: str,
    value: Any,
    others: dict[str, Frame],
    n_neurons: int,
    neurons: Any,
    low: float = -np.inf,
    *,
    built: bool = False,
) -> Any:
    """Check weights or offsets of the rows of other data, and make them two-dimensional; None stays so.

    They are those of all neurons, or a column for each of the `neurons`, which are their names. `low` is the least value that
    is allowed.
    """
    if value is None:
        return None
    given = as_frame(value)
    require_one_per_row(name, given.values, next(iter(others.values())).values.shape[0])
    if is_stream(given.values) and not built:
        values = CheckedRowValues(name, require_sliceable(name, given.values), low)
    else:
        values = as_real_array(name, given.values, (1, 2))
        require_at_least(name, values, low)
        values = values.reshape(len(values), -1)
    for other, frame in others.items():
        require_aligned(frame, given._replace(values=values), other, name)
    if values.shape[1] != 1:
        fix = " Or give one number for each row, (time,), for all neurons."
        require_equal_shapes(name, values.shape, (values.shape[0], n_neurons), "time, neurons", fix)
        require_same_names(neurons, given.columns, f"the columns of `{name}` should be the neurons")
    return values


def require_selection(weight: Any, purpose: str) -> None:
    """Require weights that only select rows, 0 or 1, where rows are not summed."""
    for rows in _read_parts(weight):
        other = rows[(rows != 0) & (rows != 1) & ~np.isnan(rows)]
        if len(other):
            fix = "Select rows by weights of 0 and 1, or leave `sample_weight` out."
            raise ValueError(f"{purpose} takes each row as it is, and cannot count one {other[0]:g} times. {fix}")


def are_whole(weight: Any) -> bool:
    """Return whether weights may be numbers of copies; None is a weight of 1."""
    return all(gather(all((rows[~np.isnan(rows)] % 1 == 0).all() for rows in _read_parts(weight)), "looks at weights"))


def _read_parts(values: Any) -> Iterator[np.ndarray]:
    """Yield a few thousand rows at a time; None has no rows."""
    for start in range(0, 0 if values is None else values.shape[0], 8192):
        yield read_rows(values, start, start + 8192)


def _as_X_y(X: Any, y: Any, model: Any, y_dims: tuple[int, ...], *, built: bool) -> tuple[Frame, Frame]:
    """Check that X and y are aligned; return y as a 2-D array."""
    require_y(y)
    X, y = as_features(X, built=built), as_frame(y)
    if is_stream(y.values) and not built:
        y = y._replace(values=CheckedStream(require_sliceable("y", y.values, y_dims), model))
    else:
        y = y._replace(values=as_real_array("y", y.values, y_dims))
        if model is None:
            require_finite("y", y.values)
        else:
            require_in_support(y.values, model)
        y = y._replace(values=y.values.reshape(len(y.values), -1))
        if model is not None and model.support.kind == "counts":
            warn_spike_times("y", y.values)
    require_aligned(X, y)
    return X, y


class _Stream:
    """Two-dimensional array that is read when it is sliced."""

    def __init__(self, values: Any) -> None:
        self.values, self.dtype = values, values.dtype
        self.shape = tuple(values.shape) if len(values.shape) == 2 else (*values.shape, 1)

    @property
    def made_of(self) -> tuple[Any, ...]:
        """Array that this reads from."""
        return (self.values,)

    def __len__(self) -> int:
        return self.shape[0]


class CheckedRowValues(_Stream):
    """Weights or offsets that are read and checked when they are sliced."""

    def __init__(self, name: str, values: Any, low: float) -> None:
        super().__init__(values)
        self.name, self.low = name, low

    def __getitem__(self, rows: slice) -> Shaped[np.ndarray, " time #neurons"]:
        values = read_rows(self.values, rows.start, rows.stop)
        require_at_least(self.name, values, self.low, rows.start)
        return values


class CheckedStream(_Stream):
    """Two-dimensional y that is read and checked when it is sliced."""

    def __init__(self, values: Any, model: Any) -> None:
        super().__init__(values)
        self.model = model

    def __getitem__(self, rows: slice) -> Shaped[np.ndarray, "time neurons"]:
        values = read_rows(self.values, rows.start, rows.stop)
        if self.model is not None:
            require_in_support(values, self.model, rows.start)
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all rows."""
        return np.asarray(compact_integers(self[0 : len(self)]), dtype)


def as_design_rows(values: Any, *, centered: bool = False, mask: Any = None) -> DesignRows:
    """Convert a matrix or lazy features to rows of a design; by a `mask` (neurons, features) each neuron has its own."""
    if isinstance(values, LazyFeatures):
        return values.span(centered=centered, mask=mask)
    return MatrixRows(values, centered=centered, mask=mask)


def has_valid_bin(X: Any, y: Any, weight: Any = None, offset: Any = None) -> bool:
    """Return whether any bin counts for any neuron. The last row alone decides for most batches."""
    last = _counted(*(None if a is None else a[-1:] for a in (X, y, weight, offset)))
    return bool(last.any() or _counted(X, y, weight, offset).any())


def _counted(X: Any, y: Any, weight: Any, offset: Any) -> np.ndarray:
    """Mark the entries of y, in memory, that count."""
    counted = ~np.isnan(X).any(1)[:, None] & ~np.isnan(y)
    if weight is not None:
        counted = counted & (np.asarray(weight) > 0)
    return counted if offset is None else counted & ~np.isnan(offset)
