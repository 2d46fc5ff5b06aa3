"""Data that are never all in memory: the counts of pynapple, and the numbers of the fit in memory."""

import io

import h5py
import numpy as np
import pynapple as nap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import Rows

from popglm._design.sizes import SIZES
from popglm.basis import RaisedCosineLogConv
from popglm.batching import LazyCounts, count_lazily
from popglm.glm import GLM, PopulationGLM

BASIS = RaisedCosineLogConv(3, window_size=20)
RIDGE = {"regularizer": "Ridge", "regularizer_strength": 0.01}


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(SIZES, "block_rows", 256)
    monkeypatch.setattr(SIZES, "chunk_blocks", 4)


@pytest.mark.filterwarnings(
    "ignore:.*are cut by the end of their epoch:RuntimeWarning", "ignore:.*are too short for a bin:RuntimeWarning"
)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_lazy_counts_are_those_of_pynapple(data):
    """Any epochs, bin sizes and spike times, spikes on the edges of bins and of epochs too."""
    draw = lambda strategy, label: data.draw(strategy, label=label)
    bin_size = draw(st.sampled_from([0.001, 0.005, 0.01, 0.25, 0.007]), "bin size")
    gaps = draw(st.lists(st.tuples(st.floats(0.01, 2), st.floats(0.02, 5)), min_size=1, max_size=4), "epochs")
    digits = draw(st.sampled_from([6, 17]), "digits of the epochs")
    begin = np.round(
        np.cumsum([g for g, _ in gaps]) + np.concatenate([[0], np.cumsum([n for _, n in gaps])[:-1]]), digits
    )
    epochs = nap.IntervalSet(begin, np.round(begin + [n for _, n in gaps], digits))
    rng = np.random.default_rng(draw(st.integers(0, 99), "seed"))
    span = np.array([0, epochs.end[-1] + 1])
    on_edges = np.round(begin[0] + bin_size * rng.integers(0, 50, 30), 9)
    times = [np.sort(np.r_[rng.uniform(*span, n), on_edges, epochs.start, epochs.end]) for n in (0, 5, 200)]
    units = nap.TsGroup(
        {i: nap.Ts(t) for i, t in zip((3, 7, 12), times, strict=True)}, time_support=nap.IntervalSet(*span)
    )
    expected, got = units.count(bin_size, epochs), count_lazily(units, bin_size, epochs)
    assert got.shape == expected.shape and list(got.columns) == list(expected.columns)
    np.testing.assert_array_equal(np.asarray(got), expected.values)
    np.testing.assert_array_equal(got.t, expected.t)
    np.testing.assert_array_equal(got.time_support.values, expected.time_support.values)
    a, b = sorted(rng.integers(0, len(expected) + 1, 2))
    np.testing.assert_array_equal(got[a:b], expected.values[a:b])


def test_parts_of_lazy_counts(population):
    counts, lazy = population.counts.values, count_lazily(population.units, 0.005)
    for key in (
        slice(10, 90),
        slice(None),
        slice(3, 50, 4),
        slice(50, 3, -4),
        [5, 5, 2],
        7,
        -1,
        (slice(0, 9), 2),
        (4, [1, 3]),
    ):
        np.testing.assert_array_equal(lazy[key], counts[key])
    assert "12000" in repr(lazy) and len(lazy) == 12_000


STREAMS = {
    "virtual counts": lambda p, folder: count_lazily(p.units, 0.005),
    "a memmap": lambda p, folder: written(folder, p.counts.values.astype(np.int16)),
    "a memmap of floats": lambda p, folder: written(folder, p.counts.values.astype(">f8")),
    "rows in a file": lambda p, folder: Rows(p.counts.values),
}


