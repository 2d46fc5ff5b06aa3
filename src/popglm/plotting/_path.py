"""Figure of coefficients against the strength of their penalty."""

from collections.abc import Sequence

from popglm._checks.arrays import as_finite_array, require_increasing
from popglm._checks.values import as_names, as_number
from popglm._types import Numbers
from popglm.plotting._axes import Axes, axes_and_colours
from popglm.plotting._checks import require_n_entries


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
    ax, colours = axes_and_colours(ax)
    ax.axhline(0, color=colours["ytick.color"], lw=1, ls=":")
    for line, word in zip(values.T, words, strict=True):
        ax.plot(strengths, line, label="_" if labels is None else str(word), lw=1.5)
    if mark is not None:
        ax.axvline(mark, color=colours["text.color"], lw=1, ls="--", label=f"chosen: {mark:.3g}")
    ax.set(xscale="log", xlabel="strength of the penalty (nats per bin)", ylabel="coefficient (log gain)")
    if labels is not None or mark is not None:
        ax.legend()
    return ax
