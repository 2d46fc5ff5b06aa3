"""How often bands of filters cover the truth, and tests of flat filters reject, where strengths are chosen by evidence.

    python benchmarks/calibration.py            # some ten minutes; writes src/popglm/data/calibration.json
    python benchmarks/calibration.py --neurons 100    # a sample, its record in benchmarks/.cache

Six kinds of recordings, 2,000 neurons of each; 200 share their covariates, so that one fit serves them all. The truth of every
neuron is its own random curve, which no basis contains exactly. A band is that of the linear predictor along one input, the
others at their mean, with the intercept's uncertainty (Marra and Wood 2012, *Scandinavian Journal of Statistics* 39:53-74);
its coverage is the share of all points of all neurons that it contains. Every kind has an input that nothing depends on.
"""

import argparse
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from popglm.basis import BSplineEval, CyclicBSplineEval
from popglm.glm import PopulationGLM
from popglm.inference import uncertainty
from popglm.observation_models import NegativeBinomial
from popglm.regularizer import Smoothness

HERE = Path(__file__).parent
RECORD = HERE.parent / "src/popglm/data/calibration.json"
NEURONS, SHARED, BINS = 2_000, 200, 4_000
GRID = (np.arange(40) + 0.5) / 40
ALPHA = 0.5  # of negative binomial counts
BLOCK = 200  # bins of a cluster under drift


@dataclass
class Recording:
    """Covariates as features of each input, activity, and the truth along the first input on a grid (points, neurons)."""

    features: dict  # of each input, (bins, functions)
    sizes: tuple
    y: np.ndarray
    grid: np.ndarray  # functions of the first input on the grid (points, functions)
    truth: np.ndarray
    cyclic: tuple = (False, False)
    model: Any = "Poisson"
    errors: dict = field(default_factory=dict)  # settings of `uncertainty`
    flat: tuple = ("flat",)

    @property
    def X(self):
        """All features."""
        return np.hstack(list(self.features.values()))

    def columns(self, name):
        """Return the numbers of one input's features."""
        ends = np.cumsum([f.shape[1] for f in self.features.values()])
        last = ends[list(self.features).index(name)]
        return np.arange(last - self.features[name].shape[1], last)


def wander(rng, slow=0.95):
    """Return a drifting variable with even ranks in [0, 1]."""
    from scipy.signal import lfilter

    x = lfilter([1], [1, -slow], rng.normal(size=BINS))
    return (x.argsort().argsort() + 0.5) / BINS


def splines(x, size=10):
    """Return B-splines of a variable in [0, 1]."""
    return np.asarray(BSplineEval(size).shape(x))


def curves(rng, n, period=1.0):
    """Return smooth random functions, one for each of n neurons."""
    amplitude = rng.normal(size=(2, 3, n)) / np.array([1, 1.5, 3])[:, None] * rng.uniform(0.2, 0.6, n)
    frequency = 2 * np.pi * np.array([0.5, 1, 1.5] if period == 1.0 else [1, 2, 3])[:, None]
    return lambda x: np.einsum(
        "pfxn,pfn->xn",
        np.stack([np.sin(frequency * x), np.cos(frequency * x)])[..., None],
        amplitude,
    )


def drive(f, x, events):
    """Return the log of expected counts of each neuron, and what it adds to f: so many events in all."""
    eta = f(x)
    base = np.log(events / np.exp(eta).sum(0))
    return eta + base, base


def log_uniform(rng, low, high, n):
    """Return numbers whose logarithms are uniform."""
    return np.exp(rng.uniform(np.log(low), np.log(high), n))


def one_curve(rng, n, events, *, cyclic=False):
    """Return parts of a recording with a curve of one input and a flat input."""
    if cyclic:
        x = np.mod(np.cumsum(rng.normal(0, 0.03, BINS)), 1)
        shape = CyclicBSplineEval(12).shape
        f = curves(rng, n, period=None)
    else:
        x, shape, f = wander(rng), splines, curves(rng, n)
    eta, base = drive(f, x, events)
    features = {"curve": np.asarray(shape(x)), "flat": splines(wander(rng))}
    return features, eta, {"grid": np.asarray(shape(GRID)), "truth": f(GRID) + base, "cyclic": (cyclic, False)}


