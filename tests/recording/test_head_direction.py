"""The real session of the package: what is known of its cells comes out, and it is made again from where it comes from."""

import importlib.util
from importlib.resources import files
from pathlib import Path

import h5py
import numpy as np
import pynapple as nap
import pytest
from samples import FULL

from popglm.basis import BSplineEval, CyclicBSplineEval
from popglm.glm import PopulationGLM
from popglm.recording import group_spikes

PACKED = files("popglm") / "data/A2929-200711.npz"
ROOT = Path(__file__).parents[2]
SERIES = ("spike", "frame", "heading", "x", "y", "z")
ADN = slice(0, 7)


@pytest.fixture(scope="module")
def session():
    """The packed arrays, with the series summed up again."""
    with np.load(PACKED) as file:
        return {name: np.cumsum(file[name]) if name in SERIES else file[name] for name in file}


@pytest.fixture(scope="module")
def awake(session):
    """Counts in bins of 50 ms while the heading was tracked, the heading in degrees, and the position in metres."""
    frames = session["frame"] / 20_000
    units = group_spikes(session["spike"], nap.IntervalSet(0, 1200), session["spike_unit"], sampling_rate=20_000)
    counts = units.count(0.05, nap.IntervalSet(*frames[[0, -1]]))
    series = [nap.Tsd(frames, session[name]).interpolate(counts) for name in ("heading", "x", "z")]
    return counts.values, *(x.values / unit for x, unit in zip(series, (10, 1000, 1000), strict=True))


def score_blocks(X, y, seconds=10):
    """Bits per spike of each unit in every second block of 10 s, predicted from the others, and the other way round."""
    block = (np.arange(len(y)) // (20 * seconds)) % 2
    model, nats = PopulationGLM(regularizer="Smoothness", regularizer_strength="evidence"), 0
    for k in (0, 1):
        model.fit(X, np.where((block == k)[:, None], np.nan, y))
        rate, mean = np.asarray(model.predict(X)), y[block != k].mean(0)
        nats += (y * np.log(rate / mean) - rate + mean)[block == k].sum(0)
    return nats / y.sum(0) / np.log(2)


def test_the_session_is_whole(session):
    assert len(session["spike"]) == len(session["spike_unit"]) == 98_794
    assert all(len(session[name]) == 63_527 for name in SERIES[1:])
    assert session["area"].tolist() == ["adn"] * 7 + ["ca1"] * 8 and session["unit"].tolist() == list(range(15))
    assert session["state"].tolist() == ["sleep", "wake"] and session["epoch"].tolist() == [[0, 600], [600, 1200]]
    for seconds in (session["spike"] / 20_000, session["frame"] / 20_000):
        assert (np.diff(seconds) >= 0).all() and seconds[0] > 0 and 1199.9 < seconds[-1] < 1200
    assert np.diff(session["frame"]).min() >= 165 and np.diff(session["frame"]).max() <= 167, "no frame is lost"


heading_basis = CyclicBSplineEval(12, bounds=(0, 360))
place_basis = BSplineEval(4, bounds=(-0.26, 0.32)) * BSplineEval(4, bounds=(-0.26, 0.52))


def test_units_of_adn_are_heading_cells_and_those_of_ca1_are_not(awake):
    y, heading, *_ = awake
    bits = score_blocks(heading_basis.lazy_features(heading % 360), y)
    assert (bits[ADN] > 0.9).all() and (bits[7:] < 0.55).all(), np.round(bits, 2)


def test_preferred_headings_stay_where_they_are(awake):
    """In both halves of the time awake."""
    y, heading, *_ = awake
    X, angle, half = heading_basis.lazy_features(heading % 360), np.arange(0, 360, 6.0), len(y) // 2
    model = PopulationGLM(regularizer="Smoothness", regularizer_strength="evidence")
    fits = [model.fit(X[rows], y[rows, ADN]).coef_ for rows in (slice(half), slice(half, None))]
    first, second = (angle[(heading_basis.compute_features(angle) @ coef).argmax(0)] for coef in fits)
    assert np.abs((second - first + 180) % 360 - 180).max() <= 18, (first, second)


def test_mean_vectors_do_not_tell_the_areas_apart_and_place_does(awake):
    """Unit 12 of CA1 has a longer mean vector than unit 3 of ADN: a place cell, seen from few headings in its field."""
    y, heading, *position = awake
    sector = (heading % 360 // 6).astype(int)
    rates = np.array([np.bincount(sector, train, minlength=60) for train in y.T]) / np.bincount(sector, minlength=60)
    lengths = np.abs(rates @ np.exp(2j * np.pi * (np.arange(60) + 0.5) / 60)) / rates.sum(1)
    assert np.allclose(np.sort(lengths[ADN])[::-1], [0.95, 0.93, 0.90, 0.84, 0.83, 0.80, 0.47], atol=0.02), lengths
    assert lengths[12] > lengths[3]
    where = score_blocks(place_basis.lazy_features(*position), y[:, [3, 12]])
    combined = score_blocks((heading_basis + place_basis).lazy_features(heading % 360, *position), y[:, [3, 12]])
    assert combined[0] - where[0] > 0.8 and abs(combined[1] - where[1]) < 0.05 and where[1] > 0.9, (combined, where)


@pytest.mark.skipif(not FULL, reason="fetches the source archive of pynapple, 90 MB; FULL=1 does")
def test_the_session_is_made_again(session, tmp_path):
    """From the archive that pip fetches by name and version; what is rounded is within half of its unit."""
    spec = importlib.util.spec_from_file_location("pack_head_direction", ROOT / "book/pack_head_direction.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    path = script.fetch_session(tmp_path)
    with np.load(PACKED) as file:
        again = script.pack_session(path)
        assert list(again) == list(file)
        assert all(again[name].dtype == file[name].dtype and np.array_equal(again[name], file[name]) for name in file)
    with h5py.File(path) as file:
        ends = np.cumsum(np.bincount(session["spike_unit"]))
        assert np.array_equal(file["units/spike_times_index"][:], ends)
        order = np.argsort(session["spike_unit"], kind="stable")
        assert np.abs(session["spike"][order] / 20_000 - file["units/spike_times"][:]).max() < 1.1e-6
        turn = session["heading"] / 10 - np.rad2deg(file["acquisition/CompassDirection/ry/data"][:])
        assert np.abs((turn + 180) % 360 - 180).max() < 0.0501
        for axis in "xyz":
            assert np.abs(session[axis] / 1000 - file[f"acquisition/Position/{axis}/data"][:]).max() < 0.000501
