"""Figures to judge a fit. Each function draws one figure on an Axes, with units on the axes, and returns the Axes.

Colours come from the current style, light or dark; ``plt.style.use("popglm.book")`` is the style of the book. matplotlib is
imported when a function is called.
"""

from popglm._public import export
from popglm.plotting._comparison import compare
from popglm.plotting._filters import filters
from popglm.plotting._path import regularisation_path
from popglm.plotting._peth import peth
from popglm.plotting._population import coupling_matrix, raster
from popglm.plotting._quality import calibration, ks_plot
from popglm.plotting._tuning import tuning_curve, tuning_map
from popglm.plotting._unit_filters import unit_filters

__all__ = [
    "calibration",
    "compare",
    "coupling_matrix",
    "filters",
    "ks_plot",
    "peth",
    "raster",
    "regularisation_path",
    "tuning_curve",
    "tuning_map",
    "unit_filters",
]
export(__name__, globals())


def __dir__():
    return __all__
