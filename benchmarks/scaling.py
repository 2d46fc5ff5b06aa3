"""How time and memory grow with the length of a recording, for every way to fit it, up to features of 10 GB.

    python benchmarks/scaling.py            # all, a quarter of an hour; writes src/popglm/data/scaling.json
    python benchmarks/scaling.py --quick    # a trial at small size, its record in benchmarks/.cache

Fifty simulated neurons with eight functions each; a recording is the first bins of the longest. Every fit is the first in a
process of its own: its seconds go from opening the files to the coefficients, with imports and compilation, and its memory
is the peak of that process. What a fit has reached is measured afterwards, over the bins that it saw. The bar: at 10 GB of
features that are never built, at most 1 GB more than the same process takes for 1,000 bins.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
from data import BASIS, BIN, CACHE, prepare
from measure import peak_bytes, timed
from run import machine

RECORD = Path(__file__).parent.parent / "src/popglm/data/scaling.json"
NEURONS, SEED = 50, 1
LITTLE, HOUR, LONGEST = 1_000, 720_000, 6_250_000  # bins; the features of the longest take 10 GB
LENGTHS = (120_000, 360_000, HOUR, 3 * HOUR, LONGEST)
DENSE_UP_TO = 3 * HOUR  # 3.5 GB of features
WINDOW, PASSES = 2_000, 3  # of batches: 10 s
UPDATES, STEP = 500, 0.1  # by hand, as the guide to batches takes them


def counts(folder, n_bins):
    """Open the counts on disk."""
    return np.load(folder / "counts.npy", mmap_mode="r")[:n_bins]


def spikes(folder, n_bins):
    """Read the spike times of the first bins, as a TsGroup, and count them on demand."""
    import pynapple as nap

    from popglm.batching import count_lazily

    epoch, times = nap.IntervalSet(0, n_bins * BIN), np.load(folder / "times.npy", mmap_mode="r")
    trains = {}
    for neuron, (first, stop) in enumerate(np.load(folder / "ranges.npy")):
        train = times[first:stop]
        trains[neuron] = nap.Ts(np.array(train[: np.searchsorted(train, n_bins * BIN)]), time_support=epoch)
    return count_lazily(nap.TsGroup(trains, time_support=epoch), BIN)


def exact(X, y):
    """Fit with the default settings."""
    from popglm.glm import PopulationGLM

    return PopulationGLM().fit(X, y)


def lazily(y):
    """Fit without building the features."""
    from ours import basis

    return exact(basis().lazy_features(y), y)


def dense(folder, n_bins):
    """Counts and features in memory."""
    from ours import basis

    y = np.array(counts(folder, n_bins))
    return exact(basis().compute_features(y), y)


def batches(folder, n_bins):
    """Windows of features and counts that are made of spike times."""
    from ours import basis

    from popglm.batching import random_windows
    from popglm.glm import PopulationGLM

    y = spikes(folder, n_bins)
    windows = random_windows(basis().lazy_features(y), y, n_bins=WINDOW, seed=0)
    return PopulationGLM().fit_batches(windows, n_steps=PASSES * len(windows))


def updates(folder, n_bins):
    """Steps by hand on the same windows, of a fixed size."""
    from ours import basis

    from popglm.batching import random_windows
    from popglm.glm import PopulationGLM

    y = spikes(folder, n_bins)
    windows = random_windows(basis().lazy_features(y), y, n_bins=WINDOW, seed=0)
    model = PopulationGLM(solver_name="GradientDescent", solver_kwargs={"stepsize": STEP, "acceleration": False})
    params = state = None
    for X, counted in itertools.islice(itertools.chain.from_iterable(itertools.repeat(windows)), UPDATES):
        params = model.initialize_params(X, counted) if params is None else params
        state = model.initialize_state(X, counted, params) if state is None else state
        params, state = model.update(params, state, X, counted)
    return model


WAYS = {
    "dense": dense,
    "virtual": lambda folder, n_bins: lazily(np.array(counts(folder, n_bins))),  # counts in memory
    "streamed": lambda folder, n_bins: lazily(spikes(folder, n_bins)),  # counts that are made of spike times
    "on disk": lambda folder, n_bins: lazily(counts(folder, n_bins)),  # counts in a file
    "batches": batches,
    "updates": updates,
}


def one(way, folder, n_bins, out):
    """Fit in this process, and write the record of it."""
    warnings.simplefilter("ignore", RuntimeWarning)  # of fits to 1,000 bins
    seconds, model = timed(lambda: WAYS[way](folder, n_bins))
    record = {"bins": n_bins, "seconds": seconds, "peak_bytes": peak_bytes()["peak_bytes"]}
    from ours import basis

    y = counts(folder, n_bins)
    record["pseudo_r2"] = model.score(basis().lazy_features(y), y, score_type="pseudo-r2-McFadden")
    if way != "updates":
        record |= {"n_iter": int(model.n_iter_.max()), "converged": bool(model.converged_.all())}
    np.savez(out.with_suffix(".npz"), coef=model.coef_)
    out.write_text(json.dumps(record), "utf8")


def recording(n_bins):
    """Simulate the longest recording, and find the spike times of its counts, unless they are there; return the folder."""
    folder = prepare(NEURONS, n_bins, SEED, built=False)
    if not (folder / "ranges.npy").exists():
        trains = [(np.flatnonzero(train) + 0.5) * BIN for train in counts(folder, n_bins).T]
        stops = np.cumsum([len(train) for train in trains])
        np.save(folder / "times.npy", np.concatenate(trains))
        np.save(folder / "ranges.npy", np.column_stack([stops - [len(train) for train in trains], stops]))
    return folder


def measure(way, folder, n_bins, rounds, scratch):
    """Fit in processes of their own: the median of the seconds, the largest peak; and the coefficients."""
    out, found = Path(scratch, "fit.json"), []
    for _ in range(rounds):
        call = [sys.executable, __file__, "--one", way, "--bins", str(n_bins), "--data", folder, "--out", out]
        result = subprocess.run(call, capture_output=True, text=True, check=False)
        if result.returncode:
            raise SystemExit(f"{way}, {n_bins} bins, failed:\n{result.stderr[-4000:]}")
        found.append(json.loads(out.read_text("utf8")))
    every = [fit["seconds"] for fit in found]
    at = found[0] | {"seconds": float(np.median(every)), "seconds_all": every}
    at["peak_bytes"] = max(fit["peak_bytes"] for fit in found)
    print(f"{way:9}{n_bins:9} bins {at['seconds']:7.1f} s {at['peak_bytes'] / 1e9:6.2f} GB", flush=True)
    return at, np.load(out.with_suffix(".npz"))["coef"]


def compared(fits):
    """How near each fit of one length is to the exact fit of counts in memory."""
    exact, coef = fits["virtual"]
    for at, other in fits.values():
        at["share"] = at["pseudo_r2"] / exact["pseudo_r2"]
        at["apart"] = float(np.abs(other - coef).max() / np.abs(coef).max())
    return {way: at for way, (at, _) in fits.items()}


def main():
    """Measure everything, or fit once."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--quick", action="store_true", help="a trial at small size")
    ask.add_argument("--rounds", type=int, default=3, help="fits of lengths up to an hour; longer ones are fitted once")
    ask.add_argument("--out", type=Path, help="the record")
    ask.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    ask.add_argument("--bins", type=int, help=argparse.SUPPRESS)
    ask.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    args = ask.parse_args()
    if args.one:
        one(args.one, args.data, args.bins, args.out)
        return
    lengths = (12_000, 24_000) if args.quick else LENGTHS
    folder, fits = recording(lengths[-1]), {}
    with tempfile.TemporaryDirectory() as scratch:
        little = {way: measure(way, folder, LITTLE, 1, scratch)[0]["peak_bytes"] for way in WAYS}
        for n_bins in lengths:
            rounds = 1 if args.quick or n_bins > HOUR else args.rounds
            ways = [way for way in WAYS if way != "dense" or n_bins <= DENSE_UP_TO]
            here = {way: measure(way, folder, n_bins, rounds, scratch) for way in ways}
            for way, at in compared(here).items():
                fits.setdefault(way, []).append(at)
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": {name: metadata.version(name) for name in ("popglm", "jax", "numpy", "scipy", "pynapple")},
        "neurons": NEURONS,
        "features": NEURONS * BASIS,
        "bin_size": BIN,
        "batches": {"window": WINDOW, "passes": PASSES},
        "updates": {"window": WINDOW, "steps": UPDATES, "size": STEP},
        "little": {"bins": LITTLE, "peak_bytes": little},
        "fits": fits,
    }
    out = args.out or (CACHE / "scaling.json" if args.quick else RECORD)
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=1) + "\n", "utf8")
    partial.replace(out)
    report(record)


def report(record):
    """Print ratios, which are what counts."""
    for i, exact in enumerate(record["fits"]["virtual"]):
        print(f"{exact['bins'] * BIN / 3600:.2f} h, features of {4e-9 * exact['bins'] * record['features']:.2f} GB")
        for way, lengths in record["fits"].items():
            if i < len(lengths):
                at = lengths[i]
                above = (at["peak_bytes"] - record["little"]["peak_bytes"][way]) / 1e9
                print(
                    f"  {way:9}{at['seconds'] / exact['seconds']:5.2f} x the time of virtual, {above:5.2f} GB above 1,000 bins"
                )
                print(f"{'':11}share {at['share']:.6f}, coefficients apart by {at['apart']:.0e}")


if __name__ == "__main__":
    main()
