"""An NWB file on disk, opened with pynapple: fitted as the same data in memory, and never read as a whole."""

from datetime import UTC, datetime

import h5py
import numpy as np
import pynapple as nap
import pynwb
import pytest

from popglm._design.sizes import SIZES
from popglm.basis import RaisedCosineLogConv
from popglm.batching import count_lazily, random_windows
from popglm.glm import PopulationGLM
from popglm.recording import group_spikes

BASIS, BIN = RaisedCosineLogConv(3, window_size=20), 0.005
WINDOW = BASIS.window_size


@pytest.fixture(scope="module")
def path(population, tmp_path_factory):
    """Write a minute of four neurons: spike times, the same in bins, and a stimulus of three columns in compressed chunks."""
    out = tmp_path_factory.mktemp("nwb") / "session.nwb"
    counts = population.counts.values
    stimulus = np.random.default_rng(0).normal(size=(len(counts), 3)).astype(np.float32)
    file = pynwb.NWBFile("simulated", "one", datetime(2026, 1, 1, tzinfo=UTC))
    for neuron in population.units:
        file.add_unit(spike_times=population.units[neuron].t, id=neuron)
    file.add_epoch(start_time=0.0, stop_time=60.0)
    kinds = {"counts": counts.astype(np.int16), "stimulus": stimulus, "speed": stimulus[:, 0]}
    for name, values in kinds.items():
        data = pynwb.H5DataIO(values, chunks=(512, *values.shape[1:]), compression="gzip")
        series = pynwb.TimeSeries(name=name, data=data, unit="none", rate=1 / BIN, starting_time=BIN / 2)
        file.add_acquisition(series)
    with pynwb.NWBHDF5IO(out, "w") as io:
        io.write(file)
    return out


@pytest.fixture
def session(path, monkeypatch):
    """The file, opened lazily, and small chunks of rows."""
    monkeypatch.setattr(SIZES, "block_rows", 256)
    monkeypatch.setattr(SIZES, "chunk_blocks", 4)
    opened = nap.load_file(path)
    yield opened
    opened.close()


CHUNK = 1024  # rows, as `session` sets it


@pytest.fixture
def reads(session, monkeypatch):
    """Rows of everything that is read from a TimeSeries of the file while a test runs."""
    rows, slicing, whole = [], h5py.Dataset.__getitem__, h5py.Dataset.__array__

    def kept(dataset, values):
        if dataset.name.endswith("/data"):
            rows.append(len(values) if np.ndim(values) == dataset.ndim else 1)
        return values

    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda self, *key: kept(self, slicing(self, *key)))
    monkeypatch.setattr(h5py.Dataset, "__array__", lambda self, *a, **k: kept(self, whole(self, *a, **k)))
    return rows


def same(model, expected):
    """Coefficients and intercepts equal to 1e-5 of the largest."""
    for one, other in ((model.coef_, expected.coef_), (model.intercept_, expected.intercept_)):
        assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()
    return True


@pytest.mark.parametrize("read", [lambda data: data[:], np.asarray], ids=["slice", "array"])
def test_reading_all_would_be_noticed(session, reads, read):
    frame = session["stimulus"]
    assert isinstance(frame.values, h5py.Dataset)
    assert reads == [1], "pynapple reads more than the first row to make a frame"
    read(frame.values)
    assert reads[1:] == [12_000]


def test_spikes_of_a_file_are_fitted_as_in_memory(session, population):
    counts = count_lazily(session["units"], BIN, session["epochs"])
    model = PopulationGLM().fit(BASIS.lazy_features(counts), counts)
    expected = PopulationGLM().fit(BASIS.compute_features(population.counts), population.counts)
    assert same(model, expected) and model.converged_.all()
    score = model.score(BASIS.lazy_features(counts), counts)
    assert score == pytest.approx(
        expected.score(BASIS.compute_features(population.counts), population.counts), rel=1e-5
    )


