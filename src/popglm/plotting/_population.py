"""Figures of populations: couplings as a matrix, spikes and rates as a raster."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from popglm._checks.arrays import as_finite_array, require_increasing
from popglm._checks.index import is_sender_receiver_pair
from popglm._checks.values import as_names, as_number, as_range, require_pair
from popglm._pynapple import Epochs, SpikeTrains, as_frame, epoch_ends, event_times, is_epochs
from popglm._types import Numbers, Range
from popglm.plotting._axes import Axes, axes_and_colours, rate_colours, set_ticks
from popglm.plotting._checks import (
    as_seconds,
    require_coupling_matrix,
    require_drawable_grid,
    require_n_entries,
    require_same_units,
    require_spike_trains,
)


def coupling_matrix(
    coupling: Numbers,
    ax: Axes | None = None,
    *,
    units: Any = None,
    limit: float | None = None,
    label: str | None = None,
) -> Axes:
    """Draw couplings as a matrix: a row for each receiver, a column for each sender; red excites, blue inhibits.

    Neurons inhibit themselves far more than each other. Colours therefore end at the largest coupling between two different
    units; values beyond have the last colour, and the colour bar an arrow.

    Parameters
    ----------
    coupling
        One number for each pair, shape (senders, receivers); or filters, shape (senders, lags, receivers), whose sums over
        lags are drawn: the log of the total gain after an event. The filters of a fit are ``numpy.einsum("lk,nkm->nlm",
        basis.kernel, coef_.reshape(n, n_basis, n))``. NaN is left blank. A table of pandas names the units.
    ax
        Axes to draw on; None makes a new figure.
    units
        Ids of the units if senders and receivers are the same, or a pair (senders, receivers) of lists; None takes those of a
        table, else numbers.
    limit
        Size of the coupling with the last colour.
    label
        Label of the colour bar.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the shapes do not match.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import plotting
    >>> ax = plotting.coupling_matrix(np.array([[-3.0, 0.5], [0.0, -2.0]]), units=["a", "b"])
    >>> float(ax.images[0].get_array()[1, 0]), ax.images[0].get_clim()  # from a to b
    (0.5, (-0.5, 0.5))
    """
    require_coupling_matrix(coupling)
    values = as_finite_array("coupling", coupling, (2, 3), missing=True)
    words = ("coupling (log gain)", "sum of the filter (log gain)")[values.ndim - 2]
    matrix = (values.sum(1) if values.ndim == 3 else values).T
    n_receivers, n_senders = matrix.shape
    if units is None and values.ndim == 2:
        frame = as_frame(coupling)
        units = (frame.index, frame.columns) if frame.index is not None else None
    pair = units if is_sender_receiver_pair(units) else (units, units)
    senders, receivers = (
        as_names("units", ids, n, f"names, one for each of the {what}")
        for ids, n, what in zip(pair, (n_senders, n_receivers), ("senders", "receivers"), strict=True)
    )
    off = matrix[~np.eye(n_receivers, dtype=bool)] if n_senders == n_receivers else matrix.ravel()
    largest = np.nanmax(np.abs(off), initial=0) or np.nanmax(np.abs(matrix), initial=0) or 1.0
    limit = largest if limit is None else as_number("limit", limit, 0, strict=True)
    ends = (np.nanmin(matrix, initial=0) < -limit) + 2 * (np.nanmax(matrix, initial=0) > limit)
    ax, _ = axes_and_colours(ax)
    image = ax.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="equal")
    ax.set(xlabel="sender (unit)", ylabel="receiver (unit)")
    set_ticks(ax.xaxis, senders)
    set_ticks(ax.yaxis, receivers)
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label=label or words, extend=("neither", "min", "max", "both")[ends], shrink=0.85)
    return ax


def raster(
    units: SpikeTrains | Mapping[Any, Any] | Sequence,
    rates: Any = None,
    ax: Axes | None = None,
    *,
    epoch: Range | Epochs | None = None,
) -> Axes:
    """Draw spikes as ticks, a row for each unit, over rates as colours; colours end at the 99th percentile.

    Parameters
    ----------
    units
        A TsGroup; a dictionary of spike times by id; or a list of arrays of times. Times in seconds, if they have no units of
        their own.
    rates
        Spikes per second, a TsdFrame with the units as columns, or a pair (times, rates) of shapes (time,) and
        (time, units): the result of `predict`, divided by the bin size. Gaps in the recording are blank.
    ax
        Axes to draw on; None makes a new figure.
    epoch
        Part to draw: a pair (start, end) in seconds, or an IntervalSet with one interval.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the rates do not match the units.

    Examples
    --------
    >>> from popglm import plotting
    >>> ax = plotting.raster({7: [0.1, 0.4], 9: [0.3]}, ([0.125, 0.375], [[8.0, 0.0], [4.0, 4.0]]))
    >>> [word.get_text() for word in ax.get_yticklabels()], ax.images[0].get_extent()
    (['7', '9'], [0.0, 0.5, -0.5, 1.5])
    """
    trains = event_times(units)
    if trains is None:
        require_spike_trains(units)
        trains = dict(units) if isinstance(units, Mapping) else dict(enumerate(units))
        trains = {name: _as_times(f"times of unit {name}", times) for name, times in trains.items()}
    if not len(trains):
        raise ValueError("`units` must hold the spike times of at least one unit; got none.")
    spikes = [
        as_finite_array(f"times of unit {name}", t, (1,)) if len(t) else np.zeros(0) for name, t in trains.items()
    ]
    epoch = epoch_ends(epoch) if is_epochs(epoch) else epoch
    start, end = -np.inf, np.inf
    if epoch is not None:
        start, end = as_range("epoch", np.asarray(epoch).tolist(), "(start, end) in seconds, one interval")
    spikes = [times[(times >= start) & (times <= end)] for times in spikes]
    image_and_extent = None if rates is None else _rate_image(rates, list(trains), start, end)
    ax, colours = axes_and_colours(ax)
    if image_and_extent is not None:
        image, extent = image_and_extent
        highest = np.nanmax(image, initial=0)
        # a quantile, so that one high bin does not make all others pale
        top = (np.nanquantile(image, 0.99) if highest else 1.0) or highest
        how = {"aspect": "auto", "origin": "lower", "interpolation": "none", "extent": extent}
        colour_image = ax.imshow(image.T, cmap=rate_colours(colours["axes.facecolor"], "C0"), vmin=0, vmax=top, **how)
        ax.figure.colorbar(colour_image, ax=ax, label="rate (spikes/s)", extend="max" if highest > top else "neither")
    ax.eventplot(
        spikes, lineoffsets=np.arange(len(spikes)), linelengths=0.55, linewidths=1, colors=colours["text.color"]
    )
    ax.set(xlabel="time (s)", ylabel="unit", ylim=(-0.5, len(spikes) - 0.5))
    if epoch is not None:
        ax.set_xlim(start, end)
    set_ticks(ax.yaxis, list(trains))
    ax.grid(False)
    return ax


def _as_times(name, train):
    """Times of a spike train in seconds: of a Ts or Tsd its times, of an array its values."""
    events, frame = event_times(train), as_frame(train)
    if events is not None:
        return events[0]
    return as_seconds(name, train) if frame.times is None else frame.times


def _rate_image(rates, ids, start, end):
    """Return rates on an even time axis, with NaN in gaps, and the extent of the image."""
    frame = as_frame(rates)
    expected = "`rates` must be a TsdFrame, or a pair (times, rates) of arrays"
    fix = " predict gives a TsdFrame if X is one; divide by the bin size."
    timed = frame.times is not None
    times, values = (frame.times, frame.values) if timed else require_pair(rates, expected, fix)
    times = as_seconds("times of the rates", times)
    times = require_increasing("times of the rates", as_finite_array("times of the rates", times, (1,)))
    values = as_finite_array("rates", values, (1, 2), missing=True).reshape(len(np.atleast_1d(values)), -1)
    require_n_entries("rates", values, len(times), "times")
    require_n_entries("rates", values.T, len(ids), "units")
    require_same_units(ids, frame.columns)
    inside = (times >= start) & (times <= end)
    times, values = times[inside], values[inside]
    if len(times) < 2:
        raise ValueError(f"`rates` must have at least two bins in the epoch that is drawn; got {len(times)}.")
    steps = np.diff(times)
    median = np.quantile(steps, 0.5, method="lower")
    step = float(steps[np.abs(steps - median) < 0.01 * median].mean())  # ignores gaps and the rounding of times
    positions = require_drawable_grid("rates", np.rint((times - times[0]) / step).astype(int), len(ids))
    image = np.full((positions[-1] + 1, len(ids)), np.nan)
    image[positions] = values
    left = float(times[0]) - step / 2
    return image, [left, left + len(image) * step, -0.5, len(ids) - 0.5]
