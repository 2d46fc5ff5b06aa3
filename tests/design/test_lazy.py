"""Lazy features: the numbers of the matrix that is never built, whoever asks for them and whatever part of it."""

import tracemalloc

import jax
import numpy as np
import pynapple as nap
import pytest
from samples import small_data
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit, cross_val_score

from popglm._design.design import Design, MatrixRows
from popglm._design.sizes import SIZES
from popglm._design.terms import ConvTerm
from popglm.basis import LazyFeatures, RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM

BASIS = RaisedCosineLogConv(3, window_size=20)
PLAIN = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}
RIDGE = {"regularizer": "Ridge", "regularizer_strength": 0.01}


@pytest.fixture
def counts():
    """Three neurons in 900 bins: small integers, as counts are."""
    return np.random.default_rng(0).poisson(0.3, (900, 3))


@pytest.fixture
def small_chunks(monkeypatch):
    """Blocks of 64 rows, three in a chunk, so that small data have many of both."""
    monkeypatch.setattr(SIZES, "block_rows", 64)
    monkeypatch.setattr(SIZES, "chunk_blocks", 3)


def same(a, b):
    """Equal but for the order in which a block adds."""
    np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)


def same_fit(a, b, atol=2e-4):
    np.testing.assert_allclose(a.coef_, b.coef_, atol=atol)
    np.testing.assert_allclose(a.intercept_, b.intercept_, atol=atol)


def test_looks_like_the_matrix(precision, counts):
    X, built = BASIS.lazy_features(counts), BASIS.compute_features(counts)
    assert isinstance(X, LazyFeatures) and X.shape == built.shape and X.ndim == 2 and len(X) == 900
    assert X.dtype == built.dtype == precision and X.size == built.size
    assert "(900, 9)" in repr(X)
    np.testing.assert_array_equal(np.asarray(X), built)
    assert np.asarray(X, np.float16).dtype == np.float16
    assert np.asarray(X).flags.writeable  # to mark missing values in it


ROWS = {
    "a slice": slice(200, 500),
    "from the start": slice(0, 300),
    "every second": slice(100, 700, 2),
    "backwards": slice(None, None, -1),
    "an index": np.r_[700:800, 50:150],
    "a list": [5, 600, 30, -1],
    "a mask": np.arange(900) % 7 < 4,
    "nothing": slice(300, 300),
    "one row": 77,
    "the last row": -1,
    "rows and all columns": (slice(100, 200), slice(None)),
    "an ellipsis": (np.arange(40, 90), ...),
    "a column": (slice(None), 4),
    "some columns": (slice(30, 200), [0, 8]),
    "a single entry": (50, 2),
    "a column after an ellipsis": (..., 4),
    "a row before one": (50, ...),
}


@pytest.mark.parametrize("name", ROWS)
def test_any_part_is_that_part_of_the_matrix(small_chunks, counts, name):
    X, built = BASIS.lazy_features(counts), BASIS.compute_features(counts)
    some = X[ROWS[name]]
    expected = built[ROWS[name]]
    assert some.shape == expected.shape
    same(np.asarray(some), expected)
    if isinstance(some, LazyFeatures) and len(some) > 50:  # and parts of parts
        same(np.asarray(some[10:40]), expected[10:40])
        same(np.asarray(some[[30, 2]]), expected[[30, 2]])


