"""All benchmarks, tools in turn, each measurement in a process of its own: `make bench`, or one part after the other.

    python benchmarks/run.py                              # all parts
    python benchmarks/run.py fits --rounds 1              # a round takes six minutes; again with --add for more of them
    python benchmarks/run.py nemos statsmodels            # parts that were not measured stay in the record as they are

The record goes to `src/popglm/data/benchmarks.json`, where the page on performance finds it, in a notebook too; `parts` says
when each was measured, and on what machine.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import gap
import numpy as np
from data import CACHE, prepare

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
    whole = file.with_suffix(".partial")
    whole.write_text(json.dumps(record, indent=1) + "\n", "utf8")
    whole.replace(file)


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


class Run(NamedTuple):
    """What parts share: settings, the data, and the record as it is, to which they add."""

    args: argparse.Namespace
    data: Path
    record: dict

    def ours(self, task, data=None):
        """Measure popglm."""
        return measure(sys.executable, HERE / "ours.py", task, "--data", data or self.data, out=self.out(task))

    def peer(self, name, *more, out=None):
        """Measure a peer."""
        script = HERE / "peers.py"
        return measure(self.args.peers, script, name, "--data", self.data, *more, out=self.out(out or name))

    def out(self, name):
        """File of a record; coefficients are beside it, where other parts find them."""
        folder = CACHE / f"found-{self.data.name}"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.json"

    def merge(self, records, old):
        """Medians of these rounds, and with `--add` of those that the record has already."""
        first = []
        if self.args.add and old:
            first = [old | dict(zip(("cold_s", "warm_s"), pair, strict=True)) for pair in
                     zip(old["cold_s_all"], old["warm_s_all"], strict=True)]  # fmt: skip
        return merged([*first, *records])


def fits(run):
    """All neurons by popglm, scikit-learn and glum, in turn."""
    found, old = {}, run.record.get("fit", {})
    for _ in range(run.args.rounds):
        for name in OURS:
            found.setdefault(name, []).append(run.ours(name))
        for name in () if run.args.only_ours else PEERS:
            found.setdefault(name, []).append(run.peer(name))
    return {"fit": add_gaps(run, {name: run.merge(records, old.get(name)) for name, records in found.items()})}


def slow_fit(run, name):
    """All neurons by a peer that takes minutes, once."""
    return {} if run.args.only_ours else {"fit": add_gaps(run, {name: merged([run.peer(name, *ONCE[name])])})}


def calls(run, task):
    """Features, or one step of `update`, by popglm and NeMoS."""
    found = {"popglm": run.ours(task)}
    if not run.args.only_ours:
        found["nemos"] = run.peer("nemos", "--task", task, out=f"nemos-{task}")
    return {task: found}


def one_neuron(run):
    """One neuron and few bins, by all."""
    peers = () if run.args.only_ours else (*PEERS, *ONCE)
    found = {"popglm": run.ours("one")}
    return {"one": found | {peer: run.peer(peer, "--task", "one", out=f"{peer}-one") for peer in peers}}


def hours(run):
    """An hour from counts and with X in memory, in turn."""
    found, data = {}, prepare(50, 6 * run.args.bins, SEED, built=False)
    for _ in range(run.args.rounds):
        for task in ("hour", "hour-dense"):
            found.setdefault(task, []).append(run.ours(task, data))
    return {task: run.merge(records, run.record.get(task)) for task, records in found.items()}


def sparse(run, task):
    """Fits with an L1 penalty, one strength or ten: popglm in every round, the peers once."""
    old = run.record.get("sparse", {}).get(task, {})
    found = {"popglm": run.merge([run.ours(task) for _ in range(run.args.rounds)], old.get("popglm"))}
    for peer, more in () if run.args.only_ours else SPARSE[task].items():
        found[peer] = run.peer(peer, "--task", task, *more, out=f"{peer}-{task}")
    names = {name: run.out(task if name == "popglm" else f"{name}-{task}") for name in found}
    add_sparse_gaps(found, np.load(run.data / "X.npy", mmap_mode="r"), np.load(run.data / "y.npy"), names.__getitem__)
    return {
        "sparse": {task: found},
        "sparse_run": {"date": time.strftime("%Y-%m-%d"), "machine": machine()},
    }


PARTS = {
    "fits": fits,
    "nemos": partial(slow_fit, name="nemos"),
    "statsmodels": partial(slow_fit, name="statsmodels"),
    "features": partial(calls, task="features"),
    "update": partial(calls, task="update"),
    "one": one_neuron,
    "windows": lambda run: {"windows": run.ours("windows")},
    "rate": lambda run: {"rate": run.ours("rate")},
    "hours": hours,
    "lasso": partial(sparse, task="lasso"),
    "path": partial(sparse, task="path"),
}


def joined(old, new, depth=2):
    """Record with new parts; what they do not have stays, so that a peer that was not measured keeps its numbers."""
    if not depth:
        return new
    both = {key: joined(old[key], new[key], depth - 1) for key in new.keys() & old.keys() if isinstance(new[key], dict)}
    return old | new | both


def main():
    """Measure parts, and write the record after each."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all without any")
    ask.add_argument("--peers", type=Path, default=HERE.parent / ".venv-bench/bin/python", help="Python of the peers")
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--add", action="store_true", help="take the medians with the rounds that the record has")
    ask.add_argument("--bins", type=int, default=120_000)
    ask.add_argument("--out", type=Path, default=RECORD)
    ask.add_argument("--only-ours", action="store_true", help="leave the peers out; the record keeps their numbers")
    args = ask.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        ask.error(f"parts must be of {', '.join(PARTS)}; got {', '.join(sorted(unknown))}")
    data = prepare(50, args.bins, SEED)
    for name in args.parts or PARTS:
        record = json.loads(args.out.read_text("utf8")) if args.out.exists() else {}
        new = PARTS[name](Run(args, data, record))
        known = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "shape": [50, args.bins, 400]}
        parts = {"parts": {name: known}}
        write_record(args.out, joined(record, new | known | parts, 3 if "sparse" in new else 2))
    report(json.loads(args.out.read_text("utf8")))


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


