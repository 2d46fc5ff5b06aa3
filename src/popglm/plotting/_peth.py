"""Figure of mean rates around events: the data with their band, beside the model."""

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from popglm._checks.names import bin_size_of, require_same_bin_size
from popglm._checks.times import TOLERANCE
from popglm._checks.values import as_number, as_range
from popglm._pynapple import as_frame, event_times, is_events
from popglm._types import Counts, Range
from popglm.plotting._axes import NO_EVENT, Axes, axes_and_colours
from popglm.plotting._checks import as_event_times, as_one_column, require_n_entries


def peth(
    counts: Counts,
    events: Any,
    window: Range,
    predicted: Counts | None = None,
    ax: Axes | None = None,
    *,
    width: float | None = None,
    bin_size: float | None = None,
) -> Axes:
    r"""Draw the mean rate around events (peri-event time histogram), with its band over the events, and that of a model.

    With the count :math:`y_e(l)` of event e in the bins at time l from it, and their recorded duration :math:`T_e(l)`,

    .. math:: r(l) = \frac{\sum_e y_e(l)}{\sum_e T_e(l)}, \qquad
       \mathrm{se}(l)^2 = \frac{n}{n - 1} \frac{\sum_e [y_e(l) - r(l)\, T_e(l)]^2}{[\sum_e T_e(l)]^2},

    so that bins without data count neither as spikes nor as time. The 95 % band is :math:`r \pm t\,\mathrm{se}`, with the
    quantile of Student's t for the n events that have data there; it takes events as independent of each other. Where there is
    no spike at all, it ends at the rate of which none come with probability 2.5 %.

    Parameters
    ----------
    counts
        Counts of one unit per bin, shape (time,): a Tsd or an array; or its spike times, a Ts, if `predicted` has the bins.
        Bins that are NaN, or between epochs, are left out.
    events
        Times of the events in seconds: a Ts, an array, or a dictionary of these by name, with a curve for each.
    window
        First and last time from an event, in seconds, such as (-0.5, 1).
    predicted
        Mean counts per bin of the model, as `predict` gives them, on the time axis of the counts or on a part of it. Bins are
        then those that both have.
    ax
        Axes to draw on; None makes a new figure.
    width
        Time in seconds over which counts are averaged, at least a bin; None is a bin. The window is made longer until it is a
        whole number of widths.
    bin_size
        Size of a bin in seconds, for arrays, whose first bin begins at 0.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If no event has a bin with data in the window, or the size of the bins is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import plotting
    >>> counts = np.tile([0, 0, 3, 1, 0], 20)  # bins of 0.1 s
    >>> ax = plotting.peth(counts, 0.5 * np.arange(20) + 0.25, (-0.1, 0.2), bin_size=0.1)
    >>> ax.lines[1].get_xydata().round(6).tolist()  # seconds from the event, spikes per second
    [[-0.1, 0.0], [0.0, 30.0], [0.1, 10.0]]
    """
    window = as_range("window", window, "(first, last) in seconds from the event")
    kinds = as_event_times(events)
    bins = _make_bins(counts, predicted, bin_size)
    steps = 1 if width is None else max(round(as_number("width", width, 0, strict=True) / bins.size), 1)
    n_points = int(np.ceil((window[1] - window[0]) / bins.size / steps - TOLERANCE))
    lags = round(window[0] / bins.size) + np.arange(n_points * steps).reshape(n_points, steps)
    means = {name: _average_events(name, bins, times, lags) for name, times in kinds.items()}
    ax, colours = axes_and_colours(ax)
    ax.axvline(0, color=colours["ytick.color"], lw=1, ls=":")
    for name, mean in means.items():
        label = f"{'data' if name is None else name} ({mean.n_events} events)"
        (line,) = ax.plot(mean.seconds, mean.rate, lw=2 if predicted is None else 1, label=label)
        ax.fill_between(mean.seconds, mean.low, mean.high, color=line.get_color(), alpha=0.25, lw=0)
        if predicted is not None:
            ax.plot(mean.seconds, mean.predicted, lw=2, color=line.get_color())
    if predicted is not None:
        ax.plot([], [], lw=2, color=colours["text.color"], label="model")
    ax.set(xlabel="time from the event (s)", ylabel="rate (spikes/s)", ylim=(0, None))
    ax.legend()
    return ax


class Bins(NamedTuple):
    """Counts of one unit and what a model predicts, NaN where unknown; centres and size of the bins in seconds."""

    times: np.ndarray
    size: float
    counts: np.ndarray
    predicted: np.ndarray | None


class EventMean(NamedTuple):
    """Mean rates around events, in spikes per second, against seconds from the event, and number of events with data."""

    seconds: np.ndarray
    rate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    predicted: np.ndarray | None
    n_events: int


