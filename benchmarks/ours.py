"""popglm at the same work as its peers, and at what no peer does.

Run it with popglm's environment, one process for each record:

    python benchmarks/ours.py dense --data benchmarks/.cache/50x120000-1 --out dense.json

Tasks: `dense` and `lazy` fit all neurons, from X in memory or from counts, `lasso` and `path` with an L1 penalty of one
strength or of ten; `hour` is `lazy` for an hour of counts, and
`hour-dense` builds X first;
`features` and `update` are single calls, `one` is one neuron and few bins; `windows` makes batches and takes steps on them;
`rate` compares a fit with this machine's matrix products.
"""

import argparse
import json
import os
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
from data import BASIS, BIN, LASSO, WINDOW, batch, one, strengths
from measure import peak_bytes, timed

UPDATE = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}
HOUR = 720_000  # bins of 5 ms
UPDATES = 200


class Found(NamedTuple):
    """Coefficients and intercepts at every strength of a penalty, kept where those of a model are."""

    coef_: np.ndarray
    intercept_: np.ndarray


def basis():
    """Return the basis of the benchmark's data."""
    from popglm.basis import RaisedCosineLogConv

    return RaisedCosineLogConv(BASIS, window_size=WINDOW)


def fit(X, y):
    """Fit a population with the default settings."""
    from popglm.glm import PopulationGLM

    return PopulationGLM().fit(X, y)


def fit_lazily(counts):
    """Fit a population without building X."""
    return fit(basis().lazy_features(counts), counts)


def twice(call, first, second):
    """Return a record of a cold call and of a warm one on other data, and what the cold one found."""
    cold, model = timed(lambda: call(*first))
    warm, _ = timed(lambda: call(*second))
    return {
        "cold_s": cold,
        "warm_s": warm,
        "n_iter": int(model.n_iter_.max()),
        "converged": bool(model.converged_.all()),
    }, model


def dense(folder):
    """Fit with X in memory."""
    X, y = np.load(folder / "X.npy"), np.load(folder / "y.npy")
    return twice(fit, (X, y), (X, np.ascontiguousarray(y[:, ::-1])))


def lasso(folder):
    """Fit with X in memory and an L1 penalty of one strength."""
    from popglm.glm import PopulationGLM

    X, y, strength = np.load(folder / "X.npy"), np.load(folder / "y.npy"), float(strengths(folder)[LASSO])
    call = lambda X, y: PopulationGLM(regularizer="Lasso", regularizer_strength=strength).fit(X, y)
    record, model = twice(call, (X, y), (X, np.ascontiguousarray(y[:, ::-1])))
    return record | {"strengths": [strength]}, Found(model.coef_[None], model.intercept_[None])


def path(folder):
    """Fit with X in memory and an L1 penalty of ten strengths."""
    from popglm.glm import PopulationGLM

    X, y, given = np.load(folder / "X.npy"), np.load(folder / "y.npy"), strengths(folder)
    call = lambda y: PopulationGLM(regularizer="Lasso").fit_path(X, y, strengths=given)
    cold, found = timed(lambda: call(y))
    warm, _ = timed(lambda: call(np.ascontiguousarray(y[:, ::-1])))
    record = {"cold_s": cold, "warm_s": warm, "converged": bool(np.all(found.converged)), "strengths": given.tolist()}
    return record | {"n_iter": np.max(found.n_iter, -1).tolist()}, Found(found.coef, found.intercept)


def small_fit(folder):
    """Fit one neuron to few bins and features."""
    X, y = one(folder)
    cold, _ = timed(lambda: fit(X, y))
    return {
        "cold_s": cold,
        "warm_s": float(np.median([timed(lambda: fit(X, y))[0] for _ in range(20)])),
        "shape": X.shape,
    }, None


def lazy(folder):
    """Fit from counts."""
    counts = np.load(folder / "counts.npy")
    return twice(fit_lazily, (counts,), (np.ascontiguousarray(counts[:, ::-1]),))


def hour(folder):
    """Fit an hour from counts, in a process that held nothing else; `bytes` is what the counts take."""
    counts = np.array(np.load(folder / "counts.npy", mmap_mode="r")[:HOUR])
    cold, _ = timed(lambda: fit_lazily(counts))
    peak = peak_bytes()
    warm, model = timed(lambda: fit_lazily(counts))
    return {"cold_s": cold, "warm_s": warm, "bins": len(counts), "counts_bytes": counts.nbytes} | peak, model


def hour_dense(folder):
    """Fit an hour with X in memory."""
    counts = np.load(folder / "counts.npy")
    features, X = timed(lambda: basis().compute_features(counts))
    cold, _ = timed(lambda: fit(X, counts))
    peak = peak_bytes()
    warm, model = timed(lambda: fit(X, counts))
    return {"cold_s": cold, "warm_s": warm, "features_s": features, "X_bytes": X.nbytes} | peak, model


