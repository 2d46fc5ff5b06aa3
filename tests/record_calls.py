"""Calls over all that popglm shows, each with what it gives; `record.py` runs them in two trees and compares.

Most of their time goes into compiling loops for data of a new shape, so few shapes serve all. No name that begins with an
underscore is used, neither here nor in the tables of bad and odd input, which are among the calls: those names may change.
"""

import contextlib
import io as streams
import re
import runpy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pynapple as nap
from messages import things_at_hand
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline

from popglm import assessment, basis, inference, io, links, plotting, simulation
from popglm.basis import BSplineEval, CategoryEval, CustomBasis, FourierEval, HistoryConv, IdentityEval
from popglm.batching import count_lazily, random_windows, sequential_blocks
from popglm.glm import GLM, PopulationGLM
from popglm.model_selection import BlockSplit, CrossValidation, EpochSplit, cross_validate_path
from popglm.observation_models import Bernoulli, Gamma, Gaussian, NegativeBinomial, ObservationModel, Poisson
from popglm.regularizer import ElasticNet, GroupLasso, Lasso, Ridge, Smoothness, UnRegularized

# Data


RNG = np.random.default_rng(0)
X = RNG.normal(size=(900, 4))
ETA = X @ RNG.normal(scale=0.4, size=(4, 3)) - 0.7
COUNTS = RNG.poisson(np.exp(ETA)).astype(float)
SPIKES = RNG.binomial(1, 1 / (1 + np.exp(-ETA))).astype(float)
NUMBERS = ETA + RNG.normal(size=ETA.shape)
SIZES = RNG.gamma(2.0, np.exp(ETA) / 2)
BURSTS = RNG.negative_binomial(2, 1 / (1 + np.exp(ETA) / 2)).astype(float)
ACTIVITY = {"Poisson": COUNTS, "Bernoulli": SPIKES, "Gaussian": NUMBERS, "Gamma": SIZES, "NegativeBinomial": BURSTS}
SILENT = COUNTS * [1, 0, 1]
GAPS = np.where(RNG.random((900, 4)) < 0.01, np.nan, X), np.where(RNG.random((900, 3)) < 0.1, np.nan, COUNTS)
EPOCHS = nap.IntervalSet([0.0, 5.0, 9.0], [4.5, 8.0, 10.5])  # of 450, 300 and 150 bins
TIMES = np.concatenate([np.arange(start, end - 0.005, 0.01) + 0.005 for start, end in EPOCHS.values])
UNITS = nap.TsdFrame(TIMES, RNG.poisson(0.3, (900, 3)), time_support=EPOCHS, columns=["a", "b", "c"])
FRAME = nap.TsdFrame(TIMES, X, time_support=EPOCHS, columns=list("pqrs"))
PLACE, SIDE = 5 + 5 * np.sin(TIMES), np.where(np.sin(2 * TIMES) > 0, "left", "right")
TRAINS = {unit: nap.Ts(np.sort(RNG.uniform(0, 12, 150))) for unit in (3, 7, 12)}
TRAINS = nap.TsGroup(TRAINS, time_support=nap.IntervalSet(0, 12))
MASK = np.array([[1, 0, 1], [1, 1, 1], [0, 1, 1], [1, 1, 0]])
RIDGE = {"regularizer": "Ridge", "regularizer_strength": 0.1}
PLAIN = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}
SOLVERS = ("GradientDescent", "LBFGS", "BFGS", "NonlinearCG", "ProximalGradient")
SCORES = ("log-likelihood", "pseudo-r2-McFadden", "pseudo-r2-Cohen", "bits-per-spike")
LAGS = basis.RaisedCosineLogConv(3, window_size=12)
LAGGED = LAGS.lazy_features(UNITS)
KEY = partial(jax.random.key, 0)


# How calls are written


CALLS = {}


class Text(str):
    """Words for people, which may become better."""


def call(function):
    """Make a function one of the calls, by its name."""
    CALLS[function.__name__] = function
    return function


def refusal(case):
    """Return type and text of the error of a function, and whose line raised it."""
    try:
        return {"error": "none", "found": case()}
    except Exception as error:
        trace = error.__traceback__
        while trace.tb_next:
            trace = trace.tb_next
        raised_by = trace.tb_frame.f_globals["__name__"].split(".")[0]
        return {"error": type(error).__name__, "raised by": raised_by, "text": Text(error)}


def refused(*cases):
    """Return the same of several functions."""
    return [refusal(case) for case in cases]


def fitted(model):
    """Return all that a fit has left, or a basis has learned; but for `batch_state_`, which nobody looks into."""
    names = sorted(name for name in vars(model) if re.fullmatch(r"[a-z]\w*_", name))
    return {name: getattr(model, name) for name in names if name != "batch_state_"}


def used(model, X, y):
    """Return what a fit has left, what it predicts, how well, and what it draws."""
    found = {"rate": model.predict(X), "score": model.score(X, y, "pseudo-r2-Cohen"), "drawn": model.simulate(KEY(), X)}
    return fitted(model) | found | {"model": Text(model)}


def content(path):
    """Return the header of a file, and its arrays."""
    with np.load(path) as parts:
        arrays = {name: parts[name] for name in parts.files}
    return bytes(arrays.pop("header")).decode(), arrays


def looked_at(X):
    """Return what lazy features or lazy counts say of themselves, and the matrix."""
    names = "shape", "size", "columns", "metadata", "t", "time_support", "ndim", "made_of", "complete"
    known = {name: getattr(X, name) for name in names if hasattr(X, name)}
    reach = X.reach() if hasattr(X, "reach") else None
    return known | {"type": str(X.dtype), "length": len(X), "reach": reach, "words": Text(X), "matrix": np.asarray(X)}


def drawn(ax):
    """Return the data of all that was drawn on Axes, and the words there; close the figure."""
    ax.figure.canvas.draw()
    words = lambda texts: [text.get_text() for text in texts]
    legend, images = words(ax.get_legend().get_texts() if ax.get_legend() else []), []
    for image in ax.images:
        values, bar = np.ma.filled(image.get_array().astype(float), np.nan), image.colorbar
        images.append((values, image.get_clim(), image.get_extent(), image.cmap.name, bar.extend, bar.ax.get_ylabel()))
    lines = [(line.get_xydata(), line.get_color(), line.get_linestyle(), line.get_drawstyle()) for line in ax.lines]
    areas = [path.vertices for some in ax.collections for path in some.get_paths()]
    ticks = [(axis.get_ticklocs(), words(axis.get_ticklabels())) for axis in (ax.xaxis, ax.yaxis)]
    plt.close(ax.figure)
    axes = ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale(), ax.get_xlim(), ax.get_ylim()
    return {"lines": lines, "areas": areas, "images": images, "legend": legend, "ticks": ticks, "axes": axes}


def decay(x):
    """Fall off, as a function of a basis."""
    return np.exp(-3 * x)


def rise(x):
    """Rise and fall off."""
    return x * np.exp(-3 * x)


def growing(eta):
    """Increase, as a link of one's own."""
    return jax.nn.softplus(2 * eta)


# Fits


@call
def fit_poisson():
    model = PopulationGLM().fit(X, COUNTS)
    nulls = [model.score(X, COUNTS, "pseudo-r2-McFadden", null=null) for null in ("scored", "train", [0.4, 0.5, 0.6])]
    sums = [model.score(X, COUNTS, kind, aggregate_sample_scores=lambda s: np.nansum(s, axis=0)) for kind in SCORES]
    scores = [model.score(X, COUNTS, kind) for kind in SCORES]
    return used(model, X, COUNTS) | {"scores": scores, "sums": sums, "nulls": nulls}


