"""Figures to judge a fit. Each function draws one figure on an Axes, with units on the axes, and returns the Axes.

Colours come from the current style, light or dark; ``plt.style.use("popglm.book")`` is the style of the book. matplotlib is
imported when a function is called.
"""

from popglm.plotting._figures import coupling_matrix, filters, ks_plot, raster, regularisation_path

__all__ = ["coupling_matrix", "filters", "ks_plot", "raster", "regularisation_path"]


def __dir__():
    return __all__
