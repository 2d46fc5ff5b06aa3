"""Clocks: bins of many sizes and starts against exact arithmetic, and behaviour that is brought to them."""

from collections import Counter
from fractions import Fraction as F
from math import floor

import numpy as np
import pynapple as nap
import pytest

from popglm._checks.times import require_aligned
from popglm._pynapple import as_frame
from popglm.basis import HistoryConv, IdentityEval, RaisedCosineLogConv
from popglm.batching import count_lazily, random_windows
from popglm.glm import GLM, PopulationGLM

SIZES = {"1/30": F(1, 30), "1/60": F(1, 60), "1/1000": F(1, 1000), "0.005": F(1, 200)}
STARTS = {"0": F(0), "half a bin": None, "1e4": F(10_000), "1970": F(1_760_000_000)}
HALF = F(1, 2)
# starts and lengths in bins: on the grid, off it, and cut in the last bin, which holds more or less than half
EPOCHS = {
    "on the grid": [(0, 40), (60, 25)],
    "off the grid": [(F(1, 3), 30), (F(207, 5), 12)],
    "cut": [(0, F(207, 10)), (30, F(104, 10)), (55, F(62, 10))],
    "shorter than a bin": [(0, F(4, 10)), (3, F(6, 10)), (9, 2)],
}


def whole(size):
    """The bin size is a whole number of nanoseconds."""
    return (size * 10**9).denominator == 1


def counts_from(start, end, size, n_bins, spikes):
    """Count the spikes of an epoch in its first bins; a bin that is cut ends with the epoch."""
    counts = Counter(floor((spike - start) / size) for spike in spikes if start <= spike < end)
    return [counts[k] for k in range(n_bins)]


@pytest.mark.filterwarnings(
    "ignore:.*are cut by the end of their epoch:RuntimeWarning", "ignore:.*are too short for a bin:RuntimeWarning"
)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("size", SIZES)
def test_bins_are_those_of_exact_arithmetic(size, start):
    """Spikes anywhere and on edges, in bins kept and dropped; those of pynapple where a bin is whole nanoseconds."""
    size, rng = SIZES[size], np.random.default_rng(0)
    origin = size / 2 if STARTS[start] is None else STARTS[start]
    for kind, lengths in EPOCHS.items():
        epochs = [(origin + a * size, origin + (a + n) * size) for a, n in lengths]
        if whole(size):  # pynapple's counts begin at nanoseconds
            epochs = [tuple(F(round(edge * 10**9), 10**9) for edge in epoch) for epoch in epochs]
        spikes = [a + F(int(rng.integers(0, 10**4)), 10**4) * (b - a) for a, b in epochs for _ in range(30)]
        on_edges = [a + k * size for a, b in epochs for k in range(1, floor((b - a) / size))]
        if start == "1970":  # no digit tells which side of an edge a time is on
            far = lambda s, a: F(1, 1000) < (s - a) / size % 1 < F(999, 1000)
            spikes, on_edges = [s for s in spikes if all(far(s, a) for a, _ in epochs)], []
        spikes = sorted(spikes + on_edges)
        support = nap.IntervalSet([float(a) for a, _ in epochs], [float(b) for _, b in epochs])
        units = nap.TsGroup(
            {3: nap.Ts(np.array(spikes, float)), 5: nap.Ts(np.array(spikes[::7], float))}, time_support=support
        )
        for partial in ("keep", "drop"):
            counts = count_lazily(units, float(size), partial=partial)
            expected, centers = [], []
            for a, b in epochs:
                n_bins = floor((b - a) / size + (HALF if partial == "keep" else F(1, 100)))
                centers += [a + (k + HALF) * size for k in range(n_bins)]
                units_counts = [counts_from(a, b, size, n_bins, train) for train in (spikes, spikes[::7])]
                expected += zip(*units_counts, strict=True)
            case = (kind, partial)
            np.testing.assert_array_equal(np.asarray(counts), np.reshape(expected, (-1, 2)), err_msg=str(case))
            apart = [abs(F(float(t)) - center) for t, center in zip(counts.t, centers, strict=True)]
            assert max(apart) <= F(1, 10**9) + 2 * F(float(np.spacing(counts.t[-1]))), case
            if partial == "keep" and whole(size) and start != "1970":
                same = units.count(float(size))
                np.testing.assert_array_equal(np.asarray(counts), same.values)
                np.testing.assert_array_equal(counts.t, same.t)
                np.testing.assert_array_equal(counts[3:9], same.values[3:9])


