"""Conversion and checks of the user's X and y: arrays or lazy features, with the time axes of pynapple objects."""

from typing import Any

import numpy as np
from jaxtyping import Shaped

from popglm._checks.arrays import (
    as_real_array,
    require_entries,
    require_finite,
    require_in_support,
    require_sliceable,
    require_y,
    warn_spike_times,
)
from popglm._checks.times import require_aligned, require_epoch_duration
from popglm._design.arrays import compact_integers
from popglm._design.design import DesignRows, MatrixRows
from popglm._design.lazy import LazyFeatures
from popglm._design.streams import is_stream, read_rows
from popglm._pynapple import Frame, as_frame


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


def as_X_y(X: Any, y: Any, model: Any, y_dims: tuple[int, ...], *, built: bool = False) -> tuple[Frame, Frame]:
    """Check that X and y are aligned, and y in the support of the model (None: finite); return y as a 2-D array."""
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


class CheckedStream:
    """Two-dimensional y that is read and checked when it is sliced."""

    def __init__(self, values: Any, model: Any) -> None:
        self.values, self.model, self.dtype = values, model, values.dtype
        self.shape = tuple(values.shape) if len(values.shape) == 2 else (*values.shape, 1)

    @property
    def made_of(self) -> tuple[Any, ...]:
        """Array that this reads from."""
        return (self.values,)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Shaped[np.ndarray, "time neurons"]:
        values = read_rows(self.values, rows.start, rows.stop)
        if self.model is not None:
            require_in_support(values, self.model, rows.start)
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all rows."""
        return np.asarray(compact_integers(self[0 : len(self)]), dtype)


def as_design_rows(values: Any, *, centered: bool = False) -> DesignRows:
    """Convert a matrix or lazy features to rows of a design."""
    if isinstance(values, LazyFeatures):
        return values.span(centered=centered)
    return MatrixRows(values, centered=centered)


def has_valid_bin(X: Any, y: Any) -> bool:
    """Return whether any bin is valid for any neuron. The last row alone decides for most batches."""
    if not (np.isnan(X[-1]).any() or np.isnan(y[-1]).any()):
        return True
    return bool((~np.isnan(X).any(1)[:, None] & ~np.isnan(y)).any())
