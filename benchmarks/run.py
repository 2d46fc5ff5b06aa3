"""All benchmarks, tools in turn, each measurement in a process of its own: `make bench`, or `python benchmarks/run.py --help`.

The record goes to `src/popglm/data/benchmarks.json`, where the page on performance finds it, in a notebook too.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gap
import numpy as np
from data import prepare

HERE = Path(__file__).parent
RECORD = HERE.parent / "src/popglm/data/benchmarks.json"
SEED = 1  # the settings of the peers were chosen on seed 0
OURS, PEERS = ("dense", "lazy"), ("sklearn", "glum")  # in every round
SPARSE = {"lasso": {"glum": [], "nemos": []}, "path": {"glum": ["--neurons", "10"]}}  # peers, once each: minutes
ONCE = {"nemos": [], "statsmodels": ["--neurons", "2"]}  # minutes each, and not near the others


def measure(python, *arguments, out: Path) -> dict:
    """Run one measurement in a process of its own, and read its record. What it prints is shown if it fails."""
    result = subprocess.run([python, *map(str, arguments), "--out", out], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))} failed:\n{result.stdout[-2000:]}{result.stderr[-4000:]}")
    record = json.loads(out.read_text("utf8"))
    print(f"{arguments[0].stem:6} {arguments[1]} {record['task']}: {record['warm_s']:.4g} s warm", flush=True)
    return record


def merged(records: list[dict]) -> dict:
    """One record of several rounds: the medians, and all times."""
    out = dict(records[-1])
    for key in ("cold_s", "warm_s"):
        every = [record[key] for record in records]
        out |= {key: float(np.median(every)), f"{key}_all": every}
    out["peak_bytes"] = max(record["peak_bytes"] for record in records)
    return out


def write_record(file: Path, record: dict) -> None:
    """Write a record to a temporary name, and move it."""
    file.parent.mkdir(exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=1) + "\n", "utf8")
    partial.replace(file)


def machine() -> dict:
    """What the numbers were measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        model = next(
            (line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), model
        )
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def main():
    """Measure everything, and write the record."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--peers", type=Path, default=HERE.parent / ".venv-bench/bin/python", help="Python of the peers")
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--bins", type=int, default=120_000)
    ask.add_argument("--out", type=Path, default=RECORD)
    ask.add_argument(
        "--only-ours", action="store_true", help="measure popglm again; keep what the record says of others"
    )
    ask.add_argument(
        "--only-sparse", action="store_true", help="measure the fits with an L1 penalty; keep the rest of the record"
    )
    args = ask.parse_args()
    data = prepare(50, args.bins, SEED)
    if args.only_sparse:
        record = json.loads(args.out.read_text("utf8"))
        write(record | sparse(args, data, record.get("sparse", {})), args.out)
        return
    hour = prepare(50, 720_000, SEED, built=False)
    ours, peers = HERE / "ours.py", HERE / "peers.py"
    fits, single = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        out = lambda name: Path(folder, f"{name}.json")
        for _ in range(args.rounds):
            for name in OURS:
                fits.setdefault(name, []).append(measure(sys.executable, ours, name, "--data", data, out=out(name)))
            for name in () if args.only_ours else PEERS:
                fits.setdefault(name, []).append(measure(args.peers, peers, name, "--data", data, out=out(name)))
        for name, more in () if args.only_ours else ONCE.items():
            fits[name] = [measure(args.peers, peers, name, "--data", data, *more, out=out(name))]
        for task in ("features", "update"):
            single[task] = {"popglm": measure(sys.executable, ours, task, "--data", data, out=out(task))}
            if not args.only_ours:
                asked = "nemos", "--task", task
                single[task]["nemos"] = measure(args.peers, peers, *asked, "--data", data, out=out(f"nemos-{task}"))
        single["one"] = {"popglm": measure(sys.executable, ours, "one", "--data", data, out=out("one"))}
        for peer in () if args.only_ours else (*PEERS, *ONCE):
            single["one"][peer] = measure(
                args.peers, peers, peer, "--task", "one", "--data", data, out=out(f"{peer}-one")
            )
        single["windows"] = measure(sys.executable, ours, "windows", "--data", data, out=out("windows"))
        single["rate"] = measure(sys.executable, ours, "rate", "--data", data, out=out("rate"))
        hours = {}
        for _ in range(args.rounds):
            for task in ("hour", "hour-dense"):
                hours.setdefault(task, []).append(measure(sys.executable, ours, task, "--data", hour, out=out(task)))
        single |= {task: merged(records) for task, records in hours.items()}
        fits = {name: merged(records) for name, records in fits.items()}
        add_gaps(fits, data, out)
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "shape": [50, args.bins, 400],
        "fit": fits,
    } | single
    old = json.loads(args.out.read_text("utf8")) if args.only_ours else {}
    if args.only_ours:
        record["fit"] = old["fit"] | fits
        record |= {task: old[task] | single[task] for task in ("features", "update", "one") if task in old}
    write(record | sparse(args, data, old.get("sparse", {})), args.out)


def write(record, file):
    """Keep the record, and print what counts."""
    write_record(file, record)
    report(record)


def sparse(args, data, old) -> dict:
    """Fits with an L1 penalty, one strength and ten: popglm in every round, the peers once."""
    X, y = np.load(data / "X.npy", mmap_mode="r"), np.load(data / "y.npy")
    record = {}
    for task, others in SPARSE.items():
        with tempfile.TemporaryDirectory() as folder:
            out = lambda name: Path(folder, f"{name}.json")
            rounds = [
                measure(sys.executable, HERE / "ours.py", task, "--data", data, out=out("popglm"))
                for _ in range(args.rounds)
            ]
            fits = {"popglm": merged(rounds)}
            for peer, more in () if args.only_ours else others.items():
                asked = peer, "--task", task, "--data", data, *more
                fits[peer] = measure(args.peers, HERE / "peers.py", *asked, out=out(peer))
            add_sparse_gaps(fits, X, y, out)
        record[task] = old.get(task, {}) | fits if args.only_ours else fits
    return {"sparse": record, "sparse_run": {"date": time.strftime("%Y-%m-%d"), "machine": machine()}}


def add_sparse_gaps(fits, X, y, out):
    """How far each fit is from the optimum at each strength, in float64: one Newton step from what popglm found."""
    found = {name: np.load(out(name).with_suffix(".npz")) for name in fits}
    for name in fits:
        fits[name]["gaps"] = []
    for i, strength in enumerate(fits["popglm"]["strengths"]):
        best = gap.polish(found["popglm"]["coef"][i], found["popglm"]["intercept"][i], X, y, strength)
        least = gap.objective(*best, X, y, strength)
        fits["popglm"].setdefault("violations", []).append(gap.violation(*best, X, y, strength))
        for name, of in found.items():
            at = int(np.abs(np.array(fits[name]["strengths"]) - strength).argmin())  # each tool has an order of its own
            few = of["intercept"].shape[1]
            value = gap.objective(of["coef"][at], of["intercept"][at], X, y[:, :few], strength)
            gaps = gap.gaps(value, least[:few])
            fits[name]["gaps"].append({"strength": strength, "nonzero": float((of["coef"][at] != 0).mean())} | gaps)


def add_gaps(fits, data, out):
    """How far each fit is from the optimum, by one function in float64."""
    X, y = np.load(data / "X.npy", mmap_mode="r"), np.load(data / "y.npy")
    found = {name: np.load(out(name).with_suffix(".npz")) for name in fits}
    best = gap.objective(*gap.polish(found["dense"]["coef"], found["dense"]["intercept"], X, y), X, y)
    for name, fit in found.items():
        few = fit["intercept"].size
        value = gap.objective(fit["coef"], fit["intercept"], X, y[:, :few])
        fits[name]["gap"] = gap.gaps(value, best[:few], gap.null_objective(y)[:few])


def report(record):
    """Print ratios, which are what counts: the machines are noisy."""
    fits = record["fit"]
    good = [fits[n] for n in ("sklearn", "glum", "nemos") if n in fits and fits[n]["gap"]["of_objective_max"] <= 1e-6]
    print(f"{'':12}{'warm s':>9}{'cold s':>9}{'GB':>7}{'gap':>10}")
    for name, fit in fits.items():
        size, far = fit["peak_bytes"] / 1e9, fit["gap"]["of_objective_max"]
        print(f"{name:12}{fit['warm_s']:9.2f}{fit['cold_s']:9.2f}{size:7.2f}{far:10.1e}  {fit.get('extrapolated', '')}")
    for key in ("warm_s", "cold_s"):
        print(
            f"{key}: the best peer takes {min(fit[key] for fit in good) / fits['dense'][key]:.0f} times as long as popglm"
        )
    for task in ("features", "update"):
        pair = record[task]
        if "nemos" in pair:
            ratio = pair["nemos"]["warm_s"] / pair["popglm"]["warm_s"]
            print(f"{task}: {pair['popglm']['warm_s'] * 1e3:.2f} ms; NeMoS takes {ratio:.1f} times as long")
    for task, of in record.get("sparse", {}).items():
        for name, fit in of.items():
            far = max(at["of_objective_max"] for at in fit["gaps"])
            ratio = fit["warm_s"] / of["popglm"]["warm_s"]
            few = fit.get("extrapolated", "")
            print(f"{task} {name}: {fit['warm_s']:.1f} s warm, {ratio:.0f} times popglm, gap {far:.1e}  {few}")
    lazy, dense = record["hour"], record["hour-dense"]
    print(
        f"an hour: lazy {lazy['warm_s']:.1f} s, {lazy['warm_s'] / dense['warm_s']:.2f} times dense; "
        f"at most {lazy['peak_bytes'] / 1e9:.2f} GB, dense {dense['peak_bytes'] / 1e9:.2f} GB"
    )
    if len(record["one"]) > 1:
        print("one neuron:", ", ".join(f"{name} {fit['warm_s'] * 1e3:.1f} ms" for name, fit in record["one"].items()))
    windows = record["windows"]
    print(
        f"windows of lazy features: {windows['lazy_s'] * 1e3:.1f} ms, of spike times {windows['streamed_s'] * 1e3:.1f} ms; "
        f"a step on one {windows['warm_s'] * 1e3:.1f} ms"
    )
    print(f"share of the matrix rate: {np.median(record['rate']['share']):.0%}")


if __name__ == "__main__":
    main()
