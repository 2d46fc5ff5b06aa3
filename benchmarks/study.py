"""A study as a lab runs it: paths of ten variants of a model, eight strengths, three folds of trials, beside glmnet.

    python benchmarks/study.py                     # a quarter of an hour; writes src/popglm/data/study.json
    python benchmarks/study.py --units 2           # a sample, its record in benchmarks/.cache
    python benchmarks/study.py --peers .venv-bench/bin/python   # NeMoS beside it, on one variant

Eighteen simulated units in 21,676 bins of 40 ms, an animal that runs about: 77 B-splines of heading, position, speed, theta
phase and time in the trial, and 108 raised cosines of the history of all units, standardised once for all tools. The penalty is
an elastic net with an `l1_ratio` of 0.9, from the strength at which all coefficients are 0 down to a hundredth. Both tools
count seconds of a processor, from the features to the coefficients, fold by fold; ours warm, after the fits to the first fold.
The objectives of all fits are computed in double precision by one function. Without `Rscript` and glmnet (Debian: r-base-core,
r-cran-glmnet) only popglm is measured.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from run import machine, write_record

HERE = Path(__file__).parent
RECORD = HERE.parent / "src/popglm/data/study.json"
BINS, BIN_SIZE, UNITS, TRIALS, FOLDS, STRENGTHS, L1_RATIO, SEED = 21_676, 0.04, 18, 40, 3, 8, 0.9, 1
HISTORY_FUNCTIONS, HISTORY_BINS = 6, 20
BEHAVIOUR = {
    "heading": (12, 2 * np.pi),
    "x": (15, 1),
    "y": (15, 1),
    "speed": (10, 1),
    "theta": (12, 2 * np.pi),
    "time": (13, 1),
}
CYCLIC = ("heading", "theta")
PLACE = ["x", "y"]
VARIANTS = {
    "heading": ["heading"],
    "place": PLACE,
    "speed": ["speed"],
    "theta": ["theta"],
    "coupling": ["coupling"],
    "heading + place": ["heading", *PLACE],
    "behaviour": list(BEHAVIOUR),
    "all": [*BEHAVIOUR, "coupling"],
    "without heading": [*(name for name in BEHAVIOUR if name != "heading"), "coupling"],
    "without place": [*(name for name in BEHAVIOUR if name not in PLACE), "coupling"],
}
NEMOS = "all"  # the variant that NeMoS fits


def smooth(rng, n, bins):
    """Return a signal with variance 1 that is correlated over some bins."""
    from scipy.signal import lfilter

    keep = np.exp(-1 / bins)
    return lfilter([np.sqrt(1 - keep**2)], [1, -keep], rng.normal(size=n + 20 * bins))[20 * bins :]


def behaviour(rng):
    """Return what the animal does in every bin, by name."""
    steps = 0.02 * np.column_stack([smooth(rng, BINS, 25) for _ in PLACE])
    place = np.abs((np.cumsum(steps, 0) + 1) % 2 - 1)  # walls reflect
    heading = np.cumsum(0.3 * smooth(rng, BINS, 12)) % (2 * np.pi)
    speed = np.hypot(*steps.T)
    phase = (2 * np.pi * 8 * BIN_SIZE * np.arange(BINS) + smooth(rng, BINS, 50)) % (2 * np.pi)
    trial = np.arange(BINS) / BINS * TRIALS % 1
    return {
        "heading": heading,
        "x": place[:, 0],
        "y": place[:, 1],
        "speed": np.minimum(speed / np.quantile(speed, 0.99), 1),
        "theta": phase,
        "time": trial,
    }


def make_features(inputs):
    """Return the features of the behaviour, (bins, functions), and the name of the input of each."""
    from popglm.basis import BSplineEval, CyclicBSplineEval

    make = lambda name, size, top: (CyclicBSplineEval if name in CYCLIC else BSplineEval)(size, bounds=(0, top))
    parts = {name: np.asarray(make(name, *of).compute_features(inputs[name])) for name, of in BEHAVIOUR.items()}
    return np.hstack(list(parts.values())), np.repeat(list(parts), [part.shape[1] for part in parts.values()])


def prepare():
    """Return features (bins, features), the name of the input of each, counts (bins, units), and the fold of each bin."""
    from popglm.basis import RaisedCosineLogConv

    rng = np.random.default_rng(SEED)
    features, names = make_features(behaviour(rng))
    drive = np.zeros((BINS, UNITS))
    for name in dict.fromkeys(names):
        own = features[:, names == name] @ rng.normal(size=((names == name).sum(), UNITS))
        drive += (rng.random(UNITS) < 0.5) * rng.uniform(0.3, 0.8, UNITS) * (own - own.mean(0)) / own.std(0)
    basis = RaisedCosineLogConv(HISTORY_FUNCTIONS, window_size=HISTORY_BINS)
    base, kernel = np.log(rng.uniform(0.02, 0.4, UNITS)), np.asarray(basis.kernel)
    weight = rng.normal(size=(UNITS, HISTORY_FUNCTIONS, UNITS)) * 0.2 * (rng.random((UNITS, 1, UNITS)) < 0.15)
    weight[np.arange(UNITS), 0, np.arange(UNITS)] -= 0.5
    response = np.einsum("lk,skr->lsr", kernel, weight).reshape(-1, UNITS)  # (lags x senders, receivers)
    counts = np.zeros((BINS + HISTORY_BINS, UNITS))
    for t in range(BINS):
        past = counts[t : t + HISTORY_BINS][::-1].ravel()
        counts[t + HISTORY_BINS] = rng.poisson(np.exp(np.minimum(base + drive[t] + past @ response, 1)))
    history = np.asarray(basis.compute_features(counts))[HISTORY_BINS:]
    X = np.hstack([features, history])
    X = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
    names = np.append(names, ["coupling"] * history.shape[1])
    return X, names, counts[HISTORY_BINS:], (np.arange(BINS) * TRIALS // BINS) % FOLDS


def fit_fold(X, y, masks, strengths):
    """Fit the paths of all variants and units of one fold; return coefficients (variants, strengths, features, units)."""
    from popglm.glm import PopulationGLM
    from popglm.regularizer import ElasticNet

    n, units = len(masks), y.shape[1]
    mask = np.repeat(np.stack(list(masks.values())), units, axis=0).T
    model = PopulationGLM(regularizer=ElasticNet(L1_RATIO), feature_mask=mask)
    path = model.fit_path(X, np.tile(y, n), strengths)
    coef = np.asarray(path.coef, float).reshape(len(strengths), -1, n, units)
    return coef.transpose(2, 0, 1, 3), np.asarray(path.intercept, float).reshape(len(strengths), n, units).swapaxes(
        0, 1
    )


def fit_by_glmnet(X, y, masks, strengths, folder):
    """Return the same from glmnet, its seconds of a processor, and its warnings and versions."""
    folder = Path(folder)
    np.asfortranarray(X, float).T.tofile(folder / "X")
    np.asfortranarray(y, float).T.tofile(folder / "y")
    np.asarray(strengths[::-1]).tofile(folder / "strengths")
    columns = [",".join(str(j + 1) for j in np.flatnonzero(mask)) for mask in masks.values()]
    (folder / "variants").write_text("\n".join(columns) + "\n", "utf8")
    call = ["Rscript", HERE / "study.R", folder, *map(str, (*X.shape, y.shape[1], len(strengths), L1_RATIO))]
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    shape = len(masks), y.shape[1], len(strengths), X.shape[1] + 1
    found = np.fromfile(folder / "found").reshape(shape)[:, :, ::-1].transpose(0, 2, 3, 1)
    lines = dict(line.split(" ", 1) for line in (folder / "notes").read_text("utf8").splitlines())
    return found[:, :, 1:], found[:, :, 0], float(lines["cpu_s"]), {key: lines[key] for key in ("warnings", "versions")}


def objective(X, y, coef, intercept, strengths):
    """Mean loss of each fit plus its penalty, (variants, strengths, units), in double precision."""
    X, y, out = X.astype(float), y.astype(float), np.empty(intercept.shape)
    for i, variant in enumerate(coef):
        for k, (strength, w) in enumerate(zip(strengths, variant, strict=True)):
            eta = X @ w + intercept[i, k]
            penalty = L1_RATIO * np.abs(w).sum(0) + (1 - L1_RATIO) / 2 * (w**2).sum(0)
            out[i, k] = (np.exp(eta) - y * eta).mean(0) + strength * penalty
    return out


def largest_strength(X, y):
    """Smallest strength at which all coefficients of all units are 0."""
    return np.abs((X - X.mean(0)).T @ (y - y.mean(0))).max() / len(y) / L1_RATIO


def has_glmnet():
    """Return whether R and glmnet are there."""
    return (
        bool(shutil.which("Rscript"))
        and not subprocess.run(["Rscript", "-e", "library(glmnet)"], capture_output=True).returncode
    )


def measure_nemos(python, X, y, strengths):
    """Return the record of NeMoS on one variant and fold, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "data.npz"), X=X, y=y, strengths=strengths)
        subprocess.run([python, HERE / "study_nemos.py", folder, str(L1_RATIO)], check=True, stdout=subprocess.DEVNULL)
        with np.load(Path(folder, "found.npz")) as found:
            fits = found["coef"], found["intercept"]
        record = json.loads(Path(folder, "record.json").read_text("utf8"))
    return fits, record


