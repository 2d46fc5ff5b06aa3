"""Splits of a recording: every bin is tested once, and training and test are made of no common bin."""

import numpy as np
import pynapple as nap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from popglm.basis import BSplineConv, HistoryConv, IdentityEval, RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.model_selection import BlockSplit, EpochSplit

WINDOW = 6
BASIS = RaisedCosineLogConv(2, window_size=WINDOW, enforce_decay_to_zero=False)
WITH_AHEAD = HistoryConv(window_size=3) + BSplineConv(4, window_size=5, predictor_causality="anti-causal")
EPOCHS = nap.IntervalSet([0.0, 0.64, 1.0], [0.6, 0.9, 1.8])  # gaps of 4 and 10 bins


def counts_of(values):
    """Counts in three epochs of 60, 26 and 80 bins of 10 ms."""
    times = np.concatenate([np.arange(a, b - 0.005, 0.01) + 0.005 for a, b in EPOCHS.values])
    return nap.TsdFrame(t=times, d=values, time_support=EPOCHS)


N_BINS = 166


@settings(max_examples=60, deadline=None)
@given(st.integers(12, 60), st.integers(2, 4), st.integers(1, 3), st.integers(0, 3), st.randoms())
def test_every_row_is_tested_once_and_trained_on_by_the_rule(n_rows, n_splits, n_blocks, window, random):
    splitter, untested = BlockSplit(n_splits, window=window, n_blocks=n_blocks), list(range(n_rows))
    rows = np.arange(n_rows)
    try:
        pairs = list(splitter.split(np.zeros((n_rows, 1))))
    except ValueError as error:
        assert "no row to train on" in str(error)
        return
    assert len(pairs) == splitter.get_n_splits() == n_splits
    for train, test in pairs:
        apart = np.abs(rows[:, None] - test).min(1) > window
        np.testing.assert_array_equal(train, rows[apart & ~np.isin(rows, test)])
        assert 1 + (np.diff(test) > 1).sum() == n_blocks  # two blocks of one fold never touch
        untested = [row for row in untested if row not in test]
    assert not untested
    lengths = {len(test) for _, test in pairs}
    assert max(lengths) - min(lengths) <= n_blocks


def built(basis, counts, inputs):
    return np.asarray(basis.compute_features(*inputs(counts)))


def lazy(basis, counts, inputs):
    return basis.lazy_features(*inputs(counts))


def restricted(basis, counts, inputs):
    """From after the first epoch's start on, in two parts with history from before each."""
    return lazy(basis, counts, inputs).restrict(nap.IntervalSet([0.1, 0.64, 1.2], [0.5, 1.1, 1.75]))


def restricted_matrix(basis, counts, inputs):
    return basis.compute_features(*inputs(counts)).restrict(nap.IntervalSet([0.1, 0.64, 1.2], [0.5, 1.1, 1.75]))


def chosen(basis, counts, inputs):
    """Rows in another order."""
    return lazy(basis, counts, inputs)[np.random.default_rng(1).permutation(N_BINS)[:120]]


ONE, TWO = lambda counts: (counts,), lambda counts: (counts, counts)
BLOCKS, EPOCHWISE = BlockSplit(3, window=WINDOW), EpochSplit(3, window=WINDOW)
DESIGNS = {  # how X is made, what of, the splitter
    "an array": (lambda b, c, i: built(b, c.values, i), BASIS, ONE, BLOCKS),
    "several blocks": (lambda b, c, i: built(b, c.values, i), BASIS, ONE, BlockSplit(2, window=WINDOW, n_blocks=3)),
    "a TsdFrame": (lambda b, c, i: b.compute_features(*i(c)), BASIS, ONE, BLOCKS),
    "a restricted TsdFrame": (restricted_matrix, BASIS, ONE, BLOCKS),
    "epochs of a restricted TsdFrame": (restricted_matrix, BASIS, ONE, EPOCHWISE),
    "epochs without a window": (lambda b, c, i: b.compute_features(*i(c)), BASIS, ONE, EpochSplit(3, window=0)),
    "lazy, array": (lambda b, c, i: lazy(b, c.values, i), BASIS, ONE, BlockSplit(3)),
    "lazy": (lazy, BASIS, ONE, BlockSplit(3)),
    "lazy, restricted": (restricted, BASIS, ONE, BlockSplit(3)),
    "lazy, other order": (chosen, BASIS, ONE, BlockSplit(3, n_blocks=2)),
    "lazy epochs": (lazy, BASIS, ONE, EpochSplit(3)),
    "lazy epochs, restricted": (restricted, BASIS, ONE, EpochSplit(3)),
    "past and future": (lazy, WITH_AHEAD, TWO, BlockSplit(3)),
    "a product": (lazy, BASIS * HistoryConv(window_size=3), TWO, BlockSplit(3)),
}


