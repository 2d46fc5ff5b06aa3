"""Figures of the quality of a fit: distribution of rescaled intervals, observed against expected rates."""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from popglm._checks.arrays import as_rescaled_intervals
from popglm._checks.names import bin_size_of
from popglm._checks.values import as_number, as_positive_integer
from popglm._pynapple import as_frame
from popglm._types import Counts, Numbers
from popglm.plotting._axes import NO_EVENT, Axes, axes_and_colours
from popglm.plotting._checks import as_one_column, require_enough_bins, require_n_entries


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


def calibration(
    predicted: Counts,
    counts: Counts,
    n_groups: int = 10,
    ax: Axes | None = None,
    *,
    bin_size: float | None = None,
    n_blocks: int = 30,
    label: str | None = None,
) -> Axes:
    r"""Draw observed against expected rates in groups of bins of similar expected rate, with intervals; best on held-out data.

    Groups are quantiles of the expected count :math:`\mu`. If the model is right, the mean count of a group is its mean
    :math:`\mu`, on the diagonal. Counts of neighbouring bins may be alike for reasons that are not in the model, so bins are
    not taken as independent: the recording is cut into blocks of time, of which residuals are summed. With these sums
    :math:`S_b`, the numbers of bins :math:`n_b` of the group, and :math:`m = \sum_b S_b / \sum_b n_b`,

    .. math:: \mathrm{se}^2 = \frac{B}{B - 1} \frac{\sum_b (S_b - m\, n_b)^2}{(\sum_b n_b)^2}, \qquad
       \mathrm{df} = \frac{(\sum_b n_b)^2}{\sum_b n_b^2} - 1

    and 95 % intervals are those of Student's t. Of a group without any event, the interval ends at the count of which none come
    with probability 2.5 %.

    Parameters
    ----------
    predicted
        Mean counts per bin of one unit, as `predict` gives them, shape (time,), in the order of time.
    counts
        Its counts, the same shape. Bins in which one of the two is NaN are left out.
    n_groups
        Number of groups; of equal predictions all are in one group, so there may be fewer.
    ax
        Axes to draw on; None makes a new figure. Several models on the same Axes have colours of their own.
    bin_size
        Size of a bin in seconds: rates are then in spikes per second. Times of a Tsd tell it.
    n_blocks
        Number of blocks of time, which should be longer than counts are alike. A group needs bins in two of them for an
        interval.
    label
        Name of the model in the legend.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the shapes do not match, or there are fewer bins than groups or blocks.

    References
    ----------
    Liang and Zeger (1986), *Biometrika* 73:13-22, for the variance by blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import plotting
    >>> rng = np.random.default_rng(0)
    >>> rate = rng.uniform(0.05, 0.2, 20_000)
    >>> ax = plotting.calibration(rate, rng.poisson(rate), bin_size=0.01)
    >>> expected, observed = ax.lines[1].get_data()
    >>> len(expected), bool(np.abs(observed - expected).max() < 3)  # spikes per second
    (10, True)
    """
    frame, predicted = as_frame(predicted), as_one_column("predicted", predicted)
    counts = as_one_column("counts", counts)
    require_n_entries("counts", counts, len(predicted), "bins of `predicted`")
    n_groups, n_blocks = as_positive_integer("n_groups", n_groups), as_positive_integer("n_blocks", n_blocks)
    known = np.isfinite(predicted) & np.isfinite(counts)
    require_enough_bins(known.sum(), n_groups, n_blocks)
    expected, observed, half = _calibrate(predicted[known], counts[known], n_groups, n_blocks)
    bin_size = bin_size_of(frame) if bin_size is None else as_number("bin_size", bin_size, 0, strict=True)
    seconds = bin_size or 1
    ax, colours = axes_and_colours(ax)
    ax.axline((0, 0), slope=1, color=colours["ytick.color"], lw=1, ls=":")
    ax.errorbar(expected / seconds, observed / seconds, half / seconds, fmt="o", ms=4, lw=1.5, label=label or "_")
    unit = "spikes/bin" if bin_size is None else "spikes/s"
    ax.set(xlabel=f"expected rate ({unit})", ylabel=f"observed rate ({unit})")
    if label is not None:
        ax.legend()
    return ax


def _calibrate(predicted, counts, n_groups, n_blocks):
    """Mean expected and observed counts of groups of bins, and half the length of the intervals."""
    edges = np.quantile(predicted, np.arange(1, n_groups) / n_groups)
    group = np.searchsorted(np.unique(edges), predicted, "right")
    block = np.arange(len(predicted)) * n_blocks // len(predicted)
    shape = group.max() + 1, n_blocks
    sums = lambda values: np.bincount(group * n_blocks + block, values, shape[0] * n_blocks).reshape(shape)
    n = sums(np.ones(len(predicted)))
    n, expected, observed = (values[n.any(1)] for values in (n, sums(predicted), sums(counts)))
    total, n_used = n.sum(1), (n > 0).sum(1)
    mean = (observed - expected).sum(1) / total
    squares = ((observed - expected - mean[:, None] * n) ** 2).sum(1)
    several = n_used > 1
    se = np.sqrt(squares * n_used / np.where(several, n_used - 1, np.nan)) / total
    df = np.where(several, total**2 / (n**2).sum(1) - 1, 1)
    df = np.where(df < 1, np.nan, df)  # nearly all bins of the group lie in one block, which has no spread
    half = np.where(observed.any(1), stats.t.ppf(0.975, df) * se, NO_EVENT / total)
    return expected.sum(1) / total, observed.sum(1) / total, half