def few_events(rng, n, _):
    """Fifty events of each neuron."""
    features, eta, rest = one_curve(rng, n, 50)
    return Recording(features, (10, 10), rng.poisson(np.exp(eta)), **rest)


def drift(rng, n, _):
    """Every neuron's rate drifts, which no input knows: only the sandwich by blocks is right."""
    from scipy.signal import lfilter

    features, eta, rest = one_curve(rng, n, log_uniform(rng, 300, 3000, n))
    slow = np.exp(-1 / 50)
    noise = lfilter([np.sqrt(1 - slow**2)], [1, -slow], rng.normal(size=(BINS, n)), axis=0)
    y = rng.poisson(np.exp(eta + 0.5 * noise - 0.125))
    return Recording(features, (10, 10), y, errors={"kind": "sandwich", "clusters": BLOCK}, **rest)


def flat_truth(rng, n, _):
    """Nothing depends on any input."""
    base = np.log(log_uniform(rng, 100, 2000, n) / BINS)
    features = {"curve": splines(wander(rng)), "flat": splines(wander(rng))}
    y = rng.poisson(np.exp(base), (BINS, n))
    truth = np.broadcast_to(base, (len(GRID), n))
    return Recording(features, (10, 10), y, splines(GRID), truth, flat=("curve", "flat"))


def smooth_truth(rng, n, number):
    """A curve, a straight line and a flat input: Poisson counts, spikes or none, negative binomial counts."""
    features, eta, rest = one_curve(rng, n, log_uniform(rng, 200, 2000, n))
    x = wander(rng)
    eta = eta + rng.uniform(0.5, 1.5, n) * (x[:, None] - 0.5)
    features["straight"] = splines(x)
    rest["cyclic"] = (False,) * 3
    kind = ("Poisson", "Bernoulli", "NegativeBinomial")[number % 3]
    rate = np.exp(eta)
    if kind == "Poisson":
        return Recording(features, (10,) * 3, rng.poisson(rate), **rest)
    if kind == "NegativeBinomial":
        y = rng.poisson(rate * rng.gamma(1 / ALPHA, ALPHA, rate.shape))
        return Recording(features, (10,) * 3, y, model=NegativeBinomial(scale=ALPHA), **rest)
    y = rng.random(rate.shape) < rate / (1 + rate)
    return Recording(features, (10,) * 3, y, model=kind, **rest)


def heading(rng, n, _):
    """Tuning to the heading, on a circle."""
    features, eta, rest = one_curve(rng, n, log_uniform(rng, 200, 2000, n), cyclic=True)
    return Recording(features, (12, 10), rng.poisson(np.exp(eta)), **rest)


def place(rng, n, _):
    """A map of two directions, each with a strength, by products of seven functions."""
    a, b = wander(rng), wander(rng)
    center, width = rng.uniform(0, 1, (2, n)), rng.uniform(0.25, 0.4, n)
    height = rng.uniform(0.5, 2, n)
    field = lambda a, b: height * np.exp(-((a - center[0]) ** 2 + (b - center[1]) ** 2) / (2 * width**2))
    eta, base = drive(lambda x: field(x[:, :1], x[:, 1:]), np.column_stack([a, b]), log_uniform(rng, 300, 2000, n))
    product = lambda a, b: (splines(a, 7)[:, :, None] * splines(b, 7)[:, None]).reshape(len(a), 49)
    grid = np.stack(np.meshgrid(GRID[2::4], GRID[2::4]), -1).reshape(-1, 2)
    features = {"curve": product(a, b), "flat": splines(wander(rng))}
    truth = field(grid[:, :1], grid[:, 1:]) + base
    return Recording(features, ((7, 7), 10), rng.poisson(np.exp(eta)), product(*grid.T), truth)


KINDS = {
    make.__name__.replace("_", " "): make for make in (few_events, drift, flat_truth, smooth_truth, heading, place)
}