@call
def fit_other_models():
    found = {kind: used(PopulationGLM(kind).fit(X, y), X, y) for kind, y in ACTIVITY.items() if kind != "Poisson"}
    for kind, model in {"Gaussian": Gaussian(scale=0.5), "NegativeBinomial": NegativeBinomial(scale=0.4)}.items():
        fit = PopulationGLM(model).fit(X, ACTIVITY[kind])
        found[f"{kind}, scaled"] = fitted(fit), fit.score(X, ACTIVITY[kind])
    return found


@call
def fit_other_links():
    of_counts = [("Poisson", "softplus"), ("Poisson", jax.nn.softplus), ("Poisson", growing), ("Gamma", "softplus")]
    of_spikes = [("Bernoulli", "probit"), ("Bernoulli", "cloglog"), ("Bernoulli", jax.scipy.stats.norm.cdf)]
    fits = [PopulationGLM(kind, link).fit(X, ACTIVITY[kind]) for kind, link in of_counts + of_spikes]
    fits.append(PopulationGLM("Gaussian", "exp").fit(X, SIZES))
    return [fitted(fit) | {"rate": fit.predict(X)} for fit in fits]


@call
def fit_one_neuron():
    named, one = GLM().fit(FRAME, UNITS[:, 1]), GLM("Gaussian", **RIDGE).fit(X, NUMBERS[:, 1])
    return used(named, FRAME, UNITS[:, 1]), fitted(one)


@call
def fit_other_data():
    start = np.full((4, 3), 0.1), np.full(3, -0.5)
    table = pd.DataFrame(GAPS[0], columns=list("pqrs")), pd.DataFrame(GAPS[1], columns=[4, 5, 6])
    masked, shown = PopulationGLM(feature_mask=MASK), streams.StringIO()
    with contextlib.redirect_stderr(shown):
        bar = PopulationGLM().fit(X, COUNTS, progress=True)
    return {
        "gaps and mask": used(masked.fit(*GAPS), *GAPS),
        "start": fitted(masked.fit(X, COUNTS, start)),
        "lists": fitted(PopulationGLM().fit(X.tolist(), COUNTS.astype(int).tolist())),
        "tables": used(PopulationGLM().fit(*table), *table),
        "frames": used(PopulationGLM().fit(FRAME, UNITS), FRAME, UNITS),
        "far from 0": fitted(PopulationGLM().fit(X + np.array([0, 100, -1000, 10]), COUNTS)),
        "scaled": fitted(PopulationGLM().fit(X * [1e-6, 1, 1e3, 1e6], COUNTS)),
        "single precision": fitted(PopulationGLM().fit(X.astype(">f4"), COUNTS.astype(np.int16))),
        "bar": (fitted(bar), "3/3" in shown.getvalue()),
    }


@call
def fit_odd_neurons():
    always, flat, few, calm, parts = SPIKES.copy(), NUMBERS.copy(), NUMBERS.copy(), BURSTS.copy(), SPIKES.copy()
    always[:, 0], always[:, 1] = 1, X[:, 0] > 0
    flat[:, 0], few[4:, 0], calm[:, 1] = 2.0, np.nan, np.minimum(calm[:, 1], 1)
    rare = np.c_[X[:, :3], np.maximum(X[:, 3] - 1.5, 0)]
    parts[rare[:, 3] > 0, 2] = 1
    named = nap.TsdFrame(TIMES, SILENT, time_support=EPOCHS, columns=[2, 5, 9])
    fits = [
        PopulationGLM().fit(X, SILENT),
        PopulationGLM().fit(FRAME, named),
        PopulationGLM().fit(X, np.where([False, True, False], np.nan, COUNTS)),
        PopulationGLM("Bernoulli").fit(X, always),
        PopulationGLM("Bernoulli", **RIDGE).fit(X, always),
        PopulationGLM("Bernoulli").fit(rare, parts),
        PopulationGLM("Gaussian").fit(X, flat),
        PopulationGLM("Gaussian").fit(X, few),
        PopulationGLM("NegativeBinomial").fit(X, calm),
    ]
    return list(map(fitted, fits))


@call
def fit_odd_features():
    wide = np.c_[X[:, :2], X[:, 0] + X[:, 1], X[:, 1]]
    fits = [
        PopulationGLM().fit(wide, COUNTS),
        PopulationGLM().fit(pd.DataFrame(wide, columns=list("abcd")), COUNTS),
        PopulationGLM(**RIDGE).fit(wide, COUNTS),
        PopulationGLM().fit_batches([(wide[::2], COUNTS[::2]), (wide[1::2], COUNTS[1::2])], 6),
        PopulationGLM("Gaussian").fit(wide, NUMBERS),
        PopulationGLM().fit(X * [1, 0, 1, 1], COUNTS),
        PopulationGLM(solver_kwargs={"maxiter": 2}).fit(X, COUNTS),
        PopulationGLM(solver_kwargs={"tol": 10.0}).fit(X, COUNTS),
        PopulationGLM(solver_kwargs={"tol": 1e-12, "maxiter": 30}).fit(X, COUNTS),
        PopulationGLM().fit(X, COUNTS, (np.zeros((4, 3)), np.full(3, 200.0))),
    ]
    return list(map(fitted, fits))


@call
def fit_many_bins():
    rng = np.random.default_rng(1)
    long, strong = rng.normal(size=(40_000, 2)), rng.normal(size=(3000, 6))
    y = rng.poisson(np.exp(long @ [[0.3, -0.2], [0.1, 0.4]] - 2))
    modulated = rng.poisson(np.exp(strong[:, :2] @ [[1.8, 0], [0, -2.4]] - 2))
    tight, lazy = PopulationGLM(solver_kwargs={"tol": 1e-9}), LAGS.lazy_features(y)  # neurons get factors of their own
    fits = [PopulationGLM().fit(long, y), tight.fit(strong, modulated)]
    fits.append(PopulationGLM().fit(lazy[100:35_000], y[100:35_000]))
    return list(map(fitted, fits)), fits[2].predict(lazy)[::100], fits[2].score(lazy, y)


# Penalties and solvers


@call
def fit_with_penalties():
    penalties, found = ["Ridge", "Lasso", "ElasticNet", Ridge(), ElasticNet(0.8), GroupLasso(2), GroupLasso((1, 3))], {}
    for penalty in [*penalties, Smoothness(4), Smoothness((3, 1), order=1, cyclic=True, ridge=0.1)]:
        n = 4 if isinstance(penalty, str) else len(penalty.groups(4))
        strengths = None, 0.05, np.linspace(0.01, 0.1, n), [[0.01, 0.1, 0.3]], np.linspace(0, 0.2, 3 * n).reshape(n, 3)
        models = [PopulationGLM(regularizer=penalty, regularizer_strength=strength) for strength in strengths]
        found[str(penalty)] = [fitted(model.fit(X, COUNTS)) for model in models]
    masked = PopulationGLM(regularizer="Lasso", regularizer_strength=0.05, feature_mask=MASK)
    one = GLM(regularizer=GroupLasso(2), regularizer_strength=np.array([0.1, 0.01]))
    plain = PopulationGLM(regularizer=UnRegularized(), regularizer_strength=0)
    return found, fitted(masked.fit(X, COUNTS)), fitted(one.fit(X, COUNTS[:, 0])), fitted(plain.fit(X, COUNTS))


@call
def penalties_of_coefficients():
    coef, found = np.random.default_rng(2).normal(size=(3, 4)), {}
    for one in (UnRegularized(), Ridge(), Lasso(), ElasticNet(0.3), GroupLasso((1, 3)), Smoothness(2, order=1)):
        some, each = 0.3, np.linspace(0.1, 0.4, len(one.groups(4)))
        shares = one.default_strength, one.check(each, 4, 3)
        parts = one.groups(4), one.differences(4), one.hessian(some, 4), one.hessian(each, 4)
        values = [of(strength, coef) for of in (one.penalty, one.smooth, one.gradient) for strength in (some, each)]
        compiled = jax.jit(one.penalty)(some, coef), jax.jit(one.prox)(some, coef, 0.5), one.prox(each, coef, 0.5)
        found[repr(one)] = shares, parts, values, compiled
    return found


