"""Checks of the arguments of figures."""

from collections.abc import Mapping

import numpy as np

from popglm._checks.arrays import as_finite_array
from popglm._checks.names import are_same_names
from popglm._checks.values import list_names, require_pair
from popglm._pynapple import as_frame, event_times, is_events

MAX_PANELS = 30


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


def as_one_column(name, value):
    """Return a number for each bin of one unit as an array (time,); NaN where there is none."""
    values = as_finite_array(name, value, (1, 2), missing=True)
    if values.ndim == 2 and values.shape[1] > 1:
        raise ValueError(
            f"`{name}` must be of one unit, shape (time,); got {values.shape}. Take a column: {name}[:, 0]."
        )
    return values.ravel()


def as_event_times(events):
    """Return times of events in seconds by name; None is the name of a single kind."""
    if isinstance(events, Mapping):
        kinds = {name: event_times(times)[0] if is_events(times) else times for name, times in events.items()}
    else:
        groups = event_times(events) or {}
        kinds = groups if len(groups) > 1 else {None: groups.popitem()[1] if groups else events}
    times = {
        name: as_finite_array(
            f"events{'' if name is None else f' {name}'}", as_seconds("events", _plain_times(one)), (1,)
        )
        for name, one in kinds.items()
    }
    if not times:
        raise ValueError("`events` must hold at least one kind of events; got none.")
    return times


def _plain_times(times):
    """Return times of events; refuse values on a time axis, which are no times."""
    if as_frame(times).times is not None:
        fix = "Of counts in bins give the times of those with an event: cue.t[cue.values > 0]."
        raise TypeError(f"`events` must be times; got {type(times).__name__}, values on a time axis. {fix}")
    return times


def as_bands(value, shape, what="filters, (lags, filters)"):
    """Return the lower and the upper band, each with the shape of the curves; NaN where there is none."""
    require_pair(value, "`bands` must be a pair (low, high) of arrays", kinds=tuple | list | np.ndarray)
    bands = [as_finite_array(f"bands[{i}]", part, (1, 2), missing=True) for i, part in enumerate(value)]
    low, high = (part[:, None] if part.ndim == 1 else part for part in bands)
    if low.shape != shape or high.shape != shape:
        raise ValueError(
            f"each of `bands` must have the shape of the {what} = {shape}; got {low.shape} and {high.shape}."
        )
    require_ordered(low, high)
    return low, high


def require_ordered(low, high):
    """Require no band of which the lower end lies above the upper one."""
    if (low > high).any():
        raise ValueError("`bands` must be a pair (low, high); the first lies above the second. Exchange them.")


def as_surface(name, value, n_x, n_y):
    """Return values on a grid as an array (x, y); NaN where there are none."""
    values = as_finite_array(name, value, (1, 2), missing=True)
    if values.shape == (n_y, n_x) and n_x != n_y:
        raise ValueError(f"`{name}` must have shape (x, y) = {(n_x, n_y)}; got {values.shape}. Transpose it: {name}.T.")
    if values.shape not in ((n_x, n_y), (n_x * n_y,)):
        raise ValueError(f"`{name}` must have shape (x, y) = {(n_x, n_y)}, or ({n_x * n_y},); got {values.shape}.")
    return values.reshape(n_x, n_y)


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


def unit_number(unit, names, n_neurons, is_single):
    """Return the number of a neuron, given by its name, by its number if it has none; None is the only one."""
    known = list(range(n_neurons)) if names is None else list(names)
    if unit is None and n_neurons == 1:
        return 0
    if is_single:
        raise ValueError(f"`unit` must be None for a GLM, which has one neuron; got {unit!r}.")
    if unit not in known:
        names = list_names(range(n_neurons), known)
        raise ValueError(f"`unit` must be one of the {n_neurons} neurons of the model, {names}; got {unit!r}.")
    return known.index(unit)


def require_errors(errors, n_features):
    """Require the result of `inference.uncertainty` for so many features, or None."""
    if errors is None:
        return
    if not hasattr(errors, "bands"):
        raise TypeError(f"`errors` must be the result of inference.uncertainty, or None; got {type(errors).__name__}.")
    if len(errors.coef_se) != n_features:
        fix = "Compute them for this model."
        raise ValueError(
            f"`errors` must be those of the model, of {n_features} features; got {len(errors.coef_se)}. {fix}"
        )


def select_panels(panels, inputs):
    """Return the panels whose term or title is named, all if None; refuse more than one can read."""
    titles = [panel.title for panel in panels]
    if inputs is not None:
        wanted = [inputs] if isinstance(inputs, str) else list(inputs)
        unknown = [name for name in wanted if not any(name in (panel.term, panel.title) for panel in panels)]
        if unknown or not wanted:
            came, known = repr(unknown[0]) if unknown else "none", list_names(range(len(titles)), titles)
            raise ValueError(f"`inputs` must be among {known}, or labels of parts; got {came}.")
        panels = [panel for panel in panels if panel.term in wanted or panel.title in wanted]
    if len(panels) > MAX_PANELS:
        fix = f"Choose some: inputs={titles[:2]}."
        raise ValueError(f"one can read up to {MAX_PANELS} panels; got {len(panels)}. {fix}")
    return panels


def require_enough_bins(n_bins, n_groups, n_blocks):
    """Require at least a bin for each group and block."""
    if n_bins < max(n_groups, n_blocks):
        fix = "Give a longer recording, or fewer groups and blocks: `n_groups`, `n_blocks`."
        raise ValueError(
            f"expected at least {max(n_groups, n_blocks)} bins with a count and a prediction; got {n_bins}. {fix}"
        )


def require_comparison(result, kind):
    """Require the result of a comparison of models."""
    if not isinstance(result, kind):
        fix = "Give that of model_selection.compare."
        raise TypeError(f"`result` must be a Comparison; got {type(result).__name__}. {fix}")
