"""Checks of what figures are given."""

from collections.abc import Mapping

import numpy as np

from popglm._checks.arrays import as_finite_array


def require_axes(is_one, value):
    """One Axes of matplotlib."""
    if not is_one:
        raise TypeError(
            f"`ax` must be an Axes of matplotlib, or None for a new figure; got {type(value).__name__}. Of several, give one: "
            "axes[0]."
        )


def require_n_entries(name, values, length, what):
    """As many entries along the first axis as there are `what`."""
    if len(values) != length:
        raise ValueError(
            f"`{name}` must have {length} entries along its first axis, one for each of the {what}; got shape "
            f"{np.shape(values)}."
        )


def as_bands(value, shape):
    """Two curves for every filter."""
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
    """One name for each."""
    if value is None:
        return list(range(length))
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise TypeError(f"`{name}` must be a list of {length} names, one for each of the {what}; got {value!r}.")
    if len(value) != length:
        raise ValueError(f"`{name}` must hold {length} names, one for each of the {what}; got {len(value)}.")
    return list(value)


def require_increasing(name, values, low=-np.inf):
    """Numbers that increase, above `low`."""
    if (values <= low).any() or (np.diff(values) <= 0).any():
        bound = "" if low == -np.inf else f" above {low:g}"
        raise ValueError(f"`{name}` must be numbers{bound} that increase; got {values[:6].tolist()}... Sort them.")
    return values


def require_one_unit(z):
    """Intervals of one unit."""
    if isinstance(z, Mapping):
        raise TypeError(
            f"`z` must be the intervals of one unit; got those of {len(z)} by name. Give one: z[{next(iter(z), 0)!r}]."
        )
    return z


def require_spike_trains(units):
    """Times of spikes, and no table of counts."""
    shape = getattr(units, "shape", ())
    some = units.values() if isinstance(units, Mapping) else units if hasattr(units, "__len__") else [units]
    if len(shape) > 1 or not all(hasattr(times, "__len__") for times in some):
        raise TypeError(
            "`units` must be spike times: a TsGroup, a dictionary of times by id, or a list of arrays; got "
            f"{type(units).__name__}{f' of shape {shape}' if shape else ''}. Times of one unit are a list of one: [times]. Of "
            "counts, which have lost the times, give the group that was counted."
        )


def require_coupling_matrix(coupling):
    """A matrix, and no table with a row for each pair."""
    if "strength" in getattr(coupling, "columns", ()):
        raise TypeError(
            "`coupling` must be a matrix; got a table with a row for each pair. Take its matrix: "
            'table.pivot(index="sender", columns="receiver", values="strength").'
        )


def require_any_unit(trains):
    """At least one unit."""
    if not len(trains):
        raise ValueError("`units` must hold the spike times of at least one unit; got none.")


def as_epoch(value):
    """A pair of times, the earlier first."""
    times = as_finite_array("epoch", value, (1,))
    if len(times) != 2 or times[0] >= times[1]:
        raise ValueError(f"`epoch` must be a pair (start, end) in seconds, one interval; got {value!r}.")
    return times


def require_timed_rates(value):
    """A pair of times and rates."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(
            f"`rates` must be a TsdFrame, or a pair (times, rates) of arrays; got {type(value).__name__}. predict gives a "
            "TsdFrame if X is one; divide by the bin size."
        )
    return value


def require_same_units(ids, columns):
    """Rates of the units, in their order."""
    ids, columns = (np.asarray(names).tolist() for names in (ids, columns))
    if ids != columns:
        raise ValueError(
            f"`rates` must have the units as columns, in their order; expected {ids[:8]} and got {columns[:8]}. "
            "Select them by name."
        )


def require_two_bins(name, values):
    """At least two bins."""
    if len(values) < 2:
        raise ValueError(f"`{name}` must have at least two bins in the epoch that is drawn; got {len(values)}.")


def require_drawable_grid(name, at, n_units):
    """Bins of one size, each at its place of an even grid, which is no longer than can be drawn."""
    if (np.diff(at) < 1).any():
        raise ValueError(
            f"`{name}` must have bins of one size; after number {int(np.argmin(np.diff(at)))} the next comes too early. Bin "
            "them anew."
        )
    if (cells := (at[-1] + 1) * n_units) > 2e7:
        raise ValueError(f"`{name}` would be an image of {cells:.2g} points. Draw a part of it: epoch=(0, 10).")
    return at