@pytest.fixture(scope="module")
def made_of():
    """Of the rows of a design with a complete history: which bins they are made of, (rows, bins), by changing each bin."""
    known = {}

    def of(name):
        if name not in known:
            make, basis, inputs, _ = DESIGNS[name]
            values = np.random.default_rng(0).poisson(0.5, (N_BINS, 2))
            number = make(IdentityEval(), counts_of(np.arange(N_BINS)[:, None] * np.ones((1, 2))), ONE)
            X, own = make(basis, counts_of(values), inputs), np.asarray(number)[:, 0].astype(int)
            before = np.asarray(X)
            seen = np.arange(N_BINS) == own[:, None]  # the target
            for i in range(N_BINS):
                values[i] += 2
                seen[:, i] |= (np.asarray(make(basis, counts_of(values), inputs)) != before).any(1)
                values[i] -= 2
            seen[np.isnan(before).any(1)] = False  # such rows have weight 0
            known[name] = X, seen
        return known[name]

    return of


@pytest.mark.parametrize("name", DESIGNS)
def test_no_bin_is_shared_by_training_and_test(made_of, name):
    X, seen = made_of(name)
    tested = []
    for train, test in DESIGNS[name][3].split(X):
        tested += test.tolist()
        for rows in (train, test):
            assert seen[rows].any(1).sum() > 10 and (np.diff(rows) > 0).all()
        assert not (seen[train].any(0) & seen[test].any(0)).any()
    assert sorted(tested) == list(range(len(seen)))


@pytest.mark.parametrize(
    "name", ["an array", "several blocks", "lazy", "lazy, restricted", "past and future", "a product"]
)
def test_no_row_is_left_out_that_could_stay(made_of, name):
    """One bin less of a window, and a bin would be shared."""
    X, seen = made_of(name)
    window = DESIGNS[name][3].window or X.reach()[1]
    assert window == (3 + 5 if name == "past and future" else WINDOW)
    closer = BlockSplit(3, window=window - 1).split(X)
    assert any((seen[train].any(0) & seen[test].any(0)).any() for train, test in closer)


def test_splits_say_their_settings_in_a_line():
    assert repr(BlockSplit(3, window=2)) == "BlockSplit(n_splits=3, window=2, n_blocks=1)"
    epochs = EpochSplit(3, window=2, epochs=nap.IntervalSet([0, 2, 4], [1, 3, 5]))
    assert repr(epochs) == "EpochSplit(n_splits=3, window=2, epochs=<3 epochs>, seed=None)"


def test_lazy_features_lose_nothing_across_a_gap():
    """History starts anew there; a TsdFrame cannot say so."""
    counts = counts_of(np.ones((N_BINS, 2)))
    for train, test in EpochSplit(3).split(BASIS.lazy_features(counts)):
        assert len(train) + len(test) == N_BINS
    frame = EpochSplit(3, window=WINDOW).split(BASIS.compute_features(counts))
    lost = [N_BINS - len(train) - len(test) for train, test in frame]
    assert lost == [2, 2, 0]  # the first gap moves rows 5 bins apart, the second 11


def test_epochs_stay_together():
    t = (np.arange(1000) + 0.5) * 0.01
    trials = nap.IntervalSet(np.arange(0, 10, 1.0) + 0.1, np.arange(0, 10, 1.0) + 0.9)
    X = nap.TsdFrame(t=t, d=np.zeros((1000, 1)))
    number = np.where((t % 1 > 0.1) & (t % 1 < 0.9), t // 1, -1).astype(int)
    for seed in (None, 0):
        tested = []
        for train, test in EpochSplit(4, window=0, epochs=trials, seed=seed).split(X):
            assert not set(number[train]) & set(number[test]) and -1 not in number[np.r_[train, test]]
            tested.append(sorted(set(number[test])))
            assert len(train) + len(test) == 800
        assert sorted(n for some in tested for n in some) == list(range(10)) and {len(some) for some in tested} == {
            2,
            3,
        }
        in_turn = [list(range(k, 10, 4)) for k in range(4)]
        assert (tested == in_turn) is (seed is None)
    cut = [train for train, _ in EpochSplit(2, window=40, epochs=trials).split(X)]
    assert all(len(rows) == 5 * 80 - sides * 20 for rows, sides in zip(cut, (9, 9), strict=True))


@pytest.mark.filterwarnings("ignore:Some starts and ends are equal")
def test_a_row_at_the_edge_of_trials_that_touch_is_tested_once():
    """pynapple ends the first trial a microsecond early; rows there, and exactly on the edge, are neither lost nor shared."""
    trials = nap.IntervalSet([0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0])
    times = np.arange(0.5, 4, 0.5)
    times[1] -= 4e-7
    X = nap.TsdFrame(t=times, d=np.zeros((7, 1)), time_support=nap.IntervalSet(0, 4))
    folds = list(EpochSplit(2, window=0, epochs=trials).split(X))
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested) == list(range(7)), "row 1 lies in the last microsecond of the first trial"
    assert [test.tolist() for _, test in folds] == [[0, 1, 3, 4], [2, 5, 6]]
    assert not any(set(train) & set(test) for train, test in folds)