@pytest.mark.parametrize("convert", [float, lambda t: round(float(t), 9)], ids=["double", "nanoseconds"])
@pytest.mark.parametrize("rate", [30, 60, 144])
def test_spikes_with_the_frames_lie_in_their_bins(rate, convert):
    """A spike at frame k lies in bin k, however its time was rounded."""
    times = np.array([convert(F(k, rate)) for k in range(600)])
    units = nap.TsGroup({0: nap.Ts(times)}, time_support=nap.IntervalSet(0, 600 / rate))
    assert (np.asarray(count_lazily(units, 1 / rate)) == 1).all()


def units_until(end, start=0.0):
    """Two neurons with spikes at random, from `start` on."""
    rng = np.random.default_rng(0)
    trains = {n: nap.Ts(np.sort(start + rng.uniform(0, end, 200))) for n in range(2)}
    return nap.TsGroup(trains, time_support=nap.IntervalSet(start, start + end))


@pytest.mark.parametrize(("size", "hours"), [(1 / 30, 9), (1 / 60, 4), (0.005, 1)])
def test_counts_of_pynapple_are_those_bins(size, hours):
    """Rounding moves them by a hundredth of a bin in hours, which is no other bin; a shift is, of half a bin too."""
    units = units_until(hours * 3600.0)
    dense, lazy = units.count(size), count_lazily(units, size)
    require_aligned(as_frame(dense), as_frame(lazy))
    for shift in (size, size / 2, size / 20):
        moved = nap.TsdFrame(t=dense.t + shift, d=dense.values)
        with pytest.raises(ValueError, match="must share their times; row 0"):
            require_aligned(as_frame(moved), as_frame(lazy))


@pytest.mark.parametrize("rate", [30, 60])
def test_a_series_at_the_rate_of_frames_fits_to_counts(rate):
    """After 3,001 bins too."""
    units = units_until(120.0)
    light = nap.Tsd(t=(np.arange(120 * rate) + 0.5) / rate, d=np.random.default_rng(0).normal(size=120 * rate))
    basis = RaisedCosineLogConv(2, window_size=10)
    for counts in (units.count(1 / rate), count_lazily(units, 1 / rate)):
        assert PopulationGLM().fit(basis.lazy_features(light), counts).converged_.all()
        X = (basis + basis).lazy_features(counts, light)
        assert X.shape == (120 * rate, 6)


@pytest.mark.filterwarnings("ignore:neuron 0:RuntimeWarning")  # few events
def test_a_bin_that_was_left_out_is_noticed_where_rows_are_far_apart():
    """Lazy features and counts know their bin, though one row in a hundred was chosen."""
    units = units_until(60.0)
    counts = units.count(0.005)
    X = RaisedCosineLogConv(2, window_size=10).lazy_features(count_lazily(units, 0.005))
    assert GLM().fit(X[100::10], counts[100::10, 0]).converged_
    with pytest.raises(ValueError, match="must share their times"):
        GLM().fit(X[100::100], counts[101::100, 0])


# Restriction

TRIALS = nap.IntervalSet([1.0017, 3.3334, 5.0], [1.9992, 4.0, 7.5025])


