"""Figures of tuning: a rate against one variable, or against two."""

from collections.abc import Sequence

import numpy as np

from popglm._checks.arrays import as_finite_array, require_increasing
from popglm._checks.values import as_names, as_number, require_pair
from popglm._types import Counts, Numbers, Points
from popglm.plotting._axes import Axes, axes_and_colours, draw_curves
from popglm.plotting._checks import as_bands, as_curves, as_surface, require_ordered

N_BARS = 36  # of the time spent, over the range of the variable
BAR_HEIGHT = 0.18  # of the highest bar, as a share of the axes


def tuning_curve(
    x: Points,
    rate: Numbers,
    bands: tuple[Numbers, Numbers] | None = None,
    ax: Axes | None = None,
    *,
    occupancy: Counts | None = None,
    bin_size: float | None = None,
    period: float | None = None,
    labels: Sequence | None = None,
    xlabel: str | None = None,
) -> Axes:
    """Draw rates against a variable, with bands, over bars of the time that was spent at its values.

    A model continues a curve where there are no data; bars and bands say where.

    Parameters
    ----------
    x
        Values of the variable, shape (points,), increasing.
    rate
        Mean counts per bin at these values, as `predict` gives them, shape (points,) or (points, curves). NaN is not drawn.
    bands
        A pair (low, high) of bands around the rates, each with the shape of `rate`: the exponential of those of
        `Uncertainty.bands` with ``intercept=True``. NaN is not drawn.
    ax
        Axes to draw on; None makes a new figure.
    occupancy
        The variable in every bin of the recording, shape (time,); NaN is left out. Bars at the bottom show the time at each
        value, and the legend that of the highest.
    bin_size
        Size of a bin in seconds: rates are then in spikes per second, and the time spent in seconds.
    period
        Length of the circle of an angle, such as 360 or ``2 * numpy.pi``. The curve is drawn over a full circle, and closed
        unless `x` leaves a part of the circle out.
    labels
        Names of the curves in the legend.
    xlabel
        Name of the variable, with its unit.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the shapes do not match, or `x` does not fit into the period.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import plotting
    >>> angle = np.arange(0, 360, 30)
    >>> rate = 0.1 + 0.05 * np.cos(np.deg2rad(angle))
    >>> ax = plotting.tuning_curve(angle, rate, bin_size=0.01, period=360, xlabel="heading (degrees)")
    >>> ax.get_ylabel(), ax.lines[0].get_ydata()[[1, -1]].round(6).tolist()  # at 0 and at 360 degrees
    ('rate (spikes/s)', [15.0, 15.0])
    """
    x = require_increasing("x", as_finite_array("x", x, (1,)))
    rate = as_curves("rate", rate, len(x))
    both = [] if bands is None else as_bands(bands, rate.shape, "rates, (points, curves)")
    words = as_names("labels", labels, rate.shape[1], "names, one for each of the curves")
    seconds = 1 if bin_size is None else as_number("bin_size", bin_size, 0, strict=True)
    period = None if period is None else as_number("period", period, 0, strict=True)
    ends = (float(x[0]), float(x[-1])) if period is None else _circle(x, period)
    bars = None if occupancy is None else seconds * _count_bins(occupancy, ends, period)
    if period is not None:
        x, rate, *both = _close(x, period, rate, *both)
    ax, colours = axes_and_colours(ax)
    between = np.array(both) / seconds if both else None
    draw_curves(ax, x, rate / seconds, between, None if labels is None else words)
    unit = "bin" if bin_size is None else "s"
    ax.set(xlabel=xlabel or "variable", ylabel=f"rate (spikes/{unit})")
    if not any((values < 0).any() for values in (rate, *both)):
        ax.set_ylim(0, None)
    if period is not None:
        ax.set(xlim=ends, xticks=np.linspace(ends[0], ends[1], 5))
        if np.isclose(period, 2 * np.pi):
            ax.set_xticks(ax.get_xticks(), [_multiple_of_pi(tick) for tick in ax.get_xticks()])
    if bars is not None:
        _draw_bars(ax, bars, ends, "bins" if bin_size is None else "s", colours["ytick.color"])
        ax.legend()
    return ax


