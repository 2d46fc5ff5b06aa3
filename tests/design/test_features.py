"""Features of the past: what each row sees, and what it never sees."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import framed

from popglm._design.convolve import split_kernel
from popglm.basis import IdentityEval, RaisedCosineLogConv


def by_hand(counts, kernel, starts):
    """Compute the definition as a triple loop: row t, input n, function k; lags 1 to W inside the epoch."""
    (time, inputs), (window, functions) = counts.shape, kernel.shape
    first = np.repeat(starts[:-1], np.diff(starts))
    X = np.full((time, inputs, functions), np.nan)
    for t in range(time):
        past = counts[t - window : t] if t - first[t] >= window else np.full((1, inputs), np.nan)
        for n in np.flatnonzero(~np.isnan(past).any(0)):
            for k in range(functions):
                X[t, n, k] = sum(kernel[lag - 1, k] * counts[t - lag, n] for lag in range(1, window + 1))
    return X.reshape(time, -1)


@pytest.mark.parametrize("length", [45, 64, 700, 2500])
@pytest.mark.parametrize(("window", "functions"), [(1, 1), (7, 3), (40, 3)])
def test_equals_a_triple_loop(precision, length, window, functions):
    counts = np.random.default_rng(0).poisson(0.5, (length, 2)).astype(float)
    basis = RaisedCosineLogConv(functions, window_size=window)
    X = basis.compute_features(counts)
    assert X.dtype == precision
    tolerance = 1e-5 if precision == "float32" else 1e-13
    np.testing.assert_allclose(X, by_hand(counts, basis.kernel, [0, length]), rtol=0, atol=tolerance)


class Backwards(RaisedCosineLogConv):
    """The longest function first."""

    def shape(self, x):
        return super().shape(x)[:, ::-1]


def test_functions_reach_back_in_any_order(precision):
    """Short functions are not convolved beyond their end, whichever come first."""
    counts = np.random.default_rng(0).poisson(0.5, (300, 2)).astype(float)
    basis = Backwards(5, window_size=40)
    lags = [len(kernel) for kernel in split_kernel(basis.kernel)]
    assert lags[0] == 40 and lags == sorted(lags, reverse=True) and lags[-1] < 10
    tolerance = 1e-5 if precision == "float32" else 1e-13
    np.testing.assert_allclose(
        basis.compute_features(counts), by_hand(counts, basis.kernel, [0, 300]), rtol=0, atol=tolerance
    )


def test_kernel_row_0_is_lag_1_exactly(basis):
    """One spike in bin 10 shows the kernel itself in rows 11 to 50, and nothing in row 10 or 51."""
    spike = np.zeros(60)
    spike[45] = 1
    X = RaisedCosineLogConv(5, window_size=10).compute_features(spike)
    kernel = RaisedCosineLogConv(5, window_size=10).kernel.astype(np.float32)
    np.testing.assert_array_equal(X[46:56], kernel)
    assert not X[10:46].any() and not X[56:].any()


def test_nothing_crosses_an_epoch_gap(recording):
    basis = RaisedCosineLogConv(3, window_size=20)
    X = basis.compute_features(recording)
    bounds = [0, 90, 120, 270]
    np.testing.assert_allclose(X.values, by_hand(recording.values * 1.0, basis.kernel, bounds), atol=1e-5)
    for start, end in pairwise(bounds):
        assert np.isnan(X.values[start : start + 20]).all() and not np.isnan(X.values[start + 20 : end]).any()
    one_by_one = [basis.compute_features(recording.restrict(epoch)).values for epoch in recording.time_support]
    np.testing.assert_array_equal(X.values, np.concatenate(one_by_one))


def test_pynapple_in_pynapple_out(recording):
    X = RaisedCosineLogConv(3, window_size=20).compute_features(recording)
    assert isinstance(X, nap.TsdFrame) and X.shape == (270, 9)
    np.testing.assert_array_equal(X.t, recording.t)
    np.testing.assert_array_equal(X.time_support.values, recording.time_support.values)
    one = RaisedCosineLogConv(3, window_size=20).compute_features(recording[:, 1])
    np.testing.assert_array_equal(one.values, X.values[:, 3:6])  # input-major


def test_features_know_their_input(recording, population, basis):
    """Names of columns and unit ids go from the counts into the features, through restriction, and into the split."""
    few = RaisedCosineLogConv(3, window_size=20)
    X = few.compute_features(recording)
    assert list(X["input"]) == ["a"] * 3 + ["b"] * 3 + ["c"] * 3 and list(X["function"]) == [0, 1, 2] * 3
    assert list(X.columns[:4]) == ["a:0", "a:1", "a:2", "b:0"]
    parts = few.split_by_feature(X)
    assert list(parts) == ["a", "b", "c"]
    np.testing.assert_array_equal(parts["b"], X.values[:, 3:6])
    assert list(few.split_by_feature(X.restrict(recording.time_support[2]))) == ["a", "b", "c"]
    assert list(few.split_by_feature(X.values)) == [0, 1, 2]
    units = population.units[[1, 3]]
    assert list(basis.split_by_feature(basis.compute_features(units.count(0.005)))) == [1, 3]
    coef = np.arange(18).reshape(9, 2)
    np.testing.assert_array_equal(few.split_by_feature(coef, axis=0)[2], coef[6:])


def test_a_short_epoch_is_missing_and_only_short_epochs_are_an_error(recording):
    X = RaisedCosineLogConv(3, window_size=30).compute_features(recording)  # epochs of 90, 30, 150 bins
    assert np.isnan(X.values[90:120]).all() and np.isfinite(X.values[30:90]).all()
    longest = RaisedCosineLogConv(3, window_size=149).compute_features(recording)
    assert np.isfinite(longest.values[-1]).all() and np.isnan(longest.values[:-1]).all()
    with pytest.raises(ValueError, match=r"longer than the window of 150 bins.*longest has 150"):
        RaisedCosineLogConv(3, window_size=150).compute_features(recording)


def test_functions_that_the_window_cannot_tell_apart_are_named():
    with pytest.warns(UserWarning, match="5 functions of this basis have rank 2 over a window of 3 bins"):
        RaisedCosineLogConv(5, window_size=3).compute_features(np.ones(20))


@pytest.mark.parametrize("kind", ["pynapple", "pandas", "array beside pynapple"])
def test_a_removed_bin_is_no_neighbour(recording, kind):
    """Where an index took bins out, history starts anew; other irregular times are refused."""
    basis, kept = RaisedCosineLogConv(2, window_size=10), np.setdiff1d(np.arange(90), [40, 41, 60])
    counts = recording[:90][kept]
    if kind == "pynapple":
        X = basis.compute_features(counts).values
    elif kind == "pandas":
        X = basis.compute_features(pd.DataFrame(recording.values[:90], index=0.01 * np.arange(90)).iloc[kept])
    else:
        X = (basis + IdentityEval()).compute_features(counts.values, counts[:, 0]).values[:, :6]
    expected = basis.compute_features(framed(counts.values, [40, 18, 29])).values
    np.testing.assert_array_equal(X, expected)
    with pytest.raises(ValueError, match=r"bins inside an epoch .*restrict\(epochs\)"):
        basis.compute_features(nap.TsdFrame(t=np.sort(np.random.default_rng(0).random(87)), d=counts.values))


def test_rows_of_a_table_in_another_order_are_no_neighbours(recording):
    """Shuffled rows have no history; trials that are set below each other begin anew; words as an index say nothing."""
    basis, counts = RaisedCosineLogConv(2, window_size=10), recording.values[:60]
    table = lambda index: pd.DataFrame(counts, index=index)
    with pytest.raises(ValueError, match=r"longer than the window of 10 bins.*a gap between rows ends an epoch"):
        basis.compute_features(table(np.random.default_rng(0).permutation(60)))
    some = np.sort(np.random.default_rng(1).permutation(600)[:240])  # most of these rows are no neighbours
    runs = np.split(np.arange(240), np.flatnonzero(np.diff(some) > 1) + 1)
    X = RaisedCosineLogConv(2, window_size=3).compute_features(pd.DataFrame(np.ones((600, 1))).iloc[some])
    assert np.isfinite(X.to_numpy()).all(1).sum() == sum(max(len(run) - 3, 0) for run in runs)
    trials = framed(counts, [20, 40])
    for index in (np.r_[:20, :40], np.repeat([7, 8], [20, 40])):
        np.testing.assert_array_equal(basis.compute_features(table(index)), basis.compute_features(trials))
    np.testing.assert_array_equal(
        basis.compute_features(table([f"bin {i}" for i in range(60)])), basis.compute_features(counts)
    )


def test_a_missing_bin_hides_the_features_that_see_it():
    counts = np.ones((100, 2))
    counts[50, 1] = np.nan
    X = RaisedCosineLogConv(3, window_size=10).compute_features(counts)
    for columns, missing in ((X[:, :3], {*range(10)}), (X[:, 3:], {*range(10), *range(51, 61)})):
        assert set(np.flatnonzero(np.isnan(columns).all(1))) == missing
        assert (np.isnan(columns).any(1) == np.isnan(columns).all(1)).all()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_future_does_not_change_the_past(data):
    """Whatever follows bin t, in its epoch or in later ones, row t stays as it is, bit for bit."""
    lengths = data.draw(st.lists(st.integers(5, 60), min_size=1, max_size=4), label="epochs")
    window = data.draw(st.sampled_from([w for w in (1, 4, 20, 50) if w < max(lengths)]), label="window")
    rng = np.random.default_rng(data.draw(st.integers(0, 99), label="seed"))
    counts = rng.poisson(0.5, (sum(lengths), 2)).astype(float)
    counts[rng.random(counts.shape) < data.draw(st.sampled_from([0, 0.02]), label="missing")] = np.nan
    t = data.draw(st.integers(0, len(counts) - 1), label="now")
    changed = counts.copy()
    changed[t:] = rng.permuted(changed[t:] + rng.integers(0, 2, changed[t:].shape), axis=0)
    basis = RaisedCosineLogConv(min(window, 2), window_size=window)
    past, other = (basis.compute_features(framed(c, lengths)).values[: t + 1] for c in (counts, changed))
    np.testing.assert_array_equal(past, other)
    starts = np.append(0, np.cumsum(lengths))
    np.testing.assert_allclose(past, by_hand(counts, basis.kernel, starts)[: t + 1], atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"n": 5, "w": 2.0, "a": 50.0, "decay": True},
        {"n": 5, "w": 2.0, "a": 50.0, "decay": False},
        {"n": 8, "w": 3.5, "a": 10.0, "decay": True},
        {"n": 1, "w": 1.5, "a": 1.0, "decay": True},
        {"n": 2, "w": 2.0, "a": 200.0, "decay": False},
    ],
)
def test_log_raised_cosines_equal_their_formula(settings):
    n, width, scaling, decay = settings.values()
    basis = RaisedCosineLogConv(n, 30, width=width, time_scaling=scaling, enforce_decay_to_zero=decay)
    last = 1 - width / (n + width - 1) if decay else 1.0
    peaks = np.linspace(0, last, n)
    gap = peaks[1] - peaks[0] if n > 1 else 1 / width
    expected = np.empty((30, n))
    for i, x in enumerate(np.linspace(0, 1, 30)):
        u = np.log(1 + scaling * x) / np.log(1 + scaling)
        expected[i] = (1 + np.cos(np.clip(np.pi * (u - peaks) / (gap * width), -np.pi, np.pi))) / 2
    np.testing.assert_allclose(basis.kernel, expected, atol=1e-12)
    assert np.allclose(basis.kernel[-1], 0) == decay
    lags, functions = basis.evaluate_on_grid()
    assert lags[0] == 1 and lags[-1] == 30
    np.testing.assert_array_equal(functions, basis.kernel)


def test_large_integers_are_not_wrapped_around(basis):
    large = np.full((100, 1), 3_000_000_000)
    np.testing.assert_array_equal(basis.compute_features(large), basis.compute_features(large.astype(float)))
