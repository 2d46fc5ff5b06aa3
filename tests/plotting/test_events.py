"""Rates around events, and observed against expected rates: means, bands and intervals are those of brute force."""

import matplotlib.pyplot as plt
import numpy as np
import pynapple as nap
import pytest
from scipy import stats

from popglm import plotting

RNG = np.random.default_rng(0)
TIMES = (np.arange(4000) + 0.5) * 0.05
COUNTS = RNG.poisson(0.3, 4000)
EVENTS = np.sort(RNG.uniform(0, 200, 80))


def drawn(ax):
    """Data of the lines that have some."""
    return [line.get_xydata() for line in ax.lines if len(line.get_xdata()) > 2]


def band(ax, at=0):
    """Lower and upper end of a band at each of its points."""
    points = np.concatenate([path.vertices for path in ax.collections[at].get_paths()])
    x = np.unique(points[:, 0].round(9))
    return np.array(
        [
            [points[np.isclose(points[:, 0], one)][:, 1].min() for one in x],
            [points[np.isclose(points[:, 0], one)][:, 1].max() for one in x],
        ]
    )


def around(values, events, lags, size=0.05):
    """Values of the bin that holds an event, and of those at these lags from it; NaN outside the recording."""
    rows = np.floor(events / size).astype(int)[:, None] + lags
    return np.where((rows >= 0) & (rows < len(values)), values[np.clip(rows, 0, len(values) - 1)], np.nan)