def features(folder):
    """Compute all history features."""
    counts = np.load(folder / "counts.npy").astype(np.float32)
    call = lambda: basis().compute_features(counts).shape
    cold, shape = timed(call)
    return {"cold_s": cold, "warm_s": min(timed(call)[0] for _ in range(2)), "shape": shape}, None


def update(folder):
    """Take steps on one small batch, host work included: the first, and the median of the rest."""
    import jax

    from popglm.glm import PopulationGLM

    X, y = batch(folder)
    model = PopulationGLM(**UPDATE)
    params = model.initialize_params(X, y)
    state = model.initialize_state(X, y, params)
    seconds = []
    for _ in range(UPDATES):
        spent, (params, state) = timed(lambda now=(params, state): jax.block_until_ready(model.update(*now, X, y)))
        seconds.append(spent)
    return {"cold_s": seconds[0], "warm_s": float(np.median(seconds[1:])), "shape": [*X.shape, y.shape[1]]}, None


def windows(folder):
    """Make windows of 5 s of all neurons from lazy features of counts in memory and of spike times, and take steps on them."""
    import pynapple as nap

    from popglm.batching import count_lazily, random_windows
    from popglm.glm import PopulationGLM

    counts = np.load(folder / "counts.npy")
    epoch = nap.IntervalSet(0, len(counts) * BIN)
    trains = {n: nap.Ts((np.flatnonzero(train) + 0.5) * BIN, time_support=epoch) for n, train in enumerate(counts.T)}
    sources = {"lazy": counts, "streamed": count_lazily(nap.TsGroup(trains, time_support=epoch), BIN)}
    made, record = {}, {}
    for name, y in sources.items():
        some = random_windows(basis().lazy_features(y), y, n_bins=1000, seed=0)
        made[name] = list(some)  # compiles
        record[f"{name}_s"] = min(timed(lambda some=some: sum(1 for _ in some))[0] for _ in range(3)) / len(made[name])
    take = lambda: PopulationGLM().fit_batches(made["lazy"], n_steps=3 * len(made["lazy"]))
    cold, warm = (timed(take)[0] / (3 * len(made["lazy"])) for _ in range(2))
    return record | {"cold_s": cold, "warm_s": warm, "shape": [*made["lazy"][0][0].shape, counts.shape[1]]}, None


def rate(folder):
    """Compare a warm fit with the matrix products of its own shapes: block by block, X from memory, nothing but products."""
    import jax
    import jax.numpy as jnp

    from popglm._design.sizes import SIZES

    X, y = np.load(folder / "X.npy"), np.load(folder / "y.npy")
    rows = SIZES.block_rows
    blocks = jnp.asarray(X[: len(X) // rows * rows].reshape(-1, rows, X.shape[1]))
    coef = jnp.asarray(np.random.default_rng(0).normal(size=(y.shape[1], X.shape[1])), X.dtype)

    @jax.jit
    def products(coef):
        return jax.lax.fori_loop(
            0, len(blocks), lambda i, sum_: sum_ + (coef @ blocks[i].T) @ blocks[i], jnp.zeros_like(coef)
        )

    @jax.jit
    def gram(blocks):
        return jax.lax.fori_loop(
            0, len(blocks), lambda i, sum_: sum_ + blocks[i].T @ blocks[i], jnp.zeros((X.shape[1],) * 2)
        )

    share = []
    for _ in range(5):  # in turn, since the machine's speed drifts
        seconds, model = timed(lambda: fit(X, y))
        one, _ = timed(lambda: products(coef).block_until_ready())
        square, _ = timed(lambda: gram(blocks).block_until_ready())
        share.append((model.n_iter_.max() * one + square) / seconds)
    return {"share": share[1:], "warm_s": seconds}, None  # the first compiles


TASKS = {"dense": dense, "lazy": lazy, "lasso": lasso, "path": path, "hour": hour, "hour-dense": hour_dense}
TASKS |= {"one": small_fit, "features": features, "update": update, "windows": windows, "rate": rate}


def main():
    """Do what the command line asks for, and write the record."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("task", choices=TASKS)
    ask.add_argument("--data", type=Path, required=True, help="a folder made by data.py")
    ask.add_argument("--out", type=Path, required=True, help="the record, a .json file")
    args = ask.parse_args()
    record, model = TASKS[args.task](args.data)
    versions = {name: metadata.version(name) for name in ("popglm", "jax", "numpy", "scipy", "pynapple")}
    record = {"task": args.task, "versions": versions} | peak_bytes() | record | {"cpus": os.cpu_count()}
    if model is not None:
        np.savez(args.out.with_suffix(".npz"), coef=model.coef_, intercept=model.intercept_)
    args.out.write_text(json.dumps(record, indent=2) + "\n", "utf8")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
