"""Figures of the quality of a fit: distribution of rescaled intervals."""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from popglm._checks.arrays import as_rescaled_intervals
from popglm._checks.values import as_positive_integer
from popglm._types import Numbers
from popglm.plotting._axes import Axes, axes_and_colours


def ks_plot(z: Numbers, n: int | None = None, ax: Axes | None = None, *, label: str | None = None) -> Axes:
    r"""Draw the distribution of rescaled intervals against the uniform distribution, which they have if the model is right.

    With the expected number of spikes :math:`\tau` between two spikes, :math:`z = 1 - e^{-\tau}`. The curve is the share of
    intervals up to z. If it leaves the band, the Kolmogorov-Smirnov test rejects the model at the 5 % level.

    Parameters
    ----------
    z
        Rescaled intervals, shape (intervals,), from 0 to 1; or their evenly spaced quantiles.
    n
        Number of intervals if `z` holds quantiles.
    ax
        Axes to draw on; None makes a new figure.
    label
        Name of the curve in the legend.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If z is not between 0 and 1.

    References
    ----------
    Brown et al. (2002), *Neural Computation* 14:325-346.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import plotting
    >>> ax = plotting.ks_plot(np.random.default_rng(0).uniform(size=500))
    >>> x, share = ax.lines[-1].get_data()
    >>> bool(np.abs(share - x).max() < 0.0607)  # 1.36 / sqrt(500): inside the band
    True
    """
    if isinstance(z, Mapping):
        raise TypeError(
            f"`z` must be the intervals of one unit; got those of {len(z)} by name. Give one: z[{next(iter(z), 0)!r}]."
        )
    z = np.sort(as_rescaled_intervals(z))
    n = len(z) if n is None else as_positive_integer("n", n)
    reach = stats.kstwo.ppf(0.95, n)
    ax, colours = axes_and_colours(ax)
    x = np.array([0, reach, 1 - reach, 1]) if reach < 0.5 else np.array([0, 1 - reach, reach, 1])
    low, high = np.clip(x - reach, 0, 1), np.clip(x + reach, 0, 1)
    ax.fill_between(x, low, high, color=colours["ytick.color"], alpha=0.25, lw=0, label="95 % band")
    ax.plot([0, 1], [0, 1], color=colours["ytick.color"], lw=1, ls=":")
    steps, share = np.r_[0, z, 1], np.r_[0, np.arange(1, len(z) + 1) / len(z), 1]
    ax.plot(steps, share, drawstyle="steps-post", lw=1.5, label=label or f"{n} intervals")
    ax.set(xlabel="rescaled interval z (probability)", ylabel="share of intervals up to z", xlim=(0, 1), ylim=(0, 1))
    ax.set_aspect("equal")
    ax.grid(False)
    ax.legend(loc="upper left")
    return ax
