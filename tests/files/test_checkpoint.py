"""Runs that survive: stopped anywhere and started again, they end with the very numbers of a run that never was."""

import errno
import json
import os
import pkgutil
import random
import signal
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import child_fits
import jax
import jax.numpy as jnp
import numpy as np
import pynapple as nap
import pytest
from samples import FULL, Rows, sample_cases

from popglm._files.checkpoint import Checkpoint
from popglm._files.npz import read_npz, write_npz
from popglm.basis import RaisedCosineLogConv
from popglm.batching import count_lazily, random_windows
from popglm.glm import GLM, PopulationGLM
from popglm.observation_models import NegativeBinomial, Poisson
from popglm.regularizer import GroupLasso

KILLS = 30 if FULL else 2  # processes killed per way to fit
PLAIN = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}
EXACT = {"solver_kwargs": {"tol": 1e-9}}  # more than ten passes, so that neurons get factors of their own
X = np.random.default_rng(0).normal(size=(6000, 12))
Y = np.random.default_rng(1).poisson(np.exp(X[:, :3] @ [[1.8, 0, 0.4], [0, -2.4, 0], [0.2, 0, 0]] - 2))
SCATTERED = np.random.default_rng(4).negative_binomial(2, 1 / (1 + np.exp(X[:, :3] @ np.eye(3) / 2)))
GAPS = np.where(np.random.default_rng(2).random(Y.shape) < 0.01, np.nan, Y)
MASK = np.random.default_rng(3).integers(0, 2, (12, 3))


class Interrupted(Exception):
    """Stands for whatever ends a process."""


class Momentum:
    """Steps as optax takes them, with a number in their state."""

    def init(self, params):
        return jax.tree.map(jnp.zeros_like, params), 0

    def update(self, gradient, state, params):
        moves = jax.tree.map(lambda m, g: 0.9 * m - 0.005 * g, state[0], gradient)
        return moves, (moves, state[1] + 1)


def windows(X=X, y=Y):
    return random_windows(X, y, 350, seed=1)


def lazily(units):
    counts = count_lazily(units, 0.01)
    return RaisedCosineLogConv(3, window_size=20).lazy_features(counts), counts


FITS = {
    "fit": (EXACT, lambda model, p, **kw: model.fit(X, Y, **kw)),
    "fit, ridge, gaps": (
        EXACT | {"regularizer": "Ridge", "regularizer_strength": 0.001},
        lambda model, p, **kw: model.fit(X, GAPS, **kw),
    ),
    "fit, lasso": (
        EXACT | {"regularizer": "Lasso", "regularizer_strength": np.linspace(0.001, 0.01, 12)},
        lambda model, p, **kw: model.fit(X, Y, **kw),
    ),
    "fit, far from 0": (EXACT, lambda model, p, **kw: model.fit(X + 50, Y, **kw)),
    "fit from a stream": (EXACT, lambda model, p, **kw: model.fit(*lazily(p.units), **kw)),
    "fit, mask, init": (
        EXACT | {"feature_mask": MASK},
        lambda model, p, **kw: model.fit(X, Y, (np.full((12, 3), 0.1), np.zeros(3)), **kw),
    ),
    "fit, scale of its own": (
        EXACT | {"observation_model": "NegativeBinomial"},
        lambda model, p, **kw: model.fit(X, SCATTERED, **kw),
    ),
    "windows, scale of its own": (
        {"observation_model": "NegativeBinomial"},
        lambda model, p, **kw: model.fit_batches(windows(y=SCATTERED), 150, **kw),
    ),
    "windows, groups": (
        {"regularizer": GroupLasso(4), "regularizer_strength": 0.01},
        lambda model, p, **kw: model.fit_batches(windows(), 60, **kw),
    ),
    "windows": ({}, lambda model, p, **kw: model.fit_batches(windows(), 60, **kw)),
    "windows of a stream": (
        {},
        lambda model, p, **kw: model.fit_batches(random_windows(*lazily(p.units), 700, seed=1), 30, **kw),
    ),
    "a list": ({}, lambda model, p, **kw: model.fit_batches(list(windows()), 40, **kw)),
    "a generator": ({}, lambda model, p, **kw: model.fit_batches((pair for pair in windows()), 15, **kw)),
    "held-out data": (
        {},
        lambda model, p, **kw: model.fit_batches(
            windows(X[:4500], Y[:4500]), 60, held_out=(X[4500:], Y[4500:]), check_every=4, patience=2, **kw
        ),
    ),
    "gradient descent": (PLAIN, lambda model, p, **kw: model.fit_batches(windows(), 25, **kw)),
    "steps of another library": (
        {},
        lambda model, p, **kw: model.fit_batches(windows(), 25, solver=Momentum(), **kw),
    ),
}


