"""Figure of a comparison of models: gains of each neuron over a baseline."""

import textwrap
from collections.abc import Sequence

import numpy as np

from popglm._checks.values import as_names, require_option
from popglm._pynapple import as_object_array
from popglm.model_selection import Comparison
from popglm.plotting._axes import Axes, as_panels, axes_and_colours
from popglm.plotting._checks import require_comparison

ROW_HEIGHT, REACH = 0.75, 0.36  # inches of a variant in a new figure, and half the part of it that has neurons
NAME_LENGTH = 18  # characters of a line of a name


def compare(
    result: Comparison,
    baseline: str | None = None,
    ax: Axes | None = None,
    *,
    unit: str | None = None,
    groups: Sequence | None = None,
) -> Axes:
    """Draw the gains of all variants over a baseline: a row for each variant, in it each neuron with its 95 % interval.

    Neurons of a row are sorted by their gain. A filled point has an interval without 0, and a bar marks the median.

    Parameters
    ----------
    result
        A `Comparison`, from `model_selection.compare`.
    baseline
        Name of the variant over which gains are; None is the first.
    ax
        Axes to draw on; None makes a new figure.
    unit
        "bits-per-spike" or "nats-per-bin"; None is the first for counts.
    groups
        A label for each neuron, such as the area that it is in: each group has a colour, and a median of its own.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the baseline is no variant, or there is not one label for each neuron.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import plotting
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.model_selection import BlockSplit, compare
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 1))
    >>> y = rng.poisson(np.exp([0.5, 0.0] * X - 1))  # an effect on the first neuron only
    >>> result = compare(PopulationGLM(), {"rate": [], "speed": np.ones(1)}, X, y, BlockSplit(5, window=0))
    >>> ax = plotting.compare(result)
    >>> ax.get_xlabel(), [word.get_text() for word in ax.get_yticklabels()]
    ("gain over 'rate' (bits per spike)", ['speed'])
    """
    require_comparison(result, Comparison)
    baseline = result.names[0] if baseline is None else require_option("baseline", baseline, result.names)
    unit = ("nats-per-bin", "bits-per-spike")[result.counts] if unit is None else unit
    variants = [name for name in result.names if name != baseline]
    gains = [result.gain(name, baseline, unit=unit) for name in variants]
    n = len(result.neurons)
    labels = [None] * n if groups is None else as_names("groups", groups, n, "labels, one for each neuron")
    labels = as_object_array(labels)
    kinds = list(dict.fromkeys(labels.tolist()))
    if ax is None:
        (ax,) = as_panels(None, 1, 1, (6.2, 0.9 + ROW_HEIGHT * len(variants)))
    ax, colours = axes_and_colours(ax)
    ax.axvline(0, color=colours["ytick.color"], lw=1, ls=":")
    for row, table in enumerate(gains):
        order = np.lexsort((table["gain"], [-kinds.index(label) for label in labels]))
        height = np.empty(n)
        height[order] = row + REACH * (np.linspace(1, -1, n) if n > 1 else np.zeros(1))
        for i, kind in enumerate(kinds):
            _draw_row(
                ax, table[labels == kind], height[labels == kind], f"C{i}", colours, str(kind) if row == 0 else "_"
            )
    ax.set(xlabel=f"gain over {baseline!r} ({unit.replace('-', ' ')})", ylim=(len(variants) - 0.5, -0.5))
    ax.set_yticks(range(len(variants)), [textwrap.fill(name, NAME_LENGTH) for name in variants])
    ax.locator_params(axis="x", nbins=6)
    ax.grid(False)
    if groups is not None:
        ax.legend()
    return ax


def _draw_row(ax, table, height, colour, colours, label):
    """Draw the gains of some neurons in one variant, and their median."""
    gain, low, high = (table[name].to_numpy() for name in ("gain", "low", "high"))
    ax.hlines(height, low, high, color=colour, alpha=0.5, lw=1.5 if len(table) < 50 else 0.6)
    certain = (low > 0) | (high < 0)
    for chosen, face in ((certain, colour), (~certain, colours["axes.facecolor"])):
        ax.plot(gain[chosen], height[chosen], "o", ms=4, color=colour, markerfacecolor=face)
    if np.isfinite(gain).any():
        ends = height.min() - 0.06, height.max() + 0.06
        ax.plot([np.nanmedian(gain)] * 2, ends, color=colours["text.color"], lw=2.5, zorder=1.5)
    ax.plot([], [], "o", color=colour, label=label)
