"""Smooths that choose their own strength: popglm for 20 units at once, and mgcv for one unit after the other.

    python benchmarks/smooth.py            # some ten minutes; writes src/popglm/data/smooth.json
    python benchmarks/smooth.py --quick    # a trial at small size, its record in benchmarks/.cache

Twenty units with 60,000 bins of Poisson counts, eight autocorrelated covariates, a smooth of ten B-splines of each; half of
the smooths are flat. Both tools run on one processor and count its seconds, from the covariates to the coefficients: mgcv's
``bam(discrete=TRUE, method="fREML")``, ours with ``regularizer_strength="evidence"``. The model is the same: second
differences, their null space with a strength of its own. Accuracy is held against ``gam(method="REML")``, which has our
features and penalties, on few units: effective degrees of freedom, and the root mean square difference of curves in standard
errors, of fewer bins. Without `Rscript` and mgcv (Debian: r-base-core, r-cran-mgcv) only popglm is measured.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
from data import CACHE
from run import machine, write_record

RECORD = Path(__file__).parent.parent / "src/popglm/data/smooth.json"
UNITS, BINS, COVARIATES, SIZE, SEED = 20, 60_000, 8, 10, 1
GRID = np.linspace(0, 1, 101)
HELD, HELD_BINS = 2, 10_000  # units that are held against gam, which needs ten minutes for one of 60,000 bins
ROUNDS = 3


def covariate(rng, n_bins, slow=0.99):
    """Return a drifting variable with even ranks in [0, 1]."""
    from scipy.signal import lfilter

    x = lfilter([1], [1, -slow], rng.normal(size=n_bins))
    return (x.argsort().argsort() + 0.5) / n_bins


def curve(rng, x):
    """Return a smooth function with one or two periods."""
    return rng.uniform(0.3, 0.8) * np.sin(2 * np.pi * (rng.uniform(0.5, 2) * x + rng.random()))


def simulate(n_units, n_bins, seed):
    """Return covariates (bins, covariates), and counts (bins, units) of 0.05 to 0.2 events in a bin."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([covariate(rng, n_bins) for _ in range(COVARIATES)])
    y = np.empty((n_bins, n_units))
    for unit in range(n_units):
        drive = sum(curve(rng, of) * (rng.random() < 0.5) for of in x.T)
        rate = np.exp(drive)
        y[:, unit] = rng.poisson(rate * rng.uniform(0.05, 0.2) / rate.mean())
    return x, y


def fit(x, y):
    """Fit all units from the covariates."""
    from popglm.basis import BSplineEval
    from popglm.glm import PopulationGLM
    from popglm.regularizer import Smoothness

    X = np.hstack([np.asarray(BSplineEval(SIZE, bounds=(0, 1)).compute_features(of)) for of in x.T])
    model = PopulationGLM(regularizer=Smoothness((SIZE,) * COVARIATES), regularizer_strength="evidence")
    return model.fit(X, y), X


def ours(n_units, n_bins, out):
    """Fit in this process, cold and warm on other data; write the record and the centred curves."""
    from popglm.basis import BSplineEval

    x, y = simulate(n_units, n_bins, SEED)
    start = time.process_time()
    model, X = fit(x, y)
    cold, warm = time.process_time() - start, []
    for seed in range(1, 1 + ROUNDS):
        other = simulate(n_units, n_bins, SEED + seed)
        start = time.process_time()
        fit(*other)
        warm.append(time.process_time() - start)
    shape = BSplineEval(SIZE, bounds=(0, 1)).shape(GRID) - X.mean(0, dtype=float).reshape(COVARIATES, 1, SIZE)
    coef = np.asarray(model.coef_, float).reshape(COVARIATES, SIZE, n_units)
    np.savez(out.with_suffix(".npz"), curves=np.einsum("cgk,cku->ucg", shape, coef), edf=model.edf_.T)
    record = {
        "cold_cpu_s": cold,
        "warm_cpu_s": float(np.median(warm)),
        "warm_cpu_s_all": warm,
        "n_iter": int(model.n_iter_.max()),
        "converged": bool(model.converged_.all()),
    }
    out.write_text(json.dumps(record), "utf8")


def measure_ours(n_units, n_bins, folder):
    """Run `ours` on one processor, in a process of its own."""
    out = Path(folder, "ours.json")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    call = [sys.executable, __file__, "--ours", out, "--units", str(n_units), "--bins", str(n_bins)]
    subprocess.run(call, check=True, env=os.environ | threads, preexec_fn=take_one_processor)
    with np.load(out.with_suffix(".npz")) as found:
        return json.loads(out.read_text("utf8")), dict(found)