def same(a, b):
    """Bitwise, in all that a fit leaves behind."""
    for name in ("coef_", "intercept_", "n_iter_", "converged_", "scale_", "_train_mean"):
        assert np.array_equal(getattr(a, name, 0), getattr(b, name, 0)), name
    assert getattr(a, "history_", None) == getattr(b, "history_", None)


def interrupted_every(n, monkeypatch):
    """From now on a run is written at every step, and every n-th writing is the last thing that its process does."""
    written, close = [0], Checkpoint.close

    def close_and_stop(self):
        close(self)
        written[0] += 1
        if written[0] % n == 0:
            raise Interrupted

    monkeypatch.setattr("popglm._files.checkpoint.SAVE_INTERVAL", 0.0)
    monkeypatch.setattr(Checkpoint, "close", close_and_stop)
    return written


@pytest.mark.filterwarnings("ignore:neuron")
@pytest.mark.parametrize("name", sample_cases(FITS, 8))
def test_a_run_that_is_stopped_and_started_again_is_the_run(monkeypatch, tmp_path, population, name):
    settings, fit = FITS[name]
    path = tmp_path / "run.npz"
    expected = fit(PopulationGLM(**settings), population)
    assert name not in ("fit", "fit, ridge, gaps") or expected.n_iter_.max() > 12, "it has no factors of neurons' own"
    with monkeypatch.context() as patch:
        written, starts = interrupted_every(4, patch), 0
        while True:
            starts += 1
            try:
                model = fit(PopulationGLM(**settings), population, checkpoint=path)
                break
            except Interrupted:
                assert starts <= written[0]
    same(model, expected)
    assert starts > 2 and os.listdir(tmp_path) == ["run.npz"]
    written_once = tmp_path / "once.npz"
    same(fit(PopulationGLM(**settings), population, checkpoint=written_once), expected)
    forbidden = lambda *args: pytest.fail("a finished run must not compute again")
    for step in ("popglm._solver.passes.evaluate_objective", "popglm.batching._default_solver.BatchFit.step"):
        monkeypatch.setattr(step, forbidden)
    for finished in (path, written_once):
        content = finished.read_bytes()
        same(fit(PopulationGLM(**settings), population, checkpoint=str(finished)), expected)
        assert finished.read_bytes() == content


INSIDE = {
    "a step": ("popglm.batching._first_pass._apply_newton_share", 9),
    "the look at a batch": ("popglm.batching._first_pass._reset_diverged_neurons", 9),
    "a new curvature": ("popglm.batching._first_pass.renew_curvature", 5),
    "the end of a pass": ("popglm.batching._default_solver.take_solver_step", 1),
    "a pass": ("popglm._solver.passes.evaluate_objective", 6),
}


def test_an_error_in_a_callback_repeats_its_step_and_no_more(tmp_path):
    run = lambda **kw: PopulationGLM().fit_batches(
        windows(X[:4500], Y[:4500]), 60, held_out=(X[4500:], Y[4500:]), check_every=4, patience=3, **kw
    )
    steps = []

    def fails(n, *_):
        steps.append(n)
        if n == 8 and len(steps) == 8:
            raise RuntimeError("a mistake of the user's")

    with pytest.raises(RuntimeError, match="a mistake"):
        run(callback=fails, checkpoint=tmp_path / "run.npz")
    same(run(callback=fails, checkpoint=tmp_path / "run.npz"), run())
    assert steps == [*range(1, 9), *range(8, steps[-1] + 1)] and len(steps) > 12


