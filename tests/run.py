"""Runs every test, in stages with time budgets: `make test`, or `python tests/run.py [stage ...]` for some of them.

The stage "fast" is a part of "unit" for `make check`: laws and messages of every folder that take two minutes together.

With FULL=1, as in `make test-full`, tests run all their cases instead of a sample (`tests/samples.py`), and the tests of
the package run what XLA has optimised, as the pages always do. Without, they compile it without optimisations, and by the
older of XLA's two ways to fuse operations, where this version still has it: half of their time is saved, the sums are the
same but for their last digits.

A budget is what the stage should take on two fast cores. It is reported, and a stage fails only at `LIMIT` times its budget,
when it is stopped: a slow machine is no fault. One line per stage ends the report; the exit status is 0 only if every stage
ran tests and passed.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PYTEST = [sys.executable, "-m", "pytest", "-q", "--durations=5"]
BY_FILE = ["-n", "2", "--dist", "loadfile"]  # the tests of one file share a book, or what was compiled
ANY_ORDER = ["-n", "2", "--dist", "worksteal"]
FAST = [
    "basis/test_bases.py",
    "basis/test_basis_messages.py",
    "checks/test_checks_messages.py",
    "checks/test_old_names.py",
    "design/test_features.py",
    "design/test_design_messages.py",
    "glm/test_glm_messages.py",
    "glm/test_score.py",
    "glm/test_sklearn.py",
    "glm/test_update.py",
    "model_selection/test_splits.py",
    "plotting/test_plotting.py",
    "project/test_decisions.py",
    "project/test_faults.py",
    "project/test_habits.py",
    "project/test_imports.py",
    "recording/test_recording.py",
    "simulation/test_simulation_messages.py",
]
STAGES = {  # name: (budget in seconds, what it is, command)
    "unit": (360, "the package", [*PYTEST, *BY_FILE, "tests", "--ignore=tests/book"]),
    "fast": (90, "what is quick of the package", [*PYTEST, *BY_FILE, *(f"tests/{file}" for file in FAST)]),
    "pages": (420, "the pages of the book, run one by one", [*PYTEST, "-n", "2", "--nbmake", "book"]),
    "builds": (
        180,
        "the book, built strictly",
        [*PYTEST, *BY_FILE, "tests/book", "--ignore=tests/book/test_browser.py"],
    ),
    "browser": (240, "the built book in a browser", [*PYTEST, "-rs", *ANY_ORDER, "tests/book/test_browser.py"]),
}
DEFAULT = [name for name in STAGES if name != "fast"]  # which is a part of "unit"
LIMIT = 7
OLD_FUSION = {"XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false"}
ONE_THREAD = dict.fromkeys(("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def run(name: str) -> tuple[str, float]:
    """Run one stage and return what became of it, and its seconds."""
    budget, what, command = STAGES[name]
    print(f"\n{'=' * 100}\n== {name}: {what} (budget {budget} s)\n{'=' * 100}", flush=True)
    start = time.monotonic()
    environment = os.environ | ONE_THREAD
    if name in ("unit", "fast") and os.environ.get("FULL") != "1":
        environment |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"} | (OLD_FUSION if starts_with(OLD_FUSION) else {})
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        status = process.wait(timeout=LIMIT * budget)
        outcome = {0: "passed", 5: "FAILED: no tests ran"}.get(status, "FAILED")
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as stop:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(stop, KeyboardInterrupt):
            raise
        outcome = f"FAILED: stopped at {LIMIT} times its budget"
    return outcome, time.monotonic() - start


def starts_with(variables: dict[str, str]) -> bool:
    """Return whether JAX starts with these variables of the environment; XLA ends the process at a flag it does not know."""
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Run the stages named on the command line, or all."""
    names = sys.argv[1:] or DEFAULT
    if unknown := set(names) - set(STAGES):
        print(f"There is no stage {', '.join(sorted(unknown))}; the stages are {', '.join(STAGES)}.")
        return 2
    results = {name: run(name) for name in names}
    print(f"\n{'=' * 100}")
    for name, (outcome, seconds) in results.items():
        over = "  (over budget)" if seconds > STAGES[name][0] else ""
        print(f"{name:10}{outcome:45}{seconds:7.0f} s of {STAGES[name][0]} s{over}")
    if "browser" in results and not any(map(shutil.which, BROWSERS)):
        print("NO BROWSER: the built book was NOT looked at; install Debian's package `chromium`.")
    return int(any(outcome != "passed" for outcome, _ in results.values()))


if __name__ == "__main__":
    sys.exit(main())