def coverage(errors, of, *, centred):
    """Return the share of points inside a pointwise 95 % band: with the intercept, or about the mean on the grid."""
    weights = np.zeros((len(of.grid), of.X.shape[1]))
    first = of.columns("curve")
    if centred:
        weights[:, first] = of.grid - of.grid.mean(0)
        mean = of.truth - of.truth.mean(0)
    else:
        weights[:] = of.X.mean(0)
        weights[:, first] = of.grid
        mean = of.truth
    low, high = errors.bands(weights, np.arange(of.X.shape[1]), intercept=not centred)
    return ((low <= mean) & (mean <= high)).mean(0)


def measure_recording(kind, n_neurons, number):
    """Fit one recording; return for each neuron the coverage, p-values and degrees of freedom."""
    of = KINDS[kind](np.random.default_rng([list(KINDS).index(kind), number]), n_neurons, number)
    X, y = of.X, of.y.astype(float)
    penalty = Smoothness(of.sizes, cyclic=of.cyclic[: len(of.sizes)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        model = PopulationGLM(of.model, regularizer=penalty, regularizer_strength="evidence").fit(X, y)
        errors = uncertainty(model, X, y, **of.errors)
        tests = errors.test({name: of.columns(name) for name in of.features})
    edf = dict(zip(of.features, np.asarray(model.edf_), strict=True))
    p_values = dict(zip(of.features, tests.p_values, strict=True))
    rest = {"straight": edf["straight"]} if "straight" in edf else {}
    return {
        "coverage": coverage(errors, of, centred=False),
        "coverage_centred": coverage(errors, of, centred=True),
        "flat_p": np.concatenate([p_values[name] for name in of.flat]),
        "flat_edf": np.concatenate([edf[name] for name in of.flat]),
        "curve_p": p_values["curve"],
        "converged": model.converged_,
    } | rest


def measure(kind, n_neurons=NEURONS, shared=SHARED):
    """Return what a kind of recordings comes to."""
    start, found = time.process_time(), []
    for number in range(-(-n_neurons // shared)):
        found.append(measure_recording(kind, min(shared, n_neurons - number * shared), number))
    found = {name: np.concatenate([one[name] for one in found if name in one]) for name in found[-1] | found[0]}
    record = {
        "neurons": len(found["coverage"]),
        "coverage": float(found["coverage"].mean()),
        "coverage_error": float(found["coverage"].std() / np.sqrt(len(found["coverage"]))),
        "coverage_centred": float(found["coverage_centred"].mean()),
        "flat_significant": float((found["flat_p"] < 0.05).mean()),
        "flat_without_freedom": float((found["flat_edf"] < 0.1).mean()),
        "curve_significant": float((found["curve_p"] < 0.05).mean()),
        "nan": float(np.isnan(found["flat_p"]).mean()),
        "converged": float(found["converged"].mean()),
        "cpu_s": time.process_time() - start,
    }
    if "straight" in found:
        record["straight_edf_median"] = float(np.median(found["straight"]))
    return record


def report(kind, of):
    """Print the shares of one kind."""
    straight = f", a straight line has {of['straight_edf_median']:.2f} df" if "straight_edf_median" in of else ""
    print(
        f"{kind:13} covered {of['coverage']:.1%} +- {of['coverage_error']:.1%} (centred {of['coverage_centred']:.1%}), flat: "
        f"significant {of['flat_significant']:.1%}, edf < 0.1 {of['flat_without_freedom']:.0%}; curve significant "
        f"{of['curve_significant']:.0%}{straight}; converged {of['converged']:.1%}, NaN {of['nan']:.1%}, {of['cpu_s']:.0f} s",
        flush=True,
    )


def main():
    """Measure all kinds, and write the record."""
    from run import machine, write_record

    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--neurons", type=int, default=NEURONS, help="of each kind")
    ask.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    ask.add_argument("--out", type=Path, help="the record")
    args = ask.parse_args()
    kinds = {}
    for kind in args.kinds:
        kinds[kind] = measure(kind, args.neurons)
        report(kind, kinds[kind])
    whole = args.neurons >= NEURONS and args.kinds == list(KINDS)
    out = args.out or (RECORD if whole else HERE / ".cache/calibration.json")
    record = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "kinds": kinds}
    write_record(out, record)


if __name__ == "__main__":
    main()