@pytest.mark.parametrize("name", INSIDE)
def test_who_stops_a_run_by_hand_loses_what_was_not_finished_and_no_more(monkeypatch, tmp_path, name):
    """Ctrl-C in the middle of a step: the file holds the state before it, although thirty seconds have not passed."""
    step, last = INSIDE[name]
    path, calls, whole = tmp_path / "run.npz", [0], pkgutil.resolve_name(step)
    if name == "a pass":
        fit = lambda **kw: PopulationGLM(**EXACT).fit(X, Y, **kw)
    else:
        fit = lambda **kw: PopulationGLM().fit_batches(windows(), 60, **kw)

    def stopped_inside(*args):
        calls[0] += 1
        if calls[0] == last:
            raise KeyboardInterrupt
        return whole(*args)

    expected = fit()
    with monkeypatch.context() as patch:
        patch.setattr(step, stopped_inside)
        with pytest.raises(KeyboardInterrupt):
            fit(checkpoint=path)
    steps = []
    monkeypatch.setattr(step, lambda *args: steps.append(0) or whole(*args))
    same(fit(checkpoint=path), expected)
    gone_on = len(steps)
    same(fit(), expected)
    assert gone_on == len(steps) - gone_on - (last - 1), "it goes on with the very step that was stopped"


def test_in_double_precision(monkeypatch, tmp_path, float64):
    expected = PopulationGLM(**EXACT).fit(X, Y)
    with monkeypatch.context() as patch:
        interrupted_every(9, patch)
        with pytest.raises(Interrupted):
            PopulationGLM(**EXACT).fit(X, Y, checkpoint=tmp_path / "run.npz")
    same(PopulationGLM(**EXACT).fit(X, Y, checkpoint=tmp_path / "run.npz"), expected)
    with jax.enable_x64(False), pytest.raises(ValueError, match="precision was float64 there and is float32 here"):
        PopulationGLM(**EXACT).fit(X, Y, checkpoint=tmp_path / "run.npz")


def test_a_scale_that_is_given_is_one_of_the_settings(tmp_path):
    runs = {
        "fit": lambda model: model.fit(X, SCATTERED, checkpoint=tmp_path / "fit.npz"),
        "batches": lambda model: model.fit_batches(windows(y=SCATTERED), 20, checkpoint=tmp_path / "batches.npz"),
    }
    for run in runs.values():
        run(PopulationGLM(NegativeBinomial(scale=0.3)))
        with pytest.raises(ValueError, match=r"scale was 0\.3 there and is 0\.4 here"):
            run(PopulationGLM(NegativeBinomial(scale=0.4)))
        with pytest.raises(ValueError, match=r"scale was 0\.3 there and is None here"):
            run(PopulationGLM(NegativeBinomial()))


def test_a_run_may_be_made_longer(tmp_path):
    short, path = {"solver_kwargs": EXACT["solver_kwargs"] | {"maxiter": 3}}, tmp_path / "fit.npz"
    with pytest.warns(RuntimeWarning, match="stopped before it converged"):
        first = PopulationGLM(**short).fit(X, Y, checkpoint=path)
    with pytest.warns(RuntimeWarning, match="stopped before it converged"):
        same(PopulationGLM(**short).fit(X, Y, checkpoint=path), first)
    same(PopulationGLM(**EXACT).fit(X, Y, checkpoint=path), PopulationGLM(**EXACT).fit(X, Y))

    path, n = tmp_path / "batches.npz", len(windows())
    for n_steps in (3, n - 1, n, n + 1, 2 * n, 6 * n):
        expected = PopulationGLM().fit_batches(windows(), n_steps)
        same(PopulationGLM().fit_batches(windows(), n_steps, checkpoint=path), expected)
    same(PopulationGLM().fit_batches(windows(), 2, checkpoint=path), expected)  # it has more steps than these


def test_a_single_neuron_and_a_callback_that_ends_the_run(tmp_path):
    run = lambda **kw: GLM().fit_batches(windows(y=Y[:, 0]), 50, callback=lambda n, *_: n == 7, **kw)
    for _ in range(2):
        same(run(checkpoint=tmp_path / "run.npz"), run())
    assert run(checkpoint=tmp_path / "run.npz").n_iter_ == 7