def test_a_mean_around_events_is_that_of_the_bins_with_data():
    lags = np.arange(-4, 10)
    ax = plotting.peth(COUNTS, EVENTS, (-0.2, 0.5), bin_size=0.05)
    (mean,) = drawn(ax)
    values = around(COUNTS.astype(float), EVENTS, lags) / 0.05
    np.testing.assert_allclose(mean, np.c_[0.05 * lags, np.nanmean(values, 0)], atol=1e-9)
    n = np.isfinite(values).sum(0)
    half = stats.t.ppf(0.975, n - 1) * np.nanstd(values, 0, ddof=1) / np.sqrt(n)
    np.testing.assert_allclose(band(ax), np.nanmean(values, 0) + np.array([-half, half]))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["data (80 events)"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time from the event (s)", "rate (spikes/s)")


def test_bins_without_data_are_not_bins_without_spikes():
    """Between epochs, outside the recording, and where a count or a prediction is NaN; a rate of 10 stays 10 everywhere."""
    epochs = nap.IntervalSet([0, 50.02, 150], [40, 101, 190])
    steady = nap.Tsd(TIMES, np.full(4000, 0.5)).restrict(epochs)
    lost = steady.values.copy()
    lost[::7] = np.nan
    gaps = nap.Tsd(steady.t, lost, time_support=steady.time_support)
    for counts, predicted in ((steady, None), (gaps, steady), (steady, gaps)):
        ax = plotting.peth(counts, EVENTS, (-1, 2), predicted, width=0.15)
        for line in drawn(ax):
            np.testing.assert_allclose(line[:, 1], 10)
    (beyond,) = drawn(plotting.peth(steady, [-0.5, 199.9], (-11, 2)))
    known = np.isfinite(beyond[:, 1])
    np.testing.assert_allclose(beyond[known, 1], 10)
    assert known.sum() == 22 + 30, "one event has data long before it, the other soon after it"


def test_a_model_is_averaged_over_the_bins_of_the_data():
    """Predictions on a part of the bins, as of held-out trials; spikes are counted in them; a dictionary has a curve each."""
    rate = nap.Tsd(TIMES, RNG.uniform(0.1, 0.5, 4000))
    part = rate.restrict(nap.IntervalSet(20, 120))
    kinds = {"left": EVENTS[::2], "right": nap.Ts(EVENTS[1::2])}
    spikes = nap.Ts(np.sort(np.repeat(TIMES, COUNTS) + RNG.uniform(-0.02, 0.02, COUNTS.sum())))
    counted = plotting.peth(nap.Tsd(TIMES, COUNTS), kinds, (-0.2, 0.5), part)
    by_times = plotting.peth(spikes, kinds, (-0.2, 0.5), part)
    for one, other in zip(drawn(counted), drawn(by_times), strict=True):
        np.testing.assert_allclose(one, other)
    inside = np.isin(TIMES, part.t)
    for name, (data, model) in zip(kinds, (drawn(counted)[:2], drawn(counted)[2:]), strict=True):
        events = kinds[name] if name == "left" else kinds[name].t
        for line, values in ((data, COUNTS), (model, rate.values)):
            expected = np.nanmean(around(np.where(inside, values, np.nan), events, np.arange(-4, 10)), 0) / 0.05
            np.testing.assert_allclose(line[:, 1], expected)
    words = [text.get_text() for text in counted.get_legend().get_texts()]
    near = [((events > 19.5) & (events < 120.2)).sum() for events in (kinds["left"], kinds["right"].t)]
    assert words == [f"left ({near[0]} events)", f"right ({near[1]} events)", "model"]


def test_a_wider_curve_averages_its_bins():
    fine, wide = (
        plotting.peth(COUNTS, EVENTS[:-5], (-0.2, 0.55), bin_size=0.05, width=width) for width in (None, 0.15)
    )
    np.testing.assert_allclose(drawn(wide)[0], drawn(fine)[0].reshape(5, 3, 2).mean(1), atol=1e-9)
    assert len(drawn(plotting.peth(COUNTS, EVENTS, (-0.2, 0.5), bin_size=0.05, width=0.15))[0]) == 5, "the window grows"


@pytest.mark.parametrize("start", [0.0, 1e4, 1.76e9])
def test_an_event_on_an_edge_belongs_to_the_later_bin(start):
    counts = np.zeros(400)
    counts[np.arange(10, 390, 20)] = 1
    series = nap.Tsd(start + TIMES[:400], counts)
    (mean,) = drawn(plotting.peth(series, start + 0.05 * np.arange(10, 390, 20), (-0.1, 0.15)))
    np.testing.assert_allclose(mean[:, 1], [0, 0, 20, 0, 0], rtol=1e-5)


def test_no_spike_is_no_certainty():
    """Where no event has a spike, rates up to 3.7 over the recorded time are possible: the exact interval of Poisson counts."""
    counts = np.where(np.arange(4000) % 40 < 20, 0, COUNTS)
    ax = plotting.peth(counts, 2.0 * np.arange(1, 99) + 0.2, (0, 0.5), bin_size=0.05)
    np.testing.assert_allclose(band(ax), np.repeat([[0], [stats.chi2.ppf(0.975, 2) / 2 / (98 * 0.05)]], 10, 1))
    rare = np.where(np.arange(4000) < 2000, 1e-4, 0.3)
    ax = plotting.calibration(rare, np.where(rare < 0.1, 0, COUNTS), 2)
    low, high = ax.collections[0].get_segments()[0][:, 1]
    assert low < 0 < 1e-4 < high < 4 / 2000


def test_intervals_cover_the_truth_where_counts_are_alike_in_time():
    """A drift that is not in the model makes neighbouring bins alike; intervals of independent bins would be too short."""
    rng, hits = np.random.default_rng(1), []
    rate = rng.uniform(0.1, 0.5, 6000)
    for _ in range(150):
        drift = np.repeat(rng.gamma(4, 0.25, 60), 100)
        ax = plotting.calibration(rate, rng.poisson(rate * drift), 4, n_blocks=30)
        (low_high,) = (ax.collections[0].get_segments(),)
        ends = np.array([segment[:, 1] for segment in low_high])
        expected = ax.lines[1].get_xdata()
        hits.append((ends[:, 0] <= expected) & (expected <= ends[:, 1]))
        plt.close(ax.figure)
    assert 0.92 < np.mean(hits) < 0.98, np.mean(hits)


def test_groups_are_quantiles_of_the_expected_count():
    rate = RNG.uniform(0.1, 0.5, 4000)
    ax = plotting.calibration(nap.Tsd(TIMES, rate), nap.Tsd(TIMES, COUNTS), 8, label="model")
    groups = np.split(np.argsort(rate), 8)
    expected, observed = ax.lines[1].get_data()
    np.testing.assert_allclose(expected, [rate[group].mean() / 0.05 for group in groups])
    np.testing.assert_allclose(observed, [COUNTS[group].mean() / 0.05 for group in groups])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("expected rate (spikes/s)", "observed rate (spikes/s)")
    assert ax.lines[0].get_slope() == 1 and [text.get_text() for text in ax.get_legend().get_texts()] == ["model"]
    per_bin = plotting.calibration(rate, COUNTS)
    assert per_bin.get_xlabel() == "expected rate (spikes/bin)" and len(per_bin.lines[1].get_xdata()) == 10


def test_equal_predictions_are_one_group_and_missing_bins_none():
    two = np.where(RNG.random(4000) < 0.3, 0.2, 0.4)
    counts = COUNTS.astype(float)
    counts[:100] = np.nan
    expected, observed = plotting.calibration(two, counts).lines[1].get_data()
    np.testing.assert_allclose(expected, [0.2, 0.4])
    np.testing.assert_allclose(observed, [np.nanmean(counts[two == value]) for value in (0.2, 0.4)])
    assert len(plotting.calibration(np.full(4000, 0.3), counts).lines[1].get_xdata()) == 1


def test_a_group_in_one_block_of_time_has_no_interval():
    late = np.where(np.arange(3000) < 2950, 0.1, 0.9)
    ax = plotting.calibration(late, RNG.poisson(late), 60, n_blocks=30)
    lengths = [np.ptp(segment[:, 1]) if len(segment) else np.nan for segment in ax.collections[0].get_segments()]
    assert len(ax.lines[1].get_xdata()) == 2 and np.isfinite(lengths).tolist() == [True, False]


@pytest.mark.parametrize(
    ("draw", "text"),
    [
        (lambda: plotting.peth(COUNTS, EVENTS, (-1, 1)), "`bin_size` must be given for arrays, in seconds"),
        (lambda: plotting.peth(COUNTS, EVENTS, (1, -1), bin_size=0.05), r"`window` must be a pair \(first, last\)"),
        (lambda: plotting.peth(COUNTS, [], (-1, 1), bin_size=0.05), "`events` must not be empty"),
        (
            lambda: plotting.peth(COUNTS, nap.Tsd(TIMES, COUNTS), (-1, 1), bin_size=0.05),
            r"`events` must be times; got Tsd.*cue.t\[cue.values > 0\]",
        ),
        (lambda: plotting.peth(COUNTS, {}, (-1, 1), bin_size=0.05), "at least one kind of events; got none"),
        (
            lambda: plotting.peth(COUNTS, [500.0], (-1, 1), bin_size=0.05),
            "`events` must have bins.*got 1 from 500 to 500 s",
        ),
        (lambda: plotting.peth(COUNTS, {"a": [9e3]}, (-1, 1), bin_size=0.05), "`events` 'a' must have bins"),
        (
            lambda: plotting.peth(COUNTS[:, None] * [1, 1], EVENTS, (-1, 1), bin_size=0.05),
            r"Take a column: counts\[:, 0\]",
        ),
        (
            lambda: plotting.peth(COUNTS, EVENTS, (-1, 1), COUNTS[:9], bin_size=0.05),
            "`predicted` must have 4000 entries",
        ),
        (lambda: plotting.peth(nap.Ts(EVENTS), EVENTS, (-1, 1)), r"whose bins are not known.*units.count\(bin_size\)"),
        (
            lambda: plotting.peth(
                nap.TsGroup({3: nap.Ts(EVENTS), 5: nap.Ts(EVENTS)}), EVENTS, (-1, 1), nap.Tsd(TIMES, COUNTS)
            ),
            r"spike times of 2. Give one: units\[3\]",
        ),
        (lambda: plotting.peth(nap.Tsd(TIMES, COUNTS), EVENTS, (-1, 1), bin_size=0.1), "Leave out `bin_size`"),
        (
            lambda: plotting.peth(nap.Tsd(TIMES, COUNTS), EVENTS, (-1, 1), nap.Tsd(TIMES + 1e3, COUNTS)),
            "`predicted` must have bins of `counts`; got none at the same time",
        ),
        (lambda: plotting.calibration(COUNTS, COUNTS[:9]), "`counts` must have 4000 entries"),
        (lambda: plotting.calibration(COUNTS[:20], COUNTS[:20]), "expected at least 30 bins.*got 20. Give a longer"),
        (lambda: plotting.calibration(COUNTS, COUNTS, 0), "`n_groups` must be a positive integer"),
    ],
)
def test_what_has_no_mean_is_refused(draw, text):
    with pytest.raises((TypeError, ValueError), match=text):
        draw()
    assert not plt.get_fignums(), "a figure was made for nothing"