@pytest.mark.parametrize("size", [0.005, 1 / 60])
def test_counts_follow_restricted_features(size):
    """The rows of features that were restricted, bins of the recording, at whatever times trials begin; again and again."""
    units = units_until(10.0)
    counts, dense = count_lazily(units, size), np.asarray(count_lazily(units, size))
    part = counts.restrict(TRIALS)
    X = RaisedCosineLogConv(2, window_size=10).lazy_features(counts).restrict(TRIALS)
    rows = nap.Tsd(t=counts.t, d=np.arange(len(counts))).restrict(TRIALS).values.astype(int)
    np.testing.assert_array_equal(np.asarray(part), dense[rows])
    np.testing.assert_array_equal(part.t, X.t)
    np.testing.assert_array_equal(part.time_support.values, X.time_support.values)
    np.testing.assert_array_equal(part[7:300:9], dense[rows][7:300:9])
    built = PopulationGLM().fit(np.asarray(X), dense[rows])
    np.testing.assert_allclose(PopulationGLM().fit(X, part).coef_, built.coef_, rtol=1e-4, atol=1e-5)
    later = nap.IntervalSet([3.5, 6.0], [5.5, 9.0])
    anew = RaisedCosineLogConv(2, window_size=10)
    alone = anew.compute_features(nap.TsdFrame(t=counts.t, d=dense).restrict(TRIALS))
    np.testing.assert_array_equal(np.asarray(anew.lazy_features(part)), alone.values)
    windows = random_windows(X, part, n_bins=100, seed=0)
    assert sum(np.nansum(y) for _, y in windows) == dense[rows].sum()
    again = nap.Tsd(t=part.t, d=np.arange(len(part))).restrict(later).values.astype(int)
    np.testing.assert_array_equal(np.asarray(part.restrict(later)), dense[rows][again])
    assert part.restrict(nap.IntervalSet(8, 9)).shape == (0, 2)


def test_counts_in_the_trials_begin_new_bins():
    """They are refused as activity of restricted features, and the message names what is right."""
    units = units_until(10.0)
    X = RaisedCosineLogConv(2, window_size=10).lazy_features(count_lazily(units, 0.005)).restrict(TRIALS)
    with pytest.raises(ValueError, match=r"counts\.restrict\(epochs\)` keeps the rows"):
        PopulationGLM().fit(X, count_lazily(units, 0.005, TRIALS))
    with pytest.raises(TypeError, match="must be a pynapple IntervalSet"):
        count_lazily(units, 0.005).restrict((0, 1))


# Behaviour on a clock of its own


@pytest.mark.parametrize("rate", [60, 120])
@pytest.mark.parametrize("size", SIZES)
def test_behaviour_comes_to_the_bins(size, rate):
    """Each bin has the last frame before its centre, where frames are lost too; no bin of a gap has a frame from before it."""
    size, rng = SIZES[size], np.random.default_rng(1)
    frames = [F(k, rate) for k in range(20 * rate) if not 7 * rate < k < 9 * rate]
    frames = [t for t in frames if rng.random() > 0.05]  # lost
    camera = nap.Tsd(t=np.array(frames, float), d=np.arange(len(frames)), time_support=nap.IntervalSet([0, 9], [7, 20]))
    counts = count_lazily(units_until(20.0), float(size)).restrict(camera.time_support)
    values = counts.timeline.value_from(camera, mode="before").restrict(counts.time_support)
    centers = [(k + HALF) * size for k in range(floor(20 / size))]
    centers = [t for t in centers if t <= 7 or t >= 9]
    recent, number = [], -1
    for center in centers:
        while number + 1 < len(frames) and frames[number + 1] <= center:
            number += 1
        recent.append(number if number >= 0 and (center < 9 or frames[number] >= 9) else np.nan)
    np.testing.assert_array_equal(values.values, recent)
    np.testing.assert_allclose(values.t, counts.t, atol=2e-9)
    between = camera.interpolate(counts.timeline).restrict(nap.IntervalSet([0, 9.5], [6.5, 19.5]))
    np.testing.assert_allclose(between.values, np.interp(between.t, camera.t, camera.values), atol=1e-5)
    X = IdentityEval().lazy_features(values)
    require_aligned(as_frame(X), as_frame(counts))