def add_gaps(run, fits):
    """Add to each fit how far it is from the optimum, by one function in float64, from what popglm found."""
    if not run.out("dense").with_suffix(".npz").exists():
        raise SystemExit("gaps are measured from the fit of popglm: run the part `fits` first.")
    X, y = np.load(run.data / "X.npy", mmap_mode="r"), np.load(run.data / "y.npy")
    found = {name: np.load(run.out(name).with_suffix(".npz")) for name in {*fits, "dense"}}
    best = gap.objective(*gap.polish(found["dense"]["coef"], found["dense"]["intercept"], X, y), X, y)
    for name in fits:
        fit = found[name]
        few = fit["intercept"].size
        value = gap.objective(fit["coef"], fit["intercept"], X, y[:, :few])
        fits[name]["gap"] = gap.gaps(value, best[:few], gap.null_objective(y)[:few])
    return fits


def report(record):
    """Print ratios, which are what counts: the machines are noisy."""
    fits = record.get("fit", {})
    good = [fits[n] for n in ("sklearn", "glum", "nemos") if n in fits and fits[n]["gap"]["of_objective_max"] <= 1e-6]
    print(f"{'':12}{'warm s':>9}{'cold s':>9}{'GB':>7}{'gap':>10}")
    for name, fit in fits.items():
        size, far = fit["peak_bytes"] / 1e9, fit["gap"]["of_objective_max"]
        print(f"{name:12}{fit['warm_s']:9.2f}{fit['cold_s']:9.2f}{size:7.2f}{far:10.1e}  {fit.get('extrapolated', '')}")
    for key in ("warm_s", "cold_s") if good else ():
        print(
            f"{key}: the best peer takes {min(fit[key] for fit in good) / fits['dense'][key]:.0f} times as long as popglm"
        )
    for task in ("features", "update"):
        pair = record.get(task, {})
        if "nemos" in pair:
            ratio = pair["nemos"]["warm_s"] / pair["popglm"]["warm_s"]
            print(f"{task}: {pair['popglm']['warm_s'] * 1e3:.2f} ms; NeMoS takes {ratio:.1f} times as long")
    for task, of in record.get("sparse", {}).items():
        for name, fit in of.items():
            far = max(at["of_objective_max"] for at in fit["gaps"])
            ratio = fit["warm_s"] / of["popglm"]["warm_s"]
            few = fit.get("extrapolated", "")
            print(f"{task} {name}: {fit['warm_s']:.1f} s warm, {ratio:.0f} times popglm, gap {far:.1e}  {few}")
    if "hour" in record:
        lazy, dense = record["hour"], record["hour-dense"]
        print(
            f"an hour: lazy {lazy['warm_s']:.1f} s, {lazy['warm_s'] / dense['warm_s']:.2f} times dense; "
            f"at most {lazy['peak_bytes'] / 1e9:.2f} GB, dense {dense['peak_bytes'] / 1e9:.2f} GB"
        )
    if len(record.get("one", {})) > 1:
        print("one neuron:", ", ".join(f"{name} {fit['warm_s'] * 1e3:.1f} ms" for name, fit in record["one"].items()))
    if windows := record.get("windows"):
        print(
            f"windows of lazy features: {windows['lazy_s'] * 1e3:.1f} ms, "
            f"of spike times {windows['streamed_s'] * 1e3:.1f} ms; a step on one {windows['warm_s'] * 1e3:.1f} ms"
        )
    if "rate" in record:
        print(f"share of the matrix rate: {np.median(record['rate']['share']):.0%}")


if __name__ == "__main__":
    main()