@call
def fit_with_named_solvers():
    found = {}
    for name in SOLVERS:
        model = PopulationGLM(solver_name=name, solver_kwargs={"maxiter": 40}, feature_mask=MASK, **RIDGE)
        found[name] = fitted(model.fit(X, COUNTS))
    model = PopulationGLM(solver_name="ProximalGradient", solver_kwargs={"stepsize": 0.2, "maxiter": 200})
    found["groups"] = fitted(model.set_params(regularizer=GroupLasso(2), regularizer_strength=0.05).fit(X, COUNTS))
    fast = PopulationGLM(solver_name="GradientDescent", solver_kwargs={"stepsize": 3.0, "acceleration": False})
    return found, fitted(fast.fit(X, COUNTS * [1, 0, 1e6]))


@call
def steps_by_hand():
    found = []
    for name, options in ((None, None), ("LBFGS", {"stepsize": 0.1}), tuple(PLAIN.values())):
        model = PopulationGLM(solver_name=name, solver_kwargs=options, **RIDGE)
        params = model.initialize_params(X, COUNTS)
        state = model.initialize_state(X, COUNTS, params)
        found.append((params, state))
        for rows in (slice(0, 300), slice(300, 600), slice(600, 900)):
            params, state = model.update(params, state, X[rows], COUNTS[rows])
        found.append((params, state, used(model, X, COUNTS)))
    one, masked, kinked = GLM(**PLAIN), PopulationGLM(feature_mask=MASK, **PLAIN), PopulationGLM(regularizer="Lasso")
    params = one.initialize_params(FRAME, UNITS[:, 0])
    found.append(one.update(params, one.initialize_state(FRAME, UNITS[:, 0], params), FRAME, UNITS[:, 0]))
    params = masked.initialize_params(X, COUNTS)
    state = masked.initialize_state(X, COUNTS, params)
    found.append(jax.jit(lambda params, state: masked.update(params, state, X, COUNTS))(params, state))
    return [*found, kinked.initialize_state(X, COUNTS, params)]


@call
def paths():
    array = {"regularizer": GroupLasso(2), "regularizer_strength": np.array([1.0, 0.0])}
    short = PopulationGLM(regularizer="Lasso", solver_kwargs={"maxiter": 1})
    return [
        PopulationGLM(regularizer="Lasso").fit_path(X, COUNTS, n_strengths=6),
        PopulationGLM(regularizer="Ridge", feature_mask=MASK).fit_path(X, SILENT, [0.01, 0.1, 1.0]),
        PopulationGLM("Gaussian", **array).fit_path(X, NUMBERS, n_strengths=4),
        PopulationGLM("NegativeBinomial", regularizer=Smoothness(4)).fit_path(X, BURSTS, [0.01, 0.1]),
        GLM(regularizer=ElasticNet(0.4)).fit_path(X, COUNTS[:, 0], n_strengths=4),
        short.fit_path(FRAME, UNITS, [0.001, 0.01]),
    ]


# Batches and streams


class Momentum:
    """Steps as optax takes them, with a number in their state."""

    def init(self, params):
        return jax.tree.map(jnp.zeros_like, params), 0

    def update(self, gradient, state, params):
        moves = jax.tree.map(lambda move, slope: 0.9 * move - 0.05 * slope, state[0], gradient)
        return moves, (moves, state[1] + 1)


def windows(X=X, y=COUNTS, n_bins=150, seed=1):
    """Return windows of the data."""
    return random_windows(X, y, n_bins, seed=seed)


def fit_batches(batches, n_steps, model=None, **settings):
    """Fit a model, by default that of a population of Poisson counts."""
    return (model or PopulationGLM()).fit_batches(batches, n_steps, **settings)


@call
def fit_windows():
    found = [fitted(fit_batches(windows(), n_steps)) for n_steps in (4, 7, 14, 60)]
    found.append(used(fit_batches(windows(*GAPS), 40, PopulationGLM(feature_mask=MASK)), *GAPS))
    found.append(used(fit_batches(windows(FRAME, UNITS), 40), FRAME, UNITS))
    for penalty in (Lasso(), GroupLasso(2), Smoothness(4)):
        model = PopulationGLM(regularizer=penalty, regularizer_strength=0.03)
        found.append(fitted(fit_batches(windows(), 40, model)))
    found.append(fitted(fit_batches(windows(y=COUNTS[:, 0]), 24, GLM(**RIDGE))))
    return [*found, fitted(fit_batches(windows(y=NUMBERS), 40, PopulationGLM("Gaussian")))]


@call
def fit_other_batches():
    pairs, seen = list(windows()), []
    watch = lambda step, loss, params: seen.append((step, loss, params)) or step == 9
    first = fit_batches(pairs, 9)
    params, held_out = (first.coef_, first.intercept_), (X[300:], COUNTS[300:])
    failing = PopulationGLM(solver_name="GradientDescent", solver_kwargs={"stepsize": 1e6, "acceleration": False})
    found = {
        "blocks": fit_batches(sequential_blocks(X, COUNTS, 150), 50),
        "list": fit_batches(pairs, 20),
        "generator": fit_batches((pair for pair in pairs), 99),
        "named solver": fit_batches(pairs, 12, PopulationGLM(**PLAIN)),
        "searching": fit_batches(pairs, 3, PopulationGLM(solver_name="GradientDescent")),
        "another's solver": fit_batches(pairs, 12, solver=Momentum()),
        "callback": fit_batches(pairs, 50, callback=watch),
        "held out": fit_batches(windows(X[:300], COUNTS[:300]), 60, held_out=held_out, check_every=3, patience=2),
        "gone on": fit_batches(pairs, 30, init=(params, first.batch_state_)),
        "begun there": fit_batches(pairs, 9, init=(params, None)),
        "failed": fit_batches(pairs, 20, failing),
        "silent": fit_batches(windows(y=SILENT), 30),
    }
    with contextlib.suppress(ImportError):
        import optax

        found["optax"] = fit_batches(pairs, 12, solver=optax.adam(0.05))
    return {name: fitted(fit) for name, fit in found.items()} | {"seen": seen}


@call
def windows_of_recordings():
    found = []
    for some in (windows(FRAME, UNITS, 70), windows(y=COUNTS[:, 0]), sequential_blocks(LAGGED, UNITS, 200)):
        passes = list(some), list(some), list(some.of_pass(5, skip=3))
        found.append((passes, len(some), some.n_bins, some.frames[1], Text(some)))
    return found


@call
def counts_made_lazily():
    epochs = nap.IntervalSet([0.5, 4.0], [3.503, 11.0])
    counts, whole = count_lazily(TRAINS, 0.01, epochs), count_lazily(TRAINS, 0.25)
    keys = slice(10, 90), slice(None), slice(50, 3, -4), [5, 5, 2], 7, (slice(0, 9), 2), (4, [1, 0]), counts.t > 5
    X, parts = LAGS.lazy_features(counts), [counts[key] for key in keys]
    fit, batched = PopulationGLM().fit(X, counts), fit_batches(windows(X, counts), 18)
    return looked_at(counts), looked_at(whole), parts, looked_at(X), used(fit, X, counts), fitted(batched)