def test_it_is_written_every_thirty_seconds(monkeypatch, tmp_path):
    now, path = [0.0], tmp_path / "run.npz"
    monkeypatch.setattr("popglm._files.checkpoint.time.monotonic", lambda: now[0])
    sizes = []

    def ten_seconds(n, *_):
        sizes.append(path.stat().st_mtime_ns if path.exists() else 0)
        now[0] += 10

    PopulationGLM().fit_batches(windows(), 12, callback=ten_seconds, checkpoint=path)
    writings = np.flatnonzero(np.diff(sizes)) + 1
    assert sizes[:3] == [0, 0, 0] and writings.tolist() == [3, 6, 9], sizes


# What does not belong to the file


OTHER = {
    "other activity": ({}, (X, Y[::-1]), "y is not what it was"),
    "one neuron, shifted by a bin": ({}, (X, np.c_[np.roll(Y[:, 0], 1), Y[:, 1:]]), "y is not what it was"),
    "other features": ({}, (X[:, ::-1], Y), "X is not what it was"),
    "one feature scaled": ({}, (X * np.r_[1.001, np.ones(11)], Y), "X is not what it was"),
    "a sign where nobody fires": ({}, (np.where(Y.any(1)[:, None], X, -X), Y), "X is not what it was"),
    "one entry": (
        {},
        (X + 1e-4 * (np.arange(6000) == 3000)[:, None] * (np.arange(12) == 3), Y),
        "X is not what it was",
    ),
    "fewer bins": ({}, (X[:-1], Y[:-1]), r"shape of X was \[6000, 12\] there and is \[5999, 12\] here"),
    "another type": ({}, (X.astype(np.float32), Y), "dtype of X was float64 there and is float32 here"),
    "a penalty": ({"regularizer": "Ridge"}, (X, Y), "regularizer was UnRegularized there and is Ridge here"),
    "a link": ({"inverse_link_function": "softplus"}, (X, Y), "inverse_link_function was exp .* there and is softplus"),
    "a mask": ({"feature_mask": MASK}, (X, Y), "feature_mask was None there"),
    "a tolerance": ({"solver_kwargs": {"tol": 1e-3}}, (X, Y), "tol was None there and is 0.001 here"),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_fit_is_refused_and_the_file_kept(tmp_path, name):
    settings, data, text = OTHER[name]
    path = tmp_path / "run.npz"
    PopulationGLM().fit(X, Y, checkpoint=path)
    content = path.read_bytes()
    with pytest.raises(ValueError, match=rf"run\.npz is the checkpoint of .*{text}.*Give another path"):
        PopulationGLM(**settings).fit(*data, checkpoint=path)
    if "tol" not in name:
        path = tmp_path / "batches.npz"
        PopulationGLM().fit_batches(windows(), 5, checkpoint=path)
        with pytest.raises(ValueError, match=r"batches\.npz is the checkpoint of"):
            PopulationGLM(**settings).fit_batches(windows(*data), 5, checkpoint=path)
    assert (tmp_path / "run.npz").read_bytes() == content


@dataclass(frozen=True)
class Own(Poisson):
    """A model with a setting more."""

    width: float = 1.0


def test_a_model_of_ones_own_is_known_by_all_its_settings(tmp_path):
    path = tmp_path / "run.npz"
    fit = PopulationGLM(Own(width=1.0)).fit(X, Y, checkpoint=path)
    np.testing.assert_array_equal(PopulationGLM(Own(width=1.0)).fit(X, Y, checkpoint=path).coef_, fit.coef_)
    with pytest.raises(
        ValueError, match=r"observation_model was Own\{'width': 1.0\} there and is Own\{'width': 2.0\} here"
    ):
        PopulationGLM(Own(width=2.0)).fit(X, Y, checkpoint=path)


def test_a_single_spike_that_moved_is_noticed(tmp_path):
    moved = Y.copy()
    moved[[3000, 3001], 0] += [1, -1] if Y[3001, 0] else [-1, 1]
    PopulationGLM().fit(X, Y, checkpoint=tmp_path / "run.npz")
    with pytest.raises(ValueError, match="y is not what it was"):
        PopulationGLM().fit(X, np.maximum(moved, 0), checkpoint=tmp_path / "run.npz")


def test_other_epochs_and_other_windows_are_refused(tmp_path, recording):
    path, basis = tmp_path / "run.npz", RaisedCosineLogConv(2, window_size=5)
    PopulationGLM().fit(basis.lazy_features(recording), recording, checkpoint=path)
    joined = nap.TsdFrame(t=recording.t, d=recording.values, columns=recording.columns)
    with pytest.raises(ValueError, match=r"epochs of y was 3 from 0 to 4.5 s, .* there and is 1 from"):
        PopulationGLM().fit(basis.lazy_features(recording), joined, checkpoint=path)
    with pytest.raises(ValueError, match="method was fit of PopulationGLM there and is fit_batches of Pop"):
        PopulationGLM().fit_batches(windows(), 5, checkpoint=path)
    path = tmp_path / "batches.npz"
    PopulationGLM().fit_batches(windows(), 5, checkpoint=path)
    with pytest.raises(ValueError, match=r"batches was Windows\(.*seed=1\) there and is Windows\(.*seed=2\) here"):
        PopulationGLM().fit_batches(random_windows(X, Y, 350, seed=2), 9, checkpoint=path)
    with pytest.raises(ValueError, match="solver was the default solver there and is Momentum here"):
        PopulationGLM().fit_batches(windows(), 9, solver=Momentum(), checkpoint=path)
    path = tmp_path / "list.npz"
    pairs = list(windows())
    PopulationGLM().fit_batches(pairs, 5, checkpoint=path)
    for others in (pairs[::-1], pairs[:3], [(9 * pairs[0][0], pairs[0][1]), *pairs[1:]]):
        with pytest.raises(ValueError, match=r"batches was 18, checksum .* there"):
            PopulationGLM().fit_batches(others, 9, checkpoint=path)
    path = tmp_path / "generator.npz"
    PopulationGLM().fit_batches(iter(pairs), 5, checkpoint=path)
    with pytest.raises(ValueError, match=r"is not what it was\. Batches must come in the same order"):
        PopulationGLM().fit_batches(iter(pairs[::-1]), 9, checkpoint=path)
    with pytest.raises(ValueError, match="X is not what it was"):
        PopulationGLM().fit_batches(((x.astype(np.float32), y) for x, y in pairs), 9, checkpoint=path)
    with pytest.raises(ValueError, match="the batches end before those that it has taken"):
        PopulationGLM().fit_batches(iter(pairs[:3]), 9, checkpoint=path)


def test_batches_of_other_data_in_memory_are_refused_wherever_they_differ(tmp_path, population):
    """Spike times, inputs and held-out data too, although only one window is read."""
    basis, counts, path = RaisedCosineLogConv(3, window_size=20), population.counts, tmp_path / "run.npz"
    moved = counts.values.copy()
    at = np.flatnonzero(moved[:-1, 0] & ~moved[1:, 0].astype(bool))[0]
    moved[[at, at + 1], 0] = moved[[at + 1, at], 0]
    moved = nap.TsdFrame(t=counts.t, d=moved, time_support=counts.time_support, columns=counts.columns)
    trains = {
        n: nap.Ts(np.r_[population.units[n].t[:1] + 1e-4 * (n == 0), population.units[n].t[1:]]) for n in range(4)
    }
    jittered = nap.TsGroup(trains, time_support=population.units.time_support)
    make = lambda counts: random_windows(basis.lazy_features(counts), counts, 700, seed=1)
    lazy = [count_lazily(units, 0.005) for units in (population.units, jittered)]
    for first, second in ((counts, moved), lazy):
        PopulationGLM().fit_batches(make(first), 3, checkpoint=path)
        with pytest.raises(ValueError, match="in memory was checksum"):
            PopulationGLM().fit_batches(make(second), 3, checkpoint=path)
        path.unlink()
    run = lambda held_out: PopulationGLM().fit_batches(windows(), 9, held_out=held_out, check_every=4, checkpoint=path)
    run((X[:500], Y[:500]))
    with pytest.raises(ValueError, match="held_out was"):
        run((X[:500], Y[:500] + 1))


def test_batches_may_come_in_one_buffer_that_is_written_again(tmp_path):
    def buffer():
        X, y = np.empty((350, 12)), np.empty((350, 3))
        for some, counts in windows():
            X[:], y[:] = some, counts
            yield X, y

    class Again:
        def __iter__(self):
            return buffer()

    for make in (buffer, Again):
        path, expected = tmp_path / f"{make.__name__}.npz", PopulationGLM().fit_batches(make(), 13)
        for n_steps in (7, 7, 13):
            model = PopulationGLM().fit_batches(make(), n_steps, checkpoint=path)
        same(model, expected)


def test_a_run_that_goes_on_from_a_state_has_a_checkpoint_too(tmp_path):
    pairs = list(windows())
    first = PopulationGLM().fit_batches(iter(pairs), 8)
    at = (first.coef_, first.intercept_), first.batch_state_
    run = lambda **kw: PopulationGLM().fit_batches(iter(pairs[8:]), 6, **kw)
    for _ in range(2):
        same(run(init=at, checkpoint=tmp_path / "run.npz"), run(init=at))
    with pytest.raises(ValueError, match="init was"):
        run(init=(at[0], None), checkpoint=tmp_path / "run.npz")


class Odd(Momentum):
    """A state of Python's numbers, and arrays of NumPy in double precision."""

    def init(self, params):
        return jax.tree.map(lambda p: np.zeros(p.shape), params), 1.0, np.float64(0.1)

    def update(self, gradient, state, params):
        moves = jax.tree.map(lambda m, g: 0.9 * m - 0.005 * state[1] * np.asarray(g, float), state[0], gradient)
        return moves, (moves, state[1] / 1.1, state[2] / 3)


def test_numbers_of_other_libraries_stay_what_they_are(monkeypatch, tmp_path):
    run = lambda **kw: PopulationGLM().fit_batches(windows(), 25, solver=Odd(), **kw)
    expected = run()
    with monkeypatch.context() as patch:
        interrupted_every(5, patch)
        with pytest.raises(Interrupted):
            run(checkpoint=tmp_path / "run.npz")
    model = run(checkpoint=tmp_path / "run.npz")
    same(model, expected)
    leaves, others = (jax.tree.leaves(m.batch_state_.solver[1]) for m in (model, expected))
    assert [type(leaf) for leaf in leaves] == [type(leaf) for leaf in others]


def test_a_step_that_shrinks_is_known_by_its_sizes(tmp_path):
    steps = lambda first: {
        "solver_name": "GradientDescent",
        "solver_kwargs": {"stepsize": lambda i: first / (1.0 + i), "acceleration": False},
    }
    for _ in range(2):
        PopulationGLM(**steps(0.1)).fit_batches(windows(), 5, checkpoint=tmp_path / "run.npz")
    with pytest.raises(ValueError, match=r"stepsize was \[0.1.* there and is \[0.2"):
        PopulationGLM(**steps(0.2)).fit_batches(windows(), 5, checkpoint=tmp_path / "run.npz")


def test_two_runs_may_share_a_path(tmp_path):
    """Each writes to a name of its own; what a killed one left is removed after a while."""
    path = tmp_path / "run.npz"
    left, new = tmp_path / "run.npz.123.partial", tmp_path / "run.npz.124.partial"
    left.write_bytes(b"half"), new.write_bytes(b"half of another, which lives")
    os.utime(left, (0, 0))
    PopulationGLM().fit(X, Y, checkpoint=path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.npz", "run.npz.124.partial"]


def test_threads_may_share_a_path(tmp_path):
    """Each write is whole and none takes the partial file of another."""
    write = lambda n: write_npz(tmp_path / "run.npz", "checkpoint", 1, (np.full(5000, n),))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(64)))  # raises what a thread raised
    (values,) = read_npz(tmp_path / "run.npz", "checkpoint", 1)
    assert (values == values[0]).all() and [p.name for p in tmp_path.iterdir()] == ["run.npz"]


