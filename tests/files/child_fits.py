"""Fits in processes of their own, which tests kill. A server imports the package once, and every child is a fork of it."""

import multiprocessing
from unittest import mock

import numpy as np

from popglm.batching import random_windows
from popglm.glm import PopulationGLM

IMPORTED = ["popglm.batching", "popglm.glm"]


def fit(way, checkpoint=None, n_steps=200):
    """Return a model that was fitted in this way, with a checkpoint after every pass or step."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 60))
    y = rng.poisson(np.exp(X[:, :8] * np.linspace(-1, 1, 8) - 1))
    with mock.patch("popglm._files.checkpoint.SAVE_INTERVAL", 0.0):
        if way == "fit":
            return PopulationGLM(solver_kwargs={"tol": 1e-9}).fit(X, y, checkpoint=checkpoint)
        return PopulationGLM().fit_batches(random_windows(X, y, 500, seed=0), n_steps, checkpoint=checkpoint)


def numbers(model):
    """Return what must be equal bit by bit."""
    return {name: getattr(model, name) for name in ("coef_", "intercept_", "n_iter_")}


def start(way, checkpoint, out, largest_file=None):
    """Start a process that fits, and writes the numbers to the file `out`, or an error of the disk beside it."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(IMPORTED)
    process = processes.Process(target=_fit_and_write, args=(way, checkpoint, out, largest_file))
    process.start()
    return process


def _fit_and_write(way, checkpoint, out, largest_file):
    if largest_file is not None:
        import resource  # which Windows lacks

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    try:
        np.savez(out, **numbers(fit(way, checkpoint)))
    except OSError as error:
        out.with_suffix(".txt").write_text(str(error))
        raise SystemExit(1) from error
