"""Figures of fits: filters, coupling matrices, rasters, regularisation paths, and tests of rescaled time."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from popglm._checks.arrays import as_finite_array, as_rescaled_intervals, require_increasing
from popglm._checks.index import is_sender_receiver_pair
from popglm._checks.values import as_names, as_number, as_positive_integer, as_range, require_pair
from popglm._pynapple import Epochs, SpikeTrains, as_frame, epoch_ends, event_times, is_epochs
from popglm._types import Kernel, Numbers, Range
from popglm.plotting._checks import (
    as_bands,
    as_seconds,
    require_coupling_matrix,
    require_drawable_grid,
    require_n_entries,
    require_same_units,
    require_spike_trains,
    split_kernel,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
else:
    Axes = Any

MAX_TICKS = 12  # number of names that fit along an axis


def filters(
    kernel: Kernel,
    coef: Numbers,
    bands: tuple[Numbers, Numbers] | None = None,
    ax: Axes | None = None,
    *,
    bin_size: float | None = None,
    labels: Sequence | None = None,
) -> Axes:
    r"""Draw filters as gains: the factor by which one event changes the rate, against the time since the event.

    .. math:: \mathrm{gain}(l) = \exp\Bigl(\sum_k h_k(l)\, w_k\Bigr)

    is the gain for the exponential link; for other links it is only the exponential of the filter.

    Parameters
    ----------
    kernel
        A convolution, or its `kernel`, functions of shape (lags, functions); of an array of your own the first row is lag 1.
        Or the lags in bins, shape (lags,), if `coef` holds the filters themselves, of which NaN are not drawn.
    coef
        Coefficients, shape (functions,) or (functions, filters), such as ``coef_.reshape(n, n_basis, n)[sender]``.
    bands
        A pair (low, high) of bands around the filters, before the exponential, each with the shape of the filters. A band that
        is NaN, as of a silent receiver, is not drawn.
    ax
        Axes to draw on; None makes a new figure.
    bin_size
        Size of a bin in seconds; None draws lags in bins.
    labels
        Names of the filters in the legend.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the shapes do not match, or the lags of the kernel are not known.

    Examples
    --------
    >>> from popglm import basis, plotting
    >>> kernel = basis.RaisedCosineLogConv(5, window_size=40).kernel
    >>> ax = plotting.filters(kernel, [-2.0, -0.5, 0.1, 0.2, 0.0], bin_size=0.005)
    >>> ax.get_xlabel(), ax.lines[-1].get_xdata()[[0, -1]].tolist()
    ('lag (ms)', [5.0, 200.0])
    """
    kernel, lags = split_kernel(kernel)
    kernel = as_finite_array("kernel", kernel, (1, 2))
    values = as_finite_array("coef", coef, (1, 2), missing=kernel.ndim == 1)
    values = values[:, None] if values.ndim == 1 else values
    if kernel.ndim == 1:
        lags = require_increasing("kernel", kernel)
        require_n_entries("coef", values, len(kernel), "lags")
    else:
        require_n_entries("coef", values, kernel.shape[1], "functions of the kernel")
        lags, values = np.arange(1, len(kernel) + 1) if lags is None else lags, kernel @ values
    unit = 1 if bin_size is None else 1000 * as_number("bin_size", bin_size, 0, strict=True)
    words = as_names("labels", labels, values.shape[1], "names, one for each of the filters")
    between = [] if bands is None else np.exp(as_bands(bands, values.shape))
    ax, colours = _axes_and_colours(ax)
    ax.axhline(1, color=colours["ytick.color"], lw=1, ls=":")
    for i, (gain, word) in enumerate(zip(np.exp(values).T, words, strict=True)):
        (line,) = ax.plot(unit * lags, gain, label="_" if labels is None else str(word))
        if len(between):
            low, high = between[0][:, i], between[1][:, i]
            ax.fill_between(unit * lags, low, high, color=line.get_color(), alpha=0.2, lw=0)
    ax.set(xlabel=f"lag ({'bins' if bin_size is None else 'ms'})", ylabel="gain of the rate (factor)")
    if labels is not None:
        ax.legend()
    return ax


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
    ax, _ = _axes_and_colours(ax)
    image = ax.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="equal")
    ax.set(xlabel="sender (unit)", ylabel="receiver (unit)")
    _set_ticks(ax.xaxis, senders)
    _set_ticks(ax.yaxis, receivers)
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
    ax, colours = _axes_and_colours(ax)
    if image_and_extent is not None:
        image, extent = image_and_extent
        highest = np.nanmax(image, initial=0)
        # a quantile, so that one high bin does not make all others pale
        top = (np.nanquantile(image, 0.99) if highest else 1.0) or highest
        how = {"aspect": "auto", "origin": "lower", "interpolation": "none", "extent": extent}
        colour_image = ax.imshow(image.T, cmap=_rate_colours(colours["axes.facecolor"], "C0"), vmin=0, vmax=top, **how)
        ax.figure.colorbar(colour_image, ax=ax, label="rate (spikes/s)", extend="max" if highest > top else "neither")
    ax.eventplot(
        spikes, lineoffsets=np.arange(len(spikes)), linelengths=0.55, linewidths=1, colors=colours["text.color"]
    )
    ax.set(xlabel="time (s)", ylabel="unit", ylim=(-0.5, len(spikes) - 0.5))
    if epoch is not None:
        ax.set_xlim(start, end)
    _set_ticks(ax.yaxis, list(trains))
    ax.grid(False)
    return ax


def regularisation_path(
    strengths: Numbers,
    coef: Numbers,
    ax: Axes | None = None,
    *,
    labels: Sequence | None = None,
    chosen: float | None = None,
) -> Axes:
    """Draw coefficients against the strength of the penalty.

    Parameters
    ----------
    strengths
        Shape (strengths,), above 0, increasing: `regularizer_strength`, in nats per bin.
    coef
        Coefficients at each strength, shape (strengths, features) or (strengths, features, neurons); one line for each. Parts
        that are NaN are not drawn.
    ax
        Axes to draw on; None makes a new figure.
    labels
        Names of the lines in the legend.
    chosen
        A strength to mark, such as the one with the best score on held-out data.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the shapes do not match, or a strength is 0, which a logarithmic axis cannot show.

    Examples
    --------
    >>> from popglm import plotting
    >>> ax = plotting.regularisation_path([0.01, 0.1, 1.0], [[1.0, -0.5], [0.7, -0.2], [0.1, 0.0]], chosen=0.1)
    >>> ax.get_xscale(), len(ax.lines)  # two features, the line at 0, and the chosen strength
    ('log', 4)
    """
    strengths = require_increasing("strengths", as_finite_array("strengths", strengths, (1,)), 0)
    values = as_finite_array("coef", coef, (1, 2, 3), missing=True)
    require_n_entries("coef", values, len(strengths), "strengths")
    values = values.reshape(len(strengths), -1)
    words = as_names("labels", labels, values.shape[1], "names, one for each of the lines")
    mark = None if chosen is None else as_number("chosen", chosen, 0, strict=True)
    ax, colours = _axes_and_colours(ax)
    ax.axhline(0, color=colours["ytick.color"], lw=1, ls=":")
    for line, word in zip(values.T, words, strict=True):
        ax.plot(strengths, line, label="_" if labels is None else str(word), lw=1.5)
    if mark is not None:
        ax.axvline(mark, color=colours["text.color"], lw=1, ls="--", label=f"chosen: {mark:.3g}")
    ax.set(xscale="log", xlabel="strength of the penalty (nats per bin)", ylabel="coefficient (log gain)")
    if labels is not None or mark is not None:
        ax.legend()
    return ax


def ks_plot(z: Numbers, n: int | None = None, ax: Axes | None = None, *, label: str | None = None) -> Axes:
    r"""Draw the distribution of rescaled intervals against the uniform distribution, which they have if the model is right.

    With the expected number of spikes :math:`\tau` between two spikes, :math:`z = 1 - e^{-\tau}`. The curve is the share of
    intervals up to z. If it leaves the band, the Kolmogorov-Smirnov test rejects the model at the 5 % level.

    Parameters
    ----------
    z
        Rescaled intervals, shape (intervals,), from 0 to 1; or their evenly spaced quantiles.
    n
        Number of intervals if `z` holds quantiles.
    ax
        Axes to draw on; None makes a new figure.
    label
        Name of the curve in the legend.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If z is not between 0 and 1.

    References
    ----------
    Brown et al. (2002), *Neural Computation* 14:325-346.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import plotting
    >>> ax = plotting.ks_plot(np.random.default_rng(0).uniform(size=500))
    >>> x, share = ax.lines[-1].get_data()
    >>> bool(np.abs(share - x).max() < 0.0607)  # 1.36 / sqrt(500): inside the band
    True
    """
    if isinstance(z, Mapping):
        raise TypeError(
            f"`z` must be the intervals of one unit; got those of {len(z)} by name. Give one: z[{next(iter(z), 0)!r}]."
        )
    z = np.sort(as_rescaled_intervals(z))
    n = len(z) if n is None else as_positive_integer("n", n)
    reach = stats.kstwo.ppf(0.95, n)
    ax, colours = _axes_and_colours(ax)
    x = np.array([0, reach, 1 - reach, 1]) if reach < 0.5 else np.array([0, 1 - reach, reach, 1])
    low, high = np.clip(x - reach, 0, 1), np.clip(x + reach, 0, 1)
    ax.fill_between(x, low, high, color=colours["ytick.color"], alpha=0.25, lw=0, label="95 % band")
    ax.plot([0, 1], [0, 1], color=colours["ytick.color"], lw=1, ls=":")
    steps, share = np.r_[0, z, 1], np.r_[0, np.arange(1, len(z) + 1) / len(z), 1]
    ax.plot(steps, share, drawstyle="steps-post", lw=1.5, label=label or f"{n} intervals")
    ax.set(xlabel="rescaled interval z (probability)", ylabel="share of intervals up to z", xlim=(0, 1), ylim=(0, 1))
    ax.set_aspect("equal")
    ax.grid(False)
    ax.legend(loc="upper left")
    return ax


def _axes_and_colours(ax):
    """Return the Axes, of a new figure if None, and the colours of the current style."""
    try:
        import matplotlib
        import matplotlib.axes
    except ImportError as error:
        raise ImportError(
            "figures need matplotlib, which is not installed. Run: python -m pip install matplotlib"
        ) from error
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots()
    if not isinstance(ax, matplotlib.axes.Axes):
        raise TypeError(
            f"`ax` must be an Axes of matplotlib, or None for a new figure; got {type(ax).__name__}. Of several, give one: "
            "axes[0]."
        )
    return ax, matplotlib.rcParams


def _set_ticks(axis, names):
    """Set the names of rows or columns as ticks; of many names, only some."""
    step = -(-len(names) // MAX_TICKS)
    axis.set_ticks(range(0, len(names), step), [str(name) for name in names[::step]])


def _rate_colours(background, colour):
    """Return a colour map from the background to a colour on which ticks stay visible."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    low, high = np.array(to_rgb(background)), np.array(to_rgb(colour))
    return LinearSegmentedColormap.from_list("rate", [low, low + 0.75 * (high - low)])


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