def written(folder, values):
    out = np.memmap(folder / "counts.dat", values.dtype, "w+", shape=values.shape)
    out[:] = values
    return out


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("settings", [{}, RIDGE], ids=["exact", "ridge"])
def test_a_streamed_fit_equals_the_one_in_memory(small_chunks, population, tmp_path, name, settings):
    stream, counts = STREAMS[name](population, tmp_path), population.counts.values
    X = BASIS.lazy_features(stream)
    streamed, expected = (
        PopulationGLM(**settings).fit(X, stream),
        PopulationGLM(**settings).fit(BASIS.compute_features(counts), counts),
    )
    np.testing.assert_allclose(streamed.coef_, expected.coef_, rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(streamed.intercept_, expected.intercept_, rtol=1e-5, atol=2e-5)
    assert streamed.score(X, stream) == pytest.approx(expected.score(BASIS.compute_features(counts), counts), rel=1e-5)
    rate = streamed.predict(X)
    np.testing.assert_allclose(np.asarray(rate)[20:], expected.predict(BASIS.compute_features(counts))[20:], rtol=1e-4)
    some = slice(2000, 9000)
    part, same = (
        PopulationGLM(**settings).fit(X[some], stream[some]),
        PopulationGLM(**settings).fit(BASIS.compute_features(counts)[some], counts[some]),
    )
    np.testing.assert_allclose(part.coef_, same.coef_, rtol=1e-5, atol=2e-5)


def test_a_stream_is_in_the_precision_of_its_reader(small_chunks, population, float64):
    """The thread that reads ahead computes in 64 bits where the one that asks does."""
    stream, counts = count_lazily(population.units, 0.005), population.counts.values
    streamed = PopulationGLM().fit(BASIS.lazy_features(stream), stream)
    expected = PopulationGLM().fit(BASIS.compute_features(counts), counts)
    np.testing.assert_allclose(streamed.coef_, expected.coef_, rtol=1e-9)


def test_never_more_than_a_chunk_is_read(small_chunks, population):
    rows = Rows(population.counts.values)
    model = PopulationGLM().fit(BASIS.lazy_features(rows), rows)
    assert rows.largest <= 1024 + 20 and model.converged_.all()
    model.score(BASIS.lazy_features(rows), rows)
    assert rows.largest <= 1024 + 20


def test_features_on_disk(small_chunks, population, tmp_path):
    X, y = BASIS.compute_features(population.counts.values), population.counts.values
    expected, streamed = PopulationGLM().fit(X, y), PopulationGLM().fit(written(tmp_path, X), Rows(y))
    np.testing.assert_allclose(streamed.coef_, expected.coef_, rtol=1e-5, atol=2e-5)
    single = GLM().fit(Rows(X), Rows(y[:, 0]))
    np.testing.assert_allclose(single.coef_, expected.coef_[:, 0], atol=1e-3)


def test_a_file_that_is_closed_is_named_and_open_again_it_works(tmp_path):
    counts, path = np.random.default_rng(0).poisson(1.0, (600, 2)), tmp_path / "counts.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("counts", data=counts)
        X = BASIS.lazy_features(data)
    for call in (lambda: GLM().fit(X, counts[:, 0]), lambda: PopulationGLM().fit(counts, data), lambda: np.asarray(X)):
        with pytest.raises(ValueError, match=r"the HDF5 file .* is closed.*Open it again.*keep it open"):
            call()
    with h5py.File(path) as file:
        GLM().fit(BASIS.lazy_features(file["counts"]), counts[:, 0])


def test_streams_know_epochs_and_names(recording):
    """A lazily loaded TsdFrame holds a data set of a file; its epochs and columns count as ever."""
    with h5py.File(io.BytesIO(), "w") as file:
        data = file.create_dataset("counts", data=recording.values)
        frame = nap.TsdFrame(
            t=recording.t, d=data, time_support=recording.time_support, columns=["a", "b", "c"], load_array=False
        )
        X = BASIS.lazy_features(frame)
        np.testing.assert_array_equal(np.asarray(X), BASIS.compute_features(recording).values)
        assert X.columns[3] == "b:0"
        model, expected = (PopulationGLM().fit(BASIS.lazy_features(c), c) for c in (frame, recording))
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-5, atol=1e-5)
        assert list(model.predict(X).columns) == ["a", "b", "c"]


def test_what_is_read_is_checked_then(small_chunks, population):
    counts = population.counts.values.astype(float)
    X = BASIS.lazy_features(Rows(counts))
    counts[5000, 1] = -1
    with pytest.raises(ValueError, match=r"`y` must hold counts.*row 5000"):
        PopulationGLM().fit(X, Rows(counts))
    counts[5000, 1] = np.inf
    with pytest.raises(ValueError, match=r"`inputs` must be finite; row 5000"):
        PopulationGLM().fit(X, population.counts.values)
    counts[5000, 1] = np.nan
    assert PopulationGLM().fit(X, Rows(counts)).converged_.all()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda u: count_lazily(u[0], 0.01), TypeError, "`units` must be a pynapple TsGroup.*got Ts"),
        (lambda u: count_lazily(u, 0), ValueError, "`bin_size` must be a finite number above 0"),
        (lambda u: count_lazily(u, 0.01, [0, 1]), TypeError, "`epochs` must be a pynapple IntervalSet"),
        (lambda u: BASIS.lazy_features(Rows(np.zeros((9, 2), "<U3"))), ValueError, "`inputs` must have 1 or 2 axes"),
        (
            lambda u: PopulationGLM().fit(BASIS.lazy_features(count_lazily(u, 0.01)), count_lazily(u, 0.02)),
            ValueError,
            "rows",
        ),
        (lambda u: count_lazily(u, 0.01)[10**6], IndexError, "row 1000000"),
    ],
)
def test_bad_input(population, call, error, text):
    with pytest.raises(error, match=text):
        call(population.units)
    assert isinstance(count_lazily(population.units, 0.01), LazyCounts)
