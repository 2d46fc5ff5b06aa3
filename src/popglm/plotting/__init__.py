"""Figures that a fit is judged by. Each function draws one thing on an Axes and returns it; units are on the axes.

Colours come from the style in use, light or dark; ``plt.style.use("popglm.book")`` is the book's. matplotlib is loaded when
something is drawn.
"""

from popglm.plotting._figures import coupling_matrix, filters, ks_plot, raster, regularisation_path

__all__ = ["coupling_matrix", "filters", "ks_plot", "raster", "regularisation_path"]


def __dir__():
    return __all__
