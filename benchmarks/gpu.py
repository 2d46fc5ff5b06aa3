"""What a GPU gives: fits of the benchmark on it, and whether several devices give the numbers of one.

    python benchmarks/gpu.py            # below ten minutes; prints a table, writes benchmarks/.cache/gpu.json
    python benchmarks/gpu.py --quick    # a trial at small size, on whatever there is, in a minute

It needs popglm and JAX with support of the GPU, nothing else: data are simulated on the processor. No work begins after
--seconds, and what was left out is named. On a machine without a GPU, XLA_FLAGS=--xla_force_host_platform_device_count=4
makes four devices of its processor, which share its cores: the bits can be checked there, a speed-up cannot.

Every fit runs twice, first with compilation. Products of single precision may be rounded to fewer digits on a GPU (TF32), so a
fit is repeated at full precision, and both are compared with the same fit on the processor, in its standard errors. The bars:
within 0.01 standard errors; equal bits and equal numbers of compilations on 1, 2, ... devices.
"""

import argparse
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import jax
import numpy as np
from measure import timed
from run import machine

from popglm import parallel
from popglm.basis import RaisedCosineLogConv
from popglm.glm import PopulationGLM
from popglm.inference import uncertainty
from popglm.simulation import random_coupling, simulate_population

OUT = Path(__file__).parent / ".cache/gpu.json"
BIN, WINDOW, BASIS = 0.005, 100, 8
MAX_DISTANCE = 0.01  # standard errors
COMPILED = "/jax/core/compile/backend_compile_duration"


def simulate(n_neurons, n_bins, processor):
    """Counts of coupled neurons, simulated on the processor, where one bin after another is fast."""
    basis = RaisedCosineLogConv(BASIS, window_size=WINDOW)
    with jax.default_device(processor):
        coupling_key, spikes_key = jax.random.split(jax.random.key(n_neurons))
        coupling = random_coupling(
            coupling_key, n_neurons, basis, connectivity=4 / n_neurons, excitation=0.1, inhibition=0.2, adaptation=0.05
        )
        history = np.full((WINDOW, n_neurons), 15 * BIN)
        units = simulate_population(spikes_key, *coupling, basis, duration=n_bins * BIN, history=history).units
    return units.count(BIN).values.astype(np.uint8)


def draw(n_neurons, n_bins):
    """Counts of many neurons without couplings, which are drawn at once."""
    rng = np.random.default_rng(n_neurons)
    return rng.poisson(rng.uniform(0.02, 0.1, n_neurons), (n_bins, n_neurons)).astype(np.uint8)


def fit(counts, *, lazy, mode=None):
    """Fit all neurons to the history of all, and say how long it took, first and again."""
    basis = RaisedCosineLogConv(BASIS, window_size=WINDOW)
    compiled = []
    jax.clear_caches()
    listen = lambda event, duration, **_: compiled.append(duration) if event == COMPILED else None
    jax.monitoring.register_event_duration_secs_listener(listen)
    with nullcontext() if mode is None else mode:
        X = basis.lazy_features(counts)
        X = X if lazy else np.asarray(X)
        first, model = timed(lambda: PopulationGLM().fit(X, counts))
        again, model = timed(lambda: PopulationGLM().fit(X, counts))
        score = model.score(X, counts)
    jax.monitoring.unregister_event_duration_listener(listen)
    record = {
        "seconds with compilation": round(first, 2),
        "seconds": round(again, 3),
        "passes": int(model.n_iter_.max()),
        "converged": f"{model.converged_.mean():.0%}",
        "compilations": len(compiled),
        "score": score,
    }
    return record, model


def matrix_rate(device):
    """Operations of a product of single precision in a second, in TFLOP."""
    n = 2048 if device.platform == "cpu" else 8192
    product = jax.jit(lambda a: a @ a)
    a = jax.device_put(np.ones((n, n), np.float32), device)
    product(a).block_until_ready()
    seconds, _ = timed(lambda: [product(a).block_until_ready() for _ in range(5)])
    return round(5 * 2 * n**3 / seconds / 1e12, 3)


