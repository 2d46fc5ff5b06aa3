"""Checks of the arguments of figures."""

from collections.abc import Mapping

import numpy as np

from popglm._checks.arrays import as_finite_array


def require_n_entries(name, values, length, what):
    """Raise unless the first axis has this length: one entry for each of `what`."""
    if len(values) != length:
        raise ValueError(
            f"`{name}` must have {length} entries along its first axis, one for each of the {what}; got shape "
            f"{np.shape(values)}."
        )


def as_bands(value, shape):
    """Return the lower and the upper band, each with the shape of the filters."""
    if not isinstance(value, tuple | list | np.ndarray) or len(value) != 2:
        raise TypeError(f"`bands` must be a pair (low, high) of arrays; got {type(value).__name__}.")
    low, high = (as_finite_array(f"bands[{i}]", part, (1, 2)) for i, part in enumerate(value))
    low, high = (part[:, None] if part.ndim == 1 else part for part in (low, high))
    for part in (low, high):
        if part.shape != shape:
            raise ValueError(
                f"each of `bands` must have the shape of the filters, (lags, filters) = {shape}; got {part.shape}."
            )
    if (low > high).any():
        raise ValueError("`bands` must be a pair (low, high); the first lies above the second. Exchange them.")
    return low, high


def as_names(name, value, length, what):
    """Return a list of names, by default numbers."""
    if value is None:
        return list(range(length))
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise TypeError(f"`{name}` must be a list of {length} names, one for each of the {what}; got {value!r}.")
    if len(value) != length:
        raise ValueError(f"`{name}` must hold {length} names, one for each of the {what}; got {len(value)}.")
    return list(value)


def require_increasing(name, values, low=-np.inf):
    """Return the values; raise unless they increase and lie above `low`."""
    if (values <= low).any() or (np.diff(values) <= 0).any():
        bound = "" if low == -np.inf else f" above {low:g}"
        raise ValueError(f"`{name}` must be numbers{bound} that increase; got {values[:6].tolist()}... Sort them.")
    return values


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
        raise TypeError(
            "`coupling` must be a matrix; got a table with a row for each pair. Take its matrix: "
            'table.pivot(index="sender", columns="receiver", values="strength").'
        )


def as_epoch(value):
    """Return the start and the end of an epoch."""
    times = as_finite_array("epoch", value, (1,))
    if len(times) != 2 or times[0] >= times[1]:
        raise ValueError(f"`epoch` must be a pair (start, end) in seconds, one interval; got {value!r}.")
    return times


def require_same_units(ids, columns):
    """Raise unless the columns of the rates are the units, in their order."""
    ids, columns = (np.asarray(names).tolist() for names in (ids, columns))
    if ids != columns:
        raise ValueError(
            f"`rates` must have the units as columns, in their order; expected {ids[:8]} and got {columns[:8]}. "
            "Select them by name."
        )


def require_drawable_grid(name, positions, n_units):
    """Return the positions of bins on an even grid; raise if two bins are closer than a bin, or the image is too large."""
    if (np.diff(positions) < 1).any():
        raise ValueError(
            f"`{name}` must have bins of one size; after number {int(np.argmin(np.diff(positions)))} the next comes too early. "
            "Bin them anew."
        )
    if (cells := (positions[-1] + 1) * n_units) > 2e7:
        raise ValueError(f"`{name}` would be an image of {cells:.2g} points. Draw a part of it: epoch=(0, 10).")
    return positions
