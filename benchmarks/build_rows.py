"""One row of the table of builds, as one build of popglm does it: `python benchmarks/build_rows.py warm --work small`.

Prints its measurements as JSON on the last line. The build is that which `PYTHONPATH` names; what is called is public, but
for the factor, which no public call makes alone. `benchmarks/builds.py` runs this for two builds in turn.
"""

import argparse
import contextlib
import inspect
import json
import os
import time

import numpy as np
from data import BASIS, BIN, WINDOW, one, prepare

SIZES = {  # neurons and bins; bins of an hour; features and neurons of the factor; seconds of the classic page
    "full": {"fit": (50, 120_000), "hour": 720_000, "fine": 600_000, "factor": (8_000, 1_000), "classic": 1_200.0},
    "small": {"fit": (4, 4_000), "hour": 9_000, "fine": 9_000, "factor": (600, 40), "classic": 60.0},
}
SEED = 1


def cpu(call):
    """CPU seconds of this process that a call takes, and its value."""
    start = time.process_time()
    value = call()
    return time.process_time() - start, value


def fit(X, y):
    """Fit a population with the default settings."""
    from popglm.glm import PopulationGLM

    return PopulationGLM().fit(X, y)


def arrays(size):
    """X and y of the population."""
    folder = prepare(*size["fit"], SEED)
    return np.load(folder / "X.npy"), np.load(folder / "y.npy")


def hour_counts(size):
    """Counts of an hour."""
    return np.load(prepare(size["fit"][0], size["hour"], SEED, built=False) / "counts.npy")


def history_basis(window=WINDOW):
    """Return the basis of the data."""
    from popglm.basis import RaisedCosineLogConv

    return RaisedCosineLogConv(BASIS, window_size=window)


def warm(size):
    """Second fit of a population, X in memory."""
    X, y = arrays(size)
    fit(X, y)
    spent, model = cpu(lambda: fit(X, np.ascontiguousarray(y[:, ::-1])))
    return {"cpu_s": spent, "n_iter": int(model.n_iter_.max()), "converged": bool(model.converged_.all())}


def cold(size):
    """First fit of a process, with imports and all compilation."""
    X, y = arrays(size)
    fit(X, y)
    return {"cpu_s": time.process_time()}


def lazy(size):
    """Fit of an hour from counts, without features and with features that may be kept, beside X in memory."""
    counts, basis = hour_counts(size), history_basis()
    X = basis.compute_features(counts)
    ways = {"dense": lambda: fit(X, counts), "lazy": lambda: fit(basis.lazy_features(counts), counts)}
    if "keep" in inspect.signature(basis.lazy_features).parameters:
        ways["lazy_keep"] = lambda: fit(basis.lazy_features(counts, keep="1 GB"), counts)
    times = {name: [] for name in ways}
    for name in (*ways, *ways):  # the first compiles
        times[name].append(cpu(ways[name])[0])
    best = {f"{name}_cpu_s": min(spent) for name, spent in times.items()}
    return best | {f"{name}_of_dense": best[f"{name}_cpu_s"] / best["dense_cpu_s"] for name in ways if name != "dense"}


def fine_bins(size):
    """Warm fit from bins of 1 ms, windows of half a second, at 10 Hz: features and products."""
    counts = (np.random.default_rng(SEED).random((size["fine"], size["fit"][0])) < 0.01).astype(np.uint8)
    X = history_basis(500).lazy_features(counts)
    fit(X, counts)
    spent, model = cpu(lambda: fit(X, counts))
    passes = int(model.n_iter_.max()) + 1
    return {"cpu_s": spent, "cpu_s_per_pass": spent / passes, "passes": passes}


def batches(size):
    """`fit_batches`, compiled: the first pass, and each later one, beside the exact fit of the same data."""
    from popglm.batching import random_windows
    from popglm.glm import PopulationGLM

    X, y = arrays(size)
    windows = list(random_windows(X, y, n_bins=1000, seed=0))
    n = len(windows)

    def run(n_passes):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of neurons that are not done after one pass
            return cpu(lambda: PopulationGLM().fit_batches(windows, n_steps=n_passes * n))[0]

    fit(X, y), run(3)
    exact, first, three = cpu(lambda: fit(X, y))[0], run(1), run(3)
    return {
        "first_cpu_s": first,
        "later_cpu_s": (three - first) / 2,
        "exact_cpu_s": exact,
        "first_of_exact": first / exact,
    }