def measure(tasks, limit):
    """Run tasks, pairs (name, function), until the time is over; return the records by name, and print them."""
    start, records = time.monotonic(), {}
    for name, task in tasks:
        spent = time.monotonic() - start
        try:
            records[name] = "left out: no time" if spent > limit else task()
        except Exception as error:  # out of memory on a small device: the other tasks still count
            records[name] = f"failed: {type(error).__name__}: {str(error)[:300]}"
        print(f"{name}: {json.dumps(records[name])}", flush=True)
    return records


def make_tasks(sizes, devices, processor):
    """Yield name and function of every task, the most important first."""
    counts = simulate(*sizes["population"], processor)
    fitted = {}

    def keep(name, **options):
        record, fitted[name] = fit(counts, **options)
        fitted.setdefault("compilations", record["compilations"])
        return record

    def compare(name):
        """Distance from the fit on the processor, in standard errors."""
        with jax.default_device(processor):
            X = RaisedCosineLogConv(BASIS, window_size=WINDOW).lazy_features(counts)
            model = PopulationGLM().fit(X, counts)
            se = uncertainty(model, X, counts).coef_se
        distance = float(np.nanmax(np.abs(fitted[name].coef_ - model.coef_) / se))
        return {"largest distance in standard errors": distance, "bar held": distance <= MAX_DISTANCE}

    def share(n):
        record = keep(n, lazy=True, mode=parallel.devices(n))
        same = np.array_equal(fitted[n].coef_, fitted["lazy"].coef_)
        as_many = record["compilations"] == fitted["compilations"]
        return record | {"bits of one device": same, "compilations of one device": as_many}

    shape = "{} neurons x {:,} bins".format(*counts.shape[::-1])
    yield "TFLOP/s of products", lambda: matrix_rate(devices[0])
    yield f"{shape}, lazy", lambda: keep("lazy", lazy=True)
    for n in sorted({2, 4, len(devices)} - {1}):
        if n <= len(devices):
            yield f"{shape}, lazy, {n} devices", lambda n=n: share(n)
    yield f"{shape}, features in memory", lambda: keep("dense", lazy=False)
    if devices[0].platform != "cpu":
        precise = lambda: keep("precise", lazy=True, mode=jax.default_matmul_precision("highest"))
        yield f"{shape}, lazy, full precision", precise
        yield "full precision against the processor", lambda: compare("precise")
        yield "default precision against the processor", lambda: compare("lazy")
    large = sizes["large"]
    yield "{} neurons x {:,} bins, lazy".format(*large), lambda: fit(draw(*large), lazy=True)[0]


def main():
    """Measure, print and write the record; the exit code is 1 if a bar is not held."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--quick", action="store_true", help="small sizes")
    ask.add_argument("--seconds", type=float, default=400, help="after which no task begins")
    ask.add_argument("--out", type=Path, default=OUT)
    given = ask.parse_args()
    devices, processor = jax.local_devices(), jax.local_devices(backend="cpu")[0]
    sizes = {"population": (50, 720_000), "large": (500, 240_000)}
    if given.quick:
        sizes = {"population": (6, 140_000), "large": (20, 40_000)}
    about = machine() | {"jax": jax.__version__, "devices": [device.device_kind for device in devices]}
    print(json.dumps(about), flush=True)
    if devices[0].platform == "cpu":
        print(
            "There is no GPU: this only checks that everything runs. Its seconds are those of the processor.",
            flush=True,
        )
    records = measure(make_tasks(sizes, devices, processor), given.seconds)
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text(json.dumps({"machine": about, "quick": given.quick, "records": records}, indent=1))
    fits = [record for record in records.values() if isinstance(record, dict)]
    bars = "bits of one device", "compilations of one device", "bar held"
    held = all(record.get(bar, True) for record in fits for bar in bars)
    return 0 if held and not any(str(record).startswith("failed") for record in records.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
