"""Run the scripts of other tools that the pages show, and keep their numbers in `src/popglm/data/other_tools.json`.

A page of `book/coming_from` holds both scripts. Cells that begin with ``# both`` make the data; the blocks of the other tool's
language are its script; and ``recorded["..."]`` in the page's cells names what is kept: an expression in that language,
computed at the end of the script. So what a page shows is what has run. To run it again, in the root of the repository:

    python3.12 -m venv .venv-nemos && .venv-nemos/bin/pip install "nemos[jaxopt]==0.2.9"
    PYTHONPATH=tests/coming_from:src python tests/coming_from/other_tools.py nemos
    apt-get install r-base-core r-cran-mgcv r-cran-glmnet
    PYTHONPATH=tests/coming_from:src python tests/coming_from/other_tools.py r

Another interpreter with NeMoS is named by ``NEMOS_PYTHON=/path/to/python``.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "src/popglm/data/other_tools.json"
PAGES = {"nemos": ("python", "nemos"), "r": ("r", "r")}  # language of the other tool's blocks, page
CELL = re.compile(r"^```\{code-cell\} ipython3\n(?:---\n.*?^---\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)
EXPRESSION = re.compile(r"""recorded\[\s*(['"])(.+?)\1\s*\]""")
PYTHON_END = """
import importlib.metadata, json, sys
import numpy
values = {e: numpy.asarray(eval(e), float).tolist() for e in EXPRESSIONS}
versions = {name: importlib.metadata.version(name) for name in ("nemos", "jax", "numpy")}
json.dump({"versions": versions, "numbers": values}, open("found.json", "w"))
"""
R_START = "suppressWarnings(suppressMessages({library(mgcv); library(glmnet); library(MASS)}))\n"
R_END = """
out <- file("found", "w")
cat("R", paste(R.version$major, R.version$minor, sep = "."), "\\n", file = out)
for (name in c("mgcv", "glmnet", "MASS")) cat(name, as.character(packageVersion(name)), "\\n", file = out)
for (e in EXPRESSIONS) cat("=", format(as.numeric(eval(parse(text = e))), digits = 17), "\\n", file = out)
close(out)
"""


def read_page(tool):
    """Text of the page of a tool."""
    return (ROOT / f"book/coming_from/{PAGES[tool][1]}.md").read_text("utf8")


def data_cells(tool):
    """The code that makes the data, the same in both scripts."""
    return "\n".join(code for code in CELL.findall(read_page(tool)) if code.startswith("# both"))


def their_script(tool):
    """The script of the other tool, as the page shows it."""
    blocks = re.findall(rf"^```{PAGES[tool][0]}\n(.*?)^```$", read_page(tool), re.MULTILINE | re.DOTALL)
    return "\n".join(blocks)


def expressions(tool):
    """Expressions of the other tool whose values the page takes from the record, each once."""
    text = read_page(tool).replace("''", "'")  # in the metadata of cells, which is YAML, quotes are doubled
    return sorted({name for _, name in EXPRESSION.findall(text)})


def digest(tool):
    """A number that changes with the scripts or what is recorded of them."""
    text = json.dumps([data_cells(tool), their_script(tool), expressions(tool)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def find_nemos():
    """Path of a Python that has NeMoS, or None."""
    python = os.environ.get("NEMOS_PYTHON") or str(ROOT / ".venv-nemos/bin/python")
    return python if Path(python).exists() else None


def find_r():
    """Path of an Rscript with mgcv and glmnet, or None."""
    rscript = shutil.which("Rscript")
    if rscript is None:
        return None
    probe = "quit(status = !(requireNamespace('mgcv', quietly = TRUE) && requireNamespace('glmnet', quietly = TRUE)))"
    return rscript if subprocess.run([rscript, "-e", probe], check=False, capture_output=True).returncode == 0 else None


FINDERS = {"nemos": find_nemos, "r": find_r}


def run_nemos(python, folder):
    """Run NeMoS in its own environment."""
    names = expressions("nemos")
    script = "\n".join([data_cells("nemos"), their_script("nemos"), f"EXPRESSIONS = {names!r}", PYTHON_END])
    (folder / "script.py").write_text(script, "utf8")
    call([python, "script.py"], folder)
    return json.loads((folder / "found.json").read_text("utf8"))


def run_r(rscript, folder):
    """Write the data as a table, and run R."""
    space = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(data_cells("r"), space)
    space["data"].to_csv(folder / "data.csv", index=False)
    names = expressions("r")
    listed = f"EXPRESSIONS <- c({', '.join(json.dumps(name) for name in names)})\n"
    (folder / "script.R").write_text(R_START + their_script("r") + listed + R_END, "utf8")
    call([rscript, "script.R"], folder)
    lines = (folder / "found").read_text("utf8").splitlines()
    versions = dict(line.split() for line in lines if not line.startswith("="))
    values = [[float(v) for v in line.split()[1:]] for line in lines if line.startswith("=")]
    return {"versions": versions, "numbers": dict(zip(names, values, strict=True))}


def call(command, folder):
    """Run a script in its folder; its output is part of the error."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}\n{done.stderr}")


def run_tool(tool, program):
    """Versions and numbers of a tool, and the digest of the script."""
    with tempfile.TemporaryDirectory() as folder:
        runner = {"nemos": run_nemos, "r": run_r}[tool]
        return {"script": digest(tool)} | runner(program, Path(folder))


def rounded(value):
    """Ten digits of a number, or of all numbers in lists."""
    return [rounded(v) for v in value] if isinstance(value, list) else float(f"{value:.10g}")


if __name__ == "__main__":
    record = json.loads(RECORD.read_text("utf8")) if RECORD.exists() else {}
    for tool in sys.argv[1:] or PAGES:
        program = FINDERS[tool]()
        if program is None:
            raise SystemExit(f"{tool} is not installed here; the first lines of this file say how")
        found = run_tool(tool, program)
        found["numbers"] = {name: rounded(value) for name, value in found["numbers"].items()}
        record[tool] = found
        sizes = {name: np.shape(value) for name, value in found["numbers"].items()}
        print(tool, found["versions"], sizes)
    text = re.sub(r"\n {4,}|\n {3}(?=\])", " ", json.dumps(record, indent=1, sort_keys=True))
    RECORD.write_text(text + "\n", "utf8")