@pytest.mark.parametrize("way", ["fit", "fit_batches"])
def test_a_fit_that_has_ended_is_kept_if_its_last_checkpoint_cannot_be_written(monkeypatch, tmp_path, way):
    def fit(model):
        path = tmp_path / "run.npz"
        return model.fit(X, Y, checkpoint=path) if way == "fit" else model.fit_batches(windows(), 5, checkpoint=path)

    def refuse(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.warns(
        RuntimeWarning, match=r"the model has its result, but .*could not be written: No space left.*Make room"
    ):
        model = fit(PopulationGLM())
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(model.coef_, fit(PopulationGLM()).coef_)  # with room, the same call writes it


def test_a_link_leads_to_the_file(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "run.npz"
    path.symlink_to(tmp_path / "elsewhere" / "run.npz")
    PopulationGLM().fit(X, Y, checkpoint=path)
    assert path.is_symlink() and (tmp_path / "elsewhere" / "run.npz").is_file()


def test_a_damaged_file_is_refused_and_kept(tmp_path):
    path = tmp_path / "run.npz"
    expected = PopulationGLM().fit_batches(windows(), 5, checkpoint=path)
    content, rng = path.read_bytes(), random.Random(0)
    damaged = [content[:n] for n in (0, 1, 100, len(content) // 2, len(content) - 1)] + [b"not a zip" * 100]
    for _ in range(60):
        at = rng.randrange(len(content))
        damaged.append(content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :])
    refused = 0
    for some in damaged:
        path.write_bytes(some)
        try:
            same(PopulationGLM().fit_batches(windows(), 5, checkpoint=path), expected)  # a date inside the zip, say
        except ValueError as error:
            refused += 1
            assert "run.npz is not a whole checkpoint" in str(error) and "Delete it to start anew" in str(error)
        assert path.read_bytes() == some
    assert refused > 50


def test_the_file_holds_arrays_and_json_and_no_pickle(tmp_path):
    path = tmp_path / "run.npz"
    PopulationGLM().fit_batches(windows(), 30, checkpoint=path)
    with np.load(path, allow_pickle=False) as parts:
        assert all(parts[name].dtype.kind in "biuf" for name in parts.files)
        header = json.loads(bytes(parts["header"]))
    assert header["kind"] == "checkpoint" and header["version"] == 1
    assert zipfile.is_zipfile(path)
    settings = json.loads(header["tree"][0])
    assert settings["shape of X"] == [6000, 12] and "seed=1" in settings["batches"]


def test_another_version_is_named(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr("popglm._files.checkpoint.CHECKPOINT_VERSION", 99)
        PopulationGLM().fit(X, Y, checkpoint=tmp_path / "run.npz")
    with pytest.raises(ValueError, match="must be a checkpoint of version 1; it is a checkpoint of version 99"):
        PopulationGLM().fit(X, Y, checkpoint=tmp_path / "run.npz")


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda folder: 3, TypeError, "`checkpoint` must be the path of a file"),
        (lambda folder: folder, ValueError, "is a folder. Append a name"),
        (lambda folder: folder / "missing" / "run.npz", ValueError, "missing does not. Make it first"),
        (lambda folder: "", ValueError, "'' is a folder"),
        (lambda folder: "~nobody-of-this-name/run.npz", ValueError, "is none"),
        (lambda folder: "a\0b.npz", ValueError, "is none"),
    ],
)
def test_bad_paths(tmp_path, make, error, text):
    for run in (
        lambda p: PopulationGLM().fit(X, Y, checkpoint=p),
        lambda p: PopulationGLM().fit_batches(windows(), 3, checkpoint=p),
    ):
        with pytest.raises(error, match=text):
            run(make(tmp_path))


def test_a_named_solver_has_no_checkpoint_of_fit(tmp_path):
    with pytest.raises(ValueError, match="`checkpoint` is for the default solver; 'GradientDescent' runs in one piece"):
        PopulationGLM(**PLAIN).fit(X, Y, checkpoint=tmp_path / "run.npz")


def test_a_state_of_words_is_refused(tmp_path):
    class Wordy(Momentum):
        def init(self, params):
            return "a word"

        def update(self, gradient, state, params):
            return jax.tree.map(lambda g: -0.01 * g, gradient), np.asarray(["a", "word"])

    class Random(Wordy):
        def update(self, gradient, state, params):
            return jax.tree.map(lambda g: -0.01 * g, gradient), jax.random.key(0)

    steps = []
    for solver in (Wordy(), Random()):
        with pytest.raises(
            TypeError, match=r"numbers and arrays of numbers; the state of this solver holds (str|ndarray|PRNGKeyArray)"
        ):
            PopulationGLM().fit_batches(
                windows(), 9, solver=solver, callback=lambda n, *_: steps.append(n), checkpoint=tmp_path / "run.npz"
            )
    assert steps == [1, 1], "said at the first step"


# Real processes


@pytest.mark.parametrize("way", ["fit", "fit_batches"])
def test_killed_processes_end_bitwise_where_one_that_lives_does(tmp_path, way):
    path, rng = tmp_path / "run.npz", random.Random(way)
    child_fits.start(way, None, tmp_path / "expected.npz").join()
    start = time.monotonic()
    child_fits.start(way, tmp_path / "alive.npz", tmp_path / "alive_found.npz").join()
    seconds = time.monotonic() - start
    written = lambda: path.stat().st_mtime_ns if path.exists() else 0
    killed = 0
    for n in range(KILLS):
        process, before = child_fits.start(way, path, tmp_path / "found.npz"), written()
        while process.is_alive() and written() == before:  # until it has come farther than the last one
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.5) * seconds if n else 0)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
    last = child_fits.start(way, path, tmp_path / "found.npz")
    last.join()
    assert last.exitcode == 0
    expected, *found = (np.load(tmp_path / f"{name}.npz") for name in ("expected", "alive_found", "found"))
    for name in expected.files:
        for other in found:
            assert np.array_equal(expected[name], other[name]), name
    assert killed, "every process was done before it was killed"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file size, which stands for a full disk here")