def main():
    """Measure all folds in turn, and write the record."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--units", type=int, default=UNITS)
    ask.add_argument("--peers", type=Path, help="Python of the peers, for NeMoS")
    ask.add_argument("--only-ours", action="store_true", help="leave glmnet out")
    ask.add_argument("--out", type=Path, help="the record")
    args = ask.parse_args()
    X, names, y, fold_of = prepare()
    y = y[:, : args.units]
    strengths = largest_strength(X.astype(float), y) * np.geomspace(1e-2, 1, STRENGTHS)
    masks = {name: np.isin(names, inputs).astype(float) for name, inputs in VARIANTS.items()}
    record = {"shape": [*X.shape, y.shape[1]], "variants": len(masks), "strengths": strengths.tolist(), "folds": []}
    glmnet = not args.only_ours and has_glmnet()
    train = [fold_of != k for k in range(FOLDS)]
    start = time.process_time()
    fit_fold(X[train[0]], y[train[0]], masks, strengths)
    record["cold_cpu_s"] = time.process_time() - start
    for rows in train:
        start, clock = time.process_time(), time.perf_counter()
        coef, intercept = fit_fold(X[rows], y[rows], masks, strengths)
        fold = {"popglm_cpu_s": time.process_time() - start, "popglm_s": time.perf_counter() - clock}
        mine = objective(X[rows], y[rows], coef, intercept, strengths)
        if glmnet:
            with tempfile.TemporaryDirectory() as folder:
                *theirs, fold["glmnet_cpu_s"], record["glmnet"] = fit_by_glmnet(
                    X[rows], y[rows], masks, strengths, folder
                )
            fold["worst_excess"] = float((mine - objective(X[rows], y[rows], *theirs, strengths)).max())
        record["folds"].append(fold)
        print(fold, flush=True)
    if args.peers:
        number, rows = list(masks).index(NEMOS), train[-1]
        inside = masks[NEMOS] > 0
        start, clock = time.process_time(), time.perf_counter()
        fit_fold(X[rows], y[rows], {NEMOS: masks[NEMOS]}, strengths)
        ours = {"popglm_cpu_s": time.process_time() - start, "popglm_s": time.perf_counter() - clock}
        (coef, intercept), nemos = measure_nemos(args.peers, X[rows][:, inside], y[rows], strengths)
        theirs = objective(X[rows][:, inside], y[rows], coef[None], intercept[None], strengths)
        record["nemos"] = ours | nemos | {"worst_excess": float((theirs - mine[number]).max())}
        print(record["nemos"])
    whole = args.units == UNITS and glmnet and args.peers
    write_record(
        args.out or (RECORD if whole else HERE / ".cache/study.json"),
        {"date": time.strftime("%Y-%m-%d"), "machine": machine()} | record,
    )


if __name__ == "__main__":
    main()