@pytest.mark.parametrize("rate", [30, 60])
def test_a_stimulus_that_acts_at_lag_3_is_found_there(rate):
    """Brought to the bins by `value_from`; `bin_average` sets frames at 60 Hz a bin early."""
    rng, n = np.random.default_rng(0), 4000
    light = rng.normal(size=n)
    y = rng.poisson(np.exp(np.r_[np.zeros(3), 0.8 * light[:-3]] - 1))
    spikes = np.repeat((np.arange(n) + 0.5) / rate, y) + rng.uniform(-0.2, 0.2, y.sum()) / rate
    units = nap.TsGroup({0: nap.Ts(np.sort(spikes))}, time_support=nap.IntervalSet(0, n / rate))
    counts = count_lazily(units, 1 / rate)
    series = nap.Tsd(t=np.arange(n) / rate, d=light, time_support=units.time_support)
    brought = counts.timeline.value_from(series, mode="before")
    model = PopulationGLM().fit(HistoryConv(5).lazy_features(brought), counts)
    np.testing.assert_allclose(model.coef_[:, 0], [0, 0, 0.8, 0, 0], atol=0.06)
    averaged = series.bin_average(1 / rate)
    assert (averaged.values[1:-1] == light[1 + (rate == 60) :][: n - 2]).mean() > 0.99


def test_values_that_joined_epochs_keep_them_apart_or_are_named():
    """Rows are missing where epochs were: history ends there. A gap of less than half a bin could be a slip of the clock."""
    series = nap.Tsd(t=np.arange(1000) / 100, d=np.random.default_rng(0).normal(size=1000))
    basis = RaisedCosineLogConv(2, window_size=10)

    def bring(trials):
        counts = count_lazily(units_until(10.0), 0.01, trials)
        return counts, counts.timeline.value_from(series, mode="before")

    counts, joined = bring(TRIALS)
    X, apart = ((basis + basis).lazy_features(counts, x) for x in (joined, joined.restrict(counts.time_support)))
    np.testing.assert_array_equal(np.asarray(X), np.asarray(apart))
    counts, joined = bring(nap.IntervalSet([1.0, 3.004], [3.0, 5.0]))
    with pytest.raises(
        ValueError, match=r"input 1 has 1 epoch\(s\) from 0 to 9.99 s.*\.restrict\(counts\.time_support\)"
    ):
        (basis + basis).lazy_features(counts, joined)
    X = (basis + basis).lazy_features(counts, joined.restrict(counts.time_support))
    assert X.shape == (len(counts), 6)


# Ends of epochs


def test_epochs_too_short_for_a_bin_are_said():
    """Pieces of 15 ms, as between pulses of a laser, hold no bin of 100 ms; drop needs a whole bin (pynapple issue 352)."""
    starts = np.arange(40) * 0.025
    pieces = nap.IntervalSet(starts + 0.01, starts + 0.025)
    units = nap.TsGroup({0: nap.Ts(starts + 0.02)}, time_support=nap.IntervalSet(0, 1))
    with pytest.warns(
        RuntimeWarning, match=r"40 of 40 epochs are too short for a bin: 40 spike\(s\) in them are not counted"
    ):
        assert len(count_lazily(units, 0.1, pieces)) == 0
    counts = count_lazily(units, 0.015, pieces)
    assert counts.shape == (40, 1) and np.asarray(counts).sum() == 40
    with pytest.warns(RuntimeWarning, match=r"1 of 2 epochs are too short for a bin: 2 spike\(s\)"):
        counts = count_lazily(units, 0.1, nap.IntervalSet([0, 0.5], [0.045, 0.7]), partial="drop")
    assert len(counts) == 2


def test_bins_that_are_cut_are_said_and_can_be_dropped():
    trials = nap.IntervalSet(np.arange(20.0), np.arange(20.0) + 0.37)
    units = units_until(20.0)
    with pytest.warns(RuntimeWarning, match=r"20 of 80 bins \(25%\) are cut.* 30% of such a bin.*partial='drop'"):
        kept = count_lazily(units, 0.1, trials)
    dropped = count_lazily(units, 0.1, trials, partial="drop")
    assert len(kept) == 80 and len(dropped) == 60
    np.testing.assert_array_equal(np.asarray(dropped), np.asarray(kept).reshape(20, 4, 2)[:, :3].reshape(60, 2))
    assert len(count_lazily(units, 0.1, nap.IntervalSet(0, 10.07))) == 101, "one bin of a long recording is no warning"
    with pytest.raises(ValueError, match="`partial` must be one of 'keep', 'drop'; got 'cut'"):
        count_lazily(units, 0.1, partial="cut")