def test_a_full_disk_leaves_the_last_checkpoint_as_it_was(tmp_path):
    path, out = tmp_path / "run.npz", tmp_path / "found.npz"
    child_fits.fit("fit_batches", path, n_steps=50)
    content = path.read_bytes()
    process = child_fits.start("fit_batches", path, out, largest_file=len(content) // 2)
    process.join()
    error = out.with_suffix(".txt").read_text()
    assert process.exitcode and f"[Errno {errno.EFBIG}] the checkpoint could not be written: " in error, error
    assert "What was at this place before is untouched. Make room" in error
    assert path.read_bytes() == content and not list(tmp_path.glob("*.partial"))
    continued = child_fits.fit("fit_batches", path)  # there is room again
    assert np.array_equal(continued.coef_, child_fits.fit("fit_batches").coef_)


@pytest.mark.parametrize("changed", ["sample_weight", "offset", "only another", "streamed"])
@pytest.mark.parametrize("model", ["Poisson", "Gaussian"])
def test_weights_and_offsets_belong_to_a_checkpoint(tmp_path, changed, model):
    """The same fit continues bitwise; one with other weights or offsets is refused by name."""
    rng = np.random.default_rng(0)
    X, y, path = rng.normal(size=(200, 2)), rng.poisson(1.0, (200, 2)), tmp_path / "fit.npz"
    rows = {"sample_weight": rng.integers(0, 3, 200), "offset": rng.normal(size=(200, 2))}
    with jax.enable_x64(True):
        with pytest.warns(RuntimeWarning, match="maxiter"):
            PopulationGLM(model, solver_kwargs={"maxiter": 1}).fit(X, y, checkpoint=path, **rows)
        if changed == "only another":
            other, name = {"sample_weight": rows["sample_weight"]}, "offset"
        elif changed == "streamed":
            other, name = rows | {"offset": Rows(rows["offset"] + 1)}, "offset|y is not"
        else:
            other, name = rows | {changed: rows[changed] + 1}, changed
        before = path.read_bytes()
        with pytest.raises(
            ValueError, match=f"is the checkpoint of (another fit: ({name}) was|a fit to other data: ({name}))"
        ):
            PopulationGLM(model).fit(X, y, checkpoint=path, **other)
        assert path.read_bytes() == before
        continued = PopulationGLM(model).fit(X, y, checkpoint=path, **rows)
        plain = PopulationGLM(model).fit(X, y, **rows)
    np.testing.assert_array_equal(continued.coef_, plain.coef_)