@call
def streams_from_files():
    values, found = np.memmap("counts.dat", np.int16, "w+", shape=(900, 3)), []
    values[:] = COUNTS
    with h5py.File("data.h5", "w") as file:
        rows, place = file.create_dataset("X", data=X), file.create_dataset("place", data=PLACE)
        counts = file.create_dataset("y", data=UNITS.values)
        frame = nap.TsdFrame(TIMES, counts, time_support=EPOCHS, columns=["a", "b", "c"], load_array=False)
        lazy = (LAGS + BSplineEval(4, bounds=(0, 10))).lazy_features(values, place)
        for some, y in ((LAGS.lazy_features(values), values), (rows, counts), (LAGS.lazy_features(frame), frame)):
            fit = PopulationGLM().fit(some, y)
            found.append((used(fit, some, y), assessment.pearson_residuals(fit, some, y)))
        found += [looked_at(lazy[100:300]), fitted(PopulationGLM(**RIDGE).fit(lazy[::2], values[::2]))]
        return [*found, fitted(fit_batches(windows(rows, counts), 12))]


# Files


@call
def checkpoints_of_fits():
    path, strong, tight = Path("fit.npz"), X * [3, 2, 1, 1], {"tol": 1e-12}

    def fit(X=strong, y=COUNTS, checkpoint=path, **settings):
        return PopulationGLM(**{"solver_kwargs": tight} | settings).fit(X, y, checkpoint=checkpoint)

    found = [fitted(fit(solver_kwargs=tight | {"maxiter": 3})), content(path)]
    found += [fitted(fit()), content(path), fitted(fit())]
    lasso = {"regularizer": "Lasso", "regularizer_strength": [0.01, 0.1, 0, 0.02]}
    for settings in ({"observation_model": NegativeBinomial()}, lasso | {"inverse_link_function": "softplus"}):
        path.unlink()
        found += [fitted(fit(FRAME, UNITS, feature_mask=MASK, **settings)), content(path)]
    path.unlink()
    fit()
    found += refused(
        lambda: fit(strong[::-1]), lambda: fit(y=COUNTS[::-1]), lambda: fit(strong[:-1], COUNTS[:-1]),
        lambda: fit(strong.astype(np.float32)), lambda: fit(**RIDGE), lambda: fit(inverse_link_function="softplus"),
        lambda: fit(solver_kwargs={"tol": 1e-3}), lambda: fit_batches(windows(), 5, checkpoint=path),
        lambda: fit(checkpoint="."), lambda: fit(checkpoint="missing/run.npz"), lambda: fit(**PLAIN),
    )  # fmt: skip
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1], b"nothing", b""):
        path.write_bytes(damaged)
        found += refused(fit)
    return found


@call
def checkpoints_of_batches():
    def failing(step, *_):
        if step == 8:
            raise KeyError("an interruption")

    bursts, found = list(windows(y=BURSTS)), {}
    runs = {
        "windows": lambda **kw: fit_batches(windows(), 30, **kw),
        "list": lambda **kw: fit_batches(bursts, 25, PopulationGLM("NegativeBinomial"), **kw),
        "named": lambda **kw: fit_batches(windows(), 12, PopulationGLM(**PLAIN), **kw),
        "momentum": lambda **kw: fit_batches(windows(), 12, solver=Momentum(), **kw),
    }
    for name, run in runs.items():
        path = f"{name}.npz"
        stopped = refused(lambda run=run, path=path: run(checkpoint=path, callback=failing)), content(path)
        found[name] = stopped, fitted(run(checkpoint=path)), content(path), fitted(run(checkpoint=path))
    others = refused(
        lambda: fit_batches(windows(seed=2), 30, checkpoint="windows.npz"),
        lambda: fit_batches(windows(), 30, solver=Momentum(), checkpoint="windows.npz"),
        lambda: fit_batches(bursts[::-1], 25, PopulationGLM("NegativeBinomial"), checkpoint="list.npz"),
    )
    return found, others


@call
def saved_models():
    objects = {"observation_model": Poisson(jnp.exp), "regularizer": Smoothness(4), "feature_mask": MASK}
    counts = GLM(NegativeBinomial(scale=0.3), regularizer=GroupLasso((1, 3)), solver_kwargs={"tol": 1e-9})
    models = [PopulationGLM().fit(FRAME, UNITS), GLM(inverse_link_function="softplus").fit(X, COUNTS[:, 0]), counts]
    models += [PopulationGLM(**objects).fit(X, COUNTS), fit_batches(windows(), 12), {"a": GLM(), "b": [GLM(**RIDGE)]}]
    found, path = [], Path("model.npz")
    for model in models:
        io.save(model, path)
        again = io.load(path)
        found.append((content(path), Text(again)))
        if hasattr(again, "coef_"):
            found.append((fitted(again), again.predict(X), Text(again.get_params())))
    Path("half.npz").write_bytes(path.read_bytes()[:500])
    PopulationGLM().fit(X, COUNTS, checkpoint="run.npz")
    return found + refused(
        lambda: io.load("half.npz"), lambda: io.load("run.npz"), lambda: io.load("nothing.npz"), lambda: io.load("."),
        lambda: io.save(GLM(), "missing/model.npz"), lambda: io.save(GLM(), 3), lambda: io.save({}, "a.npz"),
        lambda: io.save(PopulationGLM(inverse_link_function=growing), "a.npz"), lambda: io.save(Ridge(), "a.npz"),
        lambda: io.save(CustomBasis([decay]), "a.npz"), lambda: io.save(Powers(2), "a.npz"),
        lambda: PopulationGLM().fit(X, COUNTS, checkpoint=path),
    )  # fmt: skip


@call
def saved_bases():
    inputs, place = (COUNTS, PLACE, SIDE, PLACE / 10), BSplineEval(4, label="place")
    several = LAGS + place * CategoryEval(reference="left") + CustomBasis([jnp.exp, jax.nn.softplus], label="own")
    several.compute_features(*inputs)
    learned, found = [make().fit(PLACE) for make in EVALS], []
    for some in (several, CategoryEval().fit(SIDE), *learned, *(make() for make in CONVS)):
        if "decay" not in repr(some) and not isinstance(some, Powers | Decays):
            io.save(some, "basis.npz")
            found.append((content("basis.npz"), Text(io.load("basis.npz"))))
    io.save((several, GLM()), "both.npz")
    again, model = io.load("both.npz")
    return found, again.compute_features(*inputs), again.get_feature_names_out(), Text(model)


# Bases


class Powers(basis.Eval):
    """Powers of a variable: an evaluation of one's own."""

    def __init__(self, degree, bounds=None):
        self.degree, self.bounds = degree, bounds

    def shape(self, x):
        return x[:, None] ** np.arange(1, self.degree + 1)


class Decays(basis.Conv):
    """Exponentials: a convolution of one's own."""

    def __init__(self, window_size, predictor_causality="causal"):
        self.window_size, self.predictor_causality = window_size, predictor_causality

    def shape(self, x):
        return np.exp(-np.outer(x, [3, 12]))


WIDE = {"width": 2.5, "time_scaling": 10.0, "enforce_decay_to_zero": False}
CONVS = [
    partial(basis.RaisedCosineLogConv, 3, 12),
    partial(basis.RaisedCosineLogConv, 4, 13, **WIDE),
    partial(basis.RaisedCosineLinearConv, 3, 12),
    partial(basis.BSplineConv, 5, 12),
    partial(basis.BSplineConv, 4, 13, order=2),
    partial(basis.CyclicBSplineConv, 5, 12),
    partial(basis.MSplineConv, 5, 12),
    partial(basis.FourierConv, [0, 1, 2], 12),
    partial(basis.HistoryConv, 5),
    partial(basis.CustomConv, [decay, rise], 12),
    partial(Decays, 9),
]
EVALS = [
    partial(basis.RaisedCosineLogEval, 3),
    partial(basis.RaisedCosineLogEval, 4, **WIDE),
    partial(basis.RaisedCosineLinearEval, 4),
    partial(basis.BSplineEval, 5),
    partial(basis.CyclicBSplineEval, 5, order=3),
    partial(basis.MSplineEval, 5),
    partial(basis.FourierEval, 2),
    basis.IdentityEval,
    partial(basis.CustomBasis, [decay, rise]),
    partial(Powers, 3),
]