@pytest.mark.parametrize("name", ["counts", "stimulus", "speed"])
def test_a_series_is_read_a_chunk_at_a_time(session, population, reads, name):
    """A series as inputs and the counts of the file as y, in every method that goes through the data."""
    series, y = session[name], session["counts"]
    X = BASIS.lazy_features(series)
    model = PopulationGLM().fit(X, y)
    score, rate = model.score(X, y), model.predict(X)
    assert max(reads) <= CHUNK + WINDOW and sum(reads) > len(series)
    reads.clear()
    in_memory = type(series)(t=series.t, d=series.values[:], time_support=series.time_support)
    dense = BASIS.compute_features(in_memory)
    expected = PopulationGLM().fit(dense, population.counts.values)
    assert same(model, expected) and score == pytest.approx(expected.score(dense, population.counts.values), rel=1e-5)
    np.testing.assert_allclose(rate.values[WINDOW:], expected.predict(dense).values[WINDOW:], rtol=1e-4)


def test_spikes_and_a_series_in_one_design(session, reads):
    """Both share the bins of the epochs in the file."""
    counts, speed = count_lazily(session["units"], BIN, session["epochs"]), session["speed"]
    both = BASIS + RaisedCosineLogConv(2, window_size=10)
    model = PopulationGLM().fit(both.lazy_features(counts, speed), counts)
    assert max(reads) <= CHUNK + WINDOW
    in_memory = nap.Tsd(t=speed.t, d=speed.values[:])
    assert same(model, PopulationGLM().fit(both.compute_features(np.asarray(counts), in_memory.values), counts))


PARTS = {"the middle": nap.IntervalSet(20, 40), "what lies around it": nap.IntervalSet([0, 40], [20, 60])}


@pytest.mark.parametrize("epochs", PARTS.values(), ids=PARTS)
def test_a_part_of_a_recording(session, population, reads, epochs):
    """Features that are restricted keep the history from before, and lazy counts of the same epochs are their y."""
    everything = count_lazily(session["units"], BIN, session["epochs"])
    X, dense = (
        BASIS.lazy_features(everything).restrict(epochs),
        BASIS.compute_features(population.counts).restrict(epochs),
    )
    y, counts = count_lazily(session["units"], BIN, epochs), population.counts.restrict(epochs)
    model, expected = PopulationGLM().fit(X, y), PopulationGLM().fit(dense, counts)
    assert same(model, expected) and model.score(X, y) == pytest.approx(expected.score(dense, counts), rel=1e-5)


@pytest.mark.parametrize("epochs", PARTS.values(), ids=PARTS)
def test_restricting_a_series_loads_that_part(session, reads, epochs):
    """It is pynapple that loads; restricting the features instead reads nothing before the fit."""
    frame = session["counts"]
    reads.clear()
    part = frame.restrict(epochs)
    kept = reads.copy()
    reads.clear()
    assert isinstance(part.values, np.ndarray) and sum(kept) == len(part) < len(frame)
    X = BASIS.lazy_features(frame).restrict(epochs)
    assert X.shape == (len(part), 12) and not reads
    model = PopulationGLM().fit(X, part)
    assert max(reads) <= CHUNK + WINDOW and model.converged_.all()


@pytest.mark.parametrize("epochs", PARTS.values(), ids=PARTS)
def test_streamed_activity_of_a_part_is_never_all_in_memory(session, epochs):
    """Also where the rows of the features have a gap that those of y do not have."""
    y = Watched(count_lazily(session["units"], BIN, epochs))
    X = BASIS.lazy_features(count_lazily(session["units"], BIN, session["epochs"])).restrict(epochs)
    model = PopulationGLM().fit(X, y)
    assert y.largest <= CHUNK < len(X)
    assert same(model, PopulationGLM().fit(X, np.asarray(y.values)))


