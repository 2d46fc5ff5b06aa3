"""Checks of the arguments of figures."""

from collections.abc import Mapping

import numpy as np

from popglm._checks.arrays import as_finite_array
from popglm._checks.names import are_same_names
from popglm._checks.values import require_pair


def require_n_entries(name, values, length, what):
    """Raise unless the first axis has this length: one entry for each of `what`."""
    if len(values) != length:
        expected = f"{length} entries along its first axis, one for each of the {what}"
        raise ValueError(f"`{name}` must have {expected}; got shape {np.shape(values)}.")


def split_kernel(kernel):
    """Return the functions over lags, and the lags of their rows where a basis or its kernel knows them, else None."""
    lags = getattr(kernel, "lags", None)
    if hasattr(kernel, "kernel"):
        return kernel.kernel, lags
    if lags is None and hasattr(kernel, "lags"):
        fix = "Give the basis itself, or the lags and the filters: filters(basis.lags, values)."
        raise ValueError(f"`kernel` is made of one whose first row is not lag 1, so its lags are not known. {fix}")
    return kernel, lags


def as_seconds(name, times):
    """Return times as an array in seconds; those with units of their own (quantities, astropy, pint) are converted."""
    for convert in ("rescale", "to_value", "m_as"):
        if hasattr(times, convert):
            times = getattr(times, convert)("s")
            return np.asarray(getattr(times, "magnitude", times), float)
    if hasattr(times, "units") or hasattr(times, "unit"):
        raise TypeError(f"{name} have units that are not known here; expected numbers, in seconds.")
    return times


def as_curves(name, value, n_points):
    """Return values at points as an array (points, curves); NaN where there are none."""
    values = as_finite_array(name, value, (1, 2), missing=True)
    require_n_entries(name, values, n_points, "points")
    return values[:, None] if values.ndim == 1 else values


def as_bands(value, shape, what="filters, (lags, filters)"):
    """Return the lower and the upper band, each with the shape of the curves; NaN where there is none."""
    require_pair(value, "`bands` must be a pair (low, high) of arrays", kinds=tuple | list | np.ndarray)
    bands = [as_finite_array(f"bands[{i}]", part, (1, 2), missing=True) for i, part in enumerate(value)]
    low, high = (part[:, None] if part.ndim == 1 else part for part in bands)
    if low.shape != shape or high.shape != shape:
        raise ValueError(
            f"each of `bands` must have the shape of the {what} = {shape}; got {low.shape} and {high.shape}."
        )
    if (low > high).any():
        raise ValueError("`bands` must be a pair (low, high); the first lies above the second. Exchange them.")
    return low, high


def require_spike_trains(units):
    """Raise unless the units are spike times, not a table of counts."""
    shape = getattr(units, "shape", ())
    trains = units.values() if isinstance(units, Mapping) else units if hasattr(units, "__len__") else [units]
    if len(shape) > 1 or not all(hasattr(times, "__len__") for times in trains):
        raise TypeError(
            "`units` must be spike times: a TsGroup, a dictionary of times by id, or a list of arrays; got "
            f"{type(units).__name__}{f' of shape {shape}' if shape else ''}. Times of one unit are a list of one: [times]. Of "
            "counts, which have lost the times, give the group that was counted."
        )


def require_coupling_matrix(coupling):
    """Raise if the coupling is a table with a row for each pair."""
    if "strength" in getattr(coupling, "columns", ()):
        fix = 'Take its matrix: table.pivot(index="sender", columns="receiver", values="strength").'
        raise TypeError(f"`coupling` must be a matrix; got a table with a row for each pair. {fix}")


def require_same_units(ids, columns):
    """Raise unless the columns of the rates are the units, in their order, or have no names."""
    if not are_same_names(ids, columns):
        came = f"expected {list(ids)[:8]} and got {np.asarray(columns).tolist()[:8]}"
        raise ValueError(f"`rates` must have the units as columns, in their order; {came}. Select them by name.")


def require_drawable_grid(name, positions, n_units):
    """Return the positions of bins on an even grid; raise if two bins are closer than a bin, or the image is too large."""
    if (np.diff(positions) < 1).any():
        came = f"after number {int(np.argmin(np.diff(positions)))} the next comes too early"
        raise ValueError(f"`{name}` must have bins of one size; {came}. Bin them anew.")
    if (cells := (positions[-1] + 1) * n_units) > 2e7:
        raise ValueError(f"`{name}` would be an image of {cells:.2g} points. Draw a part of it: epoch=(0, 10).")
    return positions
