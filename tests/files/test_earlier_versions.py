"""Files of earlier versions are read, and a fit that was stopped then goes on to where one that was not stopped ends."""

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from make_fixtures import NAMES, RUNS, SAVED, fitted, recording

from popglm import io

VERSIONS = sorted(Path(__file__).parent.glob("v*"))
FILES = {f"{path.parent.name} {path.stem}": path for folder in VERSIONS for path in sorted(folder.glob("*.npz"))}
CHECKPOINTS = [name for name, path in FILES.items() if path.stem in RUNS]


@cache
def uninterrupted(call):
    """The model of a call that was never stopped, and its number of steps; stopping places share it."""
    return next(run for run in RUNS.values() if repr(run[:2]) == call)()


def assert_same_fit(model, expected):
    for name in ("coef_", "intercept_", "scale_"):
        np.testing.assert_allclose(getattr(model, name, 1), getattr(expected, name, 1), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(model.converged_, expected.converged_)


def test_every_version_left_files():
    assert VERSIONS and {path.stem for path in FILES.values()} == {*RUNS, *SAVED}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_goes_on(tmp_path, name):
    run, path = RUNS[FILES[name].stem], shutil.copy(FILES[name], tmp_path)
    model, steps = run(path)
    expected, all_steps = uninterrupted(repr(run[:2]))
    assert_same_fit(model, expected)
    if run.stop is None:
        assert steps == 0 and Path(path).read_bytes() == FILES[name].read_bytes()
    else:
        assert 0 < steps < all_steps


@pytest.mark.parametrize("version", VERSIONS, ids=lambda folder: folder.name)
def test_a_saved_fit_is_what_it_was(version):
    loaded, expected = io.load(version / "fitted.npz"), fitted()
    model, other = loaded["model"], expected["model"]
    assert_same_fit(model, other)
    assert repr(loaded["basis"]) == repr(expected["basis"])
    assert model.get_params() == other.get_params()
    np.testing.assert_array_equal(model.feature_names_in_, other.feature_names_in_)
    data = recording()
    X = loaded["basis"].compute_features(data)
    rates = model.predict(X)
    assert list(rates.columns) == NAMES
    np.testing.assert_allclose(rates.values, other.predict(X).values, rtol=1e-3)
    scores = (one.score(X, data, "pseudo-r2-McFadden", null="train") for one in (model, other))
    np.testing.assert_allclose(*scores, rtol=1e-3)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda folder: folder.name)
def test_saved_settings_are_what_they_were(version):
    loaded, expected = io.load(version / "settings.npz"), SAVED["settings"]()
    assert loaded.keys() == expected.keys()
    for objects, others in zip(loaded.values(), expected.values(), strict=True):
        assert list(map(repr, objects)) == list(map(repr, others))
        assert [vars(one).keys() for one in objects] == [vars(one).keys() for one in others]
    place = next(one for one in loaded["bases"] if one.label == "place")
    assert place.bounds_ == next(one for one in expected["bases"] if one.label == "place").bounds_
