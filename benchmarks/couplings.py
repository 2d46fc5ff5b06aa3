"""Which couplings are found: by evidence, by a group lasso with cross-validation, and by Wald tests without a penalty.

    python benchmarks/couplings.py            # a quarter of an hour; writes src/popglm/data/couplings.json
    python benchmarks/couplings.py --quick    # a trial of one recording each, its record in benchmarks/.cache

Six kinds of simulated populations, and a seventh where the common input of the sixth is left out of the model. Each has
several recordings, with couplings of their own. The record holds, for each method and recording, how many pairs of
different units were found, and how many of these are coupled in truth. By tests a pair is found at a false discovery
rate of 5 %. By the lasso it is found if its filter is not 0, at each neuron's strength with the best held-out score,
and at the largest within one standard error of it; by degrees of freedom, if its filter has more than `MIN_EDF`.
"""

import argparse
import os
import time
import warnings
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
from data import CACHE
from run import machine, write_record

RECORD = Path(__file__).parent.parent / "src/popglm/data/couplings.json"
BIN, WINDOW, FUNCTIONS = 0.01, 20, 5  # seconds, bins, functions of a filter
RECORDINGS, FOLDS, STRENGTHS = 4, 3, 10
LEVEL, MIN_EDF = 0.05, 0.5
DRIVER_RATE, DRIVER_PEAK = 25.0, 0.8  # spikes per second, log gain


class Kind(NamedTuple):
    """Settings of a population. Its last unit may drive all others; it is then one of the inputs, or not recorded."""

    units: int
    connectivity: float
    seconds: float
    rates: tuple[float, float] = (5.0, 15.0)
    peaks: tuple[float, float] = (0.2, 0.4)  # of excitation, inhibition
    bursts: bool = False
    driver: bool = False
    recorded: bool = True


DRIVEN = Kind(16, 0.1, 180.0, driver=True)
KINDS = {
    "10 units, sparse": Kind(10, 0.1, 180.0),
    "30 units, sparse": Kind(30, 0.1, 240.0),
    "15 units, dense": Kind(15, 0.5, 240.0, peaks=(0.15, 0.3)),
    "20 units, few spikes": Kind(20, 0.1, 300.0, rates=(0.5, 3.0), peaks=(0.6, 0.8)),
    "15 units, bursts": Kind(15, 0.1, 180.0, bursts=True),
    "common input": DRIVEN,
    "common input, missing": DRIVEN._replace(recorded=False),
}


def basis():
    """Return the functions of the filters."""
    from popglm.basis import RaisedCosineLogConv

    return RaisedCosineLogConv(FUNCTIONS, WINDOW)


def simulate(kind, seed):
    """Return counts (bins, units), and which pairs are coupled (senders, receivers)."""
    import jax

    from popglm import simulation

    functions, rng, n = basis(), np.random.default_rng(seed), kind.units
    mean = BIN * np.mean(kind.rates)
    coef, intercept = simulation.random_coupling(
        jax.random.key(seed),
        n,
        functions,
        rates=kind.rates,
        bin_size=BIN,
        connectivity=kind.connectivity,
        excitation=kind.peaks[0],
        inhibition=kind.peaks[1],
        refractoriness=1.5,
    )
    new, expected = coef.reshape(n, FUNCTIONS, n).copy(), np.full(n, mean)
    if kind.bursts:
        new[range(n), :, range(n)] = [-1.5, 0.25, 0.1, 0, 0]
    if kind.driver:
        expected[-1] = BIN * DRIVER_RATE
        new[:-1, :, -1] = 0
        new[-1, :, :-1] = DRIVER_PEAK * (np.arange(FUNCTIONS)[:, None] == rng.integers(1, 4, n - 1))
    change = new - coef.reshape(n, FUNCTIONS, n)
    intercept = intercept - np.einsum("nkm,k,n->m", change, functions.kernel.sum(0), expected)
    if kind.driver:
        intercept[-1] += np.log(DRIVER_RATE / np.mean(kind.rates))
    history = rng.poisson(expected, (WINDOW, n))
    key = jax.random.key(1000 + seed)
    settings = {"duration": kind.seconds, "bin_size": BIN, "history": history}
    population = simulation.simulate_population(key, new.reshape(-1, n), intercept, functions, **settings)
    kept = slice(None) if kind.recorded else slice(None, -1)
    coupled = np.abs(population.filters).max(1) > 0
    return population.counts.values[:, kept].astype(float), coupled[kept, kept]