def _average_events(name, bins, times, lags):
    """Average counts and predictions over events, at groups of lags, shape (points, lags); bins without data are left out."""
    rows, recorded = _find_bins(bins, times[:, None, None] + bins.size * lags)
    recorded &= np.isfinite(bins.counts[rows])
    seconds = bins.size * recorded.sum(2)
    n = (seconds > 0).sum(0)
    if not n.any():
        whose = "" if name is None else f" {name!r}"
        fix = "Give times in seconds, on the clock of the bins."
        came = f"{len(times)} from {times.min(initial=np.inf):.6g} to {times.max(initial=-np.inf):.6g} s"
        held = f"bins from {bins.times[0]:.6g} to {bins.times[-1]:.6g} s"
        raise ValueError(f"`events`{whose} must have bins with data around them; got {came}, and {held}. {fix}")
    total = np.where(seconds.any(0), seconds.sum(0), np.nan)
    sums = np.where(recorded, bins.counts[rows], 0).sum(2)
    rate = sums.sum(0) / total
    squares = ((sums - np.where(seconds > 0, rate * seconds, 0)) ** 2).sum(0)
    half = stats.t.ppf(0.975, np.maximum(n - 1, 1)) * np.sqrt(squares * n / np.where(n > 1, n - 1, np.nan)) / total
    half = np.where(sums.sum(0) == 0, NO_EVENT / total, half)
    predicted = None
    if bins.predicted is not None:
        predicted = np.where(recorded, bins.predicted[rows], 0).sum((0, 2)) / total
    n_events = int((seconds > 0).any(1).sum())
    return EventMean(bins.size * lags.mean(1), rate, np.maximum(rate - half, 0), rate + half, predicted, n_events)


def _find_bins(bins, times):
    """Rows of the bins that hold these times, and True where there is one. A time on an edge belongs to the later bin."""
    starts = bins.times - bins.size / 2
    times = times + max(1e-6 * bins.size, 4 * np.spacing(np.abs(bins.times[[0, -1]]).max()))
    rows = np.maximum(np.searchsorted(starts, times, "right") - 1, 0)
    return rows, (times >= starts[rows]) & (times < starts[rows] + bins.size)


def _make_bins(counts, predicted, bin_size):
    """Bring counts and predictions to the same bins, those that both have."""
    if is_events(counts):
        return _count_spikes(counts, predicted, bin_size)
    frame, counts = as_frame(counts), as_one_column("counts", counts)
    if predicted is None:
        times, size = _time_axis(frame, len(counts), bin_size)
        return Bins(times, size, counts, None)
    other, predicted = as_frame(predicted), as_one_column("predicted", predicted)
    if frame.times is None or other.times is None:
        require_n_entries("predicted", predicted, len(counts), "bins of `counts`")
        timed = frame if other.times is None else other
        times, size = _time_axis(timed, len(counts), bin_size)
    else:
        times, size = _time_axis(other, len(predicted), bin_size)
        require_same_bin_size(bin_size_of(frame), size, "Predict the bins of `counts`.")
        rows, shared = _find_bins(Bins(frame.times, size, counts, None), times)
        if not shared.any():
            raise ValueError("`predicted` must have bins of `counts`; got none at the same time. Predict its bins.")
        times, counts, predicted = times[shared], counts[rows[shared]], predicted[shared]
    known = np.where(np.isfinite(predicted), counts, np.nan)
    return Bins(times, size, known, predicted)


def _count_spikes(spikes, predicted, bin_size):
    """Count the spikes of one unit in the bins of the predictions."""
    trains = event_times(spikes)
    if predicted is None or as_frame(predicted).times is None:
        fix = "Count them first: units.count(bin_size)[:, 0]."
        raise ValueError(f"`counts` are spike times, whose bins are not known without a Tsd of predictions. {fix}")
    if len(trains) != 1:
        fix = f"Give one: units[{next(iter(trains), 0)!r}]."
        raise ValueError(f"`counts` must be of one unit; got the spike times of {len(trains)}. {fix}")
    frame, predicted = as_frame(predicted), as_one_column("predicted", predicted)
    times, size = _time_axis(frame, len(predicted), bin_size)
    bins = Bins(times, size, predicted, None)
    rows, inside = _find_bins(bins, next(iter(trains.values())))
    counts = np.bincount(rows[inside], minlength=len(times)).astype(float)
    return Bins(times, size, np.where(np.isfinite(predicted), counts, np.nan), predicted)


def _time_axis(frame, n_bins, bin_size):
    """Centres and size of bins in seconds."""
    known = bin_size_of(frame)
    if bin_size is not None:
        bin_size = as_number("bin_size", bin_size, 0, strict=True)
        require_same_bin_size(known, bin_size, "Leave out `bin_size`: the times tell it.")
    if bin_size is None and known is None:
        raise ValueError(
            "`bin_size` must be given for arrays, in seconds; got None. Or give a Tsd, whose times tell it."
        )
    size = bin_size if known is None else known
    return (np.arange(n_bins) + 0.5) * size if frame.times is None else frame.times, size
