"""A strict session: shapes are checked, rank promotion raises, warnings are errors (see pyproject.toml).

Tests run in float32, as users do, unless they ask for `precision` (both) or `float64`.
"""

import itertools
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import shape_checks

shape_checks.install_shape_checks("popglm")
jax.config.update("jax_numpy_rank_promotion", "raise")

import pynapple as nap
from messages import things_at_hand
from samples import small_data

from popglm._checks import values
from popglm.basis import RaisedCosineLogConv
from popglm.glm import PopulationGLM
from popglm.simulation import random_coupling, simulate_population

for frames in ("OWN_FRAMES", "INTERNAL_PACKAGES"):  # warnings and refusals look past the checks, too
    setattr(values, frames, (*getattr(values, frames), "shape_checks"))


@pytest.fixture(params=["float32", "float64"])
def precision(request):
    """Run in both precisions. JAX keeps what it compiled for one apart from the other."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture
def float64():
    """Double precision, for comparisons with other software."""
    with jax.enable_x64(True):
        yield


TESTS = itertools.count()
MAX_MAPS = 30_000  # memory maps of a process; Linux allows 65,530, and XLA aborts where there are no more


@pytest.fixture(autouse=True)
def few_programs():
    """Drop what JAX has compiled before its programs, some twenty maps each, use up the memory maps of the process.

    Counting the maps takes a hundredth of a second, so it is done after every eighth test.
    """
    yield
    maps = Path("/proc/self/maps")
    if next(TESTS) % 8 == 0 and maps.exists() and maps.read_bytes().count(b"\n") > MAX_MAPS:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def checked_calls():
    """Begin to count the calls whose shapes are checked."""
    shape_checks.calls.clear()


@pytest.fixture(scope="session")
def basis():
    return RaisedCosineLogConv(5, window_size=40)


@pytest.fixture(scope="session")
def population(basis):
    """Four coupled neurons for 60 s: `units`, `counts` and the truth."""
    coef, intercept = random_coupling(jax.random.key(0), 4, basis)
    return simulate_population(jax.random.key(1), coef, intercept, basis, duration=60.0)


@pytest.fixture(scope="session")
def recording():
    """Count three neurons in three epochs of 90, 30 and 150 bins of 10 ms, with gaps between them."""
    epochs = nap.IntervalSet([0.0, 2.0, 3.0], [0.9, 2.3, 4.5])
    times = np.concatenate([np.arange(s, e - 0.005, 0.01) + 0.005 for s, e in epochs.values])
    counts = np.random.default_rng(0).poisson(0.3, (len(times), 3))
    return nap.TsdFrame(t=times, d=counts, time_support=epochs, columns=["a", "b", "c"])


@pytest.fixture
def data():
    return small_data()


@pytest.fixture(scope="session")
def at_hand():
    return things_at_hand()


@pytest.fixture
def s(at_hand):
    """What a user may have at hand; every case gets its own copies of the arrays."""
    return SimpleNamespace(**at_hand.__dict__ | {"X": at_hand.X.copy(), "y": at_hand.y.copy()})


@pytest.fixture
def scored():
    """A fit on one data set, and another with gaps to score: rows missing in X, bins missing in y, a silent neuron."""
    X, y = small_data(0)
    model = PopulationGLM().fit(X, y)
    X, y = small_data(1)
    X[:30, 1], y[100:200, 0], y[150:160, 1], y[:, 2] = np.nan, np.nan, np.nan, 0
    return model, X, y
