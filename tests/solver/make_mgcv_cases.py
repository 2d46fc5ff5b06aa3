"""Let mgcv choose strengths for the recordings of `mgcv_cases.py`, and keep its numbers in `mgcv_numbers.json`.

Tests read the numbers and never call R. To make them again (Debian: r-base-core, r-cran-mgcv), in the root of the repository:

    PYTHONPATH=tests/solver:src python tests/solver/make_mgcv_cases.py [name of a recording ...]

For each neuron, three fits with ``method="REML"``: "newton" is the default, which differentiates the Laplace likelihood fully;
"efs" is ``optimizer="efs"``; "fixed" has the strengths sp = 3, 4, ..., which shows what sp means. Each has sp for every part,
edf, coefficients, and the diagonal of Vp with the intercept first, the REML score and the scale (REML's, Pearson's).
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from mgcv_cases import ALPHA, NUMBERS, RECORDINGS, recording


def write_recording(of, folder):
    """Write a recording as R reads it."""
    save = lambda name, values: np.savetxt(folder / f"{name}.csv", values, fmt="%.17g", delimiter=",")
    save("X", of.X)
    save("y", of.y)
    save("side", np.column_stack([of.offset, of.weight]))
    for j, S in enumerate(of.parts.values(), 1):
        save(f"S{j}", S)
    (folder / "meta").write_text(f"{of.family}\n{len(of.parts)}\n{ALPHA}\n", "utf8")


def read_fits(text, names):
    """Return R's numbers for each neuron, and its versions."""
    fits, neuron = {}, None
    for line in text.splitlines():
        word, *rest = line.split()
        if word == "version":
            version = " ".join(rest)
        elif word == "neuron":
            neuron = fits.setdefault(names[int(rest[0]) - 1], {})
        else:
            values = [float(f"{float(value):.7g}") for value in rest[1:]]
            neuron.setdefault(word, {})[rest[0]] = float(rest[1]) if rest[0] == "reml" else values
    return fits, version


def fit_by_r(of):
    """Return what mgcv finds in a recording."""
    with tempfile.TemporaryDirectory() as folder:
        write_recording(of, Path(folder))
        subprocess.run(["Rscript", Path(__file__).with_suffix(".R"), folder], check=True)
        return read_fits(Path(folder, "found").read_text("utf8"), list(of.neurons))


def write_numbers(found):
    """Write one fit a line."""
    text = json.dumps(found, indent=1)
    text = re.sub(r"\n {4,}|\n {3}(?=\})", " ", text)
    NUMBERS.write_text(text + "\n", "utf8")


if __name__ == "__main__":
    found = json.loads(NUMBERS.read_text("utf8")) if NUMBERS.exists() else {}
    for name in sys.argv[1:] or RECORDINGS:
        fits, found["made by"] = fit_by_r(recording(name))
        found[name] = fits
        print(name, flush=True)
    write_numbers(found)