class Watched:
    """Rows that can only be sliced, and the most that were."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.largest = values, values.shape, values.dtype, 0

    def __getitem__(self, rows):
        """Read a slice."""
        self.largest = max(self.largest, rows.stop - rows.start)
        return self.values[rows]


@pytest.mark.parametrize("part", [False, True], ids=["all", "a part"])
def test_batches_of_a_file(session, reads, part):
    """Windows read their own rows and history; three passes come near the exact fit."""
    X, y = BASIS.lazy_features(session["stimulus"]), count_lazily(session["units"], BIN, session["epochs"])
    if part:
        epochs = PARTS["what lies around it"]
        X, y = X.restrict(epochs), count_lazily(session["units"], BIN, epochs)
    windows = random_windows(X, y, n_bins=1000, seed=0)
    model = PopulationGLM().fit_batches(windows, n_steps=3 * len(windows))
    assert max(reads) <= CHUNK + WINDOW
    assert sum(reads) < 3.5 * (len(X) + len(windows) * WINDOW)  # pieces at ends are read with some rows more
    exact = PopulationGLM().fit(X, y)
    assert np.abs(model.coef_ - exact.coef_).max() < 0.01 * np.abs(exact.coef_).max()


def test_counts_of_a_file_as_activity_of_batches(session, reads):
    X = BASIS.lazy_features(session["counts"])
    windows = random_windows(X, session["counts"], n_bins=1000, seed=0)
    PopulationGLM().fit_batches(windows, n_steps=len(windows))
    assert max(reads) <= CHUNK + WINDOW


def test_bins_that_start_at_the_first_spike_are_refused(session):
    """Where no epochs are given, pynapple lets the units of a file begin with their first spike."""
    X, counts = BASIS.lazy_features(session["stimulus"]), count_lazily(session["units"], BIN)
    with pytest.raises(ValueError, match=r"same number of rows.*Restrict both to the same epochs"):
        PopulationGLM().fit(X, counts)


@pytest.mark.filterwarnings(
    "ignore:(start|end) is not sorted:UserWarning",
    "ignore:Some starts and ends are equal:UserWarning",
    "ignore:neuron 1?3. no valid bin:RuntimeWarning",
)
def test_observed_time_of_a_file(population, tmp_path):
    """Written by pynwb, read by pynwb: intervals that touch and are not in order, and a unit that has none."""
    file = pynwb.NWBFile("simulated", "two", datetime(2026, 1, 1, tzinfo=UTC))
    intervals = [
        [[0.0, 60.0]],
        [[25.0, 60.0], [0.0, 12.0], [12.0, 20.0025]],
        [[0.0, 30.0], [30.0, 60.0]],
        np.zeros((0, 2)),
    ]
    for neuron, observed in enumerate(intervals):
        times = population.units[neuron].t
        inside = (np.subtract.outer(times, np.reshape(observed, -1)) >= 0).sum(1) % 2 == 1
        file.add_unit(spike_times=times[inside], id=10 + neuron, obs_intervals=observed)
    with pynwb.NWBHDF5IO(tmp_path / "session.nwb", "w") as io:
        io.write(file)
    with pynwb.NWBHDF5IO(tmp_path / "session.nwb", "r") as io:
        table = io.read().units.to_dataframe()
    observed = {unit: nap.IntervalSet(some) for unit, some in table["obs_intervals"].items()}
    units = group_spikes(table["spike_times"], nap.IntervalSet(0, 60))
    counts = count_lazily(units, BIN, observed=observed)
    expected = units.count(BIN).values.astype(float)
    expected[4000:5000, 1], expected[:, 3] = np.nan, np.nan  # bin 4000 is half observed
    np.testing.assert_array_equal(np.asarray(counts), expected)
    X = BASIS.lazy_features(population.counts.values)
    model, dense = PopulationGLM().fit(X, counts), PopulationGLM().fit(X, expected)
    assert same(model, dense) and model.converged_.all()


def test_a_closed_file(path):
    session = nap.load_file(path)
    frame = session["stimulus"]
    X, counts = BASIS.lazy_features(frame), count_lazily(session["units"], BIN, session["epochs"])
    session.close()
    with pytest.raises(ValueError, match=r"HDF5 file of this data set is closed.*Open it again.*keep it open"):
        PopulationGLM().fit(X, counts)