def take_one_processor():
    """Keep a process to one processor, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def fit_by_mgcv(task, units, folder):
    """Return what `smooth.R` writes of these units, and its versions."""
    call = ["Rscript", Path(__file__).with_suffix(".R"), folder, task, *(str(unit + 1) for unit in units)]
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL, preexec_fn=take_one_processor)
    fits = []
    for line in Path(folder, "found").read_text("utf8").splitlines():
        word, *rest = line.split()
        if word == "versions":
            versions = " ".join(rest)
        elif word == "unit":
            fits.append({})
        else:
            fits[-1][word] = np.array(rest, float)
    for each in fits:
        each["curves"], each["errors"] = (each[name].reshape(COVARIATES, -1) for name in ("curves", "errors"))
    return fits, versions


def has_mgcv():
    """Return whether R and mgcv are there."""
    return (
        bool(shutil.which("Rscript"))
        and not subprocess.run(["Rscript", "-e", "library(mgcv)"], capture_output=True).returncode
    )


def against(fits, found, units):
    """How near edf and curves are to those of gam: the worst smooth of these units."""
    edf = np.array([found["edf"][unit].sum() / of["edf"].sum() - 1 for unit, of in zip(units, fits, strict=True)])
    each = np.array([found["edf"][unit] - of["edf"] for unit, of in zip(units, fits, strict=True)])
    apart = [found["curves"][unit] - of["curves"] for unit, of in zip(units, fits, strict=True)]
    scale = [np.sqrt((of["errors"] ** 2).mean(1)) for of in fits]
    in_errors = np.array([np.sqrt((a**2).mean(1)) / s for a, s in zip(apart, scale, strict=True)])
    alive = np.array([of["edf"] > 0.1 for of in fits])  # a flat curve has next to no error
    return {
        "total_edf": float(np.abs(edf).max()),
        "edf": float(np.abs(each).max()),
        "curves_in_errors": float(in_errors[alive].max()),
    }


def measure(n_units, n_bins, held_bins):
    """Measure the speed of popglm and, if it is there, of mgcv, and how near both are to gam on fewer bins."""
    with tempfile.TemporaryDirectory() as folder:
        record, _ = measure_ours(n_units, n_bins, folder)
        record = {"popglm": record | {"warm_cpu_s_per_unit": record["warm_cpu_s"] / n_units}}
        if not has_mgcv():
            print("Rscript with mgcv is not there: only popglm is measured (Debian: r-base-core, r-cran-mgcv)")
            return record
        write_recording(folder, n_units, n_bins)
        bam, versions = fit_by_mgcv("bam", range(n_units), folder)
        seconds = [float(of["cpu_s"][0]) for of in bam]
        record["bam"] = {"cpu_s_per_unit": float(np.median(seconds)), "cpu_s_all": seconds}
    with tempfile.TemporaryDirectory() as folder:
        held = range(min(HELD, n_units))
        _, found = measure_ours(len(held), held_bins, folder)
        write_recording(folder, len(held), held_bins)
        gam, _ = fit_by_mgcv("gam", held, folder)
        bam, _ = fit_by_mgcv("bam", held, folder)
    by_bam = {"edf": [of["edf"] for of in bam], "curves": [of["curves"] for of in bam]}
    record["popglm"]["against_gam"] = against(gam, found, held)
    record["bam"]["against_gam"] = against(gam, by_bam, held)
    record["gam"] = {"bins": held_bins, "cpu_s_all": [float(of["cpu_s"][0]) for of in gam]}
    return record | {"mgcv": versions}


def write_recording(folder, n_units, n_bins):
    """Write what `smooth.R` reads."""
    x, y = simulate(n_units, n_bins, SEED)
    np.savetxt(Path(folder, "x.csv"), x, fmt="%.17g", delimiter=",")
    np.savetxt(Path(folder, "y.csv"), y, fmt="%d", delimiter=",")


def report(record):
    """Print ratios, which are what counts."""
    of = record["popglm"]
    print(f"popglm: {of['warm_cpu_s_per_unit']:.2f} s a unit ({of['cold_cpu_s']:.1f} s the first time for all)")
    if "bam" in record:
        bam, n = record["bam"]["cpu_s_per_unit"], record["units"]
        print(
            f"bam: {bam:.2f} s a unit, {bam / of['warm_cpu_s_per_unit']:.1f} times as long; "
            f"with compilation {bam / (of['cold_cpu_s'] / n):.1f} times"
        )
        for name in ("popglm", "bam"):
            print(name, "against gam:", record[name]["against_gam"])


def main():
    """Measure everything, or fit once."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--quick", action="store_true", help="a trial at small size")
    ask.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    ask.add_argument("--units", type=int, default=UNITS)
    ask.add_argument("--bins", type=int, default=BINS)
    ask.add_argument("--out", type=Path, help="the record")
    args = ask.parse_args()
    units, bins, held_bins = (3, 6_000, 3_000) if args.quick else (args.units, args.bins, HELD_BINS)
    if args.ours:
        ours(units, bins, args.ours)
        return
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "load": os.getloadavg()[0],
        "versions": {name: metadata.version(name) for name in ("popglm", "jax", "numpy", "scipy")},
        "units": units,
        "bins": bins,
        "covariates": COVARIATES,
        "functions": SIZE,
    } | measure(units, bins, held_bins)
    out = args.out or (CACHE / "smooth.json" if args.quick else RECORD)
    write_record(out, record)
    report(record)


if __name__ == "__main__":
    main()