def single(size):
    """One neuron, 10,000 bins, 20 features, warm: the median of 50 fits."""
    X, y = one(prepare(50, size["fit"][1], SEED))
    fit(X, y)
    return {"cpu_s": float(np.median([cpu(lambda: fit(X, y))[0] for _ in range(50)]))}


def classic(size):
    """The classic batching page, whole, with imports and first calls: 500 steps on random windows, scores, a full fit."""
    import pynapple as nap

    import popglm as nmo

    rng = np.random.default_rng(123)
    trains = {n: nap.Ts(np.sort(rng.uniform(0, size["classic"], int(10 * size["classic"])))) for n in range(8)}
    units = nap.TsGroup(trains, time_support=nap.IntervalSet(0, size["classic"]))
    basis = nmo.basis.RaisedCosineLogConv(5, window_size=40)
    model = nmo.glm.PopulationGLM(solver_name="GradientDescent", solver_kwargs={"stepsize": 0.1, "acceleration": False})

    def batcher():
        t = rng.uniform(0, size["classic"] - 5.0)
        counts = units.count(BIN, nap.IntervalSet(t, t + 5.0))
        return basis.compute_features(counts), counts

    params = model.initialize_params(*batcher())
    state = model.initialize_state(*batcher(), params)
    making, steps, counts = 0.0, 0.0, units.count(BIN)
    X = basis.compute_features(counts)
    for _ in range(500):
        spent, batch = cpu(batcher)
        making += spent
        spent, (params, state) = cpu(lambda now=(params, state), batch=batch: model.update(*now, *batch))
        steps += spent
    model.score(X, counts, score_type="log-likelihood")
    nmo.glm.PopulationGLM().fit(X, counts).score(X, counts, score_type="pseudo-r2-McFadden")
    return {"cpu_s": time.process_time(), "step_cpu_s": steps / 500, "batch_cpu_s": making / 500}


def factor(size):
    """Coordinates, factor and first solve of many neurons and features under one strength of a ridge penalty."""
    n_features, n_neurons = size["factor"]
    rng = np.random.default_rng(SEED)
    shared = rng.normal(size=(2 * n_features, n_features // 8)).astype(np.float32)
    X = shared @ rng.normal(size=(n_features // 8, n_features)).astype(np.float32) / np.sqrt(n_features / 8)
    X += 0.3 * rng.normal(size=X.shape).astype(np.float32)
    moments = float(len(X)), X.sum(0).astype(float), (X.T @ X).astype(float)
    from popglm.observation_models import Poisson
    from popglm.regularizer import Ridge

    try:
        from popglm._solver.preconditioner import prepare_problem
        from popglm._solver.problem import Objective
    except ImportError:  # before the package had folders
        from popglm._objective import Objective
        from popglm._precondition import prepare as prepare_problem
    mean = np.geomspace(0.0025, 0.25, n_neurons)
    mask, bins = np.ones((n_neurons, n_features)), np.full(n_neurons, moments[0])
    point = rng.normal(size=(n_neurons, n_features + 1))

    def prepare_and_solve():
        objective = Objective(Poisson(), Ridge(), np.asarray(1e-3))
        prepared = prepare_problem(objective, mask, bins, mean, np.log(mean), moments, np.finfo(np.float32).eps)
        return getattr(prepared, "problem", prepared[0]).precondition(point)

    return {"cpu_s": cpu(prepare_and_solve)[0]}


ROWS = {"warm": warm, "cold": cold, "cold_cached": cold, "lazy": lazy, "fine_bins": fine_bins, "batches": batches}
ROWS |= {"single": single, "classic": classic, "classic_cached": classic, "factor": factor}
ONE_THREAD = ("single", "factor")


def main():
    """Measure one row, and print it."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("row", choices=ROWS)
    ask.add_argument("--work", choices=SIZES, default="full")
    args = ask.parse_args()
    with contextlib.redirect_stdout(None):
        measured = ROWS[args.row](SIZES[args.work])
    print(json.dumps(measured | {"cpus": os.cpu_count()}))


if __name__ == "__main__":
    main()