def tuning_map(
    x: Points,
    y: Points,
    rate: Numbers,
    bands: tuple[Numbers, Numbers] | None = None,
    ax: Axes | None = None,
    *,
    bin_size: float | None = None,
    max_error: float = 2.0,
    limit: float | None = None,
    xlabel: str | None = None,
    ylabel: str | None = None,
) -> Axes:
    r"""Draw rates against two variables as colours, and hatch them where they are uncertain.

    .. math:: \mathrm{error} = \sqrt{\mathrm{high} / \mathrm{low}}

    is the factor from the middle of a band of rates to its ends. A model continues a map where there are no data; the error is
    large there, and the hatched colours are a guess.

    Parameters
    ----------
    x, y
        Values of the variables, shapes (x,) and (y,), increasing.
    rate
        Mean counts per bin, shape (x, y); or (x * y,) in the order of ``numpy.meshgrid(x, y, indexing="ij")``, which is that of
        a product of bases on its grid. NaN is left blank.
    bands
        A pair (low, high) of bands around the rates, each with the shape of `rate`: the exponential of those of
        `Uncertainty.bands` with ``intercept=True``.
    ax
        Axes to draw on; None makes a new figure.
    bin_size
        Size of a bin in seconds: rates are then in spikes per second.
    max_error
        Largest factor from the middle of the band to its ends that is not hatched.
    limit
        Rate with the last colour, in the units of the colour bar; None takes the highest rate that is not hatched.
    xlabel, ylabel
        Names of the variables, with their units.

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
    >>> x, y = np.linspace(0, 1, 5), np.linspace(0, 2, 9)
    >>> rate = np.outer(x, y)
    >>> error = 1.2 + x[:, None]
    >>> ax = plotting.tuning_map(x, y, rate, (rate / error, rate * error), xlabel="x (m)", ylabel="y (m)")
    >>> image, hatched = ax.collections
    >>> image.get_array().shape, int(hatched.get_array().count())  # the last column, but for a rate of 0
    ((9, 5), 8)
    """
    x = require_increasing("x", as_finite_array("x", x, (1,)))
    y = require_increasing("y", as_finite_array("y", y, (1,)))
    seconds = 1 if bin_size is None else as_number("bin_size", bin_size, 0, strict=True)
    rate = as_surface("rate", rate, len(x), len(y)) / seconds
    max_error = as_number("max_error", max_error, 1, strict=True)
    known, note = np.isfinite(rate), ""
    if bands is not None:
        require_pair(bands, "`bands` must be a pair (low, high) of arrays", kinds=tuple | list | np.ndarray)
        low, high = (as_surface(f"bands[{i}]", band, len(x), len(y)) / seconds for i, band in enumerate(bands))
        require_ordered(low, high)
        known = known & (high <= max_error**2 * np.maximum(low, 0))
        note = f"\nhatched: error over ×{max_error:g}"
    bottom = min(np.nanmin(rate, initial=0), 0)
    top = np.max(rate, initial=bottom, where=known) if limit is None else as_number("limit", limit, bottom, strict=True)
    top = top if top > bottom else np.nanmax(rate, initial=bottom) or 1.0
    ax, _ = axes_and_colours(ax)
    image = ax.pcolormesh(x, y, rate.T, vmin=bottom, vmax=top, shading="nearest")
    if bands is not None:
        unknown = np.ma.masked_where((known | np.isnan(rate)).T, rate.T)
        style = {"hatch": "////", "facecolor": "none", "edgecolor": "white", "linewidth": 0}
        ax.pcolor(x, y, unknown, shading="nearest", **style)
    beyond = np.nanmax(rate, initial=bottom) > top * (1 + 1e-9)
    unit = "bin" if bin_size is None else "s"
    bar = ax.inset_axes([1.04, 0, 0.05, 1])  # as high as the axes, whatever their aspect becomes
    ax.figure.colorbar(image, cax=bar, label=f"rate (spikes/{unit}){note}", extend="max" if beyond else "neither")
    ax.set(xlabel=xlabel or "variable", ylabel=ylabel or "variable")
    ax.grid(False)
    return ax


def _circle(x, period):
    """Ends of the circle that is drawn: the first is the last quarter of a period that is not above `x`."""
    if x[-1] - x[0] > period * (1 + 1e-9):
        came = f"{x[0]:g} to {x[-1]:g}"
        raise ValueError(f"`x` must lie in one period, {period:g}; got {came}. Leave out the part that comes twice.")
    start = period / 4 * np.floor(4 * x[0] / period + 1e-9)
    return float(start), float(start + period)


def _close(x, period, *curves):
    """Add the last point before the circle and the first one after it, unless `x` leaves a part of the circle out."""
    gap, step = x[0] + period - x[-1], np.diff(x).max(initial=0)
    if gap > 1.5 * step or gap < 1e-9 * period:
        return x, *curves
    around = np.r_[-1, np.arange(len(x)), 0]
    return np.r_[x[-1] - period, x, x[0] + period], *(curve[around] for curve in curves)


def _count_bins(occupancy, ends, period):
    """Numbers of bins at equal parts of the range of a variable."""
    values = as_finite_array("occupancy", occupancy, (1,), missing=True)
    values, start = values[np.isfinite(values)], ends[0]
    values = values if period is None else start + np.mod(values - start, period)
    counted, _ = np.histogram(values, N_BARS, ends)
    if not counted.any():
        fix = "Give the variable in every bin of the recording, in the units of `x`."
        raise ValueError(f"`occupancy` must have values from {ends[0]:g} to {ends[1]:g}, as `x` has; got none. {fix}")
    return counted


def _draw_bars(ax, bars, ends, unit, colour):
    """Draw bars at the bottom of the axes, below everything else."""
    left = np.linspace(ends[0], ends[1], len(bars) + 1)[:-1]
    ax.bar(
        left,
        BAR_HEIGHT * bars / bars.max(),
        (ends[1] - ends[0]) / len(bars),
        align="edge",
        transform=ax.get_xaxis_transform(),
        color=colour,
        alpha=0.35,
        zorder=0.5,
        label=f"time spent, up to {bars.max():.3g} {unit}",
    )


def _multiple_of_pi(angle):
    """An angle in radians as a multiple of a half pi."""
    halves = round(2 * angle / np.pi)
    number, below = (halves // 2, "") if halves % 2 == 0 else (halves, "/2")
    size = "" if abs(number) == 1 else abs(number)
    return f"{'−' * (number < 0)}{size}π{below}" if number else "0"
