"""How near fits by batches come to the exact fit, by rows touched: six populations, several methods, one ruler.

    python benchmarks/ruler.py             # all, a few minutes; writes src/popglm/data/batches.json
    python benchmarks/ruler.py guide quiet

The ruler: per neuron, the excess loss over the exact fit, in units of max(0.01 x the improvement over the null model,
0.05 x features / (2 bins)). A neuron passes below 1; the second term is a twentieth of what the noise of the data makes of
the parameters anyway. A population passes if nine neurons of ten do.
"""

import json
import sys
import time
from pathlib import Path
from unittest.mock import patch

import jax
import numpy as np

import popglm
from popglm._design.row_counter import count_rows
from popglm.batching import random_windows
from popglm.glm import PopulationGLM

RECORD = Path(__file__).parent.parent / "src/popglm/data/batches.json"
BIN, SECONDS, WINDOW = 0.005, 720.0, 1000
POPULATIONS = {  # neurons, range of rates that the couplings are balanced for, strength of couplings, drift
    "guide": (10, (8.0, 22.0), 1.0, 0.0),
    "pair": (2, (3.0, 6.0), 1.0, 0.0),
    "quiet": (20, (0.5, 2.0), 1.0, 0.0),
    "loud": (10, (25.0, 45.0), 1.6, 0.0),
    "large": (100, (2.0, 10.0), 0.7, 0.0),
    "drift": (20, (4.0, 12.0), 1.0, np.log(3)),  # every rate swings by a factor of 3 up and down, in 10 minutes
}
PASSES = (0.5, 1, 2, 3, 5)


def simulate(name, seed=0):
    """Features and counts of a population, without the first window."""
    n, rates, strength, drift = POPULATIONS[name]
    basis = popglm.basis.RaisedCosineLogConv(5, window_size=40)
    coef, intercept = popglm.simulation.random_coupling(jax.random.key(seed), n, basis, rates=rates, bin_size=BIN)
    coef = np.array(coef).reshape(n, 5, n) * (strength + (1 - strength) * np.eye(n)[:, None])
    filters = np.einsum("wb,nbm->nwm", basis.kernel, coef)
    rng, n_bins = np.random.default_rng(seed), int(SECONDS / BIN)
    counts, drive = np.zeros((n_bins, n), np.uint8), np.tile(np.asarray(intercept), (n_bins + 41, 1))
    drive += drift * np.sin(2 * np.pi * np.arange(n_bins + 41)[:, None] * BIN / 600 + rng.uniform(0, 2 * np.pi, n))
    for t in range(n_bins):
        counts[t] = rng.poisson(np.exp(np.minimum(drive[t], 0.5)))
        for sender in np.flatnonzero(counts[t]):
            drive[t + 1 : t + 41] += counts[t, sender] * filters[sender]
    X = np.asarray(basis.compute_features(counts.astype(np.float32)))
    return X[40:], counts[40:].astype(np.float32)


def loss(params, X, y):
    """Mean loss of every neuron, summed in double precision."""
    coef, intercept = params
    total = np.zeros(y.shape[1])
    for at in range(0, len(X), 16384):
        eta = X[at : at + 16384] @ np.asarray(coef, np.float32) + np.asarray(intercept, np.float32)
        total += (np.exp(eta.astype(float)) - y[at : at + 16384] * eta).sum(0)
    return total / len(X)


def measure(params, full, X, y):
    """Where a fit stands on the ruler."""
    best, mean = loss(full, X, y), y.mean(0, dtype=float)
    gain, excess = mean - mean * np.log(mean) - best, loss(params, X, y) - best
    on_ruler = excess / np.maximum(0.01 * gain, 0.05 * X.shape[1] / (2 * len(X)))
    return {
        "ruler_90": float(np.quantile(on_ruler, 0.9)),
        "ruler_max": float(on_ruler.max()),
        "share": float(1 - excess.sum() / gain.sum()),
    }


def fitted(model):
    """Parameters of a fit."""
    return np.asarray(model.coef_), np.asarray(model.intercept_)


def by_batches(X, y, passes, **settings):
    """`fit_batches` over so many passes."""
    windows = random_windows(X, y, WINDOW, seed=0)
    n_steps = sum(len(list(windows.of_pass(number))) for number in range(int(passes))) or len(windows) // 2
    return PopulationGLM(**settings).fit_batches(windows, n_steps=n_steps)


def rows_touched(call):
    """What a call returns, and how many rows it computed losses, gradients or curvatures of, again ones counted again."""
    with count_rows() as counter:
        return call(), counter.n_rows


def without_own(X, y, passes):
    """The same with one factor for all neurons."""
    with patch("popglm.batching._sample.MAX_FACTOR_ENTRIES", 0):
        return by_batches(X, y, passes)


def descent(X, y, passes):
    """Gradient descent with the best of eight steps."""
    best = None
    for step in (0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6):
        kwargs = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": step, "acceleration": False}}
        model = by_batches(X, y, passes, **kwargs)
        score = -loss(fitted(model), X, y).sum()
        if np.isfinite(score) and (best is None or score > best[0]):
            best = score, model
    return best[1]


def exact(X, y, passes):
    """The exact solver: one pass for the moments, one for each evaluation."""
    return PopulationGLM(solver_kwargs={"maxiter": int(passes) - 1, "tol": 1e-30}).fit(X, y)


METHODS = {
    "fit_batches": (by_batches, PASSES),
    "one factor": (without_own, (1, 3, 5)),
    "gradient descent": (descent, (5,)),
    "exact solver": (exact, (5,)),
}


def main(names):
    """Measure, print and write the record."""
    import warnings

    warnings.simplefilter("ignore", RuntimeWarning)  # of fits that are stopped on purpose
    record = json.loads(RECORD.read_text("utf8")) if RECORD.exists() else {}
    for name in names or POPULATIONS:
        X, y = simulate(name)
        full = fitted(PopulationGLM().fit(X, y))
        rates = y.mean(0, dtype=float) / BIN
        found = {"neurons": y.shape[1], "features": X.shape[1], "bins": len(X), "rates": [rates.min(), rates.max()]}
        print(f"{name}: {y.shape[1]} neurons, {rates.min():.1f} to {rates.max():.1f} spikes per second", flush=True)
        for method, (call, amounts) in METHODS.items():
            for passes in amounts:
                started = time.perf_counter()
                model, n_rows = rows_touched(lambda: call(X, y, passes))  # noqa: B023
                seconds = time.perf_counter() - started
                at = measure(fitted(model), full, X, y) | {"passes": passes, "seconds": seconds}
                if call in (by_batches, without_own):
                    at["touched"] = n_rows / len(X)
                found.setdefault(method, []).append(at)
                touched = at.get("touched", passes)
                text = f"share {at['share']:.4f}, ruler {at['ruler_90']:.3f}, touched {touched:.1f}"
                print(f"  {method:16} {passes:4} passes: {text}", flush=True)
        half_X, half_y = X[: len(X) // 2], y[: len(X) // 2]
        half = fitted(PopulationGLM().fit(half_X, half_y))
        for passes in (1, 2, 5):
            model, n_rows = rows_touched(lambda: by_batches(half_X, half_y, passes))  # noqa: B023
            at = measure(fitted(model), half, half_X, half_y) | {"passes": passes, "touched": n_rows / len(X)}
            found.setdefault("half", []).append(at)
            print(f"  half of it, seen {passes} times: share {at['share']:.4f}, {at['touched']:.1f}", flush=True)
        record[name] = found
    partial = RECORD.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=1) + "\n", "utf8")
    partial.replace(RECORD)


if __name__ == "__main__":
    main(sys.argv[1:])