@pytest.mark.parametrize("settings", [{}, RIDGE, {"inverse_link_function": "softplus"}, PLAIN], ids=str)
@pytest.mark.parametrize("part", [slice(None), slice(200, 800), "index"], ids=str)
@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")  # gradient descent takes its 500 steps
def test_every_method_gives_the_numbers_of_the_matrix(small_chunks, counts, settings, part):
    X, built = BASIS.lazy_features(counts), BASIS.compute_features(counts)
    part = np.r_[600:900, 100:400] if isinstance(part, str) else part
    X, built, y = X[part], built[part], counts[part]
    lazy, dense = PopulationGLM(**settings).fit(X, y), PopulationGLM(**settings).fit(built, y)
    same_fit(lazy, dense)
    np.testing.assert_allclose(lazy.predict(X), lazy.predict(built), rtol=1e-5)
    for kind in ("log-likelihood", "pseudo-r2-McFadden", "pseudo-r2-Cohen"):
        assert lazy.score(X, y, kind) == pytest.approx(lazy.score(built, y, kind), rel=1e-4, abs=1e-6)
    each = [lazy.score(Z, y, aggregate_sample_scores=lambda s: s) for Z in (X, built)]
    np.testing.assert_allclose(*each, rtol=1e-4, atol=1e-6)
    model = PopulationGLM(**PLAIN)
    results = []
    for Z in (X, built):
        params = model.initialize_params(Z, y)
        results.append(model.update(params, model.initialize_state(Z, y, params), Z, y)[0])
    jax.tree.map(same, *results)


def test_a_fit_never_builds_the_matrix(counts, monkeypatch):
    X = BASIS.lazy_features(counts)
    monkeypatch.setattr(LazyFeatures, "__array__", None)
    model = PopulationGLM().fit(X, counts)
    assert model.predict(X).shape == counts.shape and np.isfinite(model.score(X, counts))
    np.testing.assert_allclose(GLM().fit(X, counts[:, 0]).coef_, model.coef_[:, 0], atol=2e-4)


def test_small_counts_stay_small(counts):
    X = BASIS.lazy_features(counts.astype(float))
    assert X._term.inputs.dtype == np.uint8
    _, chunk = next(iter(Design(X.span(), counts)))
    assert chunk.source.inputs.dtype == chunk.y.dtype == np.uint8
    for other in (counts + 0.5, counts + 1000, counts - 1):
        source, _ = BASIS.lazy_features(other).span().rows_at(0, 64)
        assert source.inputs.dtype == np.float32


def test_a_slice_keeps_its_history_and_a_restricted_input_starts_anew(recording):
    """The pair that the documentation shows: the same rows, with and without the bins before them."""
    X, first = BASIS.lazy_features(recording), nap.IntervalSet(3.5, 4.5)
    kept, anew = X.restrict(first), BASIS.lazy_features(recording.restrict(first))
    assert kept.shape == anew.shape == (100, 9)
    np.testing.assert_array_equal(kept.t, anew.t)
    np.testing.assert_array_equal(kept.time_support.values, first.values)
    assert np.isfinite(np.asarray(kept)).all() and np.isnan(np.asarray(anew)[:20]).all()
    same(np.asarray(kept)[20:], np.asarray(anew)[20:])
    same(np.asarray(kept), BASIS.compute_features(recording).restrict(first).values)


def test_epochs_names_and_times_are_kept(recording):
    X, built = BASIS.lazy_features(recording), BASIS.compute_features(recording)
    np.testing.assert_array_equal(np.asarray(X), built.values)
    model = PopulationGLM().fit(X, recording)
    rate = model.predict(X)
    assert (
        isinstance(rate, nap.TsdFrame)
        and list(rate.columns) == ["a", "b", "c"]
        and list(X.columns) == list(built.columns)
    )
    np.testing.assert_array_equal(rate.time_support.values, recording.time_support.values)
    np.testing.assert_allclose(rate.values, model.predict(built).values, rtol=1e-5)
    single = BASIS.lazy_features(recording[:, 1])
    same(np.asarray(single), built.values[:, 3:6])


def test_missing_inputs_hide_the_rows_that_see_them(counts):
    holes = counts.astype(float)
    holes[100, 1], holes[500:505] = np.nan, np.nan
    X, built = BASIS.lazy_features(holes), BASIS.compute_features(holes)
    seen = np.isnan(built[101:121])
    assert seen[:, 3:6].all() and not seen[:, :3].any() and np.isfinite(built[121:501]).all()
    same_fit(PopulationGLM().fit(X, counts), PopulationGLM().fit(built, counts))
    y = counts.astype(float)
    y[300:400, 0] = np.nan
    same_fit(PopulationGLM().fit(X, y), PopulationGLM().fit(built, y))


