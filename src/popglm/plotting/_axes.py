"""Axes, ticks and colours of figures: the only file that imports matplotlib, when a figure is drawn."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
else:
    Axes = Any

MAX_TICKS = 12  # number of names that fit along an axis


def axes_and_colours(ax):
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


def set_ticks(axis, names):
    """Set the names of rows or columns as ticks; of many names, only some."""
    step = -(-len(names) // MAX_TICKS)
    axis.set_ticks(range(0, len(names), step), [str(name) for name in names[::step]])


def rate_colours(background, colour):
    """Return a colour map from the background to a colour on which ticks stay visible."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    low, high = np.array(to_rgb(background)), np.array(to_rgb(colour))
    return LinearSegmentedColormap.from_list("rate", [low, low + 0.75 * (high - low)])
