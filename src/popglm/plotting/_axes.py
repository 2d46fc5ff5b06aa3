"""Axes, ticks and colours of figures: the only file that imports matplotlib, when a figure is drawn."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
else:
    Axes = Any

MAX_TICKS = 12  # number of names that fit along an axis
PANEL_WIDTH, PANEL_HEIGHT = 7 / 3, 2.3  # inches, of a figure with several
NO_EVENT = -np.log(0.025)  # mean of Poisson counts of which none come with probability 2.5 %


def axes_and_colours(ax):
    """Return the Axes, of a new figure if None, and the colours of the current style."""
    matplotlib = _import_matplotlib()
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots()
    if not isinstance(ax, matplotlib.axes.Axes):
        raise TypeError(
            f"`ax` must be an Axes of matplotlib, or None for a new figure; got {type(ax).__name__}. Of several, give one: "
            "axes[0]."
        )
    return ax, matplotlib.rcParams


def as_panels(axes, n, n_columns, size=None):
    """Return the first `n` of these Axes, or those of a new figure of this size with rows of `n_columns` panels."""
    matplotlib = _import_matplotlib()
    if axes is None:
        import matplotlib.pyplot as plt

        rows, columns = -(-n // n_columns), min(n, n_columns)
        size = (PANEL_WIDTH * columns, PANEL_HEIGHT * rows) if size is None else size
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
        for ax in axes.ravel()[n:]:
            figure.delaxes(ax)
    panels = np.ravel(np.array(axes, object))
    if not all(isinstance(ax, matplotlib.axes.Axes) for ax in panels):
        raise TypeError(f"`axes` must be an array of Axes of matplotlib, or None; got {type(axes).__name__}.")
    if len(panels) < n:
        raise ValueError(
            f"`axes` must hold {n} Axes, one for each panel; got {len(panels)}. Choose panels by `inputs=`."
        )
    return panels[:n]


def draw_curves(ax, x, curves, bands=None, labels=None):
    """Draw curves, shape (points, curves), and their bands, a pair of this shape; NaN is not drawn."""
    for i, curve in enumerate(curves.T):
        (line,) = ax.plot(x, curve, label="_" if labels is None else str(labels[i]))
        if bands is not None:
            ax.fill_between(x, bands[0][:, i], bands[1][:, i], color=line.get_color(), alpha=0.25, lw=0)
    if labels is not None:
        ax.legend()


def draw_categories(ax, names, values, bands=None):
    """Draw the values of categories, shape (categories, curves), as points, with bands as bars."""
    for i, points in enumerate(values.T):
        reach = None if bands is None else np.abs([bands[0][:, i] - points, bands[1][:, i] - points])
        ax.errorbar(range(len(names)), points, reach, fmt="o", capsize=3)
    set_ticks(ax.xaxis, names)
    ax.margins(x=0.2)


def set_ticks(axis, names):
    """Set the names of rows or columns as ticks; of many names, only some."""
    step = -(-len(names) // MAX_TICKS)
    axis.set_ticks(range(0, len(names), step), [str(name) for name in names[::step]])


def rate_colours(background, colour):
    """Return a colour map from the background to a colour on which ticks stay visible."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    low, high = np.array(to_rgb(background)), np.array(to_rgb(colour))
    return LinearSegmentedColormap.from_list("rate", [low, low + 0.75 * (high - low)])


def _import_matplotlib():
    """Import matplotlib, or say how to get it."""
    try:
        import matplotlib
        import matplotlib.axes
    except ImportError as error:
        raise ImportError(
            "figures need matplotlib, which is not installed. Run: python -m pip install matplotlib"
        ) from error
    return matplotlib
