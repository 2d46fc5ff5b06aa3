"""Figures of tuning: a rate against one variable, or against two."""

from collections.abc import Sequence

import numpy as np

from popglm._checks.arrays import as_finite_array, require_increasing
from popglm._checks.values import as_names, as_number
from popglm._types import Counts, Numbers, Points
from popglm.plotting._axes import Axes, axes_and_colours
from popglm.plotting._checks import as_bands, as_curves

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
    for i, (curve, word) in enumerate(zip(rate.T / seconds, words, strict=True)):
        (line,) = ax.plot(x, curve, label="_" if labels is None else str(word))
        if both:
            low, high = (band[:, i] / seconds for band in both)
            ax.fill_between(x, low, high, color=line.get_color(), alpha=0.25, lw=0)
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
    if labels is not None or bars is not None:
        ax.legend()
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