def timed(work):
    """Return what `work` returns, and its seconds of the processor."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def by_tests(model, X, y):
    """Fit, and test all filters: the pairs that are found, the p-values, and the model."""
    from popglm import inference

    fit = model.fit(X, y)
    p = inference.uncertainty(fit, X, y).test(FUNCTIONS).p_values
    pairs = np.where(np.eye(y.shape[1], dtype=bool), np.nan, p)
    return inference.false_discovery(pairs, LEVEL).found, pairs, fit


def by_lasso(X, y):
    """Cross-validate a path: the filters that are not 0, by both rules."""
    from popglm.glm import PopulationGLM
    from popglm.model_selection import BlockSplit, cross_validate_path
    from popglm.regularizer import GroupLasso

    model = PopulationGLM(regularizer=GroupLasso(FUNCTIONS))
    strengths = model.fit_path(X, y, n_strengths=2).strengths[-1] * np.geomspace(0.01, 1, STRENGTHS)
    scores = cross_validate_path(model, X, y, BlockSplit(FOLDS, window=WINDOW), strengths=strengths)
    found = {}
    for rule in ("best", "one-se"):
        index = [np.abs(strengths - s).argmin() for s in scores.strength(rule)[0]]
        coef = scores.path.coef.reshape(STRENGTHS, -1, FUNCTIONS, y.shape[1])
        found[rule] = (coef != 0).any(2)[index, :, np.arange(y.shape[1])].T
    return found


def compare(kind, seed):
    """Return what each method finds in one recording, and its seconds."""
    from popglm.glm import PopulationGLM
    from popglm.regularizer import Ridge

    y, coupled = simulate(kind, seed)
    X = np.asarray(basis().compute_features(y))
    evidence = PopulationGLM(regularizer=Ridge(FUNCTIONS), regularizer_strength="evidence")
    (tested, p, fit), evidence_s = timed(lambda: by_tests(evidence, X, y))
    (wald, wald_p, _), wald_s = timed(lambda: by_tests(PopulationGLM(), X, y))
    lasso, lasso_s = timed(lambda: by_lasso(X, y))
    found = {"evidence": tested, "edf": fit.edf_ > MIN_EDF, "wald": wald}
    found |= {f"lasso, {rule}": pairs for rule, pairs in lasso.items()}
    seconds = {"evidence": evidence_s, "wald": wald_s, "lasso": lasso_s}
    different = ~np.eye(len(coupled), dtype=bool)
    none = different & ~coupled
    tests = {"evidence": p[none], "wald": wald_p[none]}
    return {
        "pairs": int(different.sum()),
        "coupled": int((different & coupled).sum()),
        "spikes": float(np.median(y.sum(0))),
        "seconds": seconds,
        "found": {name: int((pairs & different).sum()) for name, pairs in found.items()},
        "true": {name: int((pairs & different & coupled).sum()) for name, pairs in found.items()},
        "rejected": {name: int((values < LEVEL).sum()) for name, values in tests.items()},
        "untested": {name: int(np.isnan(values).sum()) for name, values in tests.items()},
    }


def measure(recordings):
    """Compare on all kinds, recordings of a kind one after the other; seeds are fixed."""
    warnings.simplefilter("ignore", RuntimeWarning)  # of pairs without a joint spike, in fits without a penalty
    kinds = {}
    for name, kind in KINDS.items():
        fits = [compare(kind, seed) for seed in range(recordings)]
        kinds[name] = {key: [fit[key] for fit in fits] for key in ("pairs", "coupled", "spikes")} | {
            key: {method: [fit[key][method] for fit in fits] for method in fits[0][key]}
            for key in ("seconds", "found", "true", "rejected", "untested")
        }
        kinds[name]["units"] = kind.units - (not kind.recorded)
        report(name, kinds[name])
    return kinds


def report(name, kind):
    """Print false discoveries and power of all methods."""
    print(
        f"{name}: {sum(kind['coupled'])} of {sum(kind['pairs'])} pairs coupled, {np.median(kind['spikes']):.0f} spikes"
    )
    for method, found in kind["found"].items():
        true = np.array(kind["true"][method])
        false = np.mean((np.array(found) - true) / np.maximum(found, 1))
        power = true.sum() / sum(kind["coupled"])
        level = kind["rejected"].get(method)
        none = sum(kind["pairs"]) - sum(kind["coupled"])
        tested = "" if level is None else f", p < {LEVEL} in {sum(level) / none:.1%} of the others"
        print(f"  {method:14} found {sum(found):5}, false {false:6.1%}, power {power:6.1%}{tested}", flush=True)


def main():
    """Measure everything."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--quick", action="store_true", help="a trial of one recording each")
    ask.add_argument("--out", type=Path, help="the record")
    args = ask.parse_args()
    recordings = 1 if args.quick else RECORDINGS
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "load": os.getloadavg()[0],
        "versions": {name: metadata.version(name) for name in ("popglm", "jax", "numpy", "scipy")},
        "recordings": recordings,
        "bin_size": BIN,
        "functions": FUNCTIONS,
        "level": LEVEL,
        "min_edf": MIN_EDF,
        "kinds": measure(recordings),
    }
    out = args.out or (CACHE / "couplings.json" if args.quick else RECORD)
    write_record(out, record)


if __name__ == "__main__":
    main()