@pytest.mark.parametrize(
    "splitter", [KFold(3), KFold(3, shuffle=True, random_state=0), ShuffleSplit(2, random_state=0)]
)
def test_cross_validation_equals_that_of_the_matrix(counts, splitter):
    X, built = BASIS.lazy_features(counts), BASIS.compute_features(counts)
    scores = [cross_val_score(PopulationGLM(**RIDGE), Z, counts, cv=splitter, error_score="raise") for Z in (X, built)]
    np.testing.assert_allclose(*scores, rtol=1e-4)
    strengths = {"regularizer_strength": [0.001, 0.1]}
    search = GridSearchCV(PopulationGLM(regularizer="Ridge"), strengths, cv=splitter, error_score="raise").fit(
        X, counts
    )
    assert np.isfinite(search.best_score_)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_sum_of_bases_takes_several_inputs(small_chunks, counts, offset):
    """History and a stimulus, which may lie far from 0: its mean is taken out before float32 rounds it."""
    stimulus = np.random.default_rng(1).normal(size=900) + offset
    other = RaisedCosineLogConv(2, window_size=50)
    both = BASIS + other
    X, built = both.lazy_features(counts, stimulus), both.compute_features(counts, stimulus)
    assert X.shape == built.shape == (900, 11)
    np.testing.assert_allclose(built[50:, :9], BASIS.compute_features(counts)[50:], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(built[50:, 9:], other.compute_features(stimulus)[50:], rtol=1e-6, atol=1e-6)
    assert np.isnan(built[:50]).any(1).all() and X[20:80].shape == (60, 11)
    centred = both.lazy_features(counts, stimulus - offset)
    lazy, expected = PopulationGLM().fit(X, counts), PopulationGLM().fit(centred, counts)
    np.testing.assert_allclose(lazy.coef_, expected.coef_, atol=5e-3)
    assert lazy.converged_.all()
    assert lazy.score(X, counts) == pytest.approx(expected.score(centred, counts), abs=2e-3 if offset else 1e-6)
    three = (both + RaisedCosineLogConv(1, window_size=4)).lazy_features(counts, stimulus, counts[:, 0])
    assert three.shape == (900, 12)


def test_a_sum_knows_where_its_columns_come_from(recording):
    X = (BASIS + RaisedCosineLogConv(1, 5)).compute_features(recording, recording[:, 0])
    assert list(X["term"]) == [0] * 9 + [1] and list(X["input"]) == ["a"] * 3 + ["b"] * 3 + ["c"] * 3 + [0]
    assert X.columns[-1] == "1/0:0" and len(set(X.columns)) == 10


@pytest.mark.parametrize("kind", [np.int16, np.float64])
def test_a_stimulus_far_from_0_streams_as_it_fits_in_memory(small_chunks, counts, tmp_path, kind):
    """Centred before float32 rounds it, whatever type it has and wherever it lies."""
    stimulus = (np.random.default_rng(1).normal(size=900) * 3).round() + 30_000
    stream = np.memmap(tmp_path / "stimulus", kind, "w+", shape=(900,))
    stream[:] = stimulus
    X, near = (BASIS.lazy_features(x) for x in (stimulus, stimulus - 30_000))
    expected = PopulationGLM().fit(near, counts)
    for fit in (PopulationGLM().fit(X, counts), PopulationGLM().fit(BASIS.lazy_features(stream), counts)):
        np.testing.assert_allclose(fit.coef_, expected.coef_, atol=2e-4)


def test_rows_out_of_order_keep_their_values(recording):
    """pynapple sorts times without the values; so predictions for such rows are a plain array, in their order."""
    X = BASIS.lazy_features(recording)
    model, order = PopulationGLM().fit(X, recording), np.random.default_rng(0).permutation(270)
    np.testing.assert_allclose(model.predict(X[order]), model.predict(X).values[order], rtol=1e-5)
    epoch = nap.IntervalSet(3.5, 4.5)
    same(np.asarray(X[order].restrict(epoch)), np.asarray(X)[order][np.isin(order, np.flatnonzero(recording.t > 3.5))])


def test_names_are_those_of_the_built_features(recording):
    """Features of plain arrays have no names that a later call would have to repeat."""
    model = PopulationGLM().fit(BASIS.lazy_features(recording.values), recording.values)
    assert np.isfinite(model.score(BASIS.lazy_features(recording), recording))
    model.fit(BASIS.lazy_features(recording), recording)
    assert np.isfinite(model.score(BASIS.compute_features(recording), recording))
    assert repr(clone(BASIS + BASIS)) == repr(BASIS + BASIS) and (clone(BASIS + BASIS)).bases[0] is not BASIS


def test_inputs_are_not_changed(counts):
    before = counts.copy()
    X = BASIS.lazy_features(counts)
    PopulationGLM().fit(X, counts).predict(X)
    np.testing.assert_array_equal(counts, before)
    built = BASIS.compute_features(counts)
    copy, small = built.copy(), counts.astype(np.uint8)
    PopulationGLM().fit(built, small).score(built, small)  # where JAX shares the memory
    np.testing.assert_array_equal(built, copy)
    lazy, kept = BASIS.lazy_features(small), np.asarray(X)
    small[:] = 0
    np.testing.assert_array_equal(np.asarray(lazy), kept)


def test_blocks_in_which_nothing_counts_are_not_visited(small_chunks):
    X, y = small_data(n_bins=640)
    X[:300] = np.nan
    chunks = list(Design(MatrixRows(X), y))
    assert sum(int(chunk.n_valid_blocks) for _, chunk in chunks) == 6
    assert [start for start, _ in chunks] == [192, 384, 576]


def test_zeros_before_the_first_bin():
    term = ConvTerm(np.arange(1, 7, dtype=np.uint8)[:, None], np.ones((3, 1)), np.array([0, 6]))
    np.testing.assert_array_equal(term.rows_at(0, 4)[0].inputs[0], [0, 0, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(term.rows_at(2, 6)[0].inputs[0], [0, 1, 2, 3, 4, 5, 6, 0, 0])


def test_a_slice_of_a_part_costs_what_it_holds():
    """Windows of features that are restricted to epochs: many of them, each a thousandth of the recording."""
    X = RaisedCosineLogConv(3, window_size=20).lazy_features(np.zeros(2_000_000, np.uint8))[
        np.r_[0:900_000, 10**6 : 2 * 10**6]
    ]
    tracemalloc.start()
    some = X[500_000:501_000]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert some.shape == (1000, 3) and peak < 1e6


def test_a_long_recording_is_not_kept_in_pieces(monkeypatch):
    """The pieces of inputs and activity would be as large as both: they are cut anew in every pass, to the same numbers."""
    y = np.random.default_rng(0).poisson(0.2, (3000, 2))
    monkeypatch.setattr(SIZES, "block_rows", 256)
    monkeypatch.setattr(SIZES, "chunk_blocks", 2)
    expected = PopulationGLM().fit(BASIS.lazy_features(y), y)
    monkeypatch.setattr("popglm._design.lazy.MAX_CACHED_BINS", 1000)
    X = BASIS.lazy_features(y)
    assert Design(X.span(), y)._cached is None and X[:900].span().streamed is False
    model = PopulationGLM().fit(X, y)
    assert np.array_equal(model.coef_, expected.coef_) and np.array_equal(model.intercept_, expected.intercept_)