@pytest.mark.filterwarnings("ignore:Some starts and ends are equal")
def test_spikes_between_trials_that_touch_are_said():
    """pynapple ends the first a microsecond early."""
    units = nap.TsGroup({0: nap.Ts(np.array([0.5, 0.9999995, 1.0, 1.5]))}, time_support=nap.IntervalSet(0, 2))
    trials = nap.IntervalSet([0.0, 1.0], [1.0, 2.0])
    with pytest.warns(RuntimeWarning, match=r"1 spike\(s\) are not counted.*`restrict`"):
        counts = count_lazily(units, 0.1, trials)
    np.testing.assert_array_equal(np.asarray(counts), units.count(0.1, trials).values)
    assert len(counts) == 20 and np.asarray(counts).sum() == 3
    assert np.asarray(count_lazily(units, 0.1).restrict(trials)).sum() == 4
    assert len(count_lazily(units, 0.1, trials[1:])) == 10


# Times since 1970


def test_times_since_1970_work():
    """They have digits for bins of 5 ms; the bins of pynapple drift there, and the message says what helps."""
    start = 1.76e9
    units = units_until(30.0, start)
    counts, basis = count_lazily(units, 0.005), RaisedCosineLogConv(2, window_size=10)
    light = nap.Tsd(t=start + (np.arange(6000) + 0.5) * 0.005, d=np.random.default_rng(0).normal(size=6000))
    assert PopulationGLM().fit((basis + basis).lazy_features(counts, light), counts).converged_.all()
    dense = units.count(0.005)
    assert PopulationGLM().fit(basis.compute_features(dense), dense).converged_.all()
    with pytest.raises(ValueError, match=r"row \d+ is at.*They drift apart.*subtract the start of the recording"):
        PopulationGLM().fit(basis.lazy_features(light), dense)
    counted = since_start(units, start).count(0.005)
    light = nap.Tsd(t=light.t - start, d=light.values)
    assert PopulationGLM().fit(basis.lazy_features(light), counted).converged_.all()


def test_times_without_digits_for_a_bin_are_refused():
    start = 1.76e9
    units = units_until(0.1, start)
    message = r"near 1.76e\+09 s numbers lie 2.4e-07 s apart, 2% of a bin.*Subtract the start of the recording"
    with pytest.raises(ValueError, match=message):
        count_lazily(units, 1e-5)
    series = nap.Tsd(t=start + np.arange(1000) * 1e-5, d=np.ones(1000))
    with pytest.raises(ValueError, match=message):
        HistoryConv(3).compute_features(series)
    assert len(count_lazily(since_start(units, start), 1e-5)) == 10_000
    assert HistoryConv(3).compute_features(nap.Tsd(t=np.arange(1000) * 1e-5, d=np.ones(1000))).shape == (1000, 3)


def since_start(units, start):
    """Times since the start of the recording, as the message says."""
    epochs = units.time_support
    return nap.TsGroup(
        {n: nap.Ts(units[n].t - start) for n in units},
        time_support=nap.IntervalSet(epochs.start - start, epochs.end - start),
    )


def test_a_series_that_starts_at_0_has_its_bins_around_its_samples():
    """The message says by how much to shift the epochs, and that works."""
    units, basis = units_until(10.0), RaisedCosineLogConv(2, window_size=10)
    epochs = units.time_support
    series = nap.Tsd(t=np.arange(2000) * 0.005, d=np.random.default_rng(0).normal(size=2000))
    counts = count_lazily(units, 0.005, epochs)
    fix = r"input 1 in nap.IntervalSet\(epochs.start \+ 0.0025, .*input 0 in nap.IntervalSet\(epochs.start - 0.0025, epochs"
    with pytest.raises(ValueError, match=r"row 0 is at 0.002500 s in input 0 and at 0.000000 s in input 1.*" + fix):
        (basis + basis).lazy_features(counts, series)
    counts = count_lazily(units, 0.005, nap.IntervalSet(epochs.start - 0.0025, epochs.end - 0.0025))
    X = (basis + basis).lazy_features(counts, series)
    assert PopulationGLM().fit(X, counts).converged_.all()
