"""What a user gives as X and y, checked: arrays or lazy features, with the time axes that pynapple knows."""

import numpy as np

from popglm import _check_arrays, _check_times, _design, _pynapple
from popglm._lazy import LazyFeatures


def features(X, *, built=False) -> _pynapple.Frame:
    """X as an array of two dimensions, or as it is if it is lazy and need not be `built`."""
    if isinstance(X, LazyFeatures):
        _check_arrays.not_empty("X", X)
        return X.frame._replace(values=np.asarray(X)) if built else X.frame
    X = _pynapple.unwrap(X)
    _check_times.some_duration(X)
    if _design.is_stream(X.values) and not built:
        return X._replace(values=_check_arrays.sliceable("X", X.values, (2,)))
    X = X._replace(values=_check_arrays.array("X", X.values, (2,)))
    _check_arrays.finite("X", X.values)
    return X


def pair(X, y, model, y_dims, *, built=False) -> tuple[_pynapple.Frame, _pynapple.Frame]:
    """X and y, aligned; y in the support of the model, if there is one yet, and of two dimensions of the `y_dims`."""
    _check_arrays.given(y)
    X, y = features(X, built=built), _pynapple.unwrap(y)
    if _design.is_stream(y.values) and not built:
        y = y._replace(values=Checked(_check_arrays.sliceable("y", y.values, y_dims), model))
    else:
        y = y._replace(values=_check_arrays.array("y", y.values, y_dims))
        if model is None:
            _check_arrays.finite("y", y.values)
        else:
            _check_arrays.targets(y.values, model)
        y = y._replace(values=y.values.reshape(len(y.values), -1))
    _check_times.aligned(X, y)
    return X, y


class Checked:
    """Activity that is read when it is sliced, and checked then; two dimensions."""

    def __init__(self, values, model):
        self.values, self.model, self.dtype = values, model, values.dtype
        self.shape = tuple(values.shape) if len(values.shape) == 2 else (*values.shape, 1)

    @property
    def made_of(self):
        """What it reads."""
        return (self.values,)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        some = _design.read(self.values, rows.start, rows.stop)
        if self.model is not None:
            _check_arrays.targets(some, self.model, rows.start)
        return some

    def __array__(self, dtype=None, copy=None):
        """Read all."""
        return np.asarray(_design.compact(self[0 : len(self)]), dtype)


def rows(values, *, centered=False) -> _design.Rows:
    """Features as a design needs them."""
    if isinstance(values, LazyFeatures):
        return values.span(centered=centered)
    return _design.Matrix(values, centered=centered)


def any_valid(X, y) -> bool:
    """Whether some bin counts for some neuron. A look at the last row is enough for most batches."""
    if not (np.isnan(X[-1]).any() or np.isnan(y[-1]).any()):
        return True
    return bool((~np.isnan(X).any(1)[:, None] & ~np.isnan(y)).any())
