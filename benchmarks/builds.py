"""Two builds of popglm in turn, this one and an earlier, in CPU seconds: the table of what a change has brought.

    python benchmarks/builds.py                             # all rows
    python benchmarks/builds.py warm cold --rounds 5        # some rows; what the record says of the others stays
    python benchmarks/builds.py --work small                # a trial, its record in benchmarks/.cache

Every measurement is a process of its own: one of the earlier build, one of this, and again. The earlier build is taken from
git. Rows with `_cached` start with JAX's persistent cache, which a run before has filled. A row has its own date, commits
and machine in the record, `builds` in `src/popglm/data/benchmarks.json`: rows may be measured one at a time.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from build_rows import ONE_THREAD, ROWS, SIZES
from data import CACHE
from run import RECORD, machine, write_record

HERE = Path(__file__).parent
ROOT = HERE.parent
CACHED = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
THREADS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"


def git(*arguments):
    """Output of git in this repository."""
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    if result.returncode:
        raise SystemExit(f"git {' '.join(arguments)} failed: {result.stderr.decode()}")
    return result.stdout


def checkout(commit):
    """Folder of the package at a commit, unpacked once."""
    folder = CACHE / f"build-{commit}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as making:
            with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "src"))) as archive:
                archive.extractall(making, filter="data")
            Path(making, "src").rename(folder)
    return folder


def measure(row, source, work, cache=None):
    """Run one row by the build in the folder `source`; return what it measured."""
    environment = os.environ | {"PYTHONPATH": str(source)}
    if row in ONE_THREAD:
        environment |= dict.fromkeys(THREADS, "1") | {"NPROC": "1"}
    if cache is not None:
        environment |= CACHED | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    command = [sys.executable, str(HERE / "build_rows.py"), row, "--work", work]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        raise SystemExit(f"{row} by {source} failed:\n{result.stderr[-4000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def measure_row(row, sources, work, rounds):
    """Measure a row by both builds in turn; return the medians, all values, and ratios of this build to the earlier one."""
    found = {name: [] for name in sources}
    with tempfile.TemporaryDirectory() as folder:
        caches = {name: Path(folder, name) if row.endswith("_cached") else None for name in sources}
        if row.endswith("_cached"):
            for name, source in sources.items():
                measure(row, source, work, caches[name])
        for _ in range(rounds):
            for name, source in sources.items():
                found[name].append(measure(row, source, work, caches[name]))
    medians = {
        name: {key: float(np.median([one[key] for one in all_rounds])) for key in all_rounds[0]}
        for name, all_rounds in found.items()
    }
    ratios = {
        key: medians["now"][key] / medians["before"][key]
        for key in medians["now"]
        if "cpu_s" in key and medians["before"].get(key)
    }
    return medians | {"rounds": found, "ratios": ratios}


def report(rows):
    """Print the ratios of all rows of the record, with their dates."""
    for row, record in rows.items():
        for key, ratio in record["ratios"].items():
            before, now = (record[name][key] for name in ("before", "now"))
            print(
                f"{row:15} {key:16} {before:9.4g} -> {now:9.4g}, {ratio:.2f} times  {record['date']} {record['commits']}"
            )
        for key, share in record["now"].items():
            if "_of_" in key:
                print(f"{row:15} {key:16} {record['before'].get(key, np.nan):9.2f} -> {share:9.2f}")


def main():
    """Measure rows, write each to the record as soon as it is there, and print all."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("rows", nargs="*", metavar="row", help=f"of {', '.join(ROWS)}; all without any")
    ask.add_argument("--before", default="752c0d0", help="commit of the earlier build")
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--work", choices=SIZES, default="full")
    args = ask.parse_args()
    if unknown := set(args.rows) - set(ROWS):
        ask.error(f"rows must be of {', '.join(ROWS)}; got {', '.join(sorted(unknown))}")
    out = RECORD if args.work == "full" else CACHE / "builds.json"
    sources = {"before": checkout(args.before), "now": ROOT / "src"}
    changed = "-dirty" if git("status", "--porcelain", "--", "src", ":!src/popglm/data").strip() else ""
    commits = {"before": args.before, "now": git("describe", "--always").decode().strip() + changed}
    for row in args.rows or ROWS:
        measured = measure_row(row, sources, args.work, args.rounds)
        record = json.loads(out.read_text("utf8")) if out.exists() else {}
        known = {"date": time.strftime("%Y-%m-%d"), "commits": commits, "machine": machine()}
        record["builds"] = record.get("builds", {}) | {row: known | measured}
        write_record(out, record)
    report(json.loads(out.read_text("utf8"))["builds"])


if __name__ == "__main__":
    main()