@call
def convolutions():
    found, holes, at = [], COUNTS.copy(), np.linspace(0, 1, 7)
    holes[50, 1] = np.nan
    for make in CONVS:
        for causality in ("causal", "acausal", "anti-causal"):
            one = make(predictor_causality=causality)
            X = one.compute_features(UNITS)
            found.append((X, one.kernel, one.evaluate_on_grid(), one.shape(at), one.split_by_feature(X), fitted(one)))
            found.append([Text(some) for some in (one, one.get_params(), clone(one))])
            found.append(one.get_feature_names_out(["a", "b", "c"]))
    found += [LAGS.compute_features(holes), LAGS.compute_features(COUNTS[:60, 0])]
    found.append(basis.RaisedCosineLogConv(5, 3).compute_features(holes))
    return found, LAGS.split_by_feature(np.arange(18).reshape(9, 2), axis=0)


@call
def evaluations():
    found, both, at = [], np.c_[PLACE, 10 - PLACE], np.linspace(0, 1, 7)
    for make in EVALS:
        for bounds in (None, (0, 9.5)):
            one = make(bounds=bounds)
            found += [one.evaluate_on_grid(5), one.compute_features(nap.Tsd(TIMES, PLACE, time_support=EPOCHS))]
            found += [fitted(one), one.compute_features(both + 0.1), one.fit(both / 2).transform(both / 2), fitted(one)]
            found += [one.evaluate_on_grid(7), one.get_feature_names_out(), one.shape(at), Text(one)]
    for one in (CategoryEval(), CategoryEval(["right", "left"]), CategoryEval(reference="left")):
        found += [one.compute_features(SIDE), one.evaluate_on_grid(), fitted(one), one.n_basis_funcs, Text(one)]
    missing = np.array(["a", "b", None, "a"], object), [0, 1, np.nan, 0], pd.Series(["a", pd.NA, "b"], dtype=object)
    return found, [CategoryEval().compute_features(some) for some in missing]


@call
def sums_and_products():
    history, place = basis.RaisedCosineLogConv(3, 12, label="history"), BSplineEval(4, bounds=(0, 10), label="place")
    side, inner = CategoryEval(label="side"), basis.Product(CategoryEval(), IdentityEval(), label="inner")
    cases = [
        (history + place, (UNITS, PLACE)),
        (place * side, (PLACE, SIDE)),
        (history * side + place + IdentityEval(), (COUNTS, SIDE, PLACE, PLACE)),
        (history * (place + side), (UNITS, PLACE, SIDE)),
        (basis.Sum(place, inner), (PLACE, SIDE, PLACE)),
        (HistoryConv(3, predictor_causality="acausal") + LAGS, (UNITS, UNITS)),
    ]
    found = []
    for whole, inputs in cases:
        X = whole.compute_features(*inputs)
        found += [X, whole.split_by_feature(X), whole.split_by_feature(np.arange(X.shape[1]), axis=0)]
        found += [looked_at(whole.lazy_features(*inputs)), whole.get_feature_names_out(), whole.evaluate_on_grid(4)]
        found += [list(whole.get_params()), whole.n_basis_funcs, len(whole.bases)]
        found += [Text(some) for some in (whole, whole[0], whole[-1], clone(whole))]
    X = cases[2][0].lazy_features(*cases[2][1])
    changed = clone(history + side * place).set_params(history__window_size=9, basis2__place__order=3)
    far = (side * IdentityEval(label="x")).compute_features(SIDE, PLACE + 1e5)
    words = [Text(some) for some in (changed, changed["history"], changed.get_params())]
    return found, used(PopulationGLM(**RIDGE).fit(X, UNITS), X, UNITS), far, words


@call
def lazy_features():
    X = (LAGS + BSplineEval(4, bounds=(0, 10), label="place")).lazy_features(UNITS, PLACE)
    some, part, y = np.r_[0:100, 300:400, 850:900], nap.IntervalSet([1, 6], [3, 10]), np.asarray(UNITS)
    parts = [X, X[200:500], X[::3], X[some], X[PLACE > 5], X[-50:], X[100:700][some[:90]], X.restrict(part)]
    built = X[20], X[-1], X[:, [0, 5]], X[30:40, 2], np.asarray(X[:0]), X[:0].complete, X.frame[1:]
    model, inside = PopulationGLM(**RIDGE), UNITS.restrict(part)
    fits = [fitted(model.fit(X[200:500], y[200:500])), fitted(model.fit(X[some], y[some]))]
    return list(map(looked_at, parts)), built, fits, used(model.fit(parts[-1], inside), parts[-1], inside)


@call
def bases_in_scikit_learn():
    both = np.c_[PLACE, (3 * TIMES) % 7]
    place, angle = BSplineEval(4, bounds=(0, 10), label="place"), FourierEval(1, bounds=(0, 7), label="angle")
    steps = Pipeline([("basis", (place + angle).to_transformer()), ("glm", PopulationGLM(**RIDGE))])
    grid = {"basis__place__n_basis_funcs": [4, 6], "glm__regularizer_strength": [0.01, 0.1]}
    search = GridSearchCV(steps, grid, cv=KFold(2), error_score="raise").fit(both, COUNTS)
    table = ColumnTransformer([("a", place, [0]), ("b", angle, [1])]).fit(both)
    named, history = clone(place + angle).set_output(transform="pandas").fit(both), (LAGS + place).set_input_shape(3, 1)
    frame = nap.TsdFrame(TIMES, np.c_[UNITS.values, PLACE], time_support=EPOCHS, columns=["a", "b", "c", "place"])
    words = [model.__sklearn_tags__() for model in (GLM(), GLM("Gaussian"), PopulationGLM())]
    words += [clone(some) for some in (GLM(Poisson(jnp.exp)), history, search)]
    return {
        "search": (search.cv_results_["mean_test_score"], search.best_params_, search.predict(both)),
        "names": (table.get_feature_names_out(), named.get_feature_names_out()),
        "tables": (table.transform(both), named.transform(both), clone(history).fit_transform(frame)),
        "scores": cross_val_score(GLM(**RIDGE), X, COUNTS[:, 0], cv=BlockSplit(2, window=0)),
        "words": list(map(Text, words)),
    }


# Inference and assessment


def told(errors, kernel, groups):
    """Return all that errors say."""
    names = "kind", "clusters", "columns", "inputs", "covariance", "coef_se", "intercept_se", "z", "p_values"
    intervals = errors.interval(), errors.interval(0.8), errors.intercept_interval()
    sums = errors.weighted_sum(kernel.sum(0), groups), errors.weighted_sum(kernel, groups, intercept=True)
    bands = errors.bands(kernel, groups), errors.bands(kernel, groups, 0.9, simultaneous=True)
    return [getattr(errors, name) for name in names], intervals, sums, bands, errors.test(groups), Text(errors)