@pytest.mark.parametrize(("start", "size"), [(1.76e9, 0.005), (0.0, 1 / 60)])
def test_positions_of_rows_do_not_drift(start, size):
    """Times with few digits, and bins that are rounded: a row is as many bins from another as there are rows between."""
    times = start + np.arange(200_000) * size
    X = nap.Tsd(t=times, d=np.zeros(len(times)))
    splitter = BlockSplit(2, window=1, n_blocks=20_000)
    for rows, expected in zip(next(splitter.split(X)), next(splitter.split(X.values[:, None])), strict=True):
        np.testing.assert_array_equal(rows, expected)


def test_times_of_y_serve_where_X_has_none():
    y = counts_of(np.zeros((N_BINS, 2)))
    X = np.zeros((N_BINS, 3))
    for splitter in (BLOCKS, EPOCHWISE):
        for (a, b), (c, d) in zip(splitter.split(X, y), splitter.split(y), strict=True):
            np.testing.assert_array_equal(a, c)
            np.testing.assert_array_equal(b, d)


@pytest.mark.parametrize("convert", [lambda X, y: (X.values, y.values), lambda X, y: (X, y)], ids=["NumPy", "pynapple"])
@pytest.mark.parametrize("splitter", [BlockSplit(3, window=10), EpochSplit(3, window=0)], ids=["blocks", "epochs"])
def test_scikit_learn_takes_them(recording, convert, splitter):
    counts = recording
    basis = RaisedCosineLogConv(2, window_size=10)
    X, y = convert(basis.compute_features(counts), counts)
    y = y if isinstance(splitter, BlockSplit) else counts  # where the epochs are known
    grid = {"regularizer_strength": [0.01, 1.0]}
    search = GridSearchCV(PopulationGLM(regularizer="Ridge"), grid, cv=splitter, error_score="raise").fit(X, y)
    expected = []
    for strength in grid["regularizer_strength"]:
        model = PopulationGLM(regularizer="Ridge", regularizer_strength=strength)
        scores = [model.fit(X[train], y[train]).score(X[test], y[test]) for train, test in splitter.split(X, y)]
        expected.append(np.mean(scores))
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected, rtol=1e-6)
    assert clone(search).cv == splitter  # a copy with the same settings
    scores = cross_val_score(GLM(regularizer="Ridge", regularizer_strength=0.1), X, y[:, 0], cv=splitter)
    assert scores.shape == (3,) and np.isfinite(scores).all()


def test_lazy_features_stay_lazy(recording, monkeypatch):
    from popglm.basis import LazyFeatures

    basis = RaisedCosineLogConv(2, window_size=10)
    X, dense = basis.lazy_features(recording), basis.compute_features(recording)
    monkeypatch.setattr(LazyFeatures, "__array__", None)
    model = PopulationGLM(regularizer="Ridge", regularizer_strength=0.1)
    got = cross_val_score(model, X, recording, cv=BlockSplit(3), error_score="raise")
    pairs = list(BlockSplit(3).split(X))
    expected = cross_val_score(model, dense, recording, cv=pairs, error_score="raise")
    np.testing.assert_allclose(got, expected, rtol=1e-4)


ARRAY, FRAME = np.zeros((30, 2)), nap.TsdFrame(t=np.arange(30) * 0.1, d=np.zeros((30, 2)))
REFUSED = {
    "one fold": (lambda: BlockSplit(1, window=2), ValueError, "`n_splits` must be at least 2.*got 1"),
    "half a fold": (lambda: BlockSplit(2.5, window=2), ValueError, "`n_splits` must be a positive integer; got 2.5"),
    "a window in seconds": (lambda: BlockSplit(window=0.2), ValueError, "`window` must be a whole number.*got 0.2"),
    "no block": (lambda: BlockSplit(window=2, n_blocks=0), ValueError, "`n_blocks` must be a positive integer"),
    "no window": (
        lambda: next(BlockSplit().split(ARRAY)),
        ValueError,
        r"BlockSplit needs `window`.*basis.window_size\)",
    ),
    "epochs, no window": (lambda: next(EpochSplit().split(FRAME)), ValueError, "or window=0 if history starts anew"),
    "few rows": (
        lambda: next(BlockSplit(40, window=0).split(ARRAY)),
        ValueError,
        "40 blocks need as many rows; got 30",
    ),
    "a long window": (
        lambda: next(BlockSplit(2, window=20).split(ARRAY)),
        ValueError,
        "fold 0 leaves no row to train on",
    ),
    "no times": (lambda: next(EpochSplit(window=0).split(ARRAY)), ValueError, "EpochSplit needs the times.*GroupKFold"),
    "one epoch": (lambda: next(EpochSplit(2, window=0).split(FRAME)), ValueError, "in 1 epoch.*BlockSplit"),
    "epochs as pairs": (lambda: EpochSplit(2, window=0, epochs=[(0, 1)]), TypeError, "must be a pynapple IntervalSet"),
    "a seed that is none": (lambda: EpochSplit(2, window=0, seed=-1), ValueError, "`seed` must be a whole number"),
    "another length": (lambda: next(BLOCKS.split(ARRAY, ARRAY[1:])), ValueError, "same number of rows; got 30 and 29"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_fix(name):
    call, kind, text = REFUSED[name]
    with pytest.raises(kind, match=text):
        call()
