"""Do the tests notice? Puts one fault at a time into a copy of the package and runs the tests that should catch it.

`make test-full`, or `python tests/faults.py [name ...]`. A fault that no test notices is a hole in the tests. The faults of a
part of the package stand beside its tests, in `tests/<folder>/faults.py`. What became of each is kept in
`src/popglm/data/faults.json`, which the page "Can I trust it" shows.
"""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "src/popglm/data/faults.json"
ONE_THREAD = dict.fromkeys(("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Fault(NamedTuple):
    """Text of a file below src/popglm, once right and once wrong, and the tests that should fail then.

    `tests` is a file below tests/, of which `select` (as for `pytest -k`) takes some tests; or a page below book/.
    """

    file: str
    right: str
    wrong: str
    tests: str
    select: str = ""


def load_faults() -> dict[str, Fault]:
    """Return the faults of all folders, by name."""
    faults = {}
    for path in sorted((ROOT / "tests").glob("*/faults.py")):
        new = runpy.run_path(str(path))["FAULTS"]
        if twice := faults.keys() & new.keys():
            raise ValueError(f"{path} names a fault as another folder does: {', '.join(twice)}")
        faults |= new
    return faults


def test(root: Path, tests: set[str], select: str = "") -> int:
    """Run pytest in this copy of the repository; return its exit status: 1 if a test failed, 3 if the code cannot run."""
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", *sorted(tests)]
    command += ["--nbmake"] if any(name.endswith(".md") for name in tests) else []
    command += ["-k", select] if select else []
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    slip = re.search(r"^E +(NameError|SyntaxError|AttributeError|ImportError)", result.stdout, re.MULTILINE)
    if slip or result.returncode not in (0, 1):
        print(result.stdout[-2000:], result.stderr[-2000:])
    return 3 if slip else result.returncode


def outcome(fault: Fault) -> str:
    """Put one fault into a copy of the repository; say whether the tests notice it, and only it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "copy")
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns("__pycache__", ".*", "_build"))
        file = root / "src" / "popglm" / fault.file
        text = file.read_text("utf8")
        if text.count(fault.right) != 1:
            return f"NOT APPLIED: {fault.file} holds {text.count(fault.right)} times: {fault.right}"
        file.write_text(text.replace(fault.right, fault.wrong), "utf8")
        status = test(root, {path(fault)}, fault.select)
        return {0: "SURVIVED", 1: "caught"}.get(status, "BROKEN: the tests did not run")


def path(fault: Fault) -> str:
    """Return the test file of a fault, or the page."""
    return fault.tests if fault.tests.startswith("book/") else f"tests/{fault.tests}"


def write_record(outcomes: dict[str, str]) -> None:
    """Add these outcomes to the record, by folder; faults that no longer exist leave it."""
    known = json.loads(RECORD.read_text("utf8")) if RECORD.exists() else {}
    known = {name: outcome for faults in known.values() for name, outcome in faults.items()} | outcomes
    record = {}
    for path in sorted((ROOT / "tests").glob("*/faults.py")):
        names = runpy.run_path(str(path))["FAULTS"]
        record[path.parent.name] = {name: known[name] for name in sorted(names) if name in known}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", "utf8")


def main() -> int:
    """Try the faults named on the command line, or all, two at a time."""
    sys.path.insert(0, str(ROOT))  # where the files of faults find this one
    faults = load_faults()
    names = sys.argv[1:] or list(faults)
    chosen = [faults[name] for name in names]
    of_code = [fault for fault in chosen if fault.tests.endswith(".py")]  # the pages are tests of their own
    everything = " or ".join(sorted({f"({fault.select or Path(fault.tests).stem})" for fault in of_code}))
    if of_code and test(ROOT, {path(fault) for fault in of_code}, everything):
        print("The tests fail without any fault: put that right first.")
        return 2
    with ThreadPoolExecutor(2) as pool:
        outcomes = dict(zip(names, pool.map(outcome, chosen), strict=True))
    for name, what in outcomes.items():
        print(f"{name:45}{what}")
    write_record(outcomes)
    return int(any(what != "caught" for what in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