@call
def errors_of_fits():
    model, groups = PopulationGLM().fit(LAGGED, UNITS), LAGS.split_by_feature(np.arange(9), axis=0)
    ways = (), ("sandwich",), ("sandwich", "bins"), ("sandwich", 50), ("sandwich", np.arange(900) // 45 % 17)
    found = [told(inference.uncertainty(model, LAGGED, UNITS, *way), LAGS.kernel, groups) for way in ways]
    for kind, y in ACTIVITY.items():
        masked = PopulationGLM(kind, feature_mask=MASK).fit(X, y)
        found.append(told(inference.uncertainty(masked, X, y), np.eye(2), 2))
    one = inference.uncertainty(GLM().fit(X, COUNTS[:, 0]), X, COUNTS[:, 0], "sandwich", 20)
    return [*found, told(one, np.eye(2), [0, 3])]


@call
def errors_of_odd_fits():
    wide, rare, silent = np.c_[X[:, :3], X[:, 0] + X[:, 1]], np.c_[X[:, :3], X[:, 3] > 1], SILENT.copy()
    silent[rare[:, 3] > 0, 0] = 0
    off, still = PopulationGLM().fit(X, COUNTS), X * [1, 0, 1, 1]
    off.coef_ = off.coef_ + np.array([[0, 0.3, 0]])
    cases = [(PopulationGLM().fit(wide, COUNTS), wide, COUNTS), (PopulationGLM().fit(rare, silent), rare, silent)]
    cases += [(off, X, COUNTS), (PopulationGLM("Gaussian").fit(still, NUMBERS), still, NUMBERS)]
    found = [told(inference.uncertainty(*case), np.eye(2), 2) for case in cases]
    found += [inference.leave_out_test(*case, [[0], [3]]) for case in cases]
    return found, inference.uncertainty(*cases[0], "sandwich", 300).covariance


@call
def tests_of_features():
    ratio, leave_out, mask = inference.likelihood_ratio_test, inference.leave_out_test, np.ones((9, 3))
    mask[3:6] = 0
    model, reduced = PopulationGLM().fit(LAGGED, UNITS), PopulationGLM(feature_mask=mask).fit(LAGGED, UNITS)
    left_out, errors = leave_out(model, LAGGED, UNITS, 3), inference.uncertainty(model, LAGGED, UNITS)
    found = [ratio(model, reduced, LAGGED, UNITS), left_out, leave_out(model, LAGGED, UNITS, {"b": np.arange(3, 6)})]
    for kind, y in ACTIVITY.items():
        full, fewer = PopulationGLM(kind).fit(X, y), PopulationGLM(kind, feature_mask=MASK).fit(X, y)
        found += [ratio(full, fewer, X, y), leave_out(full, X, y, 2)]
    one, fewer, y = GLM().fit(X, COUNTS[:, 0]), GLM().fit(X[:, [0, 2]], COUNTS[:, 0]), COUNTS[:, 0]
    found += [ratio(one, fewer, X, y, [0, 2]), leave_out(one, X, y, [1, 2]), inference.uncertainty(one, X, y).test(2)]
    table = partial(inference.coupling_table, errors, LAGS.kernel)
    found += [table(), table(own=True, units=[7, 8, 9], tests=left_out, level=0.5, method="by")]
    found.append(table(features={"b": np.arange(3, 6)}, units=(None, ["x", "y", "z"])))
    p = np.where(np.arange(20) == 7, np.nan, np.random.default_rng(3).uniform(size=20) ** 3).reshape(4, 5)
    return [*found, inference.false_discovery(p, 0.1, "bh"), inference.false_discovery(p, 0.1, "by")]


@call
def assess_fits():
    found = []
    for kind, y in (*ACTIVITY.items(), ("Poisson", GAPS[1])):
        model = PopulationGLM(kind).fit(X, y)
        found += [assessment.scores(model, X, y, null=null) for null in ("scored", "train", [0.4, 0.5, 0.6])]
        found += [assessment.deviance_residuals(model, X, y), assessment.pearson_residuals(model, X, y)]
        if kind not in ("Gaussian", "Gamma"):
            z = assessment.rescaled_intervals(model, X, y, seed=4)
            found += [z, assessment.ks_test(z)]
    named, one, silent = PopulationGLM().fit(FRAME, UNITS), GLM().fit(FRAME, UNITS[:, 0]), UNITS.values * [1, 0, 1]
    for model, y in ((named, UNITS), (one, UNITS[:, 0]), (named, silent)):
        found += [assessment.scores(model, FRAME, y), assessment.pearson_residuals(model, FRAME, y)]
        found.append(assessment.rescaled_intervals(model, FRAME, y, seed=0))
    odd = {"few": [0.2, 0.4], "none": [], "ends": [0.0, 1.0, 0.5, 0.3]}
    return [*found, assessment.ks_test(odd), assessment.ks_test(odd["ends"])]


# Simulation, model selection and figures


@call
def simulate_populations():
    how = {"rates": (20.0, 30.0), "bin_size": 0.01, "connectivity": 0.8, "excitatory": 0.2, "refractoriness": 1.0}
    weights, others = simulation.random_coupling(KEY(), 4, LAGS), simulation.random_coupling(KEY(), 4, LAGS, **how)
    simulate, history = partial(simulation.simulate_population, KEY()), np.random.default_rng(6).poisson(0.1, (20, 4))
    plain = simulate(*weights, LAGS, duration=4.0), simulate(*weights, LAGS, duration=1.0, history=history)
    wide = simulate(*others, LAGS, inverse_link_function="softplus", duration=5.0, bin_size=0.01)
    return weights, others, plain, wide


@call
def simulate_fits():
    simulate, bins, found = partial(simulation.simulate, KEY()), {"duration": 3.0, "bin_size": 0.01}, []
    for kind in ("Poisson", "Gamma"):
        model = PopulationGLM(kind).fit(LAGS.lazy_features(ACTIVITY[kind]), ACTIVITY[kind])
        found += [simulate(model, LAGS, **bins), simulation.stability(model, LAGS)]
    speed = nap.Tsd(TIMES, np.where(TIMES < 0.5, np.nan, X[:, 0]), time_support=EPOCHS)
    driven, inputs = LAGS + IdentityEval(label="x"), [None, speed]
    model = PopulationGLM().fit(driven.lazy_features(UNITS, speed), UNITS)
    stable = simulation.stability(model, driven, inputs)
    found += [simulate(model, driven, inputs, history=UNITS.values[:20]), stable, stable.stable]
    one = GLM().fit(LAGS.lazy_features(UNITS[:, 0]), UNITS[:, 0])
    wild, steps = PopulationGLM(), basis.BSplineConv(1, 20, order=1)
    wild.coef_, wild.intercept_ = np.array([[-1.0, 1.0], [1.0, -1.0]]), np.log([0.1, 0.1])
    explodes = lambda: simulate(wild, steps, duration=100.0, bin_size=0.005)
    return [*found, simulate(one, LAGS, **bins), simulation.stability(wild, steps), refusal(explodes)]


@call
def splits():
    trials = nap.IntervalSet(np.arange(10) + 0.1, np.arange(10) + 0.6)
    cases = [
        (BlockSplit(3, window=5), X),
        (BlockSplit(3, window=10, n_blocks=4), FRAME),
        (BlockSplit(4), LAGGED),
        (BlockSplit(2), LAGGED[PLACE > 3]),
        (EpochSplit(3, window=0), UNITS),
        (EpochSplit(4, window=12, epochs=trials, seed=1), FRAME),
        (EpochSplit(3), LAGGED),
    ]
    found = [(list(splitter.split(some)), splitter.get_n_splits(), Text(splitter)) for splitter, some in cases]
    return found, list(EpochSplit(3, window=0).split(X, UNITS)), cases[0][0] == BlockSplit(3, window=5)


@call
def cross_validation():
    cases = [
        (PopulationGLM(regularizer="Ridge"), X, SILENT, KFold(2), {"strengths": [0.001, 0.03, 1.0]}),
        (PopulationGLM(regularizer=GroupLasso(3)), LAGGED, UNITS, 2, {"n_strengths": 4}),
        (PopulationGLM("Gaussian", regularizer="Ridge"), X, NUMBERS, KFold(2), {"strengths": [0.01, 1.0]}),
        (GLM(regularizer="Lasso"), X, COUNTS[:, 0], BlockSplit(2, window=0), {"n_strengths": 4}),
    ]
    scores = np.array([[[-1.0], [-0.9]], [[-1.1], [-1.2]]])
    results = [cross_validate_path(*case, **settings) for *case, settings in cases]
    names, found = ("strengths", "scores", "bins", "path", "mean", "standard_error"), []
    for result in (*results, CrossValidation(np.array([0.1, 1.0]), scores, np.full((2, 1), 9), None)):
        found.append([getattr(result, name) for name in names])
        found.append([result.strength(rule, shared=shared) for rule in ("best", "one-se") for shared in (False, True)])
    return found


@call
def figures():
    rng, strengths, path = np.random.default_rng(7), [0.01, 0.1, 1.0], np.arange(12.0).reshape(3, 2, 2)
    coef, z, table = rng.normal(size=(3, 2)), rng.uniform(size=40), [[-3, 0.5, np.nan], [0.2, -2, 0.1], [0, 0, 0]]
    rates = nap.TsdFrame(np.arange(300) * 0.04 + 0.02, rng.uniform(0, 9, (300, 3)), columns=[3, 7, 12])
    bands, trains = (LAGS.kernel @ coef - 0.1, LAGS.kernel @ coef + 0.2), {"a": [0.1, 0.4], "b": nap.Ts([0.3])}
    _, ax = plt.subplots()
    found = [
        drawn(plotting.filters(LAGS.kernel, coef)),
        drawn(plotting.filters(LAGS.kernel, coef, bands, bin_size=0.005, labels=["a", "b"])),
        drawn(plotting.filters(np.arange(-3, 4), np.linspace(-1, 1, 7))),
        drawn(plotting.coupling_matrix(table)),
        drawn(plotting.coupling_matrix(np.ones((2, 5, 3)), units=(["a", "b"], [1, 2, 3]), limit=4.0, label="w")),
        drawn(plotting.coupling_matrix(np.eye(30), units=np.arange(100, 130))),
        drawn(plotting.raster(TRAINS, rates, epoch=(2.0, 5.0))),
        drawn(plotting.raster([[0.5], [0.6, 0.9], []], (UNITS.t, UNITS.values / 0.01))),
        drawn(plotting.raster(trains, epoch=nap.IntervalSet(0, 1))),
        drawn(plotting.regularisation_path(strengths, path)),
        drawn(plotting.regularisation_path(strengths, path[..., 0], labels=["a", "b"], chosen=0.1)),
        drawn(plotting.ks_plot(z)),
        drawn(plotting.ks_plot(np.sort(z), n=4000, ax=ax, label="x")),
    ]
    with plt.style.context("popglm.book"):
        return [*found, drawn(plotting.filters(LAGS.kernel, coef)), drawn(plotting.raster(TRAINS, rates))]


# Parts, and parts of one's own


@dataclass(frozen=True)
class StudentT(ObservationModel):
    """Noise with heavy tails, which does not say its Fisher information."""

    link: object = "identity"
    width: float = 1.0
    support = Gaussian.support

    def loss(self, eta, y):
        return 2.5 * jnp.log1p((y - self.link.inverse(eta)) ** 2 / 4)

    def least(self, y):
        return 0 * y

    def saturated(self, y):
        return 0 * y + np.log(0.375)

    def variance(self, mean):
        return 0 * mean + 2

    def sample(self, key, eta):
        return self.mean(eta) + jax.random.t(key, 4.0, jnp.shape(eta))


class Informed(StudentT):
    """The same, with its Fisher information."""

    def information(self, eta):
        return 0 * eta + 5 / 7


@call
def models_on_a_grid():
    eta, found = jnp.linspace(-3, 3, 7), {}
    models = [Poisson(), Bernoulli("cloglog"), Gaussian(scale=0.5), Gamma("softplus", 0.3), NegativeBinomial(scale=0.4)]
    for model in (*models, StudentT(), Informed()):
        y = jnp.array([0.0, 1, 1, 0, 1, 0, 1] if isinstance(model, Bernoulli) else [0.5, 1, 2, 1, 3, 4, 1])
        of_both = model.loss, model.curvature, model.deviance, model.log_likelihood, model.pearson
        of_one = model.least, model.saturated, model.variance, model.mean, model.information
        values = jax.jit(lambda a, b, both=of_both, one=of_one: [*(of(a, b) for of in both), *(of(b) for of in one)])
        null = model.null_mean(np.array([0.0, 3, 9, 10]), np.full(4, 10)), model.nat(np.array([0.5, 2.0]))
        support, outside = model.support, model.support.outside(np.array([-1.0, 0, 0.5, 1, 2, np.nan]))
        flags = model.scale, support.counts, support.low, support.high, support.name
        found[repr(model)] = values(eta, y), model.sample(KEY(), eta), null, outside, flags
    return found, Gamma().with_scale([0.1, 0.2]).scale


@call
def links_on_a_grid():
    eta, found, names = jnp.linspace(-25, 5, 13), [], ("exp", "softplus", "logistic", "probit", "cloglog", "identity")
    for name in (*names, growing, jnp.exp):
        link = Bernoulli(name).link if name in names[2:5] else Gaussian(name).link
        found += [jax.jit(of)(eta) for of in (link.inverse, link.log_inverse, link.log_rest) if of]
        found += [link.forward(np.array([0.05, 0.4, 0.9])), link.name, link.low, link.high, Text(link)]
    return found, Poisson(jnp.exp) == Poisson("exp"), Text(links.Link("half", jnp.exp, jnp.abs, np.log))


@call
def models_of_ones_own():
    own = PopulationGLM(StudentT()).fit(X, NUMBERS, checkpoint="run.npz")
    informed = PopulationGLM(Informed()).fit(X, NUMBERS)
    errors = inference.uncertainty(own, X, NUMBERS, "sandwich"), inference.uncertainty(informed, X, NUMBERS)
    others = refused(
        lambda: PopulationGLM(StudentT(width=2.0)).fit(X, NUMBERS, checkpoint="run.npz"),
        lambda: inference.uncertainty(own, X, NUMBERS),
        lambda: io.save(own, "own.npz"),
    )
    scores = own.score(X, NUMBERS), own.score(X, NUMBERS, "pseudo-r2-Cohen"), own.simulate(KEY(), X)
    return fitted(own), scores, fitted(informed), [told(some, np.eye(2), 2) for some in errors], others


# Bad input


def read_tables(name, pattern):
    """Return the table of this name in all test files that match the pattern, as one."""
    files = sorted(Path(__file__).parent.glob(pattern))
    return {key: case for file in files for key, case in runpy.run_path(str(file))[name].items()}


@call
def bad_input():
    s = things_at_hand()
    tables = read_tables("REFUSED", "*/test_*_messages.py")
    return {name: refusal(lambda case=case: case(s)) for name, (case, *_) in tables.items()}


@call
def odd_input():
    s, found = things_at_hand(), {}
    for name, make in read_tables("ACCEPTED", "*/test_accepted_data.py").items():
        X, y = make(s)
        found[name] = [fitted(PopulationGLM(**settings).fit(X, y)) for settings in ({}, RIDGE)]
    return found


@call
def bad_settings():
    fit = lambda *kind, **settings: PopulationGLM(*kind, **settings).fit(X, COUNTS)
    path = lambda strengths=None, **settings: PopulationGLM(**settings).fit_path(X, COUNTS, strengths)
    return refused(
        lambda: ElasticNet(1.0), lambda: GroupLasso((2, 1.5)), lambda: Smoothness(3, order=0), lambda: path(),
        lambda: fit(regularizer=GroupLasso(3)), lambda: fit(regularizer="Lasso", regularizer_strength=np.ones(5)),
        lambda: fit(regularizer="Lasso", regularizer_strength=-np.ones(4)), lambda: fit(regularizer="GroupLasso"),
        lambda: fit(regularizer="Lasso", solver_name="LBFGS"), lambda: path(regularizer="Ridge"),
        lambda: path([1.0, 0.1], regularizer="Ridge"), lambda: path([0.0, 0.1], regularizer="Ridge"),
        lambda: fit("Bernoulli"), lambda: fit("Gamma"), lambda: fit("Bernoulli", "exp"), lambda: fit(Gaussian(scale=0)),
        lambda: fit("NegativeBinomial", **PLAIN),
    )  # fmt: skip


@call
def bad_bases_and_splits():
    result = CrossValidation(np.ones(1), np.ones((2, 1, 1)), np.ones((2, 1)), None)
    validate = partial(cross_validate_path, PopulationGLM(**RIDGE), X, COUNTS)
    two = IdentityEval(label="x") + IdentityEval()
    return refused(
        lambda: basis.BSplineConv(3, 20).kernel, lambda: basis.CyclicBSplineConv(5, 20, order=1).kernel,
        lambda: basis.RaisedCosineLinearConv(4, 20, width=1.3).kernel, lambda: basis.FourierConv([], 20).kernel,
        lambda: HistoryConv(2, predictor_causality="anticausal").compute_features(np.ones(9)), lambda: HistoryConv(2) * 3,
        lambda: HistoryConv(9, predictor_causality="acausal").compute_features(np.ones(8)), lambda: two["y"],
        lambda: BSplineEval(5, bounds=(3, 1)).fit([2]), lambda: BSplineEval(5, bounds=3).fit([2]),
        lambda: BSplineEval(5).compute_features(np.ones(9)), lambda: BSplineEval(5).fit([np.nan]),
        lambda: CategoryEval().fit(["a", "b"]).transform(["c"]), lambda: CategoryEval([1, 2], 3).compute_features([1]),
        lambda: CategoryEval().evaluate_on_grid(), lambda: CategoryEval().compute_features(TRAINS),
        lambda: CustomBasis([np.sum]).compute_features([1]), lambda: two.compute_features([1, 2], [2]),
        lambda: (two + IdentityEval(label="x")).compute_features([1], [1], [1]), lambda: two.set_input_shape(3),
        lambda: two.split_by_feature(np.zeros((3, 4)), axis=0), lambda: two.fit(np.ones((5, 3))),
        lambda: (BSplineEval(20) * BSplineEval(15) * BSplineEval(10)).evaluate_on_grid(), lambda: two.set_params(no=3),
        lambda: BlockSplit(1, window=2), lambda: BlockSplit(window=0.2), lambda: next(BlockSplit().split(X)),
        lambda: next(BlockSplit(2, window=20).split(X[:30])), lambda: next(EpochSplit(window=0).split(X)),
        lambda: next(EpochSplit().split(FRAME)), lambda: EpochSplit(2, window=0, epochs=[(0, 1)]),
        lambda: validate(None), lambda: validate(3), lambda: validate([(np.arange(9), np.arange(9, 2000))] * 2),
        lambda: cross_validate_path(PopulationGLM, X, COUNTS), lambda: result.strength("1se"),
    )  # fmt: skip


@call
def bad_batches():
    pair, fit = (X, COUNTS), partial(fit_batches, [(X, COUNTS)], 3)
    tables = [(pd.DataFrame(X, columns=list(names)), COUNTS) for names in ("pqrs", "srqp")]
    named = fit_batches([pair], 2, PopulationGLM(**PLAIN))
    return refused(
        lambda: fit_batches([], 3), lambda: fit_batches(pair, 3), lambda: fit_batches(3, 3), lambda: fit_batches([pair], 0),
        lambda: fit_batches([(*pair, X)], 3), lambda: fit_batches([pair, (X[:, :2], COUNTS)], 3),
        lambda: fit_batches(tables, 3), lambda: fit_batches([(X * np.nan, COUNTS)], 3),
        lambda: fit_batches([(X, -COUNTS)], 3), lambda: fit_batches([(X + 1e7, COUNTS)], 3), lambda: fit(init=pair),
        lambda: fit(init=((np.zeros((4, 3)), np.zeros(3)), 5)), lambda: fit(held_out=X), lambda: fit(callback=3),
        lambda: fit(init=((named.coef_, named.intercept_), named.batch_state_)), lambda: fit(solver="adam"),
        lambda: fit(PopulationGLM(**PLAIN), solver=Momentum()), lambda: fit(check_every=0),
        lambda: fit(PopulationGLM("NegativeBinomial"), solver=Momentum()), lambda: windows(n_bins=0),
        lambda: fit(PopulationGLM(regularizer="Lasso"), solver=Momentum()), lambda: windows(seed=None),
        lambda: sequential_blocks(X, COUNTS[1:], 50), lambda: count_lazily(TRAINS[3], 0.01),
        lambda: count_lazily(TRAINS, 0), lambda: count_lazily(TRAINS, 0.01, [0, 1]), lambda: count_lazily(TRAINS, 1)[99],
    )  # fmt: skip


@call
def bad_questions():
    kinds = {}, RIDGE, {"observation_model": "Gaussian"}, {"feature_mask": MASK}
    model, ridge, calm, masked = (PopulationGLM(**kind).fit(X, COUNTS) for kind in kinds)
    one, y = GLM().fit(X, COUNTS[:, 0]), COUNTS[:, 0]
    errors, ask = inference.uncertainty(model, X, COUNTS), partial(inference.uncertainty, model, X, COUNTS)
    ratio, leave_out, table = inference.likelihood_ratio_test, inference.leave_out_test, inference.coupling_table
    kernel, intervals = np.ones((9, 2)), partial(assessment.rescaled_intervals, seed=0)
    return refused(
        lambda: inference.uncertainty(ridge, X, COUNTS), lambda: inference.uncertainty(None, X, COUNTS),
        lambda: inference.uncertainty(model, X[::-1], COUNTS), lambda: ask(clusters=100), lambda: ask("hc0"),
        lambda: ask("sandwich", "epochs"), lambda: ask("sandwich", 900), lambda: ask("sandwich", np.zeros(5)),
        lambda: leave_out(ridge, X, COUNTS, 2), lambda: leave_out(model, X, COUNTS, {}), lambda: errors.interval(95),
        lambda: ratio(model, ridge, X, COUNTS), lambda: ratio(model, masked, X, COUNTS, [1, 9]),
        lambda: ratio(model, masked, X * [2, 1, 1, 1], COUNTS), lambda: ratio(model, model, X, COUNTS),
        lambda: errors.bands(np.ones((9, 3))), lambda: errors.bands(kernel, [0]), lambda: errors.test([0, 4]),
        lambda: errors.weighted_sum([np.nan, 1]), lambda: inference.false_discovery([0.5, 1.5]),
        lambda: table(inference.uncertainty(one, X, y), kernel), lambda: table(errors, kernel, units=("x", "y")),
        lambda: table(errors, kernel), lambda: assessment.scores({}, X, COUNTS), lambda: intervals(calm, X, COUNTS),
        lambda: assessment.scores(model, X, COUNTS, null="mean"), lambda: intervals(model, X, COUNTS + 0.5),
        lambda: assessment.ks_test([0.5, 1.2]), lambda: calm.score(X, COUNTS, "bits-per-spike"),
        lambda: model.simulate(0, X), lambda: model.simulate(KEY(), X * 1e3), lambda: plotting.raster([]),
        lambda: plotting.filters(np.eye(4), np.zeros(3)), lambda: plotting.filters([1, 3, 2], np.zeros(3)),
        lambda: plotting.filters(np.eye(4), np.zeros(4), labels=["a", "b"]), lambda: plotting.raster(3),
        lambda: plotting.filters(np.eye(4), np.zeros(4), ax=3), lambda: plotting.coupling_matrix(np.zeros(4)),
        lambda: plotting.coupling_matrix(np.eye(3), units=[1, 2]), lambda: plotting.raster([[1.0]], epoch=(2, 1)),
        lambda: plotting.regularisation_path([0, 1], np.zeros((2, 3))), lambda: plotting.ks_plot({"a": [0.5]}),
    )  # fmt: skip
