"""How often intervals of held-out gains cover the gain that fresh recordings show.

    python benchmarks/comparison.py                   # half an hour; writes src/popglm/data/comparison.json
    python benchmarks/comparison.py --recordings 10   # a sample, its record in benchmarks/.cache

Twenty neurons in 200 recordings of each kind: 4,000 intervals of every gain. All recordings of a kind are independent, and the
gain that a comparison estimates is its mean over recordings: each interval is held against the mean of the other recordings.
Two inputs have the same effect, so that neither gains over the other; a third has none, so that it costs half a nat for each of
its free coefficients. Inputs are slow, and in one kind so is noise that no input knows; blocks
of its held-out bins are longer.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from popglm.glm import PopulationGLM
from popglm.model_selection import BlockSplit, compare
from popglm.regularizer import Lasso, Ridge

HERE = Path(__file__).parent
RECORD = HERE.parent / "src/popglm/data/comparison.json"
RECORDINGS, NEURONS, BINS, FUNCTIONS, SLOW = 200, 20, 6_000, 5, np.exp(-1 / 20)

INPUT = np.repeat([0, 1, 2], FUNCTIONS)
VARIANTS = {
    "both": (INPUT < 2).astype(float),
    "all": np.ones(len(INPUT)),
    "first": (INPUT == 0).astype(float),
    "second": (INPUT == 1).astype(float),
    "none": [],
}
GAINS = {
    "useless": ("all", "both"),
    "exchangeable": ("first", "second"),
    "second of two": ("both", "first"),
    "one": ("first", "none"),
}
STRENGTHS = np.geomspace(1e-3, 5e-2, 6)
EVIDENCE = {"regularizer": Ridge(sizes=(FUNCTIONS,) * 3), "regularizer_strength": "evidence"}
KINDS = {
    "no penalty": ({}, 5, {}, 0.0),
    "three folds": ({}, 3, {}, 0.0),
    "drift": ({}, 5, {"error_blocks": 4}, 0.4),
    "evidence": (EVIDENCE, 5, {}, 0.0),
    "lasso": ({"regularizer": Lasso()}, 5, {"strengths": STRENGTHS}, 0.0),
    "lasso, three folds": ({"regularizer": Lasso()}, 3, {"strengths": STRENGTHS}, 0.0),
}


def slow_signals(rng, n):
    """Return signals of variance 1 that are correlated over 20 bins, (bins, n)."""
    from scipy.signal import lfilter

    start = 15 * 20
    return lfilter([np.sqrt(1 - SLOW**2)], [1, -SLOW], rng.normal(size=(BINS + start, n)), axis=0)[start:]


def effects():
    """Return the coefficients of an input with an effect (functions, neurons), from none to a strong one, and log rates."""
    rng = np.random.default_rng(0)
    coef = rng.normal(size=(FUNCTIONS, NEURONS))
    size = rng.uniform(0, 0.35, NEURONS)
    return coef * size / np.linalg.norm(coef, axis=0), np.log(rng.uniform(0.05, 0.4, NEURONS))


def measure(kind, n_recordings):
    """Coverage of every gain of one kind."""
    start = time.process_time()
    settings, n_folds, options, drift = KINDS[kind]
    (coef, base), found = effects(), {name: [] for name in GAINS}
    for number in range(n_recordings):
        rng = np.random.default_rng([number, list(KINDS).index(kind)])
        X = slow_signals(rng, len(INPUT))
        eta = base + (X[:, INPUT == 0] + X[:, INPUT == 1]) @ coef + drift * slow_signals(rng, NEURONS)
        y = rng.poisson(np.exp(eta))
        result = compare(PopulationGLM(**settings), VARIANTS, X, y, BlockSplit(n_folds, window=0), **options)
        for name, pair in GAINS.items():
            found[name].append(result.gain(*pair).to_numpy())
    record = {name: summarise(name, np.array(values)) for name, values in found.items()}
    return record | {"cpu_s": time.process_time() - start}


def summarise(name, values):
    """Coverage of the gain in other recordings, mean gain and error in nats of a recording, error and spread of the gain."""
    gain, error, low, high = np.moveaxis(values, 2, 0)
    expected = 0 if name == "exchangeable" else (gain.sum(0) - gain) / (len(gain) - 1)
    below, above = high < expected, low > expected
    return {
        "intervals": gain.size,
        "coverage": float(1 - np.mean(below | above)),
        "too_low": float(below.mean()),
        "too_high": float(above.mean()),
        "gain_nats": float(BINS * gain.mean()),
        "error_nats": float(BINS * np.sqrt((error**2).mean())),
        "spread_nats": float(BINS * np.sqrt(gain.var(0, ddof=1).mean())),
    }


def main():
    """Measure all kinds, and write the record."""
    from run import machine, write_record

    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--recordings", type=int, default=RECORDINGS, help="of each kind")
    ask.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    ask.add_argument("--out", type=Path, help="the record")
    args = ask.parse_args()
    kinds = {}
    for kind in args.kinds:
        kinds[kind] = measure(kind, args.recordings)
        for name in GAINS:
            of = kinds[kind][name]
            print(
                f"{kind:12} {name:14} covered {of['coverage']:.1%} (too low {of['too_low']:.1%}, too high "
                f"{of['too_high']:.1%}), gain {of['gain_nats']:.2f} nats, error {of['error_nats']:.2f}, spread "
                f"{of['spread_nats']:.2f}",
                flush=True,
            )
    whole = args.recordings >= RECORDINGS and args.kinds == list(KINDS)
    out = args.out or (RECORD if whole else HERE / ".cache/comparison.json")
    write_record(out, {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "kinds": kinds})


if __name__ == "__main__":
    main()
