"""Figures of filters against their lag."""

from collections.abc import Sequence

import numpy as np

from popglm._checks.arrays import as_finite_array, require_increasing
from popglm._checks.values import as_names, as_number
from popglm._types import Kernel, Numbers
from popglm.plotting._axes import Axes, axes_and_colours, draw_curves
from popglm.plotting._checks import as_bands, require_n_entries, split_kernel


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
    between = None if bands is None else np.exp(as_bands(bands, values.shape))
    ax, colours = axes_and_colours(ax)
    ax.axhline(1, color=colours["ytick.color"], lw=1, ls=":")
    draw_curves(ax, unit * lags, np.exp(values), between, None if labels is None else words)
    ax.set(xlabel=f"lag ({'bins' if bin_size is None else 'ms'})", ylabel="gain of the rate (factor)")
    return ax
