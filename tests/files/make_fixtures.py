"""Files as one version of popglm writes them, which every later one reads; and the calls that they belong to.

For a new version, from a checkout of it: ``python tests/files/make_fixtures.py tests/files/v0.2.0``. Those of an earlier one,
such as commit 542b2f1, which writes what version 0.1.0 writes:

    mkdir /tmp/old && git archive 542b2f1 | tar -x -C /tmp/old
    PYTHONPATH=/tmp/old/src python tests/files/make_fixtures.py tests/files/v0.1.0

Only public names are used, so that it runs with any version. Data are small whole numbers in single precision: their
checksums are the same on every machine.
"""

import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pynapple as nap

from popglm import basis, io, links, observation_models, regularizer
from popglm.batching import random_windows
from popglm.glm import GLM, PopulationGLM

N_BINS, N_FEATURES, N_NEURONS = 160, 4, 3
DRIVE = np.array([[3, 0, 1], [0, -2, 0], [1, 0, 0], [0, 1, -1]])
EXACT = {"solver_kwargs": {"tol": 1e-9}}
FAR = np.full((N_FEATURES, N_NEURONS), -0.5), np.full(N_NEURONS, 1.0)  # so that there are enough passes to be stopped
NAMES = ["hippocampus 3", "b", "ü"]


class Stopped(Exception):
    """Ends a fit in the middle."""


class Run(NamedTuple):
    """A fit with a checkpoint: settings, method, and the step (or pass) in which it is stopped; None lets it end."""

    settings: dict
    method: object
    stop: int | None

    def __call__(self, checkpoint=None, stop=None):
        """The fitted model, and the number of steps (or passes) that were made here."""
        return self.method(PopulationGLM(**self.settings), checkpoint, stop)


def tables():
    """X, and y with values that are missing, both of whole numbers."""
    rng = np.random.default_rng(0)
    X = rng.integers(-3, 4, (N_BINS, N_FEATURES))
    y = np.maximum(X @ DRIVE + rng.integers(-6, 5, (N_BINS, N_NEURONS)), 0).astype(np.float32)
    y[100:106, 1] = np.nan
    return X.astype(np.float32), y


def scattered():
    """X and counts with more variance than Poisson's."""
    X, y = tables()
    return X, y * np.random.default_rng(1).integers(0, 4, y.shape)


def recording():
    """The same counts with times, epochs and names; bins that are missing have none."""
    times = np.arange(N_BINS) / 64
    epochs = nap.IntervalSet([0.0, 1.0], [0.75, 3.0])
    return nap.TsdFrame(t=times, d=np.nan_to_num(tables()[1]), time_support=epochs, columns=NAMES)


def history():
    """The basis of the lazy features."""
    return basis.RaisedCosineLogConv(2, window_size=8, label="history")


def fit(model, checkpoint, stop, data=tables, init=FAR):
    """All data at once. The bar for the user is what tells passes, and stops them."""
    passes = [0]

    class Bar:
        def __init__(self, **_):
            self.n = 0

        def set_postfix(self, **_):
            passes[0] += 1
            if passes[0] == stop:
                raise Stopped

        def set_postfix_str(self, _):
            self.set_postfix()

        def update(self, n):
            self.n += n

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    with mock.patch("tqdm.auto.tqdm", Bar):
        return model.fit(*data(), init, progress=True, checkpoint=checkpoint), passes[0]


windows = partial(random_windows, seed=1)


def fit_batches(model, checkpoint, stop, n_steps=48, data=tables, batches=windows, **options):
    """Windows of 20 bins, eight or nine a pass."""
    steps = [0]

    def callback(n, *_):
        if n == stop:
            raise Stopped
        steps[0] += 1

    batches = batches(*data(), 20)
    return model.fit_batches(batches, n_steps, callback=callback, checkpoint=checkpoint, **options), steps[0]


def listed(X, y, size):
    """Batches in a list."""
    return [(X[at : at + size], y[at : at + size]) for at in range(0, len(X), size)]


def lazily():
    """Lazy features of a recording, and it."""
    counts = recording()
    return history().lazy_features(counts), counts


NEGATIVE_BINOMIAL = {"observation_model": "NegativeBinomial"}
RUNS = {
    "fit": Run(EXACT, fit, 5),
    "fit_with_factors_of_neurons": Run(EXACT, fit, 13),
    "fit_ended": Run(EXACT, fit, None),
    "fit_lasso": Run(EXACT | {"regularizer": "Lasso", "regularizer_strength": 0.01}, fit, 5),
    "fit_negative_binomial": Run(EXACT | NEGATIVE_BINOMIAL, partial(fit, data=scattered), 9),
    "fit_lazy_features": Run(EXACT, partial(fit, data=lazily, init=None), 4),
    "batches_in_the_first_pass": Run({}, fit_batches, 6),
    "batches_in_the_second_pass": Run({}, fit_batches, 14),
    "batches_ended": Run({}, fit_batches, None),
    "batches_in_a_list": Run({}, partial(fit_batches, batches=listed), 14),
    "batches_lazy_features": Run({}, partial(fit_batches, data=lazily), 6),
    "batches_negative_binomial": Run(NEGATIVE_BINOMIAL, partial(fit_batches, data=scattered), 23),
    "batches_held_out": Run({}, partial(fit_batches, held_out=tables(), check_every=4, patience=20), 11),
    "batches_of_a_named_solver": Run(
        {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.02, "acceleration": False}},
        partial(fit_batches, n_steps=24),
        11,
    ),
}


def fitted():
    """A fit with names of neurons and features, and its basis."""
    bumps, counts = history(), recording()
    model = PopulationGLM(regularizer="Ridge", regularizer_strength=0.01)
    return {"basis": bumps, "model": model.fit(bumps.compute_features(counts), counts)}


def settings():
    """An object of every class of which a file holds the settings, few of them the default; a basis that knows bounds."""
    place = basis.BSplineEval(4, label="place")
    place.compute_features(np.arange(9.0))
    lags, values = basis.HistoryConv(3), basis.IdentityEval(label="speed")
    families = ("BSpline", "CyclicBSpline", "MSpline", "Fourier", "RaisedCosineLinear", "RaisedCosineLog")
    bases = [lags, values, place, basis.CategoryEval(["left", "right"]), lags + place * values]
    bases += [getattr(basis, f"{family}Conv")(5, window_size=9) for family in families]
    bases += [getattr(basis, f"{family}Eval")(5, bounds=(0, 2)) for family in families]
    penalties = [
        "Ridge",
        "Lasso",
        regularizer.ElasticNet(0.3),
        regularizer.GroupLasso((2, 1)),
        regularizer.Smoothness(3, cyclic=False),
    ]
    kinds = ["Poisson", "Bernoulli", "Gaussian", "Gamma", observation_models.NegativeBinomial(scale=0.5)]
    models = [PopulationGLM(regularizer=penalty, regularizer_strength=0.1) for penalty in penalties]
    models += [GLM(kind) for kind in kinds]
    models += [GLM(inverse_link_function="softplus"), GLM(observation_models.Poisson(link=links.LINKS["softplus"]))]
    return {"bases": bases, "models": models}


SAVED = {"fitted": fitted, "settings": settings}


def main(folder):
    """Write all files."""
    folder.mkdir(parents=True)
    for name, make in SAVED.items():
        io.save(make(), folder / f"{name}.npz")
    for name, run in RUNS.items():
        try:
            run(folder / f"{name}.npz", run.stop)
            assert run.stop is None, f"{name} ended before it was stopped"
        except Stopped:
            pass


if __name__ == "__main__":
    main(Path(sys.argv[1]))
